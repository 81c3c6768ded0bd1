"""Slices, fairness and standing back, exact to the step: in virtual time, steps spend it."""

import asyncio
import functools
import itertools
import logging

import pytest

from cooperative_aio import (
    Clock,
    Cooperator,
    LoopingCall,
    TimeSlice,
    batch_accumulate,
    checkpoint,
    cooperate,
)
from cooperative_aio.testing import (
    ManualScheduler,
    one_step,
    spend,
    steps_per_tick,
    virtual_time,
)


def now():
    return asyncio.get_running_loop().time()


def work(seconds, steps=None, log=None):
    """Take steps that spend a number of seconds each, and note when each one ends."""
    for _ in itertools.count() if steps is None else range(steps):
        spend(seconds)
        if log is not None:
            log.append(now())
        yield


def foreground(turns, seconds=0.0, count=None):
    """Run on every turn of the loop, and note when each one begins."""
    turns.append(now())
    spend(seconds)
    if count is None or count > 1:
        loop = asyncio.get_running_loop()
        loop.call_soon(foreground, turns, seconds, count and count - 1)


# --- slices -----------------------------------------------------------------------------


@virtual_time
async def test_a_slice_ends_with_the_step_that_fills_it():
    turns, steps = [], []
    cooperator = Cooperator(time_slice=TimeSlice(1.0, max_wait=0), slow_step=10)
    foreground(turns)
    await cooperator.cooperate(work(0.25, 12, steps))
    assert steps == [n / 4 for n in range(1, 13)]
    assert sorted(set(turns)) == [0.0, 1.0, 2.0, 3.0]


@virtual_time
async def test_a_step_longer_than_the_slice_is_a_slice_of_its_own():
    turns = []
    cooperator = Cooperator(time_slice=TimeSlice(1.0, max_wait=0), slow_step=10)
    foreground(turns)
    await cooperator.cooperate(work(2.5, 3))
    assert sorted(set(turns)) == [0.0, 2.5, 5.0, 7.5]


@virtual_time
async def test_a_batch_ends_with_the_slice_too():
    turns = []

    def values():
        for n in range(8):
            spend(0.25)
            yield n

    cooperator = Cooperator(time_slice=TimeSlice(0.5, max_wait=0), slow_step=10)
    foreground(turns)
    assert list(await batch_accumulate(1000, values(), cooperator)) == list(range(8))
    assert max(after - before for before, after in itertools.pairwise(turns)) <= 0.75


@virtual_time
async def test_statistics_are_exact():
    cooperator = Cooperator(time_slice=1.0, slow_step=10)
    task = cooperator.cooperate(work(0.25, 6))
    await cooperator.drain()
    statistics = cooperator.statistics()
    assert (statistics.cpu_time, statistics.longest_tick) == (1.5, 1.0)
    assert statistics.longest_step == 0.25
    assert task.cpu_time == 1.5


@virtual_time
async def test_a_slow_step_is_logged_with_its_seconds(caplog):
    cooperator = Cooperator(slow_step=0.5)
    with caplog.at_level(logging.WARNING, "cooperative_aio"):
        await cooperator.cooperate(work(0.75, 2))
    [record] = [record for record in caplog.records if record.name == "cooperative_aio"]
    assert "0.75" in record.getMessage()


@pytest.mark.once
@virtual_time
async def test_steps_that_cost_nothing_neither_hold_the_loop_nor_stop_time():
    task = cooperate(itertools.count())
    await asyncio.sleep(0.25)
    assert now() == pytest.approx(0.25, abs=0.05)
    task.stop()


# --- standing back ----------------------------------------------------------------------


@virtual_time
async def test_after_a_slice_the_next_waits_until_the_loop_is_quiet():
    turns, steps = [], []
    cooperator = Cooperator(time_slice=TimeSlice(0.5, max_wait=4.0), slow_step=10)
    asyncio.get_running_loop().call_at(0.25, foreground, turns, 0.125, 8)
    await cooperator.cooperate(work(0.25, 6, steps))
    assert turns == [0.5 + n / 8 for n in range(8)]
    assert steps == [0.25, 0.5, 1.75, 2.0, 2.25, 2.5]


@virtual_time
async def test_on_a_loop_that_is_never_quiet_it_waits_for_max_wait_and_then_for_half_of_it():
    turns, steps = [], []
    cooperator = Cooperator(time_slice=TimeSlice(0.5, max_wait=2.0), slow_step=10)
    asyncio.get_running_loop().call_at(0.25, foreground, turns, 0.125, 64)
    await cooperator.cooperate(work(0.25, 6, steps))
    first, second, third = steps[:2], steps[2:4], steps[4:]
    assert first == [0.25, 0.5]
    assert second == [2.75, 3.0]
    assert third == [4.25, 4.5]


@virtual_time
async def test_a_share_of_a_quarter_takes_a_quarter_of_the_time():
    steps = []
    cooperator = Cooperator(time_slice=TimeSlice(1.0, share=0.25), slow_step=10)
    await cooperator.cooperate(work(0.5, 8, steps))
    assert steps == [0.5, 1.0, 4.5, 5.0, 8.5, 9.0, 12.5, 13.0]


@virtual_time
async def test_a_looping_call_is_late_by_a_slice_and_a_step_at_most():
    late = []
    call = LoopingCall(lambda: late.append(now() % 0.5))
    cooperator = Cooperator(time_slice=0.25, slow_step=10)
    task = cooperator.cooperate(work(0.125))
    calling = call.start(0.5)
    await asyncio.sleep(100)
    task.stop()
    calling.cancel()
    assert len(late) == 201
    assert max(late) <= 0.375


@virtual_time
async def test_checkpoint_lets_others_in_after_a_slice():
    turns = []
    seconds = 2.0**-10
    foreground(turns)
    for _ in range(61):
        await checkpoint()
        spend(seconds)
    gaps = [after - before for before, after in itertools.pairwise(turns) if after > before]
    assert gaps == [3 * seconds] * 20


# --- fairness ---------------------------------------------------------------------------


@virtual_time
async def test_time_is_shared_and_not_steps():
    cooperator = Cooperator(time_slice=1.0, slow_step=10)
    heavy, light = (cooperator.cooperate(work(seconds)) for seconds in (0.5, 0.03125))
    await asyncio.sleep(100)
    assert heavy.cpu_time == pytest.approx(50, abs=0.5)
    assert light.cpu_time == pytest.approx(50, abs=0.5)
    assert heavy.cpu_time == heavy.steps * 0.5
    cooperator.stop()


@virtual_time
async def test_weights_share_it_in_their_ratio():
    cooperator = Cooperator(time_slice=1.0, slow_step=10)
    one, three = (cooperator.cooperate(work(0.25), weight=weight) for weight in (1, 3))
    await asyncio.sleep(100)
    assert one.cpu_time == pytest.approx(25, abs=0.5)
    assert three.cpu_time == pytest.approx(75, abs=0.5)
    cooperator.stop()


@virtual_time
async def test_a_newcomer_is_owed_nothing_for_the_time_before():
    cooperator = Cooperator(time_slice=1.0, slow_step=10)
    old = cooperator.cooperate(work(0.25))
    await asyncio.sleep(100)
    new = cooperator.cooperate(work(0.25))
    await asyncio.sleep(100)
    assert old.cpu_time == pytest.approx(150, abs=1)
    assert new.cpu_time == pytest.approx(50, abs=1)
    cooperator.stop()


@virtual_time
async def test_two_cooperators_share_the_loop_equally():
    cooperators = [Cooperator(time_slice=1.0, slow_step=10) for _ in range(2)]
    tasks = [cooperator.cooperate(work(0.25)) for cooperator in cooperators]
    await asyncio.sleep(100)
    assert [task.cpu_time for task in tasks] == pytest.approx([50, 50], abs=1)
    for cooperator in cooperators:
        cooperator.stop()


# --- by hand ----------------------------------------------------------------------------


async def test_a_manual_scheduler_makes_one_tick_at_a_time():
    scheduler = ManualScheduler()
    cooperator = Cooperator(one_step, scheduler)
    log = []
    tasks = [
        cooperator.cooperate(log.append(name) for name in names) for names in ("abc", "def")
    ]
    assert len(scheduler.pending) == 1
    scheduler.pump(3)
    assert log == ["a", "d", "b"]
    scheduler.run()
    assert log == ["a", "d", "b", "e", "c", "f"]
    assert scheduler.pending == ()
    await asyncio.gather(*tasks)


async def test_steps_per_tick_makes_ticks_of_so_many_steps():
    scheduler = ManualScheduler()
    cooperator = Cooperator(steps_per_tick(2), scheduler)
    log = []
    cooperator.cooperate(map(log.append, "abcde"))
    for expected in ("ab", "abcd", "abcde"):
        scheduler.pump()
        assert "".join(log) == expected


async def test_a_stopped_cooperator_leaves_nothing_in_the_scheduler():
    scheduler = ManualScheduler()
    cooperator = Cooperator(one_step, scheduler)
    task = cooperator.cooperate(itertools.count())
    scheduler.pump()
    cooperator.stop()
    assert scheduler.pending == ()
    assert task.done()
    assert task.exception() is not None


async def test_a_cooperator_runs_on_a_clock():
    clock = Clock()
    cooperator = Cooperator(one_step, clock.call_soon, clock=clock.time)
    log = []
    tasks = [
        cooperator.cooperate(log.append((name, clock.time())) for name in names)
        for names in ("abc", "def")
    ]
    assert log == []
    clock.advance(0)
    assert log == [(name, 0.0) for name in "adbecf"]
    await asyncio.gather(*tasks)
    assert clock.get_delayed_calls() == []


async def test_a_cooperator_takes_its_rhythm_from_a_clock():
    clock = Clock()
    scheduler = functools.partial(clock.call_later, 0.5)
    cooperator = Cooperator(one_step, scheduler, clock=clock.time)
    log = []
    task = cooperator.cooperate(log.append(clock.time()) for _ in range(3))
    clock.advance(1)
    assert log == [0.5, 1.0]
    clock.advance(9)
    assert log == [0.5, 1.0, 1.5]
    await task
    assert clock.get_delayed_calls() == []


async def test_time_spent_on_a_clock_is_what_a_cooperator_measures():
    clock = Clock()
    cooperator = Cooperator(one_step, clock.call_soon, clock=clock.time, slow_step=10)

    def spender():
        for _ in range(4):
            clock.spend(0.25)
            yield

    task = cooperator.cooperate(spender())
    clock.advance(0)
    await task
    assert task.cpu_time == 1.0
    assert cooperator.statistics().longest_step == 0.25
