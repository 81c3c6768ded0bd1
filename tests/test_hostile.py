"""Whatever is raised at whatever the library calls: no task is lost, and no loop spins.

`Bench` runs a hostile task beside honest ones until all have ended, though something may
leave through the loop meanwhile, and then looks whether the loop is idle.
"""

import asyncio
import contextlib
import gc
import logging
import math
import random
from itertools import pairwise

import pytest
from core_support import Clock, Stepwise, Ticks, one_step

from cooperative_aio import (
    Cooperator,
    TimeSlice,
    accumulate,
    batch_accumulate,
    batches,
)

pytestmark = pytest.mark.thinned(3)

MILLISECOND = 2.0**-10  # seconds
LEAVING = (KeyboardInterrupt, SystemExit)
KINDS = [LookupError, MemoryError, asyncio.CancelledError, KeyboardInterrupt, SystemExit]


async def streamed(iterable, cooperator, **options):
    return [
        value async for batch in batches(3, iterable, cooperator, **options) for value in batch
    ]


async def accumulated(iterable, cooperator, **options):
    return list(await accumulate(iterable, cooperator, **options))


async def batch_accumulated(iterable, cooperator, **options):
    return list(await batch_accumulate(100, iterable, cooperator, **options))


async def stepped(iterator, cooperator, **options):
    """Return nothing of the values: they mean nothing to a plain task."""
    return await cooperator.cooperate(iterator, **options)


COLLECTS = [accumulated, batch_accumulated, streamed]
EACH_COLLECT = pytest.mark.parametrize("collect", COLLECTS, ids=lambda one: one.__name__)
EACH_WAY = pytest.mark.parametrize("way", [stepped, *COLLECTS], ids=lambda one: one.__name__)
EACH_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


class Bench:
    """A Cooperator on a loop of its own, with a tick on every turn of that."""

    def __init__(self, loop_factory, **options):
        self.loop = loop_factory()
        self.reports = []
        self.left = []  # what has left through the loop
        self.loop.set_exception_handler(lambda _, context: self.reports.append(context))
        options = {"time_slice": TimeSlice(0.005, max_wait=0), **options}
        self.cooperator = Cooperator(**options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(BaseException):
            self.loop.run_until_complete(self._stop())
        with contextlib.suppress(BaseException):
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()
        gc.collect()

    async def _stop(self):
        self.cooperator.stop()

    def call(self, function, *arguments):
        """Call on the running loop."""

        async def main():
            return function(*arguments)

        return self.run(main())

    def run(self, coroutine):
        """Run the loop again and again until the coroutine has returned."""
        task = self.loop.create_task(coroutine)
        while True:
            try:
                return self.loop.run_until_complete(task)
            except LEAVING as error:
                self.left.append(error)
                assert len(self.left) < 20
                if task.done():
                    return task.result()
            except RuntimeError as error:  # what left came in the turn in which it ended
                if "stopped before" not in str(error):
                    raise

    def until_done(self, *futures, turns=600):
        """Let the loop take turns until all of them are done."""

        async def main():
            for _ in range(turns):
                if all(future.done() for future in futures):
                    return
                await asyncio.sleep(0)

        self.run(main())
        assert [future for future in futures if not future.done()] == []

    def check_idle(self):
        """Nothing is left, nothing is scheduled."""
        before = self.cooperator.statistics()
        assert self.cooperator.tasks == ()
        assert (before.ready, before.paused, before.waiting) == (0, 0, 0)

        async def turns():
            for _ in range(30):
                await asyncio.sleep(0)

        self.run(turns())
        assert self.cooperator.statistics().ticks == before.ticks

    def honest(self, group=None, count=5):
        """Make a task that takes so many steps and one that waits; both return 'honest'."""

        def steps():
            for _ in range(count):
                yield
            return "honest"

        def waits():
            for _ in range(count):
                yield asyncio.sleep(0)
            return "honest"

        cooperate = self.cooperator.cooperate
        return [cooperate(each(), group=group) for each in (steps, waits)]

    def check_beside_honest_ones(self, make, group=None):
        """Run what `make` makes beside honest tasks to the end; return it."""

        def begin():
            honest = self.honest(group)
            hostile = asyncio.ensure_future(make(self.cooperator))
            return hostile, [*honest, *self.honest(group)]

        hostile, honest = self.call(begin)
        try:
            self.until_done(hostile, *honest)
        finally:
            if hostile.done() and not hostile.cancelled():
                hostile.exception()
        assert [task.result() for task in honest] == ["honest"] * 4
        self.check_idle()
        return hostile


def ended(future):
    """Tell how a future has ended, as its result or the class of its exception."""
    if future.cancelled():
        return asyncio.CancelledError
    return type(future.exception()) if future.exception() is not None else future.result()


# What leaves through the loop


class TestAStepThatLeavesThroughTheLoop:
    @staticmethod
    def leaves(kind):
        yield 1
        yield 2
        raise kind("now")

    @pytest.mark.parametrize("kind", LEAVING, ids=lambda kind: kind.__name__)
    @pytest.mark.parametrize("group", [None, "g"])
    @EACH_WAY
    def test_strands_nobody(self, loop_factory, way, group, kind):
        with Bench(loop_factory) as bench:
            hostile = bench.check_beside_honest_ones(
                lambda cooperator: way(self.leaves(kind), cooperator, group=group), group
            )
            assert ended(hostile) is kind
            assert {type(error) for error in bench.left} == {kind}

    @pytest.mark.parametrize("kind", LEAVING, ids=lambda kind: kind.__name__)
    @pytest.mark.parametrize("group", [None, "g"])
    async def test_leaves_no_empty_tick_behind(self, group, kind):
        """With a scheduler and a predicate, each tick is one step, so ticks can be counted."""
        cooperator = Stepwise()
        hostile = cooperator.cooperate(self.leaves(kind), group=group)
        siblings = [cooperator.cooperate(iter("abcdef"), group=group) for _ in range(3)]
        for _ in range(100):
            if cooperator.ticks.pending:
                with contextlib.suppress(*LEAVING):
                    cooperator.ticks.tick()
        assert isinstance(hostile.exception(), kind)
        assert [task.done() for task in siblings] == [True] * 3
        assert cooperator.ticks.pending == ()
        statistics = cooperator.statistics()
        assert (statistics.steps, statistics.ticks) == (3 + 3 * 7, 3 + 3 * 7)
        cooperator.stop()

    @pytest.mark.parametrize("kind", LEAVING, ids=lambda kind: kind.__name__)
    async def test_leaves_a_group_that_can_be_used_again(self, kind):
        cooperator = Stepwise()
        hostile = cooperator.cooperate(self.leaves(kind), group="g")
        for _ in range(3):
            with contextlib.suppress(*LEAVING):
                cooperator.ticks.tick()
        assert isinstance(hostile.exception(), kind)
        later = cooperator.cooperate(iter("ab"), group="g")
        cooperator.ticks.run(limit=20)
        assert later.done()
        cooperator.stop()

    @pytest.mark.parametrize("kind", LEAVING, ids=lambda kind: kind.__name__)
    @pytest.mark.parametrize("group", [None, "g"])
    def test_may_be_the_throw_of_a_cancellation(self, loop_factory, group, kind):
        with Bench(loop_factory) as bench:

            def leaves_when_cancelled():
                try:
                    while True:
                        yield
                except asyncio.CancelledError:
                    raise kind("now") from None

            def begin():
                hostile = bench.cooperator.cooperate(leaves_when_cancelled(), group=group)
                asyncio.get_running_loop().call_later(0, hostile.cancel)
                return [hostile, *bench.honest(group)]

            tasks = bench.call(begin)
            bench.until_done(*tasks)
            assert [ended(task) for task in tasks] == [kind, "honest", "honest"]
            bench.check_idle()

    @pytest.mark.parametrize("kind", LEAVING, ids=lambda kind: kind.__name__)
    @pytest.mark.parametrize("group", [None, "g"])
    def test_may_be_a_clean_up_after_stop(self, loop_factory, group, kind):
        with Bench(loop_factory) as bench:

            def leaves_when_closed():
                try:
                    while True:
                        yield
                finally:
                    raise kind("now")

            def begin():
                hostile = bench.cooperator.cooperate(leaves_when_closed(), group=group)
                hostile.add_done_callback(asyncio.Future.exception)

                def stop():
                    if hostile.steps:
                        hostile.stop()
                    else:
                        asyncio.get_running_loop().call_soon(stop)

                stop()
                return [hostile, *bench.honest(group)]

            tasks = bench.call(begin)
            bench.until_done(*tasks)
            assert [task.result() for task in tasks[1:]] == ["honest"] * 2
            bench.check_idle()


# Values


class UnhashableClass(type):
    def __eq__(cls, other):
        return cls is other

    __hash__ = None


class RaisesWhenCompared(type):
    def __eq__(cls, other):
        raise LookupError("this class cannot be compared")

    __hash__ = type.__hash__


class RaisesWhenHashed(type):
    def __hash__(cls):
        raise LookupError("this class cannot be hashed")


class EqualToAll(type):
    """Compares equal to each class there is, awaitable or not."""

    def __eq__(cls, other):
        return True

    def __hash__(cls):
        return hash(int)


def of_class(metaclass):
    def make(_kind):
        return metaclass("Value", (), {"__repr__": lambda self: "a value"})()

    make.__name__ = metaclass.__name__
    return make


def with_a_class_that_raises(kind):
    class Value:
        @property
        def __class__(self):
            raise kind("no class")

    return Value()


def with_attributes_that_raise(kind):
    class Value:
        def __getattr__(self, name):
            raise kind(f"no {name}")

    return Value()


def with_a_repr_that_raises(kind):
    class Value:
        def __repr__(self):
            raise kind("no words")

    return Value()


def that_cannot_be_compared(kind):
    class Value:
        def __eq__(self, other):
            raise kind("no comparison")

        def __bool__(self):
            raise kind("no truth")

        def __len__(self):
            raise kind("no length")

        __hash__ = None

    return Value()


CLASSES = [UnhashableClass, RaisesWhenCompared, RaisesWhenHashed, EqualToAll]
VALUES = [
    *(of_class(metaclass) for metaclass in CLASSES),
    with_a_class_that_raises,
    with_attributes_that_raise,
    with_a_repr_that_raises,
    that_cannot_be_compared,
]
EACH_VALUE = pytest.mark.parametrize("make", VALUES, ids=lambda make: make.__name__)


def among_others(value, count, closed=None):
    """Yield the value after so many integers, twice, with others behind."""
    try:
        yield from range(count)
        yield value
        yield value
        yield "between"
        yield value
        yield from range(5)
    finally:
        if closed is not None:
            closed.append("closed")


def check_values(values, value, count):
    """They are those of `among_others`; nothing is compared that may be hostile."""
    assert len(values) == count + 9
    at = [count, count + 1, count + 3]
    assert [number for number, one in enumerate(values) if one is value] == at
    others = [one for one in values if one is not value]
    assert others == [*range(count), "between", *range(5)]


SINGLE_STEPS = {"termination_predicate_factory": lambda: lambda: True, "time_slice": None}


class TestAValueThatIsHostile:
    @pytest.mark.parametrize("count", [0, 3, 300])
    @EACH_VALUE
    @EACH_COLLECT
    def test_is_a_value_like_any_other(self, collect, make, count):
        value, closed = make(LookupError), []
        with Bench(asyncio.new_event_loop) as bench:
            hostile = bench.check_beside_honest_ones(
                lambda cooperator: collect(among_others(value, count, closed), cooperator)
            )
            if make.__name__ == "RaisesWhenCompared" and count == 300:
                # By then steps are taken in chunks, by itertools, which compares classes
                assert ended(hostile) is LookupError
                assert str(hostile.exception()) == "this class cannot be compared"
                assert closed == ["closed"]
            else:
                check_values(hostile.result(), value, count)
            assert bench.reports == []

    @EACH_VALUE
    def test_marks_the_end_of_a_step(self, loop_factory, make):
        value = make(LookupError)

        def yields_it():
            for _ in range(3):
                yield value
            return "went on"

        with Bench(loop_factory) as bench:
            hostile = bench.check_beside_honest_ones(
                lambda cooperator: stepped(yields_it(), cooperator)
            )
            assert hostile.result() == "went on"

    @EACH_KIND
    @pytest.mark.parametrize("make", VALUES[len(CLASSES) :], ids=lambda make: make.__name__)
    @EACH_WAY
    def test_loses_no_task_whatever_it_raises(self, way, make, kind):
        value = make(kind)
        with Bench(asyncio.new_event_loop) as bench:
            hostile = bench.check_beside_honest_ones(
                lambda cooperator: way(among_others(value, 200), cooperator)
            )
            assert hostile.done()

    @EACH_KIND
    @pytest.mark.parametrize("options", [{}, SINGLE_STEPS], ids=["chunks", "single steps"])
    @EACH_COLLECT
    def test_is_never_left_out(self, collect, options, kind):
        value, closed, count = with_a_class_that_raises(kind), [], 3
        with Bench(asyncio.new_event_loop, **options) as bench:
            hostile = bench.check_beside_honest_ones(
                lambda cooperator: collect(among_others(value, count, closed), cooperator)
            )
            if issubclass(kind, Exception):
                check_values(hostile.result(), value, count)
            else:
                assert ended(hostile) is kind
            assert closed == ["closed"]

    @EACH_VALUE
    @EACH_COLLECT
    def test_may_stand_in_a_group(self, collect, make):
        value = make(LookupError)
        with Bench(asyncio.new_event_loop) as bench:
            hostile = bench.check_beside_honest_ones(
                lambda cooperator: collect(among_others(value, 9), cooperator, group="g"), "g"
            )
            check_values(hostile.result(), value, 9)


class Awaitable:
    """An awaitable that raises when it is asked for words."""

    def __init__(self, kind):
        self.kind = kind

    def __await__(self):
        return iter(())

    def __repr__(self):
        raise self.kind("no words")


class TestAnAwaitableThatIsHostile:
    @EACH_COLLECT
    def test_from_a_generator_expression_is_a_type_error_though_it_has_no_words(
        self, loop_factory, collect
    ):
        with Bench(loop_factory) as bench:
            hostile = bench.check_beside_honest_ones(
                lambda cooperator: collect(
                    (Awaitable(LookupError) if number else 1 for number in range(2)), cooperator
                )
            )
            assert ended(hostile) is TypeError
            assert "yield (yield awaitable)" in str(hostile.exception())

    @EACH_KIND
    @EACH_COLLECT
    def test_from_a_generator_expression_loses_no_task(self, collect, kind):
        with Bench(asyncio.new_event_loop) as bench:
            hostile = bench.check_beside_honest_ones(
                lambda cooperator: collect(
                    (Awaitable(kind) if number else 1 for number in range(2)), cooperator
                )
            )
            assert hostile.done()

    @EACH_KIND
    @pytest.mark.parametrize(
        "broken", ["add_done_callback", "get_loop", "exception", "result", "done", "cancelled"]
    )
    def test_loses_no_task_whichever_of_its_methods_raises(self, broken, kind):
        class Broken(asyncio.Future):
            pass

        def fails(*_arguments, **_options):
            raise kind(broken)

        setattr(Broken, broken, fails)

        def waits():
            future = Broken(loop=asyncio.get_running_loop())
            asyncio.get_running_loop().call_soon(asyncio.Future.set_result, future, None)
            with contextlib.suppress(Exception):
                yield future
            return "went on"

        with Bench(asyncio.new_event_loop) as bench:
            hostile = bench.check_beside_honest_ones(
                lambda cooperator: stepped(waits(), cooperator)
            )
            assert hostile.done()

    @EACH_KIND
    @pytest.mark.parametrize("broken", ["cancel", "remove_done_callback"])
    @pytest.mark.parametrize("end", ["stop", "stop all", "cancel"])
    def test_does_not_keep_its_task_from_ending(self, end, broken, kind):
        closed = []

        class Broken(asyncio.Future):
            pass

        def fails(*_arguments, **_options):
            raise kind(broken)

        setattr(Broken, broken, fails)

        def waits():
            try:
                yield Broken(loop=asyncio.get_running_loop())
            finally:
                closed.append("closed")

        with Bench(asyncio.new_event_loop) as bench:
            task = bench.call(lambda: bench.cooperator.cooperate(waits()))
            bench.call(bench.honest)
            for _ in range(20):
                bench.call(lambda: None)
            assert task.waiting
            act = {"stop": task.stop, "stop all": bench.cooperator.stop, "cancel": task.cancel}

            def do():
                with contextlib.suppress(kind):
                    act[end]()

            bench.call(do)
            if end == "cancel" and broken == "cancel":  # as from asyncio.Task: it did not count
                assert not task.done()
                bench.call(task.stop)
            bench.until_done(task)
            assert closed == ["closed"]
            bench.check_idle()

    @EACH_KIND
    def test_may_be_a_coroutine_for_which_the_task_factory_fails(self, kind):
        fail = False

        def factory(loop, coroutine, **options):
            nonlocal fail
            if fail:
                fail = False
                coroutine.close()
                raise kind("no task")
            return asyncio.Task(coroutine, loop=loop, **options)

        def waits():
            nonlocal fail
            yield
            fail = True
            with contextlib.suppress(Exception):
                yield asyncio.sleep(0)
            return "went on"

        with Bench(asyncio.new_event_loop) as bench:
            bench.loop.set_task_factory(factory)
            hostile = bench.call(lambda: bench.cooperator.cooperate(waits()))
            bench.until_done(hostile)
            later = bench.call(bench.honest)
            bench.until_done(*later)
            bench.check_idle()
            with contextlib.suppress(BaseException):
                hostile.exception()


class TestASinkThatIsHostile:
    @EACH_KIND
    @pytest.mark.parametrize("collect", COLLECTS[:2], ids=lambda one: one.__name__)
    @pytest.mark.parametrize("group", [None, "g"])
    def test_a_size_that_raises_loses_no_task(self, group, collect, kind):
        class Value:
            def __sizeof__(self):
                raise kind("no size")

        with Bench(asyncio.new_event_loop) as bench:
            hostile = bench.check_beside_honest_ones(
                lambda cooperator: collect(
                    among_others(Value(), 9), cooperator, max_bytes=10**6, group=group
                ),
                group,
            )
            assert hostile.done()
            if issubclass(kind, Exception):
                assert len(hostile.result()) == 9 + 9

    @pytest.mark.parametrize("size", [-1, "much", 2**200, None, 1.5])
    def test_a_size_that_is_none_is_not_counted(self, loop_factory, size):
        class Value:
            def __sizeof__(self):
                return size

        with Bench(loop_factory) as bench:
            hostile = bench.check_beside_honest_ones(
                lambda cooperator: accumulated(
                    among_others(Value(), 9), cooperator, max_bytes=10**6
                )
            )
            assert len(hostile.result()) == 9 + 9


# What logs


class FailingHandler(logging.Handler):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.seen = 0

    def emit(self, _record):
        self.seen += 1
        raise self.kind("the disk is full")


@contextlib.contextmanager
def a_failing_handler(kind):
    logger = logging.getLogger("cooperative_aio")
    handler = FailingHandler(kind)
    logger.addHandler(handler)
    propagates, logger.propagate = logger.propagate, False
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates


class TestALogHandlerThatRaisesAtTheWarningOfASlowStep:
    @EACH_KIND
    @pytest.mark.parametrize("group", [None, "g"])
    @pytest.mark.parametrize("yields", ["a value", "an awaitable", "nothing", "an error"])
    @EACH_WAY
    def test_loses_nothing_of_the_step(self, way, yields, group, kind):
        clock = Clock()

        def is_slow():
            yield "first"
            clock.advance(1)
            if yields == "a value":
                yield "slow"
            elif yields == "an awaitable":
                yield (yield asyncio.sleep(0, "slow"))
            elif yields == "an error":
                raise ArithmeticError
            yield "last"
            return "returned"

        with (
            a_failing_handler(kind) as handler,
            Bench(
                asyncio.new_event_loop, clock=clock, time_slice=TimeSlice(10, max_wait=0)
            ) as bench,
        ):
            hostile = bench.check_beside_honest_ones(
                lambda cooperator: way(is_slow(), cooperator, group=group), group
            )
            assert handler.seen >= 1
            values = {"a value": ["slow"], "an awaitable": ["slow"]}.get(yields, [])
            wanted = "returned" if way is stepped else ["first", *values, "last"]
            assert ended(hostile) == (ArithmeticError if yields == "an error" else wanted)

    def test_is_asked_once_for_each_task(self, loop_factory):
        clock = Clock()

        def is_slow():
            for _ in range(5):
                clock.advance(1)
                yield

        with (
            a_failing_handler(LookupError) as handler,
            Bench(loop_factory, clock=clock, time_slice=TimeSlice(10, max_wait=0)) as bench,
        ):
            bench.check_beside_honest_ones(lambda cooperator: stepped(is_slow(), cooperator))
            assert handler.seen == 1

    def test_words_of_the_iterator_that_raise_lose_no_task(self, loop_factory):
        clock = Clock()

        class Slow:
            left = 3

            def __iter__(self):
                return self

            def __next__(self):
                clock.advance(1)
                self.left -= 1
                if not self.left:
                    raise StopIteration
                return self.left

            def __getattr__(self, name):
                if name == "__qualname__":
                    raise LookupError("no name")
                raise AttributeError(name)

        with Bench(loop_factory, clock=clock, time_slice=TimeSlice(10, max_wait=0)) as bench:
            hostile = bench.check_beside_honest_ones(
                lambda cooperator: stepped(Slow(), cooperator)
            )
            assert hostile.result() is None


# The user's clock, scheduler and predicate


class BrokenAt:
    """Call a function, but raise at the call with one number."""

    def __init__(self, function, number, kind):
        self.function = function
        self.number = number
        self.kind = kind
        self.calls = 0

    def __call__(self, *arguments):
        self.calls += 1
        if self.calls == self.number:
            raise self.kind("broken")
        return self.function(*arguments)


class GoingOn:
    """A clock that goes on by a little with each reading."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += MILLISECOND / 4
        return self.now


class Zoo:
    """Tasks of each kind, which log their steps, where something is broken."""

    def __init__(self, bench):
        self.bench = bench
        self.log = []
        self.tasks = []

    def steps(self, name, count):
        for number in range(count):
            self.log.append((name, number))
            yield number
        return name

    def waits(self, name):
        for number in range(3):
            self.log.append((name, number))
            assert (yield asyncio.sleep(0, number)) == number
        return name

    def until_cancelled(self, name):
        try:
            while True:
                yield
        except asyncio.CancelledError:
            self.log.append((name, "cancelled"))
            raise
        finally:
            self.log.append((name, "closed"))

    def begin(self):
        cooperator = self.bench.cooperator
        for make in (
            lambda: cooperator.cooperate(self.steps("alone", 4)),
            lambda: cooperator.cooperate(self.steps("one", 4), group="g"),
            lambda: cooperator.cooperate(self.steps("two", 4), group="g"),
            lambda: cooperator.cooperate(self.waits("waits")),
            lambda: cooperator.cooperate(self.waits("waits in group"), group="g"),
            lambda: cooperator.cooperate(self.until_cancelled("cancelled")),
            lambda: asyncio.ensure_future(accumulated(self.steps("all", 5), cooperator)),
            lambda: asyncio.ensure_future(
                batch_accumulated(self.steps("batch", 5), cooperator)
            ),
            lambda: asyncio.ensure_future(streamed(self.steps("stream", 5), cooperator)),
        ):
            for _ in range(3):
                try:
                    self.tasks.append(make())
                except (LookupError, MemoryError, KeyboardInterrupt):
                    continue  # refused: that is an answer; ask again
                break

    async def end(self):
        for _ in range(40):
            await asyncio.sleep(0)
        for task in self.tasks:
            if not task.done() and not asyncio.iscoroutine(task):
                with contextlib.suppress(LookupError, MemoryError, KeyboardInterrupt):
                    if "until_cancelled" in repr(task):
                        task.cancel()

    def run(self):
        bench = self.bench
        bench.call(self.begin)
        bench.run(self.end())
        bench.until_done(*self.tasks)
        bench.check_idle()

    WANTED = (
        *("alone", "one", "two", "waits", "waits in group", asyncio.CancelledError),
        *([0, 1, 2, 3, 4],) * 3,
    )

    def check(self, kind):
        """Nothing is lost: but what a call refused by raising, the caller knows of."""
        ends = [ended(task) for task in self.tasks]
        assert len(ends) == len(self.WANTED)
        refused = [end for end in ends if end is kind]
        assert len(refused) <= 1
        for end, wanted in zip(ends, self.WANTED, strict=True):
            assert end in (wanted, kind)
        assert len(self.log) == len(set(self.log))


def calls_of_the_zoo(loop_factory, make_options):
    """Count how often the zoo calls what would be broken."""
    counts = BrokenAt(None, -1, LookupError)
    with Bench(loop_factory, **make_options(counts)) as bench:
        Zoo(bench).run()
    return counts.calls


def paced(clock):
    clock.function = GoingOn()
    return {"clock": clock}


def by_a_scheduler(clock):
    clock.function = GoingOn()
    return {
        "clock": clock,
        "scheduler": lambda tick: asyncio.get_running_loop().call_soon(tick),
    }


def by_a_predicate(clock):
    clock.function = GoingOn()
    return {
        "clock": clock,
        "termination_predicate_factory": one_step,
        "time_slice": None,
    }


def with_a_broken_scheduler(scheduler):
    scheduler.function = lambda tick: asyncio.get_running_loop().call_soon(tick)
    return {"scheduler": scheduler, "clock": GoingOn()}


def with_a_broken_predicate(predicate):
    predicate.function = lambda: True
    return {"termination_predicate_factory": lambda: predicate, "time_slice": None}


def with_a_broken_factory(factory):
    factory.function = one_step
    return {"termination_predicate_factory": factory, "time_slice": None}


class TestACallOutOfTheCooperatorThatRaisesOnce:
    @pytest.mark.parametrize(
        "kind", [LookupError, MemoryError, KeyboardInterrupt], ids=lambda kind: kind.__name__
    )
    @pytest.mark.parametrize(
        "make_options",
        [
            *(paced, by_a_scheduler, by_a_predicate),
            *(with_a_broken_scheduler, with_a_broken_predicate, with_a_broken_factory),
        ],
        ids=lambda make: make.__name__,
    )
    def test_loses_nothing_at_whichever_call(self, make_options, kind):
        """One loop is enough: what is called, and when, does not depend on it.

        The calls of the beginning, where each differs, are broken one by one, then some.
        """
        lost = []
        total = calls_of_the_zoo(asyncio.new_event_loop, make_options)
        assert total > 10
        begin = 30 if kind is LookupError else 5
        for number in (*range(1, begin), *range(begin, total + 1, max(1, total // 30))):
            broken = BrokenAt(None, number, kind)
            with Bench(asyncio.new_event_loop, **make_options(broken)) as bench:
                zoo = Zoo(bench)
                try:
                    zoo.run()
                    zoo.check(kind)
                except AssertionError:
                    lost.append(number)
                    if len(lost) == 5:
                        break
                finally:
                    for task in zoo.tasks:
                        if task.done() and not task.cancelled():
                            task.exception()
        assert lost == []

    def test_is_reported_if_it_was_in_a_tick(self, loop_factory):
        clock = BrokenAt(Clock(), -1, LookupError)
        with Bench(loop_factory, clock=clock) as bench:

            def breaks():
                yield
                clock.number = clock.calls + 1
                yield
                return "went on"

            hostile = bench.check_beside_honest_ones(
                lambda cooperator: stepped(breaks(), cooperator)
            )
            assert hostile.result() == "went on"
            assert [str(report["exception"]) for report in bench.reports] == ["broken"]


# Hostile time


class Fuse(Exception):
    """A tick was far too long."""


class TestAClockThatIsSetBack:
    """By four seconds, in the middle of a tick: that ends all the same."""

    def cooperator(self, seconds=5 * MILLISECOND):
        clock, ticks = Clock(), Ticks()
        return clock, ticks, Cooperator(scheduler=ticks, clock=clock, time_slice=seconds)

    @staticmethod
    def sets_back(clock, at, fuse=1000):
        for number in range(fuse):
            clock.advance(MILLISECOND)
            if number == at:
                clock.advance(-4)
            yield number
        raise Fuse

    @pytest.mark.parametrize("at", [0, 2, 3])
    @pytest.mark.parametrize("beside", [0, 1])
    async def test_makes_no_long_tick(self, at, beside):
        clock, ticks, cooperator = self.cooperator()
        task = cooperator.cooperate(self.sets_back(clock, at))
        for _ in range(beside):
            cooperator.cooperate(self.sets_back(clock, -1))
        for _ in range(3):
            ticks.tick()
        assert 3 <= cooperator.statistics().steps <= 3 * 10
        assert task.cpu_time >= 0
        cooperator.stop()

    @pytest.mark.parametrize("at", [0, 200, 300])
    @EACH_COLLECT
    async def test_makes_no_long_tick_of_an_accumulation(self, collect, at):
        clock, ticks, cooperator = self.cooperator()
        caller = asyncio.ensure_future(collect(self.sets_back(clock, at), cooperator))
        await asyncio.sleep(0)
        longest = 0
        while not caller.done() and (ticks.pending or collect is streamed):
            before = cooperator.statistics().steps
            if ticks.pending:
                ticks.tick()
            longest = max(longest, cooperator.statistics().steps - before)
            for _ in range(3):
                await asyncio.sleep(0)
        assert longest <= 64 + 5
        with pytest.raises(Fuse):
            await caller

    async def test_leaves_the_books_right(self):
        clock, ticks, cooperator = self.cooperator()
        first, second = (cooperator.cooperate(self.sets_back(clock, at)) for at in (2, -1))
        for _ in range(20):
            ticks.tick()
        statistics = cooperator.statistics()
        assert statistics.cpu_time >= 0
        assert statistics.longest_tick >= 0
        assert first.cpu_time >= 0
        assert abs(first.steps - second.steps) <= 2
        cooperator.stop()

    async def test_gives_nobody_the_time_that_was_set_back(self):
        """The next four seconds are shared as all others are."""
        clock, ticks, cooperator = self.cooperator()
        first = cooperator.cooperate(self.sets_back(clock, 2, 10**5))
        second = cooperator.cooperate(self.sets_back(clock, -1, 10**5))
        while first.steps + second.steps < 2000:
            ticks.tick()
        assert abs(first.steps - second.steps) <= 100
        cooperator.stop()


class TestAClockThatStandsStill:
    FUSE = 300_000

    def endless(self):
        yield from range(self.FUSE)
        raise Fuse

    @pytest.mark.parametrize("beside", [0, 1])
    @pytest.mark.parametrize("group", [None, "g"])
    async def test_ends_a_tick_all_the_same(self, beside, group):
        ticks = Ticks()
        cooperator = Cooperator(scheduler=ticks, clock=Clock())
        tasks = [cooperator.cooperate(self.endless(), group=group) for _ in range(1 + beside)]
        ticks.tick()
        assert [task.done() for task in tasks] == [False] * len(tasks)
        cooperator.stop()

    @EACH_COLLECT
    async def test_ends_a_tick_of_an_accumulation_all_the_same(self, collect):
        ticks = Ticks()
        cooperator = Cooperator(scheduler=ticks, clock=Clock())

        async def limited():
            if collect is batch_accumulated:
                return await batch_accumulate(10**9, self.endless(), cooperator)
            return await collect(self.endless(), cooperator)

        caller = asyncio.ensure_future(limited())
        await asyncio.sleep(0)
        ticks.tick()
        (task,) = cooperator.tasks
        assert 0 < task.steps < self.FUSE
        caller.cancel()
        await asyncio.wait([caller])

    def test_lets_a_timer_of_the_loop_run(self, loop_factory):
        with Bench(loop_factory, clock=Clock()) as bench:
            task = bench.call(lambda: bench.cooperator.cooperate(self.endless()))
            bench.run(asyncio.sleep(0.001))
            assert not task.done()
            bench.call(task.stop)


class TestAClockThatJumpsAhead:
    """Of a process that was suspended for four seconds, say."""

    @staticmethod
    def spins(log, name, clock, cost, jumps_at=None, by=0):
        number = 0
        while True:
            number += 1
            clock.advance(by if number == jumps_at else cost)
            log.append((clock.now, name))
            yield

    @pytest.mark.parametrize("by", [4, 60])
    @pytest.mark.parametrize("others", [1, 3])
    @pytest.mark.parametrize("groups", [(None, None), ("g", "g"), ("g", None), ("g", "h")])
    async def test_leaves_nobody_without_steps_for_long(self, groups, others, by):
        cost = 8 * MILLISECOND
        cooperator = Stepwise()
        clock, log = cooperator.clock, []
        cooperator.cooperate(self.spins(log, "it", clock, cost, 10, by), group=groups[0])
        for number in range(others):
            cooperator.cooperate(self.spins(log, number, clock, cost), group=groups[1])
        while clock.now < by + 10:
            cooperator.ticks.tick()
        its = [when for when, name in log if name == "it"]
        gaps = [later - earlier for earlier, later in pairwise(its[10:])]
        longest = max(gaps, default=math.inf)
        after_the_jump = its[10] - its[9]
        assert after_the_jump <= others * 1.25
        assert longest <= others * 1.25
        cooperator.stop()

    async def test_leaves_an_accumulation_not_without_steps_for_long(self):
        cost = 8 * MILLISECOND
        ticks, clock, log = Ticks(), Clock(), []
        cooperator = Cooperator(scheduler=ticks, clock=clock, time_slice=2 * cost)
        caller = asyncio.ensure_future(
            batch_accumulated(self.spins(log, "it", clock, cost, 10, 4), cooperator)
        )
        await asyncio.sleep(0)
        cooperator.cooperate(self.spins(log, "other", clock, cost))
        while clock.now < 12:
            ticks.tick()
        its = [when for when, name in log if name == "it"]
        assert max(later - before for before, later in pairwise(its[9:])) < 1.25
        caller.cancel()
        await asyncio.wait([caller])
        cooperator.stop()

    async def test_is_paid_for_within_a_second_of_its_share(self):
        """A quarter of the weight: a second of its share is three of the other's."""
        cost = 8 * MILLISECOND
        cooperator = Stepwise()
        clock, log = cooperator.clock, []
        cooperator.cooperate(self.spins(log, "it", clock, cost, 10, 60), weight=0.25)
        cooperator.cooperate(self.spins(log, "other", clock, cost), weight=0.75)
        while clock.now < 75:
            cooperator.ticks.tick()
        its = [when for when, name in log if name == "it"]
        assert its[10] - its[9] <= 5
        cooperator.stop()


class TestWeightsOfAllSizes:
    HUGE, TINY = 1e300, 1e-300

    @pytest.mark.parametrize("seed", range(40))
    async def test_raise_nothing_wherever_they_are(self, seed):  # noqa: C901
        chance = random.Random(seed)  # noqa: S311
        cooperator = Stepwise()
        tasks = []
        weights = (self.HUGE, self.TINY, 1, 1e9, 1e-9, 5e-324, 1.7e308)

        def spins():
            while True:
                cooperator.clock.advance(chance.choice((0, MILLISECOND, 2.0**-30, 1)))
                yield

        for _ in range(150):
            action = chance.choice(("add", "add", "tick", "tick", "stop", "weigh", "pause"))
            task = chance.choice(tasks) if tasks else None
            if action == "add":
                group = chance.choice((None, None, "g"))
                weight = chance.choice(weights)
                tasks.append(cooperator.cooperate(spins(), weight=weight, group=group))
            elif action == "tick" and cooperator.ticks.pending:
                cooperator.ticks.tick()
            elif task is not None and action == "stop":
                tasks.remove(task)
                task.stop()
            elif task is not None and action == "weigh":
                task.weight = chance.choice(weights)
                if chance.random() < 0.3:
                    cooperator.group("g").weight = chance.choice(weights)
            elif task is not None and action == "pause":
                if task.paused:
                    task.resume()
                else:
                    task.pause()
        for task in tasks:
            assert 0 <= task.cpu_time < math.inf
            task.stop()
        assert cooperator.tasks == ()
        cooperator.stop()

    @pytest.mark.parametrize("stopped", [0, 1, 2])
    async def test_that_stand_beside_each_other_may_leave_in_each_order(self, stopped):
        cooperator = Stepwise()
        tasks = []
        for weight in (self.HUGE, self.TINY, self.TINY):
            tasks.append(cooperator.cooperate(self._spins(cooperator.clock), weight=weight))
            cooperator.ticks.tick(3)
        tasks.pop(stopped).stop()
        cooperator.ticks.tick(10)
        before = [task.steps for task in tasks]
        for task in tasks:
            task.weight = 1
        cooperator.ticks.tick(20)
        assert [task.steps for task in tasks] != before
        for task in tasks:
            task.stop()
        assert cooperator.ticks.pending == ()
        cooperator.stop()

    @staticmethod
    def _spins(clock):
        while True:
            clock.advance(MILLISECOND)
            yield

    @pytest.mark.parametrize("backwards", [False, True])
    @pytest.mark.parametrize("tiny", [1, 3])
    async def test_may_be_stopped_when_the_tiny_ones_are_lost_in_the_sum(self, tiny, backwards):
        cooperator = Stepwise()
        tasks = [
            *(cooperator.cooperate(iter("abc"), weight=self.HUGE) for _ in range(20_000)),
            *(cooperator.cooperate(iter("abc"), weight=self.TINY) for _ in range(tiny)),
        ]
        cooperator.ticks.tick(3)
        for task in reversed(tasks) if backwards else tasks:
            task.stop()
        assert cooperator.tasks == ()
        cooperator.stop()

    async def test_leave_a_tiny_one_to_run_when_the_huge_ones_have_gone(self):
        cooperator = Stepwise()
        tiny = [
            cooperator.cooperate(self._spins(cooperator.clock), weight=self.TINY)
            for _ in range(2)
        ]
        huge = [
            cooperator.cooperate(self._spins(cooperator.clock), weight=self.HUGE)
            for _ in range(3)
        ]
        cooperator.ticks.tick(500)
        for task in huge:
            task.stop()
        before = [task.steps for task in tiny]
        cooperator.ticks.tick(4000)
        after = [task.steps - was for task, was in zip(tiny, before, strict=True)]
        assert after[0] == pytest.approx(after[1], rel=0.3)
        cooperator.stop()


class TestATaskThatMakesItsSuccessorAndEnds:
    """It hands on what it owes, so a chain of them has what one honest task has."""

    def share_of(self, start, cooperator, honest, seconds=20):
        """Return the part of the time that was taken by others than the honest one."""
        clock = cooperator.clock
        start()
        began = clock.now
        while clock.now < began + seconds:
            cooperator.ticks.tick()
        part = 1 - honest.cpu_time / (clock.now - began)
        cooperator.stop()
        return part

    @staticmethod
    def spins(clock, cost):
        while True:
            clock.advance(cost)
            yield

    def chain(self, cooperator, cost, steps=1, **options):
        def link():
            for number in range(steps):
                cooperator.clock.advance(cost)
                if number == steps - 1 and cooperator.running:
                    cooperator.cooperate(link(), **options)
                else:
                    yield
            return
            yield

        return lambda: cooperator.cooperate(link(), **options)

    @pytest.mark.parametrize("cost", [1, 4, 16])
    @pytest.mark.parametrize("steps", [1, 2, 5])
    async def test_gets_no_more_than_an_honest_one(self, cost, steps):
        cooperator = Stepwise()
        honest = cooperator.cooperate(self.spins(cooperator.clock, MILLISECOND))
        start = self.chain(cooperator, cost * MILLISECOND, steps)
        part = self.share_of(start, cooperator, honest)
        assert part == pytest.approx(0.5, abs=0.05)

    async def test_gets_no_more_when_its_links_end_in_their_first_step(self):
        cooperator = Stepwise()
        honest = cooperator.cooperate(self.spins(cooperator.clock, MILLISECOND))

        def link():
            cooperator.clock.advance(4 * MILLISECOND)
            if cooperator.running:
                cooperator.cooperate(link())
            return
            yield

        part = self.share_of(lambda: cooperator.cooperate(link()), cooperator, honest)
        assert part == pytest.approx(0.5, abs=0.05)

    async def test_gets_no_more_within_a_group(self):
        cooperator = Stepwise()
        honest = cooperator.cooperate(self.spins(cooperator.clock, MILLISECOND), group="g")
        start = self.chain(cooperator, 4 * MILLISECOND, group="g")
        part = self.share_of(start, cooperator, honest)
        assert part == pytest.approx(0.5, abs=0.05)

    async def test_hands_its_debt_on_once(self):
        """Of two that it makes only one owes what it did; else they would be punished."""
        cooperator = Stepwise()
        clock, made = cooperator.clock, []
        cooperator.cooperate(self.spins(clock, MILLISECOND))

        def parent():
            clock.advance(0.5)
            made.extend(cooperator.cooperate(self.spins(clock, MILLISECOND)) for _ in range(2))
            return
            yield

        cooperator.cooperate(parent())
        cooperator.ticks.tick(5)
        assert made
        before = clock.now
        while clock.now < before + 2:
            cooperator.ticks.tick()
        less, more = sorted(task.cpu_time for task in made)
        assert less > 0
        assert more - less == pytest.approx(0.5, abs=0.26)
        cooperator.stop()

    async def test_owes_nothing_for_others_when_it_goes_on(self):
        """A task that makes others and goes on keeps its debt to itself."""
        cooperator = Stepwise()
        clock, made = cooperator.clock, []
        cooperator.cooperate(self.spins(clock, MILLISECOND))

        def parent():
            clock.advance(0.5)
            made.append(cooperator.cooperate(self.spins(clock, MILLISECOND)))
            while True:
                yield
                clock.advance(MILLISECOND)

        its = cooperator.cooperate(parent())
        cooperator.ticks.tick(5)
        assert made
        before = clock.now
        while clock.now < before + 0.25:
            cooperator.ticks.tick()
        assert its.steps <= 2
        assert made[0].steps > its.steps
        cooperator.stop()
