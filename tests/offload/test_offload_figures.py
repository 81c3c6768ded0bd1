"""What a place tells of itself: what runs, waits, has ended, and its workers."""

import asyncio
import gc
import os
import signal
import sys
import threading

import pytest
from offload_jobs import numbers

from cooperative_aio import accumulate, offload
from cooperative_aio.offload import _figures
from cooperative_aio.offload._figures import memory_of, places_on
from cooperative_aio.offload._hosts import ProcessHost
from cooperative_aio.offload._workers import Worker


def counts(place):
    figures = place.figures()
    return figures.running, figures.queued, figures.ended, figures.deaths


async def test_what_runs_and_waits_is_counted_and_what_has_ended(make_place, until):
    async with make_place(prefetch=0) as place:
        assert counts(place) == (0, 0, 0, 0)
        sources = [place.open(numbers, 3) for _ in range(4)]
        assert counts(place) == (0, 0, 0, 0)  # nobody has asked for a batch
        asking = [asyncio.create_task(source.next_batch(1)) for source in sources]
        await until(lambda: counts(place) == (2, 2, 0, 0))
        assert (place.figures().name, place.figures().limit) == (place.name, 2)
        for source in sources:
            await source.close()
        assert counts(place) == (0, 0, 4, 0)
        await asyncio.wait(asking)
        for asked in asking:
            asked.exception()


async def test_workers_are_told_with_their_processes_and_what_they_do():
    async with offload.processes(2) as place:
        assert place.figures().workers == ()
        source = place.open(numbers, 3)
        asking = asyncio.create_task(source.next_batch(1))
        while not place.figures().workers:
            await asyncio.sleep(0)
        assert place.figures().workers == (
            offload.WorkerFigures(None, busy=True, memory=None),
        )  # it starts
        await asking
        [worker] = place.figures().workers
        assert worker.busy
        assert worker.pid not in {None, os.getpid()}
        await source.close()
        [worker] = place.figures().workers
        assert not worker.busy
        if sys.platform == "linux":
            assert worker.memory > 1_000_000
    assert place.figures().workers == ()


async def test_the_death_of_an_idle_worker_is_counted_and_it_is_told_no_more(until):
    async with offload.processes(1) as place:
        await accumulate(place.open(numbers, 1))
        [worker] = place.figures().workers
        os.kill(worker.pid, signal.SIGKILL)
        await until(lambda: counts(place) == (0, 0, 1, 1) and not place.figures().workers)
        await accumulate(place.open(numbers, 1))
        assert counts(place) == (0, 0, 2, 1)
        [other] = place.figures().workers
        assert other.pid != worker.pid
    assert counts(place) == (0, 0, 2, 1)  # the last one was asked to go


async def test_the_death_of_a_worker_that_runs_a_generator_is_counted():
    async with offload.processes(1, prefetch=0) as place:
        source = place.open(numbers, 3)
        await source.next_batch(1)
        [worker] = place.figures().workers
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(offload.WorkerDied):
            await accumulate(source)
        assert counts(place) == (0, 0, 1, 1)


async def test_a_worker_that_does_not_start_is_counted(monkeypatch):
    def start(_host, *sockets):
        for each in sockets:
            each.close()
        raise OSError("no process can be started")

    monkeypatch.setattr(ProcessHost, "start", start)
    async with offload.processes(1) as place:
        with pytest.raises(OSError, match="no process"):
            await accumulate(place.open(numbers, 1))
        assert counts(place) == (0, 0, 1, 1)
        assert place.figures().workers == ()


async def test_a_thread_that_was_left_to_itself_is_counted(until):
    began, go_on = threading.Event(), threading.Event()

    def held():
        yield 1
        began.set()
        go_on.wait(60)

    async with offload.threads(1, grace=0.01) as place:
        source = place.open(held)
        assert await source.next_batch(1) == [1]
        await until(began.is_set)
        await source.close()
        assert counts(place) == (0, 0, 1, 1)
        go_on.set()


async def test_an_interpreter_shares_the_memory_of_this_process():
    worker = Worker("interpreter of process", None)
    asyncio.get_running_loop().call_soon(worker._be_ready, os.getpid())
    worker._ready = asyncio.get_running_loop().create_future()
    await worker._ready
    assert worker.figures() == offload.WorkerFigures(os.getpid(), busy=False, memory=None)


async def test_a_place_is_found_from_its_beginning_to_its_end():
    loop = asyncio.get_running_loop()
    place = offload.threads(1)
    assert places_on(loop) == []
    async with place, offload.threads(1) as other:
        assert places_on(loop) == [place, other]
    assert places_on(loop) == []
    assert _figures._entered == []


async def test_a_place_that_was_dropped_is_found_no_more():
    place = offload.threads(1)
    await place.__aenter__()
    del place
    gc.collect()
    assert _figures._entered == []


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell")
def test_the_memory_of_a_process_is_told_where_the_system_tells():
    assert memory_of(os.getpid()) > 1_000_000


@pytest.mark.parametrize("pid", [None, "x", 0, -1, 2**40])
def test_the_memory_of_no_process_is_unknown(pid):
    assert memory_of(pid) is None
