"""The error for code that waits for a lock which a function set aside holds."""

from __future__ import annotations

import sys
from types import FrameType

from cooperative_aio.functions._aside import aside, outside_of_threading, takes_no_locks
from cooperative_aio.functions._greenlets import Function, innermost_frame
from cooperative_aio.functions._locks import (
    UNKNOWN,
    Named,
    find_blocks,
    find_wait,
    is_exclusive,
    look_up,
    same_lock,
    seems_a_lock,
)

__all__ = ["refusal"]


def refusal(frame: FrameType) -> RuntimeError | None:
    """Return the error for what waits in `frame`, if only a function set aside can end that."""
    frame = outside_of_threading(frame)
    named = find_wait(frame)
    if not aside or named is None or not _is_theirs(look_up(named, frame), named):
        return None
    places = [_place_of(function) for function in aside]
    lock = ".".join(named.path) or "a lock"
    return RuntimeError(
        f"cannot wait for {lock}, which a function that is set aside holds:"
        f" {', '.join(places[:3])}; hold it in a `with`, or under uninterrupted()"
    )


def _is_theirs(lock: object, named: Named) -> bool:
    """Tell whether no other thread can release a lock, as far as can be seen."""
    frames = sys._current_frames()
    others = [frames[thread] for thread in frames if thread not in takes_no_locks()]
    if lock is UNKNOWN:
        return seems_a_lock(lock, named) and not others
    return is_exclusive(lock) and not any(_may_hold(frame, lock) for frame in others)


def _may_hold(frame: FrameType | None, lock: object) -> bool:
    """Tell whether a thread may have taken a lock, in one of its frames."""
    while frame is not None:
        for block in find_blocks(frame.f_code):
            if block.start <= frame.f_lasti < block.end:
                found = look_up(block.lock, frame)
                if same_lock(found, lock) or (
                    found is UNKNOWN and seems_a_lock(found, block.lock)
                ):
                    return True
        frame = frame.f_back
    return False


def _place_of(function: Function) -> str:
    frame = innermost_frame(function)
    where = "" if frame is None else f" at {frame.f_code.co_filename}:{frame.f_lineno}"
    return f"{function.name}{where}"
