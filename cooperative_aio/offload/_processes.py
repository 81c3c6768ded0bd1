"""Generators in other processes of this machine: for those that compute."""

from __future__ import annotations

import functools
import multiprocessing
import socket
from concurrent.futures import Executor, ProcessPoolExecutor

from cooperative_aio._host import check_host_has
from cooperative_aio.offload._worker import attach_process
from cooperative_aio.offload._workers import Worker, WorkerPlace, count_workers

__all__ = ["Processes", "processes"]


class Processes(WorkerPlace):
    """Run each generator in a worker process: what `processes()` returns."""

    def __init__(self, name: str, limit: int, nice: int, prefetch: int, grace: float) -> None:
        super().__init__(name, limit, prefetch, grace)
        self._make_executor = functools.partial(_make_executor, nice)

    def _new_worker(self) -> Worker:
        return Worker("worker process", self._make_executor, _kill)


def _make_executor(nice: int, connection: socket.socket, endings: socket.socket) -> Executor:
    return ProcessPoolExecutor(
        1,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=attach_process,
        initargs=(connection, endings, nice),
    )


def _kill(pid: int) -> bool:
    for process in [each for each in multiprocessing.active_children() if each.pid == pid]:
        process.kill()
    return True


def processes(
    workers: int | None = None, *, nice: int = 15, prefetch: int = 4, grace: float = 5.0
) -> Processes:
    """Run generators in other processes of this machine: for those that compute.

    The workers are spawned when they are first needed, used again, and ended when the
    place is left. They ignore SIGINT: it is this process that closes their generators
    when it is interrupted. The program has to start under
    `if __name__ == "__main__":`, since each worker imports its main module.

    Args:
        workers: The number of processes, and so of the generators that run at the
            same time, at least 1; others wait for one to end. By default, one for
            each CPU that this process may use.
        nice: How much to lower the priority of the workers, from 0 to 19, so that the
            loop has a processor at once when there is something to do. They compute as
            fast as before while nobody else wants their processors. Where there are no
            such priorities (Windows) it is ignored.
        prefetch: The number of batches of each that are made ahead, at most.
        grace: How long, in seconds, a generator may take to be closed before its
            process is killed, which is logged as a warning.

    Returns:
        A place, which is an asynchronous context manager.

    Raises:
        NotImplementedError: This is a browser.
        TypeError: An argument is not a number.
        ValueError: An argument is too small, or too large.
    """
    check_host_has(
        "processes",
        "run generators in processes",
        "cooperate() with them",
    )
    workers = count_workers(workers)
    _check_nice(nice)
    return Processes(f"processes({workers})", workers, nice, prefetch, grace)


def _check_nice(nice: object) -> None:
    complaint = f"nice must be an integer from 0 to 19, got {nice!r}"
    if isinstance(nice, bool) or not isinstance(nice, int):
        raise TypeError(complaint)
    if not 0 <= nice <= 19:  # noqa: PLR2004
        raise ValueError(complaint)
