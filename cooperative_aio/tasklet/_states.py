"""The states of a tasklet and the moves between them."""

from __future__ import annotations

from enum import IntEnum


class State(IntEnum):
    """What a tasklet is doing; the numbers are Kiwi's."""

    RUNNING = 0
    """Its generator is executing code."""
    SUSPENDED = 1
    """It waits for an event, or to be started."""
    MSGSEND = 2
    """It is sending a message; what is sent to it meanwhile is queued."""
    ZOMBIE = 3
    """Its generator has ended."""


# A tasklet is made SUSPENDED. Each resumption makes it RUNNING. What it yields
# decides what comes next: a message MSGSEND, anything to wait for (and a mistake,
# which is thrown back at it) SUSPENDED; returning or raising makes it a ZOMBIE. The
# end of the loop makes one of whatever is left.
MOVES: tuple[tuple[State, ...], ...] = (
    (State.SUSPENDED, State.MSGSEND, State.ZOMBIE),  # from RUNNING
    (State.RUNNING, State.ZOMBIE),  # from SUSPENDED
    (State.RUNNING, State.ZOMBIE),  # from MSGSEND
    (),  # from ZOMBIE
)


def check_move(old: State, new: State) -> None:
    """Refuse a move that the table does not have.

    Raises:
        RuntimeError: The tasklet cannot get from `old` to `new`.
    """
    if new not in MOVES[old]:
        raise RuntimeError(f"cannot make a {old.name} tasklet {new.name}")
