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

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cooperative_aio.testing._manual import (
        ManualCall,
        ManualScheduler,
        one_step,
        steps_per_tick,
    )
    from cooperative_aio.testing._virtual import Deadlock, VirtualLoop, spend, virtual_time

__all__ = [
    "Deadlock",
    "ManualCall",
    "ManualScheduler",
    "VirtualLoop",
    "one_step",
    "spend",
    "steps_per_tick",
    "virtual_time",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    virtual = name in {"Deadlock", "VirtualLoop", "spend", "virtual_time"}
    value = getattr(import_module(f"{__name__}.{'_virtual' if virtual else '_manual'}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
