"""Waiting for a file descriptor to become readable or writable."""

from __future__ import annotations

import asyncio
import os
import sys
from enum import IntFlag
from typing import Any, Protocol

from cooperative_aio._checks import quote
from cooperative_aio.tasklet._conditions import Exclusive
from cooperative_aio.tasklet._ending import Joinable


class HasFileno(Protocol):
    """Anything with a file descriptor: a socket, a pipe, a terminal."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...


class IOCondition(IntFlag):
    """What a descriptor can be ready for; the numbers are those of `selectors`."""

    READABLE = 1
    WRITABLE = 2


_NAMES = {"readable": IOCondition.READABLE, "writable": IOCondition.WRITABLE}
_POLLOUT = 4  # of select, and of GLib, which Kiwi's callers have


class WaitForIO(Exclusive):
    """The condition that a file descriptor is ready.

    `condition` is then what it is ready for; before that it is None. The condition happens
    again at every turn until the tasklet has read or written. The loop watches a duplicate
    of the descriptor, which is closed when the wait ends: so several conditions, and other
    readers, can watch the same one.
    As in Kiwi, without IOChannels and priorities. It needs a loop with `add_reader`.

    Args:
        filedes: A file descriptor, or an object with `fileno()`.
        condition: `"readable"`, `"writable"`, or flags of `selectors` (EVENT_READ,
            EVENT_WRITE), of `select` (POLLIN, POLLOUT) or `WaitForIO.READABLE` and
            `WaitForIO.WRITABLE`, ORed together for either.

    Raises:
        TypeError: `filedes` is no descriptor and has none.
        ValueError: The descriptor is closed, or `condition` unknown. A descriptor closed
            later, or one that cannot be polled, raises it at the `yield`.
    """

    READABLE = IOCondition.READABLE
    WRITABLE = IOCondition.WRITABLE
    coalesces = True

    def __init__(
        self, filedes: int | HasFileno, condition: int | str = IOCondition.READABLE
    ) -> None:
        super().__init__()
        self._interest = _interest(condition)
        _descriptor(filedes)
        self.filedes = filedes
        self.condition: IOCondition | None = None
        self._copy = -1
        self._loop: asyncio.AbstractEventLoop | None = None

    def _start(self, tasklet: Joinable[Any]) -> None:
        loop = tasklet.get_loop()
        self._loop = loop
        self._copy = copy = _duplicate(_descriptor(self.filedes))
        try:
            if IOCondition.READABLE in self._interest:
                loop.add_reader(copy, self._ready, IOCondition.READABLE)
            if IOCondition.WRITABLE in self._interest:
                loop.add_writer(copy, self._ready, IOCondition.WRITABLE)
        except OSError as error:
            self._stop()
            raise ValueError(
                f"filedes must be a descriptor that can be polled, got {quote(self.filedes)}"
            ) from error
        except BaseException:
            self._stop()
            raise

    def _stop(self) -> None:
        loop, self._loop = self._loop, None
        copy, self._copy = self._copy, -1
        if loop is not None and not loop.is_closed():
            loop.remove_reader(copy)
            loop.remove_writer(copy)
        _close(copy)

    def _ready(self, condition: IOCondition) -> None:
        self._fire(condition=condition)


def _interest(condition: object) -> IOCondition:
    if isinstance(condition, str):
        found = _NAMES.get(condition, IOCondition(0))
    elif isinstance(condition, int) and 0 < condition < 2 * _POLLOUT:
        found = IOCondition(condition & 3)
        if condition & _POLLOUT:
            found |= IOCondition.WRITABLE
    else:
        found = IOCondition(0)
    if not found:
        raise ValueError(
            f"condition must be readable, writable or both, got {quote(condition)}"
        )
    return found


def _descriptor(filedes: int | HasFileno) -> int:
    """Return the number of an open descriptor."""
    closed = f"filedes must be an open file descriptor, got {quote(filedes)}"
    number: object = None
    if isinstance(filedes, bool):
        pass
    elif isinstance(filedes, int):
        number = filedes
    elif hasattr(filedes, "fileno"):
        try:
            number = filedes.fileno()
        except ValueError as error:  # what a closed file says
            raise ValueError(closed) from error
    if not isinstance(number, int):
        raise TypeError(
            f"filedes must be a file descriptor or have a fileno(), got {quote(filedes)}"
        )
    try:
        os.fstat(number)
    except (OSError, OverflowError) as error:
        raise ValueError(closed) from error
    return number


if sys.platform == "win32":  # pragma: no cover - sockets cannot be duplicated by number

    def _duplicate(number: int) -> int:
        return number

    def _close(number: int) -> None:
        del number

else:
    _duplicate = os.dup
    _close = os.close
