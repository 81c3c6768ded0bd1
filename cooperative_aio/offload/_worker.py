"""In the worker: generators one after the other, over the socket that it was given."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import threading
from io import BufferedReader
from queue import SimpleQueue
from typing import Any

from cooperative_aio.offload._frames import (
    BYE,
    CALL,
    CLOSE,
    FINISHED,
    HEADER,
    ORDER,
    VALUES,
    frame,
    unpack_order,
)
from cooperative_aio.offload._pickling import dump_error, dump_values, load_call
from cooperative_aio.offload._pulling import Order, Orders, serve

__all__ = ["Channel", "attach_interpreter", "attach_process", "identify", "run_one"]


class Channel:
    """Read calls and orders from the socket, in a thread; write replies to it.

    Args:
        connection: The socket.
        is_process: Whether to end this process when there is nobody left to talk to.
    """

    def __init__(self, connection: socket.socket, *, is_process: bool) -> None:
        self._connection = connection
        self._is_process = is_process
        self._calls: SimpleQueue[tuple[bytes, Orders]] = SimpleQueue()
        self._lock = threading.Lock()
        self._busy = False
        self._over = False  # nothing more will come
        self._lost = False  # because whoever started this has gone
        self._reader = threading.Thread(
            target=self._read, name="cooperative_aio orders", daemon=is_process
        )
        self._reader.start()

    # In a thread of its own

    def _read(self) -> None:
        orders = Orders()
        orderly = False
        try:
            with self._connection.makefile("rb") as reader:
                while not orderly and (incoming := _read_frame(reader)) is not None:
                    letter, data = incoming
                    if letter == CALL:
                        orders = Orders()
                        self._calls.put((data, orders))
                    elif letter == ORDER:
                        orders.put(Order(*unpack_order(data)))
                    elif letter == CLOSE:
                        orders.close()
                    else:
                        orderly = letter == BYE
        except OSError:
            pass
        self._end(orders, lost=not orderly)

    def _end(self, orders: Orders, *, lost: bool) -> None:
        with self._lock:
            self._over, self._lost = True, lost
            if lost:
                orders.close()
            if not self._busy:
                self._leave()

    def _leave(self) -> None:
        self._connection.close()
        if self._lost and self._is_process:
            os._exit(1)

    # In the main thread

    def run_one(self) -> None:
        """Run the next generator to its end."""
        with self._lock:
            self._busy = True
        call, orders = self._calls.get()
        serve(functools.partial(load_call, call), orders, self)
        with self._lock:
            self._busy = False
            if self._over:
                self._leave()

    def values(self, values: list[Any]) -> None:
        self._connection.sendall(frame(VALUES, dump_values(values)))

    def finished(self, error: BaseException | None) -> None:
        with contextlib.suppress(OSError):  # the reader has noticed, too
            self._connection.sendall(frame(FINISHED, dump_error(error)))


def _read_frame(reader: BufferedReader) -> tuple[bytes, bytes] | None:
    head = reader.read(HEADER.size)
    if len(head) < HEADER.size:
        return None
    letter, size = HEADER.unpack(head)
    return letter, reader.read(size)


class _Local(threading.local):
    channel: Channel


_local = _Local()


def attach_process(connection: socket.socket) -> None:
    """Prepare a worker process; it is not for the terminal to interrupt."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _local.channel = Channel(connection, is_process=True)


def attach_interpreter(descriptor: int) -> None:
    """Prepare an interpreter."""
    _local.channel = Channel(socket.socket(fileno=descriptor), is_process=False)


def identify() -> int:
    """Return the number of the process, when that is ready."""
    return os.getpid()


def run_one() -> None:
    """Run the next generator to its end."""
    _local.channel.run_one()
