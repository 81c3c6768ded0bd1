"""Whether a garbage collection is going on: to switch away from one would corrupt memory."""

from __future__ import annotations

import gc

__all__ = ["collecting", "unwatch", "watch"]

_watchers = 0
_collecting = False


def collecting() -> bool:
    """Tell whether a collection is going on; known while somebody watches."""
    return _collecting


def watch() -> None:
    """Begin to watch; to be taken back by `unwatch()`, as often."""
    global _watchers  # noqa: PLW0603
    _watchers += 1
    if _watchers == 1:
        gc.callbacks.insert(0, _begins)  # before the others are told, and
        gc.callbacks.append(_has_ended)  # after them


def unwatch() -> None:
    """Take one `watch()` back."""
    global _watchers, _collecting  # noqa: PLW0603
    _watchers -= 1
    if not _watchers:
        gc.callbacks.remove(_begins)
        gc.callbacks.remove(_has_ended)
        _collecting = False


def _begins(phase: str, _info: dict[str, int]) -> None:
    global _collecting  # noqa: PLW0603
    if phase == "start":
        _collecting = True


def _has_ended(phase: str, _info: dict[str, int]) -> None:
    global _collecting  # noqa: PLW0603
    if phase == "stop":
        _collecting = False
