"""Generators in other interpreters of this process, where Python has them."""

from __future__ import annotations

import concurrent.futures
import platform
import socket
from concurrent.futures import Executor
from multiprocessing import spawn
from typing import Any

from cooperative_aio._host import check_host_has
from cooperative_aio.offload._worker import attach_interpreter
from cooperative_aio.offload._workers import Worker, WorkerPlace, count_workers

__all__ = ["Interpreters", "interpreters"]


class Interpreters(WorkerPlace):
    """Run each generator in an interpreter of its own: what `interpreters()` returns."""

    def _new_worker(self) -> Worker:
        return Worker("interpreter of process", _make_executor, _leave_alone)


def _make_executor(connection: socket.socket, endings: socket.socket) -> Executor:
    arguments = (connection.detach(), endings.detach(), _surroundings())
    pool: Executor = _pool_class()(1, initializer=attach_interpreter, initargs=arguments)
    return pool


def _surroundings() -> dict[str, Any]:
    """Return where modules are found, and what the main one is, as for a process."""
    data = spawn.get_preparation_data("interpreter")
    wanted = ("sys_path", "init_main_from_name", "init_main_from_path")
    return {key: data[key] for key in wanted if key in data}


def _pool_class() -> Any:
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


def _leave_alone(_pid: int) -> bool:
    """Tell that an interpreter cannot be ended from outside."""
    return False


def interpreters(
    workers: int | None = None, *, prefetch: int = 4, grace: float = 5.0
) -> Interpreters:
    """Run generators in other interpreters of this process: Python 3.14 and later.

    Each has a lock of its own, so they compute beside each other as processes do, and
    start faster. What holds for `processes()` holds here too, except that extension
    modules have to support it, that a crash takes the whole process with it, and that
    a generator whose step does not end cannot be ended by force.

    Args:
        workers: The number of interpreters, and so of the generators that run at the
            same time, at least 1; others wait for one to end. By default, one for
            each CPU that this process may use.
        prefetch: The number of batches of each that are made ahead, at most.
        grace: How long, in seconds, to wait for a generator that was closed. One whose
            step takes longer is left to itself, with a warning on the logger
            `cooperative_aio`; the program cannot exit before it has ended.

    Returns:
        A place, which is an asynchronous context manager.

    Raises:
        NotImplementedError: This Python has no InterpreterPoolExecutor, or is in a
            browser.
        TypeError: An argument is not a number.
        ValueError: An argument is too small.
    """
    check_host_has(
        "threads",
        "run generators in interpreters",
        "cooperate() with them",
    )
    workers = count_workers(workers)
    _pool_class()
    return Interpreters(f"interpreters({workers})", workers, prefetch, grace)
