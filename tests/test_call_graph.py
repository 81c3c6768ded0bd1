"""A task's generator, as asyncio's call graphs see it (Python 3.14 and later)."""

import asyncio

import pytest
from core_support import on_both_loops, turns

from cooperative_aio import cooperate

since_3_14 = pytest.mark.skipif(
    not hasattr(asyncio, "capture_call_graph"), reason="call graphs came with Python 3.14"
)


def inner(what):
    yield from [what]
    return "inner"


def outer(what):
    return (yield from inner(what))


def names(frames):
    found = []
    while frames is not None and frames.cr_frame is not None:
        found.append(frames.cr_frame.f_code.co_name)
        frames = frames.cr_await
    return found


@on_both_loops
async def test_it_is_shown_with_those_that_it_delegates_to():
    waited = asyncio.get_running_loop().create_future()
    task = cooperate(outer(waited))
    await turns()
    assert names(task.get_coro()) == ["outer", "inner"]
    waited.set_result(None)
    assert await task == "inner"
    assert names(task.get_coro()) == []


@on_both_loops
async def test_other_iterators_have_no_frames():
    task = cooperate(iter([1]))
    assert task.get_coro() is None
    await task


@since_3_14
@on_both_loops
async def test_a_coroutine_that_it_waits_for_knows_who_waits():
    graphs = []

    async def ask():
        graphs.append(asyncio.capture_call_graph())

    async def wait_for_it():
        await cooperate(outer(ask()), name="computing")

    await asyncio.create_task(wait_for_it(), name="waiting")
    [graph] = graphs
    [computing] = graph.awaited_by
    [waiting] = computing.awaited_by
    assert computing.future.name == "computing"
    frames = [entry.frame.f_code.co_name for entry in computing.call_stack]
    assert frames == ["inner", "outer"]
    assert waiting.future.get_name() == "waiting"


@since_3_14
@on_both_loops
async def test_whom_it_has_waited_for_forgets_it():
    waited = asyncio.get_running_loop().create_future()
    stopped, resumed = cooperate(outer(waited)), cooperate(outer(waited))
    await turns()
    assert len(asyncio.capture_call_graph(waited).awaited_by) == 2
    stopped.stop()
    assert [parent.future for parent in asyncio.capture_call_graph(waited).awaited_by] == [
        resumed
    ]
    waited.set_result(None)
    await resumed
    assert asyncio.capture_call_graph(waited).awaited_by == ()
