"""What all places have in common."""

import asyncio
import itertools
import re

import pytest
from offload_jobs import (
    SIGNALS,
    ExitsWhenUnpickled,
    a_coroutine,
    a_list,
    an_async_generator,
    awaitables,
    counting,
    endless,
    exiting_factory,
    exiting_on_close,
    exiting_value,
    failing,
    failing_on_close,
    holes,
    identity,
    not_iterable,
    numbers,
    refusing,
    signalling,
    slow,
)

from cooperative_aio import (
    Cooperator,
    SchedulerStopped,
    TaskStopped,
    accumulate,
    batch_accumulate,
    batches,
    offload,
)


async def begun(place, closed):
    """Return a source that has begun, and will note in a file that it was closed."""
    source = place.open(endless, str(closed))
    assert await source.next_batch(1) == [0]
    return source


async def start(coroutine):
    """Start a task that waits for batches of a source."""
    task = asyncio.create_task(coroutine)
    await asyncio.sleep(0.05)
    return task


# Values


async def test_accumulate_takes_a_source(make_place):
    async with make_place() as place:
        assert list(await accumulate(place.open(numbers, 2500))) == list(range(2500))
        assert list(await accumulate(place.open(numbers, 3, offset=7))) == [7, 8, 9]
        assert list(await accumulate(place.open(numbers, 0))) == []


async def test_a_source_is_called_by_the_name_of_its_factory(make_place):
    async with make_place() as place:
        assert place.open(numbers, 1).name == "numbers"


async def test_batch_accumulate_takes_a_source(make_place):
    async with make_place() as place:
        assert list(await batch_accumulate(7, place.open(numbers, 20))) == list(range(20))


async def test_batches_takes_a_source(make_place):
    async with make_place() as place:
        streamed = [batch async for batch in batches(4, place.open(numbers, 10))]
    assert streamed == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


async def test_nones_are_no_values_and_do_not_count(make_place):
    async with make_place() as place:
        streamed = [batch async for batch in batches(2, place.open(holes, 10))]
    assert streamed == [[0, 2], [4, 6], [8]]


async def test_any_iterable_will_do(make_place):
    async with make_place() as place:
        assert list(await accumulate(place.open(a_list, 1, "b", 2.5))) == [1, "b", 2.5]


async def test_a_slow_generator_hands_over_what_it_has_after_max_seconds(make_place):
    async with make_place() as place:
        source = place.open(slow, 0.02, 30)
        streamed = [batch async for batch in batches(1000, source, max_seconds=0.1)]
    assert len(streamed) > 1
    assert [value for batch in streamed for value in batch] == list(range(30))


async def test_a_smaller_batch_than_those_made_ahead_loses_nothing(make_place):
    sizes = itertools.chain((4, 1, 2), itertools.repeat(5))
    taken = []
    async with make_place() as place, place.open(numbers, 10) as source:
        while batch := await source.next_batch(size := next(sizes)):
            assert len(batch) <= size
            taken += batch
    assert taken == list(range(10))


async def test_several_sources_run_at_the_same_time(make_place):
    async with make_place() as place:
        one, two = place.open(identity), place.open(identity)
        assert await one.next_batch(1) != await two.next_batch(1)
        assert await one.next_batch(1) == await two.next_batch(1) == [0]


# Backpressure


@pytest.mark.parametrize("prefetch", [0, 3])
async def test_no_more_batches_are_made_than_prefetch_says(
    make_place, tmp_path, until, prefetch
):
    path = tmp_path / "count"
    async with make_place(prefetch=prefetch) as place:
        source = place.open(counting, str(path), 1000)
        assert await source.next_batch(10) == list(range(10))
        await until(lambda: path.read_text() == str(10 + 10 * prefetch))
        await asyncio.sleep(0.1)
        assert path.read_text() == str(10 + 10 * prefetch)


async def test_what_exceeds_the_limit_waits_for_its_turn(make_place):
    async with make_place() as place:
        one, two, three = (place.open(endless) for _ in range(3))
        await one.next_batch(1)
        await two.next_batch(1)
        waiting = asyncio.create_task(three.next_batch(2))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await one.close()
        assert await waiting == [0, 1]


async def test_a_source_that_waits_for_its_turn_can_be_closed(make_place):
    async with make_place() as place:
        one, two, three = (place.open(endless) for _ in range(3))
        await one.next_batch(1)
        await two.next_batch(1)
        waiting = asyncio.create_task(three.next_batch(2))
        await asyncio.sleep(0.05)
        await three.close()
        with pytest.raises(offload.SourceClosed, match="of endless; it was closed"):
            await waiting
        assert await one.next_batch(1) == [1]


# Ends


async def test_cancelling_closes_the_generator_before_the_caller_goes_on(make_place, tmp_path):
    closed = tmp_path / "closed"
    async with make_place() as place:
        task = await start(accumulate(await begun(place, closed)))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert closed.exists()


async def test_leaving_batches_early_closes_the_generator(make_place, tmp_path):
    closed = tmp_path / "closed"
    async with make_place() as place:
        async with batches(10, place.open(endless, str(closed))) as streamed:
            async for batch in streamed:
                assert batch == list(range(10))
                break
        assert closed.exists()


async def test_dropping_batches_closes_the_generator(make_place, tmp_path, until):
    closed = tmp_path / "closed"
    async with make_place() as place:
        async for batch in batches(10, place.open(endless, str(closed))):
            assert batch == list(range(10))
            break
        await until(closed.exists)


async def test_dropping_a_source_closes_the_generator(make_place, tmp_path, until):
    closed = tmp_path / "closed"
    async with make_place() as place:
        source = place.open(endless, str(closed))
        await source.next_batch(10)
        del source
        await until(closed.exists)


async def test_stopping_the_task_closes_the_generator(make_place, tmp_path, until):
    closed = tmp_path / "closed"
    async with make_place() as place:
        cooperator = Cooperator()
        waiting = await start(accumulate(await begun(place, closed), cooperator))
        [task] = cooperator.tasks
        task.stop()
        await until(closed.exists)
        with pytest.raises(TaskStopped):
            await waiting


async def test_stopping_the_cooperator_closes_the_generator(make_place, tmp_path, until):
    closed = tmp_path / "closed"
    cooperator = Cooperator()
    async with make_place() as place:
        task = await start(accumulate(await begun(place, closed), cooperator))
        cooperator.stop()
        await until(closed.exists)
        with pytest.raises(SchedulerStopped):
            await task


async def test_leaving_the_place_closes_everything(make_place, tmp_path):
    paths = [tmp_path / name for name in "ab"]
    async with make_place() as place:
        tasks = [await start(accumulate(await begun(place, path))) for path in paths]
        unused = place.open(endless)
    assert all(path.exists() for path in paths)
    for task in tasks:
        with pytest.raises(offload.SourceClosed, match="of endless; it was closed"):
            await task
    with pytest.raises(offload.SourceClosed, match="of endless; it was closed"):
        await unused.next_batch(1)


def test_the_end_of_the_loop_closes_everything(make_place, tmp_path):
    closed = tmp_path / "closed"
    started = asyncio.Event()

    async def hold():
        async with make_place(grace=1) as place:
            source = await begun(place, closed)
            started.set()
            await accumulate(source)

    async def main():
        main.task = asyncio.create_task(hold())
        await started.wait()
        await asyncio.sleep(0.05)

    asyncio.run(main())
    assert main.task.cancelled()
    assert closed.exists()


async def test_leaving_the_place_although_cancelled_closes_everything(make_place, tmp_path):
    closed = tmp_path / "closed"

    async def hold():
        async with make_place() as place:
            await begun(place, tmp_path / "other")
            kept = await begun(place, closed)
            task.cancel()  # it takes effect while the place is being left
        del kept

    task = asyncio.create_task(hold())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed.exists()


# Errors


async def test_an_error_comes_after_the_values_and_keeps_its_type(make_place):
    async with make_place() as place:
        source = place.open(failing, 3, LookupError("no more"))
        assert await source.next_batch(10) == [0, 1, 2]
        with pytest.raises(LookupError, match="no more"):
            await source.next_batch(10)
        assert await source.next_batch(10) == []
        with pytest.raises(LookupError, match="no more"):
            await accumulate(place.open(failing, 3, LookupError("no more")))


async def test_an_error_of_the_factory_is_raised(make_place):
    async with make_place() as place:
        with pytest.raises(KeyError, match="no"):
            await accumulate(place.open(refusing))


@pytest.mark.parametrize("name", SIGNALS)
async def test_what_would_end_the_server_is_the_cause_of_an_error(make_place, name):
    message = rf"^the generator of signalling raised {name}\("
    async with make_place() as place:
        source = place.open(signalling, name)
        assert await source.next_batch(1) == [1]
        with pytest.raises(RuntimeError, match=message) as raised:
            await source.next_batch(1)
        assert type(raised.value.__cause__) is type(SIGNALS[name])
        assert raised.value.__cause__.args == SIGNALS[name].args
        with pytest.raises(RuntimeError, match=message):
            await accumulate(place.open(signalling, name))
        with pytest.raises(RuntimeError, match=message):
            async for _ in batches(10, place.open(signalling, name)):
                pass
        with pytest.raises(RuntimeError, match=message):
            async for _ in offload.map(place, signalling, [(name,)]):
                pass
        assert list(await accumulate(place.open(numbers, 2))) == [0, 1]


async def test_a_factory_that_exits_is_an_error(make_place):
    async with make_place() as place:
        with pytest.raises(RuntimeError, match=r"raised SystemExit\('no reason'\)") as raised:
            await accumulate(place.open(exiting_factory))
    assert isinstance(raised.value.__cause__, SystemExit)


async def test_exiting_in_the_clean_up_is_an_error(make_place):
    async with make_place() as place:
        source = place.open(exiting_on_close)
        await source.next_batch(1)
        with pytest.raises(RuntimeError, match=r"raised SystemExit\(4\)"):
            await source.close()


async def test_an_import_that_exits_there_is_an_error(make_place):
    async with make_place() as place:
        source = place.open(a_list, ExitsWhenUnpickled(here=False))
        if isinstance(place, offload.Threads):
            await source.close()  # it is not unpickled
            return
        with pytest.raises(RuntimeError, match=r"raised SystemExit\(5\)"):
            await source.next_batch(1)
        assert list(await accumulate(place.open(numbers, 2))) == [0, 1]


async def test_an_import_that_exits_here_is_an_error(make_place):
    async with make_place() as place:
        source = place.open(exiting_value)
        if isinstance(place, offload.Threads):
            assert len(await source.next_batch(1)) == 1
            return
        with pytest.raises(
            RuntimeError,
            match=r"^unpickling a batch of exiting_value raised SystemExit\(5\)",
        ) as raised:
            await source.next_batch(1)
        assert isinstance(raised.value.__cause__, SystemExit)


async def test_a_group_of_errors_is_raised_as_it_is(make_place):
    async with make_place() as place:
        with pytest.raises(ExceptionGroup, match="both"):
            async for _ in offload.map(
                place, failing, [(0, ExceptionGroup("both", [KeyError(1), KeyError(2)]))]
            ):
                pass


async def test_an_error_of_the_clean_up_is_raised_where_that_is_awaited(make_place):
    async with make_place() as place:
        source = place.open(failing_on_close)
        await source.next_batch(1)
        with pytest.raises(ArithmeticError, match="while closing"):
            await source.close()
        await source.close()


async def test_an_error_of_the_clean_up_is_reported_where_nobody_waits(make_place):
    reports = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: reports.append(context)
    )
    async with make_place() as place:
        source = place.open(failing_on_close)
        await source.next_batch(1)
        source.abandon()
    assert [report["message"] for report in reports] == [
        "closing the generator of failing_on_close failed"
    ]
    assert isinstance(reports[0]["exception"], ArithmeticError)


async def test_an_error_that_nobody_got_to_is_dropped(make_place):
    async with make_place() as place:
        source = place.open(failing, 3, LookupError("no more"))
        assert await source.next_batch(1) == [0]
        await asyncio.sleep(0.2)
        await source.close()


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (not_iterable, "what the factory returns must be iterable, got 5; pass a generator"),
        (a_coroutine, "what the factory returns must be iterable, got <coroutine"),
        (an_async_generator, "iterate over it with `async for` in a coroutine"),
        (awaitables, "cannot wait for <coroutine .*>: there is no event loop"),
    ],
)
async def test_what_is_no_plain_iterable_is_refused(make_place, factory, message):
    async with make_place() as place:
        with pytest.raises(TypeError, match=message):
            await accumulate(place.open(factory))


# Bad use


async def test_a_place_has_to_be_entered_once(make_place):
    place = make_place()
    with pytest.raises(RuntimeError, match=r"on a new place, .*; use `async with`"):
        place.open(numbers, 1)
    async with place:
        with pytest.raises(RuntimeError, match=r"an entered place, .*; make another"):
            await place.__aenter__()
    with pytest.raises(RuntimeError, match=r"on a left place, .*; make another"):
        place.open(numbers, 1)


async def test_what_is_no_factory_is_refused(make_place):
    async with make_place() as place:
        with pytest.raises(TypeError, match=r"got <generator .*; pass the function and its"):
            place.open(numbers(5))


async def test_two_cannot_wait_for_a_batch(make_place):
    async with make_place() as place, place.open(slow, 0.3, 2) as source:
        first = asyncio.create_task(source.next_batch(1))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="while another coroutine waits for one"):
            await source.next_batch(1)
        assert await first == [0]


async def test_a_cancelled_wait_loses_no_value(make_place):
    async with make_place() as place, place.open(slow, 0.1, 4) as source:
        waiting = asyncio.create_task(source.next_batch(2))
        for _ in range(3):
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await source.next_batch(2) == [0, 1]
        assert await source.next_batch(2) == [2, 3]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0,), ValueError, "n must be an integer of at least 1, got 0"),
        ((True,), TypeError, "n must be an integer of at least 1, got True"),
        ((1, 0), ValueError, "max_seconds must be a finite number above 0, got 0"),
        ((1, "x"), TypeError, "max_seconds must be a finite number above 0, got 'x'"),
    ],
)
async def test_a_bad_order_is_refused(make_place, arguments, error, message):
    async with make_place() as place:
        with pytest.raises(error, match=message):
            await place.open(numbers, 1).next_batch(*arguments)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"prefetch": -1}, ValueError, "prefetch must be an integer of at least 0, got -1"),
        ({"prefetch": 1.5}, TypeError, "prefetch must be an integer of at least 0, got 1.5"),
        ({"grace": -1}, ValueError, "grace must be a finite number of at least 0, got -1"),
    ],
)
def test_bad_options_are_refused(make_place, options, error, message):
    with pytest.raises(error, match=message):
        make_place(**options)


async def test_a_source_belongs_to_its_loop(make_place):
    async with make_place() as place:
        source = place.open(numbers, 5)

        def elsewhere():
            async def main():
                with pytest.raises(RuntimeError, match=r"a source of .* on another event loop"):
                    place.open(numbers, 5)
                with pytest.raises(RuntimeError, match="of numbers on another event loop"):
                    await source.next_batch(1)

            asyncio.run(main())

        await asyncio.to_thread(elsewhere)


async def test_closing_a_source_that_was_not_asked_for_anything_is_easy(make_place):
    async with make_place() as place:
        async with place.open(numbers, 5) as source:
            pass
        with pytest.raises(offload.SourceClosed, match="of numbers; it was closed"):
            await source.next_batch(1)


async def test_repr_tells_the_state(make_place):
    async with make_place() as place:
        source = place.open(numbers, 5)
        assert repr(source) == "<Source new numbers>"
        await source.next_batch(1)
        assert re.fullmatch("<Source (open|finished) numbers>", repr(source))
        await source.close()
        assert repr(source) == "<Source closed numbers>"
