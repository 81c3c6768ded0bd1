"""One change at a time: what keeps the core whole, whatever interrupts it.

A signal handler runs between any two bytecodes, a finalizer at any allocation, and both
may cancel, stop, pause or resume tasks; so may the code of a step, or of any callable
that a user gave. The rules:

* The core is **busy** while it changes anything of its own, ticks included.
* `current` is the task whose code runs: its step, or the closing of its generator. The
  core is whole then, so what that code asks for is done at once.
* Everything else that comes while the core is busy is **noted**, and done when what it
  has interrupted is over.
* A queue is never changed while turns are given from it: seats whose readiness has
  changed meanwhile are put down as **moves**, and are moved between two turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Protocol

__all__ = ["Changes", "call_all"]


class Movable(Protocol):
    """What joins or leaves its queue, or ends, when it is told to move."""

    def move(self) -> Movable | None:
        """Join or leave, as is wanted by now; return what cannot yet."""


class Changes:
    """What one loop's part of the core is doing, and what is to be done afterwards."""

    __slots__ = ("busy", "current", "leaving", "moves", "noted", "outer", "serving")

    def __init__(self) -> None:
        self.busy: bool = False
        self.current: Any = None
        self.outer: list[Any] = []  # whose code is interrupted by a change it has asked for
        self.serving: bool = False  # turns are being given
        self.leaving: BaseException | None = None  # is to be raised when the change is over
        self.noted: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self.moves: deque[Movable | None] = deque()  # None: something was noted

    def make(self, change: Callable[..., object], *args: Any) -> None:
        """Make a change now, or right after the one that this call has interrupted."""
        if self.busy and self.current is None:
            self.noted.append((change, args))
            self.moves.append(None)
            return
        leaving = self.leaving
        try:
            if self.busy:
                self._make_within(change, args)
            else:
                self.busy = True
                try:
                    change(*args)
                finally:
                    self.busy = False
        finally:
            del change, args  # what is raised refers to this frame
            if self.noted:
                self._catch_up()
            if self.leaving is not leaving:
                self._leave()

    def is_running(self, seat: Any) -> bool:
        """Tell whether a seat's code is running, below whatever else is."""
        return seat is self.current or seat in self.outer

    def call(self, seat: Any, function: Callable[[], object]) -> None:
        """Run code of a seat's, outside of a turn, in the middle of a change."""
        self.current = seat
        try:
            function()
        finally:
            self.current = None

    def settle(self) -> None:
        """Do all that was put down, between two turns."""
        if self.noted:
            self._catch_up()
        moves = self.moves
        later: list[Movable] = []
        while moves:
            seat = moves.popleft()
            unmoved = None if seat is None else seat.move()
            if unmoved is not None:
                later.append(unmoved)
        moves.extend(later)

    def _make_within(self, change: Callable[..., object], args: tuple[Any, ...]) -> None:
        busy, current = self.busy, self.current
        self.busy = True
        if current is not None:
            self.outer.append(current)
            self.current = None
        try:
            change(*args)
        finally:
            del change, args
            if current is not None:
                self.outer.pop()
                self.current = current
            self.busy = busy

    def _leave(self) -> None:
        error, self.leaving = self.leaving, None
        try:
            raise error  # type: ignore[misc]
        finally:
            del self, error

    def _catch_up(self) -> None:
        """Make what was noted; one change that raises does not keep the others from it."""
        call_all(self._take_noted())

    def _take_noted(self) -> Iterator[Callable[[], object]]:
        while self.noted:
            yield partial(self._make_within, *self.noted.popleft())


def call_all(calls: Iterable[Callable[[], object]]) -> None:
    """Make all of the calls; then raise what the last one that has failed has raised."""
    raised: BaseException | None = None
    for call in calls:
        try:
            call()
        except BaseException as error:  # noqa: BLE001
            raised = error
    if raised is not None:
        try:
            raise raised
        finally:
            del raised, call, calls  # it refers to this frame
