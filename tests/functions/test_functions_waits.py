"""Waiting for a lock that a function set aside holds: an error, never a hang."""

import asyncio
import contextlib
import multiprocessing
import signal
import subprocess
import sys
import threading
import time
import types

import pytest
from core_support import on_both_loops
from functions_support import interrupt, parts_of

from cooperative_aio.functions import _alarm as alarm
from cooperative_aio.functions import _aside as aside
from cooperative_aio.functions import _locks as locks
from cooperative_aio.functions import _waits as waits
from cooperative_aio.functions import steps_of, to_slices, uninterrupted

GIVE_UP = 4000  # times that a thread asks before it ends the waiting itself


@pytest.fixture(autouse=True)
def by_hand(monkeypatch, request):
    """Let no thread look but where a test says so."""
    if "watched" not in request.fixturenames:
        monkeypatch.setattr(alarm, "watch", lambda _: None)
    before = time.perf_counter
    monkeypatch.setattr(
        "cooperative_aio.functions._steps.pace_of_step", lambda: (before, 1000.0)
    )


class Holder:
    def __init__(self, lock):
        self.lock = lock
        self.locks = {"key": lock}

    def take(self):
        """Take the lock in a frame that is gone when the function is set aside."""
        self.lock.acquire()

    def work(self):
        self.take()
        interrupt()
        self.lock.release()
        return "done"


# How it is waited for


def by_with(holder):
    with holder.lock:
        pass


def by_with_of_several(holder):
    with contextlib.nullcontext(), holder.lock as _:
        pass


def by_acquire(holder):
    holder.lock.acquire()


def by_acquire_with_arguments(holder):
    holder.lock.acquire(1, 1000)


def by_acquire_with_names(holder):
    holder.lock.acquire(blocking=True, timeout=1000)


def by_acquire_with_a_tuple(holder):
    arguments = (True, 1000)
    holder.lock.acquire(*arguments)


def by_trying(holder):
    if holder.lock.acquire(timeout=1000):
        raise AssertionError


def by_acquire_in_a_call(holder):
    return [str(holder.lock.acquire())]


WAYS = [
    by_with,
    by_with_of_several,
    by_acquire,
    by_acquire_with_arguments,
    by_acquire_with_names,
    by_acquire_with_a_tuple,
    by_trying,
    by_acquire_in_a_call,
]
EXCLUSIVE = [
    threading.Lock,
    threading.Semaphore,
    threading.BoundedSemaphore,
    lambda: threading.Condition(threading.Lock()),
]


class Asker:
    """A thread that asks the main thread, again and again, while that waits for a lock."""

    def __init__(self, lock, ask=alarm._ask, times=GIVE_UP):
        self._lock, self._ask, self._times = lock, ask, times
        self._is_over = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self._is_over.set()
        self.thread.join()

    def _run(self):
        try:
            self._ask_often()
        finally:
            if not self._is_over.is_set():
                self._lock.release()  # so that it does not hang for ever

    def _ask_often(self):
        main = threading.main_thread().ident
        for _ in range(self._times):
            frame = aside.outside_of_threading(sys._current_frames()[main])
            if locks.find_wait(frame) is not None:
                self._ask()
            del frame
            if self._is_over.wait(0.001):
                return


def held(make):
    """Return a lock that a function holds which is set aside, and that function's steps."""
    holder = Holder(make())
    iterator = steps_of(holder.work)
    next(iterator)
    return holder, iterator


def problem(name):
    return (
        f"cannot wait for {name}, which a function that is set aside holds:"
        r" Holder\.work at \S+:\d+; hold it in a `with`, or under uninterrupted\(\)"
    )


@pytest.mark.parametrize("make", EXCLUSIVE)
@pytest.mark.parametrize("wait", WAYS)
def test_the_loop_gets_an_error(wait, make):
    holder, iterator = held(make)
    with Asker(holder.lock), pytest.raises(RuntimeError, match=problem(r"holder\.lock")):
        wait(holder)
    assert parts_of(iterator) == ("done", 1)
    wait_without_waiting = holder.lock.acquire(blocking=False)
    assert wait_without_waiting


@pytest.mark.parametrize("make", EXCLUSIVE)
@pytest.mark.parametrize("wait", [by_with, by_acquire])
def test_another_function_gets_an_error(wait, make):
    holder, iterator = held(make)
    with Asker(holder.lock), pytest.raises(RuntimeError, match=problem(r"holder\.lock")):
        next(steps_of(wait, holder))
    assert parts_of(iterator) == ("done", 1)


def with_item(holder):
    with holder.locks["key"]:
        pass


def test_a_lock_that_cannot_be_looked_up_is_refused_if_there_is_no_other_thread(monkeypatch):
    holder, iterator = held(threading.Lock)
    asker = Asker(holder.lock, times=20)
    with asker:
        with_item(holder)  # until the thread releases it
    holder.take()
    monkeypatch.setattr(waits, "takes_no_locks", lambda: set(sys._current_frames()))
    with Asker(holder.lock), pytest.raises(RuntimeError, match=problem("a lock")):
        with_item(holder)
    assert parts_of(iterator) == ("done", 1)


# What is not refused


def let_go_later(holder, is_held, is_asked):
    with holder.lock:
        is_held.set()
        is_asked.wait()


def let_go_later_after_acquire(holder, is_held, is_asked):
    holder.lock.acquire()
    is_held.set()
    is_asked.wait()
    holder.lock.release()


@pytest.mark.parametrize(
    ("make", "hold"),
    [
        (threading.Lock, let_go_later),
        (threading.Lock, let_go_later_after_acquire),
        (threading.Semaphore, let_go_later),
        (threading.RLock, let_go_later),
        (threading.Condition, let_go_later_after_acquire),
    ],
)
def test_a_lock_that_another_thread_holds_is_waited_for(make, hold):
    def ask():
        asked.append(1)
        if len(asked) > 3 and not alarm._now.is_asked:  # that was looked at
            is_asked.set()
        elif not is_asked.is_set():
            alarm._ask()

    iterator = steps_of(interrupt)
    next(iterator)  # some function is set aside
    holder, asked, is_held, is_asked = Holder(make()), [], threading.Event(), threading.Event()
    thread = threading.Thread(target=hold, args=[holder, is_held, is_asked])
    thread.start()
    is_held.wait()
    with Asker(holder.lock, ask):
        by_with(holder)
    thread.join()
    assert len(asked) > 3
    iterator.close()


def test_what_may_be_any_lock_may_be_this_one():
    def work():
        with holder.locks["key"]:
            interrupt_by_hand()

    def interrupt_by_hand():
        found.append(waits._may_hold(sys._getframe(), threading.Lock()))

    holder, found = Holder(threading.RLock()), []
    work()
    assert found == [True]


def test_nothing_else_than_a_lock_is_refused():
    iterator = steps_of(interrupt)
    next(iterator)
    alarm._now.is_asked = True
    interrupt()
    assert not alarm._now.is_asked
    event = threading.Event()
    with Asker(types.SimpleNamespace(release=event.set), times=5):
        event.wait()
    iterator.close()


@pytest.mark.parametrize(
    ("lock", "is_exclusive"),
    [
        (threading.Semaphore(0), True),
        (threading.Semaphore(1), False),
        (threading.Lock(), False),
        (threading.RLock(), False),
        (threading.Condition(), False),
        (object(), False),
    ],
)
def test_what_is_not_held_is_not_refused(lock, is_exclusive):
    assert locks.is_exclusive(lock) is is_exclusive


class StopHereError(BaseException):
    pass


def test_an_exception_while_a_function_is_dropped_leaves_no_signal_ignored(monkeypatch):
    def work():
        while True:
            with contextlib.suppress(GeneratorExit):
                interrupt()

    def set_handler(number, handler):
        if handler == signal.SIG_DFL:
            monkeypatch.undo()
            raise StopHereError
        return before(number, handler)

    before = alarm.set_handler
    iterator = steps_of(work)
    next(iterator)
    monkeypatch.setattr("cooperative_aio.functions._steps.PATIENCE", 0.0)
    monkeypatch.setattr(alarm, "set_handler", set_handler)
    with pytest.raises(StopHereError):
        iterator.close()
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def test_nobody_is_asked_when_no_function_is_set_aside():
    alarm._ask()
    assert not alarm._now.is_asked
    lock = threading.Lock()
    with lock:
        assert waits.refusal(sys._getframe()) is None


def test_an_error_while_it_is_looked_at_refuses_nothing(monkeypatch):
    monkeypatch.setattr(alarm, "refusal", lambda _: 1 / 0)
    iterator = steps_of(interrupt)
    next(iterator)
    alarm._now.is_asked = True
    interrupt()
    assert not alarm._now.is_looking
    monkeypatch.setattr(alarm._now, "is_looking", True)
    alarm._now.is_asked = True
    interrupt()  # while something else is looked at
    assert not alarm._now.is_asked
    monkeypatch.undo()
    iterator.close()


def test_functions_that_are_dropped_are_not_set_aside_any_more(monkeypatch):
    monkeypatch.setattr("cooperative_aio.functions._steps.PATIENCE", 0.0)

    def work():
        while True:
            with contextlib.suppress(GeneratorExit):
                interrupt()

    iterators = [steps_of(work), steps_of(interrupt)]
    for iterator in iterators:
        next(iterator)
    names = [function.name for function in aside.aside]
    assert names == [iterator.__qualname__ for iterator in iterators]
    with pytest.raises(RuntimeError, match="ignored that it was stopped"):
        iterators[0].close()
    assert [function.name for function in aside.aside] == ["interrupt"]
    assert parts_of(iterators[1]) == (None, 1)
    next(steps := steps_of(work))
    with pytest.raises(RuntimeError, match="ignored that it was stopped"):
        steps.close()
    assert not aside.aside


# A lock that is taken by acquire() in a frame that is still there


def acquire_and_release(lock):
    lock.acquire()
    interrupt()
    lock.release()
    interrupt()


def acquire_and_release_in_finally(lock):
    lock.acquire(1)
    try:
        interrupt()
    finally:
        lock.release()
    interrupt()


def acquire_of_an_attribute(lock):
    holder = Holder(lock)
    holder.lock.acquire()
    sorted([1], key=lambda _: interrupt())
    holder.lock.release()
    interrupt()


@pytest.mark.parametrize(
    "function",
    [acquire_and_release, acquire_and_release_in_finally, acquire_of_an_attribute],
)
@pytest.mark.parametrize("make", [threading.Lock, threading.RLock, threading.Condition])
def test_not_between_acquire_and_release(function, make):
    assert parts_of(steps_of(function, make())) == (None, 2)


def try_to_acquire(lock):
    while not lock.acquire(blocking=False):
        interrupt()
        lock.release()  # as another function would, that goes on meanwhile


@pytest.mark.parametrize("make", [threading.Lock])
def test_but_while_it_is_tried_to_acquire_one(make):
    lock = make()
    lock.acquire()
    assert parts_of(steps_of(try_to_acquire, lock)) == (None, 2)


@pytest.mark.parametrize("make", [threading.Semaphore, multiprocessing.Lock])
def test_a_lock_that_does_not_tell_whether_it_is_held_is_no_obstacle(make):
    assert parts_of(steps_of(acquire_and_release, make())) == (None, 3)


def test_calls_of_other_methods_are_no_obstacle():
    def work(lock):
        lock.acquire()
        lock.release()
        str(lock).strip()
        print_nothing = [].append
        print_nothing(1)
        interrupt()

    assert parts_of(steps_of(work, threading.Lock())) == (None, 2)


# The thread that looks


class FakeTime:
    """CPU time that stands still, and sleep that is counted."""

    def __init__(self, sleep=lambda: None):
        self.used = 0.0
        self.naps = 0
        self._sleep = sleep

    def pthread_getcpuclockid(self, _thread):
        return 0

    def clock_gettime(self, _clock):
        return self.used

    def sleep(self, _seconds):
        self.naps += 1
        self._sleep()


@pytest.fixture
def watched(monkeypatch):
    """Let the thread look; more often, that a test takes less long."""
    monkeypatch.setattr(aside, "INTERVAL", 0.01)
    monkeypatch.setattr(aside, "IDLE", 1e6)
    yield
    watcher = aside._Watcher.current
    assert not aside.aside
    if watcher is not None:
        watcher.join()


@pytest.mark.usefixtures("watched")
@on_both_loops
async def test_the_loop_never_waits_for_ever():
    def work():
        holder.take()
        while not refused:
            interrupt()
        holder.lock.release()

    holder, refused = Holder(threading.Lock()), []
    working = asyncio.create_task(to_slices(work))
    while not holder.lock.locked():
        await asyncio.sleep(0)
    for wait in (by_with, by_acquire):
        with pytest.raises(RuntimeError, match=r"cannot wait for holder\.lock, which"):
            wait(holder)
    with pytest.raises(RuntimeError, match=r"cannot wait for holder\.lock, which"):
        await to_slices(by_with, holder)
    refused.append(1)
    await working
    with holder.lock:
        pass


@pytest.mark.usefixtures("watched")
@on_both_loops
async def test_a_lock_under_uninterrupted_is_never_waited_for():
    def work():
        for _ in range(20):
            with uninterrupted():
                holder.take()
                interrupt()
                holder.lock.release()
            interrupt()

    holder = Holder(threading.Lock())
    working = asyncio.create_task(to_slices(work))
    while not working.done():
        by_with(holder)
        await asyncio.sleep(0)


def test_it_asks_when_the_main_thread_has_waited_since_the_last_look(monkeypatch):
    def look():
        if not steps:
            return
        fake.used += steps.pop(0)
        watcher.look()
        asked.append(len(asks))
        if not steps:
            holder.lock.release()

    fake, asks, asked = FakeTime(), [], []
    steps = [0.0, 0.0, 1.0, 0.05, 0.05, 0.05, 0.2]
    monkeypatch.setattr(aside, "time", fake)
    watcher = aside._Watcher(lambda: asks.append(1))
    holder = Holder(threading.Lock())
    holder.lock.acquire()
    with Asker(holder.lock, look):
        by_acquire(holder)
    assert asked == [0, 1, 1, 1, 2, 3, 3]


def test_it_does_not_ask_while_the_main_thread_is_somewhere_else(monkeypatch):
    monkeypatch.setattr(aside, "time", FakeTime())
    watcher = aside._Watcher(pytest.fail)
    watcher.look()
    watcher.look()
    monkeypatch.setattr(sys, "_current_frames", dict)
    watcher.look()


def test_it_ends_when_nothing_is_set_aside(monkeypatch):
    function = object()
    fake = FakeTime(lambda: fake.naps == 3 and aside.aside.clear())
    monkeypatch.setattr(aside, "time", fake)
    monkeypatch.setattr(aside, "aside", {function: None})
    monkeypatch.setattr(aside._Watcher, "current", watcher := aside._Watcher(int))
    watcher.run()
    assert fake.naps == 3
    assert aside._Watcher.current is None


def test_it_ends_when_another_has_taken_its_place(monkeypatch):
    monkeypatch.setattr(aside, "time", FakeTime())
    watcher, other = aside._Watcher(int), aside._Watcher(int)
    monkeypatch.setattr(aside._Watcher, "current", other)
    watcher.run()
    assert aside._Watcher.current is other


def test_it_goes_on_if_a_function_is_set_aside_at_the_very_moment(monkeypatch):
    class Aside:
        def __len__(self):
            return counts.pop(0)

    counts = [0, 1, 0, 0]

    fake = FakeTime()
    monkeypatch.setattr(aside, "time", fake)
    monkeypatch.setattr(aside, "aside", Aside())
    monkeypatch.setattr(aside._Watcher, "current", watcher := aside._Watcher(int))
    watcher.run()
    assert fake.naps == 1
    assert counts == []


def test_there_is_one_while_functions_are_set_aside(monkeypatch):
    class Started(aside._Watcher):
        is_alive_now = True

        def start(self):
            started.append(self)
            self._ident = 1

        def is_alive(self):
            return self.is_alive_now

    started = []
    monkeypatch.setattr(aside, "_Watcher", Started)
    monkeypatch.setattr(Started, "current", None)
    aside.watch(int)
    aside.watch(int)
    assert [Started.current] == started
    Started.is_alive_now = False  # after a fork
    aside.watch(int)
    assert len(started) == 2
    assert Started.current is started[1]


def test_where_no_thread_can_be_started_nobody_looks(monkeypatch):
    def fail(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(aside._Watcher, "current", None)
    monkeypatch.setattr(aside._Watcher, "start", fail)
    aside.watch(int)
    assert aside._Watcher.current is None


# The handler, which is kept while functions are set aside


ALARM_BETWEEN_STEPS = """
import signal
from cooperative_aio.functions import steps_of
signal.signal(signal.SIGALRM, signal.{before})
def work():
    while True:
        pass
iterator = steps_of(work)
next(iterator)
print("set aside", flush=True)
signal.raise_signal(signal.SIGALRM)
iterator.close()
print(signal.getsignal(signal.SIGALRM).name)
"""


@pytest.mark.parametrize(
    ("before", "output", "code"),
    [
        ("SIG_DFL", "set aside\n", -14),
        ("SIG_IGN", "set aside\nSIG_IGN\n", 0),
    ],
)
def test_an_alarm_of_somebody_elses_between_steps_does_what_it_did(before, output, code):
    done = subprocess.run(
        [sys.executable, "-c", ALARM_BETWEEN_STEPS.format(before=before)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.stdout, done.returncode) == (output, code)
