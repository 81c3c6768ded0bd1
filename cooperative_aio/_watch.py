"""Watch a loop: its Cooperators, their tasks, and how late the loop is."""

from __future__ import annotations

import asyncio
import bisect
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context
from itertools import accumulate, count
from types import TracebackType
from typing import Any, Final, Self
from weakref import WeakSet

from cooperative_aio._checks import check_finite
from cooperative_aio._cooperator import Cooperator, engine_of
from cooperative_aio._loop import state_of as loop_state_of
from cooperative_aio._task import CooperativeTask

__all__ = ["STATES", "LoopLag", "Watch", "labelled", "state_of"]

STATES: Final = ("ready", "paused", "waiting")
OWN: Final = "loop"  # what the loop's own Cooperator is called


def state_of(task: CooperativeTask[Any]) -> str:
    """Name the state of an unfinished task as `statistics()` counts it."""
    if task.waiting:
        return "waiting"
    return "paused" if task.paused else "ready"


def labelled(
    cooperator: Cooperator, label: Callable[[CooperativeTask[Any]], str]
) -> dict[str, tuple[int, float]]:
    """Count the unfinished tasks of each label, and add up their CPU time in seconds."""
    found: dict[str, tuple[int, float]] = {}
    for task in cooperator.tasks:
        text = label(task)
        number, seconds = found.get(text, (0, 0.0))
        found[text] = (number + 1, seconds + task.cpu_time)
    return found


class LoopLag:
    """Measure how late the callbacks of the running loop are: what everybody on it waits.

    A timer is due every `interval` seconds; what it comes late is the lag.

    Args:
        interval: Seconds between two measurements.
        history: How many of them to remember.
        record: Called with each, in seconds.

    Raises:
        TypeError: `interval` is not a number.
        ValueError: `interval` is not finite and above 0.
    """

    BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
    """Upper bounds of the histogram's buckets, in seconds; the last has none."""

    def __init__(
        self,
        interval: float = 0.1,
        *,
        history: int = 600,
        record: Callable[[float], object] | None = None,
    ) -> None:
        self.interval: float = check_finite("interval", interval, positive=True)
        self.samples: deque[tuple[float, float]] = deque(maxlen=history)
        """When each was due (by `time.perf_counter`), and how late it was; in seconds."""
        self.sum: float = 0.0
        self._record = record
        self._counts = [0] * (len(self.BOUNDS) + 1)
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def start(self) -> None:
        """Measure from now on.

        Raises:
            RuntimeError: No loop is running.
        """
        self.stop()
        self._schedule(asyncio.get_running_loop())

    def stop(self) -> None:
        """Measure no more; what was measured is kept."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def buckets(self) -> list[tuple[float, int]]:
        """Return upper bounds and how many lags were at most that; the last is infinite."""
        bounds = (*self.BOUNDS, float("inf"))
        return list(zip(bounds, accumulate(self._counts), strict=True))

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = time.perf_counter() + self.interval
        # A context of its own: a passing request's is not to be kept alive.
        self._timer = loop.call_later(self.interval, self._measure, loop, context=Context())

    def _measure(self, loop: asyncio.AbstractEventLoop) -> None:
        due = self._due
        lag = max(0.0, time.perf_counter() - due)  # timers may be early
        self._schedule(loop)
        self.samples.append((due, lag))
        self.sum += lag
        self._counts[bisect.bisect_left(self.BOUNDS, lag)] += 1
        if self._record is not None:
            self._record(lag)


class Watch:
    """Know the Cooperators of a loop, and its lag: what carries both elsewhere owns one.

    Args:
        cooperators: The ones to watch. By default the loop's own and all others that
            were seen to have unfinished tasks on the loop.
        lag: What measures how late the loop is.

    Raises:
        TypeError: What was given is no Cooperator.
    """

    def __init__(self, cooperators: tuple[Cooperator, ...], lag: LoopLag) -> None:
        for cooperator in cooperators:
            if not isinstance(cooperator, Cooperator):
                raise TypeError(f"cooperators must be Cooperators, got {cooperator!r}")
        self._given = cooperators
        self._seen: WeakSet[Cooperator] = WeakSet()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.lag: LoopLag = lag

    async def __aenter__(self) -> Self:
        """Begin to watch the running loop."""
        self._loop = asyncio.get_running_loop()
        self.lag.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Watch no more."""
        self.lag.stop()
        self._loop = None

    def cooperators(self) -> dict[str, Cooperator]:
        """Return those that are watched by name; none before the beginning.

        The loop's own is called `loop`; of several of one name all but the first have
        a number added.
        """
        if self._loop is None:
            return {}
        own = loop_state_of(self._loop).own.get(Cooperator)
        found: Iterable[Cooperator] = self._given
        if not found:
            self._seen.update(_cooperators_on(self._loop))
            found = sorted(self._seen, key=lambda cooperator: cooperator._name)
        named: dict[str, Cooperator] = {}
        for cooperator in found:
            name = base = OWN if cooperator is own else cooperator._name
            numbers = count(2)
            while name in named:
                name = f"{base}-{next(numbers)}"
            named[name] = cooperator
        return named


def _cooperators_on(loop: asyncio.AbstractEventLoop) -> Iterator[Cooperator]:
    """Find the loop's own Cooperator, and those that have unfinished tasks on it."""
    state = loop_state_of(loop)
    yield from state.own.values()
    for cooperator in tuple(state.cooperators):
        if engine_of(cooperator).jobs:
            yield cooperator
