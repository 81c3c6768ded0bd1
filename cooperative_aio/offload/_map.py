"""Many generators over one place."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, TypeVarTuple, Unpack

from cooperative_aio.offload._core import check_count, check_finite
from cooperative_aio.offload._places import Place
from cooperative_aio.offload._streams import outlast

__all__ = ["Results", "map"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _Handover:
    """Queue with room for one item, and for None as the last."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[Any, list[Any]] | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(1)

    async def put(self, item: tuple[Any, list[Any]]) -> None:
        await self._room.acquire()
        self._queue.put_nowait(item)

    def end(self, _work: object) -> None:
        self._queue.put_nowait(None)

    async def get(self) -> tuple[Any, list[Any]] | None:
        item = await self._queue.get()
        self._room.release()
        return item


class Results(AsyncIterator[tuple[tuple[*Ts], list[T]]], Generic[T, *Ts]):
    """An asynchronous iterator over the batches of many generators; `map()` makes it.

    It is also an asynchronous context manager. The generators are closed when one of them
    has failed, by `aclose()`, on leaving the context, and when the last reference to this
    object is dropped.

    Cancellation: while a batch is waited for, it loses none. Leaving the context closes the
    generators in any case, and a cancellation takes effect when they have ended.
    """

    def __init__(self, work: Callable[[_Handover], Coroutine[Any, Any, None]]) -> None:
        self._start = work
        self._handover = _Handover()
        self._work: asyncio.Task[None] | None = None
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[tuple[*Ts], list[T]]:
        """Return the next batch, after the arguments of the generator that made it.

        Raises:
            StopAsyncIteration: All generators have ended, or were closed.
            BaseException: Whatever one of them raised; the others are closed by then.

        Cancellation: loses no batch; the generators go on until `aclose()`.
        """
        if self._closed:
            raise StopAsyncIteration
        if self._work is None:
            self._work = asyncio.create_task(self._start(self._handover))
            self._work.add_done_callback(self._handover.end)
        item = await self._handover.get()
        if item is not None:
            return item
        if not self._closed:
            self._closed = True
            self._work.result()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Close the generators, and wait for their ends; the iteration ends.

        Cancellation: takes effect when the generators have ended.
        """
        self._closed = True
        if self._work is not None:
            self._work.cancel()
            await outlast(self._work)
            if not self._work.cancelled():
                self._work.exception()  # of work that nobody had asked for yet

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
        if self._work is not None and not self._work.done():
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._work.get_loop().call_soon_threadsafe(self._work.cancel)


def map(  # noqa: A001 (it is offload.map)
    place: Place,
    factory: Callable[[Unpack[Ts]], Iterable[T | None]],
    argument_tuples: Iterable[tuple[*Ts]],
    *,
    limit: int | None = None,
    max_batch_size: int = 1000,
    max_seconds: float | None = None,
) -> Results[T, *Ts]:
    """Run `factory(*arguments)` for many arguments, some at a time, and stream the values.

        async for (seed,), batch in offload.map(place, simulate, zip(range(100))):
            totals[seed] += sum(batch)

    The batches of one generator come in order, those of several as they are made. While
    the consumer deals with a batch, at most one of each generator is taken.

    Args:
        place: The place where the generators run.
        factory: A generator function, or another function that returns an iterable.
        argument_tuples: The arguments, a tuple for each generator; taken one by one.
        limit: The number of generators that are open at the same time, at least 1; by
            default, the `limit` of the place.
        max_batch_size: The number of values in a batch, at least 1.
        max_seconds: After this many seconds of making a batch, hand over the values that
            there are, if there are any; None to wait for a full batch.

    Returns:
        An asynchronous iterator over pairs of arguments and batch, which starts when
        it is first asked for one.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A number is too small.

    Cancellation: nothing is awaited here. `Results` says what cancelling does while a batch
    is waited for.
    """
    bound: int = getattr(place, "limit", 1) if limit is None else limit
    check_count("limit", bound)
    check_count("max_batch_size", max_batch_size)
    if max_seconds is not None:
        check_finite("max_seconds", max_seconds, positive=True)
    arguments = iter(argument_tuples)

    async def run(handover: _Handover) -> None:
        for each in arguments:
            source = place.open(factory, *each)
            try:
                while len(batch := await source.next_batch(max_batch_size, max_seconds)):
                    await handover.put((each, list(batch)))
                    del batch
            finally:
                await source.close()

    return Results(functools.partial(_run_all, run, bound))


async def _run_all(
    run: Callable[[_Handover], Coroutine[Any, Any, None]], limit: int, handover: _Handover
) -> None:
    """Run so many at a time; when one fails, end the others."""
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(limit):
                group.create_task(run(handover))
    except BaseExceptionGroup as errors:
        first = errors.exceptions[0]
        raise first from first.__cause__
