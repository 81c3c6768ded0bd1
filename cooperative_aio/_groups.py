"""Groups: a seat in a queue that is itself the queue of its members."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from types import NoneType
from typing import Any

from cooperative_aio._checks import check_finite, quote
from cooperative_aio._fairness import MOST, NOTHING, FairQueue, Server
from cooperative_aio._seats import Seat

__all__ = ["Group", "Members"]


class Members(Seat, FairQueue[Any]):
    """One seat for the members of a group, which share what it has by the same rules.

    It competes while one of them is ready, and costs nothing to tasks without a group.

    Args:
        name: What tells it from the others.
        queue: The queue that it competes in.
        server: On whose behalf turns are given.
        weighted: Where it is remembered, once it has a weight of its own.
    """

    is_seat = True
    queue: FairQueue[Any]
    keep = None
    next = None
    plain = NoneType

    def __init__(
        self, name: Hashable, queue: FairQueue[Any], server: Server, weighted: set[Members]
    ) -> None:
        self.begin()
        self.sit(queue)
        self.bursts = self.alone = True
        self.name: Hashable = name
        self.weight: float = 1.0
        self._server = server
        self._weighted = weighted
        self._group: Callable[[], Group | None] = _nothing

    def run(self, _next: None) -> Any:
        """Have the member whose turn it is take one: that is a turn of the group's."""
        server, ring = self._server, self.ring
        server.changes.current = None  # what runs from here on is the core, not a step
        member = ring.popleft() if ring and ring[0].ready and not self.ahead else self.take()
        if member is None:  # pragma: no cover (a group without ready members has left)
            return None
        self.longest = ()
        if member.single:
            self.give_turn(server, member, in_hand=True)
            return None
        server.steps -= 1  # a turn of its own is counted as a step
        self.deadline, self.now, self.still = self.queue.deadline, server.clock(), 0
        self.give_burst(server, member, is_alone=False)
        return NOTHING if self.still >= MOST else None

    def settle(self, _value: object) -> None:
        """Have turns end: the clock stood still all through a member's."""
        self.queue.still = MOST
        self._server.changes.moves.append(None)  # so that it is looked at

    def raised(self, error: BaseException) -> None:
        """Raise what is to leave the loop; a member has taken it already."""
        try:
            raise error
        finally:
            del self, error

    def burst(self, deadline: float, is_alone: bool) -> bool:  # noqa: ARG002, FBT001
        """Have the members take turns until `deadline`: no other seat competes."""
        self.serve(self._server, deadline)
        return self.still >= MOST

    def charged(self, seconds: float) -> tuple[tuple[Seat, float], ...]:
        """Return that the group was charged so many seconds, and what of them a member was."""
        return ((self, seconds), *self.longest)

    def follow(self) -> Seat | None:
        """Compete while a member does; return what is to be moved later."""
        self.wanted: bool = self.count > 0
        return self.move()

    def group(self) -> Group:
        """Return what users hold, one at a time."""
        group = self._group()
        if group is None:
            group = Group(self)
            self._group = weakref.ref(group)
        return group

    def weigh_as(self, weight: float) -> None:
        """Change its weight, now or when the change that is going on is over."""
        self._server.changes.make(self._set_weight, weight)

    def _set_weight(self, weight: float) -> None:
        self.weight = weight
        self.queue.reweigh(self, weight)
        if weight == 1:
            self._weighted.discard(self)
        else:
            self._weighted.add(self)


class Group:
    """The tasks that share the time of one: what `Cooperator.group` and `task.group` return."""

    __slots__ = ("__weakref__", "_members")

    def __init__(self, members: Any) -> None:
        self._members: Members = members

    def __repr__(self) -> str:
        members = self._members
        return f"<Group {quote(members.name)} weight={members.weight!r} ready={members.count}>"

    @property
    def name(self) -> Hashable:
        """What tells it from the other groups of its Cooperator."""
        return self._members.name

    @property
    def weight(self) -> float:
        """Its part of the time, in proportion to other groups and tasks without one.

        Raises:
            TypeError: The weight that it is set to is not a number.
            ValueError: The weight that it is set to is not finite and above 0.
        """
        return self._members.weight

    @weight.setter
    def weight(self, weight: float) -> None:
        self._members.weigh_as(check_finite("weight", weight, positive=True))


def _nothing() -> None:
    """Stand in for the reference to a group before there was one."""
