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
from functools import partial
from itertools import groupby, islice
from types import GeneratorType, NoneType
from typing import Any, Final, Protocol

from cooperative_aio._fairness import MOST
from cooperative_aio._futures import is_awaitable
from cooperative_aio._iterators import PLAIN

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
        first = still = task.steps  # when it began, and when the clock has last moved
        try:
            while True:
                left = min(first + steps - task.steps, task.sink.room())
                is_single = self._chunk == 1 or left == 1 or task.resuming
                try:
                    if is_single:
                        outcome = self._take_one(task)
                    else:
                        outcome = self._take_chunks(task, timer, deadline, left)
                except BaseException:
                    if is_single:
                        timer.note_step(task, clock() - before)
                    raise
                now = clock()
                seconds = now - before
                before = now
                if seconds != 0:
                    still = task.steps
                if is_single and seconds > timer.notable:
                    timer.note_step(task, seconds)
                if (
                    outcome is not None
                    or task.interrupted
                    or now >= deadline
                    or task.steps - first >= steps
                    or seconds < 0  # the clock was set back
                    or task.steps - still >= MOST
                ):
                    return outcome
                if is_single:
                    self._learn_from(task, seconds)
        finally:
            del self, task, timer  # an exception of the iterator refers to this frame

    def _learn_from(self, task: Stepped, seconds: float) -> None:
        """Begin with chunks after enough short steps."""
        if task.steps > self.SINGLE and 2 * seconds < self.SHORT:
            self._chunk = min(2, self._largest)

    def _take_chunks(self, task: Stepped, timer: Timer, deadline: float, steps: int) -> Any:
        """Take steps in chunks until one is not short, or `deadline`, or so many.

        Values of one class that follow each other are kept by one call. When the class
        changes, the next value has been fetched already; so the clock is looked at only
        when a chunk is full, which then may be of several classes.
        """
        values, clock, chunk = task.sink.values, timer.clock, self._chunk
        kept = len(values)
        self._others = changes = filled = 0
        outcome: Any = None
        is_over = True  # also when a step raises
        source = islice(task.iterator, steps)
        runs = iter([(None, source)]) if self._mixed else groupby(source, type)
        run: Any = None
        fetch: Callable[[Iterator[Any]], Any] | None = None
        now = began = clock()
        try:
            for kind, run in runs:
                changes += 1
                fetch = (
                    values.extend if self._is_kept(kind) else partial(self._keep_each, values)
                )
                while outcome is None:
                    wanted = filled + chunk - len(values) - self._others + kept
                    outcome = fetch(islice(run, wanted))
                    taken = len(values) - kept + self._others
                    if outcome is not None or taken < filled + chunk:
                        break
                    filled = taken
                    before, now = now, clock()
                    ends = now >= deadline or (now == began and taken >= MOST)
                    if self._is_enough(task, timer, now - before) or ends:
                        is_over = False
                        return None
                    chunk = self._chunk
                if outcome is not None:
                    break
            is_over = outcome is None and len(values) - kept + self._others < steps
            return END if is_over else outcome
        finally:
            last = clock() - now if is_over or outcome is not None else 0.0
            steps = len(values) - kept + self._others + is_over  # the last brings no value
            self._end_chunks(task, timer, steps, changes, last)
            del self, task, timer, values, source, runs, run, outcome, fetch

    def _end_chunks(
        self, task: Stepped, timer: Timer, steps: int, changes: int, last: float
    ) -> None:
        """Count the steps that were taken in chunks; the last chunk may have been slow."""
        task.steps += steps
        self._note(task, timer, last)
        self._mixed = self._mixed or (changes > self.FEW and changes * 4 > steps)
        task.sink.check(task)

    def _note(self, task: Stepped, timer: Timer, seconds: float) -> None:
        if seconds > timer.notable:
            timer.note_step(task, seconds)

    def _is_enough(self, task: Stepped, timer: Timer, seconds: float) -> bool:
        """Tell whether a chunk that took so long ends the turn; make the next fit."""
        self._note(task, timer, seconds)
        if seconds > self.SHORT:
            fitting = int(self._chunk * self.SHORT / seconds)
            self._chunk = max(1, min(fitting, self._largest))
            return True
        if self._chunk < self._largest and 2 * seconds < self.SHORT:
            self._chunk = min(2 * self._chunk, self._largest)
        return seconds < 0 or task.interrupted

    def _take_one(self, task: Stepped) -> Any:
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

    def _is_kept(self, kind: type | None) -> bool:
        try:
            return kind in KEPT
        except Exception:  # noqa: BLE001 (a class that cannot be hashed)
            return False

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
