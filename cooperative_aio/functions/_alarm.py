"""Interrupt a function when its slice is over: a timer, and the handler of its signal.

The timer is ours while a function computes, and at no other time. It repeats, as a single
alarm may find the function where it must not be set aside. The handler is ours from the first
step until no function is set aside any more: see `_aside`.
"""

from __future__ import annotations

import _thread
import functools
import math
import operator
import signal
import threading
import time
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from cooperative_aio.functions._aside import aside, watch
from cooperative_aio.functions._availability import (
    ITIMER_REAL,
    SIG_DFL,
    SIG_IGN,
    SIGALRM,
    busy,
    get_handler,
    set_handler,
    unproved,
)
from cooperative_aio.functions._checks import PreemptionUnavailable
from cooperative_aio.functions._greenlets import Function, Thrown, getcurrent
from cooperative_aio.functions._places import is_covered, raise_at_next_instruction
from cooperative_aio.functions._rules import Verdict, judge
from cooperative_aio.functions._waits import refusal

__all__ = ["Alarm", "check_available", "forget", "why_not"]

AGAIN: Final = 0.000997  # seconds between alarms, by which the timer is known as ours
FIRST_AGAIN: Final = 0.0001  # seconds until the first of them, if it is to be sooner
TRIES: Final = 64
SOONEST: Final = 1e-6  # seconds: 0 would stop the timer


# The timer


class _Now:
    """What the handler has to know: one for the process, as signals are."""

    __slots__ = (
        *("delay", "function", "has_left", "is_asked", "is_ignored", "is_looking"),
        *("is_stopping", "pending", "previous", "put_back_trace", "tried_since", "tries"),
        "until",
    )

    def __init__(self) -> None:
        self.function: Function | None = None  # that computes, and may be interrupted
        self.delay = FIRST_AGAIN
        self.until = 0.0  # when it is to be, by time.perf_counter
        self.previous: Any = None  # the handler to put back; None if ours was not set
        self.is_asked = False  # whether the main thread waits for a lock
        self.is_stopping = False  # an alarm that comes now was ours
        self.is_ignored = False  # by us, for a moment
        self.is_looking = False  # in the handler, which its own alarm interrupts
        self.has_left = False  # a function was set aside by the handler
        self.pending: object = None  # keeps a weak reference alive
        self.put_back_trace: Callable[[], None] | None = None  # see raise_at_next_instruction
        self.tries = 0  # to find a better place, since
        self.tried_since = -math.inf  # by time.perf_counter


_now: Final = _Now()


def check_available() -> None:
    """Refuse to preempt where that cannot be had.

    Raises:
        PreemptionUnavailable: With the reason, and what to do.
    """
    if reason := why_not():
        raise PreemptionUnavailable(
            f"cannot preempt functions: {reason}; with preempt=False they are set aside"
            " where they call give_way() or wait_on()"
        )


def why_not() -> str | None:
    """Return why functions cannot be preempted now; None if they can."""
    return unproved() or busy(_on_alarm, is_nested=_now.function is not None)


class Alarm:
    """Interrupt a function after some seconds: set before a step, and put back after it.

    They may be nested, where a function steps another: the outer one's time goes on.
    """

    __slots__ = ("_function", "_outer", "_seconds", "_until", "is_set")

    def __init__(self, function: Function, seconds: float) -> None:
        self._function = function
        self._seconds = seconds
        self._outer: Function | None = None
        self._until = 0.0
        self.is_set = False

    def set(self) -> bool:
        """Set the timer.

        Returns:
            Whether that could be done: the signal or the timer may have become somebody
            else's since `check_available()`.
        """
        self._outer, self._until = _now.function, _now.until
        if self._outer is None and not _take_over():
            return False
        self.is_set = True
        aside.pop(self._function, None)
        now = time.perf_counter()
        _now.until = now + self._seconds
        if self._outer is not None:
            _now.until = min(_now.until, self._until)
        _now.function, _now.delay = self._function, FIRST_AGAIN
        _now.is_asked = False
        signal.setitimer(ITIMER_REAL, max(_now.until - now, SOONEST), AGAIN)
        return True

    def put_back(self) -> None:
        """Take the timer back, and leave everything as it was.

        If the handler of another signal raises in the middle of it, it can be done again.
        """
        if not self.is_set:
            return
        if _now.put_back_trace is not None:  # pragma: no cover (nothing is traced then)
            _now.put_back_trace()
            _now.put_back_trace = None
        if self._function:  # is set aside
            aside[self._function] = None
        _now.is_stopping = self._outer is None
        _now.function, _now.until = self._outer, self._until
        if _now.has_left:
            # The interpreter's round over the pending signals was left in the middle:
            # let it begin again, or those that were to come wait for the next signal.
            _now.has_left = False
            _thread.interrupt_main(SIGALRM)
        if self._outer is None:
            _stop_timer()
        else:
            rest = max(_now.until - time.perf_counter(), SOONEST)
            signal.setitimer(ITIMER_REAL, rest, AGAIN)


def _take_over() -> bool:
    """Make the handler ours, if it and the timer are nobody's."""
    if threading.get_ident() != threading.main_thread().ident:
        return False
    handler = get_handler(SIGALRM)
    if handler is _on_alarm and _now.previous is None:
        _now.previous = SIG_DFL  # somebody has put back what was found in a step
    if signal.getitimer(ITIMER_REAL)[0]:  # of somebody who wants what the signal did before
        if handler is _on_alarm:
            _put_back_handler(_now.previous)
        return False
    if handler is not _on_alarm:
        if not isinstance(handler, int):
            return False
        _now.previous = handler
        set_handler(SIGALRM, _on_alarm)
    return True


def _stop_timer() -> None:
    """Stop the timer, and put back what was there before unless functions are set aside."""
    left, again = signal.setitimer(ITIMER_REAL, 0)
    _put_back_handler(_on_alarm if aside else _now.previous)
    if left and not _is_ours(again):  # the function has set it
        signal.setitimer(ITIMER_REAL, left, again)
    if aside:
        watch(_ask)


def _put_back_handler(handler: Any) -> None:
    """Make another handler that of the signal, unless somebody else has done so."""
    _now.is_stopping = True
    # An alarm that came too late is handled here, and ignored; or it is pending, for another
    # thread to handle it: to ignore the signal, for a moment, discards it.
    if _now.is_ignored or get_handler(SIGALRM) is _on_alarm:
        _now.is_ignored = True
        set_handler(SIGALRM, SIG_IGN)
        set_handler(SIGALRM, handler)
        _now.is_ignored = False
    if handler is not _on_alarm:
        _now.previous = None  # not before that: the handler may still be called
    _now.is_stopping = False


def forget(function: Function) -> None:
    """Take back what was done for a function that has ended, or was dropped.

    If the handler of another signal raises in the middle of it, it can be done again.
    """
    aside.pop(function, None)
    if not aside and _now.function is None and _now.previous is not None:
        _put_back_handler(_now.previous)


def _is_ours(again: float) -> bool:
    return abs(again - AGAIN) < 1e-6  # noqa: PLR2004 (what the system rounds to)


# The signal


def _on_alarm(_number: int, frame: FrameType | None) -> object:
    """Set the function aside, if it may be where it stands."""
    if _now.is_asked and frame is not None:
        _refuse_to_wait(frame)
        return None  # pragma: no cover (the handler's lines are not always traced)
    function = _now.function
    if function is None:
        if not _now.is_stopping:  # pragma: no branch
            _meant_for_another()  # pragma: no cover (in processes of their own)
        return None
    if _now.is_looking or frame is None or getcurrent() is not function:
        return None
    answer: object = None
    try:
        _now.is_looking = True
        verdict = judge(function, frame)
        if verdict is Verdict.SOON:
            answer = _pending()
    except Exception:  # noqa: BLE001 (whatever was looked at: it is not the function's fault)
        verdict = Verdict.LATER
    finally:
        _now.is_looking = False
    if verdict is Verdict.LEAVE:
        _set_aside(function, frame)
    elif verdict is Verdict.LATER:
        _try_sooner()
    return answer


def _try_sooner() -> None:
    """Come again earlier, if less and less so: code may be in a lock nearly all of its time."""
    left, again = signal.getitimer(ITIMER_REAL)
    is_over = time.perf_counter() >= _now.until
    if is_over and _is_ours(again) and left > _now.delay:
        signal.setitimer(ITIMER_REAL, _now.delay, AGAIN)
        _now.delay *= 1.25


def _set_aside(function: Function, frame: FrameType) -> None:
    """Leave the loop to others; go on here, at some time, in the middle of the function."""
    _now.has_left = True
    answer = function.leave(None)
    if type(answer) is Thrown:
        try:
            if is_covered(frame):
                raise answer.error
            _now.put_back_trace = raise_at_next_instruction(frame, answer.error)
        finally:
            del answer, frame, function  # the error refers to this frame


def _meant_for_another() -> None:  # pragma: no cover (it ends the process)
    """Do what the signal does without our handler."""
    if _now.previous is not SIG_IGN:
        set_handler(SIGALRM, SIG_DFL)
        signal.raise_signal(SIGALRM)


# Waiting for a lock


def _ask() -> None:
    """Interrupt the main thread, which waits for a lock; a thread calls this."""
    if get_handler(SIGALRM) is _on_alarm:
        _now.is_asked = True
        signal.pthread_kill(threading.main_thread().ident or 0, SIGALRM)


def _refuse_to_wait(frame: FrameType) -> None:
    """Raise an error where the main thread waits for a lock of a function set aside."""
    _now.is_asked = False
    if _now.is_looking:
        return
    error = None
    try:
        _now.is_looking = True
        error = refusal(frame)
    except Exception:  # noqa: BLE001, S110 (whatever was looked at: let it wait)
        pass
    finally:
        _now.is_looking = False
    if error is not None:
        try:
            raise error
        finally:
            del error, frame  # it refers to this frame


# Interrupt again, but not before the handler has returned


class _Reminder(weakref.ref[Any]):
    """A weak reference that, when its object is gone, has the signal handled again."""

    trip = staticmethod(functools.partial(_thread.interrupt_main, SIGALRM))


class _Token:
    __slots__ = ("__weakref__",)


def _pending() -> object:
    """Return what is to be returned to the interpreter.

    When it drops that, no bytecode of the handler is left to be interrupted: the signal is
    pending, and the next instruction that looks for signals finds it. That is tried so
    many times for each alarm of the timer, as code may have no better place for long.
    """
    now = time.perf_counter()
    if now - _now.tried_since > AGAIN:
        _now.tried_since, _now.tries = now, 0
    _now.tries += 1
    if _now.tries > TRIES:
        return None
    token = _Token()
    _now.pending = _Reminder(token, operator.methodcaller("trip"))
    return token
