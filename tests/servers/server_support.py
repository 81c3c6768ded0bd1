"""Serve the streaming examples: in the loop of a test, or as the programs they are."""

import asyncio
import contextlib
import gc
import importlib.util
import json
import re
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from aiohttp import web

from cooperative_aio import Cooperator

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = {"aiohttp": "streaming_aiohttp.py", "fastapi": "streaming_fastapi.py"}
PYTHON = [sys.executable, "-P"]  # with the package that is being tested, wherever this runs
PATIENCE = 200  # seconds that a test waits for what will surely come


@dataclass
class Table:
    """Tell what became of one call of an example's `table`."""

    rows: int
    made: int = 0
    closed: bool = False


class Example:
    """One of the examples, with its tables counted and its Cooperators at hand."""

    def __init__(self, kind):
        self.kind = kind
        path = EXAMPLES / PROGRAMS[kind]
        spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
        self.program = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.program)
        self.tables = []
        self.cooperators = []
        self.row = self.program.table
        self.program.table = self._table
        if kind == "fastapi":
            self.program.Cooperator = self._cooperator
        self.step = None  # called for each row
        self.options = {}  # for aiohttp's server

    def _table(self, rows, first):
        table = Table(rows)
        self.tables.append(table)
        return self._count(table, self.row(rows, first))

    def _count(self, table, rows):
        with contextlib.closing(rows):
            try:
                for row in rows:
                    table.made += 1
                    if self.step is not None:
                        self.step()
                    yield row
            finally:
                table.closed = True

    def _cooperator(self, **options):
        cooperator = Cooperator(**options)
        self.cooperators.append(cooperator)
        return cooperator

    @property
    def cooperator(self):
        [cooperator] = self.cooperators
        return cooperator

    @contextlib.asynccontextmanager
    async def serving(self):
        before = asyncio.all_tasks()
        serve = self._serving_aiohttp if self.kind == "aiohttp" else self._serving_uvicorn
        async with serve() as self.address:
            self.base_tasks = asyncio.all_tasks() - before
            yield self
        assert self.cooperator.tasks == ()
        assert not self.cooperator.running
        assert all(table.closed or not table.made for table in self.tables)

    @contextlib.asynccontextmanager
    async def _serving_aiohttp(self):
        app = self.program.make_app()
        runner = web.AppRunner(app, access_log=None, **self.options)
        await runner.setup()
        self.cooperators.append(app[self.program.COOPERATOR])
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
            yield runner.addresses[0]
        finally:
            await runner.cleanup()

    @contextlib.asynccontextmanager
    async def _serving_uvicorn(self):
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            config = uvicorn.Config(
                self.program.make_app(), log_level="critical", access_log=False
            )
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve([listening]))
            try:
                await until(lambda: server.started)
                yield listening.getsockname()
            finally:
                server.should_exit = True
                await serving

    async def ask(self, path, **options):
        return await ask(self.address, path, **options)

    @contextlib.asynccontextmanager
    async def asking(self, path, **options):
        async with connected(self.address, **options) as (reader, writer):
            writer.write(request(path))
            yield reader, writer


def request(path, method="GET", body=b"", headers=""):
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{length}{headers}\r\n"
    )
    return head.encode() + body


@contextlib.asynccontextmanager
async def connected(address, receive_buffer=None):
    """Open a connection; abort it at the end."""
    sock = socket.socket()
    try:
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(0)
        await asyncio.get_running_loop().sock_connect(sock, address)
        reader, writer = await asyncio.open_connection(sock=sock, limit=2**14)
    except BaseException:
        sock.close()
        raise
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


async def ask(address, path, **options):
    """Send a request; return the status and the text of the answer."""
    async with asyncio.timeout(PATIENCE), connected(address) as (reader, writer):
        writer.write(request(path, **options))
        return parse(await reader.read())


def parse(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    if b"transfer-encoding: chunked" in head.lower():
        body = b"".join(chunks(body))
    return status, body.decode()


def chunks(body):
    while True:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return
        yield body[:length]
        body = body[length + 2 :]


async def until(condition, seconds=PATIENCE):
    """Return when the condition holds, and how many times it was looked at in vain.

    Between two looks are 10 milliseconds, if the machine has nothing else to do.
    """
    looks = 0
    async with asyncio.timeout(seconds):
        while not condition():
            looks += 1
            await asyncio.sleep(0.01)
    return looks


async def until_still(number, seconds=0.4):
    """Return a number when it has not changed for some seconds."""
    async with asyncio.timeout(PATIENCE):
        while True:
            before = number()
            await asyncio.sleep(seconds)
            if number() == before:
                return before


def living(name):
    """Count the generators of that name that are not closed."""
    gc.collect()
    return sum(
        getattr(thing, "__name__", None) == name and thing.gi_frame is not None
        for thing in gc.get_objects()
        if type(thing).__name__ == "generator"
    )


def expected_rows(rows, first=0):
    return [
        {"number": number, "square": number**2, "digits": sum(map(int, str(number)))}
        for number in range(first, first + rows)
    ]


def read_ndjson(text):
    return [json.loads(line) for line in text.splitlines()]


@contextlib.asynccontextmanager
async def running(kind, *options):
    """Run an example as a program; give the process, its address and what it has said."""
    process = await asyncio.create_subprocess_exec(
        *[*PYTHON, "-u", str(EXAMPLES / PROGRAMS[kind]), "--port", "0", *options],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = []
    listening = asyncio.get_running_loop().create_future()

    async def listen():
        async for line in process.stdout:
            said.append(line.decode().rstrip())
            found = re.search(r"http://([\d.]+):(\d+)", said[-1])
            if found and not listening.done():
                listening.set_result((found[1], int(found[2])))

    reading = asyncio.create_task(listen())
    try:
        async with asyncio.timeout(PATIENCE):
            yield process, await listening, said
            await reading
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        reading.cancel()
