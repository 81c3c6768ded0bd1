"""Ask many ports at once, but never more than five: Twisted's way to limit parallelism.

    python examples/from_twisted.py localhost 8000 8001 8002
    python examples/from_twisted.py example.org 22 25 80 443 --at-once 2

Several tasks share one generator, which starts a connection at each step and yields it. A
task that got a connection waits for that before it asks for the next, so there are never
more under way than there are tasks. With Twisted the tasks are `coiterate(work)`, collected in
a DeferredList; what is different is in docs/coming-from/twisted.md.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence

from cooperative_aio import cooperate, react

PATIENCE = 5.0  # seconds until a port counts as silent


async def ask(host: str, port: int) -> str:
    """Connect to a port, and say how it went."""
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return "silent"
    except ConnectionRefusedError:
        return "closed"
    except OSError as error:
        return str(error)
    writer.close()
    return "open"


async def ask_all(host: str, ports: Sequence[int], at_once: int) -> list[str]:
    """Return what each port has answered, in the order of the ports."""
    answers: list[asyncio.Task[str]] = []

    def work() -> Iterator[asyncio.Task[str]]:
        for port in ports:
            answer = asyncio.create_task(ask(host, port))
            answers.append(answer)
            yield answer

    connections = work()
    await asyncio.gather(*(cooperate(connections) for _ in range(at_once)))
    return [answer.result() for answer in answers]


async def main(_loop: asyncio.AbstractEventLoop, *arguments: str) -> None:
    """Ask as the command line says, and print the answers."""
    parser = argparse.ArgumentParser(description="Tell which ports are open.")
    parser.add_argument("host")
    parser.add_argument("ports", metavar="port", type=int, nargs="+")
    parser.add_argument("--at-once", type=int, default=5, help="connections (%(default)s)")
    options = parser.parse_args(arguments)
    if options.at_once < 1:
        parser.error("--at-once must be at least 1")
    answers = await ask_all(options.host, options.ports, options.at_once)
    for port, answer in zip(options.ports, answers, strict=True):
        print(f"{options.host}:{port} {answer}")


if __name__ == "__main__":
    react(main, sys.argv[1:])
