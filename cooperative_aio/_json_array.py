"""Make a JSON array in pieces, each of which takes about a millisecond."""

from __future__ import annotations

import json
import reprlib
from collections.abc import AsyncGenerator, Callable, Generator, Hashable, Iterable, Mapping
from contextvars import Context
from typing import Any, Final, TypedDict, TypeVar

from typing_extensions import Unpack

from cooperative_aio import Cooperator, batches
from cooperative_aio._checks import check_finite
from cooperative_aio._pieces import pieces
from cooperative_aio.offload import BatchSource

__all__ = [
    "Dumps",
    "TaskOptions",
    "array_in_pieces",
    "check_array",
    "compact",
    "text_in_batches",
]

T = TypeVar("T")

Dumps = Callable[[Any], str | bytes]

TOGETHER: Final = 16  # pieces that are handed over at a time, at most
SOON: Final = 0.1  # seconds after which what there is is handed over
FROM_SOURCE: Final = 1000  # values that a source is asked for at a time

compact: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode


class TaskOptions(TypedDict, total=False):
    """What all that makes a task takes: see `Cooperator.cooperate`."""

    name: str | None
    weight: float
    context: Context | None
    group: Hashable


class _Encoder:
    """An encoder of lists of rows, whose results and `end()` together are one array."""

    def __init__(self, dumps: Dumps) -> None:
        self._dumps = dumps
        self._begun = False

    def __call__(self, rows: Any) -> bytes:
        text = self._dumps(rows if type(rows) is list else list(rows))
        if not isinstance(text, (str, bytes)):
            raise TypeError(f"dumps must return a str or bytes, got {reprlib.repr(text)}")
        data = (text.encode() if isinstance(text, str) else text).strip()
        if data[:1] != b"[" or data[-1:] != b"]":
            raise ValueError(
                "dumps must return a JSON array when it is given a list,"
                f" got {reprlib.repr(data)}"
            )
        if not self._begun:
            self._begun = True
            return data[:-1]
        return b"," + data[1:-1]

    def end(self) -> bytes:
        """Return what comes last."""
        return b"]" if self._begun else b"[]"


def check_array(rows: object, dumps: object, seconds: object) -> None:
    """Refuse what no array can be made of.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: `seconds` is not finite and above 0.
    """
    is_many = isinstance(rows, Iterable) or _is_source(rows) or hasattr(rows, "__getitem__")
    if not is_many or isinstance(rows, (str, bytes, Mapping)):
        raise TypeError(f"rows must be an iterable of rows, got {reprlib.repr(rows)}")
    if not callable(dumps):
        raise TypeError(f"dumps must be callable, got {reprlib.repr(dumps)}")
    check_finite("seconds", seconds, positive=True)


def _is_source(rows: object) -> bool:
    return callable(getattr(rows, "next_batch", None))


async def array_in_pieces(
    rows: Iterable[Any] | BatchSource[Any],
    dumps: Dumps,
    seconds: float,
    cooperator: Cooperator | None,
    **options: Unpack[TaskOptions],
) -> AsyncGenerator[bytes]:
    """Yield a JSON array piece by piece; several are handed over at a time.

    Cancellation: closes the generator, or the source, of the rows.
    """
    encoder = _Encoder(dumps)
    source: Any = rows if _is_source(rows) else None
    values: Any = rows if source is None else _drawn(source)
    try:
        made = pieces(values, encoder, seconds)
        async with batches(TOGETHER, made, cooperator, max_seconds=SOON, **options) as stream:
            async for batch in stream:
                yield b"".join(batch)
    finally:
        if source is not None:
            await source.close()
    yield encoder.end()


def _drawn(source: Any) -> Generator[Any, Any, None]:
    """Yield the values of a source one by one."""
    while len(batch := (yield source.next_batch(FROM_SOURCE, SOON))):
        yield from batch
        del batch


async def text_in_batches(
    lines: Iterable[Any] | BatchSource[Any],
    max_batch_size: int,
    max_seconds: float,
    cooperator: Cooperator | None,
    **options: Unpack[TaskOptions],
) -> AsyncGenerator[bytes]:
    """Yield what there is of some text, or bytes, batch by batch.

    Cancellation: closes the generator, or the source, of the lines.
    """
    async with batches(
        max_batch_size, lines, cooperator, max_seconds=max_seconds, **options
    ) as stream:
        async for batch in stream:
            yield "".join(batch).encode() if isinstance(batch[0], str) else b"".join(batch)
