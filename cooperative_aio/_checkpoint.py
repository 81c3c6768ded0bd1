"""`await checkpoint()`: the pacer's courtesy for ordinary coroutines that compute."""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop
from time import perf_counter

from cooperative_aio._cooperator import engine_of
from cooperative_aio._engine import Engine
from cooperative_aio._futures import wake
from cooperative_aio._loop import lent, state_of
from cooperative_aio._own import get_cooperator
from cooperative_aio._rhythm import Paced
from cooperative_aio._seats import Seat

__all__ = ["checkpoint"]


class _Lease(Seat):
    """The seat of an asyncio task, which itself computes once its turn comes."""

    __slots__ = ("_engine", "_granted")

    def __init__(self, engine: Engine) -> None:
        self.sit(engine.queue)
        self.bursts = True
        self._engine = engine
        self._granted: asyncio.Future[None] | None = None

    def burst(self, deadline: float, is_alone: bool) -> bool:  # noqa: ARG002, FBT001
        """End the tick: what is left of the slice is for the code that waits."""
        self._engine.granted = self
        self.behind = max(0.0, self.queue.mean() - self.virtual)
        self._engine.take_back_lease(self)
        return True

    def begin(self) -> None:
        """Wake the code that waits; a Lease has it run until the pacer's deadline."""
        wake(self._granted)

    def end(self, seconds: float) -> None:
        """Pay for the time that the code has run; it need not have come back yet."""
        self.queue.charge(self, seconds)
        self.behind = 0.0

    async def wait(self) -> None:
        """Compete until it is this one's turn; if the Cooperator is stopped, a turn.

        Cancellation: leaves the competition.
        """
        engine = self._engine
        if not engine.started:
            await asyncio.sleep(0)
            return
        pacer = engine.loop_state.pacer
        self.queue.charge(self, pacer.turn_so_far())
        self._granted = get_running_loop().create_future()
        engine.changes.make(engine.add_lease, self)
        try:
            await self._granted
        except asyncio.CancelledError:
            engine.changes.make(engine.take_back_lease, self)
            raise


async def checkpoint() -> None:
    """Let the rest of the program run, if this coroutine has computed for long enough.

        async def sum_of_squares(n):
            total = 0
            for number in range(n):
                total += number * number
                await checkpoint()
            return total

        print(await sum_of_squares(10_000))

    Await it often in a coroutine that computes, in place of `asyncio.sleep(0)`. While
    the time slice lasts, it returns without suspending, in well under a microsecond.
    After that it stands back until the loop has been quiet, and competes for the next
    slice with the tasks of the loop's own Cooperator.

    On trio it is anyio's checkpoint.

    Raises:
        RuntimeError: No loop is running in this thread.

    Cancellation: raises CancelledError when it suspends; not while the slice lasts.
    """
    if perf_counter() >= lent.deadline:
        await _look_closer()


async def _look_closer() -> None:
    """Await a checkpoint whose slice is over, by the clock of the loop; or one of trio's."""
    try:
        state = state_of(get_running_loop())
    except RuntimeError:
        from anyio import lowlevel  # noqa: PLC0415 (a second to import, and rarely used)

        try:
            await lowlevel.checkpoint()
        except RuntimeError:
            raise RuntimeError("no running event loop: await checkpoint() in one") from None
    else:
        if state.clock() >= state.deadline:
            await _compete()


async def _compete() -> None:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 (what else would await?)
    engine = engine_of(get_cooperator())
    state = engine.bind(get_running_loop())
    lease = state.leases.get(task)
    if lease is None:
        lease = state.leases[task] = _Lease(engine)
        state.watch_shutdown()
    rhythm = engine.rhythm
    assert isinstance(rhythm, Paced)  # noqa: S101 (for the type checker: it is the loop's own)
    if not rhythm.lend(lease):
        await lease.wait()
