"""The monitor's page in a browser: what it shows, its buttons, what it must not run."""

import asyncio
import os
from pathlib import Path

import pytest
from browser import browsing, needs_chromium

from cooperative_aio import Cooperator
from cooperative_aio.monitor import Monitor, serve

pytestmark = needs_chromium

TOKEN = "a secret of the tests"  # noqa: S105
PICTURES = os.environ.get("COOPERATIVE_AIO_PICTURES")
ROW = (
    "[...document.querySelectorAll('tbody tr')]"
    ".find(row => row.firstChild.textContent === 'search')"
)


def search():
    number = 0
    while True:
        number += 1
        yield sum(range(number % 200))


def delegate():
    yield from search()


def wait(event):
    yield event.wait()


def picture(name):
    return None if PICTURES is None else Path(PICTURES, f"{name}.png")


@pytest.fixture
async def workshop():
    """Run tasks of every state in a Cooperator."""
    cooperator = Cooperator(name="workshop")
    event = asyncio.Event()
    cooperator.cooperate(search(), name="search")
    cooperator.cooperate(delegate(), name="search by another", weight=0.5)
    cooperator.cooperate(wait(event), name="wait for the event")
    cooperator.cooperate(search(), name="paused search").pause()
    cooperator.cooperate(search(), name="<img src=x onerror='document.title=\"pwned\"'>")
    yield cooperator
    cooperator.stop()


async def test_the_page_shows_the_tasks_and_the_lag(workshop):
    async with serve(Monitor()) as address, browsing() as page:
        await page.go(address)
        await page.until("document.querySelectorAll('tbody tr').length === 5")
        await page.until("document.querySelectorAll('#plot polyline').length")
        await page.until(f"({ROW}).children[6].textContent.includes('%')")
        text = await page.evaluate("document.body.innerText")
        assert "workshop" in text
        assert "delegate \N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} search" in text
        assert "test_monitor_page.py:" in text
        states = await page.evaluate(
            "[...document.querySelectorAll('td.state')].map(cell => cell.textContent)"
        )
        assert sorted(states) == ["paused", "ready", "ready", "ready", "waiting"]
        shares = await page.evaluate(
            "[...document.querySelectorAll('meter')].map(m => m.value)"
        )
        assert sum(shares) > 0.1
        assert await page.evaluate("document.querySelectorAll('img').length") == 0
        assert await page.evaluate("document.title") == "cooperative_aio monitor"
        assert (
            await page.evaluate(
                "getComputedStyle(document.querySelector('th.actions')).display"
            )
            == "none"
        )
        assert await page.evaluate("document.querySelector('#token').hidden")
        for width in (1280, 390):
            for scheme in ("light", "dark"):
                overflows = await page.look(width, scheme, picture(f"monitor-{width}-{scheme}"))
                assert not overflows
        assert page.errors == []


async def test_the_buttons_pause_resume_and_stop(workshop):
    tasks = {task.name: task for task in workshop.tasks}
    async with serve(Monitor(token=TOKEN)) as address, browsing() as page:
        await page.go(f"{address}#token={TOKEN}")
        await page.until("document.querySelectorAll('tbody tr').length === 5")
        assert await page.evaluate("location.hash") == ""
        task = tasks["search"]
        await page.evaluate(f"({ROW}).querySelector('button').click()")
        await page.until(f"({ROW}).children[1].textContent === 'paused'")
        assert task.paused
        await page.look(1280, "light", picture("monitor-control-1280-light"))
        await page.look(390, "dark", picture("monitor-control-390-dark"))
        await page.evaluate(f"({ROW}).querySelector('button').click()")
        await page.until(f"({ROW}).children[1].textContent === 'ready'")
        assert not task.paused
        stop = f"({ROW}).querySelectorAll('button')[1]"
        await page.evaluate(f"{stop}.click()")
        assert await page.evaluate(f"{stop}.textContent") == "sure?"
        assert not task.done()
        await page.evaluate(f"{stop}.click()")
        await page.until(f"!({ROW})")
        assert task.done()
        assert page.errors == []


async def test_a_wrong_token_is_told_of(workshop):
    async with serve(Monitor(token=TOKEN)) as address, browsing() as page:
        await page.go(f"{address}#token=wrong")
        await page.until("document.querySelectorAll('tbody tr').length === 5")
        await page.evaluate(f"({ROW}).querySelector('button').click()")
        text = await page.until("document.querySelector('#message').innerText")
        assert text == "cannot pause: the token is missing or not the right one"
        assert not any(task.paused for task in workshop.tasks if task.name == "search")


async def test_another_origin_can_neither_read_nor_change_anything(workshop):
    async with (
        serve(Monitor(token=TOKEN)) as address,
        serve(Monitor()) as other,
        browsing() as page,
    ):
        await page.go(f"{other}state")
        for options in (
            "{}",
            f"{{method: 'POST', headers: {{Authorization: 'Bearer {TOKEN}'}}}}",
        ):
            failure = await page.evaluate(
                f"fetch('{address}tasks/1/stop', {options}).then(() => 'answered', String)"
            )
            assert failure == "TypeError: Failed to fetch"
        assert len(workshop.tasks) == 5
