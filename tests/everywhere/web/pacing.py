"""What runs in the browser: jobs, and what they do to everybody else there."""

import asyncio
import itertools
import statistics
import time

import js

from cooperative_aio import Cooperator, TimeSlice, checkpoint, get_cooperator

ROUNDS = 240  # a step of some 14 µs
clock = time.perf_counter


def step():
    total = 0
    for number in range(ROUNDS):
        total += number
    return total


def job(count):
    """Compute for ever, and count the steps."""
    while True:
        step()
        count[0] += 1
        yield


def block(seconds):
    """Return how many steps a second a loop takes that lets nobody else run."""
    count, until = [0], clock() + seconds
    steps = job(count)
    while clock() < until:
        next(steps)
    return count[0] / seconds


async def naive(count):
    """Do as people do who know no better: `sleep(0)` every 10 ms."""
    began = clock()
    for _ in job(count):
        if clock() - began > 0.01:
            await asyncio.sleep(0)
            began = clock()


async def courteous(count):
    for _ in job(count):
        await checkpoint()


async def count_lateness(late):
    """Note by how many seconds timers come late."""
    while True:
        due = clock() + 0.02
        await asyncio.sleep(0.02)
        late.append(clock() - due)


async def count_hops(hops):
    """Note how many seconds it takes to go ten times around the loop, as a request does."""
    while True:
        await asyncio.sleep(0.03)
        began = clock()
        for _ in range(10):
            await asyncio.sleep(0)
        hops.append(clock() - began)


def painted():
    return getattr(js.globalThis, "painted", 0)


def start(way, count):
    """Have jobs run; return what ends them."""
    name, number = way
    if name == "tasks":
        return [get_cooperator().cooperate(job(count)).stop for _ in range(number)]
    function = {"checkpoint": courteous, "sleep(0)": naive}.get(name)
    return [asyncio.create_task(function(count)).cancel for _ in range(number)]


def row(values):
    """Return the median and the 99th percentile, in milliseconds."""
    if len(values) < 2:
        return [None, None]
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return [round(1000 * cuts[49], 2), round(1000 * cuts[98], 2)]


async def measure(way, seconds):
    """Return what the page sees while jobs run in that way."""
    count, late, hops = [0], [], []
    ends = start(way, count)
    watching = [
        asyncio.create_task(count_lateness(late)),
        asyncio.create_task(count_hops(hops)),
    ]
    began, before = clock(), painted()
    await asyncio.sleep(seconds)
    took, frames = clock() - began, painted() - before
    for end in [*ends, *(watcher.cancel for watcher in watching)]:
        end()
    await asyncio.sleep(0.05)
    return {
        "way": f"{way[1]} x {way[0]}",
        "frames": round(frames / took, 1),
        "steps": round(count[0] / took),
        "late": row(late),
        "hops": row(hops),
    }


async def measure_work(seconds, rounds):
    """Return steps per second, of a loop that blocks and of tasks, taken in turns."""
    rates = {"blocking": [], "1 task": [], "4 tasks": [], "1 checkpoint": []}
    for _ in range(rounds):
        rates["blocking"].append(block(seconds))
        for name, way in (
            ("1 task", ("tasks", 1)),
            ("4 tasks", ("tasks", 4)),
            ("1 checkpoint", ("checkpoint", 1)),
        ):
            await asyncio.sleep(0.02)
            count = [0]
            ends = start(way, count)
            began = clock()
            await asyncio.sleep(seconds)
            rates[name].append(count[0] / (clock() - began))
            for end in ends:
                end()
    return {
        name: [round(max(rate)), round(statistics.median(rate))] for name, rate in rates.items()
    }


WAYS = [("tasks", 0), *itertools.product(("tasks", "checkpoint"), (1, 4)), ("sleep(0)", 1)]


async def main(seconds=1.0, rounds=0):
    """Return one row for each way."""
    await asyncio.sleep(0.2)
    rows = [await measure(way, seconds) for way in WAYS]
    return {"rows": rows, "work": await measure_work(0.3, rounds) if rounds else None}


async def saturated(seconds=1.0):
    """Return how many slices a task has had on a loop that is never idle."""

    async def never_idle():
        while True:
            await asyncio.sleep(0)

    busy = asyncio.create_task(never_idle())
    async with Cooperator(time_slice=TimeSlice(0.005, max_wait=0.02)) as cooperator:
        task = cooperator.cooperate(job([0]))
        await asyncio.sleep(seconds)
        ticks = cooperator.statistics().ticks
        task.stop()
    busy.cancel()
    return ticks / seconds
