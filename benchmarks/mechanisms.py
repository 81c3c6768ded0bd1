"""What can take the loop back from a function that never yields, and what does each cost?

Small programs of each mechanism, without the rules that make one safe: they show what is
possible, and cooperative_aio's own beside them what is left of it. Each runs one function,
and four at once, beside a heart that beats every 5 ms.

Prints rows of a table for docs/explanation/setting-functions-aside.md, for the Python that
runs it and for one loop: run it with each Python, with and without `--uvloop`.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable
from itertools import chain
from typing import Any, ClassVar

import uvloop
from _common import machine, parse_arguments
from greenlet import getcurrent, greenlet

from cooperative_aio.functions import steps_of

SLICE = 0.002  # seconds
BEAT = 0.005  # seconds
UNITS = 4000  # of work, for one function; a unit takes some 50 microseconds


def unit(number: int) -> int:
    """Do what takes some 50 microseconds: a call and a loop."""
    total = 0
    for value in range(500):
        total += value ^ number
    return total


def work(units: int) -> int:
    total = 0
    for number in range(units):
        total ^= unit(number)
    return total


class _Mechanism:
    """A way to interrupt a function: what a step of it is."""

    name = ""
    available = True

    def __init__(self) -> None:
        self.deadline = 0.0
        self.running: Any = None

    def start(self) -> None:
        """Prepare, before the first step."""

    def end(self) -> None:
        """Take back what `start()` did."""

    def call(self, function: Callable[[], object]) -> object:
        """Be called on the function's own stack."""
        return function()

    def arm(self) -> None:
        """Have the function interrupted when its slice is over."""

    def disarm(self) -> None:
        """Take that back."""

    def leave_if_it_is_time(self) -> None:
        running = self.running
        if time.perf_counter() >= self.deadline and getcurrent() is running:
            running.parent.switch()

    async def run(self, function: Callable[[], object]) -> int:
        """Run a function; return how many steps it took."""
        stack = greenlet(self.call)
        given: tuple[Any, ...] = (function,)
        steps = 0
        while not stack.dead:
            stack.parent = getcurrent()
            self.deadline = time.perf_counter() + SLICE
            self.running = stack
            self.arm()
            try:
                stack.switch(*given)
            finally:
                self.disarm()
                self.running = None
            given = ()
            steps += 1
            await asyncio.sleep(0)
        return steps


class _BySignal(_Mechanism):
    name = "a repeating timer, its handler leaves"

    def start(self) -> None:
        self._before = signal.signal(signal.SIGALRM, lambda *_: self.leave_if_it_is_time())

    def end(self) -> None:
        signal.signal(signal.SIGALRM, self._before)

    def arm(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, SLICE, 0.001)

    def disarm(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)


class _ByMonitoring(_Mechanism):
    name = "`sys.monitoring`, events always on"
    available = sys.version_info >= (3, 12)
    TOOL: ClassVar[int] = 4

    def start(self) -> None:
        monitoring: Any = sys.monitoring  # type: ignore[attr-defined]
        self.monitoring = monitoring
        self.events = monitoring.events.JUMP | monitoring.events.PY_START
        monitoring.use_tool_id(self.TOOL, "mechanisms")
        for event in (monitoring.events.JUMP, monitoring.events.PY_START):
            monitoring.register_callback(self.TOOL, event, self.on_event)
        self.begin()

    def begin(self) -> None:
        self.monitoring.set_events(self.TOOL, self.events)

    def on_event(self, *_: object) -> None:
        self.leave_if_it_is_time()

    def end(self) -> None:
        self.monitoring.set_events(self.TOOL, 0)
        self.monitoring.free_tool_id(self.TOOL)


class _ByMonitoringFromAThread(_ByMonitoring):
    name = "the same, events on when a watcher thread says so"

    def begin(self) -> None:
        self.is_over = False
        self.armed = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self) -> None:
        while not self.is_over:
            self.armed.wait()
            left = self.deadline - time.perf_counter()
            if left > 0:
                time.sleep(left)
            elif self.running is not None and self.armed.is_set():
                self.armed.clear()
                self.monitoring.set_events(self.TOOL, self.events)

    def on_event(self, *_: object) -> None:
        if threading.current_thread() is not self.thread:  # whose code has events as well
            self.monitoring.set_events(self.TOOL, 0)
            self.leave_if_it_is_time()

    def arm(self) -> None:
        self.armed.set()

    def disarm(self) -> None:
        self.armed.clear()
        self.monitoring.set_events(self.TOOL, 0)

    def end(self) -> None:
        self.is_over = True
        self.armed.set()
        self.thread.join()
        super().end()


class _ByTracing(_Mechanism):
    name = "`sys.settrace`"

    def call(self, function: Callable[[], object]) -> object:
        sys.settrace(self.trace)
        try:
            return function()
        finally:
            sys.settrace(None)

    def trace(self, *_: object) -> Any:
        self.leave_if_it_is_time()
        return self.trace


class _Ours(_Mechanism):
    name = "cooperative_aio.functions"

    async def run(self, function: Callable[[], object]) -> int:
        # By hand, as the others: slices and turns are the same for all
        steps = 1
        for _ in steps_of(function):
            steps += 1
            await asyncio.sleep(0)
        return steps


class _ByThread(_Mechanism):
    name = "`asyncio.to_thread`"

    async def run(self, function: Callable[[], object]) -> int:
        await asyncio.to_thread(function)
        return 1


MECHANISMS = [_BySignal, _Ours, _ByMonitoring, _ByMonitoringFromAThread, _ByTracing, _ByThread]


async def beat(late: list[float]) -> None:
    while True:
        before = time.perf_counter()
        await asyncio.sleep(BEAT)
        late.append(1000 * (time.perf_counter() - before - BEAT))


async def measure(make: type[_Mechanism], count: int, units: int) -> dict[str, Any]:
    """Run functions by one mechanism; return CPU seconds, late beats in ms, and steps."""
    mechanism = make()
    late: list[float] = []
    gc.collect()
    mechanism.start()
    try:
        beating = asyncio.create_task(beat(late))
        await asyncio.sleep(0)
        before = time.process_time()
        steps = await asyncio.gather(
            *[mechanism.run(lambda: work(units)) for _ in range(count)]
        )
        used = time.process_time() - before
        await asyncio.sleep(BEAT)
        beating.cancel()
    finally:
        mechanism.end()
    return {"used": used, "late": late, "steps": steps}


def shown(late: list[float]) -> str:
    ordered = sorted(late)
    return f"{statistics.median(ordered):.1f} / {ordered[int(0.99 * len(ordered))]:.1f}"


async def main(rounds: int, units: int) -> list[str]:
    """Return the rows of the table."""
    results: dict[tuple[type[_Mechanism], int], list[dict[str, Any]]] = {}
    plain = []
    work(units)
    for _ in range(rounds):
        before = time.process_time()
        work(units)
        plain.append(time.process_time() - before)
        for make in MECHANISMS:
            for count in (1, 4) if make.available else ():
                result = await measure(make, count, units)
                results.setdefault((make, count), []).append(result)
    rows = []
    for make in MECHANISMS:
        if make.available:
            one, four = results[make, 1], results[make, 4]
            ratios = [result["used"] / alone for result, alone in zip(one, plain, strict=True)]
            late = [list(chain(*(result["late"] for result in found))) for found in (one, four)]
            steps = ", ".join(str(number) for number in four[-1]["steps"])
            rows.append(
                f"| {make.name} | {statistics.median(ratios):.2f}"
                f" ({min(ratios):.2f} to {max(ratios):.2f})"
                f" | {shown(late[0])} | {shown(late[1])} | {steps} |"
            )
    return rows


if __name__ == "__main__":
    parser = parse_arguments(__doc__)
    parser.add_argument("--uvloop", action="store_true", help="measure on uvloop")
    options = parser.parse_args()
    loop = "uvloop" if options.uvloop else "asyncio"
    factory = uvloop.new_event_loop if options.uvloop else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        found = runner.run(
            main(2 if options.quick else 9, UNITS // 4 if options.quick else UNITS)
        )
    print(f"{machine()}; {loop}\n")
    print(
        "| mechanism | CPU time / plain call | beats late beside one, ms, median / 99th"
        " | beside four | steps of the four |"
    )
    print("| --- | --- | --- | --- | --- |")
    print("\n".join(found))
