"""Who is next: seats in the order in which they are to have their turns.

Time is shared, not turns, in proportion to weights.

The rules, for tasks in a Cooperator, members of a group and Cooperators on a loop:

* Each seat has a *virtual time*: the seconds it has had, divided by its weight. The
  queue's own virtual time is their weighted mean, so that what some have had too much
  is always what others have had too little.
* Seats at most a *grain* above the mean stand in a **ring** and take turns in the
  order in which they came. Those further ahead wait in a **heap** until the mean has
  caught up with them.
* A **group** has one seat; what it has is shared among its members by the same rules.
* A seat that joins starts at the mean if it was below (it is owed nothing for the time
  it was away) and where it was if it was above (it keeps what it owes).
* What a seat owes is bounded by a second of its share: a process that was suspended,
  or a clock that jumps, keeps none out for longer than that.

A seat that leaves has its entry dropped when its turn comes, or when such stale
entries are the majority; so every operation costs at most the logarithm of the number
of seats. Turns are given in `_fairness`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any, ClassVar, Final, Generic, TypeVar

__all__ = ["GRAIN", "LONG", "UNIT", "Queue", "Seat"]

GRAIN: Final = 50e-6
"""Seconds of virtual time that never change the order: a few dozen cheap steps."""
LONG: Final = 0.02
"""Seconds for which a turn can always be charged, however small the seat's share is."""
UNIT: Final = 2**20
"""Weights are counted in parts of this, as integers: their sum is exact."""


class Seat:
    """A place in a Queue: how its turns are taken, and what it has had.

    A turn is the call `run(next)`, and what that returns is of no interest if it is of
    the class `plain`, but for being given to `keep`; or it is the call `burst()`, for
    seats that take several steps at a turn (`alone`: only while no other seat competes).
    """

    __slots__ = (
        "alone",
        "behind",
        "bursts",
        "credit",
        "keep",
        "next",
        "pace",
        "plain",
        "queue",
        "queued",
        "ready",
        "run",
        "single",
        "steps",
        "units",
        "virtual",
        "wanted",
    )

    next: Any
    run: Callable[[Any], Any]
    plain: type
    keep: Callable[[Any], object] | None

    def sit(self, queue: Queue[Any], weight: float = 1.0) -> None:
        """Take a place outside of `queue`, to join it later."""
        self.queue: Queue[Any] = queue
        self.virtual: float = 0.0  # seconds had, divided by the weight, and the credit
        self.behind: float = 0.0  # by how much it may be below the mean when it joins
        self.credit: float = 0.0  # virtual time that it was given without computing
        self.steps: int = 0
        self.ready: bool = False  # competes
        self.wanted: bool = False  # is to compete
        self.queued: bool = False  # has an entry in the ring or the heap, perhaps stale
        self.single: bool = False  # competes, and takes one step at a turn
        self.bursts: bool = False  # takes several steps at a turn
        self.alone: bool = False  # but only while no other seat competes
        if weight == 1.0:
            self.units: int = UNIT
            self.pace: float = 1.0
        else:
            self.weigh(weight)

    def weigh(self, weight: float) -> None:
        """Count with `weight`: within six orders of magnitude of 1, as an integer."""
        self.units = max(1, round(min(weight, float(UNIT)) * UNIT))
        self.pace = UNIT / self.units  # virtual seconds to a second

    @property
    def seconds(self) -> float:
        """The seconds that it has had."""
        return (self.virtual - self.credit) / self.pace

    def move(self) -> Seat | None:
        """Join the queue, or leave it, as is wanted; so does the group it stands for.

        Returns:
            The seat that is to be moved later: turns are being given in its queue, by a
            tick in one of whose steps another Cooperator ticks.
        """
        queue = self.queue
        if self.wanted is self.ready:
            return None
        if queue.is_served and (self.wanted or not queue.is_between):
            return self
        (queue.join if self.wanted else queue.leave)(self)
        return queue.follow() if queue.is_seat else None

    def charged(self, seconds: float) -> tuple[tuple[Seat, float], ...]:
        """Return to whom a turn of so many seconds was charged, and how much of it."""
        return ((self, seconds),)

    def burst(self, deadline: float, is_alone: bool) -> bool:  # noqa: FBT001
        """Take several steps, until `deadline`; tell whether turns end with this one."""
        raise NotImplementedError

    def settle(self, value: Any) -> None:
        """Deal with a value that is not of the class `plain`."""
        raise NotImplementedError

    def raised(self, error: BaseException) -> None:
        """Deal with what a turn has raised; what is to leave the loop is raised again."""
        raise NotImplementedError


S = TypeVar("S", bound=Seat)


class Queue(Generic[S]):
    """Seats, ordered by the rules of this module.

    A seat whose turn it is goes on competing (it weighs in the mean) until it `leave`s.
    """

    is_seat: ClassVar[bool] = False  # it is a seat itself, in another queue

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Be empty."""
        self.ring: deque[S] = deque()
        self.ahead: list[tuple[float, int, S]] = []
        self.count: int = 0  # of the seats that compete
        self.sum: float = 0.0  # of weight * virtual time over these
        self.is_served: bool = False  # the ring is being gone round
        self.is_between: bool = False  # but the books are right, and no step is going on
        self._units = 0  # the sum of the weights
        self._arrivals = 0  # ties in the heap go by age
        self._stale = 0
        self._last = 0.0  # the mean when the queue was last left empty

    # Who competes

    def mean(self) -> float:
        """Return the queue's virtual time in seconds."""
        return self.sum * UNIT / self._units if self.count else self._last

    def join(self, seat: S) -> None:
        """Let `seat` compete from now on."""
        mean = self.sum * UNIT / self._units if self.count else self._last
        least = mean - seat.behind
        if seat.virtual < least:
            seat.credit += least - seat.virtual
            seat.virtual = least
        seat.ready = seat.wanted = True
        seat.single = seat.alone or not seat.bursts
        self.count += 1
        self._units += seat.units
        self.sum += seat.virtual / seat.pace
        if seat.queued:
            self._stale -= 1  # it stands where it stood
        else:
            seat.queued = True
            self.put(seat)

    def leave(self, seat: S) -> None:
        """Take `seat` out of the competition; it keeps its virtual time."""
        self._last = self.sum * UNIT / self._units
        seat.ready = seat.wanted = seat.single = False
        self.count -= 1
        if self.count:
            self._units -= seat.units
            self.sum -= seat.virtual / seat.pace
        else:
            self._units = 0
            self.sum = 0.0
        self._stale += 1
        limit = 16 + len(self.ring) // 2 + len(self.ahead) // 2 if self.count else 0
        if self._stale > limit and not self.is_served:
            self._drop_stale()

    def _drop_stale(self) -> None:
        for seat in (*self.ring, *(entry[2] for entry in self.ahead)):
            if not seat.ready:
                self.drop(seat)
        standing = [seat for seat in self.ring if seat.ready]
        self.ring.clear()
        self.ring.extend(standing)
        self.ahead = [entry for entry in self.ahead if entry[2].ready]
        heapify(self.ahead)

    def drop(self, seat: S) -> None:
        """Forget the entry of a seat that has left."""
        seat.queued = False
        self._stale -= 1

    def reweigh(self, seat: S, weight: float) -> None:
        """Change the weight of a seat that may be competing; what it has had stays."""
        had = seat.seconds
        if seat.ready:
            self._units -= seat.units
            self.sum -= seat.virtual / seat.pace
        seat.weigh(weight)
        seat.credit = seat.virtual - had * seat.pace
        if seat.ready:
            self._units += seat.units
            self.sum += seat.virtual / seat.pace

    def follow(self) -> Seat | None:
        """Learn that a seat has joined or left; return what is to be moved later."""
        return None

    # Who is next

    def first(self) -> S | None:
        """Return the seat whose turn is next, or None when none competes."""
        ring = self.ring
        while ring or self.ahead:
            if self.ahead:
                self._let_in()
            if not ring:
                ring.append(heappop(self.ahead)[2])
            seat = ring[0]
            if seat.ready:
                return seat
            self.drop(ring.popleft())
        return None

    def take(self) -> S | None:
        """Hand out the seat whose turn is next; it is to be charged and put back."""
        seat = self.first()
        if seat is not None:
            self.ring.popleft()
        return seat

    def _let_in(self) -> None:
        """Let those into the ring that the mean has caught up with."""
        ahead = self.ahead
        edge = self.mean() + GRAIN
        while ahead and ahead[0][0] <= edge:
            self.ring.append(heappop(ahead)[2])

    def charge(self, seat: S, seconds: float) -> None:
        """Charge `seat` for so many seconds, but for no more than it can owe."""
        seat.virtual += seconds * seat.pace
        if seat.ready:
            self.sum += seconds
        if seconds > LONG:
            self.forgive(seat)

    def forgive(self, seat: S) -> None:
        """Bound what `seat` owes by a second of its share."""
        others = self._units - seat.units if seat.ready else self._units
        if others <= 0:
            return
        had = self.sum - seat.virtual / seat.pace if seat.ready else self.sum
        most = had * UNIT / others + max(UNIT / others, LONG * seat.pace)
        excess = seat.virtual - most
        if excess > 0:
            seat.virtual = most
            seat.credit -= excess
            if seat.ready:
                self.sum -= excess / seat.pace

    def put_back(self, seat: S) -> None:
        """Deal with a seat whose turn is over: give it a place, or drop it."""
        if seat.ready:
            self.put(seat)
        else:
            self.drop(seat)

    def put(self, seat: S) -> None:
        """Give `seat` a place, behind those whom the mean has caught up with."""
        if self.ahead:
            self._let_in()
        if seat.virtual > self.sum * UNIT / self._units + GRAIN:
            self._arrivals += 1
            heappush(self.ahead, (seat.virtual, self._arrivals, seat))
        else:
            self.ring.append(seat)
