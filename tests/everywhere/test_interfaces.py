"""Jobs that touch the interface. Each example is run, and used as a user would.

They are textual_job, qt_job (by qt_program.py) and nicegui_job.
"""

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"
PATIENCE = 120  # seconds


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def until(predicate):
    async with asyncio.timeout(PATIENCE):
        while not predicate():
            await asyncio.sleep(0.005)


# Textual, by its pilot


@pytest.fixture
def primes():
    pytest.importorskip("textual")
    return load("textual_job").Primes()


async def test_textual_hears_keys_and_moves_its_bar_while_a_job_computes(primes):
    from textual.widgets import ProgressBar

    async with primes.run_test() as pilot:
        await pilot.press("space", "space")
        await until(lambda: primes.query_one(ProgressBar).progress > 0)
        assert primes.presses == 2
        assert not primes.job.done()
        await pilot.press("s")
        assert repr(primes.job).startswith("<CooperativeTask stopped ")


async def test_a_job_ends_with_the_program_of_textual(primes):
    async with primes.run_test():
        assert not primes.job.done()
    assert repr(primes.job).startswith("<CooperativeTask stopped ")


# Qt, each loop in a process of its own, on the platform that needs no screen


@pytest.mark.parametrize("loop", ["qasync", "QtAsyncio"])
def test_qt_hears_keys_timers_and_clicks_while_a_job_computes(loop):
    pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError)
    if loop == "qasync":
        pytest.importorskip("qasync")
    done = subprocess.run(
        [sys.executable, "-P", HERE / "qt_program.py", loop],
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen", "QT_API": "pyside6"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "computing": True,
        "typed": "hello",
        "job": "<CooperativeTask stopped",
        "left": 0,
    }
    assert "Traceback" not in done.stderr, done.stderr


# NiceGUI, by its own client for tests


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_nicegui_handles_clicks_while_a_job_computes():
    pytest.importorskip("nicegui")
    from nicegui import ui
    from nicegui.testing import user_simulation

    async with user_simulation(main_file=EXAMPLES / "nicegui_job.py") as user:
        await user.open("/")
        await user.should_see("nothing found yet")
        user.find("Start").click()
        bar = next(iter(user.find(kind=ui.linear_progress).elements))
        await until(lambda: bar.value > 0)
        await user.should_see("primes")
        user.find("Stop").click()
        await user.should_see("stopped at")
        stopped = bar.value
        await asyncio.sleep(0)
        assert 0 < bar.value == stopped < 1
