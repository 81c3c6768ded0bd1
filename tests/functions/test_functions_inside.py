"""What functions call while they run in slices: give_way, wait_on, uninterrupted."""

import asyncio
import gc
import logging
import threading

import pytest
from core_support import on_both_loops
from functions_support import Stepwise, let_go

from cooperative_aio import current_task
from cooperative_aio.functions import give_way, steps_of, to_slices, uninterrupted, wait_on


class Letters:
    """Two functions that log letters, and give way after each: `adbecf` if they do."""

    def __init__(self, after):
        self.log = []
        self.cooperator = Stepwise()
        self.after = after

    def write(self, letters):
        for letter in letters:
            self.log.append(letter)
            self.after(self)

    async def __call__(self):
        for letters in ("abc", "def"):
            self.cooperator.cooperate(steps_of(self.write, letters, preempt=False))
        self.cooperator.ticks.run()
        return "".join(self.log)


@on_both_loops
async def test_a_function_gives_way_when_its_slice_is_over():
    assert await Letters(lambda letters: letters.cooperator.give_way())() == "adbecf"


@on_both_loops
async def test_a_function_does_not_give_way_before_that():
    assert await Letters(lambda _: give_way())() == "abcdef"


def test_outside_of_a_function_giving_way_does_nothing():
    give_way()
    with uninterrupted():
        give_way()


@on_both_loops
async def test_a_function_does_not_give_way_under_uninterrupted():
    def twice(letters):
        with uninterrupted():
            with uninterrupted():
                letters.cooperator.give_way()
            letters.cooperator.give_way()
            letters.log.append("-")

    assert await Letters(twice)() == "a-d-b-e-c-f-"  # but at its end


@on_both_loops
async def test_an_exception_leaves_uninterrupted_without_giving_way():
    def fail(letters):
        try:
            with uninterrupted():
                letters.cooperator.give_way()
                raise KeyError
        except KeyError:
            letters.log.append("!")

    assert await Letters(fail)() == "a!b!c!d!e!f!"


@on_both_loops
async def test_uninterrupted_before_the_slice_is_over_does_nothing():
    def keep(_):
        with uninterrupted():
            pass

    assert await Letters(keep)() == "abcdef"


@on_both_loops
async def test_a_function_waits_also_under_uninterrupted():
    def wait(_):
        with uninterrupted():
            let_go()

    letters = Letters(wait)
    for part in ("abc", "def"):
        letters.cooperator.cooperate(steps_of(letters.write, part, preempt=False))
    while letters.cooperator.tasks:
        letters.cooperator.ticks.run()
        await asyncio.sleep(0)
    assert letters.log == list("adbecf")


def give_way_with_a_lock(letters):
    with threading.Lock():  # noqa: PLW2101
        letters.cooperator.give_way()


def give_way_with_a_lock_in(letters, lock=threading.Lock()):  # noqa: B008
    with lock:
        letters.cooperator.give_way()


class GivesWay(logging.Handler):
    def __init__(self, letters):
        super().__init__()
        self.letters = letters

    def emit(self, _record):
        self.letters.cooperator.give_way()


def give_way_while_logging(letters):
    logger = logging.Logger("functions")  # noqa: LOG001
    logger.addHandler(GivesWay(letters))
    logger.warning("hello")


class GivesWayWhenFreed:
    def __init__(self, letters):
        self.letters = letters

    def __del__(self):
        self.letters.cooperator.give_way()


def give_way_while_collecting(letters):
    cycle = [GivesWayByAnotherName(letters)]
    cycle.append(cycle)
    del cycle
    gc.collect()


class GivesWayByAnotherName(GivesWayWhenFreed):
    def finalize(self):
        self.letters.cooperator.give_way()

    __del__ = finalize


@on_both_loops
@pytest.mark.parametrize(
    "after",
    [
        give_way_with_a_lock,
        give_way_with_a_lock_in,
        give_way_while_logging,
        lambda letters: [GivesWayWhenFreed(letters)].clear(),
        give_way_while_collecting,
    ],
)
async def test_a_function_does_not_give_way_where_that_would_harm(after):
    assert await Letters(after)() == "abcdef"


# Waiting


@on_both_loops
async def test_a_function_waits_for_a_future_a_coroutine_and_anything_awaitable():
    async def double(value):
        await asyncio.sleep(0)
        return 2 * value

    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, 1)

    def add():
        return wait_on(future) + wait_on(double(2)) + (let_go() or 0)

    assert await to_slices(add, preempt=False) == 5


@on_both_loops
async def test_what_the_awaitable_raises_is_raised_in_the_function():
    async def fail():
        raise KeyError("key")

    def catch():
        try:
            wait_on(fail())
        except KeyError as error:
            return error.args

    assert await to_slices(catch, preempt=False) == ("key",)


@on_both_loops
async def test_a_function_that_waits_suspends_nothing_else():
    log = []

    def first():
        wait_on(second_is_over)
        log.append("first")

    def second():
        log.append("second")
        second_is_over.set_result(None)

    second_is_over = asyncio.get_running_loop().create_future()
    await asyncio.gather(*[to_slices(one, preempt=False) for one in (first, second)])
    assert log == ["second", "first"]


async def nothing():
    pass


def test_waiting_outside_is_an_error_and_closes_the_coroutine():
    coroutine = nothing()
    with pytest.raises(
        RuntimeError,
        match="cannot wait outside of a function that runs in slices; use `await`",
    ):
        wait_on(coroutine)
    assert coroutine.cr_frame is None


@on_both_loops
async def test_waiting_in_a_coroutine_that_a_function_waits_on_is_outside():
    async def wait():
        wait_on(asyncio.get_running_loop().create_future())

    with pytest.raises(RuntimeError, match="cannot wait outside of a function"):
        await to_slices(lambda: wait_on(wait()), preempt=False)


@on_both_loops
async def test_waiting_in_a_collection_is_an_error():
    told = []

    class Waits:
        def __del__(self):
            try:
                wait_on(nothing())
            except RuntimeError as error:
                told.append(str(error))

    def work():
        cycle = [Waits()]
        cycle.append(cycle)
        del cycle
        gc.collect()

    await to_slices(work, preempt=False)
    assert told == ["cannot wait in a garbage collection; wait in the function itself"]


@pytest.mark.parametrize("value", [1, None, nothing])
def test_what_is_not_awaitable_is_refused(value):
    with pytest.raises(TypeError, match=r"awaitable must be awaitable, got (1|None|<function)"):
        wait_on(value)


@on_both_loops
async def test_cancelling_cancels_what_the_function_waits_on():
    future = asyncio.get_running_loop().create_future()
    log = []

    def work():
        try:
            wait_on(future)
        finally:
            log.append(wait_on(asyncio.sleep(0, "cleaned up")))

    waiter = asyncio.create_task(to_slices(work, preempt=False))
    await asyncio.sleep(0.01)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert future.cancelled()
    assert log == ["cleaned up"]


@on_both_loops
async def test_the_task_of_a_function_is_the_current_one():
    def work():
        before = current_task()
        let_go()
        return before, current_task()

    before, after = await to_slices(work, name="work", preempt=False)
    assert before is after
    assert before.name == "work"
    assert current_task() is None
