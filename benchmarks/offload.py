"""How fast do values come back from elsewhere, and does the loop notice?

A step of the generator takes about 1 microsecond: before anything else, a process of its own
measures how many turns of a loop that is here, and all have that many. The speed of the
generator alone, in that process, is what all are compared with. Peers:
`run_in_executor(ProcessPoolExecutor)`, which returns everything at the end, and spdl's
`iterate_in_subprocess`, where it is installed. `--calls` measures whole jobs and small calls
only, by what they take on the clock and of this process's CPU time.

    python benchmarks/offload.py [--quick] [--calls] [--json FILE]
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import multiprocessing
import selectors
import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio.to_process
from _common import Report, interleave, parse_arguments

from cooperative_aio import accumulate, batches, offload

BATCH = 1000


class Job(NamedTuple):
    """What `floats` is to do."""

    count: int
    turns: int  # of a loop, in each step


def floats(job: Job) -> Iterator[float]:
    """Yield floats, one in about a microsecond."""
    value = 1.0
    for _ in range(job.count):
        for _ in range(job.turns):
            value = value * 1.0000001 + 0.5
        yield value


def alone(job: Job) -> float:
    """Return how long a step takes when nobody wants the values, in microseconds."""
    began = time.perf_counter()
    for _ in floats(job):
        pass
    return (time.perf_counter() - began) / job.count * 1e6


def calibrate() -> int:
    """Return how many turns make a step take 1 microsecond."""
    few, many = (min(alone(Job(10_000, turns)) for _ in range(20)) for turns in (0, 50))
    return max(1, round(50 * (1 - few) / (many - few)))


def all_at_once(job: Job) -> list[float]:
    return list(floats(job))


def nothing() -> Iterator[int]:
    yield 1


def resident() -> float:
    """Return how much memory this process has, in MB (Linux; 0 elsewhere)."""
    path = Path("/proc/self/status")
    lines = path.read_text().splitlines() if path.exists() else ["VmRSS: 0 kB"]
    [line] = [line for line in lines if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def memory() -> Iterator[float]:
    yield resident()


# What is measured: each returns microseconds per value


async def stream(place: Any, job: Job, size: int = BATCH) -> float:
    began = time.perf_counter()
    got = 0
    async for batch in batches(size, place.open(floats, job)):
        got += len(batch)
    if got != job.count:
        raise AssertionError(got)
    return (time.perf_counter() - began) / job.count * 1e6


async def at_the_end(pool: ProcessPoolExecutor, job: Job) -> float:
    began = time.perf_counter()
    await asyncio.get_running_loop().run_in_executor(pool, all_at_once, job)
    return (time.perf_counter() - began) / job.count * 1e6


async def in_place(pool: ProcessPoolExecutor, job: Job) -> float:
    return await asyncio.get_running_loop().run_in_executor(pool, alone, job)


async def spdl(job: Job) -> float:
    from spdl.pipeline import iterate_in_subprocess  # noqa: PLC0415

    def consume() -> float:
        iterable = iterate_in_subprocess(
            partial(floats, job), buffer_size=BATCH, timeout=60, mp_context="spawn"
        )
        iterator = iter(iterable)
        next(iterator)
        began = time.perf_counter()
        got = sum(1 for _ in iterator)
        return (time.perf_counter() - began) / got * 1e6

    return await asyncio.to_thread(consume)


async def together(place: Any, *jobs: Job) -> float:
    """Return microseconds per value of several jobs at the same time."""
    began = time.perf_counter()
    await asyncio.gather(*(stream(place, job) for job in jobs))
    return (time.perf_counter() - began) / sum(job.count for job in jobs) * 1e6


async def plain_together(pool: ProcessPoolExecutor, *jobs: Job) -> float:
    """Return the same without any values coming back: what the machine can do."""
    began = time.perf_counter()
    await asyncio.gather(*(in_place(pool, job) for job in jobs))
    return (time.perf_counter() - began) / sum(job.count for job in jobs) * 1e6


def exact_loop() -> asyncio.AbstractEventLoop:
    """Make a loop that waits by `select`, which knows microseconds.

    `epoll` rounds up to milliseconds: whenever anything else has woken the loop, a timer is
    late by up to one, however idle the machine is.
    """
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def lateness(seconds: float) -> float:
    """Return the 99th percentile of how late a timer of 1 ms is, in ms."""
    late = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        await asyncio.sleep(0.001)
        late.append((time.perf_counter() - began - 0.001) * 1e3)
    return statistics.quantiles(late, n=100)[98]


async def lateness_beside(work: Callable[[], Awaitable[Any]] | None, seconds: float) -> float:
    """Return that beside some work, which is repeated as long as it takes."""

    async def repeat(work: Callable[[], Awaitable[Any]]) -> None:
        while True:
            await work()

    task = asyncio.create_task(repeat(work)) if work is not None else None
    try:
        await asyncio.sleep(0.05)
        return await lateness(seconds)
    finally:
        if task is not None:
            task.cancel()
            await asyncio.wait([task])


async def first_value(make: Callable[[], Any]) -> float:
    """Return how long a new place takes to bring its first value, in ms."""
    began = time.perf_counter()
    async with make() as place:
        await place.open(nothing).next_batch(1)
        return (time.perf_counter() - began) * 1e3


async def per_source(place: Any) -> float:
    """Return how long opening, taking one value and closing takes, in ms."""
    began = time.perf_counter()
    for _ in range(20):
        await accumulate(place.open(nothing))
    return (time.perf_counter() - began) / 20 * 1e3


async def per_batch(place: Any) -> float:
    """Return how long a batch of one value takes, in microseconds."""
    count = 300
    source = place.open(range, 1, count + 20)
    async with source:
        for _ in range(10):
            await source.next_batch(1)
        began = time.perf_counter()
        for _ in range(count):
            await source.next_batch(1)
        return (time.perf_counter() - began) / count * 1e6


@contextlib.asynccontextmanager
async def places(processes: int) -> AsyncGenerator[dict[str, Any], None]:
    async with contextlib.AsyncExitStack() as stack:
        made: dict[str, Any] = {
            "threads": offload.threads(2),
            "processes": offload.processes(processes),
        }
        if importlib.util.find_spec("distributed"):
            from distributed import LocalCluster  # noqa: PLC0415

            cluster = await stack.enter_async_context(
                LocalCluster(
                    n_workers=2,
                    threads_per_worker=1,
                    dashboard_address=":0",
                    silence_logs=logging.ERROR,
                    asynchronous=True,
                )
            )
            made["Dask"] = offload.dask(cluster)
        for place in made.values():
            await stack.enter_async_context(place)
        yield made


Work = Callable[[], Awaitable[Any]]
Cases = dict[str, Callable[[], Awaitable[float]]]


def speed(made: dict[str, Any], pool: ProcessPoolExecutor, job: Job) -> Cases:
    cases: Cases = {
        "alone": partial(in_place, pool, job),
        **{name: partial(stream, place, job) for name, place in made.items()},
        "processes, batches of 100": partial(stream, made["processes"], job, 100),
        "run_in_executor": partial(at_the_end, pool, job),
    }
    if importlib.util.find_spec("spdl"):
        cases["spdl, item by item"] = partial(spdl, job._replace(count=job.count // 10))
    return cases


def scaling(place: Any, pool: ProcessPoolExecutor, job: Job) -> Cases:
    return {
        "one job": partial(together, place, job),
        "two jobs": partial(together, place, job, job),
        "one job, no values": partial(plain_together, pool, job),
        "two jobs, no values": partial(plain_together, pool, job, job),
    }


def latency(place: Any, pool: ProcessPoolExecutor, job: Job, seconds: float) -> Cases:
    works: dict[str, Callable[[], Awaitable[Any]] | None] = {
        "p99 idle": None,
        "p99 beside one job": partial(together, place, job),
        "p99 beside two jobs": partial(together, place, job, job),
        "p99 beside two, no values": partial(plain_together, pool, job, job),
        "p99 beside run_in_executor": partial(at_the_end, pool, job),
    }
    return {name: partial(lateness_beside, work, seconds) for name, work in works.items()}


# Whole jobs and small calls, by several ways: awaitables that do one


def ways(place: Any, pool: ProcessPoolExecutor, job: Job) -> dict[str, tuple[int, Work]]:
    """Return what is compared, and how often it is done in a round."""
    loop = asyncio.get_running_loop()

    async def whole_by_next_batch() -> None:
        async with place.open(floats, job) as source:
            while await source.next_batch(BATCH):
                pass

    async def small_by_next_batch() -> None:
        async with place.open(nothing) as source:
            await source.next_batch(1)

    async def whole_by_batches() -> None:
        async for _ in batches(BATCH, place.open(floats, job)):
            pass

    return {
        "a job: run_in_executor": (1, lambda: loop.run_in_executor(pool, all_at_once, job)),
        "a job: accumulate": (1, lambda: accumulate(place.open(floats, job))),
        "a job: batches": (1, whole_by_batches),
        "a job: next_batch": (1, whole_by_next_batch),
        "a small call: run_in_executor": (100, lambda: loop.run_in_executor(pool, int)),
        "a small call: anyio.to_process": (100, lambda: anyio.to_process.run_sync(int)),
        "a small call: accumulate": (100, lambda: accumulate(place.open(nothing))),
        "a small call: next_batch": (100, small_by_next_batch),
    }


async def measure_calls(
    report: Report, made: dict[str, Any], pool: ProcessPoolExecutor, job: Job, rounds: int
) -> None:
    """Measure whole jobs and small calls, on the clock and of CPU time here, in ms."""
    found: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        for what, (count, work) in ways(made["processes"], pool, job).items():
            began, computed = time.perf_counter(), time.process_time()
            for _ in range(count):
                await work()
            took = (time.perf_counter() - began, time.process_time() - computed)
            if number:  # in the first they start
                for unit, seconds in zip(("", ", CPU"), took, strict=True):
                    found.setdefault(what + unit, []).append(seconds / count * 1e3)
    for what, samples in found.items():
        report.record(what, samples, "ms")
    for what in ("a job", "a small call"):
        for way in ("accumulate", "next_batch"):
            peer = f"{what}: run_in_executor"
            report.compare(
                f"{what}: {way} over run_in_executor", f"{what}: {way}", peer, at_most=1.2
            )


async def measure(report: Report, cases: Cases, rounds: int, unit: str) -> None:
    for what, samples in (await interleave(cases, rounds)).items():
        report.record(what, samples, unit)


async def main() -> None:
    parser = parse_arguments(__doc__)
    parser.add_argument("--calls", action="store_true", help="whole jobs and small calls only")
    arguments = parser.parse_args()
    rounds, count, seconds = (2, 100_000, 0.5) if arguments.quick else (4, 300_000, 1.5)
    report = Report((__doc__ or "").splitlines()[0], "asyncio with select")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        async with places(2) as made:
            turns = await asyncio.get_running_loop().run_in_executor(pool, calibrate)
            report.record("a step", [turns], "turns of a loop")
            job = Job(count, turns)
            await measure_calls(report, made, pool, job, rounds)
            if not arguments.calls:
                await measure_places(report, made, pool, job, rounds, seconds)
    if not arguments.calls:
        await measure_starts(report, rounds)
        judge(report)
    report.finish(arguments.json)


async def measure_places(
    report: Report,
    made: dict[str, Any],
    pool: ProcessPoolExecutor,
    job: Job,
    rounds: int,
    seconds: float,
) -> None:
    place, short = made["processes"], job._replace(count=1000)
    for each in made.values():  # they have started
        await together(each, short, short)
    await plain_together(pool, short, short)
    await measure(report, speed(made, pool, job), rounds, "us/value")
    await measure(report, scaling(place, pool, job), rounds, "us/value")
    await measure(report, latency(place, pool, job, seconds), rounds, "ms late")
    sources = {f"{name}: a source": partial(per_source, made[name]) for name in made}
    await measure(report, sources, rounds, "ms")
    ones = {f"{name}: a batch of one": partial(per_batch, made[name]) for name in made}
    await measure(report, ones, rounds, "us")
    report.record("a worker process", list(await accumulate(place.open(memory))), "MB")


async def measure_starts(report: Report, rounds: int) -> None:
    starts = {
        "threads: first value": partial(first_value, lambda: offload.threads(1)),
        "processes: first value": partial(first_value, lambda: offload.processes(1)),
    }
    await measure(report, starts, rounds, "ms")


def judge(report: Report) -> None:
    report.compare("speed: processes", "alone", "processes", at_least=0.8)
    report.compare("speed: run_in_executor", "alone", "run_in_executor")
    report.compare("two jobs over one", "one job", "two jobs", at_least=1.7)
    report.compare("the same, no values", "one job, no values", "two jobs, no values")
    report.compare("p99: two jobs over idle", "p99 beside two jobs", "p99 idle", at_most=2)
    report.compare("p99: one job over idle", "p99 beside one job", "p99 idle", at_most=2)
    report.compare("p99: no values over idle", "p99 beside two, no values", "p99 idle")
    report.compare("p99: run_in_executor over idle", "p99 beside run_in_executor", "p99 idle")


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=exact_loop) as runner:
        runner.run(main())
