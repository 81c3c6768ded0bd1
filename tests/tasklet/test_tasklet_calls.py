"""WaitForCall: a callable that a tasklet waits for."""

import asyncio

import pytest

from cooperative_aio import tasklet
from cooperative_aio.tasklet import WaitForCall


def iter_calls(*calls):
    for call in calls:
        yield from call


async def test_calling_sets_a_return_value_that_the_tasklet_may_change():
    def body(call):
        event = yield call
        call.return_value = sum(event.args)

    call = WaitForCall("first")
    assert call() == "first"
    assert WaitForCall()() is None
    call = WaitForCall("first")
    tasklet.run(body(call))
    assert call(1, 2) == 3


async def test_calls_before_the_first_wait_are_kept_and_after_the_last_ignored():
    got = []

    def body(call):
        for _ in range(2):
            event = yield call
            got.append(event.args)

    call = WaitForCall()
    call(1)
    call(2)
    tasklet.run(body(call))
    assert got == [(1,), (2,)]
    call(3)
    assert got == [(1,), (2,)]
    assert call.args == (2,)


async def test_a_call_from_another_thread_says_how_to():
    call = WaitForCall()
    tasklet.run(iter_calls(call))
    with pytest.raises(RuntimeError, match="cannot resume a tasklet from another thread"):
        await asyncio.to_thread(call)
