"""Run functions that never yield while a heart beats; needs `cooperative-aio[functions]`.

    python examples/to_slices.py

Nothing in `collatz` knows of the loop. It is set aside wherever it stands when its time slice
is over, so that the heart goes on beating.
"""

import asyncio

from cooperative_aio.functions import to_slices

BEAT = 0.01  # seconds


def collatz(below: int) -> tuple[int, int]:
    """Return the number with the longest way down to 1, and how long that is."""
    longest, found = 0, 1
    for number in range(1, below):
        value, length = number, 0
        while value != 1:
            value = value // 2 if value % 2 == 0 else 3 * value + 1
            length += 1
        if length > longest:
            longest, found = length, number
    return found, longest


async def beat(beats: list[int]) -> None:
    """Count beats for ever."""
    while True:
        await asyncio.sleep(BEAT)
        beats.append(1)


async def main() -> None:
    """Run two of them side by side."""
    beats: list[int] = []
    heart = asyncio.create_task(beat(beats))
    async with asyncio.TaskGroup() as group:
        small = group.create_task(to_slices(collatz, 10_000))
        large = group.create_task(to_slices(collatz, 30_000))
    heart.cancel()
    for below, task in ((10_000, small), (30_000, large)):
        number, length = task.result()
        print(f"below {below:,}: {number:,} takes {length} steps")
    print(f"the heart beat {'all the time' if len(beats) > 1 else 'hardly'}")


if __name__ == "__main__":
    asyncio.run(main())
