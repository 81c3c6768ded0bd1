"""How a worker and its place talk: a letter, a length, and so many bytes."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

__all__ = [
    "BYE",
    "CALL",
    "CLOSE",
    "FINISHED",
    "HEADER",
    "ORDER",
    "VALUES",
    "Frames",
    "frame",
    "pack_order",
    "unpack_order",
]

HEADER: Final = Struct("!cQ")
_ORDER: Final = Struct("!Qd")

# To the worker
CALL: Final = b"C"  # what makes the next generator
ORDER: Final = b"O"
CLOSE: Final = b"X"  # the generator
BYE: Final = b"B"  # there will be no other generator
# From the worker
VALUES: Final = b"V"
FINISHED: Final = b"F"


def frame(letter: bytes, data: bytes = b"") -> bytes:
    return HEADER.pack(letter, len(data)) + data


def pack_order(size: int, max_seconds: float | None) -> bytes:
    return _ORDER.pack(size, max_seconds or 0.0)


def unpack_order(data: bytes) -> tuple[int, float | None]:
    size, max_seconds = _ORDER.unpack(data)
    return size, max_seconds or None


class Frames:
    """Cut what comes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Take some bytes; yield the letters and contents of what is complete."""
        buffer = self._buffer
        buffer += data
        begin = 0
        while len(buffer) - begin >= HEADER.size:
            letter, size = HEADER.unpack_from(buffer, begin)
            end = begin + HEADER.size + size
            if len(buffer) < end:
                break
            yield letter, bytes(memoryview(buffer)[begin + HEADER.size : end])
            begin = end
        del buffer[:begin]
