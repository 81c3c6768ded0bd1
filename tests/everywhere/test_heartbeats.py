"""Heartbeats beside a job: the shape of "keepalive ping timeout", over a socket on loopback.

The client has a thread and a loop of its own, as it has a machine of its own in real life.
"""

import asyncio
import contextlib
import importlib.util
import threading
from pathlib import Path

import pytest

pytest.importorskip("websockets")

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosedError

EXAMPLE = Path(__file__).parents[2] / "examples" / "heartbeats_kept.py"
PATIENCE = 120  # seconds
TIMEOUT = 1.0  # of a ping, in seconds


def load_example():
    spec = importlib.util.spec_from_file_location(EXAMPLE.stem, EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


example = load_example()


@contextlib.asynccontextmanager
async def serving(handler):
    async with serve(handler, "127.0.0.1", 0, ping_interval=None) as server:
        yield "ws://{}:{}".format(*server.sockets[0].getsockname()[:2])


def in_a_thread(function, *arguments):
    """Run a coroutine function on a loop of its own; the future is for both loops."""
    return asyncio.to_thread(asyncio.run, function(*arguments))


async def listen(address, over):
    """Ask for a report, and return why the connection was closed."""
    try:
        async with connect(
            address, ping_interval=0.05, ping_timeout=TIMEOUT, close_timeout=0.1
        ) as socket:
            await socket.send("a report")
            return await socket.recv()
    except ConnectionClosedError as error:
        return str(error)
    finally:
        over.set()


async def ping(address, over):
    """Ask for a report, and have twenty pings answered while it is made."""
    async with connect(address, ping_interval=0.05, ping_timeout=PATIENCE) as socket:
        await socket.send("a report")
        for _ in range(20):
            async with asyncio.timeout(PATIENCE):
                await (await socket.ping())
        over.set()
        return await socket.recv()


async def test_a_handler_that_blocks_loses_its_connection():
    over = threading.Event()

    async def blocking(socket):
        await socket.recv()
        for _ in example.report(until=over.is_set):
            pass

    async with serving(blocking) as address:
        said = await in_a_thread(listen, address, over)
    assert "1011 (internal error) keepalive ping timeout" in said


async def test_a_handler_that_cooperates_keeps_it():
    over = threading.Event()

    async def cooperative(socket):
        await example.answer(socket, until=over.is_set)

    async with serving(cooperative) as address:
        lines = await in_a_thread(ping, address, over)
    assert lines.endswith(" lines")
    assert int(lines.split()[0]) > 0
