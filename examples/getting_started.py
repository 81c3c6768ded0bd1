"""Compute on the event loop, and answer requests on time all the same.

    python examples/getting_started.py

Four expensive computations share one thread with a simulated server, to which requests come
after 0.3, 0.5 and 1.0 seconds. Each computation is two accumulations one after the other; the
second takes what the first has brought. A computer of today does all four in less time than
passes before the first request, so each computation is begun anew until the last request has
been answered: whenever one comes, there are four under way. Only the first round logs its
progress.
"""

import asyncio
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from cooperative_aio import batch_accumulate, get_cooperator

STEPS = 100_000
NUMBERS = (54.0, 42, 10, 34)
REQUESTS = (0.3, 0.5, 1.0)  # seconds after the start
HOPS = 5  # turns of the loop that a request takes: accept, read, look up, write, flush

log = logging.getLogger("getting_started")


@dataclass
class Answer:
    """Note how a request went."""

    due: float  # seconds after the start
    late: float  # seconds
    steps_before: int  # taken by the computations until it was answered
    under_way: int  # computations


def expensive(number: float, label: str | None) -> Iterator[float]:
    """Compute something, one value a step; log the progress of what has a label."""
    for value in range(STEPS):
        if label is not None and value % (STEPS // 4) == 0:
            log.info("%s: %d/4", label, 4 * value // STEPS)
        yield number * value / 3.0


async def compute(number: float, *, is_logged: bool) -> float:
    """Accumulate twice, and use the first result for the second: no callbacks."""
    label = f"{number} first" if is_logged else None
    first = sum(await batch_accumulate(1000, expensive(number, label), name=label))
    label = f"{number} second" if is_logged else None
    scaled = first // 1e9
    second = sum(await batch_accumulate(1000, expensive(scaled, label), name=label))
    if is_logged:
        log.info("%s: done, %.6g, then %.6g", number, first, second)
    return second


async def keep_computing(number: float, requests: asyncio.Task[list[Answer]]) -> int:
    """Compute once, and again while there are requests to come; return how often."""
    rounds = 0
    while rounds == 0 or not requests.done():
        await compute(number, is_logged=rounds == 0)
        rounds += 1
    return rounds


async def answer(began: float, due: float) -> Answer:
    """Wait for a request, answer it after several turns of the loop, and note how late."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(began + due - loop.time())
    for _ in range(HOPS):
        await asyncio.sleep(0)
    cooperator = get_cooperator()
    late = loop.time() - began - due
    log.info("request of %s s: answered", due)
    return Answer(due, late, cooperator.statistics().steps, len(cooperator.tasks))


async def serve() -> list[Answer]:
    """Answer all requests."""
    began = asyncio.get_running_loop().time()
    return await asyncio.gather(*(answer(began, due) for due in REQUESTS))


async def main() -> None:
    """Do both at once, and say how late the answers were."""
    async with asyncio.TaskGroup() as group:
        requests = group.create_task(serve())
        rounds = [group.create_task(keep_computing(each, requests)) for each in NUMBERS]
    for each in requests.result():
        print(
            f"request at {each.due} s: answered {each.late * 1000:.1f} ms late,"
            f" {each.under_way} computations under way, {each.steps_before:,} steps done"
        )
    for number, task in zip(NUMBERS, rounds, strict=True):
        print(f"{number}: computed {task.result()} times")


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s  %(message)s", stream=sys.stdout
    )
    asyncio.run(main())
