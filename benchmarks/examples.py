"""What do the programs of the README and of the tutorial print?

Each is run as a reader runs it: `getting_started.py` by itself, a server of the tutorial with
the tutorial's client beside it. What they print is kept, not judged. Of several runs it is
the one in the middle, by the first number of milliseconds in the first line that has one.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

from _common import Report, parse_arguments

EXAMPLES = Path(__file__).parents[1] / "examples"
PATIENCE = 120.0  # seconds for one program
ADDRESS = re.compile(r"http://[\d.]+:\d+")
LATE = re.compile(r"([\d.]+) ms")
FIGURES = {  # of what the client prints
    "pings": (re.compile(r"^busy: (\d+) pings", re.MULTILINE), ""),
    "longest": (re.compile(r"^busy: .*longest ([\d.]+) ms", re.MULTILINE), "ms"),
    "last byte": (re.compile(r"last after ([\d.]+) s"), "s"),
}


class Session(NamedTuple):
    """A server of the tutorial, and what its client asks it for."""

    server: str
    paths: tuple[str, ...] = ("/report",)


SESSIONS = {
    "tutorial_blocked": Session("tutorial_blocked.py"),
    "tutorial_to_slices": Session("tutorial_to_slices.py"),
    "tutorial_responsive": Session("tutorial_responsive.py"),
    "tutorial_streaming": Session("tutorial_streaming.py", ("/rows",)),
    "tutorial_urgent": Session(
        "tutorial_streaming.py", ("/report", "/report", "/report?urgent")
    ),
}


async def start(program: str, *arguments: str) -> Any:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", str(EXAMPLES / program), *arguments),
        stdout=asyncio.subprocess.PIPE,
    )


async def output_of(program: str, *arguments: str) -> list[str]:
    """Run a program to its end; return the lines that it prints."""
    process = await start(program, *arguments)
    async with asyncio.timeout(PATIENCE):
        printed, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{program} has failed")
    return printed.decode().splitlines()


async def converse(session: Session) -> list[str]:
    """Return what the client prints while the server of a session runs."""
    server = await start(session.server, "--port", "0")
    try:
        async with asyncio.timeout(PATIENCE):
            while not (found := ADDRESS.search((await server.stdout.readline()).decode())):
                pass
        return await output_of("tutorial_client.py", "--address", found[0], *session.paths)
    finally:
        server.terminate()
        await server.communicate()


def lateness(lines: list[str]) -> float:
    """Return the first number of milliseconds beside a job."""
    return float(next(found[1] for line in lines[1:] if (found := LATE.search(line))))


async def main(options: Any) -> None:
    report = Report("What the programs of the README and the tutorial print")
    runs: dict[str, list[list[str]]] = {}
    for _ in range(1 if options.quick else 3):
        printed = await output_of("getting_started.py")
        lines = [line for line in printed if line.startswith("in ")]
        runs.setdefault("getting_started", []).append(lines)
        for name, session in SESSIONS.items():
            runs.setdefault(name, []).append(await converse(session))
    for name, found in runs.items():
        middle = sorted(found, key=lateness)[len(found) // 2]
        report.show(name, middle)
        for what, (figure, unit) in FIGURES.items():
            if value := figure.search("\n".join(middle)):
                report.record(f"{name}, {what}", [float(value[1])], unit)
    report.finish(options.json)


if __name__ == "__main__":
    asyncio.run(main(parse_arguments(__doc__).parse_args()))
