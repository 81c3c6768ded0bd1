"""Pickle what goes there and what comes back; when that fails, say what it was."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from cooperative_aio.offload._failures import RemoteError, RemoteTraceback, name_of

__all__ = [
    "dump_call",
    "dump_error",
    "dump_values",
    "load_call",
    "load_error",
    "load_values",
    "without_own_frames",
]

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
    except Exception as error:
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
        bad = _first_bad([(f"the value {value!r}", value) for value in values], dumps)
        raise TypeError(f"cannot pickle {bad}, which the generator yields: {error}") from error


def load_values(data: bytes, loads: Callable[[bytes], Any] = pickle.loads) -> list[Any]:
    """Unpickle a batch."""
    try:
        values: list[Any] = loads(data)
    except Exception as error:
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
    error.__traceback__ = without_own_frames(error.__traceback__)
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
    except Exception:  # noqa: BLE001 (some can be pickled, but not unpickled)
        error = RemoteError(summary)
    error.__cause__ = RemoteTraceback(text)
    return error


def without_own_frames(frames: TracebackType | None) -> TracebackType | None:
    """Drop the first frames of a traceback, which are of this package."""
    while frames is not None and frames.tb_frame.f_globals.get("__package__") == __package__:
        frames = frames.tb_next
    return frames
