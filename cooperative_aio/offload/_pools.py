"""The places that have workers: `processes` and `interpreters`."""

from __future__ import annotations

import asyncio
import os
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from cooperative_aio._checks import quote
from cooperative_aio._host import check_host_has
from cooperative_aio.offload._core import check_count
from cooperative_aio.offload._figures import WorkerFigures
from cooperative_aio.offload._hosts import InterpreterHost, ProcessHost, pool_class
from cooperative_aio.offload._places import StreamingPlace
from cooperative_aio.offload._streams import Stream
from cooperative_aio.offload._wire import dump_call
from cooperative_aio.offload._workers import Worker

__all__ = ["Interpreters", "Processes", "WorkerPlace", "interpreters", "processes"]


class WorkerPlace(StreamingPlace):
    """Place that runs each generator in a worker, and keeps the workers for the next ones."""

    def __init__(self, name: str, limit: int, prefetch: int, grace: float) -> None:
        super().__init__(name, limit, prefetch, grace)
        self._idle: list[Worker] = []
        self._workers: dict[Worker, None] = {}  # those too that start, run and end

    @abstractmethod
    def _new_worker(self) -> Worker:
        """Return a worker that is yet to be started."""

    def _figures_of_workers(self) -> tuple[WorkerFigures, ...]:
        return tuple(one.figures() for one in tuple(self._workers) if not one.is_gone)

    def _prepare(
        self, factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> bytes:
        return dump_call(factory, args, kwargs)

    async def _serve(self, stream: Stream) -> None:
        while self._idle:
            worker = self._idle.pop()
            if await self._run_in(worker, stream):
                return
            stream.disconnect()  # it has died while it was idle
        worker = self._new_worker()
        self._workers[worker] = None
        try:
            await worker.start()
        except BaseException:
            await self._put_back(worker)
            raise
        if not await self._run_in(worker, stream):
            raise worker.death(stream)

    async def _run_in(self, worker: Worker, stream: Stream) -> bool:
        """Run the generator there, if that lives; return whether it has begun."""
        try:
            return worker.alive and await worker.run(stream)
        finally:
            await self._put_back(worker)

    async def _put_back(self, worker: Worker) -> None:
        if worker.alive:
            self._idle.append(worker)
        else:
            await self._shut_down(worker)

    async def _shut_down(self, worker: Worker) -> None:
        try:
            await worker.shut_down(self._grace)
        finally:
            del self._workers[worker]

    async def _leave(self) -> None:
        idle, self._idle = self._idle, []
        await asyncio.gather(*(self._shut_down(worker) for worker in idle))


class Processes(WorkerPlace):
    """Place whose generators run in worker processes; `processes()` makes it."""

    def __init__(self, name: str, limit: int, nice: int, prefetch: int, grace: float) -> None:
        super().__init__(name, limit, prefetch, grace)
        self._nice = nice

    def _new_worker(self) -> Worker:
        return Worker("worker process", ProcessHost(self._nice), self._note_death)


def processes(
    workers: int | None = None, *, nice: int = 0, prefetch: int = 4, grace: float = 5.0
) -> Processes:
    """Run generators in other processes of this machine: for those that compute.

        async with processes() as place:
            values = await accumulate(place.open(range, 1_000_000))

    The workers are spawned when they are first needed, used again, and ended when the
    place is left. They ignore SIGINT: this process closes their generators when it is
    interrupted. The program has to start under `if __name__ == "__main__":`, because each
    worker imports its main module.

    Args:
        workers: The number of processes, and so of the generators that run at the
            same time, at least 1; others wait for one to end. By default, one for
            each CPU that this process may use.
        nice: How much to lower the priority of the workers, from 0 to 19. If the workers
            keep all processors busy, and nothing else does, 10 gives the loop a processor
            some milliseconds sooner. Beside busy programs of normal priority, workers at 10
            get a tenth of a processor. It is ignored where there are no such priorities
            (Windows).
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
    check_host_has("processes", "run generators in processes", "cooperate() with them")
    workers = _count_workers(workers)
    complaint = f"nice must be an integer from 0 to 19, got {quote(nice)}"
    if isinstance(nice, bool) or not isinstance(nice, int):
        raise TypeError(complaint)
    if not 0 <= nice <= 19:  # noqa: PLR2004
        raise ValueError(complaint)
    return Processes(f"processes({workers})", workers, nice, prefetch, grace)


class Interpreters(WorkerPlace):
    """Place whose generators run in interpreters; `interpreters()` makes it."""

    def _new_worker(self) -> Worker:
        return Worker("interpreter of process", InterpreterHost(), self._note_death)


def interpreters(
    workers: int | None = None, *, prefetch: int = 4, grace: float = 5.0
) -> Interpreters:
    """Run generators in other interpreters of this process: Python 3.14 and later.

    Each interpreter has a lock of its own, so they compute beside each other as processes
    do, and start faster. They differ from `processes()` in three things: extension modules
    have to support interpreters, a crash ends the whole process, and a generator whose step
    does not end cannot be ended by force.

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
        NotImplementedError: This Python has no InterpreterPoolExecutor.
        TypeError: An argument is not a number.
        ValueError: An argument is too small.
    """
    check_host_has("threads", "run generators in interpreters", "cooperate() with them")
    workers = _count_workers(workers)
    pool_class()
    return Interpreters(f"interpreters({workers})", workers, prefetch, grace)


def _count_workers(workers: int | None) -> int:
    """Return how many there shall be: by default, one for each CPU that is usable.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is less than 1.
    """
    if workers is not None:
        check_count("workers", workers)
        return workers
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # pragma: no cover (macOS and Windows)
