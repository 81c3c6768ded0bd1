"""The demonstration of latencies: its server, and its page in a browser."""

import asyncio
import contextlib
import importlib.util
import os
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from browser import browsing, needs_chromium

SERVER = Path(__file__).parents[2] / "examples" / "latency_demo" / "server.py"
PICTURES = os.environ.get("COOPERATIVE_AIO_PICTURES")
WAYS = ["blocking", "thread", "fixed", "cooperative"]


@contextlib.asynccontextmanager
async def serving():
    spec = importlib.util.spec_from_file_location("latency_demo_server", SERVER)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    program.PIECES = 4000  # a short job, so that blocking ends
    runner = web.AppRunner(program.make_app())
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def get(session, path):
    async with session.get(path) as response:
        return await response.json()


@pytest.mark.parametrize("mode", WAYS)
async def test_the_job_goes_on_in_every_way_until_another_is_chosen(mode):
    async with serving() as address, aiohttp.ClientSession(address) as session:
        assert await get(session, "/ping") == {"mode": "idle", "done": 0}
        async with session.post(f"/mode/{mode}") as response:
            assert await response.json() == {"mode": mode}
        async with asyncio.timeout(30):
            while (await get(session, "/ping"))["done"] < 100:
                await asyncio.sleep(0.01)
        assert (await get(session, "/ping"))["mode"] == mode
        async with session.post("/mode/idle") as response:
            assert response.status == 200
        await asyncio.sleep(0.05)  # a thread may finish a piece
        done = (await get(session, "/ping"))["done"]
        await asyncio.sleep(0.05)
        assert await get(session, "/ping") == {"mode": "idle", "done": done}


async def test_an_unknown_way_is_refused():
    async with (
        serving() as address,
        aiohttp.ClientSession(address) as session,
        session.post("/mode/magic") as response,
    ):
        assert response.status == 400
        assert "cooperative" in await response.text()


@needs_chromium
async def test_the_page_draws_the_latency_of_every_way():
    async with serving() as address, browsing() as page:
        await page.go(f"{address}/?seconds=0.9")
        for mode in WAYS:
            await page.until(
                f"document.querySelector('[aria-checked=true]').dataset.mode === '{mode}'"
            )
        median = "document.querySelector('tr[data-mode=%s]').cells[1].textContent"
        for mode in ["idle", *WAYS]:
            assert await page.until(f"{median % mode} !== '–' && {median % mode}")  # noqa: RUF001
        await page.evaluate("document.querySelector('button[data-mode=cooperative]').click()")
        await page.until("document.querySelector('#tour').textContent.includes('logarithmic')")
        assert "await cooperate(job())" in await page.evaluate(
            "document.querySelector('#code').innerText"
        )
        for width in (1280, 390):
            for scheme in ("light", "dark"):
                picture = f"demo-{width}-{scheme}.png"
                file = None if PICTURES is None else Path(PICTURES, picture)
                assert not await page.look(width, scheme, file)
        assert page.errors == []
