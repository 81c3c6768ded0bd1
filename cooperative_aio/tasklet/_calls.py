"""Waiting until somebody calls."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cooperative_aio.tasklet._conditions import Watch

if TYPE_CHECKING:
    from cooperative_aio.tasklet._tasklet import Tasklet

V = TypeVar("V")


class WaitForCall(Watch, Generic[V]):
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

    def _start(self, tasklet: Tasklet[Any]) -> None:  # noqa: ARG002 - of all conditions
        early, self._early = self._early or (), None
        for args, kwargs in early:
            self._fire(args=args, kwargs=kwargs)
