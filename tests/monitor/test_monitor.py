"""The monitor as an ASGI application: what it tells, whom it obeys, where it listens."""

import asyncio
import contextlib
import dataclasses
import errno
import math
import os
import subprocess
import sys

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

import cooperative_aio.monitor
from cooperative_aio import Cooperator
from cooperative_aio.monitor import Monitor, serve
from cooperative_aio.monitor._page import page
from cooperative_aio.monitor._serve import listen, serving

TOKEN = "a secret of the tests"  # noqa: S105
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def search():
    while True:
        yield


def delegate():
    yield from search()


def wait(future):
    yield future


@pytest.fixture
async def workshop():
    cooperator = Cooperator(name="workshop")
    cooperator.cooperate(search(), name="search")
    cooperator.cooperate(delegate(), name="delegate", weight=2)
    cooperator.cooperate(iter(range(10**9)), name="no generator")
    cooperator.cooperate(search(), name="paused").pause()
    future = asyncio.get_running_loop().create_future()
    waiting = cooperator.cooperate(wait(future), name="wait")
    while not waiting.waiting:
        await asyncio.sleep(0)
    waiting.pause()
    yield cooperator
    cooperator.stop()


def asking(monitor, host="localhost"):
    transport = httpx.ASGITransport(monitor)
    return httpx.AsyncClient(transport=transport, base_url=f"http://{host}")


async def tasks_of(client):
    state = (await client.get("/state")).json()
    return {task["name"]: task for one in state["cooperators"] for task in one["tasks"]}


# What it tells


async def test_the_page_needs_nothing_from_elsewhere():
    async with Monitor() as monitor, asking(monitor) as client:
        answer = await client.get("/")
        head = await client.head("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "http" not in answer.text.replace("http://www.w3.org/2000/svg", "")
    assert "/* page" not in answer.text
    assert answer.headers["content-security-policy"].startswith(
        "default-src 'none'; script-src"
    )
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cache-control"] == "no-store"
    assert (head.status_code, head.text) == (200, "")
    assert page()[0].decode() == answer.text


async def measured(monitor, count):
    """Wait until the lag was measured so often."""
    while len(monitor._watch.lag.samples) < count:
        await asyncio.sleep(0.001)


async def test_the_state_has_all_there_is_to_see(workshop):
    async with Monitor(interval=0.01) as monitor, asking(monitor) as client:
        await measured(monitor, 2)
        state = (await client.get("/state")).json()
        while len(state["lag"]["samples"]) < 2:
            await asyncio.sleep(0.01)
            state = (await client.get("/state")).json()
        [shown] = state["cooperators"]
        tasks = await tasks_of(client)
    assert (shown["name"], shown["running"], shown["count"]) == ("workshop", True, 5)
    assert shown["statistics"]["ready"] == 3
    assert shown["time_slice"] == "TimeSlice(seconds=0.002, max_wait=0.01, share=1.0)"
    assert state["may_change"] is False
    assert {name: task["state"] for name, task in tasks.items()} == {
        "search": "ready",
        "delegate": "ready",
        "no generator": "ready",
        "paused": "paused",
        "wait": "waiting",
    }
    assert tasks["wait"]["paused"]
    assert tasks["delegate"]["weight"] == 2
    assert tasks["search"]["steps"] > 0
    assert tasks["search"]["cpu_time"] > 0
    [outer, inner] = tasks["delegate"]["where"]
    assert (outer["function"], inner["function"]) == ("delegate", "search")
    assert inner["file"] == __file__
    assert inner["line"] in {
        search.__code__.co_firstlineno + 1,
        search.__code__.co_firstlineno + 2,
    }
    assert tasks["no generator"]["where"] == []
    assert tasks["no generator"]["iterator"] == "range_iterator"
    lags = state["lag"]["samples"]
    assert len(lags) >= 2
    assert all(late >= 0 for _, late in lags)


async def test_the_lag_is_told_since_an_instant():
    async with Monitor(interval=0.005) as monitor, asking(monitor) as client:
        await measured(monitor, 4)
        lags = (await client.get("/state")).json()["lag"]["samples"]
        since = lags[1][0]
        later = (await client.get(f"/state?since={since}")).json()["lag"]["samples"]
        assert later[: len(lags) - 2] == lags[2:]
        answer = await client.get("/state?since=yesterday")
    assert answer.status_code == 400
    assert answer.json() == {"error": "since must be a number, got 'yesterday'"}


async def test_of_very_many_tasks_those_with_most_time_are_shown():
    async with Cooperator(name="many") as cooperator:
        tasks = [cooperator.cooperate(search(), name=str(number)) for number in range(3000)]
        for task in tasks[:100] + tasks[102:]:
            task.pause()
        await asyncio.sleep(0.02)
        async with Monitor(cooperator, most=2) as monitor, asking(monitor) as client:
            state = (await client.get("/state")).json()
            assert set(await tasks_of(client)) == {"100", "101"}
        assert state["cooperators"][0]["count"] == 3000
        cooperator.stop()


async def test_a_task_keeps_its_number(workshop):
    async with Monitor() as monitor, asking(monitor) as client:
        first = await tasks_of(client)
        second = await tasks_of(client)
    numbers = [task["number"] for task in first.values()]
    assert numbers == [task["number"] for task in second.values()] == [1, 2, 3, 4, 5]


# Whom it obeys


@pytest.mark.parametrize("action", ["pause", "resume", "stop"])
async def test_without_a_token_nobody_changes_anything(workshop, action):
    async with Monitor() as monitor, asking(monitor) as client:
        number = (await tasks_of(client))["search"]["number"]
        answer = await client.post(f"/tasks/{number}/{action}", headers=BEARER)
    assert answer.status_code == 403
    assert "without a token" in answer.json()["error"]
    assert len(workshop.tasks) == 5


async def test_who_knows_the_token_pauses_resumes_and_stops(workshop):
    task = workshop.tasks[0]
    async with Monitor(token=TOKEN) as monitor, asking(monitor) as client:
        assert (await client.get("/state")).json()["may_change"] is True
        number = (await tasks_of(client))["search"]["number"]
        client.headers.update(BEARER)
        answer = await client.post(f"/tasks/{number}/pause")
        assert (answer.status_code, answer.json()) == (200, {"done": "pause", "name": "search"})
        assert task.paused
        assert (await client.post(f"/tasks/{number}/resume")).status_code == 200
        assert not task.paused
        answer = await client.post(f"/tasks/{number}/resume")
        assert (answer.status_code, answer.json()["error"]) == (
            409,
            "cannot resume a ready task; it is not paused",
        )
        assert (await client.post(f"/tasks/{number}/stop")).status_code == 200
        assert task.done()
        answer = await client.post(f"/tasks/{number}/stop")
        assert (answer.status_code, answer.json()["error"]) == (
            404,
            "the task has ended, or there was none",
        )


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN}!"},
        {"Authorization": "Bearer \xff"},
        {"X-Token": TOKEN},
    ],
    ids=str,
)
async def test_a_wrong_token_changes_nothing(workshop, headers):
    async with Monitor(token=TOKEN) as monitor, asking(monitor) as client:
        number = (await tasks_of(client))["search"]["number"]
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        answer = await client.post(f"/tasks/{number}/stop", headers=raw)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert len(workshop.tasks) == 5


async def test_a_link_or_an_image_changes_nothing(workshop):
    async with Monitor(token=TOKEN) as monitor, asking(monitor) as client:
        answer = await client.get("/tasks/1/stop", headers=BEARER)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        assert (await client.post("/state")).status_code == 405
    assert len(workshop.tasks) == 5


@pytest.mark.parametrize(
    "path",
    [
        "/tasks",
        "/tasks/1",
        "/tasks/1/kill",
        "/favicon.ico",
        "/..%2fstate",
        "/state/x",
        "/page.js",
    ],
)
async def test_there_is_nothing_else(path):
    async with Monitor(token=TOKEN) as monitor, asking(monitor) as client:
        assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize("number", ["0", "99", "-1", "x", "1.0", "\u0663", "9" * 5000])
async def test_a_number_of_no_task_is_told_of(workshop, number):
    async with Monitor(token=TOKEN) as monitor, asking(monitor) as client:
        answer = await client.post(f"/tasks/{number}/stop", headers=BEARER)
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8765", 200),
        ("127.0.0.1:8765", 200),
        ("[::1]", 200),
        ("[::1]:8765", 200),
        ("127.0.0.1:", 400),
        ("evil.example", 400),
        ("localhost.evil.example:8765", 400),
        ("localhost@evil.example", 400),
        ("www.localhost", 400),
        ("[::2]", 400),
        ("", 400),
    ],
)
async def test_only_its_own_names_are_answered(host, status):
    async with Monitor() as monitor, asking(monitor) as client:
        for path in ("/", "/state"):
            answer = await client.get(path, headers={"Host": host})
            assert answer.status_code == status


async def test_other_names_are_allowed_by_who_says_so():
    async with Monitor(hosts=["Ops.example"]) as monitor:
        async with asking(monitor, "ops.example") as client:
            assert (await client.get("/state")).status_code == 200
        async with asking(monitor) as client:
            answer = await client.get("/state")
    assert answer.status_code == 400
    assert answer.text == "Invalid host header"


# How it is made


async def test_a_monitor_can_be_entered_again(workshop):
    monitor = Monitor()
    for _ in range(2):
        async with monitor, asking(monitor) as client:
            assert len(await tasks_of(client)) == 5


def test_what_needs_a_library_is_imported_when_it_is_asked_for():
    program = (
        "import sys, cooperative_aio.monitor as monitor\n"
        "monitor.watchdog(seconds=1)\n"
        "assert not {'starlette', 'uvicorn'} & sys.modules.keys()\n"
        "assert {'Monitor', 'serve'} <= set(dir(monitor))\n"
        "assert monitor.serve and monitor.Monitor and 'starlette' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)


def test_there_is_no_other_name():
    assert {"Monitor", "serve", "watchdog"} <= set(dir(cooperative_aio.monitor))
    with pytest.raises(AttributeError, match="monitor' has no attribute 'Moniteur'"):
        cooperative_aio.monitor.Moniteur  # noqa: B018


@pytest.mark.parametrize("kind", ["token", "read_token"])
@pytest.mark.parametrize("token", ["", "short", "0123456789abcde", "\u00fc" * 20])
def test_a_token_is_long_enough_to_be_a_secret(kind, token):
    with pytest.raises(ValueError, match=f"^{kind} must be at least 16 ASCII characters"):
        Monitor(**{kind: token})


def test_hosts_are_not_one_string():
    with pytest.raises(TypeError, match="hosts must be an iterable of names, got 'localhost'"):
        Monitor(hosts="localhost")


def test_at_least_one_task_is_shown():
    with pytest.raises(ValueError, match="most must be at least 1, got 0"):
        Monitor(most=0)


@pytest.mark.parametrize("path", ["/", "/state", "/tasks/1/stop", "/nothing"])
async def test_a_websocket_is_refused_without_an_error(path):
    async def ask(host):
        messages = []

        async def send(message):
            messages.append(message)

        async def receive():
            return {"type": "websocket.connect"}

        scope = {"type": "websocket", "path": path, "headers": [(b"host", host)]}
        await Monitor()(scope, receive, send)
        return messages

    [refusal] = await ask(b"localhost")
    assert refusal["type"] == "websocket.close"  # which a server turns into 403
    refusal, _ = await ask(b"evil.example")
    assert (refusal["type"], refusal["status"]) == ("websocket.http.response.start", 400)


@pytest.mark.parametrize("others", [["localhost"], ["evil.example"], ["evil.example"] * 2])
async def test_of_several_names_none_counts(others):
    hosts = [("Host", name) for name in ("localhost", *others)]
    async with Monitor() as monitor, asking(monitor) as client:
        for headers in (hosts, hosts[::-1]):
            answer = await client.get("/state", headers=headers)
            assert (answer.status_code, answer.text) == (400, "Invalid host header")


# Reading by token


async def test_reading_may_need_a_token_too(workshop):
    readers = "a token for readers"
    async with (
        Monitor(token=TOKEN, read_token=readers) as monitor,
        asking(monitor) as client,
    ):
        assert (await client.get("/")).status_code == 200  # which tells nothing
        answer = await client.get("/state")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json() == {"error": "the token is missing or not the right one"}
        for token in (readers, TOKEN):
            client.headers["Authorization"] = f"Bearer {token}"
            assert len(await tasks_of(client)) == 5
        client.headers["Authorization"] = f"Bearer {readers}"
        assert (await client.post("/tasks/1/stop")).status_code == 401
    async with Monitor(read_token=readers) as monitor, asking(monitor) as client:
        client.headers["Authorization"] = f"Bearer {readers}"
        assert (await client.get("/state")).json()["may_change"] is False
        assert (await client.post("/tasks/1/stop")).status_code == 403
    assert len(workshop.tasks) == 5


# What is strange in it


async def test_strange_names_are_shown_and_cut():
    async with Cooperator(name="caf\udce9" + "x" * 1000) as cooperator:
        for name in ("a\udce9", "y" * 10**6, "tab\there", 5):
            cooperator.cooperate(search(), name=name, group=name).pause()
        async with Monitor(token=TOKEN) as monitor, asking(monitor) as client:
            state = (await client.get("/state")).json()
            number = (await tasks_of(client))["a\\udce9"]["number"]
            answer = await client.post(f"/tasks/{number}/resume", headers=BEARER)
        cooperator.stop()
    names = ["5", "a\\udce9", "tab\there", "y" * 199 + "\N{HORIZONTAL ELLIPSIS}"]
    [shown] = state["cooperators"]
    assert sorted(task["name"] for task in shown["tasks"]) == names
    assert sorted(group["name"] for group in shown["groups"]) == names
    assert shown["name"].startswith("caf\\udce9xxx")
    assert len(shown["name"]) == 200
    assert answer.json() == {"done": "resume", "name": "a\\udce9"}


async def test_figures_that_json_cannot_have_are_left_out(workshop, monkeypatch):
    figures = dataclasses.replace(
        workshop.statistics(), cpu_time=math.inf, longest_tick=math.nan
    )
    monkeypatch.setattr(workshop, "statistics", lambda: figures)
    async with Monitor(workshop) as monitor, asking(monitor) as client:
        shown = (await client.get("/state")).json()["cooperators"][0]["statistics"]
    assert shown["cpu_time"] is shown["longest_tick"] is None
    assert shown["ready"] == 3


# Where it is served


async def test_it_can_be_mounted_in_an_application(workshop):
    async with Monitor() as monitor:
        app = Starlette(routes=[Mount("/tools/monitor", monitor)])
        async with asking(app) as client:
            assert (await client.get("/tools/monitor/")).status_code == 200
            state = (await client.get("/tools/monitor/state")).json()
            assert [one["name"] for one in state["cooperators"]] == ["workshop"]
            answer = await client.get("/tools/monitor")
            assert answer.status_code in {307, 308}
            assert httpx.URL(answer.headers["location"]).path == "/tools/monitor/"


async def test_a_mounted_page_without_its_slash_is_sent_there():
    sent = []
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/monitor",
        "root_path": "/monitor",
        "scheme": "http",
        "headers": [(b"host", b"localhost")],
        "query_string": b"",
    }
    async with Monitor() as monitor:

        async def send(message):
            sent.append(message)

        await monitor(scope, None, send)
    assert sent[0]["status"] == 307
    assert (b"location", b"http://localhost/monitor/") in sent[0]["headers"]


async def test_a_server_may_tell_it_of_its_life():
    messages = ["lifespan.startup", "lifespan.shutdown"]
    sent = []

    async def receive():
        return {"type": messages.pop(0)}

    async def send(message):
        sent.append(message["type"])

    await Monitor()({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
async def test_it_is_served_on_the_loopback_interface(workshop, host):
    async with serve(Monitor(), host=host) as address, httpx.AsyncClient() as client:
        state = (await client.get(f"{address}state")).json()
        assert state["cooperators"][0]["name"] == "workshop"
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(address)


async def test_it_is_served_by_ipv6_where_there_is_any():
    with contextlib.suppress(OSError):
        async with serve(Monitor(), host="::1") as address, httpx.AsyncClient() as client:
            assert address.startswith("http://[::1]:")
            assert (await client.get(f"{address}state")).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "example.org"])  # noqa: S104
async def test_it_is_never_bound_beyond_the_loopback_interface(host):
    with pytest.raises(ValueError, match="host must be an address of the loopback interface"):
        await serve(Monitor(), host=host).__aenter__()


async def test_a_server_that_cannot_start_is_an_error():
    async def app(scope, receive, send):
        await send({"type": "lifespan.startup.failed"})

    failing = pytest.raises(RuntimeError, match="its lifespan has failed")
    with listen("127.0.0.1", 0) as listening, failing:
        await serving(app, listening, lifespan="on").__aenter__()


async def test_a_port_that_is_taken_is_no_reason_not_to_start(workshop, caplog):
    async with serve(Monitor()) as address:
        port = httpx.URL(address).port
        async with serve(Monitor(), port=port) as other, httpx.AsyncClient() as client:
            assert httpx.URL(other).port not in {port, 0}
            assert (await client.get(f"{other}state")).status_code == 200
    # on a busy machine a step may be logged as a slow one
    [record] = [one for one in caplog.records if "port" in one.getMessage()]
    assert (record.name, record.levelname) == ("cooperative_aio", "WARNING")
    assert record.getMessage() == f"port {port} is taken; this monitor is at {other}"


async def test_an_interface_that_is_not_there_is_an_error(monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EADDRNOTAVAIL, "cannot assign the address")

    monkeypatch.setattr("socket.create_server", refuse)
    with pytest.raises(OSError, match="cannot assign the address"):
        await serve(Monitor(), port=8765).__aenter__()


LIFESPAN = """
import contextlib, os
from cooperative_aio.monitor import Monitor, serve
from starlette.applications import Starlette

@contextlib.asynccontextmanager
async def lifespan(app):
    async with serve(Monitor(), port=int(os.environ["MONITOR_PORT"])) as address:
        print("the monitor:", address, flush=True)
        yield

app = Starlette(lifespan=lifespan)
"""


async def test_in_a_lifespan_it_lets_every_worker_process_start(tmp_path):
    (tmp_path / "served.py").write_text(LIFESPAN)
    with listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "--workers", "2", "--port", "0", "served:app"),
        cwd=tmp_path,
        env={**os.environ, "MONITOR_PORT": str(port)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    addresses = set()
    try:
        async with asyncio.timeout(300), httpx.AsyncClient() as client:
            async for line in process.stdout:
                if line.startswith(b"the monitor:"):
                    addresses.add(line.split()[-1].decode())
                if len(addresses) == 2:
                    break
            for address in addresses:
                assert (await client.get(f"{address}state")).status_code == 200
    finally:
        process.terminate()
        await process.communicate()
    assert len(addresses) == 2
    assert f"http://127.0.0.1:{port}/" in addresses


async def test_it_leaves_signals_alone(workshop):
    import signal  # noqa: PLC0415

    before = signal.getsignal(signal.SIGTERM)
    async with serve(Monitor()):
        assert signal.getsignal(signal.SIGTERM) is before
