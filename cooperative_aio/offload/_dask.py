"""Generators on the machines of a Dask cluster: in actors there, by links from here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from importlib import import_module
from typing import Any, Final, Self

from cooperative_aio._checks import quote
from cooperative_aio._host import check_host_has
from cooperative_aio.offload._core import check_count
from cooperative_aio.offload._places import StreamingPlace
from cooperative_aio.offload._pulling import Order, QueuedOrders, end, iterate, pull
from cooperative_aio.offload._streams import Stream, outlast
from cooperative_aio.offload._wire import (
    WorkerDied,
    dump_call,
    dump_error,
    dump_values,
    load_call,
    load_error,
    load_values,
)

__all__ = ["Dask", "dask"]

logger: Final = logging.getLogger("cooperative_aio")

WATCH: Final = 1.0  # seconds between two looks at whether the workers are still there
PATIENCE: Final = 5.0  # seconds in which the scheduler has to answer


# On a worker of the cluster

Reply = tuple[int, bytes, bytes | None]
"""The number of the batch, its values, and (with the last one) how it all ended."""


class RemoteGenerator:
    """A generator on a worker of Dask, which runs these methods in one thread.

    Args:
        call: The pickled factory and its arguments.
    """

    def __init__(self, call: bytes) -> None:
        self._call = call
        self._pickle = _pickle_of_dask()
        self._orders = QueuedOrders()
        self._iterator: Iterator[Any] | None = None
        self._batches = 0
        self._ended = False

    def next_batch(self, size: int, max_seconds: float | None) -> Reply:
        """Make a batch. Calls may arrive in any order, so batches are numbered."""
        number = self._batches
        self._batches += 1
        values: list[Any] = []
        error: BaseException | None = None
        data = b""
        if not (self._ended or self._orders.closing):
            try:
                if self._iterator is None:
                    self._iterator = iterate(load_call(self._call, self._pickle.loads))
                values, self._ended, error = pull(
                    self._iterator, Order(size, max_seconds), self._orders
                )
                data = dump_values(values, self._pickle.dumps) if values else b""
            except BaseException as caught:  # noqa: BLE001
                self._ended, error = True, caught
        return number, data, self._end(error) if self._ended else None

    async def stop(self) -> None:
        """End the generator after its current step: this runs beside the others."""
        self._orders.close()

    def close(self) -> bytes:
        """Close the generator; return how that ended."""
        return self._end(None)

    def _end(self, error: BaseException | None) -> bytes:
        iterator, self._iterator = self._iterator, None
        return dump_error(end(iterator, error), self._pickle.dumps)


# Here


class _ActorLink:
    """Link with a generator, in an actor on a worker of the cluster."""

    def __init__(
        self,
        stream: Stream,
        future: Any,
        actor: Any,
        address: str,
        pickle: Any,
        died: Callable[[], object],
    ) -> None:
        self.future: Any = future
        self.address: str = address
        self._stream = stream
        self._actor = actor
        self._pickle = pickle
        self._died = died
        self._calls: set[asyncio.Task[None]] = set()
        self._next = 0  # number of the batch that is due
        self._early: dict[int, tuple[bytes, bytes | None]] = {}

    def put(self, order: Order, count: int) -> None:
        for _ in range(count):
            self._start(self._fetch, order)

    def close(self) -> None:
        self._start(self._close)

    def kill(self) -> None:
        """Wait no longer: what an actor runs cannot be ended from outside."""
        logger.warning(
            "the generator of %s was closed but has not ended in time;"
            " its Dask worker is left to itself",
            self._stream.name,
        )
        self._died()
        self._stream.finish(None)

    def lose(self, why: Exception) -> None:
        """Note that the worker has gone."""
        error = WorkerDied(
            f"the Dask worker {self.address} was lost before the generator of"
            f" {self._stream.name} had come to its end ({why!r})"
        )
        error.__cause__ = why
        if not self._stream.over.done():
            self._died()
        self._stream.finish(error)

    def load(self, data: bytes) -> list[Any]:
        return load_values(data, self._pickle.loads)

    async def settle(self) -> None:
        """Give up what is under way."""
        for call in self._calls:
            call.cancel()
        await outlast(*self._calls)

    def _start(self, call: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        task = self._stream.loop.create_task(self._survive(call, *args))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _survive(
        self, call: Callable[..., Coroutine[Any, Any, None]], *args: Any
    ) -> None:
        try:
            await call(*args)
        except Exception as error:  # noqa: BLE001
            self.lose(error)

    async def _fetch(self, order: Order) -> None:
        number, data, ending = await self._actor.next_batch(*order)
        self._early[number] = data, ending
        while self._next in self._early:
            data, ending = self._early.pop(self._next)
            self._next += 1
            if data:
                self._stream.receive(data)
            if ending is not None and not self._stream.closing:
                self._stream.finish(load_error(ending, self._pickle.loads))

    async def _close(self) -> None:
        await self._actor.stop()
        self._stream.finish(load_error(await self._actor.close(), self._pickle.loads))


class Dask(StreamingPlace):
    """Place whose generators run on a Dask cluster; `dask()` makes it."""

    def __init__(self, cluster: Any, workers: int | None, prefetch: int, grace: float) -> None:
        super().__init__(f"dask({cluster!r})", workers or 1, prefetch, grace)
        self._distributed = _import_distributed()
        self._pickle = _pickle_of_dask()
        self._workers = workers
        self._cluster = cluster
        self._client: Any = None
        self._links: set[_ActorLink] = set()
        self._starting: dict[Stream, asyncio.Task[None]] = {}  # no worker has it yet
        self._watching: asyncio.Task[None] | None = None
        if isinstance(cluster, self._distributed.Client) and not cluster.asynchronous:
            raise TypeError(
                f"cluster must be a Client(asynchronous=True), an address or a cluster,"
                f" got {quote(cluster)}"
            )

    async def __aenter__(self) -> Self:
        """Connect with the cluster.

        Raises:
            OSError: The scheduler cannot be reached.
            RuntimeError: The place was entered before.

        Cancellation: gives up the connection.
        """
        await super().__aenter__()
        if isinstance(self._cluster, self._distributed.Client):
            self._client = self._cluster
        else:
            self._client = await self._distributed.Client(self._cluster, asynchronous=True)
        if self._workers is None:
            self._limit = max(1, len(await self._client.nthreads()))
            self._slots = asyncio.Semaphore(self._limit)
        self._watching = asyncio.create_task(self._watch())
        return self

    def _prepare(
        self, factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> bytes:
        return dump_call(factory, args, kwargs, self._pickle.dumps)

    async def _serve(self, stream: Stream) -> None:
        future: Any = None
        link: _ActorLink | None = None
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        try:
            future = self._client.submit(RemoteGenerator, stream.call, actor=True, pure=False)
            stream.queued = True  # for a worker; abandoning it cancels this
            self._starting[stream] = task
            try:
                actor = await future
                homes: Any = await self._client.who_has([future])
                address = next(iter(homes[future.key]))
            finally:
                stream.queued = False
                del self._starting[stream]
            link = _ActorLink(stream, future, actor, address, self._pickle, self._note_death)
            self._links.add(link)
            stream.connect(link)
            await stream.settle()
        except Exception as error:
            raise WorkerDied(f"no Dask worker could run {stream.name}: {error!r}") from error
        finally:
            if link is not None:
                self._links.discard(link)
                await link.settle()
            if future is not None:
                future.release()

    async def _watch(self) -> None:
        """Look after the workers: some calls would wait for ever for one that died."""
        while True:
            await asyncio.sleep(WATCH)
            links = tuple(self._links)
            if not (links or self._starting):
                continue
            try:
                if self._client.status != "running":
                    raise ConnectionError(f"the client is {self._client.status}")  # noqa: TRY301
                async with asyncio.timeout(PATIENCE):
                    homes: Any = await self._client.who_has([link.future for link in links])
            except Exception as error:  # noqa: BLE001
                self._lose_all(error)
                continue
            for link in links:
                if link.address not in homes.get(link.future.key, ()):
                    link.lose(OSError("it has left the cluster"))

    def _lose_all(self, error: Exception) -> None:
        for link in self._links:
            link.lose(error)
        for stream, task in self._starting.items():
            lost = WorkerDied(f"no Dask worker could run {stream.name}: {error!r}")
            lost.__cause__ = error
            stream.finish(lost)
            task.cancel()

    async def _leave(self) -> None:
        assert self._watching is not None  # noqa: S101 (it was entered)
        self._watching.cancel()
        await asyncio.wait([self._watching])
        if self._client is not self._cluster:
            await self._client.close()


def dask(
    cluster: Any, *, workers: int | None = None, prefetch: int = 4, grace: float = 5.0
) -> Dask:
    """Run generators on a Dask cluster: for those that need more than this machine.

    It needs the extra `cooperative-aio[dask]` here, and this package on the workers.
    Each generator lives in an actor on one of them. All actors of a worker share one
    thread, so more generators than workers gain nothing.

    Args:
        cluster: The address of a scheduler, a cluster object, or a
            `distributed.Client(asynchronous=True)`, which stays open.
        workers: The number of generators that run at the same time, at least 1;
            others wait for one to end. By default, as many as the cluster has workers
            when the place is entered.
        prefetch: The number of batches of each that are made ahead, at most.
        grace: How long, in seconds, to wait for a generator that was closed. One whose
            step takes longer is left to itself, with a warning on the logger
            `cooperative_aio`.

    Returns:
        A place, which is an asynchronous context manager.

    Raises:
        NotImplementedError: This is a browser.
        ImportError: `distributed` is not installed.
        TypeError: An argument is not a number, or the client is not asynchronous.
        ValueError: An argument is too small.
    """
    check_host_has("threads", "use Dask", "cooperate() with the generators")
    if workers is not None:
        check_count("workers", workers)
    return Dask(cluster, workers, prefetch, grace)


def _pickle_of_dask() -> Any:
    return import_module("distributed.protocol.pickle")


def _import_distributed() -> Any:
    try:
        return import_module("distributed")
    except ImportError as error:
        raise ImportError(
            "cannot use Dask without `distributed`; install cooperative-aio[dask]"
        ) from error
