import asyncio
import contextvars
import functools
import gc
import inspect
import logging
import selectors
import signal
import socket
import sys
import threading
import time

import anyio
import pytest

from cooperative_aio import testing
from cooperative_aio.testing import Deadlock, VirtualLoop, _virtual, spend, virtual_time


def times(calls):
    """Give a function that notes the time, as a callback of the running loop."""
    loop = asyncio.get_running_loop()
    return lambda *args: calls.append((loop.time(), *args))


# --- waiting jumps ----------------------------------------------------------------------


def test_a_year_of_sleep_takes_no_time():
    @virtual_time
    async def main():
        await asyncio.sleep(365 * 86_400)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert main() == 365 * 86_400
    assert time.monotonic() - began < 5


@virtual_time
async def test_time_jumps_exactly_to_each_instant():
    calls = []
    loop = asyncio.get_running_loop()
    note = times(calls)
    whens = [0.3, 0.1 * 3, 0.1 + 0.2, 1e-9, 1e-9 + 1e-25, 7.0]
    for when in whens:
        loop.call_at(when, note, when)
    await asyncio.sleep(10)
    assert calls == [(when, when) for when in sorted(whens)]
    assert loop.time() == 10.0


@virtual_time
async def test_calls_due_at_the_same_instant_run_in_the_order_made():
    calls = []
    note = times(calls)
    loop = asyncio.get_running_loop()
    for name in "abc":
        loop.call_later(1, note, name)
    await asyncio.sleep(1)
    await asyncio.sleep(0)
    assert calls == [(1.0, "a"), (1.0, "b"), (1.0, "c")]


@virtual_time
async def test_timeouts_and_wait_for_expire_at_their_instant():
    loop = asyncio.get_running_loop()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2.5):
            await asyncio.Event().wait()
    assert loop.time() == 2.5
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.sleep(10), 1)
    assert loop.time() == 3.5
    with anyio.move_on_after(1.5) as scope:
        await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert loop.time() == 5.0


@virtual_time
async def test_tasks_interleave_by_their_instants():
    log = []

    async def worker(name, seconds):
        for _ in range(3):
            await asyncio.sleep(seconds)
            log.append((asyncio.get_running_loop().time(), name))

    await asyncio.gather(worker("a", 2), worker("b", 3))
    assert log == [(2.0, "a"), (3.0, "b"), (4.0, "a"), (6.0, "b"), (6.0, "a"), (9.0, "b")]


def test_time_begins_where_it_is_told_to():
    loop = VirtualLoop(start=100)
    try:
        assert (loop.time(), loop.perf_counter()) == (100.0, 100.0)
    finally:
        loop.close()


@pytest.mark.parametrize("name", ["start", "turn", "patience"])
def test_bad_options_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be a finite number of at least 0"):
        VirtualLoop(**{name: -1})


# --- timers -----------------------------------------------------------------------------


@virtual_time
async def test_negative_delays_and_past_instants_mean_as_soon_as_possible():
    calls = []
    loop = asyncio.get_running_loop()
    await asyncio.sleep(5)
    loop.call_later(-3, times(calls), "later")
    loop.call_at(1, times(calls), "at")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert calls == [(5.0, "at"), (5.0, "later")]


@virtual_time
async def test_an_infinite_delay_never_ends_and_can_be_cancelled():
    calls = []
    handle = asyncio.get_running_loop().call_later(float("inf"), calls.append, "called")
    assert handle.when() == float("inf")
    await asyncio.sleep(1e300)
    handle.cancel()
    assert calls == []
    assert handle.cancelled()


@virtual_time
async def test_bad_timers_are_refused():
    loop = asyncio.get_running_loop()
    with pytest.raises(ValueError, match="when must be a number of seconds, got nan"):
        loop.call_later(float("nan"), print)
    with pytest.raises(TypeError, match="callback must be callable, got 3"):
        loop.call_at(1, 3)


def test_a_closed_loop_takes_no_timers():
    loop = VirtualLoop()
    loop.call_later(1, pytest.fail)
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.call_at(1, print)


@virtual_time
async def test_a_cancelled_timer_is_not_called_even_at_its_own_instant():
    loop = asyncio.get_running_loop()
    calls = []
    loop.call_later(1, calls.append, "cancelled before").cancel()
    loop.call_later(2, lambda: handle.cancel())  # noqa: PLW0108  (made below)
    handle = loop.call_later(2, calls.append, "cancelled just now")
    await asyncio.sleep(3)
    assert calls == []
    handle.cancel()
    assert handle.cancelled()


@virtual_time
async def test_timers_are_asyncio_handles_and_keep_their_context():
    variable = contextvars.ContextVar("variable")
    variable.set("made")
    seen = []
    loop = asyncio.get_running_loop()
    handle = loop.call_later(1, lambda: seen.append(variable.get()))
    assert isinstance(handle, asyncio.TimerHandle)
    assert "when=1.0" in repr(handle)
    given = contextvars.copy_context()
    given.run(variable.set, "given")
    loop.call_at(2, lambda: seen.append(variable.get()), context=given)
    variable.set("later")
    await asyncio.sleep(3)
    assert seen == ["made", "given"]


@virtual_time
async def test_an_exception_of_a_timer_goes_to_the_handler_with_the_callback_named():
    loop = asyncio.get_running_loop()
    problems = []
    loop.set_exception_handler(lambda _loop, context: problems.append(context))
    loop.call_later(1, functools.partial(divmod, 1, 0))
    await asyncio.sleep(2)
    [problem] = problems
    assert isinstance(problem["exception"], ZeroDivisionError)
    assert "divmod" in problem["message"]


# --- spending ---------------------------------------------------------------------------


@virtual_time
async def test_spending_moves_time_and_makes_timers_late():
    calls = []
    loop = asyncio.get_running_loop()
    loop.call_later(1, times(calls), "late")
    loop.call_later(3, times(calls), "in time")
    spend(0.5)
    assert (loop.time(), loop.perf_counter(), calls) == (0.5, 0.5, [])
    loop.spend(2)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert calls == [(2.5, "late")]
    await asyncio.sleep(1)
    assert calls == [(2.5, "late"), (3.0, "in time")]


@virtual_time
async def test_what_became_due_while_time_was_spent_does_not_turn_it_back():
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.call_later(1, event.set)
    loop.spend(2.5)
    await event.wait()
    assert loop.time() == 2.5


@virtual_time
async def test_debug_mode_reports_callbacks_that_spent_too_long():
    loop = asyncio.get_running_loop()
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logging.getLogger("asyncio").addHandler(handler)
    loop.set_debug(True)
    try:
        loop.call_soon(spend, 0.25)
        await asyncio.sleep(0)
    finally:
        loop.set_debug(False)
        logging.getLogger("asyncio").removeHandler(handler)
    assert "took 0.250 seconds" in records[0].getMessage()


async def test_spending_on_a_loop_of_real_time_is_an_error():
    with pytest.raises(RuntimeError, match=r"cannot spend time on .*; run on a VirtualLoop"):
        spend(1)


def test_spending_without_a_loop_is_an_error():
    with pytest.raises(RuntimeError, match="no running event loop"):
        spend(1)


@virtual_time
async def test_spending_a_bad_duration_is_an_error():
    with pytest.raises(ValueError, match="seconds must be a finite number of at least 0"):
        spend(-1)
    assert asyncio.get_running_loop().time() == 0.0


# --- spinning ---------------------------------------------------------------------------


@virtual_time
async def test_a_turn_costs_nothing():
    for _ in range(1000):
        await asyncio.sleep(0)
    assert asyncio.get_running_loop().time() == 0.0


@virtual_time(turn=0.25)
async def test_a_turn_costs_what_it_is_told_to_but_jumps_over_no_timer():
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(8):
        await asyncio.sleep(0)
    assert loop.time() == began + 2.0
    calls = []
    when = loop.time() + 0.375
    loop.call_at(when, times(calls))
    for _ in range(4):
        await asyncio.sleep(0)
    assert calls == [(when,)]


@virtual_time
async def test_who_spins_for_a_timer_is_not_left_hanging():
    loop = asyncio.get_running_loop()
    calls = []
    loop.call_later(0.025, times(calls))
    turns = 0
    while not calls:
        turns += 1
        await asyncio.sleep(0)
    assert calls == [(0.025,)]
    assert turns == pytest.approx(_virtual.TURNS, abs=10)


@virtual_time
async def test_who_spins_for_a_deadline_is_not_left_hanging():
    loop = asyncio.get_running_loop()
    while loop.time() < 1:
        await asyncio.sleep(0)
    assert loop.time() == pytest.approx(1, abs=_virtual.LUMP)
    await asyncio.sleep(1)
    before = loop.time()
    await asyncio.sleep(0)
    assert loop.time() == before


@virtual_time
async def test_who_measures_until_time_passes_is_not_left_hanging():
    loop = asyncio.get_running_loop()
    readings = [loop.perf_counter() for _ in range(_virtual.READINGS)]
    assert set(readings) == {0.0}
    assert loop.perf_counter() == _virtual.LUMP
    assert loop.time() == _virtual.LUMP
    while loop.perf_counter() < 0.05:
        pass


@virtual_time
async def test_turns_and_readings_between_which_time_is_spent_do_not_add_up():
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(_virtual.TURNS + 10):
        spend(2**-10)
        await asyncio.sleep(0)
    for _ in range(_virtual.READINGS + 10):
        spend(2**-10)
        loop.perf_counter()
    assert loop.time() - began == (_virtual.TURNS + _virtual.READINGS + 20) / 2**10


@virtual_time
async def test_readings_of_different_turns_do_not_add_up():
    loop = asyncio.get_running_loop()
    for _ in range(3):
        for _ in range(_virtual.READINGS // 2):
            loop.perf_counter()
        await asyncio.sleep(0)
    assert loop.perf_counter() == 0.0


# --- deadlock ---------------------------------------------------------------------------


def test_a_wait_for_nothing_is_a_deadlock_that_names_the_waiting_tasks():
    async def waiter():
        await asyncio.Event().wait()

    @virtual_time
    async def main():
        await asyncio.sleep(2)
        task = asyncio.create_task(waiter(), name="the waiter")
        await task

    with pytest.raises(Deadlock, match=r"nothing can happen any more at 2\.0") as caught:
        main()
    text = str(caught.value)
    assert "unfinished tasks: 2\n" in text
    assert "name='the waiter' coro=<" in text
    assert issubclass(Deadlock, RuntimeError)


def test_a_deadlock_of_many_tasks_names_some():
    @virtual_time
    async def main():
        await asyncio.gather(*(asyncio.Event().wait() for _ in range(30)))

    with pytest.raises(Deadlock, match="unfinished tasks: 31") as caught:
        main()
    assert str(caught.value).endswith("\n  and 21 more")


def test_a_deadlock_without_tasks_is_one_too():
    loop = VirtualLoop()
    try:
        with pytest.raises(Deadlock, match=r"unfinished tasks: 0$"):
            loop.run_forever()
        loop.call_later(1, loop.stop)
        loop.run_forever()
        assert loop.time() == 1.0
    finally:
        loop.close()


def test_an_infinite_timer_prevents_no_deadlock():
    @virtual_time
    async def main():
        await asyncio.sleep(float("inf"))

    with pytest.raises(Deadlock, match="nothing can happen"):
        main()


def test_tasks_are_cancelled_and_clean_up_after_a_deadlock():
    log = []

    @virtual_time
    async def main():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            log.append("cleaned up")

    with pytest.raises(Deadlock):
        main()
    assert log == ["cleaned up"]


def test_a_deadlock_is_reported_although_idle_threads_are_alive():
    @virtual_time(patience=0.01)
    async def main():
        await asyncio.to_thread(len, "")
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        main()


# --- the world outside ------------------------------------------------------------------


class Gate(threading.Event):
    """An event that a thread waits for, and that says when it began to."""

    def __init__(self):
        super().__init__()
        self.reached = threading.Event()

    def pass_through(self, result="passed"):
        self.reached.set()
        assert self.wait(300)
        return result


@virtual_time
async def test_a_job_in_a_thread_takes_no_virtual_time():
    gate = Gate()
    threading.Thread(target=lambda: gate.reached.wait(300) and gate.set()).start()
    result = await asyncio.wait_for(asyncio.to_thread(gate.pass_through), 5)
    assert result == "passed"
    assert asyncio.get_running_loop().time() == 0.0


@virtual_time(patience=0)
async def test_a_job_is_awaited_as_long_as_it_takes_when_there_is_nothing_else():
    loop = asyncio.get_running_loop()
    gate = Gate()
    threading.Thread(target=lambda: gate.reached.wait(300) and gate.set()).start()
    assert await loop.run_in_executor(None, gate.pass_through) == "passed"
    assert loop.time() == 0.0


@virtual_time
async def test_idle_threads_of_an_executor_do_not_slow_the_jumps():
    await asyncio.to_thread(len, "")
    assert threading.active_count() > 1
    assert not asyncio.get_running_loop()._timeline._other_threads()
    gate = Gate()
    thread = threading.Thread(target=gate.pass_through)
    thread.start()
    assert asyncio.get_running_loop()._timeline._other_threads()
    gate.set()
    thread.join()


@virtual_time(patience=0.01)
async def test_a_thread_may_itself_wait_for_virtual_time():
    loop = asyncio.get_running_loop()

    def in_thread():
        return asyncio.run_coroutine_threadsafe(asyncio.sleep(100, "slept"), loop).result(30)

    assert await asyncio.to_thread(in_thread) == "slept"
    assert loop.time() == 100.0


@virtual_time
async def test_threads_of_anyio_are_waited_for():
    loop = asyncio.get_running_loop()
    gate = Gate()
    threading.Thread(target=lambda: gate.reached.wait(300) and gate.set()).start()
    with anyio.fail_after(5):
        assert await anyio.to_thread.run_sync(gate.pass_through) == "passed"
    assert loop.time() == 0.0


def test_a_thread_of_ones_own_is_given_time_to_call(monkeypatch):
    gate = Gate()
    holder = threading.Thread(target=gate.pass_through)
    holder.start()
    callers = []
    select = selectors.DefaultSelector.select

    def call_now_and_select(self, timeout=None):
        """Stand where the loop is waiting."""
        if timeout and callers:
            callers.pop().start()
        return select(self, timeout)

    @virtual_time
    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        call = functools.partial(loop.call_soon_threadsafe, future.set_result, "called")
        callers.append(threading.Thread(target=call))
        monkeypatch.setattr(selectors.DefaultSelector, "select", call_now_and_select)
        return await future, loop.time()

    assert main() == ("called", 0.0)
    gate.set()
    holder.join()


@virtual_time(patience=0)
async def test_without_patience_jumps_wait_for_nobody():
    gate = Gate()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.to_thread(gate.pass_through), 5)
    assert asyncio.get_running_loop().time() == 5.0
    gate.set()


@virtual_time
async def test_sockets_work_and_take_no_virtual_time():
    loop = asyncio.get_running_loop()

    async def echo(reader, writer):
        writer.write(await reader.readexactly(4))
        await writer.drain()
        writer.close()

    async with asyncio.timeout(10):
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            host, port = server.sockets[0].getsockname()
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"ping")
            assert await reader.read() == b"ping"
            writer.close()
            await writer.wait_closed()
    assert loop.time() == 0.0


@virtual_time(patience=0.01)
async def test_a_silent_socket_does_not_stop_time():
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.sock_recv(ours, 1), 60)
        assert loop.time() == 60.0


@virtual_time
async def test_a_socket_is_awaited_in_real_time_when_there_is_nothing_else():
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0)
        waiting = asyncio.ensure_future(loop.sock_recv(ours, 1))
        await asyncio.sleep(0)
        thread = threading.Thread(target=theirs.send, args=(b"x",))
        loop.call_soon(thread.start)
        assert await waiting == b"x"
        thread.join()


@virtual_time
async def test_child_processes_take_no_virtual_time():
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "print('hello')")
    assert await asyncio.wait_for(child.wait(), 60) == 0
    assert asyncio.get_running_loop().time() < 60


@pytest.mark.skipif(sys.platform == "win32", reason="loops take no signals there")
@virtual_time
async def test_signals_reach_their_handlers():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.add_signal_handler(signal.SIGUSR1, future.set_result, "signal")
    loop.call_later(1, signal.raise_signal, signal.SIGUSR1)
    loop.call_later(2, lambda: None)
    assert await future == "signal"
    assert loop.time() == 1.0


def test_the_default_executor_is_shut_down_without_a_warning():
    gate = Gate()

    @virtual_time
    async def main():
        gate.job = asyncio.get_running_loop().run_in_executor(None, gate.pass_through)
        gate.reached.wait(300)
        threading.Timer(0.05, gate.set).start()

    main()
    assert gate.is_set()


# --- the rest ---------------------------------------------------------------------------


def test_virtual_time_passes_arguments_and_the_result_through():
    @virtual_time
    async def function(a, *, b):
        """Document it."""
        return (a, b)

    assert function(1, b=2) == (1, 2)
    assert function.__doc__ == "Document it."
    assert not inspect.iscoroutinefunction(function)


@virtual_time
async def test_cancelled_timers_do_not_pile_up():
    loop = asyncio.get_running_loop()
    for _ in range(10_000):
        loop.call_later(1000, print).cancel()
    assert len(loop._timeline.agenda._heap) < 200


def test_a_closed_loop_keeps_nothing_alive():
    gc.collect()
    gc.disable()
    try:
        loop = VirtualLoop()
        loop.call_later(5, print)
        loop.close()
        timeline = loop._timeline
        assert timeline.loop is None
        assert len(timeline.agenda) == 0
    finally:
        gc.enable()


def test_the_package_imports_its_parts_when_they_are_asked_for():
    assert set(testing.__all__) <= set(dir(testing))
    for name in testing.__all__:
        assert getattr(testing, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        testing.nonsense  # noqa: B018
