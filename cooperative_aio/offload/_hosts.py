"""What a worker lives in: a process, or an interpreter of this one."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import platform
import socket
from multiprocessing import spawn
from typing import Any, Protocol

from cooperative_aio.offload._worker import run_interpreter, run_process

__all__ = ["Host", "InterpreterHost", "ProcessHost", "pool_class"]


class Host(Protocol):
    """What a worker lives in; `start` and `join` are called in a thread of its own."""

    def start(self, connection: socket.socket, endings: socket.socket) -> None:
        """Start it, with these sockets, which are closed here."""

    def join(self) -> BaseException | None:
        """Wait for its end; return what it has raised, as far as that is known."""

    def kill(self) -> bool:
        """End it by force; return whether it can be."""
        ...


class ProcessHost:
    """A process of this machine.

    Args:
        nice: How much lower than that of this process its priority is.
    """

    def __init__(self, nice: int) -> None:
        self._nice = nice
        self._process: Any = None

    def start(self, connection: socket.socket, endings: socket.socket) -> None:
        with connection, endings:
            self._process = multiprocessing.get_context("spawn").Process(
                target=run_process, args=(connection, endings, self._nice)
            )
            self._process.start()

    def join(self) -> BaseException | None:
        self._process.join()
        code: int = self._process.exitcode
        return SystemExit(code) if code >= 0 else None

    def kill(self) -> bool:
        self._process.kill()
        return True


class InterpreterHost:
    """An interpreter of this process."""

    def __init__(self) -> None:
        self._pool: Any = None
        self._job: Any = None

    def start(self, connection: socket.socket, endings: socket.socket) -> None:
        with connection, endings:
            self._pool = pool_class()(1)
            arguments = (os.dup(connection.fileno()), os.dup(endings.fileno()))
            self._job = self._pool.submit(run_interpreter, *arguments, _surroundings())

    def join(self) -> BaseException | None:
        error: BaseException | None = self._job.exception()
        self._pool.shutdown()
        return error

    def kill(self) -> bool:
        return False


def _surroundings() -> dict[str, Any]:
    """Return where modules are found, and what the main one is, as for a process."""
    data = spawn.get_preparation_data("interpreter")
    wanted = ("sys_path", "init_main_from_name", "init_main_from_path")
    return {key: data[key] for key in wanted if key in data}


def pool_class() -> Any:
    """Return Python's pool of interpreters.

    Raises:
        NotImplementedError: This Python has none.
    """
    try:
        return concurrent.futures.InterpreterPoolExecutor  # type: ignore[attr-defined]
    except (AttributeError, ImportError):
        raise NotImplementedError(
            "cannot run generators in interpreters: that needs the InterpreterPoolExecutor"
            f" of Python 3.14, and this is {platform.python_version()}; use processes()"
        ) from None
