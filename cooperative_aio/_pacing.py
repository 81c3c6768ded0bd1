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
  run; a turn that is not quiet starts the count again.
* After a wait that ended without quiet the next ones are half as long, until one
  ends in quiet: on a saturated loop the work keeps a third of the time.
* Who comes when nobody waits continues the last slice, if that was not used up;
  after `max_wait` it has a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
import weakref
from collections.abc import AsyncGenerator, Callable
from contextvars import Context
from dataclasses import KW_ONLY, dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from cooperative_aio._errors import check_finite
from cooperative_aio._fairness import Contender, FairQueue
from cooperative_aio._turns import LateTurn, late_turns_of

__all__ = ["Lease", "Member", "Pacer", "TimeSlice", "pacer_of"]

QUIET_SHARE = 0.006
BUSY_SHARE = 0.03
QUIET_TURNS = 8  # at least
ROUNDING = 1e-9  # seconds of a slice that are as good as none
QUIET_TURNS_ENOUGH = 256  # whatever the clock says: it may be standing still


@dataclass(frozen=True, slots=True)
class TimeSlice:
    """Say how long to compute at a time, and how politely to wait in between.

    Args:
        seconds: How many seconds a slice lasts. A single step may outlast it.
        max_wait: How many seconds to stand back at most, on a loop that is never
            quiet (and half of that from the second time in a row on). More favours
            the requests, less the computing; 0 takes a slice on every turn of the
            loop, as Twisted's Cooperator does.
        share: The part of the loop's time that is taken at most, above 0 and up
            to 1, also when nobody else wants it.

    Raises:
        TypeError: A value is not a number.
        ValueError: A value is out of range.
    """

    seconds: float = 0.005
    _: KW_ONLY
    max_wait: float = 0.02
    share: float = 1.0

    def __post_init__(self) -> None:
        check_finite("seconds", self.seconds, positive=True)
        check_finite("max_wait", self.max_wait, positive=False)
        check_finite("share", self.share, positive=True)
        if self.share > 1:
            raise ValueError(f"share must be above 0 and at most 1, got {self.share!r}")


class Lease(Contender, Protocol):
    """Hold the slice from outside of a tick: code that awaited `checkpoint()`."""

    def begin(self) -> None:
        """Wake the code up; it may run until the pacer's `deadline`."""

    def end(self, seconds: float) -> None:
        """Learn that the code has run for `seconds`."""

    async def wait(self) -> None:
        """Compete for the slice, and return when it is this one's.

        Cancellation: leaves the competition.
        """


class Stepper(Protocol):
    """Step tasks."""

    @property
    def stepping(self) -> object:
        """The task whose step is running."""


class Member:
    """Stand for one who computes on the loop; all members share it equally.

    Args:
        run_slice: Computes for the seconds that it is given; tells how long that
            took, and what is to run next, if it came upon a lease.
        time_slice: How long and how politely to compute.
    """

    __slots__ = (
        "_free_at",
        "_given",
        "_queued",
        "_rate",
        "_ready",
        "_throttle",
        "_virtual",
        "run_slice",
        "time_slice",
    )

    def __init__(
        self, run_slice: Callable[[float], tuple[float, Lease | None]], time_slice: TimeSlice
    ) -> None:
        self.run_slice: Callable[[float], tuple[float, Lease | None]] = run_slice
        self.time_slice: TimeSlice = time_slice
        self._rate = 1.0
        self._virtual = self._given = 0.0
        self._ready = self._queued = False
        self._free_at = -math.inf  # when its share of the loop allows the next slice
        self._throttle: asyncio.TimerHandle | None = None  # what waits for that


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
    """Share one loop between those who compute and everybody else.

    There is one for each loop, and it lives as long as that: see `pacer_of`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop_ref = weakref.ref(loop)
        self.clock: Callable[[], float] = getattr(loop, "perf_counter", time.perf_counter)
        # Callbacks of the package run in a context of their own, so that none
        # keeps alive what the context of a passing request refers to.
        self.context: Context = Context()
        self.cooperator: object = None  # the loop's own: see get_cooperator()
        self.stepper: Stepper | None = None  # whose tick is going on
        self.leases: WeakKeyDictionary[asyncio.Task[Any], Lease] = WeakKeyDictionary()
        self.closing: object = None  # the task whose generator is being closed
        self.deadline: float = -math.inf  # until when the code that holds the lease may run
        self.on_shutdown: set[Callable[[], None]] = set()
        self._guard: AsyncGenerator[None, None] | None = None
        self._gauge = _Gauge()
        self._late_turns = late_turns_of(loop)
        self._queue: FairQueue[Member] = FairQueue()
        self._handle: asyncio.Handle | LateTurn | None = None  # of the next turn
        self._in_turn = False
        self._next: Member | None = None  # who has the next slice
        self._lease: tuple[Lease, Member, float] | None = None  # and when it began
        self._slice_left = 0.0  # seconds
        self._slice_ended = -math.inf
        self._standing_back = False
        self._mark = 0.0  # when the pacer last let go of the loop
        self._quiet_since = 0.0
        self._quiet_turns = 0
        self._disturbed = False
        self._in_vain = False  # the last wait has ended without quiet

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it paces, and is owned by."""
        loop = self._loop_ref()
        assert loop is not None  # noqa: S101 (who asks has a future of that loop)
        return loop

    def call_soon(self, callback: Callable[..., object], *args: object) -> asyncio.Handle:
        """Have the loop call, in the package's own context."""
        return self.loop.call_soon(callback, *args, context=self.context)

    def watch_shutdown(self) -> None:
        """See to it that `on_shutdown` is called before the loop is closed.

        `asyncio.run` cancels asyncio's tasks, of which ours are none; but it also
        closes the async generators that were begun on the loop, so begin one.
        """
        if self._guard is None:
            self._guard = self._until_shutdown()
            with contextlib.suppress(StopIteration):
                self._guard.asend(None).send(None)

    @property
    def current(self) -> object:
        """The task whose step is running, or whose generator is being closed."""
        if self.closing is not None:
            return self.closing
        return self.stepper.stepping if self.stepper is not None else None

    async def _until_shutdown(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            for callback in tuple(self.on_shutdown):
                callback()

    # Joining and leaving

    def request(self, member: Member) -> None:
        """Give `member` slices from now on, in competition with the others."""
        now = self.clock()
        if member._free_at > now:
            member._throttle = self.loop.call_later(
                member._free_at - now, self._admit, member, context=self.context
            )
        else:
            member._free_at = now
            self._admit(member)

    def _admit(self, member: Member) -> None:
        """Let `member` compete; what its timer came early is part of its next pause."""
        member._throttle = None
        self._queue.join(member)
        if self._handle is None and not self._in_turn:
            self._stand_back_if(self._used_up(member.time_slice))
            self._schedule()

    def withdraw(self, member: Member) -> None:
        """Give `member` no more slices until it asks again."""
        if member._throttle is not None:
            member._throttle.cancel()
            member._throttle = None
        if member._ready:
            if self._next is member:
                self._next = None
                self._queue.put(member)
            self._queue.leave(member)
            if not self._queue.count and self._lease is None and self._handle is not None:
                self._handle.cancel()
                self._handle = None

    def open(self, lease: Lease, member: Member) -> bool:
        """Let `lease` have what is left of the slice, if nobody waits for that."""
        if self._handle is not None or self._in_turn or self._used_up(member.time_slice):
            return False
        self._grant(lease, member, self.clock())
        self._schedule()
        return True

    def _used_up(self, time_slice: TimeSlice) -> bool:
        """Tell whether the last slice is; long after it a new one begins."""
        now = self.clock()
        if self.deadline > -math.inf:  # it was lent, and has gone on by the clock
            self._slice_left = self.deadline - now
            self._slice_ended = min(self.deadline, now)
            self.deadline = -math.inf
        if now - self._slice_ended >= time_slice.max_wait:
            self._slice_left = time_slice.seconds
        return self._slice_left <= ROUNDING

    def turn_so_far(self) -> float:
        """Return for how many seconds what runs now may have run without paying.

        That is, since the pacer let go of the loop, if it waits for its turn; who
        holds a lease pays for that.
        """
        is_waiting = self._handle is not None and self._lease is None
        return self.clock() - self._mark if is_waiting else 0.0

    # One turn of the loop: stand back, take a slice, or end a lease

    def _schedule(self) -> None:
        if self._late_turns is not None and self._standing_back and self._lease is None:
            self._handle = self._late_turns.call(self._turn, self.context)
        else:
            self._handle = self.call_soon(self._turn)
        self._mark = self.clock()

    def _schedule_if_needed(self) -> None:
        if self._handle is None and (self._queue.count or self._lease is not None):
            self._schedule()

    def _turn(self) -> None:
        self._handle = None
        self._in_turn = True
        now = self.clock()
        try:
            if self._lease is not None:
                self._end_lease(now)
            else:
                self._take_turn(now)
        finally:
            self._in_turn = False
            self._schedule_if_needed()

    def _take_turn(self, now: float) -> None:
        if self._next is None:
            self._next = self._queue.next()
        member = self._next
        assert member is not None  # noqa: S101 (else there would be no turn)
        if self._standing_back:
            if not self._stood_back(member.time_slice, now):
                return
            self._slice_left = member.time_slice.seconds
        self._next = None
        self._run(member, now)

    def _run(self, member: Member, now: float) -> None:
        used, lease = 0.0, None
        try:
            used, lease = member.run_slice(min(self._slice_left, member.time_slice.seconds))
        finally:
            ended = self.clock()
            used = used or ended - now  # a step raised KeyboardInterrupt, say
            self._slice_over(member, used, ended)
            self._queue.put_back(member)
        if lease is not None:
            self._grant(lease, member, ended)
        elif member.time_slice.share < 1:
            self._account(member, used, now)

    def _slice_over(self, member: Member, used: float, now: float) -> None:
        self._queue.charge(member, used)
        self._slice_left -= used
        self._slice_ended = now
        self._stand_back_if(self._slice_left <= ROUNDING)

    def _account(self, member: Member, used: float, began: float) -> None:
        """Note when `member` may compute again if it is to keep to its share.

        What a timer comes late is made good for, up to the length of a slice.
        """
        latest = began - member.time_slice.seconds
        member._free_at = max(member._free_at, latest) + used / member.time_slice.share
        if member._ready:
            self.withdraw(member)
            self.request(member)

    # Leases

    def _grant(self, lease: Lease, member: Member, now: float) -> None:
        self._lease = (lease, member, now)
        self.deadline = now + min(self._slice_left, member.time_slice.seconds)
        lease.begin()

    def _end_lease(self, now: float) -> None:
        assert self._lease is not None  # noqa: S101 (for the type checker)
        lease, member, began = self._lease
        self._lease = None
        lease.end(now - began)
        if self._queue.count:
            self.deadline = -math.inf
            self._slice_over(member, now - began, now)
        else:
            self._queue.charge(member, now - began)

    # Standing back

    def _stand_back_if(self, used_up: bool) -> None:  # noqa: FBT001
        self._standing_back = used_up
        self._disturbed = False
        self._quiet_turns = 0
        self._quiet_since = self.clock()

    def _stood_back(self, time_slice: TimeSlice, now: float) -> bool:
        """Learn from the turn that has just passed; tell whether it was enough."""
        if self._late_turns is not None:
            if self._late_turns.quiet:
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
        if self._quiet_turns < QUIET_TURNS:
            return False
        wanted = time_slice.seconds * (BUSY_SHARE if self._disturbed else QUIET_SHARE)
        if now - self._quiet_since < wanted and self._quiet_turns < QUIET_TURNS_ENOUGH:
            return False
        self._in_vain = False
        return True


def pacer_of(loop: asyncio.AbstractEventLoop) -> Pacer:
    """Return the pacer of `loop`, which is made when first asked for.

    It is an attribute of the loop, so that it goes when the loop goes: a table
    keyed by loops would keep them alive, since what is in it refers to them.
    """
    pacer: Pacer | None = getattr(loop, "_cooperative_aio_pacer", None)
    if pacer is None:
        pacer = Pacer(loop)
        loop._cooperative_aio_pacer = pacer  # type: ignore[attr-defined]
    return pacer
