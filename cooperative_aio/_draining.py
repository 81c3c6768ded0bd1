"""Sources of batches, in place of iterables: how all that they have is taken.

What takes it is a plain coroutine, which the task of the accumulation waits on: a batch
then costs what awaiting it costs, and no turn of the Cooperator. The task itself takes a
step at the beginning and one at the end; between them it is waiting. The coroutine comes
back to it

* when the source has no more, and is closed;
* when taking batches has held the loop for `AT_ONCE` seconds: then the others come first;
* when the task was paused.

Whatever else ends the task goes through its generator, which closes the source: where that
can be awaited, by awaiting it, before the task has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final, Protocol, TypeVar, cast

from typing_extensions import TypeIs

from cooperative_aio._errors import SchedulerError
from cooperative_aio._futures import wake
from cooperative_aio._loop import state_of
from cooperative_aio._own import current_task
from cooperative_aio._sinks import Sink
from cooperative_aio._task import CooperativeTask

__all__ = ["BatchSource", "Draining", "is_source"]

T_co = TypeVar("T_co", covariant=True)


class BatchSource(Protocol[T_co]):
    """An object that hands over values in batches, as the sources of `offload` do.

    A method `abandon()` is optional. It has the source closed without waiting for
    that, and is called where nothing can be awaited: because the task was stopped, or
    its loop is being shut down. Without it, `close()` runs as a task there.
    """

    async def next_batch(self, n: int, max_seconds: float | None = None) -> Sequence[T_co]:
        """Return up to `n` values; an empty sequence when there are no more.

        Args:
            n: The number of values at most, at least 1.
            max_seconds: After how many seconds to return what there is, if there is
                something; None to wait for `n` values.

        Raises:
            BaseException: Whatever went wrong; the accumulation raises it.

        Cancellation: the batch is no longer wanted; `close()` or `abandon()` follows.
        """
        ...

    async def close(self) -> None:
        """Release whatever the values come from; also called after the last batch.

        Raises:
            BaseException: Whatever went wrong; the accumulation raises it.

        Cancellation: whatever the values come from must be released all the same.
        """


def is_source(value: object) -> TypeIs[BatchSource[Any]]:
    """Tell whether it is to be asked for batches, not iterated over."""
    return callable(getattr(value, "next_batch", None))


AT_ONCE: Final = 0.002  # seconds of one turn of the loop


class Draining:
    """Takes the batches of one source into a sink.

    Args:
        source: What has `next_batch` and `close`, and perhaps `abandon`.
        size: How many values to ask for at a time.
        max_seconds: For `next_batch`.
        sink: Where the batches go.
    """

    def __init__(self, source: Any, size: int, max_seconds: float | None, sink: Sink) -> None:
        self._source = source
        self._order = (size, max_seconds)
        self._sink = sink
        self._closed = False  # what follows the last batch has begun
        self._refusal: SchedulerError | None = None
        self._room: asyncio.Future[None] | None = None  # the sink wants no more before
        self._since: float | None = None  # taking batches holds the loop

    def steps(self) -> Generator[Any, Any, None]:
        """Return the generator that the task steps."""
        steps: Any = self._steps()
        name = getattr(self._source, "name", None)
        steps.__qualname__ = name if isinstance(name, str) else type(self._source).__qualname__
        return cast("Generator[Any, Any, None]", steps)

    def _steps(self) -> Generator[Any, Any, None]:
        task = current_task()
        try:
            while not (yield self._take_batches(task)):
                pass
        except GeneratorExit:
            if not self._closed:
                _abandon(self._source)
            raise
        except BaseException:
            if not self._closed:
                yield self._source.close()
            raise

    async def _take_batches(self, task: CooperativeTask[Any] | None) -> bool:
        """Take batches; return whether that were all.

        Cancellation: the source is left as it is; the generator closes it.
        """
        loop = asyncio.get_running_loop()
        state = state_of(loop)
        while len(batch := await self._source.next_batch(*self._order)):
            self._sink.take_batch(self, list(batch))
            del batch  # the next one may be long in coming
            if self._refusal is not None:
                raise self._refusal
            if self._room is not None:
                await self._room
            now = state.clock()
            if self._since is None:
                self._since = now
                loop.call_soon(self._let_go, context=state.context)
            if now - self._since >= AT_ONCE or (task is not None and task.paused):
                return False
        self._closed = True
        await self._source.close()
        return True

    def _let_go(self) -> None:
        """Note that the loop has gone on."""
        self._since = None

    # What a sink calls

    def stop_when_over(self, error: SchedulerError) -> None:
        """Fail with `error` when the batch has been taken."""
        self._refusal = error

    def hold(self, *, held: bool) -> None:
        """Take no batch for now, or go on."""
        if held:
            self._room = asyncio.get_running_loop().create_future()
        else:
            room, self._room = self._room, None
            wake(room)


def _abandon(source: Any) -> None:
    """Close a source where that cannot be awaited."""
    abandon: Callable[[], object] | None = getattr(source, "abandon", None)
    if callable(abandon):
        abandon()
        return
    closing = asyncio.ensure_future(source.close())
    _closing.add(closing)
    closing.add_done_callback(_closing.discard)


_closing: Final[set[asyncio.Future[None]]] = set()
