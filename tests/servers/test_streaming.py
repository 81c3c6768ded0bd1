"""Streams of the server examples: at once, flat, no faster than the client, ended with it."""

import asyncio
import csv
import io
import json
import os
import sys
import time

import pytest
from server_support import (
    PROGRAMS,
    Example,
    ask,
    connected,
    expected_rows,
    living,
    read_ndjson,
    request,
    running,
    until,
    until_still,
)

assert list(PROGRAMS.values()) == ["streaming_aiohttp.py", "streaming_fastapi.py"]

CLIENTS = int(os.environ.get("COOPERATIVE_AIO_CLIENTS", "40"))
ROWS = int(os.environ.get("COOPERATIVE_AIO_ROWS", "150000"))
LARGEST = 1_000_000

both = pytest.mark.parametrize("kind", PROGRAMS)
each_format = pytest.mark.parametrize("path", ["/export.csv", "/export.ndjson"])


@both
async def test_an_export_has_every_row_once(kind):
    async with Example(kind).serving() as example:
        status, text = await example.ask("/export.ndjson?rows=5000&first=999000")
        assert status == 200
        assert read_ndjson(text) == expected_rows(5000, 999_000)
        status, text = await example.ask("/export.csv?rows=3500")
        assert status == 200
        rows = [{name: int(value) for name, value in row.items()} for row in csv_rows(text)]
        assert rows == expected_rows(3500)


def csv_rows(text):
    return csv.DictReader(io.StringIO(text))


@both
async def test_an_array_has_every_row_once(kind):
    async with Example(kind).serving() as example:
        status, text = await example.ask("/rows.json?rows=5000&first=999000")
        assert status == 200
        assert json.loads(text) == expected_rows(5000, 999_000)
        assert await example.ask("/rows.json?rows=0") == (200, "[]")


@both
async def test_an_export_of_no_rows_is_complete(kind):
    async with Example(kind).serving() as example:
        assert await example.ask("/export.ndjson?rows=0") == (200, "")
        assert await example.ask("/export.csv?rows=0") == (200, "")


@both
@each_format
async def test_the_first_byte_comes_at_once(kind, path):
    async with Example(kind).serving() as example:
        async with example.asking(f"{path}?rows={LARGEST}") as (reader, _):
            await reader.readuntil(b"\r\n\r\n")
            assert b"number" in await reader.readuntil(b"\n") + await reader.readuntil(b"\n")
            assert example.tables[0].made < LARGEST / 4
        await until(lambda: example.tables[0].closed)


@both
async def test_the_first_byte_waits_for_no_full_batch(kind):
    example = Example(kind)
    example.step = lambda: time.sleep(0.005)
    async with example.serving():
        async with example.asking("/export.csv?rows=1000") as (reader, _):
            await reader.readuntil(b"number")
            assert 0 < example.tables[0].made < 500
        await until(lambda: example.tables[0].closed)


@both
@each_format
async def test_a_slow_client_slows_the_generator_down(kind, path):
    async with Example(kind).serving() as example:
        url = f"{path}?rows={LARGEST}"
        async with example.asking(url, receive_buffer=4096) as (reader, _):
            await until(lambda: example.tables)
            [table] = example.tables
            ahead = await until_still(lambda: table.made)
            # What the buffers of two sockets hold, a transport's, and two batches
            assert ahead < LARGEST / 2
            received = 0
            while table.made == ahead:
                received += len(await reader.read(2**16))
            assert received < 12_000_000
        await until(lambda: table.closed)
        assert table.made < LARGEST


@both
@pytest.mark.parametrize("path", ["/export.csv", "/export.ndjson", "/rows.json", "/total"])
async def test_a_client_that_leaves_ends_the_computing_within_a_second(kind, path):
    async with Example(kind).serving() as example:
        async with example.asking(f"{path}?rows={LARGEST}") as (reader, _):
            if path.startswith("/export"):
                await reader.read(1000)
            await until(lambda: example.tables and example.tables[0].made)
        assert await until(lambda: not example.cooperator.tasks) < 100
        [table] = example.tables
        assert table.closed
        assert table.made < LARGEST
        assert (await example.ask("/ping"))[0] == 200


@both
async def test_the_server_answers_others_while_it_streams(kind):
    async with Example(kind).serving() as example:
        async with example.asking(f"/total?rows={LARGEST}"):
            await until(lambda: example.tables and example.tables[0].made)
            for _ in range(5):
                assert (await example.ask("/ping"))[0] == 200
            status, text = await example.ask("/export.ndjson?rows=1500")
            assert (status, read_ndjson(text)) == (200, expected_rows(1500))
            assert not example.tables[0].closed
        await until(lambda: not example.cooperator.tasks)


@both
async def test_clients_that_leave_mid_stream_leave_nothing_behind(kind):
    example = Example(kind)
    example.program.MOST_TASKS = 10_000
    async with example.serving():
        await example.ask("/ping")
        tasks = len(asyncio.all_tasks())

        async def leave_early(number):
            path = ("/export.csv", "/export.ndjson")[number % 2]
            async with example.asking(f"{path}?rows={LARGEST}") as (reader, _):
                await reader.readuntil(b"\r\n\r\n")
                await reader.read(1 + number * 97)

        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(leave_early(number))
        looks = await until(lambda: not example.cooperator.tasks)
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        assert [table.closed for table in example.tables] == [True] * CLIENTS
        assert all(table.made < LARGEST for table in example.tables)
        assert looks < 100
    assert (living("table"), living("as_csv"), living("as_ndjson")) == (0, 0, 0)


# Memory


def peak_memory(process):
    """Return the most that a process has had, in bytes."""
    try:
        with open(f"/proc/{process.pid}/status", encoding="ascii") as status:  # noqa: PTH123
            [line] = [line for line in status if line.startswith("VmHWM")]
    except OSError:
        pytest.skip("this system has no /proc to see a process' memory in")
    return int(line.split()[1]) * 1024


@both
async def test_memory_stays_flat_however_many_rows_there_are(kind):
    async with running(kind) as (process, address, said):
        await ask(address, "/export.csv?rows=20000")
        before = peak_memory(process)
        received = 0
        async with connected(address) as (reader, writer):
            writer.write(request(f"/export.ndjson?rows={ROWS}"))
            while chunk := await reader.read(2**16):
                received += len(chunk)
        grown = peak_memory(process) - before
        process.terminate()
    if ROWS == LARGEST:  # somebody wants to know
        sys.stdout.write(f"{kind}: {received / 1e6:.1f} MB sent, {grown / 1e6:.2f} MB more\n")
    assert received > 50 * ROWS
    assert grown < 3e6
    assert f"table ended after {ROWS} of {ROWS} rows" in said
