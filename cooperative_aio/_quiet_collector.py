"""Keep the garbage collector from holding the loop.

A full collection looks at every container that is alive, which takes a tenth of a second
beside a million of them. So what is alive when this begins is frozen, which takes it out of the
collector's sight; the collector's thresholds are raised; and full collections are made here,
when the process has really grown and the loop has nothing else to do.

=========  ============================================================================
calm       not much more memory is in use than after the last full collection
waiting    more is (`growth`): the loop is looked at until it is quiet, then collect
urgent     a lot more is (`max_growth`): collect in the next turn of the loop
overdue    twice that: the loop does not turn, so the collector shall do it itself
=========  ============================================================================

What is in use is looked at when the collector has run by itself: an idle program pays nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from cooperative_aio._checks import check_count

__all__ = ["QuietCollector", "quiet_collector"]

THRESHOLDS: Final = (10_000, 3, 1000)
"""For a young collection each 10,000 new containers, and one of what three of these have left;
full ones are made here. Measured by `benchmarks/collector.py` beside (20,000, 5) and
(50,000, 20): the longest collection grows with the product, and rarer ones save no work."""

OVERDUE: Final = (10_000, 0, 0)
"""For a full collection instead of the next young one."""

TURNS: Final = 64  # turns of the loop in a row that have to be quiet: a tick comes sooner
QUIET: Final = 100e-6  # seconds that a quiet turn takes at most
RETRY: Final = 0.02  # seconds until a loop that was not quiet is looked at again

INCREMENTAL: Final = (3, 14) <= sys.version_info[:3] < (3, 14, 5)
"""Whether the collector looks at old objects bit by bit: then its thresholds suit a server."""


class QuietCollector:
    """Context in which the collector is kept quiet; `quiet_collector()` makes it.

    Args:
        growth: Blocks of memory to grow by before a collection on a quiet loop.
        max_growth: Blocks of memory to grow by before a collection on any loop.
        collector: The `gc` module, or a test's substitute.
        blocks: A function that returns how many blocks of memory are in use.
        clock: The function that turns of the loop are measured by, in seconds.
        incremental: Whether to leave the thresholds alone.
    """

    def __init__(
        self,
        growth: int,
        max_growth: int,
        *,
        collector: Any = gc,
        blocks: Callable[[], int] = sys.getallocatedblocks,
        clock: Callable[[], float] = time.perf_counter,
        incremental: bool = INCREMENTAL,
    ) -> None:
        self._growth = growth
        self._max_growth = max_growth
        self._gc = collector
        self._blocks = blocks
        self._clock = clock
        self._incremental = incremental
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.Handle | None = None
        self._looking = False  # a callback of the loop is under way
        self._thresholds: tuple[int, int, int] = THRESHOLDS  # as set here
        self._before: tuple[int, int, int] | None = None
        self._was_frozen = False  # something, when this began
        self._frozen = 0
        self._newer: list[None] = []  # a container that was made when this had frozen
        self._base = 0  # blocks in use at the beginning, or after the last full collection
        self._frozen_blocks = 0  # blocks in use at the beginning
        self._quiet_turns = 0
        self._turned = 0.0  # when the last turn of the loop began

    def __enter__(self) -> Self:
        """Freeze all objects that are alive, and begin.

        Raises:
            RuntimeError: No event loop is running, or the context was entered before.
        """
        if self._before is not None:
            raise RuntimeError("cannot enter a quiet_collector() twice; make another")
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "cannot enter quiet_collector() without a running event loop;"
                " use it in an `async def`, around all that the program does"
            ) from None
        self._before = self._gc.get_threshold()
        self._was_frozen = self._gc.get_freeze_count() > 0 and self._is_frozen(sys.modules)
        self._gc.collect()  # what is frozen is never freed: let it not be garbage
        self._gc.freeze()
        self._frozen = self._gc.get_freeze_count()
        self._newer = []
        self._base = self._frozen_blocks = self._blocks()
        self._set(THRESHOLDS)
        self._gc.callbacks.append(self._collected)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Put everything back, but what others have changed meanwhile."""
        assert self._before is not None  # noqa: S101 (it was entered)
        self._leave()
        if self._gc.get_threshold() == self._thresholds and not self._incremental:
            self._gc.set_threshold(*self._before)
        grew = self._gc.get_freeze_count() > self._frozen
        if not self._was_frozen and not (grew and self._is_frozen(self._newer)):
            self._gc.unfreeze()

    def _is_frozen(self, container: object) -> bool:
        """Tell whether somebody froze what was alive, `container` included.

        The count alone does not say it: CPython 3.12 counts immortal objects that a
        collection has met.
        """
        return not any(each is container for each in self._gc.get_objects())

    def _leave(self) -> None:
        self._loop = None
        if self._timer is not None:
            self._timer.cancel()
        with contextlib.suppress(ValueError):
            self._gc.callbacks.remove(self._collected)

    def _set(self, thresholds: tuple[int, int, int]) -> None:
        if not self._incremental and thresholds != self._gc.get_threshold():
            self._gc.set_threshold(*thresholds)
            self._thresholds = self._gc.get_threshold()

    # After a collection, in whatever thread that was

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        """Look whether memory has grown; `gc` calls this before and after each collection."""
        if phase != "stop":
            return
        if info["generation"] == 2:  # noqa: PLR2004 (a full one)
            self._base = self._blocks()
            self._set(THRESHOLDS)
            return
        grown = self._grown()
        if grown > 2 * self._limit(self._max_growth):
            self._set(OVERDUE)
        if grown > self._limit(self._growth) and not self._looking and self._loop is not None:
            self._looking = True
            try:
                self._loop.call_soon_threadsafe(self._begin_to_look)
            except RuntimeError:  # the loop was closed
                self._leave()

    def _grown(self) -> int:
        """Return by how many blocks; what has gone by itself since counts no more."""
        blocks = self._blocks()
        self._base = min(self._base, blocks)
        return blocks - self._base

    def _limit(self, growth: int) -> int:
        """Return how much growth there may be: as much as what is in use and not frozen.

        So what full collections cost is in proportion to what the program allocates.
        """
        return max(growth, self._base - self._frozen_blocks)

    # On the loop

    def _begin_to_look(self) -> None:
        self._quiet_turns = 0
        self._turned = self._clock()
        self._look_again()

    def _look_again(self) -> None:
        """Collect if it has to be; else see whether the next turn is a quiet one."""
        if self._loop is None:
            return
        grown = self._grown()
        if grown > self._limit(self._max_growth) or self._quiet_turns >= TURNS:
            self._gc.collect()
        elif grown > self._limit(self._growth):
            self._timer = self._loop.call_soon(self._turn)
            return
        self._looking = False

    def _turn(self) -> None:
        now = self._clock()
        took, self._turned = now - self._turned, now
        if self._loop is None:
            return
        if took <= QUIET:
            self._quiet_turns += 1
            self._look_again()
        else:
            self._timer = self._loop.call_later(RETRY, self._begin_to_look)


def quiet_collector(*, growth: int = 200_000, max_growth: int = 2_000_000) -> QuietCollector:
    """Keep Python's garbage collector from holding the loop, while the context lasts.

        async def main():
            with quiet_collector():
                await asyncio.sleep(0)  # or: serve requests

        await main()

    On entering, all objects that are alive are frozen: the collector does not look at them
    any more. The collector's thresholds are raised, and full collections are made when
    memory has grown and the loop is quiet. On leaving, the thresholds are put back and the
    objects released, unless other code has frozen objects before or meanwhile.

    Enter it when the program has loaded whatever it will keep. A cycle of objects that was
    frozen and becomes garbage is not freed until the context is left; any other object is
    freed as always, when the last reference to it goes.

    Args:
        growth: The number of blocks of memory that the process may grow by, after a full
            collection, before the next one is made as soon as the loop is quiet; at least 1.
            A small object is one block, and so are the items of a list: the default is about
            20 MB.
        max_growth: The same for a collection at the next turn of the loop, quiet or not; at
            least `growth`. If after the last collection more blocks than that were in use,
            besides the frozen ones, then that number counts in place of both.

    Returns:
        A context manager, to be entered while an event loop runs.

    Raises:
        TypeError: An argument is not an integer.
        ValueError: An argument is too small.
    """
    check_count("growth", growth)
    check_count("max_growth", max_growth, least=growth)
    return QuietCollector(growth, max_growth)
