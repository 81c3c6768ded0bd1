"""Calls that come at any instant: between two lines of the core, or of its callers.

`asyncio.run` cancels on Ctrl-C from a signal handler, and a `__del__` may run within any
collection. Here a trace function does what they do, once at each line of the core in turn:
a scenario is run once to count the lines, and then once for each of them.
"""

import asyncio
import contextlib
import gc
import signal
import subprocess
import sys
import textwrap
from collections import defaultdict
from pathlib import Path

import pytest
from core_support import errors_in

import cooperative_aio
from cooperative_aio import (
    Cooperator,
    SchedulerStopped,
    TaskFinished,
    TimeSlice,
    accumulate,
    batch_accumulate,
    batches,
    checkpoint,
    get_cooperator,
)
from cooperative_aio.testing import VirtualLoop

pytestmark = pytest.mark.thinned(5)

PACKAGE = Path(cooperative_aio.__file__).parent


def is_of_the_core(code, known={}):  # noqa: B006 (a cache)
    """Tell whether it is of a file `cooperative_aio/_*.py`."""
    filename = code.co_filename
    if filename not in known:
        path = Path(filename)
        is_private = path.name.startswith("_") and path.name != "__init__.py"
        # The collector's callback may begin in the middle of an instruction: CPython 3.11 does
        # not survive that tracing is turned off there, and goes on with other arguments.
        is_private = is_private and path.name != "_meter.py"
        known[filename] = is_private and path.parent == PACKAGE
    return known[filename]


class Runaway(BaseException):
    """There is no end to what the core does."""


class Interruption:
    """Trace the core, and act at the line with one number; trace no further then."""

    def __init__(self, at, act):
        self.at = at
        self.act = act
        self.lines = []  # that were reached, in order

    def __enter__(self):
        self.outer = sys.gettrace()
        sys.settrace(self.call)
        return self

    def __exit__(self, *_):
        sys.settrace(self.outer)

    @property
    def where(self):
        code, number = self.lines[-1]
        return f"{Path(code.co_filename).name}:{number} in {code.co_name}"

    def call(self, frame, event, argument):
        return self.line if is_of_the_core(frame.f_code) else None

    def line(self, frame, event, argument):
        if event == "line":
            self.lines.append((frame.f_code, frame.f_lineno))
            if len(self.lines) == self.at:
                sys.settrace(None)
                self.act()
                return None
        return self.line


@contextlib.contextmanager
def an_end_to_all(seconds):
    """Raise Runaway if the core hangs: for seconds of this process alone, not of the clock."""

    def give_up(*_):
        raise Runaway

    outer = signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, 0.5)  # a step may swallow the first
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, outer)


class Stage:
    """Where a scenario is played: a loop on virtual time, and what happens on it."""

    TURNS = 300

    def __init__(self, kind):
        self.kind = kind
        self.reports = []
        self.problems = []
        self.tasks = {}  # by name
        self.ends = {}  # how often each was told to be done
        self.opened = {}
        self.closed = {}
        self.refused = None  # what the interrupting call has raised
        self.target = None
        self.paused = None
        self.new = None
        self.seen = set()
        self.interrupted = False
        self.cooperator = None

    # For scenarios

    def steps(self, name, plan):
        """Take steps: 's' is one, 'a' one that awaits, 'f' one that waits on a future."""
        loop = asyncio.get_running_loop()
        self.opened[name] = self.opened.get(name, 0) + 1
        try:
            for number, what in enumerate(plan):
                loop.spend(2.0**-9)
                if what == "s":
                    yield number
                elif what == "a":
                    assert (yield asyncio.sleep(0, number)) == number
                else:
                    future = loop.create_future()
                    loop.call_soon(lambda future=future: future.done() or future.set_result(7))
                    assert (yield future) == 7
            return name
        finally:
            self.closed[name] = self.closed.get(name, 0) + 1

    def watch(self, name, task):
        self.tasks[name] = task
        self.ends[name] = 0

        def ended(_):
            self.ends[name] += 1

        task.add_done_callback(ended)
        return task

    def cooperate(self, name, plan, **options):
        return self.watch(
            name, self.cooperator.cooperate(self.steps(name, plan), name=name, **options)
        )

    # Interrupting

    def interrupt(self, action, number):
        """Do what is to be done in the middle of everything."""
        self.interrupted = True
        tasks = [task for task in self.tasks.values() if hasattr(task, "pause")]
        tasks = tasks or list(self.cooperator.tasks)
        self.target = tasks[number % len(tasks)] if tasks else None
        try:
            if action == "cancel the caller":
                self.main.cancel()
            elif action == "stop all":
                self.cooperator.stop()
            elif action == "cooperate":
                self.new = self.cooperate("new", "ss")
            elif self.target is not None:
                getattr(self, action.replace(" ", "_"))(self.target)
        except (TaskFinished, SchedulerStopped) as error:
            self.refused = error
        except BaseException as error:  # noqa: BLE001 (nothing else may come out)
            self.problems.append(f"the call has raised {error!r}")

    def cancel(self, task):
        task.cancel("interrupted")

    def cancel_twice(self, task):
        task.cancel("interrupted")
        task.cancel("again")

    def stop(self, task):
        task.stop()

    def pause(self, task):
        task.pause()
        self.paused = task

    def pause_and_resume(self, task):
        task.pause()
        task.resume()

    # Playing

    async def play(self, scenario, interruption):
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.reports.append(context))
        if self.kind == "the loop's own":
            self.cooperator = get_cooperator()
        else:
            self.cooperator = Cooperator(time_slice=TimeSlice(2.0**-8, max_wait=0))
        self.main = asyncio.ensure_future(scenario(self))
        with interruption:
            await self.until_done(resume_after=40)
        for _ in range(3):  # for what the ends have scheduled
            await asyncio.sleep(0)
        self.check_end()
        before = self.cooperator.statistics().ticks
        for _ in range(20):
            await asyncio.sleep(0)
        if self.cooperator.statistics().ticks != before:
            self.problems.append("there are ticks, with nothing to do")

    async def until_done(self, resume_after):
        steps = None
        for turn in range(self.TURNS):
            self.check_counts()
            paused = self.paused
            if turn == resume_after:
                if steps is not None and paused.steps != steps and not paused.done():
                    self.problems.append("it has been stepped while it was paused")
                self.paused = None
                for task in self.cooperator.tasks:
                    while task.paused:
                        task.resume()
            elif paused is not None:
                if self.is_settled(turn):
                    steps = paused.steps if steps is None else steps
            elif self.is_over():
                return
            await asyncio.sleep(0)

    def is_over(self):
        return (
            self.main.done()
            and not self.cooperator.tasks
            and all(task.done() for task in self.tasks.values())
        )

    def is_settled(self, turn):
        """A pause counts from three turns after it was asked for."""
        self.seen.add(turn)
        return len(self.seen) > 3

    def check_counts(self):
        is_before = self.interrupted
        statistics = self.cooperator.statistics()
        tasks = len(self.cooperator.tasks)
        if is_before != self.interrupted:
            return  # in the middle of these lines
        counts = (statistics.ready, statistics.paused, statistics.waiting)
        if min(counts) < 0 or sum(counts) != tasks:
            self.problems.append(f"{counts} for {tasks} tasks")

    def check_end(self):
        problems = self.problems
        if not self.main.done():
            problems.append("the caller was never done")
        if self.cooperator.tasks:
            problems.append(f"left over: {self.cooperator.tasks!r}")
        for name, task in self.tasks.items():
            if not task.done():
                problems.append(f"{name} was never done")
            elif self.ends[name] != 1:
                problems.append(f"{name} was done {self.ends[name]} times")
        if self.opened != self.closed:
            problems.append(f"opened {self.opened}, closed {self.closed}")
        if self.reports:
            problems.append(f"reported: {self.reports[0]}")
        if self.main.done() and not self.main.cancelled() and self.main.exception():
            error = self.main.exception()
            if not isinstance(error, (TaskFinished, SchedulerStopped)):
                problems.append(f"the caller has got {error!r}")

    def check_results(self, action, natural):
        """Whoever was not meant has its result; who was, that or the wanted end."""
        for name, task in self.tasks.items():
            if not task.done():
                continue
            end = self.end_of(task)
            wanted = {natural.get(name, name)}
            if action == "cancel the caller":
                wanted.add("cancelled")
            elif action == "stop all":
                wanted |= {"SchedulerStopped", "TaskStopped"}
            elif task is self.target and action.startswith("cancel"):
                wanted.add("cancelled")
            elif task is self.target and action == "stop":
                wanted.add("TaskStopped")
            if end not in wanted:
                self.problems.append(f"{name} has ended with {end}")
        if action == "cooperate" and self.new is None:
            self.problems.append("there is no new task")

    @staticmethod
    def end_of(task):
        if task.cancelled():
            return "cancelled"
        if task.exception() is not None:
            return type(task.exception()).__name__
        return task.result()


async def gathered(stage):
    await asyncio.gather(*stage.tasks.values())


async def three_tasks_in_a_group(stage):
    for name, plan in (("one", "ss"), ("two", "sa"), ("three", "fs")):
        stage.cooperate(name, plan, group="g")
    await gathered(stage)


async def plain_tasks(stage):
    for name, plan in (("one", "sss"), ("two", "s"), ("three", "")):
        stage.cooperate(name, plan, weight=1 + len(plan))
    await gathered(stage)


async def tasks_that_wait(stage):
    stage.cooperate("one", "afa")
    stage.cooperate("two", "fs")
    await gathered(stage)


async def tasks_that_are_paused_and_stopped(stage):
    """The ends of these are of the scenario's own making, whatever else comes."""
    waits = stage.cooperate("waits", "sfsssss")
    other = stage.cooperate("other", "sssss")
    await asyncio.sleep(0)
    waits.pause()
    await asyncio.sleep(0)
    waits.resume()
    other.cancel()
    for _ in range(3):
        await asyncio.sleep(0)
    waits.stop()
    await asyncio.wait([waits, other])


async def an_accumulation(stage):
    first = asyncio.ensure_future(
        batch_accumulate(3, stage.steps("first", "ssss"), stage.cooperator)
    )
    second = asyncio.ensure_future(accumulate(stage.steps("second", "sas"), stage.cooperator))
    await asyncio.gather(first, second)


async def a_stream(stage):
    stream = batches(2, stage.steps("stream", "sssas"), stage.cooperator)
    async with stream:
        assert [list(batch) async for batch in stream]


async def code_at_checkpoints(stage):
    loop = asyncio.get_running_loop()

    async def computes():
        for _ in range(3):
            loop.spend(2.0**-8)
            await checkpoint()

    stage.cooperate("task", "ss")
    await asyncio.gather(computes(), computes(), *stage.tasks.values(), return_exceptions=True)


SCENARIOS = {
    three_tasks_in_a_group: "its own",
    plain_tasks: "its own",
    tasks_that_wait: "its own",
    tasks_that_are_paused_and_stopped: "its own",
    an_accumulation: "its own",
    a_stream: "its own",
    code_at_checkpoints: "the loop's own",
}
ACTIONS = [
    *("cancel", "cancel twice", "cancel the caller", "stop", "stop all"),
    *("pause", "pause and resume", "cooperate"),
]


def play(scenario, at=0, action=None):
    """Play a scenario, interrupted at one line; return the stage and the interruption."""
    stage = Stage(SCENARIOS[scenario])
    interruption = Interruption(at, lambda: stage.interrupt(action, at))
    loop = VirtualLoop(turn=2.0**-13)
    try:
        with an_end_to_all(seconds=5):
            loop.run_until_complete(stage.play(scenario, interruption))
    except Runaway:
        stage.problems.append("it goes on for ever")
    except Exception as error:  # noqa: BLE001
        stage.problems.append(f"out of the loop comes {error!r}")
    finally:
        end(loop, stage)
    return stage, interruption


def end(loop, stage):
    """Close the loop, and silence what was not looked at."""
    stage.main.cancel()
    for future in (*stage.tasks.values(), stage.main):
        if future.done() and not future.cancelled():
            future.exception()
    try:
        loop.run_until_complete(loop.shutdown_asyncgens())
    except Exception as error:  # noqa: BLE001
        stage.problems.append(f"out of the shutdown comes {error!r}")
    finally:
        loop.close()


def instants(lines, number, part):
    """Choose when to interrupt: each line once, at one of the times that it is reached.

    Which time that is depends on the number, so that all actions together see many. Of the
    lines one in so many is taken; which these are depends on the number, too.
    """
    times = defaultdict(list)
    for at, line in enumerate(lines, 1):
        times[line].append(at)
    chosen = (
        each[(number * 7 + index) % len(each)] for index, each in enumerate(times.values())
    )
    return sorted(chosen)[number % part :: part]


@pytest.fixture(autouse=True)
def no_collections():
    """Let the collector act at none of the lines: their number would not be the same."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class TestACallAtAnyLineOfTheCore:
    @pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
    def test_is_counted_alike_each_time(self, scenario):
        """What the other tests stand on; and nothing is wrong without an interruption."""
        lines = set()
        for _ in range(3):
            stage, interruption = play(scenario)
            assert stage.problems == []
            lines.add(tuple(interruption.lines))
        assert len(lines) == 1
        assert len(lines.pop()) > 100

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    @pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.replace(" ", "_"))
    @pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
    def test_loses_no_task_and_leaves_nothing_behind(self, scenario, action, part):
        stage, interruption = play(scenario)
        natural = {name: stage.end_of(task) for name, task in stage.tasks.items()}
        is_made_to_end = scenario is tasks_that_are_paused_and_stopped
        failures = []
        for at in instants(interruption.lines, ACTIONS.index(action), part):
            stage, interruption = play(scenario, at, action)
            assert len(interruption.lines) == at
            if not is_made_to_end:
                stage.check_results(action, natural)
            if stage.problems:
                failures.append((at, interruption.where, stage.problems[0]))
                if len(failures) == 10:
                    break
        assert failures == []


# Real signals, and finalizers


PROGRAM = """
import asyncio
import gc
import random
import signal
import sys
import time

from cooperative_aio import Cooperator, batch_accumulate, batches

how, seed, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
chance = random.Random(seed)
opened = closed = 0


class Finalized:
    acts = []

    def __del__(self):
        if self.acts and chance.random() < 0.02:
            self.acts.pop()()


def litter():
    garbage = Finalized()
    garbage.itself = garbage


def steps(count):
    global opened, closed
    opened += 1
    try:
        for number in range(count):
            if how == "finalizer":
                litter()
            if number % 7 == 3:
                yield asyncio.sleep(0)
            yield number
    finally:
        closed += 1


async def streamed(cooperator):
    async for _ in batches(10, steps(400), cooperator):
        pass


async def main(cooperator):
    await asyncio.gather(
        *(cooperator.cooperate(steps(400), group="g") for _ in range(3)),
        cooperator.cooperate(steps(400)),
        batch_accumulate(10, steps(400), cooperator, group="g"),
        streamed(cooperator),
    )


async def interrupted(number):
    reports = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reports.append(context))
    cooperator = Cooperator()
    task = asyncio.ensure_future(main(cooperator))

    def interrupt(*_):
        task.cancel()

    if how == "signal":
        signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0003, 0.008))
    else:
        Finalized.acts = [interrupt]
    try:
        await task
        ended = "finished"
    except asyncio.CancelledError:
        ended = "cancelled"
    signal.setitimer(signal.ITIMER_REAL, 0)
    Finalized.acts = []
    for _ in range(200):
        if not cooperator.tasks:
            break
        await asyncio.sleep(0.001)
    assert cooperator.tasks == (), (number, cooperator.tasks)
    assert reports == [], (number, reports)
    for _ in range(3):
        await asyncio.sleep(0)
    ticks = cooperator.statistics().ticks
    for _ in range(50):
        await asyncio.sleep(0)
    assert cooperator.statistics().ticks == ticks, number
    return ended


ends = []
if how == "finalizer":
    gc.set_threshold(chance.randint(3, 40), 2, 2)
for number in range(rounds):
    with asyncio.Runner() as runner:
        ends.append(runner.run(interrupted(number)))
    assert opened == closed, (number, opened, closed)
print(ends.count("cancelled"), "cancelled")
"""


class TestARealInterruption:
    @pytest.mark.parametrize("how", ["signal", "finalizer"])
    @pytest.mark.parametrize("seed", [1, 2])
    def test_at_a_random_moment_ends_everything_that_the_caller_waits_for(
        self, tmp_path, seed, how
    ):
        program = tmp_path / "program.py"
        program.write_text(textwrap.dedent(PROGRAM))
        done = subprocess.run(
            [sys.executable, "-W", "error", str(program), how, str(seed), "60"],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert (done.returncode, errors_in(done.stderr)) == (0, "")
        cancelled, word = done.stdout.split()
        assert word == "cancelled"
        assert int(cancelled) > 10
