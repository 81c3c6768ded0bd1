"""Waiting on what an iterator yields, and going on with the outcome."""

from __future__ import annotations

import asyncio
import functools
import inspect
from asyncio import Future
from collections.abc import Awaitable
from typing import Any, NoReturn

from cooperative_aio._call_graph import note_awaited, note_not_awaited
from cooperative_aio._iterators import is_generator, strip
from cooperative_aio._stepped import Stepped

__all__ = ["Waiting"]


class Waiting(Stepped):
    """A seat whose iterator can be suspended: what it waits on, and how it goes on."""

    __slots__ = ("owned", "since", "waiter")

    waiter: Future[Any] | None
    owned: bool  # the waiter is the task's own
    since: int  # which the iterator's only task was when it began to wait

    # Going on

    def resume_with(self, result: Any, error: BaseException | None, since: int) -> None:
        """Let the next step be given an outcome, if the iterator stands where it stood then."""
        try:
            is_sole = self._sole() == since != -1 and is_generator(self.iterator)
            if error is not None:
                throw = self.iterator.throw if is_sole else _raise  # type: ignore[attr-defined]
                self.resume_by(functools.partial(throw, error))
            elif is_sole:
                self.resume_by(functools.partial(self.iterator.send, result))  # type: ignore[attr-defined]
        finally:
            del self, error  # an exception of the iterator refers to this frame

    def _sole(self) -> int:
        """Return a number for the iterator's only task; -1 if it has several."""
        return self.home.loop_state.sharings.since(self.iterator)

    def throw(self, error: BaseException) -> None:
        """Take a step now, in which `error` is raised at the `yield`."""
        try:
            self.resume_with(None, error, self._sole())
            self.home.step_now(self)
        finally:
            del self, error

    # Being suspended

    def suspend(self, awaitable: Awaitable[Any]) -> Future[Any]:
        """Wait on `awaitable`: have `woken()` called; return the future that stands for it."""
        state = self.home.loop_state
        waiter, self.owned = self._as_future(awaitable)
        self.since = self._sole()
        try:
            state.wait_on(waiter, self)
        except BaseException as error:  # noqa: BLE001 (something that only looks like a future)
            waiter, self.owned = self._failed_future(strip(error)), True
            state.wait_on(waiter, self)
        self.waiter = waiter
        del self.run, self.next  # they weigh, and are made again when it is woken
        self.home.waiting += 1
        note_awaited(waiter, self.face)
        return waiter

    def _as_future(self, awaitable: Awaitable[Any]) -> tuple[Future[Any], bool]:
        """Return a future to wait on, and whether it is the task's own."""
        loop = self.home.loop_state.loop
        problem = ""
        try:
            if not asyncio.isfuture(awaitable):
                coroutine = awaitable if inspect.iscoroutine(awaitable) else _await(awaitable)
                return loop.create_task(coroutine, context=self.context), True
            if awaitable is self.face:
                problem = f"cannot wait for the task itself: {awaitable!r}"
            elif awaitable.get_loop() is not loop:
                problem = f"cannot wait for a future of another loop: {awaitable!r}"
        except BaseException as error:  # noqa: BLE001 (the generator shall see it)
            return self._failed_future(strip(error)), True
        if problem:
            return self._failed_future(RuntimeError(problem)), True
        return awaitable, False

    def _failed_future(self, error: BaseException) -> Future[Any]:
        future: Future[Any] = self.home.loop_state.loop.create_future()
        future.set_exception(error)
        return future

    def woken(self, waiter: Future[Any]) -> None:
        """Learn that what was waited on is done."""
        if self.waiter is not waiter:
            return  # it lost interest when this had been scheduled already
        self._forget_waiter()
        self.run, self.next = self.context.run, self.iterator.__next__
        try:
            try:
                result, error = _outcome_of(waiter)
            except BaseException as raised:  # noqa: BLE001 (it is thrown, and the task not lost)
                result, error = None, strip(raised)
            self.go_on(result, error)
        finally:
            result = error = None
            del self, waiter  # an exception of the iterator refers to this frame

    def go_on(self, result: Any, error: BaseException | None) -> None:
        """Go on with what was waited on: its result, or what it has failed with."""
        raise NotImplementedError

    def _forget_waiter(self) -> None:
        waiter, self.waiter = self.waiter, None
        if waiter is not None:
            self.home.waiting -= 1
            note_not_awaited(waiter, self.face)

    def wait_no_more(self) -> None:
        """End a coroutine of its own that it waits on, and leave other futures alone."""
        waiter = self.waiter
        self._forget_waiter()
        if waiter is None:
            return
        self.home.loop_state.wait_no_more(waiter, self)
        if self.owned and not waiter.cancel():
            _outcome_of(waiter)  # it was its own: nobody else will look at it


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _raise(error: BaseException) -> NoReturn:
    raise error


def _outcome_of(future: Future[Any]) -> tuple[Any, BaseException | None]:
    """Return the result of what is done, or its exception."""
    try:
        error = future.exception()
        return (future.result(), None) if error is None else (None, error)
    except asyncio.CancelledError as error:
        return None, error.with_traceback(None)
    except Exception as error:  # noqa: BLE001 (it only looks like a future)
        return None, strip(error)
