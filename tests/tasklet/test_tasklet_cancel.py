"""Cancelling: as on asyncio.Task, never swallowed and never twice."""

import asyncio

import pytest

from cooperative_aio import tasklet
from cooperative_aio.tasklet import Message, Tasklet, WaitForCall, WaitForMessages


def logging_body(call, log):
    while True:
        try:
            yield call
        except asyncio.CancelledError as error:
            log.append(error.args)
            raise


async def test_the_error_is_thrown_at_the_yield_soon_and_ends_the_tasklet():
    log = []
    call = WaitForCall()
    cancelled = tasklet.run(logging_body(call, log))
    assert cancelled.cancel("why") is True
    assert log == []
    with pytest.raises(asyncio.CancelledError, match="why"):
        await cancelled
    assert log == [("why",)]
    assert cancelled.cancelled()
    assert cancelled.state == tasklet.STATE_ZOMBIE
    assert cancelled.wait_list == []
    assert cancelled.cancel() is False


async def test_two_cancels_before_it_is_delivered_throw_once():
    log = []
    cancelled = tasklet.run(logging_body(WaitForCall(), log))
    cancelled.cancel("first")
    cancelled.cancel("second")
    await asyncio.wait([cancelled])
    assert log == [("first",)]


async def test_of_two_cancels_before_it_has_begun_the_second_counts():
    lazy = Tasklet(logging_body(WaitForCall(), []), start=False)
    lazy.cancel("first")
    lazy.cancel("second")
    with pytest.raises(asyncio.CancelledError, match="second"):
        await lazy


async def test_of_three_cancels_the_last_before_it_waits_counts():
    log = []

    def body():
        me[0].cancel("first")
        me[0].cancel("second")
        yield from logging_body(WaitForCall(), log)

    me = [Tasklet(body(), start=False)]
    me[0].start()
    me[0].cancel("third")
    await asyncio.wait(me)
    assert log == [("second",)]


async def test_cancelling_again_while_cleaning_up_throws_again():
    log = []

    def body():
        for _ in range(2):
            try:
                yield WaitForCall()
            except asyncio.CancelledError:
                log.append("cancelled")
        yield WaitForCall()

    stubborn = tasklet.run(body())
    for _ in range(3):
        assert stubborn.cancel()
        await asyncio.sleep(0)
    assert log == ["cancelled"] * 2
    assert stubborn.cancelled()


async def test_a_tasklet_that_returns_after_all_has_its_value():
    def body():
        try:
            yield WaitForCall()
        except asyncio.CancelledError:
            yield asyncio.sleep(0)
            return "cleaned up"

    cleaning = tasklet.run(body())
    cleaning.cancel()
    assert await cleaning == "cleaned up"


async def test_nothing_that_was_kept_is_lost_by_a_cancellation_that_is_caught():
    got = []
    call = WaitForCall()

    def body():
        while True:
            try:
                event = yield call
            except asyncio.CancelledError:
                continue
            got.append(event.args)

    stubborn = tasklet.run(body())
    stubborn.cancel()
    call(1)
    assert got == []  # the cancellation came first
    await asyncio.sleep(0)
    call(2)
    assert got == [(1,), (2,)]
    await end(stubborn)


async def end(stubborn):
    stubborn.abandon()
    await asyncio.wait([stubborn])


async def test_cancelling_itself_takes_effect_at_the_next_yield():
    log = []

    def body():
        me[0].cancel()
        log.append("goes on")
        try:
            yield WaitForCall()
        finally:
            log.append("cancelled")

    me = [Tasklet(body(), start=False)]
    me[0].start()
    assert log == ["goes on"]
    await asyncio.wait([me[0]])
    assert log == ["goes on", "cancelled"]


async def test_one_that_ends_before_it_is_thrown_is_cancelled_as_a_task_would_be():
    def body():
        me[0].cancel("late")
        return 1
        yield

    me = [Tasklet(body(), start=False)]
    me[0].start()
    with pytest.raises(asyncio.CancelledError, match="late"):
        await me[0]
    await asyncio.sleep(0)


async def test_one_not_started_is_cancelled_without_running():
    log = []

    def body():
        log.append("ran")
        yield WaitForCall()

    lazy = Tasklet(body(), start=False)
    lazy.cancel()
    with pytest.raises(asyncio.CancelledError):
        await lazy
    assert log == []
    with pytest.raises(RuntimeError, match="cannot start a ZOMBIE tasklet"):
        lazy.start()


async def test_cancelling_who_awaits_a_tasklet_cancels_it():
    waited = tasklet.run(logging_body(WaitForCall(), []))
    waiter = asyncio.ensure_future(waited.join())
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert waited.cancelled()


async def test_a_timeout_ends_a_tasklet():
    waited = tasklet.run(logging_body(WaitForCall(), []))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(waited, 0)
    assert waited.cancelled()


async def test_cancelled_error_raised_by_the_body_cancels_it():
    def body():
        yield asyncio.sleep(0)
        raise asyncio.CancelledError("own")

    own = tasklet.run(body())
    with pytest.raises(asyncio.CancelledError, match="own"):
        await own
    assert own.cancelled()


async def test_a_sender_cancelled_while_it_sends_gets_it_at_its_next_wait():
    log = []

    def receiver():
        message = yield WaitForMessages(accept="x")
        message.sender.cancel()

    def sender(dest):
        yield Message("x", dest=dest)
        log.append("sent")
        try:
            yield WaitForCall()
        finally:
            log.append("cancelled")

    sending = tasklet.run(sender(tasklet.run(receiver())))
    assert log == ["sent"]
    await asyncio.wait([sending])
    assert log == ["sent", "cancelled"]


async def test_clean_up_may_send_messages():
    got = []

    def receiver():
        message = yield WaitForMessages(accept="bye")
        got.append(message.value)

    def body(dest):
        try:
            yield WaitForCall()
        finally:
            yield Message("bye", dest=dest, value="end")

    leaving = tasklet.run(body(tasklet.run(receiver())))
    leaving.cancel()
    await asyncio.wait([leaving])
    assert got == ["end"]
    assert leaving.cancelled()


async def test_a_generator_it_waits_for_is_cancelled_with_it_and_a_tasklet_is_not():
    children = {}

    def child(name):
        try:
            yield WaitForCall()
        finally:
            children[name] = "closed"

    other = tasklet.run(child("other"))

    def body():
        yield [child("owned"), other]

    parent = tasklet.run(body())
    parent.cancel()
    await asyncio.wait([parent])
    await asyncio.sleep(0)
    assert children == {"owned": "closed"}
    assert not other.done()
