"""Look at pages in the system's Chromium, where there is one, by Playwright."""

import asyncio
import contextlib
import importlib.util
import shutil

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
HAS_PLAYWRIGHT = importlib.util.find_spec("playwright") is not None
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None or not HAS_PLAYWRIGHT, reason="no chromium or no playwright is installed"
)
PATIENCE = 300_000  # milliseconds
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync")


@contextlib.asynccontextmanager
async def browsing():
    """Start a browser with one empty page; give the page, which has `errors`."""
    from playwright.async_api import async_playwright  # noqa: PLC0415 (not everywhere)

    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *QUIET])
        page = await browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.errors = errors = []

        def note(message):
            if message.type == "error":
                errors.append(message.text)

        page.on("pageerror", lambda error: errors.append(error))  # noqa: PLW0108 (it is marked)
        page.on("console", note)
        yield page
        await browser.close()


async def overflows(page, width, scheme, file=None):
    """Show the page at a width, light or dark; tell whether it overflows sideways."""
    await page.set_viewport_size({"width": width, "height": 800})
    await page.emulate_media(color_scheme=scheme)
    await page.screenshot(full_page=True, path=file)
    return await page.evaluate("document.documentElement.scrollWidth > innerWidth")


async def until(page, expression):
    """Return the value of an expression when it is true; the page need not allow `eval`."""
    async with asyncio.timeout(PATIENCE / 1000):
        while not (value := await page.evaluate(expression)):
            await asyncio.sleep(0.05)
    return value
