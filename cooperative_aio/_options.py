"""What can be said of a task when it is made: once, for all that make tasks."""

from __future__ import annotations

from collections.abc import Hashable
from contextvars import Context
from typing import TypedDict

__all__ = ["TaskOptions"]


class TaskOptions(TypedDict, total=False):
    """The options of a task; each may be left out.

        from typing import Unpack

        async def total(rows, **options: Unpack[TaskOptions]) -> int:
            return sum(await accumulate(rows, **options))

        print(await total(range(1000), name="total", weight=2))

    They are those of `cooperate`, `accumulate`, `batch_accumulate`, `batches` and
    `to_slices`.
    """

    name: str | None
    """The name in logs, in `repr` and in the monitor; made from the iterator's by default."""
    weight: float
    """Its part of the CPU time, in proportion to the weights of the others; 1 by default."""
    context: Context | None
    """The `contextvars` context of its steps; a copy of the caller's by default."""
    group: Hashable
    """The tasks of one group share the CPU time of one task; None for no group."""
