"""Machines: whatever is done, and whatever breaks meanwhile, no task is lost.

A machine is a list of actions, made at random from a number, on a `World`; after each
action the invariants are checked. A list that breaks one is made shorter, and printed.
`COOPERATIVE_AIO_ACTIONS` says how many actions are taken.
"""

import os
import random

import pytest
from machine_invariants import check, finish
from machine_world import ACTIONS, World

pytestmark = pytest.mark.thinned(3)

COUNT = int(os.environ.get("COOPERATIVE_AIO_ACTIONS", "10000"))
LENGTH = 25
MACHINES = 20  # a test
FREQUENT = [
    *("cooperate", "cooperate", "accumulate", "batch_accumulate", "batches", "finish"),
    *("break", "break", "break", "break", "finish"),
]
HARMLESS = [name for name in ACTIONS if name not in {"break", "focus"}]


def actions(seed, names):
    """Make a machine from a number."""
    maker = random.Random(seed)  # noqa: S311 (no secrets)
    taken = [("focus", maker.randrange(100))]
    taken += [(maker.choice(names), maker.randrange(10**12)) for _ in range(LENGTH)]
    return taken


def play(machine, *, gently):
    """Take all the actions; return what was wrong, or None."""
    world = World()
    try:
        for name, number in machine:
            world.run(getattr(world, "do_" + name), number)
            check(world)
        finish(world, gently=gently)
    except Exception as error:  # noqa: BLE001 (whatever the core raises is wrong)
        return f"{type(error).__name__}: {error}"
    finally:
        world.close()
    return None


def shortened(machine, problem, *, gently):
    """Leave out what has nothing to do with a problem."""
    kind = problem.split(": ")[:2]
    size = len(machine) // 2
    while size:
        for start in range(0, len(machine), size):
            shorter = machine[:start] + machine[start + size :]
            if (play(shorter, gently=gently) or "").split(": ")[:2] == kind:
                machine = shorter
                break
        else:
            size //= 2
    return machine


def told(machine):
    """Tell which jobs a machine makes, and what was broken."""
    world = World()
    try:
        for name, number in machine:
            world.run(getattr(world, "do_" + name), number)
        return [*map(repr, world.jobs), f"raised: {world.faults.raised}"]
    finally:
        world.close()


@pytest.mark.parametrize("names", [HARMLESS, ACTIONS + FREQUENT], ids=["whole", "broken"])
@pytest.mark.parametrize("first", range(0, COUNT // LENGTH // 2, MACHINES))
def test_no_task_is_lost_whatever_is_done_and_whatever_breaks(first, names):
    for seed in range(first, first + MACHINES):
        machine = actions(seed, names)
        gently = seed % 2 == 0
        problem = play(machine, gently=gently)
        if problem is not None:
            machine = shortened(machine, problem, gently=gently)
            lines = [f"machine {seed}, made shorter:", *map(repr, machine), *told(machine)]
            pytest.fail("\n".join([problem, *lines]), pytrace=False)
