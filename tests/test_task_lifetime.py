"""The end of the loop, and what is left for the garbage collector."""

import asyncio
import contextlib
import contextvars
import gc
import sys
import textwrap
import weakref
from subprocess import run

import pytest
from core_support import Stepwise, forever, on_both_loops, outcome, turns, work

from cooperative_aio import (
    Cooperator,
    SchedulerStopped,
    TaskStopped,
    coiterate,
    cooperate,
    get_cooperator,
)
from cooperative_aio._loop import state_of


def in_a_runner(loop_factory, main):
    with asyncio.Runner(debug=True, loop_factory=loop_factory) as runner:
        return runner.run(main())


async def steps_of(*tasks):
    """Wait until each task has taken a step."""
    while not all(task.steps for task in tasks):
        await asyncio.sleep(0)


class TestTheEndOfTheLoop:
    def test_unfinished_generators_are_closed_before_the_loop_is(self, loop_factory):
        log, tasks = [], []

        def watches(name, awaitable=None):
            loop = asyncio.get_running_loop()
            try:
                while True:
                    yield awaitable
            finally:
                log.append((name, loop.is_closed()))

        async def main():
            loop = asyncio.get_running_loop()
            cooperator = Cooperator()
            tasks.append(cooperator.cooperate(watches("ready")))
            tasks.append(cooperator.cooperate(watches("paused")))
            tasks.append(cooperator.cooperate(watches("waiting", loop.create_future())))
            tasks.append(cooperate(watches("of the loop's own")))
            await steps_of(*tasks)
            tasks[1].pause()

        in_a_runner(loop_factory, main)
        names = ("ready", "paused", "waiting", "of the loop's own")
        assert sorted(log) == sorted((name, False) for name in names)
        assert [outcome(task) for task in tasks] == [SchedulerStopped] * 4
        assert str(tasks[0].exception()) == "the event loop was shut down"

    def test_tasks_that_wait_on_coroutines_are_cancelled_with_those(self, loop_factory):
        log, tasks = [], []

        async def sleeps():
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                log.append("coroutine")

        def waits():
            try:
                yield sleeps()
            finally:
                log.append("generator")

        async def main():
            tasks.append(cooperate(waits()))
            while not tasks[0].waiting:
                await asyncio.sleep(0)
            await turns(2)

        in_a_runner(loop_factory, main)
        assert log == ["coroutine", "generator"]
        assert outcome(tasks[0]) == "cancelled"

    def test_tasks_not_started_are_ended_too(self, loop_factory):
        tasks = []

        async def main():
            tasks.append(Cooperator(started=False).cooperate(forever()))
            tasks.append(Stepwise().cooperate(forever()))
            tasks.append(cooperate(forever()))

        in_a_runner(loop_factory, main)
        assert [outcome(task) for task in tasks] == [SchedulerStopped] * 3

    def test_the_cooperator_may_serve_the_next_loop(self, loop_factory):
        log = []
        cooperator = Cooperator()

        async def main():
            cooperator.cooperate(forever(log))
            await cooperator.cooperate(work(log, "ab"))

        for _ in range(2):
            in_a_runner(loop_factory, main)
        assert log == ["a", "b", "closed"] * 2
        assert cooperator.running

    def test_a_task_that_closing_adds_is_ended_as_well(self, loop_factory):
        log, late = [], []

        def adds():
            try:
                while True:
                    yield
            finally:
                generator = forever(log, "late")
                next(generator)
                late.append(cooperate(generator))

        async def main():
            await steps_of(cooperate(adds()))

        in_a_runner(loop_factory, main)
        assert log == ["late"]
        assert [outcome(task) for task in late] == [SchedulerStopped]

    def test_closing_that_fails_is_reported_and_holds_nothing_up(self, loop_factory):
        log, reports = [], []

        def fails():
            try:
                while True:
                    yield
            finally:
                raise LookupError("in the finally")

        async def main():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _loop, context: reports.append(context))
            tasks = [cooperate(fails()), cooperate(forever(log))]
            await steps_of(*tasks)

        in_a_runner(loop_factory, main)
        assert log == ["closed"]
        assert [str(report["exception"]) for report in reports] == ["in the finally"]

    def test_who_awaits_a_task_at_the_end_is_cancelled_and_so_is_the_task(self, loop_factory):
        log, tasks = [], []

        async def awaits():
            tasks.append(cooperate(forever(log)))
            await tasks[0]

        async def main():
            awaiting = asyncio.ensure_future(awaits())
            while not tasks or not tasks[0].steps:
                await asyncio.sleep(0)
            return awaiting

        awaiting = in_a_runner(loop_factory, main)
        assert log == ["closed"]
        assert awaiting.cancelled()
        assert tasks[0].cancelled()

    def test_an_interrupt_ends_everything(self):
        program = """
            import asyncio, os, signal
            from cooperative_aio import cooperate

            def works():
                try:
                    yield
                    os.kill(os.getpid(), signal.SIGINT)
                    while True:
                        yield
                finally:
                    print("works closed")

            async def main():
                try:
                    await cooperate(works())
                finally:
                    print("main ends")

            asyncio.run(main())
        """
        done = run(
            [sys.executable, "-c", textwrap.dedent(program)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.stdout.splitlines() == ["works closed", "main ends"]
        assert done.stderr.splitlines()[-1] == "KeyboardInterrupt"

    def test_an_exit_in_a_step_ends_everything(self):
        program = """
            import asyncio
            from cooperative_aio import cooperate

            def closes(name):
                try:
                    while True:
                        yield
                finally:
                    print(name)

            def exits():
                yield
                raise SystemExit(3)

            async def main():
                others = cooperate(closes("other closed"))
                await cooperate(exits())

            asyncio.run(main())
        """
        done = run(
            [sys.executable, "-c", textwrap.dedent(program)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.stdout.splitlines() == ["other closed"]
        assert done.returncode == 3


class Node:
    """To have a weak reference to."""


@contextlib.contextmanager
def no_cycles():
    """Check that what goes on inside leaves nothing to the cyclic collector."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class TestGarbage:
    @pytest.mark.parametrize("end", ["finish", "fail", "stop", "cancel", "stop the Cooperator"])
    def test_an_ended_task_is_freed_without_the_collector(self, end):
        @on_both_loops
        async def main():
            cooperator = Stepwise()

            async def give():
                return 1

            def generator(node):
                yield give()
                yield node
                if end == "fail":
                    raise LookupError
                while end != "finish":
                    yield

            with no_cycles():
                node = Node()
                task = cooperator.cooperate(generator(node))
                future = task.when_done()
                cooperator.ticks.tick()
                await turns()
                cooperator.ticks.tick(2)
                if end == "stop the Cooperator":
                    cooperator.stop()
                elif end in ("stop", "cancel"):
                    getattr(task, end)()
                await turns()
                assert task.done()
                outcome(task)
                outcome(future)
                references = [weakref.ref(node), weakref.ref(task)]
                del node, task, future
                await turns(2)
                assert [reference() for reference in references] == [None, None]

        main(loop_factory=asyncio.new_event_loop, reports=[])

    @on_both_loops
    async def test_a_failure_caught_at_the_yield_leaves_no_cycle(self):
        cooperator = Stepwise()

        async def fails(node):
            raise LookupError(node)

        def generator(node):
            with contextlib.suppress(LookupError):
                yield fails(node)
            yield

        with no_cycles():
            node = Node()
            cooperator.cooperate(generator(node))
            while cooperator.tasks:
                if cooperator.ticks.pending:
                    cooperator.ticks.tick()
                await asyncio.sleep(0)
            reference = weakref.ref(node)
            del node
            await turns()
            assert reference() is None

    @on_both_loops
    async def test_ended_tasks_in_the_queue_are_bounded(self):
        cooperator = Stepwise()
        cooperator.cooperate(forever()).pause()
        ready = cooperator.cooperate(forever())
        for _ in range(500):
            cooperator.cooperate(forever()).stop()
        queue = cooperator._engine.queue
        assert len(queue.ring) + len(queue.ahead) < 50
        ready.stop()
        cooperator.stop()

    @on_both_loops
    async def test_a_task_in_flight_is_kept_alive_by_its_cooperator(self):
        log = []
        cooperator = Cooperator()
        cooperator.cooperate(work(log, "abc"))
        del cooperator
        gc.collect()
        while len(log) < 3:
            await asyncio.sleep(0)
        assert log == list("abc")

    @on_both_loops
    async def test_a_caller_is_not_kept_alive_by_its_context(self):
        variable = contextvars.ContextVar("variable")
        cooperator = Stepwise()

        async def request(node):
            variable.set(node)
            task = cooperator.cooperate(forever())
            cooperator.ticks.tick()
            cooperator.ticks.tick()
            task.stop()

        cooperator.cooperate(forever())
        node = Node()
        reference = weakref.ref(node)
        await asyncio.ensure_future(request(node))
        del node
        await turns()
        cooperator.ticks.tick(2)
        gc.collect()
        assert reference() is None
        cooperator.stop()

    def test_a_loop_that_was_closed_is_collected_with_all_that_belongs_to_it(
        self, loop_factory
    ):
        references = []

        async def main():
            loop = asyncio.get_running_loop()
            await coiterate(iter("ab"))
            references.extend(map(weakref.ref, (loop, state_of(loop), get_cooperator())))

        in_a_runner(loop_factory, main)
        gc.collect()
        assert [reference() for reference in references] == [None] * 3

    @on_both_loops
    async def test_a_stopped_tasks_awaitable_does_not_keep_it(self):
        cooperator = Stepwise()
        future = asyncio.get_running_loop().create_future()

        def waits():
            yield future

        with no_cycles():
            task = cooperator.cooperate(waits())
            cooperator.ticks.tick()
            task.stop()
            assert outcome(task) is TaskStopped
            reference = weakref.ref(task)
            del task
            await turns()
            assert reference() is None
        future.cancel()
