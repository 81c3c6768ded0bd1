"""What a library may count on that awaits `checkpoint()`: both backends, little to import."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "library_rows.py"


def load():
    spec = importlib.util.spec_from_file_location(EXAMPLE.stem, EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The core's part: there `checkpoint()` is to be anyio's.


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_rows_become_objects_while_others_run(backend):
    pytest.importorskip(backend)
    example = load()
    log = []

    async def other():
        while "made" not in log:
            log.append("other")
            await anyio.lowlevel.checkpoint()

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(other)
            await anyio.lowlevel.checkpoint()
            log.append("begun")
            made = await example.to_objects(range(20_000), lambda row: str(row) * 20)
            log.append("made")
            return made

    made = anyio.run(main, backend=backend)
    assert made[:2] == ["0" * 20, "1" * 20]
    assert len(made) == 20_000
    assert "other" in log[log.index("begun") : log.index("made")]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_time_limit_ends_it(backend):
    pytest.importorskip(backend)
    example = load()

    def endless():
        while True:
            yield 0

    async def main():
        with anyio.move_on_after(0.05) as scope:
            await example.to_objects(endless(), str)
        return scope.cancelled_caught

    assert anyio.run(main, backend=backend)


def test_the_example_runs_as_a_program():
    done = subprocess.run(
        [sys.executable, "-P", EXAMPLE], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("100000 objects\n", "")


def test_importing_a_checkpoint_imports_nothing_that_asyncio_has_not_but_the_core():
    program = """
import sys, asyncio, copy, dataclasses
before = set(sys.modules)
from cooperative_aio import checkpoint
new = {name.split(".")[0] for name in set(sys.modules) - before}
print(sorted(new - {"__future__"} - set(sys.builtin_module_names)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "['cooperative_aio']\n"
