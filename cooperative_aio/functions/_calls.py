"""Call an ordinary function in slices, and await what it returns."""

from __future__ import annotations

import functools
import reprlib
from collections.abc import Callable, Coroutine, Hashable
from contextvars import Context
from typing import Any, ParamSpec, TypeVar, TypeVarTuple

from cooperative_aio._cooperator import Cooperator, get_cooperator
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
    name: str | None = None,
    weight: float = 1.0,
    context: Context | None = None,
    group: Hashable = None,
    preempt: bool = True,
) -> R:
    """Call `function(*args)` on the loop, in time slices; return what it returns.

    For functions that compute. One that sleeps, or that waits for a socket, a database or a
    lock, holds the loop as it does without this: it belongs in a thread.

    Args:
        function: What to call; it need know nothing of this. Keyword arguments go through
            `functools.partial`.
        *args: What with.
        cooperator: What steps it; the running loop's own by default.
        name: As for `Cooperator.cooperate`.
        weight: As for `Cooperator.cooperate`.
        context: As for `Cooperator.cooperate`.
        group: As for `Cooperator.cooperate`.
        preempt: Whether to set it aside wherever it stands when its slice is over; else
            only where it calls `give_way()` or `wait_on()`.

    Raises:
        TypeError: Not a function, or one of another kind; or an argument is of the wrong kind.
        ValueError: A number is out of range.
        PreemptionUnavailable: Functions cannot be preempted here; the text says why.
        SchedulerFull: The Cooperator has `max_tasks` unfinished tasks.
        SchedulerStopped: The Cooperator was stopped.
        RuntimeError: The function raised StopIteration; or no loop is running.
        BaseException: Whatever else the function raised.

    Cancellation: raises CancelledError in the function where it stands, whose `finally` and
    `with` blocks run; once it has ended, the caller is cancelled.
    """
    if cooperator is None:
        cooperator = get_cooperator()
    elif not isinstance(cooperator, Cooperator):
        shown = reprlib.repr(cooperator)
        raise TypeError(f"cooperator must be a Cooperator or None, got {shown}")
    steps = steps_of(function, *args, preempt=preempt)
    task = cooperator.cooperate(steps, name=name, weight=weight, context=context, group=group)
    del function, args, steps
    try:
        return await task
    finally:
        del task  # an exception refers to this frame


def in_slices(function: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Make an ordinary function one that is awaited, and runs in time slices.

    Above the `def` handler of a web framework, in place of the framework's thread:

        @app.get("/report")
        @in_slices
        def report(year: int) -> Report: ...

    Args:
        function: As for `to_slices`. Its name, its signature and its docs are kept.

    Raises:
        TypeError: As for `to_slices`; it is raised where the function is decorated.

    Cancellation: as for `to_slices`.
    """
    check_function(function)

    @functools.wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return await to_slices(functools.partial(function, *args, **kwargs))

    return call
