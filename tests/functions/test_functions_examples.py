"""The examples, and handlers of FastAPI and aiohttp, with the real thing."""

import asyncio
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import uvicorn
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from cooperative_aio import get_cooperator
from cooperative_aio.functions import in_slices, wait_on

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_example_computes_while_the_heart_beats():
    done = subprocess.run(
        [sys.executable, "-P", str(EXAMPLES / "to_slices.py")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    told = [line for line in done.stderr.splitlines() if "held the loop" not in line]
    assert (told, done.returncode) == ([], 0)  # a busy machine makes slow steps
    assert done.stdout.splitlines() == [
        "below 10,000: 6,171 takes 261 steps",
        "below 30,000: 26,623 takes 307 steps",
        "the heart beat all the time",
    ]


async def test_a_handler_of_fastapi_runs_in_slices_and_others_are_answered():
    program = runpy.run_path(str(EXAMPLES / "fastapi_functions.py"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        host, port = listening.getsockname()
        server = uvicorn.Server(uvicorn.Config(program["app"], log_level="warning"))
        serving = asyncio.create_task(server.serve([listening]))
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            async with httpx.AsyncClient(
                base_url=f"http://{host}:{port}", timeout=300
            ) as client:
                longest = asyncio.create_task(client.get("/longest?below=20000"))
                while not get_cooperator().tasks:
                    await asyncio.sleep(0)
                assert (await client.get("/ping")).json() == {"ping": "pong"}
                assert get_cooperator().tasks, "the ping was answered before the other"
                assert (await longest).json() == {"number": 17647, "length": 278}
                assert (await client.get("/longest?below=many")).status_code == 422
                paths = (await client.get("/openapi.json")).json()["paths"]
                [parameter] = paths["/longest"]["get"]["parameters"]
                assert (parameter["name"], parameter["schema"]["default"]) == ("below", 1000)
        finally:
            server.should_exit = True
            await serving


async def test_a_handler_of_aiohttp_runs_in_slices_and_others_are_answered():
    @in_slices
    def count(request):
        body = wait_on(request.json())
        while not pinged:
            pass
        return web.json_response({"up to": body["up to"], "path": request.path})

    async def ping(_request):
        pinged.append(bool(get_cooperator().tasks))
        return web.json_response({"ping": "pong"})

    pinged = []
    app = web.Application()
    app.add_routes([web.post("/count", count), web.get("/ping", ping)])
    async with TestClient(TestServer(app)) as client:
        counting = asyncio.create_task(client.post("/count", json={"up to": 3}))
        while not get_cooperator().tasks:
            await asyncio.sleep(0)
        assert await (await client.get("/ping")).json() == {"ping": "pong"}
        assert await (await counting).json() == {"up to": 3, "path": "/count"}
    assert pinged == [True]


async def test_a_client_of_aiohttp_that_goes_away_ends_the_function():
    @in_slices
    def endless(_request):
        try:
            while True:
                begun.append(1)
                del begun[1:]
        finally:
            ended.append(1)

    begun, ended = [], []
    app = web.Application()
    app.add_routes([web.get("/endless", endless)])
    async with TestClient(TestServer(app, handler_cancellation=True)) as client:
        asking = asyncio.create_task(client.get("/endless"))
        while not begun:
            await asyncio.sleep(0)
        asking.cancel()
        while not ended:
            await asyncio.sleep(0)
    assert not get_cooperator().tasks
