"""Whether a garbage collection is going on: to switch away from one would corrupt memory."""

from __future__ import annotations

import gc

__all__ = ["collecting", "unwatch", "watch"]

_watchers: set[object] = set()
_collecting = False


def collecting() -> bool:
    """Tell whether a collection is going on; known while somebody watches."""
    return _collecting


def watch(watcher: object) -> None:
    """Begin to watch, if nobody does."""
    _watchers.add(watcher)
    if _begins not in gc.callbacks:
        gc.callbacks.insert(0, _begins)  # before the others are told, and
    if _has_ended not in gc.callbacks:
        gc.callbacks.append(_has_ended)  # after them


def unwatch(watcher: object) -> None:
    """Take back a `watch()`, if there was one."""
    global _collecting  # noqa: PLW0603
    _watchers.discard(watcher)
    if not _watchers:
        _collecting = False
        for callback in (_begins, _has_ended):
            if callback in gc.callbacks:
                gc.callbacks.remove(callback)


def _begins(phase: str, _info: dict[str, int]) -> None:
    global _collecting  # noqa: PLW0603
    if phase == "start":
        _collecting = True


def _has_ended(phase: str, _info: dict[str, int]) -> None:
    global _collecting  # noqa: PLW0603
    if phase == "stop":
        _collecting = False
