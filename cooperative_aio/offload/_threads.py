"""Generators in threads of this process: for those that wait for something."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
from collections.abc import Callable
from typing import Any, Final

from anyio import CapacityLimiter, to_thread

from cooperative_aio._host import check_host_has
from cooperative_aio.offload._core import check_count
from cooperative_aio.offload._places import StreamingPlace
from cooperative_aio.offload._pulling import Order, QueuedOrders, serve
from cooperative_aio.offload._streams import Stream, outlast

__all__ = ["Threads", "threads"]

logger: Final = logging.getLogger("cooperative_aio")


class _ThreadLink:
    """Link with a generator that runs in a thread, and where its replies go."""

    def __init__(self, stream: Stream, died: Callable[[], object]) -> None:
        self._stream = stream
        self._died = died
        self._orders = QueuedOrders()
        self._began = False
        # A thread that is given up is a daemon; the place has counted it already
        serving = to_thread.run_sync(
            self._serve, abandon_on_cancel=True, limiter=CapacityLimiter(math.inf)
        )
        self.task: asyncio.Task[None] = stream.loop.create_task(serving)
        self.task.add_done_callback(self._ended)

    # On the loop

    def put(self, order: Order, count: int) -> None:
        self._orders.put(order, count)

    def close(self) -> None:
        self._orders.close()

    def kill(self) -> None:
        """Wait no longer: a thread cannot be ended from outside."""
        logger.warning(
            "the generator of %s was closed but has not ended in time;"
            " its thread is left to itself",
            self._stream.name,
        )
        self._died()
        self._stream.finish(None)
        self.task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._stream.finish(task.exception())  # no thread could be started, say
        elif not self._began:  # the loop is being shut down
            self._orders.close()
            self._stream.finish(None)

    def load(self, data: list[Any]) -> list[Any]:
        return data

    # In the thread

    def _serve(self) -> None:
        self._began = True
        factory, args, kwargs = self._stream.call
        serve(functools.partial(factory, *args, **kwargs), self._orders, self)

    def values(self, values: list[Any]) -> None:
        self._tell(self._stream.receive, values)

    def finished(self, error: BaseException | None) -> None:
        self._tell(self._stream.finish, error)

    def _tell(self, what: Any, *args: Any) -> None:
        try:
            self._stream.loop.call_soon_threadsafe(what, *args)
        except RuntimeError:  # the loop was closed: nobody listens
            self._orders.close()


class Threads(StreamingPlace):
    """Place whose generators run in threads; `threads()` makes it."""

    async def _serve(self, stream: Stream) -> None:
        thread = _ThreadLink(stream, self._note_death)
        stream.connect(thread)
        try:
            await stream.settle()
        finally:
            await outlast(thread.task)


def threads(limit: int = 40, *, prefetch: int = 4, grace: float = 5.0) -> Threads:
    """Run generators in threads of this process: for those that wait for something.

        async with threads() as place:
            lines = place.open(open, __file__)
            async for batch in batches(1000, lines):
                print(len(batch))

    A generator that blocks on files, sockets or databases does not hold the loop from
    there. One that computes shares the interpreter with the loop: leave it on the loop,
    or use `processes()`. A generator stays in one thread (anyio's) from its first step to
    its `finally`, in a copy of the context that asked for the first batch.

    Args:
        limit: The number of generators that run at the same time, at least 1; others
            wait for one to end.
        prefetch: The number of batches of each generator that are made ahead, at most.
        grace: How long, in seconds, to wait for a generator that was closed. A thread
            cannot be ended from outside: one whose step takes longer is left to
            itself, with a warning on the logger `cooperative_aio`.

    Returns:
        A place, which is an asynchronous context manager.

    Raises:
        NotImplementedError: This is a browser.
        TypeError: An argument is not a number.
        ValueError: An argument is too small.
    """
    check_host_has("threads", "run generators in threads", "cooperate() with them")
    check_count("limit", limit)
    return Threads(f"threads({limit})", limit, prefetch, grace)
