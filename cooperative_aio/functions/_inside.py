"""What a function may call while it runs in slices."""

from __future__ import annotations

import asyncio
import inspect
import reprlib
import sys
from collections.abc import Awaitable
from types import TracebackType
from typing import TypeVar

from cooperative_aio.functions._collections import collecting
from cooperative_aio.functions._greenlets import Function, current_function, getcurrent
from cooperative_aio.functions._rules import may_leave

__all__ = ["give_way", "uninterrupted", "wait_on"]

T = TypeVar("T")


def give_way() -> None:
    """Be set aside here, if the time slice is over.

    To be called by a function that runs in slices, as often as it likes and at any depth:
    before the slice is over this costs little more than a reading of the clock. Outside
    of such a function, and under `uninterrupted()`, it does nothing, so that a library may
    call it always. It also does nothing where a function is never preempted: in a `with`
    on a lock, or below `logging`, say.
    """
    function = getcurrent()
    if type(function) is Function and function.clock() >= function.deadline:
        _give_way(function)


def _give_way(function: Function) -> None:
    if not function.kept and not collecting() and may_leave(sys._getframe(2)):
        function.leave_and_go_on(None)


def wait_on(awaitable: Awaitable[T]) -> T:
    """Suspend the function, and nothing else, until `awaitable` is done.

    To be called by a function that runs in slices, at any depth.

    Args:
        awaitable: A future, a coroutine, or anything else with `__await__`.

    Returns:
        Its result.

    Raises:
        TypeError: It is not awaitable.
        RuntimeError: Not called inside a function that runs in slices; or called in a
            `finally` while the function is stopped, or in a garbage collection.
        BaseException: Whatever the awaitable raised.

    Cancellation: if the task of the function is cancelled, so is what it waits on, and
    this raises CancelledError. If it is stopped, a coroutine is cancelled, and a future of
    somebody else's is left alone.
    """
    if not (asyncio.isfuture(awaitable) or inspect.isawaitable(awaitable)):
        raise TypeError(f"awaitable must be awaitable, got {reprlib.repr(awaitable)}")
    function = current_function()
    problem = ""
    if function is None:
        problem = "outside of a function that runs in slices; use `await`"
    elif function.ending:
        give_way()  # so that a function that catches this and goes on is found out
        problem = "in a function that is being stopped; clean up by cancel() instead"
    elif collecting():
        problem = "in a garbage collection; wait in the function itself"
    if problem:
        if inspect.iscoroutine(awaitable):
            awaitable.close()
        raise RuntimeError(f"cannot wait {problem}")
    assert function is not None  # noqa: S101 (for the type checker)
    result: T = function.leave_and_go_on(awaitable)
    return result


class uninterrupted:  # noqa: N801 (used as a function is)
    """Keep a function from being preempted: `with uninterrupted(): ...`.

    For what must not be seen half done by others on the loop, or holds a lock that it
    took by `acquire()`. Inside of it `give_way()` does nothing; `wait_on()` still waits.
    It may be nested; outside of a function that runs in slices it does nothing.
    """

    __slots__ = ("_entered",)

    def __init__(self) -> None:
        self._entered: list[Function | None] = []

    def __enter__(self) -> None:
        function = current_function()
        self._entered.append(function)
        if function is not None:
            function.kept += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        function = self._entered.pop()
        if function is not None:
            function.kept -= 1
            if kind is None and function.clock() >= function.deadline:
                _give_way(function)
