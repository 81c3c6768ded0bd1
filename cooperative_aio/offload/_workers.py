"""Talking to a worker, over two sockets.

A generator stays in its worker between batches, and the death of one worker must not end
the generators of the others: so this is no pool that hands out calls. Each worker has a thread
here, which starts it and waits for its end; everything else happens on the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import Any, Final

from cooperative_aio.offload._figures import WorkerFigures, memory_of
from cooperative_aio.offload._hosts import Host
from cooperative_aio.offload._pulling import Order
from cooperative_aio.offload._streams import Stream, outlast
from cooperative_aio.offload._wire import (
    CALL,
    CLOSE,
    NUMBER,
    ORDER,
    READY,
    VALUES,
    FrameCutter,
    WorkerDied,
    frame,
    load_error,
    load_values,
    pack_order,
)

__all__ = ["Worker"]

logger: Final = logging.getLogger("cooperative_aio")


class Worker(asyncio.BufferedProtocol):
    """Run generators, one at a time, and be the link with the one that runs.

    Args:
        kind: What messages call it.
        host: What it lives in.
        died: Called when it has gone without being asked to, or is left to itself.
    """

    def __init__(
        self, kind: str, host: Host, died: Callable[[], object] = lambda: None
    ) -> None:
        self.alive: bool = False  # it can be given a generator
        self._kind = kind
        self._host = host
        self._died = died
        self._pid = 0
        self._transport: asyncio.Transport | None = None
        self._endings: socket.socket | None = None
        self._cutter = FrameCutter()
        self._unsent = b""
        self._stream: Stream | None = None
        self._number = 0  # of the generator that runs, or was the last to
        self._killed = False
        self._trouble: BaseException | None = None
        self._ready: asyncio.Future[None] | None = None
        self._gone: asyncio.Future[None] | None = None
        self._job: asyncio.Future[None] | None = None

    @property
    def is_gone(self) -> bool:
        """Whether nothing is left of it."""
        return self._gone is not None and self._gone.done()

    def figures(self) -> WorkerFigures:
        """Return what there is to see of it; may be called in any thread."""
        pid = self._pid or None
        is_apart = pid is not None and pid != os.getpid()
        busy = self._stream is not None or not self.alive
        return WorkerFigures(pid, busy, memory_of(pid) if is_apart else None)

    # Its life

    async def start(self) -> None:
        """Start it, which takes some time.

        Raises:
            WorkerDied: It did not get as far as being ready.
            RuntimeError: No thread can be started.
            OSError: No process can be started.

        Cancellation: takes effect when it is ready.
        """
        loop = asyncio.get_running_loop()
        self._ready, gone = loop.create_future(), loop.create_future()
        (ours, theirs), (self._endings, their_endings) = _socketpairs()
        self._endings.settimeout(0)
        keeper = threading.Thread(
            target=self._keep, args=(loop, theirs, their_endings), name="cooperative_aio worker"
        )
        keeper.daemon = True
        try:
            keeper.start()
        except BaseException:
            for each in (ours, theirs, self._endings, their_endings):
                each.close()
            raise
        self._gone = gone
        unix = ours.family.name == "AF_UNIX"
        connect: Any = loop.create_unix_connection if unix else loop.create_connection
        connecting = asyncio.ensure_future(connect(lambda: self, sock=ours))
        connecting.add_done_callback(functools.partial(self._connected, ours))
        await outlast(connecting, self._ready)
        if not self.alive:
            assert self._trouble is not None  # noqa: S101 (it is not alive)
            raise self._trouble

    def _connected(self, ours: socket.socket, connecting: asyncio.Future[Any]) -> None:
        if connecting.cancelled() or connecting.exception() is not None:
            ours.close()
            self._hang_up()  # so it ends when it has started

    def _keep(self, loop: asyncio.AbstractEventLoop, *theirs: socket.socket) -> None:
        """Start it and wait for its end, in a thread."""
        trouble: BaseException | None = None
        try:
            self._host.start(*theirs)
            reason = self._host.join()
        except BaseException as error:  # noqa: BLE001 (it is raised where it is waited for)
            trouble = error
        else:
            trouble = WorkerDied(
                f"a {self._kind} died before it was ready; does the program start under"
                ' `if __name__ == "__main__":`?'
            )
            trouble.__cause__ = reason
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._end, trouble)

    def _end(self, trouble: BaseException | None) -> None:
        """Note that nothing is left of it, or nothing that could be waited for."""
        assert self._ready is not None  # noqa: S101 (it was started)
        assert self._gone is not None  # noqa: S101
        self._lose()
        if not self._gone.done():
            self._gone.set_result(None)
        if not self._ready.done():
            self._trouble = trouble
            self._died()
            self._ready.set_result(None)

    async def shut_down(self, grace: float) -> None:
        """End it, and wait until nothing is left of it.

        Cancellation: takes effect when nothing is left.
        """
        self._announce(0)
        self._hang_up()
        if self._gone is None:
            return
        timer = self._gone.get_loop().call_later(grace, self.kill)
        try:
            await outlast(self._gone)
        finally:
            timer.cancel()

    def _hang_up(self) -> None:
        self.alive = False
        if self._transport is not None:
            self._transport.abort()
        if self._endings is not None:
            self._endings.close()

    # Running generators

    async def run(self, stream: Stream) -> bool:
        """Run the generator of `stream`; return when it has ended, or this has died.

        Returns:
            Whether it was this that ran it: False if it died before anything of the
            generator had begun.

        Cancellation: abandons the stream, and takes effect when that has ended.
        """
        if stream.closing:
            return True
        self._has_begun()  # which was said of the last one
        self._job = stream.loop.create_future()
        self._stream = stream
        self._number += 1
        self._unsent = frame(CALL, stream.call)
        stream.connect(self)
        try:
            await stream.settle(self._job)
        finally:
            self._stream = self._job = None
        return stream.over.done()

    def _has_begun(self) -> bool:
        """Tell whether the worker has begun a generator since this was asked last."""
        assert self._endings is not None  # noqa: S101 (it was started)
        try:
            return bool(self._endings.recv(64))
        except BlockingIOError:
            return False
        except OSError:  # it was reset: only Unix keeps what was sent before
            return self._endings.family.name != "AF_UNIX"

    def _lose(self) -> None:
        """Note that it has died, or cannot be talked to any more."""
        if not self.alive:
            return
        self._died()
        begun = self._has_begun()
        self._hang_up()
        stream = self._stream
        if stream is None:
            return
        if begun and not self._killed:
            stream.finish(self.death(stream))
        elif self._killed or stream.closing:
            stream.finish(None)
        self._release()

    def death(self, stream: Stream) -> WorkerDied:
        """Return what is to be said of a generator that has gone with this."""
        return WorkerDied(
            f"the {self._kind} {self._pid} died before the generator of {stream.name}"
            " had come to its end"
        )

    def _release(self) -> None:
        """Let `run` return."""
        assert self._job is not None  # noqa: S101 (there is a stream)
        if not self._job.done():
            self._job.set_result(None)

    # As the link

    def put(self, order: Order, count: int) -> None:
        unsent, self._unsent = self._unsent, b""
        self._send(unsent + frame(ORDER, pack_order(*order)) * count)

    def close(self) -> None:
        self._announce(self._number)  # to the thread that runs beside the generator
        self._send(frame(CLOSE))  # and if that waits for an order

    def kill(self) -> None:
        """End it by force: it did not end in time."""
        if self._killed:
            return
        self._killed = True
        what = f"the generator of {self._stream.name}" if self._stream else "an idle worker"
        ended = self._host.kill()
        logger.warning(
            "%s was closed but has not ended in time; the %s %d %s",
            *(what, self._kind, self._pid),
            "was killed" if ended else "is left to itself",
        )
        if not ended:
            self._end(None)

    def load(self, data: bytes) -> list[Any]:
        return load_values(data)

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _announce(self, ending: int) -> None:
        """Send the number of a generator that is to be closed, or 0 if there will be none."""
        if self._endings is not None:
            with contextlib.suppress(OSError):  # there is room; but it may have died
                self._endings.send(NUMBER.pack(ending))

    # What the loop tells it

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return self._cutter.room

    def buffer_updated(self, nbytes: int) -> None:
        for letter, content in self._cutter.take(nbytes):
            if letter == READY:
                self._be_ready(*NUMBER.unpack(content))
            elif self._stream is None:
                pass  # it is late
            elif letter == VALUES:
                self._stream.receive(content)
            else:
                self._stream.finish(load_error(content))
                self._release()

    def _be_ready(self, pid: int) -> None:
        assert self._ready is not None  # noqa: S101 (it was started)
        self._pid = pid
        self.alive = True
        self._ready.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._lose()


def _socketpairs() -> tuple[tuple[socket.socket, socket.socket], ...]:
    first = socket.socketpair()
    try:
        return first, socket.socketpair()
    except BaseException:
        for each in first:
            each.close()
        raise
