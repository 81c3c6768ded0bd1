"""The functions that programs with tasklets begin with."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import Any, ParamSpec, TypeVar

from cooperative_aio.tasklet._engine import here
from cooperative_aio.tasklet._tasklet import Tasklet

R = TypeVar("R")
P = ParamSpec("P")


def run(gen: Generator[Any, Any, R]) -> Tasklet[R]:
    """Run a generator as a tasklet; the same as `Tasklet(gen)`.

    Raises:
        TypeError: `gen` is not a generator.
        RuntimeError: No loop is running.

    Cancellation: cancelling a coroutine that awaits the tasklet cancels it.
    """
    return Tasklet(gen)


def task(function: Callable[P, Generator[Any, Any, R]]) -> Callable[P, Tasklet[R]]:
    """Make a generator function start a tasklet when it is called.

        @task
        def blink():
            yield WaitForTimeout(10)  # milliseconds
            return "blinked"

        print(await blink())

    As in Kiwi; here it works on methods too. The errors below are raised when the
    function is called.

    Raises:
        TypeError: The function does not return a generator.
        RuntimeError: No loop is running.

    Cancellation: cancelling a coroutine that awaits the tasklet cancels it.
    """

    @functools.wraps(function)
    def start(*args: P.args, **kwargs: P.kwargs) -> Tasklet[R]:
        return Tasklet(function(*args, **kwargs))

    return start


def get_event() -> Any:
    """Return the event that resumed the current tasklet, once after each `yield`.

    Raises:
        RuntimeError: No tasklet is running, its last yield brought no event, or the
            event was read before.
    """
    current = here.current
    if current is None:
        raise RuntimeError("cannot get an event outside of a tasklet")
    return current.read_event()
