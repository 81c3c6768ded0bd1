"""Groups: CPU time is shared first between them, then within each."""

import asyncio

import pytest
from core_support import Clock

from cooperative_aio import (
    Cooperator,
    accumulate,
    batch_accumulate,
    batches,
    cooperate,
    get_cooperator,
)
from cooperative_aio.testing import virtual_time

STEP = 2.0**-10  # seconds that a step costs


def endless(cost=STEP):
    loop = asyncio.get_running_loop()
    while True:
        loop.spend(cost)
        yield


def had(tasks):
    return sum(task.cpu_time for task in tasks)


@virtual_time
async def test_a_client_with_many_tasks_does_not_crowd_out_one_with_one():
    many = [cooperate(endless(), group="many") for _ in range(20)]
    one = cooperate(endless(), group="one")
    await asyncio.sleep(0.5)
    assert had(many) == pytest.approx(one.cpu_time, rel=0.05)
    assert max(task.cpu_time for task in many) - min(task.cpu_time for task in many) <= 3 * STEP


@virtual_time
async def test_groups_share_by_weight_and_so_do_their_members():
    cooperator = get_cooperator()
    cooperator.group("heavy").weight = 3
    heavy = [cooperate(endless(), group="heavy", weight=weight) for weight in (1, 2)]
    light = [cooperate(endless(), group="light") for _ in range(5)]
    await asyncio.sleep(0.5)
    assert had(heavy) == pytest.approx(3 * had(light), rel=0.05)
    assert heavy[1].cpu_time == pytest.approx(2 * heavy[0].cpu_time, rel=0.05)


@virtual_time
async def test_a_task_without_a_group_competes_with_groups_as_one():
    group = [cooperate(endless(), group=7) for _ in range(4)]
    alone = cooperate(endless(4 * STEP))
    await asyncio.sleep(0.5)
    assert had(group) == pytest.approx(alone.cpu_time, rel=0.05)


@virtual_time
async def test_the_weight_of_a_member_may_change():
    first, second = (cooperate(endless(), group="g") for _ in range(2))
    second.weight = 4
    await asyncio.sleep(0.5)
    assert second.cpu_time == pytest.approx(4 * first.cpu_time, rel=0.05)
    assert first.group is second.group is get_cooperator().group("g")


@virtual_time
async def test_members_that_are_paused_or_stopped_leave_the_rest_to_the_others():
    first, second, third = (cooperate(endless(), group="g") for _ in range(3))
    other = cooperate(endless())
    first.pause()
    second.stop()
    assert get_cooperator().statistics().ready == 2
    await asyncio.sleep(0.5)
    assert (first.cpu_time, second.cpu_time) == (0, 0)
    assert third.cpu_time == pytest.approx(other.cpu_time, rel=0.05)
    third.pause()
    before = other.cpu_time
    await asyncio.sleep(0.5)
    assert other.cpu_time - before == pytest.approx(0.5, rel=0.05)
    first.resume()
    await asyncio.sleep(0.5)
    assert first.cpu_time == pytest.approx(0.25, rel=0.1)


@virtual_time
async def test_members_wait_for_awaitables_and_return_values():
    def waits(number):
        yield
        got = yield asyncio.sleep(0.25, number)
        return got

    tasks = [cooperate(waits(number), group="g") for number in range(3)]
    assert await asyncio.gather(*tasks) == [0, 1, 2]


@virtual_time
async def test_everything_that_accumulates_may_belong_to_a_group():
    groups = set()

    def noting():
        groups.update(task.group.name for task in get_cooperator().tasks)
        yield from range(300)

    assert len(await accumulate(noting(), group="a")) == 300
    assert len(await batch_accumulate(10, noting(), group="b")) == 300
    async for batch in batches(100, noting(), group="c"):
        assert len(batch) == 100
    both = [batch_accumulate(10, noting(), group="d") for _ in range(2)]
    assert [len(values) for values in await asyncio.gather(*both)] == [300, 300]
    assert groups == {"a", "b", "c", "d"}


@virtual_time
async def test_a_failed_or_cancelled_member_leaves_its_group():
    def fails():
        yield
        raise LookupError("here")

    task, other = cooperate(fails(), group="g"), cooperate(endless(), group="g")
    with pytest.raises(LookupError, match="here"):
        await task
    other.cancel()
    with pytest.raises(asyncio.CancelledError):
        await other
    assert repr(get_cooperator().group("g")) == "<Group 'g' weight=1.0 ready=0>"
    assert get_cooperator().statistics().ready == 0


def steps_that_alternate(order, letter):
    while True:
        order.append(letter)
        yield


async def test_cheap_steps_alternate_between_groups_and_within_each():
    order = []
    cooperator = Cooperator(lambda: lambda: len(order) >= 8, clock=Clock())
    tasks = [
        cooperator.cooperate(steps_that_alternate(order, letter), group=group)
        for letter, group in (("a", 1), ("b", 1), ("c", 2), ("d", None))
    ]
    while len(order) < 8:
        await asyncio.sleep(0)
    assert "".join(order[:6]) == "acdbcd"
    cooperator.stop()
    assert all(task.done() for task in tasks)


async def test_a_group_is_forgotten_with_its_last_task_unless_it_has_a_weight():
    cooperator = Cooperator()
    await cooperator.cooperate(iter(()), group="g")
    await asyncio.sleep(0)
    assert list(cooperator._engine.groups) == []
    cooperator.group("g").weight = 2
    assert cooperator.group("g").weight == 2
    cooperator.group("g").weight = 1
    assert list(cooperator._engine.groups) == []


async def test_bad_groups_and_weights_are_clear_errors():
    cooperator = Cooperator()
    with pytest.raises(TypeError, match=r"group must be hashable, got \[\]"):
        cooperator.cooperate(iter(()), group=[])
    with pytest.raises(ValueError, match="weight must be a finite number above 0, got 0"):
        cooperator.group("g").weight = 0
    assert cooperator.group("g").weight == 1
    assert cooperator.tasks == ()
