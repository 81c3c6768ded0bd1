"""Waiting for time to pass."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cooperative_aio.tasklet._conditions import Watch

if TYPE_CHECKING:
    import asyncio

    from cooperative_aio.tasklet._tasklet import Tasklet


class WaitForTimeout(Watch):
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
            raise TypeError(f"timeout must be a number of milliseconds, got {timeout!r}")
        if not (math.isfinite(timeout) and timeout >= 0):
            raise ValueError(f"timeout must be finite and not negative, got {timeout!r}")
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

    def _start(self, tasklet: Tasklet[Any]) -> None:
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
