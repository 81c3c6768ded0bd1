import asyncio
import contextvars
import dataclasses
import functools
import gc
import itertools
import math
import random
import weakref

import core_support
import pytest
from core_support import TURN, StillAsyncio, StillUvloop, on, turns

from cooperative_aio import Cooperator, TimeSlice, current_task
from cooperative_aio._loop import state_of
from cooperative_aio.testing import Deadlock


class Loop(core_support.Loop):
    """A loop on which each turn costs the same, and that notes what the package schedules."""

    def __init__(self, turn=TURN):
        self.scheduled = []
        super().__init__(turn=turn)

    def note(self, callback):
        if str(getattr(callback, "__module__", "")).startswith("cooperative_aio._"):
            self.scheduled.append(callback.__name__)

    def call_soon(self, callback, *args, context=None):
        self.note(callback)
        return super().call_soon(callback, *args, context=context)

    def call_at(self, when, callback, *args, context=None):
        self.note(callback)
        return super().call_at(when, callback, *args, context=context)


on_loop = on(Loop)


async def until(condition):
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


async def pass_seconds(seconds):
    """Let time go by, a turn at a time: on an idle loop too, and without a timer."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        await asyncio.sleep(0)


def endless(seconds, events=None, what="step"):
    """Yield for ever, each step taking so long; note what, or the time of each start."""
    loop = asyncio.get_running_loop()
    while True:
        if events is not None:
            events.append(what or loop.time())
        loop.spend(seconds)
        yield


def request(events, hops, seconds, quiet_between=0):
    """Do some work on many turns of the loop, one after the other."""
    loop = asyncio.get_running_loop()

    def hop(number, quiet):
        if quiet:
            loop.call_soon(hop, number, quiet - 1)
            return
        events.append("hop")
        loop.spend(seconds)
        if number < hops:
            loop.call_soon(hop, number + 1, quiet_between)

    loop.call_soon(hop, 1, 0)


def pauses(times, ran):
    """Tell how long it was from the end of each slice to the next one."""
    gaps = [later - earlier - ran for earlier, later in itertools.pairwise(times)]
    return [gap for gap in gaps if gap > 0]


class TestTimeSlice:
    def test_it_is_two_milliseconds_waits_for_ten_and_takes_all_it_can(self):
        assert TimeSlice() == TimeSlice(0.002, max_wait=0.01, share=1.0)

    def test_it_cannot_be_changed(self):
        time_slice = TimeSlice()
        for name in ("seconds", "max_wait", "share"):
            with pytest.raises(
                dataclasses.FrozenInstanceError, match=f"assign to field '{name}'"
            ):
                setattr(time_slice, name, 0.5)
        assert time_slice == TimeSlice()

    def test_equal_ones_are_one_value(self):
        assert len({TimeSlice(0.5, share=0.5), TimeSlice(seconds=0.5, share=0.5)}) == 1

    def test_only_its_length_is_given_by_position(self):
        with pytest.raises(TypeError, match="positional argument"):
            TimeSlice(0.5, 0.5)

    @pytest.mark.parametrize("value", ["1", None, True, [1.0], 1j])
    @pytest.mark.parametrize("name", ["seconds", "max_wait", "share"])
    def test_what_is_no_number_is_refused(self, name, value):
        with pytest.raises(TypeError, match=f"{name} must be a finite number"):
            TimeSlice(**{name: value})

    @pytest.mark.parametrize("value", [-1, -0.001, math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("name", ["seconds", "max_wait", "share"])
    def test_a_number_out_of_range_is_refused(self, name, value):
        with pytest.raises(ValueError, match=f"{name} must be a finite number"):
            TimeSlice(**{name: value})

    @pytest.mark.parametrize("name", ["seconds", "share"])
    def test_only_the_wait_may_be_zero(self, name):
        with pytest.raises(ValueError, match=f"{name} must be a finite number above 0, got 0"):
            TimeSlice(**{name: 0})
        assert TimeSlice(max_wait=0).max_wait == 0

    def test_nobody_takes_more_than_everything(self):
        with pytest.raises(ValueError, match=r"share must be above 0 and at most 1, got 1\.5"):
            TimeSlice(share=1.5)
        assert TimeSlice(share=1).share == 1


class TestOnAQuietLoop:
    @on_loop
    async def test_slices_take_all_but_one_or_two_per_cent(self):
        starts = []
        cooperator = Cooperator(time_slice=0.25)
        task = cooperator.cooperate(endless(0.0625, starts, None))
        await pass_seconds(4.0)
        task.stop()
        gaps = pauses(starts, 0.0625)
        assert len(gaps) in {len(starts) // 4, len(starts) // 4 - 1}
        assert all(0.25 * 0.005 <= gap <= 0.25 * 0.02 for gap in gaps)

    @on_loop
    async def test_a_short_slice_too_waits_for_several_turns(self):
        starts = []
        task = Cooperator(time_slice=TURN).cooperate(endless(TURN, starts, None))
        await pass_seconds(0.0625)
        task.stop()
        gaps = pauses(starts, TURN)
        assert len(gaps) > 100
        assert all(4 * TURN <= gap <= 32 * TURN for gap in gaps[1:])

    @on_loop
    async def test_a_step_longer_than_the_slice_is_never_cut(self):
        starts = []
        cooperator = Cooperator(time_slice=TimeSlice(0.25, max_wait=0))
        task = cooperator.cooperate(endless(1.0, starts, None))
        await turns(3)
        task.stop()
        assert [start - starts[0] for start in starts] == [0.0, 1 + TURN, 2 + 2 * TURN]
        assert cooperator.statistics().longest_step == 1.0

    @on(StillAsyncio, StillUvloop)
    async def test_a_clock_that_stands_still_does_not_make_it_wait_for_ever(self):
        events = []
        cooperator = Cooperator(time_slice=0.25)
        task = cooperator.cooperate(endless(0.25, events))
        await until(lambda: len(events) == 3)
        task.stop()
        assert asyncio.get_running_loop().now == 0.75

    @on_loop
    async def test_who_comes_when_nobody_waits_has_what_is_left_of_the_slice(self):
        starts = []
        loop = asyncio.get_running_loop()
        cooperator = Cooperator(time_slice=0.25)
        await cooperator.cooperate(_spend_once(loop, 0.125))
        came = loop.time()
        task = cooperator.cooperate(endless(0.0625, starts, None))
        await until(lambda: len(starts) >= 3)
        task.stop()
        assert starts[0] - came <= 2 * TURN  # at once
        assert starts[1] - starts[0] == 0.0625  # in the same slice
        assert 0.25 * 0.005 <= starts[2] - starts[1] - 0.0625 <= 0.25 * 0.02  # which was over

    @on_loop
    async def test_who_comes_when_the_slice_is_used_up_stands_back_first(self):
        starts = []
        loop = asyncio.get_running_loop()
        cooperator = Cooperator(time_slice=0.25)
        await cooperator.cooperate(_spend_once(loop, 0.25))
        came = loop.time()
        task = cooperator.cooperate(endless(0.0625, starts, None))
        await until(lambda: starts)
        task.stop()
        assert 4 * TURN <= starts[0] - came <= 0.25 * 0.02

    @on_loop
    async def test_who_comes_long_after_has_a_slice_of_its_own_at_once(self):
        starts = []
        loop = asyncio.get_running_loop()
        cooperator = Cooperator(time_slice=0.25)
        await cooperator.cooperate(_spend_once(loop, 0.25))
        await asyncio.sleep(0.02)
        came = loop.time()
        task = cooperator.cooperate(endless(0.0625, starts, None))
        await until(lambda: len(starts) >= 4)
        task.stop()
        assert starts == [came + TURN + 0.0625 * number for number in range(4)]


def _spend_once(loop, seconds):
    loop.spend(seconds)
    return
    yield  # in one step


class TestStandingBack:
    @on(Loop, StillAsyncio, StillUvloop)
    async def test_a_request_of_many_turns_waits_for_one_slice(self):
        events = []
        cooperator = Cooperator(time_slice=TimeSlice(2**-8, max_wait=0.25))
        task = cooperator.cooperate(endless(2**-8, events))
        await until(lambda: events)
        request(events, hops=10, seconds=2**-10)
        await until(lambda: len(events) == 12)
        task.stop()
        assert events == ["step", *["hop"] * 10, "step"]

    @on(Loop, StillAsyncio, StillUvloop)
    async def test_without_a_wait_there_is_a_tick_on_every_turn(self):
        events = []
        cooperator = Cooperator(time_slice=TimeSlice(2**-8, max_wait=0))
        task = cooperator.cooperate(endless(2**-8, events))
        await turns(1)
        request(events, hops=5, seconds=2**-10)
        await turns(5)
        task.stop()
        assert sorted(events[:2]) == ["hop", "step"] or events[:2] == ["step", "step"]
        assert events.count("hop") == 5
        assert events.count("step") == 6

    @on_loop
    async def test_one_turn_that_is_not_quiet_starts_the_count_again(self):
        events = []
        cooperator = Cooperator(time_slice=TimeSlice(2**-8, max_wait=0.25))
        task = cooperator.cooperate(endless(2**-8, events))
        await until(lambda: events)
        request(events, hops=10, seconds=2**-10, quiet_between=5)
        await until(lambda: len(events) == 12)
        task.stop()
        assert events == ["step", *["hop"] * 10, "step"]

    @on_loop
    async def test_once_something_else_ran_quiet_means_more_turns(self):
        events = []
        cooperator = Cooperator(time_slice=TimeSlice(2**-6, max_wait=0.25))
        task = cooperator.cooperate(endless(2**-6, events))
        await until(lambda: len(events) == 2)
        request(events, hops=10, seconds=2**-10, quiet_between=14)
        await until(lambda: len(events) == 13)
        task.stop()
        assert events == ["step", "step", *["hop"] * 10, "step"]

    @on_loop
    async def test_on_a_saturated_loop_it_is_not_starved(self):
        starts = []
        loop = asyncio.get_running_loop()
        await turns(300)
        cooperator = Cooperator(time_slice=TimeSlice(2**-8, max_wait=0.125))
        task = cooperator.cooperate(endless(2**-8, starts, None))
        await until(lambda: len(starts) == 1)
        shuffled = random.Random(1)  # noqa: S311 (it shall always be the same)
        end = loop.time() + 4.0
        while loop.time() < end:
            loop.spend(2 ** -shuffled.uniform(8, 13))
            await asyncio.sleep(0)
        task.stop()
        gaps = pauses(starts, 2**-8)
        assert len(gaps) >= 28
        assert all(0.0625 <= gap <= 0.125 + 2**-7 for gap in gaps)

    @on_loop
    async def test_each_cooperator_waits_as_long_as_its_own_slice_says(self):
        events = []
        loop = asyncio.get_running_loop()
        patient = Cooperator(time_slice=TimeSlice(2**-8, max_wait=0.5))
        hasty = Cooperator(time_slice=TimeSlice(2**-8, max_wait=0))
        task = patient.cooperate(endless(2**-8, events, "patient"))
        await until(lambda: events)
        other = hasty.cooperate(endless(2**-8, events, "hasty"))
        request(events, hops=40, seconds=2**-10)
        await until(lambda: events.count("hop") == 40)
        task.stop()
        other.stop()
        assert loop.time() < 1
        assert events.count("patient") <= 2

    @on_loop
    async def test_who_is_withdrawn_while_it_stands_back_leaves_nothing_scheduled(self):
        loop = asyncio.get_running_loop()
        cooperator = Cooperator(time_slice=0.25)
        task = cooperator.cooperate(endless(0.25))
        await until(lambda: task.steps == 1)
        await turns(3)
        task.pause()
        loop.scheduled.clear()
        await turns(100)
        assert loop.scheduled == []
        assert task.steps == 1

    @on_loop
    async def test_who_comes_back_after_that_goes_on(self):
        cooperator = Cooperator(time_slice=0.25)
        task = cooperator.cooperate(endless(0.25))
        await until(lambda: task.steps == 1)
        await turns(3)
        task.pause()
        task.resume()
        await until(lambda: task.steps == 2)
        await turns(3)
        task.pause()
        await turns(3)
        task.resume()
        await until(lambda: task.steps == 3)
        task.stop()

    @on_loop
    async def test_who_comes_in_place_of_one_that_was_withdrawn_goes_on(self):
        cooperator = Cooperator(time_slice=0.25)
        for _ in range(40):  # entries that are no longer valid do not pile up either
            task = cooperator.cooperate(endless(0.25))
            await until(lambda task=task: task.steps == 1)
            await turns(3)
            task.stop()
        assert cooperator.statistics().steps == 40

    @on_loop
    async def test_one_of_two_cooperators_may_be_withdrawn_and_the_other_goes_on(self):
        first, second = Cooperator(time_slice=0.25), Cooperator(time_slice=0.25)
        tasks = [each.cooperate(endless(0.25)) for each in (first, second)]
        for round_ in range(20):
            await until(lambda: sum(task.steps for task in tasks) > 0)
            await turns(3)
            leaving, staying = tasks[round_ % 2], tasks[1 - round_ % 2]
            leaving.pause()
            before = staying.steps
            await until(lambda staying=staying, before=before: staying.steps > before)
            leaving.resume()
        before = [task.steps for task in tasks]
        await until(lambda: all(task.steps > 3 + old for task, old in zip(tasks, before)))  # noqa: B905
        for task in tasks:
            task.stop()

    def test_with_all_tasks_paused_waiting_or_gone_nothing_is_scheduled(self):
        async def main():
            loop = asyncio.get_running_loop()
            cooperator, other = Cooperator(), Cooperator(time_slice=TimeSlice(share=0.5))
            for each in (cooperator, other):
                each.cooperate(endless(0.25)).pause()
                each.cooperate(iter([loop.create_future()]))
                await each.cooperate(_spend_once(loop, 2**-7))
                task = each.cooperate(endless(2**-7))
                await until(lambda task=task: task.steps)
                task.stop()
            await loop.create_future()

        with (
            pytest.raises(Deadlock, match="no call is scheduled"),
            asyncio.Runner(loop_factory=Loop) as runner,
        ):
            runner.run(main())


class TestTheGauge:
    """How long a turn takes is said here by a callback that runs on each of them."""

    @staticmethod
    def every_turn(loop, cost):
        def tick():
            loop.spend(cost())
            loop.call_soon(tick)

        loop.call_soon(tick)

    @on(functools.partial(Loop, turn=0.0))
    async def test_a_machine_that_gets_slower_is_known_within_a_second(self):
        starts = []
        loop = asyncio.get_running_loop()
        cost = 2**-16
        self.every_turn(loop, lambda: cost)
        cooperator = Cooperator(time_slice=TimeSlice(2**-8, max_wait=0.0625))
        task = cooperator.cooperate(endless(2**-8, starts, None))
        await pass_seconds(1.0)
        assert all(gap < 0.004 for gap in pauses(starts, 2**-8)[1:])
        starts.clear()
        cost = 2**-12
        await pass_seconds(1.0)
        starts.clear()
        await pass_seconds(1.0)
        task.stop()
        assert all(4 * cost <= gap < 0.03125 for gap in pauses(starts, 2**-8))

    @on(functools.partial(Loop, turn=0.0))
    async def test_a_machine_that_gets_faster_is_known_at_once(self):
        starts = []
        loop = asyncio.get_running_loop()
        cost = 2**-12
        self.every_turn(loop, lambda: cost)
        cooperator = Cooperator(time_slice=TimeSlice(2**-8, max_wait=0.0625))
        task = cooperator.cooperate(endless(2**-8, starts, None))
        await pass_seconds(1.0)
        cost = 2**-16
        await pass_seconds(2**-6)
        starts.clear()
        await pass_seconds(0.5)
        task.stop()
        assert all(gap < 0.001 for gap in pauses(starts, 2**-8))

    @on(functools.partial(Loop, turn=0.0))
    async def test_a_busy_loop_is_not_taken_for_a_slow_machine(self):
        starts = []
        loop = asyncio.get_running_loop()
        shuffled = random.Random(1)  # noqa: S311 (it shall always be the same)
        busy = False

        def cost():
            return 2**-16 + (2 ** -shuffled.uniform(8, 13) if busy else 0)

        self.every_turn(loop, cost)
        cooperator = Cooperator(time_slice=TimeSlice(2**-8, max_wait=0.0625))
        task = cooperator.cooperate(endless(2**-8, starts, None))
        await pass_seconds(1.0)
        busy = True
        await pass_seconds(0.125)
        starts.clear()
        await pass_seconds(3.0)
        gaps = pauses(starts, 2**-8)
        assert len(gaps) > 30
        assert all(gap >= 0.03125 for gap in gaps)  # as long as it may take, or half of that
        busy = False
        await pass_seconds(0.125)
        starts.clear()
        await pass_seconds(0.5)
        task.stop()
        assert all(gap < 0.001 for gap in pauses(starts, 2**-8))

    @on(functools.partial(Loop, turn=0.0))
    async def test_one_freak_reading_is_forgotten_within_a_second(self):
        starts = []
        loop = asyncio.get_running_loop()
        cost = 2**-14
        self.every_turn(loop, lambda: cost)
        cooperator = Cooperator(time_slice=TimeSlice(2**-8, max_wait=0.0625))
        task = cooperator.cooperate(endless(2**-8, starts, None))
        await pass_seconds(1.0)
        cost = 2**-20
        await turns(4)
        cost = 2**-14
        await pass_seconds(1.0)
        starts.clear()
        await pass_seconds(0.5)
        task.stop()
        gaps = pauses(starts, 2**-8)
        assert len(gaps) > 50
        assert all(gap < 0.004 for gap in gaps)


class TestShare:
    @pytest.mark.parametrize("share", [0.125, 0.25, 0.75, 1.0])
    @pytest.mark.parametrize("step", [2**-9, 2**-7, 0.25])
    def test_it_caps_what_is_taken_of_an_idle_loop(self, share, step):
        async def main():
            loop = asyncio.get_running_loop()
            cooperator = Cooperator(time_slice=TimeSlice(2**-7, share=share))
            task = cooperator.cooperate(endless(step))
            other = cooperator.cooperate(endless(step))
            began = loop.time()
            await asyncio.sleep(16.0)
            elapsed = loop.time() - began
            task.stop()
            other.stop()
            return cooperator.statistics().cpu_time / elapsed

        with asyncio.Runner(loop_factory=Loop) as runner:
            taken = runner.run(main())
        assert share * 0.95 <= taken <= share + 0.25 / 16

    @on_loop
    async def test_between_its_slices_only_a_timer_is_scheduled(self):
        loop = asyncio.get_running_loop()
        cooperator = Cooperator(time_slice=TimeSlice(0.25, share=0.25))
        task = cooperator.cooperate(endless(0.25))
        await until(lambda: task.steps == 1)
        await turns(2)
        loop.scheduled.clear()
        before = loop.time()
        await turns(500)
        assert loop.scheduled == []
        await until(lambda: task.steps == 2)
        assert 0.7 < loop.time() - before < 1.1
        task.stop()

    @on_loop
    async def test_leaving_and_coming_back_does_not_circumvent_it(self):
        loop = asyncio.get_running_loop()
        cooperator = Cooperator(time_slice=TimeSlice(2**-6, share=0.25))
        task = cooperator.cooperate(endless(2**-8))
        began = loop.time()
        while loop.time() < began + 4.0:
            task.pause()
            await asyncio.sleep(2**-10)
            task.resume()
            await asyncio.sleep(2**-10)
        task.stop()
        assert 0.9 <= task.cpu_time <= 1.1

    @on_loop
    async def test_a_short_task_after_the_other_does_not_circumvent_it(self):
        loop = asyncio.get_running_loop()
        cooperator = Cooperator(time_slice=TimeSlice(2**-6, share=0.25))
        began = loop.time()
        while loop.time() < began + 4.0:
            await cooperator.cooperate(_spend_once(loop, 2**-8))
        assert cooperator.statistics().cpu_time <= 1.1

    @on_loop
    async def test_one_that_is_throttled_leaves_the_rest_to_the_other(self):
        loop = asyncio.get_running_loop()
        modest = Cooperator(time_slice=TimeSlice(2**-8, share=0.25))
        eager = Cooperator(time_slice=TimeSlice(2**-8))
        tasks = [each.cooperate(endless(2**-9)) for each in (modest, eager)]
        began = loop.time()
        await asyncio.sleep(4.0)
        elapsed = loop.time() - began
        for task in tasks:
            task.stop()
        assert 0.2 <= tasks[0].cpu_time / elapsed <= 0.26
        assert tasks[1].cpu_time / elapsed >= 0.68

    def test_stopping_it_meanwhile_takes_the_timer_back(self):
        async def main():
            task = Cooperator(time_slice=TimeSlice(0.25, share=0.25)).cooperate(endless(0.25))
            await until(lambda: task.steps == 1)
            await turns(2)
            task.stop()
            await asyncio.get_running_loop().create_future()

        with (
            pytest.raises(Deadlock, match=r"any more at 0\.2"),
            asyncio.Runner(loop_factory=Loop) as runner,
        ):
            runner.run(main())


class TestSeveralCooperators:
    @on_loop
    async def test_busy_ones_share_equally(self):
        loop = asyncio.get_running_loop()
        cooperators = [
            Cooperator(time_slice=2**-8),
            Cooperator(time_slice=2**-7),
            Cooperator(time_slice=TimeSlice(2**-8, max_wait=0)),
            Cooperator(time_slice=2**-8),
        ]
        for cooperator, step, number in zip(
            cooperators, [2**-12, 2**-8, 2**-9, 2**-6], [1, 3, 2, 1], strict=True
        ):
            for _ in range(number):
                cooperator.cooperate(endless(step))
        began = loop.time()
        await asyncio.sleep(8.0)
        elapsed = loop.time() - began
        for cooperator in cooperators:
            cooperator.stop()
        times = [cooperator.statistics().cpu_time for cooperator in cooperators]
        mean = sum(times) / 4
        assert all(abs(seconds - mean) <= 0.1 * mean for seconds in times)
        assert sum(times) >= 0.95 * elapsed

    @on(Loop, StillAsyncio, StillUvloop)
    async def test_together_they_are_as_polite_as_one(self):
        events = []
        time_slice = TimeSlice(2**-8, max_wait=0.25)
        tasks = [
            Cooperator(time_slice=time_slice).cooperate(endless(2**-8, events))
            for _ in range(4)
        ]
        await until(lambda: len(events) == 6)
        request(events, hops=10, seconds=2**-10)
        await until(lambda: len(events) == 17)
        for task in tasks:
            task.stop()
        assert events == [*["step"] * 6, *["hop"] * 10, "step"]

    @on_loop
    async def test_none_takes_the_ticks_of_another_for_foreground_work(self):
        starts = []
        tasks = [
            Cooperator(time_slice=TimeSlice(2**-6, max_wait=1.0)).cooperate(
                endless(2**-6, starts, None)
            )
            for _ in range(3)
        ]
        await pass_seconds(2.0)
        for task in tasks:
            task.stop()
        gaps = pauses(starts, 2**-6)
        assert len(gaps) > 100
        assert all(gap <= 2**-6 * 0.02 for gap in gaps)

    @on_loop
    async def test_a_step_that_gives_work_to_another_does_not_make_the_loop_look_busy(self):
        starts = []
        loop = asyncio.get_running_loop()
        giver = Cooperator(time_slice=TimeSlice(2**-6, max_wait=1.0))
        taker = Cooperator(time_slice=TimeSlice(2**-6, max_wait=1.0))

        def steps():
            while True:
                starts.append(loop.time())
                loop.spend(2**-7)
                taker.cooperate(iter(["cheap"]))
                loop.spend(2**-7)
                yield

        task = giver.cooperate(steps())
        await pass_seconds(2.0)
        task.stop()
        gaps = pauses(starts, 2**-6)
        assert len(gaps) > 100
        assert all(gap <= 2**-6 * 0.021 for gap in gaps)

    @on_loop
    async def test_a_new_one_competes_from_now_on(self):
        loop = asyncio.get_running_loop()
        old = Cooperator(time_slice=2**-8)
        first = old.cooperate(endless(2**-8))
        await asyncio.sleep(4.0)
        before = first.cpu_time
        new = Cooperator(time_slice=2**-8)
        second = new.cooperate(endless(2**-8))
        began = loop.time()
        await asyncio.sleep(2.0)
        elapsed = loop.time() - began
        first.stop()
        second.stop()
        assert 0.45 * elapsed <= first.cpu_time - before <= 0.5 * elapsed
        assert 0.45 * elapsed <= second.cpu_time <= 0.5 * elapsed

    @on_loop
    async def test_none_runs_on_the_longer_slice_of_another(self):
        long, short = Cooperator(time_slice=0.5), Cooperator(time_slice=0.0625)
        await long.cooperate(iter(["cheap"]))
        task = short.cooperate(endless(2**-7))
        await until(lambda: task.steps)
        task.stop()
        assert short.statistics().longest_tick <= 0.0625 + 2**-7


class TestThePlainRhythm:
    @staticmethod
    async def steps_beside_a_request(cooperator):
        events = []
        task = cooperator.cooperate(endless(2**-8, events))
        await until(lambda: events)
        events.clear()
        request(events, hops=6, seconds=2**-10)
        await until(lambda: events.count("hop") == 6)
        task.stop()
        return events

    @on_loop
    async def test_a_scheduler_of_ones_own_makes_every_tick(self):
        loop = asyncio.get_running_loop()
        cooperator = Cooperator(scheduler=loop.call_soon, time_slice=2**-8)
        events = await self.steps_beside_a_request(cooperator)
        assert "hop hop" not in " ".join(events)

    @on_loop
    async def test_with_a_termination_predicate_there_is_a_tick_on_every_turn(self):
        cooperator = Cooperator(lambda: lambda: True)
        events = await self.steps_beside_a_request(cooperator)
        assert "hop hop" not in " ".join(events)

    @on_loop
    async def test_the_default_stands_back(self):
        events = await self.steps_beside_a_request(Cooperator(time_slice=2**-8))
        assert events == ["hop"] * 6


class TestThePacer:
    @on(Loop, StillAsyncio, StillUvloop)
    async def test_there_is_one_for_each_loop(self):
        loop = asyncio.get_running_loop()
        assert state_of(loop) is state_of(loop)
        assert state_of(loop).loop is loop
        other = asyncio.new_event_loop()
        try:
            assert state_of(other) is not state_of(loop)
        finally:
            other.close()

    @on_loop
    async def test_it_knows_whose_code_runs_when_a_generator_is_closed_as_well(self):
        seen = []
        loop = asyncio.get_running_loop()

        def steps():
            try:
                while True:
                    yield loop.spend(0.25)
            finally:
                seen.append(current_task())

        task = Cooperator().cooperate(steps())
        await until(lambda: task.steps)
        task.pause()
        task.stop()
        assert current_task() is None
        assert seen == [task]

    def test_it_keeps_no_closed_loop_alive(self):
        async def main():
            task = Cooperator(slow_step=math.inf).cooperate(endless(0.25))
            await until(lambda: task.steps == 2)
            return weakref.ref(asyncio.get_running_loop())

        with asyncio.Runner(loop_factory=Loop) as runner:
            loop = runner.run(main())
        del runner
        gc.collect()
        assert loop() is None

    @on_loop
    async def test_what_it_schedules_keeps_no_passing_request_alive(self):
        class Request:
            pass

        variable = contextvars.ContextVar("request")
        refs = []

        async def handle():
            passing = Request()
            refs.append(weakref.ref(passing))
            variable.set(passing)
            options = {"context": contextvars.Context()}
            tasks = [Cooperator().cooperate(endless(0.25), **options)]
            modest = Cooperator(time_slice=TimeSlice(0.25, share=0.0625))
            tasks.append(modest.cooperate(endless(0.25), **options))
            while not all(task.steps for task in tasks):
                await asyncio.sleep(0)
            return tasks

        tasks = await asyncio.create_task(handle())
        await turns(3)
        gc.collect()
        assert refs[0]() is None
        for task in tasks:
            task.stop()

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
    def test_it_goes_on_after_a_step_that_leaves_through_the_loop(self, kind):
        loop = Loop()

        def leaving():
            loop.spend(0.25)
            yield
            loop.spend(0.25)
            raise kind("now")

        async def begin():
            cooperator = Cooperator(time_slice=0.0625)
            return cooperator.cooperate(leaving()), cooperator.cooperate(endless(0.25))

        try:
            task, other = loop.run_until_complete(begin())
            done = task.when_done()
            with pytest.raises(kind, match="now"):
                loop.run_until_complete(done)
            before = other.steps
            loop.run_until_complete(until(lambda: other.steps == before + 2))
            assert isinstance(task.exception(), kind)
            assert done.exception() is task.exception()
            loop.run_until_complete(_stop(other))
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


async def _stop(task):
    task.stop()
