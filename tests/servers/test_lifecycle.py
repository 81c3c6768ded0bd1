"""The end of the server examples: SIGTERM comes while requests are under way."""

import asyncio
import re
import signal
import sys
from contextlib import AsyncExitStack

import pytest
from server_support import (
    PROGRAMS,
    Example,
    ask,
    connected,
    expected_rows,
    parse,
    read_ndjson,
    request,
    running,
    until,
)

LARGEST = 1_000_000

both = pytest.mark.parametrize("kind", PROGRAMS)
with_signals = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to send")


@both
@with_signals
async def test_what_is_under_way_is_finished_after_sigterm(kind):
    async with running(kind, "--grace", "30") as (process, address, said):
        async with (
            connected(address) as (reader, writer),
            connected(address) as (other, asking),
        ):
            writer.write(request("/export.ndjson?rows=60000"))
            await reader.readuntil(b"\r\n\r\n")
            asking.write(request("/total?rows=30000"))
            await ask(address, "/ping")  # what came before that has begun
            process.terminate()
            body = await reader.read()
            status, total = parse(await other.read())
        text = parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + body)[1]
        assert read_ndjson(text) == expected_rows(60_000)
        assert status == 200
        assert int(re.search(r"\d+", total)[0]) == sum(
            row["digits"] for row in expected_rows(30_000)
        )
    assert process.returncode in {0, -signal.SIGTERM}
    assert "table ended after 60000 of 60000 rows" in said


@both
@with_signals
async def test_after_sigterm_no_new_connection_is_taken(kind):
    async with (
        running(kind, "--grace", "30") as (process, address, _),
        connected(address, receive_buffer=4096) as (reader, writer),
    ):
        writer.write(request(f"/export.csv?rows={LARGEST}"))
        await reader.readuntil(b"\r\n\r\n")
        process.terminate()
        async with asyncio.timeout(100):
            while await is_listening(address):
                await asyncio.sleep(0.05)
        assert process.returncode is None
        await reader.readexactly(100_000)  # but who is served already goes on being served
        writer.transport.abort()


async def is_listening(address):
    try:
        async with connected(address):
            return True
    except ConnectionError:
        return False


@both
@with_signals
async def test_what_does_not_end_in_time_is_stopped_and_closed(kind):
    async with (
        running(kind, "--grace", "1") as (process, address, said),
        AsyncExitStack() as stack,
    ):
        slow = await stack.enter_async_context(connected(address, receive_buffer=4096))
        slow[1].write(request(f"/export.csv?rows={LARGEST}"))
        await slow[0].readuntil(b"\r\n\r\n")
        for _ in range(9):
            _, writer = await stack.enter_async_context(connected(address))
            writer.write(request(f"/total?rows={LARGEST}&first=99999999999"))
        await ask(address, "/ping")  # what came before that has begun
        process.terminate()
        await until(lambda: sum("table ended" in line for line in said) == 10)
        assert not any(f"after {LARGEST} of" in line for line in said)
        assert not any("never" in line for line in said)  # retrieved, awaited
    assert process.returncode in {0, -signal.SIGTERM}


@both
async def test_tasks_of_no_request_are_drained_at_the_end(kind):
    example = Example(kind)
    ended = []
    async with example.serving():
        await example.ask("/ping")

        def job():
            for _ in range(20_000):
                yield
            ended.append("ended")

        task = example.cooperator.cooperate(job())
    assert ended == ["ended"]
    assert task.done()


@both
async def test_tasks_of_no_request_that_do_not_end_are_stopped(kind):
    example = Example(kind)
    example.program.GRACE = 0.2
    ended = []
    async with example.serving():
        await example.ask("/ping")

        def job():
            try:
                while True:
                    yield
            finally:
                ended.append("closed")

        example.cooperator.cooperate(job())
    assert ended == ["closed"]


@both
@with_signals
async def test_an_idle_server_ends_at_once(kind):
    async with running(kind, "--grace", "1000") as (process, address, _):
        await ask(address, "/ping")
        process.terminate()
    assert process.returncode in {0, -signal.SIGTERM}
