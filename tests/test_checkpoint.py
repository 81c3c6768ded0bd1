import asyncio
import gc
import inspect
import math
import random
import sys
import time
import weakref
from collections import deque

import pytest
from core_support import TURN, Loop, StillAsyncio, StillUvloop, on, turns

from cooperative_aio import (
    Cooperator,
    SchedulerStopped,
    TimeSlice,
    accumulate,
    checkpoint,
    cooperate,
    get_cooperator,
)
from cooperative_aio._loop import lent
from cooperative_aio.testing import Deadlock

SLICE = TimeSlice().seconds
on_each = on(StillAsyncio, StillUvloop, Loop)
on_loop = on(Loop)


async def until(condition):
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


async def compute(seconds, events, what="piece", number=sys.maxsize):
    """Compute in pieces that take so long each."""
    loop = asyncio.get_running_loop()
    for _ in range(number):
        events.append(what)
        loop.spend(seconds)
        await checkpoint()


def endless(seconds):
    loop = asyncio.get_running_loop()
    while True:
        loop.spend(seconds)
        yield


def request(events, hops, seconds):
    loop = asyncio.get_running_loop()

    def hop(number):
        events.append("hop")
        loop.spend(seconds)
        if number < hops:
            loop.call_soon(hop, number + 1)

    loop.call_soon(hop, 1)


async def end(*tasks):
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def waits(task):
    """Tell whether a task is suspended in a checkpoint."""
    coroutine = task.get_coro()
    while inspect.iscoroutine(coroutine):
        if coroutine.cr_code is checkpoint.__code__:
            return True
        coroutine = coroutine.cr_await
    return False


class Portion:
    """Measure what part of the loop's time each of several coroutines gets."""

    def __init__(self):
        self.seconds = {}

    async def compute(self, what, seconds):
        loop = asyncio.get_running_loop()
        self.seconds[what] = 0.0
        while True:
            self.seconds[what] += seconds
            loop.spend(seconds)
            await checkpoint()


class TestWhileTheSliceLasts:
    @on_each
    async def test_it_returns_without_suspending(self):
        events = []
        asyncio.get_running_loop().call_soon(events.append, "another turn")
        await compute(SLICE / 1024, events, number=1000)
        assert events == ["piece"] * 1000

    @on_each
    async def test_no_cancellation_is_raised(self):
        async def work():
            asyncio.current_task().cancel()
            await checkpoint()
            events.append("not suspended")
            await asyncio.sleep(0)

        events = []
        task = asyncio.create_task(work())
        with pytest.raises(asyncio.CancelledError, match=r"^$"):
            await task
        assert events == ["not suspended"]

    @on_each
    async def test_others_may_use_the_rest_of_it_in_the_same_turn(self):
        events = []
        async with asyncio.TaskGroup() as group:
            group.create_task(compute(SLICE / 8, events, "a", 3))
            group.create_task(compute(SLICE / 8, events, "b", 3))
        assert events == ["a"] * 3 + ["b"] * 3

    @on_each
    async def test_who_comes_back_on_a_later_turn_has_what_is_left(self):
        events = []
        await compute(SLICE / 4, events, number=2)
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(events.append, "another turn")
        await compute(SLICE / 4, events, number=1)
        assert events == ["piece"] * 3
        await compute(SLICE, events, number=1)
        assert events == [*["piece"] * 4, "another turn"]


class TestAfterTheSlice:
    @on_each
    async def test_it_suspends_and_everybody_else_has_the_loop(self):
        events = []
        loop = asyncio.get_running_loop()
        await checkpoint()
        loop.call_soon(events.append, "another turn")
        await compute(SLICE, events, number=1)
        assert events == ["piece", "another turn"]

    @on_each
    async def test_it_stands_back_until_the_loop_is_quiet(self):
        events = []
        task = asyncio.create_task(compute(SLICE, events))
        await until(lambda: len(events) == 3)
        request(events, hops=10, seconds=2**-10)
        await until(lambda: len(events) == 14)
        await end(task)
        assert events == [*["piece"] * 3, *["hop"] * 10, "piece"]

    @on_loop
    async def test_on_a_loop_that_is_never_quiet_it_stands_back_for_max_wait(self):
        events = []
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(compute(SLICE, events))
        await until(lambda: len(events) == 3)
        shuffled = random.Random(1)  # noqa: S311 (it shall always be the same)
        began = loop.time()
        while loop.time() < began + 2.5:
            loop.spend(2 ** -shuffled.uniform(9, 14))
            await asyncio.sleep(0)
        await end(task)
        longest, shortest = 0.01 + SLICE, 0.005 + SLICE  # it may be content with half the time
        assert 2.5 / longest <= len(events) <= 4 + 2.5 / shortest

    @on_loop
    async def test_the_loop_is_held_for_a_slice_and_one_piece_at_most(self):
        events, gaps = [], []
        loop = asyncio.get_running_loop()
        portion = Portion()
        tasks = [asyncio.create_task(portion.compute(what, 2**-11)) for what in range(3)]
        cooperate(endless(2**-11))
        await turns(3)
        while loop.time() < 2.0:
            before = loop.time()
            await asyncio.sleep(0)
            gaps.append(loop.time() - before)
        await end(*tasks)
        assert events == []
        assert SLICE <= max(gaps) <= SLICE + 2**-11 + 2 * TURN
        assert sum(portion.seconds.values()) > 1.4

    @on_loop
    async def test_on_a_quiet_loop_it_costs_one_or_two_per_cent(self):
        loop = asyncio.get_running_loop()
        await compute(2**-10, [], number=4096)
        assert 4.0 <= loop.time() <= 4.0 * 1.03

    @on_each
    async def test_code_that_lets_go_of_the_loop_between_its_pieces_stands_back_too(self):
        events = []
        loop = asyncio.get_running_loop()

        async def work():
            while True:
                events.append("piece")
                loop.spend(SLICE / 4)
                await checkpoint()
                await asyncio.sleep(0)

        task = asyncio.create_task(work())
        await until(lambda: len(events) > 30)
        events.clear()
        request(events, hops=10, seconds=2**-12)
        await until(lambda: events.count("hop") == 10)
        await end(task)
        assert events.count("piece") <= 5

    @on_each
    async def test_many_coroutines_all_have_their_turns(self):
        events = []
        async with asyncio.TaskGroup() as group:
            for what in range(60):
                group.create_task(compute(SLICE, events, what, 3))
        assert sorted(events) == sorted([*range(60)] * 3)
        counts = dict.fromkeys(range(60), 0)
        for what in events:
            counts[what] += 1
            assert counts[what] - min(counts.values()) <= 2

    @on_each
    async def test_nothing_is_left_behind(self):
        async with asyncio.TaskGroup() as group:
            for what in range(5):
                group.create_task(compute(SLICE, [], what, 3))
        await turns(3)
        statistics = get_cooperator().statistics()
        assert (statistics.ready, statistics.paused, statistics.waiting) == (0, 0, 0)


class TestCompeting:
    @on_loop
    async def test_it_competes_with_the_tasks_of_the_loops_own_cooperator(self):
        portion = Portion()
        task = cooperate(endless(2**-11))
        computing = asyncio.create_task(portion.compute("coroutine", 2**-12))
        await asyncio.sleep(4.0)
        await end(computing)
        assert portion.seconds["coroutine"] == pytest.approx(2.0, rel=0.06)
        assert task.cpu_time == pytest.approx(2.0, rel=0.06)

    @on_loop
    async def test_several_of_them_and_a_task_have_equal_parts(self):
        portion = Portion()
        task = cooperate(endless(2**-8))
        tasks = [asyncio.create_task(portion.compute(what, 2**-10)) for what in range(3)]
        await asyncio.sleep(8.0)
        await end(*tasks)
        parts = [*portion.seconds.values(), task.cpu_time]
        assert parts == pytest.approx([2.0] * 4, rel=0.1)

    @on_loop
    async def test_together_with_the_tasks_it_is_one_of_several_cooperators(self):
        portion = Portion()
        other = Cooperator()
        other.cooperate(endless(2**-10))
        mine = cooperate(endless(2**-10))
        computing = asyncio.create_task(portion.compute("coroutine", 2**-10))
        await asyncio.sleep(8.0)
        await end(computing)
        other.stop()
        assert other.statistics().cpu_time == pytest.approx(4.0, rel=0.1)
        assert mine.cpu_time == pytest.approx(2.0, rel=0.1)
        assert portion.seconds["coroutine"] == pytest.approx(2.0, rel=0.1)

    @on_loop
    async def test_sleeping_a_moment_after_each_slice_buys_nothing(self):
        taken = 0.0

        async def sly():
            nonlocal taken
            loop = asyncio.get_running_loop()
            while True:
                taken += 2**-7
                loop.spend(2**-7)
                await checkpoint()
                await asyncio.sleep(2**-12)

        task = cooperate(endless(2**-10))
        computing = asyncio.create_task(sly())
        await asyncio.sleep(4.0)
        await end(computing)
        assert taken <= 2.2
        assert task.cpu_time >= 1.8

    @on_each
    async def test_beside_an_accumulation_both_come_to_their_ends(self):
        def squares():
            for number in range(50):
                asyncio.get_running_loop().spend(SLICE / 4)
                yield number * number

        events = []
        async with asyncio.TaskGroup() as group:
            collecting = group.create_task(accumulate(squares()))
            group.create_task(compute(SLICE / 2, events, number=30))
        assert sum(collecting.result()) == sum(number * number for number in range(50))
        assert events == ["piece"] * 30

    @on_loop
    async def test_a_task_that_steps_alone_makes_way_for_it(self):
        events = []
        batch = asyncio.create_task(accumulate(endless(2**-12)))
        await turns(3)
        await compute(SLICE, events, number=5)
        batch.cancel()
        await asyncio.wait([batch])
        assert events == ["piece"] * 5

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks")
    @on(StillAsyncio, Loop)  # uvloop and the eager factory of Python 3.13.0 do not fit
    async def test_a_coroutine_that_a_step_begins_eagerly_may_await_it(self):
        events, begun = [], []
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)

        def steps():
            yield
            begun.append(loop.create_task(compute(SLICE / 2, events, number=5)))
            yield
            loop.spend(SLICE)
            yield

        other = Cooperator()
        await other.cooperate(steps())
        await cooperate(steps())
        await asyncio.gather(*begun)
        assert events == ["piece"] * 10
        await turns(3)
        statistics = get_cooperator().statistics()
        assert (statistics.ready, statistics.paused, statistics.waiting) == (0, 0, 0)


class TestCancellation:
    @on_each
    async def test_it_is_raised_where_the_code_waits(self):
        events = []

        async def work():
            try:
                await compute(SLICE, events)
            finally:
                events.append("cleaned up")

        task = asyncio.create_task(work())
        other = asyncio.create_task(compute(SLICE, []))
        await until(lambda: len(events) == 2 and waits(task) and waits(other))
        task.cancel("enough")
        await asyncio.wait([task])
        assert task.cancelled()
        assert events == ["piece", "piece", "cleaned up"]
        await end(other)

    @on_each
    async def test_others_go_on_after_one_was_cancelled(self):
        events = []
        first = asyncio.create_task(compute(SLICE, []))
        await turns(2)
        second = asyncio.create_task(compute(SLICE, events, number=5))
        task = cooperate(endless(SLICE))
        await until(lambda: waits(first) and waits(second))
        first.cancel()
        await second
        assert first.cancelled()
        assert events == ["piece"] * 5
        assert task.steps > 0

    @on_each
    async def test_on_whichever_turn_it_comes_nothing_is_lost(self):
        for delay in [*range(20), *range(20, 600, 37)]:
            first = asyncio.create_task(compute(SLICE, []))
            await turns(delay)
            first.cancel()
            await asyncio.wait([first])
            assert first.cancelled()
        events = []
        await compute(SLICE, events, number=5)
        assert events == ["piece"] * 5

    def test_afterwards_nothing_is_scheduled(self):
        async def main():
            tasks = [asyncio.create_task(compute(SLICE, [])) for _ in range(3)]
            await turns(5)
            await end(*tasks)
            await asyncio.get_running_loop().create_future()

        with (
            pytest.raises(Deadlock, match="no call is scheduled"),
            asyncio.Runner(loop_factory=Loop) as runner,
        ):
            runner.run(main())


class TestTheLoopsOwnCooperator:
    @on_each
    async def test_when_it_is_stopped_a_checkpoint_does_not_hang(self):
        events = []
        get_cooperator().stop()
        task = asyncio.create_task(compute(SLICE, events, number=5))
        await until(task.done)
        assert task.exception() is None or isinstance(task.exception(), SchedulerStopped)

    @on_each
    async def test_when_it_is_stopped_meanwhile_a_checkpoint_does_not_hang(self):
        events = []
        task = asyncio.create_task(compute(SLICE, events, number=5))
        await until(lambda: waits(task))
        get_cooperator().stop()
        await until(task.done)
        assert task.exception() is None or isinstance(task.exception(), SchedulerStopped)

    @on_each
    async def test_it_may_be_stopped_and_started_and_nothing_is_lost(self):
        events = []
        await compute(SLICE, events, number=3)
        get_cooperator().stop()
        get_cooperator().start()
        await compute(SLICE, events, number=3)
        assert events == ["piece"] * 6

    def test_each_loop_has_one_so_code_may_compute_on_one_loop_after_the_other(self):
        events = []
        for _ in range(3):
            with asyncio.Runner(loop_factory=Loop) as runner:
                runner.run(compute(SLICE, events, number=5))
        assert events == ["piece"] * 15

    @on_each
    async def test_with_others_cooperators_alone_it_needs_no_task_of_its_own(self):
        other = Cooperator()
        other.cooperate(endless(SLICE))
        await compute(SLICE, [], number=5)
        assert other.statistics().steps >= 4
        other.stop()


class TestWithoutALoop:
    def test_it_says_so(self):
        waiting = checkpoint()
        with pytest.raises(RuntimeError, match="no running event loop"):
            waiting.send(None)

    def test_a_closed_loop_is_not_kept_alive(self):
        loop = Loop()

        async def begin():
            task = asyncio.create_task(compute(SLICE, []))
            await until(lambda: waits(task))
            task._log_destroy_pending = False  # asyncio's warning is not the matter here

        loop.run_until_complete(begin())
        loop.close()
        ref = weakref.ref(loop)
        del loop
        gc.collect()
        assert ref() is None

    def test_a_cooperator_that_outlives_its_loop_forgets_who_waited_there(self):
        loop = Loop()

        async def begin():
            task = asyncio.create_task(compute(SLICE, []))
            await until(lambda: waits(task))
            task._log_destroy_pending = False  # asyncio's warning is not the matter here
            return get_cooperator(), cooperate(endless(SLICE))

        cooperator, lost = loop.run_until_complete(begin())
        loop.close()
        with asyncio.Runner(loop_factory=Loop) as runner:
            assert runner.run(accumulate([1, 2], cooperator)) == deque([1, 2])
        assert lost.done()
        assert cooperator.statistics().ready == 0

    def test_an_ended_task_is_not_kept_alive(self):
        async def main():
            task = asyncio.create_task(compute(SLICE, [], number=3))
            await task
            return weakref.ref(task)

        with asyncio.Runner(loop_factory=Loop) as runner:
            ref = runner.run(main())
            gc.collect()
            assert ref() is None


@pytest.mark.parametrize("ends", ["asyncio.run", "shutdown_asyncgens"])
def test_a_loop_that_has_ended_lends_nothing_to_the_next(ends):
    async def compute():
        deadline = time.perf_counter() + 60
        while lent.deadline == -math.inf:  # until it holds the slice
            assert time.perf_counter() < deadline
            await checkpoint()

    if ends == "asyncio.run":
        asyncio.run(compute())
    else:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(compute())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    assert lent.deadline == -math.inf
