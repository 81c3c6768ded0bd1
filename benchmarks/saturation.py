"""What do clients that never pause and an endless CPU job leave each other?

Eight clients in another process send a line as soon as the last was answered, so the
server is never idle. It is an `asyncio.start_server` (streams) echo server whose
handler makes five small tasks, one after the other, for each line. A unit of the
job is about 20 microseconds of work.
"""

from __future__ import annotations

import asyncio
import importlib.util
import time
from contextlib import AsyncExitStack
from typing import Any

from _common import Child, Report, answer_parent, child_arguments, parse_arguments
from _jobs import DEFAULT, NONE, RHYTHM, THREADS, Jobs, run_on

MODES = (NONE, DEFAULT, RHYTHM, THREADS)
ALONE = "default job alone"
CLIENTS = 8
WARM_UP = 0.5  # seconds
LINE = b"hello\n"
FIGURES = (("requests", "requests/s"), ("work", "units/s"))


# The server, in a process of its own


async def hop() -> None:
    """Do nothing, in a task of its own."""


async def serve(mode: str) -> None:
    jobs = Jobs(mode, 1)
    requests = 0

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        while line := await reader.readline():
            for _ in range(5):
                await asyncio.create_task(hop())
            writer.write(line)
            requests += 1
        writer.close()

    async def handle(request: dict[str, Any]) -> dict[str, Any]:
        match request["do"]:
            case "begin":
                await jobs.begin()
            case "end":
                await jobs.end()
        return {
            "port": server.sockets[0].getsockname()[1],
            "time": time.perf_counter(),
            "requests": requests,
            "units": jobs.units,
        }

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    try:
        await answer_parent(handle)
    finally:
        server.close()


# The clients


class Client(asyncio.Protocol):
    """Send a line whenever one has come back."""

    def __init__(self) -> None:
        self._stopping = False
        self._lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first line."""
        self._transport: Any = transport
        self._transport.write(LINE)

    def data_received(self, _: bytes) -> None:
        """Send the next line, or none any more."""
        if self._stopping:
            self._transport.close()
        else:
            self._transport.write(LINE)

    def connection_lost(self, _: Exception | None) -> None:
        """Let `stop` return."""
        self._lost.set_result(None)

    async def stop(self) -> None:
        """Send nothing after the next answer, and return once that has come."""
        self._stopping = True
        await self._lost


async def measure(server: Child, clients: int, seconds: float) -> tuple[float, ...]:
    """Measure one mode once; return what FIGURES names."""
    loop = asyncio.get_running_loop()
    port = (await server.ask(do="begin"))["port"]
    connections = [
        (await loop.create_connection(Client, "127.0.0.1", port))[1] for _ in range(clients)
    ]
    await asyncio.sleep(WARM_UP)
    before = await server.ask(do="mark")
    await asyncio.sleep(seconds)
    after = await server.ask(do="mark")
    await asyncio.gather(*[connection.stop() for connection in connections])
    await server.ask(do="end")
    elapsed = after["time"] - before["time"]
    return tuple((after[name] - before[name]) / elapsed for name in ("requests", "units"))


async def main(options: Any) -> None:
    rounds, seconds = (1, 1.0) if options.quick else (3, 1.5)
    report = Report(
        "A server whose eight clients never pause, beside one CPU job", "/".join(options.loops)
    )
    results: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    async with AsyncExitStack() as stack:
        servers = {
            (loop, mode): await stack.enter_async_context(Child(loop, mode))
            for loop in options.loops
            for mode in MODES
        }
        for server in servers.values():
            await server.ask(do="mark")
        for _ in range(rounds):
            for (loop, mode), server in servers.items():
                measured = await measure(server, CLIENTS, seconds)
                results.setdefault((loop, mode), []).append(measured)
                if mode == DEFAULT:
                    alone = await measure(server, 0, seconds / 2)
                    results.setdefault((loop, ALONE), []).append(alone)
    for (loop, mode), samples in results.items():
        for (name, unit), column in zip(FIGURES, zip(*samples, strict=True), strict=True):
            if any(column):
                report.record(f"{loop}, {mode}, {name}", list(column), unit)
    for loop in options.loops:
        judge(report, loop)
    report.finish(options.json)


def judge(report: Report, loop: str) -> None:
    for mode, share in ((NONE, 0.5), (RHYTHM, 40.0), (THREADS, None)):
        report.compare(
            f"{loop}, requests: default / {mode}",
            f"{loop}, {DEFAULT}, requests",
            f"{loop}, {mode}, requests",
            at_least=share,
        )
    for mode, least in ((DEFAULT, 0.3), (RHYTHM, None), (THREADS, None)):
        report.compare(
            f"{loop}, work: {mode} / alone",
            f"{loop}, {mode}, work",
            f"{loop}, {ALONE}, work",
            at_least=least,
        )


if __name__ == "__main__":
    wanted = child_arguments()
    if wanted is None:
        parser = parse_arguments(__doc__)
        known = ["asyncio"] + ["uvloop"] * (importlib.util.find_spec("uvloop") is not None)
        parser.add_argument("--loops", nargs="+", choices=known, default=known)
        asyncio.run(main(parser.parse_args()))
    else:
        run_on(wanted[0])(serve(wanted[1]))
