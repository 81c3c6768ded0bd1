"""Where functions must not be set aside: one test for each rule, by real code."""

import asyncio
import concurrent.futures
import contextlib
import dis
import functools
import gc
import importlib.metadata
import logging
import multiprocessing
import queue
import signal
import sys
import threading
import types
import weakref

import greenlet
import pytest
from functions_support import Bomb, interrupt, parts_of

from cooperative_aio import Clock
from cooperative_aio.functions import _alarm as alarm
from cooperative_aio.functions import _rules as rules
from cooperative_aio.functions import steps_of, uninterrupted
from cooperative_aio.functions._locks import find_blocks

pytestmark = pytest.mark.usefixtures("long_slices")

A_LOCK = threading.RLock()


def steps_that(function, *args):
    """Return how many steps a function takes that is interrupted."""
    _, count = parts_of(steps_of(function, *args))
    return count


# Elsewhere


def test_a_function_is_set_aside_where_it_is_interrupted():
    assert steps_that(interrupt) == 2


def test_a_function_is_set_aside_below_c_code():
    def key(value):
        interrupt()
        return -value

    def work():
        return sorted([1, 3, 2], key=key)

    assert parts_of(steps_of(work)) == ([3, 2, 1], 4)


def test_a_function_is_set_aside_in_a_generator_of_its_own():
    def values():
        for value in range(3):
            interrupt()
            yield value

    assert parts_of(steps_of(lambda: list(values()))) == ([0, 1, 2], 4)


def test_a_function_is_set_aside_at_the_beginning_of_another():
    def work():
        held = [Bomb()]

        def called(_):
            pass

        called(held.clear())

    # Python 3.12 does not look for signals there while a tracer such as coverage's is set.
    is_traced = sys.version_info[:2] == (3, 12) and sys.gettrace() is not None
    assert steps_that(work) == (1 if is_traced else 2)


# In a `with` on a lock


class Holder:
    __slots__ = ("_lock", "inner")

    def __init__(self, lock, inner=None):
        self._lock = lock
        self.inner = inner

    def with_attribute(self):
        with self._lock:
            interrupt()

    def with_attribute_of_attribute(self):
        with self.inner._lock:
            interrupt()

    @property
    def lock_by_property(self):
        return self._lock

    def with_property(self):
        with self.lock_by_property:
            interrupt()

    def lock_for(self, _key):
        return self._lock

    def with_call(self):
        with self.lock_for(1):
            interrupt()


def with_local(make):
    lock = make()
    with lock:
        interrupt()


def with_cell(make):
    lock = make()

    def inside():
        with lock:
            interrupt()

    inside()


def with_global():
    with A_LOCK:
        interrupt()


def with_item(locks):
    with locks["key"]:
        interrupt()


def with_several(make):
    one, other = make(), contextlib.nullcontext()
    with other, one as _:
        interrupt()


def with_name(make):
    names = {"one": make(), "interrupt": interrupt}
    exec("with one:\n    interrupt()", names)  # noqa: S102
    exec("with one:\n    interrupt()", globals(), names)  # noqa: S102


def with_exception(make):
    lock = make()
    try:
        with lock:
            interrupt()
            raise KeyError
    except KeyError:
        pass


def with_way_out(make):
    lock = make()
    for _ in range(2):
        with lock:
            if not interrupt():
                continue
    with lock:
        return interrupt()


def with_loop(make):
    lock = make()
    held = Bomb()
    with lock:
        for _ in range(2):
            held = None
    return held


def with_lock_far_below(make):
    def sort(values):
        return sorted(values, key=lambda value: interrupt() or value)

    lock = make()
    with lock:
        return sort([1, 2])


LOCKS = [
    threading.Lock,
    threading.RLock,
    threading.Condition,
    threading.Semaphore,
    threading.BoundedSemaphore,
    multiprocessing.Lock,
]


class PythonLock:
    """What anybody writes."""

    def acquire(self):
        pass

    def release(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.mark.parametrize("make", [*LOCKS, PythonLock])
@pytest.mark.parametrize(
    "function",
    [
        with_local,
        with_cell,
        with_several,
        with_name,
        with_exception,
        with_way_out,
        with_loop,
        with_lock_far_below,
        lambda make: Holder(make()).with_attribute(),
        lambda make: Holder(None, Holder(make())).with_attribute_of_attribute(),
        lambda make: Holder(make()).with_property(),
        lambda make: Holder(make()).with_call(),
        lambda make: with_item({"key": make()}),
    ],
)
def test_not_in_a_with_on_a_lock(function, make):
    assert steps_that(function, make) == 1


def test_not_in_a_with_on_a_global_lock():
    assert steps_that(with_global) == 1


def test_but_after_it():
    def work():
        with A_LOCK:
            interrupt()
        interrupt()

    assert steps_that(work) == 2


class Broken:
    """A context manager that is not a lock, and hard to look at."""

    acquire = property(lambda _: 1 / 0)

    def __getattr__(self, name):
        raise KeyError(name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def with_broken():
    broken = Broken()
    with broken:
        interrupt()


def with_suppress():
    with contextlib.suppress(KeyError):
        interrupt()


def with_null_context():
    context = contextlib.nullcontext()
    with context:
        interrupt()


def with_deleted_name():
    context = contextlib.nullcontext()
    with context:
        del context
        interrupt()


def with_attribute_of_nothing():
    holder = types.SimpleNamespace(context=contextlib.nullcontext())
    with holder.context:
        del holder.context
        interrupt()


def with_attribute_of_a_deleted_name():
    holder = types.SimpleNamespace(
        inner=types.SimpleNamespace(context=contextlib.nullcontext())
    )
    with holder.inner.context:
        del holder
        interrupt()


def in_except():
    try:
        raise KeyError
    except KeyError:
        interrupt()
    finally:
        interrupt()


@pytest.mark.parametrize(
    ("function", "count"),
    [
        (with_broken, 2),
        (with_suppress, 2),
        (with_null_context, 2),
        (with_deleted_name, 2),
        (with_attribute_of_nothing, 2),
        (with_attribute_of_a_deleted_name, 2),
        (in_except, 3),
    ],
)
def test_a_with_on_something_else_is_no_obstacle(function, count):
    assert steps_that(function) == count


def test_what_a_name_refers_to_is_looked_up_without_calling_anything():
    called = []

    class Careful:
        def __getattribute__(self, name):
            called.append(name)
            return object.__getattribute__(self, name)

        context = contextlib.nullcontext()

    careful = Careful()

    def work():
        with careful.context:
            interrupt()

    assert steps_that(work) == 2
    assert called == ["context"]


def test_a_class_that_cannot_be_looked_at_is_no_lock(monkeypatch):
    def fail(*_):
        raise KeyError

    monkeypatch.setattr("inspect.getattr_static", fail)
    assert steps_that(with_local, threading.Lock) == 2


def test_the_blocks_of_a_function_are_all_found():
    def work(one, two):
        with one, two:
            return 1
        with open(one):  # noqa: PTH123
            pass
        return None

    paths = {block.lock.path for block in find_blocks(work.__code__)}
    assert paths == {("one",), ("two",), ()}


# Below modules that have locks or a state of their own


def import_a_module(tmp_path):
    (tmp_path / "imported_by_a_function.py").write_text(
        "from functions_support import interrupt\ninterrupt()\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        import imported_by_a_function  # noqa: F401, PLC0415
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("imported_by_a_function")


def test_not_in_an_import(tmp_path):
    assert steps_that(import_a_module, tmp_path) == 1


class Finder(importlib.metadata.DistributionFinder):
    def find_distributions(self, *_):
        interrupt()
        return []


def test_but_below_importlib_metadata(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [Finder()])
    assert steps_that(lambda: list(importlib.metadata.distributions())) == 2


class Interrupts(logging.Handler):
    def emit(self, _record):
        interrupt()


def log_something():
    logger = logging.Logger("functions")  # noqa: LOG001
    logger.addHandler(Interrupts())
    logger.warning("hello")


class InterruptsQueue(queue.Queue):
    def _put(self, item):
        interrupt()
        super()._put(item)


def complete_a_future():
    future = concurrent.futures.Future()
    future.add_done_callback(lambda _: interrupt())
    future.set_result(None)


def wait_for_a_condition():
    condition = threading.Condition()
    condition.acquire()
    condition.wait_for(lambda: interrupt() or True)
    condition.release()


async def coroutine():
    interrupt()


def run_a_loop():
    with asyncio.Runner(debug=True) as runner:
        runner.run(coroutine())


class Hashed:
    def __hash__(self):
        interrupt()
        return 1

    def __eq__(self, other):
        return self is other


def move_a_clock():
    clock = Clock()
    clock.call_later(0.5, interrupt)
    clock.advance(1)


@pytest.mark.parametrize(
    "function",
    [
        log_something,
        lambda: InterruptsQueue().put(1),
        complete_a_future,
        wait_for_a_condition,
        run_a_loop,
        lambda: weakref.WeakSet().add(Hashed()),
        lambda: weakref.WeakKeyDictionary().setdefault(Hashed()),
        move_a_clock,
    ],
    ids=[
        *("logging", "queue", "concurrent.futures", "threading", "asyncio"),
        *("weak set", "weak dictionary", "cooperative_aio"),
    ],
)
def test_not_below_modules_with_locks_or_state(function):
    assert steps_that(function) == 1


LOOP = """
def work():
    held = Bomb()
    for _ in range(2):
        held = None
"""


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("queue", 1),
        ("logging.handlers", 1),
        ("concurrent.futures.thread", 1),
        ("cooperative_aio.functions._rules", 1),
        ("importlib._bootstrap", 1),
        ("importlib.metadata", 2),
        ("queues", 2),
        ("", 2),
        (None, 2),
        (1, 2),
    ],
)
def test_it_is_the_name_of_the_module_that_counts(name, count):
    names = {"Bomb": Bomb, "__name__": name}
    exec(LOOP, names)  # noqa: S102
    assert steps_that(names["work"]) == count


# In what runs on top of a function


class InterruptsWhenFreed:
    def __del__(self):
        interrupt()


class InterruptsWhenFreedItself:
    def __del__(self):
        held = Bomb()
        for _ in range(2):
            held = None  # noqa: F841


class Thing:
    pass


def free_by_the_collector():
    thing = InterruptsWhenFreed()
    thing.cycle = thing
    del thing
    gc.collect()


def weak_reference_by_the_collector():
    thing = Thing()
    thing.cycle = thing
    reference = weakref.ref(thing, lambda _: interrupt())
    del thing
    gc.collect()
    assert reference() is None


def weak_reference_of_a_variable():
    thing = Thing()
    first = weakref.ref(thing, lambda _: interrupt())
    thing = Thing()
    second = weakref.ref(thing, lambda _: interrupt())
    del thing
    assert first() is second() is None


def finalize():
    thing = Thing()
    weakref.finalize(thing, interrupt)
    items = [thing]
    del thing
    items.clear()


def callback_of_the_collector():
    def interrupts(_phase, _info):
        interrupt()

    gc.callbacks.append(interrupts)
    gc.callbacks.insert(1, interrupts)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(interrupts)
        gc.callbacks.remove(interrupts)


@pytest.mark.parametrize(
    "function",
    [
        [InterruptsWhenFreed()].clear,
        [InterruptsWhenFreedItself()].clear,
        free_by_the_collector,
        weak_reference_by_the_collector,
        weak_reference_of_a_variable,
        finalize,
    ],
)
def test_not_in_a_finalizer(function):
    assert steps_that(function) == 1


class Guard:
    def __enter__(self):
        interrupt()

    def __exit__(self, *_):
        interrupt()


@contextlib.contextmanager
def guard():
    interrupt()
    try:
        yield
    finally:
        interrupt()


def test_somebody_may_clear_the_callbacks_of_the_collector(monkeypatch):
    iterator = steps_of(interrupt)
    next(iterator)
    monkeypatch.setattr(gc, "callbacks", [])
    assert parts_of(iterator) == (None, 1)
    monkeypatch.undo()
    gc.callbacks[:] = [one for one in gc.callbacks if "functions" not in one.__module__]


@pytest.mark.parametrize("make", [Guard, guard])
def test_not_in_the_methods_of_a_context_manager(make):
    def work():
        with make():
            pass

    assert steps_that(work) == 1


class Handles:
    def __call__(self, _number, _frame):
        interrupt()

    def method(self, _number, _frame):
        interrupt()


def handle(_number, _frame, _more=None):
    interrupt()


def handle_itself(_number, _frame):
    held = Bomb()
    for _ in range(2):
        held = None  # noqa: F841


@pytest.mark.parametrize(
    "handler",
    [handle, handle_itself, Handles(), Handles().method, functools.partial(handle, _more=1)],
)
def test_not_in_the_handler_of_a_signal(handler):
    def at_a_call():
        signal.raise_signal(signal.SIGUSR1)

    def between_two_bytecodes():
        held = Bomb(signal.SIGUSR1)
        for _ in range(2):
            held = None  # noqa: F841

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        assert steps_that(at_a_call) == 1
        assert steps_that(between_two_bytecodes) == 1
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("set_it", [sys.settrace, sys.setprofile])
def test_not_in_a_trace_function(set_it):
    def trace(_frame, event, _argument):
        if event in {"line", "return"}:
            interrupt()
        return trace

    def work():
        set_it(trace)
        try:
            divmod_of(3, 2)
        finally:
            set_it(before)

    def divmod_of(one, other):
        return divmod(one, other)

    before = sys.gettrace() if set_it is sys.settrace else sys.getprofile()
    assert steps_that(work) == 1


def test_not_in_another_librarys_greenlet():
    def work():
        inner = greenlet.greenlet(interrupt)
        inner.switch()
        return inner.dead

    assert parts_of(steps_of(work)) == (True, 1)


def test_not_under_uninterrupted():
    def work():
        with uninterrupted():
            interrupt()

    assert steps_that(work) == 1


def test_not_inside_of_c_code_that_looks_for_signals():
    def work():
        for _ in range(2):
            signal.raise_signal(signal.SIGALRM)
            signal.raise_signal(signal.SIGALRM)

    iterator = steps_of(work)
    for _ in range(2):
        next(iterator)
        frame = iterator.gi_frame
        assert frame.f_code is work.__code__
        assert dis.opname[frame.f_code.co_code[frame.f_lasti]] == "JUMP_BACKWARD"
        del frame
    assert parts_of(iterator) == (None, 1)


def test_the_handler_is_not_interrupted_by_its_own_alarm(monkeypatch):
    depths = [0]

    def judge(*arguments):
        depths.append(depths[-1] + 1)
        interrupt()
        depths.append(depths[-1] - 1)
        return rules.judge(*arguments)

    monkeypatch.setattr(alarm, "judge", judge)
    iterator = steps_of(interrupt)
    next(iterator)
    assert max(depths) == 1
    iterator.close()


def test_an_error_of_the_rules_does_not_reach_the_function(monkeypatch):
    monkeypatch.setattr("cooperative_aio.functions._alarm.judge", lambda *_: 1 / 0)
    assert steps_that(interrupt) == 1


def test_what_is_known_of_code_is_forgotten_when_it_is_too_much(monkeypatch):
    monkeypatch.setattr(rules, "MOST", 2)
    monkeypatch.setattr(rules, "_facts", {})
    for _ in range(3):
        assert steps_that(with_null_context) == 2
        assert len(rules._facts) <= 2
