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

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cooperative_aio.offload._dask import Dask, dask
    from cooperative_aio.offload._figures import PlaceFigures, WorkerFigures
    from cooperative_aio.offload._map import Results, map  # noqa: A004
    from cooperative_aio.offload._places import BatchSource, Place
    from cooperative_aio.offload._pools import (
        Interpreters,
        Processes,
        interpreters,
        processes,
    )
    from cooperative_aio.offload._streams import Source
    from cooperative_aio.offload._threads import Threads, threads
    from cooperative_aio.offload._wire import (
        RemoteError,
        RemoteTraceback,
        SourceClosed,
        WorkerDied,
    )

__all__ = [
    "BatchSource",
    "Dask",
    "Interpreters",
    "Place",
    "PlaceFigures",
    "Processes",
    "RemoteError",
    "RemoteTraceback",
    "Results",
    "Source",
    "SourceClosed",
    "Threads",
    "WorkerDied",
    "WorkerFigures",
    "dask",
    "interpreters",
    "map",
    "processes",
    "threads",
]

_HOMES = {
    "BatchSource": "cooperative_aio.offload._places",
    "Dask": "cooperative_aio.offload._dask",
    "Interpreters": "cooperative_aio.offload._pools",
    "Place": "cooperative_aio.offload._places",
    "PlaceFigures": "cooperative_aio.offload._figures",
    "Processes": "cooperative_aio.offload._pools",
    "RemoteError": "cooperative_aio.offload._wire",
    "RemoteTraceback": "cooperative_aio.offload._wire",
    "Results": "cooperative_aio.offload._map",
    "Source": "cooperative_aio.offload._streams",
    "SourceClosed": "cooperative_aio.offload._wire",
    "Threads": "cooperative_aio.offload._threads",
    "WorkerDied": "cooperative_aio.offload._wire",
    "WorkerFigures": "cooperative_aio.offload._figures",
    "dask": "cooperative_aio.offload._dask",
    "interpreters": "cooperative_aio.offload._pools",
    "map": "cooperative_aio.offload._map",
    "processes": "cooperative_aio.offload._pools",
    "threads": "cooperative_aio.offload._threads",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
