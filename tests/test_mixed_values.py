"""Values of several classes: the slice holds for each mix of them, and none is lost.

The steps take time on a fake clock, so that what a tick has taken is exact.
"""

import asyncio
import random
from collections import deque
from itertools import cycle, islice

import pytest
from core_support import Clock, Ticks

from cooperative_aio import (
    Cooperator,
    accumulate,
    batch_accumulate,
    batches,
    current_task,
)

pytestmark = pytest.mark.thinned(3)

MICROSECOND = 2.0**-20  # seconds
MILLISECOND = 2.0**-10
SLICE = 5 * MILLISECOND
CHUNK = 256 * MICROSECOND  # well above the 100 µs that a chunk is meant to take


class Other:
    """A class that the library has never seen."""

    def __init__(self, number):
        self.number = number

    def __eq__(self, other):
        return isinstance(other, Other) and self.number == other.number

    def __hash__(self):
        return hash(self.number)


def alternating(*classes):
    """Make values of each class in turn."""

    def make(count):
        return [
            kind(number) for number, kind in zip(range(count), cycle(classes), strict=False)
        ]

    make.__name__ = "_".join(kind.__name__ for kind in classes)
    return make


def none(_number):
    return None


def of_runs(seed, *classes, longest=40):
    """Make runs of random length of values of one class."""

    def make(count):
        chance = random.Random(seed)  # noqa: S311
        values = []
        while len(values) < count:
            kind = chance.choice(classes)
            values += map(kind, range(chance.randint(1, longest)))
        return values[:count]

    make.__name__ = f"runs_{seed}"
    return make


def a_tuple(number):
    return (number, str(number))


MIXES = [
    alternating(int),
    alternating(int, str),
    alternating(int, none),
    alternating(none, str),
    alternating(a_tuple, none),
    alternating(int, str, float),
    alternating(int, Other),
    alternating(Other, none),
    alternating(int, bool, str, none, Other, a_tuple),
    alternating(int, int, str),
    *(of_runs(seed, int, str) for seed in range(2)),
    *(of_runs(seed, int, str, none, Other, longest=5) for seed in range(3, 5)),
    *(of_runs(seed, int, none, longest=200) for seed in range(6, 7)),
]
EACH_MIX = pytest.mark.parametrize("make", MIXES, ids=lambda make: make.__name__)


async def accumulated(iterable, cooperator):
    return list(await accumulate(iterable, cooperator))


async def batch_accumulated(iterable, cooperator):
    return list(await batch_accumulate(1000, iterable, cooperator))


async def streamed(iterable, cooperator):
    return [value async for batch in batches(1000, iterable, cooperator) for value in batch]


EACH_COLLECT = pytest.mark.parametrize(
    "collect", [accumulated, batch_accumulated, streamed], ids=lambda one: one.__name__
)


def kept(values):
    return [value for value in values if value is not None]


class Bench:
    """A Cooperator on a fake clock, whose ticks are made and measured one by one."""

    def __init__(self):
        self.clock = Clock()
        self.ticks = Ticks()
        self.cooperator = Cooperator(
            scheduler=self.ticks, clock=self.clock, time_slice=SLICE, slow_step=1e9
        )
        self.longest = 0.0
        self.between = 0  # how often something else could run

    def stepping(self, values, cost):
        """Yield the values; each step takes so long."""
        for value in values:
            self.clock.advance(cost)
            yield value

    async def finish(self, caller):
        """Make ticks until the caller is done."""
        for _ in range(100_000):
            if caller.done():
                return
            if self.ticks.pending:
                began = self.clock.now
                self.ticks.tick()
                self.longest = max(self.longest, self.clock.now - began)
                self.between += 1
            await asyncio.sleep(0)
        raise AssertionError("it was never done")

    async def run(self, collect, iterator, *, beside=0):
        caller = asyncio.ensure_future(collect(iterator, self.cooperator))
        await asyncio.sleep(0)
        for _ in range(beside):
            self.cooperator.cooperate(self.stepping([None] * 500, 50 * MICROSECOND))
        await self.finish(caller)
        self.cooperator.stop()
        return caller.result()


class TestTheSlice:
    @pytest.mark.parametrize("cost", [1, 20, 1000], ids="{}us".format)
    @pytest.mark.parametrize("beside", [0, 1])
    @EACH_COLLECT
    @EACH_MIX
    async def test_holds_for_each_mix_and_nothing_is_lost(self, make, collect, beside, cost):
        bench = Bench()
        values = make(3000 if cost > 1 else 20_000)
        iterator = bench.stepping(values, cost * MICROSECOND)
        assert await bench.run(collect, iterator, beside=beside) == kept(values)
        chunk = max(CHUNK, cost * MICROSECOND)
        assert bench.longest <= SLICE + chunk + 50 * MICROSECOND
        assert bench.between >= len(values) * cost * MICROSECOND / (SLICE + chunk) - 1

    @EACH_COLLECT
    @EACH_MIX
    async def test_holds_when_steps_become_long(self, make, collect):
        """A chunk that turns out long, of at most 64 steps, is followed by single ones."""
        bench = Bench()
        values = make(2000)

        def becomes_long():
            for number, value in enumerate(values):
                bench.clock.advance(MICROSECOND if number < 1000 else MILLISECOND)
                yield value

        assert await bench.run(collect, becomes_long()) == kept(values)
        assert bench.longest <= SLICE + 65 * MILLISECOND

    @EACH_COLLECT
    async def test_lets_a_cancellation_through(self, collect):
        bench = Bench()
        closed = []

        def endless():
            try:
                for number in range(50_000):
                    bench.clock.advance(20 * MICROSECOND)
                    yield number
                    yield "x"
            finally:
                closed.append(bench.clock.now)

        caller = asyncio.ensure_future(collect(endless(), bench.cooperator))
        await asyncio.sleep(0)
        for _ in range(2):
            if bench.ticks.pending:
                bench.ticks.tick()
            await asyncio.sleep(0)
        caller.cancel()
        await asyncio.wait([caller])
        assert caller.cancelled()
        assert len(closed) == 1
        assert closed[0] <= 2 * (SLICE + CHUNK)


class TestNothingIsLost:
    @pytest.mark.parametrize("at", [1, 17, 130, 301])
    @pytest.mark.parametrize("asks", ["before", "then"])
    @EACH_COLLECT
    @EACH_MIX
    async def test_by_a_pause_from_inside_of_the_generator(self, make, collect, asks, at):
        bench = Bench()
        values = make(400)
        paused = []

        def pauses():
            task = None
            if asks == "before":
                task = current_task()
            for number, value in enumerate(values):
                if number == at:
                    task = task or current_task()
                    task.pause()
                    paused.append(task)
                bench.clock.advance(MICROSECOND)
                yield value

        caller = asyncio.ensure_future(collect(pauses(), bench.cooperator))
        for _ in range(5):
            await asyncio.sleep(0)
            while bench.ticks.pending:
                bench.ticks.tick()
        assert not caller.done()
        (task,) = paused
        if asks == "before":
            assert task.steps == at + 1
        task.resume()
        await bench.finish(caller)
        assert caller.result() == kept(values)

    @EACH_COLLECT
    @EACH_MIX
    async def test_by_pauses_at_moments_made_by_chance(self, make, collect):
        chance = random.Random(7)  # noqa: S311
        bench = Bench()
        values = make(1000)
        iterator = bench.stepping(values, 100 * MICROSECOND)
        caller = asyncio.ensure_future(collect(iterator, bench.cooperator))
        await asyncio.sleep(0)
        (task,) = bench.cooperator.tasks
        while not caller.done():
            if bench.ticks.pending:
                bench.ticks.tick()
            if chance.random() < 0.5 and not task.done():
                task.pause()
                await asyncio.sleep(0)
                task.resume()
            await asyncio.sleep(0)
        assert caller.result() == kept(values)
        assert task.steps == len(values) + 1

    @pytest.mark.parametrize("every", [1, 2, 3, 50])
    @EACH_COLLECT
    @EACH_MIX
    async def test_around_an_awaitable(self, make, collect, every):
        """The values before it and behind it are kept, and it gets its own result."""
        bench = Bench()
        values = make(400)
        wrong = []

        def awaits():
            for number, value in enumerate(values):
                bench.clock.advance(MICROSECOND)
                yield value
                if number % every == 0:
                    got = yield asyncio.sleep(0, number)
                    if got != number:
                        wrong.append((got, number))

        assert await bench.run(collect, awaits()) == kept(values)
        assert wrong == []

    @EACH_COLLECT
    @EACH_MIX
    async def test_before_a_failure_that_is_the_generators_own(self, make, collect):
        bench = Bench()
        values = make(333)
        error = ArithmeticError("its own")
        taken = []

        def fails():
            for value in values:
                bench.clock.advance(MICROSECOND)
                taken.append(value)
                yield value
            raise error

        with pytest.raises(ArithmeticError, match="its own") as caught:
            await bench.run(collect, fails())
        assert caught.value is error
        assert len(taken) == len(values)

    @pytest.mark.parametrize("size", [1, 3, 64, 129])
    @EACH_MIX
    async def test_between_batches_which_are_full(self, make, size):
        bench = Bench()
        values = make(700)

        async def lists(iterable, cooperator):
            return [batch async for batch in batches(size, iterable, cooperator)]

        got = await bench.run(lists, bench.stepping(values, MICROSECOND))
        assert [value for batch in got for value in batch] == kept(values)
        assert {len(batch) for batch in got[:-1]} <= {size}

    @EACH_MIX
    async def test_and_the_limit_of_items_is_kept(self, make):
        values = make(500)
        wanted = kept(values)
        bench = Bench()

        async def limited(iterable, cooperator):
            return await accumulate(iterable, cooperator, max_items=len(wanted))

        assert await bench.run(limited, bench.stepping(values, MICROSECOND)) == deque(wanted)

    @EACH_COLLECT
    @EACH_MIX
    async def test_and_the_steps_are_counted(self, make, collect):
        bench = Bench()
        values = make(500)
        caller = asyncio.ensure_future(
            collect(bench.stepping(values, MICROSECOND), bench.cooperator)
        )
        await asyncio.sleep(0)
        (task,) = bench.cooperator.tasks
        await bench.finish(caller)
        assert task.steps == bench.cooperator.statistics().steps == len(values) + 1

    @EACH_COLLECT
    @EACH_MIX
    async def test_of_an_iterator_that_is_no_generator(self, make, collect):
        bench = Bench()
        values = make(1000)

        class Plain:
            def __init__(self):
                self.values = iter(values)

            def __iter__(self):
                return self

            def __next__(self):
                bench.clock.advance(20 * MICROSECOND)
                return next(self.values)

        assert await bench.run(collect, Plain()) == kept(values)
        assert bench.longest <= SLICE + CHUNK

    @pytest.mark.parametrize("size", [1, 2, 7, 100])
    @EACH_MIX
    async def test_and_a_turn_takes_no_more_than_its_steps(self, make, size):
        """Beside another task: `max_batch_size` is a maximum, whatever the classes are."""
        bench = Bench()
        values = make(300)
        log = []

        def logs():
            for value in values:
                log.append("a")
                yield value

        def other():
            while True:
                log.append("b")
                yield

        caller = asyncio.ensure_future(batch_accumulate(size, logs(), bench.cooperator))
        await asyncio.sleep(0)
        task = bench.cooperator.cooperate(islice(other(), 5000))
        bench.clock.now += 1
        for _ in range(5000):
            if caller.done():
                break
            if bench.ticks.pending:
                bench.ticks.tick()
            await asyncio.sleep(0)
        longest = max(map(len, "".join(log).split("b")))
        assert longest <= size
        assert list(caller.result()) == kept(values)
        if not task.done():
            task.stop()
