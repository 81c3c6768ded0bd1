"""Run generators elsewhere, and have their values back on the loop, batch by batch.

    from cooperative_aio import batches, offload

    async with offload.processes() as place:
        async for batch in batches(1000, place.open(simulate, seed)):
            ...

`place.open(factory, *args)` makes a source, which `accumulate`, `batch_accumulate` and
`batches` take in place of an iterable. Places are `threads()`, `processes()`,
`interpreters()` and `dask()`; `map` runs many generators over one of them.

The modules, each of which imports only from those above it:

========== =====================================================================
`_core`    what all of this takes from the core
`_wire`    what passes between a place and what it runs
`_pulling` the far side: step a generator as batches are ordered
`_worker`  the main program of a worker
`_figures` what a place tells of itself
`_streams` the near side: a source, what it ordered, and what has come
`_places`  what places have in common
`_threads` `threads`
`_hosts`   what a worker lives in: a process, or an interpreter
`_workers` talking to a worker
`_pools`   `processes` and `interpreters`
`_dask`    `dask`, and what runs on its workers
`_map`     `map`
========== =====================================================================

Each is imported when something of it is first used: workers need the first four only.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cooperative_aio._lazy import lazy

if TYPE_CHECKING:
    from cooperative_aio.offload._dask import Dask as Dask
    from cooperative_aio.offload._dask import dask as dask
    from cooperative_aio.offload._figures import PlaceFigures as PlaceFigures
    from cooperative_aio.offload._figures import WorkerFigures as WorkerFigures
    from cooperative_aio.offload._map import Results as Results
    from cooperative_aio.offload._map import map as map  # noqa: A004
    from cooperative_aio.offload._places import BatchSource as BatchSource
    from cooperative_aio.offload._places import Place as Place
    from cooperative_aio.offload._pools import Interpreters as Interpreters
    from cooperative_aio.offload._pools import Processes as Processes
    from cooperative_aio.offload._pools import interpreters as interpreters
    from cooperative_aio.offload._pools import processes as processes
    from cooperative_aio.offload._streams import Source as Source
    from cooperative_aio.offload._threads import Threads as Threads
    from cooperative_aio.offload._threads import threads as threads
    from cooperative_aio.offload._wire import RemoteError as RemoteError
    from cooperative_aio.offload._wire import RemoteTraceback as RemoteTraceback
    from cooperative_aio.offload._wire import SourceClosed as SourceClosed
    from cooperative_aio.offload._wire import WorkerDied as WorkerDied

__all__: list[str]
__getattr__: Callable[[str], Any]
__dir__: Callable[[], list[str]]
__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "_dask": "Dask dask",
        "_figures": "PlaceFigures WorkerFigures",
        "_map": "Results map",
        "_places": "BatchSource Place",
        "_pools": "Interpreters Processes interpreters processes",
        "_streams": "Source",
        "_threads": "Threads threads",
        "_wire": "RemoteError RemoteTraceback SourceClosed WorkerDied",
    },
)
