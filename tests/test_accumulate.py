import asyncio
import contextvars
import functools
import gc
import inspect
import itertools
import math
import sys
import types
import weakref
from collections import deque
from fractions import Fraction

import anyio
import core_support
import pytest
import uvloop
from core_support import on, turns
from hypothesis import given
from hypothesis import strategies as st

from cooperative_aio import (
    Cooperator,
    SchedulerStopped,
    TaskStopped,
    TimeSlice,
    ValueBucket,
    accumulate,
    accumulation_handler,
    batch_accumulate,
    batches,
    cooperate,
    current_task,
    get_cooperator,
)


class Loop(core_support.Loop):
    """A loop on which each turn costs the same, and that counts readings of its clock."""

    readings = 0

    def perf_counter(self):
        self.readings += 1
        return super().perf_counter()


def run(coroutine_function, *args, loop_factory=Loop):
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(coroutine_function(*args))


on_each = on(asyncio.SelectorEventLoop, uvloop.Loop)


on_loop = on(Loop)


async def every(values, _cooperator=None):
    return await accumulate(values, _cooperator)


async def in_batches_of_7(values, cooperator=None):
    return await batch_accumulate(7, values, cooperator)


async def in_huge_batches(values, cooperator=None):
    return await batch_accumulate(10**9, values, cooperator)


async def streamed(values, cooperator=None):
    collected = deque()
    async for batch in batches(7, values, cooperator):
        collected.extend(batch)
    return collected


async def streamed_at_large(values, cooperator=None):
    collected = deque()
    async for batch in batches(10**9, values, cooperator):
        collected.extend(batch)
    return collected


COLLECTING = [every, in_batches_of_7, in_huge_batches, streamed, streamed_at_large]
collecting = pytest.mark.parametrize("collect", COLLECTING)
NUMBERS = [1, 128, 129, 5000]
"""Of steps: the first 128 are taken one by one, later ones in chunks."""


class Number:
    """A value of a class of its own."""

    def __init__(self, value):
        self.value = value


class Awaitable:
    """Neither coroutine nor future."""

    def __init__(self, result=None):
        self.result = result

    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        return self.result


async def coroutine(result=None):
    await asyncio.sleep(0)
    return result


@types.coroutine
def old_coroutine(result=None):
    yield
    return result


def future(result=None):
    done = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(done.set_result, result)
    return done


AWAITABLES = [coroutine, old_coroutine, future, Awaitable]


class TestTheValues:
    @collecting
    @pytest.mark.parametrize("number", NUMBERS)
    def test_are_returned_in_order(self, collect, number):
        assert run(collect, iter(range(number))) == deque(range(number))

    @collecting
    def test_of_nothing_are_none(self, collect):
        assert run(collect, iter(())) == deque()

    @collecting
    @pytest.mark.parametrize("number", NUMBERS)
    def test_that_are_none_are_skipped(self, collect, number):
        values = [[None, value] for value in range(number)]
        assert run(collect, itertools.chain(*values)) == deque(range(number))
        assert run(collect, [None] * number) == deque()

    @collecting
    def test_that_are_false_are_not_skipped(self, collect):
        values = [0, "", False, [], {}, 0.0, b"", ()]
        assert run(collect, values * 100) == deque(values * 100)

    @collecting
    @pytest.mark.parametrize(
        "iterable",
        [
            [1, 2, 3] * 500,
            (1, 2, 3) * 500,
            "abc" * 500,
            range(1500),
            dict.fromkeys(range(1500)),
            deque([1, 2, 3] * 500),
            {}.keys(),
        ],
        ids=lambda iterable: type(iterable).__name__,
    )
    def test_may_come_from_anything_that_can_be_iterated_over(self, collect, iterable):
        assert run(collect, iterable) == deque(iterable)

    @collecting
    def test_may_come_from_a_sequence_of_the_old_protocol(self, collect):
        class Squares:
            def __getitem__(self, index):
                if index == 1500:
                    raise IndexError(index)
                return index * index

        assert run(collect, Squares()) == deque(index * index for index in range(1500))

    @collecting
    @pytest.mark.parametrize("length", [1, 2, 3, 17, 64, 100])
    def test_of_mixed_classes_stay_in_order(self, collect, length):
        """Long runs of one class, and short ones, are fetched in different ways."""
        kinds = [int, str, lambda _: None, float, Fraction, lambda n: (n,), Number, bool, str]
        values = [
            kind(number) for kind in kinds * (5000 // length // 9) for number in range(length)
        ]
        expected = deque(value for value in values if value is not None)
        assert run(collect, values) == expected

    @collecting
    def test_of_subclasses_are_values_as_well(self, collect):
        class Text(str):
            __slots__ = ()

        values = [Text("a"), True, 1, types.SimpleNamespace(), int, Text("b")] * 500
        assert run(collect, values) == deque(values)

    @collecting
    def test_that_are_generators_are_values_as_well(self, collect):
        def nothing():
            yield

        values = [nothing() for _ in range(1000)]
        assert run(collect, values) == deque(values)

    @collecting
    def test_what_the_generator_returns_is_none_of_them(self, collect):
        def values():
            yield 1
            return 2

        assert run(collect, values()) == deque([1])

    def test_come_in_a_deque(self):
        for collect in (every, in_batches_of_7):
            assert type(run(collect, [1, None])) is deque

    @on_each
    async def test_are_the_same_on_every_loop(self):
        for collect in COLLECTING:
            assert await collect(iter(range(3000))) == deque(range(3000))


class TestSteps:
    @collecting
    @pytest.mark.parametrize("number", [0, *NUMBERS])
    @pytest.mark.parametrize("pattern", ["values", "nones", "mixed", "runs"])
    def test_are_counted_the_last_one_included(self, collect, number, pattern):
        source = {
            "values": range(number),
            "nones": [None] * number,
            "mixed": itertools.islice(itertools.cycle([None, 1, "a", 0.5]), number),
            "runs": itertools.islice(itertools.cycle([1] * 90 + [None] * 90), number),
        }
        cooperator = Cooperator()
        run(collect, source[pattern], cooperator)
        assert cooperator.statistics().steps == number + 1

    @collecting
    @pytest.mark.parametrize("number", [0, *NUMBERS])
    @pytest.mark.parametrize("value", [None, 1, Fraction(1, 2)])
    def test_are_counted_up_to_the_one_that_fails(self, collect, number, value):
        def values():
            for _ in range(number):
                yield value
                yield None
            raise LookupError("no more")

        cooperator = Cooperator()
        with pytest.raises(LookupError, match="no more"):
            run(collect, values(), cooperator)
        assert cooperator.statistics().steps == 2 * number + 1

    @collecting
    @pytest.mark.parametrize("number", [0, *NUMBERS])
    def test_are_counted_up_to_an_awaitable_that_cannot_be_waited_on(self, collect, number):
        async def main():
            never = asyncio.get_running_loop().create_future()
            values = (never if step == number else step for step in itertools.count())
            with pytest.raises(TypeError, match="cannot wait for <Future pending>"):
                await collect(values, cooperator)

        cooperator = Cooperator()
        run(main)
        assert cooperator.statistics().steps == number + 1

    @collecting
    def test_that_wait_are_counted_too(self, collect):
        def values():
            for number in range(3000):
                if number % 300 == 299:
                    yield coroutine()
                yield number

        cooperator = Cooperator()
        assert run(collect, values(), cooperator) == deque(range(3000))
        assert cooperator.statistics().steps == 3011

    @on_loop
    async def test_are_those_of_the_task_as_well(self):
        cooperator = Cooperator()
        waiting = asyncio.create_task(batch_accumulate(100, iter(range(3000)), cooperator))
        await turns(1)
        (task,) = cooperator.tasks
        await waiting
        assert task.steps == 3001


class TestAwaitables:
    @collecting
    @pytest.mark.parametrize("make", AWAITABLES)
    @pytest.mark.parametrize("before", [0, 3, 1000, 5000])
    def test_are_waited_on_and_are_not_values(self, collect, make, before):
        def values():
            yield from range(before)
            received.append((yield make("result")))
            yield "after"
            received.append((yield make(None)))
            yield from range(300)

        received = []
        assert run(collect, values()) == deque([*range(before), "after", *range(300)])
        assert received == ["result", None]

    @collecting
    def test_results_are_values_when_they_are_yielded(self, collect):
        def values():
            for number in range(300):
                yield (yield coroutine(number if number % 3 else None))

        expected = deque(number for number in range(300) if number % 3)
        assert run(collect, values()) == expected

    @collecting
    def test_may_be_tasks_of_a_cooperator(self, collect):
        def values():
            yield (yield cooperate(other()))

        def other():
            yield
            return "result"

        assert run(collect, values()) == deque(["result"])

    @collecting
    def test_that_fail_are_raised_at_the_yield(self, collect):
        async def fail(number):
            raise LookupError(number)

        def values():
            for number in range(300):
                try:
                    yield fail(number)
                except LookupError as error:
                    yield error.args[0]

        assert run(collect, values()) == deque(range(300))

    @collecting
    def test_let_others_compute_meanwhile(self, collect):
        async def main():
            gate = asyncio.get_running_loop().create_future()

            def first():
                yield "a"
                yield gate
                yield "b"

            def second():
                yield "c"
                gate.set_result(None)
                yield "d"

            return await asyncio.gather(collect(first()), collect(second()))

        assert run(main) == [deque("ab"), deque("cd")]

    @collecting
    @pytest.mark.parametrize("make", AWAITABLES)
    @pytest.mark.parametrize("before", [0, 3, 5000])
    def test_from_a_generator_expression_show_the_way(self, collect, make, before):
        async def main():
            values = (make() if step == before else step for step in range(before + 3))
            with pytest.raises(
                TypeError, match=r"cannot receive its result; .*`yield \(yield awaitable\)`"
            ):
                await collect(values)
            await turns(3)

        run(main)

    @collecting
    @pytest.mark.parametrize("make", AWAITABLES)
    def test_from_a_plain_iterator_show_the_way(self, collect, make):
        async def main():
            for before in (0, 3, 5000):
                values = [*range(before), make(), 1]
                with pytest.raises(
                    TypeError, match=r"cannot wait .*list_iterator cannot receive"
                ):
                    await collect(values)
            await turns(3)

        run(main)

    @collecting
    def test_that_a_generator_expression_cannot_wait_for_close_it(self, collect):
        async def main():
            values = (coroutine() for _ in range(3))
            with pytest.raises(
                TypeError, match=r"<genexpr> at .*test_accumulate.py:[0-9]+ cannot"
            ):
                await collect(values)
            assert values.gi_frame is None

        run(main)


class TestBatchSizes:
    @pytest.mark.parametrize("value", [True, False, 1.0, 1.5, "a", None, [1], Fraction(2)])
    def test_that_are_no_integers_are_refused(self, value):
        with pytest.raises(
            TypeError, match="max_batch_size must be an integer of at least 1, got"
        ):
            run(functools.partial(batch_accumulate, value, never_begun()))

    @pytest.mark.parametrize("value", [0, -1, -(10**9)])
    def test_that_are_too_small_are_refused(self, value):
        with pytest.raises(ValueError, match=f"integer of at least 1, got {value}"):
            run(functools.partial(batch_accumulate, value, never_begun()))

    @pytest.mark.parametrize("value", [1, 2, 63, 64, 65, 999, 1000, 1001, 10**30])
    def test_of_at_least_one_are_fine(self, value):
        values = iter(range(1000))
        assert run(functools.partial(batch_accumulate, value, values)) == deque(range(1000))

    @pytest.mark.parametrize("predicate", [None, lambda: lambda: True])
    def test_of_any_size_may_compete(self, predicate):
        async def main():
            cooperator = Cooperator(predicate)
            sizes = [10**30, sys.maxsize, 1000]
            async with asyncio.timeout(1.0):  # of virtual time
                return await asyncio.gather(
                    *[batch_accumulate(size, iter(range(1000)), cooperator) for size in sizes]
                )

        assert run(main) == [deque(range(1000))] * 3

    def test_may_be_of_a_subclass_of_int(self):
        class Size(int):
            pass

        assert run(functools.partial(batch_accumulate, Size(3), [1])) == deque([1])


def never_begun():
    raise AssertionError("begun")
    yield


class TestTurns:
    """Which steps are taken before others have theirs."""

    @staticmethod
    def steps(events, what, number):
        for step in range(number):
            events.append(what)
            yield step

    def interleaved(self, size, number, cooperator):
        async def main():
            events = []
            await asyncio.gather(
                *[
                    batch_accumulate(size, self.steps(events, what, number), cooperator)
                    for what in "ab"
                ]
            )
            return "".join(events)

        return run(main)

    def test_are_of_one_step_each_for_accumulate(self):
        async def main():
            events = []
            await asyncio.gather(*[accumulate(self.steps(events, what, 200)) for what in "abc"])
            return "".join(events)

        assert run(main) == "abc" * 200

    @pytest.mark.parametrize("size", [1, 2, 3, 100])
    def test_are_of_a_whole_batch_when_steps_are_cheap(self, size):
        events = self.interleaved(size, 1000, Cooperator())
        assert events.startswith("a" * size + "b" * size + "a" * size)
        assert events.count("ab") >= 1000 // size

    @pytest.mark.parametrize("size", [1, 3, 100])
    def test_are_of_a_whole_batch_under_a_termination_predicate(self, size):
        async def main():
            events = []
            first = asyncio.create_task(
                batch_accumulate(size, self.steps(events, "step", 1000), cooperator)
            )
            asked = []
            while not first.done():
                await asyncio.sleep(0)
                asked.append(len(events))
            return [later - earlier for earlier, later in itertools.pairwise(asked)]

        cooperator = Cooperator(lambda: lambda: True)
        taken = [number for number in run(main) if number]
        assert taken == [size] * (1000 // size) + [1000 % size] * (1000 % size > 0)

    def test_are_of_a_whole_batch_under_a_predicate_however_long_that_takes(self):
        async def main():
            loop = asyncio.get_running_loop()
            await batch_accumulate(100, spending(loop, [2**-10] * 200), cooperator)

        cooperator = Cooperator(lambda: lambda: True)
        run(main)
        assert cooperator.statistics().longest_tick == 100 * 2**-10

    def test_count_the_nones(self):
        async def main():
            events = []

            def steps(what):
                for _ in range(6):
                    events.append(what)
                    yield None

            await asyncio.gather(*[batch_accumulate(3, steps(what)) for what in "ab"])
            return "".join(events)

        assert run(main) == "aaabbbaaabbb"

    def test_with_awaitables_in_the_middle_go_on_afterwards(self):
        async def main():
            events = []

            def steps(what):
                for number in range(9):
                    events.append(what)
                    if number == 4:
                        yield coroutine()
                    yield number

            return await asyncio.gather(*[batch_accumulate(3, steps(what)) for what in "ab"])

        assert run(main) == [deque(range(9))] * 2


def spending(loop, seconds):
    for number, each in enumerate(seconds):
        loop.spend(each)
        yield number


class TestTheSliceEndsATurnAsWell:
    SLICE = TimeSlice().seconds
    STEP = 2**-10

    @pytest.mark.parametrize("collect", [every, in_huge_batches, streamed_at_large])
    @pytest.mark.parametrize("others", [0, 1])
    def test_a_thousand_steps_of_a_millisecond_do_not_hold_the_loop(self, collect, others):
        async def main():
            loop = asyncio.get_running_loop()
            for _ in range(others):
                cooperator.cooperate(iter(range(10)))
            return await collect(spending(loop, [self.STEP] * 1000), cooperator)

        cooperator = Cooperator()
        assert len(run(main)) == 1000
        assert cooperator.statistics().longest_tick <= self.SLICE + self.STEP

    @pytest.mark.parametrize(
        ("collect", "chunk"), [(every, 16), (in_huge_batches, 64), (streamed_at_large, 64)]
    )
    def test_steps_that_become_expensive_late_hold_the_loop_for_a_chunk_once(
        self, collect, chunk
    ):
        async def main():
            loop = asyncio.get_running_loop()
            costs = [0.0] * 5000 + [self.STEP] * 1000
            return await collect(spending(loop, costs), cooperator)

        cooperator = Cooperator()
        assert len(run(main)) == 6000
        assert cooperator.statistics().longest_tick <= self.SLICE + chunk * self.STEP

    @pytest.mark.parametrize("collect", [every, in_huge_batches, streamed_at_large])
    def test_expensive_steps_now_and_then_do_not_hold_the_loop_either(self, collect):
        async def main():
            loop = asyncio.get_running_loop()
            costs = ([0.0] * 999 + [self.STEP]) * 20
            return await collect(spending(loop, costs), cooperator)

        cooperator = Cooperator()
        assert len(run(main)) == 20_000
        assert cooperator.statistics().longest_tick <= self.SLICE + self.STEP

    @pytest.mark.parametrize("collect", [every, in_huge_batches, streamed_at_large])
    def test_cheap_steps_are_not_timed_one_by_one(self, collect):
        async def main():
            loop = asyncio.get_running_loop()
            await collect(iter(range(128)))
            before = loop.readings
            await collect(iter(range(20_000)))
            return loop.readings - before

        assert run(main) <= 20_000 / 8

    @pytest.mark.parametrize("collect", [every, in_huge_batches, streamed_at_large])
    def test_the_slice_is_used(self, collect):
        async def main():
            loop = asyncio.get_running_loop()
            await collect(spending(loop, [2**-20] * 50_000), cooperator)

        cooperator = Cooperator()
        run(main)
        statistics = cooperator.statistics()
        assert statistics.cpu_time == pytest.approx(50_000 * 2**-20)
        assert statistics.ticks <= 3 + statistics.cpu_time / self.SLICE

    @pytest.mark.parametrize("collect", [every, in_huge_batches, streamed_at_large])
    def test_a_slow_step_in_the_midst_of_cheap_ones_is_reported_once(self, collect, caplog):
        async def main():
            loop = asyncio.get_running_loop()
            await collect(spending(loop, [0.0] * 3000 + [0.5] + [0.0] * 300 + [1.0]))

        run(main)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "held the loop for 0.500 seconds" in caplog.text


class TestNothingBegins:
    def test_before_it_is_awaited(self):
        async def main():
            for waiting in (
                accumulate(never_begun(), cooperator),
                batch_accumulate(10, never_begun(), cooperator),
                batch_accumulate(0, never_begun(), cooperator),
                accumulate(None, cooperator),
            ):
                await turns(3)
                assert cooperator.tasks == ()
                waiting.close()

        cooperator = Cooperator()
        run(main)
        assert cooperator.statistics().ticks == 0
        assert inspect.iscoroutinefunction(accumulate)
        assert inspect.iscoroutinefunction(batch_accumulate)

    def test_when_the_awaiting_task_is_cancelled_first(self):
        async def main():
            values = never_begun()
            task = asyncio.create_task(accumulate(values, cooperator))
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()

        cooperator = Cooperator()
        run(main)
        assert cooperator.statistics().ticks == 0

    def test_without_a_loop(self):
        waiting = accumulate([1])
        with pytest.raises(RuntimeError, match="without a running event loop"):
            waiting.send(None)


class TestArguments:
    async def agen(self):
        yield 1

    @collecting
    def test_what_cannot_be_iterated_over_is_refused_and_the_way_is_shown(self, collect):
        async def main():
            waiting = coroutine()
            for what, remedy in (
                (1, "pass a generator"),
                (None, "pass a generator"),
                (never_begun, "call it first"),
                (self.agen(), "`async for`"),
                (waiting, "await it"),
                (asyncio.get_running_loop().create_future(), "await it"),
            ):
                with pytest.raises(
                    TypeError, match=f"iterable must be iterable, got .*{remedy}"
                ):
                    await collect(what, cooperator)
            waiting.close()

        cooperator = Cooperator()
        run(main)
        assert cooperator.statistics().ticks == 0

    @collecting
    def test_what_is_no_cooperator_is_refused(self, collect):
        with pytest.raises(TypeError, match="cooperator must be a Cooperator or None, got 'a'"):
            run(collect, never_begun(), "a")

    @pytest.mark.parametrize("weight", [0, -1, math.nan, math.inf])
    @pytest.mark.parametrize("collect", [accumulate, functools.partial(batch_accumulate, 3)])
    def test_weights_out_of_range_are_refused(self, collect, weight):
        with pytest.raises(ValueError, match="weight must be a finite number above 0"):
            run(functools.partial(collect, never_begun(), weight=weight))

    @pytest.mark.parametrize("collect", [accumulate, functools.partial(batch_accumulate, 3)])
    def test_a_context_must_be_one(self, collect):
        with pytest.raises(TypeError, match=r"context must be a contextvars.Context, got 1"):
            run(functools.partial(collect, never_begun(), context=1))

    @pytest.mark.parametrize("collect", [accumulate, functools.partial(batch_accumulate, 3)])
    def test_name_and_weight_are_the_tasks(self, collect):
        async def main():
            seen = []

            def values():
                seen.append(current_task())
                yield 1

            await collect(values(), name="sums", weight=3)
            return [(task.name, task.weight) for task in seen]

        assert run(main) == [("sums", 3)]

    @pytest.mark.parametrize("collect", [accumulate, functools.partial(batch_accumulate, 100)])
    def test_the_weight_counts(self, collect):
        async def main():
            loop = asyncio.get_running_loop()
            tasks = [
                asyncio.create_task(
                    collect(spending(loop, itertools.repeat(2**-9)), cooperator, weight=weight)
                )
                for weight in (1, 3)
            ]
            await turns(1)
            light, heavy = cooperator.tasks
            await asyncio.sleep(4.0)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            return heavy.cpu_time / light.cpu_time

        cooperator = Cooperator()
        assert run(main) == pytest.approx(3, rel=0.05)

    @pytest.mark.parametrize("collect", [accumulate, functools.partial(batch_accumulate, 100)])
    def test_steps_and_closing_run_in_the_callers_context_or_in_the_one_given(self, collect):
        variable = contextvars.ContextVar("variable", default="default")

        def values():
            try:
                for _ in range(1000):
                    yield variable.get()
                    variable.set(variable.get() + "+" if len(variable.get()) < 9 else "long")
                yield (yield look())
                raise LookupError(variable.get())
            finally:
                seen.append(variable.get())

        async def look():
            return variable.get()

        async def main():
            variable.set("caller")
            for options in ({}, {"context": given}):
                with pytest.raises(LookupError, match=r"^(long|\w+\++)$"):
                    await collect(values(), **options)
            assert variable.get() == "caller"

        given = contextvars.Context()
        given.run(variable.set, "given")
        seen = []
        run(main)
        assert seen[1] == given[variable]

    def test_without_a_cooperator_it_is_the_loops_own(self):
        async def main():
            await accumulate([1])
            await batch_accumulate(3, [1])
            return get_cooperator().statistics().steps

        assert run(main) == 4


class TestCancellation:
    @staticmethod
    def values(events):
        spend = getattr(asyncio.get_running_loop(), "spend", lambda seconds: seconds)
        try:
            for number in itertools.count():
                spend(2**-8)
                yield number
        except asyncio.CancelledError:
            events.append("cancelled")
            raise
        finally:
            events.append("closed")

    @collecting
    @pytest.mark.parametrize("loop_factory", [asyncio.SelectorEventLoop, uvloop.Loop])
    def test_closes_the_generator_before_the_caller_knows(self, collect, loop_factory):
        async def caller(events):
            try:
                await collect(self.values(events), cooperator)
            finally:
                events.append("caller")

        async def main():
            events = []
            task = asyncio.create_task(caller(events))
            await turns(3)
            task.cancel("enough")
            with pytest.raises(asyncio.CancelledError, match=r"^enough$"):
                await task
            assert events == ["cancelled", "closed", "caller"]
            assert cooperator.tasks == ()

        cooperator = Cooperator()
        run(main, loop_factory=loop_factory)

    @collecting
    def test_by_a_timeout_does_so_too(self, collect):
        async def main():
            for limit in (asyncio.timeout, anyio.fail_after):
                events = []
                with pytest.raises(TimeoutError):  # noqa: PT012
                    async with _entered(limit(0.5)):
                        try:
                            await collect(self.values(events))
                        finally:
                            events.append("caller")
                assert events == ["cancelled", "closed", "caller"]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(collect(self.values(events)), 0.5)
            assert events[-2:] == ["cancelled", "closed"]

        run(main)

    @collecting
    def test_by_an_anyio_scope_does_so_too(self, collect):
        async def main():
            events = []
            async with anyio.create_task_group() as group:
                group.start_soon(collect, self.values(events))
                await turns(3)
                group.cancel_scope.cancel()
            assert events == ["cancelled", "closed"]
            with anyio.move_on_after(0.5) as scope:
                await collect(self.values(events))
            assert scope.cancelled_caught
            assert events == ["cancelled", "closed"] * 2

        run(main)

    @collecting
    def test_of_what_it_waits_on_cancels_that(self, collect):
        async def sleeping():
            try:
                await asyncio.sleep(1000)
            finally:
                events.append("awaitable")

        def values():
            try:
                yield sleeping()
            finally:
                events.append("closed")

        async def main():
            task = asyncio.create_task(collect(values()))
            await turns(5)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()

        events = []
        run(main)
        assert events == ["awaitable", "closed"]

    @collecting
    def test_waits_for_clean_up_that_awaits(self, collect):
        def values():
            try:
                yield asyncio.sleep(1000)
            finally:
                events.append((yield coroutine("cleaned up")))

        async def main():
            task = asyncio.create_task(collect(values()))
            await turns(5)
            task.cancel()
            await asyncio.wait([task])
            events.append("caller")
            assert task.cancelled()

        events = []
        run(main)
        assert events == ["cleaned up", "caller"]

    @collecting
    def test_drops_a_plain_iterator(self, collect):
        async def main():
            values = itertools.count()
            task = asyncio.create_task(collect(values, cooperator))
            await turns(3)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            assert cooperator.tasks == ()

        cooperator = Cooperator()
        run(main)

    @collecting
    def test_gives_the_caller_what_the_clean_up_raised(self, collect):
        def values():
            try:
                yield asyncio.sleep(1000)
            finally:
                raise LookupError("in the clean-up")

        async def main():
            task = asyncio.create_task(collect(values()))
            await turns(5)
            task.cancel()
            with pytest.raises(LookupError, match="in the clean-up"):
                await task
            gc.collect()

        run(main)


def _entered(limit):
    """anyio's limits are no asynchronous context managers."""

    class Entered:
        async def __aenter__(self):
            return (
                await limit.__aenter__() if hasattr(limit, "__aenter__") else limit.__enter__()
            )

        async def __aexit__(self, *error):
            if hasattr(limit, "__aexit__"):
                return await limit.__aexit__(*error)
            return limit.__exit__(*error)

    return Entered()


class TestFailures:
    @collecting
    @pytest.mark.parametrize("number", [0, *NUMBERS])
    def test_reach_the_caller_unchanged(self, collect, number):
        class OurError(BaseException):
            pass

        def values():
            for step in range(number):
                yield step
                yield None
            raise error from cause

        async def main():
            with pytest.raises(OurError, match=r"^failed$") as caught:
                await collect(values())
            return caught.value

        error, cause = OurError("failed"), KeyError("cause")
        assert run(main) is error
        assert error.__cause__ is cause
        assert error.__context__ is None

    @collecting
    @pytest.mark.parametrize("number", [0, 1000])
    def test_of_plain_iterators_reach_the_caller_unchanged(self, collect, number):
        class Failing:
            left = number

            def __iter__(self):
                return self

            def __next__(self):
                self.left -= 1
                if self.left < 0:
                    raise error
                return self.left

        error = ZeroDivisionError("failed")
        with pytest.raises(ZeroDivisionError, match=r"^failed$") as caught:
            run(collect, Failing())
        assert caught.value is error

    @collecting
    def test_show_where_the_generator_failed_and_who_awaited_it(self, collect):
        def values():
            yield from [1] * 1000
            raise LookupError("here")

        with pytest.raises(LookupError, match="here") as caught:
            run(collect, values())
        names = [entry.name for entry in caught.traceback]
        assert names[-1] == "values"
        assert names.count("values") == 1
        assert collect.__name__ in names

    @collecting
    @pytest.mark.parametrize("number", [3, 1000])
    def test_keep_nothing_alive(self, collect, number):
        """Nor does it need the garbage collector to let go of it."""

        def values():
            for step in range(number):
                yield Number(step)
            value = Number("last")
            refs.append(weakref.ref(value))
            yield value
            del value
            raise LookupError("failed")

        async def main():
            source = values()
            refs.append(weakref.ref(source))
            with pytest.raises(LookupError, match="failed") as caught:
                await collect(source, cooperator)
            del source
            await turns(2)  # the loop itself has the task in hand when it wakes the caller
            if collect not in {streamed, streamed_at_large}:  # their frames keep a batch
                assert refs[1]() is None  # although there is the exception
            del caught
            assert refs[0]() is None
            assert refs[1]() is None

        cooperator = Cooperator()
        refs = []
        gc.collect()
        gc.disable()
        try:
            run(main)
        finally:
            gc.enable()

    @collecting
    @pytest.mark.parametrize("how", ["fail", "refuse", "stop", "cancel"])
    def test_leave_no_task_behind(self, collect, how):
        def values():
            yield Number("value")
            yield from [None] * 10
            if how == "fail":
                raise LookupError("failed")
            yield asyncio.sleep(1000)

        async def main():
            source = values()
            if how == "refuse":
                source = itertools.chain([Number("value")], (coroutine() for _ in range(3)))
            task = asyncio.create_task(collect(source, cooperator))
            await turns(1)
            tasks.extend(map(weakref.ref, cooperator.tasks))
            for _ in range(400):
                await asyncio.sleep(0)
            if how == "stop":
                cooperator.stop()
            elif how == "cancel":
                task.cancel()
            await asyncio.wait([task])
            kind = {
                "fail": LookupError,
                "refuse": TypeError,
                "stop": SchedulerStopped,
                "cancel": asyncio.CancelledError,
            }[how]
            error = None
            try:
                task.result()
            except BaseException as caught:  # noqa: BLE001
                error = caught
            assert isinstance(error, kind)
            del task, source
            await turns(2)
            assert tasks
            assert [ref() for ref in tasks] == [None] * len(tasks)
            del error

        cooperator = Cooperator()
        tasks = []
        gc.collect()
        gc.disable()
        try:
            run(main)
        finally:
            gc.enable()

    @collecting
    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
    def test_that_leave_through_the_loop_do_so_in_a_chunk_too(self, collect, kind):
        def values():
            yield from range(1000)
            raise kind("now")

        with pytest.raises(kind, match="now"):
            run(collect, values())


class TestTheCooperatorIsStopped:
    @collecting
    def test_the_caller_learns_and_the_generator_is_closed(self, collect):
        async def main():
            events = []
            task = asyncio.create_task(collect(TestCancellation.values(events), cooperator))
            await turns(3)
            cooperator.stop()
            assert events == ["closed"]
            with pytest.raises(SchedulerStopped, match="the Cooperator was stopped"):
                await task

        cooperator = Cooperator()
        run(main)

    @collecting
    def test_before_it_begins_nothing_is_stepped(self, collect):
        async def main():
            values = never_begun()
            with pytest.raises(SchedulerStopped, match=r"start.. it first"):
                await collect(values, cooperator)
            assert values.gi_frame is None

        cooperator = Cooperator()
        cooperator.stop()
        run(main)

    @collecting
    @pytest.mark.parametrize("number", [3, 1000])
    def test_by_the_generator_itself(self, collect, number):
        def values():
            yield from range(number)
            cooperator.stop()
            yield from itertools.count()

        cooperator = Cooperator()
        with pytest.raises(SchedulerStopped, match="the Cooperator was stopped"):
            run(collect, values(), cooperator)
        assert cooperator.statistics().steps <= number + 2 + 64

    @collecting
    @pytest.mark.parametrize("number", [3, 1000])
    def test_or_only_the_task_by_its_own_step(self, collect, number):
        def values():
            myself = current_task()  # from now on, steps are taken one by one
            yield from range(number)
            myself.stop()
            yield "the step goes to its end"
            raise AssertionError("not reached")

        with pytest.raises(TaskStopped, match="the task was stopped"):
            run(collect, values())


class TestWhatStepsDo:
    @collecting
    def test_pausing_oneself_takes_effect_after_the_step(self, collect):
        async def main():
            events = []

            def values():
                events.append(current_task())  # from now on, steps are taken one by one
                for number in range(300):
                    if number == 200:
                        events[0].pause()
                    yield number

            task = asyncio.create_task(collect(values()))
            await turns(600)
            assert not task.done()
            assert events[0].paused
            assert events[0].steps == 201
            events[0].resume()
            return await task

        assert run(main) == deque(range(300))

    @collecting
    @pytest.mark.parametrize("number", [3, 3000])
    def test_adding_a_task_gives_it_a_turn_soon(self, collect, number):
        async def main():
            steps = 0
            seen = []

            def note():
                seen.append(steps)
                yield

            def values():
                nonlocal steps
                for step in range(number):
                    steps = step
                    if step == number - 2:
                        cooperator.cooperate(note())
                    yield step
                for _ in range(3000):
                    steps += 1
                    yield None

            await collect(values(), cooperator)
            return seen[0] - (number - 2)

        cooperator = Cooperator()
        assert run(main) <= 64 + 7 if collect in {every, in_batches_of_7} else 3000

    @collecting
    def test_accumulating_within_an_accumulation(self, collect):
        def outer():
            for number in range(50):
                yield (yield collect(inner(number)))

        def inner(number):
            yield from range(number)

        result = run(collect, outer())
        assert result == deque(deque(range(number)) for number in range(50))

    @collecting
    def test_cancelling_the_caller_from_a_step(self, collect):
        async def main():
            events = []

            def values():
                try:
                    for number in itertools.count():
                        if number == 1000:
                            task.cancel()
                        yield number
                finally:
                    events.append("closed")

            task = asyncio.create_task(collect(values()))
            await asyncio.wait([task])
            assert task.cancelled()
            assert events == ["closed"]

        run(main)


class TestSharedIterators:
    def test_several_accumulations_divide_the_values_among_them(self):
        async def main():
            shared = iter(range(1000))
            parts = await asyncio.gather(*[collect(shared) for collect in COLLECTING])
            assert sorted(itertools.chain(*parts)) == list(range(1000))

        run(main)


class TestValueBucket:
    def test_collects_what_it_is_called_with_but_none(self):
        bucket = ValueBucket()
        for value in (1, None, 0, "", False, None, [2]):
            assert bucket(value) is None
        assert bucket.contents() == deque([1, 0, "", False, [2]])

    def test_contents_are_a_copy(self):
        bucket = ValueBucket()
        bucket(1)
        contents = bucket.contents()
        contents.append(2)
        bucket(3)
        assert contents == deque([1, 2])
        assert bucket.contents() == deque([1, 3])

    def test_draining_begins_anew(self):
        bucket = ValueBucket()
        assert bucket.drain_contents() == deque()
        bucket(1)
        drained = bucket.drain_contents()
        bucket(2)
        assert drained == deque([1])
        assert bucket.contents() == bucket.drain_contents() == deque([2])
        assert bucket.contents() == deque()

    @on_loop
    async def test_the_handler_drains_it(self):
        bucket = ValueBucket()

        def steps():
            for number in range(3):
                bucket(number)
                yield

        stopped = await cooperate(steps()).when_done()
        assert accumulation_handler(stopped, bucket) == deque([0, 1, 2])
        assert bucket.contents() == deque()


VALUES = st.sampled_from(["int", "str", "None", "coroutine", "future", "ready", "Number"])
RUNS = st.lists(st.tuples(VALUES, st.sampled_from([1, 1, 1, 2, 17, 64, 65, 200])), max_size=12)


def _ready(result):
    done = asyncio.get_running_loop().create_future()
    done.set_result(result)
    return done


class Script:
    """A generator and what is expected of it: the values, without Nones and awaitables."""

    MAKE = {  # noqa: RUF012
        "int": lambda number: number,
        "str": str,
        "None": lambda _: None,
        "Number": Fraction,
        "coroutine": coroutine,
        "future": future,
        "ready": _ready,
    }

    def __init__(self, prefix, runs, end):
        kinds = [kind for kind, length in runs for _ in range(length)]
        self.kinds = ["int"] * prefix + kinds
        self.end = end
        self.steps = len(self.kinds) + 1

    def values(self):
        for number, kind in enumerate(self.kinds):
            value = self.MAKE[kind](number)
            if kind in {"coroutine", "future", "ready"}:
                assert (yield value) == number
            else:
                assert (yield value) is None
        if self.end == "raise":
            raise LookupError(self.end)

    def expected(self):
        plain = [kind if kind in {"int", "str", "Number"} else "None" for kind in self.kinds]
        made = [self.MAKE[kind](number) for number, kind in enumerate(plain)]
        return [value for value in made if value is not None]

    async def check_all_at_once(self, waiting):
        if self.end == "raise":
            with pytest.raises(LookupError, match="raise"):
                await waiting
        else:
            assert await waiting == deque(self.expected())

    async def check_streamed(self, size, stream):
        got = []
        try:
            async for batch in stream:
                got.append(batch)  # noqa: PERF401 (what came before the failure counts)
        except LookupError as error:
            assert str(error) == self.end  # noqa: PT017 (it need not come)
        else:
            assert self.end == "return"
        assert list(itertools.chain(*got)) == self.expected()
        assert all(len(batch) == size for batch in got[:-1])
        assert all(1 <= len(batch) <= size for batch in got)


class TestTheModel:
    """The values are those of the sequence, in order, without Nones and awaitables."""

    @given(
        script=st.builds(
            Script,
            prefix=st.sampled_from([0, 1, 127, 128, 129, 1500]),
            runs=RUNS,
            end=st.sampled_from(["return", "raise"]),
        ),
        size=st.one_of(st.integers(1, 300), st.just(10**6)),
    )
    def test_holds_for_any_values_and_any_batch_size(self, script, size):
        async def main():
            await script.check_all_at_once(accumulate(script.values(), cooperator))
            await script.check_all_at_once(batch_accumulate(size, script.values(), cooperator))
            await script.check_streamed(size, batches(size, script.values(), cooperator))
            assert cooperator.statistics().steps == 3 * script.steps
            assert cooperator.tasks == ()

        cooperator = Cooperator()
        run(main)


class TestWhatUsersMistake:
    @pytest.mark.parametrize("size", [1000, True])
    async def test_swapped_arguments_are_told(self, size):
        rows = list(range(10**5))
        with pytest.raises(
            TypeError, match=r"comes first; got \[0, 1, .* and then .*: swap the two"
        ) as caught:
            await batch_accumulate(rows, size)
        assert len(str(caught.value)) < 500
        with pytest.raises(TypeError, match="swap the two"):
            batches(rows, size)

    async def test_an_error_quotes_a_little_of_a_large_argument(self):
        with pytest.raises(TypeError, match=r"pass a generator|call it|use iter") as caught:
            get_cooperator().cooperate(list(range(10**6)))
        assert len(str(caught.value)) < 500

    @pytest.mark.parametrize("collect", [accumulate, functools.partial(batch_accumulate, 10)])
    async def test_results_that_vanish_are_told_once(self, collect, caplog):
        async def fetch(number):
            return number

        def forgets():
            for number in range(3):
                yield fetch(number)

        assert await collect(forgets()) == deque()
        (text,) = caplog.messages
        assert "forgets" in text
        assert "`yield (yield awaitable)`" in text

    async def test_results_that_are_used_are_not(self, caplog):
        async def fetch(number):
            return number or None

        def passes_on():
            yield fetch(0)
            yield (yield fetch(1))

        def waits():
            yield fetch(0)

        assert await accumulate(passes_on()) == deque([1])
        assert await accumulate(waits()) == deque()
        assert caplog.messages == []
