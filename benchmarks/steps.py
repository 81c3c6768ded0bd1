"""What does a step cost, per value, beside a plain loop and Twisted's Cooperator?

The trivial generator yields a million numbers, in one task or spread over four.
Twisted's Cooperator accumulates them in a Twisted process, in the way of the
`cooperative` package: a generator taps each value into a bucket and passes it on;
batched, another generator drains a thousand of these for each step.

Times are of the process's CPU clock, so that other programs matter less; standing
back takes CPU time and is in them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from itertools import repeat
from typing import Any

from _common import Child, Report, child_arguments, interleave, parse_arguments

from cooperative_aio import accumulate, batch_accumulate, coiterate

BATCH = 1000
TASKS = (1, 4)
WORK = 1e-6  # seconds in a step of the generator that works

Measure = Callable[[], Awaitable[float]]
Start = Callable[[Iterator[int]], Awaitable[Any]]


def trivial(count: int) -> Iterator[int]:
    """Yield numbers."""
    for number in range(count):  # noqa: UP028 (this is what is measured)
        yield number


def working(count: int, laps: int) -> Iterator[int]:
    """Yield numbers, and work a little for each."""
    for number in range(count):
        for _ in repeat(None, laps):
            pass
        yield number


def laps_of(seconds: float) -> int:
    """Return how many laps of `working` take so long on this machine."""

    def time_step(laps: int) -> float:
        best = float("inf")
        for _ in range(5):
            before = time.process_time()
            deque(working(20_000, laps), maxlen=0)
            best = min(best, time.process_time() - before)
        return best / 20_000

    return round(seconds / ((time_step(1000) - time_step(0)) / 1000))


def plain(make: Callable[[], Iterator[int]]) -> Measure:
    """Return what measures `collections.deque(gen)`, in seconds."""

    async def measure() -> float:
        before = time.process_time()
        deque(make())
        return time.process_time() - before

    return measure


def ours(start: Start, make: Callable[[], Iterator[int]], tasks: int = 1) -> Measure:
    """Return what measures `start` on so many iterators at a time, in seconds."""

    async def measure() -> float:
        before = time.process_time()
        await asyncio.gather(*[start(make()) for _ in range(tasks)])
        return time.process_time() - before

    return measure


def theirs(peer: Child, how: str, tasks: int, count: int) -> Measure:
    """Return what measures the same in the Twisted process, in seconds."""

    async def measure() -> float:
        answer = await peer.ask(how=how, tasks=tasks, count=count // tasks)
        return float(answer["seconds"])

    return measure


async def in_batches(iterator: Iterator[int]) -> deque[int]:
    """Accumulate in batches."""
    return await batch_accumulate(BATCH, iterator)


async def main(options: Any) -> None:
    rounds, count, working_count = (
        (3, 100_000, 30_000) if options.quick else (9, 1_000_000, 300_000)
    )
    laps = laps_of(WORK)
    report = Report(f"Steps: {count:,} trivial values")
    async with Child("twisted") as peer:
        cases = {
            "deque(gen)": plain(lambda: trivial(count)),
            "coiterate": ours(coiterate, lambda: trivial(count)),
            "Twisted coiterate": theirs(peer, "coiterate", 1, count),
        }
        for tasks in TASKS:
            part = count // tasks
            cases |= {
                f"accumulate, {tasks} task": ours(accumulate, lambda n=part: trivial(n), tasks),
                f"batch_accumulate, {tasks} task": ours(
                    in_batches, lambda n=part: trivial(n), tasks
                ),
                f"Twisted accumulate, {tasks} task": theirs(peer, "accumulate", tasks, count),
                f"Twisted batches, {tasks} task": theirs(peer, "batches", tasks, count),
            }
        for what, samples in (await interleave(cases, rounds)).items():
            report.record(what, [1e9 * seconds / count for seconds in samples], "ns/value")
    cases = {
        "deque(gen), 1 us of work": plain(lambda: working(working_count, laps)),
        "batch_accumulate, 1 us of work": ours(
            in_batches, lambda: working(working_count, laps)
        ),
        "accumulate, 1 us of work": ours(accumulate, lambda: working(working_count, laps)),
    }
    for what, samples in (await interleave(cases, rounds)).items():
        report.record(what, [1e9 * seconds / working_count for seconds in samples], "ns/value")
    judge(report)
    report.finish(options.json)


def judge(report: Report) -> None:
    for over, under, at_most, at_least in (
        ("accumulate, 1 task", "deque(gen)", 2.5, None),
        ("batch_accumulate, 1 task", "deque(gen)", 1.4, None),
        ("batch_accumulate, 1 us of work", "deque(gen), 1 us of work", 1.05, None),
        ("accumulate, 1 us of work", "deque(gen), 1 us of work", None, None),
        ("Twisted accumulate, 1 task", "accumulate, 1 task", None, 2.5),
        ("Twisted accumulate, 4 task", "accumulate, 4 task", None, 1.2),
        ("Twisted batches, 1 task", "batch_accumulate, 1 task", None, 1.0),
        ("Twisted batches, 4 task", "batch_accumulate, 4 task", None, 1.0),
        ("Twisted coiterate", "coiterate", None, None),
    ):
        report.compare(f"{over} / {under}", over, under, at_most=at_most, at_least=at_least)


def serve_twisted() -> None:
    """Measure on request, in the Twisted process."""
    import _twisted  # noqa: PLC0415 (only where it is installed and used)
    from twisted.internet import defer, task  # noqa: PLC0415

    def handle(request: dict[str, Any]) -> Any:
        how, count = request["how"], request["count"]
        before = time.process_time()

        def start() -> Any:
            if how == "coiterate":
                return task.coiterate(trivial(count))
            return _twisted.accumulate(trivial(count), BATCH if how == "batches" else 1)

        started = defer.gatherResults([start() for _ in range(request["tasks"])])
        return started.addCallback(lambda _: {"seconds": time.process_time() - before})

    _twisted.answer_parent(handle)


if __name__ == "__main__":
    if child_arguments() is None:
        asyncio.run(main(parse_arguments(__doc__).parse_args()))
    else:
        serve_twisted()
