"""Cancelling, and cancelling once more: what an asyncio.Task that does the same would do.

Most tests here run one generator twice, as a CooperativeTask and, driven by a coroutine, as
an asyncio.Task, and want two equal logs.
"""

import asyncio
import contextlib
import gc
import random
import traceback
import weakref

import anyio
import pytest
from core_support import Stepwise, on_both_loops, turns

from cooperative_aio import (
    Cooperator,
    TimeSlice,
    accumulate,
    batch_accumulate,
    batches,
    cooperate,
    tasklet,
)

pytestmark = pytest.mark.thinned(2)


async def driven(generator):
    """Await what a generator yields, as its task does; a value is a turn of the loop."""
    resume, argument = generator.send, None
    while True:
        try:
            value = resume(argument)
        except StopIteration as stop:
            return stop.value
        try:
            waits = asyncio.isfuture(value) or asyncio.iscoroutine(value)
            argument = await (value if waits else asyncio.sleep(0))
            resume = generator.send
        except BaseException as error:  # noqa: BLE001 (the generator shall see it)
            resume, argument = generator.throw, error


def as_asyncio_does(generator):
    return asyncio.ensure_future(driven(generator))


async def accumulated(generator):
    return await accumulate(generator)


async def batch_accumulated(generator):
    return await batch_accumulate(3, generator)


async def streamed(generator):
    return [batch async for batch in batches(1, generator)]


async def awaited_by_a_coroutine(generator):
    return await as_asyncio_does(generator)


COLLECTED = pytest.mark.parametrize(
    "collect", [accumulated, batch_accumulated, streamed], ids=lambda collect: collect.__name__
)


class Stubborn(asyncio.Future):
    """A future that cannot be cancelled."""

    def cancel(self, msg=None):
        return False


def a_future():
    return asyncio.get_running_loop().create_future()


def a_task():
    async def waits():
        await a_future()

    return asyncio.ensure_future(waits())


def a_shield():
    return asyncio.shield(a_future())


def a_gathering():
    return asyncio.gather(a_future(), a_future())


def another_cooperative_task():
    """Return one that is waiting itself a turn later, however busy the loop is."""
    hasty = Cooperator(time_slice=TimeSlice(1.0, max_wait=0))
    return hasty.cooperate(iter_of(a_future()))


def iter_of(awaitable):
    yield awaitable


def a_value():
    return None


AWAITABLES = [
    a_future,
    a_task,
    a_shield,
    a_gathering,
    another_cooperative_task,
    a_value,
]


async def said(task):
    """Tell how a task has ended, with the arguments of its cancellation."""
    try:
        return ("returned", await task)
    except asyncio.CancelledError as error:
        return ("cancelled", error.args)
    except LookupError as error:
        return ("failed", error.args)


def cleans_up(log, make, *, pauses):
    """Wait for ever; when cancelled, clean up, for which so many awaitables are needed."""
    try:
        log.append("began")
        while True:
            yield make()
    except asyncio.CancelledError as error:
        log.append(("thrown", error.args))
        try:
            for _ in range(pauses):
                yield asyncio.ensure_future(asyncio.sleep(0))
        except asyncio.CancelledError as again:
            log.append(("cut short", again.args))
            raise
        log.append("clean")
        raise


async def begun(log):
    while "began" not in log:
        await asyncio.sleep(0)
    await turns(3)


class TestTwoCancellationsBeforeTheFirstIsDelivered:
    @pytest.mark.parametrize("pauses", [0, 1, 3])
    @pytest.mark.parametrize("make", AWAITABLES, ids=lambda make: make.__name__)
    @on_both_loops
    async def test_are_thrown_once_and_the_clean_up_is_not_cut_short(self, make, pauses):
        async def log_of(start):
            log = []
            task = start(cleans_up(log, make, pauses=pauses))
            await begun(log)
            assert task.cancel("first") is True
            assert task.cancel("second") is True
            log.append(await said(task))
            return log

        log = await log_of(cooperate)
        assert log == await log_of(as_asyncio_does)
        assert [entry for entry in log if entry[0] == "cut short"] == []
        assert log[-2:-1] == ["clean"]

    @on_both_loops
    async def test_have_the_message_of_the_one_that_cancelled_what_it_waits_on(self):
        log = []
        task = cooperate(cleans_up(log, a_future, pauses=1))
        await begun(log)
        task.cancel("first")
        task.cancel("second")
        assert await said(task) == ("cancelled", ("first",))
        assert log == ["began", ("thrown", ("first",)), "clean"]

    @pytest.mark.parametrize("count", [2, 3, 7])
    @on_both_loops
    async def test_are_one_however_many_they_are(self, count):
        async def log_of(start):
            log = []
            task = start(cleans_up(log, a_future, pauses=2))
            await begun(log)
            log.append([task.cancel(number) for number in range(count)])
            log.append(await said(task))
            return log

        assert await log_of(cooperate) == await log_of(as_asyncio_does)

    @on_both_loops
    async def test_are_one_when_what_it_waits_on_is_done_in_between(self):
        async def log_of(start):
            log, futures = [], []
            task = start(
                cleans_up(log, lambda: futures.append(a_future()) or futures[-1], pauses=1)
            )
            await begun(log)
            futures[0].set_result("lost")
            log.append((task.cancel("first"), task.cancel("second")))
            log.append(await said(task))
            return log

        assert await log_of(cooperate) == await log_of(as_asyncio_does)

    @on_both_loops
    async def test_are_one_when_the_task_is_paused_meanwhile(self):
        log = []
        task = cooperate(cleans_up(log, a_future, pauses=2))
        await begun(log)
        task.pause()
        task.cancel("first")
        task.cancel("second")
        assert await said(task) == ("cancelled", ("first",))
        assert log == ["began", ("thrown", ("first",)), "clean"]

    @on_both_loops
    async def test_are_one_for_a_task_that_catches_them_and_returns(self):
        def catches():
            with contextlib.suppress(asyncio.CancelledError):
                yield a_future()
            return (yield asyncio.ensure_future(asyncio.sleep(0, "went on")))

        task = cooperate(catches())
        while not task.waiting:
            await asyncio.sleep(0)
        task.cancel()
        task.cancel()
        assert await said(task) == ("returned", "went on")

    @on_both_loops
    async def test_are_one_when_two_timeouts_of_one_instant_end_a_caller(self):
        async def log_of(start):
            log = []
            task = start(cleans_up(log, a_future, pauses=3))
            await begun(log)
            now = asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout_at(now):
                    async with asyncio.timeout_at(now):
                        await task
            except TimeoutError:
                log.append("timed out")
            return log

        log = await log_of(cooperate)
        assert log == await log_of(as_asyncio_does)
        assert log[-2:] == ["clean", "timed out"]

    @on_both_loops
    async def test_are_one_when_a_caller_and_a_friend_cancel(self):
        async def log_of(start):
            log = []
            task = start(cleans_up(log, a_future, pauses=2))
            waits = asyncio.ensure_future(said(task))
            await begun(log)
            waits.cancel("the caller's")
            task.cancel("the friend's")
            log.append(await waits)
            return log

        assert await log_of(cooperate) == await log_of(as_asyncio_does)

    @on_both_loops
    async def test_are_one_when_a_scope_of_anyio_cancels_on_each_turn(self):
        async def log_of(start):
            log = []
            task = start(cleans_up(log, a_future, pauses=0))
            await begun(log)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await task
            log.append(scope.cancelled_caught)
            return [entry if isinstance(entry, bool) else entry[0] for entry in log]

        log = await log_of(cooperate)
        assert log == await log_of(as_asyncio_does)
        assert [entry for entry in log if entry == "thrown"] == ["thrown"]

    @COLLECTED
    @pytest.mark.parametrize("pauses", [0, 1, 3])
    @on_both_loops
    async def test_are_one_in_an_accumulation(self, collect, pauses):
        async def log_of(collect):
            log = []
            caller = asyncio.ensure_future(collect(cleans_up(log, a_future, pauses=pauses)))
            await begun(log)
            log.append((caller.cancel("first"), caller.cancel("second")))
            log.append(await said(caller))
            return log

        log = await log_of(collect)
        assert log == await log_of(awaited_by_a_coroutine)
        assert "clean" in log

    @on_both_loops
    async def test_are_one_in_a_tasklet(self):
        async def log_of(start):
            log = []
            task = start(cleans_up(log, a_future, pauses=2))
            await begun(log)
            log.append((task.cancel("first"), task.cancel("second")))
            log.append(await said(task))
            return [entry[0] for entry in log]

        assert await log_of(tasklet.run) == await log_of(as_asyncio_does)


class TestCancellingAgainAfterwards:
    @pytest.mark.parametrize("make", [a_future, a_shield], ids=lambda make: make.__name__)
    @on_both_loops
    async def test_throws_again_into_the_clean_up(self, make):
        async def log_of(start):
            log = []

            def cleans_up_for_long():
                try:
                    log.append("began")
                    yield make()
                finally:
                    try:
                        yield a_future()
                    except asyncio.CancelledError as again:
                        log.append(again.args)
                        raise

            task = start(cleans_up_for_long())
            await begun(log)
            task.cancel("first")
            await turns(1)
            task.cancel("second")
            log.append(await said(task))
            return log

        log = await log_of(cooperate)
        assert log == await log_of(as_asyncio_does)
        assert log[-1] == ("cancelled", ("second",))

    @on_both_loops
    async def test_throws_again_each_time_that_it_was_caught(self):
        async def log_of(start):
            log = ["began"]

            def catches_three():
                for _ in range(3):
                    try:
                        yield a_future()
                    except asyncio.CancelledError as error:
                        log.append(error.args)
                return "went on"

            task = start(catches_three())
            await turns(5)
            for number in range(3):
                task.cancel((number, "a"))
                task.cancel((number, "b"))
                await turns(5)
            log.append(await said(task))
            return log

        log = await log_of(cooperate)
        assert log == await log_of(as_asyncio_does)
        assert log[-1] == ("returned", "went on")


class TestAFutureThatRefusesToBeCancelled:
    @on_both_loops
    async def test_is_waited_for_and_then_the_cancellation_is_thrown(self):
        async def log_of(start):
            log = []
            future = Stubborn(loop=asyncio.get_running_loop())
            task = start(cleans_up(log, lambda: future, pauses=1))
            await begun(log)
            log.append(task.cancel("first"))
            await turns(10)
            log.append(task.done())
            future.set_result("not asked for")
            log.append(await said(task))
            return log

        log = await log_of(cooperate)
        assert log == await log_of(as_asyncio_does)
        assert log == [
            *("began", True, False, ("thrown", ("first",)), "clean"),
            ("cancelled", ("first",)),
        ]

    @on_both_loops
    async def test_is_waited_for_when_there_are_two_cancellations(self):
        async def log_of(start):
            log = []
            future = Stubborn(loop=asyncio.get_running_loop())
            task = start(cleans_up(log, lambda: future, pauses=1))
            await begun(log)
            task.cancel("first")
            await turns(3)
            task.cancel("second")
            await turns(10)
            log.append(task.done())
            future.set_result("not asked for")
            log.append(await said(task))
            return log

        assert await log_of(cooperate) == await log_of(as_asyncio_does)

    @pytest.mark.parametrize("cancels", [1, 2])
    @on_both_loops
    async def test_is_waited_for_when_it_cancels_itself_only_later(self, cancels):
        async def log_of(start):
            log = []
            futures = []

            async def protects():
                future = a_future()
                futures.append(future)
                while not future.done():
                    try:
                        await asyncio.shield(future)
                    except asyncio.CancelledError as error:
                        log.append(("protected from", error.args))
                return "protected"

            def body():
                log.append("began")
                log.append((yield asyncio.ensure_future(protects())))
                return "went on"

            task = start(body())
            await begun(log)
            for number in range(cancels):
                task.cancel(number)
                await turns(5)
            log.append(task.done())
            futures[0].set_result(None)
            log.append(await said(task))
            return log

        assert await log_of(cooperate) == await log_of(as_asyncio_does)

    @COLLECTED
    @on_both_loops
    async def test_is_waited_for_in_an_accumulation(self, collect):
        async def log_of(collect):
            log = []
            future = Stubborn(loop=asyncio.get_running_loop())
            caller = asyncio.ensure_future(collect(cleans_up(log, lambda: future, pauses=1)))
            await begun(log)
            caller.cancel("first")
            await turns(10)
            log.append(caller.done())
            future.set_result("not asked for")
            log.append(await said(caller))
            return log

        assert await log_of(collect) == await log_of(awaited_by_a_coroutine)

    @on_both_loops
    async def test_that_fails_after_all_is_thrown_as_a_cancellation(self):
        async def log_of(start):
            log = []
            future = Stubborn(loop=asyncio.get_running_loop())
            task = start(cleans_up(log, lambda: future, pauses=0))
            await begun(log)
            task.cancel("first")
            future.set_exception(LookupError("not asked for"))
            log.append(await said(task))
            return log

        assert await log_of(cooperate) == await log_of(as_asyncio_does)


class Special(asyncio.CancelledError):
    """A cancellation that knows more than others."""


def made_by_hand():
    error = Special("one", 2)
    error.add_note("a note")
    error.detail = "a detail"
    error.__cause__ = LookupError("the cause")
    return error


def raises(error):
    yield
    raise error


def raises_when_cancelled(error, log):
    try:
        log.append("began")
        yield a_future()
    finally:
        raise error


async def caught_from(awaitable):
    try:
        await awaitable
    except asyncio.CancelledError as error:
        return error
    raise AssertionError("it was not cancelled")


def check_it_is(error, raised):
    assert error is raised
    assert (type(error), error.args, error.__notes__) == (Special, ("one", 2), ["a note"])
    assert (error.detail, error.__cause__.args) == ("a detail", ("the cause",))
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names[-1] in {"body", "raises", "raises_when_cancelled"}


async def awaited(generator):
    return await cooperate(generator)


async def joined(generator):
    return await cooperate(generator).join()


async def a_result(generator):
    task = cooperate(generator)
    await asyncio.wait([task])
    return task.result()


async def a_tasklets(generator):
    return await tasklet.run(generator)


WAYS = pytest.mark.parametrize(
    "way",
    [awaited, joined, a_result, accumulated, batch_accumulated, streamed, a_tasklets],
    ids=lambda way: way.__name__,
)


class TestTheCancelledErrorThatComesOut:
    @WAYS
    @on_both_loops
    async def test_is_the_very_object_that_the_generator_has_raised(self, way):
        raised = made_by_hand()

        def body():
            yield asyncio.ensure_future(asyncio.sleep(0))
            raise raised

        check_it_is(await caught_from(way(body())), raised)

    @pytest.mark.parametrize(
        "way",
        [awaited, joined, accumulated, batch_accumulated, streamed, a_tasklets],
        ids=lambda way: way.__name__,
    )
    @on_both_loops
    async def test_is_the_one_that_its_clean_up_has_raised_when_the_caller_is_cancelled(
        self, way
    ):
        raised = made_by_hand()
        log = []
        caller = asyncio.ensure_future(way(raises_when_cancelled(raised, log)))
        await begun(log)
        caller.cancel("not this")
        check_it_is(await caught_from(caller), raised)

    @on_both_loops
    async def test_is_as_that_of_a_task_of_asyncio(self):
        raised = made_by_hand()
        check_it_is(await caught_from(as_asyncio_does(raises(raised))), raised)
        raised = made_by_hand()
        check_it_is(await caught_from(cooperate(raises(raised))), raised)

    @on_both_loops
    async def test_is_the_one_that_a_coroutine_which_it_awaits_has_raised(self):
        raised = made_by_hand()

        async def is_cancelled():
            raise raised

        def body():
            yield is_cancelled()

        assert await caught_from(cooperate(body())) is raised

    @on_both_loops
    async def test_keeps_what_the_generator_added_to_the_one_thrown_in(self):
        log = []

        def adds_a_note():
            try:
                log.append("began")
                yield a_future()
            except asyncio.CancelledError as error:
                error.add_note("while parsing")
                log.append(error)
                raise

        task = cooperate(adds_a_note())
        await begun(log)
        task.cancel("why")
        error = await caught_from(task)
        assert error is log[-1]
        assert (error.args, error.__notes__) == (("why",), ["while parsing"])

    @on_both_loops
    async def test_reaches_a_when_done_as_a_cancellation(self):
        task = cooperate(raises(made_by_hand()))
        future = task.when_done()
        await asyncio.wait([future])
        assert future.cancelled()
        assert task.cancelled()

    @on_both_loops
    async def test_is_freed_with_the_task(self):
        async def is_freed(start):
            def raises_what_it_made():
                yield
                raise made_by_hand()

            task = start(raises_what_it_made())
            died = weakref.ref(await caught_from(task))
            del task
            await turns(2)
            return died() is None

        gc.disable()
        try:
            assert (await is_freed(as_asyncio_does), await is_freed(cooperate)) == (True, True)
        finally:
            gc.enable()


class TestATaskThatOutlivesItsCancellation:
    """What is not ended by a cancellation is a task like any other again."""

    @staticmethod
    def waits_for_ever(log, futures, rounds=10**6):
        try:
            futures.append(a_future())
            yield futures[-1]
        except asyncio.CancelledError:
            log.append("caught")
        for number in range(rounds):
            futures.append(a_future())
            yield futures[-1]
            log.append(number)

    async def outlives(self, cooperator, log, futures):
        """Make a task that was cancelled, and has gone on for three awaitables."""
        task = cooperator.cooperate(self.waits_for_ever(log, futures))
        while not task.waiting:
            if isinstance(cooperator, Stepwise):
                cooperator.ticks.tick()
            await asyncio.sleep(0)
        task.cancel()
        await turns(5)
        while len(log) < 4:
            assert not task.done()
            futures[-1].set_result(None)
            while futures[-1].done():
                await asyncio.sleep(0)
                if isinstance(cooperator, Stepwise) and cooperator.ticks.pending:
                    cooperator.ticks.tick()
        assert log == ["caught", 0, 1, 2]
        return task

    @on_both_loops
    async def test_can_be_paused(self):
        log, futures = [], []
        cooperator = Cooperator()
        task = await self.outlives(cooperator, log, futures)
        task.pause()
        assert task.paused
        futures[-1].set_result(None)
        await turns(20)
        assert log == ["caught", 0, 1, 2]
        task.resume()
        while len(log) < 5:
            await asyncio.sleep(0)
        assert not task.paused
        cooperator.stop()

    @on_both_loops
    async def test_can_be_paused_twice_and_wants_two_resumes(self):
        log, futures = [], []
        cooperator = Cooperator()
        task = await self.outlives(cooperator, log, futures)
        task.pause()
        task.pause()
        futures[-1].set_result(None)
        task.resume()
        await turns(20)
        assert (log, task.paused) == (["caught", 0, 1, 2], True)
        task.resume()
        while len(log) < 5:
            await asyncio.sleep(0)
        cooperator.stop()

    @on_both_loops
    async def test_is_stepped_in_ticks(self):
        log, futures = [], []
        cooperator = Stepwise()
        task = await self.outlives(cooperator, log, futures)
        ticks, steps = cooperator.statistics().ticks, task.steps
        futures[-1].set_result(None)
        await turns(20)
        assert (log, task.steps) == (["caught", 0, 1, 2], steps)
        assert cooperator.statistics().ready == 1
        cooperator.ticks.tick()
        assert log == ["caught", 0, 1, 2, 3]
        assert cooperator.statistics().ticks == ticks + 1
        cooperator.stop()

    @on_both_loops
    async def test_is_not_called_ending_any_more(self):
        log, futures = [], []
        cooperator = Cooperator()
        task = await self.outlives(cooperator, log, futures)
        assert task.state == "waiting"
        task.pause()
        futures[-1].set_result(None)
        await turns(5)
        assert task.state == "paused"
        cooperator.stop()

    @on_both_loops
    async def test_can_be_cancelled_again(self):
        log, futures = [], []
        cooperator = Cooperator()
        task = await self.outlives(cooperator, log, futures)
        task.pause()
        assert task.cancel("at last")
        assert await said(task) == ("cancelled", ("at last",))

    @on_both_loops
    async def test_is_stepped_in_slices_when_it_yields_values(self):
        log = []
        cooperator = Stepwise()

        def yields_values():
            try:
                yield a_future()
            except asyncio.CancelledError:
                log.append("caught")
            while True:
                yield
                log.append("stepped")

        task = cooperator.cooperate(yields_values())
        cooperator.ticks.tick()
        task.cancel()
        await turns(20)
        assert log == ["caught"]
        cooperator.ticks.tick(3)
        assert log == ["caught", *["stepped"] * 3]
        task.pause()
        assert cooperator.ticks.pending == ()
        cooperator.stop()


# Programs made by chance


class Program:
    """A generator and what is done to its task from outside, the same for each seed."""

    KINDS = ("future", "task", "stubborn", "shield")

    def __init__(self, seed):
        self.random = random.Random(seed)  # noqa: S311
        self.log = []
        self.futures = []
        choice = self.random.choice
        self.body_plan = [
            (choice(self.KINDS), choice(("raise", "go on", "clean up"))) for _ in range(6)
        ]
        self.actions = [self._burst() for _ in range(6)]

    def _burst(self):
        """Choose actions between which the loop takes no turn."""
        kinds = ("cancel", "cancel", "finish", "fail", "cancel it")
        burst = [self.random.choice(kinds) for _ in range(self.random.randint(1, 4))]
        return ["cancel", "turn", "cancel"] if self.random.random() < 0.2 else burst

    def _future(self, kind="future"):
        loop = asyncio.get_running_loop()
        future = Stubborn(loop=loop) if kind == "stubborn" else loop.create_future()
        self.futures.append(future)
        return future

    def _awaitable(self, kind):
        future = self._future(kind)
        if kind == "task":

            async def waits():
                return await future

            return asyncio.ensure_future(waits())
        return asyncio.shield(future) if kind == "shield" else future

    def body(self):
        for number, (kind, then) in enumerate(self.body_plan):
            try:
                self.log.append((number, "got", (yield self._awaitable(kind))))
            except LookupError as error:
                self.log.append((number, "failed", error.args))
            except asyncio.CancelledError as error:
                self.log.append((number, "thrown", error.args))
                if then == "raise":
                    raise
                if then == "clean up":
                    try:
                        yield self._future()
                    finally:
                        self.log.append((number, "cleaned up"))
                    raise
        return "returned"

    async def run(self, start):
        task = start(self.body())
        await turns(8)
        for number, burst in enumerate(self.actions):
            for action in burst:
                if action == "turn":
                    await turns(1)
                else:
                    self._act(task, action, number)
            await turns(12)
            self.log.append(task.done())
        while not task.done():
            for future in self.futures:
                if not future.done():
                    future.set_result("at last")
            await turns(12)
        self.log.append(await said(task))
        for future in self.futures:  # those nobody waits for any more
            if future.done() and not future.cancelled():
                future.exception()
        return self.log

    def _act(self, task, action, number):
        unfinished = [future for future in self.futures if not future.done()]
        if action == "cancel":
            self.log.append(("cancelled", task.cancel((number, len(self.log)))))
        elif unfinished and action == "finish":
            unfinished[-1].set_result(number)
        elif unfinished and action == "fail":
            unfinished[-1].set_exception(LookupError(number))
        elif unfinished:
            unfinished[-1].cancel("by another")


@pytest.mark.parametrize("hundred", range(3))
@on_both_loops
async def test_programs_made_by_chance_log_what_a_task_of_asyncio_does(hundred, part, reports):
    """Each of them runs as a CooperativeTask and as an asyncio.Task; the logs are equal."""
    cooperator = Cooperator(time_slice=TimeSlice(1, max_wait=0))
    different = []
    for seed in range(100 * hundred, 100 * hundred + 100, part):
        expected = await Program(seed).run(as_asyncio_does)
        if await Program(seed).run(cooperator.cooperate) != expected:
            different.append(seed)
    assert different == []
