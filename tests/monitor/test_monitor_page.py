"""The monitor's page in a browser: what it shows, its buttons, what it must not run."""

import asyncio
import os
import time
from pathlib import Path

import pytest
from browser import browsing, needs_chromium, overflows, until

from cooperative_aio import Cooperator, offload
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
        await page.goto(address)
        await until(page, "document.querySelectorAll('tbody tr').length === 5")
        await until(page, "document.querySelectorAll('#plot polyline').length")
        await until(page, f"({ROW}).children[9].textContent.includes('%')")
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
        assert sum(shares) > 0
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
                file = picture(f"monitor-{width}-{scheme}")
                assert not await overflows(page, width, scheme, file)
        assert page.errors == []


async def test_the_buttons_pause_resume_and_stop(workshop):
    tasks = {task.name: task for task in workshop.tasks}
    async with serve(Monitor(token=TOKEN)) as address, browsing() as page:
        await page.goto(f"{address}#token={TOKEN}")
        await until(page, "document.querySelectorAll('tbody tr').length === 5")
        assert await page.evaluate("location.hash") == ""
        task = tasks["search"]
        await page.evaluate(f"({ROW}).querySelector('button').click()")
        await until(page, f"({ROW}).children[1].textContent === 'paused'")
        assert task.paused
        await overflows(page, 1280, "light", picture("monitor-control-1280-light"))
        await overflows(page, 390, "dark", picture("monitor-control-390-dark"))
        await page.evaluate(f"({ROW}).querySelector('button').click()")
        await until(page, f"({ROW}).children[1].textContent === 'ready'")
        assert not task.paused
        stop = f"({ROW}).querySelectorAll('button')[1]"
        sure = f"{stop}.classList.contains('sure')"
        assert await page.evaluate(f"({stop}.click(), {stop}.textContent)") == "sure?"
        assert not task.done()
        # on a slow machine it may be sure no more, and has to be asked again
        await page.evaluate(f"({sure} || {stop}.click(), {stop}.click())")
        await until(page, f"!({ROW})")
        assert task.done()
        assert page.errors == []


async def test_a_wrong_token_is_told_of(workshop):
    async with serve(Monitor(token=TOKEN)) as address, browsing() as page:
        await page.goto(f"{address}#token=wrong")
        await until(page, "document.querySelectorAll('tbody tr').length === 5")
        await page.evaluate(f"({ROW}).querySelector('button').click()")
        message = page.locator("#message")
        await message.wait_for()
        assert (
            await message.inner_text()
            == "cannot pause: the token is missing or not the right one"
        )
        assert not any(task.paused for task in workshop.tasks if task.name == "search")


async def test_another_origin_can_neither_read_nor_change_anything(workshop):
    async with (
        serve(Monitor(token=TOKEN)) as address,
        serve(Monitor()) as other,
        browsing() as page,
    ):
        await page.goto(f"{other}state")
        for options in (
            "{}",
            f"{{method: 'POST', headers: {{Authorization: 'Bearer {TOKEN}'}}}}",
        ):
            failure = await page.evaluate(
                f"fetch('{address}tasks/1/stop', {options}).then(() => 'answered', String)"
            )
            assert failure == "TypeError: Failed to fetch"
        assert len(workshop.tasks) == 5


def search_by(event):
    yield event.wait()
    raise LookupError("no such row <b>")


def hold(event):
    yield event.wait()
    deadline = time.perf_counter() + 0.5
    while time.perf_counter() < deadline:  # the one step that the test is about
        pass
    yield


async def test_the_page_says_what_failed_what_held_the_loop_and_who_had_the_time(workshop):
    event = asyncio.Event()
    failing = workshop.cooperate(search_by(event), name="an import", group="client a")
    holding = workshop.cooperate(hold(event), name="a long step", group="client a")

    class Place:
        """A place that tells what it does."""

        name = "four processes"

        def figures(self):
            here = offload.WorkerFigures(os.getpid(), busy=True, memory=3_000_000)
            workers = here, offload.WorkerFigures(None, busy=False, memory=None)
            return offload.PlaceFigures(self.name, 4, 1, 2, 30, 5, workers)

    async with serve(Monitor(places=[Place()])) as address, browsing() as page:
        event.set()
        await asyncio.wait([failing, holding])
        await page.goto(address)
        note = page.locator("#failures details")
        await note.locator("summary").click()
        assert "LookupError: no such row <b>" in await note.locator("pre").inner_text()
        assert "an import" in await note.locator("summary").inner_text()
        stall = page.locator("#stalls details", has_text="a long step")
        await stall.locator("summary").click()
        assert " in hold\n" in await stall.locator("pre").inner_text()
        assert "test_monitor_page.py:" in await stall.locator("summary").inner_text()
        assert await page.locator("#plot .spike").count() >= 1
        groups = page.locator("table.groups tbody tr")
        await groups.wait_for()
        cells = await groups.locator("td").all_inner_texts()
        assert cells[:3] == ["client a", "0", "2"]
        text = await page.locator("#cooperators dl").inner_text()
        assert text.count("a long step") == 2  # of the last minute, and of all time
        place = await page.locator("#places tbody tr").inner_text()
        assert "four processes\t1 of 4" in place
        assert "\t2\t30\t5\t" in place
        assert f"{os.getpid()} busy 3MB" in place
        assert "? idle" in place
        for width in (1280, 390):
            for scheme in ("light", "dark"):
                file = picture(f"monitor-notes-{width}-{scheme}")
                assert not await overflows(page, width, scheme, file)
        assert page.errors == []
    with pytest.raises(LookupError):
        await failing


async def test_tasks_are_searched_and_sorted(workshop):
    names = (
        "[...document.querySelectorAll('table.tasks tbody tr')].map(row => row.dataset.number)"
    )
    async with serve(Monitor()) as address, browsing() as page:
        await page.goto(address)
        await until(page, f"{names}.length === 5")
        await page.fill("#search", "DELEGATE")
        await until(page, f"{names}.length === 1")
        await page.fill("#search", "nothing of that name")
        await until(page, f"{names}.length === 0")
        text = await page.locator("#cooperators .empty").inner_text()
        assert text == "none of 5 unfinished tasks is found"
        await page.fill("#search", "")
        for sort in ("recent", "cpu_time", "age", "queued", "steps"):
            await page.select_option("#sort", sort)
        await until(page, f"{names}.length === 5")
        last = "[...document.querySelectorAll('td[data-unit=steps]')].slice(-2)"
        few = f"{last}.length === 2 && {last}.every(cell => Number(cell.textContent) < 2)"
        await until(page, few)  # those that wait and are paused
        assert page.errors == []


async def test_reading_asks_for_the_token_where_it_needs_one(workshop):
    readers = "a token for readers"
    async with serve(Monitor(read_token=readers)) as address, browsing() as page:
        await page.goto(address)
        await page.locator("#token").wait_for()
        assert await page.locator("table.tasks").count() == 0
        await page.fill("#token input", readers)
        await until(page, "document.querySelectorAll('tbody tr').length === 5")
