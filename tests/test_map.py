"""The pages for contributors: what they name exists."""

import ast
import re
from pathlib import Path

import cooperative_aio

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cooperative_aio"
PAGES = [
    *sorted((ROOT / "docs" / "project").glob("*.md")),
    ROOT / "docs" / "CONTRIBUTING.md",
    ROOT / "docs" / "SECURITY.md",
]
TEXT = "\n".join(page.read_text("utf-8") for page in PAGES)
MAP = (ROOT / "docs" / "project" / "map.md").read_text("utf-8")


def members():
    """Return the names that are defined, or assigned to, in each class and in each module."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        for node in [
            tree,
            *(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)),
        ]:
            name = node.name if isinstance(node, ast.ClassDef) else path.stem
            names = found.setdefault(name, set())
            for inner in ast.walk(node):
                match inner:
                    case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                        names.add(inner.name)
                    case ast.Attribute(value=ast.Name(id="self")):
                        names.add(inner.attr)
                    case ast.Name(ctx=ast.Store()):
                        names.add(inner.id)
    return found


def test_the_classes_and_modules_that_the_map_names_exist():
    known = members()
    known.update((path.name, set()) for path in PACKAGE.iterdir() if path.is_dir())
    known.update((path.stem, set()) for path in (ROOT / "docs").glob("_*.py"))
    every = set().union(known, *known.values())
    named = set(re.findall(r"`(_[a-z]\w+|[A-Z]\w+|\w+\.\w+)(?:\(\))?`", MAP))
    ours = {
        name
        for name in named
        if not re.match(r"asyncio\.|loop\.|tests?\.|\w+\.(py|md|toml)$", name)
    }
    assert len(ours) > 20
    for name in ours - {"KeyboardInterrupt", "SystemExit"}:
        owner, _, member = name.rpartition(".")
        assert member in (known[owner] if owner else every), name


def test_the_tests_and_files_that_the_pages_name_exist():
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+|a_tick_is_\w+|stale_entries_\w+)`", TEXT))
    assert len(named) > 100
    assert named <= set(re.findall(r"def (\w+)", code))
    files = re.findall(
        r"`((?:tests|benchmarks|examples|docs(?!/_build)|cooperative_aio)/[\w/.]+)`", TEXT
    )
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_the_list_of_modules_that_the_map_shows_is_that_of_the_package():
    assert ".. automodule:: cooperative_aio\n" in MAP
    assert re.search(r"^`_checks` +\S", cooperative_aio.__doc__, re.MULTILINE)
