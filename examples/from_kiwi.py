"""Count, and let somebody else print it: Kiwi's example of tasklets that send messages.

    python examples/from_kiwi.py            ten numbers, one a second
    python examples/from_kiwi.py 3 --every 0.2

One tasklet counts. It sends each number to another one, which prints it, and in the end tells
it to quit. There is no main loop to start and to quit: the program ends when both have. What
is different from Kiwi is in docs/coming-from/kiwi.md.
"""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Generator, Sequence
from typing import Any

from cooperative_aio import tasklet
from cooperative_aio.tasklet import Message, Tasklet, WaitForMessages, WaitForTimeout


@tasklet.task
def printer() -> Generator[Any, Any, None]:
    """Print what comes, until told to quit."""
    messages = WaitForMessages(accept=("print", "quit"))
    while True:
        message = yield from messages
        if message.name == "quit":
            return
        print(f">>>  {message.value}", flush=True)


@tasklet.task
def counter(
    numbers: int, milliseconds: float, output: Tasklet[None]
) -> Generator[Any, Any, None]:
    """Send a number, wait, send the next."""
    timeout = WaitForTimeout(milliseconds)
    for number in range(numbers):
        yield Message("print", dest=output, value=number)
        yield timeout
    yield Message("quit", dest=output)


async def main(arguments: Sequence[str]) -> None:
    """Count as the command line says."""
    parser = argparse.ArgumentParser(description="Count, and print by messages.")
    parser.add_argument("numbers", type=int, nargs="?", default=10, help="how many")
    parser.add_argument("--every", type=float, default=1, metavar="SECONDS")
    options = parser.parse_args(arguments)
    output = printer()
    await counter(options.numbers, options.every * 1000, output)
    await output


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1:]))
