"""Join callbacks: told when a tasklet ends."""

import asyncio

import pytest

from cooperative_aio import tasklet
from cooperative_aio.tasklet import WaitForCall


def waiting(call, result=None):
    yield call
    return result


async def test_join_callbacks_are_told_the_tasklet_its_value_and_extra_arguments():
    call = WaitForCall()
    ending = tasklet.run(waiting(call, 5))
    told = []
    ending.add_join_callback(lambda *args: told.append(args), "extra", 1)
    handle = ending.add_join_callback(told.append)
    ending.remove_join_callback(handle)
    call()
    assert told == [(ending, 5, "extra", 1)]


async def test_a_join_callback_that_was_called_cannot_be_removed():
    call = WaitForCall()
    ending = tasklet.run(waiting(call))
    handle = ending.add_join_callback(lambda *_: None)
    call()
    with pytest.raises(KeyError):
        ending.remove_join_callback(handle)


async def test_one_function_may_be_added_twice():
    call = WaitForCall()
    ending = tasklet.run(waiting(call, 1))
    told = []
    for _ in range(2):
        ending.add_join_callback(lambda *args: told.append(args))
    call()
    assert told == [(ending, 1)] * 2


async def test_joining_what_has_ended_calls_soon_unless_removed():
    ended = tasklet.run(waiting(asyncio.sleep(0), 1))
    await ended
    told = []
    ended.add_join_callback(lambda *args: told.append(args))
    ended.remove_join_callback(ended.add_join_callback(told.append))
    assert told == []
    await asyncio.sleep(0)
    assert told == [(ended, 1)]


async def test_a_join_callback_that_raises_is_reported_and_stops_no_other(reports):
    def bad(_tasklet, _value):
        raise ValueError("bad joiner")

    call = WaitForCall()
    ending = tasklet.run(waiting(call))
    told = []
    ending.add_join_callback(bad)
    ending.add_join_callback(lambda *args: told.append(args))
    call()
    assert told == [(ending, None)]
    assert [r["message"] for r in reports] == ["join callback of a tasklet raised"]


async def test_a_join_callback_may_leave_the_program():
    def leave(_tasklet, _value):
        raise SystemExit

    call = WaitForCall()
    ending = tasklet.run(waiting(call))
    ending.add_join_callback(leave)
    with pytest.raises(SystemExit):
        call()
    assert ending.done()


async def test_join_callbacks_of_a_failed_tasklet_get_none():
    def body(call):
        yield call
        raise ValueError("broken")

    call = WaitForCall()
    failing = tasklet.run(body(call))
    told = []
    failing.add_join_callback(lambda t, v: told.append((v, str(t.exception()))))
    call()
    assert told == [(None, "broken")]
