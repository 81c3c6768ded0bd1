"""The far side: run a generator where it was opened, and hand over what is ordered."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import compress, islice
from queue import SimpleQueue
from time import monotonic
from types import NoneType
from typing import Any, Final, NamedTuple, Protocol

from cooperative_aio.offload._core import check_iterator
from cooperative_aio.offload._wire import quoted

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

STRETCH: Final = 1000  # steps at most between two looks at what they have brought


class Order(NamedTuple):
    """Size of a batch, and after how many seconds it may be smaller."""

    size: int
    max_seconds: float | None


class Orders(ABC):
    """The orders of one source, and whether its generator is to be closed.

    That is looked at between two steps. Most steps are not taken by Python code but by
    `compress`, which takes a third of the time; so closing empties the list that
    `compress` goes along beside the generator, and that is the end of it.
    """

    def __init__(self) -> None:
        self.going: list[bool] = [True] * STRETCH

    @property
    def closing(self) -> bool:
        """Whether the generator is to end."""
        return not self.going

    def close(self) -> None:
        """End the generator after its current step."""
        self.going.clear()

    @abstractmethod
    def take(self) -> Order | None:
        """Wait for an order; None means that there are no more."""


class QueuedOrders(Orders):
    """Orders that come from another thread."""

    def __init__(self) -> None:
        super().__init__()
        self._queue: SimpleQueue[Order | None] = SimpleQueue()

    def put(self, order: Order, count: int = 1) -> None:
        for _ in range(count):
            self._queue.put(order)

    def close(self) -> None:
        super().close()
        self._queue.put(None)

    def take(self) -> Order | None:
        return self._queue.get()


class Replies(Protocol):
    """Where what a generator brings goes, back to the loop that opened it."""

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
    values: list[Any] = []
    ended = False
    error: BaseException | None = None
    try:
        if max_seconds is None:
            ended = _fill(values, size, iterator, orders)
        else:
            ended = _fill_until(monotonic() + max_seconds, values, size, iterator, orders)
    except BaseException as caught:  # noqa: BLE001 (it is raised where it is waited for)
        ended, error = True, caught
    return Pulled(values, ended, error)


def _fill(values: list[Any], size: int, iterator: Iterator[Any], orders: Orders) -> bool:
    """Fill a batch, a stretch at a time; return whether `iterator` has ended."""
    while not orders.closing and (wanted := min(size - len(values), STRETCH)) > 0:
        stretch: list[Any] = []
        try:
            stretch.extend(islice(compress(iterator, orders.going), wanted))
        finally:  # whatever it raises, what it has yielded before counts
            values += _kept(stretch)
        if len(stretch) < wanted and not orders.closing:
            return True
    return False


def _fill_until(
    deadline: float, values: list[Any], size: int, iterator: Iterator[Any], orders: Orders
) -> bool:
    """Fill a batch, but at the deadline be content with what there is."""
    for value in iterator:
        values += _kept([value])
        if orders.closing or len(values) >= size or (values and monotonic() >= deadline):
            return False
    return True


def _kept(values: list[Any]) -> list[Any]:
    """Return the values but None.

    Raises:
        TypeError: There are awaitables among them.
    """
    kinds = set(map(type, values))
    awaitable = {kind for kind in kinds if issubclass(kind, Awaitable)}
    if awaitable:
        found = [value for value in values if type(value) in awaitable]
        for value in found:
            if inspect.iscoroutine(value):
                value.close()
        raise TypeError(
            f"cannot wait for {quoted(found[0])}: there is no event loop where this generator"
            " runs; only generators that run on the loop may yield awaitables"
        )
    return [value for value in values if value is not None] if NoneType in kinds else values


def serve(make: Callable[[], Iterable[Any]], orders: Orders, replies: Replies) -> None:
    """Run a generator as it is ordered; how it ended, closing included, is the last reply."""
    iterator: Iterator[Any] | None = None
    error: BaseException | None = None
    try:
        if not orders.closing:
            iterator = iterate(make())
            error = _answer(iterator, orders, replies)
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


def _answer(iterator: Iterator[Any], orders: Orders, replies: Replies) -> BaseException | None:
    while (order := orders.take()) is not None and not orders.closing:
        pulled = pull(iterator, order, orders)
        if pulled.values and not orders.closing:
            replies.values(pulled.values)
        if pulled.ended:
            return pulled.error
    return None


def _nothing() -> None:
    """Stand in for the `close` of an iterator that has none."""
