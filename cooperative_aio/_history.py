"""What has become of the tasks of a loop: failures, durations, groups, longest steps."""

from __future__ import annotations

import bisect
import math
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final
from weakref import WeakKeyDictionary

from cooperative_aio._cooperator import Cooperator
from cooperative_aio._legible import legible
from cooperative_aio._observing import cooperator_name, cooperator_of, note_all_steps
from cooperative_aio._task import CooperativeTask

__all__ = ["Failure", "GroupTotals", "Histogram", "History", "TaskTimes", "group_name"]

FAILURES: Final = 20  # that are remembered
GROUPS: Final = 200  # that are remembered by name, of each Cooperator
OTHERS: Final = "(others)"
FRAMES: Final = 20  # of a traceback
TEXT: Final = 8000  # characters of a traceback
MINUTE: Final = 60.0
PARTS: Final = 6  # of the last minute


class Histogram:
    """Numbers of seconds, counted in buckets.

    Args:
        bounds: The upper bounds of the buckets, in seconds; one more has none.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.sum: float = 0.0
        self._counts = [0] * (len(bounds) + 1)

    def add(self, seconds: float) -> None:
        """Count one more."""
        self.sum += seconds
        self._counts[bisect.bisect_left(self.bounds, seconds)] += 1

    def mean(self) -> float | None:
        """Return the mean in seconds; None if there was none."""
        count = sum(self._counts)
        return self.sum / count if count else None

    def buckets(self) -> list[tuple[float, int]]:
        """Return upper bounds and how many were at most that; the last is infinite."""
        return list(zip((*self.bounds, math.inf), accumulate(self._counts), strict=True))


@dataclass(slots=True)
class TaskTimes:
    """When a task was made and took its first step, in seconds of the History's clock."""

    made: float
    begun: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A task that has failed; it keeps neither the task nor the exception alive."""

    number: int
    """Of all failures that were seen, beginning with 1."""
    when: float
    """The time of day, in seconds since 1970."""
    cooperator: str
    """The name of its Cooperator."""
    task: str
    """The name of the task."""
    steps: int
    """The steps that it had taken."""
    summary: str
    """The exception in a line."""
    _traceback: traceback.TracebackException = field(repr=False)

    def text(self) -> str:
        """Return the traceback, with the lines of source as they are now."""
        text = "".join(self._traceback.format()).rstrip()
        return text if len(text) <= TEXT else f"...\n{text[-TEXT:]}"


@dataclass(slots=True)
class GroupTotals:
    """What the tasks of a group that have ended had."""

    ended: int = 0
    seconds: float = 0.0


class History:
    """What becomes of the tasks of a loop, remembered; an Observer.

    It keeps no task alive, and is bounded.

    Args:
        clock: In seconds.
        wall: The time of day, in seconds since 1970.
        record: Called with a Cooperator, `duration` or `queued`, and seconds, for each task
            that ends or takes its first step.
    """

    BOUNDS: Final = (0.001, 0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
    """Upper bounds of the histograms' buckets, in seconds; the last has none."""

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        wall: Callable[[], float] = time.time,
        record: Callable[[Cooperator, str, float], object] | None = None,
    ) -> None:
        self.failures: deque[Failure] = deque(maxlen=FAILURES)
        self.durations: WeakKeyDictionary[Cooperator, Histogram] = WeakKeyDictionary()
        """Seconds from the making of a task to its end."""
        self.queued: WeakKeyDictionary[Cooperator, Histogram] = WeakKeyDictionary()
        """Seconds from the making of a task to its first step."""
        self._clock = clock
        self._wall = wall
        self._record = record
        self._failed = 0
        self._times: WeakKeyDictionary[CooperativeTask[Any], TaskTimes] = WeakKeyDictionary()
        self._groups: WeakKeyDictionary[Cooperator, dict[str, GroupTotals]]
        self._groups = WeakKeyDictionary()
        self._longest: WeakKeyDictionary[Cooperator, deque[tuple[float, str | None]]]
        self._longest = WeakKeyDictionary()  # of the parts of the last minute, newest last
        self._turned = clock()

    # What is asked

    def times(self, task: CooperativeTask[Any]) -> TaskTimes | None:
        """Return when a task was made and begun; None if that was before all this."""
        return self._times.get(task)

    def groups(self, cooperator: Cooperator) -> dict[str, GroupTotals]:
        """Return what the ended tasks of each group of a Cooperator had, by its name."""
        return dict(self._groups.get(cooperator, {}))

    def means(self, cooperator: Cooperator) -> tuple[float | None, float | None]:
        """Return how long the tasks of a Cooperator lasted and were queued in the mean."""
        found = [histograms.get(cooperator) for histograms in (self.durations, self.queued)]
        duration, queued = [None if one is None else one.mean() for one in found]
        return duration, queued

    def longest(self, cooperator: Cooperator) -> tuple[float, str | None]:
        """Return the seconds of the longest step of the last minute, and its task's name."""
        kept = self._longest.get(cooperator)
        return (0.0, None) if kept is None else max(tuple(kept), key=lambda part: part[0])

    # What is told

    def watch(self, cooperator: Cooperator) -> None:
        """Look for the longest step of the last minute of a Cooperator, too."""
        if cooperator not in self._longest:
            self._longest[cooperator] = deque([(0.0, None)], maxlen=PARTS + 1)
            note_all_steps(cooperator)

    def turn(self) -> None:
        """Begin another part of the last minute, if it is time for that."""
        now = self._clock()
        passed = int((now - self._turned) * PARTS / MINUTE)
        if passed < 1:
            return
        self._turned += passed * MINUTE / PARTS
        for cooperator, kept in tuple(self._longest.items()):
            kept.extend([(0.0, None)] * min(passed, PARTS + 1))
            note_all_steps(cooperator)

    def task_made(self, task: CooperativeTask[Any]) -> None:
        """Note a new task."""
        if not task.done():
            self._times[task] = TaskTimes(self._clock())
            self.watch(cooperator_of(task))

    def task_begun(self, task: CooperativeTask[Any]) -> None:
        """Note that a task takes its first step."""
        times = self._times.get(task)
        if times is not None and times.begun is None:
            times.begun = self._clock()
            self._add("queued", task, times.begun - times.made)

    def task_ended(self, task: CooperativeTask[Any], failure: BaseException | None) -> None:
        """Note a task that has ended, with the exception of one that has failed."""
        times = self._times.pop(task, None)
        if times is not None:
            self._add("duration", task, self._clock() - times.made)
        if (name := group_name(task)) is not None:
            groups = self._groups.setdefault(cooperator_of(task), {})
            if name not in groups and len(groups) >= GROUPS:
                name = OTHERS
            totals = groups.setdefault(name, GroupTotals())
            totals.ended += 1
            totals.seconds += task.cpu_time
        if failure is not None:
            self._keep(task, failure)

    def step_noted(self, cooperator: Cooperator, task: str, seconds: float) -> None:
        """Note a step that may be the longest of this part of the last minute."""
        kept = self._longest.get(cooperator)
        if kept is not None and seconds > kept[-1][0]:
            kept[-1] = (seconds, legible(task))

    def _add(self, what: str, task: CooperativeTask[Any], seconds: float) -> None:
        cooperator = cooperator_of(task)
        histograms = self.queued if what == "queued" else self.durations
        found = histograms.get(cooperator)
        if found is None:
            found = histograms[cooperator] = Histogram(self.BOUNDS)
        found.add(seconds)
        if self._record is not None:
            self._record(cooperator, what, seconds)

    def _keep(self, task: CooperativeTask[Any], failure: BaseException) -> None:
        """Remember a failure, without its frames; the lines are looked up when it is read."""
        kept = traceback.TracebackException.from_exception(
            failure, limit=-FRAMES, lookup_lines=False, compact=True
        )
        summary = "".join(kept.format_exception_only()).strip().partition("\n")[0]
        self._failed += 1
        self.failures.append(
            Failure(
                number=self._failed,
                when=self._wall(),
                cooperator=legible(cooperator_name(cooperator_of(task))),
                task=legible(task.name),
                steps=task.steps,
                summary=legible(summary, 500),
                _traceback=kept,
            )
        )


def group_name(task: CooperativeTask[Any]) -> str | None:
    """Return what the group of a task is called; None for a task without one."""
    return None if task.group is None else legible(task.group.name)
