"""Generators end on every server: when the client leaves, and when SIGTERM comes.

COOPERATIVE_AIO_SERVERS=all runs all servers that are installed; `nox -s servers` does that.
"""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def load():
    spec = importlib.util.spec_from_file_location("shutdown", BENCHMARKS / "shutdown.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["shutdown"] = module  # where dataclasses look
    spec.loader.exec_module(module)
    return module


shutdown = load()
BY_DEFAULT = ["uvicorn, no setting", "aiohttp"]
HANGS = {  # and why: see docs/how-to/shut-down-in-time.md
    "hypercorn": "its workers wait for every connection to close, and have no signal",
}
EVERY = list(shutdown.SERVERS) if os.environ.get("COOPERATIVE_AIO_SERVERS") else BY_DEFAULT


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to send")
@pytest.mark.parametrize("server", [name for name in EVERY if name not in shutdown.ALONE])
async def test_every_generator_is_closed_in_time(server):
    if importlib.util.find_spec(shutdown.SERVERS[server][0]) is None:
        pytest.skip(f"{server} is not installed")
    if server in HANGS and sys.version_info >= (3, 12):
        pytest.skip(HANGS[server])
    ending = await shutdown.end(server, with_modules=True)
    assert ending.job_of_a_client_that_left
    assert ending.socket is not False
    assert (ending.job, ending.stream) == (True, True)
    assert ending.seconds is not None
    assert ending.seconds < 6  # seconds of which 2 are grace; a busy machine takes more


def test_the_table_has_a_row_for_each_server():
    yes = {"job_of_a_client_that_left": True, "job": True, "stream": True}
    endings = [
        shutdown.Ending("some", **yes | {"stream": False}, with_modules=False, seconds=None),
        shutdown.Ending("some", **yes, with_modules=True, seconds=2.04),
        shutdown.Ending("other", **yes, with_modules=False, seconds=3.0),
    ]
    assert shutdown.table(endings).splitlines()[2:] == [
        "| some | yes / yes / no, killed | yes / yes / yes, 2.0 s |",
        "| other | yes / yes / yes, 3.0 s |  |",
    ]
