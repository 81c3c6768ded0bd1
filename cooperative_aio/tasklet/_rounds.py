"""What a tasklet waits for: from what it yielded to armed conditions."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from cooperative_aio.tasklet._conditions import WaitCondition
from cooperative_aio.tasklet._ending import is_tasklet
from cooperative_aio.tasklet._joins import Event, WaitForAwaitable, WaitForTasklet

if TYPE_CHECKING:
    from cooperative_aio.tasklet._tasklet import Tasklet

EXPECTED = (
    "yielded values must be a Message, or one or several of WaitConditions, Tasklets, "
    "generators and awaitables"
)


class Round:
    """The conditions of one wait, and what was yielded for each of them."""

    def __init__(self) -> None:
        self.conditions: list[WaitCondition] = []
        self._yielded: list[object] = []

    def same(self, yielded: object) -> bool:
        """Tell whether this is again the one condition that was yielded last."""
        return len(self._yielded) == 1 and self.conditions[0] is yielded

    def next(
        self, yielded: object, new_tasklet: Callable[[Generator[Any, Any, Any]], Tasklet[Any]]
    ) -> tuple[Round, list[Tasklet[Any]]]:
        """Return the round that `yielded` asks for, and the tasklets it has to start.

        What was yielded in the last round, too, keeps its condition.

        Raises:
            TypeError: It is nothing that a tasklet can wait for.
            ValueError: It is an empty list or tuple.
        """
        sole = not isinstance(yielded, (list, tuple))
        values: Sequence[object] = [yielded] if sole else yielded  # type: ignore[assignment]
        if not values:
            raise ValueError(f"{EXPECTED}, got {yielded!r}")
        for value in values:
            if not _valid(value):
                raise TypeError(f"{EXPECTED}, got {value!r}")
        known = {id(v): c for v, c in zip(self._yielded, self.conditions, strict=True)}
        new = Round()
        started: list[Tasklet[Any]] = []
        for value in {id(v): v for v in values}.values():
            condition = known.get(id(value)) or _condition(value, new_tasklet, started)
            if isinstance(condition, WaitForAwaitable) and value is not condition:
                condition.event = Event.RESULT if sole else Event.FUTURE
            new._yielded.append(value)
            new.conditions.append(condition)
        return new, started

    def arm(self, tasklet: Tasklet[Any], armed: set[int]) -> None:
        """Arm the conditions that are not armed yet.

        When one cannot be armed, only those that were remain.
        """
        new = [c for c in self.conditions if id(c) not in armed]
        for place, condition in enumerate(new):
            try:
                condition.arm(tasklet)
            except BaseException:
                pairs = zip(self._yielded, self.conditions, strict=True)
                left = [(v, c) for v, c in pairs if id(c) in armed]
                self._yielded, self.conditions = [v for v, _ in left], [c for _, c in left]
                for other in new[:place]:
                    tasklet.disarm(other)
                raise


def _valid(value: object) -> bool:
    return (
        isinstance(value, (WaitCondition, Generator))
        or asyncio.isfuture(value)
        or inspect.isawaitable(value)
    )


def _condition(
    value: Any,
    new_tasklet: Callable[[Generator[Any, Any, Any]], Tasklet[Any]],
    started: list[Tasklet[Any]],
) -> WaitCondition:
    if isinstance(value, WaitCondition):
        return value
    if is_tasklet(value):
        return WaitForTasklet(value)
    if isinstance(value, Generator):
        tasklet = new_tasklet(value)
        started.append(tasklet)
        condition = WaitForTasklet(tasklet)
        condition.owned = True
        return condition
    return WaitForAwaitable(value)
