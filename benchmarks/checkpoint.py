"""What does `await checkpoint()` cost in a loop whose slice lasts?

Beside `await asyncio.sleep(0)`, which ordinary code has to guess with, and the loop
and a coroutine that does nothing, which is the least that any `await` costs.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

from _common import Report, interleave, parse_arguments

from cooperative_aio import checkpoint

AT_A_TIME = 1000  # awaits that are timed together: few of those suspend
SUSPENDING = "checkpoint(), standing back included"


async def nothing() -> None:
    """Return at once."""


async def time_checkpoints(chunks: int) -> list[float]:
    """Return the seconds that each chunk of checkpoints takes."""
    seconds = []
    for _ in range(chunks):
        before = time.perf_counter()
        for _ in range(AT_A_TIME):
            await checkpoint()
        seconds.append(time.perf_counter() - before)
    return seconds


async def time_sleeps(chunks: int) -> list[float]:
    """Do the same with sleep(0)."""
    seconds = []
    for _ in range(chunks):
        before = time.perf_counter()
        for _ in range(AT_A_TIME):
            await asyncio.sleep(0)
        seconds.append(time.perf_counter() - before)
    return seconds


async def time_nothing(chunks: int) -> list[float]:
    """Do the same with a coroutine that returns at once."""
    seconds = []
    for _ in range(chunks):
        before = time.perf_counter()
        for _ in range(AT_A_TIME):
            await nothing()
        seconds.append(time.perf_counter() - before)
    return seconds


def summary(
    measure: Callable[[int], Awaitable[list[float]]],
    chunks: int,
    of: Callable[[list[float]], float],
) -> Callable[[], Awaitable[float]]:
    """Return what measures the microseconds of one await."""

    async def measured() -> float:
        return 1e6 / AT_A_TIME * of(await measure(chunks))

    return measured


async def main(options: Any) -> None:
    rounds, chunks = (3, 200) if options.quick else (15, 1000)
    report = Report("The cost of await checkpoint()")
    cases = {
        "checkpoint()": summary(time_checkpoints, chunks, statistics.median),
        SUSPENDING: summary(time_checkpoints, chunks, statistics.mean),
        "sleep(0)": summary(time_sleeps, chunks // 10, statistics.median),
        "a coroutine that does nothing": summary(time_nothing, chunks, statistics.median),
    }
    for what, samples in (await interleave(cases, rounds)).items():
        report.record(what, samples, "us/await")
    report.judge(
        "checkpoint() while the slice lasts, us", report.samples("checkpoint()"), at_most=0.3
    )
    report.compare("sleep(0) / checkpoint()", "sleep(0)", "checkpoint()")
    report.finish(options.json)


if __name__ == "__main__":
    asyncio.run(main(parse_arguments(__doc__).parse_args()))
