"""How the pacer's next turn comes about where the loop is a browser's.

On asyncio and uvloop a turn is one `call_soon`, and the pacer knows a quiet loop by its short
turns. In a browser that fails twice: each `call_soon` is a message, and messages go before
timers and frames, so that a pacer which waits for quiet turns floods the page; and the clock
there is rounded to 0.1 ms, too coarse to tell a short turn from a long one.

The browser's own scheduler knows without a clock when nothing else wants to run. What
`scheduler.postTask` is given at the priority "background" comes after messages, timers, input
and frames. So **the first such turn counts as quiet**. Where there is no such scheduler,
`setTimeout` takes its place: it comes after the messages and timers that are there already.

A page that is never idle would put off such a turn for ever. So a timer brings one now and
then, which does not count as quiet: the pacer then looks whether it has waited long enough.

Node takes turns as asyncio does (timers and sockets come between them) and has a fine clock,
so nothing of this is needed there.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextvars import Context
from typing import Any

__all__ = ["OVERDUE", "LateTurn", "LateTurns", "late_turns_of"]

OVERDUE = 0.01
"""After how many seconds a turn comes that the browser has not found the time for."""


class LateTurn:
    """A turn that was asked for, as the pacer holds it."""

    __slots__ = ("_callback", "_context", "_handle", "_loop")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        callback: Callable[[], object],
        context: Context,
    ) -> None:
        self._loop = loop
        self._callback: Callable[[], object] | None = callback
        self._context = context
        self._handle: asyncio.Handle | None = None

    def cancel(self) -> None:
        """Take it back, if it has not come; then it keeps nothing alive."""
        self._callback = None
        if self._handle is not None:
            self._handle.cancel()

    def come(self) -> bool:
        """Have the loop take the turn; tell whether it is still wanted."""
        if self._callback is None:
            return False
        # By call_soon, so that errors, contexts and the running loop are the loop's affair.
        self._handle = self._loop.call_soon(self._callback, context=self._context)
        return True


class LateTurns:
    """Turns that come when a browser has nothing else to do, one at a time.

    Args:
        loop: The loop that takes them.
        post: Has the browser call a function when it has nothing else to do. It is given
            the same function every time.

    Attributes:
        quiet: Whether the last turn came because nothing else wanted to run.
    """

    __slots__ = ("_is_posted", "_loop", "_post", "_timer", "_wanted", "quiet")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, post: Callable[[Callable[..., None]], object]
    ) -> None:
        self._loop = loop
        self._post = post
        self._is_posted = False  # also what was cancelled comes: no second one is needed
        self._timer: asyncio.TimerHandle | None = None
        self._wanted: LateTurn | None = None
        self.quiet: bool = False

    def call(self, callback: Callable[[], object], context: Context) -> LateTurn:
        """Have the loop call, once there is nothing else to do."""
        self._wanted = LateTurn(self._loop, callback, context)
        if not self._is_posted:
            self._is_posted = True
            self._post(self._arrive)
        if self._timer is None:
            self._timer = self._loop.call_later(OVERDUE, self._look, context=context)
        return self._wanted

    def _arrive(self, *_: object) -> None:
        self._is_posted = False
        self._come(quiet=True)

    def _look(self) -> None:
        self._timer = None
        self._come(quiet=False)

    def _come(self, *, quiet: bool) -> None:
        wanted, self._wanted = self._wanted, None
        if wanted is not None and wanted.come():
            self.quiet = quiet


def late_turns_of(loop: asyncio.AbstractEventLoop) -> LateTurns | None:
    """Return how turns come late on `loop`; None where `call_soon` is all that it takes."""
    if sys.platform != "emscripten":
        return None
    return _in_browser(loop)


def _in_browser(loop: asyncio.AbstractEventLoop) -> LateTurns | None:
    import js  # noqa: PLC0415 (there is none elsewhere)
    from pyodide.ffi import create_proxy, to_js  # noqa: PLC0415
    from pyodide.webloop import WebLoop  # noqa: PLC0415

    process: Any = getattr(js, "process", None)
    if not isinstance(loop, WebLoop) or hasattr(getattr(process, "versions", None), "node"):
        return None
    scheduler: Any = getattr(js, "scheduler", None)
    proxies: list[Any] = []  # one for good: to make one for each turn costs more than the turn

    def proxy(function: Callable[..., None]) -> Any:
        if not proxies:
            proxies.append(create_proxy(function))
        return proxies[0]

    if not hasattr(scheduler, "postTask"):
        return LateTurns(loop, lambda function: js.setTimeout(proxy(function), 0))
    background = to_js({"priority": "background"}, dict_converter=js.Object.fromEntries)
    return LateTurns(loop, lambda function: scheduler.postTask(proxy(function), background))
