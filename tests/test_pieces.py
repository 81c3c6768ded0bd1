"""`pieces`: as many values at a step as fit the time, from whatever values come."""

import asyncio
import inspect
from collections import deque

import pytest
from core_support import Clock, on_both_loops

from cooperative_aio import accumulate, batches, cooperate
from cooperative_aio._pieces import pieces


class Work:
    """A function that takes a second for each value, or what `costs` says of it."""

    def __init__(self, costs=None):
        self.clock = Clock()
        self.costs = costs or {}
        self.calls = []

    def __call__(self, piece):
        self.calls.append(piece)
        self.clock.advance(sum(self.costs.get(value, 1.0) for value in piece))
        return len(piece)


def sizes(values, seconds, costs=None):
    work = Work(costs)
    return list(pieces(values, work, seconds, clock=work.clock))


# How many


@pytest.mark.parametrize(
    "kind", [list, tuple, range, iter, deque, lambda each: (n for n in each)]
)
def test_a_piece_is_twice_as_long_until_it_takes_the_time(kind):
    values = kind(range(40)) if kind is not range else range(40)
    assert sizes(values, 10.0) == [1, 2, 4, 8, 10, 10, 5]


def test_a_piece_that_took_too_long_is_followed_by_one_that_fits():
    costs = dict.fromkeys(range(7, 100), 8.0)
    assert sizes(range(20), 8.0, costs) == [1, 2, 4, 8, 1, 1, 1, 1, 1]


def test_a_value_that_takes_longer_is_a_piece_of_its_own():
    assert sizes("abc", 0.5) == [1, 1, 1]


def test_what_takes_no_time_is_taken_twice_as_much_each_time():
    assert sizes(range(20), 1.0, dict.fromkeys(range(20), 0.0)) == [1, 2, 4, 8, 5]


@pytest.mark.parametrize("wrap", [iter, lambda each: map(int, each)])
def test_fetching_values_takes_half_of_the_time_at_most(wrap):
    work = Work(dict.fromkeys(range(100), 0.0))

    def slow():
        for value in range(10):
            work.clock.advance(0.25)
            yield value

    made = pieces(wrap(slow()), work, 1.0, clock=work.clock)
    assert list(made) == [1, 2, 2, 2, 2, 1]


def test_no_values_are_no_pieces():
    for values in ([], (), iter([]), {}, (n for n in [])):
        assert sizes(values, 1.0) == []


# Of what


def test_what_can_be_sliced_comes_in_slices():
    work = Work(dict.fromkeys("abcde", 1.0))
    list(pieces("abcde", work, 100.0, clock=work.clock))
    assert work.calls == ["a", "bc", "de"]


def test_what_cannot_be_sliced_comes_in_lists():
    for values in (iter("abcde"), deque("abcde"), dict.fromkeys("abcde"), set("a")):
        work = Work(dict.fromkeys("abcde", 1.0))
        list(pieces(values, work, 100.0, clock=work.clock))
        assert work.calls == [["a"], ["b", "c"], ["d", "e"]][: len(work.calls)]


def test_a_dict_that_makes_what_is_missing_is_left_as_it_is():
    class Makes(dict):
        def __missing__(self, key):
            raise AssertionError(key)

    assert sizes(Makes(a=1), 1.0) == [1]


def test_an_array_comes_in_arrays():
    numpy = pytest.importorskip("numpy")
    found = list(pieces(numpy.arange(7), lambda piece: int(piece.sum())))
    assert sum(found) == 21


def test_what_has_rows_by_position_is_sliced_by_them():
    class ByPosition:
        """As a DataFrame's `iloc`, which has no length."""

        def __init__(self, rows):
            self.rows = rows

        def __getitem__(self, rows):
            return Frame(self.rows[rows])

    class Frame:
        """As a DataFrame: its own slices go by labels, and its values are columns."""

        def __init__(self, rows):
            self.rows = rows
            self.iloc = ByPosition(rows)

        def __len__(self):
            return len(self.rows)

        def __iter__(self):
            raise AssertionError

    found = list(pieces(Frame("abcd"), lambda frame: frame.rows, 100.0))
    assert found[:2] == ["a", "bc"]


def test_a_table_of_pandas_comes_in_tables():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": range(100), "b": range(100)}, index=range(100, 0, -1))
    found = list(pieces(frame, lambda piece: piece))
    assert pandas.concat(found).equals(frame)


def test_none_is_a_value_in_a_list_and_none_in_a_generator():
    assert [v for piece in pieces([None, 1, None], list) for v in piece] == [None, 1, None]

    def values():
        yield from (None, 1, None)

    found = [piece for piece in pieces(values(), list) if piece is not None]
    assert found == [[1]]


def test_a_generator_that_yields_no_value_for_long_lets_others_go_first():
    clock = Clock()

    def values():
        for _ in range(4):
            clock.advance(1.0)
            yield None
        yield "late"

    assert list(pieces(values(), list, 1.0, clock=clock)) == [None] * 4 + [["late"]]


# What a generator waits on


def waiting(log=None):
    """Yield two values, wait, yield what came of that."""
    try:
        yield 1
        yield 2
        try:
            found = yield asyncio.sleep(0, "found")
        except ValueError as error:
            found = repr(error)
        yield found
    finally:
        if log is not None:
            log.append("closed")


@on_both_loops
async def test_an_awaitable_is_waited_on_after_the_values_before_it():
    assert list(await accumulate(pieces(waiting(), list, 100.0))) == [[1], [2], ["found"]]


@on_both_loops
async def test_an_awaitable_that_comes_first_is_waited_on():
    def values():
        yield (yield asyncio.sleep(0, 1))

    assert list(await accumulate(pieces(values(), list))) == [[1]]


@on_both_loops
async def test_what_an_awaitable_raises_is_raised_in_the_generator():
    async def fail():
        raise ValueError("failed")

    def values():
        try:
            yield fail()
        except ValueError as error:
            yield str(error)

    assert list(await accumulate(pieces(values(), list))) == [["failed"]]


@on_both_loops
async def test_a_generator_is_cancelled_where_it_waits():
    log = []

    def values():
        try:
            yield asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            log.append("cancelled")
            yield asyncio.sleep(0)
            log.append("cleaned up")
            raise

    task = cooperate(pieces(values(), list))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    while not task.waiting:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["cancelled", "cleaned up"]


def test_what_is_thrown_in_beside_an_awaitable_drops_that():
    made = pieces(waiting(log := []), list, 100.0)
    assert [next(made), next(made)] == [[1], [2]]  # the awaitable comes next
    with pytest.raises(KeyError):
        made.throw(KeyError("from outside"))
    assert log == ["closed"]


def test_what_is_thrown_in_may_be_handled_by_the_generator():
    made = pieces(waiting(), list, 100.0)
    assert [next(made), next(made)] == [[1], [2]]
    assert made.throw(ValueError("from outside")) == ["ValueError('from outside')"]


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_a_generator_is_closed_with_that_of_the_pieces(steps):
    log = []
    values = waiting(log)
    made = pieces(values, list, 100.0)
    stepped = [next(made) for _ in range(steps)]
    made.close()
    assert log == (["closed"] if steps else [])
    for awaitable in filter(inspect.iscoroutine, stepped):  # the task's that stepped it
        awaitable.close()
    if steps:
        assert values.gi_frame is None


def test_a_generator_is_closed_when_the_function_fails():
    made = pieces(waiting(log := []), lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(made)
    assert log == ["closed"]


def test_an_awaitable_of_a_generator_expression_is_refused():
    made = pieces((asyncio.sleep(0) for _ in "a"), list)
    with pytest.raises(TypeError, match=r"cannot wait for .*: a generator expression cannot"):
        next(made)

    class Promise:
        def __await__(self):
            raise NotImplementedError

    made = pieces((Promise() for _ in "a"), list)
    with pytest.raises(TypeError, match="cannot receive its result"):
        next(made)


# With the others


@on_both_loops
async def test_pieces_can_be_streamed():
    found = []
    async with batches(10, pieces(range(100), sum)) as stream:
        async for batch in stream:
            found += batch
    assert sum(found) == sum(range(100))


def test_what_is_no_function_is_refused():
    with pytest.raises(TypeError, match=r"function must be callable, got 'sum'"):
        pieces([], "sum")


def test_what_cannot_be_iterated_over_is_refused():
    with pytest.raises(TypeError, match=r"values must be iterable, got 5"):
        pieces(5, sum)


@pytest.mark.parametrize(
    ("seconds", "error"), [(0, ValueError), (-1, ValueError), ("1", TypeError)]
)
def test_a_time_that_is_none_is_refused(seconds, error):
    with pytest.raises(error, match="seconds must be a finite number above 0, got"):
        pieces([], sum, seconds)
