"""The tasks that keep what their iterators yield."""

from __future__ import annotations

import inspect
import sys
from collections import deque
from collections.abc import Callable, Iterator
from itertools import groupby, islice
from types import NoneType
from typing import Any, Final, TypeVar

from cooperative_aio._errors import (
    AccumulationTooLarge,
    SchedulerError,
    TaskDone,
    TaskFailed,
    TaskStopped,
)
from cooperative_aio._source import can_receive, describe
from cooperative_aio._task import PLAIN, CooperativeTask, Ended, Home, Outcome

__all__ = ["Bounded", "Collector"]

T = TypeVar("T")

KEPT: Final = PLAIN - {NoneType}
"""Classes of values that can be kept without looking at each."""


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


class Bounded(Collector[T]):
    """Collect so many values at most, or so many bytes of them; fail beyond.

    Bytes are counted value by value, so that takes single steps.
    """

    __slots__ = ("_bytes", "_max_bytes", "_max_items", "_was_cancelled")

    def __init__(
        self, *arguments: Any, max_items: int | None, max_bytes: int | None, **options: Any
    ) -> None:
        self._max_items = sys.maxsize - 1 if max_items is None else max_items
        self._max_bytes = max_bytes
        self._bytes = 0
        self._was_cancelled = False
        super().__init__(*arguments, **options)

    def _begin(self) -> None:
        super()._begin()
        self._keep = self._store
        if self._max_bytes is not None:
            self._watch()

    def _take_batches(self) -> None:
        self._watch()
        self._keep = self._store_all

    def _store_all(self, batch: list[Any]) -> None:
        for value in batch:
            self._store(value)
            if self._ended_by is not None:
                break

    def _store(self, value: Any) -> None:
        self._values.append(value)
        if self._max_bytes is not None:
            self._bytes += _size_of(value)
            if self._bytes > self._max_bytes:
                self._refuse(f"{self._max_bytes} bytes")
        self._check_items()

    def _take(self, steps: int, deadline: float) -> Outcome:
        room = self._max_items - len(self._values)
        outcome = super()._take(min(steps, room + 1), deadline)
        if not self.done():
            self._check_items()
        del self  # an exception of the iterator refers to this frame
        return outcome

    def _check_items(self) -> None:
        if len(self._values) > self._max_items:
            self._refuse(f"{self._max_items} items")

    def _refuse(self, limit: str) -> None:
        """Fail when this step is over, unless it is the last anyhow."""
        if self._ended_by is None:
            self._ended_by = AccumulationTooLarge(limit, len(self._values) - 1)
            self._rest()

    def cancel(self, msg: Any | None = None) -> bool:
        cancelled = super().cancel(msg)
        self._was_cancelled = self._was_cancelled or cancelled
        return cancelled

    def _end(self, how: type[SchedulerError], **outcome: Any) -> None:
        if how is AccumulationTooLarge:
            if self._was_cancelled:  # that comes first, if the clean-up yields too much
                how, outcome = TaskStopped, {"message": self._message, "close": True}
            else:
                how = TaskFailed
        super()._end(how, **outcome)


def _size_of(value: Any) -> int:
    try:
        return sys.getsizeof(value)
    except Exception:  # noqa: BLE001 (a class may get its own size wrong)
        return object.__sizeof__(value)
