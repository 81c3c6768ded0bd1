"""Corners of the core that other tests come to only by chance, or by much patience."""

import asyncio
import gc
import logging
from collections import deque

import pytest
from core_support import Clock, Stepwise, Ticks, forever, on_both_loops, turns, work

from cooperative_aio import (
    Cooperator,
    SchedulerStopped,
    TimeSlice,
    accumulate,
    batch_accumulate,
    current_task,
)
from cooperative_aio._checks import quote
from cooperative_aio._fairness import MOST
from cooperative_aio._meter import Meter

MILLISECOND = 2.0**-10  # seconds


def paced_by_hand(seconds=1.0):
    """Return a Cooperator, its clock, and what makes its ticks, each of so many seconds."""
    clock, ticks = Clock(), Ticks()
    return Cooperator(scheduler=ticks, clock=clock, time_slice=TimeSlice(seconds)), clock, ticks


class TestStepsThatAreCountedWhenTheRoundIsOver:
    @on_both_loops
    async def test_are_right_for_whoever_asks_in_the_middle_of_it(self):
        cooperator, clock, ticks = paced_by_hand(12 * MILLISECOND)
        seen = []

        def asks(rounds):
            for _ in range(rounds):
                seen.append([task.steps for task in tasks])
                clock.advance(MILLISECOND / 64)
                yield

        def other():
            while True:
                clock.advance(MILLISECOND / 64)
                yield

        tasks = [cooperator.cooperate(each) for each in (other(), asks(3), other())]
        parked = cooperator.cooperate(forever())
        parked.pause()
        tasks.append(parked)
        ticks.tick()
        assert seen == [[1, 1, 0, 0], [2, 2, 1, 0], [3, 3, 2, 0]]
        assert tasks[1].steps == 4
        cooperator.stop()

    @on_both_loops
    async def test_are_right_after_a_round_that_went_round_often(self):
        cooperator, clock, ticks = paced_by_hand(12 * MILLISECOND)

        def step():
            while True:
                clock.advance(MILLISECOND / 1024)
                yield

        tasks = [cooperator.cooperate(step()) for _ in range(5)]
        ticks.tick()
        assert sum(task.steps for task in tasks) == cooperator.statistics().steps
        assert max(task.steps for task in tasks) - min(task.steps for task in tasks) <= 1
        cooperator.stop()


class TestWhatASuccessorOwes:
    @pytest.mark.parametrize("group", [None, "g"])
    @on_both_loops
    async def test_is_bounded_by_a_second_of_its_share_however_long_the_step_was(self, group):
        cooperator = Stepwise()
        clock, log = cooperator.clock, []

        def others():
            while True:
                log.append("other")
                clock.advance(MILLISECOND)
                yield

        def successor():
            log.append("successor")
            yield

        def maker():  # the process is suspended for a minute in its only step
            clock.advance(60.0)
            cooperator.cooperate(successor(), group=group)
            return
            yield

        cooperator.cooperate(others(), group=group)
        cooperator.cooperate(maker(), group=group)
        cooperator.ticks.tick(3000)
        assert "successor" in log
        cooperator.stop()


class TestDraining:
    @on_both_loops
    async def test_ends_although_tasks_come_and_go_on_every_turn(self):
        cooperator = Cooperator()
        await cooperator.cooperate(iter(()))
        comes = True

        def come_and_go():
            cooperator.cooperate(iter(())).stop()
            if comes:
                asyncio.get_running_loop().call_soon(come_and_go)

        come_and_go()
        draining = asyncio.ensure_future(cooperator.drain())
        await turns(20)
        assert draining.done()
        comes = False


class TestTheClockIsSetBack:
    @pytest.mark.parametrize("step", [1, 3])
    @on_both_loops
    async def test_in_a_single_step_and_nobody_gains_or_loses_by_it(self, step):
        cooperator, clock, ticks = paced_by_hand()

        def steps(jump):
            for number in range(1, 6):
                clock.advance(-100.0 if number == jump else MILLISECOND)
                yield

        task = cooperator.cooperate(steps(step))
        other = cooperator.cooperate(steps(None))
        ticks.run()
        assert task.cpu_time == 4 * MILLISECOND
        assert other.cpu_time == 5 * MILLISECOND

    @on_both_loops
    async def test_in_a_burst(self):
        cooperator, clock, ticks = paced_by_hand()

        def values(jump):
            for number in range(1, 6):
                clock.advance(-100.0 if number == jump else MILLISECOND)
                yield number

        collected = [
            asyncio.ensure_future(batch_accumulate(2, values(jump), cooperator))
            for jump in (3, None)
        ]
        await turns()
        ticks.run()
        assert await asyncio.gather(*collected) == [deque(range(1, 6))] * 2
        assert 9 * MILLISECOND >= cooperator.statistics().cpu_time >= 0


class TestGroupsBesideEachOther:
    @on_both_loops
    async def test_accumulations_in_them_keep_all_values(self):
        cooperator = Cooperator()
        collected = await asyncio.gather(
            *(
                accumulate(iter(range(500)), cooperator, group=number % 2)
                for number in range(4)
            ),
            *(
                batch_accumulate(10, iter(range(500)), cooperator, group=number % 2)
                for number in range(4)
            ),
        )
        assert collected == [deque(range(500))] * 8
        assert cooperator.statistics().steps >= 8 * 500

    @on_both_loops
    async def test_steps_are_counted_once(self):
        cooperator = Cooperator()
        tasks = [
            cooperator.cooperate(iter(range(100)), group=number % 2) for number in range(4)
        ]
        batched = [
            asyncio.ensure_future(
                batch_accumulate(10, iter(range(100)), cooperator, group=number)
            )
            for number in range(2)
        ]
        await asyncio.gather(*tasks, *batched)
        assert cooperator.statistics().steps == 6 * 101

    @on_both_loops
    async def test_batches_on_a_clock_that_stands_still_end_the_tick(self):
        cooperator, _clock, ticks = paced_by_hand()
        collected = [
            asyncio.ensure_future(
                batch_accumulate(2 * MOST, iter(range(5 * MOST)), cooperator, group=number)
            )
            for number in range(2)
        ]
        await turns()
        before = cooperator.statistics().steps
        ticks.tick()
        assert 0 < cooperator.statistics().steps - before < 4 * MOST
        ticks.run()
        assert [len(values) for values in await asyncio.gather(*collected)] == [5 * MOST] * 2

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
    def test_what_is_to_leave_the_loop_leaves_it_and_strands_nobody(self, kind):
        log = []

        def leaves():
            yield
            raise kind("now")

        async def main():
            cooperator = Cooperator()
            for group in range(2):
                for _ in range(2):
                    cooperator.cooperate(work(log, "ab"), group=group)
            cooperator.cooperate(leaves(), group=0)
            await asyncio.wait([asyncio.ensure_future(cooperator.drain())])

        with asyncio.Runner() as runner:
            with pytest.raises(kind, match="now"):
                runner.run(main())
            runner.run(asyncio.sleep(0.01))
        assert sorted(log) == [*"aaaa", *"bbbb"]


class TestALogHandlerThatRaises:
    @pytest.mark.parametrize("kind", [LookupError, KeyboardInterrupt])
    def test_harms_nothing(self, kind, monkeypatch):
        class Fails(logging.Handler):
            def emit(self, _record):
                raise kind("in the handler")

        logger = logging.getLogger("cooperative_aio")
        handler = Fails()
        monkeypatch.setattr(logger, "handlers", [handler])
        reports = []

        async def main():
            asyncio.get_running_loop().set_exception_handler(
                lambda _loop, context: reports.append(context["message"])
            )
            clock = Clock()
            cooperator = Cooperator(clock=clock, slow_step=0.5)

            def slow():
                clock.advance(1.0)
                yield 1

            return await accumulate(slow(), cooperator)

        with asyncio.Runner() as runner:
            if kind is LookupError:
                assert runner.run(main()) == deque([1])
                assert [report.partition(":")[0] for report in reports] == [
                    "a log handler failed"
                ]
            else:
                with pytest.raises(kind, match="in the handler"):
                    runner.run(main())


class TestStopping:
    @on_both_loops
    async def test_a_coroutine_that_the_last_step_has_yielded_is_closed(self):
        async def never():
            raise AssertionError

        def stops_itself():
            current_task().stop()
            yield never()

        task = Cooperator().cooperate(stops_itself())
        await asyncio.wait([task])
        assert task.state == "stopped"

    def test_twice_where_the_loop_was_closed(self):
        loop = asyncio.new_event_loop()
        cooperator = Cooperator()

        async def begin():
            return [cooperator.cooperate(forever()) for _ in range(2)]

        tasks = loop.run_until_complete(begin())
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

        async def look():
            return cooperator.tasks

        assert asyncio.run(look()) == tuple(tasks)
        with pytest.raises(SchedulerStopped, match="closed"):
            asyncio.run(self.use(cooperator, tasks))
        del tasks
        gc.collect()

    async def use(self, cooperator, tasks):
        await cooperator.cooperate(iter(()))
        for task in tasks:
            task.result()


def test_what_cannot_be_represented_is_quoted_by_its_class():
    class Broken(list):
        def __repr__(self):
            raise LookupError

    assert quote(Broken()).startswith("<")
    assert "Broken instance at 0x" in quote(Broken())


class TestTasksThatWait:
    @on_both_loops
    async def test_go_on_with_whatever_something_raises_that_only_looks_like_a_future(self):
        class LooksLikeOne:
            _asyncio_future_blocking = False

            def __init__(self):
                self._callbacks = []

            def get_loop(self):
                return asyncio.get_running_loop()

            def add_done_callback(self, callback, *, context=None):
                asyncio.get_running_loop().call_soon(callback, self)

            def remove_done_callback(self, callback):
                raise LookupError

            def cancel(self, _message=None):
                return False

            def exception(self):
                raise LookupError("no outcome")

        seen = []

        def waits():
            try:
                yield LooksLikeOne()
            except LookupError as error:
                seen.append(str(error))

        await Stepped.run(waits())
        assert seen == ["no outcome"]


class Stepped:
    @staticmethod
    async def run(generator):
        async with Cooperator() as cooperator:
            await cooperator.cooperate(generator)


@on_both_loops
async def test_a_predicate_ends_the_tick_of_a_group_after_one_step():
    cooperator = Stepwise()
    log = []
    for group in range(2):
        cooperator.cooperate(work(log, "ab"), group=group)
    cooperator.ticks.tick(2)
    assert log == ["a", "a"]
    cooperator.stop()


@on_both_loops
async def test_an_error_after_values_of_the_plainest_class_is_an_error():
    def fails(error):
        yield object()
        yield object()
        raise error

    for error in (LookupError("lost"), asyncio.CancelledError("lost")):
        with pytest.raises(type(error), match="lost"):
            await Cooperator().cooperate(fails(error))
        with pytest.raises(type(error), match="lost"):
            await accumulate(fails(error), Cooperator())
    task = Cooperator().cooperate(iter([object()] * 3))
    await task
    assert task.steps == 4


@on_both_loops
async def test_a_name_is_text_whatever_was_given_and_shown_in_a_few_hundred_characters():
    cooperator = Cooperator(name=7)
    assert repr(cooperator).startswith("<Cooperator running name='7' ")
    for name in (list(range(10**6)), "x" * 10**6):
        task = cooperator.cooperate(iter(()), name=name)
        assert isinstance(task.name, str)
        assert len(repr(task)) < 1000
        await task
    assert cooperator.cooperate(iter(()), name=7).name == "7"
    cooperator.stop()


class Jumping(Clock):
    """A clock that jumps between a step's end and the end of the turn of its group."""

    def __init__(self):
        super().__init__()
        self.readings = 0  # until it jumps

    def __call__(self):
        if self.readings:
            self.readings -= 1
            if not self.readings:
                self.advance(1.0)
        return self.now


@on_both_loops
async def test_a_member_is_not_given_back_what_only_its_group_was_charged_for(monkeypatch):
    monkeypatch.setattr(Meter, "beyond", lambda _meter, seconds: float(seconds >= 1.0))
    clock = Jumping()

    def heavy():
        while True:
            clock.advance(0.125)
            clock.readings = 2
            yield

    cooperator = Stepwise(clock=clock)
    tasks = [cooperator.cooperate(heavy(), group=name) for name in ("one", "two")]
    cooperator.ticks.tick()
    assert [task.cpu_time >= 0 for task in tasks] == [True, True]
    cooperator.stop()


class WithoutHash(type):
    __hash__ = None


class Odd(metaclass=WithoutHash):
    """Its class cannot be looked up anywhere."""


@on_both_loops
async def test_values_whose_class_cannot_be_hashed_are_values():
    odd = [Odd() for _ in range(200)]
    cooperator = Cooperator()
    assert await accumulate(iter(odd), cooperator) == deque(odd)
    assert await batch_accumulate(50, iter([*odd, 1, *odd]), cooperator) == deque(
        [*odd, 1, *odd]
    )
    task = cooperator.cooperate(iter(odd))
    await task
    assert task.steps == len(odd) + 1


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_a_look_at_a_value_raises_ends_its_task_and_leaves_the_loop(kind):
    class Leaves:
        @property
        def __class__(self):
            raise kind("from a look")

    async def main():
        task = Cooperator().cooperate(iter([Leaves()]))
        await asyncio.wait([task])

    with asyncio.Runner() as runner, pytest.raises(kind, match="from a look"):
        runner.run(main())


@on_both_loops
async def test_a_task_made_while_another_is_closed_in_a_round_has_one_place():
    cooperator, clock, ticks = paced_by_hand(12 * MILLISECOND)
    log = []

    def stops():
        try:
            current_task().stop()
            yield "a value that is looked at at once"
        finally:
            cooperator.cooperate(forever(), name="made")

    def other(name):
        while True:
            log.append(name)
            clock.advance(MILLISECOND / 64)
            yield

    tasks = [cooperator.cooperate(each) for each in (other("a"), stops(), other("b"))]
    ticks.tick()
    queue = cooperator._engine.queue
    standing = [id(seat) for seat in (*queue.ring, *(entry[2] for entry in queue.ahead))]
    assert len(standing) == len(set(standing)) == queue.count == 3
    assert [tasks[0].steps, tasks[2].steps] == [log.count("a"), log.count("b")]
    assert abs(log.count("a") - log.count("b")) <= 4  # a grain of time
    cooperator.stop()
