"""The states of a tasklet; its end: its result, and what waits for it."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import threading
import warnings
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NoReturn, TypeVar

from cooperative_aio._checks import quote
from cooperative_aio._futures import FaithfulFuture, cancel_with


class State(IntEnum):
    """What a tasklet is doing; the numbers are Kiwi's."""

    RUNNING = 0
    """Its generator is executing code."""
    SUSPENDED = 1
    """It waits for an event, or to be started."""
    MSGSEND = 2
    """It is sending a message; what is sent to it meanwhile is queued."""
    ZOMBIE = 3
    """Its generator has ended."""


# A tasklet is made SUSPENDED. Each resumption makes it RUNNING. What it yields
# decides what comes next: a message MSGSEND, anything to wait for (and a mistake,
# which is thrown back at it) SUSPENDED; returning or raising makes it a ZOMBIE. The
# end of the loop makes one of whatever is left.
MOVES: tuple[tuple[State, ...], ...] = (
    (State.SUSPENDED, State.MSGSEND, State.ZOMBIE),  # from RUNNING
    (State.RUNNING, State.ZOMBIE),  # from SUSPENDED
    (State.RUNNING, State.ZOMBIE),  # from MSGSEND
    (),  # from ZOMBIE
)


def check_move(old: State, new: State) -> None:
    """Refuse a move that the table does not have.

    Raises:
        RuntimeError: The tasklet cannot get from `old` to `new`.
    """
    if new not in MOVES[old]:
        raise RuntimeError(f"cannot make a {old.name} tasklet {new.name}")


R = TypeVar("R")

_handles = itertools.count(1)


class Joinable(FaithfulFuture[R]):
    """A future that only a generator completes, with its joiners."""

    STATE_RUNNING = State.RUNNING
    STATE_SUSPENDED = State.SUSPENDED
    STATE_MSGSEND = State.MSGSEND
    STATE_ZOMBIE = State.ZOMBIE

    def __init__(self) -> None:
        super().__init__(loop=_running_loop())
        self._now = State.SUSPENDED
        self._thread = threading.get_ident()
        self._join_callbacks: dict[int, Callable[[], object]] = {}
        self.return_value: R | None = None

    @property
    def state(self) -> State:
        """What the tasklet is doing: `STATE_RUNNING` or one of the others."""
        return self._now

    # What a Tasklet adds to this for its conditions, its messages and the engine

    context: contextvars.Context
    gen: Any
    message_actions: Any
    wait_list: Any

    def send_message(self, message: Any) -> None:
        """Send it a message from outside of tasklets."""
        raise NotImplementedError

    def wait_condition_fired(self, condition: Any, /, **attributes: Any) -> bool:
        """Report an occurrence of a condition; tell whether to stay armed."""
        raise NotImplementedError

    def forget(self, condition: Any) -> None:
        """Drop the occurrences of a condition that were not delivered yet."""
        raise NotImplementedError

    def disarm(self, condition: Any) -> None:
        """Disarm a condition and drop what it has reported."""
        raise NotImplementedError

    def read_event(self) -> Any:
        """Return the event of the last yield, once."""
        raise NotImplementedError

    def abandon(self) -> None:
        """Close the generator now."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Have it begin when the engine comes to it."""
        raise NotImplementedError

    def post(self, message: Any) -> bool:
        """Put a message into the box; tell whether the caller is to run this tasklet."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Tell whether there is anything to resume it with, and choose it."""
        raise NotImplementedError

    def step(self) -> tuple[Joinable[Any], ...]:
        """Resume the generator once; return the tasklets that must run before it goes on."""
        raise NotImplementedError

    def released(self) -> None:
        """Note that no stack holds it any more."""
        raise NotImplementedError

    def _check_thread(self) -> None:
        if threading.get_ident() != self._thread:
            raise RuntimeError(
                "cannot resume a tasklet from another thread; use loop.call_soon_threadsafe"
            )

    def _move(self, new: State) -> None:
        check_move(self._now, new)
        self._now = new

    async def join(self) -> R:
        """Wait for the end; for callers that take only coroutines, such as a TaskGroup.

        Returns:
            What the generator returned.

        Cancellation:
            Cancels the tasklet, as awaiting it does.
        """
        return await self

    def set_result(self, result: R) -> NoReturn:  # noqa: ARG002 - the signature of Future
        """Refuse: the result is what the generator returns.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("cannot set the result of a tasklet; return it from its generator")

    def set_exception(self, exception: object) -> NoReturn:  # noqa: ARG002 - of Future
        """Refuse: the exception is what the generator raises.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("cannot set the exception of a tasklet; raise it in its generator")

    def add_join_callback(self, callback: Callable[..., object], *extra: object) -> int:
        """Have `callback(tasklet, return_value, *extra)` called when the tasklet ends.

        It is called before anything else learns of the end. The value is None if the
        tasklet failed or was cancelled; `tasklet.exception()` tells. As in Kiwi. Here, the
        loop calls it soon if the tasklet has ended already, and a callback that raises is
        reported to the loop and stops no other.

        Returns:
            A handle for `remove_join_callback`.

        Raises:
            RuntimeError: The tasklet has ended, and so has its loop.
        """
        handle = next(_handles)
        context = contextvars.copy_context()
        self._join_callbacks[handle] = lambda: context.run(
            callback, self, self.return_value, *extra
        )
        if self.done():
            self.get_loop().call_soon(self._call_joiner, handle)
        return handle

    def remove_join_callback(self, handle: int) -> None:
        """Take back a join callback.

        Raises:
            KeyError: It was called already, or removed.
        """
        del self._join_callbacks[handle]

    def _call_joiner(self, handle: int) -> None:
        callback = self._join_callbacks.pop(handle, None)
        if callback is None:
            return
        try:
            callback()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - reported, as the loop does
            self._report("join callback of a tasklet raised", error)

    def _end(self, *, result: R | None = None, error: BaseException | None = None) -> None:
        """Complete the future; the caller has let go of everything else."""
        self._move(State.ZOMBIE)
        if error is None:
            self.return_value = result
            super().set_result(result)  # type: ignore[arg-type]
        elif isinstance(error, asyncio.CancelledError):
            cancel_with(self, error)
        else:
            super().set_exception(error)
        for handle in tuple(self._join_callbacks):
            self._call_joiner(handle)

    def _report(self, message: str, error: BaseException) -> None:
        """Tell the loop of an error that nobody can be given."""
        self.get_loop().call_exception_handler(
            {"message": message, "exception": error, "future": self}
        )

    def _warn(self, text: str) -> None:
        try:
            warnings.warn(text, stacklevel=2)
        except Warning as error:  # made an error: it must not tear the engine
            self._report(text, error)

    def _warn_of_undeclared(self, message: object) -> None:
        self._warn(f"{message!r} discarded, {self!r} does not declare it")

    def __repr__(self) -> str:
        frame = getattr(self.gen, "gi_frame", None)
        where = "" if frame is None else f" {frame.f_code.co_qualname} at line {frame.f_lineno}"
        return f"<{type(self).__name__} {self._now.name}{where}>"


def is_tasklet(value: object) -> bool:
    """Tell whether `value` is a Tasklet."""
    return isinstance(value, Joinable)


def as_tasklet(name: str, value: object) -> Joinable[Any]:
    """Return `value`, which must be a Tasklet.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(value, Joinable):
        raise TypeError(f"{name} must be a Tasklet, got {quote(value)}")
    return value


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "cannot make a tasklet without a running loop; make it in a coroutine or a callback"
        ) from None
