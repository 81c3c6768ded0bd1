"""What mypy makes of tasks; nothing here is run."""

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator
from contextvars import copy_context
from functools import partial
from typing import Any, assert_type

from cooperative_aio import (
    CooperativeTask,
    Cooperator,
    TimeSlice,
    checkpoint,
    coiterate,
    cooperate,
    current_task,
    get_cooperator,
)


def returning() -> Generator[int, None, str]:
    yield 1
    return "done"


def waiting() -> Generator[asyncio.Future[int], int, float]:
    received = yield asyncio.get_running_loop().create_future()
    return received / 2


def endless() -> Iterator[None]:
    yield


async def coroutine() -> int:
    return 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


async def a_task_is_generic_over_what_its_generator_returns() -> None:
    task = cooperate(returning(), name="named", weight=2, context=copy_context())
    assert_type(task, CooperativeTask[str])
    assert_type(await task, str)
    assert_type(await task.join(), str)
    assert_type(task.result(), str)
    assert_type(await cooperate(waiting()), float)
    assert_type(await Cooperator().cooperate(returning()), str)
    assert_type(await get_cooperator().cooperate(waiting()), float)


async def of_a_plain_iterator_nothing_is_known() -> None:
    assert_type(cooperate(iter([1, 2])), CooperativeTask[Any])
    assert_type(cooperate(endless()), CooperativeTask[Any])
    assert_type(Cooperator().cooperate(endless()), CooperativeTask[Any])


async def a_task_is_a_future() -> None:
    task = cooperate(returning())
    future: asyncio.Future[str] = task
    assert_type(await asyncio.wait_for(future, 1), str)
    assert_type(await asyncio.shield(task), str)
    assert_type(await asyncio.gather(task, cooperate(waiting())), tuple[str, float])
    async with asyncio.TaskGroup() as group:
        assert_type(group.create_task(task.join()), asyncio.Task[str])


async def when_done_and_coiterate_give_the_iterator() -> None:
    assert_type(await cooperate(returning()).when_done(), Iterator[Any])
    assert_type(await coiterate(endless()), Iterator[Any])
    assert_type(await Cooperator().coiterate(endless()), Iterator[Any])


async def a_tasks_attributes() -> None:
    task = cooperate(returning())
    assert_type(task.name, str)
    assert_type(task.weight, float)
    assert_type(task.steps, int)
    assert_type(task.cpu_time, float)
    assert_type(task.paused, bool)
    assert_type(task.waiting, bool)
    assert_type(task.iterator, Iterator[Any])
    assert_type(current_task(), CooperativeTask[Any] | None)
    assert_type(Cooperator().tasks, tuple[CooperativeTask[Any], ...])
    task.weight = 3


async def what_fits_as_a_scheduler_or_a_slice() -> None:
    loop = asyncio.get_running_loop()
    Cooperator(scheduler=loop.call_soon)
    Cooperator(scheduler=partial(loop.call_later, 0.05))
    Cooperator(lambda: lambda: True)
    Cooperator(time_slice=TimeSlice(0.01, max_wait=0, share=0.5))
    Cooperator(time_slice=0.01)
    async with Cooperator(name="named") as cooperator:
        assert_type(cooperator, Cooperator)
    assert_type(await checkpoint(), None)


async def what_does_not_fit() -> None:
    cooperate([1, 2])  # type: ignore[call-overload]
    cooperate(coroutine())  # type: ignore[call-overload]
    cooperate(async_generator())  # type: ignore[call-overload]
    cooperate(returning)  # type: ignore[call-overload]
    Cooperator(time_slice="0.01")  # type: ignore[arg-type]
