"""Keep programs running: start them, restart those that die, stop them on SIGTERM.

    python tasklet_supervisor.py 'python -m http.server 8000' './worker --queue mail'
    python tasklet_supervisor.py --restarts 3 --backoff 0.5 'flaky --often'

Each program has a tasklet that waits for three things at once: the end of its process, the
word to stop, and (between two runs) a pause that doubles with every failure. SIGTERM and
SIGINT end the supervisor: it asks the programs to terminate, and kills those that have not
done so after `--grace` seconds. It also ends when no program is left to look after.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from cooperative_aio import tasklet
from cooperative_aio.tasklet import (
    Message,
    Tasklet,
    WaitForMessages,
    WaitForProcess,
    WaitForSignal,
    WaitForTasklet,
    WaitForTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence


def say(text: str) -> None:
    """Print a line in one piece, since the programs write to the same place."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Program(Tasklet[int]):
    """Run a command, again and again; end with the number of times it was started.

    Args:
        command: The command line, split as a shell does.
        restarts: How often to start it again.
        backoff: The first pause before that, in seconds; it doubles every time.
        grace: How long it may take to terminate when asked to, in seconds.
    """

    def __init__(self, command: str, restarts: int, backoff: float, grace: float) -> None:
        self.command = command
        self.restarts = restarts
        self.backoff = backoff
        self.grace = grace
        super().__init__()

    def run(self) -> Generator[Any, Any, int]:
        """Start it, wait, start it again."""
        stop = WaitForMessages(accept="stop")
        start = 0
        while start <= self.restarts:
            start += 1
            process = subprocess.Popen(shlex.split(self.command))  # noqa: S603
            say(f"started {self.command!r}, process {process.pid}")
            ended = WaitForProcess(process.pid)
            event = yield [ended, stop]
            if event is not ended:
                yield from self.terminate(process)
                return start
            say(f"{self.command!r} ended with {process.wait()}")
            if start <= self.restarts:
                pause = WaitForTimeout(self.backoff * 1000 * 2 ** (start - 1))
                event = yield [pause, stop]
                if event is not pause:
                    return start
        say(f"giving up {self.command!r}")
        return start

    def terminate(self, process: subprocess.Popen[bytes]) -> Generator[Any, Any, None]:
        """Ask the process to end, and insist."""
        ended, patience = WaitForProcess(process.pid), WaitForTimeout(self.grace * 1000)
        process.terminate()
        event = yield [ended, patience]
        if event is patience:
            say(f"{self.command!r} does not listen")
            process.kill()
            yield ended
        say(f"stopped {self.command!r}, it ended with {process.wait()}")


def supervisor(programs: Sequence[Program]) -> Generator[Any, Any, int]:
    """Wait until every program has ended, or see to it when a signal says so."""
    signals = [WaitForSignal(signal.SIGTERM), WaitForSignal(signal.SIGINT)]
    running = [WaitForTasklet(program) for program in programs]
    say(f"supervising {len(running)} programs")
    stopping = False
    while running:
        event = yield [*signals, *running]
        if event in running:
            running.remove(event)
        elif not stopping:  # more of them change nothing
            stopping = True
            say(f"{event.signal.name}: stopping {len(running)} programs")
            for program in running:
                yield Message("stop", dest=program.tasklet)
    return sum(program.result() for program in programs)


async def main(arguments: Sequence[str]) -> None:
    """Supervise what the command line says."""
    parser = argparse.ArgumentParser(description="Keep programs running.")
    parser.add_argument("commands", nargs="+", metavar="COMMAND")
    parser.add_argument("--restarts", type=int, default=10, help="of each program")
    parser.add_argument("--backoff", type=float, default=1, metavar="SECONDS")
    parser.add_argument("--grace", type=float, default=10, metavar="SECONDS")
    options = parser.parse_args(arguments)
    programs = [
        Program(command, options.restarts, options.backoff, options.grace)
        for command in options.commands
    ]
    starts = await tasklet.run(supervisor(programs))
    say(f"done after {starts} starts")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
