"""What a generator yields, how it is cancelled, what it shares, where it runs."""

import asyncio
import contextvars
import sys
import types

import pytest
from core_support import Stepwise, Ticks, forever, on_both_loops, one_step, outcome, turns, work

from cooperative_aio import Cooperator, SchedulerStopped, TaskStopped, cooperate, current_task


def collect(log, *awaitables):
    """Log what awaitables give, or what they raise."""
    for awaitable in awaitables:
        try:
            log.append((yield awaitable))
        except Exception as error:  # noqa: BLE001
            log.append(repr(error))
    return "returned"


async def give(value):
    await asyncio.sleep(0)
    return value


async def fail(error):
    await asyncio.sleep(0)
    raise error


class Awaitable:
    """Anything with `__await__`."""

    def __init__(self, coroutine):
        self.coroutine = coroutine

    def __await__(self):
        return self.coroutine.__await__()


@types.coroutine
def generator_based():
    yield
    return "generator-based"


class TestYieldedAwaitables:
    @on_both_loops
    async def test_their_results_are_the_values_of_the_yields(self):
        log = []
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_soon(future.set_result, "future")
        done = loop.create_future()
        done.set_result("done already")
        task = cooperate(
            collect(
                log,
                future,
                done,
                give("coroutine"),
                loop.create_task(give("task")),
                cooperate(collect([], give(1))),
                cooperate(collect([])).join(),
                Awaitable(give("awaitable")),
                generator_based(),
                asyncio.gather(give(1), give(2)),
            )
        )
        assert await task == "returned"
        assert log == [
            *("future", "done already", "coroutine", "task", "returned", "returned"),
            *("awaitable", "generator-based", [1, 2]),
        ]

    @on_both_loops
    async def test_their_exceptions_are_raised_at_the_yield(self):
        log = []
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_soon(future.set_exception, LookupError("future"))
        done = loop.create_future()
        done.set_exception(LookupError("done already"))

        def fails():
            yield
            raise LookupError("task")

        await cooperate(
            collect(
                log,
                future,
                done,
                fail(LookupError("coroutine")),
                Awaitable(fail(LookupError("awaitable"))),
                cooperate(fails()),
                give("and goes on"),
            )
        )
        assert log == [
            "LookupError('future')",
            "LookupError('done already')",
            "LookupError('coroutine')",
            "LookupError('awaitable')",
            "LookupError('task')",
            "and goes on",
        ]

    @on_both_loops
    async def test_an_exception_not_caught_fails_the_task(self):
        def waits():
            yield fail(LookupError("not caught"))

        with pytest.raises(LookupError, match="not caught"):
            await cooperate(waits())

    @on_both_loops
    async def test_a_task_that_is_stopped_raises_task_stopped_at_the_yield(self):
        log = []
        other = cooperate(forever())
        task = cooperate(collect(log, other))
        while not task.waiting:
            await asyncio.sleep(0)
        other.stop()
        await task
        assert log == ["TaskStopped('the task was stopped')"]

    @on_both_loops
    async def test_a_cancelled_awaitable_cancels_the_task_unless_caught(self):
        log = []
        loop = asyncio.get_running_loop()
        future, second = loop.create_future(), loop.create_future()
        task = cooperate(collect(log, future))
        loop.call_soon(future.cancel, "by its owner")

        def catches():
            try:
                yield second
            except asyncio.CancelledError as error:
                log.append(error.args)
            yield
            return "went on"

        catching = cooperate(catches())
        loop.call_soon(second.cancel, "the second")
        with pytest.raises(asyncio.CancelledError, match="by its owner"):
            await task
        assert task.cancelled()
        assert await catching == "went on"
        assert log == [("the second",)]

    @on_both_loops
    async def test_only_the_task_that_waits_is_suspended(self):
        log = []
        cooperator = Stepwise()
        future = asyncio.get_running_loop().create_future()
        waiting = cooperator.cooperate(collect(log, future))
        cooperator.cooperate(work(log, "abc"))
        cooperator.ticks.run()
        assert log == list("abc")
        assert waiting.waiting
        assert cooperator.statistics().waiting == 1
        future.set_result("woken")
        assert log == list("abc")
        await turns()
        cooperator.ticks.run()
        assert log == [*"abc", "woken"]
        assert cooperator.statistics().waiting == 0

    @on_both_loops
    async def test_anything_else_is_a_value_and_means_nothing(self):
        class Odd:
            __await__ = None

        def plain():
            yield "a plain generator"

        values = [None, 1, "a", [give], give, Awaitable, plain(), Odd, {}, object(), 1.5]
        cooperator = Stepwise()
        task = cooperator.cooperate(iter(values))
        cooperator.ticks.run()
        assert task.done()
        assert task.steps == len(values) + 1

    @on_both_loops
    async def test_awaitables_and_values_of_one_class_after_the_other(self):
        log = []
        task = cooperate(collect(log, object(), give(1), None, give(2), "a", "b", give(3)))
        await task
        assert log == [None, 1, None, 2, None, None, 3]

    @on_both_loops
    async def test_a_generator_that_awaits_itself_gets_an_error(self):
        log = []

        def waits_for_itself():
            try:
                yield current_task()
            except RuntimeError as error:
                log.append(str(error))

        await cooperate(waits_for_itself(), name="narcissus")
        (message,) = log
        assert message.startswith("cannot wait for the task itself: <CooperativeTask ")
        assert "name='narcissus'" in message

    @on_both_loops
    async def test_a_future_of_another_loop_is_an_error_at_the_yield(self):
        log = []
        other = asyncio.new_event_loop()
        await cooperate(collect(log, other.create_future()))
        other.close()
        (message,) = log
        assert message.startswith(
            "RuntimeError('cannot wait for a future of another loop: <Future pending"
        )

    @on_both_loops
    async def test_a_future_like_that_is_none_is_an_error_at_the_yield(self):
        class NoLoop:
            _asyncio_future_blocking = False

        class NoCallbacks(asyncio.Future):
            def add_done_callback(self, *_arguments, **_options):
                raise LookupError("no callbacks")

        log = []
        await cooperate(collect(log, NoLoop(), NoCallbacks(), give("goes on")))
        assert log == [
            "AttributeError(\"'NoLoop' object has no attribute 'get_loop'\")",
            "LookupError('no callbacks')",
            "goes on",
        ]

    @on_both_loops
    async def test_a_coroutine_already_awaited_is_an_error_at_the_yield(self):
        log = []
        coroutine = give(1)
        await coroutine
        await cooperate(collect(log, coroutine))
        assert log == ["RuntimeError('cannot reuse already awaited coroutine')"]

    @on_both_loops
    async def test_a_task_factory_that_fails_is_an_error_at_the_yield(self):
        log = []
        loop = asyncio.get_running_loop()
        coroutine = give(1)
        task = cooperate(collect(log, coroutine))

        def factory(_loop, _coroutine, **_options):
            raise LookupError("no tasks today")

        loop.set_task_factory(factory)
        while not log:
            await asyncio.sleep(0)
        loop.set_task_factory(None)
        coroutine.close()
        await task
        assert log == ["LookupError('no tasks today')"]

    @on_both_loops
    async def test_from_a_plain_iterator_the_result_is_lost_and_a_failure_ends_it(self):
        assert await cooperate(iter([give(1), give(2), 3])) is None
        with pytest.raises(LookupError, match="ends it"):
            await cooperate(iter([fail(LookupError("ends it")), 3]))

    @on_both_loops
    async def test_on_stop_a_coroutine_is_cancelled(self):
        log = []

        async def sleeps():
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                log.append("cancelled")
                raise

        for awaitable in (sleeps(), Awaitable(sleeps())):
            task = cooperate(collect([], awaitable))
            while not task.waiting:
                await asyncio.sleep(0)
            await turns(2)
            task.stop()
            assert outcome(task) is TaskStopped
            await turns()
        assert log == ["cancelled", "cancelled"]

    @on_both_loops
    async def test_on_stop_a_future_of_somebody_elses_is_left_alone(self):
        cooperator = Stepwise()
        loop = asyncio.get_running_loop()
        future, task_of_asyncio = loop.create_future(), loop.create_task(give(1))
        other = cooperator.cooperate(forever())
        for awaitable in (future, task_of_asyncio, other):
            task = cooperator.cooperate(collect([], awaitable))
            while not task.waiting:
                cooperator.ticks.tick()
            task.stop()
            assert not awaitable.done()
        assert await task_of_asyncio == 1
        future.set_result(1)
        await turns()
        assert cooperator.tasks == (other,)
        cooperator.stop()

    @on_both_loops
    async def test_a_coroutine_that_had_failed_before_stop_is_not_logged(self):
        cooperator = Stepwise()

        async def fails():
            raise LookupError("too late to be seen")

        task = cooperator.cooperate(collect([], fails()))
        cooperator.ticks.tick()
        await asyncio.sleep(0)
        task.stop()
        await turns()
        assert outcome(task) is TaskStopped

    @on_both_loops
    async def test_a_task_factory_may_stop_the_task(self):
        cooperator = Stepwise()
        loop = asyncio.get_running_loop()

        async def never():
            """Be never begun."""

        def stop_first(loop, coroutine, **options):
            task.stop()
            return asyncio.Task(coroutine, loop=loop, **options)

        loop.set_task_factory(stop_first)
        task = cooperator.cooperate(collect([], never()))
        cooperator.ticks.tick()
        loop.set_task_factory(None)
        await turns()
        assert outcome(task) is TaskStopped
        assert (cooperator.tasks, cooperator.ticks.pending) == ((), ())

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
    @pytest.mark.parametrize("operation", ["nothing", "stop", "cancel", "pause"])
    def test_a_coroutine_that_runs_eagerly_may_do_to_its_task_what_it_likes(self, operation):
        @on_both_loops
        async def main():
            cooperator = Stepwise()
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)

            async def acts():
                if operation != "nothing":
                    getattr(task, operation)()
                return operation

            async def acts_and_sleeps():
                await acts()
                await asyncio.sleep(0)
                return operation

            for function in (acts, acts_and_sleeps):
                log = []
                task = cooperator.cooperate(collect(log, function()))
                cooperator.ticks.tick()
                await turns()
                if operation == "pause":
                    assert cooperator.ticks.pending == ()
                    task.resume()
                cooperator.ticks.run()
                await turns()
                expected = {"stop": TaskStopped, "cancel": "cancelled"}
                assert outcome(task) == expected.get(operation, "returned")
                assert log == ([] if operation in expected else [operation])
                statistics = cooperator.statistics()
                assert (statistics.ready, statistics.paused, statistics.waiting) == (0, 0, 0)
                assert cooperator.tasks == ()

        main(loop_factory=asyncio.new_event_loop, reports=[])


class TestCancelling:
    @on_both_loops
    async def test_it_is_thrown_at_the_yield_by_the_loop_not_by_a_tick(self):
        log = []
        cooperator = Stepwise()

        def catches():
            try:
                while True:
                    yield
            except asyncio.CancelledError as error:
                log.append(error.args)
                raise

        task = cooperator.cooperate(catches())
        cooperator.ticks.tick()
        assert task.cancel("enough") is True
        assert not task.done()
        assert cooperator.ticks.pending == ()
        await turns()
        assert log == [("enough",)]
        assert task.cancelled()
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await task
        assert task.cancel() is False

    @on_both_loops
    async def test_without_a_message_there_is_none(self):
        log = []
        cooperator = Stepwise()

        def catches():
            try:
                yield
            except asyncio.CancelledError as error:
                log.append(error.args)

        task = cooperator.cooperate(catches())
        cooperator.ticks.tick()
        task.cancel()
        await turns()
        assert log == [()]
        assert outcome(task) is None

    @pytest.mark.parametrize(
        "state", ["queued", "paused", "new", "not started", "stopped loop"]
    )
    async def test_it_ends_a_task_that_no_tick_would_come_to(self, state):
        log = []
        cooperator = Stepwise(started=state != "not started")
        task = cooperator.cooperate(forever(log))
        if state in ("queued", "paused"):
            cooperator.ticks.tick()
        if state == "paused":
            task.pause()
            task.pause()
        task.cancel()
        await turns()
        assert task.cancelled()
        assert not task.paused
        assert log == (["closed"] if state in ("queued", "paused") else [])
        assert (cooperator.tasks, cooperator.ticks.pending) == ((), ())

    @on_both_loops
    async def test_it_ends_a_task_that_stands_back(self):
        log = []
        cooperator = Cooperator(time_slice=0.001)
        task = cooperator.cooperate(forever(log))
        while not task.steps:
            await asyncio.sleep(0)
        steps = task.steps
        task.cancel()
        await turns(2)
        assert task.cancelled()
        assert log == ["closed"]
        assert task.steps == steps + 1

    @on_both_loops
    async def test_the_clean_up_may_wait_and_yield(self):
        log = []
        cooperator = Stepwise()

        def cleans_up():
            try:
                while True:
                    yield
            finally:
                log.append((yield give("waited")))
                yield
                log.append((yield give("waited again")))

        task = cooperator.cooperate(cleans_up())
        cooperator.ticks.tick()
        task.cancel()
        await turns()
        assert log == ["waited"]
        while not task.done():
            if cooperator.ticks.pending:
                cooperator.ticks.tick()
            await asyncio.sleep(0)
        assert log == ["waited", "waited again"]
        assert task.cancelled()

    @on_both_loops
    async def test_the_clean_up_goes_on_where_no_tick_comes(self):
        log = []
        cooperator = Stepwise(started=False)

        def cleans_up():
            try:
                yield
            finally:
                for _ in range(3):
                    yield
                log.append((yield give("waited")))
                yield

        generator = cleans_up()
        next(generator)
        task = cooperator.cooperate(generator)
        task.cancel()
        await turns(20)
        assert log == ["waited"]
        assert task.cancelled()

    @on_both_loops
    async def test_a_task_that_cleans_up_slowly_may_be_stopped(self):
        log = []
        cooperator = Stepwise(started=False)

        def cleans_up():
            try:
                yield
            finally:
                yield log.append("cleaning")
                log.append("never")

        generator = cleans_up()
        next(generator)
        task = cooperator.cooperate(generator)
        task.cancel()
        await asyncio.sleep(0)
        assert log == ["cleaning"]
        task.stop()
        await turns()
        assert outcome(task) is TaskStopped
        assert log == ["cleaning"]

    @on_both_loops
    async def test_a_tick_from_inside_of_the_clean_up_is_put_off(self):
        log = []
        cooperator = Stepwise()

        def pumps():
            try:
                yield
            finally:
                cooperator.ticks.tick()
                log.append("cleaned up")

        task = cooperator.cooperate(pumps())
        cooperator.ticks.tick()
        cooperator.cooperate(work(log, "ab"))
        task.cancel()
        await turns()
        cooperator.ticks.run()
        assert log == ["cleaned up", "a", "b"]
        assert task.cancelled()

    @on_both_loops
    async def test_a_generator_may_swallow_it_and_go_on(self):
        log = []
        cooperator = Stepwise()

        def swallows():
            try:
                yield
            except asyncio.CancelledError:
                log.append("swallowed")
            yield log.append("a")
            yield log.append("b")
            return "returned"

        task = cooperator.cooperate(swallows())
        cooperator.ticks.tick()
        task.cancel()
        await turns()
        cooperator.ticks.run()
        assert log == ["swallowed", "a", "b"]
        assert outcome(task) == "returned"

    @on_both_loops
    async def test_a_task_that_swallowed_it_can_be_paused_again(self):
        log = []
        cooperator = Stepwise()

        def swallows():
            try:
                yield
            except asyncio.CancelledError:
                yield
            yield log.append("a")

        task = cooperator.cooperate(swallows())
        cooperator.ticks.tick()
        task.pause()
        task.cancel()
        await turns()
        task.resume()
        task.pause()
        assert cooperator.ticks.pending == ()
        task.resume()
        cooperator.ticks.run()
        assert log == ["a"]

    @on_both_loops
    async def test_what_it_raises_instead_is_its_failure(self):
        cooperator = Stepwise()

        def fails():
            try:
                yield
            except asyncio.CancelledError:
                raise LookupError("instead") from None

        task = cooperator.cooperate(fails())
        cooperator.ticks.tick()
        task.cancel()
        await turns()
        with pytest.raises(LookupError, match="instead"):
            await task

    @on_both_loops
    async def test_what_it_waits_on_is_cancelled(self):
        log = []
        cooperator = Stepwise()
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        other = cooperator.cooperate(forever(log, "other"))
        cooperator.ticks.tick()

        async def sleeps():
            try:
                await loop.create_future()
            except asyncio.CancelledError as error:
                log.append(error.args)
                raise

        for awaitable in (future, sleeps(), other):
            task = cooperator.cooperate(collect([], awaitable))
            while not task.waiting:
                cooperator.ticks.tick()
            await turns(2)
            assert task.cancel("message") is True
            await turns()
            assert task.cancelled()
        assert future.cancelled()
        assert other.cancelled()
        assert log == [("message",), "other"]

    @on_both_loops
    async def test_an_awaitable_that_survives_it_decides(self):
        log = []

        async def survives():
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                return "survived"

        task = cooperate(collect(log, survives(), give("and on")))
        while not task.waiting:
            await asyncio.sleep(0)
        await turns(2)
        task.cancel()
        assert await task == "returned"
        assert log == ["survived", "and on"]

    @on_both_loops
    async def test_cancelling_a_task_whose_awaitable_is_done_throws_all_the_same(self):
        log = []
        cooperator = Stepwise()
        for finish, value in (
            (asyncio.Future.set_result, "lost"),
            (asyncio.Future.set_exception, LookupError("lost")),
        ):
            future = asyncio.get_running_loop().create_future()
            task = cooperator.cooperate(collect(log, future))
            cooperator.ticks.tick()
            finish(future, value)
            assert task.cancel("in time") is True
            await turns()
            assert outcome(task) == "cancelled"
        assert (log, cooperator.ticks.pending) == ([], ())

    @on_both_loops
    async def test_cancelling_again_throws_again(self):
        log = []
        cooperator = Stepwise()

        def stubborn():
            for number in range(3):
                try:
                    yield
                except asyncio.CancelledError as error:
                    log.append((number, *error.args))
            yield asyncio.get_running_loop().create_future()

        task = cooperator.cooperate(stubborn())
        cooperator.ticks.tick()
        for number in range(4):
            assert task.cancel(f"c{number}") is True
            await turns()
        assert log == [(0, "c0"), (1, "c1"), (2, "c2")]
        assert task.cancelled()

    @on_both_loops
    async def test_cancelling_twice_at_once_throws_once(self):
        log = []
        cooperator = Stepwise()

        def catches():
            try:
                yield
            except asyncio.CancelledError as error:
                log.append(error.args)
            yield
            return "went on"

        task = cooperator.cooperate(catches())
        cooperator.ticks.tick()
        assert (task.cancel("first"), task.cancel("second")) == (True, True)
        await turns()
        cooperator.ticks.run()
        assert log == [("second",)]
        assert outcome(task) == "went on"

    @on_both_loops
    async def test_cancelling_during_the_clean_up_cancels_what_that_waits_on(self):
        log = []
        cooperator = Stepwise()
        future = asyncio.get_running_loop().create_future()

        def cleans_up():
            try:
                yield
            finally:
                try:
                    yield future
                except asyncio.CancelledError as error:
                    log.append(error.args)

        task = cooperator.cooperate(cleans_up())
        cooperator.ticks.tick()
        task.cancel("first")
        await turns()
        assert task.waiting
        task.cancel("second")
        await turns()
        assert log == [("second",)]
        assert future.cancelled()
        assert task.cancelled()

    @on_both_loops
    async def test_a_pause_during_the_clean_up_does_not_hold_it_up(self):
        log = []
        cooperator = Stepwise()

        def cleans_up():
            try:
                yield
            finally:
                log.append((yield give("waited")))

        task = cooperator.cooperate(cleans_up())
        cooperator.ticks.tick()
        task.cancel()
        task.pause()
        await asyncio.sleep(0)
        task.pause()
        await turns()
        assert log == ["waited"]
        assert task.cancelled()
        task.resume()
        task.resume()

    @on_both_loops
    async def test_before_the_first_step_it_runs_nothing(self):
        log = []
        task = Stepwise().cooperate(forever(log))
        task.cancel()
        await turns()
        assert (log, task.cancelled(), task.steps) == ([], True, 1)

    @pytest.mark.parametrize("message", [None, "message"])
    async def test_a_plain_iterator_is_dropped(self, message):
        cooperator = Stepwise()
        iterator = iter("abc")
        task = cooperator.cooperate(iterator)
        cooperator.ticks.tick()
        task.cancel(message)
        await turns()
        assert task.cancelled()
        with pytest.raises(asyncio.CancelledError, match=f"^{message or ''}$"):
            await task
        assert list(iterator) == ["b", "c"]

    @pytest.mark.parametrize(
        ("last_words", "expected"),
        [
            ("yield", "cancelled"),
            ("return", "cancelled"),
            ("raise", LookupError),
            ("wait", "cancelled"),
            ("wait for what is done", "cancelled"),
            ("swallow", "swallowed"),
        ],
    )
    def test_what_comes_after_cancel_in_the_same_step(self, last_words, expected):
        @on_both_loops
        async def main():
            cooperator = Stepwise()
            future = asyncio.get_running_loop().create_future()
            log = []

            def cancels_itself():
                assert current_task().cancel("by myself")
                if last_words == "return":
                    return
                if last_words == "raise":
                    raise LookupError
                if last_words == "wait for what is done":
                    future.set_result(None)
                try:
                    yield future if last_words.startswith("wait") else None
                except asyncio.CancelledError as error:
                    log.append(error.args)
                    if last_words == "swallow":
                        return "swallowed"
                    raise

            task = cooperator.cooperate(cancels_itself())
            cooperator.ticks.tick()
            await turns()
            assert outcome(task) == expected
            assert log == ([] if last_words in ("return", "raise") else [("by myself",)])
            assert (cooperator.tasks, cooperator.ticks.pending) == ((), ())
            assert cooperator.statistics().waiting == 0

        main(loop_factory=asyncio.new_event_loop, reports=[])

    @on_both_loops
    async def test_stop_after_cancel_wins(self):
        log = []
        cooperator = Stepwise()
        task = cooperator.cooperate(forever(log))
        cooperator.ticks.tick()
        task.cancel()
        task.stop()
        await turns()
        assert outcome(task) is TaskStopped
        assert log == ["closed"]

    @on_both_loops
    async def test_stopping_the_cooperator_after_cancel_wins(self):
        cooperator = Stepwise()
        task = cooperator.cooperate(forever())
        cooperator.ticks.tick()
        task.cancel()
        cooperator.stop()
        await turns()
        assert outcome(task) is SchedulerStopped

    @on_both_loops
    async def test_starting_and_stopping_while_cleaning_up_is_fine(self):
        log = []
        cooperator = Stepwise()

        def stops_the_cooperator():
            try:
                yield
            finally:
                cooperator.stop()
                log.append("cleaned up")

        task = cooperator.cooperate(stops_the_cooperator())
        cooperator.ticks.tick()
        task.cancel()
        await turns()
        assert outcome(task) in (SchedulerStopped, "cancelled")
        assert log == ["cleaned up"]
        assert not cooperator.running


class TestSharing:
    @on_both_loops
    async def test_five_tasks_share_a_generator_of_awaitables(self):
        running, most, done = set(), [0], []

        async def request(number):
            running.add(number)
            most[0] = max(most[0], len(running))
            for _ in range(number % 3 + 2):
                await asyncio.sleep(0)
            running.discard(number)
            done.append(number)

        requests = (request(number) for number in range(20))
        cooperator = Cooperator(clock=lambda: 0.0)  # no slice is ever over
        await asyncio.gather(*[cooperator.cooperate(requests) for _ in range(5)])
        assert sorted(done) == list(range(20))
        assert most == [5]

    @on_both_loops
    async def test_nothing_is_sent_into_a_shared_generator(self):
        log = []

        def generator():
            for number in range(4):
                result = yield give(number)
                log.append(result)

        shared = generator()
        await asyncio.gather(cooperate(shared), cooperate(shared))
        assert log == [None] * 4

    @on_both_loops
    async def test_a_failed_awaitable_ends_one_task_and_takes_nothing_from_the_others(self):
        done = []
        cooperator = Cooperator()

        async def job(number):
            if number == 1:
                raise LookupError("the second job")
            await asyncio.sleep(0)
            done.append(number)

        shared = (job(number) for number in range(6))
        tasks = [cooperator.cooperate(shared) for _ in range(3)]
        await asyncio.wait(tasks)
        assert done == [0, 2, 3, 4, 5]
        assert sorted(map(str, map(outcome, tasks))) == [
            "<class 'LookupError'>",
            "None",
            "None",
        ]

    @pytest.mark.parametrize("end", ["stop", "cancel"])
    def test_ending_one_task_leaves_the_others_their_work(self, end):
        @on_both_loops
        async def main():
            log = []
            cooperator = Stepwise()

            def generator():
                try:
                    for number in range(4):
                        yield log.append(number)
                finally:
                    log.append("closed")

            shared = generator()
            first, second, third = (cooperator.cooperate(shared) for _ in range(3))
            cooperator.ticks.tick()
            getattr(first, end)()
            await turns()
            assert first.done()
            third.pause()
            cooperator.ticks.tick()
            getattr(third, end)()
            await turns()
            assert log == [0, 1]
            cooperator.ticks.run()
            assert log == [0, 1, 2, 3, "closed"]
            assert outcome(second) is None

        main(loop_factory=asyncio.new_event_loop, reports=[])

    @on_both_loops
    async def test_it_is_closed_when_the_last_task_ends(self):
        log = []
        cooperator = Stepwise()
        shared = forever(log)
        tasks = [cooperator.cooperate(shared) for _ in range(3)]
        cooperator.ticks.tick()
        for task in tasks:
            assert log == []
            task.stop()
        assert log == ["closed"]

    @on_both_loops
    async def test_stopping_the_cooperator_closes_it_once(self):
        log = []
        cooperator = Stepwise()
        shared = forever(log)
        for _ in range(3):
            cooperator.cooperate(shared)
        cooperator.ticks.tick()
        cooperator.stop()
        assert log == ["closed"]

    @on_both_loops
    async def test_tasks_of_several_cooperators_may_share(self):
        log = []
        first, second = Stepwise(), Stepwise()
        shared = forever(log)
        tasks = [first.cooperate(shared), second.cooperate(shared)]
        first.ticks.tick()
        first.stop()
        assert log == []
        second.ticks.tick()
        second.stop()
        assert log == ["closed"]
        assert [outcome(task) for task in tasks] == [SchedulerStopped, SchedulerStopped]

    @on_both_loops
    async def test_a_step_that_stops_all_who_share_closes_after_it(self):
        log = []
        cooperator = Stepwise()
        tasks = []

        def generator():
            try:
                yield
                for task in tasks:
                    task.stop()
                yield log.append("stopped all")
            finally:
                log.append("closed")

        shared = generator()
        tasks += [cooperator.cooperate(shared) for _ in range(3)]
        cooperator.ticks.tick(2)
        assert log == ["stopped all", "closed"]
        assert [outcome(task) for task in tasks] == [TaskStopped] * 3

    @on_both_loops
    async def test_a_result_is_sent_only_to_the_task_that_was_alone_all_the_time(self):
        log = []
        cooperator = Stepwise()
        future = asyncio.get_running_loop().create_future()

        def generator():
            log.append((yield future))
            log.append((yield "value"))

        shared = generator()
        cooperator.cooperate(shared)
        cooperator.ticks.tick()
        visitor = cooperator.cooperate(shared)
        cooperator.ticks.tick()
        visitor.stop()
        future.set_result("not sent: the visitor has moved the generator on")
        await turns()
        cooperator.ticks.run()
        assert log == [None, None]

    @on_both_loops
    async def test_the_last_of_several_is_sent_results_again(self):
        log = []
        cooperator = Stepwise()

        def generator():
            yield "shared"
            log.append((yield give("sent")))

        shared = generator()
        first, second = cooperator.cooperate(shared), cooperator.cooperate(shared)
        cooperator.ticks.tick()
        first.stop()
        cooperator.ticks.tick()
        await turns()
        cooperator.ticks.run()
        assert log == ["sent"]
        assert second.done()

    @on_both_loops
    async def test_a_failure_is_not_thrown_when_somebody_came_meanwhile(self):
        log = []
        cooperator = Stepwise()
        future = asyncio.get_running_loop().create_future()
        shared = collect(log, future, "value", "value")
        first = cooperator.cooperate(shared)
        cooperator.ticks.tick()
        second = cooperator.cooperate(shared)
        future.set_exception(LookupError("belongs to the first"))
        await turns()
        cooperator.ticks.run()
        assert outcome(first) is LookupError
        assert outcome(second) == "returned"
        assert log == [None, None, None]

    @on_both_loops
    async def test_the_first_to_reach_the_end_has_the_result(self):
        def generator():
            yield
            return "result"

        cooperator = Stepwise()
        shared = generator()
        tasks = [cooperator.cooperate(shared) for _ in range(3)]
        cooperator.ticks.run()
        assert [outcome(task) for task in tasks] == [None, "result", None]

    @on_both_loops
    async def test_what_the_generator_raises_is_raised_once(self):
        def generator():
            yield
            raise LookupError

        cooperator = Stepwise()
        shared = generator()
        tasks = [cooperator.cooperate(shared) for _ in range(3)]
        cooperator.ticks.run()
        assert [outcome(task) for task in tasks] == [None, LookupError, None]

    @on_both_loops
    async def test_a_refused_task_leaves_what_others_share_alone(self):
        log = []
        stopped, running = Stepwise(), Stepwise()
        stopped.stop()
        shared = work(log, "ab")
        task = running.cooperate(shared)
        assert outcome(stopped.cooperate(shared)) is SchedulerStopped
        running.ticks.run()
        assert log == ["a", "b"]
        assert task.done()

    @on_both_loops
    async def test_an_iterator_may_be_given_again_after_its_task_was_stopped(self):
        cooperator = Stepwise()
        iterator = iter("abc")
        cooperator.cooperate(iterator).stop()
        task = cooperator.cooperate(iterator)
        cooperator.ticks.run()
        assert task.steps == 4


variable = contextvars.ContextVar("variable", default="default")


def looks(log, label="look"):
    """Log the variable in each step, in the clean-up and in the closing."""
    try:
        log.append((label, variable.get()))
        variable.set(f"{label}'s own")
        yield
        log.append((label, variable.get()))
        yield
    finally:
        log.append((f"{label} closing", variable.get()))


class TestContexts:
    @on_both_loops
    async def test_steps_and_closing_run_in_one_copy_of_the_callers(self):
        for end in ("stop", "cancel"):
            log = []
            variable.set("caller's")
            cooperator = Stepwise()
            task = cooperator.cooperate(looks(log))
            variable.set("changed afterwards")
            cooperator.ticks.tick(2)
            getattr(task, end)()
            await turns()
            assert log == [
                ("look", "caller's"),
                ("look", "look's own"),
                ("look closing", "look's own"),
            ]
            assert variable.get() == "changed afterwards"

    @on_both_loops
    async def test_a_context_given_is_used_itself_and_not_copied(self):
        context = contextvars.copy_context()
        log = []
        cooperator = Stepwise()
        cooperator.cooperate(looks(log), context=context)
        cooperator.ticks.run()
        assert log[0] == ("look", "default")
        assert context[variable] == "look's own"

    @on_both_loops
    async def test_coroutines_run_in_the_tasks_context(self):
        log = []

        async def look():
            log.append(variable.get())
            variable.set("the coroutine's")

        def waits():
            variable.set("the generator's")
            yield look()
            yield Awaitable(look())
            log.append(variable.get())

        await cooperate(waits())
        assert log == ["the generator's", "the coroutine's", "the coroutine's"]

    @on_both_loops
    async def test_a_token_can_be_reset_in_the_finally(self):
        log = []

        def scoped():
            token = variable.set("scoped")
            try:
                yield
            finally:
                variable.reset(token)
                log.append(variable.get())

        cooperator = Stepwise()
        for end in ("stop", "cancel", "close"):
            task = cooperator.cooperate(scoped())
            cooperator.ticks.tick()
            if end == "close":
                cooperator.stop()
            else:
                getattr(task, end)()
                await turns()
        assert log == ["default"] * 3

    @on_both_loops
    async def test_closing_in_a_context_that_is_being_run_in(self):
        log = []
        cooperator = Stepwise()
        context = contextvars.copy_context()

        def stops():
            variable.set("shared by both")
            first.stop()
            yield

        first = cooperator.cooperate(looks(log), context=context)
        cooperator.cooperate(stops(), context=context)
        cooperator.ticks.tick(2)
        assert log == [("look", "default"), ("look closing", "shared by both")]
        cooperator.stop()

    @on_both_loops
    async def test_a_runtime_error_while_closing_is_not_mistaken(self, reports):
        log = []
        cooperator = Stepwise()

        def raises():
            try:
                yield
            finally:
                log.append("once")
                raise RuntimeError("my own")

        task = cooperator.cooperate(raises())
        cooperator.ticks.tick()
        task.stop()
        assert log == ["once"]
        assert [str(report["exception"]) for report in reports] == ["my own"]

    @on_both_loops
    async def test_one_tasks_context_does_not_reach_the_next(self):
        log = []
        cooperator = Stepwise()
        cooperator.cooperate(looks(log, "first"))
        cooperator.cooperate(looks(log, "second"))
        cooperator.ticks.tick(2)
        assert log == [("first", "default"), ("second", "default")]
        cooperator.stop()

    @on_both_loops
    async def test_the_scheduler_and_the_predicate_are_called_outside_of_it(self):
        log = []
        ticks = Ticks()

        def scheduler(callback):
            log.append(variable.get())
            return ticks(callback)

        def factory():
            log.append(variable.get())
            return one_step()

        cooperator = Cooperator(factory, scheduler)

        def changes():
            variable.set("the generator's")
            yield
            yield

        cooperator.cooperate(changes())
        ticks.tick(2)
        assert set(log) == {"default"}
        cooperator.stop()
