"""Generators in other processes of this machine: for those that compute."""

from __future__ import annotations

import multiprocessing
import socket
from concurrent.futures import Executor, ProcessPoolExecutor

from cooperative_aio.offload._worker import attach_process
from cooperative_aio.offload._workers import Worker, WorkerPlace, count_workers

__all__ = ["Processes", "processes"]


class Processes(WorkerPlace):
    """Run each generator in a worker process: what `processes()` returns."""

    def _new_worker(self) -> Worker:
        return Worker("worker process", _make_executor, _kill)


def _make_executor(connection: socket.socket) -> Executor:
    return ProcessPoolExecutor(
        1,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=attach_process,
        initargs=(connection,),
    )


def _kill(pid: int) -> bool:
    for process in [each for each in multiprocessing.active_children() if each.pid == pid]:
        process.kill()
    return True


def processes(
    workers: int | None = None, *, prefetch: int = 4, grace: float = 5.0
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
        prefetch: The number of batches of each that are made ahead, at most.
        grace: How long, in seconds, a generator may take to be closed before its
            process is killed, which is logged as a warning.

    Returns:
        A place, which is an asynchronous context manager.

    Raises:
        TypeError: An argument is not a number.
        ValueError: An argument is too small.
    """
    workers = count_workers(workers)
    return Processes(f"processes({workers})", workers, prefetch, grace)
