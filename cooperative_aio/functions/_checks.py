"""What can be called in slices, and the error for where nothing can be interrupted."""

from __future__ import annotations

import functools
import inspect
import reprlib
from collections.abc import Callable
from typing import Any

__all__ = ["PreemptionUnavailable", "check_function", "name_of"]


class PreemptionUnavailable(RuntimeError):
    """A function cannot be set aside from outside here; the text says why.

    With `preempt=False` it can run all the same, and is set aside where it calls
    `give_way()` or `wait_on()`.
    """


def check_function(function: object) -> None:
    """Refuse what is not an ordinary function, and say what to use instead.

    Raises:
        TypeError: It is not one.
    """
    if not callable(function):
        raise TypeError(f"function must be callable, got {reprlib.repr(function)}")
    called: Any = _unwrapped(function)
    for is_one, kind, remedy in _OTHERS:
        if is_one(called) or is_one(type(called).__call__):
            raise TypeError(
                f"function must be an ordinary function, got the {kind}"
                f" {name_of(function)}; {remedy}"
            )


_OTHERS: tuple[tuple[Callable[[object], bool], str, str], ...] = (
    (inspect.iscoroutinefunction, "coroutine function", "await what it returns"),
    (
        inspect.isgeneratorfunction,
        "generator function",
        "call it, and give what it returns to cooperate() or accumulate()",
    ),
    (
        inspect.isasyncgenfunction,
        "async generator function",
        "iterate with `async for` over what it returns",
    ),
)


def name_of(function: Any) -> str:
    """Return what a function, or what a partial object calls, is named."""
    function = _unwrapped(function)
    name = getattr(function, "__qualname__", None)
    return name if isinstance(name, str) else type(function).__qualname__


def _unwrapped(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function
