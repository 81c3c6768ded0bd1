"""The Twisted side of the benchmarks: a process in which there is no asyncio loop."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import Any

from _common import CHILD_LIFE
from twisted.internet import defer, task, threads


class Bucket:
    """Collect values, as the `cooperative` package does."""

    def __init__(self) -> None:
        self.values: deque[Any] = deque()

    def __call__(self, value: Any) -> None:
        """Append `value`, unless it is None."""
        if value is not None:
            self.values.append(value)


def tap(bucket: Bucket, iterable: Iterable[Any]) -> Iterator[Any]:
    """Show each value to `bucket`, and pass it on."""
    for value in iterable:
        bucket(value)
        yield value


def in_batches(size: int, iterable: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """Drain up to `size` values for each step."""
    iterator = iter(iterable)
    while batch := tuple(islice(iterator, size)):
        yield batch


def accumulate(iterable: Iterable[Any], batch: int = 1) -> defer.Deferred[deque[Any]]:
    """Collect the values of `iterable`, `batch` at a step."""
    bucket = Bucket()
    steps = tap(bucket, iterable)
    done = task.cooperate(steps if batch == 1 else in_batches(batch, steps)).whenDone()
    return done.addCallback(lambda _: bucket.values)


def answer_parent(handle: Callable[[dict[str, Any]], defer.Deferred[Any]]) -> None:
    """Answer the requests of the parent process until it has no more (the reactor)."""

    @defer.inlineCallbacks
    def converse(reactor: Any) -> Generator[Any, Any, None]:
        life = reactor.callLater(CHILD_LIFE, reactor.stop)
        while line := (yield threads.deferToThread(sys.stdin.readline)):
            print(json.dumps((yield handle(json.loads(line)))), flush=True)
        life.cancel()

    task.react(converse)
