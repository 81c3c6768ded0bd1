"""Who goes next: a queue that shares time, not turns, in proportion to weights.

The rules, which tasks in a Cooperator and Cooperators on a loop both follow:

* Each competitor has a *virtual time*: the seconds it has had, divided by its
  weight. The queue's own virtual time is their weighted mean, so that what some
  have had too much is always what others have had too little.
* Those at most a *grain* above the mean stand in a **ring** and take turns in
  the order in which they came. Those further ahead wait in a **heap** until the
  mean has caught up with them.
* A **group** competes as one; what it has is shared among its members by the same
  rules.
* Who joins starts at the mean if it was below (it is owed nothing for the time
  it was away) and where it was if it was above (it keeps what it owes).

Leaving leaves a stale entry behind, which is dropped when its turn comes, or
when stale entries are the majority; so every operation costs at most the
logarithm of the number of competitors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Any, Generic, Protocol, TypeVar

from cooperative_aio._errors import check_finite

__all__ = ["GRAIN", "Competitor", "Contender", "FairQueue", "Group", "effective_weight"]

GRAIN = 50e-6
"""Seconds of virtual time that never change the order: a few dozen cheap steps."""


class Competitor(Protocol):
    """What the queue keeps on those who stand in it."""

    _rate: float  # effective weight
    _virtual: float  # seconds had, divided by the rate, and what it was given on joining
    _given: float  # the latter
    _ready: bool  # competes now
    _queued: bool  # has an entry in the ring or the heap, perhaps a stale one


C = TypeVar("C", bound=Competitor)


def effective_weight(weight: float) -> float:
    """Return the weight to calculate with: within six orders of magnitude of 1.

    Beyond that the float arithmetic of virtual times would lose the others.
    """
    return min(max(weight, 1e-6), 1e6)


class FairQueue(Generic[C]):
    """Order competitors by the rules of this module.

    A competitor that was taken out for its turn goes on competing (it weighs in the
    mean) until it `leave()`s. After the turn it is to be charged.

    `ring`, `ahead`, `sum` and `count` are for reading, and for the loop of
    `_runner.Runner._tick`, which does some of this itself for speed.
    """

    __slots__ = ("_arrivals", "_last", "_stale", "_weight", "ahead", "count", "ring", "sum")

    def __init__(self) -> None:
        self.ring: deque[C] = deque()
        self.count: int = 0
        self.ahead: list[tuple[float, int, C]] = []
        self._arrivals = 0  # ties in the heap go by age
        self._stale = 0
        self.sum: float = 0.0  # of rate * virtual time over all who compete
        self._weight = 0.0  # of the rates of all who compete
        self._last = 0.0  # the mean when the queue was last left empty

    def mean(self) -> float:
        """Return the queue's virtual time in seconds."""
        return self.sum / self._weight if self.count else self._last

    def join(self, competitor: C) -> None:
        """Let `competitor` compete from now on."""
        virtual = max(competitor._virtual, self.mean())
        competitor._given += virtual - competitor._virtual
        competitor._virtual = virtual
        competitor._ready = True
        self.count += 1
        self._weight += competitor._rate
        self.sum += competitor._rate * virtual
        if competitor._queued:
            self._stale -= 1  # it stands where it stood
        else:
            competitor._queued = True
            self.put(competitor)

    def leave(self, competitor: C) -> None:
        """Take `competitor` out of the competition; it keeps its virtual time."""
        self._last = self.mean()
        competitor._ready = False
        self.count -= 1
        if self.count:
            self._weight -= competitor._rate
            self.sum -= competitor._rate * competitor._virtual
        else:
            self._weight = self.sum = 0.0
        self._stale += 1
        limit = 16 + len(self.ring) // 2 + len(self.ahead) // 2 if self.count else 0
        if self._stale > limit:
            self._drop_stale()

    def _drop_stale(self) -> None:
        for competitor in (*self.ring, *(entry[2] for entry in self.ahead)):
            if not competitor._ready:
                self.drop(competitor)
        standing = [competitor for competitor in self.ring if competitor._ready]
        self.ring.clear()
        self.ring.extend(standing)
        self.ahead = [entry for entry in self.ahead if entry[2]._ready]
        heapify(self.ahead)

    def set_rate(self, competitor: C, rate: float) -> None:
        """Change the weight of one who may be competing."""
        if competitor._ready:
            self._weight += rate - competitor._rate
            self.sum += (rate - competitor._rate) * competitor._virtual
        competitor._rate = rate

    def take(self) -> C:
        """Hand out the next in the ring, after those whom the mean has caught up with.

        It may have left: then it is to be dropped.

        Raises:
            IndexError: Nobody stands in the queue.
        """
        ahead = self.ahead
        while ahead and (not self.ring or ahead[0][0] <= self.mean() + GRAIN):
            self.ring.append(heappop(ahead)[2])
        return self.ring.popleft()

    def next(self) -> C | None:
        """Hand out the next competitor, or None when nobody stands in the queue."""
        while self.ring or self.ahead:
            competitor = self.take()
            if competitor._ready:
                return competitor
            self.drop(competitor)
        return None

    def drop(self, competitor: C) -> None:
        """Forget the entry of one who has left."""
        competitor._queued = False
        self._stale -= 1

    def charge(self, competitor: C, seconds: float) -> None:
        """Charge `competitor` for so many seconds of computing."""
        competitor._virtual += seconds / competitor._rate
        if competitor._ready:
            self.sum += seconds

    def put_back(self, competitor: C) -> None:
        """Deal with a competitor whose turn is over: give it a place, or drop it."""
        if competitor._ready:
            self.put(competitor)
        else:
            self.drop(competitor)

    def put(self, competitor: C) -> float:
        """Give `competitor` a place; return up to what virtual time that is in the ring.

        Those whom the mean has caught up with come first: they have waited for longer.
        """
        edge = self.sum / self._weight + GRAIN
        while self.ahead and self.ahead[0][0] <= edge:
            self.ring.append(heappop(self.ahead)[2])
        if competitor._virtual > edge:
            self._arrivals += 1
            heappush(self.ahead, (competitor._virtual, self._arrivals, competitor))
        else:
            self.ring.append(competitor)
        return edge


class Contender(Competitor, Protocol):
    """Who competes alone, or as the member of a group."""

    _group: Group | None


class Group:
    """Compete as one for several, who share what that brings by the same rules.

    Made by `Cooperator.group`; it stands in its Cooperator's queue while one of its
    tasks is ready, and costs nothing to those without a group.

    Args:
        name: What tells it from the others.
        siblings: The queue that it stands in.
        weighted: Where it is remembered, once it has a weight of its own.
    """

    __slots__ = (
        "__weakref__",
        "_given",
        "_queued",
        "_rate",
        "_ready",
        "_siblings",
        "_virtual",
        "_weight",
        "_weighted",
        "members",
        "name",
    )

    _per_turn = -2  # it takes no steps, its members do
    _group = None  # groups are not nested

    def __init__(self, name: Hashable, siblings: FairQueue[Any], weighted: set[Group]) -> None:
        self.name: Hashable = name
        self.members: FairQueue[Any] = FairQueue()
        self._siblings = siblings
        self._weighted = weighted
        self._weight = self._rate = 1.0
        self._virtual = self._given = 0.0
        self._ready = self._queued = False

    def __repr__(self) -> str:
        return f"<Group {self.name!r} weight={self._weight!r} ready={self.members.count}>"

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
        self._weight = check_finite("weight", weight, positive=True)
        self._siblings.set_rate(self, effective_weight(weight))
        if weight == 1:
            self._weighted.discard(self)
        else:
            self._weighted.add(self)
