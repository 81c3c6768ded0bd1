"""The instants at which a LoopingCall calls.

They are `origin + n * interval`, computed from `n` each time and never added up, so that they
do not drift.
"""

from __future__ import annotations

import math


class Grid:
    """A grid of instants, and how far the calls have come on it.

    With an interval of 0 there are no instants; `origin` is where the calls began.
    """

    __slots__ = ("interval", "last", "last_time", "origin")

    def __init__(self, origin: float, interval: float, last: int) -> None:
        self.origin = origin
        self.interval = interval
        self.last = last  # the n of the last instant that was called or missed
        self.last_time = origin  # for an interval of 0

    def instant(self, n: int) -> float:
        """Give the instant of a number, in seconds."""
        return self.origin + n * self.interval

    def passed(self, now: float) -> int:
        """Give the greatest n whose instant is not later than now."""
        quotient = (now - self.origin) // self.interval
        if not math.isfinite(quotient):  # so short an interval is none
            return self.last
        n = int(quotient)
        if self.instant(n + 1) <= now:  # division and multiplication round differently
            return n + 1
        return n if self.instant(n) <= now else n - 1

    def next(self, now: float) -> float:
        """Give the first instant later than now that has not been called."""
        if self.interval == 0:
            return now
        return self.instant(max(self.passed(now), self.last) + 1)

    def reach(self, now: float) -> int:
        """Note that a call is being made, and count the intervals since the one before.

        A timer may be an ulp or, on some loops, a millisecond early: the call is that of
        the next instant all the same.
        """
        if self.interval == 0:
            self.last, self.last_time = 0, now
            return 1
        n = max(self.passed(now), self.last + 1)
        intervals, self.last = n - self.last, n
        return intervals

    def relaid(self, interval: float) -> Grid:
        """Give a grid of another interval that begins at the last instant reached."""
        origin = self.instant(max(self.last, 0)) if self.interval else self.last_time
        return Grid(origin, interval, min(self.last, 0))
