"""The examples in docstrings, which `help()` shows: each runs as it is printed."""

import ast
import asyncio
import inspect
import re
import secrets
import sys
import textwrap
import types
from importlib import import_module

import pytest

MODULES = [
    "cooperative_aio",
    *(
        f"cooperative_aio.{name}"
        for name in ("functions", "monitor", "offload", "opentelemetry", "prometheus")
    ),
    *(f"cooperative_aio.{name}" for name in ("aiohttp", "starlette", "tasklet", "testing")),
]
NOT_RUN = {  # but compiled
    "cooperative_aio.aiohttp.setup": "needs a server, as those below do",
    "cooperative_aio.json_array": "needs a client",
    "cooperative_aio.offload.map": "its generators and its totals are the reader's own",
    "cooperative_aio.offload.processes": "each worker would import this module",
    "cooperative_aio.react": "ends the program",
    "cooperative_aio.starlette.BatchesResponse": "needs an application",
    "cooperative_aio.starlette.CooperativeMiddleware": "needs an application",
    "cooperative_aio.starlette.JSONArrayResponse": "needs an application",
}
EXAMPLE = re.compile(r"(?<=[.:]\n\n)(?: {4}.*\n|\n)+")
SECTION = re.compile(r"^\w+:(?:\n| )", re.MULTILINE)


def examples_of(thing):
    """Return the examples of a docstring, which come before its first section."""
    text = f"{inspect.getdoc(thing) or ''}\n"
    return [textwrap.dedent(code).strip() for code in EXAMPLE.findall(SECTION.split(text)[0])]


def examples():
    """Yield the examples of each public name of the package, and of its methods."""
    for module in MODULES:
        for name in import_module(module).__all__:
            thing = getattr(import_module(module), name)
            if getattr(thing, "__module__", "").partition(".")[0] != "cooperative_aio":
                continue
            yield from ((f"{module}.{name}", code) for code in examples_of(thing))
            for member, value in vars(thing).items() if inspect.isclass(thing) else ():
                if not member.startswith("_"):
                    yield from (
                        (f"{module}.{name}.{member}", code) for code in examples_of(value)
                    )


EXAMPLES = list(examples())


@pytest.mark.parametrize(
    ("place", "code"), [pytest.param(*example, id=example[0]) for example in EXAMPLES]
)
async def test_the_example_of_a_docstring_runs_as_it_is_printed(place, code):
    code = compile(code, place, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names = {"asyncio": asyncio, "secrets": secrets, "sys": sys, "__file__": __file__}
    for module in ("cooperative_aio", place.rpartition(".")[0]):
        if module in MODULES:
            names |= {
                name: getattr(import_module(module), name)
                for name in import_module(module).__all__
            }
    if place in NOT_RUN:
        return
    try:
        running = types.FunctionType(code, names)()
        if running is not None:
            await running
    except RuntimeError as error:
        if type(error).__name__ != "PreemptionUnavailable":
            raise
        pytest.skip(str(error))
    for name, value in names.items():  # where a test is shown, it is run
        if name.startswith("test_"):
            await asyncio.to_thread(value)


def test_what_is_excused_has_an_example():
    assert {*NOT_RUN} <= {place for place, _ in EXAMPLES}


def test_what_one_uses_first_has_an_example():
    first = {
        *("Clock", "Cooperator", "CooperativeTask", "LoopingCall", "TimeSlice", "accumulate"),
        *("batch_accumulate", "batches", "checkpoint", "coiterate", "cooperate"),
        *("current_task", "defer_later", "pieces", "quiet_collector", "react"),
        *("aiohttp.setup", "functions.in_slices", "functions.to_slices", "monitor.serve"),
        *("monitor.watchdog", "starlette.CooperativeMiddleware", "starlette.JSONArrayResponse"),
        *("offload.map", "offload.processes", "offload.threads", "prometheus.Collector"),
        *("tasklet.Tasklet", "tasklet.task", "testing.ManualScheduler", "testing.virtual_time"),
    }
    assert {f"cooperative_aio.{name}" for name in first} <= {place for place, _ in EXAMPLES}
