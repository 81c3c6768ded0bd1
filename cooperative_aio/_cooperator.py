"""Cooperator: run many iterators on one loop, a slice at a time."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Callable, Generator, Hashable, Iterator
from contextvars import Context
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from cooperative_aio._errors import (
    SchedulerFull,
    SchedulerStopped,
    check_count,
    check_finite,
)
from cooperative_aio._fairness import Group
from cooperative_aio._pacing import TimeSlice, pacer_of
from cooperative_aio._runner import Predicate, Runner, Scheduler
from cooperative_aio._source import check_iterator
from cooperative_aio._task import CooperativeTask

__all__ = [
    "Cooperator",
    "Statistics",
    "coiterate",
    "cooperate",
    "current_task",
    "get_cooperator",
]

R = TypeVar("R")
Task = TypeVar("Task", bound="CooperativeTask[Any]")

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Statistics:
    """Tell what a Cooperator has done and has to do; times are in seconds."""

    ready: int
    """Tasks that are queued for their next step."""
    paused: int
    """Tasks that are paused, and do not wait as well."""
    waiting: int
    """Tasks that wait on an awaitable."""
    ticks: int
    """Turns of the loop in which tasks were stepped."""
    steps: int
    """Steps that all tasks together have taken."""
    cpu_time: float
    """Seconds that these steps have taken."""
    longest_tick: float
    """Seconds that the longest tick has taken."""
    longest_step: float
    """Seconds that the longest step has taken (of steps timed together, their sum)."""
    longest_step_task: str | None
    """The name of the task that took the longest step."""
    time_slice: TimeSlice | None
    """How slices are taken; None with a termination predicate."""


class Cooperator:
    """Step iterators cooperatively on the running asyncio loop.

    After Twisted's Cooperator, whose arguments and methods it has. There, a tick
    comes on every turn of the reactor; here the loop's pacer gives slices, and
    stands back in between until the loop has been quiet. CPU time is shared, not
    steps; `stop()` forgets no task; generators are closed.

    `async with` owns the tasks: leaving it waits for them, as `drain()` does, and then
    stops the Cooperator.

    Args:
        termination_predicate_factory: Called at the start of each tick; returns a
            predicate that is asked after every step and ends the tick when true.
        scheduler: Takes a function, will call it later, and returns something
            with `cancel()`. With one of your own, each call of it is one tick.
        started: Whether to step tasks at once, or only after `start()`.
        time_slice: A TimeSlice, or its length in seconds.
        clock: What slices, fairness and statistics are measured by, in seconds.
        slow_step: Log a warning, once for each task, when a step takes more than
            so many seconds; `math.inf` for never.
        name: What `repr` shows.
        max_tasks: How many tasks may be unfinished at a time: `cooperate` refuses one
            more with SchedulerFull, which a server answers by 503. None for no limit.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A number is out of range, or both a time slice and a
            termination predicate are given.

    Cancellation: leaving `async with` by one, or being cancelled while that waits for the
    tasks, stops the Cooperator at once.
    """

    def __init__(
        self,
        termination_predicate_factory: Callable[[], Predicate] | None = None,
        scheduler: Scheduler | None = None,
        started: bool = True,  # noqa: FBT001, FBT002 (Twisted's signature)
        *,
        time_slice: TimeSlice | float | None = None,
        clock: Callable[[], float] = time.perf_counter,
        slow_step: float = 0.1,
        name: str | None = None,
        max_tasks: int | None = None,
    ) -> None:
        _check_callable("clock", clock)
        for what, value in (
            ("termination_predicate_factory", termination_predicate_factory),
            ("scheduler", scheduler),
        ):
            if value is not None:
                _check_callable(what, value)
        if slow_step != math.inf:
            check_finite("slow_step", slow_step, positive=True)
        if termination_predicate_factory is not None and time_slice is not None:
            raise ValueError(
                "time_slice must not be given beside a termination_predicate_factory,"
                f" got {time_slice!r}"
            )
        if max_tasks is not None:
            check_count("max_tasks", max_tasks)
        self._max_tasks = max_tasks
        self._predicate_factory = termination_predicate_factory
        self._name = name if name is not None else f"Cooperator-{next(_numbers)}"
        self._runner = Runner(
            termination_predicate_factory,
            scheduler,
            _as_time_slice(time_slice),
            clock,
            slow_step,
            label=self.__repr__,
        )
        self._runner.started = started

    def __repr__(self) -> str:
        state = (
            "running" if self.running else "stopped" if self._runner.stopped else "not started"
        )
        return f"<Cooperator {state} name={self._name!r} tasks={len(self._runner.tasks)}>"

    # Tasks

    @overload
    def cooperate(
        self,
        iterator: Generator[Any, Any, R],
        *,
        name: str | None = None,
        weight: float = 1.0,
        context: Context | None = None,
        group: Hashable = None,
    ) -> CooperativeTask[R]: ...

    @overload
    def cooperate(
        self,
        iterator: Iterator[Any],
        *,
        name: str | None = None,
        weight: float = 1.0,
        context: Context | None = None,
        group: Hashable = None,
    ) -> CooperativeTask[Any]: ...

    def cooperate(
        self,
        iterator: Iterator[Any],
        *,
        name: str | None = None,
        weight: float = 1.0,
        context: Context | None = None,
        group: Hashable = None,
    ) -> CooperativeTask[Any]:
        """Step `iterator` until it ends, beside the other tasks.

        Args:
            iterator: A generator, or any other iterator. Awaitables that it yields
                are waited on; any other value marks the end of a step.
            name: What `repr` and the slow-step warning show.
            weight: Its part of the CPU time, relative to that of other ready tasks.
            context: Where its steps run; a copy of the caller's context by default.
            group: With which tasks it shares the time of one: those of the same
                group, say of the same client. See `group()`.

        Returns:
            The task, a future. On a stopped Cooperator it has ended already, with
            SchedulerStopped.

        Raises:
            TypeError: Not an iterator; the message says what to use instead.
            ValueError: The weight is not a finite number above 0.
            SchedulerFull: There are `max_tasks` unfinished tasks. The iterator was not
                touched.
            RuntimeError: No loop is running in this thread, or the Cooperator has
                unfinished tasks on another.

        Cancellation: awaiting the task and being cancelled cancels it: see
        `CooperativeTask.cancel`.
        """
        return self._make_task(CooperativeTask, iterator, name, weight, context, group)

    def _make_task(
        self,
        kind: Callable[..., Task],
        iterator: Iterator[Any],
        name: str | None,
        weight: float,
        context: Context | None,
        group: Hashable,
    ) -> Task:
        """Check everything, then make a task and take it over."""
        runner = self._runner
        loop = runner.check_loop()
        check_iterator(iterator)
        weight = check_finite("weight", weight, positive=True)
        if context is not None and not isinstance(context, Context):
            raise TypeError(f"context must be a contextvars.Context, got {context!r}")
        if self._max_tasks is not None and len(runner.tasks) >= self._max_tasks:
            raise SchedulerFull(
                f"cannot take another task; {self!r} has max_tasks={self._max_tasks}"
            )
        own_group = None if group is None else self.group(group)
        runner.bind(loop)
        task = kind(
            runner,
            iterator,
            loop=loop,
            name=name,
            weight=weight,
            context=context,
            group=own_group,
        )
        runner.add(task)
        if runner.stopped:
            task._stop_with(SchedulerStopped("the Cooperator is stopped; start() it first"))
        return task

    def coiterate(
        self,
        iterator: Iterator[Any],
        done_future: asyncio.Future[Iterator[Any]] | None = None,
    ) -> asyncio.Future[Iterator[Any]]:
        """Step `iterator` until it ends; return a future that completes with it.

        Args:
            iterator: As for `cooperate`.
            done_future: The future to complete and return, instead of a new one.

        Raises:
            TypeError: Not an iterator, or not a future.
            ValueError: `done_future` is done already.
            SchedulerFull: As for `cooperate`.
            RuntimeError: As for `cooperate`.

        Cancellation: cancelling the future leaves the task alone.
        """
        if done_future is None:
            return self.cooperate(iterator).when_done()
        if not asyncio.isfuture(done_future):
            raise TypeError(f"done_future must be a future, got {done_future!r}")
        if done_future.done():
            raise ValueError(f"done_future must not be done, got {done_future!r}")
        self.cooperate(iterator)._relay(done_future)
        return done_future

    def group(self, name: Hashable) -> Group:
        """Return the group of that name, to set its `weight`, say.

        CPU time is shared first between groups and the tasks without one, in
        proportion to their weights, and then within each group: so that a client
        with a hundred tasks does not crowd out a client with one. A group of weight
        1 is forgotten when it has no unfinished task and nobody refers to it.

        Raises:
            TypeError: The name cannot be hashed.
        """
        groups = self._runner.groups
        try:
            group = groups.get(name)
        except TypeError:
            raise TypeError(f"group must be hashable, got {name!r}") from None
        if group is None:
            group = Group(name, self._runner.queue, self._runner.weighted)
            groups[name] = group
        return group

    @property
    def tasks(self) -> tuple[CooperativeTask[Any], ...]:
        """The tasks that have not ended, as of now, in the order they were added."""
        return tuple(self._runner.tasks)

    def statistics(self) -> Statistics:
        """Return what was done so far and what is to be done, as of now."""
        runner = self._runner
        ready = runner.ready - len(runner.leases)
        return Statistics(
            ready=ready,
            paused=len(runner.tasks) - ready - runner.waiting,
            waiting=runner.waiting,
            ticks=runner.ticks,
            steps=runner.steps,
            cpu_time=runner.cpu_time,
            longest_tick=runner.longest_tick,
            longest_step=runner.longest_step,
            longest_step_task=runner.longest_step_task,
            time_slice=None if self._predicate_factory is not None else runner.time_slice,
        )

    # Life

    @property
    def running(self) -> bool:
        """Whether tasks are stepped: after `start()`, before `stop()`."""
        return self._runner.started

    def start(self) -> None:
        """Step tasks from now on; nothing if they are being stepped already.

        Raises:
            RuntimeError: It has unfinished tasks on another loop.
        """
        self._runner.check_caller()
        self._runner.stopped = False
        self._runner.started = True
        self._runner.request()

    def stop(self) -> None:
        """End every unfinished task with SchedulerStopped, and refuse new ones.

        The tasks' generators are closed when this returns (that of the task that
        calls it, when its step ends). Twisted's forgets every second one of them.

        Raises:
            RuntimeError: It has unfinished tasks on another loop.
        """
        self._runner.check_caller()
        self._runner.started = False
        self._runner.stopped = True
        self._runner.take_back_request()
        self._runner.end_tasks("the Cooperator was stopped")

    async def drain(self) -> None:
        """Return once no unfinished task is left.

        Raises:
            RuntimeError: It has unfinished tasks on another loop.

        Cancellation: leaves the tasks alone.
        """
        runner = self._runner
        loop = runner.check_loop()
        while runner.tasks:
            drained: asyncio.Future[None] = loop.create_future()
            runner.drained.add(drained)
            try:
                await drained
            finally:
                runner.drained.discard(drained)

    async def __aenter__(self) -> Self:
        self._runner.check_loop()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                await self.drain()
        finally:
            self.stop()


def _check_callable(name: str, value: object) -> None:
    if not callable(value):
        raise TypeError(f"{name} must be callable, got {value!r}")


def _as_time_slice(value: TimeSlice | float | None) -> TimeSlice:
    if value is None:
        return TimeSlice()
    if isinstance(value, TimeSlice):
        return value
    return TimeSlice(check_finite("time_slice", value, positive=True))


def get_cooperator() -> Cooperator:
    """Return the running loop's own Cooperator, which is made when first asked for.

    Raises:
        RuntimeError: No loop is running in this thread.
    """
    pacer = pacer_of(_running_loop())
    if pacer.cooperator is None:
        pacer.cooperator = Cooperator()
    assert isinstance(pacer.cooperator, Cooperator)  # noqa: S101 (for the type checker)
    return pacer.cooperator


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "cannot find a Cooperator without a running event loop in this thread;"
            " from a worker thread use anyio.from_thread.run"
        ) from None


def current_task() -> CooperativeTask[Any] | None:
    """Return the task whose step is running, or None outside of steps."""
    try:
        task = pacer_of(asyncio.get_running_loop()).current
    except RuntimeError:
        return None
    if not isinstance(task, CooperativeTask):
        return None
    task._watch()
    return task


@overload
def cooperate(
    iterator: Generator[Any, Any, R],
    *,
    name: str | None = None,
    weight: float = 1.0,
    context: Context | None = None,
    group: Hashable = None,
) -> CooperativeTask[R]: ...


@overload
def cooperate(
    iterator: Iterator[Any],
    *,
    name: str | None = None,
    weight: float = 1.0,
    context: Context | None = None,
    group: Hashable = None,
) -> CooperativeTask[Any]: ...


def cooperate(
    iterator: Iterator[Any],
    *,
    name: str | None = None,
    weight: float = 1.0,
    context: Context | None = None,
    group: Hashable = None,
) -> CooperativeTask[Any]:
    """Step `iterator` on the running loop's own Cooperator: see `Cooperator.cooperate`.

    Raises:
        TypeError: Not an iterator; the message says what to use instead.
        ValueError: The weight is not a finite number above 0.
        RuntimeError: No loop is running in this thread.

    Cancellation: awaiting the task and being cancelled cancels it: see
    `CooperativeTask.cancel`.
    """
    return get_cooperator().cooperate(
        iterator, name=name, weight=weight, context=context, group=group
    )


def coiterate(
    iterator: Iterator[Any], done_future: asyncio.Future[Iterator[Any]] | None = None
) -> asyncio.Future[Iterator[Any]]:
    """Step `iterator` on the running loop's own Cooperator: see `Cooperator.coiterate`.

    Raises:
        TypeError: Not an iterator, or not a future.
        ValueError: `done_future` is done already.
        RuntimeError: No loop is running in this thread.

    Cancellation: cancelling the future leaves the task alone.
    """
    return get_cooperator().coiterate(iterator, done_future)
