"""Monitor: an ASGI application that shows what the Cooperators of its loop do."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qs

from cooperative_aio._cooperator import Cooperator
from cooperative_aio._errors import SchedulerError
from cooperative_aio._watch import LoopLag, Watch
from cooperative_aio.monitor._page import page
from cooperative_aio.monitor._snapshot import Numbers, lag_after, picture

__all__ = ["Monitor"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
ACTIONS: Final = ("pause", "resume", "stop")
SHORTEST_TOKEN: Final = 16


class _Refused(Exception):
    """Say why a request is refused."""

    def __init__(self, status: int, reason: str, **headers: str) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers


class Monitor:
    """Show the tasks of a loop, and its lag, on a page; an ASGI application.

    To be entered on the loop that is to be shown, and served or mounted there. What it
    shows tells about your program, so it answers only requests for `hosts`, which also
    keeps out pages that have a name of theirs resolve to this machine.

    Without a token it only shows. With one, tasks can be paused, resumed and stopped by
    who knows it: it has to come in the header `Authorization: Bearer ...` of a POST, which
    no page of another origin can send.

    Args:
        cooperators: Which Cooperators to show; by default the loop's own, and all others
            that were seen to have tasks on the loop.
        token: What allows to pause, resume and stop tasks: at least 16 characters, as of
            `secrets.token_urlsafe()`. By default nobody may.
        hosts: The names, without ports, under which it may be asked; those of the loopback
            interface by default.
        most: The number of tasks of a Cooperator that are shown.
        interval: Seconds between two measurements of the lag.

    Raises:
        TypeError: What was given is no Cooperator, or of another wrong kind.
        ValueError: The token is too short to be a secret, or a number is out of range.
    """

    def __init__(
        self,
        *cooperators: Cooperator,
        token: str | None = None,
        hosts: Iterable[str] = LOOPBACK,
        most: int = 200,
        interval: float = 0.1,
    ) -> None:
        if token is not None and (len(token) < SHORTEST_TOKEN or not token.isascii()):
            raise ValueError(
                f"token must be at least {SHORTEST_TOKEN} ASCII characters,"
                f" got {len(token)}; take secrets.token_urlsafe()"
            )
        if isinstance(hosts, str):
            raise TypeError(f"hosts must be an iterable of names, got {hosts!r}")
        if most < 1:
            raise ValueError(f"most must be at least 1, got {most!r}")
        self._watch = Watch(cooperators, LoopLag(interval))
        self._token = token
        self._hosts = frozenset(host.lower() for host in hosts)
        self._most = most
        self._numbers = Numbers()

    async def __aenter__(self) -> Self:
        """Begin to watch the running loop.

        Cancellation: does not suspend.
        """
        await self._watch.__aenter__()
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
        await self._watch.__aexit__(kind, error, traceback)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an ASGI request.

        Raises:
            RuntimeError: It is none for HTTP.

        Cancellation: the answer is not complete.
        """
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"cannot answer a {scope['type']} request; HTTP only")
        try:
            await self._answer(scope, send)
        except _Refused as refusal:
            body = {"error": str(refusal)}
            await _send_json(send, body, refusal.status, refusal.headers)

    async def _answer(self, scope: Scope, send: Send) -> None:
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        self._check_host(headers.get("host", ""))
        root = scope.get("root_path", "")
        path = scope["path"].removeprefix(root) if root else scope["path"]
        match [part for part in path.split("/") if part]:
            case []:
                _check_method(scope, "GET", "HEAD")
                if not scope["path"].endswith("/"):  # its own requests are relative
                    raise _Refused(307, "with a slash", location=f"{scope['path']}/")
                await _send_page(send, with_body=scope["method"] == "GET")
            case ["state"]:
                _check_method(scope, "GET")
                since = _queried_number(scope, "since")
                await _send_json(send, await self._state(since))
            case ["tasks", number, action] if action in ACTIONS:
                _check_method(scope, "POST")
                self._check_token(headers)
                await _send_json(send, self._act(number, action))
            case _:
                raise _Refused(404, "there is nothing of that name")

    def _check_host(self, host: str) -> None:
        name = host.lower()
        if ":" in name.rpartition("]")[2]:  # an address of IPv6 stands in brackets
            name = name.rpartition(":")[0]
        if name not in self._hosts:
            raise _Refused(
                403, f"cannot be asked as {host[:100]!r}; the monitor's hosts= names who may"
            )

    def _check_token(self, headers: Mapping[str, str]) -> None:
        if self._token is None:
            raise _Refused(403, "cannot change tasks; the monitor was started without a token")
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(
            given.strip().encode(), self._token.encode()
        ):
            refusal = {"www-authenticate": "Bearer"}
            raise _Refused(401, "the token is missing or not the right one", **refusal)

    async def _state(self, since: float) -> dict[str, Any]:
        cooperators = self._watch.cooperators()
        pictures = [
            await picture(name, cooperator, self._numbers, self._most)
            for name, cooperator in cooperators.items()
        ]
        lag = self._watch.lag
        return {
            "now": time.perf_counter(),
            "may_change": self._token is not None,
            "cooperators": pictures,
            "lag": {"interval": lag.interval, "samples": lag_after(lag, since)},
        }

    def _act(self, number: str, action: str) -> dict[str, str]:
        is_number = number.isascii() and number.isdigit() and len(number) < SHORTEST_TOKEN
        task = self._numbers.task(int(number)) if is_number else None
        if task is None:
            raise _Refused(404, "the task has ended, or there was none")
        try:
            getattr(task, action)()
        except SchedulerError as error:
            raise _Refused(409, str(error)) from None
        return {"done": action, "name": task.name}


async def _live(receive: Receive, send: Send) -> None:
    """Tell a server that there is nothing to be started or ended."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _check_method(scope: Scope, *methods: str) -> None:
    if scope["method"] not in methods:
        allowed = ", ".join(methods)
        raise _Refused(405, f"the method must be {allowed}", allow=allowed)


def _queried_number(scope: Scope, name: str) -> float:
    text = parse_qs(scope["query_string"].decode("latin-1")).get(name, ["-inf"])[0]
    try:
        return float(text)
    except ValueError:
        raise _Refused(400, f"{name} must be a number, got {text[:40]!r}") from None


async def _send_page(send: Send, *, with_body: bool) -> None:
    document, policy = page()
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-length": str(len(document)),
        "content-security-policy": policy,
    }
    await _send(send, document if with_body else b"", 200, headers)


async def _send_json(
    send: Send, value: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> None:
    body = json.dumps(value).encode()
    await _send(
        send,
        body,
        status,
        {
            "content-type": "application/json",
            "content-length": str(len(body)),
            **(headers or {}),
        },
    )


async def _send(send: Send, body: bytes, status: int, headers: Mapping[str, str]) -> None:
    always = {
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "cross-origin-resource-policy": "same-origin",
    }
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (name.encode("latin-1"), value.encode("latin-1"))
                for name, value in {**headers, **always}.items()
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
