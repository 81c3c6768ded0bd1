"""`python -m cooperative_aio.monitor`: what it runs, what it prints, how it ends."""

import asyncio
import re
import signal
import sys
import time

import httpx
import pytest
from aiohttp import web

from cooperative_aio import current_task, get_cooperator
from cooperative_aio.monitor import __main__ as command
from cooperative_aio.monitor import _targets

COMMAND = [
    sys.executable,
    "-m",
    "cooperative_aio.monitor",
    "--monitor-port",
    "0",
    "--port",
    "0",
]

PROGRAM = """
import asyncio
from aiohttp import web
from cooperative_aio import cooperate

def work():
    while True:
        yield

async def lasting():
    await cooperate(work(), name="lasting work")

async def short():
    print("ended by itself")

async def failing():
    raise LookupError("nothing found")

async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        cooperate(work(), name="work of an application")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("application ends")
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})

async def hello(request):
    return web.Response(text="hello")

aiohttp_app = web.Application()
aiohttp_app.router.add_get("/", hello)
number = 5
"""


@pytest.fixture
def program(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


class Running:
    """Run the command in a directory; give its lines as they come."""

    def __init__(self, directory, *arguments):
        self._directory, self._arguments = directory, arguments

    async def __aenter__(self):
        self.process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *self._arguments,
            cwd=self._directory,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        return self

    async def line(self, pattern):
        async with asyncio.timeout(300):
            async for line in self.process.stdout:
                if found := re.search(pattern, line.decode()):
                    return found
        raise AssertionError(f"{pattern} was not printed")

    async def rest(self):
        async with asyncio.timeout(300):
            text = (await self.process.stdout.read()).decode()
            return await self.process.wait(), text

    async def __aexit__(self, *_):
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


async def get(address):
    async with httpx.AsyncClient(timeout=300) as client:
        return await client.get(address)


async def names(address):
    state = (await get(f"{address}state")).json()
    return {task["name"] for one in state["cooperators"] for task in one["tasks"]}


async def test_a_demonstration_is_run_where_nothing_is_named(program):
    async with Running(program) as running:
        [address] = (await running.line(r"the monitor: (http://127.0.0.1:\d+/)$")).groups()
        assert {"primes", "pi", "paused from the beginning"} <= await names(address)
        running.process.send_signal(signal.SIGTERM)
        code, text = await running.rest()
        assert code == 128 + signal.SIGTERM
        assert "Traceback" not in text


async def test_control_has_a_token_that_is_printed_behind_the_number_sign(program):
    async with Running(program, "--allow-control", "program:lasting") as running:
        found = await running.line(r"the monitor: (http://127.0.0.1:\d+/)#token=(\S{32,})")
        address, token = found.groups()
        assert await names(address) == {"lasting work"}
        async with httpx.AsyncClient() as client:
            headers = {"Authorization": f"Bearer {token}"}
            answer = await client.post(f"{address}tasks/1/pause", headers=headers)
        assert answer.status_code == 200
        running.process.send_signal(signal.SIGINT)
        assert (await running.rest())[0] == 130


async def test_an_asgi_application_is_served_beside_the_monitor(program):
    async with Running(program, "program:asgi") as running:
        [address] = (await running.line(r"the monitor: (\S+)")).groups()
        [application] = (await running.line(r"the application: (\S+)")).groups()
        assert (await get(application)).text == "hello"
        assert await names(address) == {"work of an application"}
        running.process.send_signal(signal.SIGTERM)
        code, text = await running.rest()
        assert code == 128 + signal.SIGTERM
        assert text.splitlines()[-1] == "application ends"  # slow steps may be logged before


async def test_a_program_that_ends_ends_the_monitor(program):
    async with Running(program, "program:short") as running:
        code, text = await running.rest()
        assert (code, text.splitlines()[-1]) == (0, "ended by itself")


async def test_a_program_that_fails_says_so(program):
    async with Running(program, "program:failing") as running:
        code, text = await running.rest()
        assert code == 1
        assert text.endswith("LookupError: nothing found\n")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("nothing", "target must be module:attribute, got 'nothing'"),
        (":app", "target must be module:attribute"),
        ("no_such_module:app", 'Could not import module "no_such_module".'),
        ("math.no_such:app", 'Could not import module "math.no_such".'),
        ("math:app.x", 'Attribute "app.x" not found in module "math".'),
    ],
)
def test_a_target_that_is_not_there_is_refused(target, reason, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main([target])
    assert reason in capsys.readouterr().err


def test_a_missing_import_of_the_program_is_its_own_error(tmp_path, monkeypatch):
    (tmp_path / "needs_more.py").write_text("import not_there_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="not_there_at_all"):
        _targets.load("needs_more:app")


# The same, in the loop of a test


async def run_for_a_moment(coroutine, until):
    running = asyncio.create_task(coroutine)
    async with asyncio.timeout(300):
        while not until():
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_the_demonstration_ends_when_it_is_cancelled():
    def is_busy():
        return any(task.name.startswith("report") for task in get_cooperator().tasks)

    await run_for_a_moment(_targets.demo(), is_busy)
    await get_cooperator().drain()
    assert current_task() is None


async def test_an_import_of_the_demonstration_parses_again_and_again(monkeypatch):
    real_sleep = asyncio.sleep
    monkeypatch.setattr(_targets.asyncio, "sleep", lambda _: real_sleep(0))
    monkeypatch.setattr(_targets, "REPORT_STEPS", 10)
    names = set()

    def is_known():
        names.update(task.name for task in get_cooperator().tasks)
        return "report 2" in names and any(
            task.name == "an import now and then" and task.steps > 50_000
            for task in get_cooperator().tasks
        )

    running = asyncio.create_task(_targets.demo())
    async with asyncio.timeout(300):
        while not is_known():
            await real_sleep(0)
    running.cancel()
    await asyncio.wait([running])
    await get_cooperator().drain()


@pytest.mark.parametrize("kind", ["aiohttp", "asgi"])
async def test_applications_are_served_until_the_end(kind):
    said = []
    ended = []
    if kind == "aiohttp":
        target = web.Application()

        async def end(_):
            ended.append("ended")

        target.on_cleanup.append(end)
    else:

        async def target(_, receive, send):
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            ended.append("ended")
            await send({"type": "lifespan.shutdown.complete"})

    running = _targets.run_target(target, "127.0.0.1", 0, said.append)
    await run_for_a_moment(running, lambda: said)
    assert re.fullmatch(r"the application: http://127\.0\.0\.1:\d+/", said[0])
    assert ended == ["ended"]


async def test_a_coroutine_function_is_run():
    ran = []

    async def main():
        ran.append("ran")

    await _targets.run_target(main, "127.0.0.1", 0, print)
    assert ran == ["ran"]


async def test_nothing_else_is_run():
    with pytest.raises(TypeError, match=r"target must be an ASGI application, .*, got 5"):
        await _targets.run_target(5, "127.0.0.1", 0, print)


def test_the_command_runs_a_coroutine_function(tmp_path, monkeypatch, capsys):
    (tmp_path / "short_program.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(tmp_path)
    assert command.main(["--monitor-port", "0", "short_program:short"]) == 0
    assert "the monitor: http://127.0.0.1:" in capsys.readouterr().out


def test_the_command_has_a_watchdog(tmp_path, monkeypatch, caplog):
    def said():
        return [one for one in caplog.records if "locals>.held\n" in one.getMessage()]

    def held():
        while not said():  # the watchdog's thread ends this, so the loop is held
            time.sleep(0.01)

    async def target():
        held()

    monkeypatch.setattr(command, "demo", target)
    assert command.main(["--monitor-port", "0", "--watchdog", "0.05"]) == 0
    assert f", at {__file__}:" in said()[0].getMessage()


def test_the_command_ends_with_sigint_and_sigterm(monkeypatch):
    def kill(number):
        async def target():
            signal.raise_signal(number)
            await asyncio.get_running_loop().create_future()

        monkeypatch.setattr(command, "demo", target)
        return command.main(["--monitor-port", "0", "--allow-control"])

    assert kill(signal.SIGTERM) == 128 + signal.SIGTERM
    assert kill(signal.SIGINT) == 130
