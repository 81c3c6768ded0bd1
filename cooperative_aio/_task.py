"""CooperativeTask: a task as users see it, a future."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from types import GeneratorType
from typing import Any, Generic, TypeVar

from cooperative_aio._call_graph import Frames
from cooperative_aio._checks import check_finite
from cooperative_aio._errors import NotPaused, TaskStopped
from cooperative_aio._futures import FaithfulFuture
from cooperative_aio._groups import Group
from cooperative_aio._job import Job

__all__ = ["CooperativeTask", "job_of", "relay"]

T = TypeVar("T")


class CooperativeTask(FaithfulFuture[T], Generic[T]):
    """A future for an iterator that is stepped beside others; `cooperate` makes it.

        task = cooperate(iter(range(1000)), name="numbers")
        task.pause()
        task.resume()
        await task
        print(task.state, task.steps)  # finished 1001

    Awaiting it gives the generator's `return` value or raises what the generator
    raised. Whatever takes an asyncio future takes it: `gather`, `wait_for`,
    `shield`. `TaskGroup` and `asyncio.run` take only coroutines: give them `join()`.

    It has the methods of Twisted's CooperativeTask. There, a finished task gives its
    iterator; here `when_done()` does that.

    Cancellation: cancelling a coroutine that awaits the task cancels the task, as
    with an `asyncio.Task`. The futures of `when_done()` do not pass a cancellation on.
    """

    __slots__ = ("_job",)

    def __init__(self, job: Any, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.Future.__init__(self, loop=loop)
        self._cancelled_with = None
        self._job: Job = job

    # What it is

    @property
    def name(self) -> str:
        """The name that was given, or the generator's qualified name with a number."""
        return self._job.name

    @property
    def state(self) -> str:
        """What the task is doing, or how it has ended.

        One of `ready`, `paused`, `waiting`, `ending` (it is being cancelled),
        `finished`, `failed`, `stopped` and `cancelled`.
        """
        return self._job.state.value

    @property
    def iterator(self) -> Iterator[Any]:
        """The iterator that is stepped."""
        return self._job.iterator

    @property
    def paused(self) -> bool:
        """Whether `pause()` was called more often than `resume()`."""
        return self._job.asked.pauses > 0

    @property
    def waiting(self) -> bool:
        """Whether the task waits on an awaitable that its iterator has yielded."""
        return self._job.waiter is not None

    @property
    def steps(self) -> int:
        """How many steps the task has taken."""
        return self._job.queue.steps_of(self._job)

    @property
    def cpu_time(self) -> float:
        """How long the steps have taken, in seconds of the Cooperator's clock."""
        return self._job.seconds

    @property
    def weight(self) -> float:
        """The task's part of the CPU time, in proportion to those of other ready tasks.

        In a group: its part of the group's time.

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
        """The group whose CPU time the task shares, if it is in one."""
        members = self._job.members
        return None if members is None else members.group()

    def __repr__(self) -> str:
        return repr(self._job)

    # Other ways to await it

    async def join(self) -> T:
        """Return what awaiting the task returns; for callers that take only coroutines.

            task = cooperate(iter(range(1000)))
            async with asyncio.TaskGroup() as group:
                group.create_task(task.join())

        Raises:
            SchedulerStopped: The Cooperator was stopped.
            TaskStopped: The task was stopped.
            BaseException: Whatever the iterator raised.

        Cancellation: cancels the task, as a cancelled `await task` does.
        """
        return await self

    def when_done(self) -> asyncio.Future[Iterator[Any]]:
        """Return a new future that completes with the iterator, or fails as the task does.

        This is Twisted's `whenDone()`: each call gives a future of its own.

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
        """Take no further step until `resume()` was called as often as this.

        An awaitable that the task waits on goes on meanwhile, as in Twisted.

        Raises:
            TaskFinished: The task has ended; the subclass says how.
            SchedulerStopped: Its Cooperator was stopped.
            RuntimeError: Called from another thread or another loop.
        """
        self._check_unfinished("pause")
        self._job.ask().pausing += 1
        self._make(self._job.pause)

    def resume(self) -> None:
        """Take back one `pause()`; after the last one the task goes on.

        Does nothing if the pause was lifted already, by a cancellation or by the task's
        end.

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

        The generator's `finally` blocks have run when this returns. In the task's own
        step, it takes effect at the end of the step; in a signal handler that has
        interrupted the library in the middle of a turn, at the end of that. A coroutine
        that the task waits on is cancelled, because the task owns it; a future that
        the task did not make is left alone.

        Raises:
            TaskFinished: The task has ended already; the subclass says how.
            SchedulerStopped: Its Cooperator was stopped.
            RuntimeError: Called from another thread or another loop.
        """
        self._check_unfinished("stop")
        self._make(self._job.stop, TaskStopped("the task was stopped"))

    def cancel(self, msg: Any | None = None) -> bool:
        """Throw CancelledError into the generator, as `asyncio.Task.cancel` does.

        The error is thrown at the generator's `yield`, on the loop's next turn. The
        generator may clean up, also by yielding awaitables. Every pause is lifted, and
        the awaitable that the task waits on is cancelled. A second call before the
        error is thrown only changes the message; a later one throws again. A plain
        iterator, or one that other tasks share, is dropped instead.

        Args:
            msg: The argument of the CancelledError.

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

        The object has `cr_frame` and `cr_await`, as a coroutine has, and cannot be awaited.
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
