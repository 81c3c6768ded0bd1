"""What can take the loop back from a function that never yields, and what does each cost?

Small programs of each mechanism, without the rules that make one safe: they show what is
possible, and cooperative_aio's own beside them what is left of it. Each runs one function,
and four at once, beside a heart that beats every 5 ms.

`sys.monitoring` is there from Python 3.12 on: run it with 3.13, too.
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
from typing import Any, ClassVar

import uvloop
from _common import Report, parse_arguments
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


def percentile(late: list[float], part: float) -> float:
    return sorted(late)[int(part * len(late))]


async def main(report: Report, loop: str, rounds: int, units: int) -> None:
    """Measure all mechanisms on the running loop, in interleaved rounds."""
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
    for (make, count), found in results.items():
        what = f"{loop}, {make.name}, {count}"
        late = [result["late"] for result in found]
        report.record(f"{what}, p50 late", [statistics.median(each) for each in late], "ms")
        report.record(f"{what}, p99 late", [percentile(each, 0.99) for each in late], "ms")
        report.record(f"{what}, steps", [*map(float, found[-1]["steps"])], "steps")
        if count == 1:
            used = [result["used"] for result in found]
            ratios = [one / alone for one, alone in zip(used, plain, strict=True)]
            report.record(f"{what}, CPU time", ratios, "plain calls")


if __name__ == "__main__":
    parser = parse_arguments(__doc__)
    parser.add_argument(
        "--loops", nargs="+", choices=["asyncio", "uvloop"], default=["asyncio", "uvloop"]
    )
    options = parser.parse_args()
    rounds, units = (2, UNITS // 5) if options.quick else (5, UNITS)
    report = Report("What can interrupt a function, and its cost", "/".join(options.loops))
    for name in options.loops:
        factory = uvloop.new_event_loop if name == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main(report, name, rounds, units))
    report.finish(options.json)
