"""Sources of anybody's, in place of an iterable."""

import asyncio
import gc

import pytest

from cooperative_aio import (
    Cooperator,
    SchedulerStopped,
    accumulate,
    batch_accumulate,
    batches,
)


class Feed:
    """A source that counts to `count`, and logs what is asked of it."""

    def __init__(self, count, log, *, error=None, closing_error=None):
        self.count = count
        self.log = log
        self.number = 0
        self.error = error
        self.closing_error = closing_error
        self.blocked = None

    async def next_batch(self, n, max_seconds=None):
        self.log.append((n, max_seconds))
        if self.number >= self.count and self.error is not None:
            raise self.error
        if self.blocked is not None:
            await self.blocked.wait()
        end = min(self.number + n, self.count)
        batch = tuple(range(self.number, end))
        self.number = end
        return batch

    async def close(self):
        await asyncio.sleep(0)
        self.log.append("closed")
        if self.closing_error is not None:
            raise self.closing_error


class Abandonable(Feed):
    def abandon(self):
        self.log.append("abandoned")


@pytest.fixture
def log():
    return []


async def test_accumulate_asks_for_a_thousand_values_at_a_time(log):
    assert list(await accumulate(Feed(1500, log))) == list(range(1500))
    assert log == [(1000, None), (1000, None), (1000, None), "closed"]


async def test_batch_accumulate_asks_for_its_batch_size(log):
    assert list(await batch_accumulate(1, Feed(2, log))) == [0, 1]
    assert log == [(1, None)] * 3 + ["closed"]


async def test_batches_passes_max_seconds_on_and_batches_as_they_come(log):
    streamed = batches(2, Feed(3, log), max_seconds=0.5)
    assert [batch async for batch in streamed] == [[0, 1], [2]]
    assert log == [(2, 0.5)] * 3 + ["closed"]


async def test_at_most_one_batch_is_asked_for_ahead_of_the_consumer(log):
    async with batches(2, Feed(100, log)) as streamed:
        assert await anext(streamed) == [0, 1]
        await asyncio.sleep(0.05)
        assert log == [(2, None)] * 2


async def test_an_error_of_the_source_is_raised_after_its_batches(log):
    streamed = batches(2, Feed(3, log, error=LookupError("no more")))
    assert await anext(streamed) == [0, 1]
    assert await anext(streamed) == [2]
    with pytest.raises(LookupError, match="no more"):
        await anext(streamed)
    assert log[-1] == "closed"


async def test_an_error_in_closing_is_raised(log):
    with pytest.raises(OSError, match="no end"):
        await accumulate(Feed(3, log, closing_error=OSError("no end")))


async def blocked(log, kind=Feed):
    source = kind(3, log)
    source.blocked = asyncio.Event()
    cooperator = Cooperator()
    waiting = asyncio.create_task(batch_accumulate(1, source, cooperator))
    waiting.add_done_callback(lambda waiting: waiting.cancelled() or waiting.exception())
    while not log:
        await asyncio.sleep(0)
    [task] = cooperator.tasks
    return task


async def test_cancelling_waits_for_the_source_to_be_closed(log):
    task = await blocked(log, Abandonable)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == [(1, None), "closed"]


async def test_stopping_abandons_the_source_at_once(log):
    task = await blocked(log, Abandonable)
    task.stop()
    assert log == [(1, None), "abandoned"]


async def test_a_source_that_cannot_be_abandoned_is_closed_by_a_task(log):
    task = await blocked(log)
    task.stop()
    gc.collect()
    assert log == [(1, None)]
    while "closed" not in log:
        await asyncio.sleep(0)


async def test_closing_batches_waits_for_the_source_to_be_closed(log):
    streamed = batches(2, Abandonable(100, log))
    await anext(streamed)
    await streamed.aclose()
    assert log[-2:] == ["abandoned", "closed"]
    await streamed.aclose()
    assert log.count("closed") == 1


async def test_closing_batches_that_never_began_closes_the_source(log):
    await batches(2, Feed(100, log)).aclose()
    assert log == ["closed"]


async def test_a_stopped_cooperator_takes_no_source(log):
    cooperator = Cooperator()
    cooperator.stop()
    with pytest.raises(SchedulerStopped):
        await accumulate(Feed(3, log), cooperator)
    assert log == []
