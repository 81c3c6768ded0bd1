"""What a Cooperator has done and has to do, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from cooperative_aio._pacing import TimeSlice
from cooperative_aio._roster import Roster
from cooperative_aio._states import State

__all__ = ["Statistics", "statistics_of"]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Figures of a Cooperator: what it has done and has to do. Times are in seconds."""

    ready: int
    """Tasks that are queued for their next step."""
    paused: int
    """Tasks that are paused, and do not wait as well."""
    waiting: int
    """Tasks that wait on an awaitable."""
    ticks: int
    """Turns of the loop in which tasks took steps."""
    steps: int
    """Steps that all tasks together have taken."""
    cpu_time: float
    """Seconds that all steps together have taken."""
    longest_tick: float
    """Seconds that the longest tick has taken."""
    longest_step: float
    """Seconds that the longest step has taken; steps that were timed together count as one."""
    longest_step_task: str | None
    """The name of the task that took the longest step."""
    finished: int
    """Tasks whose iterator came to its end."""
    failed: int
    """Tasks whose iterator raised an exception."""
    cancelled: int
    """Tasks that were cancelled."""
    stopped: int
    """Tasks that were stopped, or whose Cooperator was."""
    refused: int
    """Tasks that were refused because there were `max_tasks` already."""
    collector_time: float
    """Seconds that the garbage collector has taken in the ticks."""
    time_slice: TimeSlice | None
    """The time slice; None with a termination predicate."""


def statistics_of(roster: Roster, time_slice: TimeSlice | None) -> Statistics:
    """Return the statistics of a Cooperator, as of now."""
    ready = roster.ready - len(roster.leases)
    ended = roster.ended
    return Statistics(
        ready=ready,
        paused=len(roster.jobs) - ready - roster.waiting,
        waiting=roster.waiting,
        ticks=roster.ticks,
        steps=roster.steps,
        cpu_time=roster.cpu_time,
        longest_tick=roster.longest_tick,
        longest_step=roster.longest_step,
        longest_step_task=roster.longest_step_task,
        finished=ended[State.FINISHED],
        failed=ended[State.FAILED],
        cancelled=ended[State.CANCELLED],
        stopped=ended[State.STOPPED],
        refused=roster.refused,
        collector_time=roster.collector_time,
        time_slice=time_slice,
    )
