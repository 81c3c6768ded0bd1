"""The pictures of the documentation are what their generators make of the code and the data."""

import importlib
import importlib.util
import json
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "_pictures"
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
FILES = sorted(PICTURES.glob("*.svg"))
LARGEST = 60_000  # bytes
of_each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
of_each_result = pytest.mark.parametrize("result", RESULTS, ids=lambda result: result.stem)


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def charts(monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    for name in ("_jobs", "_sheet", "charts"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("charts")


def words(svg):
    """Return what is written in a picture."""
    elements = parse(svg).iter()
    return [element.text for element in elements if (element.text or "").strip()]


def parse(svg):
    return ET.fromstring(svg)  # noqa: S314 (our own)


def read(file):
    return file.read_text(encoding="utf-8")


def test_the_diagrams_are_what_the_code_says_now():
    drawn = load(PICTURES / "draw.py").draw_all()
    assert drawn == {name: read(PICTURES / name) for name in drawn}, (
        "run python docs/_pictures/draw.py"
    )


def test_each_picture_is_there_in_light_and_in_dark():
    names = {file.stem.rpartition("-")[::2] for file in FILES}
    what = {"tick-timeline", "task-states", *(result.stem for result in RESULTS)}
    assert names == {(name, scheme) for name in what for scheme in ("light", "dark")}


@of_each_file
def test_a_picture_stands_for_itself(file):
    svg = read(file)
    root = parse(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert [child.tag.rpartition("}")[2] for child in root[:3]] == ["title", "desc", "rect"]
    assert root.get("role") == "img"
    assert len(svg.encode()) < LARGEST
    assert "<script" not in svg
    assert not re.findall(r"(?:href|src)=\"(?!#)|url\((?!#)", svg)
    assert "Arial" in svg
    assert "DejaVu" not in svg


@pytest.mark.parametrize("file", [*FILES, *RESULTS], ids=lambda file: file.name)
def test_no_file_tells_where_it_was_made(file):
    told = re.sub(r"http://www\.w3\.org/[\w/]+", "", read(file))
    assert not re.search(r"/(?:home|mnt|opt|root|tmp|usr|var|work|Users)\b|\\Users|@|://", told)


@of_each_result
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_chart_says_where_and_when_its_numbers_were_measured(result, scheme):
    machine = json.loads(read(result))["machine"].partition("; ")[0]
    lines = words(read(PICTURES / f"{result.stem}-{scheme}.svg"))
    written = " ".join(lines).replace("\N{NO-BREAK SPACE}", " ")
    for part in machine.split(", "):
        assert part in written


@of_each_result
def test_a_chart_shows_the_numbers_that_are_kept(charts, result):
    for name, svg in charts.draw(result.stem, json.loads(read(result))).items():
        assert words(svg) == words(read(PICTURES / name)), "run python benchmarks/charts.py"


def test_a_chart_is_always_drawn_alike(charts):
    written = json.loads(read(RESULTS[0]))
    assert charts.draw(RESULTS[0].stem, written) == charts.draw(RESULTS[0].stem, written)


def test_what_was_not_measured_is_left_out(charts, tmp_path, monkeypatch):
    written = json.loads(read(ROOT / "benchmarks" / "results" / "latency.json"))
    written["cases"] = {
        what: case | {"samples": case["samples"][:1]}
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
    drawn = sorted(pictures.iterdir())
    assert [file.name for file in drawn] == ["latency-dark.svg", "latency-light.svg"]
    for file in drawn:
        assert "a process pool" not in words(read(file))
        assert "cooperative_aio" in words(read(file))
        assert any(line.startswith("One round. CPython") for line in words(read(file)))
