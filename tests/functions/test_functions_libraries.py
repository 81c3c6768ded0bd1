"""Real libraries, unmodified: the same results as by plain calls, while a heart beats."""

import asyncio
import difflib
import functools
import json
import re
import threading

import jinja2
import markdown
import networkx as nx
import numpy as np
import pydantic
import pygments
import pytest
import sqlparse
import sympy
from core_support import on_both_loops
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from cooperative_aio import Cooperator
from cooperative_aio.functions import steps_of

TEXT = "# Title\n\n" + "Some *text* with [links](http://localhost) and `code`.\n\n" * 60
SOURCE = "def work(one, two):\n    return [n for n in range(one) if n > two]  # why\n\n" * 60
TEMPLATE = """
{% macro item(n) %}<li class="{{ loop }}">{{ n|upper }}</li>{% endmacro %}
<ul>{% for n in numbers %}{{ item("number %d" % n) }}{% endfor %}</ul>
"""
SHARED = jinja2.Environment(autoescape=True)


def render():
    return SHARED.from_string(TEMPLATE).render(numbers=range(1500))


class Point(pydantic.BaseModel):
    x: int
    y: int

    @pydantic.field_validator("x", "y")
    @classmethod
    def check(cls, value):
        for _ in range(50):
            value = value + 1 - 1
        return value


def validate():
    return [Point(x=number, y="1").x for number in range(3000)]


def encode():
    values = [{"number": number, "more": [number] * 3} for number in range(1500)]
    return "".join(json.JSONEncoder(indent=1).iterencode(values))  # in pure Python


def encode_by_default():
    class Value:
        pass

    def default(_value):
        return sum(number * number for number in range(400))

    return json.dumps([Value() for _ in range(500)], default=default)


def shortest_paths():
    graph = nx.grid_2d_graph(12, 12)
    return sum(sum(one.values()) for _, one in nx.all_pairs_shortest_path_length(graph))


def integrate():
    x = sympy.Symbol("x")
    return sympy.integrate(x**3 * sympy.sin(x), x).diff(x).simplify()


def apply_a_function():
    def slow(value):
        return sum(range(int(value) % 200))

    return np.vectorize(slow)(np.arange(6000)).tolist()


def parse():
    """Compute a sum with many brackets, by recursive descent."""
    text = "(" * 60 + "1" + "+2*3)" * 60

    def total(at):
        value, at = product(at)
        while at < len(text) and text[at] == "+":
            more, at = product(at + 1)
            value += more
        return value, at

    def product(at):
        value, at = atom(at)
        while at < len(text) and text[at] == "*":
            more, at = atom(at + 1)
            value *= more
        return value, at

    def atom(at):
        if text[at] == "(":
            value, at = total(at + 1)
            return value, at + 1
        return int(text[at]), at + 1

    return [total(0) for _ in range(60)]


JOBS = {
    "markdown": functools.partial(markdown.markdown, TEXT),
    "jinja2": render,
    "pygments": lambda: pygments.highlight(SOURCE, PythonLexer(), HtmlFormatter()),
    "sqlparse": lambda: sqlparse.format(
        "select a, b from c where d in (1) " * 60, reindent=True
    ),
    "json with an indent": encode,
    "json with a default": encode_by_default,
    "difflib": lambda: list(difflib.ndiff(SOURCE.split()[:120], TEXT.split()[:120])),
    "re": lambda: re.sub(r"\w", lambda match: match[0].upper(), TEXT * 10),
    "sorted": lambda: sorted(range(60000), key=lambda number: number * 7919 % 60013),
    "pydantic": validate,
    "networkx": shortest_paths,
    "sympy": integrate,
    "numpy": apply_a_function,
    "a parser": parse,
}


@pytest.mark.parametrize("name", JOBS)
@on_both_loops
async def test_a_library_works_as_before_and_lets_others_run(name):
    beats = 0

    async def beat():
        nonlocal beats
        while True:
            await asyncio.sleep(0)
            beats += 1

    plain = JOBS[name]()
    beating = asyncio.create_task(beat())
    task = Cooperator(time_slice=0.0005, slow_step=10).cooperate(steps_of(JOBS[name]))
    assert await task == plain
    beating.cancel()
    assert task.steps > 1
    assert beats > 1


@on_both_loops
async def test_four_of_each_do_not_disturb_each_other():
    cooperator = Cooperator(time_slice=0.0002, slow_step=10)
    jobs = [JOBS[name] for name in ("jinja2", "markdown", "pydantic", "numpy", "a parser")] * 4
    tasks = [cooperator.cooperate(steps_of(job)) for job in jobs]
    results = await asyncio.gather(*tasks)
    assert results == [job() for job in jobs]


# Locks that functions share with the loop: without the rule, the first hangs for ever


@pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
@on_both_loops
async def test_a_lock_that_functions_and_the_loop_share_excludes(make):
    lock, inside, crowds = make(), [], []

    def work():
        for _ in range(200):
            with lock:
                inside.append(1)
                for _ in range(500):
                    pass
                crowds.append(len(inside))
                inside.pop()
            for _ in range(500):
                pass

    async def wait():
        while not all(task.done() for task in tasks):
            with lock:
                crowds.append(len(inside) + 1)
            await asyncio.sleep(0)

    cooperator = Cooperator(time_slice=0.0002, slow_step=10)
    tasks = [cooperator.cooperate(steps_of(work)) for _ in range(3)]
    await wait()
    assert set(crowds) == {1}
    assert max(task.steps for task in tasks) > 1


@on_both_loops
async def test_a_jinja2_environment_may_be_shared_by_functions_and_the_loop():
    def names():
        return "".join(
            environment.get_template(f"{number % 8}").render() for number in range(40)
        )

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: f"{name} {{{{ 1 + 1 }}}}"),
        autoescape=True,
        cache_size=6,  # which has a lock, and is changed by each that is not in it
    )
    plain = names()
    cooperator = Cooperator(time_slice=0.0003, slow_step=10)
    tasks = [cooperator.cooperate(steps_of(names)) for _ in range(3)]
    while not all(task.done() for task in tasks):
        environment.get_template("of the loop").render()
        await asyncio.sleep(0)
    assert [task.result() for task in tasks] == [plain] * 3
