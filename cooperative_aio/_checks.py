"""The checks that arguments go through, and how errors quote what has arrived."""

from __future__ import annotations

import math
import reprlib
from contextvars import Context
from typing import Any, Final

__all__ = [
    "as_name",
    "check_callable",
    "check_context",
    "check_count",
    "check_finite",
    "quote",
]


class _Quotation(reprlib.Repr):
    """Short representations, whatever the object's own does."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 200

    def repr_instance(self, x: Any, level: int) -> str:
        try:
            text = repr(x)
        except Exception:  # noqa: BLE001 (that is no reason to fail in another way)
            return f"<{type(x).__qualname__} instance at {id(x):#x}>"
        if len(text) <= self.maxother:
            return text
        half = (self.maxother - len(self.fillvalue)) // 2
        del level
        return text[:half] + self.fillvalue + text[-half:]


_quotation: Final = _Quotation()


def quote(value: object) -> str:
    """Represent `value` in an error message: in a few hundred characters, come what may."""
    try:
        return _quotation.repr(value)
    except Exception:  # noqa: BLE001 (a subclass of a builtin may have a repr that raises)
        return f"<{type(value).__qualname__} instance at {id(value):#x}>"


def check_callable(name: str, value: object) -> None:
    """Refuse what cannot be called.

    Raises:
        TypeError: It is not callable.
    """
    if not callable(value):
        raise TypeError(f"{name} must be callable, got {quote(value)}")


def check_context(name: str, value: object) -> None:
    """Refuse what is neither a context nor None.

    Raises:
        TypeError: It is something else.
    """
    if value is not None and not isinstance(value, Context):
        raise TypeError(f"{name} must be a contextvars.Context, got {quote(value)}")


def as_name(name: object) -> str | None:
    """Return a name as text, as asyncio does with the names of its tasks; or None."""
    return name if name is None or isinstance(name, str) else quote(name)


def check_count(name: str, value: object, *, least: int = 1) -> None:
    """Refuse what is no number of things.

    Args:
        name: What the caller called the argument.
        value: What arrived.
        least: The smallest number that is allowed.

    Raises:
        TypeError: The value is not an integer, or is a bool.
        ValueError: The value is less than `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer of at least {least}, got {quote(value)}")
    if value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {quote(value)}")


def check_finite(name: str, value: object, *, positive: bool) -> float:
    """Return `value` as a float, or raise an error that names it.

    Args:
        name: What the caller called the argument.
        value: What arrived.
        positive: Whether 0 is refused as well as what is below.

    Raises:
        TypeError: The value is not a number, or is a bool.
        ValueError: The value is not finite, or too small.
    """
    constraint = f"a finite number {'above' if positive else 'of at least'} 0"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be {constraint}, got {quote(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or number < 0 or (positive and number == 0):
        raise ValueError(f"{name} must be {constraint}, got {quote(value)}")
    return number
