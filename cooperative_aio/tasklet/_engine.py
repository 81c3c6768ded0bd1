"""Running tasklets: one loop in place of recursion, a bound on every turn, and the end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncGenerator
from typing import Any
from weakref import WeakSet, WeakValueDictionary

from cooperative_aio.tasklet._ending import Joinable

# A turn of the loop ends after so many resumptions, or after so many seconds, looked at
# every few resumptions only: what tasklets say to each other stays synchronous, as in
# Kiwi, unless they never stop talking.
TURN_STEPS = 1000
TURN_SECONDS = 0.005
STEPS_BETWEEN_LOOKS = 32

# A tasklet whose code resumes another runs it inside its own frame, so deep and no
# deeper; what lies deeper runs at the loop's next turn.
MAX_DEPTH = 40


class _Thread(threading.local):
    depth = 0
    current: Joinable[Any] | None = None


here = _Thread()
"""The tasklet whose code this thread is executing, and how many are being run."""


def drive(stack: list[Joinable[Any]]) -> None:
    """Run the last tasklet of a stack, and those it wakes, until all of them wait.

    The one that a message is sent to runs before its sender goes on. What is left when
    the turn is over, or when an exception leaves through the loop, goes on soon.
    """
    if here.depth >= MAX_DEPTH:
        stack[-1].get_loop().call_soon(drive, stack)
        return
    here.depth += 1
    try:
        _work(stack)
    finally:
        here.depth -= 1
        if stack:
            stack[-1].get_loop().call_soon(drive, stack)


def _work(stack: list[Joinable[Any]]) -> None:
    deadline = time.perf_counter() + TURN_SECONDS
    steps = 0
    while stack:
        top = stack[-1]
        if not top.ready():
            stack.pop()
            top.released()
            continue
        if steps >= TURN_STEPS:
            return
        if steps and not steps % STEPS_BETWEEN_LOOKS and time.perf_counter() > deadline:
            return
        steps += 1
        stack.extend(top.step())


ROUNDS = 10
"""How often tasklets that start others while being closed are given another look."""


class Wards:
    """The tasklets of one loop that have not ended."""

    def __init__(self) -> None:
        self.tasklets: WeakSet[Joinable[Any]] = WeakSet()
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

    def add(self, tasklet: Joinable[Any]) -> None:
        """Look after a tasklet."""
        self._wards.tasklets.add(tasklet)
        if self._sentinel is None:
            self._sentinel = sentinel = self._wards.closed_with_the_loop()
            _step(sentinel.__anext__())

    def discard(self, tasklet: Joinable[Any]) -> None:
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
