"""Ticks by hand: a scheduler that is pumped, and predicates that count steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from cooperative_aio._checks import quote

ENDLESS = 1_000_000
"""Calls after which `ManualScheduler.run` gives up, unless told otherwise."""


class ManualCall:
    """A call that a ManualScheduler is to make; `cancel()` takes it off again."""

    __slots__ = ("__weakref__", "_callback", "_pending")

    def __init__(self, callback: Callable[[], object], pending: deque[ManualCall]) -> None:
        self._callback = callback
        self._pending = pending

    def __repr__(self) -> str:
        state = "pending" if self.active() else "past"
        return f"<{type(self).__name__} {state} {self._callback!r}>"

    def active(self) -> bool:
        """Tell whether the call is still to be made."""
        return self in self._pending

    def cancel(self) -> None:
        """Take the call off; one already made or cancelled stays as it is."""
        if self.active():
            self._pending.remove(self)

    def make(self) -> None:
        """Take the call off and make it."""
        self.cancel()
        self._callback()


class ManualScheduler:
    """A scheduler for a Cooperator whose ticks happen when the test says so.

        scheduler = ManualScheduler()
        cooperator = Cooperator(one_step, scheduler)
        task = cooperator.cooperate(iter("abc"))
        scheduler.pump(2)
        print(task.steps)  # 2
        cooperator.stop()

    With `one_step`, a tick is a single step; see also `steps_per_tick`.
    """

    def __init__(self) -> None:
        self._pending: deque[ManualCall] = deque()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self._pending)} pending>"

    def __call__(self, callback: Callable[[], object], /) -> ManualCall:
        """Schedule a call, as a Cooperator does with its scheduler.

        Raises:
            TypeError: The callback is not callable.
        """
        if not callable(callback):
            raise TypeError(f"callback must be callable, got {quote(callback)}")
        call = ManualCall(callback, self._pending)
        self._pending.append(call)
        return call

    @property
    def pending(self) -> tuple[ManualCall, ...]:
        """The calls still to be made, oldest first."""
        return tuple(self._pending)

    def pump(self, n: int = 1) -> int:
        """Make calls, oldest first, those scheduled meanwhile included.

        An exception of a call comes out of here; the later ones are still pending.

        Args:
            n: How many calls to make at most.

        Returns:
            How many were made, fewer than `n` if no more were pending.

        Raises:
            ValueError: `n` is negative.
        """
        if n < 0:
            raise ValueError(f"n must be at least 0, got {quote(n)}")
        for made in range(n):
            if not self._pending:
                return made
            self._pending[0].make()
        return n

    def run(self, limit: int = ENDLESS) -> int:
        """Make calls until none is pending.

        Args:
            limit: After how many calls to give up.

        Returns:
            How many calls were made.

        Raises:
            RuntimeError: More than `limit` calls were scheduled.
        """
        made = self.pump(limit)
        if self._pending:
            raise RuntimeError(f"the scheduler is still not idle after {limit} calls")
        return made


def one_step() -> Callable[[], bool]:
    """Make a predicate that ends a tick after one step.

    A `termination_predicate_factory`: give the function itself to a Cooperator.
    """
    return _always


def steps_per_tick(steps: int) -> Callable[[], Callable[[], bool]]:
    """Make a `termination_predicate_factory` for ticks of a number of steps.

    Args:
        steps: After how many steps a tick ends.

    Raises:
        ValueError: Steps is less than 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {quote(steps)}")

    def factory() -> Callable[[], bool]:
        taken = 0

        def enough() -> bool:
            nonlocal taken
            taken += 1
            return taken >= steps

        return enough

    return factory


def _always() -> bool:
    return True
