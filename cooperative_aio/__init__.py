"""Run CPU-heavy generators on the asyncio loop in time slices.

    from cooperative_aio import batch_accumulate

    async def handler(request):
        rows = await batch_accumulate(1000, expensive(request))

The modules, each of which imports only from those above it:

================== ==================================================================
`_lazy`            packages whose names are imported when they are first used
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
`_json_array`      `json_array`: a JSON array in pieces, for requests and answers
`_watch`           how late a loop is, and which Cooperators are on it
`_watchdog`        what holds the loop, while it holds it
`prometheus`       statistics for Prometheus
`opentelemetry`    statistics for OpenTelemetry
`monitor`          a page that shows what runs
`tasklet`          event-driven generators that talk by messages
`testing`          manual schedulers, virtual time, pytest fixtures
`functions`        ordinary functions that never yield, in slices
`offload`          the same generators in threads, processes, or a Dask cluster
`_servers`         what the modules for servers share, whatever the framework
`starlette`        computing in Starlette and FastAPI
`aiohttp`          computing in aiohttp's servers
================== ==================================================================

Names are imported from their modules when they are first used, so that the pytest
plugin, which pytest imports at its start, costs nothing and hides nothing from
coverage.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cooperative_aio._lazy import lazy

if TYPE_CHECKING:
    from cooperative_aio._accumulate import ValueBucket as ValueBucket
    from cooperative_aio._accumulate import accumulate as accumulate
    from cooperative_aio._accumulate import accumulation_handler as accumulation_handler
    from cooperative_aio._accumulate import batch_accumulate as batch_accumulate
    from cooperative_aio._batches import Batches as Batches
    from cooperative_aio._batches import batches as batches
    from cooperative_aio._calls import defer_later as defer_later
    from cooperative_aio._calls import react as react
    from cooperative_aio._checkpoint import checkpoint as checkpoint
    from cooperative_aio._clock import Clock as Clock
    from cooperative_aio._cooperator import Cooperator as Cooperator
    from cooperative_aio._errors import AccumulationTooLarge as AccumulationTooLarge
    from cooperative_aio._errors import NotPaused as NotPaused
    from cooperative_aio._errors import SchedulerError as SchedulerError
    from cooperative_aio._errors import SchedulerFull as SchedulerFull
    from cooperative_aio._errors import SchedulerStopped as SchedulerStopped
    from cooperative_aio._errors import TaskDone as TaskDone
    from cooperative_aio._errors import TaskFailed as TaskFailed
    from cooperative_aio._errors import TaskFinished as TaskFinished
    from cooperative_aio._errors import TaskStopped as TaskStopped
    from cooperative_aio._json_array import json_array as json_array
    from cooperative_aio._looping import LoopingCall as LoopingCall
    from cooperative_aio._options import TaskOptions as TaskOptions
    from cooperative_aio._own import coiterate as coiterate
    from cooperative_aio._own import cooperate as cooperate
    from cooperative_aio._own import current_task as current_task
    from cooperative_aio._own import get_cooperator as get_cooperator
    from cooperative_aio._pacing import TimeSlice as TimeSlice
    from cooperative_aio._pieces import pieces as pieces
    from cooperative_aio._quiet_collector import QuietCollector as QuietCollector
    from cooperative_aio._quiet_collector import quiet_collector as quiet_collector
    from cooperative_aio._statistics import Statistics as Statistics
    from cooperative_aio._task import CooperativeTask as CooperativeTask

__version__ = "0.1.0"

__all__: list[str]
__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "_accumulate": "ValueBucket accumulate accumulation_handler batch_accumulate",
        "_batches": "Batches batches",
        "_calls": "defer_later react",
        "_checkpoint": "checkpoint",
        "_clock": "Clock",
        "_cooperator": "Cooperator",
        "_errors": (
            "AccumulationTooLarge NotPaused SchedulerError SchedulerFull "
            "SchedulerStopped TaskDone TaskFailed TaskFinished TaskStopped"
        ),
        "_json_array": "json_array",
        "_looping": "LoopingCall",
        "_options": "TaskOptions",
        "_own": "coiterate cooperate current_task get_cooperator",
        "_pacing": "TimeSlice",
        "_pieces": "pieces",
        "_quiet_collector": "QuietCollector quiet_collector",
        "_statistics": "Statistics",
        "_task": "CooperativeTask",
    },
)
