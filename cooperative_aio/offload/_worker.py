"""The main program of a worker: generators one after the other, over two sockets."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import threading
from multiprocessing import spawn
from typing import Any

from cooperative_aio.offload._pulling import Order, Orders, serve
from cooperative_aio.offload._wire import (
    BEGUN,
    CALL,
    FINISHED,
    HEADER,
    NUMBER,
    ORDER,
    READY,
    VALUES,
    dump_error,
    dump_values,
    frame,
    load_call,
    unpack_order,
)

__all__ = ["WorkerProgram", "run_interpreter", "run_process"]


class WorkerProgram:
    """The program of a worker process, which has two sockets to its place.

    Calls, orders and replies pass through one of them, in the main thread. A thread
    waits at the other for generators that are to be closed, so that it sleeps as long as
    one runs: if it took the orders as well, the two would contend for the interpreter.

    Args:
        connection: For calls, orders and replies.
        endings: For the numbers of the generators that are to be closed.
    """

    def __init__(self, connection: socket.socket, endings: socket.socket) -> None:
        self._connection = connection
        self._reader = connection.makefile("rb")
        self._endings = endings
        self._unsent = b""
        self._lock = threading.Lock()
        self._orders: Orders = _SentOrders(self)
        self._number = 0  # of the generator that has these orders
        self._closed = 0  # the last number that came
        self._over = False  # nothing more will come
        self._dismissed = False  # because the place has said goodbye
        self._listener = threading.Thread(
            target=self._listen, name="cooperative_aio endings", daemon=True
        )

    def run(self) -> bool:
        """Run generators until the place has gone; return whether it has said goodbye."""
        self._listener.start()
        self._unsent = frame(READY, NUMBER.pack(os.getpid()))
        while (call := self._next_call()) is not None:
            with contextlib.suppress(OSError):  # the listener will notice, too
                self._endings.send(BEGUN)
            serve(functools.partial(load_call, call), self._begin(), self)
        self._listener.join()
        for each in (self._reader, self._connection, self._endings):
            each.close()
        return self._dismissed

    def _next_call(self) -> bytes | None:
        letter, call = self.receive()
        while letter and letter != CALL:  # the last generator has left orders
            letter, call = self.receive()
        return call if letter else None

    def _begin(self) -> Orders:
        with self._lock:
            self._orders = _SentOrders(self)
            self._number += 1
            if self._over or self._closed == self._number:
                self._orders.close()
            return self._orders

    # In a thread of its own

    def _listen(self) -> None:
        while number := self._next_ending():
            with self._lock:
                self._closed = number
                if number == self._number:
                    self._orders.close()
        with self._lock:
            self._over, self._dismissed = True, number == 0
            self._orders.close()

    def _next_ending(self) -> int | None:
        """Wait for a number; 0 is a goodbye, None is none."""
        data = b""
        with contextlib.suppress(OSError):
            data = self._endings.recv(NUMBER.size, socket.MSG_WAITALL)
        return NUMBER.unpack(data)[0] if len(data) == NUMBER.size else None

    # Sending and receiving

    def values(self, values: list[Any]) -> None:
        self._unsent += frame(VALUES, dump_values(values))

    def finished(self, error: BaseException | None) -> None:
        self._unsent += frame(FINISHED, dump_error(error))

    def receive(self) -> tuple[bytes, bytes]:
        """Wait for a frame; return its letter and content, which are empty when none comes.

        What is to be sent is sent now, so that it is as few pieces as there can be.
        """
        with contextlib.suppress(OSError):  # the place has gone
            if self._unsent:
                unsent, self._unsent = self._unsent, b""
                self._connection.sendall(unsent)
            head = self._reader.read(HEADER.size)
            if len(head) == HEADER.size:
                letter, size = HEADER.unpack(head)
                return letter, self._reader.read(size)
        return b"", b""


class _SentOrders(Orders):
    """Orders as they come; anything else is the end of them."""

    def __init__(self, program: WorkerProgram) -> None:
        super().__init__()
        self._program = program

    def take(self) -> Order | None:
        letter, data = self._program.receive()
        return Order(*unpack_order(data)) if letter == ORDER else None


def run_process(connection: socket.socket, endings: socket.socket, nice: int) -> None:
    """Be a worker process; it is not for the terminal to interrupt."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(nice)
    if not WorkerProgram(connection, endings).run():
        os._exit(1)  # whatever else runs here: nobody is left to end it


def run_interpreter(connection: int, endings: int, surroundings: dict[str, Any]) -> None:
    """Be an interpreter: it shall find the modules that are found in the program."""
    sockets = [socket.socket(fileno=each) for each in (connection, endings)]
    spawn.prepare(surroundings)
    WorkerProgram(*sockets).run()
