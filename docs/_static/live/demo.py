# ruff: noqa: INP001 (a page loads it)
"""What the page computes: one generator, run in two ways."""

from collections.abc import Callable, Iterator

from cooperative_aio import accumulate

ROUNDS = 180  # until a point counts as one that stays
PIECE = 8  # points in a step


def drawing(width: int, height: int, paint: Callable[[int, bytes], object]) -> Iterator[None]:
    """Draw the Mandelbrot set, row by row; it may be set aside every few points."""
    for row in range(height):
        counts = bytearray(width)
        for column in range(width):
            counts[column] = rounds(3 * column / width - 2.2, 2.4 * row / height - 1.2)
            if column % PIECE == 0:
                yield
        paint(row, bytes(counts))


def rounds(x: float, y: float) -> int:
    """Return after how many rounds the point leaves."""
    point = start = complex(x, y)
    for count in range(ROUNDS):
        if abs(point) > 2:  # noqa: PLR2004 (from there it does not come back)
            return count
        point = point * point + start
    return 0


async def blocking(width: int, height: int, paint: Callable[[int, bytes], object]) -> None:
    """Draw in a plain loop: nothing else happens in the page meanwhile."""
    for _ in drawing(width, height, paint):
        pass


async def cooperative(width: int, height: int, paint: Callable[[int, bytes], object]) -> None:
    """Draw in slices: the page goes on."""
    await accumulate(drawing(width, height, paint))
