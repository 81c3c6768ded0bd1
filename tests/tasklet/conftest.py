"""Fixtures only: the two loops, and what a loop was told of."""

import asyncio
import gc
from pathlib import Path

import pytest


@pytest.fixture(params=["asyncio", "uvloop"])
def run_loop(request):
    """Run a coroutine function to its end on each of the loops, as asyncio.run does."""
    factory = None
    if request.param == "uvloop":
        factory = pytest.importorskip("uvloop").new_event_loop

    def run(main):
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(main())

    return run


@pytest.fixture
def descriptors():
    """Tell which file descriptors are open."""
    return lambda: {entry.name for entry in Path("/proc/self/fd").iterdir()}


@pytest.fixture
async def reports():
    """Collect what the loop's exception handler is told."""
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, about: told.append(about))
    yield told
    gc.collect()
