"""What places have in common: sources are opened, wait for their turn, and are closed."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, ParamSpec, Protocol, Self, TypeVar

from cooperative_aio._draining import BatchSource
from cooperative_aio.offload._core import check_count, check_finite
from cooperative_aio.offload._figures import PlaceFigures, WorkerFigures, enter, leave
from cooperative_aio.offload._streams import Source, Stream, outlast
from cooperative_aio.offload._wire import name_of, quoted

__all__ = ["BatchSource", "Place", "StreamingPlace"]

T = TypeVar("T")
P = ParamSpec("P")


class Place(Protocol):
    """Protocol of all places, such as those of `threads()` and `processes()`.

    A place of your own needs nothing else from this package: its `open` returns an object
    with `next_batch`, `close` and, if it can, `abandon`; see `BatchSource`. The monitor and
    the metrics show it by its `name` and by what its `figures()` tells, a `PlaceFigures`;
    both are optional.
    """

    def open(
        self, factory: Callable[P, Iterable[T | None]], /, *args: P.args, **kwargs: P.kwargs
    ) -> BatchSource[T]:
        """Return a source of the values that `factory(*args, **kwargs)` yields there."""
        ...


class StreamingPlace(ABC):
    """Context in which generators run elsewhere; base of the places of this package.

    Args:
        name: The name of the place in messages.
        limit: The number of generators that run at the same time; others wait.
        prefetch: The number of batches of each that are made ahead, at most.
        grace: How long, in seconds, a generator may take to be closed.
    """

    def __init__(self, name: str, limit: int, prefetch: int, grace: float) -> None:
        check_count("prefetch", prefetch, least=0)
        self._name = name
        self._limit = limit
        self._prefetch = prefetch
        self._grace = check_finite("grace", grace, positive=False)
        self._slots = asyncio.Semaphore(limit)
        self._jobs: dict[asyncio.Task[None], Stream] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._state = "new"
        self._ended = 0
        self._deaths = 0

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop on which it was entered; None before that."""
        return self._loop

    @property
    def name(self) -> str:
        """What messages and the monitor call it."""
        return self._name

    @property
    def limit(self) -> int:
        """The number of generators that run at the same time."""
        return self._limit

    def open(
        self, factory: Callable[P, Iterable[T | None]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Source[T]:
        """Return a source of the values that `factory(*args, **kwargs)` yields here.

        The generator starts when the source is first asked for a batch. If the place runs
        as many generators as it can, it waits until one has ended.

        Args:
            factory: A generator function, or another function that returns an iterable.
                For another process, it has to be a function that can be imported there.
            *args: Arguments of the factory.
            **kwargs: Keyword arguments of the factory.

        Raises:
            TypeError: The factory is not callable; or it, or an argument, cannot be
                pickled where that is needed.
            RuntimeError: The place was not entered, or was left; or it belongs to another
                event loop.
        """
        if not callable(factory):
            raise TypeError(
                f"factory must be a generator function, got {quoted(factory)}; pass the"
                " function and its arguments, not what it returns"
            )
        if self._state != "entered":
            remedy = "use `async with`" if self._state == "new" else "make another"
            raise RuntimeError(
                f"cannot open a source on a {self._state} place, {self._name}; {remedy}"
            )
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError(f"cannot open a source of {self._name} on another event loop")
        call = self._prepare(factory, args, kwargs)
        name = name_of(factory)
        return Source(Stream(name, call, self._run, self._prefetch, self._grace))

    def _prepare(
        self, factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Return what makes the generator, as `_serve` wants it.

        Raises:
            TypeError: It cannot be sent there.
        """
        return factory, args, kwargs

    def figures(self) -> PlaceFigures:
        """Return what the place does at this moment; may be called in any thread."""
        streams = list(self._jobs.values())
        queued = sum(stream.queued for stream in streams)
        return PlaceFigures(
            name=self._name,
            limit=self._limit,
            running=len(streams) - queued,
            queued=queued,
            ended=self._ended,
            deaths=self._deaths,
            workers=self._figures_of_workers(),
        )

    def _figures_of_workers(self) -> tuple[WorkerFigures, ...]:
        return ()

    def _note_death(self) -> None:
        """Count a worker that is no more, or was left to itself."""
        self._deaths += 1

    # Running generators

    async def _run(self, stream: Stream) -> None:
        """Run a generator to its end, whatever happens."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        self._jobs[task] = stream
        if self._state != "entered":
            stream.abandon()
        try:
            stream.queued = True
            async with self._slots:
                stream.queued = False
                if not stream.closing:
                    await self._serve(stream)
        except Exception as error:  # noqa: BLE001 (it is raised where a batch is waited for)
            stream.finish(error)
        finally:
            stream.finish(None)
            del self._jobs[task]
            self._ended += 1

    @abstractmethod
    async def _serve(self, stream: Stream) -> None:
        """Run a generator; return when nothing of it is left.

        Cancellation: abandons the stream, and returns when nothing of it is left.
        """

    # Entering and leaving

    async def __aenter__(self) -> Self:
        """Enter the place: sources can be opened.

        Raises:
            RuntimeError: It was entered before.

        Cancellation: does not suspend.
        """
        if self._state != "new":
            raise RuntimeError(
                f"cannot enter an {self._state} place, {self._name}; make another"
            )
        self._loop = asyncio.get_running_loop()
        self._state = "entered"
        enter(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the place: close its sources, and wait until all generators have ended.

        Cancellation: takes effect when they have ended.
        """
        self._state = "left"
        leave(self)
        for stream in self._jobs.values():
            stream.abandon()
        cancelled: asyncio.CancelledError | None = None
        try:
            await outlast(*self._jobs)
        except asyncio.CancelledError as interruption:
            cancelled = interruption
        leaving = asyncio.ensure_future(self._leave())
        await outlast(leaving)
        leaving.result()
        if cancelled is not None:
            raise cancelled

    async def _leave(self) -> None:  # noqa: B027 (most hold nothing)
        """Give up what the place holds."""
