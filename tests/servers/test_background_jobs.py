"""The examples of background jobs, as programs: background_jobs_aiohttp.py, …_fastapi.py."""

import contextlib
import json
import re
import runpy
import subprocess
import sys
import time

import httpx
import pytest
from server_support import EXAMPLES, PYTHON

NAMES = ["background_jobs_aiohttp.py", "background_jobs_fastapi.py"]
LARGEST = 5_000_000  # takes far longer than any test

both = pytest.mark.parametrize("name", NAMES)


@contextlib.contextmanager
def serving(name):
    """Run an example; give the process, and a function that makes clients for users."""
    command = [*PYTHON, "-u", str(EXAMPLES / name), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            address = next(
                found[0]
                for line in process.stdout
                if (found := re.search(r"http://[\d.]+:\d+", line))
            )
            with contextlib.ExitStack() as stack:

                def client(user):
                    headers = {} if user is None else {"X-User": user}
                    made = httpx.Client(base_url=address, headers=headers, timeout=300)
                    return stack.enter_context(made)

                yield process, client
        finally:
            process.kill()


def until(client, path, condition):
    """Ask until what is told is what is waited for."""
    deadline = time.monotonic() + 100
    while not condition(told := client.get(path).json()):
        assert time.monotonic() < deadline, told
        time.sleep(0.02)
    return told


@both
def test_a_job_is_started_watched_and_has_a_result(name):
    with serving(name) as (_, client):
        ann = client("ann")
        started = ann.post("/jobs?below=200000")
        assert started.status_code == 202
        path = started.headers["Location"]
        assert started.json() == {"job": 1, "state": "running", "done": 0, "total": 200000}
        first = until(ann, path, lambda told: told["done"])
        assert 0 < first["done"] < 200000
        assert until(ann, path, lambda told: told["state"] != "running") == {
            "job": 1,
            "state": "done",
            "done": 199999,
            "total": 200000,
            "result": 17984,
        }
        assert ann.delete(path).json()["state"] == "done"


@both
def test_a_job_is_cancelled(name):
    with serving(name) as (_, client):
        ann = client("ann")
        path = ann.post(f"/jobs?below={LARGEST}").headers["Location"]
        assert ann.delete(path).json()["state"] == "cancelled"
        assert ann.get(path).json()["state"] == "cancelled"


@both
def test_a_user_sees_no_jobs_of_another_and_has_a_limit(name):
    with serving(name) as (_, client):
        ann, bob = client("ann"), client("bob")
        for _ in range(3):
            assert ann.post(f"/jobs?below={LARGEST}").status_code == 202
        assert ann.post(f"/jobs?below={LARGEST}").status_code == 429
        assert bob.get("/jobs/1").status_code == 404
        assert bob.delete("/jobs/1").status_code == 404
        assert bob.post("/jobs?below=100").status_code == 202
        until(bob, "/jobs/4", lambda told: told["state"] == "done")
        assert ann.delete("/jobs/1").json()["state"] == "cancelled"
        assert ann.post(f"/jobs?below={LARGEST}").status_code == 202


@both
def test_what_makes_no_sense_is_refused(name):
    with serving(name) as (_, client):
        ann = client("ann")
        for below in ("", "1", "x", "-5", f"{LARGEST + 1}"):
            assert 400 <= ann.post(f"/jobs?below={below}").status_code < 500
        assert 400 <= ann.get("/jobs/x").status_code < 500
        assert ann.get("/jobs/1").status_code == 404
        assert 400 <= client(None).post("/jobs?below=5").status_code < 500


@both
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to send")
def test_jobs_end_with_the_server(name):
    with serving(name) as (process, client):
        client("ann").post(f"/jobs?below={LARGEST}")
        process.terminate()
        said = process.stdout.read()
        process.wait(20)
    assert "ending 0 requests and 1 tasks" in said


@both
async def test_jobs_are_forgotten_after_a_while_and_tell_why_they_failed(name):
    program = runpy.run_path(str(EXAMPLES / name))
    program["Jobs"].start.__globals__["KEPT"] = 0.05

    def fail(progress):
        progress.done = 1
        raise ValueError("no primes today")
        yield

    program["Jobs"].start.__globals__["count_primes"] = fail
    jobs = program["Jobs"](program["Cooperator"](max_tasks=1))
    job = jobs.start("ann", 10)
    with pytest.raises(ValueError, match="no primes"):
        await job.task
    told = {"job": 1, "done": 1, "total": 10, "state": "failed", "error": "no primes today"}
    assert json.loads(json.dumps(jobs.find("ann", 1).describe())) == told
    async with program["asyncio"].timeout(300):
        while jobs._jobs:
            await program["asyncio"].sleep(0.01)


@both
async def test_too_many_jobs_in_all_are_refused(name):
    program = runpy.run_path(str(EXAMPLES / name))
    cooperator = program["Cooperator"](max_tasks=1)
    jobs = program["Jobs"](cooperator)
    jobs.start("ann", LARGEST)
    with pytest.raises(Exception, match="max_tasks=1"):
        jobs.start("bob", LARGEST)
    cooperator.stop()
