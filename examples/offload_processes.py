"""Simulate in other processes, and have the numbers back as they come.

A generator estimates pi by throwing darts. One of them computes in another process while
this one shows its progress; then several run beside each other, each with a seed of its own.

    python examples/offload_processes.py [darts]
"""

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Iterator

from cooperative_aio import batches, offload

SEEDS = range(6)


def hits(seed: int, darts: int) -> Iterator[int]:
    """Throw darts at a square; yield how many of each thousand hit the circle in it."""
    dice = random.Random(seed)  # noqa: S311
    for _ in range(darts // 1000):
        yield sum(dice.random() ** 2 + dice.random() ** 2 < 1 for _ in range(1000))


async def main(darts: int) -> None:
    """Estimate pi, with one seed and with several."""
    async with offload.processes() as place:
        print(f"one after the other, in one of {place.limit} processes")
        total = thrown = 0
        async for batch in batches(50, place.open(hits, 0, darts)):
            total += sum(batch)
            thrown += 1000 * len(batch)
            print(f"{thrown:9,} darts: pi is about {4 * total / thrown:.4f}")

        print("several seeds beside each other, as they come")
        found: Counter[int] = Counter()
        arguments = [(seed, darts) for seed in SEEDS]
        async for (seed, _), batch in offload.map(place, hits, arguments, max_batch_size=50):
            found[seed] += sum(batch)
        for seed in SEEDS:
            print(f"seed {seed}: pi is about {4 * found[seed] / (darts // 1000 * 1000):.4f}")


if __name__ == "__main__":  # each process imports this module, and must not start anew
    asyncio.run(main(int(sys.argv[1]) if sys.argv[1:] else 300_000))
