"""What a place tells of itself, and which places there are."""

from __future__ import annotations

import asyncio
import os
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

__all__ = ["PlaceFigures", "WorkerFigures", "enter", "leave", "memory_of", "places_on"]


@dataclass(frozen=True, slots=True)
class WorkerFigures:
    """One worker of a place: an element of `PlaceFigures.workers`."""

    pid: int | None
    """The number of its process; None while it starts."""
    busy: bool
    """Whether a generator runs in it, or it starts for one."""
    memory: int | None
    """Bytes of memory that its process has in use; None where the system does not tell (only
    Linux does), and for interpreters, which share the memory of this process."""


@dataclass(frozen=True, slots=True)
class PlaceFigures:
    """What a place does at one moment: what its `figures()` returns."""

    name: str
    """What messages call the place."""
    limit: int
    """How many generators can run at the same time."""
    running: int
    """Generators that have a place to run, closing included."""
    queued: int
    """Generators that wait until one of the others has ended."""
    ended: int
    """Generators that have ended, however that was."""
    deaths: int
    """Workers that died, were killed because a generator did not end in time, or were left to
    themselves: a thread, an interpreter or a Dask worker cannot be killed."""
    workers: tuple[WorkerFigures, ...]
    """The workers that there are now; empty for threads and Dask."""


class Entered(Protocol):
    """A place in its context."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop on which it was entered."""

    def figures(self) -> PlaceFigures:
        """Return what it does."""
        ...


_entered: Final[list[weakref.ref[Entered]]] = []  # copied at once, since any thread may ask


def enter(place: Entered) -> None:
    """Let `places_on` find a place, until it is left or dropped."""
    _entered.append(weakref.ref(place, _entered.remove))


def leave(place: Entered) -> None:
    """Let `places_on` find it no more."""
    _entered[:] = [one for one in _entered if one() is not place]


def places_on(loop: asyncio.AbstractEventLoop) -> list[Entered]:
    """Return the places that are entered on a loop, in the order in which they were."""
    places = [reference() for reference in tuple(_entered)]
    return [place for place in places if place is not None and place.loop is loop]


def memory_of(pid: int | None) -> int | None:
    """Return the bytes of memory that a process has in use, where the system tells."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return None
