# ruff: noqa: PLC0415 (what is imported depends on which application is asked for)
"""The applications that shutdown.py has servers run, with the modules for servers and without.

All of them have /job, which computes until it is ended, /stream, which sends as long, and
/ping. When a generator is closed it says so in a file, SHUTDOWN_LOG. SHUTDOWN_APP says which
application to make, so that no other framework has to be there.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

from cooperative_aio import batches, cooperate

GRACE = 2.0  # seconds


def endless(name: str) -> Iterator[str]:
    """Compute; tell when that is over."""
    try:
        while True:
            yield "0123456789" * 10 + "\n"
    finally:
        with open(os.environ["SHUTDOWN_LOG"], "a", encoding="ascii") as log:  # noqa: PTH123
            log.write(f"{name}\n")


async def chunks() -> Any:
    async with batches(100, endless("stream"), max_seconds=0.1) as stream:
        async for batch in stream:
            yield "".join(batch)


def fastapi_plain() -> Any:
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse

    app = FastAPI()

    @app.get("/job")
    async def get_job() -> None:
        await cooperate(endless("job"))

    @app.get("/stream")
    async def get_stream() -> StreamingResponse:
        return StreamingResponse(chunks(), media_type="text/plain")

    @app.get("/ping")
    async def get_ping() -> str:
        return "pong"

    return app


def fastapi() -> Any:
    from fastapi import FastAPI, WebSocket

    from cooperative_aio.starlette import (
        BatchesResponse,
        CooperativeMiddleware,
        while_connected,
    )

    app = FastAPI()
    app.add_middleware(CooperativeMiddleware, grace=GRACE)

    @app.websocket("/socket")
    async def tell(websocket: WebSocket) -> None:
        await websocket.accept()
        async with while_connected(websocket):
            await websocket.send_text("begun")
            await cooperate(endless("socket"))

    @app.get("/job")
    async def get_job() -> None:
        await cooperate(endless("job"))

    @app.get("/stream")
    async def get_stream() -> BatchesResponse:
        return BatchesResponse(endless("stream"))

    @app.get("/ping")
    async def get_ping() -> str:
        return "pong"

    return app


def quart_plain() -> Any:
    from quart import Quart

    app = Quart(__name__)

    @app.get("/job")
    async def get_job() -> str:
        await cooperate(endless("job"))
        return ""

    @app.get("/stream")
    async def get_stream() -> Any:
        return chunks(), 200, {"Content-Type": "text/plain"}

    @app.get("/ping")
    async def get_ping() -> str:
        return "pong"

    return app


def quart() -> Any:
    from cooperative_aio.starlette import CooperativeMiddleware

    return CooperativeMiddleware(quart_plain(), grace=GRACE)


def litestar_plain() -> Any:
    from litestar import Litestar, get
    from litestar.response import Stream

    @get("/job")
    async def get_job() -> str:
        await cooperate(endless("job"))
        return ""

    @get("/stream")
    async def get_stream() -> Stream:
        return Stream(chunks(), media_type="text/plain")

    @get("/ping")
    async def get_ping() -> str:
        return "pong"

    return Litestar([get_job, get_stream, get_ping])


def litestar() -> Any:
    from cooperative_aio.starlette import CooperativeMiddleware

    return CooperativeMiddleware(litestar_plain(), grace=GRACE)


def sanic_plain() -> Any:
    from sanic import Request, Sanic, text

    app = Sanic("shutdown")
    app.config.GRACEFUL_SHUTDOWN_TIMEOUT = 3.0

    @app.get("/job")
    async def get_job(_: Request) -> Any:
        await cooperate(endless("job"))
        return text("")

    @app.get("/stream")
    async def get_stream(request: Request) -> None:
        response = await request.respond(content_type="text/plain")
        async for chunk in chunks():
            await response.send(chunk)

    @app.get("/ping")
    async def get_ping(_: Request) -> Any:
        return text("pong")

    return app


def sanic() -> Any:
    from cooperative_aio.starlette import CooperativeMiddleware

    return CooperativeMiddleware(sanic_plain(), grace=GRACE)


def aiohttp_plain() -> Any:
    from aiohttp import web

    async def get_stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async for chunk in chunks():
            await response.write(chunk.encode())
        return response

    return aiohttp_application(get_stream)


def aiohttp() -> Any:
    from aiohttp import web

    from cooperative_aio.aiohttp import batches_response, setup, while_connected

    async def tell(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        async with while_connected(websocket):
            await websocket.send_str("begun")
            await cooperate(endless("socket"))
        return websocket

    async def get_stream(request: web.Request) -> web.StreamResponse:
        return await batches_response(request, endless("stream"))

    app = aiohttp_application(get_stream)
    app.router.add_get("/socket", tell)
    setup(app, grace=GRACE)
    return app


def aiohttp_application(get_stream: Any) -> Any:
    from aiohttp import web

    async def get_job(_: web.Request) -> web.Response:
        await cooperate(endless("job"))
        return web.Response()

    async def get_ping(_: web.Request) -> web.Response:
        return web.Response(text="pong")

    app = web.Application()
    app.router.add_get("/job", get_job)
    app.router.add_get("/stream", get_stream)
    app.router.add_get("/ping", get_ping)
    return app


APPLICATIONS: dict[str, Callable[[], Any]] = {
    make.__name__: make
    for make in (
        *(fastapi, fastapi_plain, quart, quart_plain, litestar, litestar_plain),
        *(sanic, sanic_plain, aiohttp, aiohttp_plain),
    )
}


if "SHUTDOWN_APP" in os.environ:
    app = APPLICATIONS[os.environ["SHUTDOWN_APP"]]()
