"""Monitor: an ASGI application that shows what the Cooperators of its loop do."""

from __future__ import annotations

import functools
import hmac
import itertools
import time
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cooperative_aio._checks import check_finite, quote
from cooperative_aio._cooperator import Cooperator
from cooperative_aio._errors import SchedulerError
from cooperative_aio._legible import legible
from cooperative_aio._watch import LoopLag, Watch
from cooperative_aio._watchdog import Stall, Watchdog
from cooperative_aio.monitor._page import page
from cooperative_aio.monitor._snapshot import (
    SORTS,
    Recent,
    Selection,
    describe_failure,
    describe_place,
    describe_stalls,
    lag_after,
    picture,
)

__all__ = ["Monitor"]

LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
ACTIONS: Final = ("pause", "resume", "stop")
SHORTEST_TOKEN: Final = 16
STALLS: Final = 20  # that are remembered
ALWAYS: Final = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
}


class Monitor:
    """An ASGI application with a page that shows the tasks of a loop, and its lag.

        monitor = Monitor(hosts=["app.example.com"], read_token=secrets.token_urlsafe())
        async with monitor:  # in the lifespan of an application, which mounts it
            await asyncio.sleep(0)

    Enter it on the loop that it is to show, and serve or mount it there. The page tells
    much about your program, so it answers only requests for `hosts`. That keeps out pages
    of other sites whose names resolve to this machine. It is no lock: a program can send
    any name. If anybody else can reach it, set a `read_token`.

    Without a `token` it only shows. With one, a POST that has it in the header
    `Authorization: Bearer ...` can pause, resume and stop tasks; no page of another origin
    can send that.

    Args:
        cooperators: Which Cooperators to show; by default the loop's own, and all others
            that were seen to have tasks on the loop.
        token: A secret of at least 16 characters, such as `secrets.token_urlsafe()`, that
            allows to pause, resume and stop tasks, and to read. Without it, that is
            impossible.
        read_token: A secret that allows to read. Without it, reading needs none.
        hosts: The host names, without ports, that requests may be for; those of the loopback
            interface by default. `*.example.com` is for all names below that one.
        places: Places to offload to whose workers to show; by default those that are
            entered on the loop.
        most: The number of tasks of a Cooperator that are shown.
        interval: Seconds between two measurements of the lag.
        spike: From how many seconds of lag on to show what held the loop, which a thread
            finds out. None for never, and no thread.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A token is too short to be a secret, or a number is out of range.
    """

    def __init__(
        self,
        *cooperators: Cooperator,
        token: str | None = None,
        read_token: str | None = None,
        hosts: Iterable[str] = LOOPBACK,
        places: Iterable[object] = (),
        most: int = 200,
        interval: float = 0.1,
        spike: float | None = 0.1,
    ) -> None:
        _check_token("token", token)
        _check_token("read_token", read_token)
        if isinstance(hosts, str):
            raise TypeError(f"hosts must be an iterable of names, got {quote(hosts)}")
        if most < 1:
            raise ValueError(f"most must be at least 1, got {quote(most)}")
        if spike is not None:
            check_finite("spike", spike, positive=True)
        self._watch = Watch(cooperators, LoopLag(interval), places=places)
        self._token = token
        self._readers = [one for one in (read_token, token) if read_token and one]
        self._most = most
        self._spike = spike
        self._recent = Recent(self._watch.history)
        self._stalls: deque[tuple[int, Stall]] = deque(maxlen=STALLS)
        self._numbers = itertools.count(1)
        self._watchdog: Watchdog | None = None
        self._hosts: tuple[str, ...] = tuple(hosts)
        self._app: ASGIApp = self._answering_as(*self._hosts)

    def _answering_as(self, *hosts: str) -> ASGIApp:
        """Return an application that shows the same under these names."""
        return Starlette(
            routes=[
                Route("/", self._send_page),
                Route("/state", self._send_state),
                *(
                    Route(
                        f"/tasks/{{number}}/{action}",
                        functools.partial(self._act, action),
                        methods=["POST"],
                    )
                    for action in ACTIONS
                ),
            ],
            middleware=[
                Middleware(_OneHost),
                Middleware(
                    TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False
                ),
            ],
            exception_handlers={HTTPException: _refuse},
        )

    async def __aenter__(self) -> Self:
        """Begin to watch the running loop.

        Cancellation: does not suspend.
        """
        await self._watch.__aenter__()
        if self._spike is not None:
            self._watchdog = Watchdog(self._watch.lag, self._spike, tell=self._remember)
            await self._watchdog.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Watch no more.

        Cancellation: does not suspend.
        """
        if self._watchdog is not None:
            await self._watchdog.__aexit__(kind, error, traceback)
        await self._watch.__aexit__(kind, error, traceback)

    def _remember(self, stall: Stall) -> None:
        self._stalls.append((next(self._numbers), stall))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an ASGI request; one for a websocket is refused.

        Raises:
            AssertionError: It is of a protocol that Starlette does not know.

        Cancellation: the answer is not complete.
        """
        await self._app(scope, receive, send)

    # What it answers

    async def _send_page(self, _: Request) -> Response:
        document, policy = page()
        headers = {"content-security-policy": policy}
        return Response(document, media_type="text/html", headers=headers)

    async def _send_state(self, request: Request) -> Response:
        if self._readers:
            _check_bearer(request, *self._readers)
        since = _queried_number(request, "since", float("-inf"))
        failed = _queried_number(request, "failed", 0)
        held = _queried_number(request, "held", 0)
        sort = request.query_params.get("sort", SORTS[0])
        if sort not in SORTS:
            raise HTTPException(400, f"sort must be one of {', '.join(SORTS)}")
        search = request.query_params.get("search", "")
        watch = self._watch
        selection = Selection(self._most, sort, search)
        self._recent.turn()
        pictures = [
            await picture(name, cooperator, watch.history, self._recent, selection)
            for name, cooperator in watch.cooperators().items()
        ]
        state = {
            "now": time.perf_counter(),
            "may_change": self._token is not None,
            "cooperators": pictures,
            "places": [
                describe_place(name, figures) for name, figures in watch.places().items()
            ],
            "lag": {"interval": watch.lag.interval, "samples": lag_after(watch.lag, since)},
            "failures": [
                describe_failure(failure)
                for failure in tuple(watch.history.failures)
                if failure.number > failed
            ],
            "stalls": list(describe_stalls(watch.lag, tuple(self._stalls), held)),
        }
        return JSONResponse(state)

    async def _act(self, action: str, request: Request) -> Response:
        if self._token is None:
            raise HTTPException(
                403, "cannot change tasks; the monitor was started without a token"
            )
        _check_bearer(request, self._token)
        task = self._recent.task(request.path_params["number"])
        if task is None:
            raise HTTPException(404, "the task has ended, or there was none")
        try:
            getattr(task, action)()
        except SchedulerError as error:
            raise HTTPException(409, legible(str(error), 500)) from None
        return JSONResponse({"done": action, "name": legible(task.name)})


class _OneHost:
    """Middleware: several Host headers count as none, and all answers have certain headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request.

        Cancellation: the answer is not complete.
        """
        hosts = [name for name, _ in scope.get("headers", ()) if name == b"host"]
        if len(hosts) > 1:
            others = [pair for pair in scope["headers"] if pair[0] != b"host"]
            scope = {**scope, "headers": others}

        async def send_all(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(ALWAYS)
            await send(message)

        await self._app(scope, receive, send_all)


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 (for the type checker)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _check_token(name: str, token: str | None) -> None:
    if token is not None and (len(token) < SHORTEST_TOKEN or not token.isascii()):
        raise ValueError(
            f"{name} must be at least {SHORTEST_TOKEN} ASCII characters,"
            f" got {len(token)}; take secrets.token_urlsafe()"
        )


def _check_bearer(request: Request, *tokens: str) -> None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    same = [hmac.compare_digest(given.strip().encode(), token.encode()) for token in tokens]
    if scheme.lower() != "bearer" or not any(same):
        raise HTTPException(
            401, "the token is missing or not the right one", {"www-authenticate": "Bearer"}
        )


def _queried_number(request: Request, name: str, default: float) -> float:
    text = request.query_params.get(name)
    try:
        return default if text is None else float(text)
    except ValueError:
        raise HTTPException(
            400, f"{name} must be a number, got {legible(text, 40)!r}"
        ) from None
