"""The examples, and a handler of FastAPI, with the real thing."""

import asyncio
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import uvicorn

from cooperative_aio import get_cooperator

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_example_computes_while_the_heart_beats():
    done = subprocess.run(
        [sys.executable, "-P", str(EXAMPLES / "to_slices.py")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
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
                base_url=f"http://{host}:{port}", timeout=60
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
