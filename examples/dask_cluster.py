"""Search for primes on a cluster, and have them back as they are found.

Without an argument, the cluster is one of two worker processes on this machine. With the
address of a Dask scheduler, the same code runs on the machines behind that.

    python examples/dask_cluster.py [tcp://scheduler:8786]

It needs `pip install cooperative-aio[dask]`; the workers of a cluster need it as well.
"""

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

from cooperative_aio import offload

RANGE = 20_000
RANGES = 5


def primes(begin: int, end: int) -> Iterator[int | None]:
    """Yield the primes in a range; None marks the steps that found nothing."""
    for number in range(max(2, begin), end):
        is_prime = all(number % divisor for divisor in range(2, int(number**0.5) + 1))
        yield number if is_prime else None


@asynccontextmanager
async def scheduler(address: str | None) -> AsyncGenerator[object, None]:
    """Give the address of a cluster, or a small cluster that lasts as long as needed."""
    if address is not None:
        yield address
        return
    from distributed import LocalCluster  # noqa: PLC0415 (only where it is used)

    async with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=":0",
        silence_logs=logging.ERROR,
        asynchronous=True,
    ) as cluster:
        yield cluster


async def main(address: str | None) -> None:
    """Count the primes of some ranges, which the workers share."""
    found: Counter[int] = Counter()
    ranges = [(number * RANGE, (number + 1) * RANGE) for number in range(RANGES)]
    async with scheduler(address) as cluster, offload.dask(cluster) as place:
        print(f"{place.limit} workers")
        async for (begin, _), batch in offload.map(place, primes, ranges, max_batch_size=500):
            found[begin] += len(batch)
            print(f"up to {batch[-1]:7,}: {sum(found.values()):6,} primes so far")
    print(f"{sum(found.values()):,} primes below {RANGE * RANGES:,}")


if __name__ == "__main__":  # each worker imports this module, and must not start anew
    asyncio.run(main(sys.argv[1] if sys.argv[1:] else None))
