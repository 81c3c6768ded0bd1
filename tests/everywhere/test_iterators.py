"""Iterators of other libraries: in pieces they come to the same, and let others go on."""

import pytest
from iterator_rows import ROWS

from cooperative_aio import get_cooperator

SIZE = 2000


@pytest.mark.parametrize("make", ROWS, ids=lambda make: make.__name__)
async def test_pieces_come_to_the_same_and_can_be_set_aside_often(make, tmp_path):
    row = make(SIZE, tmp_path)
    expected = row.block()
    before = get_cooperator().statistics().steps
    assert await row.pieces() == expected
    assert get_cooperator().statistics().steps - before >= row.steps
