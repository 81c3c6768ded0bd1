"""Compute in Starlette and FastAPI applications, or in any other that speaks ASGI.

    from cooperative_aio.starlette import CooperativeMiddleware, JSONArrayResponse

    app = FastAPI()
    app.add_middleware(CooperativeMiddleware)


    @app.get("/rows")
    async def get_rows():
        return JSONArrayResponse(rows())

Needs `cooperative-aio[starlette]`.

==================================== ==================================================
`CooperativeMiddleware`              ends the work of a client that goes away; owns a
                                     Cooperator, and a place to offload to; ends all that
                                     in time at shutdown; answers SchedulerFull by 503
`JSONArrayResponse`                  a JSON array, made in pieces
`BatchesResponse`                    text that is streamed as it is made
`while_connected`                    ends what is inside when the client goes away
==================================== ==================================================
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final, Unpack

from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from cooperative_aio import Cooperator
from cooperative_aio._json_array import Dumps, Rows, compact
from cooperative_aio._options import TaskOptions
from cooperative_aio._servers._bodies import Body, Lines, array_body, text_body
from cooperative_aio._servers._middleware import CooperativeMiddleware
from cooperative_aio._servers._requests import Answering, ClientLostError, while_waiting

__all__ = ["BatchesResponse", "CooperativeMiddleware", "JSONArrayResponse", "while_connected"]

CLIENT_CLOSED_REQUEST: Final = 499  # what servers log; nobody is there to read it


@asynccontextmanager
async def while_connected(connection: Request | WebSocket) -> AsyncIterator[None]:
    """Cancel what is inside when the client goes away.

    For a WebSocket that tells of progress, and for requests where there is no
    `CooperativeMiddleware`. What the client sends meanwhile is dropped; the body of a
    request must have been read before, or be of no interest.

    Args:
        connection: A Request or a WebSocket, which has been accepted.

    Raises:
        HTTPException: The client has gone away before its request was answered. (The
            status is 499; there is nobody to see it.)
        WebSocketDisconnect: The client has closed the WebSocket.

    Cancellation: cancels what is inside.
    """
    async with _while_connected(connection.receive) as (inside, last):
        yield
    if inside.reason is None:
        return
    if last[0]["type"] == "http.disconnect":
        raise HTTPException(CLIENT_CLOSED_REQUEST)
    raise WebSocketDisconnect(last[0].get("code", 1005), last[0].get("reason"))


@asynccontextmanager
async def _while_connected(receive: Receive) -> AsyncIterator[tuple[Answering, list[Message]]]:
    """Cancel what is inside when the client goes away, quietly; yield what tells of that."""
    last: list[Message] = []

    async def until_gone() -> None:
        while not last:
            message = await receive()
            if message["type"] in {"http.disconnect", "websocket.disconnect"}:
                last.append(message)

    async with while_waiting(until_gone) as inside:
        yield inside, last


class _BodyResponse(Response):
    """Send a body piece by piece, and close what makes it however this ends."""

    media_type: str | None

    def __init__(
        self,
        made: Body,
        status_code: int,
        headers: Mapping[str, str] | None,
        media_type: str | None,
        background: BackgroundTask | None,
    ) -> None:
        self.status_code = status_code
        self.media_type = self.media_type if media_type is None else media_type
        self.background = background
        self.init_headers(headers)
        self._made = made

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; until the first piece, what goes wrong has a status of its own.

        Raises:
            BaseException: What making the body raises.

        Cancellation: closes what makes the body.
        """

        async def begin(length: int | None) -> None:
            known = [] if length is None else [(b"content-length", str(length).encode())]
            headers = [*self.raw_headers, *known]
            start = {"type": "http.response.start", "status": self.status_code}
            await send({**start, "headers": headers})

        async def write(piece: bytes) -> None:
            await send({"type": "http.response.body", "body": piece, "more_body": True})

        async def end() -> None:
            await send({"type": "http.response.body", "body": b""})

        is_wanted = scope["method"] != "HEAD"
        cooperator = scope.get("state", {}).get("cooperator")
        async with _while_connected(receive):
            with suppress(ClientLostError):
                await self._made.send(begin, write, end, cooperator, is_wanted=is_wanted)
        if self.background is not None:
            await self.background()


class JSONArrayResponse(_BodyResponse):
    """A JSON array that is made in pieces, so that other requests do not wait for it.

        @app.get("/orders")
        async def orders():
            return JSONArrayResponse(all_orders())

    Args:
        rows: What is in the array: any iterable, such as a list; a generator, whose
            values but None are taken, and whose awaitables are waited on; an asynchronous
            iterable, such as a database's cursor; or a source that a place has opened. A
            table of pandas or polars is cut by rows, and `dumps` is given tables.
        dumps: Encodes a list of rows, as `json.dumps`, `orjson.dumps` and the `dump_json`
            of pydantic's `TypeAdapter(list[Row])` do. By default it is the standard
            library's, as compact as Starlette's.
        streamed: Send the pieces as they are made; what fails then cuts the answer short.
            Otherwise all are made before the first is sent.
        seconds: How many seconds making a piece should take; a row is never cut.
        status_code: The status.
        headers: More headers.
        media_type: In place of `application/json`.
        background: What to call when the answer has been sent.
        cooperator: What makes the pieces: by default the application's own, if there is a
            `CooperativeMiddleware`, and else the running loop's.
        patience: Seconds after which a client that takes nothing is given up; None to
            wait for ever.
        **options: Those of the task, such as `name` and `weight`: see `TaskOptions`.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A number is out of range.

    Cancellation: when the client goes away, or the request is cancelled, the generator of
    the rows is closed.
    """

    media_type: str | None = "application/json"

    def __init__(
        self,
        rows: Rows,
        dumps: Dumps = compact,
        *,
        streamed: bool = False,
        seconds: float = 0.001,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: BackgroundTask | None = None,
        cooperator: Cooperator | None = None,
        patience: float | None = None,
        **options: Unpack[TaskOptions],
    ) -> None:
        body = array_body(
            *(rows, dumps, cooperator, patience, options),
            streamed=streamed,
            seconds=seconds,
        )
        super().__init__(body, status_code, headers, media_type, background)


class BatchesResponse(_BodyResponse):
    """Text that is sent as it is made: an export, lines of JSON, server-sent events.

        @app.get("/orders.csv")
        async def export():
            return BatchesResponse(lines_of_csv(), media_type="text/csv")

    Args:
        lines: An iterable of str or bytes, such as a generator; an asynchronous one; or a
            source that a place has opened. What there is of it is put together and sent.
        media_type: The media type of the answer; `text/plain` by default.
        max_batch_size: How many lines are put together at most.
        max_seconds: Seconds after which what there is is sent.
        status_code: The status.
        headers: More headers.
        background: What to call when the answer has been sent.
        cooperator: The Cooperator that steps it: by default the application's own, if there
            is a `CooperativeMiddleware`, and else the running loop's.
        patience: Seconds after which a client that takes nothing is given up; None to
            wait for ever.
        **options: Those of the task, such as `name` and `weight`: see `TaskOptions`.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A number is out of range.

    Cancellation: when the client goes away, or the request is cancelled, the generator of
    the lines is closed.
    """

    media_type: str | None = "text/plain"

    def __init__(
        self,
        lines: Lines,
        media_type: str | None = None,
        *,
        max_batch_size: int = 1000,
        max_seconds: float = 0.1,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
        cooperator: Cooperator | None = None,
        patience: float | None = None,
        **options: Unpack[TaskOptions],
    ) -> None:
        body = text_body(
            *(lines, cooperator, patience, options),
            max_batch_size=max_batch_size,
            max_seconds=max_seconds,
        )
        super().__init__(body, status_code, headers, media_type, background)
