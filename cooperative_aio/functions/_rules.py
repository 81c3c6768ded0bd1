"""Where a function must not be set aside, whatever the clock says.

Each rule has a test with real code: tests/functions/test_functions_rules.py.

======================================== ============================================
where                                    else
======================================== ============================================
in a `with` on a lock, at any depth      the loop stops for ever when it wants the
                                         lock; an RLock lets several functions in
below a frame of a module in `ATOMIC`    the same of locks and state that are theirs
in `__del__`, or what a dying object     nobody's garbage is collected, half an
calls, or a handler of a signal          object is seen, a signal is lost
in `__enter__` and `__exit__`            a cancellation would come before what it is
                                         to undo is noted, or before it is undone
in a garbage collection                  memory is corrupted (`_collections`)
in a trace function                      nobody else is traced any more
in another library's greenlet            that is switched to behind its back
under `uninterrupted()`                  the user has said so
inside of C code that looks for signals  an object is used while it is changed
======================================== ============================================
"""

from __future__ import annotations

import enum
import inspect
import signal
import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any, Final

from cooperative_aio.functions._collections import collecting
from cooperative_aio.functions._greenlets import PACKAGE, Function
from cooperative_aio.functions._locks import holds_lock
from cooperative_aio.functions._places import NO_CALLS, is_between

__all__ = ["ATOMIC", "Verdict", "judge", "may_leave"]

ATOMIC: Final = frozenset(
    {
        *("importlib._bootstrap", "importlib._bootstrap_external", "_frozen_importlib"),
        *("_frozen_importlib_external", "zipimport"),  # but not importlib.metadata
        *("logging", "threading", "queue", "asyncio", "concurrent", "multiprocessing"),
        *("signal", "weakref", "_weakrefset", "sched", "selectors"),
        *("bdb", "pdb", "coverage", "pydevd", "_pydevd_bundle", "debugpy"),
        *("greenlet", "gevent", "eventlet", "anyio", "uvloop", "cooperative_aio"),
    }
)
"""Modules, and packages with all that is in them; importlib's by their whole names only."""

WHOLE: Final = frozenset({"__del__", "__enter__", "__exit__"})
"""Methods that must not be ended in the middle, by a cancellation, say."""

_getsignal: Final = inspect.unwrap(signal.getsignal)  # without an enum for each answer
_SIGNALS: Final = sorted(map(int, signal.valid_signals()))
_OURS: Final = f"{PACKAGE}."


class Verdict(enum.Enum):
    """What an alarm is to do."""

    LEAVE = enum.auto()
    SOON = enum.auto()  # try again at the next instruction that looks for signals
    LATER = enum.auto()


def judge(function: Function, frame: FrameType) -> Verdict:
    """Say whether a function may be set aside, interrupted in `frame`."""
    if function.kept or collecting():
        return Verdict.LATER
    name = frame.f_globals.get("__name__")
    if _is_ours(name):
        return Verdict.LATER
    if not is_between(frame):
        return Verdict.SOON
    code, handlers = frame.f_code, _interrupting()
    if (
        _is_atomic[name]
        or id(code) in handlers
        or code.co_name in WHOLE
        or holds_lock(frame)
        or not _may(frame.f_back, handlers)
    ):
        return Verdict.LATER
    return Verdict.LEAVE


def may_leave(frame: FrameType | None) -> bool:
    """Say whether a function may be set aside that asks for it itself, in `frame`."""
    while frame is not None and _is_ours(frame.f_globals.get("__name__")):
        frame = frame.f_back  # a function that steps another lets go in the midst of that
    return _may(frame, _interrupting())


def _may(frame: FrameType | None, handlers: frozenset[int]) -> bool:
    while frame is not None:
        code = frame.f_code
        if (
            code.co_code[frame.f_lasti] in NO_CALLS
            or _is_atomic[frame.f_globals.get("__name__")]
            or id(code) in handlers
            or code.co_name in WHOLE
            or (code.co_exceptiontable and holds_lock(frame))
        ):
            return False
        frame = frame.f_back
    return True


class _Atomic(dict[object, bool]):
    """Whether a module is one of `ATOMIC`, or of a package that is."""

    def __missing__(self, name: object) -> bool:
        top = name.partition(".")[0] if isinstance(name, str) else ""
        is_atomic = name in ATOMIC or (top in ATOMIC and top != "importlib")
        self[name] = is_atomic and name != Function.__module__  # which is below all others
        return self[name]


_is_atomic: Final = _Atomic()


def _is_ours(name: object) -> bool:
    """Tell whether a module is one of this package: not to be interrupted itself."""
    return isinstance(name, str) and name.startswith(_OURS)


def _interrupting() -> frozenset[int]:
    """Return by their ids the code objects that run on top of any frame."""
    called = [*map(_getsignal, _SIGNALS), sys.gettrace(), sys.getprofile()]
    return frozenset(id(code) for one in called if callable(one) for code in _codes_of(one))


def _codes_of(called: Any) -> Iterator[CodeType]:
    for one in (called, getattr(called, "func", None), type(called).__call__):
        code = getattr(getattr(one, "__func__", one), "__code__", None)
        if isinstance(code, CodeType):
            yield code
