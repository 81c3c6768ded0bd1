"""Generators in threads, and what a thread cannot do."""

import asyncio
import contextvars
import threading

import pytest
from offload_jobs import endless, numbers

from cooperative_aio import accumulate, offload

variable = contextvars.ContextVar("variable", default="unset")


async def test_the_generator_stays_in_one_thread_and_is_closed_there():
    threads = []

    def work():
        try:
            while True:
                threads.append(threading.get_ident())
                yield 1
        finally:
            threads.append(threading.get_ident())

    async with offload.threads(1) as place, place.open(work) as source:
        for _ in range(5):
            await source.next_batch(1)
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


async def test_the_generator_has_the_context_of_who_asked_first():
    def work():
        yield variable.get()

    async with offload.threads(1) as place:
        variable.set("set")
        assert list(await accumulate(place.open(work))) == ["set"]


async def test_values_are_not_copied():
    thing = object()

    def work():
        yield thing

    async with offload.threads(1) as place:
        [got] = await accumulate(place.open(work))
    assert got is thing


async def test_batches_have_the_sizes_that_were_ordered_one_after_the_other():
    async with offload.threads(1) as place, place.open(numbers, 10) as source:
        taken = [await source.next_batch(size) for size in (4, 1, 2, 5, 5, 5)]
    assert taken == [[0, 1, 2, 3], [4], [5, 6], [7], [8, 9], []]


async def test_a_step_that_does_not_end_is_left_to_itself(caplog):
    release = threading.Event()
    began = threading.Event()
    ended = threading.Event()

    def work():
        try:
            yield 1
            began.set()
            release.wait(20)
            yield 2
        finally:
            ended.set()

    async with offload.threads(1, grace=0.05) as place:
        source = place.open(work)
        await source.next_batch(1)
        while not began.is_set():
            await asyncio.sleep(0)
        await source.close()
        assert not ended.is_set()
        assert list(await accumulate(place.open(numbers, 2))) == [0, 1]
    [record] = caplog.records
    assert record.getMessage() == (
        f"the generator of {work.__qualname__} was closed but has not ended in time;"
        " its thread is left to itself"
    )
    release.set()
    assert ended.wait(10)


def test_a_thread_outlives_its_loop_without_harm():
    release = threading.Event()
    began = threading.Event()
    ended = threading.Event()

    def work():
        try:
            yield 1
            began.set()
            release.wait(20)
            yield 2
        finally:
            ended.set()

    async def main():
        async with offload.threads(1, grace=0.05) as place:
            source = place.open(work)
            await source.next_batch(1)
            while not began.is_set():
                await asyncio.sleep(0)

    asyncio.run(main())
    release.set()
    assert ended.wait(10)


def test_the_end_of_the_loop_before_the_thread_begins_leaves_nothing():
    ran = []

    async def main():
        place = await offload.threads(1).__aenter__()
        source = place.open(ran.append, 1)
        main.task = asyncio.create_task(source.next_batch(1))
        while not any("run_sync" in repr(task) for task in asyncio.all_tasks()):
            await asyncio.sleep(0)
        main.place = place

    asyncio.run(main())
    assert main.task.cancelled()
    assert main.place._jobs == {}
    assert ran == []


async def test_closing_a_source_before_its_thread_begins_runs_nothing():
    ran = []

    def work():
        ran.append(1)
        yield 1

    async with offload.threads(1) as place:
        source = place.open(work)
        task = asyncio.create_task(source.next_batch(1))
        await asyncio.sleep(0)
        await source.close()
        with pytest.raises(offload.SourceClosed, match="it was closed"):
            await task
    assert ran == []


async def test_no_thread_is_an_error(no_threads):
    async with offload.threads(1) as place:
        with no_threads(), pytest.raises(RuntimeError, match="can't start new thread"):
            await accumulate(place.open(numbers, 1))
        with no_threads(), pytest.raises(RuntimeError, match="can't start new thread"):
            async for _ in offload.map(place, numbers, [(1,)]):
                pass
        assert list(await accumulate(place.open(numbers, 2))) == [0, 1]


async def test_an_awaitable_of_any_kind_is_refused():
    def work(future):
        yield future

    future = asyncio.get_running_loop().create_future()
    async with offload.threads(1) as place:
        with pytest.raises(TypeError, match="cannot wait for <Future pending>: there is no ev"):
            await accumulate(place.open(work, future))


@pytest.mark.parametrize(("limit", "error"), [(0, ValueError), ("2", TypeError)])
def test_a_bad_limit_is_refused(limit, error):
    with pytest.raises(error, match=f"limit must be an integer of at least 1, got {limit!r}"):
        offload.threads(limit)


def test_a_source_dropped_after_its_loop_says_nothing():
    async def main():
        place = await offload.threads(1).__aenter__()
        main.source = place.open(endless)
        await main.source.next_batch(1)

    asyncio.run(main())
    del main.source


async def test_blocking_generators_wait_beside_each_other():
    def together():
        yield all_there.wait(100)

    all_there = threading.Barrier(4)
    async with offload.threads(4) as place:
        numbers = await asyncio.gather(*(accumulate(place.open(together)) for _ in range(4)))
    assert sorted(number for (number,) in numbers) == [0, 1, 2, 3]
