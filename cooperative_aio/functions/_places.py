"""At which instructions a function may be set aside, and where it can be thrown into.

CPython calls a signal's handler between two bytecodes, at the few instructions that look
whether there is something to do, or from inside C code that looks by itself (a lock that is
waited for, `re`, large integers). Inside C code the function must not be set aside; at a call
one cannot tell which it was. At `RESUME` (where a function begins, or a generator goes on)
and at the jump back of a loop it is always the interpreter itself.
"""

from __future__ import annotations

import dis
import sys
from types import CodeType, FrameType
from typing import Any, Final

from cooperative_aio.functions._memo import Memo

__all__ = ["BETWEEN", "NO_CALLS", "is_covered", "raise_at_next_line"]


def _opcodes(*beginnings: str) -> frozenset[int]:
    return frozenset(code for name, code in dis.opmap.items() if name.startswith(beginnings))


BETWEEN: Final = _opcodes("RESUME", "JUMP_BACKWARD", "POP_JUMP_BACKWARD")
"""Instructions at which only the interpreter itself looks for signals."""

NO_CALLS: Final = _opcodes(
    *("RESUME", "JUMP", "STORE_FAST", "STORE_DEREF", "DELETE_FAST", "DELETE_DEREF"),
    *("POP_TOP", "POP_EXCEPT", "LOAD_FAST", "LOAD_CONST", "NOP", "SWAP", "COPY", "RETURN_"),
)
"""Instructions that call nothing: a frame above one is of a handler or a finalizer."""

_ATTRIBUTED_TO_TARGET: Final = sys.version_info < (3, 13)


def is_covered(frame: FrameType) -> bool:
    """Tell whether an exception raised here is caught by the blocks that stand around.

    Up to Python 3.12 one that arrives at the jump back of a loop is looked up where the
    jump leads to, less one instruction: if that is the `try:` itself, its `finally` is skipped.
    """
    return not _ATTRIBUTED_TO_TARGET or frame.f_lasti not in _uncovered(frame.f_code)


def _find_uncovered(code: CodeType) -> frozenset[int]:
    """Return the offsets of the jumps back whose exceptions are looked up elsewhere."""
    bytecode = dis.Bytecode(code)
    entries: list[Any] = bytecode.exception_entries  # type: ignore[attr-defined]

    def handler(offset: int) -> int | None:
        return next(
            (entry.target for entry in entries if entry.start <= offset < entry.end), None
        )

    return frozenset(
        instruction.offset
        for instruction in bytecode
        if instruction.opcode in BETWEEN
        and instruction.opname != "RESUME"
        and handler(instruction.offset) != handler(instruction.argval - 2)
    )


_uncovered: Final = Memo(_find_uncovered)


def raise_at_next_line(frame: FrameType, error: BaseException) -> None:
    """Let the function of `frame` go on to its next line, and raise `error` there.

    By a trace function, of which a thread has one: what was set is put back.
    """
    outer, local = sys.gettrace(), frame.f_trace

    def trace(_frame: FrameType, _event: str, _argument: object) -> None:
        nonlocal error
        frame.f_trace = local
        sys.settrace(outer)
        try:
            raise error
        finally:
            del error  # it refers to this frame

    frame.f_trace = trace
    sys.settrace(_trace_nothing)


def _trace_nothing(_frame: FrameType, _event: str, _argument: object) -> None:
    """Be the trace function of the thread, without which that of a frame is not called."""
