"""When to compute: time slices, and the one pacer that every loop has.

A **slice** is a stretch of computing on the loop. After a slice the pacer
**stands back**: it takes no further one before the loop has been *quiet*, that
is, before several turns in a row in which nothing else ran, or before
`max_wait` has passed. A request that needs ten turns of the loop so waits for
about one slice, not ten.

The rules:

* A turn is quiet when it lasts at most `_Gauge.TOLERANCE` times the shortest of
  the last half second: the gauge measures the machine as it runs. A busy loop is
  not mistaken for a slow machine, because on a slow machine most turns are alike.
* Quiet turns must follow each other for `QUIET_SHARE` of a slice (so that is the
  price on an idle loop), and for `BUSY_SHARE` once something else was seen to
  run; there must be `UNDISTURBED_TURNS` of them, or `QUIET_TURNS` where something else
  has run lately. A turn that is not quiet starts the count again.
* After a wait that ended without quiet the next ones are half as long, until one
  ends in quiet: on a saturated loop the work keeps a third of the time.
* Who comes when nobody waits continues the last slice, if that was not used up;
  after `max_wait` it has a new one.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Callable
from contextvars import Context
from dataclasses import KW_ONLY, dataclass
from typing import Protocol

from cooperative_aio._changes import Changes
from cooperative_aio._checks import check_finite
from cooperative_aio._host import IN_WEBASSEMBLY
from cooperative_aio._seats import Queue, Seat
from cooperative_aio._turns import LateTurn, LateTurns

__all__ = ["Lease", "Member", "Pacer", "TimeSlice"]

QUIET_SHARE = 0.006
BUSY_SHARE = 0.03
QUIET_TURNS = 8  # at least
UNDISTURBED_TURNS = 4  # at least, when nothing else ran in this wait and the one before
ROUNDING = 1e-9  # seconds of a slice that are as good as none
QUIET_TURNS_ENOUGH = 256  # whatever the clock says: it may be standing still


@dataclass(frozen=True, slots=True)
class TimeSlice:
    """How long to compute at a time, and how long to stand back in between.

        background = Cooperator(time_slice=TimeSlice(0.001, max_wait=0.05, share=0.5))

    Args:
        seconds: How many seconds a slice lasts. A single step may take longer.
        max_wait: How many seconds to stand back at most, on a loop that is never
            quiet (and half of that from the second time in a row on). A larger value
            favours the rest of the program, a smaller one the computing. 0 takes a slice
            on every turn of the loop, as Twisted's Cooperator does.
        share: The largest part of the loop's time that may be taken, above 0 and up
            to 1, even when nothing else needs it.

    Raises:
        TypeError: A value is not a number.
        ValueError: A value is out of range.
    """

    seconds: float = 0.005 if IN_WEBASSEMBLY else 0.002
    _: KW_ONLY
    max_wait: float = 0.02 if IN_WEBASSEMBLY else 0.01
    share: float = 1.0

    def __post_init__(self) -> None:
        check_finite("seconds", self.seconds, positive=True)
        check_finite("max_wait", self.max_wait, positive=False)
        check_finite("share", self.share, positive=True)
        if self.share > 1:
            raise ValueError(f"share must be above 0 and at most 1, got {self.share!r}")


class Lease(Protocol):
    """The hold of the slice from outside of a tick: of code that awaited `checkpoint()`."""

    def begin(self) -> None:
        """Wake the code up; it may run until the pacer's `deadline`."""

    def end(self, seconds: float) -> None:
        """Learn that the code has run for `seconds`."""


class Loop(Protocol):
    """What the pacer needs of the loop that it paces."""

    changes: Changes
    clock: Callable[[], float]
    context: Context
    deadline: float  # until when the code that holds the lease may run
    late_turns: LateTurns | None  # in a browser

    def lend(self, deadline: float) -> None:
        """Let the code that holds the lease run until `deadline`."""

    def call_soon(self, callback: Callable[..., object], *args: object) -> asyncio.Handle:
        """Have the loop call."""

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: object
    ) -> asyncio.TimerHandle:
        """Have the loop call after `delay` seconds."""


class Member(Seat):
    """One participant in the pacer's queue; all of them share the loop equally.

    Args:
        queue: The pacer's.
        run_slice: Computes for the seconds that it is given; tells how long that
            took, and what is to run next, if it came upon a lease.
        time_slice: How long and how politely to compute.
    """

    __slots__ = ("free_at", "run_slice", "throttle", "time_slice")

    def __init__(
        self,
        queue: Queue[Member],
        run_slice: Callable[[float], tuple[float, Lease | None]],
        time_slice: TimeSlice,
    ) -> None:
        self.sit(queue)
        self.run_slice: Callable[[float], tuple[float, Lease | None]] = run_slice
        self.time_slice: TimeSlice = time_slice
        self.free_at: float = -math.inf  # when its share of the loop allows the next slice
        self.throttle: asyncio.TimerHandle | None = None  # what waits for that


class _Gauge:
    """Tell quiet turns of the loop from others by how long they last."""

    __slots__ = ("_alike", "_floor", "_lowest", "_rolls_at", "_turns")

    TOLERANCE = 2.0
    WINDOW = 0.25  # seconds; a slower machine is known after two of them
    ENOUGH = 64  # turns to judge a window by

    def __init__(self) -> None:
        self._floor = self._lowest = float("inf")
        self._turns = self._alike = 0
        self._rolls_at = 0.0

    def is_quiet(self, lasted: float, now: float) -> bool:
        """Judge a turn that lasted so many seconds and learn from it."""
        self._turns += 1
        self._lowest = min(self._lowest, lasted)
        if lasted <= self.TOLERANCE * self._lowest:
            self._alike += 1
        if now >= self._rolls_at and self._turns >= self.ENOUGH:
            self._roll(now)
        return lasted <= self.TOLERANCE * min(self._floor, self._lowest)

    def _roll(self, now: float) -> None:
        if self._lowest < self._floor or 4 * self._alike > 3 * self._turns:
            self._floor = self._lowest
        self._lowest = float("inf")
        self._turns = self._alike = 0
        self._rolls_at = now + self.WINDOW


class Pacer:
    """Share one loop between those who compute and everybody else; each loop has one."""

    __slots__ = (
        "_changes",
        "_clock",
        "_disturbed",
        "_gauge",
        "_handle",
        "_in_turn",
        "_in_vain",
        "_lease",
        "_loop",
        "_mark",
        "_number",
        "_quiet_since",
        "_quiet_turns",
        "_slice_ended",
        "_slice_left",
        "_standing_back",
        "_was_disturbed",
        "queue",
    )

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._changes = loop.changes
        self._clock = loop.clock
        self.queue: Queue[Member] = Queue()
        self._gauge = _Gauge()
        self._handle: asyncio.Handle | LateTurn | None = None  # of the next turn
        self._number = 0  # of the turn that is scheduled
        self._in_turn = False
        self._lease: tuple[Lease, Member, float] | None = None  # and when it began
        self._slice_left = 0.0  # seconds
        self._slice_ended = -math.inf
        self._standing_back = False
        self._mark = 0.0  # when the pacer last let go of the loop
        self._quiet_since = 0.0
        self._quiet_turns = 0
        self._disturbed = False  # something else was seen to run in this wait
        self._was_disturbed = False  # or in the one before
        self._in_vain = False  # the last wait has ended without quiet

    # Joining and leaving

    def request(self, member: Member) -> None:
        """Give `member` slices from now on, in competition with the others."""
        now = self._clock()
        if member.free_at > now:
            member.throttle = self._loop.call_later(
                member.free_at - now, self._changes.make, self._admit, member
            )
        else:
            member.free_at = now
            self._admit(member)

    def _admit(self, member: Member) -> None:
        """Let `member` compete; what its timer came early is part of its next pause."""
        member.throttle = None
        self.queue.join(member)
        if self._handle is None and not self._in_turn:
            self._stand_back_if(used_up=self._used_up(member.time_slice))
            self._schedule()

    def withdraw(self, member: Member) -> None:
        """Give `member` no more slices until it asks again."""
        if member.throttle is not None:
            member.throttle.cancel()
            member.throttle = None
        if member.ready:
            self.queue.leave(member)
            if not self.queue.count and self._lease is None and self._handle is not None:
                self._handle.cancel()
                self._handle = None

    def open(self, lease: Lease, member: Member) -> bool:
        """Let `lease` have what is left of the slice, if nobody waits for that."""
        if self._handle is not None or self._in_turn or self._used_up(member.time_slice):
            return False
        self._grant(lease, member, self._clock())
        self._schedule()
        return True

    def _used_up(self, time_slice: TimeSlice) -> bool:
        """Tell whether the last slice is; long after it a new one begins."""
        now = self._clock()
        if self._loop.deadline > -math.inf:  # it was lent, and has gone on by the clock
            self._slice_left = self._loop.deadline - now
            self._slice_ended = min(self._loop.deadline, now)
            self._loop.lend(-math.inf)
        if now - self._slice_ended >= time_slice.max_wait:
            self._slice_left = time_slice.seconds
        return self._slice_left <= ROUNDING

    def turn_so_far(self) -> float:
        """Return for how many seconds what runs now may have run without paying.

        That is, since the pacer let go of the loop, if it waits for its turn; who
        holds a lease pays for that.
        """
        is_waiting = self._handle is not None and self._lease is None
        return self._clock() - self._mark if is_waiting else 0.0

    # One turn of the loop: stand back, take a slice, or end a lease

    def _schedule(self) -> None:
        self._number += 1
        late_turns = self._loop.late_turns
        if late_turns is not None and self._standing_back and self._lease is None:
            turn = functools.partial(self._changes.make, self._turn, self._number)
            self._handle = late_turns.call(turn, self._loop.context)
        else:
            self._handle = self._loop.call_soon(self._changes.make, self._turn, self._number)
        self._mark = self._clock()

    def _schedule_if_needed(self) -> None:
        if self._handle is None and (self.queue.count or self._lease is not None):
            self._schedule()

    def _turn(self, number: int) -> None:
        if number != self._number or self._handle is None:
            return  # it was taken back by what has interrupted the beginning of this
        self._handle = None
        self._in_turn = True
        now = self._clock()
        try:
            if self._lease is not None:
                self._end_lease(now)
            else:
                self._take_turn(now)
        finally:
            self._in_turn = False
            self._schedule_if_needed()

    def _take_turn(self, now: float) -> None:
        member = self.queue.first()
        assert member is not None  # noqa: S101 (else there would be no turn)
        if self._standing_back:
            if not self._stood_back(member.time_slice, now):
                return
            self._slice_left = member.time_slice.seconds
        self.queue.take()
        self._run(member, now)

    def _run(self, member: Member, now: float) -> None:
        used, lease = 0.0, None
        try:
            used, lease = member.run_slice(min(self._slice_left, member.time_slice.seconds))
        finally:
            ended = self._clock()
            used = used or ended - now  # a step raised KeyboardInterrupt, say
            self._slice_over(member, used, ended)
            self.queue.put_back(member)
        if lease is not None:
            self._grant(lease, member, ended)
        elif member.time_slice.share < 1:
            self._account(member, used, now)

    def _slice_over(self, member: Member, used: float, now: float) -> None:
        self.queue.charge(member, used)
        self._slice_left -= used
        self._slice_ended = now
        self._stand_back_if(used_up=self._slice_left <= ROUNDING)

    def _account(self, member: Member, used: float, began: float) -> None:
        """Note when `member` may compute again if it is to keep to its share.

        What a timer comes late is made good for, up to the length of a slice.
        """
        latest = began - member.time_slice.seconds
        member.free_at = max(member.free_at, latest) + used / member.time_slice.share
        if member.ready:
            self.withdraw(member)
            self.request(member)

    # Leases

    def _grant(self, lease: Lease, member: Member, now: float) -> None:
        self._lease = (lease, member, now)
        self._loop.lend(now + min(self._slice_left, member.time_slice.seconds))
        lease.begin()

    def _end_lease(self, now: float) -> None:
        assert self._lease is not None  # noqa: S101 (for the type checker)
        lease, member, began = self._lease
        self._lease = None
        lease.end(now - began)
        if self.queue.count:
            self._loop.lend(-math.inf)
            self._slice_over(member, now - began, now)
        else:
            self.queue.charge(member, now - began)

    # Standing back

    def _stand_back_if(self, *, used_up: bool) -> None:
        if self._standing_back:
            self._was_disturbed = self._disturbed
        self._standing_back = used_up
        self._disturbed = False
        self._quiet_turns = 0
        self._quiet_since = self._clock()

    def _stood_back(self, time_slice: TimeSlice, now: float) -> bool:
        """Learn from the turn that has just passed; tell whether it was enough."""
        late_turns = self._loop.late_turns
        if late_turns is not None:
            if late_turns.quiet:
                self._in_vain = False
                return True
        elif self._gauge.is_quiet(now - self._mark, now):
            self._quiet_turns += 1
        else:
            self._disturbed = True
            self._quiet_turns = 0
            self._quiet_since = now
        patience = time_slice.max_wait / 2 if self._in_vain else time_slice.max_wait
        if now - self._slice_ended >= patience:
            self._in_vain = True
            return True
        is_disturbed = self._disturbed or self._was_disturbed
        if self._quiet_turns < (QUIET_TURNS if is_disturbed else UNDISTURBED_TURNS):
            return False
        wanted = time_slice.seconds * (BUSY_SHARE if self._disturbed else QUIET_SHARE)
        if now - self._quiet_since < wanted and self._quiet_turns < QUIET_TURNS_ENOUGH:
            return False
        self._in_vain = False
        return True
