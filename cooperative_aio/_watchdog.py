"""Find what holds the loop while it still holds it, from a thread beside it.

The loop has a heartbeat, that of `LoopLag`: a timer that notes when it is due again. A
daemon thread sleeps until that instant and `seconds` more. If the heartbeat has not come by
then, what the loop's thread is in the middle of is what holds it, and `sys._current_frames`
tells. Nothing has to end for that, and nothing is asked of the loop.

`faulthandler.dump_traceback_later` finds a stack as well, and where a C call keeps the
interpreter even earlier; but it has one timer for the whole process, writes to a file and
not to the log, and knows nothing of tasks.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import math
import os
import sys
import sysconfig
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Final, Self

from cooperative_aio._checks import check_finite
from cooperative_aio._legible import legible
from cooperative_aio._observing import stepping_on
from cooperative_aio._watch import LoopLag

__all__ = ["Stall", "Watchdog", "watchdog"]

logger: Final = logging.getLogger("cooperative_aio")

BEATS: Final = 4  # heartbeats in the time after which the loop counts as held
MOST_FRAMES: Final = 100  # of a stack, the innermost ones
LONGEST_STACK: Final = 100_000  # characters


@dataclass(frozen=True, slots=True)
class Stall:
    """What holds the loop, as text: nothing of it is kept alive."""

    due: float
    """When the heartbeat was due, by the clock of the LoopLag."""
    seconds: float
    """How late it was when this was noticed; the loop may be held for longer."""
    holder: str
    """The cooperative task whose step is running, or else the asyncio task."""
    place: str
    """The innermost line of the user's code."""
    stack: str
    """The stack of the loop's thread, innermost line last."""


def watchdog(*, seconds: float = 1.0) -> AbstractAsyncContextManager[object]:
    """Log what holds the running loop, while the `async with` block lasts.

        async with watchdog(seconds=0.25):
            await asyncio.sleep(0)  # or: serve requests

    When the loop has not turned for `seconds`, one WARNING on the logger `cooperative_aio`
    says what it is doing: the task whose step is running, the innermost line of your code,
    and the stack of the loop's thread. It is written while the loop is still held, once
    each time, whatever holds it: a step, a handler that computes, a callback, a blocking
    call. (A call into C that does not release the interpreter holds the watchdog, too; it is
    named as soon as it has ended.)

    It costs four timers and four wake-ups of a thread in every `seconds`.

    Args:
        seconds: How long the loop may be held, in seconds.

    Raises:
        TypeError: `seconds` is not a number.
        ValueError: `seconds` is not finite and above 0.

    Cancellation: neither entering nor leaving it suspends.
    """
    check_finite("seconds", seconds, positive=True)
    return Watchdog(LoopLag(seconds / BEATS, history=1), seconds, tell=_log, owns_lag=True)


def _log(stall: Stall) -> None:
    logger.warning(
        "the event loop has been held for %.2f seconds, by %s, at %s\n"
        "Stack of the loop's thread (most recent call last):\n%s",
        *(stall.seconds, stall.holder, stall.place, stall.stack),
    )


class Watchdog:
    """A thread that notices when the heartbeat of a loop stays out; `watchdog` makes it.

    To be entered on the loop that it watches.

    Args:
        lag: Whose heartbeat to watch.
        seconds: How late it may be.
        tell: Called in the thread with each Stall, once for each time the loop is held.
        owns_lag: Whether to start and stop the heartbeat.
    """

    def __init__(
        self,
        lag: LoopLag,
        seconds: float,
        *,
        tell: Callable[[Stall], object],
        owns_lag: bool = False,
    ) -> None:
        self._lag = lag
        self._seconds = seconds
        self._tell = tell
        self._owns_lag = owns_lag
        self._loop: weakref.ref[asyncio.AbstractEventLoop] | None = None
        self._leaving = threading.Event()
        self._thread: threading.Thread | None = None
        self._settled = -math.inf  # the heartbeat of this instant was told of, or excused
        self._since = -math.inf  # nothing is blamed for what was before
        self._looked, self._cpu = lag.clock(), time.process_time()

    async def __aenter__(self) -> Self:
        """Begin to watch the running loop.

        Raises:
            RuntimeError: It watches one already.

        Cancellation: does not suspend.
        """
        if self._thread is not None:
            raise RuntimeError("cannot enter a watchdog twice; make another")
        self.begin(asyncio.get_running_loop())
        self._thread = threading.Thread(
            target=self._run, name="cooperative_aio watchdog", daemon=True
        )
        self._thread.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Watch no more.

        Cancellation: does not suspend.
        """
        self._leaving.set()
        if self._owns_lag:
            self._lag.stop()

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch `loop`, whose `check` is to be called by whoever has made this."""
        stepping_on(loop)  # what is asked from the thread is made here
        self._loop = weakref.ref(loop)
        if self._owns_lag:
            self._lag.start()
        self._looked, self._cpu = self._lag.clock(), time.process_time()

    def _run(self) -> None:
        while not self._leaving.wait(self.wait()):
            self.check()

    def wait(self) -> float:
        """Return in how many seconds to look: when the heartbeat would be too late."""
        due = max(self._lag.due, self._since)
        least = self._lag.interval / 4
        if due == self._settled:
            return self._lag.interval
        return min(max(due + self._seconds - self._lag.clock(), least), 3600.0)

    def check(self) -> None:
        """Look whether the heartbeat is too late; if so, tell what holds the loop.

        A loop that was stopped or waits for events is not held, and nothing is blamed for
        the time that the whole process has slept.
        """
        now, cpu = self._lag.clock(), time.process_time()
        slept, self._looked = now - self._looked, now
        computed, self._cpu = cpu - self._cpu, cpu
        loop = self._loop() if self._loop is not None else None
        if loop is None or loop.is_closed():
            self._leaving.set()
            return
        due = self._lag.due
        late = now - max(due, self._since)
        if due == self._settled or late < self._seconds:
            return
        if not loop.is_running():
            self._settled = due
        elif slept > 2 * self._seconds + self._lag.interval and computed < slept / 4:
            self._since = now  # the process was suspended, or had no turn
        else:
            self._look(loop, due, late)

    def _look(self, loop: asyncio.AbstractEventLoop, due: float, late: float) -> None:
        task = stepping_on(loop)
        frame = sys._current_frames().get(self._lag.thread)
        if frame is None or _is_idle(frame, self._lag.runner):
            return
        places = list(itertools.islice(_inside(frame, self._lag.runner), MOST_FRAMES))
        del frame
        self._settled = due
        holder = f"a step of {legible(task.name)!r}" if task is not None else _current(loop)
        del task
        self._tell(Stall(due, late, holder, _place(places), _text(places)))


def _inside(frame: FrameType, runner: CodeType | None) -> Iterator[tuple[CodeType, int]]:
    """Yield code and line of a stack, innermost first, as far as the loop that calls it."""
    for one, line in traceback.walk_stack(frame):
        if one.f_code is runner or _module(one) == "asyncio.base_events":
            return
        yield one.f_code, line


def _current(loop: asyncio.AbstractEventLoop) -> str:
    task = asyncio.current_task(loop)
    return "a callback" if task is None else f"the asyncio task {legible(task.get_name())!r}"


def _is_idle(frame: FrameType, runner: CodeType | None) -> bool:
    """Tell whether the innermost frame of the loop's thread is where loops wait.

    Args:
        frame: That frame.
        runner: Where a loop that is written in C is run from.
    """
    if frame.f_code is runner:
        return True
    inner: FrameType | None = frame
    while inner is not None and _module(inner) in {"selectors", "asyncio.windows_events"}:
        inner = inner.f_back
    return inner is not None and inner is not frame and _module(inner) == "asyncio.base_events"


def _module(frame: FrameType) -> object:
    return frame.f_globals.get("__name__")


def _place(places: Iterable[tuple[CodeType, int]]) -> str:
    """Name the innermost line of the user's code; else of a library; else of all."""
    ranked = sorted(places, key=lambda place: _rank(place[0].co_filename))
    if not ranked:
        return "the loop itself"
    code, line = ranked[0]
    return legible(f"{code.co_filename}:{line} in {code.co_qualname}", 1000)


@functools.cache
def _roots() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return where libraries are, and where Python's own library and this package are."""
    paths = sysconfig.get_paths()
    libraries = tuple({paths["purelib"], paths["platlib"]})
    own = (paths["stdlib"], paths["platstdlib"], str(Path(__file__).parent))
    return _as_folders(libraries), _as_folders(own)


def _as_folders(paths: Iterable[str]) -> tuple[str, ...]:
    ways = {way for path in paths for way in (Path(path), Path(path).resolve())}
    return tuple(f"{way}{os.sep}" for way in ways)


def _rank(file: str) -> int:
    libraries, own = _roots()
    if "site-packages" in file or "dist-packages" in file or file.startswith(libraries):
        return 1
    return 2 if file.startswith((*own, "<frozen")) else 0


def _text(places: list[tuple[CodeType, int]]) -> str:
    summaries = [
        traceback.FrameSummary(code.co_filename, line, code.co_qualname)
        for code, line in reversed(places)
    ]
    text = "".join(traceback.StackSummary.from_list(summaries).format()).rstrip()
    return legible(text, LONGEST_STACK)
