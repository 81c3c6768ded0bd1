"""What do a thousand and a hundred thousand tasks cost, ready or parked?

Time per task: made, stepped twice, finished; and made, paused, resumed, stopped
beside that many. Memory per parked task by tracemalloc, its generator or coroutine
included, the future that it waits on not. asyncio's own tasks for comparison. Times
are of the process's CPU clock, so that other programs matter less.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from _common import Report, interleave, parse_arguments

from cooperative_aio import Cooperator

FEW = 1_000


def two_steps() -> Iterator[None]:
    """Do nothing, twice."""
    yield
    yield


def endless() -> Iterator[None]:
    """Do nothing, again and again."""
    while True:
        yield


def numbers(count: int) -> Iterator[int]:
    """Yield numbers."""
    for number in range(count):  # noqa: UP028 (this is what is measured)
        yield number


def wait_for(future: asyncio.Future[None]) -> Iterator[asyncio.Future[None]]:
    """Wait in a CooperativeTask."""
    yield future


async def wait_in_a_coroutine(future: asyncio.Future[None]) -> None:
    """Wait in an asyncio.Task."""
    await future


async def sleep_twice() -> None:
    """Do nothing, twice."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def times(
    measure: Callable[[], Awaitable[float]], count: int
) -> Callable[[], Awaitable[float]]:
    """Return what measures so many times, and takes the mean."""

    async def measured() -> float:
        return sum([await measure() for _ in range(count)]) / count

    return measured


def run_tasks(count: int) -> Callable[[], Awaitable[float]]:
    """Return what measures making, stepping, finishing; microseconds per task."""

    async def measure() -> float:
        before = time.process_time()
        async with Cooperator() as cooperator:
            for _ in range(count):
                cooperator.cooperate(two_steps())
        return 1e6 * (time.process_time() - before) / count

    return measure


def run_asyncio_tasks(count: int) -> Callable[[], Awaitable[float]]:
    """Return what measures the same with asyncio's tasks."""

    async def measure() -> float:
        before = time.process_time()
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(sleep_twice())
        return 1e6 * (time.process_time() - before) / count

    return measure


def handle_tasks(count: int) -> Callable[[], Awaitable[float]]:
    """Return what measures making, pausing, resuming, stopping beside `count` ready ones."""

    async def measure() -> float:
        cooperator = Cooperator(started=False)
        for _ in range(count):
            cooperator.cooperate(endless())
        gc.collect()  # so that no full collection of all of them falls into what is measured
        before = time.process_time()
        for _ in range(FEW):
            task = cooperator.cooperate(endless())
            task.pause()
            task.resume()
            task.stop()
        seconds = time.process_time() - before
        cooperator.stop()
        return 1e6 * seconds / FEW

    return measure


async def park(cooperator: Cooperator, count: int) -> list[asyncio.Future[None]]:
    """Make tasks that wait, each on a future of its own; return the futures."""
    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(count)]
    for future in futures:
        cooperator.cooperate(wait_for(future))
    while cooperator.statistics().ready:  # noqa: ASYNC110 (there is no event for that)
        await asyncio.sleep(0.01)
    return futures


def run_beside_parked(count: int, steps: int) -> Callable[[], Awaitable[float]]:
    """Return what measures a ready task beside `count` parked ones; ns per step."""

    async def measure() -> float:
        cooperator = Cooperator()
        futures = await park(cooperator, count)
        gc.collect()
        seconds = []
        for _ in range(9):
            before = time.process_time()
            await cooperator.cooperate(numbers(steps))
            seconds.append(time.process_time() - before)
        cooperator.stop()
        del futures
        return 1e9 * statistics.median(seconds) / steps

    return measure


def memory(make: Callable[[Any], Any], count: int) -> Callable[[], Awaitable[float]]:
    """Return what measures the bytes of a task that `make` makes to wait on a future."""

    async def measure() -> float:
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in range(count)]
        tasks: list[Any] = [None] * count
        gc.collect()
        tracemalloc.start()
        try:
            for place, future in enumerate(futures):
                tasks[place] = make(future)
            await asyncio.sleep(0.5)
            gc.collect()
            size, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        for future in futures:
            future.set_result(None)
        await asyncio.gather(*tasks)
        return size / count

    return measure


async def main(options: Any) -> None:
    rounds, many = (1, 10_000) if options.quick else (4, 100_000)
    cooperator = Cooperator()
    report = Report(f"Scale: {FEW:,} and {many:,} tasks")
    units = {
        "run, few": (times(run_tasks(FEW), 20), "us/task"),
        "run, many": (run_tasks(many), "us/task"),
        "asyncio.Task, run, few": (times(run_asyncio_tasks(FEW), 20), "us/task"),
        "asyncio.Task, run, many": (run_asyncio_tasks(many), "us/task"),
        "pause, resume, stop beside few": (handle_tasks(FEW), "us/task"),
        "pause, resume, stop beside many": (handle_tasks(many), "us/task"),
        "one ready task alone": (run_beside_parked(0, 50_000), "ns/step"),
        "one ready task beside many parked": (run_beside_parked(many, 50_000), "ns/step"),
        "memory of a parked task": (
            memory(lambda future: cooperator.cooperate(wait_for(future)), many // 5),
            "bytes",
        ),
        "memory of an asyncio.Task": (
            memory(lambda future: asyncio.create_task(wait_in_a_coroutine(future)), many // 5),
            "bytes",
        ),
    }
    cases = {what: measure for what, (measure, _) in units.items()}
    for what, samples in (await interleave(cases, rounds)).items():
        report.record(what, samples, units[what][1])
    report.compare("run: many / few", "run, many", "run, few", at_most=1.5)
    report.compare(
        "asyncio.Task, run: many / few", "asyncio.Task, run, many", "asyncio.Task, run, few"
    )
    report.compare(
        "pause, resume, stop: many / few",
        "pause, resume, stop beside many",
        "pause, resume, stop beside few",
        at_most=1.5,
    )
    report.judge(
        "bytes of a parked task", report.samples("memory of a parked task"), at_most=1500
    )
    report.compare(
        "memory: parked task / asyncio.Task",
        "memory of a parked task",
        "memory of an asyncio.Task",
    )
    report.compare(
        "one ready task: beside many parked / alone",
        "one ready task beside many parked",
        "one ready task alone",
        at_most=1.05,
    )
    report.finish(options.json)


if __name__ == "__main__":
    asyncio.run(main(parse_arguments(__doc__).parse_args()))
