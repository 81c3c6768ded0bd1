"""Print how long the loop stands still.

    python tests/everywhere/iterators_numbers.py [NAME...]

For each row: at once on the loop, at once in a thread, in pieces; each time how long the loop
was held at most, of how many ms that it took, the best of three. Held: by how much a timer of
1 ms was late, or, where the loop's own thread computes, how much CPU time it took meanwhile, so
that other programs on the machine are not counted. The garbage collector is off.
"""

import asyncio
import gc
import sys
import tempfile
import time
from pathlib import Path

import pytest
from iterator_rows import ROWS, compressing, hashing, sqlite

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


async def freeze(awaitable, *, elsewhere):
    """Return for how many ms the loop was held at most, and how many the whole took."""
    worst = 0.0

    async def watch():
        nonlocal worst
        while True:
            began, spent = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.001)
            late, used = time.perf_counter() - began - 0.001, time.thread_time() - spent
            worst = max(worst, late if elsewhere else min(late, used))

    watcher = asyncio.create_task(watch())
    await asyncio.sleep(0.01)
    began = time.perf_counter()
    result = await awaitable  # which is freed when nobody is watching
    took = time.perf_counter() - began
    await asyncio.sleep(0.005)
    watcher.cancel()
    del result
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
        elsewhere = name == "thread" or make in {hashing, compressing}
        for _ in range(1 if make is sqlite and name == "pieces" else 3):
            gc.collect()
            gc.disable()
            try:
                runs.append(await freeze(way(), elsewhere=elsewhere))
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
