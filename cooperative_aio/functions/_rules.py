"""Where a function must not be set aside, whatever the clock says.

Each rule has a test with real code: tests/functions/test_functions_rules.py.

======================================== ============================================
where                                    else
======================================== ============================================
in a `with` on a lock, at any depth, or  the loop stops for ever when it wants the
after `lock.acquire()` in the same frame lock; an RLock lets several functions in
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
import signal
import sys
from collections.abc import Container, Iterator
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple

from cooperative_aio.functions._availability import get_handler
from cooperative_aio.functions._collections import collecting
from cooperative_aio.functions._greenlets import Function, is_of_this_package
from cooperative_aio.functions._locks import Block, find_blocks, holds_lock
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

_SIGNALS: Final = sorted(map(int, signal.valid_signals()))


class Verdict(enum.Enum):
    """What an alarm is to do."""

    LEAVE = enum.auto()
    SOON = enum.auto()  # try again at the next instruction that looks for signals
    LATER = enum.auto()


def judge(function: Function, frame: FrameType) -> Verdict:
    """Say whether a function may be set aside, interrupted in `frame`."""
    if function.kept or collecting():
        return Verdict.LATER
    if is_of_this_package(frame):
        return Verdict.LATER
    if not is_between(frame):
        return Verdict.SOON
    handlers = _interrupting()
    facts = _facts_of(frame)
    if facts.is_whole or id(frame.f_code) in handlers or holds_lock(frame, facts.blocks):
        return Verdict.LATER
    return Verdict.LEAVE if _may(frame.f_back, handlers) else Verdict.LATER


def may_leave(frame: FrameType | None) -> bool:
    """Say whether a function may be set aside that asks for it itself, in `frame`."""
    while frame is not None and is_of_this_package(frame):
        frame = frame.f_back  # a function that steps another lets go in the midst of that
    return _may(frame, _interrupting())


def _may(frame: FrameType | None, handlers: frozenset[int]) -> bool:
    """Look at every frame from here on: quickly, as there may be a thousand."""
    code: CodeType | None = None
    never: Container[int] = ()
    blocks: tuple[Block, ...] = ()
    while frame is not None:
        if frame.f_code is not code:
            code = frame.f_code
            if id(code) in handlers:
                return False
            _, never, blocks, _ = _facts_of(frame)
        if frame.f_lasti in never or (blocks and holds_lock(frame, blocks)):
            return False
        frame = frame.f_back
    return True


# What is known of code


class Facts(NamedTuple):
    """What matters of a code object, and of the module that its functions are of."""

    code: CodeType
    never: Container[int]  # offsets at which it must not be set aside below a frame of it
    blocks: tuple[Block, ...]  # its `with` blocks
    is_whole: bool  # it must not be set aside anywhere


MOST: Final = 4096  # facts; then all are forgotten, lest code that is made and dropped pile up
EVERYWHERE: Final = range(1 << 31)
_facts: Final[dict[int, Facts]] = {}


def _facts_of(frame: FrameType) -> Facts:
    code = frame.f_code
    facts = _facts.get(id(code))  # by identity: code objects compare by their contents
    if facts is None:
        if len(_facts) >= MOST:
            _facts.clear()
        facts = _facts[id(code)] = _find_facts(code, frame.f_globals.get("__name__"))
    return facts


def _find_facts(code: CodeType, module: object) -> Facts:
    if code.co_name in WHOLE or _is_atomic(module):
        return Facts(code, EVERYWHERE, (), is_whole=True)
    opcodes = code.co_code[::2]
    never = frozenset(2 * at for at, opcode in enumerate(opcodes) if opcode in NO_CALLS)
    return Facts(code, never, find_blocks(code), is_whole=False)


def _is_atomic(module: object) -> bool:
    """Tell whether a module is one of `ATOMIC`, or of a package that is."""
    top = module.partition(".")[0] if isinstance(module, str) else ""
    is_atomic = module in ATOMIC or (top in ATOMIC and top != "importlib")
    return is_atomic and module != Function.__module__  # which is below all others


def _interrupting() -> frozenset[int]:
    """Return by their ids the code objects that run on top of any frame."""
    called = [one for one in map(get_handler, _SIGNALS) if callable(one)]
    called += [one for one in (sys.gettrace(), sys.getprofile()) if one is not None]
    return frozenset(id(code) for one in called for code in _codes_of(one))


def _codes_of(called: Any) -> Iterator[CodeType]:
    for one in (called, getattr(called, "func", None), type(called).__call__):
        code = getattr(getattr(one, "__func__", one), "__code__", None)
        if isinstance(code, CodeType):
            yield code
