"""What pages quote of the benchmarks is what the kept results say."""

import importlib
import json
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOT_EVERYWHERE = ("to_slices()", "spdl", "Dask", "asyncpg", "redis")
NEWER = ("a small call",)  # than the result that is kept


@pytest.fixture
def pages(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    for loaded in ("_jobs", "_tables", "pages"):
        monkeypatch.delitem(sys.modules, loaded, raising=False)
    return importlib.import_module("pages")


@pytest.fixture
def project(pages, tmp_path, monkeypatch):
    """Make a project with a README and no results, for `pages` to work on."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "README.md").write_text("", encoding="utf-8")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(pages, "RESULTS", tmp_path / "results")
    return tmp_path


def result(*, figures=(), outputs=None, **cases):
    """Return what a benchmark writes."""
    return {
        "machine": "CPython 3.11.7, Linux, 2 CPUs (load 0.1), 2026-01-02 03:04 UTC; asyncio",
        "versions": {"cooperative_aio": "1.2.3", "aiohttp": "4.5"},
        "slice": 0.002,
        "cases": {
            name: {"unit": "ms", "median": sorted(samples)[len(samples) // 2]}
            | {"samples": samples}
            for name, samples in cases.items()
        },
        "figures": list(figures),
        "outputs": outputs or {},
    }


def write(folder, **results):
    for name, written in results.items():
        (folder / f"{name}.json").write_text(json.dumps(written), encoding="utf-8")


def filled(pages, project, text, **results):
    """Return a page that was filled from such results."""
    write(project / "results", **results)
    (project / "README.md").write_text(text, encoding="utf-8")
    assert pages.main([]) == 0
    return (project / "README.md").read_text(encoding="utf-8")


def test_the_pages_quote_what_the_kept_results_say(pages, capsys):
    assert pages.main(["--check"]) == 0, "run python benchmarks/pages.py"
    assert capsys.readouterr().out == ""


def test_every_name_that_the_pages_quote_is_in_the_result_of_its_benchmark(pages):
    results = pages.Results(pages.RESULTS)
    for page in pages.pages():
        pages.fill(page.read_text("utf-8"), results)
    missing = [what for what in results.missing if what.partition(":")[0] in results.all]
    allowed = (*NOT_EVERYWHERE, *NEWER)
    assert [what for what in missing if not any(each in what for each in allowed)] == []


def test_every_table_is_in_a_page_or_is_of_another_python(pages):
    text = "".join(page.read_text("utf-8") for page in pages.pages())
    used = {found[2] for found in pages.BLOCK.finditer(text) if found[1] == "table"}
    rest = pages.TABLES.keys() - used
    assert {name for name in rest if "-3." not in name} == set()
    assert used <= {*pages.TABLES, "machine"}


def test_a_figure_in_a_sentence_is_the_median_in_three_digits(pages, project):
    text = "It took <!-- a: one -->?<!-- end --> ms."
    assert filled(pages, project, text, a=result(one=[1.0, 2.34567, 3.0])) == (
        "It took <!-- a: one -->2.35<!-- end --> ms."
    )


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("median", "1,235"),
        ("all", "1,235 (0.0123 to 99,999)"),
        ("about", "1,230"),
        ("range", "0.0123 to 99,999"),
        ("lowest", "0.0123"),
        ("highest", "99,999"),
        ("each", "0.0123, 1,235, 99,999"),
        ("wanted", ""),
    ],
)
def test_a_figure_has_forms(pages, project, form, shown):
    text = f"x <!-- a: one; {form} -->?<!-- end -->"
    written = filled(pages, project, text, a=result(one=[0.01234, 1234.56, 99999.0]))
    assert written == f"x <!-- a: one; {form} -->{shown}<!-- end -->"


@pytest.mark.parametrize(
    ("value", "number", "about"),
    [(99.94, "99.9", "100"), (99.96, "100", "100"), (0.849, "0.849", "0.85")],
)
def test_numbers_have_three_digits_or_about_two(pages, value, number, about):
    assert (pages.number(value), pages.about(value)) == (number, about)


def test_what_varies_only_in_digits_that_are_not_shown_has_no_range(pages, project):
    text = "x <!-- a: one; all -->?<!-- end -->"
    written = filled(pages, project, text, a=result(one=[0.99931, 0.99932]))
    assert written == "x <!-- a: one; all -->0.999<!-- end -->"


def test_two_cases_are_divided_round_by_round(pages, project):
    text = "x <!-- a:\n  one / other; all -->?<!-- end -->"
    results = {"a": result(one=[2.0, 9.0, 8.0], other=[1.0, 3.0, 2.0])}
    assert filled(pages, project, text, **results) == (
        "x <!-- a:\n  one / other; all -->3 (2 to 4)<!-- end -->"
    )


@pytest.mark.parametrize(
    ("met", "shown"), [(True, "1.5 (1 to 2)"), (False, "1.5 (1 to 2), **missed**")]
)
def test_a_target_that_was_missed_is_marked(pages, project, met, shown):
    figure = {"what": "r", "value": 1.5, "lowest": 1.0, "highest": 2.0}
    figure |= {"at_most": None, "at_least": 1.4, "met": met}
    text = "x <!-- a: r; all -->?<!-- end -->, <!-- a: r; wanted -->?<!-- end -->"
    assert filled(pages, project, text, a=result(figures=[figure])) == (
        f"x <!-- a: r; all -->{shown}<!-- end -->,"
        " <!-- a: r; wanted -->at least 1.4<!-- end -->"
    )


def test_the_machine_is_told_with_the_length_of_slices(pages, project):
    text = "x <!-- a: machine -->?<!-- end -->\n\n<!-- table: machine -->\n\n<!-- end -->\n"
    machine = "CPython 3.11.7, Linux, 2 CPUs (load 0.1), 2026-01-02 03:04 UTC, slices of 2 ms"
    assert filled(pages, project, text, a=result()) == (
        f"x <!-- a: machine -->{machine}<!-- end -->\n\n<!-- table: machine -->\n\n"
        "| benchmark | measured | version |\n| --- | --- | --- |\n"
        f"| `a.py` | {machine} | 1.2.3 |\n\nWith aiohttp 4.5.\n\n<!-- end -->\n"
    )


def test_a_table_has_the_rows_that_were_measured(pages, project, monkeypatch, capsys):
    monkeypatch.setitem(pages.TABLES, "t", ["| a | b |", "| one | [a: one] |", "| [a: no] | |"])
    text = "<!-- table: t -->\n\nold\n\n<!-- end -->\n"
    assert filled(pages, project, text, a=result(one=[1.0])) == (
        "<!-- table: t -->\n\n| a | b |\n| --- | --- |\n| one | 1 |\n\n<!-- end -->\n"
    )
    assert capsys.readouterr().err == "not measured: a: no\n"


def test_what_a_program_printed_is_a_block_of_code(pages, project):
    text = "<!-- output: p -->\n\n<!-- end -->\n"
    assert filled(pages, project, text, examples=result(outputs={"p": ["one", "two"]})) == (
        "<!-- output: p -->\n\n```text\none\ntwo\n```\n\n<!-- end -->\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "x <!-- a: one -->0<!-- end -->\n",
        "<!-- table: steps -->\n\nold\n\n<!-- end -->\n",
        "<!-- output: p -->\n\nold\n\n<!-- end -->\n",
    ],
)
def test_what_was_not_measured_is_left_as_it_is_and_told(pages, project, capsys, text):
    assert filled(pages, project, text) == text
    assert capsys.readouterr().err.startswith("not measured: ")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("x <!-- a: one -->0", "a comment without its end, or an end without its comment"),
        ("x <!-- end -->", "a comment without its end, or an end without its comment"),
        ("<!-- table: no -->\n\n<!-- end -->", "no: no table of that name"),
        (
            "x\n  <!-- a: one -->0<!-- end -->",
            "a: one: a comment that begins a line ends the paragraph",
        ),
    ],
)
def test_comments_that_are_of_no_use_are_told(pages, project, capsys, text, fault):
    (project / "README.md").write_text(text, encoding="utf-8")
    assert pages.main(["--check"]) == 1
    assert capsys.readouterr().out == f"README.md: {fault}\n"


def test_a_check_changes_nothing_and_fails_where_a_page_differs(pages, project, capsys):
    write(project / "results", a=result(one=[1.0]))
    text = "x <!-- a: one -->0<!-- end -->"
    (project / "README.md").write_text(text, encoding="utf-8")
    assert pages.main(["--check"]) == 1
    assert capsys.readouterr().out == "README.md: differs\n"
    assert (project / "README.md").read_text(encoding="utf-8") == text


def test_results_are_kept_pages_filled_and_charts_drawn_at_once(pages, project, monkeypatch):
    charts = pytest.importorskip("matplotlib") and importlib.import_module("charts")
    pictures = project / "pictures"
    pictures.mkdir()
    monkeypatch.setattr(charts, "PICTURES", pictures)
    new = project / "new"
    new.mkdir()
    shutil.copy(ROOT / "benchmarks" / "results" / "steps.json", new)
    page = project / "docs" / "page.md"
    page.write_text("x <!-- steps: coiterate -->0<!-- end -->", encoding="utf-8")
    assert pages.main(["--keep", str(new)]) == 0
    assert (project / "results" / "steps.json").exists()
    assert "-->0<!--" not in page.read_text(encoding="utf-8")
    assert [path.name for path in pictures.iterdir()] == ["steps.svg"]
