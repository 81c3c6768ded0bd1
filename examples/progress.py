"""Show the progress of accumulations with tqdm and with rich, both as they are.

    python examples/progress.py [values]

What draws a bar is an iterable around an iterable, and takes no part in anything else:
give it to `accumulate`, `batch_accumulate` or `batches` in place of the generator. tqdm and
rich draw ten times a second at most, however many values pass.

Needs tqdm and rich.
"""

import asyncio
import sys
from collections.abc import Iterator

from rich.progress import track
from tqdm import tqdm  # type: ignore[import-untyped]

from cooperative_aio import batch_accumulate, batches


def squares(values: int) -> Iterator[int]:
    """Compute something, a value at a time."""
    for value in range(values):
        yield sum(number * number for number in range(value % 100))


async def tick(times: list[float]) -> None:
    """Note the time every hundredth of a second, to see whether the loop is free.

    Cancellation: ends it; it does not end otherwise.
    """
    while True:
        times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.01)


async def main(values: int) -> None:
    """Accumulate the same values in three ways, and show how far each is."""
    times: list[float] = []
    ticking = asyncio.create_task(tick(times))

    bar = tqdm(squares(values), total=values, desc="tqdm", mininterval=0.1)
    found = await batch_accumulate(1000, bar)

    tracked = track(
        squares(values),
        total=values,
        description="rich",
        refresh_per_second=10,
        transient=False,
    )
    again = await batch_accumulate(1000, tracked)

    total = 0
    with tqdm(total=values, desc="batches", mininterval=0.1) as bar:
        async for batch in batches(1000, squares(values)):
            total += sum(batch)
            bar.update(len(batch))

    ticking.cancel()
    print(f"{len(found)} values each, equal: {found == again and sum(found) == total}")
    print(f"meanwhile the loop did something else {len(times)} times")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
