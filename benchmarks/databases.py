"""How long do round trips to a database take beside a job that computes on the same loop?

A transaction of five round trips with PostgreSQL (asyncpg), five commands to Redis (redis),
five queries of SQLite (aiosqlite): one after the other, with nothing else to do, beside a job
of a Cooperator, beside one that computes for 5 ms and then awaits `sleep(0)`, and beside one
in a thread. The servers are Debian's `postgresql` and `redis-server`, which are started here,
with sockets in a directory of their own, and ended.

    python benchmarks/databases.py --install       which takes root, and apt-get
    python benchmarks/databases.py --slice 0.005 0.02

A slice that begins while a reply is on its way makes that wait. So it is counted in how many
transactions no slice began: where that is more than half, the median is about that of no job
at all. Replies take longer on a machine that is busy with other things, since the database
has to wait for a core; then a slice does begin.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiosqlite
import asyncpg
import redis.asyncio
from _common import Report, parse_arguments
from _jobs import work

from cooperative_aio import Cooperator, TimeSlice

TRIPS = 5
TURN = 0.005  # seconds that the hand-made job computes at a time
PAUSE = 0.002  # seconds between two transactions, so that jobs get on
START = 30.0  # seconds for a server to start

IDLE = "nothing"
COOPERATOR = "Cooperator"
BY_HAND = "5 ms, then sleep(0)"
THREAD = "to_thread"

PACKAGES = {"asyncpg": "postgresql", "redis": "redis-server"}  # Debian's
PROGRAMS = {"asyncpg": "postgres", "redis": "redis-server"}

Transaction = Callable[[], Awaitable[Any]]


# The jobs


class Job:
    """An endless job in one of the ways, which counts what it gets done."""

    def __init__(self, way: str, time_slice: TimeSlice) -> None:
        self.units = 0
        self._way = way
        self._ended = False
        self._cooperator = Cooperator(time_slice=time_slice)

    def slices(self) -> int:
        """Return how many slices it has had."""
        return self._cooperator.statistics().ticks

    def _steps(self) -> Iterator[None]:
        while not self._ended:
            work()
            self.units += 1
            yield

    async def _compute_by_hand(self) -> None:
        while not self._ended:
            until = time.perf_counter() + TURN
            while time.perf_counter() < until:
                work()
                self.units += 1
            await asyncio.sleep(0)

    def _compute_in_thread(self) -> None:
        for _ in self._steps():
            pass

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Compute as long as the context lasts."""
        running: asyncio.Future[Any]
        if self._way == COOPERATOR:
            running = self._cooperator.cooperate(self._steps())
        elif self._way == BY_HAND:
            running = asyncio.create_task(self._compute_by_hand())
        elif self._way == THREAD:
            running = asyncio.ensure_future(asyncio.to_thread(self._compute_in_thread))
        else:
            running = asyncio.get_running_loop().create_future()
            running.set_result(None)
        await asyncio.sleep(0.05)
        try:
            yield
        finally:
            self._ended = True
            await running


# The databases


def as_unprivileged(directory: Path) -> dict[str, Any]:
    """Return how to start what refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    for path in (directory, *directory.iterdir()):
        shutil.chown(path, "nobody")
    return {"user": "nobody", "env": {**os.environ, "HOME": str(directory)}}


def find(program: str, directory: str | None = None) -> str | None:
    """Return the path of a program; Debian has PostgreSQL's in a directory for each version."""
    if directory is not None:
        return shutil.which(program, path=directory)
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    newest = sorted(versions, key=lambda path: float(path.parent.name), reverse=True)
    return shutil.which(program, path=os.pathsep.join([*map(str, newest), os.defpath]))


def install(databases: list[str]) -> None:
    """Install what is missing of Debian's packages."""
    missing = [
        PACKAGES[name] for name in databases if name in PROGRAMS and not find(PROGRAMS[name])
    ]
    if missing:
        subprocess.run(["apt-get", "install", "--yes", *missing], check=True)  # noqa: S603, S607


@contextlib.contextmanager
def started(command: list[str], directory: Path, ready: Path) -> Iterator[None]:
    """Run a server until the end of the context."""
    with subprocess.Popen(  # noqa: S603 (the database's own program)
        command,
        cwd=directory,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **as_unprivileged(directory),
    ) as process:
        try:
            deadline = time.monotonic() + START
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"cannot start {command[0]}")
                time.sleep(0.05)
            yield
        finally:
            process.send_signal(2)  # SIGINT: PostgreSQL's fast shutdown
            process.wait()


@contextlib.asynccontextmanager
async def postgresql(directory: Path, programs: str | None) -> AsyncIterator[Transaction]:
    initdb, postgres = find("initdb", programs), find("postgres", programs)
    if initdb is None or postgres is None:
        raise FileNotFoundError("initdb and postgres, of Debian's package postgresql")
    subprocess.run(  # noqa: ASYNC221, S603 (nothing else runs yet)
        [initdb, "-D", str(directory / "data"), "-U", "bench", "-A", "trust"],
        stdout=subprocess.DEVNULL,
        check=True,
        cwd=directory,
        **as_unprivileged(directory),
    )
    command = [postgres, "-D", str(directory / "data"), "-k", str(directory), "-h", ""]
    with started(command, directory, directory / ".s.PGSQL.5432"):
        connection = None
        async with asyncio.timeout(START):
            while connection is None:
                with contextlib.suppress(asyncpg.CannotConnectNowError):
                    connection = await asyncpg.connect(
                        host=str(directory), user="bench", database="postgres"
                    )
        await connection.execute("create table counts (id int primary key, n int)")
        await connection.execute("insert into counts values (1, 0)")
        await connection.execute("set synchronous_commit = off")  # the disk is not measured

        async def transact() -> None:
            async with connection.transaction():  # begin, and commit
                for _ in range(TRIPS - 3):
                    await connection.fetchval("select n from counts where id = 1")
                await connection.execute("update counts set n = n + 1 where id = 1")

        yield transact
        await connection.close()


@contextlib.asynccontextmanager
async def redis_server(directory: Path, programs: str | None) -> AsyncIterator[Transaction]:
    server = find("redis-server", programs)
    if server is None:
        raise FileNotFoundError("redis-server, of Debian's package redis-server")
    socket = directory / "redis.sock"
    command = [server, "--port", "0", "--unixsocket", str(socket), "--save", ""]
    with started(command, directory, socket):
        async with redis.asyncio.Redis(unix_socket_path=str(socket)) as client:

            async def transact() -> None:
                for _ in range(TRIPS):
                    await client.incr("count")

            yield transact


@contextlib.asynccontextmanager
async def sqlite(directory: Path, _: str | None) -> AsyncIterator[Transaction]:
    async with aiosqlite.connect(directory / "bench.db") as connection:
        await connection.execute("create table counts (id int primary key, n int)")
        await connection.execute("insert into counts values (1, 0)")

        async def transact() -> None:
            for _ in range(TRIPS):
                async with connection.execute("select n from counts where id = 1") as cursor:
                    await cursor.fetchone()

        yield transact


DATABASES = {"asyncpg": postgresql, "redis": redis_server, "aiosqlite": sqlite}


# Measuring


async def latencies(
    transact: Transaction, seconds: float, slices: Callable[[], int] = int
) -> tuple[list[float], float]:
    """Return the seconds that transactions took, and the part of them without a slice."""
    took = []
    undisturbed = 0
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        before = slices()
        await transact()
        took.append(time.perf_counter() - began)
        undisturbed += slices() == before
        await asyncio.sleep(PAUSE)
    return took, undisturbed / len(took)


async def measure(
    name: str,
    transact: Transaction,
    rounds: int,
    seconds: float,
    time_slice: TimeSlice,
    report: Report,
) -> None:
    """Measure each way once in each round; a machine that drifts hurts all alike."""
    await latencies(transact, 0.2)  # to warm up
    medians: dict[str, list[float]] = {way: [] for way in (IDLE, COOPERATOR, BY_HAND, THREAD)}
    tails: dict[str, list[float]] = {way: [] for way in medians}
    units: dict[str, list[float]] = {way: [] for way in medians if way != IDLE}
    undisturbed = []
    for _ in range(rounds):
        for way, median in medians.items():
            job = Job(way, time_slice)
            began = time.perf_counter()
            async with job.running():
                took, part = await latencies(transact, seconds, job.slices)
            median.append(1e3 * statistics.median(took))
            slowest = statistics.quantiles(took, n=100)[98] if took[1:] else took[0]
            tails[way].append(1e3 * slowest)
            if way != IDLE:
                units[way].append(job.units / (time.perf_counter() - began))
            if way == COOPERATOR:
                undisturbed.append(100 * part)
    for way, median in medians.items():
        report.record(f"{name} beside {way}, median", median, "ms")
        report.record(f"{name} beside {way}, p99", tails[way], "ms")
    report.record(f"{name}: transactions without a slice", undisturbed, "%")
    for way, done in units.items():
        report.record(f"{name}: work done by {way}", done, "units/s")
        limit = 2.0 if way == COOPERATOR else None
        report.compare(
            f"{name}, median: {way} / idle",
            *(f"{name} beside {way}, median", f"{name} beside {IDLE}, median"),
            at_most=limit,
        )


async def main(options: Any) -> None:
    rounds, seconds = (1, 1.0) if options.quick else (3, 2.0)
    time_slice = TimeSlice(options.slice[0], max_wait=options.slice[1])
    report = Report(f"{TRIPS} round trips to a database, beside one job on the same loop")
    for name in options.databases:
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            programs = {"asyncpg": options.postgresql, "redis": options.redis}.get(name)
            try:
                async with DATABASES[name](Path(directory), programs) as transact:
                    await measure(name, transact, rounds, seconds, time_slice, report)
            except FileNotFoundError as error:
                print(f"{name}: there is no {error}; try --install")
    report.finish(options.json)


if __name__ == "__main__":
    parser = parse_arguments(__doc__)
    parser.add_argument(
        "--databases", nargs="+", choices=list(DATABASES), default=list(DATABASES)
    )
    parser.add_argument("--postgresql", metavar="DIR", help="where initdb and postgres are")
    parser.add_argument("--redis", metavar="DIR", help="where redis-server is")
    parser.add_argument(
        "--install", action="store_true", help="have apt-get install what is missing"
    )
    parser.add_argument(
        *("--slice",),
        nargs=2,
        type=float,
        metavar=("SECONDS", "MAX_WAIT"),
        default=(TimeSlice().seconds, TimeSlice().max_wait),
        help="how long the job computes at a time, and stands back at most",
    )
    options = parser.parse_args()
    if options.install:
        install(options.databases)
    asyncio.run(main(options))
