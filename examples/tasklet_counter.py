"""Tick every so often, and say so: the smallest tasklet there is.

    python tasklet_counter.py            ten ticks, one a second
    python tasklet_counter.py 3 --every 0.2

The timeout is yielded again and again, so it is periodic: however long a tick takes, the
next one comes when it is due. Press Ctrl+C to stop early.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Any

from cooperative_aio import tasklet

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence


def counter(ticks: int, milliseconds: float) -> Generator[Any, Any, int]:
    """Print a line for each tick."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    timeout = tasklet.WaitForTimeout(milliseconds)
    for number in range(1, ticks + 1):
        yield timeout
        print(f"tick {number} after {loop.time() - began:.1f} s", flush=True)
    return ticks


async def main(arguments: Sequence[str]) -> None:
    """Count as the command line says."""
    parser = argparse.ArgumentParser(description="Tick every so often.")
    parser.add_argument("ticks", type=int, nargs="?", default=10, help="how many")
    parser.add_argument("--every", type=float, default=1, metavar="SECONDS")
    options = parser.parse_args(arguments)
    ticks = await tasklet.run(counter(options.ticks, options.every * 1000))
    print(f"{ticks} ticks")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1:]))
