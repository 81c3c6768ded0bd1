"""Do tasks get the CPU time that is due to them, whatever their steps cost?

Endless generators whose steps take a given time; each measures for itself what it
gets. Jain's index over n tasks is 1 when all get what is due to their weights, and
1/n when one gets everything. Twisted's Cooperator, which shares steps and not time,
for the record.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from _common import Child, Report, child_arguments, parse_arguments

from cooperative_aio import Cooperator


class Load(NamedTuple):
    """What a task does: steps of so many seconds, with a weight."""

    step: float
    weight: float = 1.0


CHEAP_AND_DEAR = (Load(1e-4), Load(2e-3))
WEIGHTED = (Load(3e-4, 1.0), Load(3e-4, 3.0))


def random_loads(count: int) -> list[Load]:
    """Return tasks with steps of 20 microseconds to 2 milliseconds, and three weights."""
    chance = random.Random(1)  # noqa: S311
    return [
        Load(2e-5 * 100 ** chance.random(), chance.choice((1.0, 2.0, 3.0)))
        for _ in range(count)
    ]


def burn(had: list[float], place: int, step: float) -> Iterator[None]:
    """Compute for `step` seconds at a time, and count them in `had`."""
    while True:
        began = now = time.perf_counter()
        while now - began < step:
            now = time.perf_counter()
        had[place] += now - began
        yield


async def share(loads: Sequence[Load], seconds: float) -> list[float]:
    """Run the tasks beside each other; return the seconds that each has had."""
    had = [0.0] * len(loads)
    cooperator = Cooperator()
    for place, load in enumerate(loads):
        cooperator.cooperate(burn(had, place, load.step), weight=load.weight)
    await asyncio.sleep(seconds)
    cooperator.stop()
    return had


def jain(had: Sequence[float], loads: Sequence[Load]) -> float:
    """Return Jain's index of what each has had, per weight."""
    parts = [seconds / load.weight for seconds, load in zip(had, loads, strict=True)]
    return sum(parts) ** 2 / (len(parts) * sum(part * part for part in parts))


async def main(options: Any) -> None:
    rounds, seconds = (1, 1.0) if options.quick else (5, 1.0)
    report = Report("How the CPU time is shared")
    many = random_loads(50)
    ratios: dict[str, list[float]] = {"steps": [], "weights": [], "twisted": [], "jain": []}
    async with Child("twisted") as peer:
        for _ in range(rounds):
            cheap, dear = await share(CHEAP_AND_DEAR, seconds)
            ratios["steps"].append(dear / cheap)
            light, heavy = await share(WEIGHTED, seconds)
            ratios["weights"].append(heavy / light)
            ratios["jain"].append(jain(await share(many, 4 * seconds), many))
            cheap, dear = (await peer.ask(loads=CHEAP_AND_DEAR, seconds=seconds))["had"]
            ratios["twisted"].append(dear / cheap)
    for what, key in (
        ("2 ms steps : 0.1 ms steps", "steps"),
        ("weight 3 : weight 1", "weights"),
        ("2 ms steps : 0.1 ms steps, Twisted", "twisted"),
        ("Jain's index of 50 random tasks", "jain"),
    ):
        report.record(what, ratios[key], "")
    report.judge(
        "0.1 ms and 2 ms steps: off by",
        [abs(ratio - 1.0) for ratio in ratios["steps"]],
        at_most=0.05,
    )
    report.judge(
        "weights 1:3: off by",
        [abs(ratio / 3.0 - 1.0) for ratio in ratios["weights"]],
        at_most=0.05,
    )
    report.judge("Jain's index", ratios["jain"], at_least=0.99)
    report.finish(options.json)


def serve_twisted() -> None:
    """Share on request, in the Twisted process."""
    import _twisted  # noqa: PLC0415 (only where it is installed and used)
    from twisted.internet import reactor, task  # noqa: PLC0415

    def handle(request: dict[str, Any]) -> Any:
        had = [0.0] * len(request["loads"])
        cooperator = task.Cooperator()
        for place, (step, _) in enumerate(request["loads"]):
            done = cooperator.cooperate(burn(had, place, step)).whenDone()
            done.addErrback(lambda failure: failure.trap(task.SchedulerStopped))

        def end() -> dict[str, Any]:
            cooperator.stop()
            return {"had": had}

        return task.deferLater(reactor, request["seconds"], end)

    _twisted.answer_parent(handle)


if __name__ == "__main__":
    if child_arguments() is None:
        asyncio.run(main(parse_arguments(__doc__).parse_args()))
    else:
        serve_twisted()
