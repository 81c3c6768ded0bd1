"""Iterators of other libraries: in pieces they come to the same, and let others go on.

The functions are those of examples/iterators_you_already_have.py.
"""

import itertools

import pytest
from iterator_rows import ROWS, using

from cooperative_aio import Cooperator, TimeSlice

SIZE = 2000
READING = 2**-17  # seconds by which the clock goes on whenever it is read
SLICE = 16 * READING
CHUNK = 16  # steps that may be taken between two readings


@pytest.mark.parametrize("make", ROWS, ids=lambda make: make.__name__)
async def test_pieces_come_to_the_same_and_are_set_aside_all_the_time(make, tmp_path):
    row = make(SIZE, tmp_path)
    expected = row.block()
    clock = itertools.count(0.0, READING).__next__
    async with Cooperator(clock=clock, time_slice=TimeSlice(SLICE, max_wait=0)) as cooperator:
        token = using.set(cooperator)
        found = await row.pieces()
        using.reset(token)
        seen = cooperator.statistics()
    assert seen.steps >= row.steps
    assert seen.ticks >= seen.steps / (CHUNK * SLICE / READING)
    assert row.finish(found) == expected
