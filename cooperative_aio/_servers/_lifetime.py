"""What an application of a web server owns from its start to its end, whatever the server."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final

from cooperative_aio import CooperativeTask, Cooperator, get_cooperator
from cooperative_aio._checks import check_count, check_finite, quote
from cooperative_aio._servers._requests import Answering
from cooperative_aio._servers._signals import Endings

__all__ = ["Lifetime"]

TOO_MUCH: Final = "too much is being computed; try again later"
ENDING: Final = "the server is about to end; try again later"
CLEAN_UP: Final = 1.0  # seconds for requests to end that were cancelled

logger: Final = logging.getLogger("cooperative_aio")


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
            raise TypeError(f"cooperator must be a Cooperator or None, got {quote(cooperator)}")
        if place is not None and not callable(place):
            raise TypeError(
                "place must be a function that returns a place, such as"
                f" offload.processes, got {quote(place)}"
            )
        check_count("retry_after", retry_after, least=0)
        self.grace = check_finite("grace", grace, positive=False)
        self.retry_after = str(retry_after)
        self.cooperator = cooperator or Cooperator(name="application")
        self.place: Any = None
        self._make_place = place
        self._entered: AbstractAsyncContextManager[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting: asyncio.Future[None] | None = None
        self._requests: set[Answering] = set()
        self._no_requests: asyncio.Future[None] | None = None
        self._ending: asyncio.Future[None] | None = None
        self._deadline = math.inf  # when what is under way is to be ended
        self._timer: asyncio.TimerHandle | None = None
        self._patience: asyncio.Timeout | None = None  # for what may end by itself
        self._endings = Endings(self._on_ending)
        self._process_ends = False
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
        return TOO_MUCH if self._deadline == math.inf else ENDING

    # The start

    async def serve(self) -> None:
        """Prepare for a request: start, where the server has not said that it does.

        Cancellation: what is being started goes on.
        """
        if self._loop is not asyncio.get_running_loop():
            await self.start()
        elif self._starting is not None:  # on behalf of another request
            await asyncio.shield(self._starting)
        if not self._has_served:
            self._has_served = True
            self._endings.listen()  # some servers install their handlers that late

    async def start(self) -> None:
        """Start on the running loop: let tasks run, enter the place.

        Cancellation: what is being started goes on.
        """
        self._loop = asyncio.get_running_loop()
        self._requests.clear()  # of a loop that is over
        self._deadline = math.inf
        self._starting = self._timer = self._no_requests = self._ending = None
        self._process_ends = self._has_served = False
        self.cooperator.start()
        if self._make_place is not None:
            self._starting = asyncio.ensure_future(self._enter(self._make_place))
            await asyncio.shield(self._starting)
        self._endings.listen()

    async def _enter(self, make_place: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        try:
            entered = make_place()
            self.place = await entered.__aenter__()
            self._entered = entered
        except BaseException:
            self._loop = None
            raise
        finally:
            self._starting = None

    # The end

    def _on_ending(self, number: int) -> None:
        self._process_ends = True
        self.begin_to_end(0.0 if number == signal.SIGINT else self.grace)

    def begin_to_end(self, grace: float | None = None) -> None:
        """Give what is under way so many seconds from now, or fewer if that was said before."""
        if self._loop is None:
            return
        grace = self.grace if grace is None else grace
        deadline = self._loop.time() + grace
        if deadline >= self._deadline:
            return
        self._cancel_timer()
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

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _tasks(self) -> list[CooperativeTask[Any]]:
        """Return what is to end with the application."""
        cooperators = {self.cooperator}
        if self._process_ends:  # and with it whatever else is on the loop
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

    async def _end(self) -> None:
        try:
            await self._wait_for_requests()
        finally:
            self._patience = None
            self._cancel_timer()
            for task in self._tasks():
                if not task.done():  # by what closing another has done
                    task.stop()
            self.cooperator.stop()
            entered, self._entered, self.place = self._entered, None, None
            try:
                if entered is not None:
                    await entered.__aexit__(None, None, None)
            finally:
                self._endings.ignore()
                self._loop = self._ending = None

    async def _wait_for_requests(self) -> None:
        """Wait for requests and tasks until the deadline, then for cancelled requests."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._deadline) as self._patience:
                await self._until_no_request()
                while tasks := self._tasks():
                    await asyncio.wait(tasks)
        self._patience = None
        try:
            async with asyncio.timeout_at(self._deadline + CLEAN_UP):
                await self._until_no_request()
        except TimeoutError:
            logger.warning("%d cancelled requests have not ended", len(self._requests))

    async def _until_no_request(self) -> None:
        while self._requests:
            self._no_requests = asyncio.get_running_loop().create_future()
            await self._no_requests
