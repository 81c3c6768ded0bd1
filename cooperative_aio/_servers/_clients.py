"""The client of an ASGI server, whose going away is noticed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from starlette.types import Message, Receive

__all__ = ["Client", "is_last"]

ATTENTION: Final = 0.05  # seconds after which it is looked whether a client is still there


def is_last(message: Message) -> bool:
    """Tell whether a message of an application ends its answer."""
    kinds = {"http.response.body", "http.response.pathsend"}
    return message["type"] in kinds and not message.get("more_body", False)


class Client:
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
