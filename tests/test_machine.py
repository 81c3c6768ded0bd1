"""A state machine: whatever is done to tasks, no task is lost and each completes once."""

import asyncio
import enum

import pytest
from core_support import Stepwise
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cooperative_aio import (
    NotPaused,
    SchedulerStopped,
    TaskDone,
    TaskFailed,
    TaskFinished,
    TaskStopped,
)


class End(enum.Enum):
    """How a task has ended, and what it then raises."""

    FINISHED = TaskDone
    FAILED = TaskFailed
    STOPPED = TaskStopped
    CANCELLED = (TaskStopped,)
    SHUT_DOWN = SchedulerStopped


class Model:
    """What a task should be, and the generator that it runs."""

    def __init__(self, script, loop):
        self.script = list(script)  # what the steps bring
        self.loop = loop
        self.pauses = self.forgiven = 0
        self.future = None  # what it waits on
        self.throws = False  # what it waits on has failed: the next step ends it
        self.end = None
        self.steps = 0
        self.closed = 0
        self.completions = 0
        self.future_for_step = None

    def generator(self):
        try:
            for step in self.script:
                if step == "value":
                    yield
                elif step == "wait":
                    self.future_for_step = self.loop.create_future()
                    yield self.future_for_step
                elif step == "fail":
                    raise LookupError
            return "result"
        finally:
            self.closed += 1

    @property
    def ready(self):
        return self.end is None and not self.pauses and self.future is None

    def step(self):
        """Do what one step of the task should do."""
        step = self.script[self.steps] if self.steps < len(self.script) else "return"
        self.steps += 1
        if self.throws:
            self.finish(End.FAILED)
        elif step == "return":
            self.finish(End.FINISHED)
        elif step == "fail":
            self.finish(End.FAILED)
        elif step == "wait":
            self.future = self.future_for_step

    def finish(self, end):
        self.end = end
        self.future = None
        self.forgiven += self.pauses
        self.pauses = 0


SCRIPTS = st.lists(st.sampled_from(["value", "value", "wait", "fail"]), max_size=6)


class Machine(RuleBasedStateMachine):
    tasks = Bundle("tasks")
    loop_factory = staticmethod(asyncio.new_event_loop)

    def __init__(self):
        super().__init__()
        self.loop = self.loop_factory()
        self.reports = []
        self.loop.set_exception_handler(lambda _loop, context: self.reports.append(context))
        self.models = {}  # by task
        self.cooperator = None
        self.running = True
        self.run(self.start_up)

    def run(self, function, *arguments):
        """Call inside of the loop, and then let it take a few turns."""

        async def main():
            result = function(*arguments)
            for _ in range(4):
                await asyncio.sleep(0)
            return result

        return self.loop.run_until_complete(main())

    def start_up(self):
        self.cooperator = Stepwise()

    @rule(target=tasks, script=SCRIPTS)
    def cooperate(self, script):
        model = Model(script, self.loop)
        task = self.run(self.add, model)
        self.models[task] = model
        if not self.running:
            model.finish(End.SHUT_DOWN)
        return task

    def add(self, model):
        task = self.cooperator.cooperate(model.generator())

        def count(_):
            model.completions += 1

        task.add_done_callback(count)
        return task

    @rule(task=tasks)
    def pause(self, task):
        model = self.models[task]
        if model.end is None:
            self.run(task.pause)
            model.pauses += 1
        else:
            self.refused(task.pause, model)

    @rule(task=tasks)
    def resume(self, task):
        model = self.models[task]
        if model.pauses:
            self.run(task.resume)
            model.pauses -= 1
        elif model.forgiven:
            self.run(task.resume)
            model.forgiven -= 1
        else:
            with pytest.raises(NotPaused, match=r"cannot resume a .* task; it is not paused"):
                self.run(task.resume)

    @rule(task=tasks)
    def stop(self, task):
        model = self.models[task]
        if model.end is None:
            self.run(task.stop)
            model.finish(End.STOPPED)
        else:
            self.refused(task.stop, model)

    def refused(self, operation, model):
        error = model.end.value
        error = error[0] if isinstance(error, tuple) else error
        with pytest.raises(error, match=r"^cannot .* task; look at done") as caught:
            self.run(operation)
        assert caught.type is error
        assert issubclass(error, TaskFinished) or model.end is End.SHUT_DOWN

    @rule(task=tasks)
    def cancel(self, task):
        model = self.models[task]
        assert self.run(task.cancel) is (model.end is None)
        if model.end is None:
            model.steps += 1  # that which threw
            model.finish(End.CANCELLED)

    @rule(task=tasks, fails=st.booleans())
    def finish_an_awaitable(self, task, fails):
        model = self.models[task]
        if model.future is not None:
            if fails:
                self.run(model.future.set_exception, LookupError())
                model.throws = True
            else:
                self.run(model.future.set_result, None)
            model.future = None

    @rule(task=tasks)
    def cancel_an_awaitable(self, task):
        model = self.models[task]
        if model.future is not None and not model.pauses:
            self.run(model.future.cancel)
            model.future = None
            self.tick_through(task)

    def tick_through(self, task):
        """Tick until it was the turn of one task, which then ends as cancelled."""
        model = self.models[task]
        if not self.running:
            return
        while not task.done():
            self.tick(cancelled=model)

    @precondition(lambda self: self.cooperator.ticks.pending)
    @rule()
    def tick_once(self):
        self.tick()

    def tick(self, cancelled=None):
        before = {task: task.steps for task in self.models}
        self.run(self.cooperator.ticks.tick)
        stepped = [task for task, steps in before.items() if task.steps > steps]
        assert len(stepped) == 1  # a tick is never for nothing
        model = self.models[stepped[0]]
        assert model.ready
        if model is cancelled:
            model.steps += 1
            model.finish(End.CANCELLED)
        else:
            model.step()

    @rule()
    def stop_and_start_the_cooperator(self):
        self.run(self.cooperator.stop)
        for model in self.models.values():
            if model.end is None:
                model.finish(End.SHUT_DOWN)
        self.run(self.cooperator.start)

    @rule(on=st.booleans(), task=consumes(tasks))
    def forget_a_task(self, on, task):
        """Use it no more; the invariants still hold for it."""

    @invariant()
    def no_task_is_lost(self):
        unfinished = {task for task, model in self.models.items() if model.end is None}
        assert set(self.cooperator.tasks) == unfinished

    @invariant()
    def each_task_has_ended_as_the_model_says_and_once(self):
        for task, model in self.models.items():
            assert task.done() is (model.end is not None)
            assert model.completions == int(model.end is not None)
            assert model.closed <= 1
            assert task.steps == model.steps
            if model.end is None:
                assert not model.closed
            elif model.end is End.CANCELLED:
                assert task.cancelled()
            elif model.end is End.FINISHED:
                assert task.result() == "result"
            elif model.end is End.FAILED:
                assert isinstance(task.exception(), LookupError)
            else:
                assert type(task.exception()) is model.end.value

    @invariant()
    def the_counts_agree(self):
        unfinished = [model for model in self.models.values() if model.end is None]
        statistics = self.cooperator.statistics()
        waiting = [model for model in unfinished if model.future is not None]
        ready = [model for model in unfinished if model.ready]
        assert statistics.ready == len(ready)
        assert statistics.waiting == len(waiting)
        assert statistics.paused == len(unfinished) - len(ready) - len(waiting)
        assert statistics.steps == sum(model.steps for model in self.models.values())
        for task, model in self.models.items():
            assert task.paused is (model.pauses > 0)
            assert task.waiting is (model.future is not None)

    @invariant()
    def a_tick_is_scheduled_exactly_when_somebody_is_ready(self):
        ready = any(model.ready for model in self.models.values())
        assert len(self.cooperator.ticks.pending) == int(ready)

    def teardown(self):
        self.run(self.cooperator.stop)
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()
        assert all(
            model.closed == (model.steps > 0) or not model.closed
            for model in self.models.values()
        )
        assert self.reports == []


def test_no_task_is_lost_whatever_is_done(loop_factory):
    class OnThisLoop(Machine):
        pass

    OnThisLoop.loop_factory = staticmethod(loop_factory)
    run_state_machine_as_test(
        OnThisLoop,
        settings=settings(
            stateful_step_count=30,
            suppress_health_check=list(HealthCheck),
        ),
    )
