"""What is sent: to those who ask for the head only, to those who go; and bodies of requests."""

import asyncio
import contextlib
import json

import httpx
import pytest
from aiohttp import ClientSession, web
from asgi_support import Call, on_virtual_time
from server_support import connected, request
from starlette.applications import Starlette
from starlette.routing import Route

from cooperative_aio import get_cooperator, json_array
from cooperative_aio.aiohttp import batches_response, json_array_response
from cooperative_aio.starlette import BatchesResponse, JSONArrayResponse

ROWS = [{"number": number, "text": "é" * (number % 5)} for number in range(3000)]
ARRAY = json.dumps(ROWS, ensure_ascii=False, separators=(",", ":")).encode()


def rows(log):
    try:
        yield from ROWS
    finally:
        log.append("closed")


def lines(log):
    return (f"{row['number']}\n" for row in rows(log))


@contextlib.asynccontextmanager
async def serving(handler):
    """Serve a handler, for all methods."""
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0]
    finally:
        await runner.cleanup()


# The head only


@on_virtual_time
@pytest.mark.parametrize(
    ("make", "length"),
    [
        (lambda log: JSONArrayResponse(rows(log)), str(len(ARRAY))),
        (lambda log: JSONArrayResponse(rows(log), streamed=True), None),
        (lambda log: BatchesResponse(rows(log).close() or lines(log)), None),
    ],
)
async def test_who_asks_for_the_head_gets_no_body(make, length):
    log = []

    async def handler(_):
        return make(log)

    call = Call(Starlette(routes=[Route("/", handler)]), method="HEAD")
    await call.running
    assert call.status == 200
    assert call.headers.get("content-length") == length
    assert (call.body_sent, call.is_complete) == (b"", True)
    assert get_cooperator().tasks == ()


@pytest.mark.parametrize("kind", ["whole", "streamed", "lines"])
async def test_who_asks_aiohttp_for_the_head_gets_no_body(kind):
    log = []

    async def handler(asked):
        if kind == "lines":
            return await batches_response(asked, lines(log))
        return await json_array_response(asked, rows(log), streamed=kind == "streamed")

    async with (
        asyncio.timeout(300),
        serving(handler) as address,
        connected(address) as (reader, writer),
    ):
        writer.write(request("/", "HEAD").replace(b"Connection: close\r\n", b""))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert (f"Content-Length: {len(ARRAY)}\r\n".encode() in head) == (kind == "whole")
        writer.write(request("/"))  # the connection goes on with what comes next
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


# Lines of an asynchronous generator


@on_virtual_time
@pytest.mark.parametrize("kind", [str, lambda number: f"{number}\n".encode()])
async def test_lines_may_come_from_an_asynchronous_generator(kind):
    log = []

    async def fetched():
        try:
            for number in range(1000):
                if number % 100 == 50:
                    await asyncio.sleep(1)
                yield kind(number)
        finally:
            log.append("closed")

    async def handler(_):
        return BatchesResponse(fetched())

    call = Call(Starlette(routes=[Route("/", handler)]))
    await call.running
    lines = [kind(number) for number in range(1000)]
    whole = "".join(lines).encode() if kind is str else b"".join(lines)
    assert (call.body_sent, log) == (whole, ["closed"])


# Clients that go


@on_virtual_time
@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError("of the socket")])
async def test_a_connection_that_breaks_is_no_error(error, caplog):
    caplog.set_level("INFO")

    async def fail(_):
        raise error

    log = []

    async def handler(_):
        return JSONArrayResponse(rows(log))

    call = Call(Starlette(routes=[Route("/", handler)]), send=fail)
    await call.running
    assert log == ["closed"]
    assert caplog.messages == []


@on_virtual_time
async def test_a_client_that_does_not_take_the_last_message_is_given_up(caplog):
    caplog.set_level("INFO")

    async def take(message):
        if message["type"] == "http.response.body" and not message.get("more_body"):
            await asyncio.sleep(1000)

    async def handler(_):
        return JSONArrayResponse([1], patience=30.0)

    call = Call(Starlette(routes=[Route("/", handler)]), send=take)
    await call.running
    assert caplog.messages == ["gave up on a client that took nothing for 30 seconds"]


# The body of a request


async def echo(asked):
    assert asked.headers["Transfer-Encoding"] == "chunked"
    return web.Response(body=await asked.read(), content_type="application/json")


@pytest.mark.parametrize("make", [list, iter, lambda all_rows: (row for row in all_rows)])
async def test_httpx_sends_an_array_in_pieces(make):
    async with serving(echo) as (host, port), httpx.AsyncClient() as client:
        body = json_array(make(ROWS))
        answer = await client.post(f"http://{host}:{port}/", content=body)
    assert answer.content == ARRAY


@pytest.mark.parametrize("make", [list, iter, lambda all_rows: (row for row in all_rows)])
async def test_aiohttps_client_sends_an_array_in_pieces(make):
    async with serving(echo) as (host, port), ClientSession() as session:
        body = json_array(make(ROWS))
        async with session.post(f"http://{host}:{port}/", data=body) as answer:
            assert await answer.read() == ARRAY


async def test_an_array_may_stand_inside_of_something():
    async def body():
        yield b'{"points":'
        async with contextlib.aclosing(json_array(ROWS)) as pieces:
            async for piece in pieces:
                yield piece
        yield b"}"

    async with serving(echo) as (host, port), httpx.AsyncClient() as client:
        answer = await client.post(f"http://{host}:{port}/", content=body())
    assert answer.json() == {"points": ROWS}


async def test_an_array_may_be_sent_as_a_whole():
    async def echo_length(asked):
        return web.Response(text=f"{asked.content_length} {len(await asked.read())}")

    body = b"".join([piece async for piece in json_array(ROWS)])
    async with serving(echo_length) as (host, port), httpx.AsyncClient() as client:
        answer = await client.post(f"http://{host}:{port}/", content=body)
    assert answer.text == f"{len(ARRAY)} {len(ARRAY)}"


@pytest.mark.parametrize("kind", ["httpx", "aiohttp"])
async def test_rows_are_closed_when_sending_is_cancelled(kind):
    log = []
    got, ended = asyncio.Event(), asyncio.Event()

    def endless():
        try:
            while True:
                yield {"text": "x" * 1000}
        finally:
            log.append("closed")

    async def take_some(asked):
        await asked.content.readexactly(100_000)
        got.set()
        await ended.wait()
        asked.transport.abort()

    async def send(url):
        if kind == "httpx":
            async with httpx.AsyncClient() as client:
                await client.post(url, content=json_array(endless()))
        else:
            async with ClientSession() as session:
                await session.post(url, data=json_array(endless()))

    async with asyncio.timeout(300), serving(take_some) as (host, port):
        sending = asyncio.create_task(send(f"http://{host}:{port}/"))
        await got.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        while not log:
            await asyncio.sleep(0.01)
        ended.set()
    assert log == ["closed"]
