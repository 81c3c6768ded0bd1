"""How a worker and its place talk: a letter, a length, and so many bytes.

Which generator is to be closed goes through a socket of its own, as a number: each worker
counts what it is given to run from 1 on. There 0 is the goodbye.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

__all__ = [
    "CALL",
    "CLOSE",
    "FINISHED",
    "HEADER",
    "NUMBER",
    "ORDER",
    "VALUES",
    "Frames",
    "frame",
    "pack_order",
    "unpack_order",
]

HEADER: Final = Struct("!cQ")
NUMBER: Final = Struct("!Q")
_ORDER: Final = Struct("!Qd")

# To the worker
CALL: Final = b"C"  # what makes the next generator
ORDER: Final = b"O"
CLOSE: Final = b"X"  # wakes who waits for an order
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
    """Cut what comes into frames.

    What comes is to be written into `room`; then `take` is told how much it was.
    """

    ROOM: Final = 65536  # bytes, or as many as a frame has that is larger

    def __init__(self) -> None:
        self._buffer = bytearray(self.ROOM)
        self._filled = 0

    @property
    def room(self) -> memoryview:
        """Where the next bytes go; never empty."""
        return memoryview(self._buffer)[self._filled :]

    def take(self, count: int) -> list[tuple[bytes, bytes]]:
        """Take so many more bytes; return the letters and contents of what is complete."""
        frames = []
        view = memoryview(self._buffer)
        filled = self._filled + count
        begin = needed = 0
        while filled - begin >= HEADER.size:
            letter, size = HEADER.unpack_from(view, begin)
            needed = HEADER.size + size
            if filled - begin < needed:
                break
            frames.append((letter, bytes(view[begin + HEADER.size : begin + needed])))
            begin += needed
            needed = 0
        self._filled = filled - begin
        room = max(needed, self.ROOM)
        if begin or len(view) != room:
            self._move(bytes(view[begin:filled]), room)
        return frames

    def _move(self, rest: bytes, room: int) -> None:
        """Put what is left to the beginning of a room of that size."""
        if len(self._buffer) != room:  # a new one, since the loop still holds the old one
            self._buffer = bytearray(room)
        self._buffer[: len(rest)] = rest
