"""The guides for those who come from elsewhere: their tables, their examples, their claims.

What the tables say of the ancestors themselves is shown, where those are installed, by
test_coming_from_twisted.py and test_coming_from_cooperative.py.
"""

import ast
import asyncio
import functools
import importlib.util
import re
import select
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from core_support import Stepwise, errors_in, on_both_loops, outcome, turns, work

from cooperative_aio import TaskStopped, accumulate, batch_accumulate, cooperate, tasklet
from cooperative_aio.testing import virtual_time

TESTS = Path(__file__).parent
ROOT = TESTS.parent
EXAMPLES = ROOT / "examples"

# Every public name of the ancestors, and what is public of their classes.
NAMES = {
    "twisted": {  # twisted.internet.task of Twisted 26.10
        "Clock": [
            "advance",
            "callLater",
            "calls",
            "getDelayedCalls",
            "pump",
            "rightNow",
            "seconds",
        ],
        "CooperativeTask": ["pause", "resume", "stop", "whenDone"],
        "Cooperator": ["coiterate", "cooperate", "running", "start", "stop"],
        "LoopingCall": [
            *("a", "call", "clock", "deferred", "f", "interval", "kw", "reset", "running"),
            *("start", "starttime", "stop", "withCount"),
        ],
        "NotPaused": [],
        "SchedulerError": [],
        "SchedulerStopped": [],
        "TaskDone": [],
        "TaskFailed": [],
        "TaskFinished": [],
        "TaskStopped": [],
        "coiterate": [],
        "cooperate": [],
        "deferLater": [],
        "react": [],
    },
    "cooperative": {  # cooperative 0.1.12; 0.1.0 had the last three, in place of the others
        "ValueBucket": ["contents", "drain_contents"],
        "accumulate": [],
        "accumulation_handler": [],
        "batch_accumulate": [],
        "cooperative_accumulate": [],
        "cooperative_accumulate_batched": [],
        "cooperative_accumulation_handler": [],
    },
    "kiwi": {  # kiwi.tasklet of Kiwi 3.0.4
        "Message": ["ACCEPT", "DEFER", "DISCARD", "dest", "name", "sender", "value"],
        "Tasklet": [
            *("STATE_MSGSEND", "STATE_RUNNING", "STATE_SUSPENDED", "STATE_ZOMBIE"),
            *("add_join_callback", "gen", "get_message_actions", "message_actions"),
            *("remove_join_callback", "return_value", "run", "send_message", "start", "state"),
            *("wait_condition_fired", "wait_list"),
        ],
        "WaitCondition": ["arm", "disarm", "triggered"],
        "WaitForCall": ["args", "kwargs", "return_value"],
        "WaitForIO": ["condition", "filedes"],
        "WaitForIdle": [],
        "WaitForMessages": ["actions"],
        "WaitForProcess": ["pid", "status"],
        "WaitForSignal": ["class_", "object", "signal", "signal_args"],
        "WaitForTasklet": ["retval"],
        "WaitForTimeout": ["restart", "timeout"],
        "get_event": [],
        "run": [],
        "task": [],
    },
}

on_every_guide = pytest.mark.parametrize("guide", NAMES)


# --- the tables -------------------------------------------------------------------------


GUIDES = ROOT / "docs" / "coming-from"
SHOWN = ROOT / "docs" / "project" / "coming-from.md"  # which tests show each row of the guides


def text_of(guide):
    """Return the text of a guide, which may have several pages: the shortest name is first."""
    pages = sorted(GUIDES.glob(f"{guide}*.md"), key=lambda page: len(page.name))
    return "\n".join(page.read_text("utf-8") for page in pages)


def sections_of(text, level="##"):
    """Return the sections of a page, or of a part of one, by their titles."""
    parts = re.split(rf"^{level} (.*)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows_of(text):
    """Return the rows of all tables, each as its cells, without their headers."""
    tables = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    rows = [row for table in tables for row in table.splitlines()[2:]]
    return [[cell.strip() for cell in row[1:-1].split("|")] for row in rows]


def claims_of(guide):
    """Return what a guide says, by its sections: rows, and the items of 'What is the same'."""
    claims = {}
    for section, text in sections_of(text_of(guide)).items():
        claims[section] = [cells[0] for cells in rows_of(text)]
        if section == "What is the same":
            items = re.findall(r"^- (.*(?:\n  .*)*)", text, re.MULTILINE)
            claims[section] += [" ".join(item.split()) for item in items]
    return {section: found for section, found in claims.items() if found}


def shown_of(guide):
    """Return the rows that tests show, and the tests, by the sections of the guide."""
    of_guide = sections_of(SHOWN.read_text("utf-8"))[f"From {guide}"]
    return {
        section: {cells[0]: names_of_tests(cells[-1]) for cells in rows_of(text)}
        for section, text in sections_of(of_guide, "###").items()
    }


def names_of_tests(text):
    return re.findall(r"`((?:Test\w+\.)?test_\w+)`", text)


@functools.cache
def existing_tests():
    """Return the names of all tests: `test_…` or `Test….test_…`."""
    names = set()
    for path in TESTS.rglob("test_*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            names.add(getattr(node, "name", None))
            if isinstance(node, ast.ClassDef):
                names |= {f"{node.name}.{getattr(part, 'name', None)}" for part in node.body}
    return names


@on_every_guide
def test_every_row_of_a_guide_has_tests_that_show_it(guide):
    claims, shown = claims_of(guide), shown_of(guide)
    assert list(claims) == list(shown)
    for section, rows in claims.items():
        assert rows == list(shown[section]), section
        for row, tests in shown[section].items():
            assert tests, row


@on_every_guide
def test_every_test_that_shows_a_row_exists(guide):
    sections = shown_of(guide).values()
    named = {name for section in sections for tests in section.values() for name in tests}
    assert len(named) > 10
    assert sorted(named - existing_tests()) == []


def test_no_guide_names_tests_itself():
    for guide in NAMES:
        assert names_of_tests(text_of(guide)) == []


@on_every_guide
def test_every_name_of_an_ancestor_is_in_its_guide(guide):
    code = "\n".join(re.findall(r"`([^`\n]+)`", text_of(guide)))
    wanted = [*NAMES[guide], *(name for names in NAMES[guide].values() for name in names)]
    assert [name for name in wanted if not re.search(rf"\b{name}\b", code)] == []


# --- the examples -----------------------------------------------------------------------


def run(*arguments):
    """Run Python; return what it printed, as lines."""
    done = subprocess.run(
        [sys.executable, "-P", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (errors_in(done.stderr), done.returncode) == ("", 0), done.stdout
    return done.stdout.splitlines()


def load(example):
    """Import an example, so that a test may replace parts of it."""
    spec = importlib.util.spec_from_file_location(example, EXAMPLES / f"{example}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_from_twisted_tells_which_ports_are_open():
    with socket.socket() as listening, socket.socket() as deaf:
        for each in (listening, deaf):
            each.bind(("127.0.0.1", 0))
        listening.listen()
        ports = [each.getsockname()[1] for each in (deaf, listening, deaf, deaf, listening)]
        program = str(EXAMPLES / "from_twisted.py")
        lines = run(program, "127.0.0.1", *map(str, ports), "--at-once", "2")
    answers = ["closed", "open", "closed", "closed", "open"]
    expected = zip(ports, answers, strict=True)
    assert lines == [f"127.0.0.1:{port} {answer}" for port, answer in expected]


@virtual_time
async def test_from_twisted_asks_so_many_at_once_and_no_more():
    example = load("from_twisted")
    under_way = []
    most = []

    async def ask(host, port):
        under_way.append(port)
        most.append(len(under_way))
        await asyncio.sleep(1)
        under_way.remove(port)
        return f"answer of {port}"

    example.ask = ask
    answers = await example.ask_all("host", range(12), 5)
    assert answers == [f"answer of {port}" for port in range(12)]
    assert most == [1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2]
    assert asyncio.get_running_loop().time() == 3  # 5, 5 and 2, a second each


@virtual_time
async def test_from_twisted_calls_a_port_silent_that_does_not_answer(monkeypatch):
    example = load("from_twisted")

    async def never(host, port):
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(asyncio, "open_connection", never)
    assert await example.ask_all("host", [1, 2], 5) == ["silent", "silent"]
    assert asyncio.get_running_loop().time() == example.PATIENCE


def test_from_twisted_wants_at_least_one_at_once(capsys):
    example = load("from_twisted")
    with pytest.raises(SystemExit, match="2"):
        asyncio.run(example.main(None, "host", "80", "--at-once", "0"))
    assert "--at-once must be at least 1" in capsys.readouterr().err


@pytest.fixture(scope="module")
def from_cooperative():
    """Run it once, and return its lines."""
    return run(str(EXAMPLES / "from_cooperative.py"))


def test_from_cooperative_computes_what_the_ancestor_did(from_cooperative):
    assert from_cooperative[-1] == (  # what the example of cooperative 0.1.12 prints
        "[148331850000.0, 114998850000.0, 26666400000.0, 93332400000.0, None, None, None]"
    )
    for line in (
        *("first for 54.0: 89999100000.0", "second for 54.0: 148331850000.0"),
        *("first for 42: 69999300000.0", "second for 42: 114998850000.0"),
        *("first for 10: 16666500000.0", "second for 10: 26666400000.0"),
        *("first for 34: 56666100000.0", "second for 34: 93332400000.0"),
    ):
        assert line in from_cooperative


def test_from_cooperative_does_all_at_once(from_cooperative):
    lines = from_cooperative
    assert len(lines) == 44
    assert lines[:4] == [f"starting {number}" for number in (54.0, 42, 10, 34)]
    for number, scaled in ((54.0, 89), (42, 69), (10, 16), (34, 56)):
        places = [
            lines.index(f"{what} {each}")
            for each in (number, scaled)
            for what in ("starting", "1/4 for", "1/2 for", "3/4 for")
        ]
        assert places == sorted(places)
    requests = [f"########## simulated request {n} ############" for n in (1, 2, 3)]
    assert [line for line in lines if line in requests] == requests


# Runs an example's main() on a loop whose time jumps.
VIRTUAL = textwrap.dedent("""
    import asyncio, builtins, runpy, sys
    from cooperative_aio.testing import VirtualLoop
    program = runpy.run_path(sys.argv[1])
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(program["main"](sys.argv[2:]))
        print(runner.get_loop().time())
""")


def test_from_kiwi_prints_a_number_a_second():
    lines = run("-c", VIRTUAL, str(EXAMPLES / "from_kiwi.py"))
    assert lines == [*(f">>>  {number}" for number in range(10)), "10.0"]


def test_from_kiwi_runs_in_real_time_too():
    lines = run(str(EXAMPLES / "from_kiwi.py"), "3", "--every", "0.01")
    assert lines == [">>>  0", ">>>  1", ">>>  2"]


# --- what differs from Twisted ----------------------------------------------------------


@on_both_loops
async def test_who_ends_or_pauses_makes_nobody_miss_a_turn():
    log = []
    cooperator = Stepwise()
    for letters in ("a", "bbb", "ccc"):
        cooperator.cooperate(work(log, letters))
    cooperator.ticks.run()
    assert log == list("abcbcbc")

    log.clear()
    tasks = [cooperator.cooperate(work(log, letters)) for letters in ("aaa", "bbb", "ccc")]
    cooperator.ticks.tick()
    tasks[0].pause()
    cooperator.ticks.tick(3)
    assert log == list("abcb")
    cooperator.stop()


@on_both_loops
async def test_a_future_that_was_yielded_keeps_its_result():
    loop = asyncio.get_running_loop()
    future, failing = loop.create_future(), loop.create_future()

    def waits():
        yield future
        yield failing

    task = cooperate(waits())
    future.set_result("the result")
    failing.set_exception(LookupError("the failure"))
    with pytest.raises(LookupError, match="the failure"):
        await task
    assert (outcome(future), outcome(failing)) == ("the result", LookupError)


@on_both_loops
async def test_who_waits_is_told_on_the_next_turn_and_not_inside_of_stop():
    log = []
    task = Stepwise().cooperate(work([], "abc"))
    task.when_done().add_done_callback(lambda future: log.append(outcome(future)))
    task.stop()
    log.append("stop() has returned")
    await turns()
    assert log == ["stop() has returned", TaskStopped]


@on_both_loops
async def test_what_is_done_already_is_waited_for_until_the_next_turn():
    log = []
    done = asyncio.get_running_loop().create_future()
    done.set_result(None)

    def waits():
        log.append("before")
        yield done
        log.append("after")

    cooperator = Stepwise()
    task = cooperator.cooperate(waits())
    cooperator.ticks.run()
    assert (log, task.waiting) == (["before"], True)
    await turns()
    cooperator.ticks.run()
    assert log == ["before", "after"]


@on_both_loops
async def test_a_future_that_fails_when_its_task_was_stopped_changes_nothing():
    future = asyncio.get_running_loop().create_future()
    cooperator = Stepwise()
    task = cooperator.cooperate(iter([future]))
    cooperator.ticks.tick()
    task.stop()
    future.set_exception(LookupError("for somebody else"))
    await turns()
    assert (outcome(task), outcome(future)) == (TaskStopped, LookupError)
    with pytest.raises(TaskStopped, match="cannot pause a stopped task"):
        task.pause()


async def raises(error):
    raise error


def inline(log, good, bad):
    """Be the body of an inlineCallbacks function."""
    log.append((yield good))
    try:
        yield bad
    except LookupError as error:
        log.append(str(error))
    log.append((yield "no awaitable"))
    return "returned"


@on_both_loops
async def test_the_body_of_an_inline_callbacks_function_runs_as_a_task():
    log = []
    body = inline(log, asyncio.sleep(0, "result"), raises(LookupError("failure")))
    assert await cooperate(body) == "returned"
    assert log == ["result", "failure", None]


@on_both_loops
async def test_gather_raises_the_failure_itself_and_leaves_the_others_running():
    log = []
    cooperator = Stepwise()
    tasks = [
        cooperator.cooperate(each) for each in (work(log, "ab"), inline([], 1, 2), iter("x"))
    ]
    failing = cooperator.cooperate(iter([raises(LookupError("itself"))]))
    together = asyncio.gather(failing, *tasks)
    while not together.done():
        if cooperator.ticks.pending:
            cooperator.ticks.tick()
        await asyncio.sleep(0)
    with pytest.raises(LookupError, match="itself"):
        await together
    cooperator.ticks.run()
    assert [outcome(task) for task in tasks] == [None, "returned", None]


@on_both_loops
async def test_gather_gives_failures_as_results_if_asked_to():
    def fails():
        yield
        raise LookupError("a result")

    results = await asyncio.gather(
        cooperate(iter("a")), cooperate(fails()), return_exceptions=True
    )
    assert (results[0], repr(results[1])) == (None, "LookupError('a result')")


@on_both_loops
async def test_a_thread_is_one_more_thing_to_wait_for():
    def asks():
        thread = yield asyncio.to_thread(threading.current_thread)
        return thread is threading.current_thread()

    assert await cooperate(asks()) is False


# --- what differs from cooperative ------------------------------------------------------


def values(log, letters):
    for letter in letters:
        log.append(letter)
        yield letter


@on_both_loops
async def test_accumulations_take_turns_and_a_batch_is_one_turn():
    log = []
    cooperator = Stepwise()
    together = asyncio.gather(
        accumulate(values(log, "ab"), cooperator),
        accumulate(values(log, "cd"), cooperator),
        batch_accumulate(3, values(log, "efgh"), cooperator),
        accumulate(values(log, "ij"), cooperator),
    )
    await asyncio.sleep(0)
    cooperator.ticks.run()
    results = await together
    assert ["".join(result) for result in results] == ["ab", "cd", "efgh", "ij"]
    assert "".join(log) == "acefgibdhj"


# --- what differs from Kiwi -------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "arguments"),
    [
        (tasklet.WaitForTimeout, [1]),
        (tasklet.WaitForIdle, []),
        (tasklet.WaitForIO, [0]),
    ],
)
def test_there_are_no_priorities(condition, arguments):
    with pytest.raises(TypeError, match="priority"):
        condition(*arguments, priority=0)


async def test_a_list_that_is_yielded_is_left_as_it_is():
    def child(call):
        yield call

    def body(waits):
        yield waits

    call = tasklet.WaitForCall()
    waits = [child(call), tasklet.WaitForTimeout(1000)]
    before = list(waits)
    running = tasklet.run(body(waits))
    assert waits == before
    assert isinstance(running.wait_list[0], tasklet.WaitForTasklet)
    call()
    await running


def test_conditions_show_what_they_were_made_with():
    class Emitter:
        @classmethod
        def connect(cls, name, callback):
            """Be there."""

        @classmethod
        def disconnect(cls, handle):
            """Be there."""

    with socket.socket() as readable:
        assert tasklet.WaitForIO(readable).filedes is readable
    assert tasklet.WaitForTimeout(5).timeout == 5
    assert tasklet.WaitForProcess(1).pid == 1
    assert tasklet.WaitForSignal(Emitter, "x").class_ is Emitter
    assert tasklet.WaitForSignal(Emitter(), "x").signal == "x"
    actions = tasklet.WaitForMessages(accept="a", defer=["d"], discard=("x",)).actions
    assert actions == {
        "a": tasklet.Message.ACCEPT,
        "d": tasklet.Message.DEFER,
        "x": tasklet.Message.DISCARD,
    }


@pytest.mark.skipif(sys.platform == "win32", reason="the loop has no add_reader there")
async def test_the_flags_of_glib_are_taken_but_not_given_back():
    io_in, io_pri, io_out = 1, 2, 4  # GLib's
    assert (io_in, io_out) == (select.POLLIN, select.POLLOUT)

    def body(condition):
        event = yield condition
        return event.condition

    left, right = socket.socketpair()
    with left, right:
        right.send(b"x")
        for flags, expected in (
            (io_in, tasklet.WaitForIO.READABLE),
            (io_out, tasklet.WaitForIO.WRITABLE),
            (io_pri, tasklet.WaitForIO.WRITABLE),
        ):
            condition = await tasklet.run(body(tasklet.WaitForIO(left, flags)))
            assert condition == expected
        assert condition != io_out


@pytest.mark.parametrize("flags", [8, 16, 1 | 8 | 16])  # IO_ERR, IO_HUP, those and IO_IN
def test_flags_of_glib_that_asyncio_lacks_are_refused(flags):
    with pytest.raises(ValueError, match="condition must be readable, writable or both, got"):
        tasklet.WaitForIO(0, flags)


@pytest.mark.skipif(sys.platform == "win32", reason="there is nothing to wait by there")
async def test_the_status_of_a_process_stays():
    def body(condition):
        yield condition

    def child():
        return subprocess.Popen([sys.executable, "-S", "-c", "raise SystemExit(3)"])

    with child() as process:
        condition = tasklet.WaitForProcess(process.pid)
        await tasklet.run(body(condition))
    assert (condition.status, condition.returncode, process.returncode) == (3 << 8, 3, 3)
