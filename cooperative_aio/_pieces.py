"""Apply a function to many values, as many at a step as fit the time."""

from __future__ import annotations

import inspect
import reprlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sized
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Any, Final, TypeVar

from cooperative_aio._checks import check_finite

__all__ = ["pieces"]

R = TypeVar("R")

GROWTH: Final = 2  # times as many values as in the piece before, at most


def pieces(
    values: Iterable[Any],
    function: Callable[[Any], R],
    seconds: float = 0.001,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Generator[R, Any, None]:
    """Call `function` with one piece of `values` after the other; yield what it returns.

        sums = await accumulate(pieces(range(100_000), sum))
        print(sum(sums))

    For `accumulate`, `batches` and `cooperate`: a piece is a step. The first piece is
    one value. Each later one has as many values as should take `seconds`, judged by the
    piece before, and at most twice as many as that.

    Args:
        values: A list, an array, a DataFrame (by rows) or anything else that can be sliced
            is cut into slices. Values of any other iterable come in lists. A generator
            means by its values what it means in `accumulate`: None is no value, and an
            awaitable is waited on. It is closed when this generator is.
        function: A function that takes a piece.
        seconds: How many seconds a step should take: one call, and fetching its values. A value
            that takes longer is a piece of its own.
        clock: The function that steps are timed by, in seconds.

    Raises:
        TypeError: The values cannot be iterated over, the function cannot be called, or
            `seconds` is not a number; later, an awaitable came from a generator
            expression, which cannot receive its result.
        ValueError: `seconds` is not finite and above 0.
        BaseException: What fetching values, or `function`, raises; later.

    Cancellation: nothing is awaited here. A CancelledError that is thrown into this
    generator is thrown into that of the values.
    """
    seconds = check_finite("seconds", seconds, positive=True)
    if not callable(function):
        raise TypeError(f"function must be callable, got {reprlib.repr(function)}")
    pace = _Pace(seconds, clock)
    rows = getattr(values, "iloc", values)  # pandas slices rows by that, whatever the index
    if isinstance(values, Sized) and _has_slices(rows):
        return _of_slices(rows, len(values), function, pace)
    if isinstance(values, Generator):
        return _of_generator(values, function, pace)
    try:
        iterator = iter(values)
    except TypeError:
        raise TypeError(f"values must be iterable, got {reprlib.repr(values)}") from None
    return _of_iterator(iterator, function, pace)


class _Pace:
    """The number of values that fit the time, learnt from piece to piece."""

    __slots__ = ("_began", "_seconds", "clock", "size")

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._began = 0.0
        self.clock = clock
        self.size = 1

    def begin(self) -> float:
        """Begin a piece; return when to stop fetching values for it."""
        self._began = self.clock()
        return self._began + self._seconds / 2

    def end(self, count: int) -> None:
        """Learn from a piece of so many values, which is done."""
        took = self.clock() - self._began
        fitting = int(count * self._seconds / took) if took > 0 else GROWTH * count
        self.size = max(1, min(fitting, GROWTH * count))


def _has_slices(values: Any) -> bool:
    if isinstance(values, Mapping) or not hasattr(type(values), "__getitem__"):
        return False
    try:
        values[:0]
    except (TypeError, KeyError):
        return False
    return True


def _of_slices(
    values: Any, length: int, function: Callable[[Any], R], pace: _Pace
) -> Generator[R, Any, None]:
    begin = 0
    while begin < length:
        end = min(begin + pace.size, length)
        pace.begin()
        result = function(values[begin:end])
        pace.end(end - begin)
        begin = end
        yield result
        del result


def _of_iterator(
    iterator: Iterator[Any], function: Callable[[Any], R], pace: _Pace
) -> Generator[R, Any, None]:
    clock = pace.clock
    while True:
        enough = pace.begin()
        piece = []
        for value in islice(iterator, pace.size):
            piece.append(value)
            if clock() >= enough:
                break
        if not piece:
            return
        result = function(piece)
        pace.end(len(piece))
        yield result
        del result


def _of_generator(
    values: Generator[Any, Any, Any], function: Callable[[Any], R], pace: _Pace
) -> Generator[Any, Any, None]:
    advance: Callable[[], Any] = partial(next, values)
    with closing(values):
        while True:
            piece, steps, awaited = _fetch(values, advance, pace)
            if not steps:
                return
            result = function(piece) if piece else None
            pace.end(steps)
            try:
                sent = error = None
                if piece or awaited is None:
                    sent, error = yield from _offer(result)
                if awaited is not None and error is None:
                    wanted, awaited = awaited, None
                    sent, error = yield from _offer(wanted)
                    del wanted
            finally:
                if inspect.iscoroutine(awaited):  # nobody will wait for it any more
                    awaited.close()
            advance = (
                partial(values.send, sent) if error is None else partial(values.throw, error)
            )
            del piece, result, sent, error, awaited


def _fetch(
    values: Generator[Any, Any, Any], advance: Callable[[], Any], pace: _Pace
) -> tuple[list[Any], int, Any]:
    """Return the values of a piece, the steps that took, and an awaitable that came last."""
    clock = pace.clock
    enough = pace.begin()
    piece: list[Any] = []
    steps = 0
    plain: type = type(None)
    forward = partial(next, values)
    while steps < pace.size:
        try:
            value = advance()
        except StopIteration:
            break
        advance = forward
        steps += 1
        if type(value) is not plain:
            if inspect.isawaitable(value):
                _check_receiver(values, value)
                return piece, steps, value
            plain = type(value)
        if value is not None:
            piece.append(value)
        if clock() >= enough:
            break
    return piece, steps, None


def _check_receiver(values: Generator[Any, Any, Any], value: Any) -> None:
    if getattr(getattr(values, "gi_code", None), "co_name", "") == "<genexpr>":
        if inspect.iscoroutine(value):
            value.close()
        raise TypeError(
            f"cannot wait for {reprlib.repr(value)}: a generator expression cannot receive its"
            " result; write a generator function that does `yield (yield awaitable)`"
        )


def _offer(value: Any) -> Generator[Any, Any, tuple[Any, BaseException | None]]:
    """Yield a value; return what is sent for it, or raised."""
    try:
        return (yield value), None
    except GeneratorExit:
        raise
    except BaseException as error:  # noqa: BLE001 (the generator of the values will raise it)
        return None, error
