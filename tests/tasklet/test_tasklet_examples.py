"""The examples, run as their users run them; the long waits in virtual time."""

import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from core_support import errors_in

EXAMPLES = Path(__file__).parents[2] / "examples"

# Runs an example's main() on a loop whose time jumps, in a process of its own.
VIRTUAL = textwrap.dedent("""
    import asyncio, runpy, sys
    from cooperative_aio.testing import VirtualLoop
    program = runpy.run_path(sys.argv[1])
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(program["main"](sys.argv[2:]))
""")


def run(*command):
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=300, check=True
    )
    assert errors_in(done.stderr) == ""
    return done.stdout.splitlines()


def run_virtually(example, *arguments):
    return run("-c", VIRTUAL, str(EXAMPLES / example), *arguments)


def test_the_counter_ticks_every_second_ten_times():
    ticks = [f"tick {n} after {n}.0 s" for n in range(1, 11)]
    assert run_virtually("tasklet_counter.py") == [*ticks, "10 ticks"]


def test_the_counter_runs_in_real_time_too():
    *ticks, last = run(str(EXAMPLES / "tasklet_counter.py"), "2", "--every", "0.01")
    for n, line in enumerate(ticks, 1):
        assert re.fullmatch(rf"tick {n} after \d+\.\d s", line)  # however busy the machine is
    assert (len(ticks), last) == (2, "2 ticks")


def test_the_printer_prints_the_pages_in_the_order_they_were_sent():
    pages = [f">>> clerk {c}, page {p}" for p in (1, 2, 3) for c in (1, 2, 3)]
    assert run_virtually("tasklet_messages.py") == [*pages, "9 pages printed"]


def test_the_printer_runs_in_real_time_too():
    lines = run(str(EXAMPLES / "tasklet_messages.py"), "1", "--pages", "2", "--seconds", "0.01")
    assert lines == [">>> clerk 1, page 1", ">>> clerk 1, page 2", "2 pages printed"]


def command(code):
    return f"{sys.executable} -S -c '{code}'"


def supervise(*arguments):
    return subprocess.Popen(
        [sys.executable, str(EXAMPLES / "tasklet_supervisor.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_supervisor_restarts_what_dies_and_gives_up_in_the_end():
    failing = command("raise SystemExit(3)")
    supervisor = supervise("--restarts", "2", "--backoff", "0.01", failing)
    out, err = supervisor.communicate(timeout=100)
    lines = out.splitlines()
    assert (supervisor.returncode, err) == (0, "")
    assert sum(line.startswith("started") for line in lines) == 3
    assert sum(line.endswith("ended with 3") for line in lines) == 3
    assert lines[-2:] == [f"giving up {failing!r}", "done after 3 starts"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_supervisor_stops_everything_on_a_signal(number):
    tell = 'import os, signal, time; os.write(1, b"1\\n"); '
    obedient = command(tell + "time.sleep(60)")
    deaf = command(
        "import signal; signal.signal(15, signal.SIG_IGN); " + tell + "time.sleep(60)"
    )
    dying = command(tell)
    supervisor = supervise("--backoff", "60", "--grace", "1", obedient, deaf, dying)
    lines, ready = [], 0
    while ready < 3 or not any("ended with 0" in line for line in lines):
        line = supervisor.stdout.readline()
        assert line, supervisor.stderr.read()
        lines.append(line.strip())
        ready += lines[-1] == "1"
    children = [int(line.rpartition(" ")[2]) for line in lines if line.startswith("started")]
    supervisor.send_signal(number)
    out, err = supervisor.communicate(timeout=100)
    assert (supervisor.returncode, err) == (0, "")
    first, *rest, last = out.splitlines()
    assert first == f"{number.name}: stopping 3 programs"
    assert sorted(rest) == sorted(
        [
            f"stopped {obedient!r}, it ended with -15",
            f"{deaf!r} does not listen",
            f"stopped {deaf!r}, it ended with -9",
        ]
    )
    assert last == "done after 3 starts"
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
