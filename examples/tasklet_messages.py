"""A printer and those who print: tasklets that talk by messages.

    python tasklet_messages.py                    three clerks, three pages each
    python tasklet_messages.py 5 --pages 2 --seconds 0.1

The printer takes one page at a time. While it prints it defers other pages, so they wait
in its mailbox in the order in which they were sent, and the clerks do not wait for it. A
page that is withdrawn meanwhile is of no use any more: the printer discards that. When
every clerk has gone home, the printer is told to quit, and finishes what it has.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Any

from cooperative_aio import tasklet
from cooperative_aio.tasklet import Message, Tasklet, WaitForMessages, WaitForTimeout

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence


@tasklet.task
def printer(milliseconds: float) -> Generator[Any, Any, int]:
    """Print the pages that are sent, until told to quit."""
    ready = WaitForMessages(accept=("print", "quit"))
    busy = WaitForMessages(defer=("print", "quit"), discard="withdraw")
    printed = 0
    while True:
        message = yield from ready
        if message.name == "quit":
            return printed
        yield [WaitForTimeout(milliseconds), busy]
        print(f">>> {message.value}", flush=True)
        printed += 1


@tasklet.task
def clerk(
    name: str, pages: int, milliseconds: float, office: Tasklet[int]
) -> Generator[Any, Any, None]:
    """Send a page every so often, and withdraw the last when it is too late."""
    timeout = WaitForTimeout(milliseconds)
    for page in range(1, pages + 1):
        yield timeout
        yield Message("print", dest=office, value=f"{name}, page {page}")
    yield Message("withdraw", dest=office)


def day(clerks: int, pages: int, seconds: float) -> Generator[Any, Any, int]:
    """Employ a printer and some clerks, and see them home."""
    office = printer(seconds * 1000 / 4)
    at_work = [
        clerk(f"clerk {number}", pages, seconds * 1000, office)
        for number in range(1, clerks + 1)
    ]
    for each in at_work:
        yield from each
    yield Message("quit", dest=office)
    printed = yield from office
    return printed


async def main(arguments: Sequence[str]) -> None:
    """Spend the day as the command line says."""
    parser = argparse.ArgumentParser(description="Print what clerks send.")
    parser.add_argument("clerks", type=int, nargs="?", default=3, help="how many")
    parser.add_argument("--pages", type=int, default=3, help="how many each")
    parser.add_argument("--seconds", type=float, default=1, help="between a clerk's pages")
    options = parser.parse_args(arguments)
    printed = await tasklet.run(day(options.clerks, options.pages, options.seconds))
    print(f"{printed} pages printed")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1:]))
