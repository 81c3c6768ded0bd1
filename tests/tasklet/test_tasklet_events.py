"""get_event(): the event of the last yield, once."""

import pytest

from cooperative_aio import tasklet
from cooperative_aio.tasklet import WaitForCall, get_event


def waiting(call, result=None):
    yield call
    return result


async def test_get_event_gives_the_value_of_the_yield():
    def body(call):
        value = yield call
        assert get_event() is value
        return value

    call = WaitForCall()
    reader = tasklet.run(body(call))
    call()
    assert await reader is call


async def test_an_event_can_be_read_once():
    def body(call):
        yield call
        get_event()
        get_event()

    call = WaitForCall()
    reader = tasklet.run(body(call))
    call()
    with pytest.raises(RuntimeError, match="cannot get an event; the event was read already"):
        await reader


async def test_there_is_no_event_before_the_first_wait_nor_after_a_message():
    def early():
        get_event()
        yield

    def sending():
        yield tasklet.Message("x", dest=other)
        get_event()

    other = tasklet.run(iter_messages())
    for body in (early(), sending()):
        with pytest.raises(RuntimeError, match="there is no event to read"):
            await tasklet.run(body)


def iter_messages():
    while True:
        yield tasklet.WaitForMessages(accept="x")


async def test_outside_of_a_tasklet_there_is_no_event():
    with pytest.raises(RuntimeError, match="cannot get an event outside of a tasklet"):
        get_event()


async def test_get_event_is_that_of_the_innermost_tasklet():
    inner_call, outer_call = WaitForCall(), WaitForCall()

    def inner():
        yield inner_call
        return get_event()

    def outer():
        yield outer_call
        inner_call()
        return get_event()

    first, second = tasklet.run(inner()), tasklet.run(outer())
    outer_call()
    assert await first is inner_call
    assert await second is outer_call


async def test_forgetting_an_event_warns_one_who_uses_get_event():
    def body(call):
        yield call
        get_event()
        yield call
        yield call

    call = WaitForCall()
    forgetful = tasklet.run(body(call))
    call()
    with pytest.warns(UserWarning, match=r"<Tasklet .*body.*> forgot to read an event"):
        call()
    call()
    assert forgetful.done()


async def test_a_tasklet_that_takes_events_from_the_yield_is_not_warned():
    def body(call):
        for _ in range(3):
            yield call

    call = WaitForCall()
    quiet = tasklet.run(body(call))
    for _ in range(3):
        call()
    assert quiet.done()


async def test_a_warning_made_an_error_is_reported_and_tears_nothing(reports):
    dropper = tasklet.run(waiting(WaitForCall()))
    dropper.send_message(tasklet.Message("unknown"))
    assert [type(r["exception"]) for r in reports] == [UserWarning]
    assert not dropper.done()
