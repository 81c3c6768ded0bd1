import asyncio
import contextvars
import gc
import math
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooperative_aio import Clock, LoopingCall
from cooperative_aio._grid import Grid
from cooperative_aio.testing import VirtualLoop, virtual_time


class Recorder:
    """A function that notes when it is called, and does what it is told to."""

    def __init__(self, clock):
        self.clock = clock
        self.calls = []
        self.waiting = None
        self.then = lambda: None

    def __call__(self, *args):
        self.calls.append((self.clock.time(), *args) if args else self.clock.time())
        return self.then()

    def wait(self):
        self.waiting = asyncio.get_running_loop().create_future()
        return self.waiting

    async def release(self, error=None):
        if error is None:
            self.waiting.set_result("ignored")
        else:
            self.waiting.set_exception(error)
        await settle()


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def record(clock):
    return Recorder(clock)


@pytest.fixture
def call(clock, record):
    call = LoopingCall(record)
    call.clock = clock
    return call


def counted(clock, record, *args):
    call = LoopingCall.with_count(record, *args)
    call.clock = clock
    return call


# --- the grid ---------------------------------------------------------------------------


async def test_calls_are_made_at_the_start_and_on_every_instant_of_the_grid(
    clock, record, call
):
    clock.advance(10)
    future = call.start(0.5)
    assert record.calls == [10.0]
    clock.advance(2)
    assert record.calls == [10.0, 10.5, 11.0, 11.5, 12.0]
    assert not future.done()
    call.stop()
    assert await future is call
    assert clock.get_delayed_calls() == []


async def test_without_now_the_first_call_is_one_interval_later(clock, record, call):
    call.start(2, now=False)
    clock.advance(5)
    assert record.calls == [2.0, 4.0]


async def test_an_interval_that_binary_cannot_hold_does_not_drift(clock, record, call):
    call.start(0.1)
    clock.advance(1000)
    assert record.calls == [n * 0.1 for n in range(10_001)]


async def test_small_or_uneven_advances_do_not_move_the_grid(clock, record, call):
    call.start(0.1)
    for _ in range(30_000):
        clock.advance(0.01)
    calls = math.floor(clock.time() / 0.1) + 1
    assert record.calls == [n * 0.1 for n in range(calls)]


async def test_a_call_that_outlasts_intervals_is_followed_at_the_next_instant(
    clock, record, call
):
    record.then = lambda: clock.spend(3.5) if len(record.calls) == 2 else None
    call.start(1)
    clock.advance(8)
    assert record.calls == [0.0, 1.0, 5.0, 6.0, 7.0, 8.0]


async def test_a_call_that_ends_on_an_instant_is_followed_at_the_one_after(clock, record, call):
    record.then = lambda: clock.spend(3) if len(record.calls) == 2 else None
    call.start(1)
    clock.advance(6)
    assert record.calls == [0.0, 1.0, 5.0, 6.0]


async def test_a_call_that_ends_on_an_instant_hard_to_hold_is_followed_at_the_one_after(
    clock, record, call
):
    assert 1.0 // 0.1 == 9  # although 10 * 0.1 is 1.0
    record.then = lambda: clock.spend(1.0) if len(record.calls) == 1 else None
    call.start(0.1)
    clock.advance(0.25)
    assert record.calls == [0.0, 11 * 0.1, 12 * 0.1]


@given(
    origin=st.floats(0, 1e6),
    interval=st.floats(1e-3, 1e3),
    elapsed=st.floats(0, 1e6),
    data=st.data(),
)
def test_the_last_instant_passed_is_found_to_the_ulp(origin, interval, elapsed, data):
    grid = Grid(origin, interval, 0)
    n = int(elapsed / interval)
    near = [origin + elapsed, grid.instant(n)]
    near += [math.nextafter(near[1], to) for to in (0, math.inf)]
    now = max(origin, data.draw(st.sampled_from(near)))
    n = grid.passed(now)
    assert grid.instant(n) <= now < grid.instant(n + 1)


async def test_a_late_call_does_not_make_the_next_one_late(clock, record, call):
    call.start(1, now=False)
    clock.call_at(0.5, clock.spend, 1)
    clock.advance(4)
    assert record.calls == [1.5, 2.0, 3.0, 4.0]


async def test_a_timer_that_is_early_neither_repeats_nor_skips_an_instant(record):
    class Early(Clock):
        """Wake up a millisecond early, as a loop that rounds its timers may."""

        call_at = None

        def call_later(self, delay, callback):
            return super().call_later(max(0.0, delay - 0.001), callback)

    class EarlyClock(Early):
        def call_later(self, delay, callback):
            return Clock.call_at(self, self.time() + max(0.0, delay - 0.001), callback)

    clock = record.clock = EarlyClock()
    call = counted(clock, record)
    call.start(1)
    clock.advance(4)
    assert record.calls == [
        (0.0, 1),
        *((pytest.approx(n - 0.001, abs=1e-9), 1) for n in (1, 2, 3, 4)),
    ]


async def test_a_clock_needs_no_more_than_time_and_call_later(record):
    class Minimal:
        def __init__(self):
            self.inner = Clock()
            self.time = self.inner.time

        def call_later(self, delay, callback):
            return self.inner.call_later(delay, callback)

    record.clock = clock = Minimal()
    call = LoopingCall(record)
    call.clock = clock
    call.start(0.5)
    clock.inner.advance(1)
    call.stop()
    assert record.calls == [0.0, 0.5, 1.0]
    assert clock.inner.get_delayed_calls() == []


async def test_an_interval_of_0_calls_whenever_the_clock_does(clock, record):
    call = counted(clock, record)
    record.then = lambda: call.stop() if len(record.calls) == 4 else None
    future = call.start(0)
    assert record.calls == [(0.0, 1)]
    clock.advance(0)
    assert record.calls == [(0.0, 1)] * 4
    assert await future is call


@pytest.mark.parametrize("interval", [1e-300, 5e-324])
async def test_an_interval_below_the_resolution_of_time_is_like_0(record, interval):
    record.clock = clock = Clock(1e9)
    call = counted(clock, record)
    record.then = lambda: call.stop() if len(record.calls) == 3 else None
    call.start(interval, now=False)
    clock.spend(1)
    clock.advance(1)
    assert [time for time, _ in record.calls] == [1e9 + 1] * 3


async def test_a_clock_is_never_asked_for_a_negative_delay(record):
    class WithoutCallAt(Clock):
        call_at = None

        def call_later(self, delay, callback):
            assert delay >= 0
            return Clock.call_at(self, self.time() + delay, callback)

    record.clock = clock = WithoutCallAt(1e9)
    call = LoopingCall(record)
    call.clock = clock
    record.then = lambda: call.stop() if len(record.calls) == 2 else None
    future = call.start(1e-300, now=False)
    clock.spend(1)
    clock.advance(0)
    assert await future is call


def test_an_hour_at_a_tenth_of_a_second_is_exact_in_virtual_time():
    calls = []

    @virtual_time
    async def hour():
        loop = asyncio.get_running_loop()

        def note():
            calls.append(loop.time())
            if len(calls) == 36_001:
                call.stop()

        call = LoopingCall(note)
        await call.start(0.1)

    hour()
    assert calls == [n * 0.1 for n in range(36_001)]


@virtual_time
async def test_several_looping_calls_on_one_loop_are_all_exact():
    loop = asyncio.get_running_loop()
    calls = {0.1: [], 0.3: [], 0.7: []}
    for interval, times in calls.items():
        LoopingCall(lambda times=times: times.append(loop.time())).start(interval)
    await asyncio.sleep(100)
    for interval, times in calls.items():
        assert times == [n * interval for n in range(len(times))]
        assert len(times) >= 100 / interval


# --- counting ---------------------------------------------------------------------------


async def test_with_count_passes_the_intervals_since_the_last_call(clock, record):
    call = counted(clock, record)
    record.then = lambda: clock.spend(2.5) if len(record.calls) == 2 else None
    call.start(1)
    clock.advance(5)
    assert record.calls == [(0.0, 1), (1.0, 1), (4.0, 3), (5.0, 1)]


async def test_with_count_without_now_counts_from_the_start(clock, record):
    call = counted(clock, record)
    call.start(1, now=False)
    clock.spend(3.25)
    clock.advance(1)
    assert record.calls == [(3.25, 3), (4.0, 1)]


async def test_with_count_passes_arguments_after_the_number(clock):
    seen = []
    call = LoopingCall.with_count(lambda *args, **kwargs: seen.append((args, kwargs)), "a", b=2)
    call.clock = clock
    call.start(1)
    assert seen == [((1, "a"), {"b": 2})]


# --- awaitables -------------------------------------------------------------------------


async def test_the_next_call_waits_for_an_awaitable_and_stays_on_the_grid(clock, record, call):
    record.then = record.wait
    call.start(1)
    clock.advance(3.5)
    assert record.calls == [0.0]
    await record.release()
    clock.advance(0.5)
    assert record.calls == [0.0, 4.0]


async def test_coroutine_functions_and_other_awaitables_are_awaited(clock):
    steps = []

    class Awaitable:
        def __await__(self):
            steps.append("awaited")
            return iter(())

    async def coroutine():
        steps.append("coroutine")
        return Awaitable

    for f in (coroutine, Awaitable):
        call = LoopingCall(f)
        call.clock = clock
        future = call.start(1)
        await settle()
        call.stop()
        assert await future is call
    assert steps == ["coroutine", "awaited"]


async def test_stop_lets_an_awaitable_in_flight_finish_first(clock, record, call):
    record.then = record.wait
    future = call.start(1)
    call.stop()
    await settle()
    assert not call.running
    assert not future.done()
    assert not record.waiting.cancelled()
    await record.release()
    assert future.result() is call
    assert clock.get_delayed_calls() == []


async def test_a_failure_in_flight_after_stop_still_reaches_the_future(clock, record, call):
    record.then = record.wait
    future = call.start(1)
    call.stop()
    await record.release(KeyError("lost?"))
    with pytest.raises(KeyError, match=r"lost\?"):
        await future


# --- the end ----------------------------------------------------------------------------


async def test_stop_from_inside_the_call_ends_it_when_the_call_returns(clock, record, call):
    record.then = lambda: call.stop() if len(record.calls) == 2 else None
    future = call.start(1)
    clock.advance(5)
    assert record.calls == [0.0, 1.0]
    assert future.result() is call


@pytest.mark.parametrize("now", [True, False])
async def test_an_exception_ends_it_and_reaches_the_future(clock, call, record, now):
    def fail():
        raise KeyError("why")

    record.then = fail
    future = call.start(1, now=now)
    clock.advance(3)
    assert len(record.calls) == 1
    assert not call.running
    with pytest.raises(KeyError, match="why"):
        await future


async def test_an_exception_of_an_awaitable_ends_it_too(clock, record, call):
    record.then = record.wait
    future = call.start(1)
    await record.release(KeyError("why"))
    assert not call.running
    with pytest.raises(KeyError, match="why"):
        await future


async def test_stop_iteration_reaches_the_future_in_a_form_it_can_hold(clock, call, record):
    record.then = lambda: next(iter(()))
    with pytest.raises(RuntimeError, match="the call raised StopIteration") as caught:
        await call.start(1)
    assert isinstance(caught.value.__cause__, StopIteration)


async def test_a_cancelled_awaitable_cancels_the_future(clock, record, call):
    record.then = record.wait
    future = call.start(1)
    record.waiting.cancel("reason")
    await settle()
    assert future.cancelled()
    assert not call.running
    with pytest.raises(asyncio.CancelledError, match="reason"):
        await future


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("now", [True, False])
async def test_keyboard_interrupt_and_system_exit_leave(record, call, error, now, caplog):
    def leave():
        raise error

    record.then = leave
    futures = []

    def run():
        futures.append(call.start(1, now=now))
        record.clock.advance(1)

    with pytest.raises(error):
        run()
    assert not call.running
    assert [type(future.exception()) for future in futures] == [error] * (not now)
    gc.collect()
    assert caplog.records == []


async def test_cancelling_the_future_stops_it_at_once(clock, record, call):
    future = call.start(1)
    assert future.cancel("reason") is True
    assert not call.running
    assert future.cancelled()
    assert clock.get_delayed_calls() == []
    assert future.cancel() is False
    with pytest.raises(asyncio.CancelledError, match="reason"):
        await future


async def test_cancelling_the_future_cancels_an_awaitable_in_flight(clock, call):
    steps = []

    async def work():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            steps.append(error.args)
            await asyncio.sleep(0)
            steps.append("cleaned up")
            raise

    call.f = work
    future = call.start(1)
    await settle()
    assert future.cancel("reason")
    assert not call.running
    with pytest.raises(asyncio.CancelledError, match="reason"):
        await future
    assert steps == [("reason",), "cleaned up"]
    assert clock.get_delayed_calls() == []


async def test_an_awaitable_that_resists_its_cancellation_completes_the_future(clock, call):
    async def work():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    call.f = work
    future = call.start(1)
    await settle()
    future.cancel()
    assert await future is call
    assert not call.running


async def test_an_awaitable_that_fails_when_cancelled_is_not_swallowed(clock, call):
    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            raise KeyError("clean-up")

    call.f = work
    future = call.start(1)
    await settle()
    future.cancel()
    with pytest.raises(KeyError, match="clean-up"):
        await future


@pytest.mark.parametrize("waits", [False, True])
async def test_the_future_can_be_cancelled_from_inside_the_call(clock, record, call, waits):
    def cancel():
        future.cancel("inside")
        return record.wait() if waits else None

    record.then = cancel
    future = call.start(1, now=False)
    clock.advance(5)
    assert not call.running
    with pytest.raises(asyncio.CancelledError, match="inside"):
        await future
    assert record.calls == [1.0]


async def test_wait_for_stops_it_on_a_timeout(record, call):
    @virtual_time
    async def main():
        loop = record.clock = asyncio.get_running_loop()
        call = LoopingCall(record)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call.start(1), 2.5)
        assert not call.running
        assert loop.time() == 2.5

    await asyncio.to_thread(main)
    assert record.calls == [0.0, 1.0, 2.0]


async def test_a_clock_that_fails_ends_it_with_that_error(record):
    class Failing(Clock):
        def call_at(self, when, callback):
            if self.time() >= 2:
                raise OSError("no more timers")
            return super().call_at(when, callback)

    record.clock = clock = Failing()
    call = LoopingCall(record)
    call.clock = clock
    future = call.start(1)
    clock.advance(5)
    with pytest.raises(OSError, match="no more timers"):
        await future
    assert not call.running
    with pytest.raises(OSError, match="no more timers"):
        call.start(1, now=False)
    assert not call.running


async def test_a_clock_that_fails_when_it_is_restarted_reaches_the_new_future(record):
    class Failing(Clock):
        broken = False

        def call_at(self, when, callback):
            if self.broken:
                raise OSError("no more timers")
            return super().call_at(when, callback)

    record.clock = clock = Failing()
    call = LoopingCall(record)
    call.clock = clock
    record.then = record.wait
    first = call.start(1)
    call.stop()
    second = call.start(1, now=False)
    clock.broken = True
    await record.release()
    assert first.result() is call
    with pytest.raises(OSError, match="no more timers"):
        await second


# --- restarting, resetting, changing ----------------------------------------------------


async def test_it_can_be_started_again_with_a_new_grid(clock, record, call):
    call.start(1)
    clock.advance(1.25)
    call.stop()
    clock.advance(1)
    future = call.start(2)
    clock.advance(3)
    assert record.calls == [0.0, 1.0, 2.25, 4.25]
    assert call.start_time == 2.25
    call.stop()
    assert await future is call


async def test_it_can_be_started_again_after_a_failure(clock, record, call):
    record.then = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        await call.start(1)
    record.then = lambda: None
    call.start(1)
    clock.advance(1)
    assert record.calls == [0.0, 0.0, 1.0]


async def test_started_again_while_a_call_is_in_flight_it_waits_for_that(clock, record, call):
    record.then = record.wait
    first = call.start(1)
    call.stop()
    clock.advance(0.5)
    second = call.start(1)
    clock.advance(1)
    assert (first.done(), second.done(), call.running) == (False, False, True)
    assert record.calls == [0.0]
    await record.release()
    assert first.result() is call
    assert record.calls == [0.0, 1.5]
    await record.release()
    clock.advance(5)
    assert record.calls == [0.0, 1.5, 2.5]
    call.stop()
    await record.release()
    assert second.result() is call


async def test_restarted_from_inside_the_call_it_begins_when_that_has_returned(
    clock, record, call
):
    depth = []
    futures = []

    def restart():
        depth.append("in")
        if len(record.calls) == 1:
            call.stop()
            futures.append(call.start(2))
            assert depth == ["in"]
        depth.append("out")

    record.then = restart
    first = call.start(1)
    assert depth == ["in", "out"] * 2
    assert first.result() is call
    clock.advance(4)
    assert record.calls == [0.0, 0.0, 2.0, 4.0]


async def test_a_start_that_is_stopped_while_lined_up_never_begins(clock, record, call):
    record.then = record.wait
    first = call.start(1)
    call.stop()
    second = call.start(1)
    call.stop()
    third = call.start(1, now=False)
    assert second.result() is call
    await record.release()
    assert first.result() is call
    assert record.calls == [0.0]
    clock.advance(1)
    assert record.calls == [0.0, 1.0]
    third.cancel()
    await settle()


async def test_a_start_that_is_cancelled_while_lined_up_never_begins(clock, record, call):
    record.then = record.wait
    call.start(1)
    call.stop()
    second = call.start(1)
    assert second.cancel()
    assert second.cancelled()
    problems = []
    asyncio.get_running_loop().set_exception_handler(lambda *args: problems.append(args))
    await record.release()
    clock.advance(5)
    assert record.calls == [0.0]
    assert problems == []


async def test_reset_makes_the_next_call_one_interval_from_now(clock, record):
    call = counted(clock, record)
    call.start(1)
    clock.advance(1.5)
    call.reset()
    assert call.start_time == 1.5
    clock.advance(2)
    assert record.calls == [(0.0, 1), (1.0, 1), (2.5, 1), (3.5, 1)]


async def test_reset_while_an_awaitable_is_in_flight_counts_from_then(clock, record):
    call = counted(clock, record)
    record.then = record.wait
    call.start(1)
    clock.advance(0.25)
    call.reset()
    clock.advance(0.25)
    await record.release()
    clock.advance(1)
    assert record.calls == [(0.0, 1), (1.25, 1)]


async def test_reset_while_lined_up_still_calls_at_once(clock, record):
    call = counted(clock, record)
    record.then = record.wait
    call.start(1)
    call.stop()
    call.start(1)
    clock.advance(0.5)
    call.reset()
    await record.release()
    assert record.calls == [(0.0, 1), (0.5, 1)]
    assert call.start_time == 0.5
    await record.release()
    clock.advance(1)
    assert record.calls[2:] == [(1.5, 1)]


async def test_the_interval_may_be_changed_while_lined_up(clock, record):
    call = counted(clock, record)
    record.then = record.wait
    call.start(1)
    call.stop()
    call.start(1)
    call.interval = 3
    clock.advance(0.5)
    await record.release()
    await record.release()
    clock.advance(2.5)
    assert record.calls == [(0.0, 1), (0.5, 1), (3.0, 1)]


async def test_neither_reset_nor_a_new_interval_makes_calls_overlap(clock, record, call):
    record.then = record.wait
    call.start(1)
    call.reset()
    call.interval = 2
    clock.advance(10)
    assert record.calls == [0.0]
    await record.release()
    clock.advance(2)
    assert record.calls == [0.0, 12.0]


async def test_a_shorter_interval_takes_effect_at_once(clock, record, call):
    call.start(60)
    clock.advance(64.5)
    call.interval = 1
    assert call.start_time == 60.0
    clock.advance(2)
    assert record.calls == [0.0, 60.0, 65.0, 66.0]


async def test_a_longer_interval_counts_from_the_last_call(clock, record, call):
    call.start(1)
    clock.advance(2.5)
    call.interval = 10
    clock.advance(20)
    assert record.calls == [0.0, 1.0, 2.0, 12.0, 22.0]


async def test_an_interval_changed_inside_the_call_holds_from_that_call_on(clock, record, call):
    def back_off():
        call.interval *= 2

    record.then = back_off
    call.start(1)
    clock.advance(100)
    assert record.calls == [0.0, 2.0, 6.0, 14.0, 30.0, 62.0]


async def test_setting_the_same_interval_again_changes_nothing(clock, record, call):
    call.start(0.1)
    for _ in range(20):
        clock.advance(0.25)
        call.interval = 0.1
    assert record.calls == [n * 0.1 for n in range(51)]
    assert call.start_time == 0.0


async def test_the_interval_can_become_0_and_something_again(clock, record):
    call = counted(clock, record)
    call.start(0)
    call.interval = 2
    clock.advance(3)
    assert record.calls == [(0.0, 1), (2.0, 1)]
    record.then = lambda: call.stop() if len(record.calls) > 4 else None
    call.interval = 0
    clock.advance(0)
    assert record.calls[2:] == [(3.0, 1)] * 3


async def test_after_an_interval_of_0_the_grid_begins_at_the_last_call(clock, record, call):
    def change():
        clock.spend(1.5)
        if len(record.calls) == 3:
            call.interval = 2

    record.then = change
    call.start(0)
    clock.advance(0)
    assert record.calls == [0.0, 1.5, 3.0]
    clock.advance(1)
    assert record.calls == [0.0, 1.5, 3.0, 5.0]


async def test_the_interval_may_be_changed_before_the_first_call(clock, record):
    call = counted(clock, record)
    call.start(5, now=False)
    clock.advance(1)
    call.interval = 2
    clock.advance(3)
    assert record.calls == [(2.0, 1), (4.0, 1)]


async def test_the_interval_of_one_not_running_is_only_noted(clock, record, call):
    assert call.interval is None
    call.interval = 3
    assert call.interval == 3.0
    call.start(1)
    assert call.interval == 1.0


# --- what is refused --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (-1, ValueError),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        ("1", TypeError),
        (None, TypeError),
        (True, TypeError),
    ],
)
async def test_a_bad_interval_is_an_error_before_anything_changes(
    clock, record, call, value, error
):
    message = f"interval must be a finite number of at least 0, got {value!r}"
    with pytest.raises(error, match=message):
        call.start(value)
    assert not call.running
    assert (call.interval, call.start_time, record.calls) == (None, None, [])
    call.start(1)
    with pytest.raises(error, match=message):
        call.interval = value
    clock.advance(1)
    assert record.calls == [0.0, 1.0]


async def test_starting_it_twice_is_refused(clock, record, call):
    call.start(1)
    with pytest.raises(RuntimeError, match="cannot start a running LoopingCall; stop it first"):
        call.start(2)
    assert call.interval == 1.0


@pytest.mark.parametrize("verb", ["stop", "reset"])
async def test_what_is_not_running_cannot_be_stopped_or_reset(clock, call, record, verb):
    message = f"cannot {verb} a LoopingCall that is not running; start it"
    with pytest.raises(RuntimeError, match=message):
        getattr(call, verb)()
    record.then = record.wait
    call.start(1)
    call.stop()
    with pytest.raises(RuntimeError, match=message):
        getattr(call, verb)()
    await record.release()
    with pytest.raises(RuntimeError, match=message):
        getattr(call, verb)()


async def test_the_clock_of_a_running_one_cannot_be_changed(clock, call):
    call.start(1)
    with pytest.raises(RuntimeError, match="cannot change the clock of a running LoopingCall"):
        call.clock = Clock()
    call.stop()
    call.clock = None
    assert call.clock is asyncio.get_running_loop()


def test_what_is_not_callable_is_refused():
    with pytest.raises(TypeError, match="f must be callable, got 3"):
        LoopingCall(3)


def test_without_a_running_loop_it_cannot_start(clock, record, call):
    with pytest.raises(RuntimeError, match="no running event loop"):
        call.start(1)
    assert not call.running
    assert record.calls == []


def test_a_loop_given_as_the_clock_need_not_run_yet():
    loop = VirtualLoop()
    record = Recorder(loop)
    call = LoopingCall(record)
    call.clock = loop
    try:
        future = call.start(1)
        loop.call_later(2.5, call.stop)
        assert loop.run_until_complete(future) is call
    finally:
        loop.close()
    assert record.calls == [0.0, 1.0, 2.0]


# --- the rest ---------------------------------------------------------------------------


async def test_function_and_arguments_are_readable_and_exchangeable(clock):
    seen = []
    call = LoopingCall(seen.append, "a")
    call.clock = clock
    assert (call.f, call.args, call.kwargs) == (seen.append, ("a",), {})
    call.start(1)
    call.args = ("b",)
    clock.advance(1)
    assert seen == ["a", "b"]


async def test_all_calls_share_one_copy_of_the_context_of_start(clock, record, call):
    variable = contextvars.ContextVar("variable", default=0)
    seen = []

    async def coroutine():
        seen.append(variable.get())
        variable.set(variable.get() + 1)

    def function():
        variable.set(variable.get() + 1)
        return coroutine()

    call.f = function
    variable.set(10)
    call.start(1)
    variable.set(50)
    await settle()
    clock.advance(1)
    await settle()
    assert seen == [11, 13]
    assert variable.get() == 50


async def test_reprs_show_the_function_and_what_comes_next(clock, record):
    def tick(*args, **kwargs):
        return record(*args)

    call = LoopingCall(tick, 1, n="x")
    call.clock = clock
    name = tick.__qualname__
    assert repr(call) == f"<LoopingCall {name}(1, n='x') not running>"
    record.then = lambda: reprs.append(repr(call)) or record.wait()
    reprs = []
    call.start(2, now=False)
    assert repr(call) == f"<LoopingCall {name}(1, n='x') every 2.0 s, next at 2.0>"
    clock.advance(2)
    assert reprs == [f"<LoopingCall {name}(1, n='x') every 2.0 s, calling>"]
    call.stop()
    assert repr(call) == f"<LoopingCall {name}(1, n='x') stopping when its call is over>"
    await record.release()
    assert repr(call) == f"<LoopingCall {name}(1, n='x') not running>"
    assert repr(LoopingCall(record)) == f"<LoopingCall {record!r}() not running>"


@pytest.mark.parametrize("end", ["stop", "cancel", "fail", "fail later", "cancel later"])
async def test_what_is_over_leaves_no_cycle_behind(end):
    class Function:
        def __call__(self):
            return results[end]()

    waiting = asyncio.get_running_loop().create_future()
    results = dict.fromkeys(["fail later", "cancel later"], lambda: waiting)
    results |= {"stop": print, "cancel": print, "fail": lambda: 1 / 0}
    clock = Clock()
    function = Function()
    call = LoopingCall(function)
    call.clock = clock
    gc.collect()
    gc.disable()
    try:
        future = call.start(1)
        if end == "stop":
            call.stop()
        elif end.startswith("cancel"):
            future.cancel()
        elif end == "fail later":
            waiting.set_exception(ZeroDivisionError())
        await settle()
        assert future.done()
        assert future.cancelled() or end == "stop" or future.exception() is not None
        gone = weakref.ref(function), weakref.ref(call)
        results.clear()
        future = function = call = waiting = None
        await settle()
        assert [ref() for ref in gone] == [None, None]
    finally:
        gc.enable()


async def test_a_future_that_is_done_keeps_no_clock_alive():
    clock = Clock()
    call = LoopingCall(print)
    call.clock = clock
    future = call.start(1, now=False)
    assert future.cancel()
    gone = weakref.ref(clock)
    del clock, call
    gc.collect()
    assert gone() is None
