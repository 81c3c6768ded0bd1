"""A future that is cancelled with the very error that its work has raised."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from asyncio import Future
from collections.abc import Generator
from typing import Any, TypeVar

__all__ = ["FaithfulFuture", "cancel_with", "is_awaitable", "wake"]

T = TypeVar("T")


class FaithfulFuture(Future[T]):
    """A future whose CancelledError is the one that it was cancelled with.

    An `asyncio.Task` raises what its coroutine has raised: its class, arguments, notes,
    cause and traceback. A plain future raises a new error.
    """

    __slots__ = ("_cancelled_with",)

    _cancelled_with: asyncio.CancelledError | None

    def __init__(self, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._cancelled_with = None

    def result(self) -> T:
        """Return the result, or raise what it has ended with.

        Raises:
            asyncio.InvalidStateError: It has not ended.
            asyncio.CancelledError: It was cancelled.
            BaseException: Whatever its iterator has raised.
        """
        try:
            if self._cancelled_with is not None:
                self._raise_cancelled()
            return Future.result(self)
        finally:
            del self  # an exception refers to this frame

    def exception(self) -> BaseException | None:
        """Return what it has failed with, or None.

        Raises:
            asyncio.InvalidStateError: It has not ended.
            asyncio.CancelledError: It was cancelled.
        """
        try:
            if self._cancelled_with is not None:
                self._raise_cancelled()
            return Future.exception(self)
        finally:
            del self

    def __await__(self) -> Generator[Any, None, T]:
        try:
            if self._cancelled_with is not None:
                self._raise_cancelled()
            return Future.__await__(self)
        finally:
            del self

    def __iter__(self) -> Generator[Any, None, T]:
        return self.__await__()

    def _raise_cancelled(self) -> None:
        """Raise the error, the first time: it refers to the frames that it passes."""
        error, self._cancelled_with = self._cancelled_with, None
        if error is not None:
            try:
                raise error
            finally:
                del self, error


def is_awaitable(value: Any) -> bool:
    """Tell whether `value` is to be waited on; what cannot be looked at is not."""
    try:
        return asyncio.isfuture(value) or inspect.isawaitable(value)
    except Exception:  # noqa: BLE001 (a proxy that refers to nothing, say)
        return False


def wake(future: Future[None] | None) -> None:
    """Complete a future that something waits on, if it is there and not done yet."""
    if future is not None:
        with contextlib.suppress(asyncio.InvalidStateError):
            future.set_result(None)


def cancel_with(future: FaithfulFuture[Any], error: asyncio.CancelledError) -> None:
    """Cancel `future`, which is to raise `error`."""
    future._cancelled_with = error
    Future.cancel(future, *error.args[:1])
