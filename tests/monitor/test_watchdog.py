"""The watchdog: what it says of a loop that is held, and when it says nothing."""

import asyncio
import contextlib
import gc
import json
import logging
import sys
import threading
import types
import weakref

import httpx
import pytest
from aiohttp import web
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from cooperative_aio import cooperate
from cooperative_aio._watch import LoopLag
from cooperative_aio._watchdog import Watchdog, _is_idle, _place, watchdog
from cooperative_aio.monitor._serve import listen, serving

pytestmark = pytest.mark.filterwarnings("ignore:.*took .* seconds")
PATIENCE = 60  # seconds


class Dog:
    """A watchdog of one second on a clock by hand, which looks when it is told to."""

    def __init__(self):
        self.now = 100.0
        self.stalls = []
        self.lag = LoopLag(0.25, clock=lambda: self.now)
        self.watchdog = Watchdog(self.lag, 1.0, tell=self.stalls.append, owns_lag=True)
        self.watchdog.begin(asyncio.get_running_loop())

    def look_after(self, seconds):
        """Look twice in each of these seconds, as the thread would; return what it told."""
        before = len(self.stalls)
        for _ in range(int(2 * seconds)):
            self.now += 0.5
            self.watchdog.check()
        return self.stalls[before:]


@pytest.fixture
async def dog():
    made = Dog()
    yield made
    await made.watchdog.__aexit__(None, None, None)


# What it says


async def test_a_step_that_never_ends_is_named_while_it_lasts(dog):
    def invoices():
        yield
        stalls.extend(dog.look_after(2))
        yield

    stalls = []
    await cooperate(invoices(), name="invoices of May")
    [stall] = stalls
    assert stall.holder == "a step of 'invoices of May'"
    assert stall.due == 100.25
    assert stall.seconds == 1.25
    line = invoices.__code__.co_firstlineno + 2
    assert f'File "{__file__}", line {line}, in' in stall.stack
    assert stall.place.startswith(f"{__file__}:")
    assert stall.place.endswith("in Dog.look_after")  # the innermost frame of no library
    assert "run_forever" not in stall.stack  # it begins with what the loop has called


async def test_code_of_libraries_is_not_what_is_named(dog):
    def compute(_):
        return dog.look_after(2)

    # json's C code calls its own Python code, and that calls back
    decoder = json.JSONDecoder(object_hook=compute)
    [stall] = decoder.decode("{}")
    assert "json/decoder.py" in stall.stack.replace("\\", "/")
    assert stall.place.endswith("in Dog.look_after")


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (["/usr/lib/x.py", "/srv/shop.py", "/srv/main.py"], "/srv/shop.py"),
        ([json.__file__, "/v/site-packages/orm/rows.py", "/srv/shop.py"], "/srv/shop.py"),
        ([json.__file__, "/v/site-packages/orm/rows.py", asyncio.__file__], "rows.py"),
        (["<frozen importlib._bootstrap>", json.__file__], "<frozen importlib._bootstrap>"),
        ([sys.modules["cooperative_aio"].__file__, "/srv/shop.py"], "/srv/shop.py"),
    ],
)
def test_the_innermost_line_of_the_users_is_named(files, named):
    if files[0] == "/usr/lib/x.py":  # wherever Python's own library is
        files[0] = json.__file__
    codes = [compile("def f(): ...", file, "exec") for file in files]
    assert named in _place([(code, 7) for code in codes])
    assert ":7 in <module>" in _place([(codes[0], 7)])
    assert _place([]) == "the loop itself"


async def test_a_handler_that_computes_is_named_by_its_asyncio_task(dog):
    async def handler():
        return dog.look_after(2)

    [stall] = await asyncio.create_task(handler(), name="request 7")
    assert stall.holder == "the asyncio task 'request 7'"
    assert "in test_a_handler" in stall.stack or "handler" in stall.stack


async def test_a_callback_that_computes_is_named(dog):
    def call_back():
        told.set_result(dog.look_after(2))

    told = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(call_back)
    [stall] = await told
    assert stall.holder == "a callback"
    assert "call_back" in stall.stack


async def test_it_speaks_once_each_time_the_loop_is_held(dog):
    assert len(dog.look_after(30)) == 1
    assert dog.look_after(30) == []
    while dog.lag.due < dog.now:  # the loop turns
        await asyncio.sleep(0.01)
    assert dog.look_after(0.5) == []
    assert len(dog.look_after(30)) == 1


async def test_a_stack_is_cut_at_its_outer_end(dog):
    def deeper(depth):
        return deeper(depth - 1) if depth else dog.look_after(2)

    [stall] = deeper(300)
    lines = stall.stack.splitlines()
    assert "locals>.deeper" in lines[0]  # not what had called it first
    assert "  [Previous line repeated" in stall.stack
    assert len(lines) < 30


async def test_it_keeps_no_task_alive(dog):
    def work():
        dog.look_after(2)
        yield

    task = cooperate(work())
    await task
    reference = weakref.ref(task)
    del task
    await asyncio.sleep(0)  # the callback that has woken this
    gc.collect()
    assert len(dog.stalls) == 1
    assert reference() is None


# When it says nothing


async def test_a_loop_that_turns_is_not_held(dog):
    for _ in range(3):
        assert dog.look_after(1) == []
        dog.lag.due = dog.now + 0.25


async def test_a_loop_that_is_late_but_waits_for_events_is_not_held(dog, monkeypatch):
    monkeypatch.setattr("cooperative_aio._watchdog._is_idle", lambda *_: True)
    assert dog.look_after(5) == []
    monkeypatch.undo()
    assert len(dog.look_after(0.5)) == 1


async def test_a_process_that_was_suspended_is_not_blamed_on_what_it_was_at(dog):
    dog.now += 3600
    dog.watchdog.check()
    assert dog.stalls == []
    assert dog.look_after(0.5) == []
    assert len(dog.look_after(0.5)) == 1  # it is really held, since then


async def test_a_c_call_that_kept_the_interpreter_is_found_when_it_gives_it_back(
    dog, monkeypatch
):
    cpu = iter([60.0, 120.0])
    monkeypatch.setattr(
        "cooperative_aio._watchdog.time.process_time", lambda: dog.watchdog._cpu + next(cpu)
    )
    dog.now += 60  # in which the thread had no turn either, but the process computed
    dog.watchdog.check()
    assert dog.stalls[0].seconds == 59.75


def test_a_loop_that_was_stopped_is_not_held():
    loop = asyncio.new_event_loop()

    async def begin():
        return Dog()

    dog = loop.run_until_complete(begin())
    assert dog.look_after(5) == []
    loop.close()
    assert dog.look_after(5) == []
    assert dog.watchdog._leaving.is_set()


def test_it_ends_with_its_loop():
    loop = asyncio.new_event_loop()

    async def begin():
        return Dog()

    dog = loop.run_until_complete(begin())
    dog.lag.stop()
    loop.close()
    del loop
    gc.collect()
    dog.watchdog.check()
    assert dog.watchdog._leaving.is_set()


@pytest.mark.parametrize(
    ("modules", "idle"),
    [
        (["asyncio.base_events", "selectors"], True),
        (["asyncio.base_events", "asyncio.windows_events"], True),
        (["asyncio.base_events"], False),
        (["subprocess", "selectors"], False),
    ],
)
def test_a_loop_that_waits_for_events_is_idle(modules, idle):
    frame = None
    for module in modules:
        frame = types.SimpleNamespace(f_back=frame, f_globals={"__name__": module}, f_code=None)
    assert _is_idle(frame, test_a_loop_that_waits_for_events_is_idle.__code__) is idle


def test_a_loop_written_in_c_is_idle_where_it_is_run_from():
    frame = sys._getframe()
    assert not _is_idle(frame, None)
    assert _is_idle(frame, frame.f_code)


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_a_real_loop_that_waits_is_idle_and_one_that_computes_is_not(kind):
    make = asyncio.new_event_loop if kind == "asyncio" else None
    if make is None:
        make = pytest.importorskip("uvloop").new_event_loop
    seen = {}

    def look(name):
        seen[name] = _is_idle(sys._current_frames()[lag.thread], lag.runner)

    async def main():
        nonlocal lag
        lag = LoopLag(0.01)
        lag.start()
        while lag.histogram.buckets()[-1][1] < 1:
            await asyncio.sleep(0.001)
        lag.stop()
        thread = threading.Thread(target=look, args=["held"])
        thread.start()
        thread.join()
        thread = threading.Thread(target=wait_for_idle, args=[asyncio.get_running_loop()])
        thread.start()
        await idle.wait()
        thread.join()

    def wait_for_idle(loop):
        while not seen.get("idle"):
            look("idle")
        loop.call_soon_threadsafe(idle.set)

    lag = None
    idle = asyncio.Event()
    with asyncio.Runner(loop_factory=make) as runner:
        runner.run(main())
    assert seen == {"held": False, "idle": True}


# The thread


async def test_it_sleeps_until_the_heartbeat_would_be_too_late(dog):
    assert dog.watchdog.wait() == 1.25
    dog.now += 1.0
    assert dog.watchdog.wait() == 0.25
    dog.now += 1.0
    assert dog.watchdog.wait() == 0.0625
    dog.watchdog.check()
    dog.watchdog._settled = dog.lag.due
    assert dog.watchdog.wait() == 0.25
    dog.lag.stop()
    assert dog.watchdog.wait() == 3600


async def test_it_is_entered_once_and_ends_its_thread():
    async with watchdog(seconds=1) as entered:
        thread = entered._thread
        assert thread.daemon
        with pytest.raises(RuntimeError, match="cannot enter a watchdog twice; make another"):
            await entered.__aenter__()
    await asyncio.to_thread(thread.join, PATIENCE)
    assert not thread.is_alive()


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_the_seconds_are_a_finite_number_above_zero(seconds):
    with pytest.raises(ValueError, match="seconds must be a finite number above 0"):
        watchdog(seconds=seconds)


def test_the_seconds_are_a_number():
    with pytest.raises(TypeError, match="seconds must be a finite number above 0, got 'soon'"):
        watchdog(seconds="soon")


# In servers


class Told(logging.Handler):
    """Say that a record has come that names `hold`; a busy machine may bring others."""

    def __init__(self):
        super().__init__()
        self.event = threading.Event()
        self.records = []

    def emit(self, record):
        if "<locals>.hold" in record.getMessage().partition("\n")[0]:
            self.records.append(record)
            self.event.set()


@pytest.fixture
def told():
    handler = Told()
    logging.getLogger("cooperative_aio").addHandler(handler)
    yield handler
    logging.getLogger("cooperative_aio").removeHandler(handler)


@contextlib.asynccontextmanager
async def uvicorn(hold):
    async def handler(_):
        hold()
        return PlainTextResponse("held")

    app = Starlette(routes=[Route("/", handler)])
    with listen("127.0.0.1", 0) as listening:
        async with serving(app, listening, lifespan="off") as address:
            yield address


@contextlib.asynccontextmanager
async def aiohttp(hold):
    async def handler(_):
        hold()
        return web.Response(text="held")

    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    yield f"http://{host}:{port}/"
    await runner.cleanup()


@pytest.mark.parametrize("server", [uvicorn, aiohttp])
@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_under_a_server_it_names_the_handler_while_that_holds_the_loop(server, kind, told):
    def hold():  # until the watchdog has spoken: the loop cannot turn before
        assert told.event.wait(PATIENCE)

    async def main():
        async with (
            server(hold) as address,
            httpx.AsyncClient(timeout=PATIENCE) as client,
            watchdog(seconds=0.05),
        ):
            assert (await client.get(address)).text == "held"

    make = asyncio.new_event_loop
    if kind == "uvloop":
        make = pytest.importorskip("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=make) as runner:
        runner.run(main())
    record = told.records[0]
    assert (record.name, record.levelname) == ("cooperative_aio", "WARNING")
    text = record.getMessage()
    assert text.startswith("the event loop has been held for ")
    assert f"at {__file__}:{hold.__code__.co_firstlineno + 1} in" in text.partition("\n")[0]
    assert f"{server.__name__}.<locals>.handler" in text
    assert all(isinstance(argument, (str, float)) for argument in record.args)


async def test_a_step_is_named_in_the_log_while_it_holds_the_loop(told):
    def hold():
        assert told.event.wait(PATIENCE)
        yield

    async with watchdog(seconds=0.05):
        await cooperate(hold(), name="endless")
    assert "by a step of 'endless', at " in told.records[0].getMessage()
