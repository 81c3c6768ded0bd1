"""Draw charts as SVG, in the colours of docs/_pictures/palette.json, with matplotlib.

Each row of a chart has its name and its numbers above its marks, so that there is room for
both on a telephone. What is written is text, in a font that whoever looks has; the same
numbers always make the same file.
"""

from __future__ import annotations

import io
import json
import re
import textwrap
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

PICTURES = Path(__file__).parents[1] / "docs" / "_pictures"
SVG = "http://www.w3.org/2000/svg"
FONT = "Arial, Helvetica, 'Liberation Sans', sans-serif"
LAID_OUT_IN = "DejaVu Sans"  # which comes with matplotlib, so the same everywhere

COORDINATES = {"d", "x", "y", "transform"}

# In units of the drawing, which a telephone shows at nearly this size
WIDTH, MARGIN, SHOWN = 400, 14, 520
ROW, LEADING = 35, 15.5
COLUMNS = 58  # characters in a line of text


class Mark(NamedTuple):
    """A median, and the lowest and the highest of the rounds."""

    median: float
    lowest: float
    highest: float


class Row(NamedTuple):
    """A line of a chart: one mark makes a bar, several make dots."""

    name: str
    marks: list[Mark]
    is_ours: bool = False


class Panel(NamedTuple):
    """Rows that share an axis."""

    title: str
    rows: list[Row]
    digits: int = 1  # after the point of values from 1 to 10
    is_log: bool = False
    due: float | None = None  # what would be right


class Chart(NamedTuple):
    """What one picture shows."""

    title: str
    notes: str
    panels: list[Panel]
    peers: tuple[str, ...] = ()  # whose versions matter


def numbers(row: Row, digits: int) -> str:
    """Write the medians of a row: the larger, the fewer digits after the point."""
    medians = [mark.median for mark in row.marks]
    return " / ".join(
        f"{median:,.{0 if median >= 10 else digits + (median < 1)}f}" for median in medians
    )


class Sheet:
    """Lay a chart out from top to bottom on a figure as wide as a telephone.

    Args:
        chart: What to show.
        caption: What stands below.
        palette: The colours, by what they are for.
    """

    def __init__(self, chart: Chart, caption: str, palette: Mapping[str, Any]) -> None:
        self._chart = chart
        self._palette = palette
        self._notes = textwrap.wrap(chart.notes, COLUMNS)
        self._caption = textwrap.wrap(caption, COLUMNS)
        heights = [self._height(panel) for panel in chart.panels]
        lines = len(self._notes) + len(self._caption)
        self._height_of_all = 44 + sum(heights) + lines * LEADING + 16
        self._figure = Figure((WIDTH / 72, self._height_of_all / 72), facecolor="none")
        self._y = 0.0

    @staticmethod
    def _height(panel: Panel) -> float:
        return 34 + ROW * len(panel.rows) + 26

    def draw(self) -> Figure:
        """Return the figure."""
        self._write(29, self._chart.title, size=16, weight="bold")
        self._y = 36
        self._write_lines(self._notes)
        for panel in self._chart.panels:
            self._draw_panel(panel)
        self._y += 2
        self._write_lines(self._caption)
        return self._figure

    def _write_lines(self, lines: list[str]) -> None:
        for line in lines:
            self._y += LEADING
            self._write(self._y, line, colour="faint")

    def _write(
        self,
        y: float,
        text: str,
        *,
        colour: str = "ink",
        size: float = 12.5,
        weight: str = "normal",
    ) -> None:
        self._figure.text(
            MARGIN / WIDTH,
            1 - y / self._height_of_all,
            text,
            color=self._palette[colour],
            size=size,
            weight=weight,
        )

    def _draw_panel(self, panel: Panel) -> None:
        self._write(self._y + 26, panel.title, size=13.5, weight="bold")
        top, height = self._y + 34, ROW * len(panel.rows)
        axes = self._figure.add_axes(
            (
                MARGIN / WIDTH,
                1 - (top + height) / self._height_of_all,
                1 - 2 * MARGIN / WIDTH,
                height / self._height_of_all,
            ),
            facecolor="none",
        )
        self._prepare(axes, panel)
        for place, row in enumerate(panel.rows):
            self._draw_row(axes, panel, place, row)
        self._y += self._height(panel)

    def _prepare(self, axes: Axes, panel: Panel) -> None:
        marks = [mark for row in panel.rows for mark in row.marks]
        highest = max(mark.highest for mark in marks)
        if panel.is_log:
            axes.set_xscale("log")
            axes.set_xlim(0.7 * min(mark.lowest for mark in marks), 1.3 * highest)
            axes.xaxis.set_minor_locator(NullLocator())
            ticks = LogLocator()
        else:
            axes.set_xlim(0, 1.04 * max(highest, panel.due or 0))
            ticks = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10])
        low, high = axes.get_xlim()
        axes.set_xticks(
            [tick for tick in ticks.tick_values(low, high) if low <= tick < 0.98 * high]
        )
        axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:,.12g}"))
        axes.set_ylim(ROW * len(panel.rows), 0)
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.tick_params(
            axis="x", length=0, pad=5, labelsize=12, labelcolor=self._palette["faint"]
        )

    def _draw_row(self, axes: Axes, panel: Panel, place: int, row: Row) -> None:
        colour = self._palette["ours" if row.is_ours else "other"]
        y = ROW * place + 25
        axes.vlines(
            axes.get_xticks(), y - 8, y + 8, color=self._palette["line"], linewidth=1, zorder=0
        )
        weight = "bold" if row.is_ours else "normal"
        words = numbers(row, panel.digits)
        for x, text, side in ((0.0, row.name, "left"), (1.0, words, "right")):
            axes.text(
                x,
                ROW * place + 15,
                text,
                transform=axes.get_yaxis_transform(),
                ha=side,
                color=self._palette["ink"],
                size=12.5,
                weight=weight,
            )
        if len(row.marks) == 1 and not panel.is_log:
            axes.barh(y, row.marks[0].median, height=9, color=colour)
        for mark in row.marks:
            axes.plot(
                [mark.lowest, mark.highest],
                [y, y],
                color=colour,
                alpha=0.35,
                linewidth=9,
                solid_capstyle="butt",
            )
        if len(row.marks) > 1 or panel.is_log:
            axes.plot([mark.median for mark in row.marks], [y] * len(row.marks), color=colour)
            fills = [colour, self._palette["paper"]]
            for mark, fill in zip(row.marks, fills, strict=False):
                axes.plot(
                    mark.median,
                    y,
                    marker="o",
                    markersize=8,
                    markerfacecolor=fill,
                    markeredgecolor=colour,
                    markeredgewidth=2,
                    clip_on=False,
                )
        if panel.due is not None:
            ink = self._palette["ink"]
            axes.vlines(panel.due, y - 8, y + 8, color=ink, linewidth=2, clip_on=False)


def described(chart: Chart) -> str:
    """Say in words what the chart shows."""
    panels = [
        f"{panel.title}: "
        + ", ".join(f"{row.name} {numbers(row, panel.digits)}" for row in panel.rows)
        for panel in chart.panels
    ]
    return ". ".join([chart.notes.rstrip("."), *panels]) + "."


def shortened(digits: re.Match[str]) -> str:
    """Round a coordinate, so that versions of matplotlib hardly differ."""
    return f"{float(digits[0]):.2f}".rstrip("0").rstrip(".")


def as_svg(figure: Figure, chart: Chart, paper: str) -> str:
    """Return the figure as a file that is the same whenever it is drawn from the same."""
    buffer = io.StringIO()
    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": chart.title,
        "font.family": "DejaVu Sans",
    }
    with mpl.rc_context(settings):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    ET.register_namespace("", SVG)
    ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ET.fromstring(  # noqa: S314 (matplotlib has written it)
        buffer.getvalue().replace(f"'{LAID_OUT_IN}'", FONT)
    )
    if (metadata := root.find(f"{{{SVG}}}metadata")) is not None:
        root.remove(metadata)
    for element in root.iter():
        for name in element.attrib.keys() & COORDINATES:
            element.attrib[name] = re.sub(r"\d+\.\d+", shortened, element.attrib[name])
    height = float(root.attrib["viewBox"].split()[3])
    root.attrib |= {"width": f"{SHOWN}", "height": f"{height * SHOWN / WIDTH:g}", "role": "img"}
    sheet = {"width": "100%", "height": "100%", "rx": "10", "fill": paper}
    root.insert(0, ET.Element(f"{{{SVG}}}rect", sheet))
    for tag, text in (("desc", described(chart)), ("title", chart.title)):
        element = ET.Element(f"{{{SVG}}}{tag}")
        element.text = text
        root.insert(0, element)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def draw(chart: Chart, caption: str) -> dict[str, str]:
    """Return the files of a chart, by their schemes: light and dark."""
    palettes = json.loads((PICTURES / "palette.json").read_text(encoding="utf-8"))
    files = {}
    for scheme, palette in palettes.items():
        with mpl.rc_context(
            {"font.family": LAID_OUT_IN, "svg.fonttype": "none", "svg.hashsalt": chart.title}
        ):
            figure = Sheet(chart, caption, palette).draw()
            files[scheme] = as_svg(figure, chart, palette["paper"])
    return files
