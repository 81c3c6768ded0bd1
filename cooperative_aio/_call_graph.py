"""What asyncio's call graphs (Python 3.14) need to know of a task and its generator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import FrameType, GeneratorType
from typing import Any, Final

__all__ = ["Frames", "note_awaited", "note_not_awaited"]


class Frames:
    """View of a suspended generator that has the attributes of a coroutine.

    Args:
        generator: A generator that stands at a `yield`, or has ended.
    """

    __slots__ = ("_generator",)

    def __init__(self, generator: GeneratorType[Any, Any, Any]) -> None:
        self._generator = generator

    @property
    def cr_frame(self) -> FrameType | None:
        """The generator's frame, if it has not ended."""
        return self._generator.gi_frame

    @property
    def cr_await(self) -> Frames | None:
        """The generator that this one delegates to by `yield from`."""
        inner = self._generator.gi_yieldfrom
        return Frames(inner) if isinstance(inner, GeneratorType) else None


def _note_nothing(_future: asyncio.Future[Any], _waiter: asyncio.Future[Any]) -> None:
    """Stand in for what Python has since 3.14."""


Note = Callable[[asyncio.Future[Any], asyncio.Future[Any]], object]
_ADD, _DISCARD = "future_add_to_awaited_by", "future_discard_from_awaited_by"
note_awaited: Final[Note] = getattr(asyncio, _ADD, _note_nothing)
note_not_awaited: Final[Note] = getattr(asyncio, _DISCARD, _note_nothing)
