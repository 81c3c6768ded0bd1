"""Drive a headless Chromium over its DevTools protocol, where there is one."""

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
import tempfile
from pathlib import Path

import aiohttp
import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
PATIENCE = 60  # seconds


class Page:
    """A page in the browser: evaluate what it shows, click, take pictures."""

    def __init__(self, socket):
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers = {}
        self.errors = []

    async def listen(self):
        async for message in self._socket:
            answer = json.loads(message.data)
            if answer.get("id") in self._answers:
                self._answers.pop(answer["id"]).set_result(answer)
            elif answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(answer["params"]["exceptionDetails"])
            elif answer.get("method") == "Log.entryAdded":
                entry = answer["params"]["entry"]
                if entry["level"] == "error":
                    self.errors.append(entry)

    async def call(self, method, **parameters):
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(PATIENCE):
            answer = await self._answers[number]
        assert "error" not in answer, answer
        return answer["result"]

    async def evaluate(self, expression):
        answer = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, expression):
        """Return the value of an expression when it is true."""
        async with asyncio.timeout(PATIENCE):
            while not (value := await self.evaluate(expression)):
                await asyncio.sleep(0.05)
        return value

    async def go(self, address):
        await self.call("Page.navigate", url=address)
        await self.until("document.readyState === 'complete'")

    async def look(self, width, scheme, file=None, height=800):
        """Show the page at a width, light or dark; tell whether it overflows sideways."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        await self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        await asyncio.sleep(0.6)
        picture = await self.call(
            "Page.captureScreenshot", format="png", captureBeyondViewport=True
        )
        if file is not None:
            keep(file, picture["data"])
        return await self.evaluate("document.documentElement.scrollWidth > innerWidth")


@contextlib.asynccontextmanager
async def browsing():
    """Start a browser with one empty page; give the page."""
    async with contextlib.AsyncExitStack() as stack:
        profile = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        process = await asyncio.create_subprocess_exec(
            CHROMIUM,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--disable-background-networking", "--disable-component-update"),
            *("--disable-sync", "--no-first-run", "--remote-debugging-port=0"),
            *(f"--user-data-dir={profile}", "about:blank"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        stack.push_async_callback(_end, process)
        port_file = Path(profile, "DevToolsActivePort")
        async with asyncio.timeout(PATIENCE):
            while not (lines := read_lines(port_file)):
                assert process.returncode is None
                await asyncio.sleep(0.05)
        port = lines[0]
        session = await stack.enter_async_context(aiohttp.ClientSession())
        async with asyncio.timeout(PATIENCE):
            while True:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as response:
                    targets = await response.json(content_type=None)
                pages = [target for target in targets if target["type"] == "page"]
                if pages:
                    break
                await asyncio.sleep(0.05)
        socket = await stack.enter_async_context(
            session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=2**26)
        )
        page = Page(socket)
        listening = asyncio.create_task(page.listen())
        stack.callback(listening.cancel)
        for domain in ("Page", "Runtime", "Log"):
            await page.call(f"{domain}.enable")
        yield page


def keep(file, picture):
    file.write_bytes(base64.b64decode(picture))


def read_lines(file):
    """Return the lines of a file, once it is complete."""
    text = file.read_text() if file.exists() else ""
    return text.splitlines() if "\n" in text else []


async def _end(process):
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
