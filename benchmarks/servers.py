"""Do servers stay fast and correct beside four heavy jobs?

The streaming examples, each as the program it is, are asked for a few rows 200 times a
second: first with nothing else to do, then while four clients have them compute without
end, of which two stream an export and two wait for a number. Times are measured from when
a request was due. Every row of every answer is checked: none may be lost, doubled or out of
order.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import statistics
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from _common import Report, parse_arguments

EXAMPLES = Path(__file__).parents[1] / "examples"
SERVERS = {"aiohttp": "streaming_aiohttp.py", "FastAPI": "streaming_fastapi.py"}

RATE = 200.0  # requests per second
ROWS = 20  # in an answer
JOBS = 4
LARGEST = 1_000_000
PATIENCE = 60.0  # seconds


@dataclass
class Findings:
    """What the answers were like."""

    latencies: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    wrong_rows: int = 0
    rows: int = 0


@contextlib.asynccontextmanager
async def serving(program: str) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", str(EXAMPLES / program), "--port", "0", "--grace", "1"),
        *("--most-tasks", "10000"),  # a busy machine shall show as latency
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    reading: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                line = (await process.stdout.readline()).decode()
                if found := re.search(r"http://[\d.]+:\d+", line):
                    break
        reading = asyncio.create_task(swallow(process.stdout))
        yield found[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(20):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        if reading is not None:
            reading.cancel()


async def swallow(stream: asyncio.StreamReader) -> None:
    while await stream.read(2**16):
        pass


async def ask(session: aiohttp.ClientSession, number: int, due: float, found: Findings) -> None:
    first = number * ROWS
    try:
        async with session.get(f"/export.ndjson?rows={ROWS}&first={first}") as response:
            text = await response.text()
            found.latencies.append(time.perf_counter() - due)
            if response.status != 200:
                found.errors.append(f"{response.status} {text}")
                return
    except (aiohttp.ClientError, TimeoutError) as error:
        found.errors.append(repr(error))
        return
    rows = [json.loads(line)["number"] for line in text.splitlines()]
    found.rows += len(rows)
    found.wrong_rows += rows != list(range(first, first + ROWS))


async def drive(session: aiohttp.ClientSession, requests: int) -> Findings:
    """Send requests at fixed times, whether those before are answered or not."""
    found = Findings()
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(requests):
            due = began + number / RATE
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(ask(session, number, due, found))
    return found


async def compute(session: aiohttp.ClientSession, path: str, amounts: list[int]) -> None:
    """Have the server compute without end, and read what it streams."""
    while True:
        async with session.get(path) as response:
            async for chunk in response.content.iter_any():
                amounts[0] += len(chunk)


async def measure(name: str, requests: int, rounds: int, report: Report) -> None:
    """Measure with and without jobs in turns: a machine that drifts hurts both alike."""
    timeout = aiohttp.ClientTimeout(total=None, sock_read=PATIENCE)
    idle: list[Findings] = []
    busy: list[Findings] = []
    amounts = [0]
    failed = 0
    async with (
        serving(SERVERS[name]) as address,
        aiohttp.ClientSession(
            address, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)
        ) as session,
    ):
        await drive(session, int(RATE))  # to warm up
        for _ in range(rounds):
            idle.append(await drive(session, requests // rounds // 4))
            paths = [f"/total?rows={LARGEST}", f"/export.csv?rows={LARGEST}"] * (JOBS // 2)
            jobs = [asyncio.create_task(compute(session, path, amounts)) for path in paths]
            await asyncio.sleep(0.5)
            busy.append(await drive(session, requests // rounds))
            failed += sum(job.done() for job in jobs)
            for job in jobs:
                job.cancel()
            await asyncio.wait(jobs)
            await asyncio.sleep(0.5)
    report.record(f"{name}, streamed to the jobs' clients", [amounts[0] / 1e6], "MB")
    record(report, name, idle, busy)
    judge(report, name, idle + busy, rounds * (requests // rounds // 4 + requests // rounds))
    report.judge(f"{name}, jobs that failed", [float(failed)], at_most=0)


def record(report: Report, name: str, idle: list[Findings], busy: list[Findings]) -> None:
    for what, rounds in (("idle", idle), ("busy", busy)):
        percentiles = [
            statistics.quantiles(found.latencies, n=100, method="inclusive") for found in rounds
        ]
        report.record(f"{name}, {what}, p50", [1e3 * each[49] for each in percentiles], "ms")
        report.record(f"{name}, {what}, p99", [1e3 * each[98] for each in percentiles], "ms")
        longest = [1e3 * max(found.latencies) for found in rounds]
        report.record(f"{name}, {what}, longest", longest, "ms")
    report.compare(
        f"{name}, p99: busy / idle", f"{name}, busy, p99", f"{name}, idle, p99", at_most=10
    )


def judge(report: Report, name: str, rounds: list[Findings], requests: int) -> None:
    for what, number in (
        ("requests without an answer", requests - sum(len(each.latencies) for each in rounds)),
        ("errors", sum(len(each.errors) for each in rounds)),
        ("answers with wrong rows", sum(each.wrong_rows for each in rounds)),
        ("rows lost or doubled", abs(requests * ROWS - sum(each.rows for each in rounds))),
    ):
        report.judge(f"{name}, {what}", [float(number)], at_most=0)
    for error in dict.fromkeys(error for each in rounds for error in each.errors):
        print(f"{name}: {error}")


async def main(options: Any) -> None:
    requests, rounds = (400, 1) if options.quick else (options.requests, 5)
    report = Report(f"{requests:,} requests, {RATE:g} a second, beside {JOBS} heavy jobs")
    for name in options.servers:
        await measure(name, requests, rounds, report)
    report.finish(options.json)


if __name__ == "__main__":
    parser = parse_arguments(__doc__)
    parser.add_argument("--requests", type=int, default=5_000, help="beside the jobs")
    parser.add_argument("--servers", nargs="+", choices=list(SERVERS), default=list(SERVERS))
    asyncio.run(main(parser.parse_args()))
