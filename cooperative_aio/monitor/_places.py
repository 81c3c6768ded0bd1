"""What there is to see of a place to offload to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cooperative_aio._legible import legible

__all__ = ["describe_place", "memory_of"]


def describe_place(place: object) -> dict[str, Any]:
    """Return what a place does, as JSON can have it; what it does not tell is None.

    A place that has a method `figures()` is asked by that: a mapping with some of `name`,
    `limit`, `running`, `queued`, `deaths`, and `workers`, each with a `pid` and `busy`.
    """
    figures = getattr(place, "figures", None)
    told: dict[str, Any] = dict(figures()) if callable(figures) else _look_into(place)
    workers = [
        {
            "pid": worker.get("pid"),
            "busy": worker.get("busy"),
            "memory": memory_of(worker.get("pid")),
        }
        for worker in told.get("workers", ())
    ]
    return {
        "name": legible(told.get("name", type(place).__name__)),
        **{name: told.get(name) for name in ("limit", "running", "queued", "deaths")},
        "workers": workers,
    }


def _look_into(place: Any) -> dict[str, Any]:
    """Look at what a place of this package has, which has no `figures()` yet."""
    streams = list(getattr(place, "_jobs", {}).values())
    queued = sum(bool(getattr(stream, "queued", False)) for stream in streams)
    idle = getattr(place, "_idle", ())
    return {
        "name": getattr(place, "_name", type(place).__name__),
        "limit": getattr(place, "limit", None),
        "running": len(streams) - queued,
        "queued": queued,
        "workers": [{"pid": getattr(worker, "_pid", None), "busy": False} for worker in idle],
    }


def memory_of(pid: object) -> int | None:
    """Return the bytes of memory that a process has, where the system tells."""
    try:
        pages = Path(f"/proc/{int(str(pid))}/statm").read_text("ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return None
