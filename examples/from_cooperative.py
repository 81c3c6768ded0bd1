"""Four expensive computations and three requests share one thread, without callbacks.

    python examples/from_cooperative.py

This is the example of the `cooperative` package, with coroutines in place of Deferreds. Each
computation is two, and the second needs the result of the first. The requests come after 0.3,
0.5 and 1.0 seconds. In the end all results are printed, as one list. What is different from
the package is in docs/coming-from/cooperative.md.
"""

import asyncio
import logging
import sys
from collections.abc import Iterator

from cooperative_aio import batch_accumulate, react

STEPS = 100_000
QUARTERS = {STEPS // 4: "1/4", STEPS // 2: "1/2", 3 * STEPS // 4: "3/4"}

log = logging.getLogger("from_cooperative")


def expensive(number: float) -> Iterator[float]:
    """Yield one value a step, and say how far it is."""
    log.info("starting %s", number)
    for value in range(STEPS):
        if value in QUARTERS:
            log.info("%s for %s", QUARTERS[value], number)
        yield number * value / 3.0


async def compute(number: float) -> float:
    """Compute something expensive, then something else with the result."""
    total = sum(await batch_accumulate(1000, expensive(number)))
    log.info("first for %s: %s", number, total)
    total = sum(await batch_accumulate(1000, expensive(int(total / 1e9))))
    log.info("second for %s: %s", number, total)
    return total


async def request(seconds: float, number: int) -> None:
    """Be a request that comes after so many seconds."""
    await asyncio.sleep(seconds)
    log.info("########## simulated request %s ############", number)


async def main(_loop: asyncio.AbstractEventLoop) -> None:
    """Do all at once, and print what comes of it."""
    computations = [compute(number) for number in (54.0, 42, 10, 34)]
    requests = [request(0.3, 1), request(0.5, 2), request(1.0, 3)]
    print(await asyncio.gather(*computations, *requests))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    react(main)
