"""How turns come about in a browser, with a browser that the test plays.

With real ones: tests/everywhere.
"""

import asyncio
import contextvars
import itertools
import sys
import types

import pytest

from cooperative_aio import Cooperator, TimeSlice
from cooperative_aio._host import check_host_has
from cooperative_aio._turns import OVERDUE, LateTurns, _in_browser, late_turns_of
from cooperative_aio.tasklet import WaitForIdle, run
from cooperative_aio.testing import virtual_time

SLICE = TimeSlice(0.25, max_wait=1.0)


class Browser:
    """Calls what was posted when the test says that there is nothing else to do."""

    def __init__(self):
        self.posted = []

    async def be_idle(self):
        posted = self.posted.copy()
        self.posted.clear()
        for function in posted:
            function()
        await some_turns()


async def some_turns():
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.fixture
def browser(monkeypatch):
    browser = Browser()
    monkeypatch.setattr(
        "cooperative_aio._loop.late_turns_of",
        lambda loop: LateTurns(loop, browser.posted.append),
    )
    return browser


def job(steps, name="job", seconds=0.25):
    loop = asyncio.get_running_loop()
    while True:
        loop.spend(seconds)
        steps.append((name, loop.time()))
        yield


@virtual_time
async def test_each_time_the_browser_is_idle_one_slice_is_taken(browser):
    steps = []
    async with Cooperator(time_slice=SLICE) as cooperator:
        task = cooperator.cooperate(job(steps))
        await some_turns()
        assert steps == [("job", 0.25)]  # at once: nobody had to be waited for
        await browser.be_idle()
        await browser.be_idle()
        assert steps == [("job", 0.25), ("job", 0.5), ("job", 0.75)]
        task.stop()


@virtual_time
async def test_what_is_left_of_a_slice_is_taken_without_asking_the_browser(browser):
    steps = []
    async with Cooperator(time_slice=SLICE) as cooperator:
        first = cooperator.cooperate(job(steps, "first", 0.125))
        cooperator.cooperate(iter([asyncio.sleep(0)]))
        await some_turns()
        first.stop()
        assert steps == [("first", 0.125), ("first", 0.25)]
        assert len(browser.posted) == 1


@virtual_time
async def test_a_browser_that_is_never_idle_puts_a_slice_off_for_max_wait(browser):
    steps = []
    async with Cooperator(time_slice=TimeSlice(0.25, max_wait=0.5)) as cooperator:
        task = cooperator.cooperate(job(steps))
        await asyncio.sleep(3)
        task.stop()
    begins = [round(when - 0.25, 3) for _, when in steps]
    waits = [late - early - 0.25 for early, late in itertools.pairwise(begins)]
    assert all(0.5 <= wait < 0.5 + 2 * OVERDUE for wait in waits[:1])
    assert all(0.25 <= wait < 0.25 + 2 * OVERDUE for wait in waits[1:])  # as on any loop
    assert len(steps) > 4


@virtual_time
async def test_with_nothing_to_do_nothing_is_scheduled(browser):
    async with Cooperator(time_slice=SLICE) as cooperator:
        task = cooperator.cooperate(job([]))
        await some_turns()
        task.stop()
        await browser.be_idle()
        await asyncio.sleep(1)
        assert browser.posted == []


@virtual_time
async def test_a_turn_that_was_taken_back_does_not_come_and_costs_no_second_post(browser):
    steps = []
    async with Cooperator(time_slice=SLICE) as cooperator:
        first = cooperator.cooperate(job(steps, "first"))
        await some_turns()
        first.stop()
        second = cooperator.cooperate(job(steps, "second"))
        await some_turns()
        assert len(browser.posted) == 1
        assert steps == [("first", 0.25)]
        await browser.be_idle()
        assert steps == [("first", 0.25), ("second", 0.5)]
        second.stop()


@virtual_time
async def test_a_turn_can_be_taken_back_when_the_loop_has_it_already():
    loop, posted, calls = asyncio.get_running_loop(), [], []
    turns = LateTurns(loop, posted.append)
    turn = turns.call(lambda: calls.append("late"), contextless())
    posted.pop()()
    assert turns.quiet
    turn.cancel()
    await asyncio.sleep(1)
    assert calls == []


@virtual_time
async def test_a_turn_that_the_timer_brings_is_not_quiet():
    loop, posted, calls = asyncio.get_running_loop(), [], []
    turns = LateTurns(loop, posted.append)
    turns.call(lambda: calls.append(turns.quiet), contextless())
    await asyncio.sleep(2 * OVERDUE)
    turns.call(lambda: calls.append(turns.quiet), contextless())
    assert len(posted) == 1  # the first is still to come, and does for the second
    posted.pop()()
    await asyncio.sleep(1)
    assert calls == [False, True]


def contextless():
    return contextvars.Context()


# Which way


def test_outside_of_webassembly_call_soon_is_all_that_it_takes():
    assert late_turns_of(asyncio.new_event_loop) is None


class WebLoop:
    """Stands for Pyodide's."""


@pytest.fixture
def js(monkeypatch):
    """Put Pyodide's modules where they are imported from; give that of the page."""
    page = types.ModuleType("js")
    page.calls = []
    page.Object = types.SimpleNamespace(fromEntries=dict)
    page.setTimeout = lambda function, wait: page.calls.append((function, wait))
    page.scheduler = types.SimpleNamespace(
        postTask=lambda function, options: page.calls.append((function, options))
    )
    ffi = types.ModuleType("pyodide.ffi")
    ffi.create_proxy = lambda function: ("proxy", function)
    ffi.to_js = lambda value, dict_converter: dict_converter(value.items())
    webloop = types.ModuleType("pyodide.webloop")
    webloop.WebLoop = WebLoop
    monkeypatch.setattr(sys, "platform", "emscripten")
    for module in (page, types.ModuleType("pyodide"), ffi, webloop):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return page


def test_a_browser_is_asked_by_its_scheduler(js):
    turns = late_turns_of(WebLoop())
    turns._post(turns._arrive)
    turns._post(turns._arrive)
    options = {"priority": "background"}
    assert js.calls == [(("proxy", turns._arrive), options)] * 2
    assert js.calls[0][0] is js.calls[1][0]  # one proxy: they are not collected


def test_a_browser_without_a_scheduler_is_asked_by_a_timer(js):
    del js.scheduler
    turns = _in_browser(WebLoop())
    turns._post(turns._arrive)
    assert js.calls == [(("proxy", turns._arrive), 0)]


def test_node_and_other_loops_are_paced_as_asyncio_is(js):
    assert _in_browser(object()) is None
    js.process = types.SimpleNamespace(versions=types.SimpleNamespace())
    assert _in_browser(WebLoop()) is not None  # a polyfill
    js.process.versions.node = "20"
    assert _in_browser(WebLoop()) is None


# What there is not


def test_what_a_browser_has_not_got_is_refused_by_name(monkeypatch):
    check_host_has("threads", "run generators in threads", "cooperate() with them")
    monkeypatch.setattr("cooperative_aio._host.IN_WEBASSEMBLY", True)
    message = (
        r"^cannot run generators in threads in WebAssembly, where there are no threads; "
        r"cooperate\(\) with them$"
    )
    with pytest.raises(NotImplementedError, match=message):
        check_host_has("threads", "run generators in threads", "cooperate() with them")


@virtual_time
async def test_where_no_sleep_is_told_of_a_timer_in_time_is_idleness(monkeypatch):
    monkeypatch.setattr("cooperative_aio.tasklet._timers.IN_WEBASSEMBLY", True)

    def waiting():
        yield WaitForIdle()
        return "idle"

    assert await run(waiting()) == "idle"
