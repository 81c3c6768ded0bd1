"""What can go wrong elsewhere."""

from __future__ import annotations

from typing import Any

__all__ = ["RemoteError", "RemoteTraceback", "SourceClosed", "WorkerDied", "name_of"]


class WorkerDied(RuntimeError):
    """Say that a worker has gone, and with it the generator that it ran."""


class SourceClosed(RuntimeError):
    """Say that a source was closed: the values that it still had are lost."""


class RemoteError(RuntimeError):
    """Stand for an exception that could not be pickled; the text says which it was."""


class RemoteTraceback(Exception):
    """Show, as the cause of an exception, where in the worker it was raised."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text: str = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


def name_of(factory: Any) -> str:
    """Return what messages call a factory."""
    return getattr(factory, "__qualname__", None) or repr(factory)
