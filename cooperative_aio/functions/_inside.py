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
    """Set the calling function aside here, if its time slice is over.

        def total(numbers):
            result = 0
            for number in numbers:
                result += number
                give_way()
            return result

        print(await to_slices(total, range(1000), preempt=False))

    A function that runs in slices may call it often and at any depth: while the slice lasts
    it costs little more than reading the clock. It does nothing outside of such a function,
    so a library can call it always. It also does nothing where a function is never
    set aside: inside `uninterrupted()`, in a `with` on a lock, in code that `logging` calls.
    """
    function = getcurrent()
    if type(function) is Function and function.clock() >= function.deadline:
        _give_way(function)


def _give_way(function: Function) -> None:
    if not function.kept and not collecting() and may_leave(sys._getframe(2)):
        function.leave_and_go_on(None)


def wait_on(awaitable: Awaitable[T]) -> T:
    """Suspend the calling function, and nothing else, until `awaitable` is done.

        def greet():
            return wait_on(asyncio.sleep(0, "hello"))

        print(await to_slices(greet))

    A function that runs in slices may call it at any depth.

    Args:
        awaitable: A future, a coroutine, or anything else with `__await__`.

    Returns:
        The result of the awaitable.

    Raises:
        TypeError: The argument is not awaitable.
        RuntimeError: Called outside of a function that runs in slices; or in a
            `finally` while the function is stopped; or in a garbage collection.
        BaseException: Whatever the awaitable raised.

    Cancellation: if the function's task is cancelled, the awaitable is cancelled too, and
    CancelledError is raised here. If the task is stopped, a coroutine is cancelled, and a
    future that the function did not make is left alone.
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
    """Context in which a function that runs in slices is not set aside.

        def move(amount, source, target):
            with uninterrupted():  # nothing else on the loop sees one without the other
                source["balance"] -= amount
                target["balance"] += amount

        await to_slices(move, 5, {"balance": 10}, {"balance": 0})

    It is also for code that holds a lock which it took by `acquire()`. Inside,
    `give_way()` does nothing; `wait_on()` still waits. It may be nested, and does nothing
    outside of a function that runs in slices.
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
