"""Collect what iterators yield: all of it, or in batches as it comes."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from contextvars import Context
from itertools import groupby, islice
from types import NoneType
from typing import Any, Final, Generic, Protocol, TypeVar

from typing_extensions import TypeIs

from cooperative_aio._cooperator import Cooperator, get_cooperator
from cooperative_aio._errors import SchedulerError, TaskDone
from cooperative_aio._source import can_receive, check_iterator, describe
from cooperative_aio._task import PLAIN, CooperativeTask, Ended, Home, Outcome

__all__ = [
    "BatchSource",
    "Collector",
    "ValueBucket",
    "accumulate",
    "accumulation_handler",
    "batch_accumulate",
    "check_batch_size",
    "collect",
    "is_source",
]

T = TypeVar("T")
V = TypeVar("V")
T_co = TypeVar("T_co", covariant=True)
Task = TypeVar("Task", bound="Collector[Any]")


class ValueBucket(Generic[V]):
    """Collect the values that it is called with, except None.

    After the Bucket that the `cooperative` package used.
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
        """Return what was collected, and begin anew."""
        values, self._values = self._values, deque()
        return values


def accumulation_handler(stopped: object, bucket: ValueBucket[V]) -> deque[V]:  # noqa: ARG001
    """Return what `bucket` has collected, and empty it.

    After the `cooperative` package, where it was the last callback of the Deferred.

    Args:
        stopped: The iterator that has come to its end; not used.
        bucket: What collected its values.
    """
    return bucket.drain_contents()


class BatchSource(Protocol[T_co]):
    """Hand over values in batches: what `offload` opens, or an object of anybody's.

    A method `abandon()` is optional: it has the source closed without waiting for
    that. It is called where nothing can be awaited, because the task was stopped or
    its loop is being shut down; without it, `close()` runs as a task there.
    """

    async def next_batch(self, n: int, max_seconds: float | None = None) -> Sequence[T_co]:
        """Return up to `n` values; an empty sequence when there are no more."""
        ...

    async def close(self) -> None:
        """Give up what the values come from; also called after the last batch."""


class Collector(CooperativeTask[T]):
    """Step an iterator and keep its values, several steps at a time.

    Values are fetched in chunks, by `itertools` rather than by this module: that is
    nearly as fast as a plain loop. A chunk is timed as a whole, so it has to be
    small: the first steps are timed one by one, then chunks grow while they are
    cheap, and start again from one step when one was not. Tasks that look
    themselves up with `current_task()` always take single steps.
    """

    __slots__ = ("_chunk", "_largest", "_mixed", "_others", "_values")

    SINGLE: Final = 128  # steps to begin with
    SHORT: Final = 100e-6  # seconds that a chunk should take at most
    ALONE: Final = 16  # steps in a chunk at most when no batch was asked for
    BATCHED: Final = 64  # when one was
    FEW: Final = 8  # changes of class that say nothing

    def __init__(
        self, runner: Home, iterator: Iterator[Any], *, per_turn: int, **options: Any
    ) -> None:
        super().__init__(runner, iterator, **options)
        self._per_turn = per_turn
        self._chunk = 1
        self._largest = self.BATCHED if per_turn > 1 else self.ALONE
        self._mixed = False  # the values' classes change often
        self._others = 0  # steps of the chunk that brought no value
        self._begin()

    def _begin(self) -> None:
        """Prepare for the values."""
        values: deque[Any] = deque()
        self._values: Any = values
        self._keep = values.append

    def _take_batches(self) -> None:
        """Prepare for an iterator whose values are batches."""
        self._watch()
        self._keep = self._values.extend

    def _returned(self, value: Any) -> Ended:  # noqa: ARG002
        return super()._returned(self._values)

    def _end(self, how: type[SchedulerError], **outcome: Any) -> None:
        if how is not TaskDone:
            self._values = ()
        super()._end(how, **outcome)

    def _inspect(self, value: Any) -> Outcome:
        outcome = super()._inspect(value)
        if outcome is None or can_receive(self.iterator):
            return outcome
        if inspect.iscoroutine(value):
            value.close()
        return self._raised(
            TypeError(
                f"cannot wait for {value!r}: {describe(self.iterator)} cannot receive its"
                " result; write a generator function that does `yield (yield awaitable)`"
            )
        )

    def _watch(self) -> None:
        self._largest = self._chunk = 1

    def _burst(self, steps: int, deadline: float) -> Outcome:
        runner, clock = self._runner, self._runner.clock
        before = clock()
        while True:
            taken = self._steps
            if self._chunk == 1 or self._call is not None:
                outcome = self._step()
            else:
                outcome = self._take(steps, deadline)
            now = clock()
            seconds = now - before
            before = now
            taken = self._steps - taken
            if taken == 1 and seconds > runner.notable:
                runner.note_step(self, seconds)
            steps -= taken
            if outcome is not None or self._interrupted or steps <= 0 or now >= deadline:
                break
            if self._steps > self.SINGLE:
                fitting = int(taken * self.SHORT / seconds) if seconds > 0 else self._largest
                self._chunk = max(1, min(fitting, 2 * self._chunk, self._largest))
        del self
        return outcome

    def _take(self, steps: int, deadline: float) -> Outcome:
        """Take up to so many steps in chunks, until one is not short, or `deadline`.

        Values of one class that follow each other are kept by one `extend`. When the
        class changes, the next value has been fetched already, so there is no
        stopping before that is kept.
        """
        values, clock, notable = self._values, self._runner.clock, self._runner.notable
        chunk, largest, short = self._chunk, self._largest, self.SHORT
        kept = got = len(values)
        changes = self._others = 0
        source = islice(self.iterator, min(steps, sys.maxsize))
        runs = groupby(source, type) if not self._mixed else iter([(None, source)])
        outcome: Outcome = None
        fetch: Callable[[Iterator[Any]], Outcome] = self._fetch
        run: Any = None
        now = clock()
        long_enough = False
        try:
            for kind, run in runs:
                changes += 1
                fetch = values.extend if kind in KEPT else self._fetch
                while not long_enough:
                    size = chunk if now < deadline else 1
                    outcome = fetch(islice(run, size))
                    had, got = got, len(values) + self._others
                    if outcome is not None or got - had < size:
                        break
                    before, now = now, clock()
                    seconds = now - before
                    if seconds > notable:
                        self._runner.note_step(self, seconds)
                    long_enough = now >= deadline or seconds > short or self._interrupted
                    if chunk < largest and 2 * seconds < short:
                        chunk = min(2 * chunk, largest)
                if outcome is not None or long_enough:
                    break
            else:
                if got - kept < steps:
                    self._others += 1
                    outcome = self._returned(None)
        except BaseException as error:  # noqa: BLE001
            self._others += 1
            outcome = self._raised(error)
        taken = len(values) - kept + self._others
        self._steps += taken
        self._mixed = self._mixed or (changes > self.FEW and changes * 4 > taken)
        run = None
        del self, values, fetch, source, runs
        return outcome

    def _fetch(self, source: Iterator[Any]) -> Outcome:
        """Keep the values of `source`; count the other steps; stop at an awaitable."""
        keep, plain = self._values.append, self._plain
        try:
            for value in source:
                kind = type(value)
                if kind is not plain:
                    outcome = self._inspect(value)
                    if outcome is not None:
                        self._others += 1
                        return outcome
                    plain = self._plain
                if kind is NoneType:
                    self._others += 1
                else:
                    keep(value)
            return None
        finally:
            value = None
            del self, keep


KEPT: Final = PLAIN - {NoneType}


async def accumulate(
    iterable: Iterable[T | None] | BatchSource[T],
    cooperator: Cooperator | None = None,
    *,
    name: str | None = None,
    weight: float = 1.0,
    context: Context | None = None,
    group: Hashable = None,
) -> deque[T]:
    """Step `iterable` to its end and return all its values but None, in order.

    After `cooperative_accumulate` of the `cooperative` package. Awaitables that a
    generator function yields are waited on, and are not values.

    Args:
        iterable: A generator, or anything that can be iterated over; or a source, see
            `offload`, which is asked for 1,000 values at a time and closed in the end.
        cooperator: What steps it; the running loop's own by default.
        name: As for `Cooperator.cooperate`.
        weight: As for `Cooperator.cooperate`.
        context: As for `Cooperator.cooperate`.
        group: As for `Cooperator.cooperate`.

    Raises:
        TypeError: Not iterable; or an awaitable came from what cannot receive its
            result, such as a generator expression.
        ValueError: The weight is not a finite number above 0.
        SchedulerStopped: The Cooperator was stopped.
        BaseException: Whatever the iterable raised.

    Cancellation: throws CancelledError into the generator; once it has ended, the
    caller is cancelled. What was collected is dropped.
    """
    task: Collector[deque[T]] = collect(
        *(iterable, cooperator, Collector, 1, name, weight, context, group), source_batch=1000
    )
    del iterable
    try:
        return await task
    finally:
        del task  # an exception refers to this frame: it shall not keep the values


async def batch_accumulate(
    max_batch_size: int,
    iterable: Iterable[T | None] | BatchSource[T],
    cooperator: Cooperator | None = None,
    *,
    name: str | None = None,
    weight: float = 1.0,
    context: Context | None = None,
    group: Hashable = None,
) -> deque[T]:
    """Step `iterable`, up to `max_batch_size` steps at a turn; return all its values.

    After `cooperative_accumulate_batched` of the `cooperative` package. There, a
    turn is always a whole batch; here, it also ends when the time slice does.

    Args:
        max_batch_size: The number of steps in a turn at most, at least 1. Nones
            count.
        iterable: As for `accumulate`; a source is asked for `max_batch_size` values
            at a time.
        cooperator: As for `accumulate`.
        name: As for `Cooperator.cooperate`.
        weight: As for `Cooperator.cooperate`.
        context: As for `Cooperator.cooperate`.
        group: As for `Cooperator.cooperate`.

    Raises:
        TypeError: As for `accumulate`; or `max_batch_size` is not an integer.
        ValueError: As for `accumulate`; or `max_batch_size` is less than 1.
        SchedulerStopped: The Cooperator was stopped.
        BaseException: Whatever the iterable raised.

    Cancellation: as for `accumulate`.
    """
    check_batch_size(max_batch_size)
    task: Collector[deque[T]] = collect(
        iterable, cooperator, Collector, max_batch_size, name, weight, context, group
    )
    del iterable
    try:
        return await task
    finally:
        del task


def collect(
    iterable: Iterable[Any] | BatchSource[Any],
    cooperator: Cooperator | None,
    kind: Callable[..., Task],
    per_turn: int,
    name: str | None,
    weight: float,
    context: Context | None,
    group: Hashable,
    *,
    source_batch: int | None = None,
    max_seconds: float | None = None,
) -> Task:
    """Make the task that collects; the last two are for sources."""
    if cooperator is None:
        cooperator = get_cooperator()
    elif not isinstance(cooperator, Cooperator):
        raise TypeError(f"cooperator must be a Cooperator or None, got {cooperator!r}")
    iterator: Iterator[Any]
    if is_source(iterable):
        iterator = _draw(iterable, source_batch or per_turn, max_seconds)
    else:
        iterator = _iterator_of(iterable)
    make = functools.partial(kind, per_turn=per_turn)
    task = cooperator._make_task(make, iterator, name, weight, context, group)
    if is_source(iterable) and not task.done():
        task._take_batches()
    return task


def is_source(value: object) -> TypeIs[BatchSource[Any]]:
    """Tell whether it is to be asked for batches, not iterated over."""
    return callable(getattr(value, "next_batch", None))


def _draw(source: Any, size: int, max_seconds: float | None) -> Generator[Any, Any, None]:
    """Yield what is to be awaited, then the batch that it brought, until the last."""
    try:
        while len(batch := (yield source.next_batch(size, max_seconds))):
            yield list(batch)
            del batch
    except GeneratorExit:
        _abandon(source)
        raise
    except BaseException:
        yield source.close()
        raise
    yield source.close()


def _abandon(source: Any) -> None:
    """Close a source where that cannot be awaited."""
    if callable(getattr(source, "abandon", None)):
        source.abandon()
        return
    closing = asyncio.ensure_future(source.close())
    _closing.add(closing)
    closing.add_done_callback(_closing.discard)


_closing: Final[set[asyncio.Future[None]]] = set()


def _iterator_of(iterable: Iterable[Any]) -> Iterator[Any]:
    is_iterable = isinstance(iterable, Iterable) or hasattr(iterable, "__getitem__")
    if not is_iterable or inspect.isawaitable(iterable):
        check_iterator(iterable, "iterable")
    return iter(iterable)


def check_batch_size(value: object, name: str = "max_batch_size") -> None:
    """Refuse what is no number of steps.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is less than 1.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer of at least 1, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
