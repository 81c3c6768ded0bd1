"""How a server's end reaches an application, and what it makes of answers under way."""

import asyncio
import contextlib
import sys
from types import SimpleNamespace

import pytest
from aiohttp import web
from asgi_support import Call, Server, on_virtual_time
from server_support import ask, until
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute

from cooperative_aio import Cooperator
from cooperative_aio.aiohttp import COOPERATOR, setup
from cooperative_aio.starlette import CooperativeMiddleware


def slow_to_close(log):
    """Work that takes a minute to clean up, unless it is stopped."""
    try:
        while True:
            yield asyncio.sleep(1)
    finally:
        try:
            yield asyncio.sleep(60)
        finally:
            log.append("closed")


def app_of(handler, **options):
    middleware = [Middleware(CooperativeMiddleware, **options)]
    routes = [Route("/", handler), WebSocketRoute("/socket", handler)]
    return Starlette(routes=routes, middleware=middleware)


# hypercorn's workers get no signal


@pytest.fixture
def hypercorn(monkeypatch):
    """Return what hypercorn's workers wait for the end by, and an event that tells of it."""

    async def raise_shutdown(event):
        await event.wait()

    ending = asyncio.Event()
    module = SimpleNamespace(raise_shutdown=raise_shutdown)
    monkeypatch.setitem(sys.modules, "hypercorn.utils", module)
    return lambda: raise_shutdown(ending), ending


@on_virtual_time
async def wait_for_the_end(hypercorn):
    log = []

    async def handler(request):
        try:
            await asyncio.sleep(100)
        finally:
            log.append("cancelled")

    wait, ending = hypercorn
    waiting = asyncio.create_task(wait())
    server = Server(app_of(handler, grace=2.0))
    await server.start()
    call = server.call()
    await asyncio.sleep(1)
    ending.set()
    await asyncio.sleep(1.9)
    assert log == []
    await asyncio.sleep(0.2)
    assert (log, call.status) == (["cancelled"], 503)
    await server.stop()
    await waiting


def test_the_end_of_hypercorns_waiting_begins_the_end(hypercorn):
    wait_for_the_end(hypercorn)


@on_virtual_time
async def outlive_the_application(hypercorn):
    async def handler(_):
        return PlainTextResponse("yes")

    wait, ending = hypercorn
    waiting = asyncio.create_task(wait())
    server = Server(app_of(handler))
    await server.start()
    await server.call().running
    await server.stop()
    ending.set()
    await waiting  # and nothing is told of that
    async with server as again:
        call = again.call()
        await call.running
        assert call.status == 200


def test_a_waiting_that_ends_after_the_application_tells_nothing(hypercorn):
    outlive_the_application(hypercorn)


# What is stopped at the end


@on_virtual_time
async def test_a_request_whose_task_is_stopped_at_the_end_is_refused(caplog):
    log = []

    async def handler(request):
        await request.state.cooperator.cooperate(slow_to_close(log))

    server = Server(app_of(handler, grace=2.0))
    await server.start()
    call = server.call()
    await asyncio.sleep(1)
    await server.stop()
    await call.running
    assert log == ["closed"]
    assert call.status == 503
    assert caplog.messages == [
        "ending 1 requests and 1 tasks, 2 seconds after the application was to end",
        "1 cancelled requests have not ended",
    ]


@on_virtual_time
async def test_a_websocket_whose_task_is_stopped_at_the_end_is_closed():
    log = []

    async def handler(websocket):
        await websocket.accept()
        await websocket.state.cooperator.cooperate(slow_to_close(log))

    server = Server(app_of(handler, grace=2.0))
    await server.start()
    call = server.call("/socket", kind="websocket")
    await asyncio.sleep(1)
    await server.stop()
    await call.running
    assert log == ["closed"]
    assert call.sent[-1]["type"] == "websocket.close"
    assert call.sent[-1]["code"] == 1013


async def test_a_request_to_aiohttp_whose_task_is_stopped_at_the_end_is_refused():
    log = []

    async def handler(request):
        await request.config_dict[COOPERATOR].cooperate(slow_to_close(log))

    app = web.Application()
    app.router.add_get("/", handler)
    setup(app, grace=0.1)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    asking = asyncio.create_task(ask(runner.addresses[0], "/"))
    await until(lambda: app[COOPERATOR].tasks)
    await runner.cleanup()
    status, text = await asking
    assert (status, log) == (503, ["closed"])
    assert "the server is about to end" in text


@on_virtual_time
async def test_a_task_that_the_application_stops_itself_is_its_own_error():
    async def handler(request):
        task = request.state.cooperator.cooperate(slow_to_close([]))
        task.stop()
        await task

    async with Server(app_of(handler)) as server:
        call = server.call()
        with pytest.raises(Exception, match="the task was stopped"):
            await call.running
        assert call.status == 500


# A place that takes its time to start


class Place:
    """A place that takes a second to enter."""

    def __init__(self, log, fails=()):
        self.log = log
        self.fails = list(fails)

    @contextlib.asynccontextmanager
    async def entered(self):
        self.log.append("entering")
        await asyncio.sleep(1)
        if self.fails:
            raise self.fails.pop()
        yield self
        self.log.append("left")


@on_virtual_time
async def test_requests_that_come_meanwhile_wait_for_the_place_too():
    log = []
    place = Place(log)

    async def handler(request):
        assert request.state.place is place
        return PlainTextResponse("yes")

    app = app_of(handler, cooperator=Cooperator(), place=place.entered)
    calls = [Call(app) for _ in range(3)]  # of a server that does not tell of the start
    await asyncio.sleep(0.5)
    calls[0].running.cancel()  # the start goes on for the others
    await asyncio.wait([call.running for call in calls])
    assert [call.status for call in calls] == [None, 200, 200]
    assert log == ["entering"]


@on_virtual_time
async def test_a_place_that_cannot_be_entered_is_tried_again_by_the_next_request():
    log = []
    place = Place(log, fails=[OSError("no such place")])

    async def handler(_):
        return PlainTextResponse("yes")

    app = app_of(handler, place=place.entered)
    calls = [Call(app), Call(app)]
    for call in calls:
        with pytest.raises(OSError, match="no such place"):
            await call.running
    call = Call(app)
    await call.running
    assert call.status == 200
    assert log == ["entering", "entering"]
