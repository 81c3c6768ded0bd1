import contextvars
import functools
import gc
import weakref

import pytest

from cooperative_aio import Clock, _clock
from cooperative_aio._clock import ClockHandle

BAD_DURATIONS = [
    (-1, ValueError, "must be a finite number of at least 0, got -1"),
    (float("nan"), ValueError, "must be a finite number of at least 0, got nan"),
    (float("inf"), ValueError, "must be a finite number of at least 0, got inf"),
    ("1", TypeError, "must be a finite number of at least 0, got '1'"),
    (None, TypeError, "must be a finite number of at least 0, got None"),
    (True, TypeError, "must be a finite number of at least 0, got True"),
]


class Log(list):
    """Calls that note the time at which they were made."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def __call__(self, name):
        self.append((name, self.clock.time()))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def log(clock):
    return Log(clock)


def test_time_begins_at_0_and_moves_only_when_told(clock):
    assert clock.time() == 0.0
    clock.advance(2.5)
    assert clock.time() == 2.5
    clock.pump([0.25, 0, 1])
    assert clock.time() == 3.75


def test_time_may_begin_elsewhere():
    assert Clock(1000).time() == 1000.0
    with pytest.raises(ValueError, match="start must be a finite number, got nan"):
        Clock(float("nan"))


def test_each_call_sees_the_instant_it_was_made_for(clock, log):
    clock.call_later(2, log, "b")
    clock.call_later(1, log, "a")
    clock.call_at(8, log, "late")
    clock.advance(5)
    assert log == [("a", 1.0), ("b", 2.0)]
    assert clock.time() == 5.0


def test_calls_due_at_the_same_instant_run_in_the_order_made(clock, log):
    for name in "abc":
        clock.call_later(1, log, name)
    clock.call_at(1, log, "d")
    clock.advance(1)
    assert [name for name, _ in log] == ["a", "b", "c", "d"]


def test_calls_made_during_advance_run_when_due(clock, log):
    def again():
        log("again")
        clock.call_soon(log, "soon")
        clock.call_later(2, log, "later")
        clock.call_later(20, log, "much later")

    clock.call_later(1, again)
    clock.call_later(2, log, "between")
    clock.advance(5)
    assert log == [("again", 1.0), ("soon", 1.0), ("between", 2.0), ("later", 3.0)]
    clock.advance(16)
    assert log[-1] == ("much later", 21.0)


def test_call_soon_waits_for_the_next_advance(clock, log):
    clock.call_soon(log, "soon")
    assert log == []
    clock.advance(0)
    assert log == [("soon", 0.0)]


def test_an_instant_that_has_passed_means_as_soon_as_possible(clock, log):
    clock.advance(5)
    clock.call_at(-1, log, "past")
    clock.advance(0)
    assert log == [("past", 5.0)]


def test_going_backwards_is_an_error_and_changes_nothing(clock, log):
    clock.call_soon(log, "soon")
    with pytest.raises(ValueError, match="seconds must be a finite number of at least 0"):
        clock.advance(-1)
    with pytest.raises(ValueError, match="seconds must be a finite number of at least 0"):
        clock.pump([1, -1])
    assert clock.time() == 1.0


@pytest.mark.parametrize(("value", "error", "message"), BAD_DURATIONS)
def test_a_bad_duration_is_an_error_that_names_it_and_changes_nothing(
    clock, value, error, message
):
    handle = clock.call_later(1, print)
    for name, operation in [
        ("delay", lambda: clock.call_later(value, print)),
        ("seconds", lambda: clock.advance(value)),
        ("seconds", lambda: clock.spend(value)),
        ("seconds", lambda: handle.delay(value)),
        ("seconds", lambda: handle.reset(value)),
    ]:
        with pytest.raises(error, match=f"{name} {message}"):
            operation()
    assert clock.time() == 0.0
    assert clock.get_delayed_calls() == [handle]
    assert handle.when() == 1.0


@pytest.mark.parametrize(
    ("value", "error"),
    [(float("nan"), ValueError), (float("inf"), ValueError), ("1", TypeError)],
)
def test_a_bad_instant_is_an_error_that_names_it(clock, value, error):
    with pytest.raises(error, match=f"when must be a finite number, got {value!r}"):
        clock.call_at(value, print)
    assert clock.get_delayed_calls() == []


def test_what_is_not_callable_is_refused_when_it_is_given(clock):
    with pytest.raises(TypeError, match="callback must be callable, got 3"):
        clock.call_soon(3)
    assert clock.get_delayed_calls() == []


def test_a_cancelled_call_is_not_made_and_may_be_cancelled_again(clock, log):
    handle = clock.call_later(1, log, "never")
    assert (handle.active(), handle.cancelled()) == (True, False)
    handle.cancel()
    handle.cancel()
    assert (handle.active(), handle.cancelled()) == (False, True)
    clock.advance(2)
    assert log == []


def test_a_call_that_was_made_is_neither_active_nor_cancelled(clock, log):
    handle = clock.call_later(1, log, "a")
    clock.advance(1)
    handle.cancel()
    assert (handle.active(), handle.cancelled(), handle.when()) == (False, False, 1.0)


def test_a_call_can_be_cancelled_by_another_due_at_the_same_instant(clock, log):
    clock.call_later(1, lambda: handle.cancel())  # noqa: PLW0108  (made below)
    handle = clock.call_later(1, log, "never")
    clock.advance(1)
    assert log == []


def test_a_delayed_call_is_made_that_much_later(clock, log):
    handle = clock.call_later(1, log, "a")
    clock.call_later(2, log, "b")
    handle.delay(2)
    assert handle.when() == 3.0
    clock.advance(5)
    assert log == [("b", 2.0), ("a", 3.0)]


def test_a_reset_call_is_made_that_long_from_now(clock, log):
    handle = clock.call_later(10, log, "a")
    clock.advance(1)
    handle.reset(0.5)
    assert handle.when() == 1.5
    clock.advance(20)
    assert log == [("a", 1.5)]


def test_a_call_moved_to_the_instant_of_others_comes_after_them(clock, log):
    first = clock.call_later(1, log, "a")
    clock.call_later(1, log, "b")
    first.reset(1)
    clock.advance(1)
    assert [name for name, _ in log] == ["b", "a"]


@pytest.mark.parametrize("verb", ["delay", "reset"])
def test_a_call_that_is_over_cannot_be_moved(clock, log, verb):
    cancelled = clock.call_later(1, log, "a")
    cancelled.cancel()
    with pytest.raises(RuntimeError, match=f"cannot {verb} a cancelled call; make a new one"):
        getattr(cancelled, verb)(1)
    called = clock.call_later(1, log, "b")
    clock.advance(1)
    with pytest.raises(RuntimeError, match=f"cannot {verb} a called call; make a new one"):
        getattr(called, verb)(1)
    clock.advance(5)
    assert log == [("b", 1.0)]


def test_pending_calls_are_listed_in_the_order_they_are_due(clock):
    late = [clock.call_later(seconds, print) for seconds in (7, 3, 9, 4, 8, 5, 6)]
    soon = clock.call_soon(print)
    moved = clock.call_later(9, print)
    moved.reset(1)
    clock.call_later(2, print).cancel()
    late.sort(key=ClockHandle.when)
    assert clock.get_delayed_calls() == [soon, moved, *late]


def test_an_exception_comes_out_at_its_instant_and_loses_no_other_call(clock, log):
    clock.call_later(1, log, "before")
    clock.call_later(2, functools.partial(divmod, 1, 0))
    clock.call_later(2, log, "beside")
    clock.call_later(3, log, "after")
    with pytest.raises(ZeroDivisionError):
        clock.advance(10)
    assert clock.time() == 2.0
    assert log == [("before", 1.0)]
    clock.advance(10)
    assert log == [("before", 1.0), ("beside", 2.0), ("after", 3.0)]
    assert clock.time() == 12.0


def test_time_spent_in_a_call_makes_later_ones_late(clock, log):
    clock.call_later(1, clock.spend, 2.5)
    clock.call_later(2, log, "late")
    clock.call_later(3, log, "late too")
    clock.call_later(4, log, "in time")
    clock.advance(2)
    assert log == [("late", 3.5), ("late too", 3.5)]
    assert clock.time() == 3.5
    clock.advance(1)
    assert log[-1] == ("in time", 4.0)


def test_a_call_may_advance_the_clock_itself(clock, log):
    clock.call_later(1, clock.advance, 5)
    clock.call_later(2, log, "inner")
    clock.call_later(7, log, "outer")
    clock.advance(2)
    assert log == [("inner", 2.0)]
    assert clock.time() == 6.0
    clock.advance(1)
    assert log[-1] == ("outer", 7.0)


def test_what_calls_itself_again_without_a_delay_is_reported(clock, monkeypatch):
    monkeypatch.setattr(_clock, "STANDSTILL", 100)
    made = []

    def again():
        made.append(clock.call_soon(again))

    clock.call_later(1, again)
    with pytest.raises(RuntimeError, match=r"the clock stands still at 1.0 after 100 calls"):
        clock.advance(3)
    assert len(made) == 100
    assert clock.get_delayed_calls() == made[-1:]


def test_many_calls_at_many_instants_are_no_standstill(clock, log, monkeypatch):
    monkeypatch.setattr(_clock, "STANDSTILL", 2)
    for n in range(10):
        clock.call_later(n, log, n)
    clock.advance(10)
    assert len(log) == 10


def test_a_call_runs_in_a_copy_of_the_context_that_made_it_or_in_one_given(clock):
    variable = contextvars.ContextVar("variable", default="outside")
    seen = []

    def look():
        seen.append(variable.get())
        variable.set("changed")

    variable.set("made")
    clock.call_soon(look)
    given = contextvars.copy_context()
    given.run(variable.set, "given")
    clock.call_later(1, look, context=given)
    variable.set("later")
    clock.advance(1)
    assert seen == ["made", "given"]
    assert variable.get() == "later"
    assert given[variable] == "changed"


def test_cancelled_calls_do_not_pile_up(clock):
    keep = clock.call_later(1, print)
    for _ in range(10_000):
        clock.call_later(1000, print).cancel()
    assert clock.get_delayed_calls() == [keep]
    assert len(clock._agenda._heap) < 200


def test_a_call_that_is_over_keeps_nothing_alive(clock):
    class Argument:
        pass

    argument = Argument()
    gone = weakref.ref(argument)
    made = clock.call_soon(id, argument)
    cancelled = clock.call_later(1, id, argument)
    del argument
    gc.disable()
    try:
        clock.advance(0)
        cancelled.cancel()
        assert gone() is None
    finally:
        gc.enable()
    assert not made.active()


def test_reprs_show_what_is_to_happen_and_when(clock):
    handle = clock.call_later(1.5, print)
    assert repr(clock) == "<Clock at 0.0, 1 delayed calls>"
    assert repr(handle) == "<ClockHandle active, due at 1.5 <built-in function print>>"
    handle.cancel()
    assert repr(handle) == "<ClockHandle cancelled, due at 1.5>"
