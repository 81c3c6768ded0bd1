"""Make a JSON array in pieces, each of which takes about a millisecond."""

from __future__ import annotations

import json
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Callable,
    Generator,
    Iterable,
    Mapping,
)
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, Unpack

from cooperative_aio._accumulate import BatchSource
from cooperative_aio._batches import batches
from cooperative_aio._checks import check_callable, check_finite, quote
from cooperative_aio._cooperator import Cooperator
from cooperative_aio._options import TaskOptions
from cooperative_aio._pieces import pieces

__all__ = ["Dumps", "Rows", "check_array", "compact", "drawn", "json_array"]

Dumps = Callable[[Any], str | bytes]
Rows = Iterable[Any] | AsyncIterable[Any] | BatchSource[Any]

TOGETHER: Final = 16  # pieces that are handed over at a time, at most
SOON: Final = 0.1  # seconds after which what there is is handed over
AT_A_TIME: Final = 1000  # values that a source is asked for, at most

compact: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode


def json_array(
    rows: Rows,
    dumps: Dumps = compact,
    *,
    seconds: float = 0.001,
    cooperator: Cooperator | None = None,
    **options: Unpack[TaskOptions],
) -> AsyncGenerator[bytes]:
    """Make a JSON array in pieces, so that nothing else waits for it.

    HTTP clients take it as the body of a request:

        await client.post(url, content=json_array(rows), headers=...)  # httpx
        await session.post(url, data=json_array(rows), headers=...)  # aiohttp

    Where the length has to be known beforehand, or the body to be sent again, join the
    pieces: `b"".join([piece async for piece in json_array(rows)])`.

    Args:
        rows: What is in the array: any iterable, such as a list; a generator, whose values
            but None are taken, and whose awaitables are waited on; an asynchronous iterable,
            such as a database's cursor; or a source that a place has opened. A table of
            pandas or polars is cut by rows, and `dumps` is given tables.
        dumps: Encodes a list of rows, as `json.dumps`, `orjson.dumps` and the `dump_json` of
            pydantic's `TypeAdapter(list[Row])` do. By default it is the standard library's,
            without spaces.
        seconds: How many seconds making a piece should take; a row is never cut.
        cooperator: The Cooperator that makes the pieces; by default the running loop's own.
        **options: Those of the task, such as `name` and `weight`: see `TaskOptions`.

    Returns:
        An asynchronous generator of bytes. Nothing starts before the first is asked for.

    Raises:
        TypeError: An argument is of the wrong kind; later, `dumps` returns no text.
        ValueError: `seconds` is not finite and above 0; later, `dumps` makes no array.
        SchedulerFull: The Cooperator has `max_tasks` unfinished tasks; later.
        BaseException: What the rows, or `dumps`, raise; later.

    Cancellation: closes the rows, if they are a generator or a source; so does `aclose()`,
    and dropping it.
    """
    check_array(rows, dumps, seconds)
    return _in_pieces(rows, dumps, seconds, cooperator, options)


def check_array(rows: object, dumps: object, seconds: object) -> None:
    """Refuse what no array can be made of.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: `seconds` is not finite and above 0.
    """
    is_many = isinstance(rows, (Iterable, AsyncIterable)) or _is_source(rows)
    is_many = is_many or hasattr(rows, "__getitem__")
    if not is_many or isinstance(rows, (str, bytes, Mapping)):
        raise TypeError(f"rows must be an iterable of rows, got {quote(rows)}")
    check_callable("dumps", dumps)
    check_finite("seconds", seconds, positive=True)


class _Encoder:
    """An encoder of lists of rows, whose results and `end()` together are one array."""

    def __init__(self, dumps: Dumps) -> None:
        self._dumps = dumps
        self._begun = False

    def __call__(self, rows: Any) -> bytes:
        text = self._dumps(_listed(rows))
        if not isinstance(text, (str, bytes)):
            raise TypeError(f"dumps must return a str or bytes, got {quote(text)}")
        data = (text.encode() if isinstance(text, str) else text).strip()
        if data[:1] != b"[" or data[-1:] != b"]":
            raise ValueError(
                f"dumps must return a JSON array when it is given a list, got {quote(data)}"
            )
        if not self._begun:
            self._begun = True
            return data[:-1]
        return b"," + data[1:-1]

    def end(self) -> bytes:
        """Return what comes last."""
        return b"]" if self._begun else b"[]"


def _listed(rows: Any) -> Any:
    """Return a list of some rows; a table is left to `dumps`, since its list is of columns."""
    return rows if type(rows) is list or hasattr(rows, "columns") else list(rows)


async def _in_pieces(
    rows: Rows,
    dumps: Dumps,
    seconds: float,
    cooperator: Cooperator | None,
    options: TaskOptions,
) -> AsyncGenerator[bytes]:
    encoder = _Encoder(dumps)
    async with drawn(rows, seconds) as values:
        made = pieces(values, encoder, seconds)
        async with batches(TOGETHER, made, cooperator, max_seconds=SOON, **options) as stream:
            async for batch in stream:
                yield b"".join(batch)
    yield encoder.end()


# Rows that have to be waited for


@asynccontextmanager
async def drawn(rows: Any, seconds: float) -> AsyncGenerator[Iterable[Any]]:
    """Give an iterable of the rows; close what they come from.

    Cancellation: closes it, too.
    """
    if _is_source(rows):
        close: Callable[[], Any] | None = rows.close
        rows = _rows_of(partial(rows.next_batch, AT_A_TIME, SOON))
    elif isinstance(rows, AsyncIterable):
        iterator = aiter(rows)
        close = getattr(iterator, "aclose", None)
        rows = _rows_of(partial(_next_rows, iterator, seconds))
    else:
        close = None
    try:
        yield rows
    finally:
        if close is not None:
            await close()


def _is_source(rows: object) -> bool:
    return callable(getattr(rows, "next_batch", None))


def _rows_of(next_batch: Callable[[], Any]) -> Generator[Any, Any, None]:
    """Yield one by one what comes in batches, of which the last is empty."""
    while len(batch := (yield next_batch())):
        yield from batch
        del batch


async def _next_rows(iterator: Any, seconds: float) -> list[Any]:
    """Return what comes within some seconds, and the row that takes longer."""
    rows: list[Any] = []
    until = time.perf_counter() + seconds
    async for row in iterator:
        rows.append(row)
        if time.perf_counter() >= until:
            break
    return rows
