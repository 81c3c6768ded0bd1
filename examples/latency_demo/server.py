"""Show what a heavy job does to everybody else's requests, in four ways to run it.

    python examples/latency_demo/server.py
    open http://127.0.0.1:8088/

The page sends requests all the time and draws how long each took. Meanwhile the server
computes: in the handler itself, in a thread, in a fixed slice on every turn of the loop, or
with cooperative_aio. Each way does the same work, and the page shows how much.

Needs aiohttp.
"""

import argparse
import asyncio
import contextlib
from collections.abc import AsyncIterator, Generator
from pathlib import Path

from aiohttp import web

from cooperative_aio import Cooperator, TimeSlice

HERE = Path(__file__).parent
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
    """Run the job over and over, in one way at a time."""

    def __init__(self) -> None:
        self.mode = "idle"
        self.done = [0]
        self._running: asyncio.Task[None] | None = None

    async def change(self, mode: str) -> None:
        """Run the job in another way from now on.

        Cancellation: nothing runs.
        """
        await self.stop()
        self.mode = mode
        if mode != "idle":
            self._running = asyncio.create_task(getattr(self, f"_{mode}")())

    async def stop(self) -> None:
        """Run nothing from now on.

        Cancellation: it ends nevertheless.
        """
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
            self._running = None
        self.mode = "idle"

    async def _blocking(self) -> None:
        while True:
            run(self.done, [], PIECES // 4)  # nobody else gets anything done meanwhile
            await asyncio.sleep(0.3)  # but between two jobs

    async def _thread(self) -> None:
        stopping: list[bool] = []
        try:
            while True:
                await asyncio.to_thread(run, self.done, stopping, PIECES)
        finally:
            stopping.append(True)

    async def _fixed(self) -> None:
        await self._in_slices(TimeSlice(0.01, max_wait=0))  # as Twisted does

    async def _cooperative(self) -> None:
        await self._in_slices(TimeSlice())  # the default

    async def _in_slices(self, time_slice: TimeSlice) -> None:
        async with Cooperator(time_slice=time_slice) as cooperator:
            while True:
                await cooperator.cooperate(job(self.done), name="the heavy job")


WORKER = web.AppKey("WORKER", Worker)


async def get_page(_: web.Request) -> web.FileResponse:
    """Send the page."""
    return web.FileResponse(HERE / "page.html")


async def get_ping(request: web.Request) -> web.Response:
    """Do what a handler does: take a few turns of the loop, then answer."""
    for _ in range(5):
        await asyncio.sleep(0)
    worker = request.app[WORKER]
    return web.json_response({"mode": worker.mode, "done": worker.done[0]})


async def post_mode(request: web.Request) -> web.Response:
    """Run the job in another way.

    Raises:
        HTTPBadRequest: There is no such way.
    """
    mode = request.match_info["mode"]
    if mode not in MODES:
        raise web.HTTPBadRequest(text=f"mode must be one of {', '.join(MODES)}")
    await request.app[WORKER].change(mode)
    return web.json_response({"mode": mode})


async def own_worker(app: web.Application) -> AsyncIterator[None]:
    """Stop the job when the server ends."""
    app[WORKER] = Worker()
    yield
    await app[WORKER].stop()


def make_app() -> web.Application:
    """Put the routes together."""
    app = web.Application()
    app.cleanup_ctx.append(own_worker)
    app.router.add_get("/", get_page)
    app.router.add_get("/ping", get_ping)
    app.router.add_post("/mode/{mode}", post_mode)
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
