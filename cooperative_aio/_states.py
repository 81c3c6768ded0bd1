"""The states of a task, and what leads from each to which.

=========  ==========================================================
ready      queued for its next step (or in it)
paused     `pause()` was called more often than `resume()`
waiting    suspended on an awaitable that its iterator yielded
ending     cancelled: CancelledError is on its way, or was thrown, and the
           iterator waits for one awaitable more to clean up. A task that
           goes on all the same is a task like any other again
=========  ==========================================================

and, when it is done, finished, failed, stopped or cancelled. A waiting task may be
paused as well; it is called waiting until the awaitable is done. `TRANSITIONS` is
what `tests/test_states.py` holds a task to, and what its picture is drawn from.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

__all__ = ["ENDS", "TRANSITIONS", "State"]


class State(enum.Enum):
    """What a task is doing, or how it has ended."""

    READY = "ready"
    PAUSED = "paused"
    WAITING = "waiting"
    ENDING = "ending"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    CANCELLED = "cancelled"

    __hash__ = object.__hash__  # that of enums is Python code; members are compared by identity


ENDS: Final = frozenset({State.FINISHED, State.FAILED, State.STOPPED, State.CANCELLED})
"""The states that nothing leads out of."""

TRANSITIONS: Final[Mapping[State, Mapping[str, State]]] = {
    State.READY: {
        "yields a value": State.READY,
        "yields an awaitable": State.WAITING,
        "returns": State.FINISHED,
        "raises": State.FAILED,
        "raises CancelledError": State.CANCELLED,
        "pause()": State.PAUSED,
        "stop()": State.STOPPED,
        "cancel()": State.ENDING,
    },
    State.PAUSED: {  # by its own step, which goes on
        "yields an awaitable": State.WAITING,
        "returns": State.FINISHED,
        "raises": State.FAILED,
        "raises CancelledError": State.CANCELLED,
        "pause()": State.PAUSED,
        "the last resume()": State.READY,
        "stop()": State.STOPPED,
        "cancel()": State.ENDING,
    },
    State.WAITING: {
        "the awaitable is done": State.READY,
        "the awaitable is done, while paused": State.PAUSED,
        "pause()": State.WAITING,
        "stop()": State.STOPPED,
        "cancel()": State.ENDING,
    },
    State.ENDING: {
        "yields a value": State.READY,
        "yields an awaitable": State.ENDING,
        "yields another awaitable": State.WAITING,
        "the awaitable is done": State.ENDING,
        "returns": State.FINISHED,
        "raises": State.FAILED,
        "raises CancelledError": State.CANCELLED,
        "pause()": State.ENDING,
        "stop()": State.STOPPED,
        "cancel()": State.ENDING,
    },
}
"""By state and event; `stop()` stands for the Cooperator's as well."""
