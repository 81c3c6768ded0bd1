"""Set many functions aside for long: `python tests/functions/soak.py`, or `nox -s soak`.

Forty functions at a time, most of real libraries, are cancelled, stopped and dropped at
random, with short slices, a busy garbage collector, and signals that come at any instant.
Every `finally` and every `with` is counted, every result compared with that of the plain call.
Not collected by pytest: it takes as many seconds as SOAK_SECONDS says (600 by default).
"""

import asyncio
import collections
import difflib
import faulthandler
import gc
import json
import logging
import os
import random
import re
import signal
import threading
import time

import jinja2
import markdown
import pygments
import sqlparse
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from cooperative_aio import Cooperator, TaskStopped
from cooperative_aio.functions import give_way, steps_of, uninterrupted, wait_on

SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
AT_A_TIME = 40
SIGNALS = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGWINCH, signal.SIGIO]
TEXT = "# Title\n\n" + "Some *text* with [links](http://localhost) and `code`.\n\n" * 10
SOURCE = (
    "def work(one, two):\n    return [number for number in range(one) if number > two]\n" * 4
)
LOCK = threading.RLock()
inside: list = []
counts: collections.Counter = collections.Counter()


class Guard:
    """Count what is entered, and what is left."""

    def __enter__(self):
        counts["entered"] += 1

    def __exit__(self, *_):
        counts["left"] += 1


def count_in_loops(rounds):
    counts["entered"] += 1
    number = 0
    try:
        while number < rounds:
            number += 1
            counts["entered"] += 1
            try:
                while number % 7:
                    number += 1
            finally:
                counts["left"] += 1
    finally:
        counts["left"] += 1
    return number


def count_in_blocks(rounds):
    total = 0
    with Guard():
        for number in range(rounds):
            with Guard():
                while True:
                    total += number
                    if total % 3 == 0 or number % 3:
                        break
                    total += 1
    return total


def recurse(depth):
    with Guard():
        return depth if not depth else 1 + recurse(depth - 1)


def share_a_lock(rounds):
    for number in range(rounds):
        with LOCK:
            inside.append(number)
            for _ in range(20):
                pass
            counts["not alone"] += len(inside) != 1
            inside.pop()
    return rounds


def wait_and_give_way(rounds):
    with Guard():
        for _ in range(rounds):
            give_way()
            wait_on(asyncio.sleep(0))
            with uninterrupted():
                sum(range(100))
        try:
            return rounds
        finally:
            wait_on(asyncio.sleep(0))


def make_garbage(rounds):
    class Thing:
        def __del__(self):
            counts["freed"] += 1

    for _ in range(rounds):
        thing = Thing()
        thing.cycle = thing
        counts["made"] += 1
    return rounds


def log_lines(rounds):
    for number in range(rounds):
        LOGGER.warning("line %d", number)
    return rounds


LOGGER = logging.Logger("soak")  # noqa: LOG001
LOGGER.addHandler(logging.NullHandler())
TEMPLATE = jinja2.Environment(autoescape=True).from_string(
    "{% for n in numbers %}<li>{{ n }} {{ loop.index }}</li>{% endfor %}"
)
ITERENCODE = json.JSONEncoder(indent=1, default=str)

JOBS = {
    "loops": lambda: count_in_loops(3000),
    "blocks": lambda: count_in_blocks(2000),
    "recursion": lambda: recurse(300),
    "lock": lambda: share_a_lock(300),
    "garbage": lambda: make_garbage(500),
    "logging": lambda: log_lines(300),
    "markdown": lambda: markdown.markdown(TEXT),
    "jinja2": lambda: TEMPLATE.render(numbers=range(500)),
    "pygments": lambda: pygments.highlight(SOURCE, PythonLexer(), HtmlFormatter()),
    "sqlparse": lambda: sqlparse.format(
        "select a, b from c where d in (1, 2) " * 3, reindent=True
    ),
    "json": lambda: ITERENCODE.encode([{"n": number} for number in range(300)]),
    "difflib": lambda: list(difflib.unified_diff(SOURCE.split(), TEXT.split())),
    "sort": lambda: sorted(range(3000), key=lambda number: number * 7919 % 3001),
    "re": lambda: re.sub(r"\w+", lambda match: match[0][::-1], TEXT),
}
PLAIN = {name: job() for name, job in JOBS.items()}
JOBS["waiting"] = lambda: wait_and_give_way(20)
PLAIN["waiting"] = 20


def send_signals(until):
    """Be the thread that sends signals at any instant."""
    while not until.is_set():
        for number in random.sample(SIGNALS, 3):
            os.kill(os.getpid(), number)
        time.sleep(random.random() * 0.003)


async def churn(seconds):
    """Start functions and end them, in every way that there is."""
    end = time.monotonic() + seconds
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: counts.update(["reported"]) or print(context))
    cooperator = Cooperator(time_slice=0.0003)
    tasks: dict = {}
    while time.monotonic() < end or tasks:
        while len(tasks) < AT_A_TIME and time.monotonic() < end:
            name = random.choice(list(JOBS))
            tasks[cooperator.cooperate(steps_of(JOBS[name]), name=name)] = name
        await asyncio.sleep(0.002)
        for task in random.sample(list(tasks), min(4, len(tasks))):
            if not task.done() and task.steps and random.random() < 0.4:
                if random.random() < 0.5:
                    task.cancel()
                else:
                    task.stop()
        for task in [task for task in tasks if task.done()]:
            name = tasks.pop(task)
            if task.cancelled() or isinstance(task.exception(), TaskStopped):
                counts["ended"] += 1
            else:
                counts["done"] += 1
                assert task.result() == PLAIN[name], name
        counts["beats"] += 1


def main():
    faulthandler.enable()
    for number in SIGNALS:
        signal.signal(number, lambda *_: counts.update(["signals"]))
    factories = [asyncio.new_event_loop]
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        pass
    else:
        factories.append(uvloop.new_event_loop)
    counts.clear()
    gc.set_threshold(200, 3, 3)
    until = threading.Event()
    sender = threading.Thread(target=send_signals, args=[until])
    sender.start()
    try:
        rounds = max(len(factories), round(SECONDS / 30))
        for number in range(rounds):
            with asyncio.Runner(loop_factory=factories[number % len(factories)]) as runner:
                runner.run(churn(SECONDS / rounds))
    finally:
        until.set()
        sender.join()
    gc.collect()
    assert counts["entered"] == counts["left"], "a finally was skipped"
    assert not counts["not alone"], "two functions were in one lock"
    assert not counts["reported"], "something was reported to the loop"
    assert counts["made"] == counts["freed"], "something was not freed"
    assert counts["done"] > 0 < counts["ended"]
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


if __name__ == "__main__":
    main()
