"""Show what four heavy jobs do to everybody else's requests, in four ways to run them.

    python examples/latency_demo/server.py
    open http://127.0.0.1:8088/

The page sends twenty requests a second, one after the other over a WebSocket, and draws how
long after the instant at which it was due each was answered. Meanwhile the server computes
four jobs on the same event loop: in the handler itself, in threads, in a fixed slice on
every turn of the loop, or with cooperative_aio. Each tab has jobs of its own, which end with
it; but all tabs share the loop, so look at one at a time.

Needs aiohttp.
"""

import argparse
import asyncio
import contextlib
import time
from collections.abc import Coroutine, Generator
from pathlib import Path

from aiohttp import WSMessage, web

from cooperative_aio import Cooperator, TimeSlice

HERE = Path(__file__).parent
JOBS = 4
PIECES = 100_000  # of one job: seconds of computing
MODES = ("idle", "blocking", "thread", "fixed", "cooperative")


def job(done: list[int]) -> Generator[None, None, int]:
    """Compute something that takes seconds; count the pieces that are done."""
    total = 0
    for piece in range(PIECES):
        for number in range(400):
            total += number * piece % 7
        done[0] += 1
        yield
    return total


def run(done: list[int], stopping: list[bool], pieces: int) -> None:
    """Do the same without a pause, for so many pieces."""
    for _, _ in zip(range(pieces), job(done), strict=False):
        if stopping:
            return


class Worker:
    """Run the jobs of one tab over and over, in one way at a time."""

    def __init__(self) -> None:
        self.mode = "idle"
        self.done = [0]
        self._began = time.perf_counter()
        self._before = 0
        self._running: list[asyncio.Task[None]] = []

    async def change(self, mode: str) -> dict[str, object]:
        """Run the jobs in another way from now on; tell what was done in the last one.

        Cancellation: nothing runs.
        """
        pieces, seconds = self.done[0] - self._before, time.perf_counter() - self._began
        ended = {"mode": self.mode, "pieces": pieces, "seconds": seconds}
        await self.stop()
        self.mode = mode
        if mode == "fixed":  # as Twisted does
            self._start(self._in_slices(TimeSlice(0.01, max_wait=0)))
        elif mode == "cooperative":  # the default
            self._start(self._in_slices(TimeSlice()))
        elif mode != "idle":
            way = self._blocking if mode == "blocking" else self._thread
            for _ in range(JOBS):
                self._start(way())
        self._began, self._before = time.perf_counter(), self.done[0]
        return {"mode": mode, "ended": ended}

    def _start(self, work: Coroutine[object, object, None]) -> None:
        self._running.append(asyncio.create_task(work))

    async def stop(self) -> None:
        """Run nothing from now on.

        Cancellation: it ends nevertheless.
        """
        running, self._running, self.mode = self._running, [], "idle"
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    async def _blocking(self) -> None:
        while True:
            await asyncio.sleep(0.3)  # between two jobs
            run(self.done, [], PIECES // 4)  # nobody else gets anything done meanwhile

    async def _thread(self) -> None:
        stopping: list[bool] = []
        try:
            while True:
                await asyncio.to_thread(run, self.done, stopping, PIECES)
        finally:
            stopping.append(True)

    async def _in_slices(self, time_slice: TimeSlice) -> None:
        async with Cooperator(time_slice=time_slice) as cooperator:
            while True:
                jobs = [cooperator.cooperate(job(self.done), name="a job") for _ in range(JOBS)]
                await asyncio.gather(*jobs)


async def get_page(_: web.Request) -> web.FileResponse:
    """Send the page."""
    return web.FileResponse(HERE / "page.html")


async def answer(socket: web.WebSocketResponse, number: int) -> None:
    """Do what a handler does: take a few turns of the loop, then answer."""
    for _ in range(5):
        await asyncio.sleep(0)
    with contextlib.suppress(ConnectionError):  # the tab was closed meanwhile
        await socket.send_json({"answer": number})


async def serve_tab(request: web.Request) -> web.WebSocketResponse:
    """Answer the requests of one tab, and run its jobs, until it is closed."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    worker = Worker()
    answering: set[asyncio.Task[None]] = set()
    try:
        async for message in socket:
            await serve_message(socket, worker, message, answering)
    finally:
        await worker.stop()
    return socket


async def serve_message(
    socket: web.WebSocketResponse,
    worker: Worker,
    message: WSMessage,
    answering: set[asyncio.Task[None]],
) -> None:
    """Answer a request in a task of its own, or run the jobs in another way."""
    wanted = message.json()
    if "mode" not in wanted:
        task = asyncio.create_task(answer(socket, wanted["number"]))
        answering.add(task)
        task.add_done_callback(answering.discard)
    elif wanted["mode"] in MODES:
        await socket.send_json(await worker.change(wanted["mode"]))
    else:
        await socket.send_json({"error": f"mode must be one of {', '.join(MODES)}"})


def make_app() -> web.Application:
    """Put the routes together."""
    app = web.Application()
    app.router.add_get("/", get_page)
    app.router.add_get("/tab", serve_tab)
    return app


def main() -> None:
    """Serve until Ctrl+C."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=8088)
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        web.run_app(make_app(), host="127.0.0.1", port=options.port, access_log=None)


if __name__ == "__main__":
    main()
