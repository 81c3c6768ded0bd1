"""The Cooperator: its arguments, its life, its loop, its ticks by hand."""

import asyncio
import contextvars
import dataclasses
import functools
import gc
import math
import threading
import weakref

import pytest
from core_support import (
    Clock,
    Stepwise,
    Ticks,
    forever,
    on_both_loops,
    one_step,
    outcome,
    turns,
    work,
)

import cooperative_aio
from cooperative_aio import (
    Cooperator,
    SchedulerStopped,
    TaskStopped,
    TimeSlice,
    coiterate,
    cooperate,
    current_task,
    get_cooperator,
)
from cooperative_aio._clock import Clock as VirtualClock
from cooperative_aio._loop import state_of


class TestArguments:
    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            (
                {"termination_predicate_factory": 1},
                TypeError,
                "termination_predicate_factory must be callable, got 1",
            ),
            ({"scheduler": "soon"}, TypeError, "scheduler must be callable, got 'soon'"),
            ({"clock": None}, TypeError, "clock must be callable, got None"),
            ({"slow_step": 0}, ValueError, "slow_step must be a finite number above 0, got 0"),
            ({"slow_step": math.nan}, ValueError, "slow_step must be .*, got nan"),
            ({"slow_step": True}, TypeError, "slow_step must be .*, got True"),
            ({"time_slice": 0}, ValueError, "time_slice must be .* above 0, got 0"),
            ({"time_slice": -1}, ValueError, "time_slice must be .* above 0, got -1"),
            ({"time_slice": math.nan}, ValueError, "time_slice must be .*, got nan"),
            ({"time_slice": math.inf}, ValueError, "time_slice must be .*, got inf"),
            ({"time_slice": "a"}, TypeError, "time_slice must be .*, got 'a'"),
            ({"time_slice": True}, TypeError, "time_slice must be .*, got True"),
            (
                {"termination_predicate_factory": one_step, "time_slice": 1},
                ValueError,
                "time_slice must not be given beside a termination_predicate_factory, got 1",
            ),
        ],
    )
    def test_a_bad_argument_is_refused(self, options, error, message):
        with pytest.raises(error, match=message):
            Cooperator(**options)

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({}, TimeSlice()),
            ({"time_slice": 0.25}, TimeSlice(0.25)),
            ({"time_slice": TimeSlice(1, max_wait=0)}, TimeSlice(1, max_wait=0)),
            ({"termination_predicate_factory": one_step}, None),
        ],
    )
    def test_the_time_slice_is_what_was_given(self, options, expected):
        assert Cooperator(**options).statistics().time_slice == expected

    def test_an_infinite_slow_step_is_allowed(self):
        assert Cooperator(slow_step=math.inf).running

    @on_both_loops
    async def test_the_repr_tells_name_state_and_number_of_tasks(self):
        cooperator = Stepwise(name="mine", started=False)
        cooperator.cooperate(forever())
        states = [repr(cooperator)]
        cooperator.start()
        states.append(repr(cooperator))
        cooperator.stop()
        states.append(repr(cooperator))
        assert [state.split(None, 1)[1] for state in states] == [
            "not started name='mine' tasks=1>",
            "running name='mine' tasks=1>",
            "stopped name='mine' tasks=0>",
        ]

    def test_an_unnamed_cooperator_has_a_number(self):
        first, second = Cooperator(), Cooperator()
        assert "name='Cooperator-" in repr(first)
        assert repr(first) != repr(second)


async def _coroutine():
    """Nothing."""


async def _async_generator():
    yield


def _types_coroutine():
    yield


class TestCooperate:
    @pytest.mark.parametrize(
        ("value", "remedy"),
        [
            (None, "got None; pass a generator"),
            (3, "got 3; pass a generator"),
            (forever, "got <function forever at .*>; call it first"),
            (_coroutine, "got <function _coroutine at .*>; pass a generator"),
            ([1], r"got \[1\]; use iter\(\) on it"),
            ("ab", r"got 'ab'; use iter\(\) on it"),
            (_async_generator(), "; iterate over it with `async for` in a coroutine"),
        ],
    )
    async def test_what_is_no_iterator_is_refused_with_a_remedy(self, value, remedy):
        cooperator = Cooperator()
        with pytest.raises(TypeError, match=f"iterator must be an iterator, .*{remedy}$"):
            cooperator.cooperate(value)
        assert cooperator.tasks == ()

    async def test_coroutines_and_other_awaitables_are_refused(self):
        coroutine = _coroutine()
        generator_based = __import__("types").coroutine(_types_coroutine)()
        future = asyncio.get_running_loop().create_future()
        for awaitable in (coroutine, generator_based, future):
            with pytest.raises(TypeError, match=r"; await it, or yield it from a generator$"):
                cooperate(awaitable)
        coroutine.close()

    @pytest.mark.parametrize("weight", [0, -1, -0.5, math.nan, math.inf, -math.inf, 10**400])
    async def test_a_weight_out_of_range_is_refused(self, weight):
        cooperator = Cooperator()
        with pytest.raises(ValueError, match="weight must be a finite number above 0, got "):
            cooperator.cooperate(iter(()), weight=weight)
        assert cooperator.tasks == ()

    @pytest.mark.parametrize("weight", ["a", None, True, 1j])
    async def test_a_weight_that_is_no_number_is_refused(self, weight):
        with pytest.raises(TypeError, match="weight must be a finite number above 0, got "):
            cooperate(iter(()), weight=weight)

    async def test_a_context_that_is_none_is_refused(self):
        with pytest.raises(
            TypeError, match=r"context must be a contextvars\.Context, got \{\}"
        ):
            cooperate(iter(()), context={})

    @on_both_loops
    async def test_any_iterator_is_taken(self):
        class Countdown:
            left = 3

            def __iter__(self):
                return self

            def __next__(self):
                self.left -= 1
                if not self.left:
                    raise StopIteration("zero")
                return self.left

        assert await cooperate(Countdown()) == "zero"
        assert await cooperate(iter([1, None, "a"])) is None
        assert await cooperate(x for x in (1, 2)) is None
        assert await cooperate(iter(())) is None

    @on_both_loops
    async def test_cheap_tasks_alternate_one_step_each(self):
        log = []
        cooperator = Cooperator()
        await asyncio.gather(*[cooperator.cooperate(work(log, x)) for x in ("abc", "def")])
        assert log == list("adbecf")

    @on_both_loops
    async def test_a_task_that_is_added_during_a_step_goes_last(self):
        log = []
        cooperator = Stepwise()

        def parent():
            yield log.append("p1")
            cooperator.cooperate(work(log, "xy"))
            yield log.append("p2")
            yield log.append("p3")

        cooperator.cooperate(parent())
        cooperator.cooperate(work(log, "abc"))
        cooperator.ticks.run()
        assert log == ["p1", "a", "p2", "b", "x", "p3", "c", "y"]

    @on_both_loops
    async def test_tasks_is_a_snapshot_in_the_order_of_arrival(self):
        cooperator = Stepwise()
        first, second, third = (cooperator.cooperate(forever()) for _ in range(3))
        snapshot = cooperator.tasks
        second.pause()
        first.stop()
        assert snapshot == (first, second, third)
        assert cooperator.tasks == (second, third)
        cooperator.stop()


class TestTicks:
    @on_both_loops
    async def test_each_call_of_the_scheduler_is_one_tick(self):
        log = []
        cooperator = Stepwise()
        cooperator.cooperate(work(log, "ab"))
        for events in (["a"], ["a", "b"]):
            cooperator.ticks.tick()
            assert log == events
            assert len(cooperator.ticks.pending) == 1
        cooperator.ticks.tick()
        assert cooperator.ticks.pending == ()
        assert cooperator.statistics().ticks == 3

    @on_both_loops
    async def test_the_predicate_is_asked_after_every_step_and_made_for_every_tick(self):
        log = []

        def factory():
            log.append("tick")
            answers = iter([False, False, True])

            def predicate():
                log.append("asked")
                return next(answers)

            return predicate

        ticks = Ticks()
        cooperator = Cooperator(factory, ticks)
        cooperator.cooperate(work(log, "abcd"))
        ticks.run()
        assert log == [
            *("tick", "a", "asked", "b", "asked", "c", "asked"),
            *("tick", "d", "asked", "asked"),
        ]

    @on_both_loops
    async def test_with_a_scheduler_only_a_tick_lasts_a_time_slice(self):
        log = []
        clock, ticks = Clock(), Ticks()
        cooperator = Cooperator(scheduler=ticks, clock=clock, time_slice=1)
        cooperator.cooperate(work(log, "abcdef", clock, 0.25))
        ticks.tick()
        assert log == list("abcd")
        ticks.tick()
        assert log == list("abcdef")
        assert ticks.pending == ()

    @on_both_loops
    async def test_with_a_predicate_only_the_loop_calls_a_tick_each_turn(self):
        log = []
        cooperator = Cooperator(one_step)
        cooperator.cooperate(work(log, "abc"))
        for events in ("", "a", "ab"):
            assert log == list(events)
            await asyncio.sleep(0)
        await cooperator.drain()

    @on_both_loops
    async def test_loop_call_soon_and_call_later_are_schedulers(self):
        loop = asyncio.get_running_loop()
        for scheduler in (loop.call_soon, functools.partial(loop.call_later, 0)):
            log = []
            cooperator = Cooperator(one_step, scheduler)
            await cooperator.cooperate(work(log, "abc"))
            assert log == list("abc")

    @on_both_loops
    async def test_a_virtual_clock_is_a_scheduler(self):
        log = []
        clock = VirtualClock()
        cooperator = Cooperator(one_step, clock.call_soon)
        cooperator.cooperate(work(log, "abc"))
        assert log == []
        clock.advance(0)
        while clock.get_delayed_calls():
            clock.advance(0)
        assert log == list("abc")
        assert cooperator.tasks == ()

    @on_both_loops
    async def test_nothing_is_scheduled_when_nothing_is_ready(self):
        cooperator = Stepwise()
        assert cooperator.ticks.pending == ()
        future = asyncio.get_running_loop().create_future()

        def waits():
            yield future

        task = cooperator.cooperate(waits())
        assert len(cooperator.ticks.pending) == 1
        cooperator.ticks.tick()
        assert cooperator.ticks.pending == ()
        paused = cooperator.cooperate(forever())
        assert len(cooperator.ticks.pending) == 1
        paused.pause()
        assert cooperator.ticks.pending == ()
        paused.resume()
        assert len(cooperator.ticks.pending) == 1
        paused.stop()
        assert cooperator.ticks.pending == ()
        future.set_result(None)
        await turns()
        assert len(cooperator.ticks.pending) == 1
        task.cancel()
        assert cooperator.ticks.pending == ()
        await turns()
        assert outcome(task) == "cancelled"

    @on_both_loops
    async def test_nothing_is_scheduled_on_the_loop_when_nothing_is_ready(self):
        pacer = state_of(asyncio.get_running_loop()).pacer
        cooperator = Cooperator()
        task = cooperator.cooperate(forever())
        task.pause()
        waiting = cooperator.cooperate(iter([asyncio.get_running_loop().create_future()]))
        while not waiting.waiting:
            await asyncio.sleep(0)
        await turns(2)
        assert pacer._handle is None
        ticks = cooperator.statistics().ticks
        await turns(50)
        assert cooperator.statistics().ticks == ticks
        task.resume()
        assert pacer._handle is not None
        cooperator.stop()
        assert pacer._handle is None

    @on_both_loops
    async def test_nothing_is_scheduled_before_start(self):
        cooperator = Stepwise(started=False)
        log = []
        cooperator.cooperate(work(log, "a"))
        assert not cooperator.running
        assert cooperator.ticks.pending == ()
        assert cooperator.statistics().ready == 1
        cooperator.start()
        cooperator.start()
        assert cooperator.running
        assert len(cooperator.ticks.pending) == 1
        cooperator.ticks.run()
        assert log == ["a"]

    @on_both_loops
    async def test_a_scheduler_that_calls_in_spite_of_cancel_does_no_harm(self):
        calls = []

        class Deaf:
            def cancel(self):
                """Do nothing."""

        def scheduler(callback):
            calls.append(callback)
            return Deaf()

        cooperator = Cooperator(one_step, scheduler)
        log = []
        task = cooperator.cooperate(work(log, "abcdefgh"))
        task.pause()
        calls.pop()()
        assert (log, calls) == ([], [])
        for _ in range(3):
            task.resume()
            task.pause()
        task.resume()
        for _ in range(4):
            calls.pop(0)()
        assert len(calls) == 1
        assert log == ["a"]
        cooperator.stop()

    @on_both_loops
    async def test_a_tick_from_inside_of_a_step_is_put_off(self):
        log = []
        cooperator = Stepwise()
        calls = []

        def scheduler(callback):
            calls.append(callback)
            return cooperator.ticks(callback)

        cooperator = Cooperator(one_step, scheduler)
        cooperator.ticks = Ticks()

        def pumps():
            log.append("in")
            calls[0]()
            log.append("out")
            yield

        cooperator.cooperate(pumps())
        cooperator.cooperate(work(log, "ab"))
        cooperator.ticks.run()
        assert log == ["in", "out", "a", "b"]

    @on_both_loops
    async def test_a_tick_of_one_cooperator_inside_a_step_of_another_is_fine(self):
        log = []
        outer, inner = Stepwise(), Stepwise()

        def look():
            log.append(current_task().name)
            yield

        def pumps():
            yield from look()
            inner.cooperate(look(), name="inner")
            inner.ticks.run()
            yield from look()

        outer.cooperate(pumps(), name="outer")
        outer.ticks.run()
        assert log == ["outer", "inner", "outer"]


class InTurn:
    """Be one scheduler after the other; the last one for good."""

    def __init__(self, schedulers):
        self.schedulers = schedulers

    def __call__(self, callback):
        last = len(self.schedulers) == 1
        return (self.schedulers[0] if last else self.schedulers.pop(0))(callback)


def _raises(_callback):
    raise OSError("no ticks today")


class TestBugsOfUsers:
    @pytest.mark.parametrize(
        ("scheduler", "error", "message"),
        [
            (_raises, OSError, "no ticks today"),
            (
                lambda _callback: None,
                TypeError,
                r"scheduler must return an object with cancel\(\), got None",
            ),
        ],
    )
    async def test_a_bad_scheduler_is_an_error_and_nothing_has_changed(
        self, scheduler, error, message
    ):
        box = [scheduler]
        ticks = Ticks()
        cooperator = Cooperator(one_step, InTurn(box))
        log = []
        generator = work(log, "ab")
        before = cooperator.statistics()
        with pytest.raises(error, match=message):
            cooperator.cooperate(generator)
        assert (cooperator.tasks, cooperator.statistics()) == ((), before)
        box[0] = ticks
        task = cooperator.cooperate(generator)
        assert len(ticks.pending) == 1
        ticks.run()
        assert log == ["a", "b"]
        assert task.done()

    @pytest.mark.parametrize("scheduler", [_raises, lambda _callback: None])
    def test_a_scheduler_that_fails_in_a_tick_is_reported_and_loses_no_task(
        self, loop_factory, scheduler
    ):
        reports, log = [], []

        @on_both_loops
        async def main(reports):
            loop = asyncio.get_running_loop()
            schedulers = InTurn([loop.call_soon, scheduler, loop.call_soon])
            cooperator = Cooperator(one_step, schedulers)
            await cooperator.cooperate(work(log, "abc"))

        main(loop_factory=loop_factory, reports=reports)
        assert log == list("abc")
        assert [type(report["exception"]) for report in reports] in ([OSError], [TypeError])
        assert reports[0]["message"].startswith("the scheduler failed, so call_soon stood in")

    @on_both_loops
    async def test_a_scheduler_that_fails_when_a_task_is_woken_loses_no_task(self, reports):
        loop = asyncio.get_running_loop()
        box = [loop.call_soon, loop.call_soon]
        cooperator = Cooperator(one_step, InTurn(box))
        future = loop.create_future()

        def waits():
            return (yield future)

        task = cooperator.cooperate(waits())
        while not task.waiting:
            await asyncio.sleep(0)
        box[:] = [_raises, loop.call_soon]
        future.set_result("woken")
        await turns(10)
        assert outcome(task) == "woken"
        assert [str(report["exception"]) for report in reports] == ["no ticks today"]

    @pytest.mark.parametrize("operation", ["resume", "start"])
    def test_a_scheduler_that_fails_on_an_operation_loses_no_task(self, operation):
        @on_both_loops
        async def main(reports):
            loop = asyncio.get_running_loop()
            box = [loop.call_soon, _raises, loop.call_soon]
            if operation == "start":
                box.pop(0)
            cooperator = Cooperator(
                one_step,
                InTurn(box),
                started=operation == "resume",
            )
            task = cooperator.cooperate(iter("abc"))
            task.pause()
            if operation == "start":
                task.resume()
            act = task.resume if operation == "resume" else cooperator.start
            try:
                act()
            except OSError:  # then nothing has changed, and it can be tried again
                act()
            await turns(20)
            assert task.done()

        main(loop_factory=asyncio.new_event_loop, reports=[])

    @on_both_loops
    async def test_a_predicate_that_fails_is_reported_and_loses_no_task(self, reports):
        log = []
        failures = iter([True, False, True])

        def predicate():
            if next(failures, False):
                raise LookupError("no predicate today")
            return False

        cooperator = Cooperator(lambda: predicate)
        await asyncio.gather(*[cooperator.cooperate(work(log, x)) for x in ("abc", "def")])
        assert log == list("adbecf")
        assert [type(report["exception"]) for report in reports] == [LookupError] * 2
        assert reports[0]["message"].startswith("a tick failed: <Cooperator running")

    @on_both_loops
    async def test_a_predicate_that_fails_at_a_last_step_leaves_nothing_scheduled(
        self, reports
    ):
        ticks = Ticks()

        def predicate():
            raise LookupError("no predicate today")

        cooperator = Cooperator(lambda: predicate, ticks)
        task = cooperator.cooperate(iter(()))
        ticks.tick()
        assert task.done()
        assert ticks.pending == ()
        assert len(reports) == 1

    @on_both_loops
    async def test_a_predicate_may_leave_through_the_loop(self):
        ticks = Ticks()
        log = []

        def factory():
            ticks.factory_calls = getattr(ticks, "factory_calls", 0) + 1
            return _interrupt if ticks.factory_calls == 1 else lambda: True

        cooperator = Cooperator(factory, ticks)
        cooperator.cooperate(work(log, "ab"))
        with pytest.raises(KeyboardInterrupt, match="from the predicate"):
            ticks.tick()
        ticks.run()
        assert log == ["a", "b"]

    @pytest.mark.parametrize("what", ["cooperator", "task", "other", "cancel"])
    async def test_a_predicate_may_stop_what_it_likes(self, what):
        log = []
        ticks = Ticks()

        def predicate():
            if what == "cooperator":
                cooperator.stop()
            elif what == "cancel":
                task.cancel()
            else:
                {"task": task, "other": other}[what].stop()
            return True

        predicates = iter([predicate])
        cooperator = Cooperator(lambda: next(predicates, lambda: True), ticks)
        task = cooperator.cooperate(forever(log, "task"))
        other = cooperator.cooperate(forever(log, "other"))
        ticks.tick()
        await turns()
        assert {
            "cooperator": (SchedulerStopped, SchedulerStopped),
            "task": (TaskStopped, "pending"),
            "other": ("pending", TaskStopped),
            "cancel": ("cancelled", "pending"),
        }[what] == (outcome(task), outcome(other))
        assert log == ([] if what == "other" else ["task"])
        cooperator.stop()
        assert cooperator.tasks == ()

    @on_both_loops
    async def test_a_handle_that_cannot_be_cancelled_loses_no_task(self, reports):
        log = []
        ticks = Ticks()

        class Handle:
            def cancel(self):
                raise LookupError("already called")

        def scheduler(callback):
            ticks(callback)
            return Handle()

        cooperator = Cooperator(one_step, scheduler)
        task = cooperator.cooperate(forever(log))
        ticks.tick()
        task.stop()
        assert outcome(task) is TaskStopped
        assert log == ["closed"]
        assert cooperator.tasks == ()
        assert [str(report["exception"]) for report in reports] == ["already called"]

    @on_both_loops
    async def test_a_predicate_factory_that_fails_is_reported_and_one_step_taken(self, reports):
        log = []

        def fails():
            raise LookupError("no predicate today")

        makers = iter([fails, lambda: "no predicate", one_step])

        def factory():
            return next(makers)()

        ticks = Ticks()
        cooperator = Cooperator(factory, ticks)
        cooperator.cooperate(work(log, "abc"))
        ticks.tick(2)
        assert log == ["a", "b"]
        assert [str(report["exception"]) for report in reports] == [
            "no predicate today",
            "termination_predicate_factory must return a callable, got 'no predicate'",
        ]
        cooperator.stop()

    @on_both_loops
    async def test_a_value_that_cannot_be_looked_at_loses_no_task(self):
        class Value:
            """To have a weak reference to."""

        def yields_a_dead_proxy():
            yield weakref.proxy(Value())
            yield

        cooperator = Stepwise()
        task = cooperator.cooperate(yields_a_dead_proxy())
        other = cooperator.cooperate(iter("ab"))
        cooperator.ticks.run()
        assert other.done()
        assert task.done()
        assert cooperator.tasks == ()
        outcome(task)


def _interrupt():
    raise KeyboardInterrupt("from the predicate")


class TestStop:
    @on_both_loops
    async def test_stop_ends_ready_paused_and_waiting_tasks(self):
        log = []
        cooperator = Stepwise()
        future = asyncio.get_running_loop().create_future()

        def waits():
            try:
                yield future
            finally:
                log.append("waiting")

        ready = cooperator.cooperate(forever(log, "ready"))
        paused = cooperator.cooperate(forever(log, "paused"))
        waiting = cooperator.cooperate(waits())
        cooperator.ticks.tick(3)
        paused.pause()
        cooperator.stop()
        assert log == ["ready", "paused", "waiting"]
        for task in (ready, paused, waiting):
            with pytest.raises(SchedulerStopped, match="the Cooperator was stopped"):
                await task
        assert (cooperator.tasks, cooperator.ticks.pending) == ((), ())
        assert not cooperator.running
        assert not future.done()
        await turns()
        assert cooperator.ticks.pending == ()

    @on_both_loops
    async def test_a_stopped_cooperator_refuses_new_tasks_and_closes_them(self):
        log = []
        cooperator = Stepwise()
        cooperator.stop()
        generator = forever(log)
        next(generator)
        task = cooperator.cooperate(generator)
        assert task.done()
        assert log == ["closed"]
        with pytest.raises(
            SchedulerStopped, match=r"the Cooperator is stopped; start\(\) it first"
        ):
            await task
        assert (cooperator.tasks, cooperator.ticks.pending) == ((), ())
        with pytest.raises(SchedulerStopped, match="the Cooperator is stopped"):
            await cooperator.coiterate(iter(()))

    @on_both_loops
    async def test_start_after_stop_works_again(self):
        log = []
        cooperator = Stepwise()
        old = cooperator.cooperate(forever())
        cooperator.stop()
        cooperator.stop()
        cooperator.start()
        cooperator.cooperate(work(log, "ab"))
        cooperator.ticks.run()
        assert log == ["a", "b"]
        assert outcome(old) is SchedulerStopped

    @on_both_loops
    async def test_start_after_stop_works_again_on_the_loop(self):
        cooperator = Cooperator()
        cooperator.cooperate(forever())
        await turns()
        cooperator.stop()
        cooperator.start()
        assert await cooperator.cooperate(iter("ab")) is None

    @on_both_loops
    async def test_stop_during_a_step_takes_effect_after_it(self):
        log = []
        cooperator = Stepwise()

        def stops():
            try:
                cooperator.stop()
                log.append("stopped")
                yield
                log.append("never")
            finally:
                log.append("closed")

        other = cooperator.cooperate(forever(log, "other"))
        task = cooperator.cooperate(stops())
        cooperator.ticks.tick(2)
        assert log == ["other", "stopped", "closed"]
        assert (outcome(task), outcome(other)) == (SchedulerStopped, SchedulerStopped)
        assert (cooperator.tasks, cooperator.ticks.pending) == ((), ())

    @on_both_loops
    async def test_stop_and_start_during_a_step_keep_the_cooperator_running(self):
        cooperator = Cooperator()
        log = []

        def restarts():
            cooperator.stop()
            cooperator.start()
            cooperator.cooperate(work(log, "ab"))
            yield

        task = cooperator.cooperate(restarts())
        with pytest.raises(SchedulerStopped, match="the Cooperator was stopped"):
            await task
        await cooperator.drain()
        assert log == ["a", "b"]

    @on_both_loops
    async def test_a_task_that_stops_its_cooperator_and_is_cancelled_counts_as_stopped(self):
        cooperator = Stepwise()

        def stops():
            yield
            cooperator.stop()
            raise asyncio.CancelledError

        task = cooperator.cooperate(stops())
        cooperator.ticks.tick(2)
        assert outcome(task) is SchedulerStopped

    @on_both_loops
    async def test_what_closing_adds_is_refused(self):
        cooperator = Stepwise()
        late = []

        def adds():
            try:
                yield
            finally:
                late.append(cooperator.cooperate(iter("ab")))

        cooperator.cooperate(adds())
        cooperator.ticks.tick()
        cooperator.stop()
        assert [outcome(task) for task in late] == [SchedulerStopped]
        assert cooperator.tasks == ()

    @on_both_loops
    async def test_closing_that_stops_other_tasks_is_fine(self):
        cooperator = Stepwise()
        tasks = []

        def stops_the_next():
            try:
                while True:
                    yield
            finally:
                tasks[1].stop()

        tasks += [cooperator.cooperate(stops_the_next()), cooperator.cooperate(forever())]
        cooperator.ticks.tick(2)
        cooperator.stop()
        assert [outcome(task) for task in tasks] == [SchedulerStopped, TaskStopped]

    @pytest.mark.parametrize("leaving", [KeyboardInterrupt, SystemExit])
    async def test_an_interrupt_while_closing_leaves_once_all_are_ended(self, leaving):
        log = []
        cooperator = Stepwise()

        def interrupts():
            try:
                yield
            finally:
                raise leaving("while closing")

        task = cooperator.cooperate(interrupts())
        cooperator.cooperate(forever(log))
        cooperator.ticks.tick(2)
        with pytest.raises(leaving, match="while closing"):
            cooperator.stop()
        assert log == ["closed"]
        assert outcome(task) is SchedulerStopped
        assert (cooperator.tasks, cooperator.ticks.pending) == ((), ())


class TestDrain:
    @on_both_loops
    async def test_drain_returns_at_once_when_there_is_nothing(self):
        with pytest.raises(StopIteration, match=r"^$"):
            Cooperator().drain().send(None)

    @on_both_loops
    async def test_drain_waits_for_what_the_callback_of_the_last_task_adds(self):
        log = []
        cooperator = Stepwise()
        task = cooperator.cooperate(work(log, "a"))
        task.add_done_callback(lambda _: cooperator.cooperate(work(log, "b")))
        draining = asyncio.ensure_future(cooperator.drain())
        await turns()
        cooperator.ticks.run()
        await turns()
        assert not draining.done()
        cooperator.ticks.run()
        await draining
        assert log == ["a", "b"]

    @on_both_loops
    async def test_drain_waits_for_all_that_tasks_add_meanwhile(self):
        log = []
        cooperator = Cooperator()

        def parent():
            yield log.append("parent")
            task = cooperator.cooperate(work(log, "ab"))
            task.add_done_callback(lambda _: cooperator.cooperate(work(log, "cd")))

        cooperator.cooperate(parent())
        await asyncio.gather(cooperator.drain(), cooperator.drain())
        assert log == ["parent", *"abcd"]
        assert cooperator.tasks == ()

    @on_both_loops
    async def test_drain_begun_as_the_last_task_ends_waits_for_what_callbacks_add(self):
        cooperator = Stepwise()
        log = []
        task = cooperator.cooperate(work(log, "a"))
        task.add_done_callback(lambda _: cooperator.cooperate(work(log, "b")))
        draining = asyncio.ensure_future(cooperator.drain())
        cooperator.ticks.tick(2)
        assert task.done()  # its callback is called after drain() has begun
        await turns()
        assert not draining.done()
        cooperator.ticks.tick(2)
        await draining
        assert log == ["a", "b"]

    @on_both_loops
    async def test_cancelling_drain_leaves_the_tasks_alone(self):
        cooperator = Cooperator()
        task = cooperator.cooperate(forever())
        draining = asyncio.ensure_future(cooperator.drain())
        await turns()
        draining.cancel()
        await asyncio.wait([draining])
        assert not task.done()
        assert not cooperator._engine.drained
        cooperator.stop()

    @on_both_loops
    async def test_a_drain_that_was_cancelled_in_the_last_moment_is_no_harm(self):
        cooperator = Stepwise()
        task = cooperator.cooperate(forever())
        draining = asyncio.ensure_future(cooperator.drain())
        await turns()
        draining.cancel()
        task.stop()
        await asyncio.wait([draining])
        assert draining.cancelled()

    @on_both_loops
    async def test_drain_ends_when_the_cooperator_is_stopped(self):
        cooperator = Cooperator()
        cooperator.cooperate(forever()).pause()
        draining = asyncio.ensure_future(cooperator.drain())
        await turns()
        cooperator.stop()
        await draining


class TestAsyncWith:
    @on_both_loops
    async def test_leaving_drains_and_stops(self):
        log = []
        async with Cooperator() as cooperator:

            def parent():
                yield log.append("parent")
                cooperator.cooperate(work(log, "ab"))

            cooperator.cooperate(parent())
        assert log == ["parent", "a", "b"]
        assert not cooperator.running
        assert outcome(cooperator.cooperate(iter(()))) is SchedulerStopped

    @on_both_loops
    async def test_leaving_by_an_exception_stops_at_once(self):
        log = []
        tasks = []

        async def main():
            async with Cooperator() as cooperator:
                tasks.append(cooperator.cooperate(forever(log)))
                while not tasks[0].steps:
                    await asyncio.sleep(0)
                raise LookupError("out of here")

        with pytest.raises(LookupError, match="out of here"):
            await main()
        assert log == ["closed"]
        assert outcome(tasks[0]) is SchedulerStopped

    @pytest.mark.parametrize("where", ["inside", "draining"])
    async def test_leaving_by_a_cancellation_stops_at_once(self, where):
        log = []
        tasks = []

        async def main():
            async with Cooperator() as cooperator:
                tasks.append(cooperator.cooperate(forever(log)))
                while not tasks[0].steps:
                    await asyncio.sleep(0)
                if where == "inside":
                    await asyncio.get_running_loop().create_future()

        running = asyncio.ensure_future(main())
        while not tasks or not tasks[0].steps:
            await asyncio.sleep(0)
        await turns()
        assert not running.done()
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()
        assert log == ["closed"]
        assert outcome(tasks[0]) is SchedulerStopped

    @on_both_loops
    async def test_the_failure_of_a_task_belongs_to_who_awaits_it(self):
        log = []

        def fails():
            yield
            raise LookupError("my own")

        async with Cooperator() as cooperator:
            failing = cooperator.cooperate(fails())
            cooperator.cooperate(work(log, "abcd"))
        assert log == list("abcd")
        with pytest.raises(LookupError, match="my own"):
            await failing

    @on_both_loops
    async def test_a_task_group_is_the_nursery(self):
        log = []

        def fails():
            yield
            raise LookupError("together")

        async def main():
            async with Cooperator() as cooperator, asyncio.TaskGroup() as group:
                group.create_task(cooperator.cooperate(forever(log)).join())
                group.create_task(cooperator.cooperate(fails()).join())

        with pytest.raises(ExceptionGroup, match="unhandled errors") as caught:
            await main()
        assert [str(error) for error in caught.value.exceptions] == ["together"]
        assert log == ["closed"]

    def test_entering_needs_a_loop(self):
        with pytest.raises(RuntimeError, match="without a running event loop in this thread"):
            Cooperator().__aenter__().send(None)


class TestStatistics:
    @on_both_loops
    async def test_the_figures_are_exact(self):
        cooperator = Stepwise(time_slice=None, slow_step=math.inf)
        clock, ticks = cooperator.clock, cooperator.ticks
        future = asyncio.get_running_loop().create_future()

        def waits():
            clock.advance(0.5)
            yield future

        cooperator.cooperate(work([], "ab", clock, 0.25), name="short")
        cooperator.cooperate(waits(), name="long")
        cooperator.cooperate(forever(), name="paused").pause()
        ticks.tick(2)
        statistics = cooperator.statistics()
        assert dataclasses.asdict(statistics) == {
            "ready": 1,
            "paused": 1,
            "waiting": 1,
            "ticks": 2,
            "steps": 2,
            "cpu_time": 0.75,
            "longest_tick": 0.5,
            "longest_step": 0.5,
            "longest_step_task": "long",
            **dict.fromkeys(("finished", "failed", "cancelled", "stopped", "refused"), 0),
            "collector_time": statistics.collector_time,
            "time_slice": None,
        }
        with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field"):
            statistics.ready = 0
        assert [(task.name, task.steps, task.cpu_time) for task in cooperator.tasks] == [
            ("short", 1, 0.25),
            ("long", 1, 0.5),
            ("paused", 0, 0.0),
        ]
        cooperator.stop()

    @on_both_loops
    async def test_a_tick_of_several_steps_is_longer_than_each(self):
        clock = Clock()
        cooperator = Cooperator(clock=clock, time_slice=1)
        await cooperator.cooperate(work([], "abcd", clock, 0.25))
        statistics = cooperator.statistics()
        assert (statistics.longest_tick, statistics.longest_step) == (1.0, 0.25)
        assert statistics.cpu_time == 1.0

    @on_both_loops
    async def test_the_counts_of_the_unfinished_add_up_whatever_they_do(self):
        cooperator = Stepwise()
        tasks = [cooperator.cooperate(forever()) for _ in range(3)]
        tasks[0].cancel()
        tasks[1].pause()
        statistics = cooperator.statistics()
        assert statistics.ready == 1
        assert statistics.ready + statistics.paused + statistics.waiting == 3
        cooperator.stop()


class TestSlowSteps:
    @on_both_loops
    async def test_a_slow_step_is_logged_once_for_each_task(self, caplog):
        cooperator = Stepwise(slow_step=0.25)
        for name in ("first", "second"):
            cooperator.cooperate(work([], "ab", cooperator.clock, 0.5), name=name)
        cooperator.ticks.run()
        assert [(record.name, record.levelname) for record in caplog.records] == [
            ("cooperative_aio", "WARNING")
        ] * 2
        for text, name in zip(caplog.messages, ("first", "second"), strict=True):
            assert f" name='{name}' work" in text
            assert text.startswith("a step of <CooperativeTask ")
            assert "> held the loop for 0.500 seconds (0." in text
            assert text.endswith(" in the garbage collector)")

    @on_both_loops
    async def test_a_step_just_as_long_as_slow_step_is_not_logged(self, caplog):
        cooperator = Stepwise(slow_step=0.25)
        cooperator.cooperate(work([], "ab", cooperator.clock, 0.25))
        cooperator.ticks.run()
        assert caplog.records == []

    @on_both_loops
    async def test_a_slow_step_is_logged_after_longer_ones_of_others(self, caplog):
        cooperator = Stepwise(slow_step=0.25)
        cooperator.cooperate(work([], "a", cooperator.clock, 4.0), name="slowest")
        cooperator.cooperate(work([], "a", cooperator.clock, 0.5), name="slow")
        cooperator.ticks.run()
        assert len(caplog.records) == 2
        assert cooperator.statistics().longest_step_task == "slowest"

    @on_both_loops
    async def test_slow_cleaning_up_is_logged_too(self, caplog):
        cooperator = Stepwise(slow_step=0.25)

        def slow_to_clean_up():
            try:
                yield
            finally:
                cooperator.clock.advance(0.5)

        task = cooperator.cooperate(slow_to_clean_up())
        cooperator.ticks.tick()
        task.cancel()
        await turns()
        assert task.cancelled()
        assert len(caplog.records) == 1
        assert cooperator.statistics().longest_step == 0.5

    @on_both_loops
    async def test_the_default_is_a_tenth_of_a_second(self, caplog):
        clock = Clock()
        cooperator = Cooperator(one_step, clock=clock)
        await cooperator.cooperate(work([], "a", clock, 0.09375))
        assert caplog.records == []
        await cooperator.cooperate(work([], "a", clock, 0.109375))
        assert len(caplog.records) == 1

    @on_both_loops
    async def test_infinity_is_never(self, caplog):
        cooperator = Stepwise(slow_step=math.inf)
        cooperator.cooperate(work([], "a", cooperator.clock, 1e6))
        cooperator.ticks.run()
        assert caplog.records == []


def in_a_thread(function):
    """Return what `function` raises in a thread without a loop."""
    caught = []

    def run():
        try:
            function()
        except (RuntimeError, TimeoutError) as error:
            caught.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return caught


class TestLoops:
    def test_a_cooperator_serves_one_loop_after_the_other(self, loop_factory):
        log = []
        cooperator = Cooperator()
        for letters in ("ab", "cd"):
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(_use(cooperator, work(log, letters)))
        assert log == list("abcd")
        assert cooperator.tasks == ()

    def test_without_a_loop_the_error_says_so(self):
        for function in (
            lambda: Cooperator().cooperate(iter(())),
            lambda: cooperate(iter(())),
            lambda: coiterate(iter(())),
            get_cooperator,
            lambda: Cooperator().drain().send(None),
        ):
            with pytest.raises(
                RuntimeError,
                match=r"in this thread; .* loop\.call_soon_threadsafe .* anyio\.from_thr",
            ):
                function()

    @on_both_loops
    async def test_use_from_a_thread_is_an_error_that_names_the_remedy(self):
        cooperator = Stepwise()
        task = cooperator.cooperate(iter("ab"))
        paused = cooperator.cooperate(iter("ab"))
        paused.pause()
        operations = {
            "cooperate": lambda: cooperator.cooperate(iter(())),
            "coiterate": lambda: cooperator.coiterate(iter(())),
            "start": cooperator.start,
            "stop": cooperator.stop,
            "drain": lambda: cooperator.drain().send(None),
            "pause": task.pause,
            "resume": paused.resume,
            "stop task": task.stop,
            "cancel": task.cancel,
            "when_done": task.when_done,
            "weight": lambda: setattr(task, "weight", 2),
        }
        accepted = [name for name, call in operations.items() if not in_a_thread(call)]
        assert accepted == []
        for call in operations.values():
            (message,) = in_a_thread(call)
            assert message.startswith("cannot use <Cooperator running")
            assert "it has unfinished tasks on another event loop" in message
            assert "anyio.from_thread.run" in message
        assert (task.weight, paused.paused, task.done()) == (1, True, False)
        assert cooperator.tasks == (task, paused)
        cooperator.stop()

    @on_both_loops
    async def test_use_from_a_second_loop_is_an_error(self):
        cooperator = Cooperator()
        task = cooperator.cooperate(forever())

        async def elsewhere():
            cooperator.cooperate(iter(()))

        (message,) = in_a_thread(lambda: asyncio.run(elsewhere()))
        assert "it has unfinished tasks on another event loop" in message
        assert "give each loop a Cooperator" in message
        task.stop()
        use = asyncio.wait_for(_use(cooperator, iter("ab")), 60)
        assert in_a_thread(lambda: asyncio.run(use)) == []

    def test_between_two_runs_of_its_loop_it_may_be_used(self, loop_factory):
        cooperator = Cooperator()
        log = []
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            task = runner.run(_start(cooperator, forever(log)))
            task.pause()
            task.resume()
            task.stop()
            assert log == ["closed"]
            task = runner.run(_start(cooperator, forever(log)))
            task.cancel()
            runner.run(turns())
            assert task.cancelled()

    def test_a_closed_loop_is_not_kept_alive(self, loop_factory):
        cooperator = Cooperator()
        loops = []

        async def main():
            loops.append(weakref.ref(asyncio.get_running_loop()))
            await cooperator.cooperate(iter("ab"))
            await cooperate(iter("ab"))

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main())
        del runner
        gc.collect()
        assert loops[0]() is None
        assert cooperator.tasks == ()

    @pytest.mark.parametrize("shut_down", [True, False])
    def test_a_loop_closed_with_unfinished_tasks_is_not_kept_alive(
        self, loop_factory, shut_down
    ):
        cooperator = Cooperator()
        loop = loop_factory()
        loop.run_until_complete(_start(cooperator, forever()))
        if shut_down:
            loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        reference = weakref.ref(loop)
        del loop
        asyncio.run(asyncio.wait_for(_use(cooperator, iter("ab")), 60))
        gc.collect()
        assert reference() is None

    def test_after_its_loop_was_closed_under_it_a_cooperator_can_be_stopped(self, loop_factory):
        log = []
        cooperator = Cooperator()
        loop = loop_factory()
        tasks = [
            loop.run_until_complete(_start(cooperator, forever(log, name))) for name in "ab"
        ]
        tasks[0].when_done()
        loop.close()
        cooperator.stop()
        assert log == ["a", "b"]
        assert cooperator.tasks == ()

    def test_tasks_of_a_loop_that_was_closed_do_not_disturb_the_next(self, loop_factory):
        log = []
        cooperator = Cooperator()
        loop = loop_factory()
        old = loop.run_until_complete(_start(cooperator, forever(log)))
        loop.close()

        async def main():
            task = cooperator.cooperate(work(log, "ab"))
            for operation in (old.pause, old.resume, old.stop, old.cancel):
                try:
                    operation()
                except cooperative_aio.SchedulerError:
                    log.append("ended")
            for _ in range(1000):
                await asyncio.sleep(0)
            assert task.done()
            assert cooperator.tasks == ()

        asyncio.run(main())
        assert [event for event in log if event != "ended"] in (
            ["closed", "a", "b"],
            ["a", "b", "closed"],
        )

    def test_a_lost_generator_is_not_kept_alive(self, loop_factory):
        log = []
        cooperator = Cooperator()
        loop = loop_factory()
        loop.run_until_complete(_start(cooperator, forever(log)))
        loop.close()
        del cooperator, loop
        gc.collect()
        assert log == ["closed"]


async def _use(cooperator, iterator):
    return await cooperator.cooperate(iterator)


async def _start(cooperator, iterator):
    task = cooperator.cooperate(iterator)
    while not task.steps:
        await asyncio.sleep(0)
    return task


class TestTheLoopsOwn:
    @on_both_loops
    async def test_the_loop_has_one_of_its_own_started_on_demand(self):
        cooperator = get_cooperator()
        assert get_cooperator() is cooperator
        assert cooperator.running
        task = cooperate(iter("ab"), name="mine", weight=2)
        assert cooperator.tasks == (task,)
        assert (task.name, task.weight) == ("mine", 2)
        await task
        iterator = iter("ab")
        assert await coiterate(iterator) is iterator

    def test_loops_do_not_share(self, loop_factory):
        async def main():
            return get_cooperator()

        with (
            asyncio.Runner(loop_factory=loop_factory) as first,
            asyncio.Runner(loop_factory=loop_factory) as second,
        ):
            assert first.run(main()) is not second.run(main())

    @on_both_loops
    async def test_a_context_given_is_used(self):
        variable = contextvars.ContextVar("variable", default="outside")
        context = contextvars.copy_context()
        context.run(variable.set, "inside")
        log = []

        def look():
            yield log.append(variable.get())

        await cooperate(look(), context=context)
        assert log == ["inside"]


class TestCoiterate:
    @on_both_loops
    async def test_the_future_completes_with_the_iterator(self):
        cooperator = Cooperator()
        generator = work([], "ab")
        assert await cooperator.coiterate(generator) is generator

    @on_both_loops
    async def test_a_future_given_is_the_one_returned(self):
        iterator = iter("ab")
        future = asyncio.get_running_loop().create_future()
        assert Cooperator().coiterate(iterator, future) is future
        assert await future is iterator

    async def test_a_future_that_is_none_or_done_is_refused(self):
        cooperator = Cooperator()
        with pytest.raises(TypeError, match="done_future must be a future, got 3"):
            cooperator.coiterate(iter(()), 3)
        future = asyncio.get_running_loop().create_future()
        future.set_result(1)
        with pytest.raises(ValueError, match="done_future must not be done, got <Future fin"):
            cooperator.coiterate(iter(()), future)
        assert cooperator.tasks == ()

    @on_both_loops
    async def test_a_future_that_is_done_or_cancelled_early_leaves_the_task_alone(self):
        log = []
        cooperator = Stepwise()
        loop = asyncio.get_running_loop()
        cancelled = cooperator.coiterate(work(log, "ab"))
        cancelled.cancel()
        given = cooperator.coiterate(work(log, "cd"), loop.create_future())
        given.set_result("early")
        last = cooperator.coiterate(work(log, "ef"))
        cooperator.ticks.run()
        last.cancel()
        await turns()
        assert log == list("acebdf")
        assert given.result() == "early"

    @on_both_loops
    async def test_the_failure_is_passed_on(self):
        def fails():
            yield
            raise LookupError("from the generator")

        with pytest.raises(LookupError, match="from the generator"):
            await Cooperator().coiterate(fails())


class TestCurrentTask:
    @on_both_loops
    async def test_it_is_the_task_whose_step_is_running(self):
        log = []

        def look():
            try:
                log.append(current_task().name)
                yield
                log.append(current_task().name)
                yield
            finally:
                log.append(current_task().name)

        cooperator = Stepwise()
        first = cooperator.cooperate(look(), name="first")
        second = cooperator.cooperate(look(), name="second")
        assert current_task() is None
        cooperator.ticks.tick(4)
        assert current_task() is None
        first.stop()
        second.cancel()
        await turns()
        assert log == ["first", "second"] * 3
        assert current_task() is None

    @on_both_loops
    async def test_closing_from_another_tasks_step_changes_it_for_so_long(self):
        log = []
        cooperator = Stepwise()

        def closes():
            try:
                while True:
                    yield
            finally:
                log.append(current_task().name)

        def stops():
            yield
            first.stop()
            yield log.append(current_task().name)

        first = cooperator.cooperate(closes(), name="first")
        cooperator.cooperate(stops(), name="second")
        cooperator.ticks.run()
        assert log == ["first", "second"]

    @on_both_loops
    async def test_in_a_coroutine_that_a_task_waits_on_it_is_none(self):
        async def look():
            return current_task()

        def waits():
            return (yield look())

        assert await cooperate(waits()) is None

    def test_without_a_loop_it_is_none(self):
        assert current_task() is None
