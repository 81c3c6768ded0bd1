"""What mutants of the core were noticed by nothing else: see `mutants.py`. By module."""

import asyncio
import contextlib
import gc
import itertools
import sys
import types
import weakref
from functools import partial

import pytest
from core_support import Clock, Stepwise, Ticks, forever, on_both_loops, turns

from cooperative_aio import (
    Cooperator,
    NotPaused,
    SchedulerFull,
    TimeSlice,
    accumulate,
    batch_accumulate,
    checkpoint,
)
from cooperative_aio import _meter as meter
from cooperative_aio._changes import Changes
from cooperative_aio._fairness import MOST, FairQueue
from cooperative_aio._loop import state_of
from cooperative_aio._pacing import Pacer, _Gauge
from cooperative_aio._seats import LONG, Seat
from cooperative_aio._sinks import Ahead, Bounded
from cooperative_aio._stepping import Chunks
from cooperative_aio.testing import VirtualLoop

TURN = 2**-16
"""The seconds that a turn of the loop costs here."""
MICROSECONDS = 1e-6


class Interrupted(Clock):
    """A clock in which, once, something else is done: as in a signal handler."""

    meanwhile = None

    def __call__(self):
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().__call__()


def in_ticks(clock, seconds=0.25):
    """Make a Cooperator whose ticks of so many seconds come when `ticks.tick()` is called."""
    cooperator = Cooperator(scheduler=Ticks(), clock=clock, time_slice=seconds)
    ticks = cooperator._engine.rhythm._scheduler
    return cooperator, ticks


def steps_of(seconds, clock, log, name, limit=10**6):
    for _ in range(limit):
        log.append(name)
        clock.advance(seconds)
        yield


def waits(future):
    return (yield future)


steps_of_a_millisecond = partial(steps_of, 2**-10)


@contextlib.contextmanager
def without_the_collector():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class TestChanges:
    def test_what_comes_in_the_middle_of_a_noted_one_is_made_after_that(self):
        changes, log = Changes(), []

        def change(name, *noted):
            for number in noted:
                changes.make(change, number)
            log.append(name)

        changes.make(changes.make, change, "first", "second")
        assert log == ["first", "second"]

    def test_what_comes_in_the_middle_of_one_that_a_step_has_asked_for_is_made_after_that(self):
        changes, log, seat = Changes(), [], object()

        def asked_for():
            assert changes.is_running(seat)
            changes.make(log.append, "noted")
            log.append("asked for")

        def step():
            changes.make(asked_for)
            assert changes.current is seat

        def change():
            changes.call(seat, step)
            changes.make(log.append, "noted after the step")
            log.append("over")

        changes.make(change)
        assert log == ["asked for", "noted", "over", "noted after the step"]

    @on_both_loops
    async def test_what_interrupts_a_tick_is_done_between_two_of_its_turns(self):
        clock, log = Interrupted(), []
        cooperator, ticks = in_ticks(clock)
        tasks = [
            cooperator.cooperate(steps_of_a_millisecond(clock, log, name)) for name in "abc"
        ]

        def interrupts():
            clock.meanwhile = tasks[1].stop
            yield from steps_of_a_millisecond(clock, log, "d")

        cooperator.cooperate(interrupts())
        ticks.tick()
        assert log[:4] == ["a", "b", "c", "d"]
        assert log.count("b") == 1
        assert log.count("c") > 10
        cooperator.stop()

    @on_both_loops
    async def test_after_a_tick_nothing_is_going_on(self):
        cooperator, ticks = in_ticks(Clock())
        cooperator.cooperate(iter("abc"))
        changes = cooperator._engine.changes
        ticks.tick()
        assert (changes.busy, changes.serving, changes.current) == (False, False, None)
        assert [*changes.outer, *changes.noted, *changes.moves] == []

    @on_both_loops
    async def test_tasks_made_in_one_step_begin_in_the_order_in_which_they_were_made(self):
        clock, log = Clock(), []
        cooperator, ticks = in_ticks(clock)

        def makes():
            for name in "abc":
                cooperator.cooperate(steps_of_a_millisecond(clock, log, name))
            yield

        cooperator.cooperate(makes())
        ticks.tick()
        assert log[:6] == list("abcabc")
        cooperator.stop()

    @pytest.mark.parametrize("route", ["the change", "one within", "noted", "leaving"])
    def test_what_a_change_has_raised_is_freed_with_its_arguments(self, route):
        class Thing:
            pass

        class Problem(Exception):
            pass

        changes = Changes()

        def raises(_thing):
            raise Problem

        def change(thing):
            if route == "the change":
                raises(thing)
            elif route == "one within":
                changes.call("a seat", partial(changes.make, raises, thing))
            elif route == "noted":
                changes.make(raises, thing)
            else:
                changes.leaving = Problem()

        with without_the_collector():
            thing = Thing()
            seen = weakref.ref(thing)
            try:
                changes.make(change, thing)
            except Problem as error:
                caught = error
            traceback, held, names = caught.__traceback__, [], []
            while traceback is not None:
                code = traceback.tb_frame.f_code
                if code.co_filename == Changes.make.__code__.co_filename:
                    names.append(code.co_name)
                    if code is not Changes.call.__code__:
                        held.extend(traceback.tb_frame.f_locals.values())
                traceback = traceback.tb_next
            assert names
            assert not any(value is thing or value is caught for value in held)
            assert not any(isinstance(value, tuple) and thing in value for value in held)
            del held, thing
            problem = weakref.ref(caught)
            del caught
            assert (seen(), problem()) == (None, None)


class TestFairness:
    @on_both_loops
    async def test_steps_of_others_can_be_counted_in_the_middle_of_a_round(self):
        clock, tasks = Clock(), []
        cooperator, ticks = in_ticks(clock, 2**-10 * 10)
        counted, seen = [0, 0, 0], []

        def counts(number):
            while True:
                counted[number] += 1
                seen.append(([task.steps for task in tasks], list(counted)))
                clock.advance(2**-10)
                yield

        tasks.extend(cooperator.cooperate(counts(number)) for number in range(3))
        ticks.tick()
        assert len(seen) == 10
        for said, true in seen:
            assert said == true
        cooperator.stop()

    @pytest.mark.parametrize("heavy", [2**-11, 2**-12, 2**-13])
    @pytest.mark.parametrize("light", [2**-16, 2**-17])
    @on_both_loops
    async def test_in_one_tick_short_steps_have_the_same_order_as_in_many(self, heavy, light):
        logs = []
        for cooperator in (in_ticks(Clock(), 8)[0], Stepwise()):
            clock, ticks = cooperator._engine.clock._clock, cooperator._engine.rhythm._scheduler
            log = []
            for name, cost in (("h", heavy), ("l", light), ("m", 2 * light)):
                cooperator.cooperate(steps_of(cost, clock, log, name, limit=300))
            ticks.run()
            logs.append("".join(log))
        assert logs[0][:600] == logs[1][:600]


class TestSeats:
    """The sum of what those have had that compete is right, whoever comes and goes."""

    @staticmethod
    def seat(queue, *, had=0.0):
        seat = Seat()
        seat.sit(queue)
        seat.virtual = had
        return seat

    def test_a_queue_that_was_empty_counts_from_where_it_was(self):
        queue = FairQueue()
        first = self.seat(queue)
        queue.join(first)
        queue.charge(queue.take(), 8.0)
        queue.put_back(first)
        queue.leave(first)
        queue.join(first)
        assert queue.mean() == first.virtual == 8.0
        queue.join(second := self.seat(queue))
        assert queue.mean() == second.virtual == 8.0

    def test_a_refund_of_a_seat_that_has_left_does_not_change_the_mean(self):
        queue = FairQueue()
        first, second, third = (self.seat(queue) for _ in "abc")
        for seat in (first, second, third):
            queue.join(seat)
        queue.charge(first, 2**-7)
        queue.charge(second, 2**-8)
        queue.longest = ((first, 2**-7), (second, 2**-8))
        queue.leave(second)
        assert queue.mean() == 2**-8
        queue.refund(1)
        assert (first.virtual, second.virtual, third.virtual) == (0.0, 0.0, 0.0)
        assert queue.mean() == 0.0

    def test_what_a_heavy_one_owes_is_bounded_in_seconds_of_its_own(self):
        queue = FairQueue()
        light, heavy = Seat(), Seat()
        light.sit(queue, 1000)
        heavy.sit(queue, 4)
        queue.join(light)
        queue.join(heavy)
        queue.charge(heavy, 1.0)
        assert heavy.virtual == LONG / 4

    def test_a_turn_in_which_the_clock_is_set_back_costs_nothing(self):
        class Bursts(Seat):
            def burst(self, _deadline, _is_alone):
                clock.advance(-0.5)
                return True

        clock, queue, seat = Clock(), FairQueue(), Bursts()
        seat.sit(queue)
        seat.bursts = True
        queue.join(seat)
        server = types.SimpleNamespace(clock=clock, changes=Changes(), steps=0, notable=1.0)
        queue.serve(server, 0.25)
        assert (seat.virtual, queue.mean(), queue.deadline) == (0.0, 0.0, -0.25)

    def test_a_seat_that_comes_back_has_had_what_it_has_had(self):
        queue = FairQueue()
        first, second = self.seat(queue, had=2.0), self.seat(queue)
        queue.join(first)
        queue.leave(first)
        queue.join(second)
        queue.charge(queue.take(), 6.0)
        queue.put_back(second)
        queue.join(first)
        assert (first.virtual, first.seconds) == (8.0, 2.0)

    @on_both_loops
    async def test_the_mean_is_right_after_values_that_are_looked_at(self):
        clock = Clock()
        cooperator, ticks = in_ticks(clock)

        def odd_values():
            while True:
                clock.advance(2**-10)
                yield object()

        tasks = [cooperator.cooperate(odd_values()) for _ in range(3)]
        queue = cooperator._engine.queue
        for _ in range(4):
            ticks.tick()
            assert queue.mean() == pytest.approx(sum(task.cpu_time for task in tasks) / 3)
        cooperator.stop()

    @on_both_loops
    async def test_a_task_that_pauses_in_the_middle_of_a_round_has_had_what_it_has_had(self):
        clock = Clock()
        cooperator, ticks = in_ticks(clock)

        def pauses_after(steps):
            yield from steps_of_a_millisecond(clock, [], "", limit=steps)
            clock.advance(2**-10)
            task.pause()
            yield

        task = cooperator.cooperate(pauses_after(31))
        ticks.run()
        queue = cooperator._engine.queue
        assert (task.state, clock.now) == ("paused", 2**-5)
        assert (queue.mean(), queue.sum) == (2**-5, 0.0)
        task.resume()
        assert queue.mean() == task.cpu_time == 2**-5
        cooperator.stop()

    @on_both_loops
    async def test_a_task_that_comes_back_by_the_end_of_another_waits_for_its_turn(self):
        clock, log = Clock(), []
        cooperator, ticks = in_ticks(clock)

        def wakes_another_when_closed():
            try:
                yield from steps_of_a_millisecond(clock, log, "a", limit=5)
                cooperator.tasks[0].stop()
                yield
            finally:
                sleeper.resume()

        cooperator.cooperate(wakes_another_when_closed())
        cooperator.cooperate(steps_of_a_millisecond(clock, log, "b"))
        sleeper = cooperator.cooperate(steps_of_a_millisecond(clock, log, "c"))
        sleeper.pause()
        ticks.tick()
        assert log[:16] == list("abababababbcbcbc") or log[:16] == list("ababababababcbcb")[:16]
        queue = cooperator._engine.queue
        ready = [task._job for task in cooperator.tasks]
        assert queue.mean() == pytest.approx(sum(job.virtual for job in ready) / 2)
        cooperator.stop()


class TestJob:
    @on_both_loops
    async def test_a_task_that_stops_itself_and_lets_others_tick_ends_after_its_step(self):
        cooperator, other, log = Stepwise(), Stepwise(), []
        other.cooperate(forever())

        def stops():
            task.stop()
            other.ticks.tick(2)
            log.append(task.done())
            yield

        task = cooperator.cooperate(stops())
        cooperator.ticks.tick()
        assert (log, task.state) == ([False], "stopped")
        other.stop()

    @on_both_loops
    async def test_a_pause_while_it_cleans_up_counts_for_nothing(self):
        cooperator = Stepwise()
        future = asyncio.get_running_loop().create_future()

        def cleans_up():
            try:
                yield
            finally:
                yield future

        task = cooperator.cooperate(cleans_up())
        cooperator.ticks.tick()
        task.cancel()
        await turns()
        task.pause()
        assert (task.state, task.paused) == ("ending", False)
        future.set_result(None)
        await turns()
        assert task.cancelled()

    @on_both_loops
    async def test_each_cancellation_lets_the_clean_up_wait_once_outside_of_ticks(self):
        cooperator = Stepwise()
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in range(3)]

        def cleans_up():
            try:
                yield
            finally:
                try:
                    yield futures[0]
                finally:
                    yield futures[1]
                    yield futures[2]

        task = cooperator.cooperate(cleans_up())
        cooperator.ticks.tick()
        seen = []
        for _ in range(2):
            task.cancel()
            await turns()
            seen.append(task.state)
        futures[1].set_result(None)
        await turns()
        seen.append(task.state)
        assert seen == ["ending", "ending", "waiting"]
        futures[2].set_result(None)
        await turns()
        cooperator.ticks.run()
        assert task.cancelled()

    def test_a_task_that_the_loss_of_another_has_ended_is_lost_once(self):
        cooperator = Cooperator(started=False)
        log = []

        async def begin():
            return [cooperator.cooperate(ends_the_other()), cooperator.cooperate(forever(log))]

        def ends_the_other():
            try:
                yield
            finally:
                log.append("first")
                tasks[1].stop()

        loop = asyncio.new_event_loop()
        tasks = loop.run_until_complete(begin())
        for task in tasks:
            next(task.iterator)
        loop.close()

        async def use_it_again():
            return await cooperator_of_this.coiterate(iter("ab"))

        cooperator_of_this = cooperator
        cooperator.start()
        asyncio.run(use_it_again())
        assert log == ["first", "closed"]
        assert [task.state for task in tasks] == ["stopped", "stopped"]

    @on_both_loops
    async def test_each_pause_that_the_end_has_lifted_can_be_taken_back_once(self):
        cooperator = Stepwise()
        task = cooperator.cooperate(forever())
        task.pause()
        task.pause()
        task.cancel()
        task.pause()
        for _ in range(3):
            task.resume()
        with pytest.raises(NotPaused, match="cannot resume a ending task"):
            task.resume()
        await turns()
        assert task.cancelled()


class TestStepped:
    @on_both_loops
    async def test_a_successor_elsewhere_owes_nothing_of_what_its_maker_did(self):
        cooperator = Stepwise()
        clock, made = cooperator.clock, []

        def parent():
            clock.advance(0.5)
            made.append(cooperator.cooperate(forever(), group="another"))
            return
            yield

        cooperator.cooperate(forever())
        cooperator.cooperate(parent())
        cooperator.ticks.tick(2)
        cooperator.ticks.tick(4)
        assert made[0].steps == 2
        cooperator.stop()


class TestGroups:
    @on_both_loops
    async def test_a_member_made_in_a_step_comes_before_its_maker_does_again(self):
        cooperator, log = Stepwise(), []

        def steps(name):
            log.append(name)
            if name == "a":
                cooperator.cooperate(steps("c"), group="g")
            while True:
                yield
                log.append(name)

        for name in "ab":
            cooperator.cooperate(steps(name), group="g")
        cooperator.cooperate(forever())
        cooperator.ticks.tick(16)
        assert log[:6] == list("abcabc")
        cooperator.stop()

    @on_both_loops
    async def test_turns_end_when_the_clock_stands_still_through_those_of_members(self):
        cooperator, ticks = in_ticks(Clock())
        task = cooperator.cooperate(forever(), group="g")
        ticks.tick()
        assert task.steps <= 2 * MOST
        cooperator.stop()

    @on_both_loops
    async def test_the_longest_turn_is_charged_to_the_member_that_had_it(self):
        clock = Clock()
        cooperator, ticks = in_ticks(clock, 2**-4)
        short = cooperator.cooperate(steps_of(2**-12, clock, [], ""), group="g")
        other = cooperator.cooperate(steps_of(2**-12, clock, [], ""))
        ticks.tick()
        other.stop()
        short.pause()
        long = cooperator.cooperate(steps_of(2**-5, clock, [], ""), group="g")
        ticks.tick()
        group = long._job.queue
        assert [seat for seat, _ in group.charged(2**-5)] == [group, long._job]
        cooperator.stop()


class TestTheClock:
    @on_both_loops
    async def test_a_tick_ends_though_the_clock_goes_backwards(self):
        clock = Clock()
        cooperator, ticks = in_ticks(clock)
        tasks = [cooperator.cooperate(steps_of(-(2**-10), clock, [], "")) for _ in range(2)]
        ticks.tick()
        assert sum(task.steps for task in tasks) <= 2 * MOST
        cooperator.stop()


class TestFutures:
    @on_both_loops
    async def test_exception_raises_the_very_error_that_it_was_cancelled_with(self):
        cooperator = Stepwise()

        def cancels():
            raise asyncio.CancelledError("its own", 1)
            yield

        task = cooperator.cooperate(cancels())
        cooperator.ticks.tick()
        with pytest.raises(asyncio.CancelledError) as caught:
            task.exception()
        assert caught.value.args == ("its own", 1)


class TestSinks:
    class Keeper:
        """What sinks need of a task."""

        def __init__(self):
            self.log = []

        def stop_when_over(self, error):
            self.log.append(str(error))

        def hold(self, *, held):
            self.log.append(held)

    def test_a_batch_ahead_is_due_no_more_when_that_was_taken_back(self):
        told = []
        sink, keeper = Ahead(3, lambda: told.append("ready")), self.Keeper()
        sink.fall_due(keeper)
        sink.not_due()
        sink.take(keeper, 1)
        assert (sink.offered, told) == (None, [])
        sink.fall_due(keeper)
        assert (sink.offered, told, keeper.log) == ([1], ["ready"], [True])

    @pytest.mark.parametrize("spare", [0, 1])
    def test_bytes_are_counted_from_none(self, spare):
        keeper = self.Keeper()
        sink = Bounded(None, 2 * sys.getsizeof(1.5) - spare)
        sink.take(keeper, 1.5)
        sink.take(keeper, 2.5)
        assert len(keeper.log) == spare

    def test_no_more_of_a_batch_is_taken_than_the_one_that_is_too_much(self):
        keeper = self.Keeper()
        sink = Bounded(2, None)
        sink.take_batch(keeper, [1, 2, 3, 4, 5])
        assert list(sink.values) == [1, 2, 3]
        assert len(keeper.log) == 1


class TestEngine:
    @on_both_loops
    async def test_a_cooperator_is_known_on_the_loop_where_it_was_used(self):
        cooperator, unused = Stepwise(), Stepwise()
        cooperator.cooperate(iter("ab"))
        known = state_of(asyncio.get_running_loop()).cooperators
        assert cooperator in known
        assert unused not in known
        cooperator.stop()

    @on_both_loops
    async def test_a_scheduler_that_fails_at_the_start_is_reported(self, reports):
        def fails(_callback):
            raise LookupError("no tick")

        cooperator = Cooperator(scheduler=fails, started=False)
        task = cooperator.cooperate(iter("ab"))
        cooperator.start()
        await turns()
        assert task.done()
        assert {str(report["exception"]) for report in reports} == {"no tick"}

    @on_both_loops
    async def test_the_rest_of_a_slice_is_told_if_it_is_worth_it(self):
        clock, rests = Clock(), []
        cooperator, ticks = in_ticks(clock)

        def asks():
            for seconds in (0, 0.125, 0.0625, 0.03125):
                clock.advance(seconds)
                rests.append(cooperator._engine.rest_of_slice())
                yield

        cooperator.cooperate(asks())
        clock.advance(1)
        ticks.tick()
        assert rests == [0.25, 0.125, 0.25, 0.25]

    def test_what_it_cannot_be_used_for_is_said(self):
        cooperator = Cooperator(name="some")
        with pytest.raises(RuntimeError, match=r"cannot use <Cooperator .*some.* without"):
            cooperator.cooperate(iter("ab"))

    @on_both_loops
    async def test_a_slow_clean_up_is_reported_with_its_own_cpu_time(self, monkeypatch, caplog):
        clock, cpu = Clock(), Clock()
        monkeypatch.setattr(meter, "thread_time", cpu)
        cooperator = Stepwise(clock=clock, slow_step=0.25)

        def slow():
            try:
                yield
            finally:
                clock.advance(0.5)
                cpu.advance(0.125)

        task = cooperator.cooperate(slow())
        cooperator.ticks.tick()
        cpu.advance(4)  # of the rest of the program
        task.cancel()
        await turns()
        assert task.cancelled()
        (message,) = caplog.messages
        assert "0.500 seconds (0.125 of CPU, 0.000 in the" in message


class TestLoopState:
    @on_both_loops
    async def test_a_task_waits_on_a_future_that_another_waits_on_no_more(self):
        cooperator = Stepwise()
        future = asyncio.get_running_loop().create_future()

        first = cooperator.cooperate(waits(future))
        cooperator.ticks.tick()
        first.stop()
        second = cooperator.cooperate(waits(future))
        cooperator.ticks.run()
        future.set_result("woken")
        await turns()
        cooperator.ticks.run()
        assert await second == "woken"


class TestTheGauge:
    """A turn is quiet if it lasts twice as long as the shortest one lately, at most."""

    @staticmethod
    def turns(gauge, *lasted, now=0.0):
        return [gauge.is_quiet(seconds, now) for seconds in lasted]

    def test_a_turn_may_last_twice_as_long_as_the_shortest(self):
        gauge = _Gauge()
        judged = self.turns(gauge, 4, 8, 8.01, 2, 4, 4.01, 3)
        assert judged == [True, True, False, True, True, False, True]

    @pytest.mark.parametrize("alike", [1, 47, 48, 49, 63])
    def test_longer_ones_are_quiet_after_a_window_of_which_three_quarters_are_alike(
        self, alike
    ):
        gauge = _Gauge()
        assert all(self.turns(gauge, *[1] * 64))
        lasted = [10, *[20, 10] * 32][:alike] + [20.01] * (63 - alike)
        assert not any(self.turns(gauge, *lasted, now=0.2499))
        assert self.turns(gauge, 10, now=0.25) == [alike >= 48]

    def test_a_window_is_of_so_many_turns_at_least(self):
        gauge = _Gauge()
        self.turns(gauge, *[1] * 64)
        assert not any(self.turns(gauge, *[10] * 63, now=1))
        assert self.turns(gauge, 10, now=1) == [True]
        assert not any(self.turns(gauge, *[100] * 63, now=2))
        assert self.turns(gauge, 100, now=2) == [True]

    def test_a_window_lasts_so_many_seconds_at_least(self):
        gauge = _Gauge()
        self.turns(gauge, *[1] * 64)
        assert not any(self.turns(gauge, *[10] * 100, now=0.2499))
        assert self.turns(gauge, 10, now=0.25) == [True]
        assert not any(self.turns(gauge, *[100] * 100, now=0.4999))
        assert self.turns(gauge, 100, now=0.5) == [True]

    def test_each_window_is_judged_by_its_own_turns(self):
        gauge = _Gauge()
        self.turns(gauge, *[1] * 64)
        self.turns(gauge, 10, *[30] * 63, now=1)  # a busy loop: nothing is learned
        assert not any(self.turns(gauge, *[10] * 63, now=2))
        assert self.turns(gauge, 10, now=2) == [True]

    def test_a_shorter_one_counts_in_the_next_window_too(self):
        gauge = _Gauge()
        self.turns(gauge, *[1] * 64)
        self.turns(gauge, 0.25, *[1] * 63, now=1)
        assert self.turns(gauge, 0.5, 0.51, now=1) == [True, False]

    @on_both_loops
    async def test_of_many_that_wait_on_a_future_none_is_kept_when_it_waits_no_more(self):
        cooperator = Stepwise()
        future = asyncio.get_running_loop().create_future()
        with without_the_collector():
            generators = [waits(future) for _ in range(3)]
            seen = [weakref.ref(generator) for generator in generators]
            tasks = [cooperator.cooperate(generator) for generator in generators]
            cooperator.ticks.tick(3)
            for number in range(3):
                tasks[number].stop()
            del tasks, generators
            await turns()
            assert [reference() for reference in seen] == [None] * 3


class TestWaiting:
    @on_both_loops
    async def test_what_its_own_coroutine_has_raised_is_lost_quietly_when_it_is_stopped(self):
        cooperator = Stepwise()

        async def fails():
            raise LookupError

        def waits():
            yield fails()

        task = cooperator.cooperate(waits())
        cooperator.ticks.tick()
        asyncio.get_running_loop().call_soon(task.stop)  # between its failure and the waking
        await turns()
        assert task.state == "stopped"
        gc.collect()  # nothing is reported

    @pytest.mark.parametrize("kind", ["broken", "of another loop"])
    @on_both_loops
    async def test_what_cannot_be_waited_on_is_lost_quietly_when_it_is_stopped(self, kind):
        class Broken:
            _asyncio_future_blocking = False

            def get_loop(self):
                raise LookupError

        cooperator = Stepwise()
        another = asyncio.new_event_loop()
        thing = Broken() if kind == "broken" else another.create_future()
        task = cooperator.cooperate(waits(thing))
        cooperator.ticks.tick()
        assert task.waiting
        task.stop()
        await turns()
        gc.collect()  # nothing is reported
        another.close()

    @on_both_loops
    async def test_whatever_a_future_raises_when_it_is_looked_at_is_raised_at_the_yield(self):
        class Raised(BaseException):
            pass

        class Odd(asyncio.Future):
            def exception(self):
                raise Raised

        cooperator, log = Stepwise(), []
        future = Odd()

        def catches():
            try:
                yield future
            except Raised:
                log.append("caught")

        task = cooperator.cooperate(catches())
        cooperator.ticks.tick()
        future.set_result(None)
        await turns()
        cooperator.ticks.run()
        assert (log, task.state) == (["caught"], "finished")

    @on_both_loops
    async def test_what_the_future_of_another_has_raised_is_not_taken_for_seen(self, reports):
        cooperator = Stepwise()
        future = asyncio.get_running_loop().create_future()
        task = cooperator.cooperate(iter([future]))
        cooperator.ticks.tick()
        future.set_exception(LookupError("nobody looks at it"))
        task.stop()
        await turns()
        del task, future
        gc.collect()
        assert [str(report["exception"]) for report in reports] == ["nobody looks at it"]


class TestRefusals:
    @on_both_loops
    async def test_an_awaitable_that_cannot_be_answered_fails_its_accumulation_only(self):
        with pytest.raises(TypeError, match="cannot wait for"):
            await accumulate(asyncio.sleep(0) for _ in "ab")
        await turns()  # nothing is reported


class TestIterators:
    @on_both_loops
    async def test_an_iterator_that_cannot_be_hashed_is_as_good_as_any(self):
        class Unhashable:
            __hash__ = None
            values = iter("ab")

            def __iter__(self):
                return self

            def __next__(self):
                return next(self.values)

        cooperator = Stepwise()
        task = cooperator.cooperate(Unhashable())
        cooperator.ticks.run()
        assert task.state == "finished"


class TestRhythm:
    @on_both_loops
    async def test_a_task_made_when_no_other_is_ready_any_more_has_one_tick_scheduled(self):
        cooperator = Stepwise()

        def pauses():
            task.pause()
            cooperator.cooperate(forever())
            yield

        task = cooperator.cooperate(pauses())
        cooperator.ticks.tick()
        assert len(cooperator.ticks.pending) == 1
        cooperator.stop()
        assert not cooperator.ticks.pending


class TestRoster:
    @on_both_loops
    async def test_refusals_are_counted(self):
        cooperator = Stepwise(max_tasks=1)
        task = cooperator.cooperate(forever())
        for _ in range(2):
            with pytest.raises(SchedulerFull, match="max_tasks=1"):
                cooperator.cooperate(forever())
        assert cooperator.statistics().refused == 2
        task.stop()


class TestPacing:
    def test_waits_are_half_as_long_only_until_one_has_ended_in_quiet(self):
        clock = Clock()
        pacer = Pacer(types.SimpleNamespace(changes=Changes(), clock=clock, late_turns=None))
        time_slice = TimeSlice(2**-8, max_wait=0.25)

        def seconds_stood_back(*lasted):
            pacer._stand_back_if(used_up=True)
            pacer._slice_ended = began = clock.now
            for seconds in itertools.cycle(lasted):
                pacer._mark = clock.now
                clock.advance(seconds)
                if pacer._stood_back(time_slice, clock.now):
                    break
            return clock.now - began

        busy, quiet = (2**-12, 2**-6), (2**-12,)
        assert 0.25 <= seconds_stood_back(*busy) <= 0.28125
        assert 0.125 <= seconds_stood_back(*busy) <= 0.15625
        assert seconds_stood_back(*quiet) < 0.0625
        assert 0.25 <= seconds_stood_back(*busy) <= 0.28125

    def test_nothing_is_paid_for_a_turn_while_none_is_waited_for(self):
        clock = Clock()
        pacer = Pacer(types.SimpleNamespace(changes=Changes(), clock=clock, late_turns=None))
        clock.advance(8)
        assert pacer.turn_so_far() == 0.0

    def test_a_slice_begun_by_a_checkpoint_is_over_long_after_its_deadline(self):
        async def main():
            loop = asyncio.get_running_loop()
            await checkpoint()
            await asyncio.sleep(1)
            came, starts = loop.time(), []

            def job():
                starts.append(loop.time() - came)
                loop.spend(2**-10)
                yield

            time_slice = TimeSlice(2**-9, max_wait=0.0625)
            await Cooperator(time_slice=time_slice).cooperate(job())
            assert starts[0] <= 2 * TURN

        with asyncio.Runner(loop_factory=lambda: VirtualLoop(turn=TURN)) as runner:
            runner.run(main())


class TestStepping:
    class Task:
        """What chunks need of a task."""

        resuming = interrupted = False

        def __init__(self, iterator):
            self.iterator, self.next, self.steps = iterator, iterator.__next__, 0
            self.sink = self
            self.values = []

        def room(self):
            return 10**6

        def take(self, _task, value):
            self.values.append(value)

        def check(self, _task):
            pass

    class Timer:
        """A clock that notes how many steps there were between two readings."""

        notable = 1.0

        def __init__(self):
            self.now, self.before, self.between = 0.0, 0.0, []

        def clock(self):
            self.between.append(self.now - self.before)
            self.before = self.now
            return self.now

        def steps(self, costs):
            for cost in costs:
                self.now += cost
                yield 1

    async def test_a_generator_among_values_says_nothing_about_the_next_one(self):
        @types.coroutine
        def awaitable():
            return "result"
            yield

        results = []

        def values():
            for _ in range(500):
                yield (number for number in "")
            results.append((yield awaitable()))

        assert len(await batch_accumulate(1000, values())) == 500
        assert results == ["result"]

    def test_a_turn_ends_when_the_clock_is_set_back(self):
        timer = self.Timer()
        task = self.Task(timer.steps([0.0, -(2**-10), *[0.0] * 100]))
        Chunks(1000).take(task, timer, 1.0, 1000)
        assert task.steps == 2

    def test_after_a_long_chunk_the_next_one_fits(self):
        timer = self.Timer()
        task = self.Task(timer.steps([5 * MICROSECONDS] * 600 + [9 * MICROSECONDS] * 10**4))
        chunks = Chunks(1)
        while task.steps < 620:
            chunks.take(task, timer, timer.now + 1, 32)
        timer.between.clear()
        chunks.take(task, timer, timer.now + 1, 22)
        assert timer.between[2:4] == [pytest.approx(11 * 9 * MICROSECONDS)] * 2

    @pytest.mark.parametrize("cost", [7, 9, 12, 20, 30])
    def test_a_chunk_grows_only_while_one_of_twice_its_length_is_short(self, cost):
        timer = self.Timer()
        task = self.Task(timer.steps([cost * MICROSECONDS] * 2000))
        chunks = Chunks(1000)
        for _ in range(100):
            chunks.take(task, timer, timer.now + 10 * cost * MICROSECONDS, 1000)
        assert task.steps > Chunks.SINGLE
        assert max(timer.between) <= Chunks.SHORT
