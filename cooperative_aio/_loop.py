"""What the package keeps on a loop: its pacer, its Cooperators, who runs, the shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Callable
from contextvars import Context
from functools import partial
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet

from cooperative_aio._changes import Changes, call_all
from cooperative_aio._iterators import Sharings, key_of
from cooperative_aio._pacing import Pacer
from cooperative_aio._turns import LateTurns, late_turns_of

__all__ = ["LoopState", "lent", "loop_here", "running_loop", "state_of"]

ATTRIBUTE: Final = "_cooperative_aio"
REMEDY: Final = (
    "call it from an `async def` function, and from another thread by"
    " loop.call_soon_threadsafe (in anyio's own threads: anyio.from_thread.run)"
)


class Lent(threading.local):
    """Until when code at a checkpoint in this thread may run on, by `time.perf_counter`.

    Each `checkpoint()` looks here before anything else: to find the running loop would
    take longer than all the rest. A loop with a clock of its own lends nothing here.
    """

    deadline: float = -math.inf


lent: Final = Lent()


class LoopState:
    """One loop's part of the package; it lives as long as the loop: see `state_of`."""

    __slots__ = (
        "__weakref__",
        "_guard",
        "changes",
        "clock",
        "context",
        "cooperators",
        "deadline",
        "late_turns",
        "leases",
        "observers",
        "on_shutdown",
        "own",
        "pacer",
        "ref",
        "sharings",
        "waiters",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.ref: weakref.ref[asyncio.AbstractEventLoop] = weakref.ref(loop)
        self._guard: AsyncGenerator[None, None] | None = None
        self.clock: Callable[[], float] = getattr(loop, "perf_counter", time.perf_counter)
        self.deadline: float = -math.inf  # until when the slice is lent
        self.changes: Changes = Changes()
        # Callbacks of the package run in a context of their own, so that none
        # keeps alive what the context of a passing request refers to.
        self.context: Context = Context()
        self.late_turns: LateTurns | None = late_turns_of(loop)
        self.pacer: Pacer = Pacer(self)
        self.own: dict[type, Any] = {}  # the loop's own Cooperator: see get_cooperator()
        self.cooperators: WeakSet[Any] = WeakSet()  # that were used here
        self.leases: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()  # see checkpoint()
        self.sharings: Sharings = Sharings()
        # What waits on a future, or a dict of several in their order: by `key_of`
        self.waiters: dict[object, Any] = {}
        self.observers: list[Any] = []  # see _observing
        self.on_shutdown: set[Callable[[], None]] = set()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that this belongs to, and is owned by."""
        loop = self.ref()
        assert loop is not None  # noqa: S101 (whoever asks has a future of that loop)
        return loop

    def lend(self, deadline: float) -> None:
        """Let code at a checkpoint run on until `deadline`, by this loop's clock."""
        self.deadline = deadline
        lent.deadline = deadline if self.clock is time.perf_counter else -math.inf

    def call_soon(self, callback: Callable[..., object], *args: object) -> asyncio.Handle:
        """Have the loop call, in the package's own context."""
        return self.loop.call_soon(callback, *args, context=self.context)

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: object
    ) -> asyncio.TimerHandle:
        """Have the loop call after `delay` seconds, in the package's own context."""
        return self.loop.call_later(delay, callback, *args, context=self.context)

    # The end of the loop

    def watch_shutdown(self) -> None:
        """See to it that `on_shutdown` is called before the loop is closed.

        `asyncio.run` cancels asyncio's tasks, of which ours are none; but it also
        closes the async generators that were begun on the loop, so begin one.
        """
        if self._guard is None:
            self._guard = self._until_shutdown()
            with contextlib.suppress(StopIteration):
                self._guard.asend(None).send(None)

    async def _until_shutdown(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self.shut_down()

    def shut_down(self) -> None:
        """End what is unfinished; one end that raises does not keep the others from it."""
        self.lend(-math.inf)
        call_all([partial(self.changes.make, callback) for callback in tuple(self.on_shutdown)])

    # Waiting on futures

    def wait_on(self, future: asyncio.Future[Any], waiter: Any) -> None:
        """Have `waiter.woken(future)` called when `future` is done.

        However many wait on one future, it has one callback of the package, so that a
        task that stops waiting need not be looked for among all the others.

        Raises:
            BaseException: It only looks like a future; nothing waits on it.
        """
        key = key_of(future)
        others = self.waiters.get(key)
        if isinstance(others, dict):
            others[waiter] = None
        elif others is not None:
            self.waiters[key] = {others: None, waiter: None}
        else:
            self.waiters[key] = waiter
            try:
                future.add_done_callback(_wake, context=self.context)
            except BaseException:
                self.waiters.pop(key, None)
                raise

    def wait_no_more(self, future: asyncio.Future[Any], waiter: Any) -> None:
        """Take back what `wait_on` has done."""
        key = key_of(future)
        others = self.waiters.get(key)
        if isinstance(others, dict):
            others.pop(waiter, None)
            if others:
                return
        elif others is not waiter:
            return  # the future is done, and about to tell
        del self.waiters[key]
        with contextlib.suppress(Exception):  # it only looks like a future
            future.remove_done_callback(_wake)

    def wake(self, future: asyncio.Future[Any]) -> None:
        """Tell all that wait on `future` that it is done, in their order."""
        waiters = self.waiters.pop(key_of(future), None)
        if waiters is None:
            return
        if not isinstance(waiters, dict):
            waiters = (waiters,)
        call_all([partial(self.changes.make, waiter.woken, future) for waiter in waiters])


def _wake(future: asyncio.Future[Any]) -> None:
    """Be the callback of a future that tasks wait on."""
    state_of(future.get_loop()).wake(future)


def loop_here() -> asyncio.AbstractEventLoop | None:
    """Return the loop that is running in this thread, if one is."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def running_loop(what: Callable[[], str]) -> asyncio.AbstractEventLoop:
    """Return the running loop; `what()` says what cannot be done without.

    Raises:
        RuntimeError: No loop is running in this thread; the message says what to do.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            f"cannot {what()} without a running event loop in this thread; {REMEDY}"
        ) from None


def state_of(loop: asyncio.AbstractEventLoop) -> LoopState:
    """Return what the package keeps on `loop`; it is made when first asked for.

    It is an attribute of the loop, so that it goes when the loop goes: a table
    keyed by loops would keep them alive, since what is in it refers to them.
    """
    state: LoopState | None = getattr(loop, ATTRIBUTE, None)
    if state is None:  # of two that interrupt each other, one counts
        state = vars(loop).setdefault(ATTRIBUTE, LoopState(loop))
    return state
