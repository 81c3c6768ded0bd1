"""What a tick has cost: on the clock, of CPU, and in the garbage collector.

A busy machine lets other programs run in the middle of a step, and the collector may run
in any. Neither is the step's fault, so both are measured apart from it. The CPU time is
read once a tick, since that takes as long as a step; and the collector is listened to
only while there are tasks.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from typing import Any, Final

__all__ = ["CollectorClock", "Meter", "SafeClock", "collector"]

thread_time: Final[Callable[[], float]] = getattr(time, "thread_time", time.perf_counter)
"""Seconds of CPU of this thread; in WebAssembly, which cannot tell, the clock's."""


class CollectorClock:
    """How long the garbage collector has run, while anything listens."""

    def __init__(self) -> None:
        self.seconds: float = 0.0
        self._listeners = 0
        self._began: float | None = None

    def listen(self) -> None:
        """Count from now on."""
        self._listeners += 1
        if self._listeners == 1:
            gc.callbacks.append(self._note)

    def ignore(self) -> None:
        """Count no more, if nothing else listens."""
        self._listeners -= 1
        if self._listeners == 0:
            gc.callbacks.remove(self._note)
            self._began = None

    def _note(self, phase: str, _info: dict[str, Any]) -> None:
        now = time.perf_counter()
        if phase == "start":
            self._began = now
        elif self._began is not None:
            self.seconds += now - self._began
            self._began = None


collector: Final = CollectorClock()


class Meter:
    """What of a tick was CPU time, and what the collector's."""

    __slots__ = ("_collected", "_cpu", "is_real")

    def __init__(self) -> None:
        self.is_real: bool = False  # the clock is one that CPU time can be compared with
        self._cpu = 0.0
        self._collected = 0.0

    def start(self) -> None:
        """Begin to measure."""
        self._collected = collector.seconds
        self._cpu = thread_time()

    def collected(self) -> float:
        """Return the seconds that the collector has taken since."""
        return collector.seconds - self._collected

    def cpu(self) -> float:
        """Return the seconds of CPU since."""
        return thread_time() - self._cpu

    def beyond(self, seconds: float) -> float:
        """Return what of so many seconds on the clock was no CPU time."""
        return max(0.0, seconds - self.cpu()) if self.is_real else 0.0


class SafeClock:
    """A user's clock that never fails: a failure is reported, and its last reading stands.

    Args:
        clock: The user's.
        take: Called with a message and what the clock has raised, if it still exists.
    """

    __slots__ = ("_clock", "_failed", "_last", "_take")

    def __init__(
        self,
        clock: Callable[[], float],
        take: Callable[[], Callable[[str, BaseException], None] | None],
    ) -> None:
        self._clock = clock
        self._take = take
        self._failed = False
        self._last = 0.0

    def __call__(self) -> float:
        """Read the clock."""
        try:
            now = self._clock()
            if not -math.inf < now < math.inf:
                raise ValueError(f"clock must return a finite number, got {now!r}")  # noqa: TRY301
        except BaseException as error:  # noqa: BLE001
            take = self._take()
            if not self._failed and take is not None:
                self._failed = True
                take("the clock failed, so its last reading stands", error)
        else:
            self._failed = False
            self._last = now
        return self._last
