"""What a task steps: an iterator, which other tasks may step as well."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable, Iterator
from contextvars import Context
from typing import Any, Final, TypeGuard
from weakref import WeakValueDictionary

__all__ = [
    "Source",
    "can_receive",
    "check_iterator",
    "describe",
    "is_generator",
    "run_in",
    "strip",
]


class Source:
    """Count the unfinished tasks that share one iterator."""

    __slots__ = ("__weakref__", "epoch", "iterator", "users")

    registry: Final[WeakValueDictionary[int, Source]] = WeakValueDictionary()

    def __init__(self, iterator: Iterator[Any]) -> None:
        self.iterator = iterator
        self.users = 0
        self.epoch = 0  # how often a further task has come to share it

    @classmethod
    def acquire(cls, iterator: Iterator[Any]) -> Source:
        source = cls.registry.get(id(iterator))
        if source is None:
            source = cls(iterator)
            cls.registry[id(iterator)] = source
        source.users += 1
        source.epoch += 1
        return source

    def release(self) -> bool:
        """Tell whether that was the last user."""
        self.users -= 1
        if self.users:
            return False
        del self.registry[id(self.iterator)]
        return True


def check_iterator(value: object, parameter: str = "iterator") -> None:
    """Refuse what is not an iterator, and say what to do instead.

    Raises:
        TypeError: It is not one.
    """
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
    raise TypeError(f"{parameter} must be {article}, got {value!r}; {remedy}")


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
        return name
    return f"{name} at {frame.f_code.co_filename}:{frame.f_lineno}"


def is_generator(iterator: Iterator[Any]) -> TypeGuard[Generator[Any, Any, Any]]:
    return isinstance(iterator, Generator)


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
