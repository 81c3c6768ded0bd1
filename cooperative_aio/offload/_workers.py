"""Workers: executors of one, each with a socket to talk to what it runs.

Why one executor each: a generator stays in its worker between batches, and the death
of one worker must not end the generators of the others, as it would in an executor of
many.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import socket
from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, ThreadPoolExecutor
from typing import Any, Final

from cooperative_aio._errors import check_count
from cooperative_aio.offload._failures import WorkerDied
from cooperative_aio.offload._frames import (
    CALL,
    CLOSE,
    NUMBER,
    ORDER,
    VALUES,
    Frames,
    frame,
    pack_order,
)
from cooperative_aio.offload._pickling import dump_call, load_error, load_values
from cooperative_aio.offload._places import StreamingPlace
from cooperative_aio.offload._pulling import Order
from cooperative_aio.offload._streams import Stream, outlast
from cooperative_aio.offload._worker import identify, run_one

__all__ = ["Worker", "WorkerPlace", "count_workers"]

logger: Final = logging.getLogger("cooperative_aio")


class Worker(asyncio.BufferedProtocol):
    """Run generators, one at a time; be the link with the one that runs.

    Args:
        kind: What messages call it.
        make: Returns its executor, given its ends of two sockets: see `Channel`.
        end: Ends it by force, given the number of its process; returns whether it can.
    """

    def __init__(
        self,
        kind: str,
        make: Callable[[socket.socket, socket.socket], Executor],
        end: Callable[[int], bool],
    ) -> None:
        self.alive: bool = False
        self._kind = kind
        self._make = make
        self._end = end
        self._executor: Executor | None = None
        self._pid = 0
        self._transport: asyncio.Transport | None = None
        self._endings: socket.socket | None = None
        self._frames = Frames()
        self._stream: Stream | None = None
        self._number = 0  # of the generator that runs, or was the last to
        self._killed = self._given_up = False
        self._job: asyncio.Future[None] | None = None

    @property
    def started(self) -> bool:
        """Whether there is something to be shut down."""
        return self._executor is not None

    # Its life

    async def start(self, steward: Executor) -> None:
        """Start it, in a thread of `steward`: that takes some time.

        Raises:
            WorkerDied: It did not get as far as being ready.

        Cancellation: takes effect when it is ready.
        """
        self._endings, their_endings = socket.socketpair()
        self._endings.settimeout(0)
        with their_endings:
            ours, theirs = socket.socketpair()
            try:
                with theirs:
                    await self._start(steward, theirs, their_endings)
                await self._connect(ours)
            except BaseException:
                ours.close()
                raise

    async def _start(self, steward: Executor, *theirs: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        launching = loop.run_in_executor(steward, self._launch, *theirs)
        await outlast(launching)
        try:
            self._pid = launching.result()
        except BrokenExecutor as error:
            raise WorkerDied(
                f"a {self._kind} died before it was ready; does the program start under"
                ' `if __name__ == "__main__":`?'
            ) from error

    def _launch(self, *theirs: socket.socket) -> int:
        self._executor = self._make(*theirs)
        return self._executor.submit(identify).result()

    async def _connect(self, ours: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        unix = ours.family.name == "AF_UNIX"
        connect: Any = loop.create_unix_connection if unix else loop.create_connection
        await connect(lambda: self, sock=ours)

    async def shut_down(self, steward: Executor, grace: float) -> None:
        """End it, and wait until nothing is left of it.

        Cancellation: takes effect when nothing is left.
        """
        loop = asyncio.get_running_loop()
        self._announce(0)
        self.alive = False
        timer = loop.call_later(grace, self.kill)
        try:
            if self._executor is not None:
                ending = functools.partial(self._executor.shutdown, wait=not self._given_up)
                await outlast(loop.run_in_executor(steward, ending))
        finally:
            timer.cancel()
            if self._transport is not None:
                self._transport.close()
            if self._endings is not None:
                self._endings.close()

    # Running generators

    async def run(self, stream: Stream) -> None:
        """Run the generator of `stream`; return when it has ended, or this has died.

        Cancellation: abandons the stream, and takes effect when that has ended.
        """
        if stream.closing:
            return
        assert self._executor is not None  # noqa: S101 (it was started)
        self._stream = stream
        try:
            self._number += 1
            self._send(CALL, stream.call)
            stream.connect(self)
            try:
                self._job = asyncio.wrap_future(self._executor.submit(run_one))
            except RuntimeError:  # its death has just been noticed
                self._lose()
                return
            self._job.add_done_callback(self._job_done)
            await stream.settle(self._job)
        finally:
            self._stream = self._job = None

    def _job_done(self, job: asyncio.Future[None]) -> None:
        if job.cancelled() or job.exception() is not None:
            self._lose()

    def _lose(self) -> None:
        """Note that it has died, or cannot be talked to any more."""
        self.alive = False
        if self._stream is None:
            return
        died = WorkerDied(
            f"the {self._kind} {self._pid} died before the generator of"
            f" {self._stream.name} had come to its end"
        )
        self._stream.finish(None if self._killed else died)
        if self._given_up and self._job is not None:
            self._job.cancel()

    # As the link

    def put(self, order: Order) -> None:
        self._send(ORDER, pack_order(*order))

    def close(self) -> None:
        self._announce(self._number)  # to who steps it
        self._send(CLOSE)  # to who waits for an order

    def kill(self) -> None:
        """End it by force: it did not end in time."""
        if self._killed:
            return
        self._killed = True
        what = f"the generator of {self._stream.name}" if self._stream else "an idle worker"
        if self._end(self._pid):
            remedy = "was killed"
        else:
            remedy = "is left to itself"
            self._given_up = True
            self._lose()
        logger.warning(
            "%s was closed but has not ended in time; the %s %d %s",
            *(what, self._kind, self._pid, remedy),
        )

    def load(self, data: bytes) -> list[Any]:
        return load_values(data)

    def _send(self, letter: bytes, data: bytes = b"") -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame(letter, data))

    def _announce(self, ending: int) -> None:
        """Send the number of a generator that is to be closed, or 0 if there will be none."""
        if self._endings is not None:
            with contextlib.suppress(OSError):  # there is room; but it may have died
                self._endings.send(NUMBER.pack(ending))

    # What the loop tells it

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.alive = True

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return self._frames.room

    def buffer_updated(self, nbytes: int) -> None:
        for letter, content in self._frames.take(nbytes):
            if self._stream is not None:
                if letter == VALUES:
                    self._stream.receive(content)
                else:
                    self._stream.finish(load_error(content))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._lose()


class WorkerPlace(StreamingPlace):
    """Run each generator in a worker, and keep the workers for the next ones."""

    def __init__(self, name: str, limit: int, prefetch: int, grace: float) -> None:
        super().__init__(name, limit, prefetch, grace)
        self._idle: list[Worker] = []
        self._steward = ThreadPoolExecutor(limit, "cooperative_aio workers")

    @abstractmethod
    def _new_worker(self) -> Worker:
        """Return a worker that is yet to be started."""

    def _prepare(
        self, factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> bytes:
        return dump_call(factory, args, kwargs)

    async def _serve(self, stream: Stream) -> None:
        worker = self._idle.pop() if self._idle else self._new_worker()
        if not worker.alive and worker.started:
            await worker.shut_down(self._steward, self._grace)
            worker = self._new_worker()
        try:
            if not worker.started:
                await worker.start(self._steward)
            await worker.run(stream)
        finally:
            if worker.alive:
                self._idle.append(worker)
            else:
                await worker.shut_down(self._steward, self._grace)

    async def _leave(self) -> None:
        idle, self._idle = self._idle, []
        await asyncio.gather(*(worker.shut_down(self._steward, self._grace) for worker in idle))
        self._steward.shutdown()


def count_workers(workers: int | None) -> int:
    """Return how many there shall be: if nobody said, one for each CPU that is usable.

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
