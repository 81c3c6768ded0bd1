"""Ends that are easily taken for others: of streams, of waits, of tasks and of loops."""

import asyncio
import contextlib
import gc
import subprocess
import sys
import textwrap

import pytest
from core_support import Stepwise, Ticks, errors_in, forever, on_both_loops, outcome, turns

from cooperative_aio import (
    Clock,
    Cooperator,
    LoopingCall,
    SchedulerStopped,
    accumulate,
    batch_accumulate,
    batches,
    cooperate,
    defer_later,
)

# What ends a stream


class Falsy(Exception):
    """An exception that is falsy, as one that has a length of zero is."""

    def __bool__(self):
        return False


class Empty(Exception):
    def __len__(self):
        return 0


class TestAnExceptionThatLooksLikeAnEnd:
    @pytest.mark.parametrize("values", [0, 1, 3, 4])
    @on_both_loops
    async def test_a_stop_async_iteration_is_not_the_end_of_a_stream(self, values):
        """As an async generator does: it becomes a RuntimeError, whose cause it is."""
        error = StopAsyncIteration("the generator's own")

        def fails():
            yield from range(values)
            raise error

        got = []

        async def consume():
            async for batch in batches(2, fails()):
                got.extend(batch)

        with pytest.raises(RuntimeError, match="StopAsyncIteration") as caught:
            await consume()
        assert caught.value.__cause__ is error
        assert got == list(range(values))

    @pytest.mark.parametrize("collect", [accumulate, lambda it: batch_accumulate(2, it)])
    @on_both_loops
    async def test_a_stop_async_iteration_reaches_who_accumulates(self, collect):
        error = StopAsyncIteration("the generator's own")

        def fails():
            yield 1
            raise error

        with pytest.raises(StopAsyncIteration) as caught:
            await collect(fails())
        assert caught.value is error

    @pytest.mark.parametrize("kind", [Falsy, Empty])
    @on_both_loops
    async def test_a_falsy_one_completes_what_was_deferred(self, kind):
        error = kind()

        async def fails():
            await asyncio.sleep(0)
            raise error

        clock = Clock()
        future = defer_later(1, fails, clock=clock)
        clock.advance(1)
        await turns(5)
        assert future.done()
        assert future.exception() is error

    @pytest.mark.parametrize("kind", [Falsy, Empty])
    @on_both_loops
    async def test_a_falsy_one_that_is_raised_at_once_completes_it_too(self, kind):
        error = kind()

        def fails():
            raise error

        clock = Clock()
        future = defer_later(1, fails, clock=clock)
        clock.advance(1)
        await turns(5)
        assert future.exception() is error

    @pytest.mark.parametrize("awaits", [False, True])
    @pytest.mark.parametrize("kind", [Falsy, Empty])
    @on_both_loops
    async def test_a_falsy_one_ends_a_looping_call(self, kind, awaits):
        error = kind()

        async def fails_later():
            await asyncio.sleep(0)
            raise error

        def fails():
            if awaits:
                return fails_later()
            raise error

        call = LoopingCall(fails)
        call.clock = Clock()
        future = call.start(1)
        await turns(5)
        assert future.done()
        assert future.exception() is error
        assert not call.running

    @pytest.mark.parametrize("kind", [Falsy, Empty])
    @on_both_loops
    async def test_a_falsy_one_is_the_failure_of_a_task(self, kind):
        error = kind()

        def fails():
            yield
            raise error

        task = cooperate(fails())
        done = task.when_done()
        with pytest.raises(kind) as caught:
            await task
        assert caught.value is error
        with pytest.raises(kind):
            await done
        with pytest.raises(kind):
            await accumulate(fails())
        with pytest.raises(kind):
            [batch async for batch in batches(1, fails())]

    @pytest.mark.parametrize("kind", [Falsy, Empty])
    @on_both_loops
    async def test_a_falsy_one_of_an_awaitable_is_raised_at_the_yield(self, kind):
        error = kind()
        caught = []

        async def fails():
            raise error

        def body():
            try:
                yield fails()
            except kind as raised:
                caught.append(raised)
            return "went on"

        assert await cooperate(body()) == "went on"
        assert caught == [error]


class TestAConsumerCancelledInTheTurnInWhichTheGeneratorFails:
    @staticmethod
    async def stream_of(cooperator, error):
        """Let a consumer wait, then the generator fail and the consumer be cancelled."""
        got, ends = [], []

        def fails():
            yield 1
            yield 2
            yield 3
            raise error

        stream = batches(2, fails(), cooperator)

        async def consume():
            while True:
                try:
                    got.append(await anext(stream))
                except StopAsyncIteration:
                    ends.append("end")
                    return
                except BaseException as caught:
                    ends.append(caught)
                    raise

        consumer = asyncio.ensure_future(consume())
        while got != [[1, 2]]:
            if cooperator.ticks.pending:
                cooperator.ticks.tick()
            await asyncio.sleep(0)
        await turns(3)
        (task,) = cooperator.tasks
        while not task.done():  # the generator fails; the consumer has not yet been told
            cooperator.ticks.tick()
        consumer.cancel("the consumer's")
        await asyncio.wait([consumer])
        return stream, consumer, got, ends

    @on_both_loops
    async def test_is_cancelled(self, reports):  # (of a failure that nobody looks at)
        _, consumer, _, ends = await self.stream_of(Stepwise(), LookupError("its own"))
        assert consumer.cancelled()
        assert [type(end) for end in ends] == [asyncio.CancelledError]
        assert len(reports) <= 1

    @on_both_loops
    async def test_loses_neither_the_last_batch_nor_the_failure(self):
        """Both are there for whoever asks the stream again, the batch first."""
        error = LookupError("its own")
        stream, _, got, _ = await self.stream_of(Stepwise(), error)
        assert got == [[1, 2]]
        assert await anext(stream) == [3]
        with pytest.raises(LookupError, match="its own") as caught:
            await anext(stream)
        assert caught.value is error
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


# What stopping many costs


class Counting(asyncio.Future):
    """A future that counts what is done with its callbacks, and how many it has meanwhile."""

    def __init__(self, **options):
        super().__init__(**options)
        self.held = 0
        self.looked_at = 0

    def add_done_callback(self, callback, *, context=None):
        self.held += 1
        super().add_done_callback(callback, context=context)

    def remove_done_callback(self, callback):
        """Take a callback out: asyncio looks at each of them for that."""
        self.looked_at += self.held
        removed = super().remove_done_callback(callback)
        self.held -= removed
        return removed


class TestStoppingManyThatWaitOnOneFuture:
    @pytest.mark.parametrize("end", ["stop each", "stop all", "shut down", "cancel each"])
    def test_does_not_look_at_all_callbacks_for_each(self, loop_factory, end):
        """A bound by structure: n tasks look at a few callbacks each, not at n."""
        number = 300
        loop = loop_factory()
        future = Counting(loop=loop)

        def waits():
            yield future

        async def main():
            cooperator = Cooperator(time_slice=1)
            tasks = [cooperator.cooperate(waits()) for _ in range(number)]
            while not all(task.waiting for task in tasks):
                await asyncio.sleep(0)
            assert cooperator.statistics().waiting == number
            if end == "stop each":
                for task in tasks:
                    task.stop()
            elif end == "stop all":
                cooperator.stop()
            elif end == "cancel each":
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
            return tasks

        tasks = loop.run_until_complete(main())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        assert all(task.done() for task in tasks)
        assert future.looked_at <= 20 * number
        assert future.cancelled() is (end == "cancel each")

    @on_both_loops
    async def test_leaves_no_callbacks_of_theirs_behind_for_ever(self):
        """A future that outlives a great many waits does not grow with each of them."""
        future = Counting(loop=asyncio.get_running_loop())
        cooperator = Stepwise()

        def waits():
            yield future

        most = 0
        for _ in range(300):
            task = cooperator.cooperate(waits())
            cooperator.ticks.tick()
            task.stop()
            most = max(most, future.held)
        assert most <= 64
        future.set_result(None)

    @on_both_loops
    async def test_wakes_only_those_that_still_wait(self):
        future = asyncio.get_running_loop().create_future()
        cooperator = Stepwise()

        def waits():
            return (yield future)

        tasks = [cooperator.cooperate(waits()) for _ in range(6)]
        cooperator.ticks.tick(6)
        for task in tasks[::2]:
            task.stop()
        future.set_result("result")
        await turns(3)
        cooperator.ticks.run()
        assert [outcome(task) for task in tasks[1::2]] == ["result"] * 3
        assert all(task.done() for task in tasks)


# The end of the loop


class Shutdown:
    """A loop that is ended by hand, step by step, as asyncio.run does it."""

    def __init__(self, loop_factory):
        self.loop = loop_factory()
        self.reports = []
        self.loop.set_exception_handler(lambda _, context: self.reports.append(context))
        self.left = []

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def end(self):
        try:
            for _ in range(5):
                try:
                    self.run(self.loop.shutdown_asyncgens())
                except (SystemExit, KeyboardInterrupt) as error:
                    self.left.append(error)
                else:
                    break
        finally:
            self.loop.close()


def closes(log, name, error=None):
    try:
        while True:
            yield
    finally:
        log.append(name)
        if error is not None:
            raise error


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestTheShutdownOfALoop:
    @pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, LookupError])
    @pytest.mark.parametrize("many", [False, True])
    def test_closes_all_generators_though_one_raises(self, loop_factory, many, kind):
        log = []
        shutdown = Shutdown(loop_factory)

        async def main():
            first, second = Cooperator(), Cooperator()
            tasks = [
                first.cooperate(closes(log, "a")),
                first.cooperate(closes(log, "b", kind("b"))),
                first.cooperate(closes(log, "c")),
                second.cooperate(closes(log, "d", kind("d") if many else None)),
                second.cooperate(closes(log, "e")),
                cooperate(closes(log, "f", kind("f") if many else None)),
                cooperate(closes(log, "g")),
            ]
            while not all(task.steps for task in tasks):
                await asyncio.sleep(0)
            return tasks

        tasks = shutdown.run(main())
        shutdown.end()
        assert sorted(log) == list("abcdefg")
        assert all(isinstance(task.exception(), SchedulerStopped) for task in tasks)
        raised = 3 if many else 1
        assert len(shutdown.left) + len(shutdown.reports) <= raised
        assert len(shutdown.left) + len(shutdown.reports) >= 1
        gc.collect()

    @pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
    def test_leaves_by_what_a_generator_raises(self, kind):
        """Under asyncio.run too: all are closed, whatever comes out of it."""
        log = []

        async def main():
            tasks = [
                cooperate(closes(log, name, kind(name) if name == "a" else None))
                for name in "abc"
            ]
            while not all(task.steps for task in tasks):
                await asyncio.sleep(0)

        with contextlib.suppress(kind):
            asyncio.run(main())
        assert sorted(log) == list("abc")

    def test_ends_a_drain_that_waits(self, loop_factory):
        """The drain is cancelled by asyncio.run; by hand it ends as its tasks do."""
        log, ends = [], []
        loop = loop_factory()

        async def drains(cooperator):
            try:
                await cooperator.drain()
                ends.append("drained")
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise

        async def main():
            cooperator = Cooperator()
            task = cooperator.cooperate(closes(log, "closed"))
            waits = asyncio.ensure_future(drains(cooperator))
            while not task.steps:
                await asyncio.sleep(0)
            return cooperator, waits

        cooperator, waits = loop.run_until_complete(main())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(asyncio.wait([waits], timeout=300))
        loop.close()
        assert (log, ends) == (["closed"], ["drained"])
        assert cooperator.tasks == ()

    @pytest.mark.parametrize("use", ["cooperate", "drain", "stop", "statistics"])
    def test_a_loop_closed_while_drain_waits_leaves_a_cooperator_that_can_be_used(
        self, loop_factory, use
    ):
        """Closed without any shutdown: the next loop is served as if nothing had been."""
        log, reports = [], []
        cooperator = Cooperator()

        async def begin():
            task = cooperator.cooperate(closes(log, "closed"))
            waits = asyncio.ensure_future(cooperator.drain())
            while not task.steps:
                await asyncio.sleep(0)
            return task, waits

        loop = loop_factory()
        loop.set_exception_handler(lambda _, context: reports.append(context))
        task, waits = loop.run_until_complete(begin())
        loop.close()

        async def go_on():
            if use == "cooperate":
                assert await cooperator.cooperate(iter("ab")) is None
            elif use == "drain":
                await asyncio.wait_for(cooperator.drain(), 60)
            elif use == "stop":
                cooperator.stop()
            else:
                cooperator.statistics()
                await cooperator.cooperate(iter("ab"))
            assert cooperator.tasks == ()

        later = loop_factory()
        later.run_until_complete(go_on())
        later.run_until_complete(later.shutdown_asyncgens())
        later.close()
        assert log == ["closed"]
        assert task.done()
        del waits
        gc.collect()
        assert [report for report in reports if "destroyed" not in report["message"]] == []


class TestAnInterruptOutOfASchedulerOfOnesOwn:
    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, MemoryError])
    @pytest.mark.parametrize("at", [1, 2, 3])
    async def test_leaves_a_cooperator_that_goes_on(self, at, kind):
        """What it interrupted is made good for by the next call that needs a tick."""
        ticks = Ticks()
        calls = []

        def scheduler(tick):
            calls.append(tick)
            if len(calls) == at:
                raise kind("now")
            return ticks(tick)

        cooperator = Cooperator(lambda: lambda: True, scheduler)
        tasks = []
        for word in ("abc", "def"):
            with contextlib.suppress(kind):
                tasks.append(cooperator.cooperate(iter(word)))
        for _ in range(30):
            with contextlib.suppress(kind):
                if ticks.pending:
                    ticks.tick()
            await asyncio.sleep(0)
        with contextlib.suppress(kind):
            tasks.append(cooperator.cooperate(iter("ghi")))
        for _ in range(30):
            if ticks.pending:
                ticks.tick()
            await asyncio.sleep(0)
        assert [task.done() for task in tasks] == [True] * len(tasks)
        assert len(tasks) >= 2
        assert cooperator.tasks == ()
        assert ticks.pending == ()

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
    async def test_of_start_leaves_one_that_can_be_started_again(self, kind):
        ticks = Ticks()
        calls = []

        def scheduler(tick):
            calls.append(tick)
            if len(calls) == 1:
                raise kind("now")
            return ticks(tick)

        cooperator = Cooperator(lambda: lambda: True, scheduler, started=False)
        task = cooperator.cooperate(iter("ab"))
        with contextlib.suppress(kind):
            cooperator.start()
        await turns(3)
        cooperator.start()
        for _ in range(10):
            if ticks.pending:
                ticks.tick()
            await asyncio.sleep(0)
        assert task.done()


class WithoutHooks(asyncio.SelectorEventLoop):
    """A loop that installs no async-generator hooks, as those of qasync and QtAsyncio."""

    def run_forever(self):
        outer = sys.get_asyncgen_hooks()
        self.call_soon(lambda: sys.set_asyncgen_hooks(*outer))
        super().run_forever()


class TestALoopWithoutAsyncGeneratorHooks:
    @staticmethod
    async def begin(log, cooperator=None):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sys.get_asyncgen_hooks().firstiter is None
        tasks = [
            (cooperator.cooperate if cooperator else cooperate)(closes(log, name))
            for name in "abc"
        ]
        while not all(task.steps for task in tasks):
            await asyncio.sleep(0)
        return tasks

    @pytest.mark.parametrize("own", [False, True])
    @pytest.mark.parametrize("order", ["loop first", "tasks first", "shut down first"])
    def test_prints_nothing_at_exit(self, order, own, monkeypatch, capsys):
        unraisable = []
        monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
        log = []
        loop = WithoutHooks()
        reports = []
        loop.set_exception_handler(lambda _, context: reports.append(context))
        tasks = loop.run_until_complete(self.begin(log, Cooperator() if own else None))
        if order == "shut down first":
            loop.run_until_complete(loop.shutdown_asyncgens())
        if order == "tasks first":
            del tasks
            gc.collect()
        loop.close()
        if order != "tasks first":
            del tasks
        del loop
        gc.collect()
        assert [repr(each.exc_value) for each in unraisable] == []
        assert reports == []
        assert sorted(log) == list("abc")
        assert capsys.readouterr().err == ""

    def test_prints_nothing_at_the_exit_of_the_process(self, tmp_path):
        program = tmp_path / "program.py"
        program.write_text(
            textwrap.dedent(
                """
                import asyncio, sys
                from cooperative_aio import cooperate

                class WithoutHooks(asyncio.SelectorEventLoop):
                    def run_forever(self):
                        outer = sys.get_asyncgen_hooks()
                        self.call_soon(lambda: sys.set_asyncgen_hooks(*outer))
                        super().run_forever()

                def steps():
                    try:
                        while True:
                            yield
                    finally:
                        print("closed")

                async def main():
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                    tasks.extend(cooperate(steps()) for _ in range(3))
                    while not all(task.steps for task in tasks):
                        await asyncio.sleep(0)

                tasks = []
                loop = WithoutHooks()
                loop.run_until_complete(main())
                loop.close()
                """
            )
        )
        done = subprocess.run(
            [sys.executable, str(program)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert (done.returncode, errors_in(done.stderr)) == (0, "")
        assert done.stdout == "closed\n" * 3


@on_both_loops
async def test_a_stopped_task_that_nobody_awaits_is_closed_once():
    log = []
    task = cooperate(forever(log))
    while not task.steps:
        await asyncio.sleep(0)
    task.stop()
    await turns(3)
    assert log == ["closed"]
