"""Compute in aiohttp's servers.

    from cooperative_aio.aiohttp import json_array_response, setup

    async def get_rows(request):
        return await json_array_response(request, rows())

    app = web.Application()
    app.router.add_get("/rows", get_rows)
    setup(app)

Needs `cooperative-aio[aiohttp]`.

==================================== ==================================================
`setup`                              ends the work of a client that goes away; owns a
                                     Cooperator, and a place to offload to; ends all that
                                     in time at shutdown; answers SchedulerFull by 503
`COOPERATOR`, `PLACE`                the keys of these two in the application
`json_array_response`                a JSON array, made in pieces
`batches_response`                   text that is streamed as it is made
`while_connected`                    ends what is inside when a WebSocket is closed
==================================== ==================================================
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Final, Unpack

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from cooperative_aio import Cooperator
from cooperative_aio._json_array import Dumps, Rows, compact
from cooperative_aio._options import TaskOptions
from cooperative_aio._servers._bodies import Body, Lines, array_body, text_body
from cooperative_aio._servers._lifetime import Lifetime
from cooperative_aio._servers._requests import Answering, ClientLostError, while_waiting

__all__ = [
    "COOPERATOR",
    "PLACE",
    "batches_response",
    "json_array_response",
    "setup",
    "while_connected",
]

COOPERATOR: Final = web.AppKey("COOPERATOR", Cooperator)
"""The key of the application's own Cooperator: `request.config_dict[COOPERATOR]`."""

PLACE: Final[web.AppKey[Any]] = web.AppKey("PLACE", object)
"""The key of the application's place to offload to, or of None."""

BEGUN: Final[Any] = (  # under which a request has its prepared response
    web.RequestKey("BEGUN", web.StreamResponse)
    if hasattr(web, "RequestKey")
    else "cooperative_aio.begun"
)
ATTENTION: Final = 0.1  # seconds between two looks at whether the clients are still there

# The application


def setup(
    app: web.Application,
    cooperator: Cooperator | None = None,
    *,
    place: Callable[[], AbstractAsyncContextManager[Any]] | None = None,
    grace: float = 5.0,
    retry_after: int = 5,
) -> None:
    """Give an application a Cooperator of its own, and end work that is not wanted.

        async def primes(request):
            cooperator = request.config_dict[COOPERATOR]
            return web.json_response(list(await accumulate(prime_numbers(), cooperator)))

        app = web.Application()
        app.router.add_get("/primes", primes)
        setup(app)

    Call it before the application runs. It does this:

    * A client that goes away: the code that answers its request is cancelled, with and
      without aiohttp's `handler_cancellation`. That of a WebSocket is not: see
      `while_connected`.
    * `request.config_dict[COOPERATOR]` is a Cooperator, and `request.config_dict[PLACE]`
      a place to offload to, from the application's start to its end.
    * SchedulerFull, and SchedulerStopped: the answer is 503, with `Retry-After`.
    * The end: requests, streams and tasks may go on for `grace` seconds, and not at all
      after Ctrl-C; then requests are cancelled, tasks are stopped, their generators are
      closed, and the server ends.

    Args:
        app: The application.
        cooperator: The application's own; by default a new one. Give one to set a limit:
            `Cooperator(max_tasks=200)`.
        place: Returns the place to offload to, such as `offload.processes`; None if there
            is to be none.
        grace: Seconds that what is under way may go on at the end. It should be less than
            what the server, and whatever supervises that, allow. What has to be killed at
            the place takes that place's own `grace` besides.
        retry_after: Seconds after which a client that was refused shall come again.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A number is out of range.
        RuntimeError: The application has been started already.
    """
    if app.frozen:
        raise RuntimeError("cannot set up an application that has started; do it before")
    lifetime = Lifetime(cooperator, place, grace, retry_after)

    async def start(app: web.Application) -> None:
        await lifetime.start()
        app[PLACE] = lifetime.place

    async def begin_to_end(_: web.Application) -> None:
        lifetime.begin_to_end()

    async def end(_: web.Application) -> None:
        await lifetime.end()

    app[COOPERATOR] = lifetime.cooperator
    app.middlewares.insert(0, _answering(lifetime))
    app.on_response_prepare.insert(0, _note)
    app.on_startup.insert(0, start)
    app.on_shutdown.insert(0, begin_to_end)
    app.on_cleanup.insert(0, end)  # before anything is closed that tasks may use


def _answering(lifetime: Lifetime) -> Middleware:
    """Return what is called for each request of an application."""
    clients = _Clients()

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        await lifetime.serve()
        async with Answering(lifetime, lambda: BEGUN in request) as inside:
            with clients.watched(request, inside):
                return await handler(request)
        if BEGUN not in request:
            return _refusal(lifetime)
        if request.transport is not None:
            request.transport.abort()  # else what was sent would look complete
        response: web.StreamResponse = request[BEGUN]
        return response

    return answer


async def _note(request: web.Request, response: web.StreamResponse) -> None:
    request[BEGUN] = response


def _refusal(lifetime: Lifetime) -> web.Response:
    return web.json_response(
        {"detail": lifetime.refusal}, status=503, headers={"Retry-After": lifetime.retry_after}
    )


class _Clients:
    """The clients whose requests are under way, looked after as long as there are some."""

    def __init__(self) -> None:
        self._requests: dict[Answering, web.Request] = {}
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def watched(self, request: web.Request, inside: Answering) -> Iterator[None]:
        """Cancel what answers a request when its client has gone."""
        self._requests[inside] = request
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(ATTENTION, self._look)
        try:
            yield
        finally:
            del self._requests[inside]

    def _look(self) -> None:
        for inside, request in self._requests.items():
            is_socket = isinstance(request.get(BEGUN), web.WebSocketResponse)
            if request.transport is None and not is_socket:
                inside.cancel("gone")
        self._timer = None
        if self._requests:
            self._timer = asyncio.get_running_loop().call_later(ATTENTION, self._look)


@asynccontextmanager
async def while_connected(socket: web.WebSocketResponse) -> AsyncIterator[None]:
    """Cancel the `async with` block when the client closes a WebSocket, and go on after it.

    For sockets that tell of progress. What the client sends meanwhile is dropped.

    Args:
        socket: A WebSocket that has been prepared.

    Raises:
        RuntimeError: Another coroutine reads from the socket.

    Cancellation: cancels what is inside.
    """

    async def until_closed() -> None:
        async for _ in socket:
            pass

    async with while_waiting(until_closed):
        yield


# Answers


async def json_array_response(
    request: web.Request,
    rows: Rows,
    dumps: Dumps = compact,
    *,
    streamed: bool = False,
    seconds: float = 0.001,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
    cooperator: Cooperator | None = None,
    patience: float | None = None,
    **options: Unpack[TaskOptions],
) -> web.StreamResponse:
    """Answer with a JSON array that is made in pieces, so that other requests do not wait.

    Args:
        request: The request.
        rows: What is in the array: any iterable, such as a list; a generator, whose
            values but None are taken, and whose awaitables are waited on; an asynchronous
            iterable, such as a database's cursor; or a source that a place has opened. A
            table of pandas or polars is cut by rows, and `dumps` is given tables.
        dumps: Encodes a list of rows, as `json.dumps`, `orjson.dumps` and the `dump_json`
            of pydantic's `TypeAdapter(list[Row])` do. By default it is the standard
            library's, without spaces.
        streamed: Send the pieces as they are made; what fails then cuts the answer short.
            Otherwise all are made before the first is sent.
        seconds: How many seconds making a piece should take; a row is never cut.
        status: The status.
        headers: More headers.
        content_type: The media type of the answer.
        cooperator: What makes the pieces: by default the application's own, if there was a
            `setup`, and else the running loop's.
        patience: Seconds after which a client that takes nothing is given up; None to
            wait for ever.
        **options: Those of the task, such as `name` and `weight`: see `TaskOptions`.

    Returns:
        The response, which has been sent.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A number is out of range.
        SchedulerFull: The Cooperator has `max_tasks` unfinished tasks.
        BaseException: What making the rows raises.

    Cancellation: closes the generator of the rows.
    """
    body = array_body(
        *(rows, dumps, cooperator, patience, options),
        streamed=streamed,
        seconds=seconds,
    )
    response = web.StreamResponse(status=status, headers=headers)
    response.content_type = content_type
    return await _send(request, response, body)


async def batches_response(
    request: web.Request,
    lines: Lines,
    content_type: str = "text/plain",
    *,
    max_batch_size: int = 1000,
    max_seconds: float = 0.1,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    cooperator: Cooperator | None = None,
    patience: float | None = None,
    **options: Unpack[TaskOptions],
) -> web.StreamResponse:
    """Answer with text that is sent as it is made: an export, server-sent events.

    Args:
        request: The request.
        lines: An iterable of str or bytes, such as a generator; an asynchronous one; or a
            source that a place has opened. What there is of it is put together and sent.
        content_type: The media type of the answer.
        max_batch_size: How many lines are put together at most.
        max_seconds: Seconds after which what there is is sent.
        status: The status.
        headers: More headers.
        cooperator: The Cooperator that steps it: by default the application's own, if there
            was a `setup`, and else the running loop's.
        patience: Seconds after which a client that takes nothing is given up; None to
            wait for ever.
        **options: Those of the task, such as `name` and `weight`: see `TaskOptions`.

    Returns:
        The response, which has been sent.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A number is out of range.
        SchedulerFull: The Cooperator has `max_tasks` unfinished tasks.
        BaseException: What making the lines raises.

    Cancellation: closes the generator of the lines.
    """
    body = text_body(
        *(lines, cooperator, patience, options),
        max_batch_size=max_batch_size,
        max_seconds=max_seconds,
    )
    response = web.StreamResponse(status=status, headers=headers)
    response.content_type = content_type
    if content_type.startswith("text/"):
        response.charset = "utf-8"
    return await _send(request, response, body)


async def _send(
    request: web.Request, response: web.StreamResponse, body: Body
) -> web.StreamResponse:
    async def begin(length: int | None) -> None:
        response.content_length = length
        await response.prepare(request)

    cooperator = request.config_dict.get(COOPERATOR)
    is_wanted = request.method != "HEAD"
    try:
        await body.send(
            *(begin, response.write, response.write_eof, cooperator), is_wanted=is_wanted
        )
    except ClientLostError:
        if request.transport is not None:
            request.transport.abort()
    return response
