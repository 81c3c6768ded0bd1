"""Stream what an iterator yields, in batches as they come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from cooperative_aio._accumulate import check_batch_size, collect
from cooperative_aio._checks import check_finite
from cooperative_aio._cooperator import Cooperator
from cooperative_aio._draining import BatchSource, Draining, is_source
from cooperative_aio._futures import wake
from cooperative_aio._options import TaskOptions
from cooperative_aio._sinks import Ahead, Keeper
from cooperative_aio._task import CooperativeTask, job_of

__all__ = ["Batches", "batches"]

T = TypeVar("T")


class _Stream:
    """The consumer's end of a task that makes batches."""

    def __init__(self, size: int) -> None:
        self.sink: Ahead = Ahead(size, self._notify)
        self._wanted: asyncio.Future[None] | None = None  # the consumer waits on it
        self.is_intact: bool = True  # its consumer was not cancelled before its end

    def begin(self, task: CooperativeTask[Any], draining: Draining | None) -> None:
        """Have `task` make the batches, or `draining` if they come from a source."""
        self._keeper: Keeper = draining or job_of(task)
        self.task: CooperativeTask[Any] = task
        self._loop = task.get_loop()
        self._began = self._loop.time()  # the batch that is being made

    def _notify(self) -> None:
        wake(self._wanted)

    def take(self) -> list[Any] | None:
        """Take the batch that is ready, if one is, and have the next one made."""
        batch, self.sink.offered = self.sink.offered, None
        if batch is not None:
            self._began = self._loop.time()
            self._keeper.hold(held=False)
        return batch

    async def wait(self, max_seconds: float | None) -> None:
        """Wait until a batch is ready, or the task has ended.

        Cancellation: cancels the task and waits for its end.
        """
        task = self.task
        self._wanted = self._loop.create_future()
        if task.done() or self.sink.offered is not None:
            wake(self._wanted)
        timer: asyncio.TimerHandle | None = None
        if max_seconds is not None:
            timer = self._loop.call_at(
                self._began + max_seconds, self.sink.fall_due, self._keeper
            )
        try:
            await self._wanted
        except asyncio.CancelledError as error:
            self.is_intact = task.done()  # in this very turn: what it has made is kept
            self.sink.abandon()
            task.cancel(*error.args[:1])
            while not task.done():
                try:
                    await asyncio.wait([task])
                except asyncio.CancelledError as again:
                    task.cancel(*again.args[:1])
            raise
        finally:
            self._wanted = None
            self.sink.not_due()
            if timer is not None:
                timer.cancel()
            del self, task  # the caller may keep the error, which refers to this frame

    def stop(self) -> None:
        """End the task, if it has not ended."""
        if not self.task.done():
            self.task.stop()


class Batches(AsyncIterator[list[T]]):
    """An asynchronous iterator over batches, and a context manager; `batches()` makes it.

    The generator behind it is closed by `aclose()`, on leaving the context, and when the
    last reference to this object is dropped.

    Cancellation: while a batch is waited for, it throws CancelledError into the
    generator. Leaving the context closes the generator.
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
            StopAsyncIteration: The iterable has come to its end, or was closed.
            TypeError: An argument of `batches` is of the wrong kind; or an iterator that
                cannot receive results has yielded an awaitable.
            ValueError: A number that was given to `batches` is out of range.
            RuntimeError: Another coroutine is waiting for a batch.
            SchedulerFull: The Cooperator has `max_tasks` unfinished tasks.
            SchedulerStopped: The Cooperator was stopped.
            BaseException: Whatever the iterable raised, after the last batch.

        Cancellation: throws CancelledError into the generator, and is raised here once
            the generator has ended.
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
            if batch is None and not stream.task.done():
                await self._wait(stream)
                batch = stream.take()
            if batch is not None:
                return batch
            closed, self._stream = self._stream is None, None
            if not closed:
                _raise_error_of(stream.task)
            raise StopAsyncIteration
        finally:
            del stream  # an exception of its own refers to this frame

    async def _wait(self, stream: _Stream) -> None:
        self._waiting = True
        try:
            await stream.wait(self._max_seconds)
        except asyncio.CancelledError:
            if not stream.is_intact:
                stream.sink.offered = None
                if stream.task.state == "failed":
                    return  # the clean-up has failed: that is what the caller shall see
                self._stream = None
                if stream.task.cancelled():
                    stream.task.result()  # raises what the generator has raised
            raise
        finally:
            self._waiting = False
            del stream

    async def aclose(self) -> None:
        """Close the generator; iterating over this ends.

        Raises:
            BaseException: Whatever closing a source has raised.

        Cancellation: does not suspend, except for a source, which is closed all the same.
        """
        self._start = None
        iterable, self._iterable = self._iterable, None
        stream, self._stream = self._stream, None
        if stream is not None:
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
        if stream is not None and not stream.task.done():
            with contextlib.suppress(RuntimeError):  # the loop is closed
                stream.task.get_loop().call_soon_threadsafe(stream.stop)


def _raise_error_of(task: CooperativeTask[Any]) -> None:
    """Raise what the task has failed with, if it has."""
    try:
        task.result()
    except StopAsyncIteration as error:
        raise RuntimeError("the iterable has raised StopAsyncIteration") from error
    finally:
        del task


def batches(
    max_batch_size: int,
    iterable: Iterable[T | None] | BatchSource[T],
    cooperator: Cooperator | None = None,
    *,
    max_seconds: float | None = None,
    **options: Unpack[TaskOptions],
) -> Batches[T]:
    """Step `iterable` and stream its values but None, in lists as they are full.

        squares = (number * number for number in range(10_000))
        async for batch in batches(4000, squares):
            print(len(batch))  # 4000, 4000, 2000

    While the consumer deals with a batch, the next one is made, and no more than that.

    Args:
        max_batch_size: The number of values in a batch, at least 1; the last batch
            may be shorter.
        iterable: A generator, or any other iterable; or a source of `offload`.
        cooperator: The Cooperator that steps it; the running loop's own by default.
        max_seconds: If the consumer has waited and this many seconds have passed since the
            last batch, hand over the values that there are, if there are any. None to wait
            for a full batch.
        **options: Those of the task, such as `name` and `weight`: see `TaskOptions`.

    Returns:
        An asynchronous iterator, which starts when it is first asked for a batch.

    Raises:
        TypeError: `max_batch_size` is not an integer, or `max_seconds` not a number.
        ValueError: One of them is too small.

    Cancellation: nothing is awaited here. `Batches` says what cancelling does while a batch
    is waited for.
    """
    check_batch_size(max_batch_size, iterable)
    if max_seconds is not None:
        check_finite("max_seconds", max_seconds, positive=True)

    def start(iterable: Iterable[T | None] | BatchSource[T]) -> _Stream:
        stream = _Stream(max_batch_size)
        draining = None
        if is_source(iterable):
            draining = Draining(iterable, max_batch_size, max_seconds, stream.sink)
        values: Any = draining or iterable
        stream.begin(
            collect(values, cooperator, max_batch_size, stream.sink, options), draining
        )
        return stream

    return Batches(iterable, start, max_seconds)
