"""The programs of the documentation do what it says."""

import asyncio
import re
from pathlib import Path

import pytest

from cooperative_aio.testing import VirtualLoop

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "tasklets.md"
FENCE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
BLOCKS = FENCE.findall(PAGE.read_text(encoding="utf-8"))
FIRST = BLOCKS[0].replace("assert await running == 42\n", "")
PROGRAMS = [block for block in BLOCKS if "async def main" in block]


def test_the_page_has_the_same_program_three_times():
    assert len(PROGRAMS) == 3


@pytest.mark.parametrize("program", PROGRAMS, ids=["tasklet", "coroutine", "cooperative"])
def test_the_three_programs_print_the_same(program, capsys):
    names = {"__name__": "program"}
    exec(compile(program, str(PAGE), "exec"), names)  # noqa: S102 - our own page
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(names["main"]())
    assert capsys.readouterr().out.splitlines() == ["3", "2", "aborted: wind"]


def test_the_first_program_gives_what_the_page_says(run_loop):
    async def main():
        names = {}
        exec(compile(FIRST, str(PAGE), "exec"), names)  # noqa: S102 - our own page
        return await names["running"]

    assert run_loop(main) == 42


def test_the_condition_of_ones_own_works(run_loop):
    class Bell:
        listeners: list = []  # noqa: RUF012 - one bell, one test

    async def main():
        names = {"tasklet": __import__("cooperative_aio.tasklet").tasklet}
        own = next(block for block in BLOCKS if "class WaitForBell" in block)
        exec(compile(own, str(PAGE), "exec"), names)  # noqa: S102 - our own page

        def body():
            event = yield names["WaitForBell"](Bell)
            return event.number

        listening = names["tasklet"].run(body())
        Bell.listeners[0](3)
        assert Bell.listeners == []
        return await listening

    assert run_loop(main) == 3
