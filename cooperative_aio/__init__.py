"""Run CPU-heavy generators on the asyncio loop in time slices.

    from cooperative_aio import batch_accumulate

    async def handler(request):
        rows = await batch_accumulate(1000, expensive(request))

The modules, each of which imports only from those above it:

================== ==================================================================
`_checks`          the checks that arguments go through
`_errors`          every exception
`_host`            what the machine underneath has not got
`_states`          what a task may be doing, and what leads from one to another
`_options`         `TaskOptions`: what can be said of a task when it is made
`_changes`         one change at a time, whatever interrupts it
`_seats`           who is next: seats in the order of their turns, by weight
`_fairness`        giving turns
`_groups`          groups: a seat that is the queue of its members
`_futures`         a future that is cancelled with the very error that its work raised
`_iterators`       what a task steps, which others may share
`_call_graph`      what asyncio's call graphs need to know of a task
`_turns`           how the pacer's turns come about in a browser
`_pacing`          when to compute: `TimeSlice`, and the one pacer that a loop has
`_loop`            what the package keeps on a loop
`_meter`           what a tick has cost: clock, CPU, garbage collector
`_sinks`           where the values go of tasks that keep them
`_stepping`        several steps at a turn
`_rhythm`          when a Cooperator ticks
`_engine`          the engine of a Cooperator: who is ready, and ticks
`_asked`           what others have asked of a task: to pause, to end, to be cancelled
`_stepped`         an iterator that is stepped: the next step, and what it brings
`_waiting`         waiting on what an iterator yields
`_job`             a task's inner life: its states and its end
`_task`            `CooperativeTask`: the future by which users hold a task
`_roster`          the tasks of a Cooperator: made, counted, ended
`_statistics`      `Statistics`: what a Cooperator has done, in numbers
`_cooperator`      `Cooperator`, the public face
`_own`             the loop's own one: `cooperate`, `get_cooperator`, `current_task`
`_checkpoint`      `checkpoint`: the same courtesy for ordinary coroutines
`_draining`        sources of batches, in place of iterables
`_accumulate`      `ValueBucket`, `accumulate`, `batch_accumulate`
`_batches`         `batches`: the same, streamed
`_clock`           `Clock`: time that a test moves
`_calls`           `defer_later`, `react`
`_grid`            the instants at which a `LoopingCall` is due
`_looping`         `LoopingCall`
`_quiet_collector` `quiet_collector`: the garbage collector, out of the loop's way
`_legible`         text of users, fit for pages, metrics and logs
`_observing`       what the core tells those who watch it
`_history`         failures, durations, groups, longest steps
`_pieces`          `pieces`: a function over many values, as many as fit the time
`_watch`           how late a loop is, and which Cooperators are on it
`_watchdog`        what holds the loop, while it holds it
`prometheus`       statistics for Prometheus
`opentelemetry`    statistics for OpenTelemetry
`monitor`          a page that shows what runs
`tasklet`          event-driven generators that talk by messages
`testing`          manual schedulers, virtual time, pytest fixtures
`functions`        ordinary functions that never yield, in slices
`offload`          the same generators in threads, processes, or a Dask cluster
`_json_array`      a JSON array in pieces, and text in batches
`_lifetime`        what an application owns from its start to its end
`starlette`        these two for Starlette and FastAPI
`aiohttp`          these two for aiohttp's servers
================== ==================================================================

Names are imported from their modules when they are first used, so that the pytest
plugin, which pytest imports at its start, costs nothing and hides nothing from
coverage.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cooperative_aio._accumulate import (
        ValueBucket,
        accumulate,
        accumulation_handler,
        batch_accumulate,
    )
    from cooperative_aio._batches import Batches, batches
    from cooperative_aio._calls import defer_later, react
    from cooperative_aio._checkpoint import checkpoint
    from cooperative_aio._clock import Clock
    from cooperative_aio._cooperator import Cooperator
    from cooperative_aio._errors import (
        AccumulationTooLarge,
        NotPaused,
        SchedulerError,
        SchedulerFull,
        SchedulerStopped,
        TaskDone,
        TaskFailed,
        TaskFinished,
        TaskStopped,
    )
    from cooperative_aio._looping import LoopingCall
    from cooperative_aio._options import TaskOptions
    from cooperative_aio._own import coiterate, cooperate, current_task, get_cooperator
    from cooperative_aio._pacing import TimeSlice
    from cooperative_aio._pieces import pieces
    from cooperative_aio._quiet_collector import QuietCollector, quiet_collector
    from cooperative_aio._statistics import Statistics
    from cooperative_aio._task import CooperativeTask

__version__ = "0.1.0"

__all__ = [
    "AccumulationTooLarge",
    "Batches",
    "Clock",
    "CooperativeTask",
    "Cooperator",
    "LoopingCall",
    "NotPaused",
    "QuietCollector",
    "SchedulerError",
    "SchedulerFull",
    "SchedulerStopped",
    "Statistics",
    "TaskDone",
    "TaskFailed",
    "TaskFinished",
    "TaskOptions",
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
    "defer_later",
    "get_cooperator",
    "pieces",
    "quiet_collector",
    "react",
]

_CONTENTS = {
    "_accumulate": ("ValueBucket", "accumulate", "accumulation_handler", "batch_accumulate"),
    "_batches": ("Batches", "batches"),
    "_calls": ("defer_later", "react"),
    "_checkpoint": ("checkpoint",),
    "_clock": ("Clock",),
    "_cooperator": ("Cooperator",),
    "_own": ("coiterate", "cooperate", "current_task", "get_cooperator"),
    "_errors": (
        *("AccumulationTooLarge", "NotPaused", "SchedulerError", "SchedulerFull"),
        *("SchedulerStopped", "TaskDone", "TaskFailed", "TaskFinished", "TaskStopped"),
    ),
    "_options": ("TaskOptions",),
    "_looping": ("LoopingCall",),
    "_pacing": ("TimeSlice",),
    "_quiet_collector": ("QuietCollector", "quiet_collector"),
    "_pieces": ("pieces",),
    "_statistics": ("Statistics",),
    "_task": ("CooperativeTask",),
}
_HOMES = {name: module for module, names in _CONTENTS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
