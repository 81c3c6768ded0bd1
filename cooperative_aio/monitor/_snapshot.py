"""What there is to see of a loop, as JSON can have it."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakValueDictionary

from cooperative_aio._checkpoint import checkpoint
from cooperative_aio._cooperator import Cooperator
from cooperative_aio._task import CooperativeTask
from cooperative_aio._watch import LoopLag, state_of

__all__ = ["Numbers", "lag_after", "picture"]

MOST_FRAMES: Final = 8  # of generators that delegate to others


class Numbers:
    """Number tasks for as long as they live; no number is given twice."""

    def __init__(self) -> None:
        self._next = itertools.count(1)
        self._numbers: WeakKeyDictionary[CooperativeTask[Any], int] = WeakKeyDictionary()
        self._tasks: WeakValueDictionary[int, CooperativeTask[Any]] = WeakValueDictionary()

    def number(self, task: CooperativeTask[Any]) -> int:
        """Return the number of a task."""
        number = self._numbers.get(task)
        if number is None:
            number = self._numbers[task] = next(self._next)
            self._tasks[number] = task
        return number

    def task(self, number: int) -> CooperativeTask[Any] | None:
        """Return the task of a number, if it still is unfinished."""
        task = self._tasks.get(number)
        return None if task is None or task.done() else task


async def picture(
    name: str, cooperator: Cooperator, numbers: Numbers, most: int
) -> dict[str, Any]:
    """Return what a Cooperator does, with `most` of its tasks at most.

    Those that have had the most time are picked, which takes its turns of the loop: there
    may be a hundred thousand.

    Cancellation: as for `checkpoint`.
    """
    tasks = cooperator.tasks
    if len(tasks) > most:
        tasks = await _most_expensive(tasks, most)
    return {
        "name": name,
        "running": cooperator.running,
        "count": len(cooperator.tasks),
        "statistics": {
            field: value
            for field, value in dataclasses.asdict(cooperator.statistics()).items()
            if field != "time_slice"
        },
        "time_slice": repr(cooperator.statistics().time_slice),
        "tasks": [_describe(task, numbers.number(task)) for task in tasks if not task.done()],
    }


async def _most_expensive(
    tasks: tuple[CooperativeTask[Any], ...], most: int
) -> tuple[CooperativeTask[Any], ...]:
    found: list[tuple[float, int]] = []
    for index, task in enumerate(tasks):
        entry = (task.cpu_time, -index)
        if len(found) < most:
            heapq.heappush(found, entry)
        elif entry > found[0]:
            heapq.heapreplace(found, entry)
        await checkpoint()
    return tuple(tasks[-index] for _, index in sorted(found, reverse=True))


def _describe(task: CooperativeTask[Any], number: int) -> dict[str, Any]:
    return {
        "number": number,
        "name": task.name,
        "state": state_of(task),
        "paused": task.paused,
        "weight": task.weight,
        "steps": task.steps,
        "cpu_time": task.cpu_time,
        "where": [
            {
                "function": frame.f_code.co_qualname,
                "file": frame.f_code.co_filename,
                "line": frame.f_lineno,
            }
            for frame in itertools.islice(_frames(task.iterator), MOST_FRAMES)
        ],
        "iterator": getattr(task.iterator, "__qualname__", type(task.iterator).__qualname__),
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
