"""An ASGI application around another, which owns what that computes with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from cooperative_aio import Cooperator
from cooperative_aio._servers._clients import Client, is_last
from cooperative_aio._servers._lifetime import Lifetime
from cooperative_aio._servers._requests import Answering

__all__ = ["CooperativeMiddleware"]

TRY_AGAIN_LATER: Final = 1013  # of a WebSocket


class CooperativeMiddleware:
    """Middleware that owns an application's Cooperator, and ends work that is not wanted.

        app = FastAPI()
        app.add_middleware(CooperativeMiddleware)  # the last, so that it is outside of others

        @app.get("/primes")
        async def primes(request: Request):
            cooperator = request.state.cooperator
            return list(await batch_accumulate(1000, prime_numbers(), cooperator))

    For any other ASGI application: `app = CooperativeMiddleware(app)`. It does this:

    * A client that goes away: the code that answers its request is cancelled.
    * `request.state.cooperator` is a Cooperator, and `request.state.place` a place to offload
      to, both from the application's start to its end.
    * SchedulerFull, and SchedulerStopped: the answer is 503, with `Retry-After`, unless the
      application itself has an answer.
    * The end, on any server: requests, streams and tasks may go on for `grace` seconds after
      SIGTERM, and not at all after Ctrl-C; then requests are cancelled, tasks are stopped,
      their generators are closed, and the server ends. (uvicorn takes
      `--timeout-graceful-shutdown` to end while a client takes nothing.)

    Args:
        app: An ASGI application.
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
        if scope["type"] == "http":
            await self._answer_request(scope, receive, send)
        else:
            await self._answer_websocket(scope, receive, send)

    async def _answer_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal begun
            begun = True
            if is_last(message):
                client.ignore()  # what comes now is said to every client
            await send(message)

        async with Answering(self._lifetime, lambda: begun) as request:
            client = Client(receive, lambda: request.cancel("gone"))
            try:
                await self.app(scope, client.receive, send_and_note)
            finally:
                client.ignore()
        if request.is_refused:
            await self._refusal()(scope, receive, send)

    async def _answer_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with Answering(self._lifetime) as socket:
            with suppress(WebSocketDisconnect):
                await self.app(scope, receive, send)
        if socket.is_refused:
            await self._close(send)

    def _refusal(self) -> JSONResponse:
        return JSONResponse(
            {"detail": self._lifetime.refusal},
            *(503, {"Retry-After": self._lifetime.retry_after}),
        )

    async def _close(self, send: Send) -> None:
        reason = self._lifetime.refusal
        await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": reason})
