"""What a tasklet waits for: what ends by itself, and all that it has yielded."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Generator, Sequence
from enum import Enum
from functools import partial
from typing import Any, Generic, TypeVar

from cooperative_aio._checks import quote
from cooperative_aio.tasklet._conditions import Exclusive, WaitCondition
from cooperative_aio.tasklet._ending import Joinable, as_tasklet, is_tasklet

T = TypeVar("T")


class _Completion(Exclusive):
    """The condition that a future is done, whatever owns it."""

    once = True

    def __init__(self) -> None:
        super().__init__()
        self._token: object = None
        self._unwatch: Callable[[], object] = object

    def _watch(self, tasklet: Joinable[Any], future: asyncio.Future[Any]) -> None:
        if future is tasklet:
            raise RuntimeError("cannot wait for a tasklet in itself; it would never end")
        if future.get_loop() is not tasklet.get_loop():
            raise RuntimeError(f"cannot wait for {quote(future)}; it belongs to another loop")
        # A loop that has it in its queue calls it even after it was removed: the token
        # tells which arming it was made for.
        self._token = token = object()
        callback = partial(self._completed, token)
        future.add_done_callback(callback)
        self._unwatch = partial(future.remove_done_callback, callback)

    def _completed(self, token: object, _future: asyncio.Future[Any]) -> None:
        if token is self._token:
            self._fire()

    def _stop(self) -> None:
        self._token = None
        self._unwatch()


class WaitForTasklet(_Completion, Generic[T]):
    """The condition that another tasklet has ended.

    `retval` is then its result; an exception of the other tasklet is raised at the `yield`.
    (In Kiwi, failures are lost.) The other tasklet goes on if this condition is dropped.

    Args:
        tasklet: The other tasklet; it may have ended already.

    Raises:
        TypeError: The argument is not a tasklet. A tasklet that waits for itself, or for
            one of another loop, gets a RuntimeError at the `yield`.
    """

    def __init__(self, tasklet: Joinable[T]) -> None:
        super().__init__()
        self.tasklet: Joinable[T] = as_tasklet("tasklet", tasklet)
        self.owned = False
        self.retval: T | None = None

    def deliver(self) -> WaitForTasklet[T]:
        """Return this condition with its `retval` set, or raise what the tasklet raised."""
        self.retval = self.tasklet.result()
        return self

    def _start(self, tasklet: Joinable[Any]) -> None:
        self._watch(tasklet, self.tasklet)


class Event(Enum):
    """What the `yield` of an awaitable gives."""

    CONDITION = "the condition, as of all others"
    FUTURE = "the future that is done: one of several, as from asyncio.wait"
    RESULT = "the result: nothing else was waited for, as with await"


class WaitForAwaitable(_Completion, Generic[T]):
    """The condition that an awaitable is done.

    `retval` is then its result; its exception is raised at the `yield`. A coroutine
    runs as a task of its own, which is cancelled as soon as the tasklet no longer waits
    for it; a future is left alone. Kiwi has nothing like it.

    Args:
        awaitable: A future, a coroutine, or anything with `__await__`.

    Raises:
        TypeError: The argument is not awaitable. A future of another loop is a RuntimeError
            at the `yield`.
    """

    def __init__(self, awaitable: Awaitable[T]) -> None:
        super().__init__()
        if not (asyncio.isfuture(awaitable) or inspect.isawaitable(awaitable)):
            raise TypeError(f"awaitable must be awaitable, got {quote(awaitable)}")
        self.awaitable = awaitable
        self._future: asyncio.Future[T] | None = None
        self.event = Event.CONDITION
        self.retval: T | None = None

    def deliver(self) -> object:
        """Return the event with its `retval` set, or raise what the awaitable raised."""
        future = self._future
        assert future is not None  # noqa: S101 - an occurrence has its future
        self.retval = future.result()
        return {Event.CONDITION: self, Event.FUTURE: future, Event.RESULT: self.retval}[
            self.event
        ]

    def _start(self, tasklet: Joinable[Any]) -> None:
        if self._future is None or not self._future.done():
            self._future = self._as_future(tasklet)
        self._watch(tasklet, self._future)

    def _as_future(self, tasklet: Joinable[Any]) -> asyncio.Future[T]:
        awaitable = self.awaitable
        if asyncio.isfuture(awaitable):
            return awaitable
        coroutine = awaitable if inspect.iscoroutine(awaitable) else _await(awaitable)
        # A copy: the coroutine may call what resumes the tasklet, and no context can be
        # entered twice (test_an_owned_coroutine_may_resume_its_own_tasklet).
        return tasklet.get_loop().create_task(coroutine, context=tasklet.context.copy())

    def _stop(self) -> None:
        super()._stop()
        future = self._future
        assert future is not None  # noqa: S101 - it is armed
        if future is not self.awaitable:
            future.cancel()


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


EXPECTED = (
    "yielded values must be a Message, or one or several of WaitConditions, Tasklets, "
    "generators and awaitables"
)


class Round:
    """The conditions of one wait, and what was yielded for each of them."""

    def __init__(self) -> None:
        self.conditions: list[WaitCondition] = []
        self._yielded: list[object] = []

    def same(self, yielded: object) -> bool:
        """Tell whether this is again the one condition that was yielded last."""
        return len(self._yielded) == 1 and self.conditions[0] is yielded

    def next(
        self, yielded: object, new_tasklet: Callable[[Generator[Any, Any, Any]], Joinable[Any]]
    ) -> tuple[Round, list[Joinable[Any]]]:
        """Return the round that `yielded` asks for, and the tasklets it has to start.

        What was yielded in the last round, too, keeps its condition.

        Raises:
            TypeError: It is nothing that a tasklet can wait for.
            ValueError: It is an empty list or tuple.
        """
        sole = not isinstance(yielded, (list, tuple))
        values: Sequence[object] = [yielded] if sole else yielded  # type: ignore[assignment]
        if not values:
            raise ValueError(f"{EXPECTED}, got {quote(yielded)}")
        for value in values:
            if not _valid(value):
                raise TypeError(f"{EXPECTED}, got {quote(value)}")
        known = {id(v): c for v, c in zip(self._yielded, self.conditions, strict=True)}
        new = Round()
        started: list[Joinable[Any]] = []
        for value in {id(v): v for v in values}.values():
            condition = known.get(id(value)) or _condition(value, new_tasklet, started)
            if isinstance(condition, WaitForAwaitable) and value is not condition:
                condition.event = Event.RESULT if sole else Event.FUTURE
            new._yielded.append(value)
            new.conditions.append(condition)
        return new, started

    def arm(self, tasklet: Joinable[Any], armed: set[int]) -> None:
        """Arm the conditions that are not armed yet.

        When one cannot be armed, only those that were remain.
        """
        new = [c for c in self.conditions if id(c) not in armed]
        for place, condition in enumerate(new):
            try:
                condition.arm(tasklet)
            except BaseException:
                pairs = zip(self._yielded, self.conditions, strict=True)
                left = [(v, c) for v, c in pairs if id(c) in armed]
                self._yielded, self.conditions = [v for v, _ in left], [c for _, c in left]
                for other in new[:place]:
                    tasklet.disarm(other)
                raise


def _valid(value: object) -> bool:
    return (
        isinstance(value, (WaitCondition, Generator))
        or asyncio.isfuture(value)
        or inspect.isawaitable(value)
    )


def _condition(
    value: Any,
    new_tasklet: Callable[[Generator[Any, Any, Any]], Joinable[Any]],
    started: list[Joinable[Any]],
) -> WaitCondition:
    if isinstance(value, WaitCondition):
        return value
    if is_tasklet(value):
        return WaitForTasklet(value)
    if isinstance(value, Generator):
        tasklet = new_tasklet(value)
        started.append(tasklet)
        condition = WaitForTasklet(tasklet)
        condition.owned = True
        return condition
    return WaitForAwaitable(value)
