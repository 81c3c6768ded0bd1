"""Several steps at a turn: how tasks that keep their values are stepped.

Values are fetched in **chunks**, by `itertools` rather than by this module: that is
nearly as fast as a plain loop. A chunk is timed as a whole, so it has to be small: the
first steps are timed one by one, then chunks grow while they are cheap, and start again
from one step when one was not. The rules:

* Between two readings of the clock at most `chunk` steps are taken, whatever classes
  their values have.
* An awaitable ends the chunk: the generator is to receive its result before it goes on.
* A task that looks itself up with `current_task()` takes single steps from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby, islice
from types import GeneratorType, NoneType
from typing import Any, Final, Protocol

from cooperative_aio._fairness import MOST
from cooperative_aio._iterators import PLAIN, is_awaitable

__all__ = ["END", "Chunks"]

KEPT: Final = PLAIN - {NoneType}
"""Classes of values that can be kept without looking at each."""
END: Final = object()
"""What a chunk gives when the iterator has come to its end."""


class Stepped(Protocol):
    """What of the task the chunks need."""

    iterator: Iterator[Any]
    sink: Any
    steps: int
    next: Callable[[], Any]
    resuming: bool  # the next step is not a plain one

    @property
    def interrupted(self) -> bool:
        """Whether something has happened that ends the turn."""


class Timer(Protocol):
    """What measures the steps."""

    clock: Callable[[], float]
    notable: float

    def note_step(self, seat: Any, seconds: float) -> None:
        """Note a step that took so long."""


class Chunks:
    """Take up to a number of steps at a turn.

    Args:
        per_turn: How many steps to take at a turn at most beside other tasks; 1 for as
            many as the others take.
    """

    __slots__ = ("_chunk", "_known", "_largest", "_mixed", "_others", "per_turn")

    SINGLE: Final = 128  # steps to begin with
    SHORT: Final = 100e-6  # seconds that a chunk should take at most
    ALONE: Final = 16  # steps in a chunk at most when no batch was asked for
    BATCHED: Final = 64  # when one was
    FEW: Final = 8  # changes of class that say nothing

    def __init__(self, per_turn: int) -> None:
        self.per_turn = per_turn
        self._chunk = 1
        self._largest = self.BATCHED if per_turn > 1 else self.ALONE
        self._mixed = False  # the values' classes change often
        self._known: dict[int, type] = {}  # classes found not to be awaitable, by their id
        self._others = 0  # steps of the chunk that brought no value

    def take_single_steps(self) -> None:
        """Time each step from now on."""
        self._largest = self._chunk = 1

    def take(self, task: Stepped, timer: Timer, deadline: float, steps: int) -> Any:
        """Take up to so many steps, but none after the clock says `deadline`.

        Returns:
            An awaitable that was yielded, END, or None.
        """
        clock = timer.clock
        before = clock()
        still = 0  # steps since the clock has moved
        try:
            while True:
                taken = task.steps
                size = 1 if task.resuming else min(self._chunk, steps, task.sink.room())
                try:
                    outcome = (self._take_one if size == 1 else self._take_chunk)(task, size)
                except BaseException:
                    timer.note_step(task, clock() - before)
                    raise
                now = clock()
                seconds = now - before
                before = now
                taken = task.steps - taken
                if seconds > timer.notable:
                    timer.note_step(task, seconds)
                steps -= taken
                still = still + taken if seconds == 0 else 0
                if (
                    outcome is not None
                    or task.interrupted
                    or steps <= 0
                    or now >= deadline
                    or seconds < 0  # the clock was set back
                    or still >= MOST
                ):
                    return outcome
                is_growing = self._chunk < self._largest and task.steps > self.SINGLE
                if is_growing or seconds > self.SHORT:
                    self._grow(taken, seconds)
        finally:
            del self, task, timer  # an exception of the iterator refers to this frame

    def _grow(self, taken: int, seconds: float) -> None:
        """Let the next chunk be as long as the last steps say that it may be."""
        fitting = int(taken * self.SHORT / seconds) if seconds > 0 else self._largest
        self._chunk = max(1, min(fitting, 2 * self._chunk, self._largest))

    def _take_one(self, task: Stepped, _size: int) -> Any:
        """Take one step, and give its value to the sink."""
        task.steps += 1
        value = None
        try:
            value = task.next()
            if value is not None:
                if not self._is_kept(type(value)) and is_awaitable(value):
                    return value
                task.sink.take(task, value)
        except StopIteration:
            return END
        else:
            return None
        finally:
            del self, task, value

    def _is_kept(self, kind: type) -> bool:
        try:
            return kind in KEPT
        except Exception:  # noqa: BLE001 (a class that cannot be hashed)
            return False

    def _take_chunk(self, task: Stepped, size: int) -> Any:
        """Take so many steps without a look at the clock."""
        values = task.sink.values
        kept = len(values)
        source = islice(task.iterator, size)
        self._others = 0
        ended = 1  # a step that raises brings no value
        try:
            if self._mixed:
                outcome = self._keep_each(values, source)
            else:
                outcome = self._keep_runs(values, source, size)
            ended = 0
        finally:
            taken = len(values) - kept + self._others + ended
            task.steps += taken
            del values, source
            if ended:
                del self, task
        if outcome is None and taken < size:
            outcome = END
            task.steps += 1
        task.sink.check(task)
        return outcome

    def _keep_runs(self, values: Any, source: Iterator[Any], size: int) -> Any:
        """Keep values of one class that follow each other by one call."""
        outcome = run = None
        changes = 0
        try:
            for kind, run in groupby(source, type):
                changes += 1
                if self._is_kept(kind):
                    values.extend(run)
                else:
                    outcome = self._keep_each(values, run)
                    if outcome is not None:
                        break
            self._mixed = changes * 4 > size > self.FEW
            return outcome
        finally:
            del self, values, source, run, outcome

    def _keep_each(self, values: Any, source: Iterator[Any]) -> Any:
        """Keep the values of `source`, with a look at each; stop at an awaitable."""
        keep, known = values.append, self._known
        others = 0
        value: Any = None
        try:
            for value in source:
                if value is None:
                    others += 1
                    continue
                kind = type(value)
                if id(kind) not in known and not self._learn(value):
                    others += 1
                    return value
                keep(value)
            return None
        finally:
            self._others += others
            del self, values, keep, source, value

    def _learn(self, value: Any) -> bool:
        """Tell whether `value` is to be kept, and so all others of its class."""
        kind = type(value)
        if not self._is_kept(kind):
            if is_awaitable(value):
                return False
            if kind is GeneratorType:  # of which some are awaitable
                return True
        self._known[id(kind)] = kind
        return True
