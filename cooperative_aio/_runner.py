"""The engine of a Cooperator: its tasks, the queue of the ready ones, its ticks.

A **tick** is one turn of the loop in which ready tasks are stepped, taken from
the fair queue, until the slice is over or nobody is ready. Two things can bring
a tick about: the loop's pacer, or (with a scheduler or a termination predicate
of the user's own) the scheduler, in the ancestor's plain rhythm. Ticks are
requested when somebody becomes ready, and taken back when nobody is any more.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import sys
import time
import weakref
from collections.abc import Callable, Hashable
from typing import Any, Final, Protocol
from weakref import WeakValueDictionary

from cooperative_aio._errors import SchedulerStopped
from cooperative_aio._fairness import Contender, FairQueue, Group
from cooperative_aio._pacing import Lease, Member, Pacer, TimeSlice, pacer_of
from cooperative_aio._task import ENDED, CooperativeTask, Outcome

__all__ = ["Cancellable", "Predicate", "Runner", "Scheduler"]

logger: Final = logging.getLogger("cooperative_aio")

Predicate = Callable[[], object]


class Cancellable(Protocol):
    """What a scheduler returns."""

    def cancel(self) -> object:
        """Take the call back."""


Scheduler = Callable[[Callable[[], None]], Cancellable]


GROUPED: Final = Group._per_turn


class Runner:
    """Run tasks for a Cooperator, which has the public face.

    Args:
        predicate_factory: As for Cooperator.
        scheduler: As for Cooperator.
        time_slice: How long a tick is, unless a predicate ends it.
        clock: As for Cooperator; `time.perf_counter` stands for the loop's own.
        slow_step: As for Cooperator.
        label: What error messages call the Cooperator.
    """

    def __init__(
        self,
        predicate_factory: Callable[[], Predicate] | None,
        scheduler: Scheduler | None,
        time_slice: TimeSlice,
        clock: Callable[[], float],
        slow_step: float,
        label: Callable[[], str],
    ) -> None:
        self.time_slice: TimeSlice = time_slice
        self._predicate_factory = predicate_factory
        self._scheduler = scheduler
        self._given_clock = clock
        self._slow_step = slow_step
        self._label = label
        self.started: bool = True
        self.stopped: bool = False  # new tasks are refused
        # While there are unfinished tasks, these are their loop's
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pacer: Callable[[], Pacer | None] = _no_pacer  # it belongs to the loop
        self.clock: Callable[[], float] = clock
        # Tasks
        self.tasks: dict[CooperativeTask[Any], None] = {}
        self.drained: set[asyncio.Future[None]] = set()
        self.queue: FairQueue[Any] = FairQueue()
        self.groups: WeakValueDictionary[Hashable, Group] = WeakValueDictionary()
        self.weighted: set[Group] = set()  # groups that are not to be forgotten
        self.ready: int = 0  # tasks, and code that awaits a checkpoint
        self.waiting: int = 0  # tasks that wait on an awaitable
        self.leases: set[Lease] = set()  # competitors: code that awaits checkpoint()
        self.stepping: CooperativeTask[Any] | None = None
        # Ticks
        self._requested = False
        self._call: Cancellable | None = None  # what the scheduler returned
        self._number = 0  # of the call, since a scheduler may forget that it was taken back
        self._ticking = False  # in a tick that the scheduler called
        self._member = Member(self.run_slice, time_slice)  # of the pacer
        # Statistics
        self.ticks: int = 0
        self.steps: int = 0
        self.cpu_time: float = 0.0
        self.longest_tick: float = 0.0
        self.longest_step: float = 0.0
        self.longest_step_task: str | None = None
        self.notable: float = 0.0  # a step that took no longer is neither slow nor the longest

    # The loop that it belongs to

    def check_loop(self) -> asyncio.AbstractEventLoop:
        """Return the running loop, if the Cooperator may be used on it."""
        self.check_caller()
        try:
            return asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                f"cannot use {self._label()} without a running event loop in this thread;"
                " from a worker thread use anyio.from_thread.run"
            ) from None

    def check_caller(self) -> None:
        """Refuse calls from another loop or thread while there are unfinished tasks."""
        if self._loop is None:
            return
        if self._loop.is_closed():
            self._lose_tasks()
            return
        try:
            running: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop or (running is None and not self._loop.is_running()):
            return
        raise RuntimeError(
            f"cannot use {self._label()} from here; it has unfinished tasks on another event"
            " loop (give each loop a Cooperator; from a worker thread use"
            " anyio.from_thread.run)"
        )

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Belong to `loop` while there are unfinished tasks."""
        if self._loop is not loop:
            self._loop = loop
            pacer = self.bind_pacer(loop)
            pacer.on_shutdown.add(self._shut_down)
            pacer.watch_shutdown()

    def bind_pacer(self, loop: asyncio.AbstractEventLoop) -> Pacer:
        """Take time from the pacer of `loop`."""
        pacer = pacer_of(loop)
        if self._pacer() is not pacer:
            self._pacer = weakref.ref(pacer)
            self._member = Member(self.run_slice, self.time_slice)
            if self._given_clock is time.perf_counter:
                self.clock = pacer.clock
        return pacer

    def _lose_tasks(self) -> None:
        """End the tasks of a loop that was closed without being shut down."""
        self._requested = False
        self._call = self.stepping = None
        for lease in tuple(self.leases):
            self.take_back_lease(lease)
        for task in tuple(self.tasks):
            task._lose()

    def _shut_down(self) -> None:
        """End what is unfinished when the loop ends; the next one may be served."""
        was_stopped, self.stopped = self.stopped, True
        try:
            self.end_tasks("the event loop was shut down")
        finally:
            self.stopped = was_stopped

    # Tasks

    def add(self, task: CooperativeTask[Any]) -> None:
        """Take over a new task; if no tick can be had, leave all as it was."""
        self.tasks[task] = None
        try:
            self.add_ready(task, strict=True)
        except BaseException:
            self._leave(task)
            task._release()
            self.forget(task)
            raise

    def forget(self, task: CooperativeTask[Any]) -> None:
        """Drop a task that ends; with the last one, leave the loop."""
        del self.tasks[task]
        if not self.tasks:
            for drained in self.drained:
                if not drained.done():
                    drained.set_result(None)
            self.the_pacer.on_shutdown.discard(self._shut_down)
            self._loop = None

    def end_tasks(self, why: str) -> None:
        """End all tasks with SchedulerStopped, and let code at a checkpoint go on."""
        for lease in tuple(self.leases):
            self.take_back_lease(lease)
            lease.begin()
        leaving: BaseException | None = None
        for task in tuple(self.tasks):
            try:
                if not task.done():
                    task._stop_with(SchedulerStopped(why))
            except (KeyboardInterrupt, SystemExit) as error:
                leaving = error
        if leaving is not None:
            raise leaving

    # Who is ready

    def add_ready(self, competitor: Contender, *, strict: bool = False) -> None:
        """Let a task, or code that awaits a checkpoint, compete for the time."""
        group = competitor._group
        if group is None:
            self.queue.join(competitor)
        else:
            group.members.join(competitor)
            if group.members.count == 1:
                self.queue.join(group)
        self.ready += 1
        if self.stepping is not None:
            self.stepping._interrupted = True
        self.request(strict=strict)

    def remove_ready(self, competitor: Contender) -> None:
        """Take it out of the competition."""
        self._leave(competitor)
        if not self.queue.count:
            self.take_back_request()

    def _leave(self, competitor: Contender) -> None:
        group = competitor._group
        if group is None:
            self.queue.leave(competitor)
        else:
            group.members.leave(competitor)
            if not group.members.count:
                self.queue.leave(group)
        self.ready -= 1

    def request(self, *, strict: bool = False) -> None:
        """See to it that a tick comes, if one is needed.

        Args:
            strict: Whether to raise what a user's scheduler raises; else it is
                reported, and the loop stands in.
        """
        if self.started and self.queue.count and not self._requested:
            self._requested = True
            if self._scheduler is None and self._predicate_factory is None:
                self.the_pacer.request(self._member)
            elif not self._ticking:  # else the tick that is going on schedules the next
                self._schedule(strict=strict)

    def take_back_request(self) -> None:
        """See to it that no tick comes."""
        if self._requested:
            self._requested = False
            if self._scheduler is None and self._predicate_factory is None:
                self.the_pacer.withdraw(self._member)
            elif self._call is not None:
                call, self._call = self._call, None
                try:
                    call.cancel()
                except Exception as error:  # noqa: BLE001
                    self._report("what the scheduler returned cannot be cancelled", error)

    def lend(self, lease: Lease) -> bool:
        """Let code that awaits a checkpoint run on at once, if nobody else wants to."""
        self.bind_pacer(self.check_loop())
        return self.the_pacer.open(lease, self._member)

    def add_lease(self, lease: Lease) -> None:
        """Let code that awaits a checkpoint compete with the tasks."""
        self.leases.add(lease)
        self.add_ready(lease)

    def take_back_lease(self, lease: Lease) -> None:
        """Let it compete no more."""
        if lease in self.leases:
            self.leases.discard(lease)
            self.remove_ready(lease)

    # Ticks in the plain rhythm

    def _schedule(self, *, strict: bool = False) -> None:
        """Have the scheduler bring about a tick."""
        self._number += 1
        tick = functools.partial(self._scheduled_tick, self._number)
        if self._scheduler is not None:
            try:
                call = self._scheduler(tick)
                if not callable(getattr(call, "cancel", None)):
                    raise TypeError(  # noqa: TRY301
                        f"scheduler must return an object with cancel(), got {call!r}"
                    )
            except Exception as error:
                if strict:
                    self._requested = False
                    raise
                self._report("the scheduler failed, so call_soon stood in for it", error)
            else:
                self._call = call
                return
        self._call = self.the_pacer.call_soon(tick)

    def _scheduled_tick(self, number: int) -> None:
        """Do what the scheduler was asked to call; survive the user's bugs."""
        if number != self._number or self._call is None:
            return  # taken back, but the scheduler called all the same
        self._call = None
        if self.stepping is not None:  # called from inside of a step: not now
            self._schedule()
            return
        self._ticking = True
        try:
            self._tick(*self._limits())
        except Exception as error:  # noqa: BLE001
            self._report("a tick failed", error)
        finally:
            self._ticking = False
            self._schedule_if_requested()

    def _schedule_if_requested(self) -> None:
        if self._requested:
            self._schedule()

    def _limits(self) -> tuple[float, Predicate | None]:
        """Return when the tick is to end, and the predicate that ends it earlier."""
        if self._predicate_factory is None:
            return self.clock() + self.time_slice.seconds, None
        try:
            predicate = self._predicate_factory()
            if not callable(predicate):
                raise TypeError(  # noqa: TRY301
                    f"termination_predicate_factory must return a callable, got {predicate!r}"
                )
        except Exception as error:  # noqa: BLE001
            self._report("a termination_predicate_factory failed, so one step is taken", error)
            return -math.inf, None
        return math.inf, predicate

    def _report(self, message: str, error: Exception) -> None:
        loop = self.the_pacer.loop
        loop.call_exception_handler(
            {"message": f"{message}: {self._label()}", "exception": error}
        )

    # The tick

    def run_slice(self, seconds: float) -> tuple[float, Lease | None]:
        """Step tasks for so long: a tick that the pacer has granted."""
        return self._tick(self.clock() + seconds, None)

    def _tick(  # noqa: C901, PLR0912, PLR0915 (see its docstring)
        self, deadline: float, predicate: Predicate | None
    ) -> tuple[float, Lease | None]:
        """Step ready tasks until `deadline`, or until `predicate` says so.

        What this loop does is what a step costs, so it does nothing twice and calls
        little: it takes a task from the ring itself while nobody stands in the heap,
        and asks the queue for the edge of the ring only when a task passes the last.

        Returns:
            The seconds that this took, and a lease whose turn it is, if there is one.
        """
        queue, ring, clock = self.queue, self.queue.ring, self.clock
        task: Any = None
        stepped: Any
        lease: Lease | None = None
        outcome: Outcome
        edge = -math.inf
        steps = 0
        self.ticks += 1
        pacer = self.the_pacer
        outer, pacer.stepper = pacer.stepper, self
        began = now = clock()
        try:
            while ring or queue.ahead:
                task = queue.take() if queue.ahead else ring.popleft()
                if not task._ready:
                    queue.drop(task)
                    continue
                self.stepping = stepped = task
                per_turn = task._per_turn
                if per_turn and (per_turn != 1 or (queue.count == 1 and predicate is None)):
                    if per_turn == -1:
                        self.leases.discard(task)
                        self.remove_ready(task)
                        queue.drop(task)
                        lease = task
                        break
                    if per_turn == GROUPED:
                        stepped = self.stepping = task.members.next()
                    before = stepped._steps
                    outcome = self._take_turn(stepped, deadline, predicate)
                    before = stepped._steps - before
                    steps += before
                    is_single = before == 1
                else:
                    is_single = True
                    steps += 1
                    task._steps += 1
                    try:
                        value = task._run(task._next)
                    except StopIteration as stop:
                        outcome = task._returned(stop.value)
                    except BaseException as error:  # noqa: BLE001
                        outcome = task._raised(error)
                    else:
                        outcome = None if type(value) is task._plain else task._inspect(value)
                        if task._keep is not None and outcome is None and value is not None:
                            task._keep(value)
                later = clock()
                seconds = later - now
                now = later
                task._virtual = virtual = task._virtual + seconds / task._rate
                if task._ready:
                    queue.sum += seconds
                    if virtual <= edge and not queue.ahead:
                        ring.append(task)
                    else:
                        edge = queue.put(task)
                else:
                    queue.drop(task)
                if stepped is not task:
                    task.members.charge(stepped, seconds)
                    task.members.put_back(stepped)
                if seconds > self.notable and is_single:
                    self.note_step(stepped, seconds)
                if outcome is not None or stepped._interrupted:
                    self.stepping = None
                    edge = -math.inf
                    self._settle(stepped, outcome)
                if now >= deadline:
                    break
                if predicate is not None:
                    self.stepping = None  # so that the predicate may stop the task
                    if predicate():
                        break
        finally:
            self.stepping, pacer.stepper = None, outer
            self.steps += steps
            self.cpu_time += now - began
            self.longest_tick = max(self.longest_tick, now - began)
            task = stepped = value = outcome = (
                None  # an exception of the iterator refers to this frame
            )
        return now - began, lease

    def _take_turn(
        self, task: CooperativeTask[Any], deadline: float, predicate: Predicate | None
    ) -> Outcome:
        """Step a task several times, or one of a group: what is not the usual case."""
        alone = self.ready == 1 and predicate is None
        try:
            if not task._per_turn or (task._per_turn == 1 and not alone):
                return task._run(task._step)
            limit = sys.maxsize if alone else task._per_turn
            return task._run(task._burst, limit, deadline)
        finally:
            del task  # an exception of the iterator refers to this frame

    def step_now(self, task: CooperativeTask[Any]) -> None:
        """Take one step of a task that is being cancelled: no tick is waited for."""
        pacer = self.the_pacer
        outer, pacer.stepper, self.stepping = pacer.stepper, self, task
        began = self.clock()
        try:
            outcome = task._run(task._step)
        finally:
            self.stepping, pacer.stepper = None, outer
            seconds = self.clock() - began
            self.steps += 1
            self.cpu_time += seconds
            self.queue.charge(task, seconds)
        if seconds > self.notable:
            self.note_step(task, seconds)
        self._settle(task, outcome)
        del task, outcome  # an exception of the iterator refers to this frame

    def _settle(self, task: CooperativeTask[Any], outcome: Outcome) -> None:
        """Deal with all that a step may have brought but a value."""
        task._interrupted = False
        if outcome is not ENDED:
            task._after_step(outcome, is_ticking=self.started)

    def note_step(self, task: CooperativeTask[Any], seconds: float) -> None:
        """Remember the longest step, and log the first slow one of each task."""
        if seconds > self.longest_step:
            self.longest_step = seconds
            self.longest_step_task = task.name
            self.notable = min(seconds, self._slow_step)
        if seconds > self._slow_step and not task._was_slow:
            task._was_slow = True
            logger.warning("a step of %r held the loop for %.3f seconds", task, seconds)

    @property
    def the_pacer(self) -> Pacer:
        """The pacer of the loop that it belongs to."""
        pacer = self._pacer()
        assert pacer is not None  # noqa: S101 (there are tasks, hence a loop)
        return pacer


def _no_pacer() -> None:
    """Stand in for the reference to the pacer before there is one."""
