"""Test a generator of your own, and what it does to others, without sleeping.

    pytest examples/test_without_sleeping.py

docs/how-to/test-without-sleeping.md tells more. No plugin for asynchronous tests is needed.
"""

import asyncio
import logging
from collections.abc import Callable, Generator, Iterable

import pytest

from cooperative_aio import Clock, Cooperator, LoopingCall, TaskStopped, TimeSlice, cooperate
from cooperative_aio.testing import (
    Deadlock,
    ManualScheduler,
    spend,
    steps_per_tick,
    virtual_time,
)

# --- the code under test, which knows nothing of tests ------------------------------------

Work = Generator[None, None, float]


def add_up(orders: Iterable[int], price: Callable[[int], float], log: list[str]) -> Work:
    """Add up the prices of orders, one a step."""
    total = 0.0
    try:
        for order in orders:
            total += price(order)
            yield
    finally:
        log.append("closed")
    return total


async def answer(work: Work, cooperator: Cooperator | None = None) -> str:
    """Compute for two seconds at most."""
    try:
        async with asyncio.timeout(2):
            total = await (cooperator.cooperate(work) if cooperator else cooperate(work))
    except TimeoutError:
        return "too expensive"
    return f"{total:.2f}"


# --- its tests ----------------------------------------------------------------------------


def cheap(order: int) -> float:
    """Stand in for a price that is found at once."""
    return order / 2


def expensive(order: int) -> float:
    """Stand in for a price that takes a quarter of a second to find."""
    spend(0.25)
    return order / 2


def test_without_any_loop() -> None:
    """A generator is a generator: what it computes needs no Cooperator."""
    log: list[str] = []
    work = add_up([1, 2, 3], cheap, log)
    assert list(work) == [None, None, None]
    assert log == ["closed"]


@virtual_time
async def test_two_tasks_step_by_step(
    coop_manual_cooperator: Cooperator, coop_scheduler: ManualScheduler
) -> None:
    """One step for each pump, and nothing in between."""
    log: list[str] = []
    first, second = (
        coop_manual_cooperator.cooperate(add_up(range(10), cheap, log)) for _ in range(2)
    )
    coop_scheduler.pump(3)
    assert (first.steps, second.steps) == (2, 1)
    first.pause()
    coop_scheduler.pump(3)
    assert (first.steps, second.steps) == (2, 4)
    second.stop()
    assert log == ["closed"]
    with pytest.raises(TaskStopped):
        await second
    first.resume()
    coop_scheduler.run()
    assert await first == 22.5


@virtual_time
async def test_three_steps_a_tick() -> None:
    """A tick can be of any number of steps."""
    scheduler = ManualScheduler()
    cooperator = Cooperator(steps_per_tick(3), scheduler)
    task = cooperator.cooperate(add_up(range(10), cheap, []))
    scheduler.pump()
    assert task.steps == 3
    cooperator.stop()
    assert scheduler.pending == ()


@virtual_time
async def test_a_cancelled_task_cleans_up(
    coop_manual_cooperator: Cooperator, coop_scheduler: ManualScheduler
) -> None:
    """A cancellation comes with the next turn of the loop; no scheduler is needed."""
    log: list[str] = []
    task = coop_manual_cooperator.cooperate(add_up(range(10), cheap, log))
    coop_scheduler.pump()
    task.cancel()
    assert log == []
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["closed"]


@virtual_time
async def test_the_timeout_ends_the_computing() -> None:
    """Eight steps fit into two seconds; the ninth is not begun, or there would be nine."""
    log: list[str] = []
    orders = iter(range(1, 100))
    assert await answer(add_up(orders, expensive, log)) == "too expensive"
    assert asyncio.get_running_loop().time() == 2.0
    assert next(orders) == 9
    assert log == ["closed"]


@virtual_time
async def test_others_wait_for_one_step_at_most() -> None:
    """What a step spends is what a timer can be late by."""
    rang: list[float] = []
    loop = asyncio.get_running_loop()
    loop.call_at(0.6, lambda: rang.append(loop.time()))
    assert await answer(add_up([1, 2, 3, 4], expensive, [])) == "5.00"
    assert rang == [0.75]


@virtual_time
async def test_a_share_of_the_loop() -> None:
    """Half of the loop stays free: after each quarter of a second there is another."""
    cooperator = Cooperator(time_slice=TimeSlice(0.25, share=0.5))
    assert await answer(add_up([1, 2, 3], expensive, []), cooperator) == "3.00"
    statistics = cooperator.statistics()
    assert (statistics.cpu_time, statistics.longest_step) == (0.75, 0.25)
    assert asyncio.get_running_loop().time() == 1.5


@virtual_time
async def test_a_slow_step_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The warning about long steps goes by the same time."""
    with caplog.at_level(logging.WARNING, "cooperative_aio"):
        await answer(add_up([1], expensive, []))
    assert "add_up" in caplog.text
    assert "held the loop for 0.250 seconds" in caplog.text


@virtual_time
async def test_a_looping_call(coop_clock: Clock) -> None:
    """What takes a clock can be given one that moves when the test says so."""
    called: list[float] = []
    call = LoopingCall(lambda: called.append(coop_clock.time()))
    call.clock = coop_clock
    call.start(60)
    coop_clock.advance(150)
    call.stop()
    coop_clock.advance(150)
    assert called == [0, 60, 120]


def test_what_would_hang() -> None:
    """A wait that nothing can end is an error at once, which names who waits."""

    @virtual_time
    async def waits() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock, match="unfinished tasks: 1"):
        waits()
