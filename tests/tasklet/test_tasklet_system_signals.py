"""Signals of the operating system."""

import asyncio
import os
import signal

import pytest

from cooperative_aio import tasklet
from cooperative_aio.tasklet import WaitForCall, WaitForSignal
from cooperative_aio.tasklet import _system_signals as system_signals


def counting(count, number=signal.SIGUSR1):
    condition = WaitForSignal(number)
    for _ in range(count):
        event = yield condition
    return event.signal, event.signal_args, event.object


def test_a_system_signal_is_shared_and_its_handler_restored(run_loop):
    def former(*_):
        """Be what was there before."""

    async def main():
        first, second = tasklet.run(counting(1)), tasklet.run(counting(2))
        os.kill(os.getpid(), signal.SIGUSR1)
        assert await first == (signal.SIGUSR1, (signal.SIGUSR1,), None)
        assert signal.getsignal(signal.SIGUSR1) is not former
        os.kill(os.getpid(), signal.SIGUSR1)
        await second
        assert signal.getsignal(signal.SIGUSR1) is former

    before = signal.signal(signal.SIGUSR1, former)
    try:
        run_loop(main)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_handler_of_the_loop_is_not_disturbed():
    async def main():
        loop = asyncio.get_running_loop()
        told = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, told.set)
        for _ in range(2):
            done = tasklet.run(counting(1))
            os.kill(os.getpid(), signal.SIGUSR1)
            await done
            await told.wait()
            told.clear()
        os.kill(os.getpid(), signal.SIGUSR1)
        await told.wait()
        loop.remove_signal_handler(signal.SIGUSR1)

    asyncio.run(main())


async def test_a_handler_installed_over_ours_stays():
    before = signal.getsignal(signal.SIGUSR1)

    def theirs(*_):
        """Be somebody else's."""

    done = tasklet.run(counting(1))
    signal.signal(signal.SIGUSR1, theirs)
    done.cancel()
    await asyncio.wait([done])
    assert signal.signal(signal.SIGUSR1, before) is theirs
    assert system_signals._receivers == {}


async def test_a_signal_on_its_way_to_one_that_let_go_wakes_nobody():
    call = WaitForCall()

    def body():
        event = yield [WaitForSignal(signal.SIGUSR1), call]
        assert event is call
        yield [WaitForSignal(signal.SIGUSR1), asyncio.sleep(0.01)]
        return "slept"

    done = tasklet.run(body())
    signal.raise_signal(signal.SIGUSR1)
    call()
    assert await done == "slept"


def test_a_signal_for_a_loop_that_is_closed_is_dropped():
    loop = asyncio.new_event_loop()

    async def main():
        return tasklet.run(counting(1))

    left = loop.run_until_complete(main())
    loop.close()
    signal.raise_signal(signal.SIGUSR1)
    left.abandon()
    assert system_signals._receivers == {}


@pytest.mark.parametrize("number", [999, 0, -1])
def test_a_signal_the_system_does_not_have_is_refused(number):
    with pytest.raises(ValueError, match="signal must be a signal of this system, got"):
        WaitForSignal(number)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_signal_nobody_can_catch_is_refused(number):
    with pytest.raises(
        ValueError, match=f"signal must be one that can be caught, got {number.name}"
    ):
        WaitForSignal(number)


async def test_a_signal_that_python_refuses_is_raised_at_the_yield(monkeypatch):
    def refuse(*_):
        raise ValueError("invalid")

    with monkeypatch.context() as patch:
        patch.setattr(signal, "signal", refuse)
        refused = tasklet.run(counting(1))
    with pytest.raises(ValueError, match="signal must be one that can be caught, got SIGUSR1"):
        await refused
    assert system_signals._receivers == {}


async def test_a_handler_that_is_not_pythons_is_left_alone(monkeypatch):
    monkeypatch.setattr(signal, "getsignal", lambda _number: None)
    with pytest.raises(
        RuntimeError, match="cannot wait for SIGUSR1; its handler is not Python"
    ):
        await tasklet.run(counting(1))


async def test_outside_the_main_thread_there_are_no_system_signals():
    async def main():
        await tasklet.run(counting(1))

    with pytest.raises(RuntimeError, match="cannot wait for SIGUSR1 outside the main thread"):
        await asyncio.to_thread(asyncio.run, main())
