"""Compute on the event loop, and answer requests on time all the same.

    python examples/getting_started.py

Four computations share one thread with a simulated server, to which a request comes every
50 ms. First each computation runs in one go, and the requests wait until all are over. Then
the same generators run in slices, side by side: requests are answered between the slices.
"""

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from cooperative_aio import batch_accumulate, get_cooperator

STEPS = 50_000
NUMBERS = (54, 42, 10, 34)
INTERVAL = 0.05  # seconds from one request to the next
HOPS = 5  # turns of the loop that a request takes: accept, read, look up, write, flush


@dataclass
class Answer:
    """Note how a request went."""

    due: float  # seconds after the start
    late: float  # seconds
    progress: list[int]  # of each computation, in per cent; empty when none was under way


def expensive(number: int) -> Iterator[int]:
    """Compute something, one value a step; at each `yield`, others may come first."""
    for value in range(STEPS):
        yield sum(map(int, str(number**20 + value)))


async def in_one_go(number: int) -> int:
    """Compute, and let nothing else run."""
    return sum(expensive(number))


async def in_slices(number: int) -> int:
    """Compute, and let everything else go first."""
    return sum(await batch_accumulate(1000, expensive(number), name=str(number)))


async def compute_all(compute: Callable[[int], Awaitable[int]]) -> tuple[list[int], float]:
    """Do all computations; return their results, and when they were there."""
    results = await asyncio.gather(*map(compute, NUMBERS))
    return results, asyncio.get_running_loop().time()


def progress() -> list[int]:
    """Return how far each computation is, in per cent; nothing if none is under way."""
    steps = {task.name: task.steps for task in get_cooperator().tasks}
    return [100 * steps.get(str(number), STEPS) // STEPS for number in NUMBERS] if steps else []


async def serve(computing: asyncio.Task[tuple[list[int], float]], began: float) -> list[Answer]:
    """Answer all requests that come while there is something to compute."""
    loop = asyncio.get_running_loop()
    answers: list[Answer] = []
    while True:
        due = began + INTERVAL * (len(answers) + 1)
        await asyncio.sleep(due - loop.time())
        if computing.done() and computing.result()[1] < due:
            return answers
        for _ in range(HOPS):
            await asyncio.sleep(0)
        answers.append(Answer(due - began, loop.time() - due, progress()))


async def compare(title: str, compute: Callable[[int], Awaitable[int]]) -> list[int]:
    """Compute and serve at once, and say how late the answers were."""
    began = asyncio.get_running_loop().time()
    computing = asyncio.create_task(compute_all(compute))
    answers = await serve(computing, began)
    results, ended = await computing
    late = [1000 * answer.late for answer in answers] or [0.0]
    print(
        f"{title}: {len(answers)} requests answered {statistics.median(late):.1f} ms late in"
        f" the median, {max(late):.1f} ms at most; computed in {ended - began:.2f} s"
    )
    meanwhile = [answer for answer in answers if answer.progress]
    for answer in meanwhile[:: len(meanwhile) // 5 + 1]:
        done = "  ".join(f"{each:3} %" for each in answer.progress)
        print(
            f"    request at {answer.due:.2f} s: {answer.late * 1000:.1f} ms late;"
            f" computed so far: {done}"
        )
    return results


async def main() -> None:
    """Compute in one go, then in slices."""
    blocked = await compare("in one go", in_one_go)
    sliced = await compare("in slices", in_slices)
    print(f"the same results both times: {blocked == sliced}")


if __name__ == "__main__":
    asyncio.run(main())
