"""Run CPU-heavy generators on the asyncio loop in time slices.

The modules, each of which imports only from those above it:

================== ==================================================================
`_errors`          every exception, and the checks that arguments go through
`_fairness`        who goes next: the queue that shares time by weight
`_pacing`          when to compute: `TimeSlice`, and the one pacer that a loop has
`_task`            `CooperativeTask`: one iterator, its states, its handle
`_runner`          the engine of a Cooperator: the ready tasks and the tick
`_cooperator`      `Cooperator`, and the loop's own one
`_checkpoint`      `checkpoint`: the same courtesy for ordinary coroutines
`_accumulate`      `ValueBucket`, `accumulate`, `batch_accumulate`
`_batches`         `batches`: the same, streamed
================== ==================================================================
"""

from cooperative_aio._accumulate import (
    ValueBucket,
    accumulate,
    accumulation_handler,
    batch_accumulate,
)
from cooperative_aio._batches import Batches, batches
from cooperative_aio._checkpoint import checkpoint
from cooperative_aio._cooperator import (
    Cooperator,
    Statistics,
    coiterate,
    cooperate,
    current_task,
    get_cooperator,
)
from cooperative_aio._errors import (
    NotPaused,
    SchedulerError,
    SchedulerStopped,
    TaskDone,
    TaskFailed,
    TaskFinished,
    TaskStopped,
)
from cooperative_aio._pacing import TimeSlice
from cooperative_aio._task import CooperativeTask

__version__ = "0.1.0"

__all__ = [
    "Batches",
    "CooperativeTask",
    "Cooperator",
    "NotPaused",
    "SchedulerError",
    "SchedulerStopped",
    "Statistics",
    "TaskDone",
    "TaskFailed",
    "TaskFinished",
    "TaskStopped",
    "TimeSlice",
    "ValueBucket",
    "accumulate",
    "accumulation_handler",
    "batch_accumulate",
    "batches",
    "checkpoint",
    "coiterate",
    "cooperate",
    "current_task",
    "get_cooperator",
]
