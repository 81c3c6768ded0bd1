"""A function on a stack of its own, which it can leave in the middle and come back to."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

try:
    from greenlet import getcurrent, greenlet
except ImportError as error:  # pragma: no cover (a test runs this in a process of its own)
    raise ImportError(
        "cooperative_aio.functions needs greenlet, which is not installed;"
        " install cooperative-aio[functions]"
    ) from error

__all__ = ["Function", "Thrown", "current_function", "getcurrent"]
__all__ += ["innermost_frame", "is_of_this_package"]


class Thrown:
    """An exception that the function is to go on with, where it was set aside."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Function(greenlet):
    """One call of a function.

    Who steps it switches to it; it switches back with what it waits for, or None, and in
    the end returns. Its `parent` is whoever steps it now.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.clock: Callable[[], float] = time.perf_counter
        self.slice: float = 0.0  # seconds that a step may last
        self.deadline: float = math.inf  # by the clock: when to be set aside
        self.kept: int = 0  # how often uninterrupted() was entered
        self.ending: bool = False  # GeneratorExit was thrown
        self.raised: BaseException | None = None  # what it has raised

    def run(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Call the function; greenlet calls this, on the new stack."""
        try:
            return function(*args)
        except BaseException as error:  # noqa: BLE001 (raised again where it is stepped)
            self.raised = error
            return None

    def leave(self, item: object) -> Any:
        """Let go of the loop: to be called by the function itself.

        Args:
            item: What to wait for, or None.

        Returns:
            What the function was given to go on with: the result, or `Thrown`.
        """
        return self.parent.switch(item)  # type: ignore[union-attr]

    def leave_and_go_on(self, item: object) -> Any:
        """Let go of the loop; return the result, or raise what was thrown."""
        answer = self.leave(item)
        if type(answer) is Thrown:
            try:
                raise answer.error
            finally:
                del answer  # the error refers to this frame
        return answer


_OURS: Final = f"{__name__.rpartition('.')[0]}."


def current_function() -> Function | None:
    """Return the function that calls this, unless it stands in a greenlet of another."""
    current = getcurrent()
    return current if type(current) is Function else None


def innermost_frame(function: Function) -> FrameType | None:
    """Return the innermost frame of the function's own where it is set aside; else None."""
    frame = function.gr_frame
    while frame is not None and is_of_this_package(frame):
        frame = frame.f_back
    return frame


def is_of_this_package(frame: FrameType) -> bool:
    """Tell whether a frame is of a module of this package: not to be interrupted itself."""
    module = frame.f_globals.get("__name__")
    return isinstance(module, str) and module.startswith(_OURS)
