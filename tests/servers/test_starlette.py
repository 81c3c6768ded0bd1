"""cooperative_aio.starlette, called as servers call it, on virtual time."""

import asyncio
import contextlib
import json
import logging
import signal
import threading

import pytest
from asgi_support import Call, Server, on_virtual_time
from core_support import on_both_loops
from fastapi import FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.websockets import WebSocketDisconnect

from cooperative_aio import Cooperator, SchedulerFull, cooperate, offload
from cooperative_aio._servers._lifetime import Lifetime
from cooperative_aio.starlette import (
    BatchesResponse,
    CooperativeMiddleware,
    JSONArrayResponse,
    while_connected,
)


def endless(log, name="closed"):
    """Work that ends only when it is ended, and leaves the loop's time to run."""
    try:
        while True:
            yield asyncio.sleep(1)
            yield "line\n"
    finally:
        log.append(name)


def app_of(handler, **options):
    middleware = [Middleware(CooperativeMiddleware, **options)]
    return Starlette(routes=[Route("/", handler)], middleware=middleware)


@contextlib.contextmanager
def nothing_left():
    """See that a test leaves no task of asyncio behind, but its own and those before."""
    before = asyncio.all_tasks()
    yield
    assert asyncio.all_tasks() <= before


# A client that goes away


@on_virtual_time
async def test_a_client_that_leaves_ends_what_answers_it():
    log = []

    async def handler(_):
        await cooperate(endless(log))

    call = Call(app_of(handler))
    await asyncio.sleep(3)
    assert log == []
    call.leave()
    await call.running
    assert log == ["closed"]
    assert call.sent == []


@on_virtual_time
async def test_a_client_that_leaves_at_once_is_noticed_soon():
    log = []

    async def handler(_):
        await cooperate(endless(log))

    call = Call(app_of(handler))
    call.leave()
    await asyncio.sleep(0.06)
    assert call.running.done()
    assert log == ["closed"]


@on_virtual_time
async def test_a_handler_that_waits_for_messages_gets_them_all():
    got = []

    async def app(scope, receive, send):
        await asyncio.sleep(1)
        for _ in range(4):
            message = await receive()
            got.append(message.get("body", message["type"]))
            await asyncio.sleep(1)

    parts = [Call.body(b"1", more=True), Call.body(b"2", more=True), Call.body(b"3")]
    call = Call(CooperativeMiddleware(app), "/", *parts)
    await asyncio.sleep(3.5)
    call.leave()
    await call.running
    assert got == [b"1", b"2", b"3"]  # the last it did not wait for, and so was cancelled


@on_virtual_time
async def test_who_waits_for_the_disconnection_gets_it_and_is_not_cancelled():
    got = []

    async def app(scope, receive, send):
        got.extend([(await receive())["type"] for _ in range(3)])
        await asyncio.sleep(10)
        got.append("on its own")

    call = Call(CooperativeMiddleware(app))
    await asyncio.sleep(1)
    call.leave()
    await call.running
    assert got == ["http.request", "http.disconnect", "http.disconnect", "on its own"]


@on_virtual_time
async def test_who_begins_to_wait_late_for_the_disconnection_is_not_cancelled_either():
    got = []

    async def app(scope, receive, send):
        await asyncio.sleep(1)
        got.extend([(await receive())["type"] for _ in range(2)])
        await asyncio.sleep(10)
        got.append("on its own")

    call = Call(CooperativeMiddleware(app))
    await asyncio.sleep(2)
    call.leave()
    await call.running
    assert got == ["http.request", "http.disconnect", "on its own"]


@on_virtual_time
async def test_at_most_one_message_is_read_ahead():
    async def app(scope, receive, send):
        await asyncio.sleep(100)

    call = Call(CooperativeMiddleware(app), "/", *[Call.body(b"1", more=True)] * 10)
    await asyncio.sleep(10)
    assert call.to_app.qsize() == 9
    await call.running


@on_virtual_time
async def test_a_receive_that_is_cancelled_while_reading_ahead_loses_nothing():
    got = []

    async def app(scope, receive, send):
        await receive()
        await asyncio.sleep(1)
        for _ in range(2):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    got.append(await receive())
        got.append((await receive())["body"])

    call = Call(CooperativeMiddleware(app), "/", Call.body(more=True))
    await asyncio.sleep(5)
    call.to_app.put_nowait(Call.body(b"late"))
    await call.running
    assert got == [b"late"]


@on_virtual_time
async def test_what_receive_raises_reaches_who_asks_for_messages():
    async def app(scope, receive, send):
        await asyncio.sleep(1)
        with pytest.raises(ConnectionError):
            await receive()

    async def receive():
        raise ConnectionError

    scope = {"type": "http"}
    await CooperativeMiddleware(app)(scope, receive, None)


@on_virtual_time
async def test_what_comes_after_the_answer_is_not_ended():
    done = []

    async def afterwards():
        await asyncio.sleep(10)
        done.append("done")

    async def handler(_):
        await asyncio.sleep(1)
        return PlainTextResponse("yes", background=BackgroundTask(afterwards))

    call = Call(app_of(handler))
    await call.until(lambda: call.is_complete)
    call.leave()  # as servers say when the answer is complete
    await call.running
    assert (call.status, done) == (200, ["done"])


@on_virtual_time
async def test_what_comes_after_a_file_that_the_server_sends_is_not_ended():
    done = []

    async def app(scope, receive, send):
        await asyncio.sleep(1)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": "/a/file"})
        await asyncio.sleep(10)
        done.append("done")

    call = Call(CooperativeMiddleware(app))
    await asyncio.sleep(2)
    call.leave()
    await call.running
    assert done == ["done"]


@on_virtual_time
async def test_a_stream_of_starlettes_ends_too():
    log = []

    async def chunks():
        try:
            while True:
                await asyncio.sleep(1)
                yield "chunk"
        finally:
            log.append("closed")

    async def handler(_):
        return StreamingResponse(chunks())

    call = Call(app_of(handler))
    await asyncio.sleep(2.5)
    call.leave()
    await call.running
    assert log == ["closed"]


@on_virtual_time
@pytest.mark.parametrize("is_outside", [True, False])
async def test_a_middleware_of_starlettes_beside_this_one_changes_nothing(is_outside):
    log = []

    class Other(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            return await call_next(request)

    async def handler(_):
        await cooperate(endless(log))

    both = [Middleware(CooperativeMiddleware), Middleware(Other)]
    call = Call(
        Starlette(routes=[Route("/", handler)], middleware=both[:: -1 if is_outside else 1])
    )
    await asyncio.sleep(1)
    call.leave()
    with contextlib.suppress(RuntimeError):  # Other's, that there is no answer
        await call.running
    assert log == ["closed"]


@on_virtual_time
async def test_a_request_that_is_ending_is_not_cancelled_again():
    log = []

    async def handler(_):
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(3)
            log.append("cleaned up")

    server = Server(app_of(handler, grace=1.0))
    await server.start()
    call = server.call()
    await asyncio.sleep(1)
    call.leave()
    await asyncio.sleep(1)
    await server.stop()
    await call.running
    assert log == ["cleaned up"]


@on_virtual_time
async def test_nothing_is_left_of_a_request():
    async def handler(_):
        await asyncio.sleep(1)
        return PlainTextResponse("yes")

    app = app_of(handler)
    with nothing_left():
        call = Call(app)
        await call.running
        assert call.body_sent == b"yes"
        del call


@on_virtual_time
async def test_what_an_application_raises_comes_out():
    async def app(scope, receive, send):
        raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        await Call(CooperativeMiddleware(app)).running


@on_virtual_time
async def test_a_cancellation_from_outside_is_one():
    async def app(scope, receive, send):
        await asyncio.sleep(100)

    call = Call(CooperativeMiddleware(app))
    await asyncio.sleep(1)
    call.running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.running


# One line where there is no middleware


@on_virtual_time
async def test_while_connected_ends_a_request_without_a_middleware():
    log = []

    async def handler(request):
        async with while_connected(request):
            await cooperate(endless(log))

    call = Call(Starlette(routes=[Route("/", handler)]))
    await asyncio.sleep(1)
    call.leave()
    await call.running
    assert (log, call.status) == (["closed"], 499)


@on_virtual_time
async def test_while_connected_leaves_what_is_done_in_time_alone():
    async def handler(request):
        with nothing_left():
            async with while_connected(request):
                await asyncio.sleep(1)
            await asyncio.sleep(0)
        return PlainTextResponse("done")

    call = Call(Starlette(routes=[Route("/", handler)]))
    await call.running
    assert call.body_sent == b"done"


@on_virtual_time
async def test_while_connected_lets_errors_through():
    async def receive():
        await asyncio.sleep(1000)

    with pytest.raises(KeyError):
        async with while_connected(Request(Call(None).scope, receive)):
            raise KeyError


async def progress(websocket, log):
    await websocket.accept()
    async with while_connected(websocket):
        task = cooperate(endless(log))
        while not task.done():
            await asyncio.wait([task], timeout=1)
            await websocket.send_text("working")


@on_virtual_time
@pytest.mark.parametrize("wrap", [CooperativeMiddleware, lambda app: app])
async def test_progress_on_a_websocket_ends_with_it(wrap):
    log, ended = [], []
    app = FastAPI()

    @app.websocket("/")
    async def tell(websocket: WebSocket):
        try:
            await progress(websocket, log)
        except WebSocketDisconnect as error:
            ended.append((error.code, error.reason))
            raise

    call = Call(wrap(app), kind="websocket")
    await asyncio.sleep(3)
    assert [message["type"] for message in call.sent][:2] == [
        "websocket.accept",
        "websocket.send",
    ]
    call.to_app.put_nowait({"type": "websocket.receive", "text": "is dropped"})
    call.to_app.put_nowait({"type": "websocket.disconnect", "code": 1001, "reason": "bye"})
    with contextlib.suppress(WebSocketDisconnect):
        await call.running
    assert ended == [(1001, "bye")]


# What the application owns


@on_virtual_time
async def test_handlers_find_the_applications_own_cooperator_and_place():
    seen = []

    async def handler(request):
        seen.append((request.state.cooperator, request.state.place))
        return PlainTextResponse(str(request.state.cooperator.running))

    own = Cooperator(name="own", max_tasks=3)
    app = app_of(handler, cooperator=own, place=offload.threads)
    async with Server(app) as server:
        assert server.scope["state"]["cooperator"] is own
        first, second = server.call(), server.call()
        await first.running
        await second.running
        assert first.body_sent == b"True"
        place = server.scope["state"]["place"]
        assert seen == [(own, place)] * 2
        assert list(await offload_values(place)) == [0, 1, 2]
    assert not own.running
    with pytest.raises(RuntimeError, match="cannot open a source on a left place"):
        place.open(range, 3)


async def offload_values(place):
    source = place.open(range, 3)
    try:
        return await source.next_batch(10)
    finally:
        await source.close()


@on_virtual_time
async def test_an_application_can_live_again():
    seen = []

    async def handler(request):
        seen.append(request.state.place)
        await request.state.cooperator.cooperate(iter(range(3)))
        return PlainTextResponse("yes")

    app = app_of(handler, place=offload.threads)
    for _ in range(2):
        async with Server(app) as server:
            call = server.call()
            await call.running
            assert call.status == 200
    assert len(set(seen)) == 2


@on_virtual_time
async def test_where_nobody_tells_of_the_start_it_is_with_the_first_request():
    seen = []

    async def handler(request):
        seen.append((request.state.cooperator.running, request.state.place))
        return PlainTextResponse("yes")

    app = app_of(handler, place=offload.threads)
    await Call(app).running
    await Call(app).running
    assert seen[0] == seen[1]
    await seen[0][1].__aexit__(None, None, None)


def test_an_application_can_be_called_on_one_loop_after_the_other():
    async def handler(request):
        await request.state.cooperator.cooperate(iter(range(3)))
        return PlainTextResponse("yes")

    app = app_of(handler)
    for _ in range(2):

        async def main():
            call = Call(app)
            await call.running
            assert call.status == 200

        asyncio.run(main())


@on_virtual_time
@pytest.mark.parametrize("has_state", [True, False])
async def test_an_application_without_a_life_gets_one(has_state):
    async def app(scope, receive, send):
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def silent(scope, receive, send):
        if scope["type"] == "http":
            await app(scope, receive, send)

    for inner in (app, silent):
        async with Server(CooperativeMiddleware(inner), has_state=has_state) as server:
            call = server.call()
            await call.running
            assert call.status == 200
        assert server.sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@on_virtual_time
async def test_an_application_that_fails_to_start_ends_what_was_started():
    own = Cooperator()

    @contextlib.asynccontextmanager
    async def lifespan(_):
        raise KeyError("no database")
        yield

    server = Server(CooperativeMiddleware(Starlette(lifespan=lifespan), own))
    await server.start()
    assert server.sent == ["lifespan.startup.failed"]
    with pytest.raises(KeyError, match="no database"):
        await server.living
    assert not own.running


@on_virtual_time
async def test_a_place_that_cannot_be_entered_fails_the_start():
    class Broken:
        async def __aenter__(self):
            raise OSError("no processes")

        async def __aexit__(self, *_):
            raise AssertionError

    server = Server(CooperativeMiddleware(Starlette(), place=Broken))
    await server.start()
    assert server.sent == ["lifespan.startup.failed"]
    with pytest.raises(OSError, match="no processes"):
        await server.living


# Too much


@on_virtual_time
async def test_too_much_at_a_time_is_answered_by_503():
    log = []

    async def handler(request):
        await request.state.cooperator.cooperate(endless(log))

    app = app_of(handler, cooperator=Cooperator(max_tasks=1), retry_after=7)
    first = Call(app)
    await asyncio.sleep(1)
    second = Call(app)
    await second.running
    assert (second.status, second.headers["retry-after"]) == (503, "7")
    assert json.loads(second.body_sent) == {
        "detail": "too much is being computed; try again later"
    }
    first.leave()
    await first.running


@on_virtual_time
async def test_what_is_too_much_in_the_middle_of_an_answer_is_an_error():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise SchedulerFull

    with pytest.raises(SchedulerFull):
        await Call(CooperativeMiddleware(app)).running


@on_virtual_time
async def test_an_applications_own_handler_comes_first():
    async def handler(_):
        raise SchedulerFull

    async def tell(_, __):
        return PlainTextResponse("later", 429)

    inner = Starlette(routes=[Route("/", handler)], exception_handlers={SchedulerFull: tell})
    call = Call(CooperativeMiddleware(inner))
    await call.running
    assert call.status == 429


@on_virtual_time
async def test_a_websocket_is_closed_when_there_is_too_much():
    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})
        raise SchedulerFull

    call = Call(CooperativeMiddleware(app), kind="websocket")
    await call.running
    assert call.sent[-1]["type"] == "websocket.close"
    assert call.sent[-1]["code"] == 1013


@on_virtual_time
async def test_a_disconnection_that_is_raised_for_a_request_is_an_error():
    async def app(scope, receive, send):
        raise WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect):
        await Call(CooperativeMiddleware(app)).running


# The end


@on_virtual_time
async def test_what_is_under_way_may_end_by_itself():
    log = []

    def job():
        yield asyncio.sleep(3)
        log.append("job")

    async def handler(request):
        request.state.cooperator.cooperate(job())
        await asyncio.sleep(2)
        log.append("request")
        return PlainTextResponse("yes")

    server = Server(app_of(handler))
    await server.start()
    call = server.call()
    await asyncio.sleep(1)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await server.stop()
    assert 1.9 < loop.time() - began < 2.1
    assert log == ["request", "job"]
    assert call.status == 200


@on_virtual_time
async def test_what_does_not_end_is_ended_after_the_grace(caplog):
    log = []

    async def handler(request):
        request.state.cooperator.cooperate(endless(log, "job"))
        await request.state.cooperator.cooperate(endless(log, "request"))

    server = Server(app_of(handler, grace=2.0))
    await server.start()
    call = server.call()
    await asyncio.sleep(1)
    began = asyncio.get_running_loop().time()
    await server.stop()
    assert 2 <= asyncio.get_running_loop().time() - began < 2.1
    assert sorted(log) == ["job", "request"]
    assert (call.status, call.headers["retry-after"]) == (503, "5")
    assert b"the server is about to end" in call.body_sent
    assert caplog.messages == [
        "ending 1 requests and 2 tasks, 2 seconds after the application was to end"
    ]


@on_virtual_time
async def test_a_stream_that_does_not_end_is_cut(caplog):
    log = []

    async def handler(_):
        return BatchesResponse(endless(log))

    server = Server(app_of(handler, grace=2.0))
    await server.start()
    call = server.call()
    await asyncio.sleep(2)
    await server.stop()
    await call.running
    assert log == ["closed"]
    assert not call.is_complete


@on_virtual_time
async def test_a_task_that_another_ends_is_not_stopped_again(caplog):
    log = []

    def first(others):
        try:
            while True:
                yield asyncio.sleep(1)
        finally:
            others[0].stop()

    async def handler(request):
        others = []
        cooperator = request.state.cooperator
        cooperator.cooperate(first(others))
        others.append(cooperator.cooperate(endless(log)))
        return PlainTextResponse("yes")

    server = Server(app_of(handler, grace=1.0))
    await server.start()
    await server.call().running
    await asyncio.sleep(1.5)
    await server.stop()
    assert log == ["closed"]


@on_virtual_time
async def test_several_requests_are_waited_for():
    async def handler(request):
        await asyncio.sleep(float(request.url.path[1:]))
        return PlainTextResponse("yes")

    app = Starlette(
        routes=[Route("/{_}", handler)], middleware=[Middleware(CooperativeMiddleware)]
    )
    server = Server(app)
    await server.start()
    calls = [server.call(f"/{seconds}") for seconds in (1, 2, 3)]
    await asyncio.sleep(0.5)
    await server.stop()
    assert [call.status for call in calls] == [200] * 3


@on_virtual_time
async def test_a_websocket_that_does_not_end_is_closed():
    async def app(scope, receive, send):
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            await asyncio.sleep(1000)

    server = Server(CooperativeMiddleware(app, grace=1.0))
    await server.start()
    call = server.call(kind="websocket")
    await asyncio.sleep(2)
    await server.stop()
    assert call.sent[-1]["code"] == 1013


@on_virtual_time
async def test_a_request_that_does_not_let_itself_be_cancelled_is_not_waited_for(caplog):
    async def app(scope, receive, send):
        if scope["type"] == "http":
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(1000)
            await asyncio.sleep(1000)

    server = Server(CooperativeMiddleware(app, grace=1.0))
    await server.start()
    call = server.call()
    await asyncio.sleep(1)
    began = asyncio.get_running_loop().time()
    await server.stop()
    assert asyncio.get_running_loop().time() - began == pytest.approx(2.0, abs=0.01)
    assert caplog.messages[-1] == "1 cancelled requests have not ended"
    await call.running


@on_virtual_time
async def test_an_end_that_is_cancelled_goes_on():
    log = []

    async def handler(request):
        request.state.cooperator.cooperate(endless(log))
        return PlainTextResponse("yes")

    server = Server(app_of(handler, grace=2.0))
    await server.start()
    await server.call().running
    began = asyncio.get_running_loop().time()
    server.to_app.put_nowait({"type": "lifespan.shutdown"})
    await asyncio.sleep(1)
    server.living.cancel()
    with pytest.raises(asyncio.CancelledError):
        await server.living
    assert log == ["closed"]
    assert asyncio.get_running_loop().time() - began == pytest.approx(2.0, abs=0.01)


# Signals


@contextlib.contextmanager
def handling(number, handler):
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@on_virtual_time
async def test_a_signal_begins_the_end_while_the_server_waits_for_requests(caplog):
    log = []

    async def handler(request):
        cooperate(endless(log, "job of the loop"))
        await request.state.cooperator.cooperate(endless(log, "request"))

    def handle(*_):
        log.append("signal")

    with handling(signal.SIGTERM, handle):
        server = Server(app_of(handler, grace=2.0))
        await server.start()
        call = server.call()
        await asyncio.sleep(1)
        signal.raise_signal(signal.SIGTERM)
        assert log == ["signal"]
        await asyncio.sleep(1.9)
        assert log == ["signal"]
        await asyncio.sleep(0.2)
        assert log == ["signal", "request", "job of the loop"]
        await call.running
        await server.stop()
        assert signal.getsignal(signal.SIGTERM) is handle


@on_virtual_time
@pytest.mark.parametrize("after_sigterm", [True, False])
async def test_ctrl_c_ends_everything_at_once(caplog, after_sigterm):
    log = []

    async def handler(request):
        request.state.cooperator.cooperate(endless(log, "job"))
        await request.state.cooperator.cooperate(endless(log, "request"))

    with handling(signal.SIGTERM, lambda *_: None), handling(signal.SIGINT, lambda *_: None):
        server = Server(app_of(handler, grace=100.0))
        await server.start()
        call = server.call()
        await asyncio.sleep(1)
        if after_sigterm:
            signal.raise_signal(signal.SIGTERM)
            server.to_app.put_nowait({"type": "lifespan.shutdown"})
            await asyncio.sleep(10)
            assert log == []
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(0.1)
        assert sorted(log) == ["job", "request"]
        assert call.status == 503
        await (server.living if after_sigterm else server.stop())
    assert caplog.messages == [
        "ending 1 requests and 2 tasks, 0 seconds after the application was to end"
    ]


@on_both_loops
async def test_ctrl_c_cancels_what_computes_on_any_loop():
    ended = []

    def busy():
        try:
            while True:
                yield
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def handler(_):
        await cooperate(busy())

    with handling(signal.SIGINT, lambda *_: None):
        async with Server(app_of(handler)) as server:
            call = server.call()
            await asyncio.sleep(0.1)
            signal.raise_signal(signal.SIGINT)
            await call.running
            assert call.status == 503
    assert ended == ["cancelled"]


@on_virtual_time
async def test_after_a_signal_an_idle_application_has_nothing_to_end(caplog):
    own = Cooperator()
    with handling(signal.SIGTERM, lambda *_: None):
        server = Server(CooperativeMiddleware(Starlette(), own, grace=1.0))
        await server.start()
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(2)
        assert not own.running
        await server.stop()
    assert caplog.messages == []


@on_virtual_time
async def test_a_signal_handler_that_the_server_installs_late_is_called_too():
    log = []

    async def handler(_):
        await asyncio.sleep(10)

    server = Server(app_of(handler, grace=2.0))
    await server.start()
    with handling(signal.SIGTERM, lambda *_: log.append("signal")):
        call = server.call()
        await asyncio.sleep(1)
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(2.1)
        assert (log, call.status) == (["signal"], 503)
        await server.stop()


@on_virtual_time
async def test_what_a_signal_does_by_default_is_left_as_it_is():
    with handling(signal.SIGTERM, signal.SIG_DFL):
        async with Server(CooperativeMiddleware(Starlette())):
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@on_virtual_time
async def test_a_handler_that_came_after_ours_is_left_as_it_is():
    def late(*_):
        raise AssertionError

    with handling(signal.SIGTERM, lambda *_: None):
        server = Server(CooperativeMiddleware(Starlette()))
        await server.start()
        signal.signal(signal.SIGTERM, late)
        await server.stop()
        assert signal.getsignal(signal.SIGTERM) is late


@on_virtual_time
async def test_a_signal_after_the_end_is_the_servers():
    log = []
    with handling(signal.SIGTERM, lambda *_: log.append("signal")):
        server = Server(CooperativeMiddleware(Starlette()))
        await server.start()
        ours = signal.getsignal(signal.SIGTERM)
        await server.stop()
        ours(signal.SIGTERM, None)
        assert log == ["signal"]


def test_a_signal_before_the_start_has_nothing_to_end():
    lifetime = Lifetime(None, None, 1.0, 5)
    lifetime.begin_to_end()
    assert lifetime.refusal == "too much is being computed; try again later"


def test_in_another_thread_signals_are_left_alone():
    before = signal.getsignal(signal.SIGINT)

    async def main():
        async with Server(CooperativeMiddleware(Starlette())):
            assert signal.getsignal(signal.SIGINT) is before

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join()


# Answers


def answering(make, **options):
    async def handler(_):
        return make()

    return Call(Starlette(routes=[Route("/", handler)]), **options)


@on_virtual_time
@pytest.mark.parametrize("streamed", [False, True])
async def test_an_array_is_sent_in_pieces(streamed):
    rows = [{"number": number} for number in range(5000)]
    call = answering(lambda: JSONArrayResponse(rows, streamed=streamed, seconds=1e-6))
    await call.running
    assert json.loads(call.body_sent) == rows
    assert call.headers["content-type"] == "application/json"
    assert (call.headers.get("content-length") is None) == streamed
    if not streamed:
        assert int(call.headers["content-length"]) == len(call.body_sent)
    assert len(call.sent) > 3
    assert call.is_complete


@on_virtual_time
@pytest.mark.parametrize("streamed", [False, True])
async def test_an_array_of_nothing_is_sent(streamed):
    call = answering(lambda: JSONArrayResponse([], streamed=streamed))
    await call.running
    assert call.body_sent == b"[]"


@on_virtual_time
async def test_a_status_headers_and_a_media_type_are_sent():
    def make():
        return JSONArrayResponse(
            [1], status_code=201, headers={"X-A": "b"}, media_type="application/geo+json"
        )

    call = answering(make)
    await call.running
    assert call.status == 201
    assert call.headers["x-a"] == "b"
    assert call.headers["content-type"] == "application/geo+json"


@on_virtual_time
async def test_what_fails_before_the_first_piece_has_a_status_of_its_own():
    def rows():
        raise HTTPException(404, "no such table")
        yield

    for make in (
        lambda: JSONArrayResponse(rows(), streamed=True),
        lambda: JSONArrayResponse(rows()),
        lambda: BatchesResponse(rows()),
    ):
        call = answering(make)
        await call.running
        assert (call.status, call.body_sent) == (404, b"no such table")


@on_virtual_time
async def test_what_fails_later_cuts_the_answer():
    def lines():
        yield "first"
        yield asyncio.sleep(1)
        raise KeyError("a bug")

    call = answering(lambda: BatchesResponse(lines()))
    with pytest.raises(KeyError, match="a bug"):
        await call.running
    assert call.body_sent == b"first"
    assert not call.is_complete


@on_virtual_time
@pytest.mark.parametrize("line", ["é\n", "é\n".encode()])
async def test_text_and_bytes_are_streamed(line):
    call = answering(lambda: BatchesResponse([line] * 2500, "text/csv", max_batch_size=1000))
    await call.running
    assert call.body_sent == "é\n".encode() * 2500
    assert call.headers["content-type"] == "text/csv; charset=utf-8"
    assert len(call.sent) == 5


@on_virtual_time
@pytest.mark.parametrize(
    "make",
    [
        lambda log: JSONArrayResponse(endless(log)),
        lambda log: JSONArrayResponse(endless(log), streamed=True),
        lambda log: BatchesResponse(endless(log)),
    ],
)
async def test_what_is_sent_is_closed_when_the_client_leaves(make):
    log = []
    call = answering(lambda: make(log))
    await asyncio.sleep(3)
    assert log == []
    with nothing_left():
        call.leave()
        await call.running
        assert log == ["closed"]


@on_virtual_time
async def test_what_is_sent_is_closed_when_sending_fails():
    log = []

    async def fail(message):
        if message["type"] == "http.response.body":
            raise ValueError("middleware")

    call = answering(lambda: BatchesResponse(endless(log)), send=fail)
    with pytest.raises(ValueError, match="middleware"):
        await call.running
    assert log == ["closed"]


@on_virtual_time
async def test_a_server_that_says_that_the_client_has_gone_is_believed():
    log = []

    async def fail(message):
        if message["type"] == "http.response.body":
            raise OSError

    call = answering(lambda: BatchesResponse(endless(log)), send=fail)
    await call.running
    assert log == ["closed"]


@on_virtual_time
async def test_a_client_that_takes_too_long_is_given_up(caplog):
    caplog.set_level(logging.INFO)
    log = []

    async def take_long(message):
        await asyncio.sleep(100)

    call = answering(lambda: BatchesResponse(endless(log), patience=30), send=take_long)
    await call.running
    assert log == ["closed"]
    assert len(call.sent) == 1  # the beginning, which it did not take
    assert "gave up on a client that took nothing for 30 seconds" in caplog.messages


@on_virtual_time
async def test_a_background_task_is_run_afterwards():
    done = []

    def make():
        task = BackgroundTask(lambda: done.append("done"))
        return JSONArrayResponse([1], background=task)

    call = answering(make)
    await call.running
    assert (call.is_complete, done) == (True, ["done"])


@on_virtual_time
async def test_answers_are_computed_by_the_applications_own_cooperator():
    own, other = Cooperator(), Cooperator()
    for given, expected in ((None, own), (other, other)):

        async def handler(_, given=given):
            return BatchesResponse(
                endless([]), cooperator=given, name="rows", weight=2, group="customer"
            )

        call = Call(app_of(handler, cooperator=own))
        await asyncio.sleep(1)
        [task] = expected.tasks
        assert (task.name, task.weight) == ("rows", 2)
        call.leave()
        await call.running


@on_virtual_time
async def test_fastapi_takes_these_answers_as_they_are():
    app = FastAPI()

    @app.get("/")
    async def get() -> JSONArrayResponse:
        return JSONArrayResponse([{"a": 1}])

    call = Call(app)
    await call.running
    assert call.body_sent == b'[{"a":1}]'


# Arguments


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"cooperator": 5}, TypeError, "cooperator must be a Cooperator or None, got 5"),
        ({"place": 5}, TypeError, "place must be a function that returns a place, .* got 5"),
        ({"grace": -1}, ValueError, "grace must be a finite number of at least 0, got -1"),
        ({"retry_after": 0.5}, TypeError, "retry_after must be an integer of at least 0"),
    ],
)
def test_what_an_application_cannot_own_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        CooperativeMiddleware(None, **options)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: JSONArrayResponse({}), TypeError, "rows must be an iterable of rows, got {}"),
        (lambda: JSONArrayResponse([], patience=0), ValueError, "patience must be a finite"),
        (lambda: BatchesResponse([], max_batch_size=0), ValueError, "max_batch_size must be"),
        (lambda: BatchesResponse([], max_seconds=0), ValueError, "max_seconds must be a fin"),
    ],
)
def test_arguments_of_answers_are_checked(make, error, message):
    with pytest.raises(error, match=message):
        make()
