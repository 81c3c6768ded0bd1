"""A WebSocket server that computes for long, and still answers pings.

    python examples/heartbeats_kept.py

Blocking in the handler, it would lose its clients: "1011 keepalive ping timeout".
"""

import asyncio
import time
from collections.abc import Callable, Iterator

from websockets.asyncio.server import ServerConnection, serve

from cooperative_aio import accumulate


def report(until: Callable[[], bool]) -> Iterator[str]:
    """Compute lines until it is enough; may be set aside after each."""
    number = 0
    while not until():
        number += 1
        total = sum(value * value for value in range(number % 500))
        yield f"{number}: {total}"


async def answer(socket: ServerConnection, until: Callable[[], bool]) -> None:
    """Answer one request with the number of lines."""
    await socket.recv()
    lines = await accumulate(report(until))
    await socket.send(f"{len(lines)} lines")


async def for_a_minute(socket: ServerConnection) -> None:
    """Compute for a minute, three times as long as a ping may take."""
    ends = time.monotonic() + 60
    await answer(socket, lambda: time.monotonic() > ends)


async def main() -> None:
    """Serve until Ctrl-C."""
    async with serve(for_a_minute, "127.0.0.1", 8765) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
