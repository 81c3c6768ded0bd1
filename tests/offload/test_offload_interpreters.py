"""Generators in interpreters: on 3.14 the real ones, before that their absence."""

import asyncio
import concurrent.futures
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from offload_jobs import identity, numbers

from cooperative_aio import accumulate, offload


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="this Python has interpreters")
def test_a_python_without_interpreters_is_told_what_is_needed():
    with pytest.raises(NotImplementedError, match=r"InterpreterPoolExecutor of Python 3\.14"):
        offload.interpreters(1)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="this Python has no interpreters")
async def test_generators_run_in_interpreters():  # pragma: no cover (3.14)
    async with offload.interpreters(2) as place:
        assert list(await accumulate(place.open(numbers, 2500))) == list(range(2500))


@pytest.fixture
def stand_in(monkeypatch):
    """Let threads play the interpreters: the sockets and the rest are the real ones."""
    monkeypatch.setattr(
        concurrent.futures, "InterpreterPoolExecutor", ThreadPoolExecutor, raising=False
    )


async def test_workers_that_are_interpreters_work_as_processes_do(stand_in):
    async with offload.interpreters(2) as place:
        assert list(await accumulate(place.open(numbers, 2500))) == list(range(2500))
        one, two = place.open(identity), place.open(identity)
        assert await one.next_batch(1) != await two.next_batch(1)
        await one.close()
        assert list(await accumulate(place.open(numbers, 3))) == [0, 1, 2]


async def test_a_step_that_does_not_end_is_left_to_itself(stand_in, caplog, monkeypatch):
    release = threading.Event()
    began = threading.Event()
    monkeypatch.setattr("offload_jobs.stuck", None)
    import offload_jobs  # noqa: PLC0415

    def work():
        yield 1
        began.set()
        release.wait(20)
        yield 2

    work.__module__, work.__qualname__ = "offload_jobs", "stuck"
    offload_jobs.stuck = work
    async with offload.interpreters(1, grace=0.05) as place:
        source = place.open(work)
        await source.next_batch(1)
        while not began.is_set():
            await asyncio.sleep(0)
        await source.close()
        assert list(await accumulate(place.open(numbers, 2))) == [0, 1]
    release.set()
    [record] = caplog.records
    assert record.getMessage().startswith("the generator of stuck was closed but has not")
    assert record.getMessage().endswith(" is left to itself")


@pytest.mark.parametrize(("workers", "error"), [(0, ValueError), ("2", TypeError)])
def test_a_bad_number_of_workers_is_refused(workers, error):
    with pytest.raises(
        error, match=f"workers must be an integer of at least 1, got {workers!r}"
    ):
        offload.interpreters(workers)
