"""What type checkers make of sources: this is run, and checked."""

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, assert_type

from cooperative_aio import accumulate, batches, offload


def halves(count: int, *, offset: float = 0) -> Iterator[float | None]:
    for number in range(count):
        yield None if number % 2 else number / 2 + offset


async def values_keep_their_type() -> None:
    async with offload.threads(1) as place:
        source = place.open(halves, 5, offset=1)
        assert_type(source, offload.Source[float])
        assert_type(await source.next_batch(2), list[float])
        assert_type(await accumulate(source), deque[float])
        async for batch in batches(2, place.open(halves, 5)):
            assert_type(batch, list[float])
        any_place: offload.Place = place
        assert_type(await accumulate(any_place.open(halves, 5)), deque[float])
        async for arguments, values in offload.map(place, halves, [(1,), (2,)]):
            assert_type(arguments, tuple[int])
            assert_type(values, list[float])


if TYPE_CHECKING:
    place = offload.threads()
    place.open(halves, "5")  # type: ignore[arg-type]
    place.open(halves, 5, size=3)  # type: ignore[call-arg]


async def test_it_runs_as_well() -> None:
    await values_keep_their_type()
