"""How long does the garbage collector hold the loop, and what does keeping it quiet cost?

A process holds 300,000 small dicts. Beside them four jobs build trees on one loop: two of
tuples and lists, which go when their last references do, two of nodes that know their
parents, which only the collector can free. Each case is a process of its own.

    python benchmarks/collector.py [--quick] [--json FILE]
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _common import CHILD, CHILD_LIFE, Report, parse_arguments

from cooperative_aio import batch_accumulate, cooperate, quiet_collector

HELD = 300_000  # dicts
CASES = (
    *("as it is", "gc.freeze()", "freeze and thresholds", "quiet_collector()"),
    *("max_growth=1_000_000", "max_growth=4_000_000"),
)


class Node:
    """A node of a tree that knows its parent."""

    def __init__(self, parent: Node | None) -> None:
        self.parent = parent
        self.children: list[Node] = []


def plain_trees(trees: int, size: int) -> Iterator[None]:
    for _ in range(trees):
        tree: list[Any] = []
        for number in range(size):
            tree.append([number, (number, [number])])
            if number % 50 == 0:
                yield


def cyclic_trees(trees: int, size: int) -> Iterator[None]:
    for _ in range(trees):
        nodes = [Node(None)]
        for number in range(1, size):
            node = Node(nodes[number // 4])
            nodes[number // 4].children.append(node)
            nodes.append(node)
            if number % 50 == 0:
                yield


def rows(count: int) -> Iterator[list[int]]:
    for number in range(count):
        yield [number]


class Pauses:
    """The longest time in which the loop did not turn, and what the collector took.

    All of it in ms; what the collector took is CPU time, which a busy machine does not change.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget what was."""
        self.loop = self.collector = self.total = self.began = self.memory = 0.0

    def __call__(self, phase: str, _info: object) -> None:
        """Measure a collection; `gc` calls this before and after each."""
        if phase == "start":
            self.began = time.thread_time()
        else:
            took = (time.thread_time() - self.began) * 1e3
            self.collector = max(self.collector, took)
            self.total += took

    async def watch(self) -> None:
        """Look how late a timer is, and how much memory there is."""
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            self.loop = max(self.loop, (time.perf_counter() - began - 0.001) * 1e3)
            self.memory = max(self.memory, resident())


def resident() -> float:
    """Return how much memory this process has, in MB (Linux; 0 elsewhere)."""
    path = Path("/proc/self/statm")
    pages = int(path.read_text().split()[1]) if path.exists() else 0
    return pages * 4096 / 1e6


def settle(case: str) -> contextlib.AbstractContextManager[Any]:
    if case == "quiet_collector()":
        return quiet_collector()
    if case.startswith("max_growth="):
        return quiet_collector(max_growth=int(case.partition("=")[2]))
    if case != "as it is":
        gc.collect()
        gc.freeze()
    if case == "freeze and thresholds":
        gc.set_threshold(50_000, 20, 100)
    return contextlib.nullcontext()


async def measure(case: str, trees: int) -> dict[str, float]:
    held = [{"number": number, "text": str(number)} for number in range(HELD)]
    pauses = Pauses()
    with settle(case):
        gc.callbacks.append(pauses)
        watching = asyncio.create_task(pauses.watch())
        await asyncio.sleep(0.05)
        pauses.begin()
        began = time.perf_counter()
        await batch_accumulate(1000, rows(500_000))
        alone, alone_pause = time.perf_counter() - began, pauses.loop
        alone_collection = pauses.collector
        pauses.begin()
        began = time.perf_counter()
        jobs = [cooperate(make(trees, 20_000)) for make in (plain_trees, cyclic_trees) * 2]
        await asyncio.wait(jobs)
        work = time.perf_counter() - began
        watching.cancel()
    gc.callbacks.remove(pauses)
    assert len(held) == HELD  # noqa: S101 (they were held)
    return {
        "500,000 rows: longest pause, ms": alone_pause,
        "500,000 rows: longest collection, ms": alone_collection,
        "500,000 rows: time, s": alone,
        "four jobs: longest pause, ms": pauses.loop,
        "four jobs: longest collection, ms": pauses.collector,
        "four jobs: all collections, ms": pauses.total,
        "four jobs: time, s": work,
        "four jobs: peak memory, MB": pauses.memory,
    }


def in_a_process(case: str, trees: int) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__)), CHILD, case, str(trees)]
    done = subprocess.run(  # noqa: S603 (it is this file)
        command, capture_output=True, check=True, text=True, timeout=CHILD_LIFE
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main() -> None:
    arguments = parse_arguments(__doc__).parse_args()
    rounds, trees = (1, 8) if arguments.quick else (2, 30)
    report = Report((__doc__ or "").splitlines()[0])
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for case in CASES:
            for what, value in in_a_process(case, trees).items():
                found.setdefault((what, case), []).append(value)
    for (what, case), samples in sorted(found.items(), key=lambda each: each[0][0]):
        figure, _, unit = what.rpartition(", ")
        report.record(f"{figure}: {case}", samples, unit)
    for what in (
        *("500,000 rows: longest collection", "500,000 rows: time"),
        *("four jobs: longest collection", "four jobs: all collections"),
        *("four jobs: time", "four jobs: peak memory"),
    ):
        plain, ours = f"{what}: freeze and thresholds", f"{what}: quiet_collector()"
        report.compare(f"{what}, over freeze and thresholds", ours, plain)
    report.finish(arguments.json)


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        print(json.dumps(asyncio.run(measure(sys.argv[2], int(sys.argv[3])))))
    else:
        main()
