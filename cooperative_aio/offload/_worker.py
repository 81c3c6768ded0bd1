"""In the worker: generators one after the other, over the sockets that it was given."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import threading
from io import BufferedReader
from multiprocessing import spawn
from typing import Any, Final

from cooperative_aio.offload._frames import (
    CALL,
    FINISHED,
    HEADER,
    NUMBER,
    ORDER,
    VALUES,
    frame,
    unpack_order,
)
from cooperative_aio.offload._pickling import dump_error, dump_values, load_call
from cooperative_aio.offload._pulling import Order, Orders, serve

__all__ = ["Channel", "attach_interpreter", "attach_process", "identify", "run_one"]


class Channel:
    """Talk with the place, which has two sockets to this.

    Calls, orders and replies pass through one of them, in the main thread. A thread
    waits at the other for generators that are to be closed, so that it sleeps as long as
    one runs: if it took the orders as well, the two would contend for the interpreter.

    Args:
        connection: For calls, orders and replies.
        endings: For the numbers of the generators that are to be closed.
        is_process: Whether to end this process when there is nobody left to talk to.
    """

    def __init__(
        self, connection: socket.socket, endings: socket.socket, *, is_process: bool
    ) -> None:
        self._connection = connection
        self._reader = connection.makefile("rb")
        self._endings = endings
        self._is_process = is_process
        self._lock = threading.Lock()
        self._orders = _SentOrders(self._reader)
        self._number = 0  # of the generator that has these orders
        self._closed = 0  # the last number that came
        self._busy = False
        self._over = False  # nothing more will come
        self._lost = False  # because whoever started this has gone
        self._listener = threading.Thread(
            target=self._listen, name="cooperative_aio endings", daemon=is_process
        )
        self._listener.start()

    # In a thread of its own

    def _listen(self) -> None:
        while number := self._next_ending():
            with self._lock:
                self._closed = number
                if number == self._number:
                    self._orders.close()
        with self._lock:
            self._over, self._lost = True, number is None
            if self._lost:
                self._orders.close()
            if not self._busy:
                self._leave()

    def _next_ending(self) -> int | None:
        """Wait for a number; 0 is a goodbye, None is none."""
        data = b""
        with contextlib.suppress(OSError):
            data = self._endings.recv(NUMBER.size, socket.MSG_WAITALL)
        return NUMBER.unpack(data)[0] if len(data) == NUMBER.size else None

    def _leave(self) -> None:
        for each in (self._reader, self._connection, self._endings):
            each.close()
        if self._lost and self._is_process:
            os._exit(1)

    # In the main thread

    def run_one(self) -> None:
        """Run the next generator to its end."""
        with self._lock:
            self._busy = True
        letter, call = _read_frame(self._reader)
        while letter and letter != CALL:  # the last generator has left orders
            letter, call = _read_frame(self._reader)
        if letter:
            serve(functools.partial(load_call, call), self._begin(), self)
        with self._lock:
            self._busy = False
            if self._over:
                self._leave()

    def _begin(self) -> Orders:
        with self._lock:
            self._orders = _SentOrders(self._reader)
            self._number += 1
            if self._over or self._closed == self._number:
                self._orders.close()
            return self._orders

    def values(self, values: list[Any]) -> None:
        self._connection.sendall(frame(VALUES, dump_values(values)))

    def finished(self, error: BaseException | None) -> None:
        with contextlib.suppress(OSError):  # the listener has noticed, too
            self._connection.sendall(frame(FINISHED, dump_error(error)))


class _SentOrders(Orders):
    """Take the orders as they come; anything else is the end of them."""

    def __init__(self, reader: BufferedReader) -> None:
        super().__init__()
        self._reader = reader

    def take(self) -> Order | None:
        letter, data = _read_frame(self._reader)
        return Order(*unpack_order(data)) if letter == ORDER else None


def _read_frame(reader: BufferedReader) -> tuple[bytes, bytes]:
    """Wait for a frame; return its letter and content, which are empty when none comes."""
    with contextlib.suppress(OSError):
        head = reader.read(HEADER.size)
        if len(head) == HEADER.size:
            letter, size = HEADER.unpack(head)
            return letter, reader.read(size)
    return b"", b""


# By thread. Not a thread's local data: in an interpreter, each call from outside has its own.
_channels: Final[dict[int, Channel]] = {}


def attach_process(connection: socket.socket, endings: socket.socket, nice: int) -> None:
    """Prepare a worker process; it is not for the terminal to interrupt."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(nice)
    _channels[threading.get_ident()] = Channel(connection, endings, is_process=True)


def attach_interpreter(connection: int, endings: int, surroundings: dict[str, Any]) -> None:
    """Prepare an interpreter: it shall find the modules that are found here."""
    spawn.prepare(surroundings)
    _channels[threading.get_ident()] = Channel(
        socket.socket(fileno=connection), socket.socket(fileno=endings), is_process=False
    )


def identify() -> int:
    """Return the number of the process, when that is ready."""
    return os.getpid()


def run_one() -> None:
    """Run the next generator to its end."""
    _channels[threading.get_ident()].run_one()
