"""Serve an ASGI application on the running loop, beside whatever else it does."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from cooperative_aio.monitor._app import Monitor

__all__ = ["serve", "serving"]


@asynccontextmanager
async def serve(
    monitor: Monitor, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[str]:
    """Serve a monitor on a port of this machine while the block runs; needs uvicorn.

    Enters and leaves the monitor, too.

    Args:
        monitor: What to serve.
        host: An address of the loopback interface. Who needs the monitor elsewhere mounts
            it where requests are authenticated, or forwards the port.
        port: Where to listen; 0 for any port that is free.

    Yields:
        The address of the page.

    Raises:
        ValueError: The host is not of the loopback interface.
        OSError: The port is taken.
        ModuleNotFoundError: There is no uvicorn: install `cooperative-aio[monitor]`.

    Cancellation: ends the server.
    """
    if not _is_loopback(host):
        raise ValueError(f"host must be an address of the loopback interface, got {host!r}")
    async with monitor, serving(monitor, host, port, lifespan="off") as address:
        yield address


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@asynccontextmanager
async def serving(app: Any, host: str, port: int, *, lifespan: str) -> AsyncIterator[str]:
    """Serve an ASGI application by uvicorn while the block runs; yield its address.

    Cancellation: ends the server.
    """
    import uvicorn  # noqa: PLC0415 (an extra)

    class Server(uvicorn.Server):
        """Leave the signals to whom the loop belongs."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Capture none."""
            yield

    is_six = ":" in host
    with socket.socket(socket.AF_INET6 if is_six else socket.AF_INET) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
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

        task = asyncio.create_task(run())
        try:
            while not (server.started or task.done()):  # noqa: ASYNC110 (it tells nobody)
                await asyncio.sleep(0.01)
            if task.done():
                raise RuntimeError(f"cannot serve {app!r}; its lifespan has failed")
            name = f"[{host}]" if is_six else host
            yield f"http://{name}:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            await task
