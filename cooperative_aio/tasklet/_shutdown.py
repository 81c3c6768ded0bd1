"""The end of the loop: tasklets are no tasks, so somebody has to close them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from cooperative_aio.tasklet._tasklet import Tasklet

ROUNDS = 10
"""How often tasklets that start others while being closed are given another look."""


class Wards:
    """The tasklets of one loop that have not ended."""

    def __init__(self) -> None:
        self.tasklets: WeakSet[Tasklet[Any]] = WeakSet()
        self.closing = False

    async def closed_with_the_loop(self) -> AsyncGenerator[None, None]:
        """Wait for `aclose()`; then cancel what is left, and close what clings to life.

        Tasklets that others start while they are closed are given a few more looks. With
        nothing left it ends without waiting for anything.
        """
        try:
            yield
        finally:
            self.closing = bool(self.tasklets)
            looks = ROUNDS
            while self.tasklets and looks:
                looks -= 1
                for tasklet in tuple(self.tasklets):
                    tasklet.cancel()
                await asyncio.sleep(0)
                for tasklet in tuple(self.tasklets):
                    tasklet.abandon()
                await asyncio.sleep(0)


class Keeper:
    """What closes the tasklets of one loop when `asyncio.run` shuts its generators down.

    A loop closes the async generators that were begun on it, which is the one thing
    besides tasks that it does; so one is kept suspended while there are tasklets.
    Tasklets hold the keeper and it holds them weakly: it keeps nothing alive, neither
    them nor the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._wards = Wards()
        self._sentinel: AsyncGenerator[None, None] | None = None

    def add(self, tasklet: Tasklet[Any]) -> None:
        """Look after a tasklet."""
        self._wards.tasklets.add(tasklet)
        if self._sentinel is None:
            self._sentinel = sentinel = self._wards.closed_with_the_loop()
            _step(sentinel.__anext__())

    def discard(self, tasklet: Tasklet[Any]) -> None:
        """Forget a tasklet that has ended."""
        self._wards.tasklets.discard(tasklet)
        if not self._wards.tasklets:
            self._close()

    def __del__(self) -> None:
        self._wards.tasklets.clear()
        self._close()

    def _close(self) -> None:
        sentinel = self._sentinel
        if sentinel is not None and not self._wards.closing:
            self._sentinel = None
            _step(sentinel.aclose())


_keepers: WeakValueDictionary[int, Keeper] = WeakValueDictionary()


def keeper_of(loop: asyncio.AbstractEventLoop) -> Keeper:
    """Return the loop's keeper, a new one where there is none."""
    keeper = _keepers.get(id(loop))
    if keeper is None or keeper.loop is not loop:
        keeper = _keepers[id(loop)] = Keeper(loop)
    return keeper


def _step(awaitable: Any) -> None:
    with contextlib.suppress(StopIteration, StopAsyncIteration):
        awaitable.send(None)
