"""The examples, run as their users run them; the servers also here, beside their clients."""

import asyncio
import contextlib
import json
import re
import runpy
import signal
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import httpx
import pytest
import uvicorn
from aiohttp import web
from core_support import errors_in

from cooperative_aio import get_cooperator

EXAMPLES = Path(__file__).parents[1] / "examples"
SERVERS = ["aiohttp_server.py", "fastapi_server.py"]
TESTS = ["test_with_virtual_time.py", "test_without_sleeping.py"]
TUTORIAL = [
    "tutorial_blocked.py",
    "tutorial_to_slices.py",
    "tutorial_responsive.py",
    "tutorial_streaming.py",
]
LARGEST = 5_000_000  # takes the servers far longer than any test lasts


PYTHON = [sys.executable, "-P"]  # with the package that is being tested, wherever this runs


def run(*arguments):
    done = subprocess.run(
        [*PYTHON, *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert (errors_in(done.stderr), done.returncode) == ("", 0), done.stdout
    return done.stdout.splitlines()


def test_every_example_is_run_by_a_test():
    tests = "".join(path.read_text() for path in Path(__file__).parent.rglob("test_*.py"))
    assert [path.name for path in EXAMPLES.glob("*.py") if path.stem not in tests] == []


# Programs that come to an end


@pytest.fixture(scope="module")
def getting_started():
    """Run it once, and return its lines."""
    return run(str(EXAMPLES / "getting_started.py"))


def test_getting_started_computes_the_same_in_slices(getting_started):
    assert getting_started[-1] == "the same results both times: True"


def test_getting_started_counts_the_requests_and_how_late_they_were(getting_started):
    pattern = (
        r"in (one go|slices): (\d+) requests answered ([\d.]+) ms late in the median,"
        r" ([\d.]+) ms at most; computed in ([\d.]+) s"
    )
    told = [match for line in getting_started if (match := re.fullmatch(pattern, line))]
    assert [match[1] for match in told] == ["one go", "slices"]
    for match in told:
        assert int(match[2]) > 0
        assert 0 <= float(match[3]) <= float(match[4])


def test_getting_started_answers_requests_while_four_computations_advance(getting_started):
    pattern = r" +request at ([\d.]+) s: [\d.]+ ms late; computed so far: (.*)"
    told = [match for line in getting_started if (match := re.fullmatch(pattern, line))]
    assert [getting_started.index(match[0]) for match in told] == [*range(2, 2 + len(told))]
    rows = [[float(match[1]), *map(int, re.findall(r"(\d+) %", match[2]))] for match in told]
    assert len(rows) >= 2
    for row in rows:
        assert len(row) == 5
        assert min(row[1:]) < 100
    for column in zip(*rows, strict=True):
        assert sorted(column) == [*column]
        assert column[0] < column[-1]


def test_the_heartbeat_beats_beside_the_work():
    lines = run(str(EXAMPLES / "heartbeat.py"), "0.2")
    assert lines[0].startswith("beat   1: ")
    assert re.fullmatch(r"[1-9]\d* numbers searched meanwhile", lines[-2])


@pytest.mark.once
@pytest.mark.parametrize("example", TESTS)
def test_the_tests_pass(example):
    options = ["-p", "no:cacheprovider", "-c", str(EXAMPLES.parent / "pyproject.toml")]
    lines = run("-m", "pytest", *options, str(EXAMPLES / example))
    assert re.search(r"\d+ passed", lines[-1])


# Servers


@contextlib.asynccontextmanager
async def serving_aiohttp():
    program = runpy.run_path(str(EXAMPLES / "aiohttp_server.py"))
    runner = web.AppRunner(program["make_app"]())
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        async with aiohttp.ClientSession(f"http://{host}:{port}") as session:

            async def get(path):
                async with session.get(path) as response:
                    return response.status, await response.text()

            yield get
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def serving_fastapi():
    program = runpy.run_path(str(EXAMPLES / "fastapi_server.py"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        host, port = listening.getsockname()
        server = uvicorn.Server(uvicorn.Config(program["app"], log_level="warning"))
        serving = asyncio.create_task(server.serve([listening]))
        try:
            while not server.started:
                await asyncio.sleep(0.01)
            async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:

                async def get(path):
                    response = await client.get(path, timeout=300)
                    return response.status_code, response.text

                yield get
        finally:
            server.should_exit = True
            await serving


serving = pytest.mark.parametrize("serving", [serving_aiohttp, serving_fastapi])


async def until_it_has_computed(steps=1):
    while sum(task.steps for task in get_cooperator().tasks) < steps:
        await asyncio.sleep(0)
    return sum(task.steps for task in get_cooperator().tasks)


@serving
async def test_a_busy_server_answers_others_and_stops_for_a_client_that_leaves(serving):
    events = []

    async def ask(get, name, path):
        status, text = await get(path)
        events.append(f"{name} {status}")
        return json.loads(text)

    async with serving() as get, asyncio.timeout(300):
        endless = asyncio.create_task(ask(get, "endless", f"/primes?below={LARGEST}"))
        steps = await until_it_has_computed()
        for _ in range(5):
            assert await ask(get, "ping", "/ping") == {"ping": "pong"}
            steps = await until_it_has_computed(steps + 1)
        small = await ask(get, "small", "/primes?below=1000")
        assert small == {"count": 168, "largest": 997}
        [task] = get_cooperator().tasks
        assert task.name == f"primes below {LARGEST}"
        endless.cancel()
        with pytest.raises(asyncio.CancelledError):
            await endless
        await get_cooperator().drain()
        assert task.cancelled()
        assert task.iterator.gi_frame is None  # closed
        await ask(get, "ping", "/ping")
    assert events == ["ping 200"] * 5 + ["small 200", "ping 200"]


@serving
async def test_the_smallest_question_has_an_answer(serving):
    async with serving() as get:
        status, text = await get("/primes?below=2")
    assert status == 200
    assert json.loads(text) == {"count": 0, "largest": None}


@serving
@pytest.mark.parametrize(
    "below",
    ["", "many", "1.5", "-5", "1", "\u0663", f"{LARGEST + 1}", "9" * 5000],
    ids=lambda below: below[:9],
)
async def test_a_bad_query_is_refused_with_a_reason(serving, below):
    async with serving() as get:
        status, text = await get(f"/primes?below={below}")
        assert get_cooperator().statistics().steps == 0
    assert 400 <= status < 500
    assert "below" in text


@serving
async def test_a_question_without_a_number_is_refused(serving):
    async with serving() as get:
        status, text = await get("/primes")
    assert 400 <= status < 500
    assert "below" in text


@contextlib.contextmanager
def serving_program(example):
    """Run a server as a program; give it, its address, and the lines that it prints."""
    command = [*PYTHON, "-u", str(EXAMPLES / example), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            lines = iter(process.stdout)
            address = next(
                found[0] for line in lines if (found := re.search(r"http://\S+:\d+", line))
            )
            yield process, address, lines
        finally:
            process.kill()


@pytest.mark.once
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
@pytest.mark.parametrize("example", [*SERVERS, *TUTORIAL])
def test_the_server_runs_as_a_program(example):
    with serving_program(example) as (process, address, _):
        assert httpx.get(f"{address}/ping", timeout=300).json() == {"ping": "pong"}
        process.send_signal(signal.SIGINT)
        process.wait(300)


# The tutorial


def measure(address, *paths):
    """Return what the tutorial's client says: of pings, and of what it has fetched."""
    lines = run(str(EXAMPLES / "tutorial_client.py"), "--address", address, *paths)
    pings, fetched = {}, []
    for line in lines:
        if found := re.fullmatch(
            r"(idle|busy): (\d+) pings, median \S+ ms, longest (\S+) ms", line
        ):
            pings[found[1]] = int(found[2]), float(found[3]) / 1000
        else:
            found = re.fullmatch(r"(/\S*): first byte after (\S+) s, last after (\S+) s", line)
            fetched.append((found[1], float(found[2]), float(found[3])))
    assert pings["idle"][0] > 1
    return *pings["busy"], fetched


@pytest.mark.once
def test_the_blocked_server_of_the_tutorial_answers_nobody_while_it_computes():
    with serving_program("tutorial_blocked.py") as (_, address, _):
        pings, longest, [(_, _, seconds)] = measure(address)
    assert pings <= 5
    assert longest > seconds / 2


@pytest.mark.once
@pytest.mark.parametrize("example", ["tutorial_to_slices.py", "tutorial_responsive.py"])
def test_the_next_servers_of_the_tutorial_answer_while_they_compute(example):
    with serving_program(example) as (_, address, _):
        pings, longest, [(_, _, seconds)] = measure(address)
    assert pings > 10
    assert longest < seconds / 2


@pytest.mark.once
def test_both_servers_of_the_tutorial_give_the_same_report():
    reports = []
    for example in TUTORIAL:
        with serving_program(example) as (_, address, _):
            reports.append(httpx.get(f"{address}/report", timeout=300).json())
    assert reports == [{"loans": 100_000, "interest": reports[0]["interest"]}] * len(TUTORIAL)


@pytest.mark.once
def test_the_last_server_of_the_tutorial_streams_and_puts_what_is_urgent_first():
    paths = ["/rows", "/report", "/report?urgent"]
    with serving_program("tutorial_streaming.py") as (_, address, _):
        pings, _, fetched = measure(address, *paths)
        rows = httpx.get(f"{address}/rows", timeout=300).text.splitlines()
    assert pings > 10
    assert [path for path, _, _ in fetched] == paths
    (_, first, last), (_, _, report), (_, _, urgent) = fetched
    assert first < last / 2
    assert urgent < report
    assert [line.split(",")[0] for line in rows] == [str(loan) for loan in range(100_000)]


def test_the_last_server_of_the_tutorial_computes_no_more_for_a_client_that_left():
    with serving_program("tutorial_streaming.py") as (_, address, lines):
        for patience in (0.3, 1, 3, 10):  # a busy server may not have begun
            with pytest.raises(httpx.ReadTimeout):
                httpx.get(f"{address}/report", timeout=patience)
            computed = next(
                int(found[1])
                for line in lines
                if (found := re.fullmatch(r"computed (\d+) of 100000 loans\n", line))
            )
            if computed:
                break
        assert 0 < computed < 100_000


def test_the_client_of_the_tutorial_asks_for_a_server_if_there_is_none():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        done = subprocess.run(
            [*PYTHON, str(EXAMPLES / "tutorial_client.py"), "--address", address],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.endswith("(is the right server running?)\n")
