"""Print how long the loop stands still.

    python tests/everywhere/iterators_numbers.py [NAME...]

For each row: at once on the loop, at once in a thread, in pieces; each time by how many ms a
timer of 1 ms was late at most, of how many ms that it took, the best of three. The garbage
collector is off meanwhile: what it takes is nobody's.
"""

import asyncio
import gc
import sys
import tempfile
import time
from pathlib import Path

import pytest
from iterator_rows import ROWS

SIZES = {
    "jinja2": 200_000,
    "ijson": 100_000,
    "lxml": 200_000,
    "elementtree": 200_000,
    "csv_rows": 500_000,
    "openpyxl": 10_000,
    "openpyxl_writing": 10_000,
    "sqlalchemy": 50_000,
    "sqlite": 300_000,
    "pandas": 300_000,
    "polars": 300_000,
    "regular_expressions": 300_000,
    "pillow": 8_000,
    "scikit_learn": 300_000,
    "tokenizers": 100_000,
    "pydantic": 300_000,
    "hashing": 100_000,
    "compressing": 100_000,
}


async def freeze(awaitable):
    """Return by how many ms the loop was late at most, and how many the whole took."""
    worst = 0.0

    async def watch():
        nonlocal worst
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            worst = max(worst, time.perf_counter() - began - 0.001)

    watcher = asyncio.create_task(watch())
    await asyncio.sleep(0.01)
    began = time.perf_counter()
    await awaitable
    took = time.perf_counter() - began
    await asyncio.sleep(0.005)
    watcher.cancel()
    return 1000 * worst, 1000 * took


async def at_once(function):
    function()


async def measure(make, folder):
    try:
        row = make(SIZES[make.__name__], folder)
    except pytest.skip.Exception as missing:
        return str(missing)
    ways = {
        "at once": lambda: at_once(row.block),
        "thread": lambda: asyncio.to_thread(row.block),
        "pieces": row.pieces,
    }
    cells = [f"{make.__name__:20}"]
    for name, way in ways.items():
        runs = []
        for _ in range(3 if name != "pieces" or make.__name__ != "sqlite" else 1):
            gc.collect()
            gc.disable()
            try:
                runs.append(await freeze(way()))
            except Exception as error:  # noqa: BLE001 (a connection of another thread, say)
                runs.append((float("nan"), float("nan")))
                print(f"{make.__name__}, {name}: {error!r:.100}", file=sys.stderr)
            finally:
                gc.enable()
        cells.append("{:8.1f} of {:8.0f}".format(*min(runs)))
    return " | ".join(cells)


async def main():
    print(f"{'row':20} | {'at once':>20} | {'thread':>20} | {'pieces':>20}")
    for make in ROWS:
        if make.__name__ in (sys.argv[1:] or SIZES):
            with tempfile.TemporaryDirectory() as folder:
                print(await measure(make, Path(folder)), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
