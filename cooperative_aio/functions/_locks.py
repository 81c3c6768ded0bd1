"""Whether a frame holds a lock, or waits for one.

Seen from outside: the exception table of the code tells where its `with` blocks begin and
end, and the instructions before a block, or before a call of `acquire`, name the lock, which
is then looked up in the frame. No code of the function's own is called for that.
"""

from __future__ import annotations

import bisect
import dis
import inspect
import re
import threading
from itertools import takewhile
from types import CodeType, FrameType, MemberDescriptorType
from typing import Any, Final, NamedTuple, TypeAlias

__all__ = ["UNKNOWN", "Block", "Named", "find_blocks", "find_wait", "holds_lock", "look_up"]
__all__ += ["is_exclusive", "same_lock", "seems_a_lock"]

ENTER: Final = dis.opmap.get("BEFORE_WITH") or dis.opmap["LOAD_SPECIAL"]
ENTERING: Final = {"BEFORE_WITH", "LOAD_SPECIAL", "COPY", "SWAP"}
UNKNOWN: Final = object()
CALLS: Final = {"PRECALL", "CALL", "CALL_KW", "CALL_FUNCTION_EX"}
METHODS: Final = {"LOAD_METHOD", "LOAD_ATTR"}
LIKE_A_LOCK: Final = re.compile(r"lock|mutex|semaphore|condition", re.IGNORECASE)
"""What names a lock, where the name cannot be looked up: `with self.lock_of(key):`."""

Lock: Final[Any] = type(threading.Lock())
RLock: Final[Any] = type(threading.RLock())
Instructions: TypeAlias = list[dis.Instruction]


class Named(NamedTuple):
    """What an expression refers to."""

    path: tuple[str, ...]  # a variable and attributes; empty if it is anything else
    names: tuple[str, ...]  # all that the expression mentions


class Block(NamedTuple):
    """Instructions, from where to where, at which a lock may be held."""

    start: int
    end: int
    lock: Named
    is_taken: bool  # by `lock.acquire()`, not by a `with`


def holds_lock(frame: FrameType, blocks: tuple[Block, ...]) -> bool:
    """Tell whether a frame stands where it holds a lock, in one of its `blocks`."""
    offset = frame.f_lasti
    return any(block.start <= offset < block.end and _is_held(block, frame) for block in blocks)


def _is_held(block: Block, frame: FrameType) -> bool:
    found = look_up(block.lock, frame)
    return _is_locked(found) if block.is_taken else seems_a_lock(found, block.lock)


def seems_a_lock(found: object, named: Named) -> bool:
    """Tell whether a thing is a lock; if it was not found, whether its name is like one's."""
    if found is UNKNOWN:
        return any(map(LIKE_A_LOCK.search, named.names))
    return _has(found, "acquire") and _has(found, "release")


def is_exclusive(lock: object) -> bool:
    """Tell whether a lock is held so that a thread which holds it would wait for it as well."""
    if isinstance(lock, threading.Semaphore):
        return _attribute(lock, "_value") == 0
    return type(_inner(lock)) is Lock and _is_locked(lock)


def _is_locked(lock: object) -> bool:
    """Tell whether a lock is held, an RLock by this thread; False where it does not say."""
    inner = _inner(lock)
    if type(inner) is Lock:
        return bool(inner.locked())
    return type(inner) is RLock and bool(inner._is_owned())  # as Condition asks it


def same_lock(one: object, other: object) -> bool:
    """Tell whether two are one, or conditions of one."""
    return _inner(one) is _inner(other)


def _inner(lock: object) -> Any:
    return _attribute(lock, "_lock") if isinstance(lock, threading.Condition) else lock


def _has(value: object, name: str) -> bool:
    return _attribute(value, name) is not UNKNOWN


def look_up(named: Named, frame: FrameType) -> object:
    """Return what a variable, or an attribute of it, refers to; else `UNKNOWN`."""
    value: object = UNKNOWN
    for names in (frame.f_locals, frame.f_globals, frame.f_builtins) if named.path else ():
        if named.path[0] in names:
            value = names[named.path[0]]
            break
    for attribute in named.path[1:]:
        if value is UNKNOWN:
            break
        found = _attribute(value, attribute)
        if isinstance(found, MemberDescriptorType):
            found = found.__get__(value)  # a slot, read without any code of the class
        value = UNKNOWN if isinstance(found, property) else found
    return value


def _attribute(value: object, name: str) -> object:
    """Return an attribute without calling anything: not a property, nor `__getattr__`."""
    try:
        return inspect.getattr_static(value, name, UNKNOWN)
    except Exception:  # noqa: BLE001 (whatever the class has done to itself)
        return UNKNOWN


# What the code says


def find_blocks(code: CodeType) -> tuple[Block, ...]:
    """Return where code may hold a lock: its `with` blocks, in parts, and after `acquire()`."""
    has_with = ENTER in code.co_code[::2]
    if not has_with and "acquire" not in code.co_names:
        return ()  # at once: to look at all instructions takes long
    bytecode: Any = dis.Bytecode(code)
    instructions = list(bytecode)
    blocks = _find_withs(instructions, bytecode.exception_entries) if has_with else []
    return tuple(blocks + _find_taken(instructions, len(code.co_code)))


def _find_withs(instructions: Instructions, entries: Any) -> list[Block]:
    positions = {one.offset: index for index, one in enumerate(instructions)}
    blocks = []
    for target in dict.fromkeys(entry.target for entry in entries):
        handler = instructions[positions[target] :][:2]
        if [one.opname for one in handler] != ["PUSH_EXC_INFO", "WITH_EXCEPT_START"]:
            continue
        parts = [entry for entry in entries if entry.target == target]
        first = min(entry.start for entry in parts)
        managed = _managed(instructions[: positions[first]])
        # From the very call of __enter__, and up to the end: what lies between the parts
        # of a block is the way out of it.
        blocks += [Block(entry.start, entry.end, managed, is_taken=False) for entry in parts]
    return blocks


def _managed(before: Instructions) -> Named:
    """Return what the last `with` among some instructions manages."""
    while before and before[-1].opcode != ENTER:
        before.pop()  # pragma: no cover (before 3.14 there is nothing between)
    while before and before[-1].opname in ENTERING:
        before.pop()
    return _named(before)


def _find_taken(instructions: Instructions, end: int) -> list[Block]:
    """Return a block from each `lock.acquire()` on, if nothing is done with its answer."""
    blocks = []
    for index, one in enumerate(instructions[:-1]):
        if one.opname in CALLS and instructions[index + 1].opname == "POP_TOP":
            lock = _acquired(instructions, index)
            if lock is not None:
                blocks.append(Block(instructions[index + 1].offset, end, lock, is_taken=True))
    return blocks


def find_wait(frame: FrameType) -> Named | None:
    """Return what a frame waits for if it is in a `with`, or in a call of `acquire`."""
    instructions = list(dis.get_instructions(frame.f_code))
    offsets = [one.offset for one in instructions]
    at = bisect.bisect(offsets, frame.f_lasti) - 1  # 3.11 stands in the cache of a call
    if at < 1:
        return None
    if ENTER in (instructions[at].opcode, instructions[at - 1].opcode):  # from 3.14 a call
        return _managed(instructions[: at + 1])
    return _acquired(instructions, at) if instructions[at].opname in CALLS else None


def _acquired(instructions: Instructions, at: int) -> Named | None:
    """Return what a call is of that calls the method `acquire` of it."""
    call = instructions[at]
    for index in range(at - 1, -1, -1):
        one = instructions[index]
        if one.opname in METHODS and _begin(one) == _begin(call):
            return _named(instructions[:index]) if one.argval == "acquire" else None
    return None


def _begin(one: dis.Instruction) -> tuple[int | None, int | None] | None:
    """Return where in the source the expression of an instruction begins."""
    return one.positions and (one.positions.lineno, one.positions.col_offset)


def _named(before: Instructions) -> Named:
    """Return what the last of some instructions put on the stack."""
    path: list[str] = []
    names: list[str] = []
    is_path = True
    for one in reversed(before[-24:]):
        mentioned = _mentioned(one)
        names += mentioned
        if is_path and mentioned:
            path.insert(0, mentioned[-1])
        if is_path and not (mentioned and one.opname in METHODS):
            if mentioned and one.opname.startswith("LOAD_"):
                return Named(tuple(path), tuple(names))
            is_path = False
        if one.starts_line is not None and one.starts_line is not False:
            break
    return Named((), tuple(names))


def _mentioned(one: dis.Instruction) -> tuple[str, ...]:
    if not one.opname.startswith("LOAD_") or one.opname == "LOAD_CONST":
        return ()
    named = one.argval if isinstance(one.argval, tuple) else (one.argval,)
    return tuple(takewhile(lambda name: isinstance(name, str), named))
