"""Draw a chart for each benchmark whose numbers lie in a directory as JSON.

    python benchmarks/charts.py [RESULTS [PICTURES]]

Without arguments the numbers that are kept in `benchmarks/results` are drawn into
`docs/_pictures`. `nox -s bench` measures, and draws what it has measured into its cache;
who wants to keep that copies the JSON files to `benchmarks/results` and runs this.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import _sheet
from _jobs import CHECKPOINT, DEFAULT, NONE, POOL, RHYTHM, THREADS
from _sheet import Chart, Mark, Panel, Row

HERE = Path(__file__).parent
NO_BREAK = "\N{NO-BREAK SPACE}"

# What the modes of `_jobs` are called where there is little room
WAYS = {
    NONE: "nothing to compute",
    POOL: "a process pool",
    DEFAULT: "cooperative_aio",
    CHECKPOINT: "await checkpoint()",
    RHYTHM: "a 10 ms slice on every turn",
    THREADS: "asyncio.to_thread",
}
OURS = {DEFAULT, CHECKPOINT}


class Results:
    """The numbers of one benchmark, as `_common.Report` has written them."""

    def __init__(self, written: Mapping[str, Any]) -> None:
        self._cases: dict[str, Any] = written["cases"]
        self._figures = {figure["what"]: figure for figure in written["figures"]}
        self.title: str = written["title"]
        machine, _, loops = written["machine"].partition("; ")
        self.loop = loops.split("/")[0]
        self.measured_on, self.measured_at = machine.rsplit(", ", 1)
        self._versions: dict[str, str] = written.get("versions", {})
        self._rounds = 1

    def row(self, name: str, *cases: str, is_ours: bool = False) -> list[Row]:
        """Return a row for some cases; none if they were not measured."""
        found = [self._cases[case] for case in cases if case in self._cases]
        if len(found) < len(cases):
            return []
        self._rounds = max(self._rounds, *(len(case["samples"]) for case in found))
        marks = [
            Mark(case["median"], min(case["samples"]), max(case["samples"])) for case in found
        ]
        return [Row(name, marks, is_ours)]

    def share(self, name: str, figure: str, *, is_ours: bool = False) -> list[Row]:
        """Return a row for a figure, in per cent."""
        if figure not in self._figures:
            return []
        found = self._figures[figure]
        mark = Mark(*(100 * found[key] for key in ("value", "lowest", "highest")))
        return [Row(name, [mark], is_ours)]

    def caption(self, peers: tuple[str, ...]) -> str:
        """Say how, where and when the numbers were measured, and with what."""
        how = "One round."
        if self._rounds > 1:
            how = f"Medians of {self._rounds} rounds; pale: from the lowest to the highest."
        versions = [
            f"{name}{NO_BREAK}{self._versions[name]}"
            for name in ("cooperative_aio", *peers)
            if name in self._versions
        ]
        with_what = ", ".join([self.measured_on, f"{self.loop}'s loop", *versions])
        return f"{how} {with_what}. {self.measured_at.replace(' ', NO_BREAK)}."


# One chart for each benchmark


def latency(results: Results) -> Chart:
    rows = []
    for mode, name in WAYS.items():
        cases = [f"{results.loop}, {mode}, {percentile}" for percentile in ("p50", "p99")]
        rows += results.row(name, *cases, is_ours=mode in OURS)
    return Chart(
        "How long a request waits",
        "An aiohttp server beside four endless CPU jobs. Full dots: the median request,"
        " rings: the 99th percentile.",
        [Panel("p50 / p99, ms (logarithmic)", rows, is_log=True)],
        ("aiohttp",),
    )


def saturation(results: Results) -> Chart:
    requests, work = [], []
    for mode, name in WAYS.items():
        case = f"{results.loop}, {mode}, requests"
        requests += results.row(name, case, is_ours=mode in OURS)
        figure = f"{results.loop}, work: {mode} / alone"
        work += results.share(name, figure, is_ours=mode in OURS)
    return Chart(
        "When the clients never pause",
        "Eight clients of an echo server beside one endless job.",
        [
            Panel("requests answered per second (logarithmic)", requests, is_log=True),
            Panel("work of the job, % of what it does alone", work),
        ],
    )


def steps(results: Results) -> Chart:
    row = results.row
    one = [
        *row("deque(generator)", "deque(gen)"),
        *row("batch_accumulate", "batch_accumulate, 1 task", is_ours=True),
        *row("accumulate", "accumulate, 1 task", is_ours=True),
        *row("Twisted, in batches", "Twisted batches, 1 task"),
        *row("coiterate", "coiterate", is_ours=True),
        *row("Twisted's coiterate", "Twisted coiterate"),
        *row("Twisted, one by one", "Twisted accumulate, 1 task"),
    ]
    four = [
        *row("batch_accumulate", "batch_accumulate, 4 task", is_ours=True),
        *row("Twisted, in batches", "Twisted batches, 4 task"),
        *row("accumulate", "accumulate, 4 task", is_ours=True),
        *row("Twisted, one by one", "Twisted accumulate, 4 task"),
    ]
    working = [
        *row("deque(generator)", "deque(gen), 1 us of work"),
        *row("batch_accumulate", "batch_accumulate, 1 us of work", is_ours=True),
        *row("accumulate", "accumulate, 1 us of work", is_ours=True),
    ]
    return Chart(
        "What a value costs",
        "Nanoseconds of CPU time per value.",
        [
            Panel("one task, a generator that does nothing else", one),
            Panel("four such tasks at a time", four),
            Panel("one task, 1 µs of work in each step", working),
        ],
        ("Twisted",),
    )


def fairness(results: Results) -> Chart:
    row = results.row
    return Chart(
        "Who gets how much of the time",
        "Endless tasks on one loop. Upright lines: what is due.",
        [
            Panel(
                "2 ms steps get so many times what 0.1 ms steps get",
                [
                    *row("cooperative_aio", "2 ms steps : 0.1 ms steps", is_ours=True),
                    *row("Twisted's Cooperator", "2 ms steps : 0.1 ms steps, Twisted"),
                ],
                digits=2,
                due=1,
            ),
            Panel(
                "weight 3 gets so many times what weight 1 gets",
                row("cooperative_aio", "weight 3 : weight 1", is_ours=True),
                digits=2,
                due=3,
            ),
            Panel(
                "50 random tasks, Jain's index (1: all get their due)",
                row("cooperative_aio", "Jain's index of 50 random tasks", is_ours=True),
                digits=3,
                due=1,
            ),
        ],
        ("Twisted",),
    )


def scale(results: Results) -> Chart:
    few, many = re.findall(r"[\d,]+\d", results.title)
    row = results.row
    return Chart(
        f"{few} tasks, and {many}",
        "CPU time and memory of a task; asyncio.Task for comparison.",
        [
            Panel(
                "made, stepped twice, finished; µs",
                [
                    *row(f"{few} tasks", "run, few", is_ours=True),
                    *row(f"{many} tasks", "run, many", is_ours=True),
                    *row(f"{few} tasks of asyncio", "asyncio.Task, run, few"),
                    *row(f"{many} tasks of asyncio", "asyncio.Task, run, many"),
                ],
            ),
            Panel(
                "made, paused, resumed, stopped; µs",
                [
                    *row(f"beside {few}", "pause, resume, stop beside few", is_ours=True),
                    *row(f"beside {many}", "pause, resume, stop beside many", is_ours=True),
                ],
            ),
            Panel(
                "a step of the only ready task; ns",
                [
                    *row("alone", "one ready task alone", is_ours=True),
                    *row(
                        f"beside {many} that wait",
                        "one ready task beside many parked",
                        is_ours=True,
                    ),
                ],
            ),
            Panel(
                "memory of a task that waits; bytes",
                [
                    *row("CooperativeTask", "memory of a parked task", is_ours=True),
                    *row("asyncio.Task", "memory of an asyncio.Task"),
                ],
            ),
        ],
    )


def checkpoint(results: Results) -> Chart:
    row = results.row
    rows = [
        *row("a coroutine that does nothing", "a coroutine that does nothing"),
        *row("checkpoint() while the slice lasts", "checkpoint()", is_ours=True),
        *row(
            "the same, with standing back", "checkpoint(), standing back included", is_ours=True
        ),
        *row("asyncio.sleep(0)", "sleep(0)"),
    ]
    return Chart(
        "What an await costs",
        "In a coroutine that has the loop for itself.",
        [Panel("µs per await", rows)],
    )


def servers(results: Results) -> Chart:
    panels = []
    for server in ("aiohttp", "FastAPI"):
        rows = []
        for name, case in (
            ("the median", "p50"),
            ("the 99th percentile", "p99"),
            ("the longest", "longest"),
        ):
            cases = [f"{server}, {load}, {case}" for load in ("idle", "busy")]
            rows += results.row(name, *cases, is_ours=True)
        panels.append(Panel(f"{server}: idle / busy, ms", rows))
    return Chart(
        "Streaming servers, idle and busy",
        "200 requests a second. Full dots: nothing else to do, rings: beside four endless"
        " heavy jobs.",
        panels,
        ("aiohttp", "fastapi", "uvicorn"),
    )


def offload(results: Results) -> Chart:
    row = results.row
    speed = [
        *row("the generator by itself", "alone"),
        *row("a thread", "threads", is_ours=True),
        *row("a process", "processes", is_ours=True),
        *row("a Dask worker", "Dask", is_ours=True),
        *row("run_in_executor, all at once", "run_in_executor"),
        *row("spdl, one by one", "spdl, item by item"),
    ]
    late = [
        *row("nothing to do", "p99 idle"),
        *row("one job in a process", "p99 beside one job", is_ours=True),
        *row("two jobs in processes", "p99 beside two jobs", is_ours=True),
        *row("run_in_executor", "p99 beside run_in_executor"),
    ]
    return Chart(
        "Values from elsewhere",
        "The values of one generator, made in other places and brought here.",
        [
            Panel("µs per value (logarithmic)", speed, is_log=True),
            Panel("how late the loop is meanwhile, p99, ms", late),
        ],
        ("distributed", "spdl"),
    )


CHARTS: Mapping[str, Callable[[Results], Chart]] = {
    chart.__name__: chart
    for chart in (latency, saturation, steps, fairness, scale, checkpoint, servers, offload)
}


def draw(name: str, written: Mapping[str, Any]) -> dict[str, str]:
    """Return the files for the numbers of a benchmark, by their names."""
    results = Results(written)
    whole = CHARTS[name](results)
    chart = whole._replace(panels=[panel for panel in whole.panels if panel.rows])
    files = _sheet.draw(chart, results.caption(chart.peers))
    return {f"{name}-{scheme}.svg": text for scheme, text in files.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path, nargs="?", default=HERE / "results")
    parser.add_argument("pictures", type=Path, nargs="?", default=_sheet.PICTURES)
    options = parser.parse_args()
    for path in sorted(options.results.glob("*.json")):
        if path.stem in CHARTS:
            written = json.loads(path.read_text(encoding="utf-8"))
            for file, text in draw(path.stem, written).items():
                (options.pictures / file).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
