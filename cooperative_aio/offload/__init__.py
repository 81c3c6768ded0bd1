"""Run generators elsewhere, and have their values back on the loop, batch by batch.

    from cooperative_aio import batches, offload

    async with offload.processes() as place:
        async for batch in batches(1000, place.open(simulate, seed)):
            ...

`place.open(factory, *args)` makes a source, which `accumulate`, `batch_accumulate` and
`batches` take in place of an iterable. Places are `threads()`, `processes()`,
`interpreters()` and `dask()`; `map` runs many generators over one of them.

The modules, each of which imports only from those above it:

================== ==================================================================
`_failures`        what can go wrong elsewhere
`_pulling`         the far side: step a generator as batches are ordered
`_pickling`        what goes there and what comes back, as bytes
`_frames`          how a worker and its place talk
`_worker`          the main program of a worker
`_streams`         the near side: a source, what it ordered, and what has come
`_places`          what places have in common
`_threads`         `threads`
`_workers`         executors of one worker, and the sockets to talk to them
`_processes`       `processes`
`_interpreters`    `interpreters`
`_remote_actor`    what runs on a Dask worker
`_dask`            `dask`
`_map`             `map`
================== ==================================================================

Each is imported when something of it is first used: workers need the first five only.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cooperative_aio._accumulate import BatchSource
    from cooperative_aio.offload._dask import Dask, dask
    from cooperative_aio.offload._failures import (
        RemoteError,
        RemoteTraceback,
        SourceClosed,
        WorkerDied,
    )
    from cooperative_aio.offload._interpreters import Interpreters, interpreters
    from cooperative_aio.offload._map import Results, map  # noqa: A004
    from cooperative_aio.offload._places import Place
    from cooperative_aio.offload._processes import Processes, processes
    from cooperative_aio.offload._streams import Source
    from cooperative_aio.offload._threads import Threads, threads

__all__ = [
    "BatchSource",
    "Dask",
    "Interpreters",
    "Place",
    "Processes",
    "RemoteError",
    "RemoteTraceback",
    "Results",
    "Source",
    "SourceClosed",
    "Threads",
    "WorkerDied",
    "dask",
    "interpreters",
    "map",
    "processes",
    "threads",
]

_HOMES = {
    "BatchSource": "cooperative_aio._accumulate",
    "Dask": "cooperative_aio.offload._dask",
    "Interpreters": "cooperative_aio.offload._interpreters",
    "Place": "cooperative_aio.offload._places",
    "Processes": "cooperative_aio.offload._processes",
    "RemoteError": "cooperative_aio.offload._failures",
    "RemoteTraceback": "cooperative_aio.offload._failures",
    "Results": "cooperative_aio.offload._map",
    "Source": "cooperative_aio.offload._streams",
    "SourceClosed": "cooperative_aio.offload._failures",
    "Threads": "cooperative_aio.offload._threads",
    "WorkerDied": "cooperative_aio.offload._failures",
    "dask": "cooperative_aio.offload._dask",
    "interpreters": "cooperative_aio.offload._interpreters",
    "map": "cooperative_aio.offload._map",
    "processes": "cooperative_aio.offload._processes",
    "threads": "cooperative_aio.offload._threads",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
