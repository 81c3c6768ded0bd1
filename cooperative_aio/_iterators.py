"""What a task steps: an iterator, which other tasks may step as well."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable, Iterator
from contextvars import Context
from types import GeneratorType, NoneType
from typing import Any, Final, TypeGuard

from cooperative_aio._checks import quote

__all__ = [
    "PLAIN",
    "Sharings",
    "can_receive",
    "check_iterator",
    "describe",
    "is_generator",
    "key_of",
    "run_in",
    "strip",
]

PLAIN: Final = frozenset(
    {NoneType, bool, int, float, complex, str, bytes, bytearray}
    | {tuple, list, dict, set, frozenset}
)
"""Classes known not to be awaitable, so that most values need but one look."""


AWAITABLE: Final = inspect.CO_ITERABLE_COROUTINE  # generators of types.coroutine


class _Sharing:
    """How many unfinished tasks share an iterator, and how often a further one came."""

    __slots__ = ("epoch", "users")

    def __init__(self) -> None:
        self.users = 1
        self.epoch = 0


class Sharings:
    """The iterators that unfinished tasks step, and which of them are shared.

    Nothing may be sent or thrown into a generator unless the task that does it was alone
    with it all the time since it yielded: what `since` says then compares equal later.
    """

    __slots__ = ("_stepped",)

    NEVER: Final = -1  # what `since` says of an iterator that is shared

    def __init__(self) -> None:
        # By `key_of`. Most are stepped by one task: None stands for that.
        self._stepped: dict[object, _Sharing | None] = {}

    def add(self, iterator: Iterator[Any]) -> None:
        """Count one task more."""
        key = key_of(iterator)
        if key not in self._stepped:
            self._stepped[key] = None
            return
        sharing = self._stepped[key]
        if sharing is None:
            sharing = self._stepped[key] = _Sharing()
        sharing.users += 1
        sharing.epoch += 1

    def remove(self, iterator: Iterator[Any]) -> bool:
        """Count one task less; tell whether that was the last."""
        key = key_of(iterator)
        sharing = self._stepped.get(key)
        if sharing is not None:
            sharing.users -= 1
            if sharing.users:
                return False
        self._stepped.pop(key, None)
        return True

    def since(self, iterator: Iterator[Any]) -> int:
        """Return the epoch, if one task steps the iterator; else NEVER."""
        sharing = self._stepped.get(key_of(iterator))
        if sharing is None:
            return 0
        return sharing.epoch if sharing.users == 1 else self.NEVER


def key_of(thing: object) -> object:
    """Return a key for `thing` itself, whatever it says of its hash.

    The id weighs more than the object, which is there anyhow.
    """
    return thing if type(thing).__hash__ is object.__hash__ else id(thing)


def check_iterator(value: object, parameter: str = "iterator") -> None:
    """Refuse what is not an iterator, and say what to do instead.

    Raises:
        TypeError: It is not one.
    """
    if type(value) is GeneratorType and not value.gi_code.co_flags & AWAITABLE:
        return
    if isinstance(value, Iterator) and not inspect.isawaitable(value):
        return
    if inspect.isasyncgen(value) or hasattr(value, "__anext__"):
        remedy = "iterate over it with `async for` in a coroutine"
    elif inspect.isawaitable(value):
        remedy = "await it, or yield it from a generator"
    elif inspect.isgeneratorfunction(value):
        remedy = "call it first"
    elif isinstance(value, Iterable):
        remedy = "use iter() on it"
    else:
        remedy = "pass a generator"
    article = "an iterator" if parameter == "iterator" else "iterable"
    raise TypeError(f"{parameter} must be {article}, got {quote(value)}; {remedy}")


def can_receive(iterator: Iterator[Any]) -> bool:
    """Tell whether `iterator` is of a generator function, so that it may be sent to."""
    code = getattr(iterator, "gi_code", None)
    is_expression = code is not None and code.co_name == "<genexpr>"
    return isinstance(iterator, Generator) and not is_expression


def describe(iterator: Iterator[Any]) -> str:
    """Name an iterator: for a generator, where it is defined and where it stands."""
    name = getattr(iterator, "__qualname__", type(iterator).__qualname__)
    frame = getattr(iterator, "gi_frame", None)
    if frame is None:
        return str(name)
    return f"{name} at {frame.f_code.co_filename}:{frame.f_lineno}"


def is_generator(iterator: Iterator[Any]) -> TypeGuard[Generator[Any, Any, Any]]:
    return type(iterator) is GeneratorType or isinstance(iterator, Generator)


def strip(error: BaseException) -> BaseException:
    """Take the package's frames off the traceback: they refer to the task."""
    traceback = error.__traceback__
    while (
        traceback is not None and traceback.tb_frame.f_globals.get("__package__") == __package__
    ):
        traceback = traceback.tb_next
    return error.with_traceback(traceback)


def run_in(context: Context, function: Callable[[], object]) -> None:
    """Run `function` in `context`, also when that is being run in already."""
    entered = False

    def enter() -> None:
        nonlocal entered
        entered = True
        function()

    try:
        context.run(enter)
    except RuntimeError:
        if entered:
            raise
        function()
