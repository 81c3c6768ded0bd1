"""Serve an ASGI application on the running loop, beside whatever else it does."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

from cooperative_aio._checks import quote
from cooperative_aio.monitor._app import Monitor

__all__ = ["listen", "serve", "serving"]

logger: Final = logging.getLogger("cooperative_aio")


@asynccontextmanager
async def serve(
    monitor: Monitor, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[str]:
    """Serve a monitor on a port of this machine while the block runs; needs uvicorn.

        async with serve(Monitor()) as address:
            print("see", address)

    It also enters and leaves the monitor. If the port is taken, for example by the same
    program in another worker process, a free one is taken in its place, and a warning says
    which.

    Args:
        monitor: The Monitor. It answers under the name of `host`, too.
        host: An address of the loopback interface. Where the monitor is needed elsewhere,
            mount it where requests are authenticated, or forward the port.
        port: Where to listen; 0 for any port that is free.

    Yields:
        The address of the page.

    Raises:
        ValueError: The host is not of the loopback interface.
        OSError: There is no such interface here, or no port.
        ModuleNotFoundError: There is no uvicorn: install `cooperative-aio[monitor]`.

    Cancellation: ends the server.
    """
    if not _is_loopback(host):
        raise ValueError(
            f"host must be an address of the loopback interface, got {quote(host)}"
        )
    with _listen(host, port) as listening:
        app = monitor._answering_as(*monitor._hosts, _in_address(host))
        async with monitor, serving(app, listening, lifespan="off") as address:
            if listening.getsockname()[1] != port != 0:
                logger.warning("port %d is taken; this monitor is at %s", port, address)
            yield address


def _listen(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or port == 0:
            raise
        return listen(host, 0)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there.

    Raises:
        OSError: That cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@asynccontextmanager
async def serving(app: Any, listening: socket.socket, *, lifespan: str) -> AsyncIterator[str]:
    """Serve an ASGI application by uvicorn while the block runs; yield its address.

    Raises:
        RuntimeError: The application's lifespan has failed.

    Cancellation: ends the server.
    """
    import uvicorn  # noqa: PLC0415 (an extra)

    class Server(uvicorn.Server):
        """A server of uvicorn's that leaves signals to the program that the loop belongs to."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Capture none."""
            yield

    config = uvicorn.Config(
        app,
        lifespan="on" if lifespan == "on" else "off",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = Server(config)

    async def run() -> None:
        with contextlib.suppress(SystemExit):  # it has logged what is wrong
            await server.serve([listening])

    host, port = listening.getsockname()[:2]
    task = asyncio.create_task(run())
    try:
        while not (server.started or task.done()):  # noqa: ASYNC110 (it tells nobody)
            await asyncio.sleep(0.01)
        if task.done():
            raise RuntimeError(f"cannot serve {quote(app)}; its lifespan has failed")
        yield f"http://{_in_address(host)}:{port}/"
    finally:
        server.should_exit = True
        await task
