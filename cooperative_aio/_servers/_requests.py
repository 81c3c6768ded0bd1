"""The code that answers one request: cancelled from elsewhere, and sending what it makes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, Literal, Protocol, Self

from cooperative_aio import SchedulerFull, SchedulerStopped, TaskStopped

__all__ = ["Answering", "ClientLostError", "Reason", "sending", "while_waiting"]

Reason = Literal["gone", "shutdown"]

logger: Final = logging.getLogger("cooperative_aio")


class ClientLostError(Exception):
    """A client has gone, or takes nothing for too long."""


@asynccontextmanager
async def sending(patience: float | None) -> AsyncIterator[None]:
    """Send something, for so many seconds at most.

    Raises:
        ClientLostError: The client has gone, or that took too long.

    Cancellation: cancels the sending.
    """
    try:
        async with asyncio.timeout(patience) as limit:
            yield
    except OSError:  # a TimeoutError is one
        if limit.expired():
            logger.info("gave up on a client that took nothing for %g seconds", patience)
        raise ClientLostError from None


class Requests(Protocol):
    """Who keeps the requests that are under way."""

    def add(self, request: Answering) -> None:
        """Note that a request is under way."""

    def discard(self, request: Answering) -> None:
        """Note that it is not any more."""


class Answering:
    """The code that answers one request: it can be cancelled from elsewhere, quietly.

    Args:
        requests: The application's, if that owns what computes; then what it refuses to
            compute is no error.
        has_begun: Tells whether the client has been sent something.

    Attributes:
        reason: Why the code was cancelled; None if it was not.
        is_refused: Whether the client is to be told to come again.
    """

    def __init__(
        self,
        requests: Requests | None = None,
        has_begun: Callable[[], bool] = lambda: False,
    ) -> None:
        self.reason: Reason | None = None
        self.is_refused = False
        self._requests = requests
        self._has_begun = has_begun
        self._timeout = asyncio.timeout(None)  # a scope to cancel, without a time

    def cancel(self, reason: Reason) -> None:
        """Cancel what is inside, once."""
        if self.reason is None:
            self.reason = reason
            self._timeout.reschedule(asyncio.get_running_loop().time())

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        if self._requests is not None:
            self._requests.add(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Leave; a cancellation by `cancel` ends here.

        Cancellation: does not suspend.
        """
        is_over = False
        try:
            await self._timeout.__aexit__(kind, error, traceback)
        except TimeoutError:
            is_over = True
        if self._requests is None:
            return is_over
        self._requests.discard(self)
        is_ending = self.reason == "shutdown"
        is_full = isinstance(error, (SchedulerFull, SchedulerStopped))
        self.is_refused = (is_full or is_ending) and not self._has_begun()
        # Where cleaning up takes too long, what is awaited is stopped after the cancellation.
        was_stopped = is_ending and isinstance(error, TaskStopped)
        return is_over or was_stopped or (is_full and self.is_refused)


@asynccontextmanager
async def while_waiting(
    until_gone: Callable[[], Awaitable[object]],
) -> AsyncIterator[Answering]:
    """Cancel what is inside, quietly, when waiting for the client to go is over.

    Raises:
        BaseException: What waiting has raised, when what is inside has ended by itself.

    Cancellation: cancels what is inside.
    """

    async def wait() -> None:
        await until_gone()
        inside.cancel("gone")

    async with Answering() as inside:
        waiting = asyncio.create_task(wait())
        try:
            yield inside
        finally:
            waiting.cancel()
            await asyncio.wait([waiting])
            error = None if waiting.cancelled() else waiting.exception()
    if error is not None:
        raise error
