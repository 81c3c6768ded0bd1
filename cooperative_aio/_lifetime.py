"""What an application of a web server owns from its start to its end, whatever the server."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, Final, Literal, Self

from cooperative_aio import CooperativeTask, Cooperator, get_cooperator
from cooperative_aio._checks import check_count, check_finite

__all__ = ["Answering", "ClientLostError", "Lifetime", "sending"]

TOO_MUCH: Final = "too much is being computed; try again later"
ENDING: Final = "the server is about to end; try again later"
CLEAN_UP: Final = 1.0  # seconds for requests to end that were cancelled

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
        async with asyncio.timeout(patience):
            yield
    except TimeoutError:
        logger.info("gave up on a client that took nothing for %g seconds", patience)
        raise ClientLostError from None
    except OSError:
        raise ClientLostError from None


class Answering:
    """The code that answers one request: it can be cancelled from elsewhere, quietly."""

    def __init__(self, lifetime: Lifetime | None = None) -> None:
        self.reason: Reason | None = None
        self._lifetime = lifetime
        self._timeout = asyncio.timeout(None)  # a scope to cancel, without a time

    def cancel(self, reason: Reason) -> None:
        """Cancel what is inside, once."""
        if self.reason is None:
            self.reason = reason
            self._timeout.reschedule(asyncio.get_running_loop().time())

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        if self._lifetime is not None:
            self._lifetime.add(self)
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
        if self._lifetime is not None:
            self._lifetime.discard(self)
        try:
            await self._timeout.__aexit__(kind, error, traceback)
        except TimeoutError:
            return True
        return False


class Lifetime:
    """What an application owns from its start to its end, and its requests under way.

    Args:
        cooperator: The application's own; None to make one.
        place: Returns a new place to offload to, if there is to be one.
        grace: Seconds that what is under way may go on when the application is to end; after
            SIGINT, which is Ctrl-C, it may not.
        retry_after: Seconds after which a client that was refused may come again.
    """

    def __init__(
        self,
        cooperator: Cooperator | None,
        place: Callable[[], AbstractAsyncContextManager[Any]] | None,
        grace: float,
        retry_after: int,
    ) -> None:
        if cooperator is not None and not isinstance(cooperator, Cooperator):
            raise TypeError(f"cooperator must be a Cooperator or None, got {cooperator!r}")
        if place is not None and not callable(place):
            raise TypeError(
                "place must be a function that returns a place, such as"
                f" offload.processes, got {place!r}"
            )
        check_count("retry_after", retry_after, least=0)
        self.grace = check_finite("grace", grace, positive=False)
        self.retry_after = str(retry_after)
        self.cooperator = cooperator or Cooperator(name="application")
        self.place: Any = None
        self._make_place = place
        self._entered: AbstractAsyncContextManager[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._requests: set[Answering] = set()
        self._no_requests: asyncio.Future[None] | None = None
        self._ending: asyncio.Future[None] | None = None
        self._deadline: float | None = None  # when what is under way is to be ended
        self._timer: asyncio.Handle | None = None
        self._patience: asyncio.Timeout | None = None  # for what may end by itself
        self._signals: dict[int, tuple[Callable[..., Any], Any]] = {}
        self._signalled = False
        self._has_served = False

    # The requests

    def add(self, request: Answering) -> None:
        """Note that a request is under way."""
        self._requests.add(request)

    def discard(self, request: Answering) -> None:
        """Note that it is not any more."""
        self._requests.discard(request)
        waiter = self._no_requests
        if not self._requests and waiter is not None and not waiter.done():
            waiter.set_result(None)

    @property
    def refusal(self) -> str:
        """Why a request is answered by 503."""
        return TOO_MUCH if self._deadline is None else ENDING

    # The start

    async def serve(self) -> None:
        """Prepare for a request: start, where the server has not said that it does.

        Cancellation: starts nothing.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            await self.start()
        if not self._has_served:
            self._has_served = True
            self._listen_for_signals(loop)  # some servers install their handlers that late

    async def start(self) -> None:
        """Start, if that has not been done on this loop: let tasks run, enter the place.

        Cancellation: starts nothing.
        """
        self._loop = loop = asyncio.get_running_loop()
        self._requests.clear()  # of a loop that is over
        self._deadline = self._timer = self._no_requests = self._ending = None
        self._signalled = self._has_served = False
        self.cooperator.start()
        if self._make_place is not None:
            self._entered = self._make_place()
            try:
                self.place = await self._entered.__aenter__()
            except BaseException:
                self._loop = self._entered = None
                raise
        self._listen_for_signals(loop)

    def _listen_for_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        """Learn of a signal that ends the process as soon as the server does.

        Servers wait for requests before they tell the application of the end. What a signal
        does besides is left as it is: the handler that was there is called.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.getsignal(number)
            ours, _ = self._signals.get(number, (None, None))
            if callable(before) and before is not ours:
                handler = self._handler(loop, before)
                self._signals[number] = handler, before
                signal.signal(number, handler)

    def _handler(
        self, loop: asyncio.AbstractEventLoop, before: Callable[[int, FrameType | None], Any]
    ) -> Callable[[int, FrameType | None], Any]:
        def handle(number: int, frame: FrameType | None) -> None:
            if self._loop is loop and not loop.is_closed():
                loop.call_soon_threadsafe(self._on_signal, number)
            before(number, frame)

        return handle

    def _stop_listening(self) -> None:
        for number, (ours, before) in self._signals.items():
            if signal.getsignal(number) is ours:
                signal.signal(number, before)
        self._signals.clear()

    # The end

    def _on_signal(self, number: int) -> None:
        self._signalled = True
        self.begin_to_end(0.0 if number == signal.SIGINT else self.grace)

    def begin_to_end(self, grace: float | None = None) -> None:
        """Give what is under way so many seconds from now, or fewer if that was said before."""
        if self._loop is None:
            return
        grace = self.grace if grace is None else grace
        deadline = self._loop.time() + grace
        if self._deadline is not None and deadline >= self._deadline:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._deadline = deadline
        self._timer = self._loop.call_at(deadline, self._cut_short, grace)
        if self._patience is not None:
            self._patience.reschedule(deadline)

    async def end(self) -> None:
        """Let what is under way be done, for some seconds; then end it, and leave the place.

        Cancellation: all that goes on all the same.
        """
        if self._loop is not None:
            self.begin_to_end()
            await asyncio.shield(self._ended())

    def _ended(self) -> asyncio.Future[None]:
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end())
        return self._ending

    def _tasks(self) -> list[CooperativeTask[Any]]:
        """Return what is to end with the application."""
        cooperators = {self.cooperator}
        if self._signalled:  # the process ends, and with it whatever else is on the loop
            cooperators.add(get_cooperator())
        return [task for cooperator in cooperators for task in cooperator.tasks]

    def _cut_short(self, grace: float) -> None:
        tasks = self._tasks()
        if tasks or self._requests:
            logger.warning(
                "ending %d requests and %d tasks, %g seconds after the application was to end",
                *(len(self._requests), len(tasks), grace),
            )
        for request in list(self._requests):
            request.cancel("shutdown")
        self._ended()

    async def _until_no_request(self) -> None:
        while self._requests:
            self._no_requests = asyncio.get_running_loop().create_future()
            await self._no_requests

    async def _end(self) -> None:
        assert self._deadline is not None  # noqa: S101
        assert self._timer is not None  # noqa: S101
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._deadline) as self._patience:
                    await self._until_no_request()
                    while tasks := self._tasks():
                        await asyncio.wait(tasks)
            self._patience = None
            async with asyncio.timeout_at(self._deadline + CLEAN_UP):
                await self._until_no_request()
        except TimeoutError:
            logger.warning("%d cancelled requests have not ended", len(self._requests))
        finally:
            self._patience = None
            self._timer.cancel()
            for task in self._tasks():
                if not task.done():  # by what closing another has done
                    task.stop()
            self.cooperator.stop()
            entered, self._entered, self.place = self._entered, None, None
            try:
                if entered is not None:
                    await entered.__aexit__(None, None, None)
            finally:
                self._stop_listening()
                self._loop = self._ending = None
