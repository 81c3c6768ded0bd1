"""The engine of a Cooperator: who is ready, and ticks.

A **tick** is one turn of the loop in which ready tasks are stepped, taken from the fair
queue, until the slice is over or none is ready. Its rhythm brings ticks about. `update`
is called whenever a task becomes ready or is no more; it asks the rhythm for ticks, or
takes that back.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections.abc import Callable
from types import NoneType
from typing import Any, Final

from cooperative_aio._changes import Changes
from cooperative_aio._fairness import NOTEWORTHY, FairQueue
from cooperative_aio._groups import Members
from cooperative_aio._loop import REMEDY, LoopState, loop_here, running_loop, state_of
from cooperative_aio._meter import Meter, SafeClock
from cooperative_aio._pacing import Lease
from cooperative_aio._rhythm import Predicate, Rhythm
from cooperative_aio._seats import Seat

__all__ = ["Engine"]

logger: Final = logging.getLogger("cooperative_aio")

SLOW: Final = (
    "a step of %s held the loop for %.3f seconds (%.3f of CPU, %.3f in the garbage collector)%s"
)
QUIET: Final = "; quiet_collector() keeps the collector out of the way"


class Engine:
    """What steps the tasks of a Cooperator, which has the public face.

    Args:
        owner: The Cooperator.
        rhythm: What brings ticks about.
        clock: As for Cooperator; `time.perf_counter` stands for the loop's own.
        slow_step: As for Cooperator.
    """

    def __init__(
        self, owner: object, rhythm: Rhythm, clock: Callable[[], float], slow_step: float
    ) -> None:
        self.owner: object = owner
        self.rhythm: Rhythm = rhythm
        self._slow_step = slow_step
        self._follows_loop = clock is time.perf_counter
        if not self._follows_loop:
            clock = SafeClock(clock, weakref.WeakMethod(self.take))
        self.clock: Callable[[], float] = clock
        self.usual: type = NoneType  # of a class like that are most values of new tasks
        self.started: bool = True
        # While there are unfinished tasks, it belongs to their loop
        self._state: LoopState | None = None
        self._last_state: Callable[[], LoopState | None] = _nothing
        self.changes: Changes = Changes()
        # Who competes
        self.queue: FairQueue[Any] = FairQueue()
        self.leases: set[Any] = set()  # seats of code that awaits checkpoint()
        self.granted: Lease | None = None  # the lease whose turn it is
        self.ready: int = 0  # tasks, and code that awaits a checkpoint
        self.waiting: int = 0  # tasks that wait on an awaitable
        # Statistics
        self.collector_time: float = 0.0
        self._meter = Meter()
        self.ticks: int = 0
        self.steps: int = 0
        self.cpu_time: float = 0.0
        self.longest_tick: float = 0.0
        self.longest_step: float = 0.0
        self.longest_step_task: str | None = None
        self.notable: float = 0.0  # a step that took no longer is neither slow nor the longest

    def label(self) -> str:
        """Return what error messages call the Cooperator."""
        return repr(self.owner)

    def _use(self) -> str:
        return f"use {self.label()}"

    # The loop that it belongs to

    @property
    def loop_state(self) -> LoopState:
        """What the package keeps on the loop that it belongs to, or last belonged to."""
        state = self._state or self._last_state()
        assert state is not None  # noqa: S101 (there are tasks, hence a loop)
        return state

    def check_loop(self) -> asyncio.AbstractEventLoop:
        """Return the running loop, if the Cooperator may be used on it."""
        loop = loop_here()
        self.check_running(loop)
        return running_loop(self._use) if loop is None else loop

    def check_caller(self) -> None:
        """Refuse calls from another loop or thread while there are unfinished tasks."""
        if self._state is not None:
            self.check_running(loop_here())

    def check_running(self, running: asyncio.AbstractEventLoop | None) -> None:
        """Refuse calls where another loop runs, or none while its own runs elsewhere."""
        state = self._state
        if state is None or state.ref() is running:
            return
        loop = state.loop
        if loop.is_closed():
            self.changes.make(self.lose_tasks)
            return
        if running is None and not loop.is_running():
            return
        raise RuntimeError(
            f"cannot use {self.label()} from here; it has unfinished tasks on another event"
            f" loop (give each loop a Cooperator; {REMEDY})"
        )

    def bind(self, loop: asyncio.AbstractEventLoop) -> LoopState:
        """Serve `loop`, and belong to it while there are unfinished tasks."""
        state = state_of(loop)
        if self._last_state() is not state:
            state.changes.make(self._bind, state)
        return state

    def _bind(self, state: LoopState) -> None:
        if self._last_state() is not state:
            self._last_state = weakref.ref(state)
            self.changes = state.changes
            self.rhythm.bind(self, state)
            state.cooperators.add(self.owner)
            if self._follows_loop:
                self.clock = state.clock
                self._meter.is_real = state.clock is time.perf_counter

    # What the tasks are asked: see _roster

    def forget(self, job: Any, failure: BaseException | None = None) -> bool:
        """Drop a task that ends; return whether no other task steps its iterator."""
        raise NotImplementedError

    def lose_tasks(self) -> None:
        """End the tasks of a loop that was closed without being shut down."""
        raise NotImplementedError

    # Who is ready

    def update(self, seat: Seat, *, wanted: bool, strict: bool = False) -> None:
        """Let a task, or code that awaits a checkpoint, compete for the time, or not."""
        if seat.wanted is wanted:
            return
        seat.wanted = wanted
        self.ready += 1 if wanted else -1
        changes = self.changes
        unmoved = Seat.move(seat)  # (one that is to be stopped is not, in the middle of this)
        if changes.serving and (unmoved is not None or changes.outer):
            changes.moves.append(unmoved)  # a turn of several steps is to look up
        if (self.started and self.ready > 0) is not self.rhythm.requested:
            self.update_rhythm(strict=strict)

    def update_rhythm(self, *, strict: bool = False) -> None:
        """Ask for ticks when there is something to do, and for none when there is not."""
        wanted = self.started and self.ready > 0
        if wanted is not self.rhythm.requested:
            if wanted:
                self.rhythm.request(strict=strict)
            else:
                self.rhythm.withdraw()

    def add_lease(self, lease: Any) -> None:
        """Let code that awaits a checkpoint compete with the tasks."""
        if self.started:
            self.leases.add(lease)
            self.update(lease, wanted=True)
        else:
            lease.begin()

    def take_back_lease(self, lease: Any) -> None:
        """Let it compete no more."""
        if lease in self.leases:
            self.leases.discard(lease)
            self.update(lease, wanted=False)

    # Ticks and steps

    def tick(self, deadline: float, predicate: Predicate | None) -> tuple[float, Lease | None]:
        """Step ready tasks until `deadline`, or until `predicate` says so.

        Returns:
            The seconds that this took, and a lease whose turn it is, if there is one.
        """
        self.ticks += 1
        queue = self.queue
        self._meter.start()
        began = queue.now = self.clock()
        try:
            queue.serve(self, deadline, predicate)
        finally:
            used = max(0.0, queue.now - began)
            self._charge_nobody(used)
            self.longest_tick = max(self.longest_tick, used)
            lease, self.granted = self.granted, None
        return used, lease

    def rest_of_slice(self) -> float:
        """Return for how many seconds a step may go on that can be set aside."""
        seconds = self.rhythm.time_slice.seconds
        rest = self.queue.deadline - self.clock()
        return rest if seconds / 4 < rest < seconds else seconds

    def _charge_nobody(self, used: float) -> None:
        """Take back what was charged for beyond the CPU time of a tick."""
        beyond = self._meter.beyond(used)
        if beyond > NOTEWORTHY:
            self.queue.refund(beyond)
            used -= beyond
        self.cpu_time += used
        self.collector_time += self._meter.collected()

    def step_now(self, job: Any) -> None:
        """Take one step of a task that is being cancelled: no tick is waited for."""
        before = job.seconds
        self._meter.start()
        try:
            self.steps += 1
            job.queue.give_turn(self, job, in_hand=False)
        finally:
            self.cpu_time += job.seconds - before
            del job

    def note_step(self, job: Any, seconds: float) -> None:
        """Remember the longest step, and log the first slow one of each task."""
        if isinstance(job, Members):
            return  # its member's step was noted
        if seconds > self.longest_step:
            self.longest_step = seconds
            self.longest_step_task = job.name
        self.notable = max(self.notable, min(seconds, self._slow_step))
        for observer in self.loop_state.observers:
            observer.step_noted(self.owner, job.name, seconds)
        if seconds > self._slow_step and not job.was_slow:
            job.was_slow = True
            self.warn(SLOW, repr(job), *self._apart(seconds))

    def warn(self, text: str, *args: object) -> None:
        """Log a warning; what a log handler raises harms nothing."""
        try:
            logger.warning(text, *args)
        except BaseException as error:  # noqa: BLE001
            self.take("a log handler failed", error)

    def _apart(self, seconds: float) -> tuple[float, float, float, str]:
        """Tell the CPU time and the collector's apart in a step that has just ended."""
        collected = min(self._meter.collected(), seconds)
        advice = QUIET if collected > seconds / 2 else ""
        return seconds, min(self._meter.cpu(), seconds), collected, advice

    def is_stepping(self) -> bool:
        """Tell whether one of its tasks is being stepped, below whatever else is."""
        changes = self.changes
        running = (changes.current, *changes.outer)
        return any(getattr(seat, "home", None) is self for seat in running)

    # Errors

    def report(self, message: str, error: BaseException) -> None:
        """Tell the loop's exception handler what a user's callable has raised."""
        self.loop_state.loop.call_exception_handler(
            {"message": f"{message}: {self.label()}", "exception": error}
        )

    def take(self, message: str, error: BaseException) -> None:
        """Take what a call-out has raised: report it, or have it leave through the loop.

        It leaves when the change is over in which it came, with the books right.
        """
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            self.changes.leaving = error
        else:
            self.report(message, error)


def _nothing() -> None:
    """Stand in for the reference to a loop before there was one."""
