"""One coroutine takes the batches of a source, and the task of the accumulation waits on it."""

import asyncio
import contextvars
import gc
import sys
import weakref

import pytest

from cooperative_aio import (
    AccumulationTooLarge,
    Cooperator,
    SchedulerStopped,
    TaskStopped,
    accumulate,
    batch_accumulate,
    batches,
)
from cooperative_aio.testing import spend, virtual_time

place = contextvars.ContextVar("place", default="nowhere")


class Feed:
    """A source of single numbers that logs what is asked of it.

    Args:
        count: How many it has.
        seconds: What each takes the loop.
        waits: Whether each has to be let through by `let()`.
        closing: Raised by `close()`.
        patient: Whether `close()` waits for `go_on`.
    """

    def __init__(self, count, *, seconds=0.0, waits=False, closing=None, patient=False):
        self.left = count
        self.seconds = seconds
        self.gate = asyncio.Semaphore(0) if waits else None
        self.closing = closing
        self.patient = patient
        self.go_on = asyncio.Event()
        self.log = []
        self.tasks = set()
        self.seen = None

    async def next_batch(self, n, max_seconds=None):
        self.log.append("asked")
        self.tasks.add(asyncio.current_task())
        self.seen = place.get()
        if self.gate is not None:
            await self.gate.acquire()
        spend(self.seconds)
        self.left -= 1
        return [self.left + 1] if self.left >= 0 else []

    async def close(self):
        self.log.append("closing")
        if self.patient:
            await self.go_on.wait()
        self.log.append("closed")
        if self.closing is not None:
            raise self.closing

    async def let(self, count=1):
        for _ in range(count):
            self.gate.release()
            await turns()


class Abandonable(Feed):
    def abandon(self):
        self.log.append("abandoned")


async def turns(count=20):
    for _ in range(count):
        await asyncio.sleep(0)


async def begun(source, how=accumulate, **options):
    """Begin to accumulate a source; return the coroutine's task, and the Cooperator's."""
    cooperator = Cooperator()
    caller = asyncio.create_task(how(source, cooperator, **options))
    await turns()
    [task] = cooperator.tasks
    return caller, task


@virtual_time
async def test_the_task_takes_two_steps_and_one_coroutine_all_batches():
    source = Feed(100, waits=True)
    caller, task = await begun(source)
    for number in range(101):
        assert (task.state, task.steps) == ("waiting", 1), number
        await source.let()
    assert list(await caller) == list(range(100, 0, -1))
    assert (task.state, task.steps) == ("finished", 2)
    assert len(source.tasks) == 1
    assert source.log == ["asked"] * 101 + ["closing", "closed"]


@virtual_time
async def test_a_source_that_is_never_waited_for_holds_the_loop_for_two_milliseconds():
    source = Feed(100, seconds=2**-10)
    done = asyncio.create_task(accumulate(source))
    most = before = 0
    while not done.done():
        await asyncio.sleep(0)
        asked = source.log.count("asked")
        most, before = max(most, asked - before), asked
    assert most == 4  # after the third not yet two milliseconds have passed since the first
    assert len(done.result()) == 100


@virtual_time
async def test_a_source_that_is_waited_for_gives_no_turns_away_however_long_it_takes():
    source = Feed(10, seconds=0.005, waits=True)
    caller, task = await begun(source)
    await source.let(11)
    assert len(await caller) == 10
    assert task.steps == 2


@virtual_time
async def test_a_pause_takes_effect_with_the_next_batch_and_loses_none():
    source = Feed(3, waits=True)
    caller, task = await begun(source)
    task.pause()
    await source.let(3)
    assert (task.state, source.log) == ("paused", ["asked"])
    task.resume()
    await source.let()
    assert list(await caller) == [3, 2, 1]


@virtual_time
async def test_the_options_are_those_of_the_task_and_the_context_that_of_the_source():
    context = contextvars.copy_context()
    context.run(place.set, "elsewhere")
    source = Feed(1, waits=True)
    caller, task = await begun(source, name="job", weight=3, group="them", context=context)
    assert (task.name, task.weight, task.group.name) == ("job", 3, "them")
    assert source.seen == "elsewhere"
    await source.let(2)
    await caller


@virtual_time
async def test_a_task_without_a_name_has_that_of_its_source_or_of_the_class():
    source = Feed(1, waits=True)
    _, task = await begun(source)
    assert task.name.startswith("Feed-")
    task.stop()
    for name, expected in (("rows", "rows-"), (7, "Feed-")):
        source.name = name
        _, task = await begun(source)
        assert task.name.startswith(expected)
        task.stop()
    await turns()


@virtual_time
async def test_the_cancellation_of_the_caller_is_raised_when_the_source_is_closed():
    source = Feed(1, waits=True, patient=True)
    caller, _task = await begun(source)
    caller.cancel("enough")
    await turns()
    assert not caller.done()
    assert source.log == ["asked", "closing"]
    source.go_on.set()
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await caller
    assert source.log == ["asked", "closing", "closed"]
    assert caller.cancelling() == 1


@virtual_time
async def test_a_second_cancellation_interrupts_closing_as_any_clean_up():
    source = Feed(1, waits=True, patient=True)
    caller, task = await begun(source)
    for message in ("enough", "at once"):
        caller.cancel(message)
        await turns()
    with pytest.raises(asyncio.CancelledError, match="at once"):
        await caller
    assert source.log == ["asked", "closing"]
    assert task.cancelled()


@virtual_time
async def test_a_cancellation_while_the_source_is_closed_after_its_last_batch_ends_that():
    source = Feed(0, patient=True)
    caller, task = await begun(source)
    assert source.log == ["asked", "closing"]
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert source.log == ["asked", "closing"]
    assert task.cancelled()


@virtual_time
async def test_a_stop_while_the_source_is_closed_after_its_last_batch_does_not_abandon_it():
    source = Abandonable(0, patient=True)
    caller, task = await begun(source)
    task.stop()
    with pytest.raises(TaskStopped):
        await caller
    assert source.log == ["asked", "closing"]


@pytest.mark.parametrize("kind", [Feed, Abandonable])
@pytest.mark.parametrize("ends", ["cancel", "stop"])
@virtual_time
async def test_what_ends_before_the_first_batch_was_asked_for_closes_the_source(kind, ends):
    source = kind(1)
    cooperator = Cooperator()
    caller = asyncio.create_task(accumulate(source, cooperator))
    while not (cooperator.tasks and cooperator.tasks[0].steps):
        await asyncio.sleep(0)
    [task] = cooperator.tasks
    assert source.log == []
    getattr(task, ends)()
    with pytest.raises((asyncio.CancelledError, TaskStopped)):
        await caller
    await turns()
    abandoned = ends == "stop" and kind is Abandonable
    assert source.log == (["abandoned"] if abandoned else ["closing", "closed"])


@virtual_time
async def test_stopping_the_cooperator_abandons_the_source_and_ends_the_wait_for_it():
    source = Abandonable(1, waits=True)
    cooperator = Cooperator()
    caller = asyncio.create_task(accumulate(source, cooperator))
    await turns()
    cooperator.stop()
    assert source.log == ["asked", "abandoned"]
    with pytest.raises(SchedulerStopped):
        await caller
    [waiting] = source.tasks
    await turns()
    assert waiting.cancelled()
    assert source.log == ["asked", "abandoned"]


@virtual_time
async def test_an_error_of_the_source_is_raised_when_it_is_closed_and_that_of_closing_first():
    class Failing(Feed):
        async def next_batch(self, n, max_seconds=None):
            raise LookupError("no more")

    source = Failing(1, closing=None)
    with pytest.raises(LookupError, match="no more"):
        await accumulate(source)
    assert source.log == ["closing", "closed"]
    source = Failing(1, closing=OSError("not closed"))
    with pytest.raises(OSError, match="not closed") as raised:
        await accumulate(source)
    assert isinstance(raised.value.__context__, LookupError)


@virtual_time
async def test_an_error_in_closing_after_the_last_batch_is_raised_and_closing_not_repeated():
    source = Feed(2, closing=OSError("not closed"))
    with pytest.raises(OSError, match="not closed"):
        await accumulate(source)
    assert source.log == ["asked"] * 3 + ["closing", "closed"]


@pytest.mark.parametrize("limits", [{"max_items": 3}, {"max_bytes": 100}])
@virtual_time
async def test_too_many_values_are_refused_when_the_source_is_closed(limits):
    source = Feed(100, patient=True)
    caller, task = await begun(source, **limits)
    assert source.log == ["asked"] * 4 + ["closing"]
    source.go_on.set()
    with pytest.raises(AccumulationTooLarge) as refused:
        await caller
    assert refused.value.count == 3
    assert task.state == "failed"


@virtual_time
async def test_one_batch_is_ahead_of_the_consumer_whose_stream_is_closed_when_it_leaves():
    source = Abandonable(100)
    async with batches(1, source) as streamed:
        assert await anext(streamed) == [100]
        await turns()
        assert source.log == ["asked"] * 2
        assert await anext(streamed) == [99]
        await turns()
        assert source.log == ["asked"] * 3
    assert source.log == ["asked"] * 3 + ["abandoned", "closing", "closed"]


@virtual_time
async def test_cancelling_the_consumer_while_a_batch_is_awaited_closes_the_source():
    source = Feed(3, waits=True, patient=True)
    streamed = batches(1, source)
    waiting = asyncio.create_task(anext(streamed))
    await turns()
    waiting.cancel()
    await turns()
    assert (waiting.done(), source.log) == (False, ["asked", "closing"])
    source.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(StopAsyncIteration):
        await anext(streamed)
    await streamed.aclose()


@virtual_time
async def test_a_stream_that_is_dropped_while_a_batch_waits_to_be_taken_abandons_its_source():
    source = Abandonable(3)
    streamed = batches(1, source)
    await anext(streamed)
    await turns()
    del streamed
    await turns()
    assert source.log == ["asked"] * 2 + ["abandoned"]


class Value:
    """Something that can be referred to weakly."""


@pytest.mark.parametrize("how", ["fails", "is cancelled", "is refused", "ends"])
@virtual_time
async def test_nothing_of_an_accumulation_that_is_over_is_kept_alive(how):
    values = weakref.WeakSet()

    class Values(Feed):
        async def next_batch(self, n, max_seconds=None):
            batch = await super().next_batch(n, max_seconds)
            if batch == [1] and how == "fails":
                raise LookupError
            if batch == [1] and how == "is cancelled":
                asyncio.get_running_loop().call_soon(caller.cancel)
                await turns()
            made = [Value() for _ in batch]
            values.update(made)
            return made

    source = Values(5)
    limits = {"max_items": 3} if how == "is refused" else {}
    caller = asyncio.create_task(accumulate(source, **limits))
    gc.collect()
    gc.disable()
    try:
        error = None
        try:
            await caller
        except BaseException as raised:  # noqa: BLE001 (it is kept, on purpose)
            error = raised
        assert (error is None) is (how == "ends")
        caller = None
        source.tasks.clear()
        await turns()
        assert len(values) == 0
    finally:
        gc.enable()


@virtual_time
async def test_a_batch_that_was_taken_is_not_kept_while_the_next_one_is_awaited():
    made = Value()
    gone = weakref.ref(made)
    source = Feed(2, waits=True)
    given = [[made], []]

    async def next_batch(n, max_seconds=None):
        if not given[0]:
            await source.gate.acquire()
        return given.pop(0)

    source.next_batch = next_batch
    streamed = batches(1, source)
    batch = await anext(streamed)
    assert batch == [made]
    await turns()
    del made, batch
    assert gone() is None
    await source.let()
    assert [batch async for batch in streamed] == []


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in Python 3.12")
@pytest.mark.parametrize("waits", [False, True])
@virtual_time
async def test_eager_tasks_do_no_harm(waits):
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    source = Feed(3, waits=waits)
    if waits:
        for _ in range(4):
            source.gate.release()
    assert list(await batch_accumulate(1, source)) == [3, 2, 1]
    assert source.log == ["asked"] * 4 + ["closing", "closed"]
