"""How long a step may last: the only place that looks into the core for it."""

from __future__ import annotations

import time
from collections.abc import Callable

from cooperative_aio._own import current_task
from cooperative_aio._pacing import TimeSlice
from cooperative_aio._task import job_of

__all__ = ["pace_of_step"]


def pace_of_step() -> tuple[Callable[[], float], float]:
    """Return the clock of the step that runs, and for how many seconds it may go on.

    A step that no Cooperator takes (somebody iterates by hand) has a slice to itself.
    """
    task = current_task()
    if task is None:
        return time.perf_counter, TimeSlice().seconds
    engine = job_of(task).home
    return engine.clock, engine.rest_of_slice()
