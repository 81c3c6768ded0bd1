"""Fixtures for pytest, all of them named `coop_…`; an installed package brings them along.

The module imports nothing of what it tests with before a fixture is asked for, so that a
run without them costs nothing and coverage, which starts later, misses nothing.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cooperative_aio import Clock, Cooperator
    from cooperative_aio.testing import ManualScheduler, VirtualLoop


@pytest.fixture
def coop_clock() -> Clock:
    """Return a Clock at 0 seconds, which moves when the test advances it."""
    from cooperative_aio import Clock  # noqa: PLC0415

    return Clock()


@pytest.fixture
def coop_scheduler() -> ManualScheduler:
    """Return the ManualScheduler that pumps `coop_manual_cooperator`."""
    from cooperative_aio.testing import ManualScheduler  # noqa: PLC0415

    return ManualScheduler()


@pytest.fixture
def coop_manual_cooperator(coop_scheduler: ManualScheduler) -> Cooperator:
    """Return a Cooperator that takes one step for each `coop_scheduler.pump()`."""
    from cooperative_aio import Cooperator  # noqa: PLC0415
    from cooperative_aio.testing import one_step  # noqa: PLC0415

    return Cooperator(one_step, coop_scheduler)


@pytest.fixture
def coop_virtual_loop(request: pytest.FixtureRequest) -> Iterator[VirtualLoop]:
    """Return an event loop on virtual time, for a test that is not asynchronous.

    At the end its tasks are cancelled and it is closed, as by `asyncio.run`.
    """
    import asyncio  # noqa: PLC0415

    from cooperative_aio.testing import VirtualLoop  # noqa: PLC0415

    if inspect.iscoroutinefunction(inspect.unwrap(request.function)):
        pytest.fail(
            "coop_virtual_loop is for tests that are not async; decorate this one with "
            "cooperative_aio.testing.virtual_time instead",
            pytrace=False,
        )
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.get_loop()
        yield loop
