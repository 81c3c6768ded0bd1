"""What do functions in slices cost, and how late is a heart that beats beside them?

CPU time of a call in slices over that of the plain call, and the same of a generator, whose
price is standing back alone; then a heart that beats every 5 ms beside four endless jobs: as
functions, as generators, in threads.
"""

from __future__ import annotations

import asyncio
import functools
import json
import statistics
import threading
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import jinja2
import markdown
import pygments
from _common import Report, interleave, parse_arguments
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from cooperative_aio import cooperate
from cooperative_aio.functions import give_way, steps_of, to_slices

TEXT = "# Title\n\n" + "Some *text* with [links](http://localhost) and `code`.\n\n" * 1000
SOURCE = "def work(one, two):\n    return [n for n in range(one) if n > two]  # why\n\n" * 500
TEMPLATE = jinja2.Environment(autoescape=True).from_string(
    "{% for n in numbers %}<li class={{ loop.index }}>{{ n|string|upper }}</li>{% endfor %}"
)
VALUES = [{"number": number, "more": [number] * 3} for number in range(20000)]
BEAT = 0.005  # seconds


def fibonacci(number: int) -> int:
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


def deep(times: int) -> int:
    def down(depth: int) -> int:
        return 0 if not depth else 1 + down(depth - 1)

    return sum(down(900) for _ in range(times))


def nested() -> int:
    total = 0
    for one in range(1500):
        for other in range(1500):
            total += one ^ other
    return total


def nested_steps() -> Iterator[None]:
    """Do the same as a generator."""
    total = 0
    for one in range(1500):
        for other in range(1500):
            total += one ^ other
        yield


JOBS: dict[str, Callable[[], object]] = {
    "markdown": functools.partial(markdown.markdown, TEXT),
    "recursion": functools.partial(fibonacci, 31),
    "recursion, 900 deep": functools.partial(deep, 1500),
    "nested loops": nested,
    "json, pure Python": lambda: "".join(json.JSONEncoder(indent=1).iterencode(VALUES)),
    "jinja2": functools.partial(TEMPLATE.render, numbers=range(60000)),
    "pygments": lambda: pygments.highlight(SOURCE, PythonLexer(), HtmlFormatter()),
}


def plainly(job: Callable[[], object]) -> Callable[[], Awaitable[float]]:
    async def measure() -> float:
        before = time.process_time()
        job()
        return 1000 * (time.process_time() - before)

    return measure


def sliced(job: Callable[[], object]) -> Callable[[], Awaitable[float]]:
    async def measure() -> float:
        before = time.process_time()
        await to_slices(job)
        return 1000 * (time.process_time() - before)

    return measure


async def as_generator() -> float:
    before = time.process_time()
    await cooperate(nested_steps())
    return 1000 * (time.process_time() - before)


async def beats(seconds: float) -> float:
    """Return how many milliseconds beats were late, at the 99th percentile."""
    late = []
    end = time.perf_counter() + seconds
    while (before := time.perf_counter()) < end:
        await asyncio.sleep(BEAT)
        late.append(1000 * (time.perf_counter() - before - BEAT))
    return statistics.quantiles(late, n=100)[-1]


def endless() -> None:
    while True:
        nested()


def endless_steps() -> Iterator[None]:
    while True:
        yield from nested_steps()


def beside_tasks(make: Callable[[], Any], seconds: float) -> Callable[[], Awaitable[float]]:
    async def measure() -> float:
        tasks = [cooperate(make()) for _ in range(4)]
        late = await beats(seconds)
        for task in tasks:
            task.stop()
        return late

    return measure


def beside_threads(seconds: float) -> Callable[[], Awaitable[float]]:
    async def measure() -> float:
        over = threading.Event()

        def work() -> None:
            while not over.is_set():
                for _ in nested_steps():
                    if over.is_set():
                        break

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        late = await beats(seconds)
        over.set()
        for thread in threads:
            thread.join()
        return late

    return measure


def bytes_parked(count: int = 200) -> float:
    """Return what a function takes that was set aside."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    parked = [steps_of(one_step, preempt=False) for _ in range(count)]
    for steps in parked:
        next(steps)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    for steps in parked:
        steps.close()
    return taken / count


def one_step() -> None:
    time.sleep(0.006)
    give_way()


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


async def main(options: Any) -> None:
    rounds, seconds = (2, 1.0) if options.quick else (9, 4.0)
    report = Report("Functions in slices")
    for job in JOBS.values():  # so that all is imported, specialised and looked at
        await to_slices(job)
    cases: dict[str, Callable[[], Awaitable[float]]] = {}
    for name, job in JOBS.items():
        cases[f"{name}, plain"] = plainly(job)
        cases[f"{name}, in slices"] = sliced(job)
    cases["nested loops, as a generator"] = as_generator
    for what, samples in (await interleave(cases, rounds)).items():
        report.record(what, samples, "ms CPU")
    beside = {
        "beside 4 functions": beside_tasks(lambda: steps_of(endless), seconds),
        "beside 4 generators": beside_tasks(endless_steps, seconds),
        "beside 4 threads": beside_threads(seconds),
    }
    for what, samples in (await interleave(beside, max(rounds // 3, 1))).items():
        report.record(f"beat late, p99, {what}", samples, "ms")
    report.record("give_way() before the slice is over", [nanoseconds_to_give_way()], "ns")
    report.record("a function set aside", [bytes_parked()], "bytes of Python's")
    generator = "nested loops, as a generator"
    report.compare("generator / plain loop (standing back)", generator, "nested loops, plain")
    standing_back = statistics.median(
        one / other
        for one, other in zip(
            report.samples(generator), report.samples("nested loops, plain"), strict=True
        )
    )
    for name in JOBS:
        pairs = zip(
            report.samples(f"{name}, in slices"), report.samples(f"{name}, plain"), strict=True
        )
        report.judge(
            f"{name}: in slices / plain, beyond standing back",
            [one / other / standing_back for one, other in pairs],
            at_most=1.05,
        )
    late = "beat late, p99, beside 4 {}"
    report.compare(
        "beside functions / generators",
        late.format("functions"),
        late.format("generators"),
        at_most=1.5,
    )
    report.compare(
        "beside threads / functions",
        late.format("threads"),
        late.format("functions"),
        at_least=8,
    )
    report.finish(options.json)


if __name__ == "__main__":
    asyncio.run(main(parse_arguments(__doc__).parse_args()))
