"""Many generators over one place."""

import asyncio
from collections import defaultdict

import pytest
from offload_jobs import endless, failing, numbers

from cooperative_aio import offload

FOREVER = 10**9  # values


async def collected(results):
    values = defaultdict(list)
    async for arguments, batch in results:
        values[arguments] += batch
    return values


async def test_all_values_come_with_the_arguments_of_their_generator():
    async with offload.threads(3) as place:
        results = offload.map(place, numbers, [(n,) for n in range(1, 8)], max_batch_size=2)
        assert await collected(results) == {(n,): list(range(n)) for n in range(1, 8)}


async def test_it_runs_in_processes():
    async with offload.processes(2) as place:
        results = offload.map(place, numbers, [(n,) for n in range(1, 8)])
        assert await collected(results) == {(n,): list(range(n)) for n in range(1, 8)}


class Feed:
    """A place and its source, which log what happens to them."""

    def __init__(self):
        self.log = []
        self.running = 0
        self.most = 0

    def open(self, factory, *args):
        return FedSource(self, factory(*args), args)


class FedSource:
    def __init__(self, place, iterator, args):
        self.place = place
        self.iterator = iter(iterator)
        self.name = args[0]
        self.begun = False

    async def next_batch(self, n, max_seconds=None):
        if not self.begun:
            self.begun = True
            self.place.running += 1
            self.place.most = max(self.place.most, self.place.running)
        await asyncio.sleep(0)
        self.place.log.append((self.name, n, max_seconds))
        return [value for _, value in zip(range(n), self.iterator, strict=False)]

    async def close(self):
        self.place.running -= 1
        self.place.log.append((self.name, "closed"))


async def test_any_place_will_do_with_one_generator_at_a_time():
    place = Feed()
    results = offload.map(place, numbers, [(2,), (1,)], max_batch_size=1, max_seconds=0.5)
    assert [item async for item in results] == [((2,), [0]), ((2,), [1]), ((1,), [0])]
    assert place.log == [
        *[(2, 1, 0.5)] * 3,
        (2, "closed"),
        *[(1, 1, 0.5)] * 2,
        (1, "closed"),
    ]
    assert place.most == 1


async def test_no_more_generators_are_open_than_limit_says():
    place = Feed()
    await collected(offload.map(place, numbers, [(9,)] * 10, limit=3, max_batch_size=2))
    assert (place.most, place.running) == (3, 0)


async def test_a_consumer_that_does_not_take_holds_them_up():
    place = Feed()
    taken = []

    def arguments():
        for number in range(100):
            taken.append(number)
            yield (1,)

    async with offload.map(place, numbers, arguments(), limit=2) as results:
        await anext(results)
        await asyncio.sleep(0.05)
        assert len(taken) <= 4


async def test_an_error_ends_the_others_first():
    place = Feed()

    def work(name):
        yield from failing(2, KeyError("first")) if name == "bad" else endless()

    results = offload.map(place, work, [("good",), ("bad",)], limit=2, max_batch_size=1)
    with pytest.raises(KeyError, match="first"):
        await collected(results)
    assert place.running == 0
    assert [item async for item in results] == []


async def test_an_error_of_the_arguments_is_raised():
    def arguments():
        yield (1,)
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        await collected(offload.map(Feed(), numbers, arguments()))


async def test_closing_ends_the_generators():
    place = Feed()
    async with offload.map(place, numbers, [(FOREVER,), (FOREVER,)], limit=2) as results:
        await anext(results)
    assert place.running == 0
    assert [item async for item in results] == []
    await results.aclose()


async def test_closing_before_the_beginning_does_nothing():
    place = Feed()
    await offload.map(place, numbers, [(FOREVER,)]).aclose()
    assert place.log == []


async def test_closing_wakes_who_waits():
    place = Feed()
    results = offload.map(place, numbers, [(FOREVER,)], max_batch_size=10_000)
    waiting = asyncio.create_task(collected(results))
    await asyncio.sleep(0)
    await results.aclose()
    await waiting


async def test_an_error_that_nobody_got_to_is_dropped():
    place = Feed()

    def work(_name):
        yield from failing(2, KeyError("second"))

    async with offload.map(place, work, [("a",)], max_batch_size=2) as results:
        await anext(results)
        await asyncio.sleep(0.05)


async def test_dropping_it_ends_the_generators():
    place = Feed()
    async for _ in offload.map(place, numbers, [(FOREVER,)]):
        break
    while place.running:
        await asyncio.sleep(0)


def test_dropping_it_after_its_loop_says_nothing():
    async def main():
        main.results = offload.map(Feed(), numbers, [(FOREVER,)])
        await anext(main.results)

    asyncio.run(main())
    del main.results


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"limit": 0}, ValueError, "limit must be an integer of at least 1, got 0"),
        ({"max_batch_size": 0}, ValueError, "max_batch_size must be an integer of at least 1"),
        ({"max_seconds": 0}, ValueError, "max_seconds must be a finite number above 0, got 0"),
    ],
)
def test_bad_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        offload.map(Feed(), numbers, [], **options)
