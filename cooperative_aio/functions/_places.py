"""At which instructions a function may be set aside, and where it can be thrown into.

CPython calls a signal's handler between two bytecodes, at the few instructions that look
whether there is something to do, or from inside C code that looks by itself (a lock that is
waited for, `re`, large integers). Inside C code the function must not be set aside; at a call
one cannot tell which it was. At `RESUME` (where a function begins, or a generator goes on)
and at the jump back of a loop it is always the interpreter itself.
"""

from __future__ import annotations

import dis
import functools
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Final

__all__ = ["NO_CALLS", "is_between", "is_covered", "raise_at_next_instruction"]


def _opcodes(*beginnings: str) -> frozenset[int]:
    return frozenset(code for name, code in dis.opmap.items() if name.startswith(beginnings))


BETWEEN: Final = _opcodes("RESUME", "JUMP_BACKWARD", "POP_JUMP_BACKWARD")
"""Instructions at which only the interpreter itself looks for signals."""

NO_CALLS: Final = _opcodes(
    *("RESUME", "JUMP", "STORE_FAST", "STORE_DEREF", "DELETE_FAST", "DELETE_DEREF"),
    *("POP_TOP", "POP_ITER", "POP_EXCEPT", "LOAD_FAST", "LOAD_CONST", "LOAD_SMALL_INT"),
    *("NOP", "NOT_TAKEN", "SWAP", "COPY", "RETURN_"),
)
"""Instructions that call nothing: a frame above one is of a handler or a finalizer."""

COMPARE_OP: Final = dis.opmap["COMPARE_OP"]
_IS_311: Final = sys.version_info < (3, 12)
_ATTRIBUTED_TO_TARGET: Final = sys.version_info < (3, 13)


def is_between(frame: FrameType) -> bool:
    """Tell whether the interpreter itself has called a handler, between two instructions."""
    code, offset = frame.f_code.co_code, frame.f_lasti
    opcode = code[offset]
    # Python 3.11 makes one of a comparison and the jump that follows it, behind its cache.
    return opcode in BETWEEN or (
        _IS_311 and opcode == COMPARE_OP and code[offset + 6] in BETWEEN
    )


def is_covered(frame: FrameType) -> bool:
    """Tell whether an exception raised here is caught by the blocks that stand around.

    One that arrives at the jump back of a loop may be not: up to Python 3.12 it is looked up
    where the jump leads to, less one instruction, which may be the `try:` itself; and from
    3.12 on the jump of `while condition:` itself is left out of its block.
    """
    return frame.f_lasti not in find_uncovered(frame.f_code)


def _find_jumps_back(code: CodeType) -> dict[int, int]:
    """Return by the offset of each jump back where it leads to."""
    found: dict[int, int] = {}
    before = None
    for one in dis.get_instructions(code):
        if one.opcode in BETWEEN and one.opname != "RESUME":
            found[one.offset] = one.argval
            if _IS_311 and before is not None and before.opname == "COMPARE_OP":
                found[before.offset] = one.argval
        before = one
    return found


def find_uncovered(code: CodeType) -> frozenset[int]:
    """Return the offsets of the jumps back whose exceptions are looked up elsewhere."""
    bytecode: Any = dis.Bytecode(code)
    entries = bytecode.exception_entries

    def handler(offset: int) -> int | None:
        return next(
            (entry.target for entry in entries if entry.start <= offset < entry.end), None
        )

    def is_uncovered(offset: int, target: int) -> bool:
        looked_up = target - 2 if _ATTRIBUTED_TO_TARGET else offset
        return not handler(looked_up) == handler(offset) == handler(target)

    jumps = _find_jumps_back(code).items() if entries else ()
    return frozenset(offset for offset, target in jumps if is_uncovered(offset, target))


def raise_at_next_instruction(frame: FrameType, error: BaseException) -> Callable[[], None]:
    """Let the function of `frame` jump back, and raise `error` where it then is.

    By a trace function, of which a thread has one.

    Returns:
        What puts back the one that there was, when the function has left the loop: Python
        takes a trace function away that raises.
    """
    outer, traced = sys.gettrace(), frame.f_trace_opcodes

    def trace(  # pragma: no cover (what traces is not traced)
        _frame: FrameType, event: str, _argument: object
    ) -> Any:
        nonlocal error
        if event != "opcode":  # of a line, say: those are not looked up well either
            return trace
        frame.f_trace_opcodes = traced
        try:
            raise error
        finally:
            del error  # it refers to this frame

    frame.f_trace, frame.f_trace_opcodes = trace, True
    sys.settrace(None)  # else 3.12 does not look at code that was set aside meanwhile
    sys.settrace(_trace_nothing)
    return functools.partial(sys.settrace, outer)  # pragma: no cover (nothing is traced)


def _trace_nothing(_frame: FrameType, _event: str, _argument: object) -> None:
    """Be the trace function of the thread, without which that of a frame is not called."""
