"""Deterministic time: the Clock, its handles, and the agenda behind both.

A Clock never moves by itself. Its calls lie in an `Agenda`, which the virtual-time event
loop of `cooperative_aio.testing` uses as well, so that both order calls alike: by instant,
and those of the same instant in the order in which they were made.
"""

from __future__ import annotations

import contextvars
import enum
import heapq
import math
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, Generic, Protocol, TypeVar, TypeVarTuple, Unpack

from cooperative_aio._checks import check_finite, quote

Ts = TypeVarTuple("Ts")

STANDSTILL = 1_000_000
"""Calls at one and the same instant after which `Clock.advance` gives up."""

_SPARE = 64


def finite_instant(name: str, value: object) -> float:
    """Return an instant in seconds as a float, or raise an error that names it.

    Args:
        name: What the caller called the argument.
        value: What arrived.

    Raises:
        TypeError: The value is not a number, or is a bool.
        ValueError: The value is nan or infinite.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a finite number, got {quote(value)}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {quote(value)}")
    return float(value)


class Entry(Protocol):
    """What an agenda holds: it keeps the place in the order, None when it has none."""

    place: int | None


E = TypeVar("E", bound=Entry)


class Agenda(Generic[E]):
    """Calls in the order in which they are due; dropping one costs no search.

    A dropped entry stays in the heap until it comes up, or until such entries are more
    than half of it (`test_cancelled_calls_do_not_pile_up`).
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, E]] = []
        self._places = count()
        self._live = 0

    def __len__(self) -> int:
        return self._live

    def put(self, when: float, entry: E) -> None:
        """Enter a call behind those that are due at the same instant, in seconds."""
        place = entry.place = next(self._places)
        heapq.heappush(self._heap, (when, place, entry))
        self._live += 1

    def drop(self, entry: E) -> None:
        """Take out a call that has a place."""
        entry.place = None
        self._live -= 1
        if len(self._heap) > 2 * self._live + _SPARE:
            self._heap = [item for item in self._heap if item[2].place == item[1]]
            heapq.heapify(self._heap)

    def next_when(self) -> float | None:
        """Give the instant of the first call, in seconds, or None if there is none."""
        heap = self._heap
        while heap:
            when, place, entry = heap[0]
            if entry.place == place:
                return when
            heapq.heappop(heap)
        return None

    def pop(self) -> E:
        """Take out the first call; only after `next_when` has said that there is one."""
        entry = heapq.heappop(self._heap)[2]
        entry.place = None
        self._live -= 1
        return entry

    def entries(self) -> list[E]:
        """List the calls in the order in which they are due."""
        return [entry for _, place, entry in sorted(self._heap) if entry.place == place]


class _Phase(enum.Enum):
    """How far a call on a Clock has come; ACTIVE is left once and never entered again."""

    ACTIVE = "active"
    CALLED = "called"
    CANCELLED = "cancelled"


class ClockHandle:
    """A call that a Clock is going to make; its `call_later` and others return it.

    It has what `asyncio.TimerHandle` has, and Twisted's `delay`, `reset` and `active`.
    Unlike Twisted's, it may be cancelled twice or too late, which does nothing.
    """

    __slots__ = (
        "__weakref__",
        "_args",
        "_callback",
        "_clock",
        "_context",
        "_phase",
        "_when",
        "place",
    )

    def __init__(
        self,
        clock: Clock,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        args: tuple[*Ts],
        context: contextvars.Context | None,
    ) -> None:
        if not callable(callback):
            raise TypeError(f"callback must be callable, got {quote(callback)}")
        self._clock = clock
        self._when = when
        self._callback: Callable[..., object] = callback
        self._args: tuple[Any, ...] = args
        self._context = contextvars.copy_context() if context is None else context
        self._phase = _Phase.ACTIVE
        self.place: int | None = None

    def __repr__(self) -> str:
        what = f" {self._callback!r}" if self.active() else ""
        return f"<{type(self).__name__} {self._phase.value}, due at {self._when}{what}>"

    def when(self) -> float:
        """Return the instant at which the call is, or was, due, in the Clock's seconds."""
        return self._when

    def active(self) -> bool:
        """Tell whether the call is still to be made."""
        return self._phase is _Phase.ACTIVE

    def cancelled(self) -> bool:
        """Return whether the call was cancelled before it was made."""
        return self._phase is _Phase.CANCELLED

    def cancel(self) -> None:
        """Take the call off the Clock; a call already made or cancelled stays as it is."""
        if self._phase is _Phase.ACTIVE:
            self._clock._agenda.drop(self)
            self._leave(_Phase.CANCELLED)

    def delay(self, seconds: float) -> None:
        """Make the call later than it was going to be.

        Args:
            seconds: By how many seconds. (Twisted takes negative ones too, which make a
                call earlier; `reset` does that here.)

        Raises:
            TypeError: Seconds is no number.
            ValueError: Seconds is negative, nan or infinite.
            RuntimeError: The call was already made or cancelled.
        """
        self._move("delay", self._when + check_finite("seconds", seconds, positive=False))

    def reset(self, seconds: float) -> None:
        """Make the call a number of seconds from now, whenever it was going to be.

        Args:
            seconds: The seconds from the Clock's present time.

        Raises:
            TypeError: Seconds is no number.
            ValueError: Seconds is negative, nan or infinite.
            RuntimeError: The call was already made or cancelled.
        """
        self._move(
            "reset", self._clock.time() + check_finite("seconds", seconds, positive=False)
        )

    def _move(self, verb: str, when: float) -> None:
        if self._phase is not _Phase.ACTIVE:
            raise RuntimeError(f"cannot {verb} a {self._phase.value} call; make a new one")
        agenda = self._clock._agenda
        agenda.drop(self)
        self._when = when
        agenda.put(when, self)

    def _run(self) -> None:
        callback, args, context = self._callback, self._args, self._context
        self._leave(_Phase.CALLED)
        context.run(callback, *args)

    def _leave(self, phase: _Phase) -> None:
        self._phase = phase
        del self._callback, self._args, self._context


class Clock:
    """Time that moves only when it is told to, for tests that do not wait.

        clock = Clock()
        later = defer_later(60, max, 1, 2, clock=clock)
        clock.advance(60)
        print(await later)  # 2

    It can take a loop's place as the `clock` of a LoopingCall or of `defer_later`. Its
    `call_soon` is a scheduler for a Cooperator, its `time` a clock for one.

    This is Twisted's `Clock` with asyncio's names. `advance` stops at the instant of each
    due call, so that a call sees the time it was made for, and time never runs backwards.

    Args:
        start: The time to begin with, in seconds.

    Raises:
        TypeError: The time is no number.
        ValueError: The time is nan or infinite.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = finite_instant("start", start)
        self._agenda: Agenda[ClockHandle] = Agenda()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self._now}, {len(self._agenda)} delayed calls>"

    def time(self) -> float:
        """Return the present time of this Clock, in seconds."""
        return self._now

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> ClockHandle:
        """Make a call at the present instant, when the Clock is next advanced.

        During an `advance` it is made in that same one, behind the calls that are due.

        Args:
            callback: What to call.
            *args: What to call it with.
            context: The context to call it in; a copy of the current one if None.

        Raises:
            TypeError: The callback is not callable.
        """
        return self.call_at(self._now, callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        /,
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> ClockHandle:
        """Make a call after a delay.

        Args:
            delay: The seconds from now, at least 0.
            callback: What to call.
            *args: What to call it with.
            context: The context to call it in; a copy of the current one if None.

        Raises:
            TypeError: The delay is no number, or the callback not callable.
            ValueError: The delay is negative, nan or infinite.
        """
        when = self._now + check_finite("delay", delay, positive=False)
        return self.call_at(when, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        /,
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> ClockHandle:
        """Make a call at an instant; one that has passed means as soon as possible.

        Args:
            when: The instant in this Clock's seconds.
            callback: What to call.
            *args: What to call it with.
            context: The context to call it in; a copy of the current one if None.

        Raises:
            TypeError: The instant is no number, or the callback not callable.
            ValueError: The instant is nan or infinite.
        """
        handle = ClockHandle(self, finite_instant("when", when), callback, args, context)
        self._agenda.put(handle.when(), handle)
        return handle

    def get_delayed_calls(self) -> list[ClockHandle]:
        """Return the handles of the calls still to be made, in the order they are due."""
        return self._agenda.entries()

    def spend(self, seconds: float) -> None:
        """Let time pass without making any call, as a computation does.

        For use inside a call: calls that become due meanwhile are made late, as on a real
        loop. Twisted's Clock has nothing like it.

        Args:
            seconds: How long the work is to have taken, in seconds.

        Raises:
            TypeError: Seconds is no number.
            ValueError: Seconds is negative, nan or infinite.
        """
        self._now += check_finite("seconds", seconds, positive=False)

    def advance(self, seconds: float) -> None:
        """Move time forward and make every call that becomes due, each at its instant.

        Calls made meanwhile are made too, if they become due. An exception of a call comes
        out of here at once: time then stands at that call's instant, every other call is
        still pending, and the next `advance` goes on with them.

        Args:
            seconds: How far to move, in seconds; 0 makes what is due now.

        Raises:
            TypeError: Seconds is no number.
            ValueError: Seconds is negative (time never runs backwards), nan or infinite.
            RuntimeError: A million calls were made at one instant without end.
        """
        target = self._now + check_finite("seconds", seconds, positive=False)
        agenda = self._agenda
        here = 0
        while (when := agenda.next_when()) is not None and when <= max(target, self._now):
            if when > self._now:
                self._now = when
                here = 0
            here += 1
            if here > STANDSTILL:
                raise RuntimeError(
                    f"the clock stands still at {self._now} after {STANDSTILL} calls; "
                    "something calls itself again without a delay"
                )
            agenda.pop()._run()
        self._now = max(self._now, target)

    def pump(self, timings: Iterable[float]) -> None:
        """Advance several times.

        Args:
            timings: How far to move each time, in seconds.

        Raises:
            TypeError: A number of seconds is no number.
            ValueError: A number of seconds is negative, nan or infinite.
            RuntimeError: A million calls were made at one instant without end.
        """
        for seconds in timings:
            self.advance(seconds)
