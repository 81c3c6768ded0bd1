import asyncio
import contextvars
import gc
import itertools
import math
import weakref

import anyio
import pytest
import uvloop
from core_support import Loop, on, turns

from cooperative_aio import (
    Batches,
    Cooperator,
    SchedulerStopped,
    TaskStopped,
    TimeSlice,
    batches,
    current_task,
    get_cooperator,
)
from cooperative_aio.testing import Deadlock

on_each = on(asyncio.SelectorEventLoop, uvloop.Loop)
on_loop = on(Loop)


def noting(events, values):
    """Yield values; note what happens to the generator."""
    try:
        for value in values:
            events.append(value)
            yield value
    except asyncio.CancelledError:
        events.append("cancelled")
        raise
    finally:
        events.append("closed")


def slowly(seconds, number=math.inf):
    """Yield numbers, one each so many seconds."""
    for value in itertools.count():
        if value >= number:
            return
        yield asyncio.sleep(seconds)
        yield value


class TestTheBatches:
    @on_each
    async def test_are_lists_of_so_many_values_and_the_last_may_be_shorter(self):
        got = [batch async for batch in batches(3, iter(range(8)))]
        assert got == [[0, 1, 2], [3, 4, 5], [6, 7]]

    @on_loop
    async def test_that_would_be_empty_are_not_there(self):
        assert [batch async for batch in batches(3, iter(range(6)))] == [[0, 1, 2], [3, 4, 5]]
        assert [batch async for batch in batches(3, [])] == []
        assert [batch async for batch in batches(3, [None] * 1000)] == []

    @on_loop
    async def test_do_not_count_the_nones(self):
        values = [None, 1, None, None, 2, 3, None]
        assert [batch async for batch in batches(2, values)] == [[1, 2], [3]]

    @pytest.mark.parametrize("size", [1, 2, 64, 127, 128, 1000, 4999, 5000, 5001, 10**30])
    @on_loop
    async def test_may_be_of_any_size(self, size):
        got = [batch async for batch in batches(size, iter(range(5000)))]
        assert list(itertools.chain(*got)) == list(range(5000))
        assert [len(batch) for batch in got[:-1]] == [size] * (len(got) - 1)

    @on_loop
    async def test_are_the_consumers_own(self):
        stream = batches(2, iter(range(4)))
        first = await anext(stream)
        first.clear()
        assert await anext(stream) == [2, 3]
        assert first == []

    @on_loop
    async def test_may_have_awaitables_in_the_middle(self):
        def values():
            for number in range(5):
                yield (yield asyncio.sleep(1, number))

        assert [batch async for batch in batches(2, values())] == [[0, 1], [2, 3], [4]]

    @on_loop
    async def test_come_as_they_are_made(self):
        events = []
        loop = asyncio.get_running_loop()
        async for batch in batches(2, slowly(0.25, 5)):
            events.append((loop.time() // 0.25, batch))  # noqa: PERF401 (the time counts)
        assert events == [(2, [0, 1]), (4, [2, 3]), (5, [4])]


class TestArguments:
    @pytest.mark.parametrize("value", [True, False, 1.0, 1.5, "a", None])
    def test_a_size_that_is_no_integer_is_refused_at_once(self, value):
        with pytest.raises(
            TypeError, match="max_batch_size must be an integer of at least 1, got"
        ):
            batches(value, [])

    @pytest.mark.parametrize("value", [0, -1])
    def test_a_size_that_is_too_small_is_refused_at_once(self, value):
        with pytest.raises(ValueError, match=f"an integer of at least 1, got {value}"):
            batches(value, [])

    @pytest.mark.parametrize("value", ["a", True, [1]])
    def test_a_limit_that_is_no_number_of_seconds_is_refused_at_once(self, value):
        with pytest.raises(TypeError, match="max_seconds must be a finite number above 0, got"):
            batches(1, [], max_seconds=value)

    @pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
    def test_a_limit_out_of_range_is_refused_at_once(self, value):
        with pytest.raises(
            ValueError, match="max_seconds must be a finite number above 0, got"
        ):
            batches(1, [], max_seconds=value)

    def test_the_limit_is_given_by_name(self):
        with pytest.raises(TypeError, match="positional argument"):
            batches(1, [], None, 1.0)

    @on_loop
    async def test_name_weight_and_context_are_the_tasks(self):
        variable = contextvars.ContextVar("variable")
        context = contextvars.Context()
        context.run(variable.set, "given")

        def values():
            yield (current_task().name, current_task().weight, variable.get())

        stream = batches(1, values(), name="rows", weight=3, context=context)
        assert [batch async for batch in stream] == [[("rows", 3, "given")]]

    @on_loop
    async def test_without_a_cooperator_it_is_the_loops_own(self):
        assert [batch async for batch in batches(2, [1, 2, 3])] == [[1, 2], [3]]
        assert get_cooperator().statistics().steps == 4


class TestTheBeginning:
    @on_loop
    async def test_is_the_first_time_that_a_batch_is_asked_for(self):
        events = []
        cooperator = Cooperator()
        stream = batches(2, noting(events, range(3)), cooperator)
        assert aiter(stream) is stream
        await turns(5)
        async with stream:
            await turns(5)
            assert events == []
            assert cooperator.tasks == ()
            waiting = anext(stream)
            await turns(5)
            assert events == []
            assert await waiting == [0, 1]

    @on_loop
    async def test_runs_in_the_context_of_who_asks(self):
        variable = contextvars.ContextVar("variable")
        variable.set("maker")

        def values():
            yield variable.get()

        stream = batches(1, values())
        variable.set("consumer")
        assert await anext(stream) == ["consumer"]

    @on_loop
    async def test_closed_before_it_closes_the_generator(self):
        """Which may have been begun by others."""
        events = []
        values = noting(events, range(9))
        next(values)
        async with batches(2, values) as stream:
            assert events == [0]
        assert events == [0, "closed"]
        assert [batch async for batch in stream] == []

    @on_loop
    async def test_closed_before_it_leaves_what_is_no_generator_alone(self):
        values = [1, 2, 3]
        stream = batches(2, values)
        await stream.aclose()
        assert [batch async for batch in stream] == []

    def test_may_be_made_without_a_loop(self):
        async def main():
            return [batch async for batch in stream]

        stream = batches(2, [1, 2, 3])
        assert isinstance(stream, Batches)
        with asyncio.Runner(loop_factory=Loop) as runner:
            assert runner.run(main()) == [[1, 2], [3]]

    @on_loop
    async def test_is_when_what_cannot_be_iterated_over_is_refused(self):
        stream = batches(2, 5)
        with pytest.raises(TypeError, match="iterable must be iterable, got 5"):
            await anext(stream)


class TestAhead:
    @pytest.mark.parametrize("size", [1, 2, 10, 1000])
    @on_each
    async def test_of_the_consumer_one_batch_is_made_but_no_more(self, size):
        events = []
        cooperator = Cooperator()
        stream = batches(size, noting(events, itertools.count()), cooperator)
        for taken in range(1, 5):
            await anext(stream)
            for _ in range(200):
                await turns(1)
            assert len(events) == (taken + 1) * size
        await stream.aclose()
        assert cooperator.statistics().steps == 5 * size

    def test_of_a_consumer_that_does_not_come_nothing_is_scheduled(self):
        async def main():
            stream = batches(10, itertools.count())
            await anext(stream)
            await asyncio.get_running_loop().create_future()

        with (
            pytest.raises(Deadlock, match="no call is scheduled"),
            asyncio.Runner(loop_factory=Loop) as runner,
        ):
            runner.run(main())

    @on_loop
    async def test_of_a_slow_consumer_batches_are_ready_when_it_comes(self):
        events = []
        loop = asyncio.get_running_loop()
        async for batch in batches(2, slowly(0.25, 6)):
            events.append((loop.time() // 0.25, batch))
            await asyncio.sleep(1.0)
        assert events == [(2, [0, 1]), (6, [2, 3]), (10, [4, 5])]

    @on_loop
    async def test_the_end_and_a_failure_wait_for_the_consumer(self):
        def values():
            yield from range(3)
            raise LookupError("failed")

        stream = batches(2, values())
        assert await anext(stream) == [0, 1]
        await turns(50)
        assert await anext(stream) == [2]
        with pytest.raises(LookupError, match="failed"):
            await anext(stream)

    @on_loop
    async def test_a_paused_task_is_not_set_going_by_taking(self):
        events = []
        cooperator = Cooperator()
        stream = batches(2, noting(events, itertools.count()), cooperator)
        await anext(stream)
        await turns(50)
        (task,) = cooperator.tasks
        task.pause()
        assert await anext(stream) == [2, 3]
        await turns(50)
        assert events == [0, 1, 2, 3]
        task.resume()
        assert await anext(stream) == [4, 5]
        await stream.aclose()

    @on_loop
    async def test_a_task_that_is_held_is_not_set_going_by_resuming(self):
        events = []
        cooperator = Cooperator()
        stream = batches(2, noting(events, itertools.count()), cooperator)
        await anext(stream)
        await turns(50)
        (task,) = cooperator.tasks
        task.pause()
        task.resume()
        await turns(50)
        assert events == [0, 1, 2, 3]
        await stream.aclose()

    @on_loop
    async def test_the_loop_is_held_for_a_slice_and_a_step_at_most(self):
        loop = asyncio.get_running_loop()

        def values():
            for number in range(1000):
                loop.spend(2**-10)
                yield number

        cooperator = Cooperator()
        async for _ in batches(300, values(), cooperator):
            loop.spend(2**-10)
        assert cooperator.statistics().longest_tick <= TimeSlice().seconds + 2**-10


class TestMaxSeconds:
    @staticmethod
    async def taken(stream, pause=0.0):
        events = []
        loop = asyncio.get_running_loop()
        async for batch in stream:
            events.append((loop.time() // 0.25 / 4, batch))
            await asyncio.sleep(pause)
        return events

    @on_loop
    async def test_after_that_long_what_there_is_is_handed_over(self):
        events = await self.taken(batches(100, slowly(0.3125, 7), max_seconds=1.0))
        assert events == [(1.0, [0, 1, 2]), (2.0, [3, 4, 5]), (2.0, [6])]

    @on_loop
    async def test_a_batch_that_is_full_comes_earlier(self):
        events = await self.taken(batches(2, slowly(0.3125, 5), max_seconds=1.0))
        assert events == [(0.5, [0, 1]), (1.25, [2, 3]), (1.5, [4])]

    @on_loop
    async def test_while_there_is_nothing_the_first_value_is_waited_for(self):
        events = await self.taken(batches(100, slowly(2.5, 3), max_seconds=1.0))
        assert events == [(2.5, [0]), (5.0, [1]), (7.5, [2])]

    @on_loop
    async def test_nones_are_nothing(self):
        def values():
            for _ in range(5):
                yield asyncio.sleep(0.5)
                yield None
            yield "first"
            yield asyncio.sleep(10)

        stream = batches(100, values(), max_seconds=1.0)
        loop = asyncio.get_running_loop()
        assert await anext(stream) == ["first"]
        assert 2.5 <= loop.time() < 2.75
        await stream.aclose()

    @on_loop
    async def test_a_slow_consumer_has_what_came_meanwhile(self):
        events = await self.taken(batches(100, slowly(0.3125, 10), max_seconds=1.0), pause=2.0)
        assert events == [(1.0, [0, 1, 2]), (3.0, [3, 4, 5, 6, 7, 8]), (5.0, [9])]

    @on_loop
    async def test_a_computing_generator_is_cut_short_too(self):
        loop = asyncio.get_running_loop()

        def values():
            while True:
                loop.spend(2**-12)
                yield loop.time()

        stream = batches(10**9, values(), max_seconds=1.0)
        first = await anext(stream)
        assert 0.99 < first[-1] < 1.02
        second = await anext(stream)
        assert 1.99 < second[-1] < 2.04
        await stream.aclose()

    @on_loop
    async def test_while_the_task_waits_what_there_is_is_handed_over_and_it_waits_on(self):
        def values():
            yield 1
            yield asyncio.sleep(10)
            yield 2
            yield asyncio.sleep(10)
            yield 3

        events = await self.taken(batches(100, values(), max_seconds=1.0))
        assert events == [(1.0, [1]), (10.0, [2]), (20.0, [3])]

    @on_loop
    async def test_a_batch_handed_over_while_the_task_waits_holds_it_until_it_is_taken(self):
        events = []

        def values():
            for number in itertools.count():
                events.append(number)
                yield number
                if number % 3 == 0:
                    yield asyncio.sleep(10)

        stream = batches(3, values(), max_seconds=1.0)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(1.0)
        await turns(1)
        assert events == [0]
        assert await waiting == [0]
        await asyncio.sleep(100)
        assert events == [0, 1, 2, 3]
        await stream.aclose()

    def test_no_timer_is_left_when_a_batch_comes_earlier(self):
        async def main():
            stream = batches(1, [1, 2], max_seconds=1000)
            assert [batch async for batch in stream] == [[1], [2]]
            await asyncio.get_running_loop().create_future()

        with (
            pytest.raises(Deadlock, match=r"any more at 0\.0"),
            asyncio.Runner(loop_factory=Loop) as runner,
        ):
            runner.run(main())


class TestClosing:
    @on_each
    async def test_by_aclose_closes_the_generator_at_once(self):
        events = []
        cooperator = Cooperator()
        stream = batches(2, noting(events, itertools.count()), cooperator)
        await anext(stream)
        await stream.aclose()
        assert events[-1] == "closed"
        assert cooperator.tasks == ()
        assert [batch async for batch in stream] == []
        await stream.aclose()

    @on_loop
    async def test_when_it_has_come_to_its_end_changes_nothing(self):
        stream = batches(2, [1])
        assert [batch async for batch in stream] == [[1]]
        await stream.aclose()
        for _ in range(2):
            with pytest.raises(StopAsyncIteration, match=r"^$"):
                await anext(stream)

    @on_loop
    async def test_after_a_failure_there_is_nothing_more(self):
        def values():
            yield 1
            raise LookupError("failed")

        stream = batches(2, values())
        assert await anext(stream) == [1]
        with pytest.raises(LookupError, match="failed"):
            await anext(stream)
        assert [batch async for batch in stream] == []
        await stream.aclose()

    @on_each
    async def test_by_leaving_the_context_closes_the_generator(self):
        events = []
        async with batches(2, noting(events, itertools.count())) as stream:
            async for _ in stream:
                break
            assert "closed" not in events
        assert events[-1] == "closed"

    @on_each
    async def test_by_leaving_the_context_with_an_exception_does_so_too(self):
        events = []
        stream = batches(2, noting(events, itertools.count()))

        async def consume():
            async with stream:
                async for _ in stream:
                    raise LookupError("the consumer's")

        with pytest.raises(LookupError, match="the consumer's"):
            await consume()
        assert events[-1] == "closed"

    @on_each
    async def test_by_dropping_it_happens_a_turn_later(self):
        events = []
        cooperator = Cooperator()
        async for _ in batches(2, noting(events, itertools.count()), cooperator):
            break
        await turns(2)
        assert events[-1] == "closed"
        assert cooperator.tasks == ()

    @on_each
    async def test_does_not_happen_while_a_name_holds_it(self):
        events = []
        stream = batches(2, noting(events, itertools.count()))
        async for _ in stream:
            break
        await turns(50)
        assert events == [0, 1, 2, 3]
        assert await anext(stream) == [2, 3]
        del stream
        await turns(2)
        assert events[-1] == "closed"

    @on_loop
    async def test_by_dropping_it_needs_no_garbage_collector(self):
        gc.collect()
        gc.disable()
        try:
            stream = batches(2, itertools.count(), cooperator := Cooperator())
            await anext(stream)
            task = weakref.ref(cooperator.tasks[0])
            ref = weakref.ref(stream)
            del stream
            assert ref() is None
            await turns(2)
            assert task() is None
        finally:
            gc.enable()

    def test_by_dropping_it_after_the_loop_is_gone_is_quiet(self):
        events = []

        async def main():
            stream = batches(2, noting(events, itertools.count()))
            await anext(stream)
            return stream

        with asyncio.Runner() as runner:
            stream = runner.run(main())
        assert events[-1] == "closed"  # when the loop was shut down
        del stream

    def test_of_its_task_at_the_instant_at_which_the_consumer_begins_to_wait_is_seen(self):
        class Interrupted(Loop):
            act = None

            def create_future(self):
                act, self.act = self.act, None
                if act is not None:
                    act()  # as a signal's handler does, between two lines
                return super().create_future()

        async def main():
            stream = batches(2, itertools.chain([1, 2], itertools.repeat(None)))
            assert await anext(stream) == [1, 2]
            (task,) = get_cooperator().tasks
            asyncio.get_running_loop().act = task.stop
            with pytest.raises(TaskStopped):
                await anext(stream)

        with asyncio.Runner(loop_factory=Interrupted) as runner:
            runner.run(main())

    def test_by_dropping_it_when_the_loop_was_closed_without_a_word_is_quiet(self):
        async def main():
            stream = batches(2, itertools.count())
            await anext(stream)
            return stream

        loop = Loop()
        stream = loop.run_until_complete(main())
        loop.close()
        del stream, loop
        gc.collect()

    @on_loop
    async def test_by_dropping_it_in_the_turn_in_which_it_ends_is_quiet(self):
        for number in range(6):
            events = []
            cooperator = Cooperator()
            stream = batches(2, noting(events, range(number)), cooperator)
            await anext(stream, None)
            (*tasks,) = cooperator.tasks
            del stream
            for task in tasks:
                task.stop()
            await turns(3)
            assert events[-1] == "closed"

    @on_loop
    async def test_while_somebody_waits_ends_the_iteration(self):
        events = []

        async def consume():
            return [batch async for batch in stream]

        def values():
            try:
                yield 1
                yield asyncio.sleep(1000)
            finally:
                events.append("closed")

        stream = batches(1, values())
        task = asyncio.create_task(consume())
        await turns(50)
        await stream.aclose()
        assert events == ["closed"]
        assert await task == [[1]]

    @on_loop
    async def test_from_a_step_takes_effect_after_it(self):
        events = []

        def values():
            try:
                yield 1
                events.append(list(stream.aclose().__await__()))
                yield 2
                events.append("not reached")
            finally:
                events.append("closed")

        stream = batches(10, values())
        assert [batch async for batch in stream] == []
        assert events == [[], "closed"]

    @on_loop
    async def test_of_a_generator_that_fails_meanwhile_is_reported(self):
        def values():
            try:
                yield from itertools.count()
            finally:
                raise LookupError("while closing")

        reports = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, report: reports.append(report))
        stream = batches(2, values())
        await anext(stream)
        await stream.aclose()
        assert [str(report["exception"]) for report in reports] == ["while closing"]


class TestTwoConsumers:
    @on_loop
    async def test_cannot_wait_at_the_same_time(self):
        stream = batches(1, slowly(1.0, 3))
        first = asyncio.create_task(_next(stream))
        await turns(3)
        with pytest.raises(
            RuntimeError, match="cannot wait for a batch while another coroutine"
        ):
            await anext(stream)
        assert await first == [0]
        assert [batch async for batch in stream] == [[1], [2]]

    @on_loop
    async def test_may_take_turns(self):
        stream = batches(1, iter(range(4)))
        got = {"a": [], "b": []}
        for _ in range(2):
            for what in "ab":
                got[what] += await anext(stream)
        assert got == {"a": [0, 2], "b": [1, 3]}

    @on_loop
    async def test_may_share_a_generator_by_two_iterators(self):
        shared = iter(range(100))
        streams = [batches(3, shared), batches(7, shared)]
        got = await asyncio.gather(*[_all(stream) for stream in streams])
        assert sorted(itertools.chain(*got)) == list(range(100))


async def _next(stream):
    return await anext(stream)


async def _all(stream):
    return [value async for batch in stream for value in batch]


async def _collect(stream, got):
    async for batch in stream:
        got.append(batch)


class TestFailures:
    @pytest.mark.parametrize("number", [0, 1, 2, 3, 1000, 1001])
    @on_each
    async def test_come_after_the_values_before_them(self, number):
        def values():
            yield from range(number)
            raise error

        error = LookupError("failed")
        got = []
        with pytest.raises(LookupError, match=r"^failed$") as caught:
            await _collect(batches(2, values()), got)
        assert caught.value is error
        assert list(itertools.chain(*got)) == list(range(number))

    @on_loop
    async def test_of_a_generator_expression_that_awaits_come_after_them_too(self):
        got = []
        never = asyncio.get_running_loop().create_future()
        with pytest.raises(TypeError, match=r"`yield \(yield awaitable\)`"):
            await _collect(batches(3, (never if n == 4 else n for n in range(9))), got)
        assert got == [[0, 1, 2], [3]]

    @on_loop
    async def test_that_were_made_ahead_and_dropped_are_reported(self):
        def values():
            yield from range(3)
            raise LookupError("failed")

        reports = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, report: reports.append(report))
        stream = batches(2, values())
        assert await anext(stream) == [0, 1]
        await turns(50)
        del stream
        gc.collect()
        await turns(3)
        assert [str(report["exception"]) for report in reports] == ["failed"]


class TestCancellation:
    @on_each
    async def test_closes_the_generator_before_the_caller_knows(self):
        events = []

        def values():
            try:
                yield 1
                yield asyncio.get_running_loop().create_future()
            except asyncio.CancelledError as error:
                events.append(("generator", error.args))
                raise
            finally:
                events.append("closed")

        async def consume():
            try:
                return [batch async for batch in batches(2, values())]
            finally:
                events.append("caller")

        task = asyncio.create_task(consume())
        await turns(50)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match=r"^enough$"):
            await task
        assert [event for event in events if isinstance(event, str)] == ["closed", "caller"]

    @on_loop
    async def test_while_the_consumer_does_something_else_leaves_the_generator_to_the_drop(
        self,
    ):
        events = []

        async def consume():
            async for _ in batches(2, noting(events, itertools.count())):
                await asyncio.sleep(1000)

        task = asyncio.create_task(consume())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        del task
        gc.collect()
        await turns(2)
        assert events == [0, 1, 2, 3, "closed"]

    @on_loop
    async def test_ends_the_iteration(self):
        """A caller that goes on after a timeout is not cancelled out of the blue."""
        for limit in (asyncio.timeout, _fail_after):
            stream = batches(2, slowly(1000))
            with pytest.raises(TimeoutError):
                await _within(limit(0.5), anext(stream))
            assert [batch async for batch in stream] == []

    @on_loop
    async def test_by_a_scope_that_covers_other_things_too(self):
        events = []

        async def consume():
            async for _ in batches(1, noting(events, [1, 2, asyncio.sleep(1000)])):
                pass

        with anyio.move_on_after(1.0) as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(consume)
                group.start_soon(consume)
        assert scope.cancelled_caught
        assert events.count("closed") == 2
        assert events.count("cancelled") >= 1

    @on_loop
    async def test_again_while_the_generator_cleans_up_is_passed_on(self):
        events = []

        def values():
            try:
                yield asyncio.sleep(1000)
            finally:
                try:
                    yield asyncio.sleep(1000)
                except asyncio.CancelledError:
                    events.append("cut short")
                yield asyncio.sleep(1)
                events.append("cleaned up")

        stream = batches(2, values())
        task = asyncio.create_task(_next(stream))
        await turns(10)
        task.cancel("first")
        await asyncio.sleep(1)
        assert events == []
        task.cancel("second")
        await asyncio.sleep(2)
        assert events == ["cut short", "cleaned up"]
        with pytest.raises(asyncio.CancelledError):
            await task

    @on_loop
    async def test_of_a_generator_that_goes_on_yielding_closes_it(self):
        events = []

        def values():
            try:
                yield asyncio.sleep(1000)
            except asyncio.CancelledError:
                events.append("not now")
            try:
                yield 1
                events.append("not reached")
            finally:
                events.append("closed")

        task = asyncio.create_task(_next(batches(2, values(), cooperator := Cooperator())))
        await turns(10)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert events == ["not now", "closed"]
        assert cooperator.tasks == ()

    @on_loop
    async def test_of_a_generator_that_just_returns_reaches_the_caller_all_the_same(self):
        def values():
            try:
                yield 1
                yield asyncio.sleep(1000)
            except asyncio.CancelledError:
                return

        task = asyncio.create_task(_next(batches(2, values())))
        await turns(10)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    @on_loop
    async def test_of_one_that_fails_then_gives_the_caller_the_failure(self):
        def values():
            try:
                yield 1
                yield asyncio.sleep(1000)
            finally:
                raise LookupError("in the clean-up")

        stream = batches(2, values())
        task = asyncio.create_task(_next(stream))
        await turns(10)
        task.cancel()
        with pytest.raises(LookupError, match="in the clean-up"):
            await task
        assert [batch async for batch in stream] == []

    @on_loop
    async def test_in_whichever_turn_it_comes_nothing_is_left(self):
        for delay in range(40):
            events = []
            cooperator = Cooperator()
            stream = batches(3, noting(events, range(100)), cooperator)
            task = asyncio.create_task(_all(stream))
            await turns(delay)
            task.cancel()
            await asyncio.wait([task])
            await stream.aclose()
            assert cooperator.tasks == ()
            assert not events or events[-1] == "closed"


async def _within(limit, waiting):
    async with limit:
        await waiting


def _fail_after(seconds):
    class Limit:
        async def __aenter__(self):
            self.scope = anyio.fail_after(seconds)
            return self.scope.__enter__()

        async def __aexit__(self, *error):
            return self.scope.__exit__(*error)

    return Limit()


class TestTheCooperatorIsStopped:
    @on_loop
    async def test_while_somebody_waits_the_caller_learns(self):
        events = []
        cooperator = Cooperator()
        values = noting(events, [1, asyncio.get_running_loop().create_future()])
        task = asyncio.create_task(_all(batches(2, values, cooperator)))
        await turns(10)
        cooperator.stop()
        assert events[-1] == "closed"
        with pytest.raises(SchedulerStopped, match="the Cooperator was stopped"):
            await task

    @on_loop
    async def test_the_batch_that_was_ready_is_still_handed_over(self):
        cooperator = Cooperator()
        stream = batches(2, itertools.count(), cooperator)
        assert await anext(stream) == [0, 1]
        await turns(50)
        cooperator.stop()
        assert await anext(stream) == [2, 3]
        with pytest.raises(SchedulerStopped, match="the Cooperator was stopped"):
            await anext(stream)
        assert [batch async for batch in stream] == []

    @on_loop
    async def test_before_it_begins_nothing_is_stepped(self):
        events = []
        cooperator = Cooperator()
        cooperator.stop()
        with pytest.raises(SchedulerStopped, match=r"start.. it first"):
            await anext(batches(2, noting(events, [1]), cooperator))
        assert events == []

    @on_loop
    async def test_a_cooperator_that_is_left_waits_for_a_consumer_that_comes(self):
        got = []
        async with Cooperator() as cooperator:
            stream = batches(2, iter(range(5)), cooperator)
            task = asyncio.create_task(_all(stream))
            await turns(3)
        got = await task
        assert got == [0, 1, 2, 3, 4]

    @on_loop
    async def test_stopping_the_task_itself_is_not_taken_for_its_end(self):
        cooperator = Cooperator()
        stream = batches(2, itertools.count(), cooperator)
        assert await anext(stream) == [0, 1]
        await turns(50)
        cooperator.tasks[0].stop()
        assert await anext(stream) == [2, 3]
        with pytest.raises(TaskStopped, match="the task was stopped"):
            await anext(stream)


class TestSeveralStreams:
    @on_loop
    async def test_share_the_loop(self):
        loop = asyncio.get_running_loop()

        def values():
            while True:
                loop.spend(2**-10)
                yield 1

        async def count(what):
            async for batch in batches(10, values()):
                counts[what] = counts.get(what, 0) + len(batch)

        counts = {}
        tasks = [asyncio.create_task(count(what)) for what in range(3)]
        await asyncio.sleep(4.0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        mean = sum(counts.values()) / 3
        assert all(abs(number - mean) <= 0.1 * mean for number in counts.values())

    @on_each
    async def test_under_a_termination_predicate_a_batch_is_a_turn(self):
        cooperator = Cooperator(lambda: lambda: True)
        got = [batch async for batch in batches(5, iter(range(12)), cooperator)]
        assert got == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]
        assert cooperator.statistics().ticks == 3

    @on_loop
    async def test_a_manual_scheduler_makes_batches_when_it_says_so(self):
        calls = []

        class Call:
            def __init__(self, function):
                self.function = function
                calls.append(self)

            def cancel(self):
                calls.remove(self)

        cooperator = Cooperator(lambda: lambda: True, scheduler=Call)
        stream = batches(2, iter(range(5)), cooperator)
        task = asyncio.create_task(_next(stream))
        await turns(5)
        assert len(calls) == 1
        calls.pop().function()
        await turns(5)
        assert await task == [0, 1]
        assert len(calls) == 1
        calls.pop().function()
        assert await anext(stream) == [2, 3]
        await stream.aclose()
        assert calls == []
