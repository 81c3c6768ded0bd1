"""What every wait condition has in common, and the one that is a callable."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any, ClassVar, Generic, Self, TypeVar

from cooperative_aio.tasklet._ending import Joinable


class WaitCondition:
    """Base class of everything that a tasklet can wait for.

    A condition of your own begins to watch in `arm`, stops in `disarm`, and calls
    `tasklet.wait_condition_fired(self)` for each occurrence. A suspended tasklet runs
    before that call returns. A running tasklet gets the occurrence at its next wait, with
    the public attributes that the condition had when it fired.

    As in Kiwi, with `deliver`, `once` and `coalesces` besides, and `yield from condition`,
    which tells a type checker what the event is.
    """

    once: ClassVar[bool] = False
    """It happens once: yielded again after it was delivered, it is armed anew."""
    coalesces: ClassVar[bool] = False
    """Occurrences that nobody could take yet become one."""

    triggered: bool = False
    """Whether this is what resumed the tasklet, until it yields again."""

    def __init__(self) -> None:
        self.triggered = False

    def arm(self, tasklet: Any) -> None:
        """Begin to watch on behalf of `tasklet`, which calls this.

        Each call is followed by one of `disarm` before the next. An error raised here
        is raised at the tasklet's `yield`.

        Raises:
            NotImplementedError: A subclass does not define it.
        """
        raise NotImplementedError(f"{type(self).__name__} must define arm(tasklet)")

    def disarm(self) -> None:
        """Stop watching and release everything; the tasklet calls this.

        Raises:
            NotImplementedError: A subclass does not define it.
        """
        raise NotImplementedError(f"{type(self).__name__} must define disarm()")

    def deliver(self) -> object:
        """Return the value of the `yield` for an occurrence, or raise its exception."""
        return self

    def __iter__(self) -> Generator[Any, Any, Self]:
        event: Self = yield self
        return event


class Exclusive(WaitCondition):
    """Base of this package's conditions, which serve one tasklet at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._tasklet: Joinable[Any] | None = None

    def arm(self, tasklet: Joinable[Any]) -> None:
        """Begin to watch on behalf of `tasklet`, which calls this.

        Raises:
            RuntimeError: Another tasklet is waiting for this very object.
        """
        if self._tasklet is not None:
            raise RuntimeError(
                f"cannot wait for a {type(self).__name__} that another tasklet waits for; "
                "give each tasklet its own"
            )
        self._tasklet = tasklet
        try:
            self._start(tasklet)
        except BaseException:
            self._tasklet = None
            raise

    def disarm(self) -> None:
        """Stop watching and let go of everything; called by the tasklet."""
        if self._tasklet is not None:
            self._tasklet = None
            self._stop()

    def _start(self, tasklet: Joinable[Any]) -> None:
        """Begin to watch; what `arm` adds to this is the same for all."""

    def _stop(self) -> None:
        """Let go of what `_start` has begun."""

    def _fire(self, **attributes: object) -> bool:
        """Report an occurrence; tell whether to stay armed."""
        tasklet = self._tasklet
        return tasklet is not None and tasklet.wait_condition_fired(
            self, triggered=True, **attributes
        )


V = TypeVar("V")


class WaitForCall(Exclusive, Generic[V]):
    """A function to give away, and the condition that it has been called.

        called = WaitForCall()
        asyncio.get_running_loop().call_soon(called, "hello")

        def wait():
            yield called
            return called.args

        print(await run(wait()))  # ('hello',)

    `args` and `kwargs` are then the arguments of the call. The tasklet runs before the
    call returns, so it may set `return_value` for the caller. As in Kiwi. Here, a
    call before the tasklet first waits is kept for it, and a call after it has ceased to
    wait is ignored.

    Args:
        return_value: The value that the call returns.
    """

    def __init__(self, return_value: V | None = None) -> None:
        super().__init__()
        self.return_value = return_value
        self.args: tuple[Any, ...] | None = None
        self.kwargs: dict[str, Any] | None = None
        self._early: deque[tuple[tuple[Any, ...], dict[str, Any]]] | None = deque()

    def __call__(self, *args: Any, **kwargs: Any) -> V | None:
        """Report the call to the tasklet and return `return_value`.

        Raises:
            RuntimeError: The call comes from another thread than the loop's.
        """
        if self._early is not None:
            self._early.append((args, kwargs))
        else:
            self._fire(args=args, kwargs=kwargs)
        return self.return_value

    def _start(self, tasklet: Joinable[Any]) -> None:  # noqa: ARG002 - of all conditions
        early, self._early = self._early or (), None
        for args, kwargs in early:
            self._fire(args=args, kwargs=kwargs)
