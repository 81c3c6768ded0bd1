"""Measure how long a server of the tutorial keeps its clients waiting.

    python examples/tutorial_client.py                  while it makes a report
    python examples/tutorial_client.py /rows /report    while it does both of these at once

Needs aiohttp, and one of the servers running in another terminal.
"""

import argparse
import asyncio
import sys
from statistics import median
from time import perf_counter
from typing import Any

import aiohttp


async def fetch(session: aiohttp.ClientSession, path: str) -> str:
    """Fetch what takes long; say when its first and its last byte came."""
    began = perf_counter()
    async with session.get(path) as response:
        await response.content.readany()
        first = perf_counter() - began
        await response.content.read()
    return f"first byte after {first:.2f} s, last after {perf_counter() - began:.2f} s"


async def fetch_all(session: aiohttp.ClientSession, paths: list[str]) -> list[str]:
    """Fetch several at the same time."""
    return await asyncio.gather(*(fetch(session, path) for path in paths))


async def ping_until(task: asyncio.Task[Any], session: aiohttp.ClientSession) -> str:
    """Ask for what takes no time, again and again; say how long that took."""
    waits = []
    while not task.done():
        began = perf_counter()
        async with session.get("/ping") as response:
            await response.read()
        waits.append((perf_counter() - began) * 1000)
        await asyncio.sleep(0.01)
    return f"{len(waits)} pings, median {median(waits):.1f} ms, longest {max(waits):.1f} ms"


async def main(address: str, paths: list[str]) -> None:
    """Ping an idle server for half a second, then a busy one until all is fetched."""
    async with aiohttp.ClientSession(address, raise_for_status=True) as session:
        idle = asyncio.create_task(asyncio.sleep(0.5))
        print("idle:", await ping_until(idle, session))
        fetching = asyncio.create_task(fetch_all(session, paths))
        print("busy:", await ping_until(fetching, session))
        for path, found in zip(paths, await fetching, strict=True):
            print(f"{path}: {found}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", default="http://127.0.0.1:8080")
    parser.add_argument("paths", nargs="*", default=["/report"])
    options = parser.parse_args()
    try:
        asyncio.run(main(options.address, options.paths))
    except aiohttp.ClientError as error:
        sys.exit(f"{error} (is the right server running?)")
    except KeyboardInterrupt:
        sys.exit("gave up")
