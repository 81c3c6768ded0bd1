"""CooperativeTask: the future by which users hold a task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from types import GeneratorType
from typing import Any, Generic, TypeVar

from cooperative_aio._call_graph import Frames
from cooperative_aio._checks import check_finite
from cooperative_aio._errors import NotPaused, TaskStopped
from cooperative_aio._fairness import Group
from cooperative_aio._futures import FaithfulFuture
from cooperative_aio._job import Job

__all__ = ["CooperativeTask", "job_of", "relay"]

T = TypeVar("T")


class CooperativeTask(FaithfulFuture[T], Generic[T]):
    """A future for an iterator that is stepped beside others; made by `cooperate`.

    Awaiting it gives the generator's `return` value or raises what the generator
    raised, and everything of asyncio's that takes a future takes it. For what takes
    only coroutines there is `join()`.

    It comes from Twisted's CooperativeTask. There, a finished task gives its
    iterator; here that is what `when_done()` does.

    Cancellation: a coroutine that awaits the task and is cancelled cancels the task, as
    with an `asyncio.Task`; `when_done()` gives futures that do not pass it on.
    """

    __slots__ = ("_job",)

    def __init__(self, job: Any, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.Future.__init__(self, loop=loop)
        self._cancelled_with = None
        self._job: Job = job

    # What it is

    @property
    def name(self) -> str:
        """The name that it was given, or that of its generator with a number."""
        return self._job.name

    @property
    def state(self) -> str:
        """What it is doing, or how it has ended.

        That is `ready`, `paused`, `waiting` or `ending` (it is being cancelled); or
        `finished`, `failed`, `stopped` or `cancelled`.
        """
        return self._job.state.value

    @property
    def iterator(self) -> Iterator[Any]:
        """The iterator that it steps."""
        return self._job.iterator

    @property
    def paused(self) -> bool:
        """Whether `pause()` was called more often than `resume()`."""
        return self._job.asked.pauses > 0

    @property
    def waiting(self) -> bool:
        """Whether it is suspended on an awaitable that its iterator yielded."""
        return self._job.waiter is not None

    @property
    def steps(self) -> int:
        """How many steps it has taken."""
        return self._job.queue.steps_of(self._job)

    @property
    def cpu_time(self) -> float:
        """How long its steps have taken, in seconds of its Cooperator's clock."""
        return self._job.seconds

    @property
    def weight(self) -> float:
        """Its part of the time, in proportion to the weights of the other ready tasks.

        In a group: its part of what the group has.

        Raises:
            TypeError: The weight that it is set to is not a number.
            ValueError: The weight that it is set to is not finite and above 0.
            RuntimeError: Set from another thread or another loop.
        """
        return self._job.weight

    @weight.setter
    def weight(self, weight: float) -> None:
        self._job.home.check_caller()
        weight = check_finite("weight", weight, positive=True)
        self._make(self._job.set_weight, weight)

    @property
    def group(self) -> Group | None:
        """The group that it shares the time of, if it has one."""
        return self._job.group

    def __repr__(self) -> str:
        return repr(self._job)

    # Other ways to await it

    async def join(self) -> T:
        """Return what awaiting the task returns; for what takes only coroutines.

        Raises:
            SchedulerStopped: The Cooperator was stopped.
            TaskStopped: The task was stopped.
            BaseException: Whatever the iterator raised.

        Cancellation: cancels the task, as awaiting it would.
        """
        return await self

    def when_done(self) -> asyncio.Future[Iterator[Any]]:
        """Return a new future that completes with the iterator, or fails as the task does.

        This is Twisted's `whenDone()`: each caller has a future of its own.

        Raises:
            RuntimeError: Called from another thread or another loop.

        Cancellation: cancelling the future leaves the task alone.
        """
        self._job.home.check_caller()
        future: asyncio.Future[Iterator[Any]] = self.get_loop().create_future()
        relay(self, future)
        return future

    # Pausing, stopping, cancelling

    def pause(self) -> None:
        """Take no step before `resume()` was called as often as this.

        Twisted's, and as there an awaitable that the task waits on goes on.

        Raises:
            TaskFinished: The task has ended; the subclass says how.
            SchedulerStopped: Its Cooperator was stopped.
            RuntimeError: Called from another thread or another loop.
        """
        self._check_unfinished("pause")
        self._job.ask().pausing += 1
        self._make(self._job.pause)

    def resume(self) -> None:
        """Take back one `pause()`; after the last the task goes on.

        A pause that the task's end or a cancellation lifted is taken back quietly.

        Raises:
            NotPaused: There is no pause to take back.
            RuntimeError: Called from another thread or another loop.
        """
        job = self._job
        job.home.check_caller()
        asked = job.asked
        if not (asked.pauses or asked.forgiven or asked.pausing):
            raise NotPaused(f"cannot resume a {job.state.value} task; it is not paused")
        self._make(job.resume)

    def stop(self) -> None:
        """Complete the task with TaskStopped and close its generator.

        The generator's `finally` blocks have run when this returns; called from
        inside the task's own step, or from what has interrupted the library in the
        middle of a turn, it takes effect when that ends. A coroutine that the task
        waits on is cancelled; a future of somebody else's is not.

        Raises:
            TaskFinished: The task has ended already; the subclass says how.
            SchedulerStopped: Its Cooperator was stopped.
            RuntimeError: Called from another thread or another loop.
        """
        self._check_unfinished("stop")
        self._make(self._job.stop, TaskStopped("the task was stopped"))

    def cancel(self, msg: Any | None = None) -> bool:
        """Throw CancelledError into the generator, as `asyncio.Task.cancel` does.

        It is delivered by the loop's `call_soon`, at the generator's `yield`, where
        the generator may clean up, also by yielding awaitables. Every pause is
        lifted. What the task waits on is cancelled. Cancelling again before that is
        delivered changes nothing but the message; after that it throws again. A plain
        iterator, or one that other tasks share, is dropped instead.

        Returns:
            False if the task has ended already, else True.

        Raises:
            RuntimeError: Called from another thread or another loop.
        """
        if self.done():
            return False
        self._job.home.check_caller()
        self._make(self._job.cancel, msg)
        return True

    def _make(self, change: Callable[..., object], *args: Any) -> None:
        self._job.home.changes.make(change, *args)

    def _check_unfinished(self, verb: str) -> None:
        job = self._job
        job.home.check_caller()
        if job.how is not None:
            raise job.how(f"cannot {verb} a {job.state.value} task; look at done() first")

    # What asyncio offers for futures, and this one does not

    def set_result(self, _result: object, /) -> None:
        """Refuse: the result is what the iterator returns.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("cannot set the result of a CooperativeTask; its iterator does")

    def set_exception(self, _exception: object, /) -> None:
        """Refuse: the exception is what the iterator raises.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("cannot set the exception of a CooperativeTask; its iterator does")

    def get_coro(self) -> Frames | None:
        """Return what asyncio's call graphs show of a generator; None for other iterators.

        It has `cr_frame` and `cr_await`, as a coroutine has, and cannot be awaited.
        """
        iterator = self.iterator
        return Frames(iterator) if isinstance(iterator, GeneratorType) else None


def job_of(task: CooperativeTask[Any]) -> Job:
    """Return the inner life of a task: for the other modules of the package."""
    return task._job


def relay(task: CooperativeTask[Any], future: asyncio.Future[Iterator[Any]]) -> None:
    """Complete `future` when `task` is done: with its iterator, or as it has failed."""

    def pass_on(task: CooperativeTask[Any]) -> None:
        if future.done():
            return
        if task.cancelled():
            future.cancel()
        elif (error := task.exception()) is not None:
            future.set_exception(error)
            if task.state != "failed":
                future.exception()  # nothing to log about a task that was stopped
        else:
            future.set_result(task.iterator)

    def forget(_: object) -> None:
        task.remove_done_callback(pass_on)

    if task.done():
        pass_on(task)
    else:
        task.add_done_callback(pass_on)
        future.add_done_callback(forget)
