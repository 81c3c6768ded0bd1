"""Whether a frame stands inside a `with` on a lock.

Seen from outside: the exception table of the code tells where its `with` blocks begin and
end, and the instructions before a block name what it manages, which is then looked up in
the frame. Nothing of the function's own is called for that.
"""

from __future__ import annotations

import dis
import inspect
import re
from itertools import takewhile
from types import CodeType, FrameType, MemberDescriptorType
from typing import Any, Final, NamedTuple

__all__ = ["Block", "find_blocks", "holds_lock"]

BEFORE_WITH: Final = dis.opmap.get("BEFORE_WITH", -1)
UNKNOWN: Final = object()
LIKE_A_LOCK: Final = re.compile(r"lock|mutex|semaphore|condition", re.IGNORECASE)
"""What names a lock, where the name cannot be looked up: `with self.lock_of(key):`."""


class Block(NamedTuple):
    """A part of a `with` block: from where to where, and what it manages."""

    start: int
    end: int
    path: tuple[str, ...]  # a variable and attributes; empty if it is anything else
    names: tuple[str, ...]  # all that the expression mentions


def holds_lock(frame: FrameType, blocks: tuple[Block, ...]) -> bool:
    """Tell whether a frame stands inside a `with` on a lock, one of its `blocks`."""
    offset = frame.f_lasti
    return any(
        block.start <= offset < block.end and _manages_lock(block, frame) for block in blocks
    )


def _manages_lock(block: Block, frame: FrameType) -> bool:
    managed = _look_up(block.path, frame) if block.path else UNKNOWN
    if managed is UNKNOWN:
        return any(map(LIKE_A_LOCK.search, block.names))
    return _has(managed, "acquire") and _has(managed, "release")


def _has(value: object, name: str) -> bool:
    return _attribute(value, name) is not UNKNOWN


def _look_up(path: tuple[str, ...], frame: FrameType) -> object:
    """Return what a variable, or an attribute of it, refers to."""
    name, *attributes = path
    value: object = UNKNOWN
    for names in (frame.f_locals, frame.f_globals, frame.f_builtins):
        if name in names:
            value = names[name]
            break
    for attribute in attributes:
        if value is UNKNOWN:
            break
        found = _attribute(value, attribute)
        if isinstance(
            found, MemberDescriptorType
        ):  # a slot, read without any code of the class
            found = found.__get__(value)
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
    """Return the `with` blocks of code, in parts."""
    if BEFORE_WITH not in code.co_code[::2]:
        return ()  # at once: to look at all instructions takes long
    bytecode: Any = dis.Bytecode(code)
    instructions = list(bytecode)
    positions = {one.offset: index for index, one in enumerate(instructions)}
    entries = bytecode.exception_entries
    blocks = []
    for target in dict.fromkeys(entry.target for entry in entries):
        handler = instructions[positions[target] :][:2]
        if [one.opname for one in handler] != ["PUSH_EXC_INFO", "WITH_EXCEPT_START"]:
            continue
        parts = [entry for entry in entries if entry.target == target]
        first = min(entry.start for entry in parts)
        before = instructions[: positions[first]]
        while before and before[-1].opname != "BEFORE_WITH":
            before.pop()
        path, names = _managed(before[:-1])
        # From the very call of __enter__, and up to the end: what lies between the parts
        # of a block is the way out of it.
        blocks += [Block(entry.start, entry.end, path, names) for entry in parts]
    return tuple(blocks)


def _managed(before: list[dis.Instruction]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what the instructions before a `with` name."""
    path: list[str] = []
    names: list[str] = []
    is_path = True
    for one in reversed(before[-24:]):
        mentioned = _mentioned(one)
        names += mentioned
        if is_path and mentioned:
            path.insert(0, mentioned[-1])
        if is_path and not (mentioned and one.opname.startswith(("LOAD_ATTR", "LOAD_METHOD"))):
            if mentioned and one.opname.startswith("LOAD_"):
                return tuple(path), tuple(names)
            is_path = False
        if one.starts_line is not None and one.starts_line is not False:
            break
    return (), tuple(names)


def _mentioned(one: dis.Instruction) -> tuple[str, ...]:
    if not one.opname.startswith("LOAD_") or one.opname == "LOAD_CONST":
        return ()
    named = one.argval if isinstance(one.argval, tuple) else (one.argval,)
    return tuple(takewhile(lambda name: isinstance(name, str), named))
