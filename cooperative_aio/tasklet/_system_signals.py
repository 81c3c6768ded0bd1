"""Signals of the operating system: one handler for each, shared by who waits for it."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from cooperative_aio._checks import quote
from cooperative_aio._host import check_host_has

# Handlers belong to the process, and to its main thread, so one table does.
_receivers: dict[signal.Signals, SystemSignal] = {}


class SystemSignal:
    """The handler of one system signal, while any tasklet waits for it."""

    def __init__(self, number: signal.Signals) -> None:
        self._number = number
        self._waiting: list[tuple[asyncio.AbstractEventLoop, Callable[[], object]]] = []
        former = signal.getsignal(number)
        if former is None:
            raise RuntimeError(
                f"cannot wait for {number.name}; its handler is not Python's and could "
                "not be put back"
            )
        self._former = former
        try:
            signal.signal(number, self._received)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"signal must be one that can be caught, got {number.name}"
            ) from error
        if sys.platform != "win32":  # pragma: no branch - as the loop's own handlers do
            signal.siginterrupt(number, False)  # noqa: FBT003 - its only argument

    def _received(self, _number: int, _frame: object) -> None:
        # A handler may run between any two bytecodes: it only passes the signal on. The
        # loop's own handlers work by the wakeup descriptor and are not disturbed.
        for loop, callback in tuple(self._waiting):
            if not loop.is_closed():
                loop.call_soon_threadsafe(callback)

    def add(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
        """Have `callback` called in the loop for each signal that arrives."""
        self._waiting = [*self._waiting, (loop, callback)]

    def remove(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
        """Undo `add`; the last to go puts the former handler back."""
        self._waiting = [w for w in self._waiting if w != (loop, callback)]
        if self._waiting:
            return
        del _receivers[self._number]
        # Comparing methods with `is` would always fail; and a handler that somebody
        # installed over ours is theirs to keep.
        if signal.getsignal(self._number) == self._received:
            signal.signal(self._number, self._former)


def subscribe(
    number: signal.Signals, loop: asyncio.AbstractEventLoop, callback: Callable[[], object]
) -> SystemSignal:
    """Have `callback` called in the loop for each such signal; `remove` ends it.

    Raises:
        RuntimeError: This is not the main thread, or the handler is not Python's.
        ValueError: The signal cannot be caught.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            f"cannot wait for {number.name} outside the main thread; Python has its signal "
            "handlers there"
        )
    receiver = _receivers.get(number)
    if receiver is None:
        receiver = _receivers[number] = SystemSignal(number)
    receiver.add(loop, callback)
    return receiver


def as_signal(value: Any) -> signal.Signals:
    """Return the signal of that number.

    Raises:
        ValueError: There is none, or it cannot be caught.
        NotImplementedError: This is a browser.
    """
    check_host_has("signals", "wait for a signal", "listen to the page's events")
    try:
        number = signal.Signals(value)
    except ValueError as error:
        raise ValueError(
            f"signal must be a signal of this system, got {quote(value)}"
        ) from error
    if number in {getattr(signal, "SIGKILL", None), getattr(signal, "SIGSTOP", None)}:
        raise ValueError(f"signal must be one that can be caught, got {number.name}")
    return number
