"""Write figures of matplotlib as SVG: one file each, dark where the page is dark."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

PICTURES = Path(__file__).parents[1] / "docs" / "_pictures"
PALETTE: dict[str, list[str]] = json.loads((PICTURES / "palette.json").read_text("utf-8"))
"""The colours by what they are for: in the light, and in the dark."""

LIGHT = {name: pair[0] for name, pair in PALETTE.items()}
STYLE = {
    "axes.edgecolor": LIGHT["line"],
    "axes.facecolor": "none",
    "axes.labelcolor": LIGHT["ink"],
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": LIGHT["ink"],
    "axes.titlelocation": "left",
    "figure.facecolor": LIGHT["paper"],
    "figure.titleweight": "bold",
    "svg.fonttype": "none",
    "text.color": LIGHT["ink"],
    "xtick.color": LIGHT["faint"],
    "ytick.color": LIGHT["line"],
    "ytick.labelcolor": LIGHT["ink"],
}


def dark_style() -> str:
    """Return a style sheet that exchanges each colour of the palette for its dark one."""
    rules = [
        f'[{how}="{light}"], [style*="{how}: {light}"] {{ {how}: {dark} !important }}'
        for light, dark in PALETTE.values()
        for how in ("fill", "stroke")
    ]
    return "<style>@media (prefers-color-scheme: dark) {\n" + "\n".join(rules) + "\n}</style>\n"


def with_dark_style(svg: str) -> str:
    """Return the picture with the style sheet in front of what is drawn."""
    start = svg.index("<g ")
    return svg[:start] + dark_style() + svg[start:]


def as_svg(figure: Figure, title: str) -> str:
    """Return the figure as text that is always the same for the same figure."""
    buffer = io.StringIO()
    known = {"Date": None, "Creator": None, "Title": title}
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(buffer, format="svg", metadata=known)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg ") :].replace("<svg ", '<svg role="img" ', 1)
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    lines = (line.rstrip() for line in with_dark_style(svg).splitlines())
    return "\n".join(lines) + "\n"
