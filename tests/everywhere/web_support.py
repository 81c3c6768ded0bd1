"""Pyodide in Node and in Chromium: what runs a program there, where they are installed."""

import contextlib
import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from aiohttp import web

ROOT = Path(__file__).parents[2]
WEB = Path(__file__).parent / "web"
NODE = shutil.which("node")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
PATIENCE = 180  # seconds


def import_live():
    """Import docs/_live.py, which furnishes the demo."""
    spec = importlib.util.spec_from_file_location("_live", ROOT / "docs" / "_live.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


live = import_live()
PYODIDE = live.find_pyodide()
needs_pyodide = pytest.mark.skipif(
    PYODIDE is None, reason="no Pyodide: `npm install pyodide`, or PYODIDE=its folder"
)
needs_node = pytest.mark.skipif(NODE is None, reason="no node is installed")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")


def run_in_node(furnished, program):
    """Return what `main()` of a program in tests/everywhere/web returns in Node."""
    archives = json.loads((furnished / "config.json").read_text("utf-8"))["archives"]
    command = [NODE, WEB / "run.mjs", PYODIDE, WEB / program]
    done = subprocess.run(
        [*command, *(furnished / name for name in archives)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@contextlib.asynccontextmanager
async def serving(furnished):
    """Serve the demo and the page of the tests from one folder; give the address."""
    for folder in (WEB, ROOT / "docs" / "_static" / "live"):
        shutil.copytree(folder, furnished, dirs_exist_ok=True)
    app = web.Application()
    app.router.add_static("/", furnished)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def browsing():
    """Start a browser with one page, by Playwright; give the page, and what went wrong."""
    playwright = pytest.importorskip("playwright.async_api")
    async with playwright.async_playwright() as started:
        browser = await started.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-dev-shm-usage"],  # it visits this machine only
        )
        try:
            page = await browser.new_page()
            page.set_default_timeout(1000 * PATIENCE)
            errors = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            yield page, errors
        finally:
            await browser.close()


async def run_in_chromium(furnished, program, call="main()", *, worker=False, scheduler=True):
    """Return what a call of a program returns in a page, or in a worker of it."""
    archives = json.loads((furnished / "config.json").read_text("utf-8"))["archives"]
    how = {
        "program": program,
        "call": call,
        "archives": archives,
        "worker": worker,
        "scheduler": scheduler,
    }
    async with serving(furnished) as address, browsing() as (page, errors):
        await page.goto(f"{address}/page.html")
        await page.wait_for_function("globalThis.run !== undefined")
        result = await page.evaluate("how => globalThis.run(how)", how)
        assert errors == []
        return json.loads(result)
