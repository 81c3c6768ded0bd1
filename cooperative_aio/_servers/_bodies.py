"""The body of an answer, made and sent piece by piece, whatever the framework."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from functools import partial
from typing import Any, Final, Protocol, Unpack

from cooperative_aio import Cooperator, batches
from cooperative_aio._checks import check_count, check_finite
from cooperative_aio._json_array import Dumps, Rows, check_array, drawn, json_array
from cooperative_aio._options import TaskOptions
from cooperative_aio._servers._requests import sending
from cooperative_aio.offload import BatchSource

__all__ = ["Body", "Lines", "array_body", "text_body"]

Text = str | bytes | None
Lines = Iterable[Text] | AsyncIterable[Text] | BatchSource[Any]

SECONDS: Final = 0.001  # how long an asynchronous iterable of lines is read at a time


class Maker(Protocol):
    """What makes a body."""

    def __call__(self, *, cooperator: Cooperator | None) -> AsyncGenerator[bytes]:
        """Return its pieces, which the Cooperator makes as they are asked for."""


class Body:
    """Send what is made, and close what makes it however this ends.

    Args:
        make: Makes it.
        cooperator: What is to make it; None for what the application has.
        patience: Seconds after which a client that takes nothing is given up; None to
            wait for ever.
        is_whole: Whether all is to be made before the first piece is sent.
    """

    def __init__(
        self,
        make: Maker,
        cooperator: Cooperator | None,
        patience: float | None,
        *,
        is_whole: bool,
    ) -> None:
        if patience is not None:
            check_finite("patience", patience, positive=True)
        self._make = make
        self._cooperator = cooperator
        self._patience = patience
        self._is_whole = is_whole

    async def send(
        self,
        begin: Callable[[int | None], Awaitable[object]],
        write: Callable[[bytes], Awaitable[object]],
        end: Callable[[], Awaitable[object]],
        cooperator: Cooperator | None,
        *,
        is_wanted: bool = True,
    ) -> None:
        """Make it and send it; until the first piece, what goes wrong has a status of its own.

        Args:
            begin: Begins the answer; it is given the length of the body, if that is known.
            write: Sends a piece.
            end: Ends the answer.
            cooperator: The application's own, if there is one.
            is_wanted: Whether the client has asked for more than the head.

        Raises:
            ClientLostError: The client has gone, or takes nothing for too long.
            BaseException: What making it raises.

        Cancellation: closes what makes it.
        """
        async with aclosing(self._make(cooperator=self._cooperator or cooperator)) as made:
            if self._is_whole:
                first = [piece async for piece in made]
                length = sum(map(len, first))
            else:
                first, length = [await anext(made, b"")], None
            await self._sent(begin(length))
            if is_wanted:
                for piece in first:
                    await self._sent(write(piece))
                del first
                async for piece in made:
                    await self._sent(write(piece))
            await self._sent(end())

    async def _sent(self, something: Awaitable[object]) -> None:
        async with sending(self._patience):
            await something


def array_body(
    rows: Rows,
    dumps: Dumps,
    cooperator: Cooperator | None,
    patience: float | None,
    options: TaskOptions,
    *,
    streamed: bool,
    seconds: float,
) -> Body:
    """Return a body that is a JSON array.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A number is out of range.
    """
    check_array(rows, dumps, seconds)
    make = partial(json_array, rows, dumps, seconds=seconds, **options)
    return Body(make, cooperator, patience, is_whole=not streamed)


def text_body(
    lines: Lines,
    cooperator: Cooperator | None,
    patience: float | None,
    options: TaskOptions,
    *,
    max_batch_size: int,
    max_seconds: float,
) -> Body:
    """Return a body that is text, or bytes, streamed as it is made.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A number is out of range.
    """
    check_count("max_batch_size", max_batch_size)
    check_finite("max_seconds", max_seconds, positive=True)
    make = partial(_text_in_batches, lines, max_batch_size, max_seconds, **options)
    return Body(make, cooperator, patience, is_whole=False)


async def _text_in_batches(
    lines: Lines,
    max_batch_size: int,
    max_seconds: float,
    cooperator: Cooperator | None,
    **options: Unpack[TaskOptions],
) -> AsyncGenerator[bytes]:
    source: AbstractAsyncContextManager[Any] = nullcontext(lines)
    if isinstance(lines, AsyncIterable):
        source = drawn(lines, SECONDS)
    async with source as values:
        stream = batches(max_batch_size, values, cooperator, max_seconds=max_seconds, **options)
        async with stream:
            async for batch in stream:
                yield "".join(batch).encode() if isinstance(batch[0], str) else b"".join(batch)
