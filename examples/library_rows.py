"""What a library does that turns many rows into objects: it lets others have the loop.

Its users may run on asyncio or on trio; the library need not know.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import anyio

from cooperative_aio import checkpoint

T = TypeVar("T")


async def to_objects(rows: Iterable[Any], make: Callable[[Any], T]) -> list[T]:
    """Make an object of every row; others may run meanwhile.

    Cancellation: raises the backend's own exception; the objects are dropped.
    """
    objects = []
    for row in rows:
        objects.append(make(row))
        await checkpoint()  # in place of `if number % 2000 == 0: await asyncio.sleep(0)`
    return objects


async def main() -> None:
    """Use it as an application would."""
    objects = await to_objects(range(100_000), lambda row: {"id": row})
    print(len(objects), "objects")


if __name__ == "__main__":
    anyio.run(main)
