"""Collect what iterators yield: all of it, or in batches as it comes."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Final, Generic, TypeVar, Unpack

from cooperative_aio._checks import check_count, quote
from cooperative_aio._cooperator import Cooperator
from cooperative_aio._draining import BatchSource, Draining, is_source
from cooperative_aio._iterators import check_iterator
from cooperative_aio._options import TaskOptions
from cooperative_aio._own import start_task
from cooperative_aio._sinks import Bounded, Everything, Sink
from cooperative_aio._stepping import Chunks
from cooperative_aio._task import CooperativeTask

__all__ = [
    "BatchSource",
    "ValueBucket",
    "accumulate",
    "accumulation_handler",
    "batch_accumulate",
    "collect",
]

T = TypeVar("T")
V = TypeVar("V")


class ValueBucket(Generic[V]):
    """A function that collects the values that it is called with, except None.

        bucket = ValueBucket()
        bucket("a")
        bucket(None)
        print(bucket.drain_contents())  # deque(['a'])

    The `cooperative` package built its accumulators of it.
    """

    def __init__(self) -> None:
        self._values: deque[V] = deque()

    def __call__(self, value: V | None) -> None:
        """Append `value`, unless it is None."""
        if value is not None:
            self._values.append(value)

    def contents(self) -> deque[V]:
        """Return a copy of what was collected."""
        return self._values.copy()

    def drain_contents(self) -> deque[V]:
        """Return what was collected, and empty the bucket."""
        values, self._values = self._values, deque()
        return values


def accumulation_handler(stopped: object, bucket: ValueBucket[V]) -> deque[V]:  # noqa: ARG001
    """Return what `bucket` has collected, and empty it.

    In the `cooperative` package it was the last callback of the Deferred.

    Args:
        stopped: The iterator that has come to its end; not used.
        bucket: The bucket with its values.
    """
    return bucket.drain_contents()


async def accumulate(
    iterable: Iterable[T | None] | BatchSource[T],
    cooperator: Cooperator | None = None,
    *,
    max_items: int | None = None,
    max_bytes: int | None = None,
    **options: Unpack[TaskOptions],
) -> deque[T]:
    """Step `iterable` to its end and return all its values but None, in order.

        letters = await accumulate(letter for letter in "abc")
        print(letters)  # deque(['a', 'b', 'c'])

    An awaitable that a generator function yields is waited on, and is not a value.
    In the `cooperative` package this is `cooperative_accumulate`.

    Args:
        iterable: A generator, or any other iterable; or a source of `offload`, which is
            asked for 1,000 values at a time and closed in the end.
        cooperator: The Cooperator that steps it; the running loop's own by default.
        **options: Those of the task, such as `name` and `weight`: see `TaskOptions`.
        max_items: How many values to collect at most; None for no limit.
        max_bytes: How many bytes they may have together, each measured by
            `sys.getsizeof`, without the objects that it refers to. None for no limit.
            A limit makes cheap steps two to three times as expensive.

    Raises:
        TypeError: An argument is of the wrong kind; or an iterator that cannot receive
            results, such as a generator expression, has yielded an awaitable.
        ValueError: A number is out of range.
        AccumulationTooLarge: There are more values or bytes than were allowed. The
            generator was closed, and the values are dropped.
        SchedulerFull: The Cooperator has `max_tasks` unfinished tasks.
        SchedulerStopped: The Cooperator was stopped.
        BaseException: Whatever the iterable raised.

    Cancellation: throws CancelledError into the generator, and is raised here once the
    generator has ended. The values are dropped.
    """
    sink = _sink(max_items, max_bytes)
    values: Any = iterable
    if is_source(iterable):
        values = Draining(iterable, SOURCE_BATCH, None, sink)
    task: asyncio.Future[deque[T]] = collect(values, cooperator, 1, sink, options)
    del iterable, values, sink
    try:
        return await task
    finally:
        del task  # an exception refers to this frame: it shall not keep the values


async def batch_accumulate(
    max_batch_size: int,
    iterable: Iterable[T | None] | BatchSource[T],
    cooperator: Cooperator | None = None,
    *,
    max_items: int | None = None,
    max_bytes: int | None = None,
    **options: Unpack[TaskOptions],
) -> deque[T]:
    """Step `iterable`, up to `max_batch_size` steps at a turn; return all its values.

        squares = (number * number for number in range(10_000))
        values = await batch_accumulate(1000, squares)
        print(len(values))  # 10000

    It returns what `accumulate` returns, and is faster: cheap steps are not timed one by
    one. A turn ends after `max_batch_size` steps or with the time slice, whichever comes
    first. In the `cooperative` package, where a turn is always a whole batch, this is
    `cooperative_accumulate_batched`.

    Args:
        max_batch_size: The number of steps in a turn at most, at least 1. A None
            counts as a step.
        iterable: A generator, or any other iterable; or a source of `offload`, which is
            asked for `max_batch_size` values at a time and closed in the end.
        cooperator: The Cooperator that steps it; the running loop's own by default.
        **options: Those of the task, such as `name` and `weight`: see `TaskOptions`.
        max_items: How many values to collect at most; None for no limit.
        max_bytes: How many bytes they may have together, each measured by
            `sys.getsizeof`, without the objects that it refers to. None for no limit.
            A limit makes cheap steps two to three times as expensive.

    Raises:
        TypeError: An argument is of the wrong kind; or an iterator that cannot receive
            results, such as a generator expression, has yielded an awaitable.
        ValueError: A number is out of range, such as a `max_batch_size` below 1.
        AccumulationTooLarge: There are more values or bytes than were allowed. The
            generator was closed, and the values are dropped.
        SchedulerFull: The Cooperator has `max_tasks` unfinished tasks.
        SchedulerStopped: The Cooperator was stopped.
        BaseException: Whatever the iterable raised.

    Cancellation: throws CancelledError into the generator, and is raised here once the
    generator has ended. The values are dropped.
    """
    check_batch_size(max_batch_size, iterable)
    sink = _sink(max_items, max_bytes)
    values: Any = iterable
    if is_source(iterable):
        values = Draining(iterable, max_batch_size, None, sink)
    task: asyncio.Future[deque[T]] = collect(values, cooperator, max_batch_size, sink, options)
    del iterable, values, sink
    try:
        return await task
    finally:
        del task


SOURCE_BATCH: Final = 1000
"""How many values `accumulate` asks a source for at a time."""


def check_batch_size(max_batch_size: object, iterable: object) -> None:
    """Refuse what is no size of a batch, and tell if the arguments were swapped.

    Raises:
        TypeError: It is not an integer, or is a bool.
        ValueError: It is less than 1.
    """
    if isinstance(iterable, int) and isinstance(max_batch_size, Iterable):
        raise TypeError(
            "max_batch_size must be an integer of at least 1, and comes first;"
            f" got {quote(max_batch_size)} and then {iterable!r}: swap the two"
        )
    check_count("max_batch_size", max_batch_size)


def _sink(max_items: int | None, max_bytes: int | None) -> Everything:
    """Return what takes the values: no limit costs nothing."""
    if max_items is None and max_bytes is None:
        return Everything()
    for name, value in (("max_items", max_items), ("max_bytes", max_bytes)):
        if value is not None:
            check_count(name, value)
    return Bounded(max_items, max_bytes)


def collect(
    values: Iterable[Any] | Draining,
    cooperator: Cooperator | None,
    per_turn: int,
    sink: Sink,
    options: TaskOptions,
) -> CooperativeTask[Any]:
    """Start the task that keeps values in `sink`."""
    if cooperator is not None and not isinstance(cooperator, Cooperator):
        raise TypeError(f"cooperator must be a Cooperator or None, got {quote(cooperator)}")
    chunks = Chunks(per_turn)
    iterator: Iterator[Any]
    if isinstance(values, Draining):
        iterator = values.steps()
        chunks.take_single_steps()
    else:
        iterator = _iterator_of(values)
    return start_task(iterator, cooperator, chunks, sink, options)


def _iterator_of(iterable: Iterable[Any]) -> Iterator[Any]:
    is_iterable = isinstance(iterable, Iterable) or hasattr(iterable, "__getitem__")
    if not is_iterable or inspect.isawaitable(iterable):
        check_iterator(iterable, "iterable")
    return iter(iterable)
