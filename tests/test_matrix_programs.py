"""Programs made at random, of generators and of coroutines, that must see the same.

`COOPERATIVE_AIO_PROGRAMS` says how many; each is made from its number alone.

No two things happen at one instant but cancellations: these come at multiples of 1/16 of a
second, and what the bodies wait for comes a little later, in each body by another power of 2.
"""

import asyncio
import os
import random
import textwrap

import anyio
import pytest
from matrix_support import Asyncio, Package

pytestmark = pytest.mark.thinned(2)

PROGRAMS = int(os.environ.get("COOPERATIVE_AIO_PROGRAMS", "300"))
SUBJECTS = ["task", "join", "accumulate", "batch_accumulate"]
INSTANTS = [0.25, 0.5, 0.5, 0.75, 1.0]


class Writer:
    """Write bodies and ways, as Python."""

    def __init__(self, seed):
        self.random = random.Random(seed)  # noqa: S311 (programs, not secrets)
        self.names = 0
        # A scope of anyio's cancels on every turn, and spins if that is refused
        self.scopes = self.random.random() < 0.5

    def one_of(self, *choices):
        return self.random.choice(choices)

    def body(self):
        return (
            "yield wait(0.5)\n" * self.one_of(0, 1)
            + self.block(3)
            + self.one_of(
                "",
                "return 'result'",
                "raise LookupError('at the end')",
                "raise Own('at the end')",
            )
        )

    def block(self, depth):
        return "".join(self.statement(depth - 1) for _ in range(self.random.randint(1, 3)))

    def statement(self, depth):
        seconds = self.one_of(0.25, 0.5, 1)
        simple = [
            f"note('got', (yield wait({seconds})))\n",
            f"note('got', (yield nap({seconds}, 'napped')))\n",
            f"note('got', (yield Awaitable(wait({seconds}))))\n",
            f"yield asyncio.gather(wait({seconds}), nap(0.25))\n",
            f"yield {'wait' if self.scopes else 'stubborn'}({seconds})\n",
            f"yield failed({seconds})\n",
            f"inner = wait({seconds})\nyield asyncio.shield(inner)\n",
        ]
        if depth <= 0:
            return self.one_of(*simple)
        inner = textwrap.indent(self.block(depth), "    ")
        after = textwrap.indent(self.block(depth - 1), "    ")
        name = self.one_of("CancelledError", "LookupError", "BaseException")
        end = self.one_of("", "", "    raise\n", "    raise OSError('in place')\n")
        own = self.one_of(
            "    raise Own('own', 2) from error\n", "    error.add_note('noted')\n"
        )
        return self.one_of(
            *simple,
            f"try:\n{inner}finally:\n{after}",
            f"try:\n{inner}except {name} as error:\n    caught(error)\n{after}{end}",
            f"try:\n{inner}except {name} as error:\n    caught(error)\n{own}    raise\n",
            f"for _ in range(2):\n{inner}",
        )

    def way(self, depth):
        """Write an expression that can be awaited."""
        if depth <= 0:
            return self.one_of(*["program.subject()"] * 4, "asyncio.sleep(0.5, 'slept')")
        make = f"lambda: {self.way(depth - 1)}"
        seconds = self.one_of(*INSTANTS)
        move, fail = ("scoped", "failing_after") if self.scopes else ("within", "within")
        self.names += 1
        name = f"'{self.names}'"
        return self.one_of(
            f"told(program, {name}, {make})",
            f"in_a_task(program, {name}, {make})",
            f"asyncio.wait_for({self.way(depth - 1)}, {seconds})",
            f"within(program, {name}, {seconds}, {make})",
            f"within(program, {name}, {seconds}, {make})",
            f"{move}(program, {name}, {seconds}, {make})",
            f"{fail}(program, {name}, {seconds}, {make})",
            f"shielding(program, {name}, {make})",
            f"shielded(program, {name}, {make})",
            f"cancelling(program, {name}, {self.instants()}, {make})",
            f"cancelling(program, {name}, {self.instants()}, {make})",
            f"swallowing(program, {name}, {make})",
            f"gathering(program, {name}, {make}, lambda: {self.way(depth - 2)})",
            f"grouping(program, {name}, {make}, lambda: {self.way(depth - 2)})",
        )

    def instants(self):
        return [self.one_of(*INSTANTS) for _ in range(self.random.randint(1, 3))]


# What ways are made of


async def told(program, name, make):
    return await program.told(name, make())


async def in_a_task(program, name, make):
    return await program.told(name, asyncio.create_task(told(program, name, make)))


async def within(program, name, seconds, make):
    try:
        async with asyncio.timeout(seconds):
            return await program.told(name, make())
    except TimeoutError:
        program.note(name, "expired", asyncio.current_task().cancelling())
        raise


async def scoped(program, name, seconds, make):
    with anyio.move_on_after(seconds) as scope:
        await program.told(name, make())
    return scope.cancelled_caught, scope.cancel_called


async def failing_after(program, name, seconds, make):
    with anyio.fail_after(seconds):
        return await program.told(name, make())


async def shielding(program, name, make):
    with anyio.CancelScope(shield=True):
        return await program.told(name, make())


async def shielded(program, name, make):
    return await program.told(name, asyncio.shield(make()))


async def cancelling(program, name, instants, make):
    task = asyncio.create_task(told(program, name, make))
    for instant in instants:
        asyncio.get_running_loop().call_later(instant, task.cancel, instant)
    return await task


async def swallowing(program, name, make):
    try:
        return await program.told(name, make())
    except asyncio.CancelledError:
        return "swallowed"


async def gathering(program, name, *makes):
    return await program.told(
        name, asyncio.gather(*[gathered(program, make) for make in makes])
    )


def gathered(program, make):
    """Put a Task between, where gather would tell: it asks for errors by a private method."""
    awaitable = make()
    tells = any("Own" in body or "add_note" in body for body in program.bodies)
    if not (tells and asyncio.isfuture(awaitable)):
        return awaitable

    async def between():
        return await awaitable

    return asyncio.create_task(between())


async def grouping(program, name, make, other):
    async with asyncio.TaskGroup() as group:  # of one: it cancels several in any order
        group.create_task(told(program, name, make))
        return await program.told(name, other())


def write(seed):
    """Return a subject, two bodies and a way."""
    writer = Writer(seed)
    return writer.one_of(*SUBJECTS), [writer.body(), writer.body()], writer.way(4)


def has_spun(log):
    """Tell whether a scope of anyio's has cancelled in vain until the virtual time moved.

    All other times are sums of powers of 2.
    """
    return any(event[0] * 2.0**40 % 1 for event in log)


def timeless(log):
    """Leave out how long that took: how many turns these are is not promised."""
    return [
        tuple(min(what, 100) if isinstance(what, int) else what for what in event[1:])
        for event in log
    ]


def run(seed):
    """Return what the program of that number has seen, twice, and its text."""
    subject, bodies, text = write(seed)

    async def way(program):
        return await eval(text, {**globals(), "program": program})  # noqa: S307

    ours, theirs = (
        kind(subject, *bodies, late=lambda number: 2.0 ** -(10 + 5 * number)).run(way)
        for kind in (Package, Asyncio)
    )
    if has_spun(ours) or has_spun(theirs):
        ours, theirs = timeless(ours), timeless(theirs)
    return ours, theirs, "\n".join([subject, *bodies, text])


@pytest.mark.parametrize("seed", range(PROGRAMS))
def test_a_program_sees_the_same_with_generators_and_coroutines(seed):
    ours, theirs, text = run(seed)
    assert ours == theirs, text
