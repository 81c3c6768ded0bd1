"""cooperative_aio.aiohttp, with aiohttp's own server, which is told of no cancellation."""

import asyncio
import contextlib
import logging

import pytest
from aiohttp import ClientSession, web
from server_support import ask, connected, request, until

from cooperative_aio import Cooperator, SchedulerFull, cooperate, offload
from cooperative_aio.aiohttp import (
    COOPERATOR,
    PLACE,
    batches_response,
    json_array_response,
    setup,
    while_connected,
)


def endless(log, name="closed"):
    """Work that ends only when it is ended."""
    try:
        while True:
            yield asyncio.sleep(0.01)
            yield "line\n"
    finally:
        log.append(name)


def application(*handlers, **options):
    app = web.Application()
    for handler in handlers:
        app.router.add_get(f"/{handler.__name__}", handler)
    setup(app, **options)
    return app


@contextlib.asynccontextmanager
async def serving(app):
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0]
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def asking(address, path):
    async with asyncio.timeout(300), connected(address) as (reader, writer):
        writer.write(request(path))
        yield reader


@contextlib.asynccontextmanager
async def talking(app, path):
    """Serve an application, and open a WebSocket to it."""
    async with (
        serving(app) as (host, port),
        ClientSession() as session,
        session.ws_connect(f"http://{host}:{port}{path}") as websocket,
    ):
        yield websocket


@contextlib.asynccontextmanager
async def getting(app, path):
    """Serve an application, and get something from it."""
    async with (
        serving(app) as (host, port),
        ClientSession() as session,
        session.get(f"http://{host}:{port}{path}") as response,
    ):
        yield response


# A client that goes away


async def test_a_client_that_leaves_ends_what_answers_it():
    log = []

    async def job(_):
        await cooperate(endless(log))

    async with serving(application(job)) as address:
        async with asking(address, "/job"):
            await asyncio.sleep(0.3)  # longer than until it is looked after the client
            assert log == []
        await until(lambda: log)
    assert log == ["closed"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_that_leaves_ends_an_array(streamed):
    log = []

    async def array(request):
        return await json_array_response(request, endless(log), streamed=streamed)

    async with serving(application(array)) as address:
        async with asking(address, "/array") as reader:
            if streamed:
                await reader.readuntil(b"line")
            await asyncio.sleep(0.05)
        await until(lambda: log)


async def test_a_client_that_leaves_ends_a_stream_without_a_setup():
    log = []

    async def stream(request):
        return await batches_response(request, endless(log))

    app = web.Application()
    app.router.add_get("/stream", stream)
    async with serving(app) as address:
        async with asking(address, "/stream") as reader:
            await reader.readuntil(b"line")
        await until(lambda: log)


async def test_a_websocket_is_not_cancelled_when_its_client_leaves():
    log = []

    async def socket(request):
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        log.append((await websocket.receive()).data)
        await websocket.receive()
        await asyncio.sleep(0.3)
        log.append("cleaned up")
        return websocket

    async with talking(application(socket), "/socket") as websocket:
        await websocket.send_str("hello")
    assert log == ["hello", "cleaned up"]


async def test_progress_on_a_websocket_ends_with_it():
    log = []

    async def socket(request):
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        async with while_connected(websocket):
            task = cooperate(endless(log))
            while True:
                await asyncio.wait([task], timeout=0.01)
                await websocket.send_str("working")
        task.cancel()
        log.append("left")
        return websocket

    async with talking(application(socket), "/socket") as websocket:
        await websocket.send_str("is dropped")
        assert (await websocket.receive()).data == "working"
    assert log == ["left", "closed"]


async def test_a_websocket_can_be_read_after_the_progress():
    async def socket(request):
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        async with while_connected(websocket):
            await asyncio.sleep(0.01)
        await websocket.send_str("done")
        await websocket.send_str((await websocket.receive()).data)
        return websocket

    async with talking(application(socket), "/socket") as websocket:
        assert (await websocket.receive()).data == "done"
        await websocket.send_str("hello")
        assert (await websocket.receive()).data == "hello"


async def test_a_websocket_that_another_coroutine_reads_is_refused():
    caught = []

    async def socket(request):
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        reading = asyncio.create_task(websocket.receive())
        await asyncio.sleep(0)
        try:
            async with while_connected(websocket):
                await asyncio.sleep(0.05)
        except RuntimeError as error:
            caught.append(str(error))
        await websocket.close()
        await reading
        return websocket

    async with talking(application(socket), "/socket") as websocket:
        await websocket.receive()
    assert len(caught) == 1
    assert "receive()" in caught[0]


# What the application owns


async def test_handlers_find_the_applications_own_cooperator_and_place():
    seen = []

    async def handler(request):
        seen.append(request.config_dict[COOPERATOR])
        place = request.config_dict[PLACE]
        return await json_array_response(request, place.open(range, 3))

    own = Cooperator(name="own")
    app = application(handler, cooperator=own, place=offload.threads)
    async with serving(app) as address:
        assert await ask(address, "/handler") == (200, "[0,1,2]")
        assert own.running
        place = app[PLACE]
    assert seen == [own]
    assert not own.running
    with pytest.raises(RuntimeError, match="cannot open a source on a left place"):
        place.open(range, 3)


async def test_a_sub_application_finds_it_too():
    async def handler(request):
        return web.Response(text=repr(request.config_dict[COOPERATOR].running))

    inner, outer = web.Application(), web.Application()
    inner.router.add_get("/handler", handler)
    outer.add_subapp("/inner", inner)
    setup(outer)
    async with serving(outer) as address:
        assert await ask(address, "/inner/handler") == (200, "True")


async def test_an_application_of_its_own_is_made_by_default():
    first, second = application(), application()
    assert first[COOPERATOR] is not second[COOPERATOR]


# Too much


async def test_too_much_at_a_time_is_answered_by_503():
    log = []

    async def job(request):
        await request.config_dict[COOPERATOR].cooperate(endless(log))

    app = application(job, cooperator=Cooperator(max_tasks=1), retry_after=7)
    async with serving(app) as address, asking(address, "/job"):
        await until(lambda: app[COOPERATOR].tasks)
        async with asking(address, "/job") as reader:
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 7\r\n" in answer.lower()
        assert b"too much is being computed; try again later" in answer


async def test_what_is_too_much_in_the_middle_of_an_answer_is_an_error(caplog):
    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        raise SchedulerFull

    async with (
        serving(application(handler)) as address,
        asking(address, "/handler") as reader,
    ):
        answer = await reader.read()
    assert answer.endswith(b"5\r\nfirst\r\n")
    assert "SchedulerFull" in caplog.text


# The end


async def test_what_does_not_end_is_ended_after_the_grace(caplog):
    log = []

    async def job(request):
        request.config_dict[COOPERATOR].cooperate(endless(log, "job"))
        await request.config_dict[COOPERATOR].cooperate(endless(log, "request"))

    app = application(job, grace=0.3)
    async with contextlib.AsyncExitStack() as stack:
        async with serving(app) as address:
            reader = await stack.enter_async_context(asking(address, "/job"))
            await until(lambda: app[COOPERATOR].tasks)
        answer = await reader.read()
    assert sorted(log) == ["job", "request"]
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"the server is about to end" in answer
    assert [message for message in caplog.messages if "ending" in message] == [
        "ending 1 requests and 2 tasks, 0.3 seconds after the application was to end"
    ]


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_stream_that_does_not_end_is_cut_and_does_not_look_complete(chunked):
    log = []

    async def stream(request):
        response = web.StreamResponse()
        if chunked:
            return await batches_response(request, endless(log))
        response.content_length = 10
        await response.prepare(request)
        try:
            await asyncio.sleep(100)
        finally:
            log.append("closed")

    async with contextlib.AsyncExitStack() as stack:
        async with serving(application(stream, grace=0.2)) as address:
            reader = await stack.enter_async_context(asking(address, "/stream"))
            await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert not (await reader.read()).endswith(b"0\r\n\r\n")
    assert log == ["closed"]


async def test_what_is_under_way_may_end_by_itself():
    log = []

    def job():
        yield asyncio.sleep(0.1)
        log.append("done")

    async def handler(request):
        request.config_dict[COOPERATOR].cooperate(job())
        return web.Response()

    async with serving(application(handler)) as address:
        await ask(address, "/handler")
    assert log == ["done"]


# Answers


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("count", [0, 5000])
async def test_an_array_is_sent_in_pieces(streamed, count):
    rows = [{"number": number} for number in range(count)]

    async def array(request):
        return await json_array_response(
            request, rows, streamed=streamed, status=201, headers={"X-A": "b"}, seconds=1e-6
        )

    async with getting(application(array), "/array") as response:
        assert await response.json() == rows
        assert response.status == 201
        assert response.headers["X-A"] == "b"
        assert response.content_type == "application/json"
        assert ("Content-Length" in response.headers) is not streamed


async def test_text_and_bytes_are_streamed():
    async def text(request):
        return await batches_response(request, ["é\n"] * 2500, "text/csv")

    async def data(request):
        return await batches_response(request, [b"\xff"] * 3, "image/gif", max_batch_size=1)

    async with getting(application(text), "/text") as response:
        assert await response.text() == "é\n" * 2500
        assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    async with getting(application(data), "/data") as response:
        assert await response.read() == b"\xff" * 3
        assert response.headers["Content-Type"] == "image/gif"


async def test_what_fails_before_the_first_piece_has_a_status_of_its_own():
    def rows():
        raise web.HTTPNotFound(text="no such table")
        yield

    async def array(request):
        return await json_array_response(request, rows())

    async def stream(request):
        return await batches_response(request, rows())

    async with serving(application(array, stream)) as address:
        for path in ("/array", "/stream"):
            assert await ask(address, path) == (404, "no such table")


async def test_a_client_that_takes_too_long_is_given_up(caplog):
    caplog.set_level(logging.INFO)
    log = []

    def lines():
        try:
            while True:
                yield "x" * 10_000
        finally:
            log.append("closed")

    async def stream(request):
        return await batches_response(request, lines(), patience=0.2, max_batch_size=10)

    async with serving(application(stream)) as address, asking(address, "/stream"):
        await until(lambda: log)
    assert "gave up on a client that took nothing for 0.2 seconds" in caplog.messages


async def test_the_task_has_the_options_that_are_given():
    other = Cooperator()

    async def stream(request):
        return await batches_response(
            request, endless([]), cooperator=other, name="rows", weight=2, group="customer"
        )

    async with serving(application(stream)) as address, asking(address, "/stream"):
        await until(lambda: other.tasks)
        [task] = other.tasks
        assert (task.name, task.weight) == ("rows", 2)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: json_array_response(None, {}), TypeError, "rows must be an iterable of rows"),
        (lambda: batches_response(None, [], max_batch_size=0), ValueError, "max_batch_size"),
        (lambda: batches_response(None, [], max_seconds=0), ValueError, "max_seconds must be"),
    ],
)
async def test_arguments_of_answers_are_checked(make, error, message):
    with pytest.raises(error, match=message):
        await make()


async def test_a_patience_of_nothing_is_refused(caplog):
    async def stream(request):
        return await batches_response(request, [], patience=0)

    async with serving(application(stream)) as address:
        assert (await ask(address, "/stream"))[0] == 500
    assert "patience must be a finite number above 0, got 0" in caplog.text


def test_what_an_application_cannot_own_is_refused():
    with pytest.raises(TypeError, match="cooperator must be a Cooperator or None, got 5"):
        setup(web.Application(), 5)


async def test_an_application_that_has_started_is_refused():
    app = web.Application()
    async with serving(app):
        with pytest.raises(RuntimeError, match="cannot set up an application that has start"):
            setup(app)
