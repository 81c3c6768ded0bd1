"""Every exception of the package, and the checks that arguments go through."""

from __future__ import annotations

import math

__all__ = [
    "AccumulationTooLarge",
    "NotPaused",
    "SchedulerError",
    "SchedulerFull",
    "SchedulerStopped",
    "TaskDone",
    "TaskFailed",
    "TaskFinished",
    "TaskStopped",
    "check_count",
    "check_finite",
]


class SchedulerError(Exception):
    """Be the base of every error that this package defines (Twisted's name)."""


class SchedulerStopped(SchedulerError):
    """Say that the Cooperator was stopped, and its unfinished tasks with it."""


class SchedulerFull(SchedulerError):
    """Say that the Cooperator has as many unfinished tasks as `max_tasks` allows."""


class AccumulationTooLarge(SchedulerError):
    """Say that an accumulation has reached `max_items` or `max_bytes`.

    Attributes:
        limit: What must not be passed, as text.
        count: The number of values that were collected until then, and dropped.
    """

    def __init__(self, limit: str, count: int) -> None:
        super().__init__(limit, count)
        self.limit = limit
        self.count = count

    def __str__(self) -> str:
        return (
            f"cannot collect more than {self.limit}; {self.count} items had been collected"
            " (fold them into a result that the generator returns, or stream them by batches())"
        )


class TaskFinished(SchedulerError):
    """Say that an operation needs an unfinished task; the subclass says how it ended."""


class TaskDone(TaskFinished):
    """Say that the task's iterator had already come to its end."""


class TaskStopped(TaskFinished):
    """Say that the task was stopped or cancelled; also what `stop()` completes it with."""


class TaskFailed(TaskFinished):
    """Say that the task's iterator had already raised an exception."""


class NotPaused(SchedulerError):
    """Say that `resume()` was called more often than `pause()`."""


def check_count(name: str, value: object, *, least: int = 1) -> None:
    """Refuse what is no number of things.

    Args:
        name: What the caller called the argument.
        value: What arrived.
        least: The smallest number that is allowed.

    Raises:
        TypeError: The value is not an integer, or is a bool.
        ValueError: The value is less than `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer of at least {least}, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")


def check_finite(name: str, value: object, *, positive: bool) -> float:
    """Return `value` as a float, or raise an error that names it.

    Args:
        name: What the caller called the argument.
        value: What arrived.
        positive: Whether 0 is refused as well as what is below.

    Raises:
        TypeError: The value is not a number, or is a bool.
        ValueError: The value is not finite, or too small.
    """
    constraint = f"a finite number {'above' if positive else 'of at least'} 0"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be {constraint}, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or number < 0 or (positive and number == 0):
        raise ValueError(f"{name} must be {constraint}, got {value!r}")
    return number
