"""In each package modules import one way, in the order of the table in its docstring."""

import ast
import importlib
import re
from pathlib import Path

import pytest


def modules_of(package):
    """Return the files of a package, by module."""
    home = Path(package.__file__).parent
    return {path.stem: path for path in home.glob("_*.py")} | {
        path.stem: path for path in home.glob("[a-z]*.py")
    }


def imported(path, package):
    """Return the modules of a package that a file imports, for type checkers as well."""
    prefix = f"{package.__name__}."
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module.startswith(prefix):
            yield node.module.removeprefix(prefix).partition(".")[0]


@pytest.mark.parametrize("name", ["functions", "monitor", "offload", "tasklet"])
def test_modules_import_one_way_in_the_order_of_the_table(name):
    try:
        package = importlib.import_module(f"cooperative_aio.{name}")
    except ImportError as error:
        pytest.skip(str(error))
    lines = [line for line in package.__doc__.splitlines() if re.match(r"(- )?`\w+`", line)]
    order = [each for line in lines for each in re.findall(r"`(_\w+)`", line.split(":")[0])]
    modules = modules_of(package)
    assert set(order) == set(modules) - {"__init__"}
    for position, module in enumerate(order):
        assert set(imported(modules[module], package)) <= set(order[:position]), module
