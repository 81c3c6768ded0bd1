"""Run a program with a monitor beside it, on the same loop.

    python -m cooperative_aio.monitor                       a demonstration
    python -m cooperative_aio.monitor module:app            an ASGI or aiohttp application
    python -m cooperative_aio.monitor module:main           a coroutine function

Needs `cooperative-aio[monitor]`. The monitor listens on the loopback interface only.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import signal
import sys
from collections.abc import Sequence
from typing import Any

from cooperative_aio._watchdog import watchdog
from cooperative_aio.monitor._app import Monitor
from cooperative_aio.monitor._serve import serve
from cooperative_aio.monitor._targets import demo, load, run_target


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments say until it ends, or until SIGINT or SIGTERM.

    Returns:
        The code to exit with.
    """
    parser = argparse.ArgumentParser(
        prog="python -m cooperative_aio.monitor",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument(
        "target",
        nargs="?",
        help="module:attribute of an ASGI or aiohttp application, or of a coroutine function;"
        " a demonstration by default",
    )
    parser.add_argument("--host", default="127.0.0.1", help="where the application listens")
    parser.add_argument("--port", type=int, default=8000, help="its port; 0 for any")
    parser.add_argument(
        "--monitor-port", type=int, default=8765, help="the port of the monitor; 0 for any"
    )
    parser.add_argument(
        "--allow-control",
        action="store_true",
        help="allow to pause, resume and stop tasks, with a token that is printed",
    )
    parser.add_argument(
        "--watchdog",
        type=float,
        metavar="SECONDS",
        help="log what holds the loop for so many seconds, while it holds it",
    )
    options = parser.parse_args(arguments)
    try:
        target = demo if options.target is None else load(options.target)
    except ValueError as error:
        parser.error(str(error))
    with contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(_run(target, options))
    return 130


async def _run(target: Any, options: argparse.Namespace) -> int:
    token = secrets.token_urlsafe() if options.allow_control else None
    running = asyncio.create_task(_run_beside_monitor(target, token, options))
    with contextlib.suppress(NotImplementedError):  # Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    await asyncio.wait([running])
    if running.cancelled():
        return 128 + signal.SIGTERM
    running.result()
    return 0


async def _run_beside_monitor(
    target: Any, token: str | None, options: argparse.Namespace
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        monitor = serve(Monitor(token=token), port=options.monitor_port)
        address = await stack.enter_async_context(monitor)
        _say(f"the monitor: {address}" + (f"#token={token}" if token else ""))
        if options.watchdog is not None:
            await stack.enter_async_context(watchdog(seconds=options.watchdog))
        await run_target(target, options.host, options.port, _say)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 (a command)


if __name__ == "__main__":
    sys.exit(main())
