"""Call an ordinary function in slices, and await what it returns."""

from __future__ import annotations

import functools
import inspect
import reprlib
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar, TypeVarTuple, Unpack

from cooperative_aio._cooperator import Cooperator
from cooperative_aio._options import TaskOptions
from cooperative_aio._own import get_cooperator
from cooperative_aio.functions._checks import check_function
from cooperative_aio.functions._steps import steps_of

__all__ = ["in_slices", "to_slices"]

P = ParamSpec("P")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


async def to_slices(
    function: Callable[[*Ts], R],
    *args: *Ts,
    cooperator: Cooperator | None = None,
    preempt: bool = True,
    **options: Unpack[TaskOptions],
) -> R:
    """Call `function(*args)` on the loop, in time slices; return what it returns.

        import textwrap

        lines = await to_slices(textwrap.wrap, "some words " * 1000)

    For functions that compute in Python. A single call into C is not interrupted. A function
    that sleeps, or waits for a socket, a database or a lock, holds the loop all the same: it
    belongs in a thread.

    Args:
        function: Any function that computes; it need not know about slices. For keyword
            arguments use `functools.partial`.
        *args: Its arguments.
        cooperator: The Cooperator that steps it; the running loop's own by default.
        preempt: Whether to set the function aside at any line when its slice is over; else
            only where it calls `give_way()` or `wait_on()`.
        **options: `name`, `weight`, `context` and `group`: see `TaskOptions`.

    Raises:
        TypeError: `function` is not an ordinary function, or an argument is of the wrong kind.
        ValueError: A number is out of range.
        PreemptionUnavailable: Functions cannot be preempted here; the text says why.
        SchedulerFull: The Cooperator has `max_tasks` unfinished tasks.
        SchedulerStopped: The Cooperator was stopped.
        RuntimeError: The function raised StopIteration; or no loop is running.
        BaseException: Whatever else the function raised.

    Cancellation: raises CancelledError in the function where it stands; its `finally` and
    `with` blocks run. It is raised here once the function has ended.
    """
    if cooperator is None:
        cooperator = get_cooperator()
    elif not isinstance(cooperator, Cooperator):
        shown = reprlib.repr(cooperator)
        raise TypeError(f"cooperator must be a Cooperator or None, got {shown}")
    steps = steps_of(function, *args, preempt=preempt)
    task = cooperator.cooperate(steps, **options)
    del function, args, steps
    try:
        return await task
    finally:
        del task  # an exception refers to this frame


def in_slices(function: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Make an ordinary function one that is awaited, and runs in time slices.

        @in_slices
        def report(year):
            return sum(day * year for day in range(10_000))

        print(await report(2025))

    A web framework that runs its `def` handlers in a thread runs this one on the loop:
    decorate the handler with `@app.get(...)` above and `@in_slices` below.

    Args:
        function: Any function that computes. Its name, signature and docstring are kept.

    Raises:
        TypeError: `function` is not an ordinary function; raised where it is decorated.

    Cancellation: raises CancelledError in the function, as with `to_slices`.
    """
    check_function(function)

    @functools.wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return await to_slices(functools.partial(function, *args, **kwargs))

    with suppress(Exception):  # some names are defined later, or for type checkers only
        # FastAPI 0.123.0 and older look names up in the module of `call`, which is this one
        signature = inspect.signature(function, eval_str=True)
        call.__signature__ = signature  # type: ignore[attr-defined]
    return call
