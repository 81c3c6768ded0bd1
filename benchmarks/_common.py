"""What the benchmarks share: rounds, tables, targets, and child processes to ask.

A benchmark asks one question. It measures its cases in interleaved rounds (A B C,
A B C, ...), so that a machine that drifts hurts all alike, prints a table, and says
which targets are met. It exits with 0 whatever the numbers are.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import gc
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cooperative_aio import TimeSlice

Samples = list[float]
Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]

# Whose versions matter to the numbers, where they are installed
DISTRIBUTIONS = (
    *("cooperative_aio", "aiohttp", "aiosqlite", "asyncpg", "distributed", "fastapi"),
    *("greenlet", "redis", "spdl", "Twisted", "uvicorn", "uvloop"),
)

CHILD = "--child"  # the first argument of a script that is to serve its parent
CHILD_LIFE = 600.0  # seconds after which a child ends, whatever its parent does


def parse_arguments(description: str | None) -> argparse.ArgumentParser:
    """Return the parser for what all benchmarks take."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke run of some seconds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there")
    return parser


def machine() -> str:
    """Describe in a line what the numbers were measured on, and when."""
    return (
        f"{platform.python_implementation()} {platform.python_version()},"
        f" {platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
        f" (load {os.getloadavg()[0]:.1f}),"
        f" {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC"
    )


def versions() -> dict[str, str]:
    """Return the versions of what is measured, or measures."""
    return {
        name: importlib.metadata.version(name)
        for name in DISTRIBUTIONS
        if importlib.util.find_spec(name.lower()) is not None
    }


class Report:
    """Collect the samples of cases, compare them, print all that.

    Args:
        title: The question.
        loop: What loops it was measured on.
    """

    def __init__(self, title: str, loop: str = "asyncio") -> None:
        self._title = title
        self._machine = f"{machine()}; {loop}"
        self._cases: dict[str, tuple[Samples, str]] = {}
        self._targets: list[dict[str, Any]] = []
        self._outputs: dict[str, list[str]] = {}

    def record(self, what: str, samples: Samples, unit: str) -> None:
        """Add a case: one sample for each round."""
        self._cases[what] = (samples, unit)

    def samples(self, what: str) -> Samples:
        """Return the samples of a case."""
        return self._cases[what][0]

    def show(self, what: str, lines: list[str]) -> None:
        """Keep what a program printed."""
        self._outputs[what] = lines

    def compare(
        self,
        what: str,
        over: str,
        under: str,
        *,
        at_most: float | None = None,
        at_least: float | None = None,
    ) -> None:
        """Divide one case by another, round by round; a target is optional."""
        pairs = zip(self._cases[over][0], self._cases[under][0], strict=True)
        self.judge(what, [a / b for a, b in pairs if b], at_most=at_most, at_least=at_least)

    def judge(
        self,
        what: str,
        samples: Samples,
        *,
        at_most: float | None = None,
        at_least: float | None = None,
    ) -> None:
        """Hold the median of some figures against a target, if there is one."""
        value = statistics.median(samples) if samples else float("nan")
        met: bool | None = None
        if at_most is not None:
            met = value <= at_most
        elif at_least is not None:
            met = value >= at_least
        self._targets.append(
            {
                "what": what,
                "value": value,
                "lowest": min(samples, default=value),
                "highest": max(samples, default=value),
                "at_most": at_most,
                "at_least": at_least,
                "met": met,
            }
        )

    def finish(self, path: Path | None) -> None:
        """Print the tables, and write the numbers to `path` if there is one."""
        print(self._title)
        print(self._machine)
        print()
        _print_table(
            ("case", "median", "min..max", "unit"),
            [
                (what, _number(statistics.median(samples)), _span(samples), unit)
                for what, (samples, unit) in self._cases.items()
            ],
        )
        print()
        _print_table(
            ("figure", "value", "min..max", "target", "met"),
            [
                (
                    target["what"],
                    _number(target["value"]),
                    _span([target["lowest"], target["highest"]]),
                    _limit(target),
                    {True: "yes", False: "NO", None: ""}[target["met"]],
                )
                for target in self._targets
            ],
        )
        if path is not None:
            path.write_text(json.dumps(self._as_json(), indent=2) + "\n")

    def _as_json(self) -> dict[str, Any]:
        return {
            "title": self._title,
            "machine": self._machine,
            "versions": versions(),
            "slice": TimeSlice().seconds,  # the default that these numbers are of
            "cases": {
                what: {"unit": unit, "median": statistics.median(samples), "samples": samples}
                for what, (samples, unit) in self._cases.items()
            },
            "figures": self._targets,
            **({"outputs": self._outputs} if self._outputs else {}),
        }


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _span(samples: Samples) -> str:
    return f"{_number(min(samples))}..{_number(max(samples))}"


def _limit(target: Mapping[str, Any]) -> str:
    if target["at_most"] is not None:
        return f"at most {target['at_most']:g}"
    if target["at_least"] is not None:
        return f"at least {target['at_least']:g}"
    return ""


def _print_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, tuple("-" * width for width in widths), *rows]:
        first, *others = (
            f"{cell:<{width}}" if column in {0, len(head) - 1} else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *others]).rstrip())


async def interleave(
    cases: Mapping[str, Callable[[], Awaitable[float]]], rounds: int
) -> dict[str, Samples]:
    """Measure every case once in each round; return the samples of each."""
    samples: dict[str, Samples] = {what: [] for what in cases}
    for _ in range(rounds):
        for what, measure in cases.items():
            gc.collect()
            samples[what].append(await measure())
    return samples


class Child:
    """Run this script once more, in a process of its own, and ask it things.

    A request and its answer are one line of JSON each. The child ends when its
    standard input does.

    Args:
        arguments: What the child is to do.
    """

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            sys.argv[0],
            CHILD,
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return self

    async def ask(self, **request: Any) -> dict[str, Any]:
        """Return the answer to a request.

        Raises:
            RuntimeError: The child has died.
        """
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise RuntimeError("cannot ask a child that was not started; use `async with`")
        process.stdin.write(json.dumps(request).encode() + b"\n")
        line = await process.stdout.readline()
        if not line:
            raise RuntimeError(f"cannot ask a child that has died: {self._arguments!r}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            async with asyncio.timeout(10.0):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def child_arguments() -> list[str] | None:
    """Return what the parent wants this process to do; None in the parent."""
    return sys.argv[2:] if sys.argv[1:2] == [CHILD] else None


async def answer_parent(handle: Handler) -> None:
    """Answer the requests of the parent process until it has no more (asyncio)."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    async with asyncio.timeout(CHILD_LIFE):
        while line := await reader.readline():
            print(json.dumps(await handle(json.loads(line))), flush=True)
