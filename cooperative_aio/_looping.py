"""LoopingCall: a function called again and again, on a grid of instants.

Its calls lie on a `Grid`. A **run** lasts from one `start()` until its future is done:

    LINED_UP   the last call of the run before is not over; this one begins after it
    SLEEPING   the timer is set
    CALLING    the function is being called, or what it returned is being awaited
    OVER       the future is done

`stop()` and cancelling the future end a run at once in the first two states, and as soon
as the call is over in the third. After each call the timer is set to the first instant of
the grid later than that moment: instants that passed meanwhile are skipped.
"""

from __future__ import annotations

import asyncio
import contextvars
import enum
from collections.abc import Callable
from functools import partial
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from cooperative_aio._calls import (
    Cancellable,
    OneCall,
    OwnedFuture,
    TimeSource,
    cancelled_error,
    loop_for,
)
from cooperative_aio._checks import check_finite, quote
from cooperative_aio._grid import Grid

P = ParamSpec("P")
T = TypeVar("T")


class _Phase(enum.Enum):
    """Where a run stands; the rules are in the docstring of the module."""

    LINED_UP = enum.auto()
    SLEEPING = enum.auto()
    CALLING = enum.auto()
    OVER = enum.auto()


class _Run(Generic[T]):
    """One run of a LoopingCall, from `start()` until its future is done."""

    def __init__(
        self,
        function: Callable[[int], object],
        result: T,
        clock: TimeSource,
        grid: Grid,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.clock = clock
        self.grid = grid
        self.phase = _Phase.LINED_UP
        self.stopping = False
        self.when = grid.origin  # the instant that the timer is set to
        self.successor: Callable[[], object] | None = None
        self._future: OwnedFuture[T] = OwnedFuture(loop=loop)
        self._future.on_cancel = self._cancel
        self._unclaimed = self._future
        self._function = function
        self._result = result
        self._call = OneCall(loop, contextvars.copy_context(), self._called)
        self._timer: Cancellable | None = None

    def begin(self, *, now: bool) -> None:
        """Make the first call, or set the timer; unless it was stopped while lined up."""
        if self.phase is _Phase.OVER:
            return
        if now:
            self._tick()
        else:
            self.sleep()

    def follow(self, *, now: bool) -> None:
        """Begin behind another run, where nobody is left to be told of a failing clock."""
        try:
            self.begin(now=now)
        except Exception as problem:  # noqa: BLE001
            self._end(problem)

    def claim(self) -> OwnedFuture[T]:
        """Hand out the future, once.

        Who starts a run must not hold it in a variable meanwhile: an exception of the
        first call keeps the frames alive that led to it, and the future keeps that
        (`test_what_is_over_leaves_no_cycle_behind`).
        """
        future = self._unclaimed
        del self._unclaimed
        return future

    def abandon(self) -> None:
        """End a run whose `begin` has raised, so that nobody is told a second time."""
        future = self.claim()
        if not future.cancel():
            future.exception()

    def sleep(self) -> None:
        """Set the timer to the next instant, instead of any other."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.phase = _Phase.SLEEPING
        clock = self.clock
        now = clock.time()
        self.when = when = self.grid.next(now)
        call_at = getattr(clock, "call_at", None)
        if call_at is None:
            self._timer = clock.call_later(max(0.0, when - now), self._tick)
        else:
            self._timer = call_at(when, self._tick)

    def relay(self, grid: Grid) -> None:
        """Go on with another grid."""
        self.grid = grid
        if self.phase is _Phase.SLEEPING:
            self.sleep()

    def stop(self) -> None:
        """Make no further call, and complete the future when none is being made."""
        self.stopping = True
        if self.phase is not _Phase.CALLING:
            self._end(None)

    def _cancel(self, message: Any) -> None:
        self.stopping = True
        if self.phase is _Phase.CALLING:
            self._call.cancel(message)
        else:
            self._end(cancelled_error(message))

    def _tick(self) -> None:
        self._timer = None
        self.phase = _Phase.CALLING
        intervals = self.grid.reach(self.clock.time())
        self._call.make(partial(self._function, intervals))

    def _called(self, _result: object, error: BaseException | None) -> None:
        if error is not None or self.stopping:
            self._end(error)
            return
        try:
            self.sleep()
        except Exception as problem:  # noqa: BLE001  (the clock's, perhaps a closed loop)
            self._end(problem)

    def _end(self, error: BaseException | None) -> None:
        self.phase = _Phase.OVER
        self.stopping = True
        if self._timer is not None:
            self._timer.cancel()
        future, result, successor = self._future, self._result, self.successor
        self.successor = None
        del self._future, self._result, self._function, self._call  # no cycles are left
        future.settle(result, error)
        if successor is not None:
            successor()


class LoopingCall(Generic[P]):
    """Calls of a function, again and again at equal intervals.

        def beat():
            print("beat")
            beating.stop()

        beating = LoopingCall(beat)
        await beating.start(0.01)

    The calls do not drift and never overlap: if the function returns an awaitable, the
    next call waits for it. After a call that takes longer than the interval, the next is at
    the first later instant of the grid.

    This is Twisted's LoopingCall. It differs in what `interval` and `reset` do while it
    runs, and in that cancelling the future of `start` stops it.

    Args:
        f: The function. It and its arguments may be exchanged at any time, as attributes.
        *args: Its arguments.
        **kwargs: Its keyword arguments.

    Attributes:
        f: The function.
        args: Its arguments, a tuple.
        kwargs: Its keyword arguments, a dictionary.

    Raises:
        TypeError: `f` is not callable.
    """

    def __init__(self, f: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        if not callable(f):
            raise TypeError(f"f must be callable, got {quote(f)}")
        self.f: Callable[..., object] = f
        self.args: tuple[Any, ...] = args
        self.kwargs: dict[str, Any] = kwargs
        self._counting = False
        self._clock: TimeSource | None = None
        self._interval: float | None = None
        self._run: _Run[Self] | None = None
        self._last_calling: _Run[Self] | None = None

    @classmethod
    def with_count(
        cls, f: Callable[Concatenate[int, P], object], /, *args: P.args, **kwargs: P.kwargs
    ) -> LoopingCall[P]:
        """Make a LoopingCall whose function is told how many intervals have passed.

        The number comes before the other arguments. It counts the intervals of the grid
        since the last call: more than 1 if calls were missed. It is 1 at a first call that
        is made at once, and always with an interval of 0.

        Args:
            f: The function.
            *args: Its arguments, after the number.
            **kwargs: Its keyword arguments.

        Raises:
            TypeError: `f` is not callable.
        """
        call: LoopingCall[P] = cls(f, *args, **kwargs)  # type: ignore[arg-type]
        call._counting = True
        return call

    def __repr__(self) -> str:
        name = getattr(self.f, "__qualname__", None) or repr(self.f)
        arguments = [*map(repr, self.args), *(f"{k}={v!r}" for k, v in self.kwargs.items())]
        return f"<LoopingCall {name}({', '.join(arguments)}) {self._state()}>"

    def _state(self) -> str:
        run = self._run
        if run is None or run.phase is _Phase.OVER:
            return "not running"
        if run.stopping:
            return "stopping when its call is over"
        doing = f"next at {run.when}" if run.phase is _Phase.SLEEPING else "calling"
        return f"every {self._interval} s, {doing}"

    @property
    def running(self) -> bool:
        """Whether the calls go on: started, not stopped or cancelled, and no call failed."""
        return self._run is not None and not self._run.stopping

    @property
    def clock(self) -> TimeSource:
        """The clock that makes the calls: the running loop, unless another was set.

        Any object with `time()` and `call_later()` will do.

        Raises:
            RuntimeError: It is set while running; or it is read, none was set, and no loop
                is running.
        """
        return asyncio.get_running_loop() if self._clock is None else self._clock

    @clock.setter
    def clock(self, clock: TimeSource | None) -> None:
        if self.running:
            raise RuntimeError("cannot change the clock of a running LoopingCall; stop it")
        self._clock = clock

    @property
    def start_time(self) -> float | None:
        """The instant at which the grid begins, in seconds; None before the first start.

        That is the instant of `start` or `reset`, or of the last call before a change of
        `interval`.
        """
        return None if self._run is None else self._run.grid.origin

    @property
    def interval(self) -> float | None:
        """The seconds from call to call; None before the first start.

        A new value takes effect at once: the grid begins anew at the instant
        of the last call (or at the start, before the first), and the next call is at the
        first instant of the new grid that has not passed. Twisted waits for the next
        call of the old grid and keeps its origin.

        Raises:
            TypeError: The new value is not a number.
            ValueError: The new value is negative, nan or infinite.
        """
        return self._interval

    @interval.setter
    def interval(self, interval: float) -> None:
        interval = check_finite("interval", interval, positive=False)
        if self._run is not None and self.running and interval != self._interval:
            self._run.relay(self._run.grid.relaid(interval))
        self._interval = interval

    def start(self, interval: float, now: bool = True) -> asyncio.Future[Self]:  # noqa: FBT001, FBT002
        """Start calling.

        All calls run in one copy of the caller's context. After a `stop()` during a call
        that is not over yet, the first call waits for the end of that one.

        Args:
            interval: The seconds from call to call, at least 0; 0 calls on every turn of
                the loop.
            now: Whether to make the first call at once, before this returns, or one
                interval later.

        Returns:
            A future that completes with this object when the calls were stopped and the
            last one is over, or with the exception of the function or its awaitable.

        Raises:
            RuntimeError: It is running already, or no loop is.
            TypeError: The interval is not a number.
            ValueError: The interval is negative, nan or infinite.

        Cancellation:
            Cancelling the future stops the calls. If an awaitable is being awaited, that
            is cancelled, and the future completes when it has ended.
        """
        interval = check_finite("interval", interval, positive=False)
        if self.running:
            raise RuntimeError("cannot start a running LoopingCall; stop it first")
        loop = loop_for(self._clock)
        clock = loop if self._clock is None else self._clock
        grid = Grid(clock.time(), interval, -1 if now else 0)
        run = _Run(self._make, self, clock, grid, loop)
        before, self._run, self._interval = self._run, run, interval
        if before is not None and before.phase is _Phase.CALLING:
            self._last_calling = before
        if self._last_calling is not None and self._last_calling.phase is _Phase.CALLING:
            self._last_calling.successor = partial(run.follow, now=now)
            return run.claim()
        self._last_calling = None
        try:
            run.begin(now=now)
        except BaseException:
            run.abandon()
            raise
        return run.claim()

    def stop(self) -> None:
        """Make no further call.

        The future of `start` completes at once or, during a call, when that is over; an
        awaitable in flight is not cancelled.

        Raises:
            RuntimeError: It is not running.
        """
        self._running("stop").stop()

    def reset(self) -> None:
        """Begin the grid anew, so that the next call is one interval from now.

        Also while an awaitable of the last call is awaited, where Twisted does nothing.

        Raises:
            RuntimeError: It is not running.
        """
        run = self._running("reset")
        run.relay(Grid(run.clock.time(), run.grid.interval, min(run.grid.last, 0)))

    def _running(self, verb: str) -> _Run[Self]:
        if self._run is None or self._run.stopping:
            raise RuntimeError(f"cannot {verb} a LoopingCall that is not running; start it")
        return self._run

    def _make(self, intervals: int) -> object:
        counts = (intervals,) if self._counting else ()
        return self.f(*counts, *self.args, **self.kwargs)
