"""Running tasklets: one loop in place of recursion, and a bound on every turn."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cooperative_aio.tasklet._tasklet import Tasklet

# A turn of the loop ends after so many resumptions, or after so many seconds, looked at
# every few resumptions only: what tasklets say to each other stays synchronous, as in
# Kiwi, unless they never stop talking.
TURN_STEPS = 1000
TURN_SECONDS = 0.005
STEPS_BETWEEN_LOOKS = 32

# A tasklet whose code resumes another runs it inside its own frame, so deep and no
# deeper; what lies deeper runs at the loop's next turn.
MAX_DEPTH = 40


class _Thread(threading.local):
    depth = 0
    current: Tasklet[Any] | None = None


here = _Thread()
"""The tasklet whose code this thread is executing, and how many are being run."""


def drive(stack: list[Tasklet[Any]]) -> None:
    """Run the last tasklet of a stack, and those it wakes, until all of them wait.

    The one that a message is sent to runs before its sender goes on. What is left when
    the turn is over, or when an exception leaves through the loop, goes on soon.
    """
    if here.depth >= MAX_DEPTH:
        stack[-1].get_loop().call_soon(drive, stack)
        return
    here.depth += 1
    try:
        _work(stack)
    finally:
        here.depth -= 1
        if stack:
            stack[-1].get_loop().call_soon(drive, stack)


def _work(stack: list[Tasklet[Any]]) -> None:
    deadline = time.perf_counter() + TURN_SECONDS
    steps = 0
    while stack:
        top = stack[-1]
        if not top.ready():
            stack.pop()
            top.released()
            continue
        if steps >= TURN_STEPS:
            return
        if steps and not steps % STEPS_BETWEEN_LOOKS and time.perf_counter() > deadline:
            return
        steps += 1
        stack.extend(top.step())
