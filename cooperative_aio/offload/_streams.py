"""The near side: a source, what it has ordered, and what has come.

=========  ==========================================================
new        nothing was asked for, and nothing runs anywhere
open       its job is queued or under way
finished   the generator has ended there; batches may be left here
=========  ==========================================================

In each of these states it may be closed as well: then nothing more is handed over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Generic, Protocol, Self, TypeVar

from anyio import CancelScope

from cooperative_aio.offload._core import check_count, check_finite
from cooperative_aio.offload._pulling import Order
from cooperative_aio.offload._wire import SourceClosed, quoted

__all__ = ["Job", "Link", "Source", "Stream", "outlast"]

T = TypeVar("T")
E = TypeVar("E", BaseException, BaseException | None)


class Link(Protocol):
    """What connects a stream with its generator."""

    def put(self, order: Order, count: int) -> None:
        """Order so many batches."""

    def close(self) -> None:
        """Have the generator closed after its current step."""

    def kill(self) -> None:
        """End it by force: it did not end in time."""

    def load(self, data: Any) -> list[Any]:
        """Return the values of a batch as it came."""
        ...


class Stream:
    """The batches of one generator: ordered ahead, kept until taken, seen to the end.

    Args:
        name: What messages call the generator.
        call: What makes the generator, as the place wants it.
        job: Runs the generator; started when the first batch is wanted.
        prefetch: The number of batches that are made ahead at most.
        grace: How long, in seconds, the generator may take to be closed.
    """

    def __init__(self, name: str, call: Any, job: Job, prefetch: int, grace: float) -> None:
        self.name: str = name
        self.call: Any = call
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self.loop.create_future()
        self.closing: bool = False
        self.queued: bool = False  # the job waits for its turn
        self._job = job
        self._task: asyncio.Task[None] | None = None
        self._prefetch = prefetch
        self._grace = grace
        self._timer: asyncio.TimerHandle | None = None
        self._link: Link | None = None
        self._taking = False
        self._waiter: asyncio.Future[None] | None = None
        self._batches: deque[Any] = deque()  # as they came
        self._rest: list[Any] = []  # of one that was larger than asked for
        self._last_order = Order(1, None)
        self._owed = 0  # batches that were ordered and have not come
        self._error: BaseException | None = None
        self._closers = 0  # who will be told of an error in the clean-up

    @property
    def idle(self) -> bool:
        """Whether nothing runs anywhere: it is new, or finished."""
        return self._task is None or self._task.done()

    def __str__(self) -> str:
        state = "new" if self._task is None else "finished" if self.over.done() else "open"
        return f"{'closed' if self.closing else state} {self.name}"

    # Taking batches

    async def take(self, order: Order) -> list[Any]:
        """Return the next batch: see `Source.next_batch`."""
        if asyncio.get_running_loop() is not self.loop:
            raise RuntimeError(f"cannot take a batch of {self.name} on another event loop")
        if self._taking:
            raise RuntimeError(
                f"cannot take a batch of {self.name} while another coroutine waits for one"
            )
        self._check_open()
        self._taking = True
        try:
            await self._wait_for_batch(order)
        finally:
            self._taking = False
        values = self._rest
        if self._batches and not values:
            values = self._load(self._batches.popleft())
        self._order(order, self._prefetch)
        self._rest = values[order.size :]
        return values[: order.size] if self._rest else values

    async def _wait_for_batch(self, order: Order) -> None:
        if self._task is None:
            self._task = self.loop.create_task(self._job(self), name=f"source {self.name}")
            self._task.add_done_callback(self._ended)
        while not (self._rest or self._batches or self.over.done()):
            self._order(order, 1 + self._prefetch)
            self._waiter = self.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
            self._check_open()
        if not (self._rest or self._batches) and self._error is not None:
            error, self._error = self._error, None
            try:
                raise error
            finally:
                del error, self  # the traceback refers to this frame

    def _check_open(self) -> None:
        if self.closing:
            raise SourceClosed(f"cannot take a batch of {self.name}; it was closed")

    def _order(self, order: Order, ahead: int) -> None:
        """Have as many batches ordered or here."""
        self._last_order = order
        count = ahead - len(self._batches) - self._owed
        if count > 0 and not self.over.done():
            self._owed += count
            if self._link is not None:
                self._link.put(order, count)

    def _load(self, batch: Any) -> list[Any]:
        assert self._link is not None  # noqa: S101 (it has brought a batch)
        try:
            return self._link.load(batch)
        except BaseException as error:
            safe = safely(error, f"unpickling a batch of {self.name}")
            if safe is error:
                raise
            raise safe from error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the job does with it

    def connect(self, link: Link) -> None:
        """Let `link` have the orders, and whatever comes after them."""
        self._link = link
        link.put(self._last_order, self._owed)

    def disconnect(self) -> None:
        """Wait for another link: nothing of the generator had begun when that one died."""
        self._link = None

    def receive(self, data: Any) -> None:
        """Take a batch that has come."""
        self._owed -= 1
        if not self.closing:
            self._batches.append(data)
            self._wake()

    def finish(self, error: BaseException | None) -> None:
        """Note that the generator has ended; what comes first is what counts."""
        if not self.over.done():
            self.over.set_result(None)
            self._error = safely(error, f"the generator of {self.name}")
            self._wake()

    async def settle(self, ended: asyncio.Future[None] | None = None) -> None:
        """Wait until the generator has ended, or for `ended` if that is given.

        Cancellation: has the generator closed, and takes effect when that is done.
        """
        ended = ended or self.over
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            self.abandon()
            await outlast(ended)
            raise

    # Closing

    def abandon(self) -> None:
        """Have the generator closed there, and do not wait for it."""
        if self.closing:
            return
        self.closing = True
        self._batches.clear()
        self._rest = []
        self._wake()
        if self.over.done():
            self._error = None  # of work that nobody had asked for yet
        elif self._link is not None:
            self._link.close()
            self._timer = self.loop.call_later(self._grace, self._link.kill)
        elif self._task is not None and self.queued:
            self._task.cancel()

    async def close(self) -> None:
        """Have the generator closed there, and wait for it."""
        self.abandon()
        if self._task is None:
            return
        self._closers += 1
        try:
            await asyncio.wait([self._task])
        finally:
            self._closers -= 1
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _ended(self, _task: asyncio.Task[None]) -> None:
        """Clean up after the job."""
        if self._timer is not None:
            self._timer.cancel()
        if self.closing and self._error is not None and not self._closers:
            error, self._error = self._error, None
            message = f"closing the generator of {self.name} failed"
            self.loop.call_exception_handler({"message": message, "exception": error})


Job = Callable[[Stream], Coroutine[Any, Any, None]]


class Source(Generic[T]):
    """The values of a generator that runs elsewhere, batch by batch.

    `accumulate`, `batch_accumulate` and `batches` take it in place of an iterable. The
    generator starts when the source is first asked for a batch. It is closed when the
    source is closed, when the place is left, and when the last reference to the source is
    dropped. The source is also an asynchronous context manager.

    Cancellation: leaving the context closes the source in any case; see `close`.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    @property
    def name(self) -> str:
        """What messages and the monitor call it: the name of its factory."""
        return self._stream.name

    async def next_batch(self, n: int, max_seconds: float | None = None) -> list[T]:
        """Return up to `n` values; an empty list when there are no more.

        There are fewer when the generator ends, when `max_seconds` have passed, and
        when they were made ahead for a smaller `n`. As many batches as the place
        prefetches are made ahead, each of the size that was asked for last.

        Args:
            n: The number of values, at least 1. Nones are left out and do not count.
            max_seconds: After this many seconds of making the batch, return the values that
                there are, if there are any; None to wait for `n` values.

        Raises:
            TypeError: An argument is not a number, or a value cannot be pickled.
            ValueError: An argument is too small.
            SourceClosed: The source was closed, or its place was left.
            WorkerDied: The worker died, and the generator with it.
            RuntimeError: Another coroutine is waiting for a batch.
            BaseException: Whatever the generator raised, after the last batch.

        Cancellation: loses no value; the generator goes on until the source is closed.
        """
        check_count("n", n)
        if max_seconds is not None:
            check_finite("max_seconds", max_seconds, positive=True)
        return await self._stream.take(Order(n, max_seconds))

    def abandon(self) -> None:
        """Have the generator closed, without waiting for that; its place waits on leaving."""
        self._stream.abandon()

    async def close(self) -> None:
        """Have the generator closed after its current step, and wait for its end.

        Raises:
            WorkerDied: The worker died before the generator was closed.
            BaseException: Whatever the generator raised when it was closed.

        Cancellation: the generator is closed all the same.
        """
        await self._stream.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._stream}>"

    def __del__(self) -> None:
        stream = self._stream
        if not (stream.closing or stream.idle or stream.loop.is_closed()):
            stream.loop.call_soon_threadsafe(stream.abandon)


SIGNALS: Final = (
    *(SystemExit, KeyboardInterrupt),  # asyncio lets them end the loop
    *(asyncio.CancelledError, GeneratorExit),  # ... cancel the task that awaits
    *(StopIteration, StopAsyncIteration),  # ... end its loop over the batches
)
"""What means something else where it is awaited than where it was raised."""


def safely(error: E, what: str) -> E | RuntimeError:
    """Return `error`, or in its place one that can be raised here without harm."""
    if not isinstance(error, SIGNALS):
        return error
    safe = RuntimeError(f"{what} raised {quoted(error)}")
    safe.__cause__ = error
    return safe


async def outlast(*futures: asyncio.Future[Any]) -> None:
    """Wait until all are done, through cancellations, the last of which is raised then."""
    cancelled: asyncio.CancelledError | None = None
    with CancelScope(shield=True):
        while pending := [future for future in futures if not future.done()]:
            try:
                await asyncio.wait(pending)
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        raise cancelled
