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
    """Base class of all errors of Cooperators and tasks; the name is Twisted's."""


class SchedulerStopped(SchedulerError):
    """The Cooperator was stopped, and its unfinished tasks with it."""


class SchedulerFull(SchedulerError):
    """The Cooperator has as many unfinished tasks as `max_tasks` allows."""


class AccumulationTooLarge(SchedulerError):
    """An accumulation has exceeded `max_items` or `max_bytes`.

    Attributes:
        limit: The limit that was exceeded, as text.
        count: The number of values that had been collected, and were dropped.
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
    """The operation needs an unfinished task; the subclass says how the task has ended."""


class TaskDone(TaskFinished):
    """The task's iterator had already come to its end."""


class TaskStopped(TaskFinished):
    """The task was stopped or cancelled; also what `stop()` completes it with."""


class TaskFailed(TaskFinished):
    """The task's iterator had already raised an exception."""


class NotPaused(SchedulerError):
    """`resume()` was called more often than `pause()`."""
