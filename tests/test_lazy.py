"""Packages whose names are imported from their modules when they are first used."""

import subprocess
import sys
import textwrap

import pytest

from cooperative_aio._lazy import lazy


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Make a package of two modules, of which one cannot be imported."""
    files = {
        "__init__.py": """
            from cooperative_aio._lazy import lazy
            __all__, __getattr__, __dir__ = lazy(__name__, {"_good": "b a", "_bad": "c"})
            """,
        "_good.py": "a, b = object(), object()",
        "_bad.py": "raise ImportError('not today')",
    }
    home = tmp_path / "lazily"
    home.mkdir()
    for name, text in files.items():
        (home / name).write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    import lazily  # noqa: PLC0415 (it has just been made)

    yield lazily
    for name in [name for name in sys.modules if name.partition(".")[0] == "lazily"]:
        del sys.modules[name]


def test_a_name_is_imported_when_it_is_first_used_and_stays(package):
    assert "lazily._good" not in sys.modules
    assert package.a is sys.modules["lazily._good"].a
    assert vars(package)["a"] is package.a
    assert "b" not in vars(package)


def test_all_names_are_listed_before_they_are_used(package):
    assert package.__all__ == ["a", "b", "c"]
    assert {"a", "b", "c", "__all__"} <= set(dir(package))
    assert dir(package) == sorted(dir(package))


def test_a_name_that_there_is_not_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match="module 'lazily' has no attribute 'd'"):
        package.d  # noqa: B018


def test_an_import_that_fails_says_so(package):
    with pytest.raises(ImportError, match="not today"):
        package.c  # noqa: B018


@pytest.mark.parametrize("package", ["", ".offload", ".testing", ".monitor"])
def test_the_names_that_type_checkers_see_are_those_that_there_are(package):
    """The imports under TYPE_CHECKING are all there is of the names, in both directions."""
    program = f"""
import ast, importlib, pathlib
package = importlib.import_module("cooperative_aio{package}")
tree = ast.parse(pathlib.Path(package.__file__).read_text("utf-8"))
[block] = [node for node in tree.body if isinstance(node, ast.If)]
seen = {{}}
for node in block.body:
    [alias] = node.names
    assert alias.asname == alias.name
    seen[alias.name] = node.module
given = set(package.__all__) - set(vars(package))
assert given == set(seen), given ^ set(seen)
for name, module in seen.items():
    try:
        assert getattr(package, name) is getattr(importlib.import_module(module), name)
    except ModuleNotFoundError:
        pass  # an extra
"""
    subprocess.run([sys.executable, "-c", program], timeout=300, check=True)


def test_it_gives_what_a_package_needs():
    names, get, list_names = lazy("cooperative_aio", {"_errors": "TaskDone"})
    assert names == ["TaskDone"]
    assert get("TaskDone").__name__ == "TaskDone"
    assert "TaskDone" in list_names()
