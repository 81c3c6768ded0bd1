"""Where functions are set aside, and that whatever is thrown into them is caught there."""

import asyncio
import sys

import pytest
from core_support import on_both_loops
from functions_support import Bomb, Stepwise, interrupt, parts_of

from cooperative_aio.functions import _places, steps_of

pytestmark = pytest.mark.usefixtures("long_slices")


class ThrownError(BaseException):
    pass


class Enters:
    def __init__(self, log):
        self.log = log

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.log.append("left")


# In each of these the jump back of the loop leads to what stands before the block.


def in_try(log, bombs):
    held = bombs.pop()
    try:
        while True:
            held = None
    finally:
        log.append(held or "left")


def in_try_without_a_body(log, bombs):
    held = bombs.pop()
    held = None
    try:
        while True:
            pass
    finally:
        log.append(held or "left")


ON_ONE_LINE = """
def in_try_on_one_line(log, bombs):
    held = bombs.pop()
    try:
        while True: held = None
    finally:
        log.append(held or "left")
"""
names: dict = {}
exec(ON_ONE_LINE, names)  # noqa: S102 (a formatter would make two lines of it)
in_try_on_one_line = names["in_try_on_one_line"]


def in_with(log, bombs):
    held = bombs.pop()
    with Enters(log):
        while True:
            held = None
    return held


def in_except(log, bombs):
    held = bombs.pop()
    try:
        raise KeyError
    except KeyError:
        try:
            while True:
                held = None
        except BaseException:
            log.append(held or "left")
            raise


def in_try_of_a_loop(log, bombs):
    held = bombs.pop()
    while True:
        try:
            while True:
                held = None
        finally:
            log.append(held or "left")


def in_for(log, bombs):
    held = bombs.pop()
    try:
        for _ in iter(int, 1):
            held = None
    finally:
        log.append(held or "left")


def in_while(log, bombs):
    held = bombs.pop()
    number = 1
    try:
        while number:
            held = None
            number += 1
    finally:
        log.append(held or "left")


def in_while_with_comparison(log, bombs):
    held = bombs.pop()
    number = 1
    try:
        while number > 0:
            held = None
            number += 1
    finally:
        log.append(held or "left")


def in_generator(log, bombs):
    held = bombs.pop()

    def values():
        nonlocal held
        try:
            while True:
                held = None
                if log:
                    yield 1
        finally:
            log.append(held or "left")

    list(values())


def in_call(log, bombs):
    held = bombs.pop()

    def called(_):
        pass

    try:
        held = called(None)
        interrupt()
    finally:
        log.append(held or "left")


PLACES = [
    in_try,
    in_try_without_a_body,
    in_try_on_one_line,
    in_with,
    in_except,
    in_try_of_a_loop,
    in_for,
    in_while,
    in_while_with_comparison,
    in_generator,
    in_call,
]


@pytest.mark.parametrize("function", PLACES)
def test_what_is_thrown_is_raised_inside_of_the_block(function):
    log = []
    iterator = steps_of(function, log, [Bomb()])
    next(iterator)
    assert log == []
    error = ThrownError()
    tracing = sys.gettrace()
    with pytest.raises(ThrownError) as caught:
        iterator.throw(error)
    assert caught.value is error
    assert log == ["left"]
    assert sys.gettrace() is tracing
    assert error.__context__ is None or function is in_except


@pytest.mark.parametrize("function", PLACES)
def test_closing_runs_the_finally_blocks_wherever_a_function_stands(function):
    log = []
    iterator = steps_of(function, log, [Bomb()])
    next(iterator)
    iterator.close()
    assert log == ["left"]


@pytest.mark.parametrize("function", PLACES)
@on_both_loops
async def test_cancelling_runs_the_finally_blocks_wherever_a_function_stands(function):
    log = []
    cooperator = Stepwise()
    task = cooperator.cooperate(steps_of(function, log, [Bomb()]))
    cooperator.ticks.tick()
    assert log == []
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await task
    assert log == ["left"]


def test_a_function_that_catches_what_is_thrown_goes_on():
    def work(bombs):
        held = bombs.pop()
        try:
            while True:
                held = None
        except ThrownError:
            return held, [number for number in range(3)]  # noqa: C416

    iterator = steps_of(work, [Bomb()])
    next(iterator)
    with pytest.raises(StopIteration) as stop:
        iterator.throw(ThrownError())
    assert stop.value.value == (None, [0, 1, 2])


@pytest.mark.parametrize("function", PLACES)
def test_the_trace_function_of_a_debugger_is_put_back(function):
    events = []

    def trace(_frame, event, _argument):
        events.append(event)
        return local

    def local(_frame, event, _argument):
        events.append(event)
        return local

    before = sys.gettrace()
    iterator = steps_of(function, log := [], [Bomb()])
    next(iterator)
    sys.settrace(trace)
    try:
        with pytest.raises(ThrownError):
            iterator.throw(ThrownError())
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)
    assert log == ["left"]


def test_some_jumps_back_are_not_covered_by_their_blocks():
    found = {
        function.__name__ for function in PLACES if _places.find_uncovered(function.__code__)
    }
    if sys.version_info < (3, 14):
        assert found >= (
            {"in_while"} if sys.version_info >= (3, 12) else {"in_try_on_one_line"}
        )
    assert not found & {"in_for", "in_call"}


def test_a_function_is_set_aside_at_the_test_of_a_loop_as_well():
    def work(bombs):
        held = bombs.pop()
        number = 3
        while number:
            held = None
            number -= 1
        return held

    assert parts_of(steps_of(work, [Bomb()])) == (None, 2)


def test_a_function_is_set_aside_where_a_comparison_and_a_jump_are_one():
    def work(bombs):
        for left in range(100, 0, -1):  # until the interpreter has specialised it
            number = 0
            while number < left:
                number += 1
                if left == 1:
                    bombs.clear()
        return number

    assert parts_of(steps_of(work, [Bomb()])) == (1, 2)


def test_a_better_place_is_looked_for_so_many_times(monkeypatch):
    from cooperative_aio.functions import _alarm  # noqa: PLC0415

    monkeypatch.setattr(_alarm, "AGAIN", 1000.0)
    monkeypatch.setattr(_alarm._now, "tried_since", -1e9)
    tokens = [_alarm._pending() for _ in range(_alarm.TRIES + 1)]
    assert [bool(token) for token in tokens] == [True] * _alarm.TRIES + [False]
    _alarm._now.pending = None  # so that none of them trips
    monkeypatch.setattr(_alarm, "AGAIN", 0.0)
    assert _alarm._pending()
    _alarm._now.pending = None
