"""Text of users, such as names and labels, made fit for pages, metrics and logs."""

from __future__ import annotations

import reprlib
from typing import Final

__all__ = ["LONGEST", "legible"]

LONGEST: Final = 200  # characters of a name


def legible(value: object, most: int = LONGEST) -> str:
    """Return `value` as text that can be encoded, of at most `most` characters.

    What UTF-8 cannot have, a lone surrogate, is written as in a Python literal. Of longer
    text the beginning is kept.

    Args:
        value: A string; of anything else what `reprlib` makes of it.
        most: The number of characters that are kept.
    """
    if not isinstance(value, str):
        value = reprlib.repr(value)  # also of what raises in its own repr
    text = str.__getitem__(value, slice(most + 1))
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"
