"""Functions that are set aside, and a thread that looks whether the loop waits for them.

Code that waits in the main thread for a lock which a function set aside holds would wait for
ever, as that function goes on only when the code returns. No alarm tells: between steps there
is none. So a thread looks once a second, while functions are set aside, whether the main
thread stands in a call of `acquire`, and uses no CPU time.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

from cooperative_aio.functions._greenlets import Function
from cooperative_aio.functions._locks import find_wait

__all__ = ["aside", "outside_of_threading", "takes_no_locks", "watch"]

INTERVAL: Final = 1.0  # seconds between looks
IDLE: Final = 0.1  # of the interval: so little CPU time is used by what waits

aside: Final[dict[Function, None]] = {}
"""Functions that an alarm may interrupt, between their steps; a set that keeps its order."""


class _Watcher(threading.Thread):
    """The thread that looks; it ends when nothing is set aside any more."""

    current: _Watcher | None = None

    def __init__(self, ask: Callable[[], None]) -> None:
        super().__init__(name="cooperative_aio.functions", daemon=True)
        self._ask = ask
        self._main = threading.main_thread().ident or 0
        self._clock = time.pthread_getcpuclockid(self._main)
        self._used = 0.0
        self._place: tuple[int, int] | None = None

    def run(self) -> None:
        while self._goes_on():
            time.sleep(INTERVAL)
            self.look()

    def _goes_on(self) -> bool:
        if not aside and _Watcher.current is self:
            _Watcher.current = None
            if aside and _Watcher.current is None:  # added at this very moment
                _Watcher.current = self
        return _Watcher.current is self

    def look(self) -> None:
        """Ask the main thread, if it has waited at one place since the last look."""
        before, self._used = self._used, time.clock_gettime(self._clock)
        place, self._place = self._place, None
        # A frame is looked at only if it seems to wait: else it might end meanwhile, and what
        # it refers to would be freed in this thread.
        if self._used - before < IDLE * INTERVAL:
            frame = sys._current_frames().get(self._main)
            if frame is not None and find_wait(outside_of_threading(frame)) is not None:
                self._place = id(frame), frame.f_lasti
                if self._place == place:
                    self._ask()


def watch(ask: Callable[[], None]) -> None:
    """Have a thread look while functions are set aside.

    Args:
        ask: What it is to call when the main thread seems to wait for a lock.
    """
    watcher = _Watcher.current
    if watcher is None or (watcher.ident is not None and not watcher.is_alive()):
        _Watcher.current = watcher = _Watcher(ask)
        try:
            watcher.start()
        except RuntimeError:  # there can be no more threads
            _Watcher.current = None


def takes_no_locks() -> set[int | None]:
    """Return the threads that cannot hold what the main thread waits for."""
    watcher = _Watcher.current
    return {threading.main_thread().ident, None if watcher is None else watcher.ident}


def outside_of_threading(frame: FrameType) -> FrameType:
    """Return the innermost frame of code that uses the locks of `threading`."""
    while frame.f_globals.get("__name__") == "threading" and frame.f_back is not None:
        frame = frame.f_back
    return frame
