"""Break the core in one place at a time, and see whether the tests notice.

    python -P tests/mutants.py                        # 400 mutants, by the same dice each time
    python -P tests/mutants.py --sample 0             # all of them
    python -P tests/mutants.py --again mutants.json   # those that survived in an earlier run

A **mutant** is the core with one expression or statement changed: a comparison, an operator,
a number, a flag, a condition negated, a statement left out. pytest collects once, in this
process. Each mutant is a fork of it in which the code of one function is replaced; it runs
the tests that execute the changed line, the quick ones first, until one of them fails. No
file is written, so that the tree may be in use meanwhile.

Not changed: texts, annotations, assertions, and what is left to the type checker. A test that
starts a program of its own sees the core as it is.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import gc
import hashlib
import importlib
import json
import os
import random
import resource
import select
import signal
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

TESTS = Path(__file__).parent
# fmt: off
CORE = [
    "_changes", "_seats", "_fairness", "_groups", "_stepped", "_waiting", "_job", "_asked",
    "_roster", "_engine", "_rhythm", "_pacing", "_loop", "_sinks", "_stepping", "_checkpoint",
    "_task", "_iterators", "_futures",
]
FILES = [
    "accumulate", "batches", "call_graph", "cancelling_twice", "changes", "checkpoint", "clock",
    "coming_from_cooperative", "coming_from_twisted", "cooperator", "ends", "fairness",
    "groups", "hostile", "interruptions", "limits", "looping", "machine", "matrix",
    "matrix_programs", "meter", "mixed_values", "pacing", "quiet_collector", "states",
    "survivors", "task", "task_awaiting", "task_lifetime", "turns",
]
FOLDERS = [
    "machine", "testing", "tasklet", "monitor/test_history.py",
    "offload/test_offload_draining.py", "offload/test_offload_sources.py",
]
# fmt: on
SLOW = 3.0  # seconds; a test that takes longer is left out
HANGS = 10.0  # seconds beyond ten times what it takes by itself: the test hangs
MEMORY = 8 << 30  # bytes; a mutant that fills the machine has been noticed

SWAPS: dict[type[ast.AST], tuple[type[Any], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,),
    ast.Mod: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
}
NAMES = {"min": "max", "max": "min", "popleft": "pop"}
PLAIN = (ast.Constant, ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.IfExp)
EVERYWHERE = (0, 1 << 30)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Mutant:
    """One change of one module: the `number`th that there is."""

    module: str
    number: int
    lines: tuple[int, int]  # first and last of what is to be executed to see it
    where: str  # the function or assignment that changes
    change: str

    @property
    def key(self) -> list[Any]:
        """What is the same as long as the text is, wherever it stands."""
        return [self.module, self.where, self.change]


# How a module can change


def ways(node: ast.AST) -> Iterator[Callable[[], None]]:
    """Give the changes that can be made to one node: each is made, and undone, in its place."""
    yield from ways_of_operators(node)
    yield from ways_of_conditions(node)
    match node:
        case ast.Constant(value=bool() as value):
            yield partial(setattr, node, "value", not value)
        case ast.Constant(value=int() | float() as value):
            yield partial(setattr, node, "value", value + 1)
            yield partial(setattr, node, "value", value - 1)
        case ast.Name(id=name) if name in NAMES:
            yield partial(setattr, node, "id", NAMES[name])
        case ast.Attribute(attr=name) if name in NAMES:
            yield partial(setattr, node, "attr", NAMES[name])


def ways_of_operators(node: ast.AST) -> Iterator[Callable[[], None]]:
    match node:
        case ast.Compare(ops=operators):
            for place, operator in enumerate(operators):
                for other in SWAPS[type(operator)]:
                    yield partial(operators.__setitem__, place, other())
        case ast.BinOp(op=operator) | ast.AugAssign(op=operator) | ast.BoolOp(op=operator):
            for other in SWAPS.get(type(operator), ()):
                yield partial(setattr, node, "op", other())
        case ast.UnaryOp(op=ast.USub()):
            yield partial(setattr, node, "op", ast.UAdd())


def ways_of_conditions(node: ast.AST) -> Iterator[Callable[[], None]]:
    match node:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield partial(setattr, node, "operand", ast.UnaryOp(ast.Not(), operand))
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            if not is_negated_otherwise(test):
                yield partial(setattr, node, "test", ast.UnaryOp(ast.Not(), test))


def is_negated_otherwise(test: ast.expr) -> bool:
    """Tell whether a change of its operator negates a condition, or nothing does."""
    match test:
        case ast.Compare(ops=[_]) | ast.Constant() | ast.UnaryOp(op=ast.Not()):
            return True
    return False


def is_left_out(node: ast.stmt) -> bool:
    """Tell whether to try what happens without a statement."""
    match node:
        case ast.Expr(value=value):
            return not isinstance(value, ast.Constant)
        case ast.Assign(targets=targets):
            return not all(isinstance(target, ast.Name) for target in targets)
        case ast.AnnAssign(target=ast.Attribute() | ast.Subscript(), value=ast.expr()):
            return True
    return isinstance(
        node, (ast.AugAssign, ast.Delete, ast.Raise, ast.Break, ast.Continue, ast.Return)
    )


class Changer:
    """Walk a module's tree in a fixed order, and make one of its changes, or count them.

    Args:
        wanted: The number of the change to make; -1 for none.
    """

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.found: list[tuple[tuple[int, int], str, str]] = []
        self.path: list[str] = []
        self.statement: ast.stmt | None = None
        self.span: tuple[int, int] | None = EVERYWHERE  # what sees the change; None: its lines

    def offer(self, node: ast.AST, change: Callable[[], None], what: str = "") -> None:
        """Count a change, and make it if it is the one that is wanted."""
        statement = self.statement
        assert statement is not None
        number = len(self.found)
        before = headline(statement)
        after = what
        if not what:
            undo = copy.copy(node.__dict__)
            lists = {k: list(v) for k, v in undo.items() if isinstance(v, list)}
            change()
            after = headline(statement)
            if number != self.wanted:
                node.__dict__.clear()
                node.__dict__.update(undo)
                for name, items in lists.items():
                    getattr(node, name)[:] = items
        elif number == self.wanted:
            change()
        last = getattr(statement, "body", None)
        end = last[0].lineno - 1 if isinstance(last, list) and last else statement.end_lineno
        span = self.span or (statement.lineno, max(end or 0, statement.lineno))
        self.found.append((span, ".".join(self.path), f"{before}  ->  {after}"))

    def block(self, statements: list[ast.stmt]) -> None:
        for place, statement in enumerate(statements):
            self.statement = statement
            if self.path and is_left_out(statement):
                nothing = ast.If(ast.Constant(False), [statement], [])  # noqa: FBT003
                self.offer(
                    statement,
                    lambda n=nothing, p=place: statements.__setitem__(p, n),
                    "(left out)",
                )
            self.one(statement)

    def one(self, statement: ast.stmt) -> None:
        if isinstance(statement, (ast.Assert, ast.Import, ast.ImportFrom)):
            return
        if isinstance(statement, (*FUNCTIONS, ast.ClassDef)):
            self.define(statement)
            return
        text = ast.unparse(statement)
        if "TYPE_CHECKING" in text or text.startswith(("__all__", "__slots__")):
            return
        self.expressions(statement)
        for name in ("body", "orelse", "finalbody"):
            if isinstance(inner := getattr(statement, name, None), list):
                self.block(inner)
        for handler in getattr(statement, "handlers", ()):
            self.block(handler.body)
        for case in getattr(statement, "cases", ()):
            self.block(case.body)

    def define(self, statement: Any) -> None:
        self.path.append(statement.name)
        if isinstance(statement, FUNCTIONS):
            self.statement = statement
            outer, self.span = self.span, (statement.body[0].lineno, statement.end_lineno or 0)
            for default in (*statement.args.defaults, *statement.args.kw_defaults):
                if default is not None:
                    self.expressions(default)
            self.span = None
            self.block(statement.body)
            self.span = outer
        else:
            self.block(statement.body)
        self.path.pop()

    def expressions(self, node: ast.AST) -> None:
        """Offer the changes of a node and of the expressions in it."""
        for way in ways(node):
            self.offer(node, way)
        for name, field in ast.iter_fields(node):
            if name in {"annotation", "returns"}:
                continue
            for child in field if isinstance(field, list) else [field]:
                if isinstance(child, (ast.expr, ast.keyword, ast.comprehension, ast.withitem)):
                    self.expressions(child)


def headline(statement: ast.stmt) -> str:
    """Return a statement's text, of one with a body the first line."""
    bare = copy.copy(statement)
    for name in ("body", "orelse", "finalbody", "handlers"):
        if isinstance(getattr(bare, name, None), list):
            setattr(bare, name, [ast.Pass()] if name == "body" else [])
    if isinstance(bare, ast.Try):
        return "try:"
    text = ast.unparse(ast.fix_missing_locations(copy.deepcopy(bare)))
    lines = [line for line in text.splitlines() if not line.startswith("@")]
    return " ".join(line.strip() for line in lines).removesuffix(" pass")


def source(module: str) -> Path:
    file = importlib.import_module(f"cooperative_aio.{module}").__file__
    assert file is not None
    return Path(file)


def text_of_the_core() -> str:
    """Return a number for the text of all modules."""
    texts = [source(module).read_bytes() for module in CORE]
    return hashlib.sha256(b"".join(texts)).hexdigest()


def is_old(record: Path) -> bool:
    """Tell whether the core has changed since the tests were recorded."""
    return bool(json.loads(record.read_text()).get("text") != text_of_the_core())


def mutants_of(module: str) -> list[Mutant]:
    """Return all mutants of a module."""
    changer = Changer(-1)
    changer.block(ast.parse(source(module).read_text()).body)
    return [Mutant(module, number, *found) for number, found in enumerate(changer.found)]


# How a mutant comes to life


def codes_in(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes_in(constant)


def functions_of_the_core() -> list[FunctionType]:
    """Find all functions, and those of classes, whatever decorators have made of them."""
    gc.unfreeze()  # what the tests have frozen is not found
    files = {str(source(module)) for module in CORE}
    found = [
        thing
        for thing in gc.get_objects()
        if type(thing) is FunctionType and thing.__code__.co_filename in files
    ]
    gc.freeze()
    return found


def bring_to_life(mutant: Mutant, functions: list[FunctionType]) -> None:
    """Change the core of this process: what the mutant says, wherever it is in use."""
    file = source(mutant.module)
    tree = ast.parse(file.read_text())
    changer = Changer(mutant.number)
    changer.block(tree.body)
    ast.fix_missing_locations(tree)
    codes = {key_of(code): code for code in codes_in(compile(tree, str(file), "exec"))}
    module = sys.modules[f"cooperative_aio.{mutant.module}"]
    defaults = {
        (node.name, node.lineno): node.args
        for node in ast.walk(tree)
        if isinstance(node, FUNCTIONS)
    }
    for function in functions:
        if function.__globals__ is vars(module):
            code = codes.get(key_of(function.__code__))
            if code is not None:
                function.__code__ = code
            first = (function.__code__.co_name, function.__code__.co_firstlineno)
            if first in defaults:
                change_defaults(function, defaults[first], vars(module))
    for statement in tree.body:
        change_names(statement, module.__dict__, module.__dict__)
        if isinstance(statement, ast.ClassDef):
            kind = getattr(module, statement.name)
            for inner in statement.body:
                change_names(inner, module.__dict__, kind)


def key_of(code: CodeType) -> tuple[str, int]:
    return code.co_qualname, code.co_firstlineno


def value_of(expression: ast.expr, names: dict[str, Any]) -> Any:
    return eval(compile(ast.Expression(expression), "<default>", "eval"), names)  # noqa: S307


def change_defaults(function: FunctionType, args: ast.arguments, names: dict[str, Any]) -> None:
    """Give a function the defaults that the changed text has."""
    with contextlib.suppress(NameError):  # of a function within another
        if args.defaults:
            new = tuple(value_of(default, names) for default in args.defaults)
            old = function.__defaults__ or ()
            function.__defaults__ = tuple(
                after if isinstance(after, (int, float)) else before
                for before, after in zip(old, new, strict=True)
            )
        for argument, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
            if isinstance(default, ast.Constant) and function.__kwdefaults__:
                function.__kwdefaults__[argument.arg] = default.value


def change_names(statement: ast.stmt, names: dict[str, Any], owner: Any) -> None:
    """Give a module's or a class's plain constants the values of the changed text."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            pass
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            pass
        case _:
            return
    if not isinstance(value, PLAIN):
        return
    new = value_of(value, names)
    if isinstance(owner, type):
        if field := getattr(owner, "__dataclass_fields__", {}).get(name):
            change_field(owner.__init__, name, field.default, new)
        elif not hasattr(getattr(owner, name), "__get__"):
            setattr(owner, name, new)
        return
    old = owner[name]
    if old == new:
        return
    for module in list(sys.modules.values()):  # each that has imported it by name
        known = getattr(module, "__dict__", {})
        if isinstance(known, dict) and known.get(name) is old:
            known[name] = new


def change_field(init: Any, name: str, old: Any, new: Any) -> None:
    """Give what `dataclass` has made another default for a field."""
    if init.__kwdefaults__ and name in init.__kwdefaults__:
        init.__kwdefaults__[name] = new
    else:
        init.__defaults__ = tuple(new if value is old else value for value in init.__defaults__)


# Which tests execute which line


class Recorder:
    """Note in the background which lines of the core each test executes, and its seconds."""

    TOOL = 4

    def __init__(self, functions: list[FunctionType]) -> None:
        self.hits: dict[str, set[int]] = defaultdict(set)
        self.seconds: dict[int, float] = {}
        self.failed: set[int] = set()
        self.current = -1
        self.names = {str(source(module)): module for module in CORE}
        monitoring = sys.monitoring
        monitoring.use_tool_id(self.TOOL, "mutants")
        monitoring.register_callback(self.TOOL, monitoring.events.LINE, self.note)
        for function in functions:
            for inner in codes_in(function.__code__):
                monitoring.set_local_events(self.TOOL, inner, monitoring.events.LINE)

    def note(self, code: CodeType, line: int) -> object:
        self.hits[f"{self.names[code.co_filename]}:{line}"].add(self.current)
        return sys.monitoring.DISABLE

    def begin(self, test: int) -> None:
        self.current = test
        sys.monitoring.restart_events()


class Campaign:
    """In place of pytest's own loop: record, then try the mutants, some at a time."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.failed = False
        self.results: list[dict[str, Any]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed = True

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.items = session.items
        self.functions = functions_of_the_core()
        self.load_or_record()
        mutants = self.choose()
        begin = time.monotonic()
        self.try_all(mutants)
        self.report(time.monotonic() - begin)
        return True

    # The tests

    def load_or_record(self) -> None:
        file = Path(self.options.record)
        names = [item.nodeid for item in self.items]
        if not file.exists() or is_old(file):
            pid = os.fork()
            if not pid:
                self.run_silently(lambda: self.record(file, names))
            try:
                os.waitpid(pid, 0)
            except BaseException:
                os.kill(pid, signal.SIGKILL)
                raise
        known = json.loads(file.read_text())
        index = {name: number for number, name in enumerate(names)}
        there = {old: index.get(name) for old, name in enumerate(known["names"])}
        self.seconds = {
            there[int(old)]: seconds
            for old, seconds in known["seconds"].items()
            if there[int(old)] is not None
        }
        self.hits: dict[str, dict[int, set[int]]] = defaultdict(dict)
        for place, tests in known["hits"].items():
            module, line = place.split(":")
            kept = {there[old] for old in tests if there[old] in self.seconds}
            self.hits[module][int(line)] = kept
        # Tests that came later are tried whatever they execute
        self.new = {n for name, n in index.items() if name not in set(known["names"])}
        print(f"{len(self.seconds)} tests, {sum(self.seconds.values()):.0f} seconds in all")

    def record(self, file: Path, names: list[str]) -> None:
        recorder = Recorder(self.functions)
        for number, item in enumerate(self.items):
            recorder.begin(number)
            self.failed = False
            begin = time.perf_counter()
            run_one(item, self.following(number))
            seconds = time.perf_counter() - begin
            if not self.failed and seconds <= SLOW:
                recorder.seconds[number] = round(seconds, 4)
        hits = {line: sorted(tests) for line, tests in recorder.hits.items()}
        known = {"text": text_of_the_core(), "names": names, "hits": hits}
        file.write_text(json.dumps(known | {"seconds": recorder.seconds}))

    def following(self, number: int) -> pytest.Item | None:
        return self.items[number + 1] if number + 1 < len(self.items) else None

    def tests_for(self, mutant: Mutant) -> list[int]:
        """Choose the tests: the quick ones first, and those of one function spread."""
        first, last = mutant.lines
        lines = self.hits[mutant.module].items()
        found = set().union(*(tests for line, tests in lines if first <= line <= last))
        ranks: Counter[str] = Counter()
        order = []
        for test in sorted(found, key=self.seconds.__getitem__):
            function = self.items[test].nodeid.partition("[")[0]
            ranks[function] += 1
            order.append((max(self.seconds[test], 0.001) * ranks[function], test))
        return [*sorted(self.new), *(test for _, test in sorted(order))]

    # The mutants

    def choose(self) -> list[Mutant]:
        everything = [mutant for module in CORE for mutant in mutants_of(module)]
        print(f"{len(everything)} mutants of {len(CORE)} modules")
        if self.options.again:
            wanted = [
                result["key"]
                for result in json.loads(Path(self.options.again).read_text())
                if result["verdict"] == "survived"
            ]
            return [mutant for mutant in everything if mutant.key in wanted]
        if self.options.where:
            text = self.options.where
            return [m for m in everything if text in f"{m.module}.{m.where}: {m.change}"]
        if not self.options.sample:
            return everything
        dice = random.Random(self.options.seed)  # noqa: S311
        return dice.sample(everything, self.options.sample)

    def try_all(self, mutants: list[Mutant]) -> None:
        waiting = list(reversed(mutants))
        running: list[Trial] = []
        try:
            while waiting or running:
                while waiting and len(running) < self.options.processes:
                    running.append(Trial(self, waiting.pop()))
                for trial in list(running):
                    if trial.is_over():
                        running.remove(trial)
                        self.note(trial, len(mutants))
                time.sleep(0.01)
        finally:
            for trial in running:
                trial.end()

    def note(self, trial: Trial, total: int) -> None:
        mutant = trial.mutant
        result = {"key": mutant.key, "verdict": trial.verdict, "by": trial.by}
        self.results.append(result | {"tests": trial.tried, "seconds": round(trial.took, 1)})
        Path(self.options.json).write_text(json.dumps(self.results, indent=1))
        place = f"{mutant.module}:{mutant.lines[0]}"
        if trial.verdict == "survived":
            print(f"SURVIVED {place} {mutant.where}: {mutant.change} ({trial.tried} tests)")
        if len(self.results) % 20 == 0:
            print(f"{len(self.results)} of {total}")
        sys.stdout.flush()

    def run_silently(self, function: Callable[[], Any]) -> None:
        """Do something in a child, which ends then."""
        try:
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nothing, stream)
            function()
        finally:
            os._exit(0)

    def report(self, seconds: float) -> None:
        rows: dict[str, Counter[str]] = defaultdict(Counter)
        for result in self.results:
            rows[result["key"][0]][result["verdict"]] += 1
        print("\n| module | mutants | killed | by hanging | survived |")
        print("| --- | --- | --- | --- | --- |")
        for module in CORE:
            if counts := rows.get(module):
                print(row(f"`{module}`", counts))
        print(row("all", sum(rows.values(), Counter())))
        print(f"\n{seconds:.0f} seconds")


def row(name: str, counts: Counter[str]) -> str:
    killed = counts["killed"] + counts["hangs"]
    cells = (name, counts.total(), killed, counts["hangs"], counts["survived"])
    return f"| {' | '.join(map(str, cells))} |"


def run_one(item: pytest.Item, following: pytest.Item | None) -> None:
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


class Trial:
    """A mutant in a process of its own, which tells which test it has come to."""

    def __init__(self, campaign: Campaign, mutant: Mutant) -> None:
        self.campaign = campaign
        self.mutant = mutant
        self.tests = campaign.tests_for(mutant)
        self.tried = 0
        self.verdict = ""
        self.by = ""
        self.begin = self.last = time.monotonic()
        self.reader, writer = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.pid = os.fork()
        if not self.pid:
            os.setsid()
            campaign.run_silently(lambda: self.live(writer))
        os.close(writer)
        self.took = 0.0

    def live(self, writer: int) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        campaign = self.campaign
        campaign.failed = False
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                bring_to_life(self.mutant, campaign.functions)
        except ValueError as error:
            os.write(writer, f"?{error}\n".encode())
            return
        items = campaign.items
        begin = time.monotonic()
        for place, test in enumerate(self.tests):
            os.write(writer, b".")
            is_last = place + 1 == len(self.tests)
            run_one(items[test], None if is_last else items[self.tests[place + 1]])
            if campaign.failed:
                os.write(writer, b"F")
                return
            if time.monotonic() - begin > campaign.options.patience:
                break
        os.write(writer, b"S")

    def is_over(self) -> bool:
        """Look what the child has told; end it if a test takes too long."""
        now = time.monotonic()
        told = b""
        if select.select([self.reader], [], [], 0)[0]:
            told = os.read(self.reader, 1 << 16)
        if told:
            self.last = now
            self.tried += told.count(b".")
        self.by = self.campaign.items[self.tests[self.tried - 1]].nodeid if self.tried else ""
        over = None
        if b"?" in told:
            over, self.by = "impossible", told.decode()
        elif b"F" in told:
            over = "killed"
        elif b"S" in told or not self.tests:
            over = "survived"
        elif os.waitpid(self.pid, os.WNOHANG)[0]:
            self.pid = 0
            over = "killed"  # with the whole process
        elif now - self.last > self.allowed():
            over = "hangs"
        if over is None:
            return False
        self.verdict = over
        self.took = now - self.begin
        self.end()
        return True

    def allowed(self) -> float:
        test = self.tests[self.tried - 1] if self.tried else -1
        return HANGS + 10 * self.campaign.seconds.get(test, 1.0)

    def end(self) -> None:
        os.close(self.reader)
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sample", type=int, default=400, help="how many mutants; 0: all")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--patience", type=float, default=60.0, help="seconds for a mutant")
    parser.add_argument("--json", default="mutants.json", help="where the results are put")
    parser.add_argument("--record", default="mutants-tests.json", help="what the tests execute")
    parser.add_argument("--again", help="results of a run, whose survivors are tried")
    parser.add_argument(
        "--tests", nargs="*", help="files of tests, in place of all of the core"
    )
    parser.add_argument("--where", help="all mutants of a function, as `_job.Job.cancel`")
    options = parser.parse_args()
    if sys.version_info < (3, 12):
        parser.error("needs Python 3.12 or newer, for sys.monitoring")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    files = [str(TESTS / f"test_{name}.py") for name in FILES]
    folders = [str(TESTS / name) for name in FOLDERS]
    here = options.tests or [name for name in (*files, *folders) if Path(name).exists()]
    silent = ["-q", "-s", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist"]
    pytest.main([*silent, "--rootdir", str(TESTS.parent), *here], plugins=[Campaign(options)])


if __name__ == "__main__":
    main()
