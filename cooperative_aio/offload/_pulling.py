"""The far side: run a generator where it was opened, and hand over what is ordered."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import islice
from queue import SimpleQueue
from time import monotonic
from typing import Any, NamedTuple, Protocol

from cooperative_aio._iterators import check_iterator

__all__ = [
    "Order",
    "Orders",
    "Pulled",
    "QueuedOrders",
    "Replies",
    "end",
    "iterate",
    "pull",
    "serve",
]


class Order(NamedTuple):
    """Ask for a batch."""

    size: int
    max_seconds: float | None


class Orders(ABC):
    """Bring the orders of one source; `closing` is looked at between two steps."""

    def __init__(self) -> None:
        self.closing: bool = False

    def close(self) -> None:
        """End the generator after its current step."""
        self.closing = True

    @abstractmethod
    def take(self) -> Order | None:
        """Wait for an order; None means that there are no more."""


class QueuedOrders(Orders):
    """Queue the orders, which come from another thread."""

    def __init__(self) -> None:
        super().__init__()
        self._queue: SimpleQueue[Order | None] = SimpleQueue()

    def put(self, order: Order) -> None:
        self._queue.put(order)

    def close(self) -> None:
        super().close()
        self._queue.put(None)

    def take(self) -> Order | None:
        return self._queue.get()


class Replies(Protocol):
    """Take what a generator brings back to who opened it."""

    def values(self, values: list[Any]) -> None: ...
    def finished(self, error: BaseException | None) -> None: ...


class Pulled(NamedTuple):
    """What an order has brought; with `ended`, there is no more."""

    values: list[Any]
    ended: bool
    error: BaseException | None


def iterate(iterable: Iterable[Any]) -> Iterator[Any]:
    """Return the iterator of what a factory has made.

    Raises:
        TypeError: It is not iterable; the text says what to do instead.
    """
    if not isinstance(iterable, Iterable) and not hasattr(iterable, "__getitem__"):
        if inspect.iscoroutine(iterable):
            iterable.close()
        check_iterator(iterable, "what the factory returns")
    return iter(iterable)


def pull(iterator: Iterator[Any], order: Order, orders: Orders) -> Pulled:
    """Step `iterator` until the order is filled, or it has ended, or is to be closed."""
    size, max_seconds = order
    deadline = None if max_seconds is None else monotonic() + max_seconds
    values: list[Any] = []
    keep = values.append
    ended = stopped = False
    error: BaseException | None = None
    try:
        while not (ended or stopped) and (wanted := size - len(values)) > 0:
            before, nones = len(values), 0
            for value in islice(iterator, wanted):
                if value is not None:
                    keep(value)
                else:
                    nones += 1
                if orders.closing or (
                    deadline is not None and values and monotonic() >= deadline
                ):
                    stopped = True
                    break
            else:
                ended = len(values) - before + nones < wanted
        _refuse_awaitables(values)
    except BaseException as caught:  # noqa: BLE001 (it is raised where it is waited for)
        ended, error = True, caught
    return Pulled(values, ended, error)


def _refuse_awaitables(values: list[Any]) -> None:
    kinds = {kind for kind in set(map(type, values)) if issubclass(kind, Awaitable)}
    if not kinds:
        return
    awaitables = [value for value in values if type(value) in kinds]
    for value in awaitables:
        if inspect.iscoroutine(value):
            value.close()
    values[:] = []
    raise TypeError(
        f"cannot wait for {awaitables[0]!r}: there is no event loop where this generator"
        " runs; only generators that run on the loop may yield awaitables"
    )


def serve(make: Callable[[], Iterable[Any]], orders: Orders, replies: Replies) -> None:
    """Run a generator as it is ordered; how it ended, closing included, is the last reply."""
    iterator: Iterator[Any] = iter(())
    error: BaseException | None = None
    try:
        if not orders.closing:
            iterator = iterate(make())
            error = _fill(iterator, orders, replies)
    except BaseException as caught:  # noqa: BLE001
        error = caught
    replies.finished(end(iterator, error))


def end(iterator: Iterator[Any] | None, error: BaseException | None) -> BaseException | None:
    """Close a generator; return `error`, or what closing it has raised."""
    try:
        getattr(iterator, "close", _nothing)()
    except BaseException as caught:  # noqa: BLE001
        return error or caught
    return error


def _fill(iterator: Iterator[Any], orders: Orders, replies: Replies) -> BaseException | None:
    while (order := orders.take()) is not None and not orders.closing:
        pulled = pull(iterator, order, orders)
        if pulled.values and not orders.closing:
            replies.values(pulled.values)
        if pulled.ended:
            return pulled.error
    return None


def _nothing() -> None:
    """Stand in for the `close` of an iterator that has none."""
