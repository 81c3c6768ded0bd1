"""Where the values of a task go that keeps what its iterator yields."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from cooperative_aio._errors import AccumulationTooLarge, SchedulerError

__all__ = ["ENDLESS", "Ahead", "Bounded", "Everything", "Keeper", "Sink"]

ENDLESS: Final = sys.maxsize


class Keeper(Protocol):
    """The task whose values a sink takes."""

    def stop_when_over(self, error: SchedulerError) -> None:
        """End when the step that is going on is over."""

    def hold(self, *, held: bool) -> None:
        """Take no step for now, or go on."""


class Sink:
    """What a task gives its values to, which are never None."""

    __slots__ = ("keep", "values")

    values: Any  # has append() and extend()
    keep: Callable[[Any], object] | None  # takes a value without a look at it, if that will do

    def room(self) -> int:
        """Return how many steps may be taken before `check()`."""
        return ENDLESS

    def take(self, task: Keeper, value: Any) -> None:
        """Take a value."""
        raise NotImplementedError

    def take_batch(self, task: Keeper, batch: list[Any]) -> None:
        """Take the values of a source."""
        raise NotImplementedError

    def check(self, task: Keeper) -> None:
        """Look at what was added to `values` directly."""

    def note_result(self) -> None:
        """Learn that an awaitable that was yielded has had a result."""

    def lost_results(self) -> bool:
        """Tell whether results of awaitables seem to have been lost."""
        return False

    def result(self, returned: Any) -> Any:
        """Return the task's result, when its iterator has come to its end."""
        return returned

    def end(self, *, complete: bool) -> None:
        """Learn that the task has ended, by its iterator's end or failure if `complete`."""


class Everything(Sink):
    """Keeps all values."""

    __slots__ = ("_results",)

    values: deque[Any]

    def __init__(self) -> None:
        self._results = 0  # of awaitables, which went to the generator
        self.values = deque()
        self.keep = self.values.append

    def take(self, task: Keeper, value: Any) -> None:  # noqa: ARG002
        """Take a value."""
        self.values.append(value)

    def take_batch(self, task: Keeper, batch: list[Any]) -> None:  # noqa: ARG002
        """Take the values of a source."""
        self.values.extend(batch)

    def note_result(self) -> None:
        """Count the result of an awaitable."""
        self._results += 1

    def lost_results(self) -> bool:
        """Tell whether there were results, but nothing was yielded."""
        return self._results > 0 and not self.values

    def result(self, returned: Any) -> Any:  # noqa: ARG002
        """Return all values."""
        return self.values

    def end(self, *, complete: bool) -> None:  # noqa: ARG002
        """Let go of the values, which the result refers to if there is one."""
        self.values = deque()
        self.keep = None


class Bounded(Everything):
    """Keeps so many values at most, or so many bytes of them; fail beyond.

    Bytes are counted value by value.
    """

    __slots__ = ("_bytes", "_max_bytes", "_max_items")

    def __init__(self, max_items: int | None, max_bytes: int | None) -> None:
        super().__init__()
        self.keep = None
        self._max_items = ENDLESS if max_items is None else max_items
        self._max_bytes = max_bytes
        self._bytes = 0

    def room(self) -> int:
        """Return how many steps can exceed the limit by one value."""
        if self._max_bytes is not None:
            return 1
        return self._max_items - len(self.values) + 1

    def take(self, task: Keeper, value: Any) -> None:
        """Take a value, and look whether that is too much."""
        self.values.append(value)
        if self._max_bytes is not None:
            self._bytes += _size_of(value)
            if self._bytes > self._max_bytes:
                self._refuse(task, f"{self._max_bytes} bytes")
                return
        self.check(task)

    def take_batch(self, task: Keeper, batch: list[Any]) -> None:
        """Take the values of a source, up to the one that is too much."""
        for value in batch:
            self.take(task, value)
            if self.room() <= 0 or (
                self._max_bytes is not None and self._bytes > self._max_bytes
            ):
                break

    def check(self, task: Keeper) -> None:
        """Look whether there are too many."""
        if len(self.values) > self._max_items:
            self._refuse(task, f"{self._max_items} items")

    def _refuse(self, task: Keeper, limit: str) -> None:
        task.stop_when_over(AccumulationTooLarge(limit, len(self.values) - 1))


class Ahead(Sink):
    """Keeps values until they are a batch, at most one ahead of the consumer.

    A list that is full is `offered`. While the one before has not been taken, the task
    is held: it does not compete for time.

    Args:
        size: The number of values in a batch.
        notify: Called when a batch is ready, or the task has ended.
    """

    __slots__ = ("_abandoned", "_due", "_notify", "_size", "offered")

    values: list[Any]

    def __init__(self, size: int, notify: Callable[[], object]) -> None:
        self.keep = None
        self.values = []
        self.offered: list[Any] | None = None
        self._size = size
        self._notify = notify
        self._due = False  # the consumer will have what there is
        self._abandoned = False  # the consumer will have no more

    def room(self) -> int:
        """Return how many steps the batch can take."""
        return self._size - len(self.values)

    def take(self, task: Keeper, value: Any) -> None:
        """Take a value, and hand the batch over if that has filled it."""
        if self._abandoned:  # it yields on although it was cancelled
            task.stop_when_over(AccumulationTooLarge("what is taken", 0))
            return
        self.values.append(value)
        self.check(task)

    def take_batch(self, task: Keeper, batch: list[Any]) -> None:
        """Hand over a batch of a source, full or not."""
        self.values = batch
        self._due = True
        self.check(task)

    def check(self, task: Keeper) -> None:
        """Hand the values over, if they are to be; no more are made until they are taken."""
        if len(self.values) >= self._size or (self._due and self.values):
            self.offered, self.values = self.values, []
            self._due = False
            task.hold(held=True)
            self._notify()

    def fall_due(self, task: Keeper) -> None:
        """Hand over what there is, now or when there is something."""
        self._due = True
        self.check(task)

    def not_due(self) -> None:
        """Hand over full batches only."""
        self._due = False

    def abandon(self) -> None:
        """Take no more values."""
        self._abandoned = True

    def end(self, *, complete: bool) -> None:
        """Offer what is left."""
        if complete and self.values:
            self.offered = self.values
        self.values = []
        notify, self._notify = self._notify, _nothing  # the consumer may refer to this
        notify()


def _nothing() -> None:
    """Stand in for what there is nobody to tell."""


def _size_of(value: Any) -> int:
    try:
        return sys.getsizeof(value)
    except Exception:  # noqa: BLE001 (a class may get its own size wrong)
        return object.__sizeof__(value)
