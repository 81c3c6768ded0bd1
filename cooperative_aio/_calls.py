"""One call in time: what defer_later and LoopingCall share, defer_later, and react."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import sys
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import (
    Any,
    Generic,
    NoReturn,
    Protocol,
    TypeVar,
    overload,
)

from cooperative_aio._checks import check_finite, quote
from cooperative_aio._futures import FaithfulFuture, cancel_with

T = TypeVar("T")

logger = logging.getLogger("cooperative_aio")


class Cancellable(Protocol):
    """A call that can be cancelled, as `call_later` returns it."""

    def cancel(self) -> object:
        """Take the call off."""


class TimeSource(Protocol):
    """Any object that tells the time and makes calls later: a loop, a Clock, your own.

    If it has `call_at` as well, that is used to meet instants without rounding.
    """

    def time(self) -> float:
        """Return the present time, in seconds."""
        ...

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Cancellable:
        """Make a call after a delay, in seconds."""
        ...


class OwnedFuture(FaithfulFuture[T]):
    """A future whose maker says what cancelling means, until it is done."""

    __slots__ = ("on_cancel",)

    on_cancel: Callable[[Any], object] | None

    def __init__(self, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.on_cancel = None

    def cancel(self, msg: Any | None = None) -> bool:
        """Ask the maker to stop what would complete this future."""
        if self.done() or self.on_cancel is None:
            return super().cancel(msg)
        self.on_cancel(msg)
        return True

    def settle(self, result: T, error: BaseException | None) -> None:
        """Complete with the error, which may be a cancellation, or else the result."""
        self.on_cancel = None
        if error is None:
            self.set_result(result)
        elif isinstance(error, asyncio.CancelledError):
            cancel_with(self, error)
        elif isinstance(error, StopIteration):  # which no future can hold
            wrapped = RuntimeError("the call raised StopIteration")
            wrapped.__cause__ = error
            self.set_exception(wrapped)
        else:
            self.set_exception(error)


def cancelled_error(message: Any) -> asyncio.CancelledError:
    """Return what `cancel(message)` comes to."""
    return asyncio.CancelledError(*([] if message is None else [message]))


class OneCall:
    """One call of a function and, if it returns an awaitable, the wait for that.

    Exceptions end up in `done`; KeyboardInterrupt and SystemExit leave as well, as from
    every callback and task.

    Args:
        loop: Where awaitables are waited for.
        context: The context of the call, and of the coroutine that it returns.
        done: Told the result or the exception, perhaps before `make` returns.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context,
        done: Callable[[Any, BaseException | None], object],
    ) -> None:
        self._loop = loop
        self._context = context
        self._done = done
        self._waiting: asyncio.Future[Any] | None = None
        self._cancelled: asyncio.CancelledError | None = None

    def make(self, function: Callable[[], object]) -> None:
        """Make the call; another one may follow when it is done."""
        try:
            result = self._context.run(function)
            waiting = self._as_future(result) if inspect.isawaitable(result) else None
        except (KeyboardInterrupt, SystemExit) as error:
            self._done(None, error)
            raise
        except BaseException as error:  # noqa: BLE001  (CancelledError is one of them)
            self._done(None, error)
            return
        if waiting is None:
            self._done(result, self._cancelled)
            return
        self._waiting = waiting
        if self._cancelled is not None:
            waiting.cancel(*self._cancelled.args)
        waiting.add_done_callback(self._awaited)

    def cancel(self, message: Any) -> None:
        """Cancel what is being awaited, or will be when the function has returned."""
        self._cancelled = cancelled_error(message)
        if self._waiting is not None:
            self._waiting.cancel(message)

    def _as_future(self, awaitable: Awaitable[Any]) -> asyncio.Future[Any]:
        if isinstance(awaitable, asyncio.Future):
            return awaitable
        coroutine = awaitable if inspect.iscoroutine(awaitable) else _wait_for(awaitable)
        return self._loop.create_task(coroutine, context=self._context)

    def _awaited(self, waiting: asyncio.Future[Any]) -> None:
        self._waiting = None
        if not waiting.cancelled():
            error = waiting.exception()  # not raised: this frame would make a cycle
            self._done(None if error is not None else waiting.result(), error)
            return
        try:
            waiting.result()
        except asyncio.CancelledError as cancelled:
            self._done(None, cancelled)


async def _wait_for(awaitable: Awaitable[T]) -> T:
    return await awaitable


class _Deferred(Generic[T]):
    """A call that defer_later is to make, until its future is done."""

    def __init__(self, loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> None:
        self.future: OwnedFuture[T] = OwnedFuture(loop=loop)
        self.future.on_cancel = self._cancel
        self.timer: Cancellable | None = None
        self._function = function
        self._call = OneCall(loop, contextvars.copy_context(), self._called)

    def make(self) -> None:
        self.timer = None
        self._call.make(self._function)

    def _called(self, result: Any, error: BaseException | None) -> None:
        future = self.future
        del self.future, self._function, self._call  # no cycles are left behind
        future.settle(result, error)

    def _cancel(self, message: Any) -> None:
        if self.timer is None:
            self._call.cancel(message)
        else:
            self.timer.cancel()
            self.timer = None
            self._called(None, cancelled_error(message))


def loop_for(clock: object) -> asyncio.AbstractEventLoop:
    """Give the loop whose futures fit: the running one, or a clock that is a loop."""
    if isinstance(clock, asyncio.AbstractEventLoop) and not _is_any_loop_running():
        return clock
    return asyncio.get_running_loop()


def _is_any_loop_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@overload
def defer_later(
    delay: float, f: None = None, /, *, clock: TimeSource | None = None
) -> asyncio.Future[None]: ...
@overload
def defer_later(
    delay: float,
    f: Callable[..., Awaitable[T]],
    /,
    *args: Any,
    clock: TimeSource | None = None,
    **kwargs: Any,
) -> asyncio.Future[T]: ...
@overload
def defer_later(
    delay: float,
    f: Callable[..., T],
    /,
    *args: Any,
    clock: TimeSource | None = None,
    **kwargs: Any,
) -> asyncio.Future[T]: ...
def defer_later(
    delay: float,
    f: Callable[..., Any] | None = None,
    /,
    *args: Any,
    clock: TimeSource | None = None,
    **kwargs: Any,
) -> asyncio.Future[Any]:
    """Call a function after a delay, and return a future for its result.

        print(await defer_later(0.01, max, 1, 2))  # 2

    This is Twisted's `deferLater`, with the clock as an option instead of the first
    argument. The delay counts from this call, not from when the future is awaited. The
    function runs in a copy of the caller's context.

    Args:
        delay: The seconds to wait, at least 0.
        f: The function; its result is awaited if it is awaitable. None only waits.
        *args: Its arguments.
        clock: An object with `time()` and `call_later()`; the running loop if None.
        **kwargs: Its keyword arguments.

    Returns:
        A future that completes with the function's result or exception.

    Raises:
        TypeError: The delay is not a number, or `f` not callable.
        ValueError: The delay is negative, nan or infinite.
        RuntimeError: No loop is running in this thread, and the clock is no loop either.

    Cancellation:
        Cancelling the future takes the call off the clock; while what the function
        returned is awaited, cancels that, and the future completes as it does.
    """
    delay = check_finite("delay", delay, positive=False)
    if f is not None and not callable(f):
        raise TypeError(f"f must be callable, got {quote(f)}")
    loop = loop_for(clock)
    deferred = _Deferred[Any](loop, partial(f or _nothing, *args, **kwargs))
    future = deferred.future
    deferred.timer = (loop if clock is None else clock).call_later(delay, deferred.make)
    return future


def _nothing(*_args: object, **_kwargs: object) -> None:
    pass


def react(main: Callable[..., Awaitable[object]], argv: Iterable[Any] = ()) -> NoReturn:
    """Run a program's main coroutine function on a fresh loop, and exit the process.

        async def main(loop, *names):
            print("hello", *names)

        react(main, sys.argv[1:])

    This is Twisted's `react`, with the loop in place of the reactor. The exit code is 0
    when `main` returns, and that of a SystemExit that it raises. Any other exception is
    logged with its traceback on the logger `cooperative_aio`, and the code is 1. SIGINT
    cancels `main` and ends the process, as with `asyncio.run`.

    Args:
        main: A coroutine function, called as `main(loop, *argv)`.
        argv: Its further arguments, such as `sys.argv[1:]`.

    Raises:
        SystemExit: Always, except after SIGINT; it has the exit code.
        KeyboardInterrupt: SIGINT came.
        RuntimeError: A loop is running already.
    """
    if _is_any_loop_running():
        raise RuntimeError("cannot react in a running event loop; await main(loop) there")
    arguments = tuple(argv)

    async def call() -> None:
        await main(asyncio.get_running_loop(), *arguments)

    try:
        with asyncio.Runner() as runner:
            runner.run(call())
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException:
        logger.exception("main function %r failed", main)
        sys.exit(1)
    sys.exit(0)
