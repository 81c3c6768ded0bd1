"""What do functions in slices cost, and how late are requests beside them?

CPU time of a call in slices over that of the plain call; the same of a generator, whose
price is standing back alone; then requests of another process beside four endless jobs: as
functions, as generators, in threads.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import json
import os
import resource
import statistics
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jinja2
import markdown
import pygments
import uvloop
from _common import (
    Child,
    Report,
    answer_parent,
    child_arguments,
    parse_arguments,
)
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from cooperative_aio import cooperate
from cooperative_aio.functions import give_way, steps_of, to_slices

TEXT = "# Title\n\n" + "Some *text* with [links](http://localhost) and `code`.\n\n" * 600
SOURCE = "def work(one, two):\n    return [n for n in range(one) if n > two]  # why\n\n" * 500
TEMPLATE = jinja2.Environment(autoescape=True).from_string(
    "{% for n in numbers %}<li class={{ loop.index }}>{{ n|string|upper }}</li>{% endfor %}"
)
VALUES = [{"number": number, "more": [number] * 3} for number in range(8000)]
INTERVAL = 0.02  # seconds between requests
GENERATOR = "nested loops, as a generator"


def fibonacci(number: int) -> int:
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


def deep(times: int) -> int:
    def down(depth: int) -> int:
        return 0 if not depth else 1 + down(depth - 1)

    return sum(down(900) for _ in range(times))


def nested() -> int:
    total = 0
    for one in range(1000):
        for other in range(1000):
            total += one ^ other
    return total


def nested_steps() -> Iterator[None]:
    """Do the same as a generator."""
    total = 0
    for one in range(1000):
        for other in range(1000):
            total += one ^ other
        yield


JOBS: dict[str, Callable[[], object]] = {
    "markdown": functools.partial(markdown.markdown, TEXT),
    "recursion": functools.partial(fibonacci, 26),
    "recursion, 900 deep": functools.partial(deep, 700),
    "nested loops": nested,
    "json, pure Python": lambda: "".join(json.JSONEncoder(indent=1).iterencode(VALUES)),
    "jinja2": functools.partial(TEMPLATE.render, numbers=range(60000)),
    "pygments": lambda: pygments.highlight(SOURCE, PythonLexer(), HtmlFormatter()),
}


# CPU time


async def cpu_of(call: Callable[[], Any], *, awaited: bool) -> float:
    """Return the milliseconds of CPU time that a call takes."""
    gc.collect()
    before = time.process_time()
    result = call()
    if awaited:
        await result
    return 1000 * (time.process_time() - before)


async def measure_cpu(report: Report, rounds: int) -> None:
    """Measure each job plain and in slices, one right after the other, in turned order."""
    plain: dict[str, list[float]] = {name: [] for name in JOBS}
    sliced: dict[str, list[float]] = {name: [] for name in [*JOBS, GENERATOR]}
    for number in range(rounds):
        for name, job in JOBS.items():
            one = functools.partial(cpu_of, job, awaited=False)
            other = functools.partial(cpu_of, functools.partial(to_slices, job), awaited=True)
            if number % 2:
                sliced[name].append(await other())
                plain[name].append(await one())
            else:
                plain[name].append(await one())
                sliced[name].append(await other())
        generator = functools.partial(cooperate, nested_steps())
        sliced[GENERATOR].append(await cpu_of(lambda make=generator: make(), awaited=True))
    for name in JOBS:
        report.record(f"{name}, plain", plain[name], "ms CPU")
        report.record(f"{name}, in slices", sliced[name], "ms CPU")
    report.record(GENERATOR, sliced[GENERATOR], "ms CPU")


def ratios_of(report: Report, over: str, under: str) -> list[float]:
    pairs = zip(report.samples(over), report.samples(under), strict=True)
    return [one / other for one, other in pairs]


def judge_cpu(report: Report) -> None:
    """Compare with the plain calls."""
    standing_back = ratios_of(report, GENERATOR, "nested loops, plain")
    report.judge("generator / plain loop (standing back)", standing_back)
    price = statistics.median(standing_back)
    for name in JOBS:
        ratios = ratios_of(report, f"{name}, in slices", f"{name}, plain")
        beyond = [one / price for one in ratios]
        report.judge(f"{name}: in slices / plain", ratios)
        report.judge(f"{name}: in slices / plain, beyond standing back", beyond, at_most=1.05)


# Requests


async def ask_often(request: dict[str, Any]) -> dict[str, Any]:
    """Be the other process: ask at times that are fixed beforehand, count from those."""
    reader, writer = await asyncio.open_connection("127.0.0.1", request["port"])
    loop = asyncio.get_running_loop()
    start, late = loop.time() + 0.1, []
    for number in range(request["count"]):
        when = start + number * INTERVAL
        await asyncio.sleep(max(when - loop.time(), 0))
        writer.write(b"ping\n")
        await reader.readline()
        late.append(1000 * (loop.time() - when))
    writer.close()
    return {"late": late}


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        for _ in range(5):
            await asyncio.sleep(0)
        writer.write(line)
    writer.close()


def endless() -> None:
    while True:
        nested()


def endless_steps() -> Iterator[None]:
    while True:
        yield from nested_steps()


class Tasks:
    """Four endless jobs of a Cooperator."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __enter__(self) -> None:
        self._tasks = [cooperate(self._make()) for _ in range(4)]

    def __exit__(self, *_: object) -> None:
        for task in self._tasks:
            task.stop()


class Threads:
    """Four endless jobs in threads."""

    def __enter__(self) -> None:
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while not self._is_over.is_set():
            for _ in nested_steps():
                if self._is_over.is_set():
                    break

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()


BESIDE: dict[str, Callable[[], Any]] = {
    "4 functions": lambda: Tasks(lambda: steps_of(endless)),
    "4 generators": lambda: Tasks(endless_steps),
    "4 threads": Threads,
}


async def measure_requests(report: Report, rounds: int, seconds: float) -> None:
    """Measure how long answers take beside each kind of job."""
    medians: dict[str, list[float]] = {what: [] for what in BESIDE}
    highest: dict[str, list[float]] = {what: [] for what in BESIDE}
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Child() as child:
        for _ in range(rounds):
            for what, jobs in BESIDE.items():
                gc.collect()
                with jobs():
                    asked = await child.ask(port=port, count=int(seconds / INTERVAL))
                medians[what].append(statistics.median(asked["late"]))
                highest[what].append(statistics.quantiles(asked["late"], n=100)[-1])
    server.close()
    for what in BESIDE:
        report.record(f"answer beside {what}, median", medians[what], "ms")
        report.record(f"answer beside {what}, p99", highest[what], "ms")


def judge_requests(report: Report) -> None:
    for part in ("median", "p99"):
        late = f"answer beside {{}}, {part}"
        functions = late.format("4 functions")
        generators, threads = late.format("4 generators"), late.format("4 threads")
        report.compare(f"functions / generators, {part}", functions, generators, at_most=1.5)
        report.compare(f"threads / functions, {part}", threads, functions, at_least=8)


# Memory, and giving way


def one_step(depth: int) -> None:
    if depth:
        one_step(depth - 1)
    else:
        time.sleep(0.003)
        give_way()


def bytes_parked(depth: int, count: int = 200) -> float:
    """Return what Python allocates for a function that is set aside."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    parked = [steps_of(one_step, depth, preempt=False) for _ in range(count)]
    for steps in parked:
        next(steps)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    for steps in parked:
        steps.close()
    return taken / count


def resident_parked(count: int = 1000) -> float:
    """Return by how many bytes the process grows for a function that is set aside."""
    size = resource.getpagesize()
    before = resident_pages()
    parked = [steps_of(one_step, 10, preempt=False) for _ in range(count)]
    for steps in parked:
        next(steps)
    taken = size * (resident_pages() - before)
    for steps in parked:
        steps.close()
    return taken / count


def resident_pages() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) if os.name == "posix" else 0


def nanoseconds_to_give_way(count: int = 100_000) -> float:
    seconds = []

    def work() -> None:
        before = time.perf_counter()
        for _ in range(count):
            pass
        middle = time.perf_counter()
        for _ in range(count):
            give_way()
        seconds.append(time.perf_counter() - middle - (middle - before))

    for _ in steps_of(work, preempt=False):
        pass
    return 1e9 * seconds[0] / count


async def main(options: Any, loop: str) -> None:
    rounds, seconds = (3, 1.0) if options.quick else (11, 4.0)
    report = Report("Functions in slices", loop)
    resident = resident_parked(100 if options.quick else 1000)
    for job in JOBS.values():  # so that all is imported, specialised and looked at
        await to_slices(job)
    await measure_cpu(report, rounds)
    judge_cpu(report)
    await measure_requests(report, max(rounds // 5, 1), seconds)
    judge_requests(report)
    report.record("give_way() before the slice is over", [nanoseconds_to_give_way()], "ns")
    for depth in (0, 100):
        report.record(f"a function set aside, {depth} deep", [bytes_parked(depth)], "bytes")
    report.record("the same, 10 deep: the process grows by", [resident], "bytes")
    report.finish(options.json)


if __name__ == "__main__":
    if child_arguments() is not None:
        asyncio.run(answer_parent(ask_often))
    else:
        parser = parse_arguments(__doc__)
        parser.add_argument("--uvloop", action="store_true", help="measure on uvloop")
        wanted = parser.parse_args()
        factory = uvloop.new_event_loop if wanted.uvloop else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main(wanted, "uvloop" if wanted.uvloop else "asyncio"))
