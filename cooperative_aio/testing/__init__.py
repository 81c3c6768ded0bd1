"""What tests of time-dependent code need, so that they never sleep.

* `ManualScheduler` makes a Cooperator's ticks when the test says so; `one_step` and
  `steps_per_tick` say how long a tick is.
* `VirtualLoop` is an event loop on which time jumps where it would wait; `virtual_time`
  runs a test on it, `spend` says that a step took time, and `Deadlock` is what a wait for
  nothing becomes.
* `Clock`, from the package itself, is time without a loop.

The pytest fixtures are in `cooperative_aio.testing.plugin`. Because pytest imports that
module in every run, before coverage measures anything and used or not, this package
imports its parts only when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cooperative_aio._lazy import lazy

if TYPE_CHECKING:
    from cooperative_aio.testing._manual import ManualCall as ManualCall
    from cooperative_aio.testing._manual import ManualScheduler as ManualScheduler
    from cooperative_aio.testing._manual import one_step as one_step
    from cooperative_aio.testing._manual import steps_per_tick as steps_per_tick
    from cooperative_aio.testing._virtual import Deadlock as Deadlock
    from cooperative_aio.testing._virtual import VirtualLoop as VirtualLoop
    from cooperative_aio.testing._virtual import spend as spend
    from cooperative_aio.testing._virtual import virtual_time as virtual_time

__all__: list[str]
__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "_manual": "ManualCall ManualScheduler one_step steps_per_tick",
        "_virtual": "Deadlock VirtualLoop spend virtual_time",
    },
)
