"""`await checkpoint()`: the pacer's courtesy for ordinary coroutines that compute."""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop

from cooperative_aio._cooperator import get_cooperator
from cooperative_aio._pacing import Lease, Pacer, pacer_of
from cooperative_aio._runner import Runner

__all__ = ["checkpoint"]


class _Lease(Lease):
    """Compete for an asyncio task, which itself computes once it is let."""

    _group = None
    _per_turn = -1  # it takes no steps but the rest of the slice
    _rate = 1.0

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._virtual = self._given = 0.0
        self._ready = self._queued = False
        self._granted: asyncio.Future[None] | None = None

    def begin(self) -> None:
        """Wake the code that waits; a Lease has it run until the pacer's deadline."""
        if self._granted is not None and not self._granted.done():
            self._granted.set_result(None)

    def end(self, seconds: float) -> None:
        """Pay for the time that the code has run."""
        self._runner.queue.charge(self, seconds)

    async def wait(self) -> None:
        """Compete until it is this one's turn; if the Cooperator is stopped, a turn.

        Cancellation: leaves the competition.
        """
        if not self._runner.started:
            await asyncio.sleep(0)
            return
        self.end(self._runner.the_pacer.turn_so_far())
        self._granted = get_running_loop().create_future()
        self._runner.add_lease(self)
        try:
            await self._granted
        except asyncio.CancelledError:
            self._runner.take_back_lease(self)
            raise


async def checkpoint() -> None:
    """Let everybody else have the loop, if this code has computed for long enough.

    To be awaited often, in a loop that computes: in place of guessed
    `await asyncio.sleep(0)`. While the slice lasts this returns without suspending,
    in well under a microsecond. Else it stands back until the loop has been quiet,
    and competes for the next slice with the tasks of the loop's own Cooperator.

    Raises:
        RuntimeError: No loop is running in this thread.

    Cancellation: raises CancelledError when it suspends; not while the slice lasts.
    """
    try:
        pacer: Pacer = get_running_loop()._cooperative_aio_pacer  # type: ignore[attr-defined]
    except AttributeError:
        pacer = pacer_of(get_running_loop())
    if pacer.clock() >= pacer.deadline:
        await _compete()


async def _compete() -> None:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 (who else would await?)
    runner = get_cooperator()._runner
    leases = pacer_of(get_running_loop()).leases
    lease = leases.get(task)
    if lease is None:
        lease = leases[task] = _Lease(runner)
    if not runner.lend(lease):
        await lease.wait()
