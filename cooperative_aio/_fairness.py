"""Who goes next: a queue that shares time, not turns, in proportion to weights.

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
of seats. `FairQueue.serve` is the one place where turns are given and charged for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from heapq import heapify, heappop, heappush
from itertools import cycle
from typing import Any, Final, Generic, Protocol, TypeVar

from cooperative_aio._changes import Changes
from cooperative_aio._checks import check_finite

__all__ = ["GRAIN", "LONG", "MOST", "NOTEWORTHY", "FairQueue", "Group", "Seat", "Server"]

GRAIN: Final = 50e-6
"""Seconds of virtual time that never change the order: a few dozen cheap steps."""
LONG: Final = 0.02
"""Seconds for which a turn can always be charged, however small the seat's share is."""
NOTEWORTHY: Final = 0.001
"""Seconds of a turn in which the operating system may have let others run."""
MOST: Final = 1000
"""Turns after which one looks whether the clock stands still."""
UNIT: Final = 2**20
"""Weights are counted in parts of this, as integers: their sum is exact."""


class Seat:
    """A place in a FairQueue: how its turns are taken, and what it has had.

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

    def sit(self, queue: FairQueue[Any], weight: float = 1.0) -> None:
        """Take a place outside of `queue`, to join it later."""
        self.queue: FairQueue[Any] = queue
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
        if queue.is_served:
            return self
        (queue.join if self.wanted else queue.leave)(self)
        return queue.follow() if isinstance(queue, Group) else None

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


class Server(Protocol):
    """On whose behalf turns are given."""

    changes: Changes
    clock: Callable[[], float]
    notable: float  # seconds from which on a single step is to be noted
    steps: int

    def note_step(self, seat: Any, seconds: float) -> None:
        """Note a step that took so long."""


class FairQueue(Generic[S]):
    """Seats, ordered by the rules of this module.

    A seat whose turn it is goes on competing (it weighs in the mean) until it `leave`s.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Be empty."""
        self.ring: deque[S] = deque()
        self.ahead: list[tuple[float, int, S]] = []
        self.count: int = 0  # of the seats that compete
        self.sum: float = 0.0  # of weight * virtual time over these
        self.deadline: float = 0.0  # until when turns are given
        self.is_served: bool = False  # the ring is being gone round
        self._units = 0  # the sum of the weights
        self._arrivals = 0  # ties in the heap go by age
        self._stale = 0
        self._last = 0.0  # the mean when the queue was last left empty
        self.now: float = 0.0  # when the last turn was over
        self.longest: tuple[float, S] | None = None  # turn of the last `serve`, if noteworthy
        self._still = 0  # turns since the clock has moved

    # Who competes

    def mean(self) -> float:
        """Return the queue's virtual time in seconds."""
        return self.sum * UNIT / self._units if self.count else self._last

    def join(self, seat: S) -> None:
        """Let `seat` compete from now on."""
        least = self.mean() - seat.behind
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
        self._last = self.mean()
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
        if self._stale > limit:
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
            self._forgive(seat)

    def _forgive(self, seat: S) -> None:
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

    # Giving turns

    def serve(
        self,
        server: Server,
        deadline: float,
        enough: Callable[[], object] | None = None,
        most: int = MOST,
    ) -> None:
        """Give turns until `deadline`, or until a turn or `enough()` ends that.

        Args:
            server: On whose behalf.
            deadline: By the server's clock, in seconds.
            enough: Asked after each turn.
            most: 1 for a single turn.
        """
        changes = server.changes
        outer, changes.serving = changes.serving, True
        self.deadline = deadline
        self.now = server.clock()
        self._still = 0
        self.longest = None
        if changes.moves:
            changes.settle()
        try:
            while (seat := self.first()) is not None:
                others = self.count > 1 or enough is not None
                if not seat.bursts or (seat.alone and others):
                    self._give_turns(server, 1 if enough is not None else most)
                    ends = self._still >= MOST
                else:
                    ends = self._give_burst(server, seat, is_alone=not others and most > 1)
                if ends or most == 1 or self.now >= self.deadline:
                    break
                if enough is not None and enough():
                    break
        finally:
            changes.serving = outer
            seat = None
            if not outer and changes.moves:
                changes.settle()

    def _give_turns(self, server: Server, most: int) -> None:
        """Give turns of one step each, round and round, while nothing else is to be done.

        What this loop does is what a step costs: it iterates over the ring, which stays
        as it is meanwhile, and does the other books when it is left.
        """
        ring, changes, clock = self.ring, server.changes, server.clock
        moves = changes.moves
        long = min(server.notable, NOTEWORTHY)
        edge = self.mean() + GRAIN
        began = now = self.now
        until = self._until()
        seconds = 0.0
        turn = 0
        value: Any = None
        raised: BaseException | None = None
        is_strange = False  # the last value
        seat: Any = None
        self.is_served = True
        try:
            for turn, seat in zip(range(most), cycle(ring)):  # noqa: B007
                if not seat.single:
                    seat = None  # noqa: PLW2901
                    break
                seat.steps += 1
                changes.current = seat
                try:
                    value = seat.run(seat.next)
                except BaseException as error:  # noqa: BLE001
                    raised = error
                changes.current = None
                later = clock()
                seconds = later - now
                now = later
                seat.virtual = virtual = seat.virtual + seconds * seat.pace
                if type(value) is not seat.plain or raised is not None:
                    is_strange = True
                    break
                if value is not None and seat.keep is not None:
                    seat.keep(value)
                if virtual > edge or seconds > long or not began <= now < until or moves:
                    break
        finally:
            self.is_served = False
            changes.current = None
            turns = turn if seat is None else turn + 1
            self._book(server, seat, turns, began, now, seconds)
            self._finish(server, seat, value, raised, is_strange=is_strange)
            if seat is not None and seconds > server.notable:
                server.note_step(seat, seconds)
            seat = value = raised = None

    def _until(self) -> float:
        """Return when to look at the heap again: at the deadline, if nobody is ahead."""
        if not self.ahead:
            return self.deadline
        gap = self.ahead[0][0] - GRAIN - self.mean()
        return min(self.deadline, self.now + gap * self._units / UNIT)

    def _book(
        self, server: Server, seat: S | None, turns: int, began: float, now: float, last: float
    ) -> None:
        """Do the books of so many turns, and take the last seat out of the ring."""
        if seat is not None and last < 0:  # the clock was set back
            seat.virtual -= last * seat.pace
            self.deadline += last
            began += last
        self.now = now
        self._still = self._still + turns if now == began else 0
        self.sum += now - began
        server.steps += turns
        ring = self.ring
        if seat is None:
            ring.rotate(-turns)
            return
        ring.rotate(1 - turns)
        ring.popleft()
        if last > NOTEWORTHY:
            self._note_longest(seat, last)

    def _note_longest(self, seat: S, seconds: float) -> None:
        if self.longest is None or seconds > self.longest[0]:
            self.longest = (seconds, seat)
        if seconds > LONG:
            self._forgive(seat)

    def refund(self, seconds: float) -> None:
        """Take back what the longest turn was charged for, as far as it goes."""
        if self.longest is None:
            return
        lasted, seat = self.longest
        seconds = min(seconds, lasted)
        seat.virtual -= seconds * seat.pace
        if seat.ready:
            self.sum -= seconds
        if isinstance(seat, Group):
            FairQueue.refund(seat, seconds)

    def _finish(
        self,
        server: Server,
        seat: S | None,
        value: Any,
        raised: BaseException | None,
        *,
        is_strange: bool,
        in_hand: bool = True,
    ) -> None:
        """Deal with what the last turn has brought, and give the seat its place."""
        try:
            if seat is not None and is_strange:
                if raised is not None:
                    seat.raised(raised)
                else:
                    seat.settle(value)
        finally:
            del value, raised
            if server.changes.moves:
                server.changes.settle()
            if seat is not None and in_hand:
                self.put_back(seat)

    def give_turn(self, server: Server, seat: S, *, in_hand: bool) -> None:
        """Give one turn of one step to a seat that does not stand in the ring.

        Args:
            server: On whose behalf.
            seat: Which one.
            in_hand: Whether it was taken from the ring, and is to be put back.
        """
        changes = server.changes
        value: Any = None
        raised: BaseException | None = None
        began = server.clock()
        seat.steps += 1
        changes.current = seat
        self.is_served = in_hand or self.is_served  # who is made in it joins when it is over
        try:
            value = seat.run(seat.next)
        except BaseException as error:  # noqa: BLE001
            raised = error
        finally:
            self.is_served = not in_hand and self.is_served
        changes.current = None
        server.steps += 1
        seconds = max(0.0, server.clock() - began)
        self.charge(seat, seconds)
        if seconds > NOTEWORTHY:
            self.longest = (seconds, seat)
        is_strange = raised is not None or type(value) is not seat.plain
        if not is_strange and value is not None and seat.keep is not None:
            seat.keep(value)
        try:
            self._finish(server, seat, value, raised, is_strange=is_strange, in_hand=in_hand)
        finally:
            del value, raised
        if seconds > server.notable:
            server.note_step(seat, seconds)

    def _give_burst(self, server: Server, seat: S, *, is_alone: bool) -> bool:
        """Give one turn of several steps; tell whether turns end with it."""
        began = self.now
        steps = seat.steps
        ends = False
        self.ring.popleft()
        try:
            ends = seat.burst(self.deadline, is_alone)
        finally:
            self.now = now = server.clock()
            if now < began:
                self.deadline += now - began
            self._still = self._still + 1 + seat.steps - steps if now == began else 0
            self.charge(seat, max(0.0, now - began))
            if now - began > NOTEWORTHY:
                self._note_longest(seat, now - began)
            if server.changes.moves:
                server.changes.settle()
            self.put_back(seat)
        return ends or self._still >= MOST


class Group(Seat, FairQueue[Any]):
    """One seat for several tasks, which share what it has by the same rules.

    Made by `Cooperator.group`; it competes while one of its tasks is ready, and costs
    nothing to those without a group.

    Args:
        name: What tells it from the others.
        queue: The queue that it competes in.
        server: On whose behalf turns are given.
        weighted: Where it is remembered, once it has a weight of its own.
    """

    def __init__(
        self, name: Hashable, queue: FairQueue[Any], server: Server, weighted: set[Group]
    ) -> None:
        self.begin()
        self.sit(queue)
        self.bursts = True
        self.name: Hashable = name
        self._server = server
        self._weighted = weighted
        self._weight = 1.0

    def __repr__(self) -> str:
        return f"<Group {self.name!r} weight={self._weight!r} ready={self.count}>"

    def burst(self, deadline: float, is_alone: bool) -> bool:  # noqa: FBT001
        """Have a member take a turn, or all of them theirs until `deadline`."""
        member = None if is_alone else self.first()
        if member is None or member.bursts:
            self.serve(self._server, deadline, most=MOST if is_alone else 1)
            return self._still >= MOST
        self.ring.popleft()
        self.give_turn(self._server, member, in_hand=True)
        return False

    def follow(self) -> Seat | None:
        """Compete while a member does; return what is to be moved later."""
        self.wanted: bool = self.count > 0
        return self.move()

    @property
    def weight(self) -> float:
        """Its part of the time, in proportion to other groups and tasks without one.

        Raises:
            TypeError: The weight that it is set to is not a number.
            ValueError: The weight that it is set to is not finite and above 0.
        """
        return self._weight

    @weight.setter
    def weight(self, weight: float) -> None:
        weight = check_finite("weight", weight, positive=True)
        self._server.changes.make(self._set_weight, weight)

    def _set_weight(self, weight: float) -> None:
        self._weight = weight
        self.queue.reweigh(self, weight)
        if weight == 1:
            self._weighted.discard(self)
        else:
            self._weighted.add(self)
