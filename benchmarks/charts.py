"""Draw a chart for each benchmark whose numbers lie in a directory as JSON.

    python benchmarks/charts.py [RESULTS [PICTURES]]

Without arguments the numbers that are kept in `benchmarks/results` are drawn into
`docs/_pictures`. `nox -s bench` measures, and draws what it has measured into its cache; to
keep that, run `python benchmarks/pages.py --keep` with that folder.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from _jobs import CHECKPOINT, DEFAULT, FUNCTIONS, NONE, POOL, RHYTHM, THREADS
from _svg import LIGHT, PICTURES, STYLE, as_svg
from matplotlib.axes import Axes
from matplotlib.figure import Figure

HERE = Path(__file__).parent
OURS = "* "  # what the names of rows begin with that are ours
DOTS = "os"

WAYS = {  # what the modes of `_jobs` are called where there is little room
    NONE: "nothing to compute",
    POOL: "a process pool",
    DEFAULT: OURS + "cooperative_aio",
    FUNCTIONS: OURS + "to_slices, functions",
    CHECKPOINT: OURS + "await checkpoint()",
    RHYTHM: "a 10 ms slice on every turn",
    THREADS: "asyncio.to_thread",
}


class Panel(NamedTuple):
    """Rows with an axis: the cases of each by its name, or figures if they are shares."""

    title: str
    rows: Mapping[str, tuple[str, ...]]
    is_log: bool = False
    is_share: bool = False
    due: float | None = None  # what would be right


class Chart(NamedTuple):
    """The contents of one picture."""

    title: str
    panels: list[Panel]
    peers: tuple[str, ...] = ()  # whose versions matter


def each_way(*cases: str) -> dict[str, tuple[str, ...]]:
    """Return a row for each mode: `LOOP` and `MODE` stand for what they are."""
    return {name: tuple(c.replace("MODE", mode) for c in cases) for mode, name in WAYS.items()}


def busy(server: str) -> dict[str, tuple[str, ...]]:
    names = {"the median": "p50", "the 99th percentile": "p99", "the longest": "longest"}
    return {
        OURS + name: (f"{server}, idle, {case}", f"{server}, busy, {case}")
        for name, case in names.items()
    }


CHARTS = {
    "latency": Chart(
        "How long a request waits beside four endless CPU jobs",
        [
            Panel(
                "p50 (dots) / p99 (squares), ms",
                each_way("LOOP, MODE, p50", "LOOP, MODE, p99"),
                is_log=True,
            )
        ],
        ("aiohttp",),
    ),
    "saturation": Chart(
        "Eight clients that never pause, beside one endless job",
        [
            Panel(
                "requests answered per second", each_way("LOOP, MODE, requests"), is_log=True
            ),
            Panel(
                "work of the job, % of what it does alone",
                each_way("LOOP, work: MODE / alone"),
                is_share=True,
            ),
        ],
    ),
    "steps": Chart(
        "What a value costs, in ns of CPU time",
        [
            Panel(
                "one task, a generator that does nothing else",
                {
                    "deque(generator)": ("deque(gen)",),
                    "* batch_accumulate": ("batch_accumulate, 1 task",),
                    "* accumulate": ("accumulate, 1 task",),
                    "Twisted, in batches": ("Twisted batches, 1 task",),
                    "* coiterate": ("coiterate",),
                    "Twisted's coiterate": ("Twisted coiterate",),
                    "Twisted, one by one": ("Twisted accumulate, 1 task",),
                },
            ),
            Panel(
                "four such tasks at a time",
                {
                    "* batch_accumulate": ("batch_accumulate, 4 task",),
                    "Twisted, in batches": ("Twisted batches, 4 task",),
                    "* accumulate": ("accumulate, 4 task",),
                    "Twisted, one by one": ("Twisted accumulate, 4 task",),
                },
            ),
            Panel(
                "one task, 1 µs of work in each step",
                {
                    "deque(generator)": ("deque(gen), 1 us of work",),
                    "* batch_accumulate": ("batch_accumulate, 1 us of work",),
                    "* accumulate": ("accumulate, 1 us of work",),
                },
            ),
        ],
        ("Twisted",),
    ),
    "fairness": Chart(
        "Who gets how much of the time (lines: what is due)",
        [
            Panel(
                "2 ms steps get so many times what 0.1 ms steps get",
                {
                    "* cooperative_aio": ("2 ms steps : 0.1 ms steps",),
                    "Twisted's Cooperator": ("2 ms steps : 0.1 ms steps, Twisted",),
                },
                due=1,
            ),
            Panel(
                "weight 3 gets so many times what weight 1 gets",
                {"* cooperative_aio": ("weight 3 : weight 1",)},
                due=3,
            ),
            Panel(
                "50 random tasks, Jain's index (1: all get their due)",
                {"* cooperative_aio": ("Jain's index of 50 random tasks",)},
                due=1,
            ),
        ],
        ("Twisted",),
    ),
    "scale": Chart(
        "Few tasks and many: TITLE",
        [
            Panel(
                "made, stepped twice, finished; µs",
                {
                    "* few tasks": ("run, few",),
                    "* many tasks": ("run, many",),
                    "few tasks of asyncio": ("asyncio.Task, run, few",),
                    "many tasks of asyncio": ("asyncio.Task, run, many",),
                },
            ),
            Panel(
                "made, paused, resumed, stopped; µs",
                {
                    "* beside few": ("pause, resume, stop beside few",),
                    "* beside many": ("pause, resume, stop beside many",),
                },
            ),
            Panel(
                "a step of the only ready task; ns",
                {
                    "* alone": ("one ready task alone",),
                    "* beside many that wait": ("one ready task beside many parked",),
                },
            ),
            Panel(
                "memory of a task that waits; bytes",
                {
                    "* CooperativeTask": ("memory of a parked task",),
                    "asyncio.Task": ("memory of an asyncio.Task",),
                },
            ),
        ],
    ),
    "checkpoint": Chart(
        "What an await costs in a coroutine that has the loop for itself",
        [
            Panel(
                "µs per await",
                {
                    "a coroutine that does nothing": ("a coroutine that does nothing",),
                    "* checkpoint() while the slice lasts": ("checkpoint()",),
                    "* with standing back": ("checkpoint(), standing back included",),
                    "asyncio.sleep(0)": ("sleep(0)",),
                },
            )
        ],
    ),
    "servers": Chart(
        "200 requests a second: idle, and beside four endless jobs",
        [
            Panel(f"{name}: idle (dots) / busy (squares), ms", busy(name))
            for name in ("aiohttp", "FastAPI")
        ],
        ("aiohttp", "fastapi", "uvicorn"),
    ),
    "offload": Chart(
        "The values of one generator, made in other places",
        [
            Panel(
                "µs per value",
                {
                    "the generator by itself": ("alone",),
                    "* a thread": ("threads",),
                    "* a process": ("processes",),
                    "* a Dask worker": ("Dask",),
                    "run_in_executor, all at once": ("run_in_executor",),
                    "spdl, one by one": ("spdl, item by item",),
                },
                is_log=True,
            ),
            Panel(
                "how late the loop is meanwhile, p99, ms",
                {
                    "nothing to do": ("p99 idle",),
                    "* one job in a process": ("p99 beside one job",),
                    "* two jobs in processes": ("p99 beside two jobs",),
                    "run_in_executor": ("p99 beside run_in_executor",),
                },
            ),
        ],
        ("distributed", "spdl"),
    ),
}


class Mark(NamedTuple):
    """A median, and the samples that it is of."""

    median: float
    samples: list[float]


def marks_of(written: Mapping[str, Any], panel: Panel) -> dict[str, list[Mark]]:
    """Return the numbers of each row of a panel; none of what was not measured."""
    loop = written["machine"].partition("; ")[2].partition("/")[0]
    if panel.is_share:
        known = {
            figure["what"]: Mark(
                100 * figure["value"], [100 * figure[end] for end in ("lowest", "highest")]
            )
            for figure in written["figures"]
        }
    else:
        known = {what: Mark(c["median"], c["samples"]) for what, c in written["cases"].items()}
    rows = {
        name: [case.replace("LOOP", loop) for case in cases]
        for name, cases in panel.rows.items()
    }
    return {
        name: [known[case] for case in cases]
        for name, cases in rows.items()
        if all(case in known for case in cases)
    }


def numbers(marks: list[Mark]) -> str:
    """Write the medians, of which three digits matter."""
    return " / ".join(
        f"{m.median:,.0f}" if m.median >= 1000 else f"{m.median:.3g}" for m in marks
    )


def draw_panel(axes: Axes, panel: Panel, rows: Mapping[str, list[Mark]]) -> None:
    """Draw bars, or on a logarithmic axis dots, with lines from the lowest to the highest."""
    for place, (name, marks) in enumerate(rows.items()):
        colour = LIGHT["ours" if name.startswith(OURS) else "other"]
        for mark, dot in zip(marks, DOTS, strict=False):
            spread = [
                [mark.median - min(mark.samples)],
                [max(mark.samples) - mark.median],
            ]
            if panel.is_log or len(marks) > 1:
                axes.errorbar(
                    mark.median, place, xerr=spread, fmt=dot, color=colour, ecolor=colour
                )
            else:
                axes.barh(place, mark.median, xerr=spread, color=colour, ecolor=LIGHT["faint"])
    if panel.due is not None:
        axes.axvline(panel.due, color=LIGHT["ink"])
    if panel.is_log:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.12g}")
    else:
        axes.set_xlim(left=0)
    axes.set_title(panel.title, fontsize="medium")
    names = [f"{name.removeprefix(OURS)}: {numbers(marks)}" for name, marks in rows.items()]
    axes.set_yticks(range(len(rows)), names)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()


def caption(written: Mapping[str, Any], rounds: int, peers: tuple[str, ...]) -> str:
    """Say how, where and when the numbers were measured, and with what."""
    machine, _, loops = written["machine"].partition("; ")
    known = written.get("versions", {})
    versions = [
        f"{name} {known[name]}" for name in ("cooperative_aio", *peers) if name in known
    ]
    how = f"Medians of {rounds} rounds; lines: from the lowest to the highest"
    with_what = ", ".join([machine, f"{loops.partition('/')[0]}'s loop", *versions])
    return f"{how if rounds > 1 else 'One round'}. {with_what}."


def draw(name: str, written: Mapping[str, Any]) -> str:
    """Return the chart of a benchmark's numbers, an SVG file."""
    chart = CHARTS[name]
    panels = [(panel, marks_of(written, panel)) for panel in chart.panels]
    panels = [(panel, rows) for panel, rows in panels if rows]
    samples = [m.samples for _, rows in panels for marks in rows.values() for m in marks]
    title = chart.title.replace(
        "TITLE", written["title"].partition(": ")[2] or written["title"]
    )
    below = caption(written, max(map(len, samples)), chart.peers)
    heights = [len(rows) for _, rows in panels]
    with mpl.rc_context(STYLE):
        height = 0.3 * sum(heights) + 0.65 * len(panels) + 0.9
        figure = Figure((6.4, height), layout="constrained")
        all_axes = figure.subplots(len(panels), squeeze=False, height_ratios=heights)
        for axes, (panel, rows) in zip(all_axes.flat, panels, strict=True):
            draw_panel(axes, panel, rows)
        figure.suptitle(title)
        figure.supxlabel(textwrap.fill(below, 85), fontsize="small", color=LIGHT["faint"])
        return as_svg(figure, title)


def draw_all(results: Path, pictures: Path) -> None:
    """Draw a chart for each result that has one."""
    for path in sorted(results.glob("*.json")):
        if path.stem in CHARTS:
            svg = draw(path.stem, json.loads(path.read_text(encoding="utf-8")))
            (pictures / f"{path.stem}.svg").write_text(svg, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path, nargs="?", default=HERE / "results")
    parser.add_argument("pictures", type=Path, nargs="?", default=PICTURES)
    options = parser.parse_args()
    draw_all(options.results, options.pictures)


if __name__ == "__main__":
    main()
