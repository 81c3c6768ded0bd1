"""The running loop's own Cooperator, and the functions that use it."""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop
from collections.abc import Generator, Iterator
from typing import Any, TypeVar, Unpack, overload

from cooperative_aio._cooperator import Cooperator, engine_of
from cooperative_aio._job import Job
from cooperative_aio._loop import running_loop, state_of
from cooperative_aio._options import TaskOptions
from cooperative_aio._sinks import Sink
from cooperative_aio._stepping import Chunks
from cooperative_aio._task import CooperativeTask

__all__ = ["coiterate", "cooperate", "current_task", "get_cooperator", "start_task"]

R = TypeVar("R")


def get_cooperator() -> Cooperator:
    """Return the running loop's own Cooperator, which the first call makes.

        cooperator = get_cooperator()
        print(len(cooperator.tasks), "tasks,", cooperator.statistics().steps, "steps")

    Raises:
        RuntimeError: No loop is running in this thread.
    """
    return _own_of(running_loop(_find_one))


def _own_of(loop: asyncio.AbstractEventLoop) -> Cooperator:
    state = state_of(loop)
    cooperator: Cooperator | None = state.own.get(Cooperator)
    if cooperator is None:  # of two that interrupt each other, one counts
        cooperator = state.own.setdefault(Cooperator, Cooperator())
    return cooperator


def _find_one() -> str:
    return "find a Cooperator"


def start_task(
    iterator: Iterator[Any],
    cooperator: Cooperator | None,
    chunks: Chunks,
    sink: Sink,
    options: TaskOptions,
) -> CooperativeTask[Any]:
    """Start a task that keeps its values; `options` are those of `cooperate`.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: The weight is not a finite number above 0.
        SchedulerFull: As for `Cooperator.cooperate`.
        RuntimeError: As for `Cooperator.cooperate`.
    """
    if cooperator is None:
        cooperator = get_cooperator()
    return engine_of(cooperator).start(iterator, chunks=chunks, sink=sink, **options)


def current_task() -> CooperativeTask[Any] | None:
    """Return the task whose step is running, or None outside of steps.

        def work():
            print("a step of", current_task().name)
            yield current_task().steps

        await cooperate(work(), name="work")

    A task that asks for it takes single steps from then on.
    """
    try:
        changes = state_of(asyncio.get_running_loop()).changes
    except RuntimeError:
        return None
    job = changes.current
    if not isinstance(job, Job):
        return None
    job.take_single_steps()
    task: CooperativeTask[Any] | None = job.face
    return task


@overload
def cooperate(
    iterator: Generator[Any, Any, R], **options: Unpack[TaskOptions]
) -> CooperativeTask[R]: ...


@overload
def cooperate(
    iterator: Iterator[Any], **options: Unpack[TaskOptions]
) -> CooperativeTask[Any]: ...


def cooperate(iterator: Iterator[Any], **options: Unpack[TaskOptions]) -> CooperativeTask[Any]:
    """Step `iterator` on the running loop until it ends; return its task.

        def sum_of_squares(n):
            total = 0
            for number in range(n):
                total += number * number
                yield  # other tasks, and the rest of the program, may go on here
            return total

        print(await cooperate(sum_of_squares(10_000)))

    The task belongs to the loop's own Cooperator; see `get_cooperator`.

    Args:
        iterator: A generator, or any other iterator. An awaitable that it yields
            is waited on; any other value only marks the end of a step.
        **options: Those of the task, such as `name` and `weight`: see `TaskOptions`.

    Returns:
        The task, a future. Awaiting it gives what the generator returns.

    Raises:
        TypeError: `iterator` is not an iterator; the message says what to use instead.
        ValueError: The weight is not a finite number above 0.
        RuntimeError: No loop is running in this thread.

    Cancellation: cancelling a coroutine that awaits the task cancels the task; see
    `CooperativeTask.cancel`.
    """
    loop: Any = None
    cooperator: Cooperator
    try:
        loop = get_running_loop()
        cooperator = loop._cooperative_aio.own[Cooperator]  # noqa: SLF001 (ours: see _loop)
    except (AttributeError, KeyError, RuntimeError):  # the first time on this loop
        cooperator = get_cooperator()
    return engine_of(cooperator).start(iterator, loop, **options)


def coiterate(
    iterator: Iterator[Any], done_future: asyncio.Future[Iterator[Any]] | None = None
) -> asyncio.Future[Iterator[Any]]:
    """Step `iterator` on the running loop; return a future that completes with it.

        numbers = iter(range(1000))
        print(await coiterate(numbers) is numbers)  # True

    This is Twisted's `coiterate`. For the value that a generator returns, use `cooperate`.

    Args:
        iterator: A generator, or any other iterator.
        done_future: The future to complete and return, instead of a new one.

    Raises:
        TypeError: `iterator` is not an iterator, or `done_future` not a future.
        ValueError: `done_future` is done already.
        RuntimeError: No loop is running in this thread.

    Cancellation: cancelling the future leaves the task alone.
    """
    return get_cooperator().coiterate(iterator, done_future)
