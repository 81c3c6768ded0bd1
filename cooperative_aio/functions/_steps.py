"""A function as an iterator: each step runs until it lets go of the loop, or is made to."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Awaitable, Callable, Generator
from contextvars import Context, copy_context
from types import FrameType, TracebackType
from typing import Any, Final, Generic, NoReturn, TypeVar, TypeVarTuple

from cooperative_aio.functions import _collections
from cooperative_aio.functions._alarm import Alarm, check_available, forget, why_not
from cooperative_aio.functions._checks import check_function, name_of
from cooperative_aio.functions._greenlets import Function, Thrown, getcurrent, innermost_frame
from cooperative_aio.functions._inside import give_way
from cooperative_aio.functions._pace import pace_of_step

__all__ = ["Steps", "steps_of"]

logger: Final = logging.getLogger("cooperative_aio")

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

PATIENCE: Final = 1.0
"""Seconds that a function may take for its `finally` blocks when it is closed."""

dropped: Final[list[Function]] = []
"""Functions that went on although they were closed: they must not even be freed."""


def steps_of(function: Callable[[*Ts], R], *args: *Ts, preempt: bool = True) -> Steps[R]:
    """Return an iterator that calls `function(*args)` in steps.

        import textwrap

        from cooperative_aio import cooperate

        steps = steps_of(textwrap.wrap, "some words " * 1000)
        lines = await cooperate(steps, name="wrap")

    For `cooperate`, and whatever else takes a generator; usually `to_slices` is simpler.
    The iterator ends with the function's result or exception, and closing it unwinds the
    function.

    Args:
        function: Any function that computes. For keyword arguments use `functools.partial`.
        *args: Its arguments.
        preempt: Whether to set the function aside at any line when the time slice is over;
            else only where it calls `give_way()` or `wait_on()`.

    Raises:
        TypeError: `function` is not an ordinary function; the text says what to use instead.
        PreemptionUnavailable: Functions cannot be preempted here; the text says why.
    """
    check_function(function)
    if preempt:
        check_available()
    return Steps(function, args, preempt=preempt)


orphans: Final[list[Steps[Any]]] = []
"""What was dropped in another thread than its own, which closes it with its next step."""


class Steps(Generator[Awaitable[Any] | None, Any, R], Generic[R]):
    """The steps of one call of a function; `steps_of` makes it.

    It has the methods of a generator: `send`, `throw` and `close`, and is closed when the
    last reference to it goes. It yields the awaitable that the function waits on, or None
    when the function was only set aside.
    """

    def __init__(
        self, function: Callable[..., R], args: tuple[Any, ...], *, preempt: bool
    ) -> None:
        self.__name__: str = name_of(function)
        self.__qualname__: str = self.__name__
        self._call: tuple[Callable[..., R], tuple[Any, ...]] | None = (function, args)
        self._function: Function | None = None  # once it has begun, and until it has ended
        self._preempt = preempt
        self._is_running = self._is_warned = False
        self._context: Context | None = None  # of the last step
        self._thread = 0

    def __repr__(self) -> str:
        return f"<steps of {self.__qualname__}>"

    # What it is

    @property
    def gi_running(self) -> bool:
        """Whether the function runs now."""
        return self._is_running

    @property
    def gi_frame(self) -> FrameType | None:
        """The innermost frame of the function where it is set aside; else None."""
        return None if self._function is None else innermost_frame(self._function)

    # Generator

    def __next__(self) -> Awaitable[Any] | None:
        """Take a step."""
        return self._step(None)

    def send(self, value: Any, /) -> Awaitable[Any] | None:
        """Take a step, with the result of the awaitable that the function waits on.

        Raises:
            StopIteration: The function has returned; it holds the result.
            TypeError: The function has not begun, and so waits on nothing.
            ValueError: The function is running.
            BaseException: Whatever the function raised.

        Cancellation: nothing is awaited here; who steps it does.
        """
        if self._function is None and self._call is not None and value is not None:
            raise TypeError("cannot send a value to a function that has not begun")
        return self._step(value)

    def throw(
        self,
        kind: Any,
        value: object = None,
        traceback: TracebackType | None = None,
        /,
    ) -> Awaitable[Any] | None:
        """Take a step that begins with an exception, where the function stands.

        Raises:
            StopIteration: The function has returned; it holds the result.
            ValueError: The function is running.
            BaseException: The exception that was thrown, or another one of the function.

        Cancellation: nothing is awaited here; who steps it does.
        """
        error = _as_exception(kind, value, traceback)
        try:
            if not self._is_running:
                self._has_stepped()
            if self._is_running or self._function is not None:
                return self._step(Thrown(error))
            self._call = None
            raise error
        finally:
            del self, error, kind, value

    def close(self) -> None:
        """Unwind the function: raise GeneratorExit where it stands.

        Raises:
            RuntimeError: The function goes on all the same; it never runs again.
            ValueError: The function is running.
            BaseException: Whatever the function raises instead.
        """
        if self._is_running:
            raise ValueError("function already executing")
        self._has_stepped()
        function = self._function
        if function is None:
            self._call = None
            return
        self._check_thread()
        function.ending = True
        with contextlib.suppress(StopIteration, GeneratorExit):
            self._step(Thrown(GeneratorExit()))
            self._drop(function)

    def _drop(self, function: Function) -> NoReturn:
        dropped.append(function)
        self._forget(function)
        raise RuntimeError(
            f"{self.__qualname__} ignored that it was stopped; it is dropped where it stands"
        )

    def __del__(self) -> None:
        if self._function is None or sys.is_finalizing():
            return
        if self._thread == threading.get_ident():
            self.close()
        else:  # the collector runs in any thread, a function only in its own
            orphans.append(self)

    # Steps

    def _step(self, answer: Any) -> Awaitable[Any] | None:
        if self._is_running:
            raise ValueError("function already executing")
        hub = getcurrent()
        self._is_running = True
        try:
            function = self._prepare(hub)
            call = None if _has_begun(function) else self._call
            item = self._switch(function, call or (answer,))
        finally:
            self._is_running = False
            del answer
            call = None
            self._has_stepped()
        if function.dead:
            self._end(function, item)
        if type(hub) is Function and not function.ending:
            give_way()  # a function that steps another: its own time goes on meanwhile
        return item  # type: ignore[no-any-return]

    def _has_stepped(self) -> None:
        function = self._function
        if function is None:
            return
        if _has_begun(function):
            self._call = None
        else:  # the handler of a signal has raised before the function had begun
            self._forget(function)  # pragma: no cover (the test of that traces itself)

    def _prepare(self, hub: Any) -> Function:
        """Return the function, ready to go on as a step of `hub`."""
        function = self._function
        if function is None:
            if self._call is None:
                raise StopIteration
            function = self._begin()
        else:
            self._check_thread()
        if orphans:
            _close_orphans()
        self._enter_context(function, hub)
        if function.parent is not hub:
            function.parent = hub
        function.clock, function.slice = pace_of_step()
        if function.ending:
            function.slice = PATIENCE
        function.deadline = function.clock() + function.slice
        return function

    def _check_thread(self) -> None:
        if self._thread != threading.get_ident():
            raise RuntimeError(
                f"cannot step {self.__qualname__} in another thread than the one it began in"
            )

    def _switch(self, function: Function, given: tuple[Any, ...]) -> Any:
        if not self._preempt:
            return function.switch(*given)
        alarm = Alarm(function, function.slice)
        try:
            if not alarm.set():
                self._warn()
            return function.switch(*given)
        finally:
            try:
                alarm.put_back()
            # Of the handler of another signal:
            except BaseException:  # pragma: no cover (the test of that traces itself)
                alarm.put_back()
                raise

    def _warn(self) -> None:
        """Say, once, that the signal or the timer has become somebody else's."""
        if not self._is_warned:
            self._is_warned = True
            logger.warning("%s is not preempted any more: %s", self.__qualname__, why_not())

    def _begin(self) -> Function:
        self._thread = threading.get_ident()
        self._function = function = Function(self.__qualname__)
        _collections.watch(function)
        return function

    def _enter_context(self, function: Function, hub: Any) -> None:
        """Let the function go on in the context of the step, as a generator does."""
        context = hub.gr_context
        if context is None:  # nobody has needed one yet
            copy_context()
            context = hub.gr_context
        if function.gr_context is self._context:  # else it runs something in another
            function.gr_context = self._context = context

    def _forget(self, function: Function) -> None:
        try:
            _take_back(function)
        except BaseException:  # of the handler of another signal
            _take_back(function)
            raise
        finally:
            self._function = self._context = None

    def _end(self, function: Function, result: Any) -> NoReturn:
        """Raise what the function has raised, or StopIteration with its result."""
        self._forget(function)
        error, function.raised = function.raised, None
        try:
            if error is None:
                raise StopIteration(result)
            if isinstance(error, StopIteration):
                raise RuntimeError(f"{self.__qualname__} raised StopIteration") from error  # noqa: TRY004
            traceback = error.__traceback__
            raise error.with_traceback(traceback and traceback.tb_next)
        finally:
            del self, error, result, function  # the error refers to this frame


def _take_back(function: Function) -> None:
    """Take back what was done for a function; can be done again."""
    forget(function)
    _collections.unwatch(function)


def _has_begun(function: Function) -> bool:
    return bool(function) or function.dead


def _close_orphans() -> None:
    here = threading.get_ident()
    for orphan in [one for one in orphans if one._thread == here]:
        orphans.remove(orphan)
        orphan.__del__()


def _as_exception(kind: Any, value: object, traceback: TracebackType | None) -> BaseException:
    """Return what `throw()` was given, in one of its three forms, as an exception."""
    if isinstance(kind, BaseException):
        error = kind
    elif isinstance(value, BaseException):
        error = value
    else:
        error = kind() if value is None else kind(value)
    return error if traceback is None else error.with_traceback(traceback)
