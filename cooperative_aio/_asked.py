"""What others have asked of a task: to pause, to end, to be cancelled."""

from __future__ import annotations

from typing import Any, Final

from cooperative_aio._errors import SchedulerError

__all__ = ["NOTHING", "Asked"]


class Asked:
    """What others have asked of a task: pauses, its end, a cancellation.

    Of most tasks nothing is, so this is made when something is: see `Job.ask`.
    """

    __slots__ = (
        "cancelling",
        "cleaning",
        "forgiven",
        "message",
        "pauses",
        "pausing",
        "stopping",
        "unwinding",
    )

    def __init__(self) -> None:
        self.pauses: int = 0
        self.pausing: int = 0  # pauses that are asked for, and may only be noted
        self.forgiven: int = 0  # pauses that the end or a cancellation lifted
        self.stopping: SchedulerError | None = None  # what to end with after this step
        self.cancelling: bool = False  # CancelledError is to be thrown
        self.cleaning: bool = False  # it waits after CancelledError was thrown
        self.unwinding: bool = False  # cancel() was called, and it has not ended
        self.message: Any = None

    def forgive(self) -> None:
        """Lift every pause."""
        self.forgiven += self.pauses
        self.pauses = 0


NOTHING: Final = Asked()
"""What was asked of most tasks; only to be read."""
