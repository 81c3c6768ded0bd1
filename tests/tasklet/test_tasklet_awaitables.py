"""Waiting for tasklets, generators, and whatever await takes."""

import asyncio
import contextvars

import pytest

from cooperative_aio import cooperate, tasklet
from cooperative_aio.tasklet import (
    Tasklet,
    WaitForAwaitable,
    WaitForCall,
    WaitForTasklet,
    get_event,
)


def returning(value, call=None):
    if call is not None:
        yield call
    return value


def failing(error):
    yield asyncio.sleep(0)
    raise error


async def sleeper(log, name):
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        log.append(name)
        raise


async def test_a_generator_that_ends_at_once_is_joined():
    def waiter():
        yield returning(123)
        return get_event().retval

    assert await tasklet.run(waiter()) == 123


async def test_a_tasklet_that_ended_long_ago_is_joined_again_and_again():
    ended = tasklet.run(returning(1))

    def waiter():
        values = []
        for _ in range(2):
            event = yield ended
            assert isinstance(event, WaitForTasklet)
            values.append((event.retval, event.tasklet is ended))
        condition = WaitForTasklet(ended)
        for _ in range(2):
            event = yield condition
            values.append(event.retval)
        return values

    assert await tasklet.run(waiter()) == [(1, True), (1, True), 1, 1]


async def test_a_join_is_never_synchronous():
    order = []

    def waiter(ended):
        yield ended
        order.append("joined")

    call = WaitForCall()
    ended = tasklet.run(returning(None, call))
    waiting = tasklet.run(waiter(ended))
    call()
    order.append("after")
    await waiting
    assert order == ["after", "joined"]


async def test_a_failure_is_raised_at_the_yield_of_the_joiner():
    def waiter():
        try:
            yield failing(ValueError("broken"))
        except ValueError as error:
            return str(error)

    assert await tasklet.run(waiter()) == "broken"


async def test_a_cancelled_tasklet_raises_cancelled_error_at_its_joiner():
    other = tasklet.run(returning(1, WaitForCall()))

    def waiter():
        try:
            yield other
        except asyncio.CancelledError as error:
            return error.args

    waiting = tasklet.run(waiter())
    other.cancel("gone")
    assert await waiting == ("gone",)


async def test_losing_interest_in_a_tasklet_leaves_it_alone():
    call, first = WaitForCall(), WaitForCall()
    other = tasklet.run(returning(1, call))

    def waiter():
        event = yield other, first
        return event

    waiting = tasklet.run(waiter())
    first()
    assert await waiting is first
    call()
    assert await other == 1


async def test_a_generator_that_lost_goes_on_as_in_kiwi():
    call, first = WaitForCall(), WaitForCall()
    log = []

    def child():
        yield call
        log.append("went on")

    def waiter():
        yield [child(), first]

    waiting = tasklet.run(waiter())
    first()
    await waiting
    await asyncio.sleep(0)
    call()
    assert log == ["went on"]


async def test_a_generator_kept_in_the_list_is_started_once():
    call, first = WaitForCall(), WaitForCall()
    child = returning("child", call)

    def waiter():
        waits = [child, first]
        yield waits
        event = yield waits
        return event.retval

    waiting = tasklet.run(waiter())
    first()
    call()
    assert await waiting == "child"


async def test_what_is_spent_counts_as_new_when_it_is_yielded_again():
    first = tasklet.run(returning(1))
    call = WaitForCall()

    def waiter():
        order = []
        for _ in range(3):
            event = yield [call, first]
            order.append(event)
        return [e.retval for e in order]

    assert await tasklet.run(waiter()) == [1, 1, 1]


async def test_a_tasklet_cannot_wait_for_itself():
    def body():
        yield me[0]

    me = [Tasklet(body(), start=False)]
    me[0].start()
    with pytest.raises(RuntimeError, match="cannot wait for a tasklet in itself"):
        await me[0]


@pytest.mark.parametrize("value", [None, 3, returning])
def test_only_a_tasklet_can_be_joined(value):
    with pytest.raises(TypeError, match="tasklet must be a Tasklet, got"):
        WaitForTasklet(value)


async def test_a_future_of_another_loop_is_an_error():
    other = asyncio.new_event_loop()
    future = other.create_future()

    def body():
        yield future

    with pytest.raises(RuntimeError, match=r"cannot wait for .*; it belongs to another loop"):
        await tasklet.run(body())
    other.close()


class Awaitable:
    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        return "awaited"


async def test_an_awaitable_yielded_alone_gives_its_result():
    future = asyncio.get_running_loop().create_future()
    future.set_result("future")

    def body():
        first = yield asyncio.sleep(0, "coroutine")
        assert get_event() == "coroutine"
        second = yield future
        third = yield Awaitable()
        return first, second, third

    assert await tasklet.run(body()) == ("coroutine", "future", "awaited")


async def test_among_several_the_event_is_the_future_that_is_done():
    loop = asyncio.get_running_loop()
    future, never = loop.create_future(), loop.create_future()

    def body():
        event = yield [never, future]
        assert event is future
        event = yield (never, asyncio.sleep(0, "slept"))
        return event.result()

    waiting = tasklet.run(body())
    future.set_result(None)
    assert await waiting == "slept"


async def test_a_condition_made_for_an_awaitable_has_its_result():
    def body():
        condition = WaitForAwaitable(asyncio.sleep(0, 4))
        event = yield [condition, WaitForCall()]
        assert event is condition
        again = yield condition
        alone = yield from WaitForAwaitable(asyncio.sleep(0, 5))
        return event.retval, again.retval, alone.retval

    assert await tasklet.run(body()) == (4, 4, 5)


def test_only_an_awaitable_can_be_awaited():
    with pytest.raises(TypeError, match="awaitable must be awaitable, got 3"):
        WaitForAwaitable(3)


async def test_what_an_awaitable_raises_is_raised_at_the_yield():
    async def broken():
        raise ValueError("broken")

    def body():
        texts = []
        for waits in (broken(), [broken(), WaitForCall()]):
            try:
                yield waits
            except ValueError as error:
                texts.append(str(error))
        return texts

    assert await tasklet.run(body()) == ["broken", "broken"]


async def test_a_coroutine_that_lost_is_cancelled_and_one_that_is_kept_goes_on():
    log = []
    first, second = WaitForCall(), WaitForCall()
    kept, lost = sleeper(log, "kept"), sleeper(log, "lost")

    def body():
        yield [kept, lost, first]
        yield [kept, second]

    waiting = tasklet.run(body())
    await asyncio.sleep(0)
    first()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert log == ["lost"]
    second()
    await waiting
    await asyncio.sleep(0)
    assert log == ["lost", "kept"]


async def test_cancelling_cancels_the_coroutine_and_leaves_the_future_of_others():
    log = []
    future = asyncio.get_running_loop().create_future()

    def body():
        yield [sleeper(log, "owned"), future]

    waiting = tasklet.run(body())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    await asyncio.sleep(0)
    assert log == ["owned"]
    assert not future.done()


async def test_a_future_done_after_it_was_let_go_wakes_nobody():
    future = asyncio.get_running_loop().create_future()
    first, second = WaitForCall(), WaitForCall()
    seen = []

    def body():
        yield [future, first]
        event = yield second
        seen.append(event)

    tasklet.run(body())
    future.set_result(None)  # its callbacks are on their way
    first()
    await asyncio.sleep(0)
    assert seen == []
    second()
    assert seen == [second]


async def test_an_owned_coroutine_has_a_copy_of_the_context():
    variable = contextvars.ContextVar("variable")

    async def reader():
        return variable.get()

    def body():
        variable.set("mine")
        value = yield reader()
        return value

    assert await tasklet.run(body()) == "mine"


async def test_an_owned_coroutine_may_resume_its_own_tasklet():
    call = WaitForCall()

    async def caller():
        call("from the coroutine")

    def body():
        event = yield [caller(), call]
        return event.args

    assert await tasklet.run(body()) == ("from the coroutine",)


async def test_yield_from_a_future_or_a_tasklet_gives_the_result():
    future = asyncio.get_running_loop().create_future()
    other = tasklet.run(returning("tasklet", WaitForCall()))

    def body():
        first = yield from future
        second = yield from tasklet.run(returning("inner"))
        try:
            yield from other
        except asyncio.CancelledError:
            return first, second

    waiting = tasklet.run(body())
    future.set_result("future")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    other.cancel()
    assert await waiting == ("future", "inner")


async def test_a_tasklet_is_awaited_by_gather_and_wait():
    calls = [WaitForCall(), WaitForCall()]
    waiting = [tasklet.run(returning(i, c)) for i, c in enumerate(calls)]
    for call in calls:
        asyncio.get_running_loop().call_soon(call)
    assert await asyncio.gather(*waiting) == [0, 1]


async def test_a_cooperative_task_is_one_more_thing_to_wait_for():
    def heavy(count):
        total = 0
        for number in range(count):
            total += number
            yield
        return total

    def body():
        timeout = tasklet.WaitForTimeout(60_000)
        work = cooperate(heavy(100))
        event = yield [work, timeout]
        alone = yield cooperate(heavy(10))
        return event is work, work.result(), alone

    assert await tasklet.run(body()) == (True, 4950, 45)
