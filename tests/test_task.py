"""CooperativeTask as a future, its states, and how it ends."""

import asyncio
import gc
import itertools
import math
import re

import anyio
import pytest
from core_support import Stepwise, forever, on_both_loops, outcome, turns, work

from cooperative_aio import (
    CooperativeTask,
    Cooperator,
    NotPaused,
    SchedulerError,
    SchedulerStopped,
    TaskDone,
    TaskFailed,
    TaskFinished,
    TaskStopped,
    cooperate,
    current_task,
)


def returns(value, steps=1):
    for _ in range(steps):
        yield
    return value


def fails(error):
    yield
    raise error


class TestErrors:
    def test_the_family_is_the_ancestors(self):
        assert issubclass(SchedulerError, Exception)
        assert issubclass(SchedulerStopped, SchedulerError)
        assert issubclass(NotPaused, SchedulerError)
        assert issubclass(TaskFinished, SchedulerError)
        for error in (TaskDone, TaskStopped, TaskFailed):
            assert issubclass(error, TaskFinished)
        assert not issubclass(SchedulerStopped, TaskFinished)


class TestAsAFuture:
    @on_both_loops
    async def test_it_is_a_future_of_the_running_loop(self):
        task = cooperate(returns(1))
        assert isinstance(task, asyncio.Future)
        assert asyncio.isfuture(task)
        assert asyncio.ensure_future(task) is task
        assert task.get_loop() is asyncio.get_running_loop()
        assert await task == 1

    @on_both_loops
    async def test_await_gives_what_the_generator_returns_or_raises(self):
        assert await cooperate(returns("value")) == "value"
        with pytest.raises(LookupError, match="from the generator"):
            await cooperate(fails(LookupError("from the generator")))

    @on_both_loops
    async def test_join_does_the_same_as_a_coroutine(self):
        joining = cooperate(returns("value")).join()
        assert asyncio.iscoroutine(joining)
        assert await joining == "value"
        with pytest.raises(LookupError, match="from the generator"):
            await cooperate(fails(LookupError("from the generator"))).join()

    def test_join_is_what_asyncio_run_takes(self, loop_factory):
        async def main():
            return await cooperate(returns(3)).join()

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            assert runner.run(main()) == 3

    @on_both_loops
    async def test_gather_wait_and_as_completed_take_it(self):
        cooperator = Cooperator(clock=itertools.count().__next__, time_slice=1.5)
        tasks = [cooperator.cooperate(returns(n, n)) for n in (3, 1, 2)]
        assert await asyncio.gather(*tasks) == [3, 1, 2]
        done, pending = await asyncio.wait(tasks)
        assert (done, pending) == (set(tasks), set())
        tasks = [cooperator.cooperate(returns(n, 2 * n)) for n in (3, 1, 2)]
        assert [await first for first in asyncio.as_completed(tasks)] == [1, 2, 3]

    @on_both_loops
    async def test_wait_for_and_timeout_cancel_it(self):
        log = []

        async def wait_for(task):
            await asyncio.wait_for(task, 0)

        async def timeout(task):
            async with asyncio.timeout(0):
                await task

        for give_up in (wait_for, timeout):
            task = cooperate(forever(log))
            while not task.steps:
                await asyncio.sleep(0)
            with pytest.raises(TimeoutError, match=r"^$"):
                await give_up(task)
            assert task.cancelled()
        assert log == ["closed", "closed"]

    @on_both_loops
    async def test_a_timeout_that_does_not_expire_gives_the_result(self):
        assert await asyncio.wait_for(cooperate(returns(1)), 60) == 1

    @on_both_loops
    async def test_shield_protects_it(self):
        task = cooperate(forever())
        outer = asyncio.shield(task)
        await turns()
        outer.cancel()
        await turns()
        assert outer.cancelled()
        assert not task.done()
        task.stop()

    @on_both_loops
    async def test_cancelling_gather_cancels_it(self):
        log = []
        tasks = [cooperate(forever(log)), cooperate(forever(log))]
        gathering = asyncio.gather(*tasks)
        while not all(task.steps for task in tasks):
            await asyncio.sleep(0)
        gathering.cancel()
        with pytest.raises(asyncio.CancelledError, match=r"^$"):
            await gathering
        assert log == ["closed", "closed"]

    @on_both_loops
    async def test_a_task_group_cancels_what_it_joins(self):
        tasks = [cooperate(forever()), cooperate(fails(LookupError("the first")))]

        async def main():
            async with asyncio.TaskGroup() as group:
                for task in tasks:
                    group.create_task(task.join())

        with pytest.raises(ExceptionGroup, match="unhandled errors in a TaskGroup"):
            await main()
        assert [outcome(task) for task in tasks] == ["cancelled", LookupError]

    @on_both_loops
    async def test_an_anyio_scope_cancels_it_and_waits_for_its_clean_up(self):
        log = []

        def cleans_up():
            try:
                while True:
                    yield
            finally:
                for _ in range(3):
                    log.append("cleaning")
                    yield

        task = Cooperator().cooperate(cleans_up())
        with anyio.CancelScope() as scope:
            asyncio.get_running_loop().call_soon(scope.cancel)
            await task
        assert scope.cancelled_caught
        assert task.cancelled()
        assert log[0] == "cleaning"

    @on_both_loops
    async def test_cancelling_who_awaits_it_cancels_it(self):
        log = []

        async def main():
            await cooperate(forever(log))

        running = asyncio.ensure_future(main())
        await turns()
        running.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await running

    @on_both_loops
    async def test_done_callbacks_are_called_once(self):
        log = []
        task = cooperate(returns(1))
        task.add_done_callback(log.append)
        await task
        await turns()
        assert log == [task]

    @on_both_loops
    async def test_results_cannot_be_set(self):
        task = cooperate(returns(1))
        with pytest.raises(RuntimeError, match="cannot set the result of a CooperativeTask"):
            task.set_result(2)
        with pytest.raises(RuntimeError, match="cannot set the exception of a Cooperat"):
            task.set_exception(LookupError())
        assert await task == 1

    def test_it_shadows_no_private_name_of_the_future(self):
        private = {
            name
            for name in vars(CooperativeTask)
            if name.startswith("_") and not name.startswith("__")
        }
        for future in (asyncio.Future, asyncio.futures._PyFuture):
            assert private & set(dir(future)) <= {"_make_cancelled_error"}

    def test_it_has_no_dict_that_costs_memory(self):
        assert "__dict__" not in vars(CooperativeTask)


class TestWhenDone:
    @on_both_loops
    async def test_each_call_gives_a_future_of_its_own(self):
        generator = returns(1)
        task = cooperate(generator)
        first, second, third = task.when_done(), task.when_done(), task.when_done()
        assert len({first, second, third, task}) == 4
        second.cancel()
        assert await first is generator
        assert await third is generator
        assert second.cancelled()
        assert await task == 1
        assert await task.when_done() is generator

    @on_both_loops
    async def test_it_fails_alike(self):
        error = LookupError("from the generator")
        task = cooperate(fails(error))
        before = task.when_done()
        for future in (before, task):
            with pytest.raises(LookupError, match="from the generator"):
                await future
        with pytest.raises(LookupError, match="from the generator"):
            await task.when_done()

    @pytest.mark.parametrize(
        ("end", "expected"),
        [
            (CooperativeTask.stop, TaskStopped),
            (CooperativeTask.cancel, "cancelled"),
        ],
    )
    def test_a_stopped_or_cancelled_task_logs_nothing(self, end, expected):
        @on_both_loops
        async def main():
            task = cooperate(forever())
            before = task.when_done()
            end(task)
            await turns()
            assert [outcome(before), outcome(task.when_done())] == [expected] * 2

            # the same again, with nobody who looks
            task = cooperate(forever())
            task.when_done()
            end(task)
            await turns()

        main(loop_factory=asyncio.new_event_loop, reports=[])

    @on_both_loops
    async def test_a_cancelled_one_leaves_no_callback_behind(self):
        task = cooperate(forever())
        for _ in range(3):
            task.when_done().cancel()
        await turns()
        assert not task._callbacks
        task.stop()

    @on_both_loops
    async def test_a_failure_that_only_a_cancelled_one_would_have_seen_is_reported(
        self, reports
    ):
        task = cooperate(fails(LookupError("unseen")))
        task.when_done().cancel()
        await asyncio.wait([task])
        del task
        gc.collect()
        assert [str(report["exception"]) for report in reports] == ["unseen"]


class TestPausing:
    @on_both_loops
    async def test_two_pauses_need_two_resumes(self):
        log = []
        cooperator = Stepwise()
        task = cooperator.cooperate(work(log, "abc"))
        cooperator.ticks.tick()
        task.pause()
        task.pause()
        assert task.paused
        assert cooperator.ticks.pending == ()
        task.resume()
        assert task.paused
        assert cooperator.ticks.pending == ()
        task.resume()
        assert not task.paused
        cooperator.ticks.run()
        assert log == list("abc")

    @on_both_loops
    async def test_resume_without_pause_raises(self):
        cooperator = Stepwise()
        task = cooperator.cooperate(work([], "abc"))
        with pytest.raises(NotPaused, match="cannot resume a ready task; it is not paused"):
            task.resume()
        task.pause()
        task.resume()
        with pytest.raises(NotPaused, match="cannot resume a ready task; it is not paused"):
            task.resume()
        cooperator.ticks.run()
        with pytest.raises(NotPaused, match="cannot resume a finished task; it is not pau"):
            task.resume()

    @on_both_loops
    async def test_resume_does_not_run_a_task_that_waits(self):
        log = []
        cooperator = Stepwise()
        future = asyncio.get_running_loop().create_future()

        def waits():
            log.append((yield future))

        task = cooperator.cooperate(waits())
        cooperator.ticks.tick()
        with pytest.raises(NotPaused, match="cannot resume a waiting task; it is not paused"):
            task.resume()
        task.pause()
        assert (task.paused, task.waiting) == (True, True)
        task.resume()
        assert cooperator.ticks.pending == ()
        task.pause()
        future.set_result("result")
        await turns()
        assert (task.paused, task.waiting) == (True, False)
        assert cooperator.ticks.pending == ()
        task.resume()
        cooperator.ticks.run()
        assert log == ["result"]
        assert task.done()

    @on_both_loops
    async def test_a_task_may_pause_itself(self):
        log = []
        cooperator = Stepwise()

        def pauses():
            current_task().pause()
            yield log.append("paused")
            yield log.append("resumed")

        task = cooperator.cooperate(pauses())
        cooperator.ticks.run()
        assert log == ["paused"]
        assert task.paused
        task.resume()
        cooperator.ticks.run()
        assert log == ["paused", "resumed"]

    @on_both_loops
    async def test_a_task_may_pause_and_resume_itself_in_one_step(self):
        log = []
        cooperator = Stepwise()

        def hesitates():
            for letter in "abc":
                current_task().pause()
                current_task().resume()
                yield log.append(letter)

        cooperator.cooperate(hesitates())
        cooperator.cooperate(work(log, "xyz"))
        cooperator.ticks.run()
        assert log == list("axbycz")

    @on_both_loops
    async def test_a_task_that_pauses_itself_may_also_wait(self):
        log = []
        cooperator = Stepwise()

        def pauses():
            current_task().pause()
            log.append((yield asyncio.sleep(0, "slept")))

        task = cooperator.cooperate(pauses())
        cooperator.ticks.run()
        await turns()
        assert (task.paused, task.waiting, log) == (True, False, [])
        task.resume()
        cooperator.ticks.run()
        assert log == ["slept"]

    @on_both_loops
    async def test_one_task_may_pause_another(self):
        log = []
        cooperator = Stepwise()
        first = cooperator.cooperate(work(log, "abc"))

        def pauses():
            yield first.pause()
            yield log.append("x")
            yield first.resume()

        cooperator.cooperate(pauses())
        cooperator.ticks.run()
        assert log == list("axbc")

    @on_both_loops
    async def test_a_pause_of_a_queued_task_keeps_its_place(self):
        log = []
        cooperator = Stepwise()
        first, _ = cooperator.cooperate(work(log, "ab")), cooperator.cooperate(work(log, "xy"))
        first.pause()
        first.resume()
        cooperator.ticks.run()
        assert log == list("axby")

    @on_both_loops
    async def test_pause_and_resume_before_start(self):
        log = []
        cooperator = Stepwise(started=False)
        task = cooperator.cooperate(work(log, "ab"))
        task.pause()
        cooperator.start()
        assert cooperator.ticks.pending == ()
        task.resume()
        cooperator.ticks.run()
        assert log == ["a", "b"]


async def make(state, cooperator):  # noqa: C901
    """Make a task that is in the state named."""
    loop = asyncio.get_running_loop()
    if state in ("waiting", "waiting and paused"):
        task = cooperator.cooperate(iter([loop.create_future()]))
    elif state == "failed":
        task = cooperator.cooperate(fails(LookupError("failed")))
    elif state == "finished":
        task = cooperator.cooperate(returns(1))
    else:
        task = cooperator.cooperate(forever())
    cooperator.ticks.tick()
    if state in ("finished", "failed"):
        cooperator.ticks.run()
        outcome(task)
    elif state in ("paused", "waiting and paused"):
        task.pause()
    elif state == "stopped":
        task.stop()
    elif state == "stopped while paused":
        task.pause()
        task.stop()
    elif state == "cancelled":
        task.cancel()
        await turns()
    elif state == "of a stopped Cooperator":
        cooperator.stop()
    elif state == "paused, of a stopped Cooperator":
        task.pause()
        cooperator.stop()
    elif state == "ending":
        task.cancel()
    return task


STATES = {  # state: what pause, resume, stop raise, and what cancel returns
    "ready": (None, NotPaused, None, True),
    "paused": (None, None, None, True),
    "waiting": (None, NotPaused, None, True),
    "waiting and paused": (None, None, None, True),
    "ending": (None, NotPaused, None, True),
    "finished": (TaskDone, NotPaused, TaskDone, False),
    "failed": (TaskFailed, NotPaused, TaskFailed, False),
    "stopped": (TaskStopped, NotPaused, TaskStopped, False),
    "stopped while paused": (TaskStopped, None, TaskStopped, False),
    "cancelled": (TaskStopped, NotPaused, TaskStopped, False),
    "of a stopped Cooperator": (SchedulerStopped, NotPaused, SchedulerStopped, False),
    "paused, of a stopped Cooperator": (SchedulerStopped, None, SchedulerStopped, False),
}


class TestEveryStateAndOperation:
    @pytest.mark.parametrize("state", STATES)
    @pytest.mark.parametrize("operation", ["pause", "resume", "stop", "cancel"])
    async def test_it_does_or_raises_what_the_table_says(self, state, operation):
        cooperator = Stepwise()
        task = await make(state, cooperator)
        pause, resume, stop, cancel = STATES[state]
        if operation == "cancel":
            assert task.cancel() is cancel
        else:
            expected = {"pause": pause, "resume": resume, "stop": stop}[operation]
            if expected is None:
                getattr(task, operation)()
            else:
                before = outcome(task)
                with pytest.raises(expected, match=f"cannot {operation} a .* task; ") as caught:
                    getattr(task, operation)()
                assert caught.type is expected
                assert outcome(task) == before
        if not task.done():
            task.cancel()
            await turns()
        assert task.done()
        assert cooperator.tasks == ()
        assert cooperator.ticks.pending == ()

    @pytest.mark.parametrize("state", STATES)
    async def test_the_repr_and_the_properties_tell_the_state(self, state):
        cooperator = Stepwise()
        task = await make(state, cooperator)
        word = {
            "waiting and paused": "waiting",
            "stopped while paused": "stopped",
            "of a stopped Cooperator": "stopped",
            "paused, of a stopped Cooperator": "stopped",
        }.get(state, state)
        assert re.match(rf"<CooperativeTask {word} name='\w+-\d+' ", repr(task))
        assert task.state == word
        assert task.paused is (state in ("paused", "waiting and paused"))
        assert task.waiting is (state in ("waiting", "waiting and paused"))
        if not task.done():
            task.stop()
        await turns()

    async def test_a_resume_beyond_the_forgiven_ones_raises(self):
        task = Stepwise().cooperate(forever())
        task.pause()
        task.pause()
        task.stop()
        task.resume()
        task.resume()
        with pytest.raises(NotPaused, match="cannot resume a stopped task; it is not paused"):
            task.resume()


class TestStopping:
    @on_both_loops
    async def test_stop_completes_it_at_once_and_closes_the_generator(self):
        log = []
        cooperator = Stepwise()
        task = cooperator.cooperate(forever(log))
        cooperator.ticks.tick()
        task.stop()
        assert log == ["closed"]
        assert task.done()
        assert not task.cancelled()
        with pytest.raises(TaskStopped, match="the task was stopped"):
            await task
        assert (cooperator.tasks, cooperator.ticks.pending) == ((), ())

    @on_both_loops
    async def test_a_plain_iterator_is_dropped(self):
        task = Stepwise().cooperate(iter("abc"))
        task.stop()
        assert outcome(task) is TaskStopped

    @on_both_loops
    async def test_nothing_is_logged_about_a_stopped_task(self, caplog):
        cooperator = Stepwise()
        cooperator.cooperate(forever()).stop()
        cooperator.cooperate(forever())
        cooperator.stop()
        cooperator.cooperate(forever())
        gc.collect()
        assert caplog.records == []

    @on_both_loops
    async def test_stop_during_its_own_step_takes_effect_after_it(self):
        log = []
        cooperator = Stepwise()

        def stops_itself():
            try:
                current_task().stop()
                log.append("goes on")
                yield
                log.append("never")
            finally:
                log.append("closed")

        task = cooperator.cooperate(stops_itself())
        cooperator.ticks.tick()
        assert log == ["goes on", "closed"]
        assert outcome(task) is TaskStopped
        assert cooperator.ticks.pending == ()

    @pytest.mark.parametrize(
        ("last_words", "expected"),
        [
            ("return", TaskStopped),
            ("raise", LookupError),
            ("cancelled", TaskStopped),
            ("pause", TaskStopped),
            ("pause and resume", TaskStopped),
            ("cancel", TaskStopped),
            ("stop", TaskStopped),
        ],
    )
    def test_what_comes_after_stop_in_the_same_step(self, last_words, expected):
        @on_both_loops
        async def main():
            cooperator = Stepwise()

            def stops_itself():
                task = current_task()
                task.stop()
                if last_words == "return":
                    return 1
                if last_words == "raise":
                    raise LookupError
                if last_words == "cancelled":
                    raise asyncio.CancelledError
                if last_words.startswith("pause"):
                    task.pause()
                if last_words == "pause and resume":
                    task.resume()
                if last_words == "cancel":
                    assert task.cancel()
                if last_words == "stop":
                    task.stop()
                yield

            task = cooperator.cooperate(stops_itself())
            cooperator.ticks.tick()
            assert outcome(task) == expected
            await turns()
            assert (cooperator.tasks, cooperator.ticks.pending) == ((), ())
            statistics = cooperator.statistics()
            assert (statistics.ready, statistics.paused, statistics.waiting) == (0, 0, 0)

        main(loop_factory=asyncio.new_event_loop, reports=[])

    @on_both_loops
    async def test_a_coroutine_yielded_after_stop_in_the_same_step_is_closed(self):
        async def never():
            """Be never awaited."""

        coroutine = never()

        def stops_itself():
            current_task().stop()
            yield coroutine

        cooperator = Stepwise()
        task = cooperator.cooperate(stops_itself())
        cooperator.ticks.tick()
        assert outcome(task) is TaskStopped
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            coroutine.send(None)

    @on_both_loops
    async def test_a_future_yielded_after_stop_in_the_same_step_is_left_alone(self):
        future = asyncio.get_running_loop().create_future()

        def stops_itself():
            current_task().stop()
            yield future

        cooperator = Stepwise()
        task = cooperator.cooperate(stops_itself())
        cooperator.ticks.tick()
        assert outcome(task) is TaskStopped
        assert not future.done()

    @on_both_loops
    async def test_one_task_may_stop_another(self):
        log = []
        cooperator = Stepwise()
        first = cooperator.cooperate(forever(log, "first closed"))

        def stops():
            yield first.stop()
            yield log.append("goes on")

        cooperator.cooperate(stops())
        cooperator.ticks.run()
        assert log == ["first closed", "goes on"]

    @on_both_loops
    async def test_stop_before_the_first_step_runs_nothing(self):
        log = []
        task = Stepwise().cooperate(forever(log))
        task.stop()
        assert log == []
        assert outcome(task) is TaskStopped

    @on_both_loops
    async def test_a_generator_that_yields_while_being_closed_is_reported(self, reports):
        cooperator = Stepwise()

        def yields():
            try:
                yield
            finally:
                yield

        task = cooperator.cooperate(yields(), name="stubborn")
        cooperator.ticks.tick()
        task.stop()
        assert outcome(task) is TaskStopped
        (report,) = reports
        assert report["message"].startswith("closing the generator of <CooperativeTask stopped")
        assert str(report["exception"]) == "generator ignored GeneratorExit"
        assert report["future"] is task

    @on_both_loops
    async def test_a_generator_that_raises_while_being_closed_is_reported(self, reports):
        cooperator = Stepwise()

        def raises():
            try:
                yield
            finally:
                raise LookupError("in the finally")

        task = cooperator.cooperate(raises())
        cooperator.ticks.tick()
        task.stop()
        assert outcome(task) is TaskStopped
        assert [str(report["exception"]) for report in reports] == ["in the finally"]

    @on_both_loops
    async def test_an_interrupt_while_closing_leaves(self):
        def interrupts():
            try:
                yield
            finally:
                raise KeyboardInterrupt("while closing")

        cooperator = Stepwise()
        task = cooperator.cooperate(interrupts())
        cooperator.ticks.tick()
        with pytest.raises(KeyboardInterrupt, match="while closing"):
            task.stop()
        assert outcome(task) is TaskStopped
        assert cooperator.tasks == ()

    @on_both_loops
    async def test_in_its_finally_the_task_is_stopped_already(self):
        log = []

        def looks():
            task = current_task()
            try:
                yield
            finally:
                log.append((task.done(), current_task() is task))
                with pytest.raises(TaskStopped, match="cannot stop a stopped task"):
                    task.stop()

        cooperator = Stepwise()
        task = cooperator.cooperate(looks())
        cooperator.ticks.tick()
        task.stop()
        assert log == [(True, True)]

    @on_both_loops
    async def test_a_generator_of_a_class_is_closed_when_it_fails(self):
        log = []

        class Machine:
            def __iter__(self):
                return self

            def __next__(self):
                return self.send(None)

            def send(self, _value):
                raise LookupError("broken")

            def throw(self, error):
                raise error

            def close(self):
                log.append("closed")

        with pytest.raises(LookupError, match="broken"):
            await cooperate(Machine())
        assert log == ["closed"]


class TestFailing:
    @on_both_loops
    async def test_a_failed_task_nobody_looked_at_is_reported(self, reports):
        def task_fails():
            yield
            raise LookupError("unseen")

        task = cooperate(task_fails())
        await asyncio.wait([task])
        del task
        gc.collect()
        (report,) = reports
        assert report["message"] == "CooperativeTask exception was never retrieved"
        assert str(report["exception"]) == "unseen"

    @on_both_loops
    async def test_a_failure_that_was_looked_at_is_not(self):
        task = cooperate(fails(LookupError("seen")))
        await asyncio.wait([task])
        assert str(task.exception()) == "seen"

    @on_both_loops
    async def test_one_failure_does_not_disturb_the_others(self):
        log = []
        cooperator = Stepwise()
        failing = cooperator.cooperate(fails(LookupError()))
        cooperator.cooperate(work(log, "abc"))
        cooperator.ticks.run()
        assert log == list("abc")
        assert outcome(failing) is LookupError

    @on_both_loops
    async def test_a_generator_that_raises_stop_iteration_fails(self):
        with pytest.raises(RuntimeError, match="generator raised StopIteration"):
            await cooperate(fails(StopIteration(1)))

    @on_both_loops
    async def test_a_generator_that_raises_generator_exit_fails(self):
        task = cooperate(fails(GeneratorExit("odd")))
        await asyncio.wait([task])
        assert repr(task.exception()) == "GeneratorExit('odd')"

    @on_both_loops
    async def test_a_generator_that_raises_cancelled_error_is_cancelled(self):
        task = cooperate(fails(asyncio.CancelledError("my own idea")))
        with pytest.raises(asyncio.CancelledError, match="my own idea"):
            await task
        assert task.cancelled()
        with pytest.raises(TaskStopped, match="cannot pause a cancelled task"):
            task.pause()

    @on_both_loops
    async def test_the_traceback_leads_to_the_generator_only(self):
        task = cooperate(fails(LookupError()))
        await asyncio.wait([task])
        frames = []
        traceback = task.exception().__traceback__
        while traceback is not None:
            frames.append(traceback.tb_frame.f_code.co_name)
            traceback = traceback.tb_next
        assert frames == ["fails"]


class TestProperties:
    @on_both_loops
    async def test_a_name_is_kept_and_others_are_numbered(self):
        cooperator = Stepwise()
        first, second, third = (
            cooperator.cooperate(forever(), name=name) for name in (None, "mine", None)
        )
        assert second.name == "mine"
        assert re.fullmatch(r"forever-\d+", first.name)
        assert first.name != third.name
        cooperator.stop()

    @on_both_loops
    async def test_the_iterator_is_the_one_given(self):
        iterator = iter("ab")
        task = cooperate(iterator)
        assert task.iterator is iterator
        await task
        assert task.iterator is iterator

    @on_both_loops
    async def test_steps_and_cpu_time_count_on(self):
        cooperator = Stepwise()
        task = cooperator.cooperate(work([], "abc", cooperator.clock, 0.25))
        seen = []
        while cooperator.ticks.pending:
            seen.append((task.steps, task.cpu_time))
            cooperator.ticks.tick()
        seen.append((task.steps, task.cpu_time))
        assert seen == [(0, 0.0), (1, 0.25), (2, 0.5), (3, 0.75), (4, 0.75)]

    @pytest.mark.parametrize("weight", [0, -1, math.nan, math.inf])
    async def test_a_weight_out_of_range_is_refused(self, weight):
        task = Stepwise().cooperate(forever(), weight=2)
        with pytest.raises(ValueError, match="weight must be a finite number above 0, got "):
            task.weight = weight
        with pytest.raises(TypeError, match="weight must be a finite number above 0, got 'a'"):
            task.weight = "a"
        assert task.weight == 2
        task.stop()

    @on_both_loops
    async def test_changing_the_weight_leaves_the_cpu_time_as_it_was(self):
        cooperator = Stepwise()
        task = cooperator.cooperate(work([], "abcd", cooperator.clock, 0.25))
        cooperator.ticks.tick(2)
        task.weight = 4
        assert (task.weight, task.cpu_time) == (4, 0.5)
        cooperator.ticks.run()
        assert task.cpu_time == 1.0
        task.weight = 1
        assert (task.weight, task.cpu_time) == (1, 1.0)

    @pytest.mark.parametrize("weight", [1e-300, 1e300])
    async def test_extreme_weights_are_kept_as_given(self, weight):
        task = Stepwise().cooperate(forever(), weight=weight)
        assert task.weight == weight
        task.stop()

    @on_both_loops
    async def test_the_repr_shows_where_a_generator_stands(self):
        cooperator = Stepwise()
        task = cooperator.cooperate(forever(), name="mine")
        cooperator.ticks.tick()
        code = forever.__code__
        assert repr(task) == (
            f"<CooperativeTask ready name='mine' forever at"
            f" {code.co_filename}:{code.co_firstlineno + 4}>"
        )
        task.stop()
        assert repr(task) == "<CooperativeTask stopped name='mine' forever>"

    @on_both_loops
    async def test_the_repr_shows_the_class_of_another_iterator(self):
        task = Stepwise().cooperate(iter([1]), name="mine")
        assert repr(task) == "<CooperativeTask ready name='mine' list_iterator>"
        task.stop()

    def test_the_type_takes_a_parameter(self):
        assert "CooperativeTask[int]" in str(CooperativeTask[int])


class TestInterrupts:
    @pytest.mark.parametrize("leaving", [KeyboardInterrupt, SystemExit])
    async def test_they_leave_through_the_tick_and_lose_no_task(self, leaving):
        log = []
        cooperator = Stepwise()
        task = cooperator.cooperate(fails(leaving("now")))
        cooperator.cooperate(work(log, "abc"))
        cooperator.ticks.tick(2)
        with pytest.raises(leaving, match="now"):
            cooperator.ticks.tick()
        assert outcome(task) == leaving
        cooperator.ticks.run()
        assert log == list("abc")
        assert cooperator.tasks == ()

    @pytest.mark.parametrize("leaving", [KeyboardInterrupt, SystemExit])
    def test_they_leave_through_the_loop(self, loop_factory, leaving):
        log = []
        tasks = []

        async def main():
            tasks.append(cooperate(fails(leaving("now"))))
            tasks.append(cooperate(forever(log)))
            await asyncio.gather(*tasks)

        with (
            pytest.raises(leaving, match="now"),
            asyncio.Runner(loop_factory=loop_factory) as runner,
        ):
            runner.run(main())
        assert log == ["closed"]
        assert outcome(tasks[0]) is leaving

    def test_an_interrupt_in_the_clean_up_leaves_too(self, loop_factory):
        def interrupts():
            try:
                yield
            finally:
                raise SystemExit("now")

        async def start():
            task = cooperator.cooperate(interrupts())
            cooperator.ticks.tick()
            return task

        async def cancel():
            task.cancel()
            await turns(2)

        cooperator = Stepwise()
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            task = runner.run(start())
            with pytest.raises(SystemExit, match="now"):
                runner.run(cancel())
        assert outcome(task) is SystemExit
        assert cooperator.tasks == ()
