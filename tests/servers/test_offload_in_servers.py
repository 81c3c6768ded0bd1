"""The example of a place that lives as long as its application: offload_fastapi.py."""

import contextlib
import os
import re
import subprocess
import sys
import time

import httpx
import pytest
from server_support import EXAMPLES, PYTHON

LARGEST = 5_000_000


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextlib.contextmanager
def serving():
    command = [*PYTHON, "-u", str(EXAMPLES / "offload_fastapi.py"), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            address = next(
                found[0]
                for line in process.stdout
                if (found := re.search(r"http://[\d.]+:\d+", line))
            )
            with httpx.Client(base_url=address, timeout=300) as client:
                yield process, client
        finally:
            process.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to send")
def test_workers_live_as_long_as_the_application():
    with serving() as (process, client):
        workers = set()
        for _ in range(4):
            rows = client.get("/primes?below=1000").json()
            assert [row["prime"] for row in rows][-1] == 997
            assert len(rows) == 168
            workers |= {row["process"] for row in rows}
        assert client.get("/count?below=100000").json() == {"primes": 9592}
        assert process.pid not in workers
        assert len(workers) <= 2
        with pytest.raises(httpx.ReadTimeout):
            client.get(f"/count?below={LARGEST}", timeout=0.5)
        process.terminate()
        process.wait(300)
        assert "Application shutdown complete" in process.stdout.read()
    deadline = time.monotonic() + 100
    while any(map(is_running, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
