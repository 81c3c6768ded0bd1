"""Cooperator: run many iterators on one loop, a slice at a time."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Callable, Generator, Hashable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload

from cooperative_aio._checks import (
    as_name,
    check_callable,
    check_count,
    check_finite,
    quote,
)
from cooperative_aio._groups import Group
from cooperative_aio._options import TaskOptions
from cooperative_aio._pacing import TimeSlice
from cooperative_aio._rhythm import Paced, Predicate, Scheduled, Scheduler
from cooperative_aio._roster import Roster
from cooperative_aio._statistics import Statistics, statistics_of
from cooperative_aio._task import CooperativeTask, relay

__all__ = [
    "Cooperator",
    "engine_of",
    "name_of",
]

R = TypeVar("R")

_numbers = itertools.count(1)


class Cooperator:
    """A set of tasks that run on one asyncio loop, a time slice at a time.

        def count(to):
            for number in range(to):
                yield
            return number

        async with Cooperator(time_slice=0.005) as cooperator:
            first = cooperator.cooperate(count(10_000))
            second = cooperator.cooperate(count(20_000))

        print(first.result(), second.result())  # leaving the block has waited for both

    Leaving `async with` waits for the tasks, as `drain()` does, and then stops the
    Cooperator; leaving it by an exception stops the Cooperator at once.

    It has the arguments and methods of Twisted's Cooperator. There, a tick comes on
    every turn of the reactor; here the loop's pacer gives slices, and stands back in
    between until the loop has been quiet. Tasks share CPU time, not steps. `stop()`
    ends every task and closes its generator.

    Args:
        termination_predicate_factory: Called at the start of each tick; returns a
            predicate that is asked after every step and ends the tick when true.
        scheduler: A function that takes a function, calls it later, and returns
            an object with `cancel()`. With a scheduler of your own, each of its calls
            is one tick.
        started: Whether to step tasks at once, or only after `start()`.
        time_slice: A TimeSlice, or its length in seconds.
        clock: The function that slices, fairness and statistics are measured by, in
            seconds.
        slow_step: The number of seconds after which a step is called slow: a warning is
            logged, once for each task. `math.inf` for never.
        name: The name in logs, in `repr` and in the monitor.
        max_tasks: How many tasks may be unfinished at a time; `cooperate` refuses
            another one with SchedulerFull. None for no limit.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A number is out of range, or both a time slice and a
            termination predicate are given.

    Cancellation: a cancellation inside `async with`, or while leaving it waits for the
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
        check_callable("clock", clock)
        for what, value in (
            ("termination_predicate_factory", termination_predicate_factory),
            ("scheduler", scheduler),
        ):
            if value is not None:
                check_callable(what, value)
        if slow_step != math.inf:
            check_finite("slow_step", slow_step, positive=True)
        if termination_predicate_factory is not None and time_slice is not None:
            raise ValueError(
                "time_slice must not be given beside a termination_predicate_factory,"
                f" got {quote(time_slice)}"
            )
        if max_tasks is not None:
            check_count("max_tasks", max_tasks)
        self._name = as_name(name) or f"Cooperator-{next(_numbers)}"
        a_slice = _as_time_slice(time_slice)
        self._time_slice = a_slice if termination_predicate_factory is None else None
        if scheduler is None and termination_predicate_factory is None:
            rhythm: Paced | Scheduled = Paced(a_slice)
        else:
            rhythm = Scheduled(scheduler, termination_predicate_factory, a_slice)
        self._engine = Roster(self, rhythm, clock, slow_step, max_tasks)
        self._engine.started = bool(started)

    def __repr__(self) -> str:
        state = (
            "running" if self.running else "stopped" if self._engine.stopped else "not started"
        )
        return f"<Cooperator {state} name={quote(self._name)} tasks={len(self._engine.jobs)}>"

    # Tasks

    @overload
    def cooperate(
        self, iterator: Generator[Any, Any, R], **options: Unpack[TaskOptions]
    ) -> CooperativeTask[R]: ...

    @overload
    def cooperate(
        self, iterator: Iterator[Any], **options: Unpack[TaskOptions]
    ) -> CooperativeTask[Any]: ...

    def cooperate(
        self, iterator: Iterator[Any], **options: Unpack[TaskOptions]
    ) -> CooperativeTask[Any]:
        """Step `iterator` until it ends, beside the other tasks of the loop.

        Args:
            iterator: A generator, or any other iterator. An awaitable that it yields
                is waited on; any other value only marks the end of a step.
            **options: Those of the task, such as `name` and `weight`: see `TaskOptions`.

        Returns:
            The task, a future. On a stopped Cooperator it has ended already, with
            SchedulerStopped.

        Raises:
            TypeError: `iterator` is not an iterator; the message says what to use instead.
            ValueError: The weight is not a finite number above 0.
            SchedulerFull: There are `max_tasks` unfinished tasks. The iterator was not
                touched.
            RuntimeError: No loop is running in this thread, or the Cooperator has
                unfinished tasks on another.

        Cancellation: cancelling a coroutine that awaits the task cancels the task; see
        `CooperativeTask.cancel`.
        """
        return self._engine.start(iterator, **options)

    def coiterate(
        self,
        iterator: Iterator[Any],
        done_future: asyncio.Future[Iterator[Any]] | None = None,
    ) -> asyncio.Future[Iterator[Any]]:
        """Step `iterator` until it ends; return a future that completes with it.

        This is Twisted's `coiterate`. For the value that a generator returns, use
        `cooperate`.

        Args:
            iterator: A generator, or any other iterator.
            done_future: The future to complete and return, instead of a new one.

        Raises:
            TypeError: `iterator` is not an iterator, or `done_future` not a future.
            ValueError: `done_future` is done already.
            SchedulerFull: There are `max_tasks` unfinished tasks.
            RuntimeError: No loop is running in this thread, or the Cooperator has
                unfinished tasks on another.

        Cancellation: cancelling the future leaves the task alone.
        """
        if done_future is None:
            return self.cooperate(iterator).when_done()
        if not asyncio.isfuture(done_future):
            raise TypeError(f"done_future must be a future, got {quote(done_future)}")
        if done_future.done():
            raise ValueError(f"done_future must not be done, got {quote(done_future)}")
        relay(self.cooperate(iterator), done_future)
        return done_future

    def group(self, name: Hashable) -> Group:
        """Return the group of that name, for example to set its `weight`.

        CPU time is shared first between the groups and the tasks without one, in
        proportion to their weights, and then within each group. A client with a hundred
        tasks so does not crowd out a client with one. A group of weight 1 is
        forgotten when it has no unfinished task and nothing refers to it.

        Args:
            name: Any hashable value.

        Raises:
            TypeError: The name cannot be hashed.
        """
        return self._engine.members(name).group()

    @property
    def tasks(self) -> tuple[CooperativeTask[Any], ...]:
        """The tasks that have not ended, in the order in which they were added."""
        return tuple(job.face for job in tuple(self._engine.jobs))

    def statistics(self) -> Statistics:
        """Return the figures of this moment: what was done, and what there is to do."""
        return statistics_of(self._engine, self._time_slice)

    # Life

    @property
    def running(self) -> bool:
        """Whether tasks are stepped: after `start()`, before `stop()`."""
        return self._engine.started

    def start(self) -> None:
        """Step the tasks from now on; does nothing if they are being stepped already.

        Raises:
            RuntimeError: The Cooperator has unfinished tasks on another loop.
        """
        self._engine.check_caller()
        self._engine.changes.make(self._engine.resume)

    def stop(self) -> None:
        """End every unfinished task with SchedulerStopped, and refuse new ones.

        All generators are closed when this returns. If a task calls it in its own step,
        its generator is closed at the end of that step. After `start()` the Cooperator
        takes tasks again.

        Raises:
            RuntimeError: The Cooperator has unfinished tasks on another loop.
        """
        self._engine.check_caller()
        self._engine.changes.make(self._engine.stop)

    async def drain(self) -> None:
        """Wait until no unfinished task is left.

        Raises:
            RuntimeError: The Cooperator has unfinished tasks on another loop.

        Cancellation: leaves the tasks alone.
        """
        engine = self._engine
        loop = engine.check_loop()
        if engine.ended:
            await asyncio.sleep(0)  # callbacks of a task that has just ended may add one
        while engine.jobs:
            drained: asyncio.Future[None] = loop.create_future()
            engine.drained.add(drained)
            try:
                await drained
            finally:
                engine.drained.discard(drained)
            await asyncio.sleep(0)  # so may those of the task that has ended last

    async def __aenter__(self) -> Self:
        self._engine.check_loop()
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


def _as_time_slice(value: TimeSlice | float | None) -> TimeSlice:
    if value is None:
        return TimeSlice()
    if isinstance(value, TimeSlice):
        return value
    return TimeSlice(check_finite("time_slice", value, positive=True))


def name_of(cooperator: Cooperator) -> str:
    """Return the name of `cooperator`: for the other modules of the package."""
    return cooperator._name


def engine_of(cooperator: Cooperator) -> Roster:
    """Return what runs the tasks of `cooperator`: for the other modules of the package."""
    return cooperator._engine
