"""What passes between a place and what it runs: errors, pickles, and frames of bytes.

A frame is a letter, a length, and so many bytes. Which generator is to be closed goes through
a socket of its own, as a number: each worker counts what it is given to run from 1 on. There 0
is the goodbye. In the other direction it carries one byte for each generator that was begun,
which is looked at only when the worker has died.
"""

from __future__ import annotations

import pickle
import reprlib
import traceback
from collections.abc import Callable, Iterable
from struct import Struct
from types import TracebackType
from typing import Any, Final

__all__ = [
    "BEGUN",
    "CALL",
    "CLOSE",
    "FINISHED",
    "HEADER",
    "NUMBER",
    "ORDER",
    "READY",
    "VALUES",
    "FrameCutter",
    "RemoteError",
    "RemoteTraceback",
    "SourceClosed",
    "WorkerDied",
    "dump_call",
    "dump_error",
    "dump_values",
    "frame",
    "load_call",
    "load_error",
    "load_values",
    "name_of",
    "pack_order",
    "quoted",
    "unpack_order",
]


# Errors


class WorkerDied(RuntimeError):
    """A worker died, and the generator that it ran with it."""


class SourceClosed(RuntimeError):
    """A source was closed: the values that it still had are lost."""


class RemoteError(RuntimeError):
    """Stand-in for an exception that could not be pickled; the text says which it was."""


class RemoteTraceback(Exception):
    """Cause of an exception, which shows where in the worker it was raised."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text: str = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


_quoting: Final = reprlib.Repr()
_quoting.maxstring = _quoting.maxother = 200


def quoted(value: object) -> str:
    """Return the `repr` of a value, cut to what a message can hold."""
    return _quoting.repr(value)


def name_of(factory: Any) -> str:
    """Return what messages call a factory."""
    return getattr(factory, "__qualname__", None) or quoted(factory)


# Pickles

Call = tuple[Callable[..., Iterable[Any]], tuple[Any, ...], dict[str, Any]]


def dumps(value: Any) -> bytes:
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def dump_call(
    factory: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    dumps: Callable[[Any], bytes] = dumps,
) -> bytes:
    """Pickle a call.

    Raises:
        TypeError: The factory or an argument cannot be pickled; the text says which.
    """
    try:
        return dumps((factory, args, kwargs))
    except Exception as error:
        name = name_of(factory)
        parts = [
            (f"the factory {name}, which must be at the top level of a module", factory),
            *((f"argument {number} of {name}", value) for number, value in enumerate(args, 1)),
            *((f"argument {key!r} of {name}", value) for key, value in kwargs.items()),
        ]
        raise TypeError(f"cannot pickle {_first_bad(parts, dumps)}: {error}") from error


def load_call(data: bytes, loads: Callable[[bytes], Any] = pickle.loads) -> Iterable[Any]:
    """Unpickle a call, in the worker, and make it."""
    try:
        call: Call = loads(data)
    except BaseException as error:  # an import may raise anything
        error.add_note("raised by unpickling the factory and its arguments in the worker")
        raise
    factory, args, kwargs = call
    return factory(*args, **kwargs)


def dump_values(values: list[Any], dumps: Callable[[Any], bytes] = dumps) -> bytes:
    """Pickle a batch.

    Raises:
        TypeError: One of the values cannot be pickled; the text says which.
    """
    try:
        return dumps(values)
    except Exception as error:
        bad = _first_bad([(f"the value {quoted(value)}", value) for value in values], dumps)
        raise TypeError(f"cannot pickle {bad}, which the generator yields: {error}") from error


def load_values(data: bytes, loads: Callable[[bytes], Any] = pickle.loads) -> list[Any]:
    """Unpickle a batch."""
    try:
        values: list[Any] = loads(data)
    except BaseException as error:  # an import may raise anything
        error.add_note("raised by unpickling a batch that a worker sent")
        raise
    return values


def _first_bad(parts: list[tuple[str, Any]], dumps: Callable[[Any], bytes]) -> str:
    for what, value in parts:
        try:
            dumps(value)
        except Exception:  # noqa: BLE001
            return what
    return "all of it together"


def dump_error(error: BaseException | None, dumps: Callable[[Any], bytes] = dumps) -> bytes:
    """Pickle an exception and its traceback; what cannot be, as a RemoteError."""
    if error is None:
        return dumps(None)
    error.__traceback__ = _without_own_frames(error.__traceback__)
    text = "".join(traceback.format_exception(error))
    summary = "".join(traceback.format_exception_only(error)).strip()
    try:
        data = dumps(error)
    except Exception:  # noqa: BLE001
        data = b""
    return dumps((data, summary, text))


def load_error(
    data: bytes, loads: Callable[[bytes], Any] = pickle.loads
) -> BaseException | None:
    """Unpickle an exception, with the worker's traceback as its cause."""
    loaded = loads(data)
    if loaded is None:
        return None
    data, summary, text = loaded
    error: BaseException
    try:
        error = loads(data)
    except BaseException:  # noqa: BLE001 (some can be pickled, but not unpickled)
        error = RemoteError(summary)
    error.__cause__ = RemoteTraceback(text)
    return error


def _without_own_frames(frames: TracebackType | None) -> TracebackType | None:
    """Drop the first frames of a traceback, which are of this package."""
    while frames is not None and frames.tb_frame.f_globals.get("__package__") == __package__:
        frames = frames.tb_next
    return frames


# Frames

HEADER: Final = Struct("!cQ")
NUMBER: Final = Struct("!Q")
_ORDER: Final = Struct("!Qd")

# To the worker
CALL: Final = b"C"  # what makes the next generator
ORDER: Final = b"O"
CLOSE: Final = b"X"  # wakes a worker that waits for an order
# From the worker
READY: Final = b"R"  # it has started; the number of its process
VALUES: Final = b"V"
FINISHED: Final = b"F"
BEGUN: Final = b"B"  # through the other socket, and no frame


def frame(letter: bytes, data: bytes = b"") -> bytes:
    return HEADER.pack(letter, len(data)) + data


def pack_order(size: int, max_seconds: float | None) -> bytes:
    return _ORDER.pack(size, max_seconds or 0.0)


def unpack_order(data: bytes) -> tuple[int, float | None]:
    size, max_seconds = _ORDER.unpack(data)
    return size, max_seconds or None


class FrameCutter:
    """A buffer that cuts incoming bytes into frames.

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
