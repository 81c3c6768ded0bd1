"""Call functions that never yield on the loop, in time slices, unchanged.

    from cooperative_aio.functions import to_slices

    html = await to_slices(markdown.markdown, text)

Needs `cooperative-aio[functions]`. The modules, each of which imports only from those
above it:

================== ==================================================================
`_checks`          what can be called so; `PreemptionUnavailable`
`_greenlets`       a function on a stack of its own, which it can leave
`_availability`    where functions can be interrupted
`_collections`     whether a garbage collection is going on
`_places`          at which instructions a function may be set aside
`_locks`           whether a frame holds a lock, or waits for one
`_rules`           where a function must not be set aside: the table
`_aside`           what is set aside, and a thread that looks whether it is waited for
`_waits`           the error for code that waits for a function set aside
`_alarm`           interrupt a function when its slice is over
`_pace`            how long a step may last
`_inside`          `give_way`, `wait_on`, `uninterrupted`
`_steps`           `steps_of`: a function as an iterator
`_calls`           `to_slices`, `in_slices`
================== ==================================================================
"""

from cooperative_aio.functions._calls import in_slices, to_slices
from cooperative_aio.functions._checks import PreemptionUnavailable
from cooperative_aio.functions._inside import give_way, uninterrupted, wait_on
from cooperative_aio.functions._steps import Steps, steps_of

__all__ = [
    "PreemptionUnavailable",
    "Steps",
    "give_way",
    "in_slices",
    "steps_of",
    "to_slices",
    "uninterrupted",
    "wait_on",
]
