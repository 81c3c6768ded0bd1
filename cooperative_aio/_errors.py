"""Every exception of the package."""

from __future__ import annotations

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
