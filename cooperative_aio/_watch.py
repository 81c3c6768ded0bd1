"""Watch a loop: its Cooperators, their tasks, and how late the loop is."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from importlib import import_module
from itertools import count
from types import CodeType, TracebackType
from typing import Any, Final, Self, TypeVar
from weakref import WeakSet

from cooperative_aio._checks import check_finite, quote
from cooperative_aio._cooperator import Cooperator
from cooperative_aio._history import Histogram, History
from cooperative_aio._legible import legible
from cooperative_aio._observing import (
    cooperator_name,
    cooperators_on,
    observe,
    own_cooperator,
    stop_observing,
)
from cooperative_aio._task import CooperativeTask

__all__ = [
    "ENDS",
    "NO_LABEL",
    "STATES",
    "Labels",
    "LoopLag",
    "Watch",
    "figures_of",
    "numbers_of_place",
]

T = TypeVar("T")

logger: Final = logging.getLogger("cooperative_aio")

STATES: Final = ("ready", "paused", "waiting")
ENDS: Final = ("finished", "failed", "cancelled", "stopped")
OWN: Final = "loop"  # what the loop's own Cooperator is called
NO_LABEL: Final = "(no label)"


def figures_of(cooperator: Cooperator) -> Mapping[str, Any]:
    """Return the statistics of a Cooperator by name."""
    statistics = cooperator.statistics()
    return {one.name: getattr(statistics, one.name) for one in dataclasses.fields(statistics)}


class Labels:
    """Numbers of tasks by a label of the user's, whatever that function does.

    A task for which it raises, or gives no text, counts as `NO_LABEL`; the first time that
    is logged.

    Args:
        label: Says for a task what it counts as.
    """

    def __init__(self, label: Callable[[CooperativeTask[Any]], str]) -> None:
        self._label = label
        self._has_warned = False

    def count(self, cooperator: Cooperator) -> dict[str, tuple[int, float]]:
        """Count the unfinished tasks of each label, and add up their CPU time in seconds."""
        found: dict[str, tuple[int, float]] = {}
        for task in cooperator.tasks:
            text = self._of(task)
            number, seconds = found.get(text, (0, 0.0))
            found[text] = (number + 1, seconds + task.cpu_time)
        return found

    def _of(self, task: CooperativeTask[Any]) -> str:
        try:
            text: object = self._label(task)
        except Exception as error:  # noqa: BLE001 (the user's function)
            self._warn("has raised " + traceback.format_exception_only(error)[-1].strip())
            return NO_LABEL
        if isinstance(text, str):
            return legible(text)
        self._warn(f"must return a string, got {legible(text)}")
        return NO_LABEL

    def _warn(self, what: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "label %s; its tasks are counted as %r", legible(what, 500), NO_LABEL
            )


class LoopLag:
    """How late the callbacks of a loop are, which everything on it has to wait.

    A timer is due every `interval` seconds; what it comes late is the lag.

    Args:
        interval: Seconds between two measurements.
        history: How many of them to remember.
        record: Called with each, in seconds.
        clock: What the lag is measured by, in seconds.

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
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.interval: float = check_finite("interval", interval, positive=True)
        self.samples: deque[tuple[float, float]] = deque(maxlen=history)
        """When each was due (by the clock), and how late it was; in seconds."""
        self.clock: Callable[[], float] = clock
        self.histogram: Histogram = Histogram(self.BOUNDS)
        self.due: float = math.inf
        """When the next measurement is due."""
        self.thread: int = 0
        """The identifier of the loop's thread."""
        self.runner: CodeType | None = None
        """The code from which a loop written in C is run."""
        self.listeners: list[Callable[[float], object]] = [] if record is None else [record]
        """Called with each lag."""
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Measure from now on.

        Raises:
            RuntimeError: No loop is running.
        """
        self.stop()
        self._schedule(asyncio.get_running_loop())

    def stop(self) -> None:
        """Measure no more; what was measured is kept."""
        self.due = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self.thread = threading.get_ident()
        self.due = self.clock() + self.interval
        # A context of its own: a passing request's is not to be kept alive.
        self._timer = loop.call_later(self.interval, self._measure, loop, context=Context())

    def _measure(self, loop: asyncio.AbstractEventLoop) -> None:
        caller = sys._getframe().f_back
        if caller is not None and caller.f_globals.get("__name__") != "asyncio.events":
            self.runner = caller.f_code
        due = self.due
        lag = max(0.0, self.clock() - due)  # timers may be early
        self._schedule(loop)
        self.samples.append((due, lag))
        self.histogram.add(lag)
        for listener in self.listeners:
            listener(lag)


class Watch:
    """The Cooperators of a loop, and its lag, for the monitor and the metrics.

    Args:
        cooperators: The ones to watch. By default the loop's own and all others that
            were seen to have unfinished tasks on the loop.
        lag: What measures how late the loop is.
        record: As for History.
        places: The places to offload to. By default those that are entered on the loop.

    Raises:
        TypeError: What was given is no Cooperator.
    """

    def __init__(
        self,
        cooperators: tuple[Cooperator, ...],
        lag: LoopLag,
        record: Callable[[Cooperator, str, float], object] | None = None,
        places: Iterable[object] = (),
    ) -> None:
        for cooperator in cooperators:
            if not isinstance(cooperator, Cooperator):
                raise TypeError(f"cooperators must be Cooperators, got {quote(cooperator)}")
        self._given = cooperators
        self._places = tuple(places)
        self._has_warned = False  # of a place
        self._seen: WeakSet[Cooperator] = WeakSet()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.lag: LoopLag = lag
        self.history: History = History(record=record)

    async def __aenter__(self) -> Self:
        """Begin to watch the running loop."""
        self._loop = asyncio.get_running_loop()
        observe(self._loop, self.history)
        self.lag.listeners.append(self._turn)
        self.lag.start()
        for cooperator in self.cooperators().values():
            self.history.watch(cooperator)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Watch no more."""
        self.lag.stop()
        self.lag.listeners.remove(self._turn)
        assert self._loop is not None  # noqa: S101 (it was entered)
        stop_observing(self._loop, self.history)
        self._loop = None

    def _turn(self, _: float) -> None:
        self.history.turn()

    def cooperators(self) -> dict[str, Cooperator]:
        """Return those that are watched by name; none before the beginning.

        The loop's own is called `loop`; of several of one name all but the first have
        a number added.
        """
        if self._loop is None:
            return {}
        own = own_cooperator(self._loop)
        found: Iterable[Cooperator] = self._given
        if not found:
            self._seen.update(cooperators_on(self._loop))
            found = sorted(self._seen, key=lambda one: legible(cooperator_name(one)))
        return _by_name(
            (OWN if one is own else legible(cooperator_name(one)), one) for one in found
        )

    def places(self) -> dict[str, dict[str, Any]]:
        """Return the figures of the places to offload to by name, as JSON can have them.

        A place that has none, or fails to tell, has an empty dict; the first time that one
        fails is logged.
        """
        if self._loop is None:
            return {}
        found: Iterable[Any] = self._places
        offload = sys.modules.get("cooperative_aio.offload._figures")
        if not found and offload is not None:  # else nothing of it has been used
            found = offload.places_on(self._loop)
        return _by_name(self._look_at(place) for place in found)

    def _look_at(self, place: Any) -> tuple[str, dict[str, Any]]:
        """Return the name of a place, or of its class, and its figures."""
        name: object = type(place).__name__
        try:
            name = getattr(place, "name", name)
            figures = _asked(place.figures) if hasattr(place, "figures") else {}
        except Exception as error:  # noqa: BLE001 (anybody's place)
            figures = {}
            if not self._has_warned:
                self._has_warned = True
                what = traceback.format_exception_only(error)[-1].strip()
                logger.warning(
                    "the figures of place %s failed: %s", legible(name), legible(what, 500)
                )
        return legible(name), figures


def _asked(figures: Callable[[], object]) -> dict[str, Any]:
    """Return what a place tells, as a dict."""
    told = figures()
    kind = import_module("cooperative_aio.offload").PlaceFigures
    if not isinstance(told, kind):
        raise TypeError(f"figures() must return PlaceFigures, got {legible(told)}")
    return dataclasses.asdict(told)


def _by_name(named: Iterable[tuple[str, T]]) -> dict[str, T]:
    """Return things by name; of several of one name all but the first have a number added."""
    found: dict[str, T] = {}
    for base, thing in named:
        name = base
        numbers = count(2)
        while name in found:
            name = f"{base}-{next(numbers)}"
        found[name] = thing
    return found


def numbers_of_place(figures: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return what there are numbers of in what a place tells, by state if there are states."""
    workers = figures["workers"]
    busy = sum(worker["busy"] for worker in workers)
    return {
        "generators": {"running": figures["running"], "queued": figures["queued"]},
        "ended": {"": figures["ended"]},
        "workers": {"busy": busy, "idle": len(workers) - busy},
        "deaths": {"": figures["deaths"]},
        "memory": {"": sum(worker["memory"] or 0 for worker in workers)},
    }
