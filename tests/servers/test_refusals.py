"""What the server examples refuse, and how they say why."""

import asyncio
import contextlib

import pytest
from server_support import PROGRAMS, Example, connected, parse, request, until, until_still

LARGEST = 1_000_000

both = pytest.mark.parametrize("kind", PROGRAMS)


MALFORMED = [
    *("", "rows", "rows=", "rows=many", "rows=1.5", "rows=-1", "rows=%00", "rows=%D9%A3"),
    *(f"rows={LARGEST + 1}", "rows=" + "9" * 5000, "rows=1e400", "rows=nan"),
    *("rows=1&first=-1", "rows=1&first=x", "rows=1&first=" + "9" * 30),
]


@both
@pytest.mark.parametrize("path", ["/export.csv", "/export.ndjson", "/total"])
async def test_a_malformed_query_is_refused_with_a_reason(kind, path):
    async with Example(kind).serving() as example:
        for query in MALFORMED:
            status, text = await example.ask(f"{path}?{query}")
            assert (status in {400, 422}, query) == (True, query)
            assert ("first" if "first" in query else "rows") in text
        assert not any(table.made for table in example.tables)


@both
async def test_who_comes_when_there_is_too_much_to_do_is_told_when_to_come_again(kind):
    example = Example(kind)
    example.program.MOST_TASKS = 1
    async with example.serving():
        async with example.asking(f"/export.csv?rows={LARGEST}", receive_buffer=4096):
            await until(lambda: example.tables and example.tables[0].made)
            for name in ("export.csv", "export.ndjson", "rows.json", "total"):
                path = f"/{name}?rows=9"
                async with example.asking(path) as (reader, _):
                    answer = await reader.read()
                assert answer.startswith(b"HTTP/1.1 503 ")
                assert b"\r\nretry-after: 5\r\n" in answer.lower()
                assert b"too much is being computed; try again later" in answer
            status, _ = await example.ask("/total", method="POST", body=b"1")
            assert status == 503
            assert (await example.ask("/ping"))[0] == 200
        await until(lambda: not example.cooperator.tasks)
        assert (await example.ask("/total?rows=9"))[0] == 200


@both
async def test_a_long_address_is_refused(kind):
    async with Example(kind).serving() as example:
        status, text = await example.ask("/total?rows=" + "9" * 9000)
        assert status in {400, 422}
        assert text


@both
async def test_an_absurdly_long_address_does_no_harm(kind):
    async with Example(kind).serving() as example:
        # A server that closes while the client still sends may reset the connection.
        with contextlib.suppress(ConnectionError):
            status, text = await example.ask("/total?rows=" + "9" * 500_000)
            assert 400 <= status < 500
            assert text
        assert (await example.ask("/ping"))[0] == 200


@both
async def test_numbers_that_are_sent_are_folded(kind):
    async with Example(kind).serving() as example:
        body = b"\n".join(str(number).encode() for number in range(1000))
        status, text = await example.ask("/total", method="POST", body=body)
        assert (status, text.replace(" ", "")) == (200, '{"total":499500}')


@both
async def test_a_line_that_is_no_number_is_refused_with_its_number(kind):
    async with Example(kind).serving() as example:
        for line in (b"three", b"1.5", b"9" * 19 + b"x", b"\xff\xfe", b""):
            body = b"1\n2\n" + line + b"\n4"
            status, text = await example.ask("/total", method="POST", body=body)
            assert status == 400
            assert "line 3 must be a whole number" in text
        assert example.cooperator.tasks == ()


@both
async def test_a_body_that_is_too_large_is_refused(kind):
    async with Example(kind).serving() as example:
        status, text = await example.ask("/total", method="POST", body=b"1\n" * 500_001)
        assert status == 413
        assert "1000000" in text


@both
async def test_a_body_that_says_it_is_absurdly_large_is_refused(kind):
    async with Example(kind).serving() as example:
        head = (
            f"POST /total HTTP/1.1\r\nHost: test\r\nContent-Length: {10**15}\r\n\r\n".encode()
        )
        async with asyncio.timeout(300), connected(example.address) as (reader, writer):
            writer.write(head + b"1\n" * 600_000)
            assert b" 413 " in await reader.readline()


@both
async def test_a_body_that_is_too_slow_is_refused(kind):
    example = Example(kind)
    example.program.PATIENCE = 0.3
    async with example.serving():
        async with asyncio.timeout(300), connected(example.address) as (reader, writer):
            head = request("/total", "POST", headers="Content-Length: 1000\r\n")
            writer.write(head)

            async def drip():
                while True:
                    writer.write(b"1\n")
                    await asyncio.sleep(0.05)

            dripping = asyncio.create_task(drip())
            answer = await reader.readuntil(b"seconds")
            dripping.cancel()
        assert b" 408 " in answer
        assert b"the body must come within 0.3 seconds" in answer


@both
async def test_a_client_that_reads_too_slowly_is_given_up(kind):
    example = Example(kind)
    example.program.PATIENCE = 0.3
    async with example.serving():
        url = f"/export.csv?rows={LARGEST}"
        async with example.asking(url, receive_buffer=4096) as (reader, _):
            await until(lambda: example.tables and example.tables[0].closed)
            [table] = example.tables
            assert 0 < table.made < LARGEST
            await until_still(lambda: len(example.cooperator.tasks), 0.01)
            assert example.cooperator.tasks == ()
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await read_to_the_end_of_chunks(reader)


async def read_to_the_end_of_chunks(reader):
    """Read a body that may be cut off before its last chunk."""
    tail = b""
    async with asyncio.timeout(300):
        while chunk := await reader.read(2**16):
            tail = (tail + chunk)[-8:]
    if not tail.endswith(b"\r\n0\r\n\r\n"):  # a chunk of rows may well end as b"0\r\n", b"\r\n"
        raise asyncio.IncompleteReadError(tail, None)


@both
async def test_an_unknown_path_or_method_is_refused(kind):
    async with Example(kind).serving() as example:
        assert (await example.ask("/export.xml?rows=1"))[0] == 404
        assert (await example.ask("/export.csv?rows=1", method="DELETE"))[0] == 405


@both
async def test_what_is_no_http_is_refused(kind):
    async with (
        Example(kind).serving() as example,
        connected(example.address) as (reader, writer),
    ):
        writer.write(b"\x16\x03\x01 what\r\n\r\n")
        async with asyncio.timeout(300):
            assert parse(await reader.read())[0] == 400


async def test_headers_that_are_too_slow_end_the_connection_in_aiohttp():
    example = Example("aiohttp")
    example.options = {"keepalive_timeout": 0.3}
    async with example.serving(), connected(example.address) as (reader, writer):
        writer.write(b"GET /ping HTTP/1.1\r\n")

        async def drip():
            while True:
                writer.write(b"A: b\r\n")
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        async with asyncio.timeout(300):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        dripping.cancel()
