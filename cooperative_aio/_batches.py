"""Stream what an iterator yields, in batches as they come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Hashable, Iterable
from contextvars import Context
from types import TracebackType
from typing import Any, Self, TypeVar

from cooperative_aio._accumulate import BatchSource, collect, is_source
from cooperative_aio._collector import Collector
from cooperative_aio._cooperator import Cooperator
from cooperative_aio._errors import (
    SchedulerError,
    TaskDone,
    TaskFailed,
    TaskStopped,
    check_count,
    check_finite,
)
from cooperative_aio._task import CooperativeTask, Ended, Outcome

__all__ = ["Batches", "batches"]

T = TypeVar("T")


class _Stream(Collector[None]):
    """Collect values into lists, at most one ahead of the consumer.

    A list that is full is `_offered`. While the one before has not been taken, the
    task is held: it does not compete for time.
    """

    __slots__ = ("_began", "_due", "_held", "_offered", "_wanted")

    def _begin(self) -> None:
        self._values: list[Any] = []
        self._keep = self._store
        self._offered: list[Any] | None = None
        self._wanted: asyncio.Future[None] | None = None  # the consumer waits on it
        self._held = False
        self._due = False  # the consumer will have what there is
        self._began = self.get_loop().time()  # the batch that is being made

    # Making batches

    def _store(self, value: Any) -> None:
        self._values.append(value)
        self._offer_if_ready()

    def _take_batches(self) -> None:
        self._watch()
        self._keep = self._offer

    def _offer(self, batch: list[Any]) -> None:
        """Hand over a batch of a source, full or not."""
        self._values = batch
        self._due = True
        self._offer_if_ready()

    def _take(self, steps: int, deadline: float) -> Outcome:
        room = self._per_turn - len(self._values)
        outcome = super()._take(min(steps, room), deadline)
        if not self.done():
            self._offer_if_ready()
        del self  # an exception of the iterator refers to this frame
        return outcome

    def _offer_if_ready(self) -> None:
        """Hand the values over, if they are to be, and make no more until they are taken."""
        if len(self._values) >= self._per_turn or (self._due and self._values):
            self._offered, self._values = self._values, []
            self._due = False
            self._held = True
            self._rest()
            self._notify()

    def _compete(self) -> None:
        if not self._held:
            super()._compete()

    def _after_step(self, outcome: Awaitable[Any] | None, *, is_ticking: bool) -> None:
        if outcome is None and self._winding_up and not self._must_cancel:
            # It yields on although it was cancelled, but nobody is there to take it.
            self._end(TaskStopped, close=True)
        else:
            super()._after_step(outcome, is_ticking=is_ticking)

    def _returned(self, value: Any) -> Ended:
        return CooperativeTask._returned(self, value)

    def _end(self, how: type[SchedulerError], **outcome: Any) -> None:
        if how in (TaskDone, TaskFailed) and self._values:
            self._offered, self._values = self._values, []
        CooperativeTask._end(self, how, **outcome)
        self._notify()

    def _notify(self) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    # Taking them

    def take(self) -> list[Any] | None:
        """Take the batch that is ready, if one is, and have the next one made."""
        batch, self._offered = self._offered, None
        if batch is not None:
            self._began = self.get_loop().time()
            self._held = False
            if not (self.done() or self._pauses or self._waiter is not None):
                self._compete()
        return batch

    async def wait(self, max_seconds: float | None) -> None:
        """Wait until a batch is ready, or the task has ended.

        Cancellation: cancels the task and waits for its end.
        """
        loop = self.get_loop()
        self._wanted = loop.create_future()
        timer: asyncio.TimerHandle | None = None
        if max_seconds is not None:
            timer = loop.call_at(self._began + max_seconds, self._fall_due)
        try:
            await self._wanted
        except asyncio.CancelledError as error:
            self.cancel(*error.args[:1])
            while not self.done():
                try:
                    await asyncio.wait([self])
                except asyncio.CancelledError as again:
                    self.cancel(*again.args[:1])
            raise
        finally:
            self._wanted = None
            self._due = False
            if timer is not None:
                timer.cancel()
            del self  # the caller may keep the error, which refers to this frame

    def _fall_due(self) -> None:
        self._due = True
        self._offer_if_ready()


class Batches(AsyncIterator[list[T]]):
    """Iterate asynchronously over batches: what `batches()` returns.

    It is an asynchronous iterator and context manager. The generator behind it is
    closed when it has come to its end or failed, by `aclose()`, on leaving the
    context, and when the last reference to this is dropped.

    Cancellation: while a batch is waited for, it throws CancelledError into the
    generator; leaving the context closes the generator.
    """

    def __init__(
        self,
        iterable: Iterable[T | None] | BatchSource[T],
        start: Callable[[Iterable[T | None] | BatchSource[T]], _Stream],
        max_seconds: float | None,
    ) -> None:
        self._iterable: Iterable[T | None] | BatchSource[T] | None = iterable
        self._source: Any = iterable if is_source(iterable) else None
        self._start: Callable[[Iterable[T | None] | BatchSource[T]], _Stream] | None = start
        self._max_seconds = max_seconds
        self._stream: _Stream | None = None
        self._waiting = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[T]:
        """Return the next batch.

        Raises:
            StopAsyncIteration: The iterable has come to its end, or this was closed.
            TypeError: As for `accumulate`; what was given is looked at with the first batch.
            ValueError: As for `accumulate`.
            RuntimeError: Another coroutine is waiting for a batch.
            SchedulerFull: The Cooperator has `max_tasks` unfinished tasks.
            SchedulerStopped: The Cooperator was stopped.
            BaseException: Whatever the iterable raised, after the last batch.

        Cancellation: throws CancelledError into the generator; once it has ended,
            the caller is cancelled.
        """
        if self._waiting:
            raise RuntimeError("cannot wait for a batch while another coroutine does")
        if self._start is not None:
            start, self._start = self._start, None
            iterable: Any = self._iterable
            self._iterable = None
            self._stream = start(iterable)
            del iterable
        stream = self._stream
        if stream is None:
            raise StopAsyncIteration
        try:
            batch = stream.take()
            if batch is None and not stream.done():
                await self._wait(stream)
                batch = stream.take()
            if batch is not None:
                return batch
            closed, self._stream = self._stream is None, None
            if not closed:
                stream.result()
            raise StopAsyncIteration
        finally:
            del stream  # an exception of its own refers to this frame

    async def _wait(self, stream: _Stream) -> None:
        self._waiting = True
        try:
            await stream.wait(self._max_seconds)
        except asyncio.CancelledError:
            if stream.cancelled() or stream.exception() is None:
                self._stream = None
                raise
            stream.take()  # the clean-up has failed: that is what the caller shall see
        finally:
            self._waiting = False
            del stream

    async def aclose(self) -> None:
        """Close the generator; iterating over this ends.

        Raises:
            BaseException: What closing a source has raised.

        Cancellation: does not suspend, but for a source, which is closed all the same.
        """
        self._start = None
        iterable, self._iterable = self._iterable, None
        stream, self._stream = self._stream, None
        if stream is not None and not stream.done():
            stream.stop()
        elif isinstance(iterable, Generator):
            iterable.close()
        source, self._source = self._source, None
        if source is not None:
            await source.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        stream = self._stream
        if stream is not None and not stream.done():
            with contextlib.suppress(RuntimeError):  # the loop is closed
                stream.get_loop().call_soon_threadsafe(_stop_unfinished, stream)


def _stop_unfinished(stream: _Stream) -> None:
    if not stream.done():
        stream.stop()


def batches(
    max_batch_size: int,
    iterable: Iterable[T | None] | BatchSource[T],
    cooperator: Cooperator | None = None,
    *,
    max_seconds: float | None = None,
    name: str | None = None,
    weight: float = 1.0,
    context: Context | None = None,
    group: Hashable = None,
) -> Batches[T]:
    """Step `iterable` and stream its values but None, in lists as they are full.

    While the consumer deals with a batch the next one is made, but no more than that.

    Args:
        max_batch_size: The number of values in a batch, at least 1; the last batch
            may be shorter.
        iterable: As for `accumulate`.
        cooperator: As for `accumulate`.
        max_seconds: Hand over what there is (if there is something) when the
            consumer waits and so many seconds have passed since the last batch.
        name: As for `Cooperator.cooperate`.
        weight: As for `Cooperator.cooperate`.
        context: As for `Cooperator.cooperate`.
        group: As for `Cooperator.cooperate`.

    Returns:
        An asynchronous iterator, which starts when it is first asked for a batch.

    Raises:
        TypeError: `max_batch_size` is not an integer, or `max_seconds` not a number.
        ValueError: One of them is too small.

    Cancellation: nothing is waited for here; what it does to who waits for a batch is
    said of `Batches`.
    """
    check_count("max_batch_size", max_batch_size)
    if max_seconds is not None:
        check_finite("max_seconds", max_seconds, positive=True)

    def start(iterable: Iterable[T | None] | BatchSource[T]) -> _Stream:
        return collect(
            *(iterable, cooperator, _Stream, max_batch_size, name, weight, context, group),
            max_seconds=max_seconds,
        )

    return Batches(iterable, start, max_seconds)
