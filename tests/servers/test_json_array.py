"""A JSON array in pieces: the same text, whatever the rows come from and whatever dumps."""

import asyncio
import contextlib
import functools
import json
from collections import deque

import pytest

from cooperative_aio import Cooperator, get_cooperator, json_array, offload
from cooperative_aio._json_array import compact
from cooperative_aio.testing import VirtualLoop

ROWS = [{"number": number, "text": "é" * (number % 5)} for number in range(1000)]


async def encoded(rows, dumps=compact, seconds=0.0001, cooperator=None, **options):
    pieces = json_array(rows, dumps, seconds=seconds, cooperator=cooperator, **options)
    return b"".join([piece async for piece in pieces])


def generated(rows=ROWS, log=None):
    try:
        yield from rows
    finally:
        if log is not None:
            log.append("closed")


class Source:
    """Hand over batches, as what a place opens does."""

    def __init__(self, *batches, fails=None):
        self.batches = list(batches)
        self.fails = fails
        self.closed = 0

    async def next_batch(self, n, max_seconds=None):
        await asyncio.sleep(0)
        if self.fails is not None and not self.batches:
            raise self.fails
        return self.batches.pop(0) if self.batches else []

    async def close(self):
        self.closed += 1


# The same text


@pytest.mark.parametrize("kind", [list, tuple, deque, iter, generated])
@pytest.mark.parametrize("count", [0, 1, 2, 1000])
async def test_an_array_is_what_dumps_makes_of_all_rows(kind, count):
    assert await encoded(kind(ROWS[:count])) == compact(ROWS[:count]).encode()


async def test_dumps_may_return_bytes_and_spaces():
    rows = list(range(100))
    assert json.loads(await encoded(rows, lambda each: json.dumps(each, indent=4))) == rows
    text = await encoded(rows, lambda each: f"\n {json.dumps(each)} \n".encode())
    assert json.loads(text) == rows


async def test_dumps_may_be_orjson():
    orjson = pytest.importorskip("orjson")
    assert await encoded(ROWS, orjson.dumps) == orjson.dumps(ROWS)


async def test_dumps_may_be_pydantics():
    pydantic = pytest.importorskip("pydantic")
    adapter = pydantic.TypeAdapter(list[dict[str, int | str]])
    rows = tuple(ROWS)
    assert await encoded(rows, adapter.dump_json) == adapter.dump_json(ROWS)


async def test_none_in_a_list_is_null_and_none_of_a_generator_is_no_row():
    assert await encoded([None, 1]) == b"[null,1]"
    assert await encoded(generated([None, 1, None])) == b"[1]"


async def test_a_generator_may_wait_for_rows():
    def rows():
        for number in range(3):
            yield (yield asyncio.sleep(0, number))

    assert await encoded(rows()) == b"[0,1,2]"


async def test_rows_may_come_from_a_source():
    source = Source([1, 2], [3], [[4]])
    assert await encoded(source) == b"[1,2,3,[4]]"
    assert source.closed == 1


async def test_rows_may_come_from_a_place():
    async with offload.threads() as place:
        assert await encoded(place.open(generated, ROWS)) == compact(ROWS).encode()


async def fetched(rows, log=None):
    """Rows as a database's cursor gives them: some at once, and now and then a wait."""
    try:
        for number, row in enumerate(rows):
            if number % 100 == 50:
                await asyncio.sleep(0)
            yield row
    finally:
        if log is not None:
            log.append("closed")


@pytest.mark.parametrize("count", [0, 1, 1000])
async def test_rows_may_come_from_an_asynchronous_generator(count):
    log = []
    assert await encoded(fetched(ROWS[:count], log)) == compact(ROWS[:count]).encode()
    assert log == ["closed"]


async def test_rows_may_come_from_an_asynchronous_iterator_that_cannot_be_closed():
    class Cursor:
        def __init__(self):
            self.rows = iter(ROWS)

        def __aiter__(self):
            return self

        async def __anext__(self):
            for row in self.rows:
                return row
            raise StopAsyncIteration

    assert await encoded(Cursor()) == compact(ROWS).encode()


async def test_a_table_is_cut_by_rows_and_given_to_dumps():
    class Table:
        columns = ("number", "text")

        def __init__(self, rows):
            self.rows = rows

        def __len__(self):
            return len(self.rows)

        def __getitem__(self, some):
            return Table(self.rows[some])

        def __iter__(self):
            raise AssertionError("it would give the columns")

    assert await encoded(Table(ROWS), lambda table: compact(table.rows)) == (
        compact(ROWS).encode()
    )
    with pytest.raises(TypeError, match="Table is not JSON serializable"):
        await encoded(Table(ROWS))


async def test_tables_may_be_of_pandas_and_polars():
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    as_rows = functools.partial(pandas.DataFrame.to_json, orient="records")
    assert json.loads(await encoded(pandas.DataFrame(ROWS), as_rows)) == ROWS
    as_rows = polars.DataFrame.write_json
    assert json.loads(await encoded(polars.DataFrame(ROWS), as_rows)) == ROWS


async def test_text_is_compact_and_as_it_is():
    assert compact([{"a": "é", "b": [1, 2]}]) == '[{"a":"é","b":[1,2]}]'
    with pytest.raises(ValueError, match="Out of range float values"):
        await encoded([float("nan")])


# In pieces


async def test_others_come_first_between_pieces():
    turns = 0

    async def turn():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    turning = asyncio.create_task(turn())
    await encoded(ROWS * 20)
    turning.cancel()
    assert turns > 10


async def test_pieces_that_are_ready_are_handed_over_together():
    handed = [piece async for piece in json_array(ROWS, seconds=1e-9)]
    assert len(handed) == -(-len(ROWS) // 16) + 1
    assert handed[-1] == b"]"


def test_a_slow_generator_is_not_waited_for():
    async def main():
        def rows():
            yield 1
            yield asyncio.sleep(10)
            yield 2

        pieces = json_array(rows(), seconds=0.001)
        loop = asyncio.get_running_loop()
        async with contextlib.aclosing(pieces):
            began = loop.time()
            assert await anext(pieces) == b"[1"
            assert loop.time() - began < 1
            assert await anext(pieces) == b",2"
            assert loop.time() - began >= 10

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


async def test_the_task_has_the_options_that_are_given():
    cooperator = Cooperator()
    pieces = json_array(
        generated(),
        seconds=1e-9,
        cooperator=cooperator,
        name="rows",
        weight=2,
        group="a client",
    )
    async with contextlib.aclosing(pieces):
        await anext(pieces)
        [task] = cooperator.tasks
        assert (task.name, task.weight) == ("rows", 2)
    assert cooperator.tasks == ()


# The end


async def test_a_generator_that_is_not_needed_any_more_is_closed():
    pieces = json_array(generated(log=(log := [])), seconds=1e-9)
    await anext(pieces)
    await pieces.aclose()
    assert log == ["closed"]
    assert get_cooperator().tasks == ()


async def test_a_source_that_is_not_needed_any_more_is_closed():
    source = Source(list(range(1000)), [1])
    pieces = json_array(source, seconds=1e-9)
    await anext(pieces)
    await pieces.aclose()
    assert source.closed == 1


async def test_an_asynchronous_generator_that_is_not_needed_any_more_is_closed():
    pieces = json_array(fetched(ROWS, log := []), seconds=1e-9)
    await anext(pieces)
    await pieces.aclose()
    assert log == ["closed"]


async def test_what_the_rows_raise_comes_out():
    def rows():
        yield 1
        raise KeyError("no such row")

    with pytest.raises(KeyError, match="no such row"):
        await encoded(rows())
    with pytest.raises(ZeroDivisionError, match="division"):
        await encoded(fetched(1 / 0 for _ in range(2)))
    source = Source([1], fails=KeyError("no such batch"))
    with pytest.raises(KeyError, match="no such batch"):
        await encoded(source)
    assert source.closed == 1


async def test_what_dumps_raises_comes_out():
    with pytest.raises(TypeError, match="not JSON serializable"):
        await encoded(generated([object()]))


@pytest.mark.parametrize("wrong", ["{}", "1", "", "[", b"x" * 500])
async def test_dumps_that_makes_no_array_is_refused(wrong):
    with pytest.raises(ValueError, match="dumps must return a JSON array when") as caught:
        await encoded([1], lambda _: wrong)
    assert len(str(caught.value)) < 300


async def test_dumps_that_makes_no_text_is_refused():
    with pytest.raises(TypeError, match="dumps must return a str or bytes, got None"):
        await encoded([1], lambda _: None)


@pytest.mark.parametrize("rows", [{"a": 1}, "text", b"bytes", 5, None])
def test_what_is_no_rows_is_refused(rows):
    with pytest.raises(TypeError, match="rows must be an iterable of rows, got"):
        json_array(rows)


def test_what_is_no_dumps_is_refused():
    with pytest.raises(TypeError, match="dumps must be callable, got 'json'"):
        json_array([], "json")


@pytest.mark.parametrize(("seconds", "error"), [(0, ValueError), ("1", TypeError)])
def test_what_is_no_time_is_refused(seconds, error):
    with pytest.raises(error, match="seconds must be a finite number above 0"):
        json_array([], seconds=seconds)
