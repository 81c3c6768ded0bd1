"""The pictures of the documentation are what their generators make of the code and the data."""

import importlib
import json
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "_pictures"
KEPT = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
FILES = sorted(PICTURES.glob("*.svg"))
RESULTS = [result for result in KEPT if PICTURES / f"{result.stem}.svg" in FILES]
LARGEST = 60_000  # bytes
SVG = "{http://www.w3.org/2000/svg}"
of_each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
of_each_result = pytest.mark.parametrize("result", RESULTS, ids=lambda result: result.stem)


def module(monkeypatch, name):
    """Import one of the scripts, which need matplotlib."""
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.syspath_prepend(PICTURES)
    for loaded in ("_jobs", "_svg", "charts", "draw"):
        monkeypatch.delitem(sys.modules, loaded, raising=False)
    return importlib.import_module(name)


@pytest.fixture
def charts(monkeypatch):
    return module(monkeypatch, "charts")


@pytest.fixture
def draw(monkeypatch):
    return module(monkeypatch, "draw")


def words(svg):
    """Return what is written in a picture."""
    return [element.text for element in parse(svg).iter(f"{SVG}text")]


def parse(svg):
    return ET.fromstring(svg)  # noqa: S314 (our own)


def read(file):
    return file.read_text(encoding="utf-8")


def test_the_picture_of_states_shows_what_their_table_says_now(draw):
    drawn = {
        (
            edge.find(f"{SVG}title").text,
            "\n".join(text.text for text in edge.iter(f"{SVG}text")),
        )
        for edge in parse(read(PICTURES / "task-states.svg")).iter(f"{SVG}g")
        if edge.get("class") == "edge"
    }
    arrows = re.findall(
        r"^(\w+ -> \w+) \[label=(\".*\") ltail", draw.states_as_dot(), re.MULTILINE
    )
    table = {(arrow.replace(" ", ""), json.loads(label)) for arrow, label in arrows}
    assert drawn == table, "run python docs/_pictures/draw.py"


def test_the_picture_of_the_rhythm_shows_what_the_pacer_does_now(draw):
    assert words(draw.draw_timeline()) == words(read(PICTURES / "tick-timeline.svg")), (
        "run python docs/_pictures/draw.py"
    )


def test_each_picture_is_there_and_no_other(charts):
    what = {"tick-timeline", "task-states", *charts.CHARTS}
    assert {file.stem for file in FILES} == what


@of_each_file
def test_a_picture_stands_for_itself_in_the_light_and_in_the_dark(file):
    svg = read(file)
    root = parse(svg)
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    assert root.find(f".//{SVG}title").text
    assert "@media (prefers-color-scheme: dark)" in root.find(f"{SVG}style").text
    assert len(svg.encode()) < LARGEST
    assert "<script" not in svg
    assert not re.findall(r"(?:href|src)=\"(?!#)|url\((?!#)", svg)


@of_each_file
def test_every_colour_of_a_picture_has_one_for_the_dark(file):
    svg = read(file)
    changed = set(re.findall(r'\[fill="(#\w{6})"\]', svg))
    used = set(
        re.findall(
            r"#[0-9a-f]{6}\b", re.sub(r"<style>@media.*?</style>", "", svg, flags=re.DOTALL)
        )
    )
    assert used <= changed


@pytest.mark.parametrize("file", [*FILES, *KEPT], ids=lambda file: file.name)
def test_no_file_tells_where_it_was_made(file):
    told = re.sub(r"http://www\.w3\.org/[\w/]+|@media", "", read(file))
    assert not re.search(r"/(?:home|mnt|opt|root|tmp|usr|var|work|Users)\b|\\Users|@|://", told)


@of_each_result
def test_a_chart_says_where_and_when_its_numbers_were_measured(result):
    machine = json.loads(read(result))["machine"].partition("; ")[0]
    written = " ".join(words(read(PICTURES / f"{result.stem}.svg")))
    for part in machine.split(", "):
        assert part in written


@of_each_result
def test_a_chart_shows_the_numbers_that_are_kept(charts, result):
    svg = charts.draw(result.stem, json.loads(read(result)))
    kept = read(PICTURES / f"{result.stem}.svg")
    assert words(svg) == words(kept), "run python benchmarks/charts.py"


def test_a_chart_is_always_drawn_alike(charts):
    written = json.loads(read(RESULTS[0]))
    assert charts.draw(RESULTS[0].stem, written) == charts.draw(RESULTS[0].stem, written)


def test_what_was_not_measured_is_left_out(charts, tmp_path, monkeypatch):
    written = json.loads(read(ROOT / "benchmarks" / "results" / "latency.json"))
    written["cases"] = {
        what: case | {"samples": [case["median"]]}
        for what, case in written["cases"].items()
        if "process pool" not in what
    }
    results, pictures = tmp_path / "results", tmp_path / "pictures"
    results.mkdir()
    pictures.mkdir()
    (results / "latency.json").write_text(json.dumps(written), encoding="utf-8")
    (results / "something_else.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["charts.py", str(results), str(pictures)])
    charts.main()
    [drawn] = pictures.iterdir()
    assert drawn.name == "latency.svg"
    lines = words(read(drawn))
    assert not any(line.startswith("a process pool") for line in lines)
    assert any(line.startswith("cooperative_aio: ") for line in lines)
    assert any(line.startswith("One round. CPython") for line in lines)
