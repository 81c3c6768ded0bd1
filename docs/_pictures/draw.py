"""Draw the pictures that explain: the rhythm of slices, and the states of a task.

Both come from the code: the number of quiet turns and the length of a slice from the pacer,
the states and the arrows between them from their table. `python docs/_pictures/draw.py`
writes the files beside this one, with matplotlib and Graphviz (its program `dot`);
tests/test_pictures.py says when that has to be done again.
"""
# ruff: noqa: INP001 (a script)

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections import defaultdict
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cooperative_aio import TimeSlice
from cooperative_aio._pacing import QUIET_TURNS
from cooperative_aio._states import ENDS, TRANSITIONS, State

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from _svg import LIGHT, PICTURES, STYLE, as_svg, with_dark_style

# The states

FONT = "Arial, Helvetica, 'Liberation Sans', sans-serif"
GRAPH = f"""digraph "The states of a task" {{
bgcolor="{LIGHT["paper"]}" compound=true nodesep=0.4 ranksep=0.4 style=dashed
color="{LIGHT["faint"]}"
node [shape=box style="rounded,bold" fontname="{FONT}" height=0.4]
edge [fontname="{FONT}" fontsize=11 color="{LIGHT["faint"]}" fontcolor="{LIGHT["ink"]}"]
subgraph cluster_unfinished {{ ending
subgraph cluster_not_cancelled {{ ready paused waiting }} }}
"""
RUNS = {State.READY, State.PAUSED, State.ENDING}  # those in which a step may be under way


def states_as_dot() -> str:
    """Return the table of the states as a graph, in the language of Graphviz.

    An arrow from a frame stands for one from each state in it. A task that waits has no step
    under way, so it cannot return or raise.
    """
    lines = [GRAPH]
    for state in State:
        colour = LIGHT.get(state.value, LIGHT["faint"])
        lines.append(f'{state.value} [color="{colour}" fontcolor="{colour}"]')
    sources: defaultdict[tuple[str, State], set[State]] = defaultdict(set)
    for before, events in TRANSITIONS.items():
        for event, after in events.items():
            sources[event, after].add(before)
    labels: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for (event, after), befores in sources.items():
        if after in ENDS:
            assert befores in (RUNS, {*TRANSITIONS}), event  # noqa: S101 (else draw it otherwise)
            labels["waiting", after.value, "cluster_unfinished"].append(event)
        elif event == "cancel()":
            assert befores == {*TRANSITIONS}  # noqa: S101 (the same)
            labels["waiting", after.value, "cluster_not_cancelled"].append(event)
            labels["ending", after.value, ""].append(event)
        else:
            for before in befores:
                labels[before.value, after.value, ""].append(event)
    for (tail, head, frame), events in sorted(labels.items()):
        label = json.dumps("\n".join(textwrap.fill(event, 20) for event in sorted(events)))
        lines.append(f'{tail} -> {head} [label={label} ltail="{frame}"]')
    return "\n".join([*lines, "}"])


def draw_states() -> str:
    """Return the graph of the states as drawn by Graphviz."""
    run = subprocess.run(
        ["dot", "-Tsvg"],  # noqa: S607 (wherever it is)
        input=states_as_dot(),
        capture_output=True,
        check=True,
        text=True,
    )
    svg = run.stdout[run.stdout.index("<svg ") :]
    return with_dark_style(svg.replace("<svg ", '<svg role="img" ', 1))


# The rhythm

STEPS = 6  # in a slice, as it is drawn
HOPS = 5  # turns of the loop that the request takes
WIDTH = 52  # of a lane; a step, and a turn in which none is taken, are 1 wide
CAME = 2.5
SLICE, REQUEST, QUIET = "slice", "request", "quiet"


def draw_lane(axes: Axes, title: str, turns: list[str]) -> None:
    """Draw turns of the loop from left to right, and how long the request is under way."""
    x, hops, answered = 0, 0, 0
    for turn in turns:
        if turn == SLICE:
            for step in range(STEPS):
                colour = LIGHT[("ours", "second", "third")[step % 3]]
                axes.barh(0, 0.9, left=x + step, color=colour)
            axes.plot(
                [x, x + STEPS - 0.1], [0.6, 0.6], color=LIGHT["faint"], solid_capstyle="butt"
            )
            x += STEPS
            continue
        if turn == REQUEST:
            hops += 1
            answered = x + 1 if hops == HOPS else answered
            axes.barh(0, 0.9, left=x, color=LIGHT["request"])
        else:
            axes.barh(0, 0.8, left=x + 0.05, color="none", edgecolor=LIGHT["other"])
        axes.plot([x, x + 0.9], [0.6, 0.6], color=LIGHT["faint"], solid_capstyle="butt")
        x += 1
    red = LIGHT["request"]
    for when, text, up, down in (
        (CAME, "a request", -0.5, -1),
        (answered, "its answer", -1, -0.5),
    ):
        axes.annotate(
            "", (when, up), (when, down), arrowprops={"arrowstyle": "->", "color": red}
        )
        axes.text(when, -1.1, text, color=red, ha="center")
    axes.plot([CAME, answered], [1, 1], color=red, linewidth=3)
    axes.set(xlim=(-0.5, WIDTH), ylim=(1.3, -1.6))
    axes.set_title(title, fontsize="medium")
    axes.set_axis_off()


def draw_timeline() -> str:
    """Draw how a request fares beside slices, with standing back and without."""
    quiet = [QUIET] * QUIET_TURNS
    longest = f"{1000 * TimeSlice().max_wait:g} ms"
    lanes = {
        f"Standing back: the next slice is taken after {QUIET_TURNS} quiet turns in a row,"
        f" or {longest}": [SLICE, *[REQUEST] * HOPS, *quiet, SLICE, *quiet, SLICE, *quiet],
        "A slice on every turn: Twisted's rhythm, or TimeSlice(max_wait=0)": (
            [SLICE, REQUEST] * HOPS + [SLICE, QUIET, SLICE, QUIET]
        ),
    }
    title = "A request between slices"
    with mpl.rc_context(STYLE):
        figure = Figure((7.2, 3.2), layout="constrained")
        for axes, (words, turns) in zip(figure.subplots(2), lanes.items(), strict=True):
            draw_lane(axes, words, turns)
        figure.suptitle(title)
        figure.supxlabel(
            "Blue: steps of three tasks. Orange: turns of the request. Hollow: quiet turns.\n"
            "Grey lines: turns of the loop. The orange line: how long the request takes.",
            fontsize="small",
            color=LIGHT["faint"],
        )
        return as_svg(figure, title)


PICTURES_OF = {"task-states": draw_states, "tick-timeline": draw_timeline}

if __name__ == "__main__":
    for name, draw in PICTURES_OF.items():
        (PICTURES / f"{name}.svg").write_text(draw(), encoding="utf-8")
