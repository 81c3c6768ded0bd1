"""Fixtures only: time that does not pass by itself."""

import time

import pytest


@pytest.fixture
def long_slices(monkeypatch):
    """Let steps last until a test interrupts them."""
    monkeypatch.setattr(
        "cooperative_aio.functions._steps.pace_of_step", lambda: (time.perf_counter, 1000.0)
    )
