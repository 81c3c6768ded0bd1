"""Generators and classes that workers can import."""

import asyncio
import os
import sys
import threading
import time
from pathlib import Path


def numbers(count, *, offset=0):
    for number in range(count):
        yield offset + number


def holes(count):
    """Yield every other number, and None in between."""
    for number in range(count):
        yield None if number % 2 else number


def endless(closed=None):
    """Count for ever; when that is ended, say so in a file."""
    number = 0
    try:
        while True:
            yield number
            number += 1
    finally:
        if closed is not None:
            Path(closed).write_text(f"{os.getpid()} {threading.get_ident()}")


def niceness():
    """Say how much lower than normal the priority is."""
    yield os.nice(0)


def slow(step, count):
    for number in range(count):
        time.sleep(step)
        yield number


def stuck(seconds, began=None):
    """Do not come back from the second step for a long time."""
    yield 1
    if began is not None:
        Path(began).write_text("began")
    time.sleep(seconds)
    yield 2


def identity():
    """Say first where this runs, then count."""
    yield os.getpid(), threading.get_ident()
    yield from endless()


def failing(count, error):
    yield from range(count)
    raise error


def failing_with(name):
    yield 1
    if name == "unpicklable":
        raise Unpicklable("cannot travel")
    if name == "unloadable":
        raise Unloadable(1, 2)
    raise LookupError(name) from ValueError("the reason")


def failing_on_close(closed=None):
    try:
        yield from endless(closed)
    finally:
        raise ArithmeticError("while closing")


def ignoring_close():
    while True:
        try:
            yield 1
        except GeneratorExit:
            yield 2


def counting(path, count):
    """Note in a file how far this has come."""
    for number in range(count):
        Path(path).write_text(str(number + 1))
        yield number


def dying(count, code=3):
    yield from range(count)
    os._exit(code)


def not_picklable():
    yield 1
    yield lambda: None


def loads_badly():
    yield Unloadable(1, 2)


def a_list(*values):
    return list(values)


async def a_coroutine():
    return 1


async def an_async_generator():
    yield 1


def not_iterable():
    return 5


def awaitables():
    yield a_coroutine()


def refusing():
    raise KeyError("no")


def large(count, size):
    for _ in range(count):
        yield bytes(size)


class Unpicklable(Exception):
    def __reduce__(self):
        raise TypeError("stays here")


class Unloadable(Exception):
    def __init__(self, one, two):
        super().__init__("unloadable")


class ExitsWhenLoaded(Exception):
    def __reduce__(self):
        return sys.exit, (6,)


class FirstHalf:
    """Pickle only where this process is."""

    def __init__(self):
        self.pid = os.getpid()

    def __reduce__(self):
        return unfold, (self.pid,)


def unfold(pid):
    if pid != os.getpid():
        raise ImportError("cannot be unfolded elsewhere")
    return FirstHalf()


def taking(value):
    yield value is not None


def where(path, *, dies=False):
    """Say how often this was begun, by a file, and in which process it runs."""
    file = Path(path)
    runs = int(file.read_text()) + 1 if file.exists() else 1
    file.write_text(str(runs))
    if dies:
        os._exit(3)
    yield runs, os.getpid()


SIGNALS = {
    "SystemExit": SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt(),
    "GeneratorExit": GeneratorExit(),
    "CancelledError": asyncio.CancelledError(),
    "StopAsyncIteration": StopAsyncIteration(),
}


def signalling(name):
    yield 1
    raise SIGNALS[name]


def exiting_factory():
    sys.exit("no reason")


def exiting_on_close():
    try:
        yield from endless()
    finally:
        sys.exit(4)


class ExitsWhenUnpickled:
    """What refers to a module whose import ends the program: there, or only here."""

    def __init__(self, *, here):
        self.pid = os.getpid() if here else None

    def __reduce__(self):
        return exit_unless_at_home, (self.pid,)


def exit_unless_at_home(pid):
    if pid in (None, os.getpid()):
        sys.exit(5)
    return ExitsWhenUnpickled(here=True)


def exiting_value():
    yield ExitsWhenUnpickled(here=False)
