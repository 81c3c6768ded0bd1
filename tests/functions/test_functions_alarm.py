"""The timer and the signal: whose they are, and when."""

import asyncio
import itertools
import logging
import signal
import subprocess
import sys
import threading
import time

import pytest
from core_support import on_both_loops
from functions_support import Bomb, interrupt, parts_of

from cooperative_aio import TimeSlice, cooperate, current_task
from cooperative_aio.functions import (
    PreemptionUnavailable,
    _availability,
    give_way,
    steps_of,
    to_slices,
    uninterrupted,
)
from cooperative_aio.functions import _alarm as alarm
from cooperative_aio.functions import _steps as steps_module

ALARM = signal.SIGALRM
REAL = signal.ITIMER_REAL


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    assert signal.getsignal(ALARM) is signal.SIG_DFL
    assert signal.getitimer(REAL) == (0, 0)
    assert alarm._now.function is None


def noop(_number, _frame):
    pass


def state():
    return signal.getsignal(ALARM), signal.getitimer(REAL)


# The real timer


@on_both_loops
async def test_a_function_without_end_lets_others_run():
    def work():
        while not beats[99:]:
            pass
        return len(beats)

    async def beat():
        while True:
            await asyncio.sleep(0)
            beats.append(1)

    beats = []
    beating = asyncio.create_task(beat())
    assert await to_slices(work) >= 100
    beating.cancel()


@on_both_loops
async def test_functions_without_end_let_each_other_run():
    def work(number):
        while min(rounds) < 3:
            rounds[number] += not running or running[-1] != number
            running.append(number)
            del running[:-1]
        return number

    rounds, running = [0] * 4, []
    assert await asyncio.gather(*[to_slices(work, n) for n in range(4)]) == [0, 1, 2, 3]


@on_both_loops
async def test_an_alarm_where_the_function_must_not_be_set_aside_is_repeated():
    def work():
        with lock:
            while time.perf_counter() < end:
                pass
        while not changed:
            pass

    async def change():
        await asyncio.sleep(0)
        changed.append(1)

    lock, changed, end = threading.Lock(), [], time.perf_counter() + 0.02
    await asyncio.gather(to_slices(work), change())


@on_both_loops
async def test_a_step_lasts_for_the_time_slice_of_its_cooperator():
    from cooperative_aio import Cooperator  # noqa: PLC0415

    def work():
        seen.append(signal.getitimer(REAL)[0])
        return current_task().steps

    seen = []
    assert await to_slices(work, cooperator=Cooperator(time_slice=100.0)) == 1
    assert 90 < seen[0] <= 100
    assert parts_of(steps_of(work_by_hand := lambda: seen.append(signal.getitimer(REAL)[0])))
    assert work_by_hand is not None
    assert 0 <= seen[1] <= TimeSlice().seconds


# Whose they are


@pytest.mark.usefixtures("long_slices")
def test_the_timer_runs_only_while_a_function_computes():
    def work():
        seen.append(state())
        interrupt()
        seen.append(state())

    seen = []
    iterator = steps_of(work)
    assert state() == (signal.SIG_DFL, (0, 0))
    next(iterator)
    assert state() == (alarm._on_alarm, (0, 0))
    assert parts_of(iterator) == (None, 1)
    assert state() == (signal.SIG_DFL, (0, 0))
    for handler, (left, _) in seen:
        assert handler is alarm._on_alarm
        assert 900 < left <= 1000


def test_without_preemption_neither_is_touched():
    assert parts_of(steps_of(state, preempt=False))[0] == (signal.SIG_DFL, (0, 0))


@pytest.mark.usefixtures("long_slices")
def test_an_ignored_signal_is_ignored_again_afterwards():
    signal.signal(ALARM, signal.SIG_IGN)
    try:
        assert parts_of(steps_of(interrupt)) == (None, 2)
        assert signal.getsignal(ALARM) is signal.SIG_IGN
    finally:
        signal.signal(ALARM, signal.SIG_DFL)


UNAVAILABLE = "cannot preempt functions: {}; with preempt=False they are set aside where they"


def test_a_handler_of_somebody_elses_is_a_reason():
    signal.signal(ALARM, noop)
    try:
        with pytest.raises(
            PreemptionUnavailable, match=UNAVAILABLE.format(r"SIGALRM has a handler, <func.*>")
        ):
            steps_of(int)
        assert signal.getsignal(ALARM) is noop
    finally:
        signal.signal(ALARM, signal.SIG_DFL)


def test_a_handler_of_the_loops_is_a_reason(loop_factory):
    async def main():
        asyncio.get_running_loop().add_signal_handler(ALARM, noop, 1, 2)
        with pytest.raises(PreemptionUnavailable, match="SIGALRM has a handler"):
            await to_slices(int)
        asyncio.get_running_loop().remove_signal_handler(ALARM)
        assert await to_slices(int) == 0

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def test_a_timer_of_somebody_elses_is_a_reason():
    signal.setitimer(REAL, 1000)
    try:
        with pytest.raises(
            PreemptionUnavailable, match=UNAVAILABLE.format(r"signal\.ITIMER_REAL is in use")
        ):
            steps_of(int)
        assert signal.getitimer(REAL)[0] > 900
    finally:
        signal.setitimer(REAL, 0)


def test_a_blocked_signal_is_a_reason():
    signal.pthread_sigmask(signal.SIG_BLOCK, [ALARM])
    try:
        with pytest.raises(
            PreemptionUnavailable,
            match=UNAVAILABLE.format("SIGALRM is blocked in the main thread"),
        ):
            steps_of(int)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [ALARM])


def test_another_thread_is_a_reason():
    caught = []

    def run():
        try:
            steps_of(int)
        except PreemptionUnavailable as error:
            caught.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert "the loop does not run in the main thread, where signals are handled" in caught[0]


def test_a_python_that_is_not_proved_is_a_reason(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 99, 0))
    with pytest.raises(PreemptionUnavailable, match=r"not proved to be safe on CPython 3\.99"):
        steps_of(int)


def test_a_system_without_the_timer_is_a_reason(monkeypatch):
    monkeypatch.delattr(signal, "setitimer")
    with pytest.raises(
        PreemptionUnavailable, match=f"{sys.platform} has no signal.setitimer; with preempt=F"
    ):
        steps_of(int)


def test_threads_that_really_are_parallel_are_a_reason(monkeypatch):
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    with pytest.raises(PreemptionUnavailable, match="without the global interpreter lock"):
        steps_of(int)
    assert _availability.unproved()


@pytest.mark.usefixtures("long_slices")
@pytest.mark.parametrize("thing", ["handler", "timer", "timer before", "thread"])
def test_what_becomes_busy_later_is_said_once_and_left_alone(thing, caplog):
    def work():
        interrupt()
        interrupt()
        return state()

    iterator = steps_of(work)
    if thing == "handler":
        next(iterator)
        signal.signal(ALARM, noop)
    elif thing != "thread":
        if thing == "timer":
            next(iterator)
            assert signal.getsignal(ALARM) is alarm._on_alarm
        signal.setitimer(REAL, 1000)
    result = []
    try:
        with caplog.at_level(logging.WARNING, "cooperative_aio"):
            if thing == "thread":
                thread = threading.Thread(target=lambda: result.append(parts_of(iterator)))
                thread.start()
                thread.join()
            else:
                result.append(parts_of(iterator))
        handler, (left, _) = state()
    finally:
        signal.signal(ALARM, signal.SIG_DFL)
        signal.setitimer(REAL, 0)
    [((seen_handler, (seen_left, _)), count)] = result
    assert count == 1
    expected = (thing == "handler", thing.startswith("timer"))
    assert (handler is noop, left > 900) == expected
    assert (seen_handler is noop, seen_left > 900) == expected
    [message] = caplog.messages
    assert "work is not preempted any more: " in message


@pytest.mark.usefixtures("long_slices")
def test_it_is_said_once():
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logging.getLogger("cooperative_aio").addHandler(handler)

    def work():
        for _ in range(3):
            give_way()

    iterator = steps_of(work)
    iterator._warn()
    iterator._warn()
    logging.getLogger("cooperative_aio").removeHandler(handler)
    assert len(records) == 1


@pytest.mark.usefixtures("long_slices")
def test_what_a_function_sets_itself_stays():
    def work():
        signal.signal(ALARM, noop)
        signal.setitimer(REAL, 1000, 500)

    assert parts_of(steps_of(work)) == (None, 1)
    try:
        assert signal.getsignal(ALARM) is noop
        left, again = signal.getitimer(REAL)
        assert 900 < left <= 1000
        assert again == 500
    finally:
        signal.signal(ALARM, signal.SIG_DFL)
        signal.setitimer(REAL, 0)


@pytest.mark.usefixtures("long_slices")
def test_a_function_that_sets_and_puts_back_a_handler_is_still_set_aside():
    def work():
        before = signal.signal(ALARM, noop)
        interrupt()  # the other's
        signal.signal(ALARM, before)
        interrupt()

    assert parts_of(steps_of(work)) == (None, 2)


@pytest.mark.usefixtures("long_slices")
def test_our_handler_that_was_put_back_later_is_taken_for_none():
    def work():
        return signal.getsignal(ALARM)

    ours, _ = parts_of(steps_of(work))
    signal.signal(ALARM, ours)
    assert parts_of(steps_of(interrupt)) == (None, 2)
    assert signal.getsignal(ALARM) is signal.SIG_DFL


PUT_BACK_LATER = """
import signal
from cooperative_aio.functions import steps_of
found = []
iterator = steps_of(lambda: found.append(signal.getsignal(signal.SIGALRM)))
try:
    next(iterator)
except StopIteration:
    signal.signal(signal.SIGALRM, found[0])
    print("alive", flush=True)
    signal.raise_signal(signal.SIGALRM)
    print("still", flush=True)
"""


def test_an_alarm_that_is_not_ours_does_what_it_does():
    done = subprocess.run(
        [sys.executable, "-c", PUT_BACK_LATER],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("alive\n", -ALARM)


@pytest.mark.usefixtures("long_slices")
def test_an_alarm_that_comes_too_late_is_ignored(monkeypatch):
    def set_timer(*arguments):
        if arguments[1:] == (0,):
            signal.raise_signal(ALARM)
        return setitimer(*arguments)

    setitimer = signal.setitimer
    monkeypatch.setattr(signal, "setitimer", set_timer)
    assert parts_of(steps_of(interrupt)) == (None, 2)


@pytest.mark.usefixtures("long_slices")
def test_signals_that_came_with_the_alarm_are_handled_all_the_same():
    log = []

    def work(bombs):
        held = bombs.pop()
        for _ in range(2):
            held = None
        return held

    before = signal.signal(signal.SIGTERM, lambda *_: log.append("terminated"))
    try:
        iterator = steps_of(work, [Bomb(ALARM, signal.SIGTERM)])
        next(iterator)
        log.append("set aside")
        assert parts_of(iterator) == (None, 1)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert log == ["terminated", "set aside"]


# Functions that step functions


@pytest.mark.usefixtures("long_slices")
def test_the_time_of_a_function_goes_on_while_it_steps_another(monkeypatch):
    slices = itertools.chain([1000.0, 500.0], itertools.repeat(2000.0))
    monkeypatch.setattr(steps_module, "pace_of_step", lambda: (time.perf_counter, next(slices)))
    seen = []

    def inner():
        seen.append(signal.getitimer(REAL)[0])
        interrupt()
        seen.append(signal.getitimer(REAL)[0])

    def outer():
        result = parts_of(steps_of(inner))
        seen.append(signal.getitimer(REAL)[0])
        interrupt()
        return result

    assert parts_of(steps_of(outer)) == ((None, 2), 2)
    assert [round(left, -2) for left in seen] == [500, 1000, 1000]


def test_a_function_that_steps_another_lets_go_as_well(monkeypatch):
    monkeypatch.setattr(steps_module, "pace_of_step", lambda: (time.perf_counter, 1e-6))

    def inner():
        for _ in range(10):
            interrupt()

    def outer():
        for _ in steps_of(inner):
            pass
        return "done"

    result, count = parts_of(steps_of(outer))
    assert result == "done"
    assert count >= 10


def test_but_not_under_uninterrupted(monkeypatch):
    monkeypatch.setattr(steps_module, "pace_of_step", lambda: (lambda: 0.0, 0.0))

    def inner():
        for _ in range(10):
            give_way()

    def outer():
        with uninterrupted():
            for _ in steps_of(inner, preempt=False):
                pass

    assert parts_of(steps_of(outer, preempt=False)) == (None, 2)  # at its end


# Ending


def test_a_function_that_goes_on_when_it_is_closed_is_interrupted_and_dropped(monkeypatch):
    monkeypatch.setattr(steps_module, "PATIENCE", 0.01)
    before = len(steps_module.dropped)

    def work():
        while True:
            try:
                while True:
                    pass
            except BaseException:  # noqa: BLE001, S110
                pass

    iterator = steps_of(work)
    next(iterator)
    with pytest.raises(RuntimeError, match="work ignored that it was stopped; it is dropped"):
        iterator.close()
    assert len(steps_module.dropped) == before + 1


@on_both_loops
async def test_a_task_is_cancelled_and_stopped_where_its_function_stands():
    def work():
        try:
            while True:
                pass
        finally:
            log.append("finally")

    log = []
    for end in ("cancel", "stop"):
        task = cooperate(steps_of(work))
        while not task.steps:
            await asyncio.sleep(0)
        getattr(task, end)()
        await asyncio.wait([task])
        assert task.done()
        assert task.cancelled() or task.exception()
    assert log == ["finally"] * 2
