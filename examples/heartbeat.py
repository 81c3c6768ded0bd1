"""Show that a heartbeat keeps time beside heavy work.

A LoopingCall beats twenty times a second while a generator searches for primes on the same
event loop and the same thread. Each line shows how late a beat was.

    python examples/heartbeat.py [seconds]
"""

import asyncio
import sys
from collections.abc import Iterator

from cooperative_aio import LoopingCall, cooperate, react

INTERVAL = 0.05


def primes() -> Iterator[None]:
    """Search for primes for ever, and yield between numbers."""
    number = 2
    while True:
        all(number % divisor for divisor in range(2, int(number**0.5) + 1))
        number += 1
        yield


async def main(loop: asyncio.AbstractEventLoop, seconds: str = "1") -> None:
    """Beat for a number of seconds, then say how late the beats were."""
    began = loop.time()
    lateness: list[float] = []
    number = 0

    def beat(intervals: int) -> None:
        nonlocal number
        number += intervals
        late = (loop.time() - began - number * INTERVAL) * 1000
        lateness.append(late)
        missed = f", {intervals - 1} missed before it" if intervals > 1 else ""
        print(f"beat {number:3d}: {late:5.1f} ms late{missed}")

    heart = LoopingCall.with_count(beat)
    work = cooperate(primes())
    beating = heart.start(INTERVAL, now=False)
    loop.call_later(float(seconds), heart.stop)
    await beating
    work.cancel()
    print(f"{work.steps} numbers searched meanwhile")
    print(f"latest beat: {max(lateness):.1f} ms")


if __name__ == "__main__":
    react(main, sys.argv[1:])
