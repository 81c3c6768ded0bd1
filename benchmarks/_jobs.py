"""Endless CPU jobs beside a server: the same work done in each of the ways there are."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Final

from cooperative_aio import Cooperator, TimeSlice, checkpoint

NONE: Final = "no job"
DEFAULT: Final = "default TimeSlice()"
RHYTHM: Final = "TimeSlice(0.01, max_wait=0)"
THREADS: Final = "asyncio.to_thread"
CHECKPOINT: Final = "await checkpoint()"
FUNCTIONS: Final = "to_slices()"
POOL: Final = "process pool"

UNITS_PER_CALL: Final = 250  # of work that a process does for one call, about 5 ms


def work() -> int:
    """Compute for about 20 microseconds: one unit."""
    total = 0
    for number in range(800):
        total += number * number
    return total


def work_elsewhere() -> int:
    """Do some units in another process; return how many."""
    for _ in range(UNITS_PER_CALL):
        work()
    return UNITS_PER_CALL


class Jobs:
    """Run endless jobs in one of the ways, and count what they get done.

    Args:
        mode: One of the names above.
        count: How many jobs there are.
    """

    def __init__(self, mode: str, count: int) -> None:
        self._mode = mode
        self._done = [0] * count  # units; each job has a place of its own
        self._stopping = False
        self._cooperator: Cooperator | None = None
        self._running: list[asyncio.Task[None]] = []

    @property
    def units(self) -> int:
        """How many units of work have been done."""
        return sum(self._done)

    async def begin(self) -> None:
        """Start the jobs."""
        self._stopping = False
        jobs = range(len(self._done))
        if self._mode in {DEFAULT, RHYTHM}:
            slices = TimeSlice() if self._mode == DEFAULT else TimeSlice(0.01, max_wait=0)
            self._cooperator = Cooperator(time_slice=slices)
            for job in jobs:
                self._cooperator.cooperate(self._generator(job))
        elif self._mode == POOL:
            context = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(os.cpu_count(), mp_context=context)
            calls = [pool.submit(work_elsewhere) for _ in range(os.cpu_count() or 1)]
            await asyncio.gather(*map(asyncio.wrap_future, calls))  # they have started
            self._running = [asyncio.create_task(self._in_pool(job, pool)) for job in jobs]
        elif self._mode == THREADS:
            self._running = [
                asyncio.create_task(asyncio.to_thread(self._plain, job)) for job in jobs
            ]
        elif self._mode == FUNCTIONS:
            from cooperative_aio.functions import to_slices  # noqa: PLC0415 (needs greenlet)

            self._running = [asyncio.create_task(to_slices(self._plain, job)) for job in jobs]
        elif self._mode == CHECKPOINT:
            self._running = [asyncio.create_task(self._coroutine(job)) for job in jobs]

    async def end(self) -> None:
        """Stop the jobs, and wait for what has to be waited for."""
        self._stopping = True
        if self._cooperator is not None:
            self._cooperator.stop()
            self._cooperator = None
        await asyncio.gather(*self._running)
        self._running = []

    def _generator(self, job: int) -> Iterator[None]:
        while True:
            work()
            self._done[job] += 1
            yield

    def _plain(self, job: int) -> None:
        while not self._stopping:
            work()
            self._done[job] += 1

    async def _coroutine(self, job: int) -> None:
        while not self._stopping:
            work()
            self._done[job] += 1
            await checkpoint()

    async def _in_pool(self, job: int, pool: ProcessPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping:
            self._done[job] += await loop.run_in_executor(pool, work_elsewhere)
        pool.shutdown(wait=False)


def can_interrupt() -> bool:
    """Return whether functions can be interrupted here."""
    try:
        from cooperative_aio.functions import (  # noqa: PLC0415 (needs greenlet)
            PreemptionUnavailable,
            steps_of,
        )
    except ImportError:
        return False
    try:
        steps_of(work).close()
    except PreemptionUnavailable:
        return False
    return True


def run_on(loop: str) -> Callable[..., None]:
    """Return what runs a coroutine on the kind of loop of that name."""
    if loop == "uvloop":
        import uvloop  # noqa: PLC0415 (only where it is used)

        return uvloop.run
    return asyncio.run
