"""How long does a request wait beside four endless CPU jobs?

A real aiohttp server computes in each of the ways there are, one server process for
each; an open-loop client in another process sends requests at times that were fixed
beforehand, and measures from those times. The handler needs five further turns of
the loop (`await asyncio.sleep(0)`). A unit is about 20 microseconds of work.
"""

from __future__ import annotations

import asyncio
import importlib.util
import random
import statistics
import time
from contextlib import AsyncExitStack
from typing import Any

from _common import Child, Report, answer_parent, child_arguments, parse_arguments
from _jobs import (
    CHECKPOINT,
    DEFAULT,
    FUNCTIONS,
    NONE,
    POOL,
    RHYTHM,
    THREADS,
    Jobs,
    can_interrupt,
    run_on,
)
from aiohttp import web

FUNCTION_MODES = (FUNCTIONS,) if can_interrupt() else ()
MODES = (NONE, DEFAULT, *FUNCTION_MODES, RHYTHM, THREADS, CHECKPOINT, POOL)
JOBS = 4
RATE = 50.0  # requests per second
CONNECTIONS = 64  # opened beforehand; more when these do not suffice
WARM_UP = 0.5  # seconds
SPIN = 0.0015  # seconds before a request is due; timers are up to a millisecond late

# What is measured of each mode. Work per CPU second of the server process is for the
# record: beside other programs it says more than work per second.
FIGURES = (("p50", "ms"), ("p99", "ms"), ("work", "units/s"), ("efficiency", "units/CPU s"))

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
ANSWER = b"answered"


# The server, in a process of its own


async def answer(_: web.Request) -> web.Response:
    for _ in range(5):
        await asyncio.sleep(0)
    return web.Response(body=ANSWER)


async def serve(mode: str) -> None:
    jobs = Jobs(mode, JOBS)
    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()

    async def handle(request: dict[str, Any]) -> dict[str, Any]:
        match request["do"]:
            case "begin":
                await jobs.begin()
            case "end":
                await jobs.end()
        return {
            "port": runner.addresses[0][1],
            "time": time.perf_counter(),
            "cpu_time": time.process_time(),
            "units": jobs.units,
        }

    try:
        await answer_parent(handle)
    finally:
        await runner.cleanup()


# The client


class Connection(asyncio.Protocol):
    """Send one request at a time."""

    def __init__(self) -> None:
        self._received = b""
        self._answered: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Take the answer."""
        self._received += data
        if self._received.endswith(ANSWER) and self._answered is not None:
            self._received = b""
            self._answered.set_result(None)

    def connection_lost(self, _: Exception | None) -> None:
        """Fail the request that is under way."""
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(ConnectionError("the server closed a connection"))

    async def request(self) -> None:
        """Return when the answer has come."""
        self._answered = asyncio.get_running_loop().create_future()
        self.transport.write(REQUEST)
        await self._answered


class Client:
    """Send requests at fixed times over connections that are kept."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._all: list[Connection] = []
        self._idle: list[Connection] = []

    async def connect(self) -> None:
        """Open one more connection, to be used."""
        _, connection = await asyncio.get_running_loop().create_connection(
            Connection, "127.0.0.1", self._port
        )
        self._all.append(connection)
        self._idle.append(connection)

    def close(self) -> None:
        """Close all connections."""
        for connection in self._all:
            connection.transport.close()

    async def drive(self, arrivals: list[float]) -> list[float]:
        """Send a request at each of the times (seconds from now); return the latencies."""
        began = time.perf_counter()
        requests = []
        for arrival in arrivals:
            due = began + arrival
            await asyncio.sleep(max(0.0, due - SPIN - time.perf_counter()))
            while time.perf_counter() < due:  # noqa: ASYNC110 (more exact than timers)
                await asyncio.sleep(0)
            requests.append(asyncio.create_task(self._request(due)))
        return await asyncio.gather(*requests)

    async def _request(self, due: float) -> float:
        if not self._idle:
            await self.connect()
        connection = self._idle.pop()
        await connection.request()
        self._idle.append(connection)
        return time.perf_counter() - due


def arrival_times(seconds: float) -> list[float]:
    """Return times that are evenly spread, but in step with nothing; always the same."""
    chance = random.Random(1)  # noqa: S311
    return [(n + chance.random()) / RATE for n in range(int(seconds * RATE))]


async def measure(server: Child, seconds: float) -> tuple[float, ...]:
    """Measure one mode once; return what FIGURES names."""
    client = Client((await server.ask(do="mark"))["port"])
    for _ in range(CONNECTIONS):
        await client.connect()
    await server.ask(do="begin")
    await client.drive(arrival_times(WARM_UP))
    before = await server.ask(do="mark")
    latencies = await client.drive(arrival_times(seconds))
    after = await server.ask(do="mark")
    await server.ask(do="end")
    client.close()
    percentiles = statistics.quantiles(latencies, n=100, method="inclusive")
    units = after["units"] - before["units"]
    return (
        1e3 * percentiles[49],
        1e3 * percentiles[98],
        units / (after["time"] - before["time"]),
        units / (after["cpu_time"] - before["cpu_time"]),
    )


async def main(options: Any) -> None:
    rounds, seconds = (1, 1.0) if options.quick else (3, 2.5)
    report = Report(
        "Latency of an aiohttp server beside four CPU jobs", "/".join(options.loops)
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
            for key, server in servers.items():
                results.setdefault(key, []).append(await measure(server, seconds))
    for (loop, mode), samples in results.items():
        for (name, unit), column in zip(FIGURES, zip(*samples, strict=True), strict=True):
            report.record(f"{loop}, {mode}, {name}", list(column), unit)
    for loop in options.loops:
        judge(report, loop)
    report.finish(options.json)


def judge(report: Report, loop: str) -> None:
    for mode, times in ((RHYTHM, 10), (THREADS, 20)):
        for name in ("p50", "p99"):
            report.compare(
                f"{loop}, {name}: {mode} / default",
                f"{loop}, {mode}, {name}",
                f"{loop}, {DEFAULT}, {name}",
                at_least=times,
            )
    for mode in (RHYTHM, THREADS):
        report.compare(
            f"{loop}, work: default / {mode}",
            f"{loop}, {DEFAULT}, work",
            f"{loop}, {mode}, work",
            at_least=0.9,
        )
        report.compare(
            f"{loop}, efficiency: default / {mode}",
            f"{loop}, {DEFAULT}, efficiency",
            f"{loop}, {mode}, efficiency",
        )
    for mode in (*FUNCTION_MODES, CHECKPOINT):
        report.compare(
            f"{loop}, p99: {mode} / default",
            f"{loop}, {mode}, p99",
            f"{loop}, {DEFAULT}, p99",
            at_most=1.5,
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
