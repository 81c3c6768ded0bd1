"""Waiting for time to pass, and until the loop has nothing else to do."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from typing import Any

from cooperative_aio._checks import quote
from cooperative_aio._host import IN_WEBASSEMBLY
from cooperative_aio.tasklet._conditions import Exclusive
from cooperative_aio.tasklet._ending import Joinable

if sys.platform == "linux":  # pragma: no branch (a browser has no processes to account for)
    import resource


class WaitForTimeout(Exclusive):
    """The condition that a number of milliseconds has passed.

    If it is yielded again and again it is periodic: it keeps to the grid of the instant at
    which it was armed, and skips periods that were missed. In Kiwi, it drifts and takes a
    GLib priority.

    Args:
        timeout: How long to wait, in milliseconds.

    Raises:
        TypeError: `timeout` is no number.
        ValueError: `timeout` is negative, nan or infinite.
    """

    coalesces = True

    def __init__(self, timeout: float) -> None:
        super().__init__()
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
            raise TypeError(f"timeout must be a number of milliseconds, got {quote(timeout)}")
        if not (math.isfinite(timeout) and timeout >= 0):
            raise ValueError(f"timeout must be finite and not negative, got {quote(timeout)}")
        self.timeout = timeout
        self._when = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def restart(self) -> None:
        """Count from zero again; an expiry not yet delivered is forgotten."""
        tasklet = self._tasklet
        if tasklet is not None:
            tasklet.forget(self)
            self._stop()
            self._start(tasklet)

    def _start(self, tasklet: Joinable[Any]) -> None:
        loop = tasklet.get_loop()
        self._when = loop.time() + self.timeout / 1000
        self._handle = loop.call_at(self._when, self._expired)

    def _stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _expired(self) -> None:
        self._handle = None
        self._fire()
        tasklet = self._tasklet
        if tasklet is None or self._handle is not None:
            return  # let go of, or restarted, by the tasklet
        loop = tasklet.get_loop()
        self._when += self._periods(loop.time()) * self.timeout / 1000
        self._handle = loop.call_at(self._when, self._expired)

    def _periods(self, now: float) -> int:
        """Return in how many periods the next instant on the grid comes."""
        if not self.timeout:
            return 1
        return max(1, math.floor((now - self._when) * 1000 / self.timeout) + 1)


NAP = 0.004 if IN_WEBASSEMBLY else 0.002
"""How long the loop is given to fall asleep, in seconds.

Selectors wait for whole milliseconds, and uvloop's clock is in them: a wait of two is one
of more than one. For a browser a wait of two is none.
"""


def sleeps() -> int:
    """Return how often this thread went to sleep of its own accord, 0 where unknown."""
    # A busy loop polls without waiting; only one with nothing to do lets go of the
    # processor. Losing it to others is counted elsewhere, so a crowded machine does
    # not make a busy loop look idle.
    if sys.platform == "linux":
        return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    return 0  # pragma: no cover - where the tests run it is known


def _time_of_thread() -> float:
    """Return how many seconds this thread has computed, 0.0 in a browser."""
    return 0.0 if IN_WEBASSEMBLY else time.thread_time()


class WaitForIdle(Exclusive):
    """The condition that the loop has had nothing else to do for a turn.

    The loop was then about to sleep: nothing was ready, and no timer due. If it is yielded
    again and again it happens about five hundred times a second on a quiet loop. As in
    Kiwi, without GLib's priorities.
    """

    coalesces = True

    def __init__(self) -> None:
        super().__init__()
        self._handle: asyncio.TimerHandle | None = None
        self._before: tuple[int, float, float] = (0, 0.0, 0.0)

    def _start(self, tasklet: Joinable[Any]) -> None:
        self._before = sleeps(), _time_of_thread(), time.perf_counter()
        self._handle = tasklet.get_loop().call_later(NAP, self._wake)

    def _stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _wake(self) -> None:
        self._handle = None
        if self._was_idle():
            self._fire()
        if self._tasklet is not None and self._handle is None:
            self._start(self._tasklet)

    def _was_idle(self) -> bool:
        slept, worked, began = self._before
        if IN_WEBASSEMBLY:  # the browser tells of no sleep: a timer in time has to do
            return time.perf_counter() - began < 2 * NAP
        now = sleeps()
        if now:
            # A loop on virtual time does not sleep: its clock runs ahead of the real one.
            return now > slept or time.perf_counter() - began < NAP / 4
        busy = _time_of_thread() - worked
        return busy < (time.perf_counter() - began) / 2 or busy < NAP / 2
