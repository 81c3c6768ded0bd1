"""Giving turns: the one place where seats have them, and are charged for them.

`FairQueue.serve` gives turns in the order of `_seats`. There are two kinds:

* Seats that take **one step at a turn** are gone round in a loop of few lines, which is
  what a step costs. The ring stays as it is meanwhile, and the books are done when the
  loop is left; what a step has brought, if it is no plain value, is dealt with at once.
* Seats that take **several steps at a turn** have a `burst()`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import compress, cycle, islice, repeat
from math import inf
from operator import length_hint
from typing import Any, Final, Protocol, TypeVar

from cooperative_aio._changes import Changes
from cooperative_aio._seats import GRAIN, LONG, UNIT, Queue, Seat

__all__ = ["MOST", "NOTEWORTHY", "NOTHING", "FairQueue", "Server"]

NOTEWORTHY: Final = 0.001
"""Seconds of a turn in which the operating system may have let others run."""
MOST: Final = 1000
"""Turns after which one looks whether the clock stands still."""


class Nothing:
    """The class of what a step has brought that has raised: nobody's `plain`."""


NOTHING: Final = Nothing()

S = TypeVar("S", bound=Seat)


class Server(Protocol):
    """On whose behalf turns are given."""

    changes: Changes
    clock: Callable[[], float]
    notable: float  # seconds from which on a single step is to be noted
    steps: int

    def note_step(self, seat: Any, seconds: float) -> None:
        """Note a step that took so long."""


class FairQueue(Queue[S]):
    """A queue that gives turns to the seats that stand in it."""

    def begin(self) -> None:
        """Be empty."""
        super().begin()
        self.deadline: float = 0.0  # until when turns are given
        self.now: float = 0.0  # when the last turn was over
        self.still: int = 0  # turns since the clock has moved
        # To whom the longest turn of the last `serve` was charged, if it is noteworthy
        self.longest: tuple[tuple[Seat, float], ...] = ()
        # What is left of the turns of one round after the other that is going on
        self._left: repeat[int] | None = None
        self._most = 0

    def serve(
        self,
        server: Server,
        deadline: float,
        enough: Callable[[], object] | None = None,
    ) -> None:
        """Give turns until `deadline`, or until a turn or `enough()` ends that.

        Args:
            server: On whose behalf.
            deadline: By the server's clock, in seconds.
            enough: Asked after each turn.
        """
        changes = server.changes
        outer, changes.serving = changes.serving, True
        self.deadline = deadline
        self.now = server.clock()
        self.still = 0
        self.longest = ()
        if changes.moves:
            changes.settle()
        try:
            while (seat := self.first()) is not None:
                others = self.count > 1 or enough is not None
                if not seat.bursts or (seat.alone and others):
                    self._give_turns(server, 1 if enough is not None else MOST)
                    ends = self.still >= MOST
                else:
                    self.ring.popleft()
                    ends = self.give_burst(server, seat, is_alone=not others)
                if ends or self.now >= self.deadline or (enough is not None and enough()):
                    break
        finally:
            changes.serving = outer
            seat = None
            if not outer and changes.moves:
                changes.settle()

    # One step at a turn

    def _give_turns(self, server: Server, most: int) -> None:
        """Give turns of one step, round and round, until something else is to be done."""
        ring, changes, clock = self.ring, server.changes, server.clock
        moves = changes.moves
        long = min(server.notable, NOTEWORTHY)
        edge = self.mean() + GRAIN if self.count > 1 else inf
        began = booked = now = later = self.now
        until = self._until() if self.ahead else self.deadline
        seat: Any = None
        raised: BaseException | None = None
        self._most, self._left = most, repeat(1, most)
        self.is_served = True
        try:
            for seat in compress(cycle(ring), self._left):
                if not seat.single:
                    seat = None  # noqa: PLW2901
                    break
                changes.current = seat
                try:
                    value = seat.run(seat.next)
                except BaseException as error:  # noqa: BLE001
                    value, raised = NOTHING, error
                changes.current = None
                later = clock()
                seconds = later - now
                seat.virtual = virtual = seat.virtual + seconds * seat.pace
                if type(value) is not seat.plain:
                    self.sum += later - booked
                    booked = later
                    self._deal_with(seat, value, raised)
                    value = raised = None
                elif seat.keep is not None:
                    seat.keep(value)
                if virtual > edge or not 0.0 <= seconds <= long or later >= until or moves:
                    break
                now = later
        finally:
            changes.current = value = raised = None
            self._end_round(server, seat, began, booked, now, later)

    def _deal_with(self, seat: S, value: Any, raised: BaseException | None) -> None:
        """Have a seat deal with what its step has brought: it may leave, but none may join."""
        self.is_between = True
        try:
            if raised is not None:
                seat.raised(raised)
            else:
                seat.settle(value)
        finally:
            self.is_between = False
            del seat, value, raised

    def _until(self) -> float:
        """Return when to look again for those who are ahead."""
        gap = self.ahead[0][0] - GRAIN - self.mean()
        return min(self.deadline, self.now + gap * self._units / UNIT)

    def _end_round(
        self,
        server: Server,
        seat: S | None,
        began: float,
        booked: float,
        before: float,
        now: float,
    ) -> None:
        """Do the books of the turns that were given; the last seat has its place anew.

        Args:
            server: On whose behalf they were given.
            seat: Which has had the last one, if any has.
            began: When the first one began.
            booked: Until when the time has been added to the sum.
            before: When the last one began.
            now: When it was over.
        """
        turns = self._turns_given()
        self._left = None
        self.is_served = False
        if seat is None and turns:
            turns -= 1  # it was not given
        seconds = now - before
        if seconds < 0 and seat is not None:  # the clock was set back
            seat.virtual -= seconds * seat.pace
            self.deadline += seconds
            began += seconds
            booked += seconds
        self.now = now
        self.still = self.still + turns if now == began else 0
        self.sum += now - booked
        self._count_steps(turns)
        server.steps += turns
        self.ring.rotate(-turns)
        if seat is not None:
            self.ring.pop()
            if seconds > NOTEWORTHY:
                self._note_longest(seat, seconds)
        if server.changes.moves:
            server.changes.settle()
        if seat is not None:
            self.put_back(seat)
            if seconds > server.notable:
                server.note_step(seat, seconds)

    def _turns_given(self) -> int:
        """Return how many turns have begun in the round that is going on."""
        return 0 if self._left is None else self._most - length_hint(self._left)

    def _count_steps(self, turns: int) -> None:
        """Count the steps of so many turns, from the first in the ring on."""
        rounds, rest = divmod(turns, len(self.ring))
        if rounds:
            for seat in self.ring:
                seat.steps += rounds
        for seat in islice(self.ring, rest):
            seat.steps += 1

    def steps_of(self, seat: S) -> int:
        """Return how many steps a seat has taken, with the one that is going on."""
        turns = self._turns_given()
        if not turns:
            return seat.steps
        ring = self.ring
        position = (turns - 1) % len(ring)
        if ring[position] is not seat:  # it is not the one whose step is going on
            if seat not in ring:
                return seat.steps
            position = ring.index(seat)
        return seat.steps + -(-(turns - position) // len(ring))

    def _note_longest(self, seat: S, seconds: float) -> None:
        if not self.longest or seconds > self.longest[0][1]:
            self.longest = seat.charged(seconds)
        if seconds > LONG:
            self.forgive(seat)

    def refund(self, seconds: float) -> None:
        """Take back what the longest turn was charged for, as far as it goes."""
        for seat, lasted in self.longest:
            less = min(seconds, lasted)
            seat.virtual -= less * seat.pace
            if seat.ready:
                seat.queue.sum -= less

    def give_turn(self, server: Server, seat: S, *, in_hand: bool) -> None:
        """Give one turn of one step to a seat that does not stand in the ring.

        Args:
            server: On whose behalf.
            seat: Which one.
            in_hand: Whether it was taken from the ring, and is to be put back.
        """
        changes, clock = server.changes, server.clock
        value: Any = None
        raised: BaseException | None = None
        was_served = self.is_served
        self.is_served = in_hand or was_served  # what joins does so when it is over
        seat.steps += 1
        began = clock()
        changes.current = seat
        try:
            value = seat.run(seat.next)
        except BaseException as error:  # noqa: BLE001
            value, raised = NOTHING, error
        changes.current = None
        seconds = clock() - began
        self.is_served = was_served
        if seconds > 0:
            self.charge(seat, seconds)
        if seconds > NOTEWORTHY:
            self.longest = seat.charged(seconds)
        try:
            if type(value) is not seat.plain:
                self._deal_with(seat, value, raised)
            elif seat.keep is not None:
                seat.keep(value)
        finally:
            del value, raised
            if changes.moves:
                changes.settle()
            if in_hand:
                self.put_back(seat)
        if seconds > server.notable:
            server.note_step(seat, seconds)

    # Several steps at a turn

    def give_burst(self, server: Server, seat: S, *, is_alone: bool) -> bool:
        """Give one turn of several steps to a seat taken from the ring, and put it back.

        Returns:
            Whether turns end with it.
        """
        began = self.now
        steps = seat.steps
        ends = False
        try:
            ends = seat.burst(self.deadline, is_alone)
        finally:
            self.now = now = server.clock()
            if now < began:
                self.deadline += now - began
            self.still = self.still + 1 + seat.steps - steps if now == began else 0
            self.charge(seat, max(0.0, now - began))
            if now - began > NOTEWORTHY:
                self._note_longest(seat, now - began)
            if server.changes.moves:
                server.changes.settle()
            self.put_back(seat)
        return ends or self.still >= MOST
