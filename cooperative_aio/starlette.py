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

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from typing import Any, Final

from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect
from typing_extensions import Unpack

from cooperative_aio import Cooperator, SchedulerFull, SchedulerStopped
from cooperative_aio._checks import check_count, check_finite
from cooperative_aio._json_array import (
    Dumps,
    TaskOptions,
    array_in_pieces,
    check_array,
    compact,
    text_in_batches,
)
from cooperative_aio._lifetime import (
    Answering,
    ClientLostError,
    Lifetime,
    sending,
)
from cooperative_aio.offload import BatchSource

__all__ = ["BatchesResponse", "CooperativeMiddleware", "JSONArrayResponse", "while_connected"]

CLIENT_CLOSED_REQUEST: Final = 499  # what servers log; nobody is there to read it
TRY_AGAIN_LATER: Final = 1013  # of a WebSocket
ATTENTION: Final = 0.05  # seconds after which it is looked whether a client is still there

# Ending, when the client goes away


class _Client:
    """A client whose messages are read ahead, so that its going away is noticed.

    At most one message of a body is read ahead. Most requests are answered before
    anything is, and pay for a timer only.

    Args:
        receive: What the server gave.
        on_gone: Called when the client has gone and the application does not wait for that.
    """

    def __init__(self, receive: Receive, on_gone: Callable[[], None]) -> None:
        self._receive = receive
        self._on_gone = on_gone
        self._ahead: deque[Message] = deque()
        self._reading: asyncio.Task[None] | None = None
        self._is_watched = False
        self._is_asking = False
        self._waiting = 0
        self._something = asyncio.Event()
        self._timer = asyncio.get_running_loop().call_later(ATTENTION, self._watch)

    def ignore(self) -> None:
        """Read ahead no more."""
        self._is_watched = False
        self._timer.cancel()
        if self._reading is not None:
            self._reading.cancel()

    async def receive(self) -> Message:
        """Return the next message, as the server's own function would.

        Cancellation: as of the server's own function.
        """
        while not self._ahead and self._reading is not None:
            self._something.clear()
            self._waiting += 1
            try:
                await self._something.wait()
            finally:
                self._waiting -= 1
        if self._ahead:
            message = self._ahead.popleft()
        else:
            self._is_asking = True
            try:
                message = await self._receive()
            finally:
                self._is_asking = False
        if message["type"] == "http.disconnect":
            self._ahead.append(message)  # there will be nothing else
        elif self._is_watched:
            self._watch()
        return message

    def _watch(self) -> None:
        self._is_watched = True
        if not (self._reading or self._ahead or self._is_asking):
            self._reading = asyncio.create_task(self._read())
            self._reading.add_done_callback(self._stop_reading)

    async def _read(self) -> None:
        is_more = False
        while not is_more:
            message = await self._receive()
            self._ahead.append(message)
            self._something.set()
            if message["type"] == "http.disconnect":
                if not self._waiting:
                    self._on_gone()
                return
            is_more = message.get("more_body", False)

    def _stop_reading(self, reading: asyncio.Task[None]) -> None:
        self._reading = None
        self._something.set()
        if not reading.cancelled():
            reading.exception()  # the server's function will raise it once more, if asked


@asynccontextmanager
async def _until_gone(receive: Receive) -> AsyncIterator[tuple[Answering, list[Message]]]:
    """Cancel what is inside when the client goes away, quietly; yield what tells of that."""
    last: list[Message] = []

    async def watch() -> None:
        while True:
            message = await receive()
            if message["type"] in {"http.disconnect", "websocket.disconnect"}:
                last.append(message)
                inside.cancel("gone")
                return

    async with Answering() as inside:
        watching = asyncio.create_task(watch())
        try:
            yield inside, last
        finally:
            watching.cancel()


@asynccontextmanager
async def while_connected(connection: HTTPConnection) -> AsyncIterator[None]:
    """Cancel the `async with` block when the client goes away.

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
    async with _until_gone(connection.receive) as (inside, last):  # type: ignore[attr-defined]
        yield
    if inside.reason is None:
        return
    if last[0]["type"] == "http.disconnect":
        raise HTTPException(CLIENT_CLOSED_REQUEST)
    raise WebSocketDisconnect(last[0].get("code", 1005), last[0].get("reason"))


# The application


class CooperativeMiddleware:
    """Middleware that owns an application's Cooperator, and ends work that is not wanted.

    In Starlette and FastAPI use `app.add_middleware(CooperativeMiddleware)`, as the last of
    them, so that it is outside of the others; for any other ASGI application
    `app = CooperativeMiddleware(app)`. It does this:

    * A client that goes away: the code that answers its request is cancelled.
    * `request.state.cooperator` is a Cooperator, and `request.state.place` a place to offload
      to, both from the application's start to its end.
    * SchedulerFull, and SchedulerStopped: the answer is 503, with `Retry-After`, unless the
      application itself has an answer.
    * The end, on any server: requests, streams and tasks may go on for `grace` seconds after
      SIGTERM, and not at all after Ctrl-C; then requests are cancelled, tasks are stopped,
      their generators are closed, and the server ends.

    Args:
        app: An ASGI application.
        cooperator: The application's own; by default a new one. Give one to set a limit:
            `Cooperator(max_tasks=200)`.
        place: A function that returns the place to offload to, such as `offload.processes`;
            None for no place.
        grace: Seconds that requests and tasks may go on at the end. It should be less than
            the server, and whatever supervises the server, allow.
        retry_after: Seconds after which a client that was refused should try again.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        app: ASGIApp,
        cooperator: Cooperator | None = None,
        *,
        place: Callable[[], AbstractAsyncContextManager[Any]] | None = None,
        grace: float = 5.0,
        retry_after: int = 5,
    ) -> None:
        self.app = app
        self._lifetime = Lifetime(cooperator, place, grace, retry_after)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or the application's life.

        Raises:
            BaseException: What the application raises.

        Cancellation: cancels the application.
        """
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = False

        async def receive_and_tell() -> Message:
            nonlocal began
            message = await receive()
            if message["type"] == "lifespan.startup":
                began = True
                try:
                    await self._lifetime.start()
                except Exception as error:
                    # Servers take an application that only raises for one without a life.
                    await send({"type": "lifespan.startup.failed", "message": repr(error)})
                    raise
                self._show(scope)
            else:
                await self._lifetime.end()
            return message

        try:
            try:
                await self.app(scope, receive_and_tell, send)
            except Exception:
                if began:
                    raise
            if not began:  # the application does not know of lives
                await receive_and_tell()
                await send({"type": "lifespan.startup.complete"})
                await receive_and_tell()
                await send({"type": "lifespan.shutdown.complete"})
        finally:
            await self._lifetime.end()

    def _show(self, scope: Scope) -> None:
        state = scope.setdefault("state", {})
        state["cooperator"] = self._lifetime.cooperator
        state["place"] = self._lifetime.place

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._lifetime.serve()
        self._show(scope)
        is_http = scope["type"] == "http"
        refuse = self._refuse if is_http else self._close
        begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal begun
            begun = True
            if client is not None and _is_last(message):
                client.ignore()  # what comes now is said to every client
            await send(message)

        client: _Client | None = None
        async with Answering(self._lifetime) as request:
            if is_http:
                client = _Client(receive, lambda: request.cancel("gone"))
                receive = client.receive
            try:
                await self.app(scope, receive, send_and_note)
            except (SchedulerFull, SchedulerStopped):
                if begun and is_http:
                    raise
                await refuse(send)
            except WebSocketDisconnect:
                if is_http:
                    raise
            finally:
                if client is not None:
                    client.ignore()
        if request.reason == "shutdown" and not (begun and is_http):
            await refuse(send)

    async def _refuse(self, send: Send) -> None:
        body = json.dumps({"detail": self._lifetime.refusal}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"retry-after", self._lifetime.retry_after.encode()),
        ]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _close(self, send: Send) -> None:
        await send(
            {
                "type": "websocket.close",
                "code": TRY_AGAIN_LATER,
                "reason": self._lifetime.refusal,
            }
        )


def _is_last(message: Message) -> bool:
    kinds = {"http.response.body", "http.response.pathsend"}
    return message["type"] in kinds and not message.get("more_body", False)


# Answers


class _PiecemealResponse(Response):
    """A response whose body is sent piece by piece; its maker is closed in any case."""

    media_type: str | None

    def __init__(
        self,
        status_code: int,
        headers: Mapping[str, str] | None,
        media_type: str | None,
        background: BackgroundTask | None,
        cooperator: Cooperator | None,
        patience: float | None,
        options: TaskOptions,
    ) -> None:
        if patience is not None:
            check_finite("patience", patience, positive=True)
        self.status_code = status_code
        self.media_type = self.media_type if media_type is None else media_type
        self.background = background
        self.init_headers(headers)
        self._cooperator = cooperator
        self._patience = patience
        self._options = options
        self._is_whole = False

    def _make(self, cooperator: Cooperator | None) -> AsyncGenerator[bytes]:
        raise NotImplementedError

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; until the first piece, what goes wrong has a status of its own.

        Raises:
            BaseException: What making the body raises.

        Cancellation: closes what makes the body.
        """
        cooperator = self._cooperator or scope.get("state", {}).get("cooperator")
        async with _until_gone(receive), aclosing(self._make(cooperator)) as made:
            with suppress(ClientLostError):
                await self._send(made, send)
        if self.background is not None:
            await self.background()

    async def _send(self, made: AsyncGenerator[bytes], send: Send) -> None:
        first = [piece async for piece in made] if self._is_whole else [await anext(made, b"")]
        headers = self.raw_headers
        if self._is_whole:
            length = str(sum(map(len, first))).encode()
            headers = [*headers, (b"content-length", length)]
        start = {"type": "http.response.start", "status": self.status_code, "headers": headers}
        await self._send_one(send, start)
        for piece in first:
            await self._send_one(send, _body(piece))
        async for piece in made:
            await self._send_one(send, _body(piece))
        await self._send_one(send, {"type": "http.response.body", "body": b""})

    async def _send_one(self, send: Send, message: Message) -> None:
        async with sending(self._patience):
            await send(message)


def _body(piece: bytes) -> Message:
    return {"type": "http.response.body", "body": piece, "more_body": True}


class JSONArrayResponse(_PiecemealResponse):
    """A JSON array that is made in pieces, so that other requests do not wait for it.

    Args:
        rows: What is in the array: any iterable, such as a list; a generator, whose
            values but None are taken, and whose awaitables are waited on; or a source
            that a place has opened.
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
        **options: `name`, `weight`, `context` and `group`, as for `Cooperator.cooperate`.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A number is out of range.

    Cancellation: when the client goes away, or the request is cancelled, the generator of
    the rows is closed.
    """

    media_type: str | None = "application/json"

    def __init__(
        self,
        rows: Iterable[Any] | BatchSource[Any],
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
        check_array(rows, dumps, seconds)
        super().__init__(
            status_code, headers, media_type, background, cooperator, patience, options
        )
        self._rows = rows
        self._dumps = dumps
        self._seconds = seconds
        self._is_whole = not streamed

    def _make(self, cooperator: Cooperator | None) -> AsyncGenerator[bytes]:
        return array_in_pieces(
            self._rows, self._dumps, self._seconds, cooperator, **self._options
        )


class BatchesResponse(_PiecemealResponse):
    """Text that is sent as it is made: an export, lines of JSON, server-sent events.

    Args:
        lines: An iterable of str or bytes, such as a generator; or a source that a place
            has opened. What there is of it is put together and sent.
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
        **options: `name`, `weight`, `context` and `group`, as for `Cooperator.cooperate`.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A number is out of range.

    Cancellation: when the client goes away, or the request is cancelled, the generator of
    the lines is closed.
    """

    media_type: str | None = "text/plain"

    def __init__(
        self,
        lines: Iterable[str | bytes | None] | BatchSource[Any],
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
        check_count("max_batch_size", max_batch_size)
        check_finite("max_seconds", max_seconds, positive=True)
        super().__init__(
            status_code, headers, media_type, background, cooperator, patience, options
        )
        self._lines = lines
        self._max_batch_size = max_batch_size
        self._max_seconds = max_seconds

    def _make(self, cooperator: Cooperator | None) -> AsyncGenerator[bytes]:
        return text_in_batches(
            *(self._lines, self._max_batch_size, self._max_seconds, cooperator),
            **self._options,
        )
