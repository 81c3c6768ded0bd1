"""Fixtures only: the two loops, and what a loop was told of."""

import asyncio

import pytest


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
