"""Fixtures only: the two loops, and what a loop was told of."""

import asyncio
import signal

import pytest

# A shell starts what it puts into the background with SIGINT ignored, and children inherit
# that; the tests of interrupts, and the programs that they run, want it as a terminal has it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["asyncio", "uvloop"])
def loop_factory(request):
    """Make a loop of either kind."""
    if request.param == "uvloop":
        return pytest.importorskip("uvloop").new_event_loop
    return asyncio.new_event_loop


@pytest.fixture
def reports():
    """Hold what the loop's exception handler was told: see `on_both_loops`."""
    return []
