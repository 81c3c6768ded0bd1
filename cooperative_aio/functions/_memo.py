"""What was found out about code objects, so that it need not be found out again."""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType
from typing import Generic, TypeVar

__all__ = ["Memo"]

T = TypeVar("T")


class Memo(Generic[T]):
    """Remember what a function returns for each code object.

    By identity: code objects compare by their contents, which takes long.

    Args:
        find: The function.
        most: How many to remember; then all are forgotten, so that code which is made and
            dropped as a program runs does not pile up.
    """

    __slots__ = ("_find", "_found", "_most")

    def __init__(self, find: Callable[[CodeType], T], most: int = 4096) -> None:
        self._find = find
        self._most = most
        self._found: dict[int, tuple[CodeType, T]] = {}

    def __call__(self, code: CodeType) -> T:
        found = self._found.get(id(code))
        if found is None:
            if len(self._found) >= self._most:
                self._found.clear()
            found = self._found[id(code)] = (code, self._find(code))
        return found[1]
