"""Imports go one way, and the names are those that were promised."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import cooperative_aio

PACKAGE = Path(cooperative_aio.__file__).parent

PROMISED = {
    "AccumulationTooLarge",
    "Clock",
    "CooperativeTask",
    "Cooperator",
    "LoopingCall",
    "NotPaused",
    "SchedulerError",
    "SchedulerFull",
    "SchedulerStopped",
    "TaskDone",
    "TaskFailed",
    "TaskFinished",
    "TaskStopped",
    "TimeSlice",
    "ValueBucket",
    "accumulate",
    "accumulation_handler",
    "batch_accumulate",
    "batches",
    "checkpoint",
    "coiterate",
    "cooperate",
    "current_task",
    "defer_later",
    "get_cooperator",
    "json_array",
    "quiet_collector",
    "pieces",
    "react",
}
OF_OTHER_MODULES = {
    "_clock": {"Clock"},
    "_looping": {"LoopingCall"},
    "_calls": {"defer_later", "react"},
}
ANNOTATIONS = {
    "Batches",
    "QuietCollector",
    "Statistics",
    "TaskOptions",
}  # what functions return, to annotate with


def documented():
    """Return the modules in the order of the table in the package's docstring."""
    lines = cooperative_aio.__doc__.splitlines()
    return [line.split("`")[1] for line in lines if line.startswith("`")]


def sources(module):
    """Return the files of a flat module, or of a package."""
    flat = PACKAGE / f"{module}.py"
    return [flat] if flat.exists() else sorted((PACKAGE / module).rglob("*.py"))


def imported(module):
    """Return the modules of the package that a module imports, wherever it does."""
    names = set()
    for source in sources(module):
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{source} has a relative import"
                names.add(node.module)
            elif isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
    parts = [name.split(".") for name in names if name.split(".")[0] == "cooperative_aio"]
    return {part[1] for part in parts if len(part) > 1} - {module}


def test_the_table_names_what_there_is():
    present = {path.stem for path in PACKAGE.glob("*.py")} | {
        path.parent.name for path in PACKAGE.glob("*/__init__.py")
    }
    assert set(documented()) == present - {"__init__"}


def test_imports_go_one_way_in_the_order_of_the_table():
    order = documented()
    assert len(set(order)) == len(order)
    for position, module in enumerate(order):
        assert imported(module) <= set(order[:position]), module


def test_the_table_names_every_module_that_is_exported_from():
    assert imported("__init__") <= set(documented())


def test_the_names_are_those_that_were_promised():
    expected = set(PROMISED)
    for module, names in OF_OTHER_MODULES.items():
        if module not in documented():  # pragma: no cover (until it is exported)
            expected -= names
    assert set(cooperative_aio.__all__) - ANNOTATIONS == expected


def test_all_is_sorted_and_holds_what_exists():
    names = cooperative_aio.__all__
    assert names == sorted(names)
    assert all(hasattr(cooperative_aio, name) for name in names)


def test_each_module_says_what_it_offers():
    for module in documented():
        loaded = importlib.import_module(f"cooperative_aio.{module}")
        assert all(hasattr(loaded, name) for name in getattr(loaded, "__all__", ())), module


def test_a_name_that_there_is_not_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        cooperative_aio.no_such_name  # noqa: B018


def test_the_names_are_listed_before_they_are_used():
    program = "import cooperative_aio as c; print(set(c.__all__) <= set(dir(c)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout == "True\n"


def test_importing_the_package_imports_no_extra():
    program = """
import sys, cooperative_aio
optional = {"distributed", "dask", "pytest", "twisted", "uvloop", "blinker"}
optional |= {"aiohttp", "starlette"}
print(sorted(optional & set(sys.modules)))
public = [name for name in sys.modules if "cooperative_aio." in name and "._" not in name]
print(public)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout.splitlines() == ["[]", "[]"]
