"""Collect what iterators yield: all of it, or in batches as it comes."""

from __future__ import annotations

import functools
import inspect
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context
from itertools import groupby, islice
from types import NoneType
from typing import Any, Final, Generic, TypeVar

from cooperative_aio._cooperator import Cooperator, get_cooperator
from cooperative_aio._source import can_receive, check_iterator, describe
from cooperative_aio._task import PLAIN, CooperativeTask, Ended, Home, Outcome

__all__ = [
    "Collector",
    "ValueBucket",
    "accumulate",
    "accumulation_handler",
    "batch_accumulate",
    "check_batch_size",
    "collect",
]

T = TypeVar("T")
V = TypeVar("V")
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
    CHEAP: Final = 20e-6  # seconds that a chunk may take if the next is to be larger
    ALONE: Final = 16  # steps in a chunk at most when no batch was asked for
    BATCHED: Final = 64  # when one was
    FEW: Final = 4  # runs of values of one class in a chunk

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

    def _returned(self, value: Any) -> Ended:  # noqa: ARG002
        return super()._returned(self._values)

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
            if self._chunk == 1 or self._resuming:
                outcome = self._step()
            else:
                outcome = self._take(min(steps, self._chunk))
            now = clock()
            seconds = now - before
            before = now
            if seconds > runner.notable:
                runner.note_step(self, seconds)
            steps -= self._steps - taken
            if outcome is not None or self._interrupted or steps <= 0 or now >= deadline:
                return outcome
            if seconds > self.CHEAP:
                self._chunk = 1
            elif self._chunk < self._largest and self._steps > self.SINGLE:
                self._chunk += 1

    def _take(self, steps: int) -> Outcome:
        """Take a chunk of steps."""
        source = islice(self.iterator, steps)
        values = self._values
        kept = len(values)
        self._others = 0
        fetch = self._fetch_runs if steps > self.ALONE and not self._mixed else self._fetch
        try:
            outcome = fetch(source)
        except BaseException as error:  # noqa: BLE001
            self._others += 1
            outcome = self._raised(error)
        else:
            if outcome is None and len(values) - kept + self._others < steps:
                self._others += 1
                outcome = self._returned(None)
        finally:
            self._steps += len(values) - kept + self._others
        return outcome

    def _fetch(self, source: Iterator[Any]) -> Outcome:
        """Keep the values of `source`; count the other steps; stop at an awaitable."""
        keep, plain = self._values.append, self._plain
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

    def _fetch_runs(self, source: Iterator[Any]) -> Outcome:
        """Do the same, faster when many values of one class follow each other."""
        runs = 0
        for kind, run in groupby(source, type):
            runs += 1
            if kind in KEPT:
                self._values.extend(run)
            else:
                outcome = self._fetch(run)
                if outcome is not None:
                    return outcome
        self._mixed = runs > self.FEW
        return None


KEPT: Final = PLAIN - {NoneType}


async def accumulate(
    iterable: Iterable[T | None],
    cooperator: Cooperator | None = None,
    *,
    name: str | None = None,
    weight: float = 1.0,
    context: Context | None = None,
) -> deque[T]:
    """Step `iterable` to its end and return all its values but None, in order.

    After `cooperative_accumulate` of the `cooperative` package. Awaitables that a
    generator function yields are waited on, and are not values.

    Args:
        iterable: A generator, or anything that can be iterated over.
        cooperator: What steps it; the running loop's own by default.
        name: As for `Cooperator.cooperate`.
        weight: As for `Cooperator.cooperate`.
        context: As for `Cooperator.cooperate`.

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
        iterable, cooperator, Collector, 1, name, weight, context
    )
    del iterable
    try:
        return await task
    finally:
        del task  # an exception refers to this frame: it shall not keep the values


async def batch_accumulate(
    max_batch_size: int,
    iterable: Iterable[T | None],
    cooperator: Cooperator | None = None,
    *,
    name: str | None = None,
    weight: float = 1.0,
    context: Context | None = None,
) -> deque[T]:
    """Step `iterable`, up to `max_batch_size` steps at a turn; return all its values.

    After `cooperative_accumulate_batched` of the `cooperative` package. There, a
    turn is always a whole batch; here, it also ends when the time slice does.

    Args:
        max_batch_size: The number of steps in a turn at most, at least 1. Nones
            count.
        iterable: As for `accumulate`.
        cooperator: As for `accumulate`.
        name: As for `Cooperator.cooperate`.
        weight: As for `Cooperator.cooperate`.
        context: As for `Cooperator.cooperate`.

    Raises:
        TypeError: As for `accumulate`; or `max_batch_size` is not an integer.
        ValueError: As for `accumulate`; or `max_batch_size` is less than 1.
        SchedulerStopped: The Cooperator was stopped.
        BaseException: Whatever the iterable raised.

    Cancellation: as for `accumulate`.
    """
    check_batch_size(max_batch_size)
    task: Collector[deque[T]] = collect(
        iterable, cooperator, Collector, max_batch_size, name, weight, context
    )
    del iterable
    try:
        return await task
    finally:
        del task


def collect(
    iterable: Iterable[Any],
    cooperator: Cooperator | None,
    kind: Callable[..., Task],
    per_turn: int,
    name: str | None,
    weight: float,
    context: Context | None,
) -> Task:
    """Make the task that collects."""
    if cooperator is None:
        cooperator = get_cooperator()
    elif not isinstance(cooperator, Cooperator):
        raise TypeError(f"cooperator must be a Cooperator or None, got {cooperator!r}")
    iterator = _iterator_of(iterable)
    make = functools.partial(kind, per_turn=per_turn)
    return cooperator._make_task(make, iterator, name, weight, context)


def _iterator_of(iterable: Iterable[Any]) -> Iterator[Any]:
    if not isinstance(iterable, Iterable) and not hasattr(iterable, "__getitem__"):
        check_iterator(iterable, "iterable")
    return iter(iterable)


def check_batch_size(value: object) -> None:
    """Refuse what is no number of steps.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is less than 1.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"max_batch_size must be an integer of at least 1, got {value!r}")
    if value < 1:
        raise ValueError(f"max_batch_size must be an integer of at least 1, got {value!r}")
