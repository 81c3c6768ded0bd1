"""When a Cooperator ticks: as the loop's pacer says, or as a user's scheduler does.

A rhythm is asked for ticks when a task becomes ready, and asked no more when none is.
"""

from __future__ import annotations

import functools
import math
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from cooperative_aio._checks import quote
from cooperative_aio._loop import LoopState
from cooperative_aio._pacing import Lease, Member, Pacer, TimeSlice

__all__ = ["Cancellable", "Paced", "Predicate", "Rhythm", "Scheduled", "Scheduler"]

Predicate = Callable[[], object]


class Cancellable(Protocol):
    """What a scheduler returns."""

    def cancel(self) -> object:
        """Take the call back."""


Scheduler = Callable[[Callable[[], None]], Cancellable]


class Ticker(Protocol):
    """What is to tick: see `_engine.Engine`."""

    clock: Callable[[], float]

    @property
    def loop_state(self) -> LoopState:
        """What the package keeps on the loop."""

    def tick(self, deadline: float, predicate: Predicate | None) -> tuple[float, Lease | None]:
        """Step tasks until `deadline`, or until `predicate` says so."""

    def is_stepping(self) -> bool:
        """Tell whether one of its tasks is being stepped."""

    def take(self, message: str, error: BaseException) -> None:
        """Take what a call-out has raised: report it, or have it leave through the loop."""

    def update_rhythm(self) -> None:
        """Ask for ticks, or no more."""


class Rhythm(Protocol):
    """What both rhythms offer."""

    requested: bool
    time_slice: TimeSlice

    def bind(self, engine: Any, state: LoopState) -> None:
        """Tick on another loop."""

    def request(self, *, strict: bool) -> None:
        """Bring ticks about; `strict`: raise what a user's scheduler raises."""

    def withdraw(self) -> None:
        """Bring no more ticks about."""

    def forget(self) -> None:
        """Forget what was asked of a loop that is closed."""


class Paced:
    """Slices from the loop's pacer."""

    __slots__ = ("_state", "member", "requested", "time_slice")

    _state: weakref.ref[LoopState]
    member: Member

    def __init__(self, time_slice: TimeSlice) -> None:
        self.time_slice: TimeSlice = time_slice
        self.requested: bool = False

    def bind(self, engine: Ticker, state: LoopState) -> None:
        """Take part in the pacer's queue of another loop."""

        def run_slice(seconds: float) -> tuple[float, Lease | None]:
            return engine.tick(engine.clock() + seconds, None)

        self._state = weakref.ref(state)  # a closed loop is not to be kept alive
        self.member = Member(state.pacer.queue, run_slice, self.time_slice)
        self.requested = False

    def request(self, *, strict: bool) -> None:  # noqa: ARG002
        """Compete for slices."""
        self.requested = True
        self._pacer().request(self.member)

    def withdraw(self) -> None:
        """Compete no more."""
        self.requested = False
        state = self._state()
        if state is not None:  # else the loop is being collected
            state.pacer.withdraw(self.member)

    def lend(self, lease: Lease) -> bool:
        """Let code that awaits a checkpoint run on at once, if nobody else wants to."""
        return self._pacer().open(lease, self.member)

    def forget(self) -> None:
        """Forget what was asked of a loop that is closed."""
        self.requested = False
        self.member.throttle = None

    def _pacer(self) -> Pacer:
        state = self._state()
        assert state is not None  # noqa: S101 (there are tasks, hence a loop)
        return state.pacer


class Scheduled:
    """The ancestors' plain rhythm: each call that the scheduler makes is one tick."""

    __slots__ = (
        "_call",
        "_engine",
        "_factory",
        "_number",
        "_scheduler",
        "_ticking",
        "requested",
        "time_slice",
    )

    _engine: Ticker

    def __init__(
        self,
        scheduler: Scheduler | None,
        factory: Callable[[], Predicate] | None,
        time_slice: TimeSlice,
    ) -> None:
        self._scheduler = scheduler
        self._factory = factory
        self.time_slice: TimeSlice = time_slice
        self.requested: bool = False
        self._call: Cancellable | None = None  # what the scheduler returned
        self._number = 0  # of the call, since a scheduler may forget that it was taken back
        self._ticking = False

    def bind(self, engine: Ticker, state: LoopState) -> None:  # noqa: ARG002
        """Serve another loop."""
        self._engine = engine
        self.requested = self._ticking = False
        self._call = None

    def request(self, *, strict: bool) -> None:
        """Have the scheduler bring about a tick."""
        self.requested = True
        if not self._ticking:  # else the tick that is going on schedules the next
            try:
                self._schedule(strict=strict)
            except BaseException:
                self.requested = self._call is not None
                raise

    def withdraw(self) -> None:
        """See to it that no tick comes."""
        self.requested = False
        call, self._call = self._call, None
        if call is not None:
            try:
                call.cancel()
            except BaseException as error:  # noqa: BLE001
                self._engine.take("what the scheduler returned cannot be cancelled", error)

    def forget(self) -> None:
        """Forget what was asked of a loop that is closed."""
        self.requested = False
        self._call = None

    def _schedule(self, *, strict: bool = False) -> None:
        self._number += 1
        state = self._engine.loop_state
        tick = functools.partial(state.changes.make, self._tick, self._number)
        if self._scheduler is not None:
            try:
                call = self._scheduler(tick)
                if not callable(getattr(call, "cancel", None)):
                    raise TypeError(  # noqa: TRY301
                        f"scheduler must return an object with cancel(), got {quote(call)}"
                    )
            except BaseException as error:
                if strict:
                    raise
                self._engine.take("the scheduler failed, so call_soon stood in for it", error)
            else:
                self._call = call
                return
        self._call = state.call_soon(tick)

    def _tick(self, number: int) -> None:
        """Do what the scheduler was asked to call; survive the user's bugs."""
        if number != self._number or self._call is None:
            return  # taken back, but the scheduler called all the same
        self._call = None
        if self._engine.is_stepping():  # from inside of a step: not now
            self._schedule()
            return
        self._ticking = True
        try:
            self._engine.tick(*self._limits())
        except Exception as error:  # noqa: BLE001
            self._engine.take("a tick failed", error)
        finally:
            self._ticking = False
            if self.requested:
                self._schedule()

    def _limits(self) -> tuple[float, Predicate | None]:
        """Return when the tick is to end, and the predicate that ends it earlier."""
        if self._factory is None:
            return self._engine.clock() + self.time_slice.seconds, None
        try:
            predicate = self._factory()
            if not callable(predicate):
                raise TypeError(  # noqa: TRY301
                    "termination_predicate_factory must return a callable,"
                    f" got {quote(predicate)}"
                )
        except BaseException as error:  # noqa: BLE001
            self._engine.take(
                "a termination_predicate_factory failed, so one step is taken", error
            )
            return -math.inf, None
        return math.inf, predicate
