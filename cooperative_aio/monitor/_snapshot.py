"""What there is to see of a loop, as JSON can have it."""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakValueDictionary

from cooperative_aio._checkpoint import checkpoint
from cooperative_aio._cooperator import Cooperator
from cooperative_aio._history import Failure, History, group_name
from cooperative_aio._legible import legible
from cooperative_aio._task import CooperativeTask
from cooperative_aio._watch import LoopLag, figures_of
from cooperative_aio._watchdog import Stall

__all__ = [
    "SORTS",
    "Recent",
    "Selection",
    "describe_failure",
    "describe_place",
    "describe_stalls",
    "lag_after",
    "picture",
]

MOST_FRAMES: Final = 8  # of generators that delegate to others
MOST_GROUPS: Final = 50  # that are shown of a Cooperator
AT_ONCE: Final = 100  # tasks that are looked at without standing back
LONGEST_NUMBER: Final = 16  # digits
SORTS: Final = ("recent", "cpu_time", "age", "queued", "steps")
"""What tasks can be sorted by, the highest first."""

Task = CooperativeTask[Any]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which tasks of a Cooperator are shown."""

    most: int
    """How many."""
    sort: str = SORTS[0]
    """One of `SORTS`."""
    search: str = ""
    """Text that has to be in the name, the group or the generator; case does not matter."""


class Recent:
    """Number tasks, and tell how much time each had in about the last ten seconds.

    What it knows of a task it learns whenever somebody looks, and keeps no task alive. When
    nobody has looked for a while it begins anew.

    Args:
        history: Knows when tasks were made.
        clock: In seconds.
    """

    SECONDS: Final = 10.0
    MARKS: Final = 4  # in that time

    def __init__(
        self, history: History, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._history = history
        self._clock = clock
        self._next = itertools.count(1)
        self._numbers: WeakKeyDictionary[Task, int] = WeakKeyDictionary()
        self._tasks: WeakValueDictionary[int, Task] = WeakValueDictionary()
        self._marks: WeakKeyDictionary[Task, deque[tuple[float, float]]] = WeakKeyDictionary()
        self.now: float = -math.inf

    def turn(self) -> None:
        """Note that somebody looks."""
        now = self._clock()
        if now - self.now > self.SECONDS:
            self._marks = WeakKeyDictionary()
        self.now = now

    def number(self, task: Task) -> int:
        """Return the number of a task; no number is given twice."""
        number = self._numbers.get(task)
        if number is None:
            number = self._numbers[task] = next(self._next)
            self._tasks[number] = task
        return number

    def task(self, number: str) -> Task | None:
        """Return the task of a number, if it still is unfinished."""
        is_number = number.isascii() and number.isdigit() and len(number) < LONGEST_NUMBER
        task = self._tasks.get(int(number)) if is_number else None
        return None if task is None or task.done() else task

    def seconds(self, task: Task) -> float:
        """Return the time that a task had of late, for up to `SECONDS`."""
        now, spent = self.now, task.cpu_time
        marks = self._marks.get(task)
        if marks is None:
            times = self._history.times(task)
            is_new = times is not None and times.made >= now - self.SECONDS
            marks = self._marks[task] = deque([(now, 0.0 if is_new else spent)])
        elif now - marks[-1][0] >= self.SECONDS / self.MARKS:
            marks.append((now, spent))
        while len(marks) > 1 and marks[1][0] <= now - self.SECONDS:
            marks.popleft()
        return max(0.0, spent - marks[0][1])

    def age(self, task: Task) -> float | None:
        """Return for how long a task has been there, in seconds; None if it is older."""
        times = self._history.times(task)
        return None if times is None else self.now - times.made

    def queued(self, task: Task) -> float | None:
        """Return for how long a task waited for its first step, or has waited so far."""
        times = self._history.times(task)
        if times is None:
            return None
        return (self.now if times.begun is None else times.begun) - times.made

    def value(self, sort: str, task: Task) -> float:
        """Return what a task is sorted by."""
        match sort:
            case "recent":
                return self.seconds(task)
            case "age":
                age = self.age(task)
                return math.inf if age is None else age
            case "queued":
                return self.queued(task) or 0.0
            case _:
                value: float = getattr(task, sort)
                return value


async def picture(
    name: str, cooperator: Cooperator, history: History, recent: Recent, selection: Selection
) -> dict[str, Any]:
    """Return what a Cooperator does, with some of its tasks.

    Those are picked in its turns of the loop: there may be a hundred thousand.

    Cancellation: as for `checkpoint`.
    """
    tasks, found, groups = await _select(cooperator, recent, selection)
    figures = dict(figures_of(cooperator))
    time_slice = repr(figures.pop("time_slice"))
    figures["longest_step_task"] = _named(figures["longest_step_task"])
    seconds, task_name = history.longest(cooperator)
    figures |= {"recent_longest_step": seconds, "recent_longest_step_task": _named(task_name)}
    figures["mean_duration"], figures["mean_queued"] = history.means(cooperator)
    ended = history.groups(cooperator)
    for group, totals in ended.items():
        number, unfinished = groups.get(group, (0, 0.0))
        groups[group] = (number, unfinished + totals.seconds)
    most = heapq.nlargest(MOST_GROUPS, groups, key=lambda group: groups[group][1])
    return {
        "name": name,
        "running": cooperator.running,
        "count": len(cooperator.tasks),
        "found": found,
        "statistics": _finite(figures),
        "time_slice": time_slice,
        "tasks": [_describe(task, recent) for task in tasks if not task.done()],
        "groups": [
            {
                "name": group,
                "tasks": groups[group][0],
                "cpu_time": groups[group][1],
                "ended": ended[group].ended if group in ended else 0,
            }
            for group in most
        ],
    }


def _named(name: object) -> str | None:
    return None if name is None else legible(name)


def _finite(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Leave numbers out that JSON cannot have, such as a user's clock may bring about."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in figures.items()
    }


async def _select(
    cooperator: Cooperator, recent: Recent, selection: Selection
) -> tuple[list[Task], int, dict[str, tuple[int, float]]]:
    """Return the tasks to show, how many were found, and groups with tasks and seconds."""
    best: list[tuple[float, float, int, Task]] = []
    groups: dict[str, tuple[int, float]] = {}
    count = 0
    wanted = selection.search.casefold()
    for index, task in enumerate(cooperator.tasks):
        if index % AT_ONCE == AT_ONCE - 1:
            await checkpoint()
        if task.done():
            continue
        group = group_name(task)
        if group is not None:
            number, seconds = groups.get(group, (0, 0.0))
            groups[group] = (number + 1, seconds + task.cpu_time)
        value = recent.value(selection.sort, task)
        if wanted and wanted not in _searched(task, group):
            continue
        count += 1
        entry = (value, task.cpu_time, -index, task)
        if len(best) < selection.most:
            heapq.heappush(best, entry)
        else:
            heapq.heappushpop(best, entry)
    return [task for *_, task in sorted(best, reverse=True)], count, groups


def _searched(task: Task, group: str | None) -> str:
    return f"{legible(task.name)}\n{group or ''}\n{_generator(task)}".casefold()


def _generator(task: Task) -> str:
    iterator = task.iterator
    return legible(getattr(iterator, "__qualname__", type(iterator).__qualname__))


def _describe(task: Task, recent: Recent) -> dict[str, Any]:
    times = recent.queued(task)
    return {
        "number": recent.number(task),
        "name": legible(task.name),
        "group": group_name(task),
        "state": task.state,
        "paused": task.paused,
        "weight": task.weight,
        "steps": task.steps,
        **_finite(
            {
                "cpu_time": task.cpu_time,
                "recent": recent.seconds(task),
                "age": recent.age(task),
                "queued": times,
            }
        ),
        "where": [
            {
                "function": legible(frame.f_code.co_qualname),
                "file": legible(frame.f_code.co_filename),
                "line": frame.f_lineno,
            }
            for frame in itertools.islice(_frames(task.iterator), MOST_FRAMES)
        ],
        "iterator": _generator(task),
    }


def _frames(iterator: object) -> Iterator[FrameType]:
    """Yield the frames of a generator and of those that it delegates to, outermost first."""
    while True:
        frame = getattr(iterator, "gi_frame", None)
        if not isinstance(frame, FrameType):
            return
        yield frame
        iterator = getattr(iterator, "gi_yieldfrom", None)


def lag_after(lag: LoopLag, when: float) -> list[tuple[float, float]]:
    """Return when the measurements after `when` were due and how late they were."""
    newest = itertools.takewhile(lambda sample: sample[0] > when, reversed(lag.samples))
    return list(newest)[::-1]


def describe_stalls(
    lag: LoopLag, stalls: Iterable[tuple[int, Stall]], known: float
) -> Iterator[dict[str, Any]]:
    """Yield what held the loop, of the numbers above `known`, once the lag is measured."""
    measured = dict(lag.samples)
    for number, stall in stalls:
        if number > known and stall.due in measured:
            yield {
                "number": number,
                "due": stall.due,
                "late": max(stall.seconds, measured[stall.due]),
                "holder": stall.holder,
                "place": stall.place,
                "stack": stall.stack,
            }


def describe_place(name: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a place to offload to does; None for what it does not tell."""
    told = {one: figures.get(one) for one in ("limit", "running", "queued", "ended", "deaths")}
    return {**told, "name": name, "workers": figures.get("workers", ())}


def describe_failure(failure: Failure) -> dict[str, Any]:
    """Return a failure, with its traceback as text."""
    return {
        "number": failure.number,
        "when": failure.when,
        "cooperator": failure.cooperator,
        "task": failure.task,
        "steps": failure.steps,
        "summary": failure.summary,
        "traceback": legible(failure.text(), 10_000),
    }
