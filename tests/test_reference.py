"""The reference: it lists every public name, and each says units, errors and cancellation.

What it lists is read from the pages as they are written, so that no Sphinx is needed here. ruff
checks arguments, and the errors that a function raises itself (`nox -s lint`). No library knows
about units, cancellation, errors of the checks that a function calls, or missing names.
"""

import ast
import contextlib
import inspect
import re
import textwrap
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"
PAGES = sorted((DOCS / "reference").glob("*.md"))
MODULES = [
    "cooperative_aio",
    "cooperative_aio.aiohttp",
    "cooperative_aio.functions",
    "cooperative_aio.monitor",
    "cooperative_aio.offload",
    "cooperative_aio.opentelemetry",
    "cooperative_aio.prometheus",
    "cooperative_aio.starlette",
    "cooperative_aio.tasklet",
    "cooperative_aio.testing",
]
PLUGIN = "cooperative_aio.testing.plugin"
DIRECTIVE = re.compile(r"^\.\. auto(\w+):: ([\w.]+)(.*)\n((?:   :.*\n)*)", re.MULTILINE)
OPTION = re.compile(r"^   :([\w-]+): ?(.*)$", re.MULTILINE)
ENTRY = re.compile(r"^    \*{0,2}(\w[\w., ]*): +(.*(?:\n        .*)*)", re.MULTILINE)

NO_TIMES = {"weight", "share"}  # the floats that are no seconds
SECONDS = re.compile(r"\b(milli)?seconds?\b", re.IGNORECASE)
AWAITED = re.compile(r"\b(Awaitable|Batches|CooperativeTask|Future|Results|Tasklet)\b")


SILENT = {  # what takes arguments and raises nothing, and why
    "cooperative_aio.ValueBucket.__call__": "takes anything",
    "cooperative_aio.accumulation_handler": "has no use for the one, and calls the other",
    "cooperative_aio._calls.TimeSource.call_later": "is for others to write",
    "cooperative_aio.offload.Place.open": "is for others to write",
    "cooperative_aio.tasklet.Tasklet.cancel": "takes any message",
    "cooperative_aio.tasklet.Tasklet.forget": "may be told of a condition that did not happen",
    "cooperative_aio.tasklet.WaitForCall": "takes anything",
    "cooperative_aio.testing.VirtualLoop.shutdown_default_executor": "ignores its argument",
}
NOT_CANCELLED = {  # what names something awaitable, but gives nothing new to be awaited
    "cooperative_aio.Cooperator.tasks",
    "cooperative_aio.current_task",
}
RAISED_BY = {  # what the checks of the package raise for those who call them
    "check_caller": {"RuntimeError"},
    "check_count": {"TypeError", "ValueError"},
    "check_finite": {"TypeError", "ValueError"},
    "check_iterator": {"TypeError"},
    "check_loop": {"RuntimeError"},
    "finite_instant": {"TypeError", "ValueError"},
    "loop_for": {"RuntimeError"},
}


class Listed(NamedTuple):
    """What a page has a directive for; by `()` it says that users do not call it."""

    kind: str
    name: str
    is_called: bool
    options: dict[str, str]

    @property
    def is_fixture(self):
        return self.name.startswith(f"{PLUGIN}.")


class Shown(NamedTuple):
    """A class, a function or a property that a page shows."""

    name: str
    thing: object
    text: str
    is_called: bool


@cache
def listed():
    return [
        Listed(kind, name, arguments != "()", dict(OPTION.findall(options)))
        for page in PAGES
        for kind, name, arguments, options in DIRECTIVE.findall(page.read_text("utf-8"))
        if kind != "module"
    ]


def found(name):
    """Return what a dotted name stands for."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        with contextlib.suppress(ModuleNotFoundError):
            thing = import_module(".".join(parts[:length]))
            for part in parts[length:]:
                thing = getattr(thing, part)
            return thing
    raise LookupError(name)


def members(thing, options):
    """Return the members of a class that its directive shows."""
    chosen = re.findall(r"\w+", options.get("members", ""))
    special = re.findall(r"\w+", options.get("special-members", ""))
    excluded = re.findall(r"\w+", options.get("exclude-members", ""))
    until = options.get("inherited-members")
    bases = [thing]
    if until is not None:
        bases = []
        for base in thing.__mro__:
            if base.__name__ == until:
                break
            bases.append(base)
    for base in reversed(bases):
        for name, member in vars(base).items():
            is_public = not name.startswith("_") and name in (chosen or [name])
            if name in special or (is_public and name not in excluded):
                yield name, member


@cache
def shown():
    everything = {}
    for entry in listed():
        if entry.kind == "data":
            continue
        thing = found(entry.name)
        thing = getattr(thing, "__wrapped__", thing) if entry.is_fixture else thing
        everything[entry.name] = thing, entry.is_called and not entry.is_fixture
        if inspect.isclass(thing):
            for name, member in members(thing, entry.options):
                function = getattr(member, "__func__", member)
                if inspect.isfunction(function) or isinstance(function, property):
                    everything[f"{entry.name}.{name}"] = function, name != "__aexit__"
    return [
        Shown(name, thing, inspect.getdoc(thing) or "", is_called)
        for name, (thing, is_called) in everything.items()
    ]


each_shown = pytest.mark.parametrize("item", shown(), ids=lambda item: item.name)


def section(text, title):
    """Return the entries of a section of a docstring."""
    match = re.search(rf"^{title}:\n((?:    .*\n|\n)*)", f"{text}\n", re.MULTILINE)
    return dict(ENTRY.findall(match[1])) if match else {}


def function_of(item):
    """Return what is called when it is: for a class, what makes its objects."""
    if not item.is_called:
        return None
    if isinstance(item.thing, property):
        return item.thing.fget
    if inspect.isclass(item.thing):
        return vars(item.thing).get("__init__")
    return item.thing


def signature_of(item):
    """Return the annotations of what users give, and that of what they get."""
    function = function_of(item)
    if not inspect.isfunction(function):
        return {}, ""
    signature = inspect.signature(function)
    given = {
        name: str(parameter.annotation)
        for name, parameter in signature.parameters.items()
        if name not in {"self", "cls"}
    }
    return given, "" if inspect.isclass(item.thing) else str(signature.return_annotation)


# Complete


@pytest.mark.parametrize("module", MODULES)
def test_the_reference_lists_what_each_module_offers_and_nothing_else(module):
    names = [entry.name for entry in listed()]
    of_module = {name for name in names if name.rpartition(".")[0] == module}
    assert of_module == {f"{module}.{name}" for name in import_module(module).__all__}


def test_the_reference_lists_every_fixture():
    module = import_module(PLUGIN)
    fixtures = {name for name in vars(module) if name.startswith("coop_")}
    in_reference = {entry.name for entry in listed() if entry.is_fixture}
    assert in_reference == {f"{PLUGIN}.{name}" for name in fixtures}


def test_nothing_is_listed_twice():
    names = [entry.name for entry in listed()]
    assert sorted(names) == sorted(set(names))


# Units, errors, cancellation


@each_shown
def test_everything_shown_is_described(item):
    assert item.text.partition("\n")[0].endswith((".", ":"))
    assert not re.search(r": As for `", item.text), "say it here, too"


@each_shown
def test_every_time_says_that_it_is_in_seconds(item):
    given, returned = signature_of(item)
    entries = section(item.text, "Args")
    for name, annotation in given.items():
        if "float" in annotation and name not in NO_TIMES:
            assert SECONDS.search(entries.get(name, item.text)), name
    if "float" in returned and item.name.rpartition(".")[2] not in NO_TIMES:
        assert SECONDS.search(item.text)


@each_shown
def test_every_error_is_said(item):
    given, _ = signature_of(item)
    errors = ", ".join(section(item.text, "Raises"))
    if item.name not in SILENT:
        assert errors or not given, "say what it raises"
    for error in raised_in(function_of(item)):
        assert re.search(rf"\b({error}|BaseException)\b", errors), error


def raised_in(function):
    """Return the exceptions that it, or a check that it calls, raises in so many words."""
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):  # what a dataclass has made, or nothing
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield from RAISED_BY.get(ast.unparse(node.func).rpartition(".")[2], ())


@each_shown
def test_what_cancelling_does_is_said_of_everything_that_can_be_awaited(item):
    if can_be_awaited(item) and item.name not in NOT_CANCELLED:
        assert re.search(r"^Cancellation:\s+\S", item.text, re.MULTILINE)


def can_be_awaited(item):
    if inspect.isclass(item.thing):
        leave = getattr(item.thing, "__aexit__", None)
        is_said_of_leaving = "Cancellation:" in (getattr(leave, "__doc__", None) or "")
        return hasattr(item.thing, "__await__") or (leave and not is_said_of_leaving)
    function = inspect.unwrap(item.thing) if callable(item.thing) else None
    return (
        inspect.iscoroutinefunction(function)
        or inspect.isasyncgenfunction(function)
        or AWAITED.search(signature_of(item)[1])
    )


def test_what_is_excused_is_there():
    assert {*SILENT, *NOT_CANCELLED} <= {item.name for item in shown()}
