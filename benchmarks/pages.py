"""Fill in what the pages quote of the benchmarks' results.

    python benchmarks/pages.py                  fill the pages from benchmarks/results
    python benchmarks/pages.py --keep FOLDER    copy the results there, fill, draw the charts
    python benchmarks/pages.py --check          change nothing; fail where a page differs

A page says what stands where by comments, which a reader does not see. A table, what a
program printed, and a figure in a sentence:

    <!-- table: latency asyncio -->
    <!-- output: getting_started -->
    <!-- latency: asyncio, no job, p50 -->0.849<!-- end -->

A figure is a case of a benchmark, or one of its comparisons, by the name that the benchmark's
own table shows; or one case / another, divided round by round. What stands behind `;` is its
form: see FORMS. What was not measured is left as it is, and said.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from _tables import TABLES

HERE = Path(__file__).parent
RESULTS = HERE / "results"
ROOT = HERE.parent
ABOUT = "measuring.md"  # which shows what these comments look like
BLOCK = re.compile(
    r"^<!-- (table|output): ([^>]+) -->\n\n(?:[^<]*\n\n)?<!-- end -->$", re.MULTILINE
)
SPAN = re.compile(
    r"<!-- (?!table:|output:)([\w.-]+):(\s[^>]+?) -->([^<]*)<!-- end -->", re.DOTALL
)
COMMENT = re.compile(r"<!-- ([\w.-]+:\s.*?|end) -->", re.DOTALL)
FIGURE = re.compile(r"\[([\w.-]+): ([^][]+)\]")  # in a table


class NotMeasuredError(LookupError):
    """A figure that no result has."""


class Figure(NamedTuple):
    """What was measured, for one name."""

    samples: list[float]
    median: float
    target: Mapping[str, Any]


def number(value: float) -> str:
    """Write three digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:.3g}"


def about(value: float) -> str:
    """Write two digits of small numbers, three of large ones."""
    if abs(value) >= 99.5:
        digits = max(0, len(str(round(abs(value)))) - 3)
        return f"{round(value, -digits):,.0f}"
    return f"{float(f'{value:.2g}'):g}"


def spread(figure: Figure) -> str:
    return f"{number(min(figure.samples))} to {number(max(figure.samples))}"


def everything(figure: Figure) -> str:
    missed = ", **missed**" if figure.target.get("met") is False else ""
    if {number(sample) for sample in figure.samples} == {number(figure.median)}:
        return number(figure.median) + missed
    return f"{number(figure.median)} ({spread(figure)}){missed}"


def wanted(figure: Figure) -> str:
    bounds = (("at_most", "at most"), ("at_least", "at least"))
    limits = [(words, figure.target.get(key)) for key, words in bounds]
    return "".join(f"{words} {limit:g}" for words, limit in limits if limit is not None)


def machine(written: Mapping[str, Any]) -> str:
    """Say where and when results were measured, and with slices of which length."""
    where = str(written["machine"]).partition("; ")[0]
    return f"{where}, slices of {1e3 * written['slice']:g} ms"


FORMS: dict[str, Callable[[Figure], str]] = {
    "median": lambda figure: number(figure.median),  # the default in a sentence
    "all": everything,  # median, range, and whether a target was missed: the default in tables
    "about": lambda figure: about(figure.median),
    "range": spread,
    "lowest": lambda figure: number(min(figure.samples)),
    "highest": lambda figure: number(max(figure.samples)),
    "each": lambda figure: ", ".join(map(number, figure.samples)),
    "wanted": wanted,
}


class Results:
    """The results in a folder, and the names that were asked for and are not in them."""

    def __init__(self, folder: Path) -> None:
        self.missing: list[str] = []
        self.all: dict[str, Any] = {
            path.stem: json.loads(path.read_text("utf-8"))
            for path in sorted(folder.glob("*.json"))
        }

    def figure(self, file: str, name: str) -> Figure:
        """Return the figure of a name."""
        written = self.all.get(file, {"cases": {}, "figures": []})
        if case := written["cases"].get(name):
            return Figure(case["samples"], case["median"], {})
        for known in written["figures"]:
            if known["what"] == name:
                return Figure([known["lowest"], known["highest"]], known["value"], known)
        cases = [written["cases"].get(part, {}) for part in name.split(" / ")]
        samples = [case["samples"] for case in cases if case]
        if len(cases) != 2 or len(samples) != 2:
            raise NotMeasuredError(f"{file}: {name}")
        ratios = [over / under for over, under in zip(*samples, strict=True)]
        return Figure(ratios, statistics.median(ratios), {})

    def text(self, file: str, expression: str, default: str) -> str:
        """Return what an expression stands for."""
        name, _, form = expression.partition("; ")
        if name == "machine" and file in self.all:
            return machine(self.all[file])
        return FORMS[form or default](self.figure(file, name))

    def output(self, name: str) -> str:
        """Return what a program of examples.py printed, as a block of code."""
        try:
            return "```text\n" + "\n".join(self.all["examples"]["outputs"][name]) + "\n```"
        except KeyError:
            raise NotMeasuredError(f"examples: {name}") from None

    def table(self, name: str) -> str:
        """Return a table, without the rows that were not measured."""
        if name == "machine":
            return self.machines()
        if name not in TABLES:
            raise NotMeasuredError(f"table: {name}")
        head, *rows = TABLES[name]
        lines: list[str] = []
        missing: list[str] = []
        for row in rows:
            try:
                line = FIGURE.sub(lambda found: self.text(*found.groups(), "all"), row)
                lines.append(line.replace("  ", " "))
            except NotMeasuredError as error:
                missing.append(str(error))
        if not lines:
            raise NotMeasuredError(missing[0])
        self.missing += missing
        return "\n".join([head.replace("  ", " "), re.sub(r"[^|]+", " --- ", head), *lines])

    def machines(self) -> str:
        """Return when and where each was measured."""
        lines = ["| benchmark | measured | version |", "| --- | --- | --- |"]
        lines += [
            f"| `{name.partition('-')[0]}.py` | {machine(written)}"
            f" | {written.get('versions', {}).get('cooperative_aio', '')} |"
            for name, written in self.all.items()
        ]
        peers: dict[str, str] = {}
        for written in self.all.values():
            peers |= written.get("versions", {})
        peers.pop("cooperative_aio", None)
        named = ", ".join(f"{name} {version}" for name, version in sorted(peers.items()))
        return "\n".join([*lines, "", f"With {named}."])


def fill(text: str, results: Results) -> str:
    """Return a page with the figures that there are."""

    def block(found: re.Match[str]) -> str:
        kind, name = found.groups()
        try:
            content = results.table(name) if kind == "table" else results.output(name)
        except NotMeasuredError as error:
            results.missing.append(str(error))
            return found[0]
        return f"<!-- {kind}: {name} -->\n\n{content}\n\n<!-- end -->"

    def span(found: re.Match[str]) -> str:
        file, expression, _ = found.groups()
        try:
            content = results.text(file, " ".join(expression.split()), "median")
        except NotMeasuredError as error:
            results.missing.append(str(error))
            return found[0]
        return f"<!-- {file}:{expression} -->{content}<!-- end -->"

    return SPAN.sub(span, BLOCK.sub(block, text))


def faults(text: str) -> Iterator[str]:
    """Say which comments of a page are of no use, or would be seen."""
    known = len(BLOCK.findall(text)) + len(SPAN.findall(text))
    every = [found[1] for found in COMMENT.finditer(text)]
    if every.count("end") != known or len(every) != 2 * known:
        yield "a comment without its end, or an end without its comment"
    for kind, name in BLOCK.findall(text):
        if kind == "table" and name not in {*TABLES, "machine"}:
            yield f"{name}: no table of that name"
    for found in SPAN.finditer(text):
        before = text[: found.start()].rpartition("\n")[2]
        if not before.strip(" -*|>"):
            what = f"{found[1]}: {found[2].strip()}"
            yield f"{what}: a comment that begins a line ends the paragraph"


def pages() -> list[Path]:
    every = sorted((ROOT / "docs").rglob("*.md"))
    return [ROOT / "README.md", *(page for page in every if page.name != ABOUT)]


def keep(folder: Path) -> None:
    """Copy the results of a folder to those that are kept."""
    for path in sorted(folder.glob("*.json")):
        shutil.copyfile(path, RESULTS / path.name)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="copy its results first")
    parser.add_argument("--check", action="store_true", help="change nothing")
    options = parser.parse_args(arguments)
    if options.keep is not None:
        keep(options.keep)
    results = Results(RESULTS)
    wrong = False
    for page in pages():
        text = page.read_text("utf-8")
        filled = fill(text, results)
        name = page.relative_to(ROOT)
        for fault in faults(text):
            wrong = True
            print(f"{name}: {fault}")
        if filled != text:
            wrong = wrong or options.check
            print(f"{name}: {'differs' if options.check else 'filled'}")
            if not options.check:
                page.write_text(filled, encoding="utf-8")
    for what in dict.fromkeys(results.missing):
        print(f"not measured: {what}", file=sys.stderr)
    if options.keep is not None:
        with contextlib.suppress(ImportError):
            import charts  # noqa: PLC0415 (needs matplotlib)

            charts.draw_all(RESULTS, charts.PICTURES)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
