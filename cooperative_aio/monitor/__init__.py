"""See in a browser what the Cooperators of a loop do, and how late the loop is.

    from cooperative_aio.monitor import Monitor

    async with Monitor() as monitor:  # in the lifespan
        app.mount("/monitor", monitor)  # any ASGI application that mounts others

`Monitor` is an ASGI application of its own; `serve` puts it on a port of the loopback
interface, also beside servers that know nothing of ASGI; and

    python -m cooperative_aio.monitor module:app

runs a program with a monitor beside it. These need `cooperative-aio[monitor]`: Starlette
and uvicorn. `watchdog` needs nothing:

    async with watchdog(seconds=1):
        ...

writes into the log what holds the loop, while it holds it.

The modules, each of which imports only from those above it:

================ ====================================================================
`_snapshot`      what there is to see, as JSON can have it
`_page`          the page, and what it may do
`_app`           `Monitor`: the ASGI application
`_serve`         `serve`: on a port, with uvicorn
`_targets`       what `python -m cooperative_aio.monitor` can run
`__main__`       the command
================ ====================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cooperative_aio._lazy import lazy
from cooperative_aio._watchdog import watchdog

if TYPE_CHECKING:
    from cooperative_aio.monitor._app import Monitor as Monitor
    from cooperative_aio.monitor._serve import serve as serve

__all__: list[str]
__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "_app": "Monitor",
        "_serve": "serve",
    },
)
__all__ += ["watchdog"]
