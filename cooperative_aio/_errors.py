"""Every exception of the package, and the checks that arguments go through."""

from __future__ import annotations

import math

__all__ = [
    "NotPaused",
    "SchedulerError",
    "SchedulerStopped",
    "TaskDone",
    "TaskFailed",
    "TaskFinished",
    "TaskStopped",
    "check_finite",
]


class SchedulerError(Exception):
    """Be the base of every error that this package defines (Twisted's name)."""


class SchedulerStopped(SchedulerError):
    """Say that the Cooperator was stopped, and its unfinished tasks with it."""


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
