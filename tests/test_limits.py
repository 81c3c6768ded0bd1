"""Limits: how many tasks a Cooperator takes, and how much an accumulation keeps."""

import asyncio
import contextlib
import sys
import threading
from collections import deque

import pytest
from core_support import Stepwise, forever, on_both_loops, turns
from hypothesis import given
from hypothesis import strategies as st

from cooperative_aio import (
    AccumulationTooLarge,
    Cooperator,
    SchedulerError,
    SchedulerFull,
    SchedulerStopped,
    TaskFailed,
    accumulate,
    batch_accumulate,
    batches,
    current_task,
)
from cooperative_aio.testing import virtual_time


async def every(values, cooperator=None, **limits):
    return await accumulate(values, cooperator, **limits)


async def in_batches(values, cooperator=None, **limits):
    return await batch_accumulate(1000, values, cooperator, **limits)


accumulating = pytest.mark.parametrize("collect", [every, in_batches])


class Source:
    """Numbers from elsewhere, a hundred at a time."""

    def __init__(self):
        self.taken = 0
        self.ended = []

    async def next_batch(self, n, max_seconds=None):
        self.taken += 1
        return range(100)

    async def close(self):
        self.ended.append("closed")

    def abandon(self):
        self.ended.append("abandoned")


def cancel(task):
    """Return the error that cancelling raises."""
    with pytest.raises(RuntimeError) as refused:
        task.cancel()
    return refused.value


class TestMaxTasks:
    @on_both_loops
    async def test_one_task_more_is_refused_and_its_iterator_not_touched(self):
        async with Cooperator(max_tasks=2, name="small") as cooperator:
            tasks = [cooperator.cooperate(forever()) for _ in range(2)]
            work = iter([1, 2])
            with pytest.raises(
                SchedulerFull,
                match=r"^cannot take another task; <Cooperator running name='small' tasks=2>"
                r" has max_tasks=2$",
            ):
                cooperator.cooperate(work, group="one")
            assert (cooperator.tasks, list(work)) == (tuple(tasks), [1, 2])
            tasks[0].stop()
            tasks[1].pause()  # a paused task is unfinished, too
            third = cooperator.cooperate(forever())
            with pytest.raises(SchedulerFull):
                cooperator.coiterate(iter([]))
            third.stop()
            tasks[1].stop()

    @on_both_loops
    async def test_whatever_collects_is_refused_as_well(self):
        cooperator = Cooperator(max_tasks=1)
        task = cooperator.cooperate(forever())
        for refused in (
            accumulate([1], cooperator),
            batch_accumulate(10, [1], cooperator),
            anext(batches(10, [1], cooperator)),
        ):
            with pytest.raises(SchedulerFull):
                await refused
        assert cooperator.tasks == (task,)
        cooperator.stop()
        with pytest.raises(SchedulerStopped):
            await accumulate([1], cooperator)

    @on_both_loops
    async def test_a_bad_argument_is_told_before_that_there_is_no_room(self):
        async with Cooperator(max_tasks=1) as cooperator:
            task = cooperator.cooperate(forever())
            with pytest.raises(ValueError, match="weight must be"):
                cooperator.cooperate(iter([]), weight=0)
            task.stop()

    def test_is_a_count(self):
        assert issubclass(SchedulerFull, SchedulerError)
        with pytest.raises(
            ValueError, match=r"^max_tasks must be an integer of at least 1, got 0$"
        ):
            Cooperator(max_tasks=0)
        for value in (True, 1.0, "2"):
            with pytest.raises(TypeError, match=r"^max_tasks must be an integer of at least 1"):
                Cooperator(max_tasks=value)


class TestMaxItems:
    @accumulating
    @pytest.mark.parametrize("limit", [1, 100, 128, 129, 5000])
    def test_as_many_as_allowed_are_returned_and_one_more_is_an_error(self, collect, limit):
        @virtual_time
        async def check():
            assert await collect(iter(range(limit)), max_items=limit) == deque(range(limit))
            seen = []

            def count():
                try:
                    for number in range(3 * limit):
                        seen.append(number)
                        yield number
                finally:
                    seen.append("closed")

            with pytest.raises(AccumulationTooLarge) as refused:
                await collect(count(), max_items=limit)
            assert str(refused.value) == (
                f"cannot collect more than {limit} items; {limit} items had been collected"
                " (fold them into a result that the generator returns, or stream them by"
                " batches())"
            )
            assert (refused.value.count, refused.value.limit) == (limit, f"{limit} items")
            assert seen == [*range(limit + 1), "closed"]

        check()

    @virtual_time
    async def test_nones_and_awaitables_do_not_count(self):
        async def wait():
            await asyncio.sleep(1)
            return "result"

        def mixed():
            for number in range(1000):
                yield None
                assert (yield wait()) == "result"
                yield str(number) if number % 2 else number

        assert len(await in_batches(mixed(), max_items=1000)) == 1000
        with pytest.raises(AccumulationTooLarge):
            await in_batches(mixed(), max_items=999)

    @given(
        st.lists(st.sampled_from([None, 1, "a", 2.5]), max_size=400),
        st.integers(min_value=1, max_value=200),
        st.sampled_from([every, in_batches]),
    )
    def test_whatever_comes(self, values, limit, collect):
        wanted = deque(value for value in values if value is not None)

        @virtual_time
        async def check():
            if len(wanted) <= limit:
                assert await collect(iter(values), max_items=limit) == wanted
            else:
                with pytest.raises(AccumulationTooLarge):
                    await collect(iter(values), max_items=limit)

        check()

    @pytest.mark.parametrize("waits", [True, False])
    def test_a_cancellation_is_not_lost_when_the_clean_up_yields_too_much(self, waits):
        seen = []

        def stubborn():
            try:
                yield 1
                while True:
                    yield asyncio.sleep(1000) if waits else None
            finally:
                try:
                    while True:
                        seen.append("cleaning")
                        yield 2
                except GeneratorExit:
                    seen.append("closed")

        @virtual_time
        async def check():
            waiting = asyncio.ensure_future(accumulate(stubborn(), max_items=3))
            await asyncio.sleep(1)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert seen == [*["cleaning"] * 3, "closed"]

        check()

    @virtual_time
    async def test_a_generator_that_stops_itself_is_stopped(self):
        def stopping():
            yield 1
            current_task().stop()
            yield 2

        with pytest.raises(SchedulerError, match="the task was stopped"):
            await accumulate(stopping(), max_items=1)

    @virtual_time
    async def test_a_cancellation_that_was_refused_does_not_count(self):
        event = asyncio.Event()

        def work():
            yield event.wait()
            yield from range(5)

        async with Cooperator() as cooperator:
            collecting = asyncio.ensure_future(accumulate(work(), cooperator, max_items=2))
            await asyncio.sleep(1)
            [task] = cooperator.tasks
            refused = []
            thread = threading.Thread(target=lambda: refused.append(cancel(task)))
            thread.start()
            thread.join()
            assert isinstance(refused[0], RuntimeError)
            event.set()
            with pytest.raises(AccumulationTooLarge):
                await collecting

    def test_a_task_that_was_refused_has_failed(self):
        cooperator = Stepwise()

        async def main():
            collecting = asyncio.ensure_future(accumulate(iter("abc"), cooperator, max_items=2))
            await turns()
            [task] = cooperator.tasks
            cooperator.ticks.tick(3)
            assert isinstance(task.exception(), AccumulationTooLarge)
            with pytest.raises(TaskFailed, match="cannot pause a failed task"):
                task.pause()
            with pytest.raises(AccumulationTooLarge):
                await collecting

        asyncio.run(main())


class TestMaxBytes:
    @accumulating
    @virtual_time
    async def test_as_many_as_allowed_are_returned_and_more_are_an_error(self, collect):
        value = b"x" * 1000
        limit = 300 * sys.getsizeof(value)
        assert len(await collect([value] * 300, max_bytes=limit)) == 300
        with pytest.raises(
            AccumulationTooLarge,
            match=f"^cannot collect more than {limit} bytes; 300 items had been collected",
        ):
            await collect([value] * 301, max_bytes=limit)

    @virtual_time
    async def test_the_limit_that_is_reached_first_counts(self):
        with pytest.raises(AccumulationTooLarge, match="more than 3 items; 3 items"):
            await accumulate([1] * 10, max_items=3, max_bytes=10**6)
        with pytest.raises(AccumulationTooLarge, match="more than 1 bytes; 0 items"):
            await accumulate([1] * 10, max_items=3, max_bytes=1)

    @accumulating
    @virtual_time
    async def test_a_class_that_cannot_tell_its_size_is_counted_all_the_same(self, collect):
        class Bad:
            def __sizeof__(self):
                raise RuntimeError("no size")

        values = [Bad() for _ in range(50)]
        assert len(await collect(values, max_bytes=10**6)) == 50
        with pytest.raises(AccumulationTooLarge):
            await collect(values, max_bytes=100)


class TestBoth:
    @virtual_time
    async def test_a_source_is_limited_and_closed(self):
        for limits, count in (({"max_items": 250}, 250), ({"max_bytes": 1000}, 1000 // 28)):
            source = Source()
            with pytest.raises(AccumulationTooLarge) as refused:
                await accumulate(source, **limits)
            assert refused.value.count == pytest.approx(count, abs=1)
            assert source.taken == (3 if count == 250 else 1)
            assert source.ended == ["closed"]

    @accumulating
    @pytest.mark.parametrize("name", ["max_items", "max_bytes"])
    @virtual_time
    async def test_are_counts_and_nothing_begins_if_not(self, collect, name):
        began = []

        def work():
            began.append(1)
            yield

        for value, error in (
            (0, ValueError),
            (-1, ValueError),
            (True, TypeError),
            (2.5, TypeError),
        ):
            with pytest.raises(error, match=f"^{name} must be an integer of at least 1, got "):
                await collect(work(), **{name: value})
        assert began == []

    @virtual_time
    async def test_nothing_of_what_was_collected_is_kept_alive(self):
        class Value:
            living = 0

            def __init__(self):
                Value.living += 1

            def __del__(self):
                Value.living -= 1

        with contextlib.suppress(AccumulationTooLarge):
            await batch_accumulate(1000, (Value() for _ in range(1000)), max_items=500)
        assert Value.living == 0
