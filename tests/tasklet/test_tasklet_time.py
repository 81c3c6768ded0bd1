"""Timeouts, on virtual time, and idleness."""

import asyncio
import gc
import time
import weakref

import pytest

from cooperative_aio import tasklet
from cooperative_aio.tasklet import WaitForCall, WaitForIdle, WaitForTimeout
from cooperative_aio.tasklet import _timers as idle_module
from cooperative_aio.testing import virtual_time


def now():
    return asyncio.get_running_loop().time()


@virtual_time
async def test_a_timeout_waits_for_its_milliseconds():
    def body():
        event = yield timeout
        return event is timeout, now()

    timeout = WaitForTimeout(250)
    assert await tasklet.run(body()) == (True, 0.25)


@virtual_time
async def test_a_timeout_that_is_kept_is_periodic():
    def body():
        timeout = WaitForTimeout(500)
        instants = []
        for _ in range(3):
            yield timeout
            instants.append(now())
        return instants

    assert await tasklet.run(body()) == [0.5, 1.0, 1.5]


@virtual_time
async def test_the_period_goes_on_through_other_rounds_that_keep_it():
    call = WaitForCall()

    def body():
        timeout = WaitForTimeout(500)
        events = []
        for _ in range(3):
            event = yield [timeout, call]
            events.append((event is call, now()))
        return events

    asyncio.get_running_loop().call_later(0.75, call)
    assert await tasklet.run(body()) == [(False, 0.5), (True, 0.75), (False, 1.0)]


@virtual_time
async def test_a_timeout_let_go_begins_anew():
    def body():
        timeout = WaitForTimeout(500)
        yield [timeout, WaitForTimeout(250)]
        yield WaitForTimeout(125)
        yield timeout
        return now()

    assert await tasklet.run(body()) == 0.875


@virtual_time
async def test_periods_that_were_missed_are_skipped():
    def body():
        timeout = WaitForTimeout(250)
        late = tasklet.Message("late", dest=slow)
        yield timeout
        yield late
        instants = []
        for _ in range(2):
            yield timeout
            instants.append(now())
        return instants

    def receiver():
        yield tasklet.WaitForMessages(accept="late")
        asyncio.get_running_loop().spend(0.625)

    slow = tasklet.run(receiver())
    # Armed at 0: due at 0.25, held up until 0.875, so the one of 0.5 and 0.75 is one.
    assert await tasklet.run(body()) == [1.0, 1.25]


@virtual_time
async def test_restart_counts_from_zero():
    call = WaitForCall()

    def body():
        timeout = WaitForTimeout(500)
        timeout.restart()  # not armed: nothing to count from
        yield [timeout, call]
        timeout.restart()
        yield [timeout, call]
        first = now()
        timeout.restart()
        yield timeout
        return first, now()

    asyncio.get_running_loop().call_later(0.25, call)
    assert await tasklet.run(body()) == (0.75, 1.25)


@virtual_time
async def test_a_timeout_restarted_by_another_while_it_fires_is_not_doubled():
    def body():
        timeout = WaitForTimeout(500)
        instants = []
        for _ in range(2):
            yield timeout
            timeout.restart()
            instants.append(now())
        return instants

    assert await tasklet.run(body()) == [0.5, 1.0]


@virtual_time
async def test_no_milliseconds_are_a_turn_of_the_loop():
    def body():
        timeout = WaitForTimeout(0)
        for _ in range(3):
            yield timeout
        return now()

    assert await tasklet.run(body()) == 0.0


@virtual_time
@pytest.mark.parametrize("kind", [lambda: WaitForTimeout(1000), WaitForIdle])
async def test_no_timer_keeps_a_condition_that_was_let_go(kind):
    def body(condition):
        yield condition

    condition = kind()
    cancelled = tasklet.run(body(condition))
    cancelled.cancel()
    await asyncio.wait([cancelled])
    freed = weakref.ref(condition)
    del condition, cancelled
    gc.collect()
    assert freed() is None
    assert now() == 0.0


@pytest.mark.parametrize("value", [None, "1", True, [1]])
def test_milliseconds_must_be_a_number(value):
    with pytest.raises(TypeError, match="timeout must be a number of milliseconds, got"):
        WaitForTimeout(value)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_milliseconds_must_be_finite_and_not_negative(value):
    with pytest.raises(ValueError, match="timeout must be finite and not negative, got"):
        WaitForTimeout(value)


def idling(count=1):
    condition = WaitForIdle()
    for _ in range(count):
        event = yield condition
        assert event is condition


def test_idle_comes_when_the_loop_has_nothing_else_to_do(run_loop, monkeypatch):
    slept = [1]  # what the operating system counts, a busy one also for other reasons
    monkeypatch.setattr(idle_module, "sleeps", lambda: slept[0])

    async def main():
        order = []
        idle = tasklet.run(idling())
        idle.add_done_callback(lambda _: order.append("idle"))

        async def busy():
            end = time.perf_counter() + 0.01
            while time.perf_counter() < end:
                await asyncio.sleep(0)
            order.append("busy")
            slept[0] += 1

        await asyncio.gather(busy(), idle)
        await asyncio.sleep(0)
        assert order == ["busy", "idle"]

    run_loop(main)


def test_idle_comes_after_a_chain_of_callbacks_however_short(run_loop):
    async def main():
        order = []

        def chain(left):
            order.append(left)
            if left:
                asyncio.get_running_loop().call_soon(chain, left - 1)

        chain(100)
        await tasklet.run(idling())
        assert order == list(range(100, -1, -1))

    run_loop(main)


def test_kept_idleness_comes_again(run_loop):
    async def main():
        await tasklet.run(idling(3))

    run_loop(main)


@virtual_time
async def test_a_loop_on_virtual_time_gets_idle_too():
    await tasklet.run(idling(3))


async def test_idleness_let_go_leaves_no_timer():
    def body(call):
        yield [WaitForIdle(), call]

    call = WaitForCall()
    tasklet.run(body(call))
    call()


@pytest.mark.parametrize("busy", [False, True])
async def test_where_sleeping_is_not_counted_the_processor_time_tells(monkeypatch, busy):
    monkeypatch.setattr(idle_module, "sleeps", lambda: 0)
    condition = WaitForIdle()
    condition._before = (0, time.thread_time() - busy, time.perf_counter() - 1)
    assert condition._was_idle() is not busy


async def test_idleness_taken_back_while_it_is_told_is_not_doubled():
    call = WaitForCall()

    def body():
        idle = WaitForIdle()
        yield [idle, call]
        call()
        yield [call]
        yield idle
        return "idle twice"

    asyncio.get_running_loop().call_soon(lambda: None)
    assert await tasklet.run(body()) == "idle twice"
