"""What runs on a Dask worker: an actor that holds a generator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from distributed.protocol import pickle

from cooperative_aio.offload._pickling import dump_error, dump_values, load_call
from cooperative_aio.offload._pulling import Order, QueuedOrders, end, iterate, pull

__all__ = ["RemoteGenerator", "Reply"]

Reply = tuple[int, bytes, bytes | None]
"""The number of the batch, its values, and (with the last one) how it all ended."""


class RemoteGenerator:
    """Make one batch after the other; Dask runs these methods in one thread.

    Args:
        call: The pickled factory and its arguments.
    """

    def __init__(self, call: bytes) -> None:
        self._call = call
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
                    self._iterator = iterate(load_call(self._call, pickle.loads))
                values, self._ended, error = pull(
                    self._iterator, Order(size, max_seconds), self._orders
                )
                data = dump_values(values, pickle.dumps) if values else b""
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
        return dump_error(end(iterator, error), pickle.dumps)
