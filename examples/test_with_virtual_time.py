"""Test code that waits, without waiting: copy this file and put your own code in.

pytest examples/test_with_virtual_time.py
"""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from cooperative_aio import Clock, Cooperator, LoopingCall, defer_later
from cooperative_aio.testing import ManualScheduler, VirtualLoop, spend, virtual_time

# --- the code under test, which knows nothing of virtual time ---------------------------


class Poller:
    """Ask a server every minute; after a failure every five minutes."""

    def __init__(self, ask: Callable[[], bool]) -> None:
        self.ask = ask
        self.call = LoopingCall(self.poll)

    def poll(self) -> None:
        """Ask once, and choose the interval until the next time."""
        self.call.interval = 60 if self.ask() else 300


async def fetch(answer: asyncio.Future[str]) -> str:
    """Wait for an answer, but not for more than thirty seconds."""
    async with asyncio.timeout(30):
        return await answer


def checksum(chunks: list[bytes]) -> Iterator[None]:
    """Do what takes CPU time: a quarter of a second for each chunk, let us say."""
    total = 0
    for chunk in chunks:
        total += sum(chunk)
        spend(0.25)  # in a real test: in a stand-in for the expensive function
        yield


# --- its tests ----------------------------------------------------------------------------


@virtual_time
async def test_a_timeout_of_thirty_seconds() -> None:
    """A timeout expires exactly when it should, and at once."""
    loop = asyncio.get_running_loop()
    with pytest.raises(TimeoutError):
        await fetch(loop.create_future())
    assert loop.time() == 30.0


@virtual_time
async def test_an_answer_that_comes_in_time() -> None:
    """What happens within the timeout happens in order."""
    answer = asyncio.get_running_loop().create_future()
    defer_later(29.5, answer.set_result, "just in time")
    assert await fetch(answer) == "just in time"


@virtual_time
async def test_an_hour_of_polling() -> None:
    """An hour takes milliseconds, and every instant is exact."""
    loop = asyncio.get_running_loop()
    asked: list[float] = []

    def ask() -> bool:
        asked.append(loop.time())
        return loop.time() != 120

    polling = Poller(ask).call.start(60)
    await asyncio.sleep(3600)
    polling.cancel()
    assert asked == [0, 60, 120, *range(420, 3601, 60)]


@virtual_time
async def test_heavy_work_makes_timers_late_by_a_step_at_most() -> None:
    """With spend, CPU time is exact as well: the timer is late by what a step spent."""
    loop = asyncio.get_running_loop()
    rang: list[float] = []
    loop.call_at(1.125, lambda: rang.append(loop.time()))
    await Cooperator(time_slice=0.005).cooperate(checksum([b"chunk"] * 8))
    assert rang == [1.25]
    assert loop.time() == 2.0


async def test_step_by_step(
    coop_manual_cooperator: Cooperator, coop_scheduler: ManualScheduler
) -> None:
    """With a manual scheduler, nothing happens but what the test asks for."""
    log: list[str] = []
    task = coop_manual_cooperator.cooperate(log.append(name) for name in "abc")
    coop_scheduler.pump(2)
    assert log == ["a", "b"]
    task.stop()
    coop_scheduler.run()
    assert log == ["a", "b"]


async def test_with_a_clock(coop_clock: Clock) -> None:
    """A Clock needs no loop of its own: whoever takes a clock can be given this one."""
    reminder = defer_later(86_400, str.upper, "remember", clock=coop_clock)
    coop_clock.advance(86_399)
    assert not reminder.done()
    coop_clock.advance(1)
    assert await reminder == "REMEMBER"


def test_without_async(coop_virtual_loop: VirtualLoop) -> None:
    """The loop itself is there for those who have no use for async tests."""
    coop_virtual_loop.call_later(3600, coop_virtual_loop.stop)
    coop_virtual_loop.run_forever()
    assert coop_virtual_loop.time() == 3600.0
