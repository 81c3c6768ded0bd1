"""What the core tells those who watch it: the only place that looks inside of it.

An `Observer` is told when a task is made, takes its first step, and ends, and of each step
that may be the longest of late. Without one nothing is noted, and nothing costs anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Protocol

from cooperative_aio._cooperator import Cooperator, engine_of, name_of
from cooperative_aio._job import Job
from cooperative_aio._loop import state_of
from cooperative_aio._task import CooperativeTask, job_of

__all__ = [
    "Observer",
    "cooperator_name",
    "cooperator_of",
    "cooperators_on",
    "note_all_steps",
    "observe",
    "own_cooperator",
    "stepping_on",
    "stop_observing",
]


class Observer(Protocol):
    """What wants to be told about the tasks of a loop, on that loop. It must not raise."""

    def task_made(self, task: CooperativeTask[Any]) -> None:
        """Note a new task."""

    def task_begun(self, task: CooperativeTask[Any]) -> None:
        """Note that a task takes its first step."""

    def task_ended(self, task: CooperativeTask[Any], failure: BaseException | None) -> None:
        """Note a task that has ended, with the exception of one that has failed."""

    def step_noted(self, cooperator: Cooperator, task: str, seconds: float) -> None:
        """Note a step that is longer than all since `note_all_steps`, or slow."""


def own_cooperator(loop: asyncio.AbstractEventLoop) -> object:
    """Return the Cooperator that is the loop's own, or None if there is none yet."""
    return state_of(loop).own.get(Cooperator)


def cooperator_name(cooperator: Cooperator) -> object:
    """Return the name that a Cooperator was given."""
    return name_of(cooperator)


def cooperator_of(task: CooperativeTask[Any]) -> Cooperator:
    """Return the Cooperator that runs a task."""
    cooperator = job_of(task).home.owner
    assert isinstance(cooperator, Cooperator)  # noqa: S101 (for the type checker)
    return cooperator


def cooperators_on(loop: asyncio.AbstractEventLoop) -> Iterator[Cooperator]:
    """Find the loop's own Cooperator, and those that have unfinished tasks on it."""
    state = state_of(loop)
    yield from state.own.values()
    for cooperator in tuple(state.cooperators):
        if engine_of(cooperator).jobs:
            yield cooperator


def stepping_on(loop: asyncio.AbstractEventLoop) -> CooperativeTask[Any] | None:
    """Return the task whose step is running on a loop; may be asked from any thread."""
    job = state_of(loop).changes.current
    task: CooperativeTask[Any] | None = job.face if isinstance(job, Job) else None
    return task


def note_all_steps(cooperator: Cooperator) -> None:
    """Tell observers of the longest step from now on, whatever the longest so far was."""
    engine_of(cooperator).notable = 0.0


def observe(loop: asyncio.AbstractEventLoop, observer: Observer) -> None:
    """Tell `observer` what happens on `loop` from now on."""
    state_of(loop).observers.append(observer)


def stop_observing(loop: asyncio.AbstractEventLoop, observer: Observer) -> None:
    """Tell `observer` nothing any more; it may be told so twice."""
    observers = state_of(loop).observers
    if observer in observers:
        observers.remove(observer)
