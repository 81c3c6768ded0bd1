"""Learn that a server is about to end, as soon as it does.

Servers wait for requests before they tell the application of the end. So what tells them is
listened to: signals, and in hypercorn's workers, which have none, the task that waits for the
end. What a signal does besides is left as it is: the handler that was there is called.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

__all__ = ["Endings"]

Handler = Callable[[int, FrameType | None], Any]

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Endings:
    """What tells a server to end, listened to.

    Args:
        on_ending: Called on the loop, with the signal; SIGTERM where there was none.
    """

    def __init__(self, on_ending: Callable[[int], None]) -> None:
        self._on_ending = on_ending
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handlers: dict[int, tuple[Handler, Handler]] = {}  # ours, and the one before

    def listen(self) -> None:
        """Listen on behalf of the running loop, also to what is new since the last time."""
        self._loop = asyncio.get_running_loop()
        for task in _waiting_tasks():
            task.add_done_callback(self._on_waiting_done)
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            before = signal.getsignal(number)
            ours, _ = self._handlers.get(number, (None, None))
            if callable(before) and before is not ours:
                handler = self._handler(self._loop, before)
                self._handlers[number] = handler, before
                signal.signal(number, handler)

    def ignore(self) -> None:
        """Listen no more."""
        self._loop = None
        for number, (ours, before) in self._handlers.items():
            if signal.getsignal(number) is ours:
                signal.signal(number, before)
        self._handlers.clear()

    def _handler(self, loop: asyncio.AbstractEventLoop, before: Handler) -> Handler:
        def handle(number: int, frame: FrameType | None) -> None:
            if self._loop is loop and not loop.is_closed():
                loop.call_soon_threadsafe(self._on_ending, number)
            before(number, frame)

        return handle

    def _on_waiting_done(self, task: asyncio.Task[Any]) -> None:
        if task.get_loop() is self._loop:
            self._on_ending(signal.SIGTERM)


def _waiting_tasks() -> list[asyncio.Task[Any]]:
    """Return the tasks by which hypercorn waits for its end, if this is hypercorn."""
    wait = getattr(sys.modules.get("hypercorn.utils"), "raise_shutdown", None)
    code = getattr(wait, "__code__", None)
    if code is None:
        return []
    tasks = asyncio.all_tasks()
    return [task for task in tasks if getattr(task.get_coro(), "cr_code", None) is code]
