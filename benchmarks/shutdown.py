"""Do generators end, on every server, when a client leaves and when SIGTERM comes?

Each server that is installed runs an application with the modules for servers and one
without. A client has a job computed and leaves; then others have a job computed and
stream, and the server is sent SIGTERM. It is said whether the `finally` of each generator was
run, and after how many seconds the server had ended. Servers have 3 seconds of grace where
they have such a setting, and 10 until they are killed; the modules are told to take 2.

    python benchmarks/shutdown.py
    python benchmarks/shutdown.py --servers uvicorn aiohttp
    python benchmarks/shutdown.py --stalled --only-with    while a client takes nothing
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp

START = 30.0  # seconds for a server to answer
LEFT = 3.0  # seconds for a job to end when its client has gone
KILL = 10.0  # seconds after SIGTERM

GUNICORN = "-m gunicorn _shutdown_apps:app -b 127.0.0.1:{port} --graceful-timeout 3"

# What has to be installed; which application; the command
SERVERS: dict[str, tuple[str, str, str]] = {
    "uvicorn": (
        *("uvicorn", "fastapi"),
        "-m uvicorn _shutdown_apps:app --port {port} --timeout-graceful-shutdown 3",
    ),
    "uvicorn, no setting": (
        "uvicorn",
        "fastapi",
        "-m uvicorn _shutdown_apps:app --port {port}",
    ),
    "uvicorn --workers 2": (
        *("uvicorn", "fastapi"),
        "-m uvicorn _shutdown_apps:app --port {port} --workers 2 --timeout-graceful-shutdown 3",
    ),
    "uvicorn --reload": (
        *("uvicorn", "fastapi"),
        "-m uvicorn _shutdown_apps:app --port {port} --reload --timeout-graceful-shutdown 3",
    ),
    "gunicorn, UvicornWorker": (
        *("uvicorn_worker", "fastapi"),
        f"{GUNICORN} -k uvicorn_worker.UvicornWorker",
    ),
    "hypercorn": (
        *("hypercorn", "fastapi"),
        "-m hypercorn _shutdown_apps:app -b 127.0.0.1:{port} --graceful-timeout 3",
    ),
    "hypercorn --workers 0": (
        *("hypercorn", "fastapi"),
        "-m hypercorn _shutdown_apps:app -b 127.0.0.1:{port} --workers 0 --graceful-timeout 3",
    ),
    "granian": (
        *("granian", "fastapi"),
        "-m granian _shutdown_apps:app --interface asgi --port {port} --workers-kill-timeout 3",
    ),
    "daphne": ("daphne", "fastapi", "-m daphne _shutdown_apps:app -p {port}"),
    "aiohttp": ("aiohttp", "aiohttp", "shutdown.py --serve --port {port}"),
    "gunicorn, aiohttp": (
        *("gunicorn", "aiohttp"),
        f"{GUNICORN} -k aiohttp.GunicornWebWorker",
    ),
    "Quart on uvicorn": (
        *("quart", "quart"),
        "-m uvicorn _shutdown_apps:app --port {port} --timeout-graceful-shutdown 3",
    ),
    "Quart on hypercorn --workers 0": (
        *("quart", "quart"),
        "-m hypercorn _shutdown_apps:app -b 127.0.0.1:{port} --workers 0 --graceful-timeout 3",
    ),
    "Litestar on uvicorn": (
        *("litestar", "litestar"),
        "-m uvicorn _shutdown_apps:app --port {port} --timeout-graceful-shutdown 3",
    ),
    "Sanic on uvicorn": (
        *("sanic", "sanic"),
        "-m uvicorn _shutdown_apps:app --port {port} --timeout-graceful-shutdown 3",
    ),
    "Sanic": ("sanic", "sanic", "-m sanic _shutdown_apps:app --port {port} --single-process"),
}
ALONE = {"Sanic"}  # whose own server knows no ASGI: only without the modules


@dataclass
class Ending:
    """What became of the generators of one server."""

    server: str
    with_modules: bool
    job_of_a_client_that_left: bool
    job: bool
    stream: bool
    seconds: float | None  # None if it had to be killed
    socket: bool | None = None  # a WebSocket whose client left; None if there are none
    open_socket: bool | None = None  # that of another one, on SIGTERM


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def ask(port: int, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    return reader, writer


async def until_it_answers(port: int) -> None:
    async with asyncio.timeout(START):
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await ask(port, "/ping")
                answer = await reader.read(100)
                writer.transport.abort()
                if b" 200 " in answer:
                    return
            await asyncio.sleep(0.1)


class Log:
    """The file in which generators say that they were closed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def counts(self) -> Counter[str]:
        """Return how often each has said so."""
        return Counter(self.path.read_text("ascii").split())

    async def shows(self, name: str) -> bool:
        """Return when one of that name was closed, or when it should have been."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEFT):
                while not self.counts()[name]:  # noqa: ASYNC110 (nor of this)
                    await asyncio.sleep(0.05)
        return bool(self.counts()[name])


async def open_socket(
    session: aiohttp.ClientSession, port: int
) -> aiohttp.ClientWebSocketResponse | None:
    """Open a WebSocket and have something computed; return None if there are none."""
    try:
        websocket = await session.ws_connect(f"http://127.0.0.1:{port}/socket")
    except aiohttp.WSServerHandshakeError:
        return None
    if await websocket.receive_str(timeout=LEFT) != "begun":
        raise OSError("the WebSocket says something else")
    return websocket


async def read_on(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(2**16):  # noqa: ASYNC110 (a client that is no glutton)
            await asyncio.sleep(0.01)


@dataclass
class Running:
    """A server that answers."""

    log: Log
    process: asyncio.subprocess.Process
    port: int


@contextlib.asynccontextmanager
async def running(
    server: str, *, with_modules: bool, verbose: bool = False
) -> AsyncIterator[Running]:
    """Run a server as long as the context lasts."""
    _, app, command = SERVERS[server]
    app = app if with_modules else f"{app}_plain"
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        log = Log(Path(directory, "log"))
        log.path.touch()
        output = None if verbose else asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *command.format(port=port).split()),
            cwd=Path(__file__).parent,
            env={
                **os.environ,
                "PYTHONPATH": ".",
                "SHUTDOWN_APP": app,
                "SHUTDOWN_LOG": str(log.path),
            },
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            await until_it_answers(port)
            yield Running(log, process, port)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def end_stalled(server: str, *, with_modules: bool, verbose: bool = False) -> str:
    """End a server while a client takes nothing; tell what has become of its stream."""
    async with running(server, with_modules=with_modules, verbose=verbose) as it:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", it.port))
            client.send(b"GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
            await asyncio.sleep(1.5)  # until the buffers are full
            seconds = await terminate(it.process)
        return f"{_word(it.log.counts()['stream'])}, {_time(seconds)}"


async def end(server: str, *, with_modules: bool, verbose: bool = False) -> Ending:
    """Start a server, let a client leave, end it; tell what has become of the generators."""
    async with (
        running(server, with_modules=with_modules, verbose=verbose) as it,
        aiohttp.ClientSession() as session,
    ):
        log, process, port = it.log, it.process, it.port
        _, writer = await ask(port, "/job")
        await asyncio.sleep(0.5)
        writer.transport.abort()
        await log.shows("job")
        left_socket = await open_socket(session, port) if with_modules else None
        if left_socket is not None:
            await left_socket.close()
            await log.shows("socket")
        websocket = await open_socket(session, port) if left_socket else None
        left = log.counts()
        _, job = await ask(port, "/job")
        reader, stream = await ask(port, "/stream")
        await reader.readuntil(b"0123456789")
        reading = asyncio.create_task(read_on(reader))
        await asyncio.sleep(0.5)
        seconds = await terminate(process)
        ended = log.counts()
        reading.cancel()
        for each in (job, stream):
            each.transport.abort()
    jobs = 1 if left["job"] else 2  # the one that was left goes on
    return Ending(
        server=server,
        with_modules=with_modules,
        job_of_a_client_that_left=bool(left["job"]),
        job=ended["job"] - left["job"] == jobs,
        stream=bool(ended["stream"]),
        seconds=seconds,
        socket=None if websocket is None else bool(left["socket"]),
        open_socket=None if websocket is None else ended["socket"] == left["socket"] + 1,
    )


async def terminate(process: asyncio.subprocess.Process) -> float | None:
    """Send SIGTERM; return the seconds until the end, or None if it has to be killed."""
    began = time.monotonic()
    process.terminate()
    seconds: float | None = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(KILL):
            await process.wait()
        seconds = time.monotonic() - began
    await asyncio.sleep(0.1)
    return seconds


def table(endings: list[Ending]) -> str:
    """Return what happened as a table of Markdown."""
    rows = ["| server | without | with the modules |", "| --- | --- | --- |"]
    for server in dict.fromkeys(ending.server for ending in endings):
        cells = {
            ending.with_modules: _cell(ending) for ending in endings if ending.server == server
        }
        rows.append(f"| {server} | {cells.get(False, '')} | {cells.get(True, '')} |")
    return "\n".join(rows)


def _cell(ending: Ending) -> str:
    words = map(_word, (ending.job_of_a_client_that_left, ending.job, ending.stream))
    goes_on = False in (ending.socket, ending.open_socket)
    trouble = ", a WebSocket's job goes on" if goes_on else ""
    return f"{' / '.join(words)}, {_time(ending.seconds)}{trouble}"


def _word(done: object) -> str:
    return "yes" if done else "no"


def _time(seconds: float | None) -> str:
    return "killed" if seconds is None else f"{seconds:.1f} s"


def serve(port: int) -> None:
    """Run an application of aiohttp by its own server."""
    from _shutdown_apps import app  # noqa: PLC0415 (made as the environment says)
    from aiohttp import web  # noqa: PLC0415

    web.run_app(app, host="127.0.0.1", port=port, shutdown_timeout=3)


async def main(options: argparse.Namespace) -> None:
    endings = []
    for server in options.servers or SERVERS:
        if importlib.util.find_spec(SERVERS[server][0]) is None:
            print(f"{server}: not installed")
            continue
        for with_modules in (False, True):
            if (with_modules and server in ALONE) or (options.only_with and not with_modules):
                continue
            try:
                if options.stalled:
                    told = await end_stalled(server, with_modules=with_modules)
                    print(f"{server}, {'with' if with_modules else 'without'}: {told}")
                    continue
                ending = await end(server, with_modules=with_modules, verbose=options.verbose)
            except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
                print(f"{server}: {error!r}")
                continue
            print(
                f"{server}, {'with' if with_modules else 'without'}: {_cell(ending)}",
                flush=True,
            )
            endings.append(ending)
    print()
    print("A client leaves: the job's `finally` / SIGTERM: the job's / the stream's, and when")
    print("the server had ended:")
    print()
    print(table(endings))
    if options.json is not None:
        figures: list[dict[str, Any]] = [asdict(ending) for ending in endings]
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--servers", nargs="+", choices=list(SERVERS))
    parser.add_argument("--only-with", action="store_true", help="only with the modules")
    parser.add_argument("--verbose", action="store_true", help="show what servers say")
    parser.add_argument(
        "--stalled", action="store_true", help="have a client that takes nothing, instead"
    )
    parser.add_argument("--quick", action="store_true", help="only some servers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what happened there")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.servers = ["uvicorn", "aiohttp"]
    if options.serve:
        serve(options.port)
    else:
        asyncio.run(main(options))
