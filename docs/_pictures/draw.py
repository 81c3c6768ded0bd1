"""Draw the pictures that explain: the rhythm of slices, and the states of a task.

What is drawn comes from the code: the number of quiet turns and the length of a slice from
the pacer, the states and the arrows between them from their table. `python draw.py` writes
the files beside this one; tests/test_pictures.py says when that has to be done again.
"""
# ruff: noqa: INP001 (a script)

from __future__ import annotations

import json
import textwrap
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from cooperative_aio import TimeSlice
from cooperative_aio._pacing import QUIET_TURNS
from cooperative_aio._states import ENDS, TRANSITIONS, State

HERE: Final = Path(__file__).parent
WIDTH: Final = 400.0  # of the drawing; a telephone shows it at nearly this size
SHOWN: Final = 520  # pixels wide, where there is room
FONT: Final = "Arial, Helvetica, 'Liberation Sans', sans-serif"
SMALL: Final = 12.5
LEADING: Final = 15.0  # from line to line of small text

Palette = Mapping[str, Any]
Point = tuple[float, float]


class Drawing:
    """Put shapes and words on paper of a fixed width.

    Args:
        palette: The colours, by what they are for.
        height: How high the paper is.
        title: What the picture shows, for those who cannot see it.
        description: The same in more words.
    """

    def __init__(self, palette: Palette, height: float, title: str, description: str) -> None:
        self.palette = palette
        self._root = ET.Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "width": f"{SHOWN}",
                "height": f"{SHOWN * height / WIDTH:g}",
                "viewBox": f"0 0 {WIDTH:g} {height:g}",
                "role": "img",
                "font-family": FONT,
            },
        )
        ET.SubElement(self._root, "title").text = title
        ET.SubElement(self._root, "desc").text = description
        self.box(0, 0, WIDTH, height, fill="paper", radius=10)
        self.text(14, 28, title, size=16, bold=True)

    def colour(self, name: str) -> str:
        """Return the colour of that name; `steps 0` is the first of several."""
        name, _, number = name.partition(" ")
        colour = self.palette[name]
        return str(colour[int(number)] if number else colour)

    def _add(self, tag: str, **attributes: str | float) -> ET.Element:
        words = {
            name.replace("_", "-"): value if isinstance(value, str) else f"{value:g}"
            for name, value in attributes.items()
        }
        return ET.SubElement(self._root, tag, words)

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str | None = None,
        stroke: str | None = None,
        radius: float = 0,
        dashed: bool = False,
    ) -> None:
        """Draw a rectangle."""
        shape: dict[str, str | float] = {"x": x, "y": y, "width": width, "height": height}
        if radius:
            shape["rx"] = radius
        shape["fill"] = "none" if fill is None else self.colour(fill)
        if stroke is not None:
            shape |= {"stroke": self.colour(stroke), "stroke_width": 1.5}
        if dashed:
            shape["stroke_dasharray"] = "5 4"
        self._add("rect", **shape)

    def text(
        self,
        x: float,
        y: float,
        lines: str | Sequence[str],
        *,
        colour: str = "ink",
        size: float = SMALL,
        bold: bool = False,
        anchor: str = "start",
    ) -> None:
        """Write lines; `y` is what the first stands on."""
        style: dict[str, str | float] = {"fill": self.colour(colour), "font_size": size}
        if bold:
            style["font_weight"] = "bold"
        if anchor != "start":
            style["text_anchor"] = anchor
        for number, line in enumerate([lines] if isinstance(lines, str) else lines):
            self._add("text", x=x, y=y + number * LEADING, **style).text = line

    def line(self, points: Iterable[Point], colour: str = "ink", width: float = 1.5) -> None:
        """Draw straight lines from point to point."""
        path = " L".join(f"{x:g} {y:g}" for x, y in points)
        self._add(
            "path", d=f"M{path}", fill="none", stroke=self.colour(colour), stroke_width=width
        )

    def arrow(self, *points: Point, colour: str = "ink") -> None:
        """Draw straight lines with a head at the end, which they come to along one axis."""
        (x, y), (from_x, from_y) = points[-1], points[-2]
        along = ((x > from_x) - (x < from_x), (y > from_y) - (y < from_y))
        foot = (x - 8 * along[0], y - 8 * along[1])
        self.line([*points[:-1], foot], colour)
        wings = [
            (foot[0] + side * 4 * along[1], foot[1] + side * 4 * along[0]) for side in (1, -1)
        ]
        corners = " ".join(f"{x:g},{y:g}" for x, y in [(x, y), *wings])
        self._add("polygon", points=corners, fill=self.colour(colour))

    def as_svg(self) -> str:
        """Return the text of the file."""
        ET.indent(self._root)
        return ET.tostring(self._root, encoding="unicode") + "\n"


# The rhythm: what the loop does, turn by turn

TASKS = ("A", "B", "C")
STEPS = 6  # in a slice, as it is drawn
HOPS = 5  # turns of the loop that the request takes
LEFT = 14.0
UNIT = 9.0  # the width of a step, and of a turn in which none is taken
HIGH = 26.0  # the height of a step


class Lane:
    """Draw what the loop does from left to right."""

    def __init__(self, drawing: Drawing, y: float) -> None:
        self._drawing = drawing
        self._y = y
        self.x = LEFT
        self._turn_began = LEFT

    def slice(self, steps: int = STEPS) -> None:
        """Take steps of the tasks."""
        for step in range(steps):
            kind = f"steps {step % len(TASKS)}"
            self._drawing.box(self.x, self._y, UNIT - 1, HIGH, fill=kind)
            self.x += UNIT

    def hop(self) -> None:
        """Let the request go on for a turn."""
        self._drawing.box(self.x, self._y, UNIT - 1, HIGH, fill="request")
        self.x += UNIT

    def quiet(self) -> None:
        """Have nothing to do for a turn."""
        self._drawing.box(
            self.x + 0.75, self._y + 0.75, UNIT - 2.5, HIGH - 1.5, stroke="other", radius=1
        )
        self.x += UNIT

    def end_turn(self) -> None:
        """Mark the turn below."""
        y = self._y + HIGH + 6
        self._drawing.line([(self._turn_began, y), (self.x - 2.5, y)], "faint", 2)
        self._turn_began = self.x

    def request(self, came: float, answered: float, waits: Sequence[str]) -> None:
        """Show from when to when the request is under way, and say what it waits for."""
        drawing, y = self._drawing, self._y
        drawing.arrow((came, y - 22), (came, y - 2), colour="request")
        drawing.text(came - 5, y - 27, "a request", colour="request", bold=True)
        drawing.arrow((answered, y - 2), (answered, y - 22), colour="request")
        drawing.text(answered - 5, y - 27, "its answer", colour="request", bold=True)
        below = y + HIGH + 16
        drawing.line(
            [(came, below), (came, below + 6), (answered, below + 6), (answered, below)],
            "request",
            2,
        )
        drawing.text(came - 5, below + 22, waits, colour="request", bold=True)


def draw_timeline(palette: Palette) -> str:
    """Draw how a request fares beside slices, with standing back and without."""
    default = TimeSlice()
    drawing = Drawing(
        palette,
        466,
        "A request between slices",
        f"Two timelines of the loop. Standing back: a slice of steps of the tasks"
        f" {', '.join(TASKS)}, then {HOPS} short turns of a request that came during the"
        f" slice, then {QUIET_TURNS} quiet turns, then the next slice. A slice on every turn:"
        f" before each of its {HOPS} turns the request waits for a slice.",
    )
    came = LEFT + 2.5 * UNIT

    drawing.text(LEFT, 60, "Standing back", size=14.5, bold=True)
    drawing.text(
        LEFT,
        79,
        [
            f"No further slice before {QUIET_TURNS} or more turns in a row were quiet,",
            f"or {1000 * default.max_wait:g} ms (max_wait) are over.",
        ],
        colour="faint",
    )
    lane = Lane(drawing, 146)
    lane.slice()
    lane.end_turn()
    for _ in range(HOPS):
        lane.hop()
        lane.end_turn()
    answered = lane.x - 1
    quiet_since = lane.x
    while lane.x < WIDTH - LEFT - UNIT:
        for _ in range(QUIET_TURNS):
            if lane.x < WIDTH - LEFT - UNIT:
                lane.quiet()
                lane.end_turn()
        if lane.x < WIDTH - LEFT - STEPS * UNIT:
            lane.slice()
            lane.end_turn()
    drawing.text(
        quiet_since + QUIET_TURNS * UNIT / 2 + 16,
        139,
        "quiet",
        colour="faint",
        anchor="middle",
    )
    drawing.text(
        quiet_since + (QUIET_TURNS + STEPS / 2) * UNIT,
        139,
        "next slice",
        colour="faint",
        anchor="middle",
    )
    lane.request(came, answered, "waits for the rest of one slice")

    drawing.text(LEFT, 246, "A slice on every turn", size=14.5, bold=True)
    drawing.text(
        LEFT,
        265,
        "Twisted's rhythm; here it is TimeSlice(max_wait=0).",
        colour="faint",
    )
    lane = Lane(drawing, 317)
    lane.slice()
    lane.end_turn()
    for _ in range(HOPS):
        lane.hop()
        answered = lane.x - 1
        lane.slice(min(STEPS, int((WIDTH - LEFT - lane.x) / UNIT)))
        lane.end_turn()
    lane.request(came, answered, f"waits for a slice before each of its {HOPS} turns")

    y = 410.0
    for number in range(len(TASKS)):
        drawing.box(LEFT + 13 * number, y - 10, 11, 11, fill=f"steps {number}")
    drawing.text(LEFT + 42, y, f"steps of {', '.join(TASKS)}", colour="faint")
    drawing.box(162, y - 10, 11, 11, fill="request")
    drawing.text(178, y, "the request runs", colour="faint")
    drawing.box(292, y - 9.25, 9.5, 9.5, stroke="other", radius=1)
    drawing.text(307, y, "a quiet turn", colour="faint")
    drawing.line([(LEFT, y + 16), (LEFT + 24, y + 16)], "faint", 2)
    drawing.text(LEFT + 30, y + 20, "one turn of the loop", colour="faint")
    drawing.text(
        LEFT,
        y + 42,
        f"Not to scale: a slice is {1000 * default.seconds:g} ms, a quiet turn microseconds.",
        colour="faint",
    )
    return drawing.as_svg()


# The states of a task


class Box(NamedTuple):
    """Say where a state stands."""

    x: float
    y: float
    width: float
    height: float = 34


class Route(NamedTuple):
    """Say how the arrow for one state to another goes, and where its words stand."""

    points: tuple[Point, ...]
    words: Point
    anchor: str = "start"
    columns: int = 40  # characters in a line, at most


UNFINISHED = Box(6, 42, 388, 372)
UNCANCELLED = Box(14, 64, 372, 240)  # what `cancel()` leads out of
PLACES: Mapping[State, Box] = {
    State.READY: Box(24, 100, 352),
    State.PAUSED: Box(24, 216, 100),
    State.WAITING: Box(234, 216, 122),
    State.ENDING: Box(140, 354, 120),
    State.FINISHED: Box(6, 532, 92),
    State.FAILED: Box(105, 532, 92),
    State.CANCELLED: Box(204, 532, 92),
    State.STOPPED: Box(303, 532, 92),
}
ROUTES: Mapping[tuple[State, State], Route] = {
    (State.READY, State.READY): Route(
        ((232, 100), (232, 82), (272, 82), (272, 100)), (279, 88)
    ),
    (State.READY, State.PAUSED): Route(((38, 134), (38, 216)), (45, 158)),
    (State.PAUSED, State.READY): Route(((104, 216), (104, 134)), (111, 180), columns=8),
    (State.PAUSED, State.PAUSED): Route(
        ((54, 250), (54, 268), (94, 268), (94, 250)), (74, 284), "middle"
    ),
    (State.READY, State.WAITING): Route(
        ((246, 134), (246, 216)), (239, 158), "end", columns=10
    ),
    (State.WAITING, State.READY): Route(
        ((340, 216), (340, 134)), (333, 180), "end", columns=13
    ),
    (State.PAUSED, State.WAITING): Route(
        ((124, 225), (234, 225)), (196, 204), "middle", columns=13
    ),
    (State.WAITING, State.PAUSED): Route(
        ((234, 241), (124, 241)), (179, 259), "middle", columns=13
    ),
    (State.WAITING, State.WAITING): Route(
        ((275, 250), (275, 268), (315, 268), (315, 250)), (295, 284), "middle"
    ),
    (State.ENDING, State.READY): Route(((260, 380), (367, 380), (367, 134)), (270, 395)),
    (State.ENDING, State.WAITING): Route(
        ((260, 364), (335, 364), (335, 250)), (328, 326), "end", columns=10
    ),
    (State.ENDING, State.ENDING): Route(
        ((140, 363), (118, 363), (118, 379), (140, 379)), (110, 341), "end", columns=16
    ),
}


def draw_states(palette: Palette) -> str:
    """Draw what the table of the states says."""
    described = "; ".join(
        f"{before.value}, {event}: {after.value}"
        for before, events in TRANSITIONS.items()
        for event, after in events.items()
    )
    drawing = Drawing(palette, 596, "The states of a task", described)
    drawing.box(*UNFINISHED, stroke="faint", radius=10, dashed=True)
    drawing.box(*UNCANCELLED, stroke="faint", radius=8, dashed=True)
    for (before, after), events in _inner_arrows().items():
        route = ROUTES[before, after]
        drawing.arrow(*route.points)
        lines = textwrap.wrap(", ".join(events), route.columns)
        drawing.text(*route.words, lines, anchor=route.anchor)
    _draw_cancel(drawing)
    for end in State:
        if end in ENDS:
            _draw_end(drawing, end)
    drawing.arrow((60, 86), (60, 100))
    drawing.text(67, 91, "cooperate()")
    for state, place in PLACES.items():
        colour = "ended" if state in ENDS else state.value
        drawing.box(*place, fill="paper", stroke=colour, radius=8)
        drawing.text(
            place.x + place.width / 2,
            place.y + 22,
            state.value,
            colour=colour,
            size=14.5,
            bold=True,
            anchor="middle",
        )
    drawing.text(14, 586, "An arrow from a frame: from every state in it.", colour="faint")
    return drawing.as_svg()


def _inner_arrows() -> dict[tuple[State, State], list[str]]:
    """Return the events that lead from one state to another, frames left out."""
    arrows: dict[tuple[State, State], list[str]] = {}
    for before, events in TRANSITIONS.items():
        for event, after in events.items():
            if after not in ENDS and (after is before or after is not State.ENDING):
                arrows.setdefault((before, after), []).append(event)
    return arrows


def _draw_cancel(drawing: Drawing) -> None:
    """Draw the one arrow that leads to `ending` from all that stand in the inner frame."""
    framed = set(TRANSITIONS) - {State.ENDING}
    [event] = _sources(State.ENDING, framed)
    assert _sources(State.ENDING, framed)[event] == framed  # noqa: S101 (what a frame means)
    bottom = UNCANCELLED.y + UNCANCELLED.height
    drawing.arrow((200, bottom), (200, PLACES[State.ENDING].y))
    drawing.text(207, bottom + 30, event)


def _draw_end(drawing: Drawing, end: State) -> None:
    """Draw an arrow from the outer frame to an end, and say what from what states it takes."""
    place = PLACES[end]
    middle = place.x + place.width / 2
    bottom = UNFINISHED.y + UNFINISHED.height
    [(event, states)] = _sources(end, set(TRANSITIONS)).items()
    words = textwrap.wrap(event, 14)
    condition: list[str] = []
    if states != set(TRANSITIONS):
        names = " or ".join(state.value for state in TRANSITIONS if state in states)
        condition = textwrap.wrap(f"if {names}", 10)
    first = bottom + 25
    after_words = first + LEADING * len(words)
    drawing.line([(middle, bottom), (middle, first - 13)])
    drawing.text(middle, first, words, anchor="middle")
    drawing.text(middle, after_words, condition, colour="faint", anchor="middle")
    last = after_words + LEADING * len(condition)
    drawing.arrow((middle, last - 8), (middle, place.y))


def _sources(after: State, states: set[State]) -> dict[str, set[State]]:
    """Return the events that lead to a state, with those of `states` that they lead from."""
    found: dict[str, set[State]] = {}
    for before in states:
        for event, target in TRANSITIONS[before].items():
            if target is after:
                found.setdefault(event, set()).add(before)
    return found


PICTURES: Mapping[str, Callable[[Palette], str]] = {
    "tick-timeline": draw_timeline,
    "task-states": draw_states,
}


def draw_all() -> dict[str, str]:
    """Return the text of every file, by its name."""
    palettes = json.loads((HERE / "palette.json").read_text(encoding="utf-8"))
    return {
        f"{name}-{scheme}.svg": draw(palette)
        for name, draw in PICTURES.items()
        for scheme, palette in palettes.items()
    }


if __name__ == "__main__":
    for file, text in draw_all().items():
        (HERE / file).write_text(text, encoding="utf-8")
