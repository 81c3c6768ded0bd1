"""Progress bars need no adapter, and draw no more often than ten times a second."""

import gc
import io
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cooperative_aio import accumulate, batch_accumulate, batches

tqdm = pytest.importorskip("tqdm").tqdm
console = pytest.importorskip("rich.console")
progress = pytest.importorskip("rich.progress")

EXAMPLE = Path(__file__).parents[2] / "examples" / "progress.py"


class Screen(io.StringIO):
    """Count what is drawn."""

    def __init__(self):
        super().__init__()
        self.draws = 0

    def write(self, text):
        self.draws += bool(text.strip("\r\n "))
        return super().write(text)


def values(count, log=None):
    try:
        yield from range(count)
    finally:
        if log is not None:
            log.append("closed")


async def test_tqdm_shows_an_accumulation():
    screen = Screen()
    began = time.monotonic()
    found = await batch_accumulate(1000, tqdm(values(200_000), total=200_000, file=screen))
    took = time.monotonic() - began
    assert list(found) == list(range(200_000))
    assert "200000/200000" in screen.getvalue()
    assert screen.draws <= 3 + took / 0.1  # the first, the last, one for the change between


async def test_rich_shows_an_accumulation():
    screen = Screen()
    shown = console.Console(file=screen, force_terminal=True, width=80)
    began = time.monotonic()
    tracked = progress.track(
        values(100_000), total=100_000, console=shown, refresh_per_second=10
    )
    found = await batch_accumulate(1000, tracked)
    took = time.monotonic() - began
    assert list(found) == list(range(100_000))
    assert "100%" in screen.getvalue()
    assert screen.getvalue().count("Working...") <= 4 + took / 0.1


@pytest.mark.parametrize("how", ["accumulate", "batch_accumulate", "batches"])
async def test_every_way_of_accumulating_takes_a_bar(how):
    bar = tqdm(values(2500), file=Screen())
    if how == "accumulate":
        found = list(await accumulate(bar))
    elif how == "batch_accumulate":
        found = list(await batch_accumulate(100, bar))
    else:
        found = [value async for batch in batches(100, bar) for value in batch]
    assert found == list(range(2500))
    assert bar.n == 2500


async def test_the_generator_behind_a_bar_is_closed_when_the_bar_is_dropped():
    log = []
    async with batches(10, tqdm(values(10**9, log), file=Screen())) as stream:
        async for _ in stream:
            break
    del stream
    gc.collect()
    assert log == ["closed"]


def test_the_example_shows_three_bars():
    done = subprocess.run(
        [sys.executable, "-P", str(EXAMPLE), "30000"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={"PYTHONIOENCODING": "utf-8", "PATH": "", "TERM": "dumb"},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "30000 values each, equal: True" in done.stdout
    assert re.search(r"tqdm: +100%", done.stderr)
    assert re.search(r"batches: +100%", done.stderr)
    assert "rich" in done.stdout
