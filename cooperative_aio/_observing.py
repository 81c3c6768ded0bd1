"""What the core tells those who watch it: the only place that looks inside of it.

An `Observer` is told when a task is made, takes its first step, and ends, and of each step
that may be the longest of late. Without one nothing is noted, and nothing costs anything.
"""

from __future__ import annotations

import asyncio
import functools
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from cooperative_aio._cooperator import Cooperator
from cooperative_aio._errors import TaskFailed
from cooperative_aio._pacing import pacer_of
from cooperative_aio._runner import Runner
from cooperative_aio._task import CooperativeTask

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

    def step_noted(self, task: CooperativeTask[Any], seconds: float) -> None:
        """Note a step that is longer than all since `note_all_steps`, or slow."""


def own_cooperator(loop: asyncio.AbstractEventLoop) -> object:
    """Return the Cooperator that is the loop's own, or None if there is none yet."""
    return pacer_of(loop).cooperator


def cooperator_name(cooperator: Cooperator) -> object:
    """Return the name that a Cooperator was given."""
    return cooperator._name


def cooperator_of(task: CooperativeTask[Any]) -> Cooperator:
    """Return the Cooperator that runs a task."""
    cooperator: Cooperator = task._runner._label.__self__  # type: ignore[attr-defined]
    return cooperator


def cooperators_on(loop: asyncio.AbstractEventLoop) -> Iterator[Cooperator]:
    """Find the loop's own Cooperator, and those that have unfinished tasks on it."""
    pacer = pacer_of(loop)
    if isinstance(pacer.cooperator, Cooperator):
        yield pacer.cooperator
    for shut_down in tuple(pacer.on_shutdown):
        label = getattr(getattr(shut_down, "__self__", None), "_label", None)
        cooperator = getattr(label, "__self__", None)
        if isinstance(cooperator, Cooperator):
            yield cooperator


def stepping_on(loop: asyncio.AbstractEventLoop) -> CooperativeTask[Any] | None:
    """Return the task whose step is running on a loop; may be asked from any thread."""
    task = pacer_of(loop).current
    return task if isinstance(task, CooperativeTask) else None


def note_all_steps(cooperator: Cooperator) -> None:
    """Tell observers of the longest step from now on, whatever the longest so far was."""
    cooperator._runner.notable = 0.0


# The core has no hook for observers yet, so for as long as there is one its methods are
# wrapped. What it takes in the core: a set of observers on each loop, and four calls.

_observers: dict[Observer, weakref.ref[asyncio.AbstractEventLoop]] = {}
_unwrapped: list[tuple[type, str, Any]] = []


def observe(loop: asyncio.AbstractEventLoop, observer: Observer) -> None:
    """Tell `observer` what happens on `loop` from now on."""
    if not _observers:
        _wrap(Cooperator, "_make_task", _made)
        _wrap(CooperativeTask, "_end", _ended)
        _wrap(Runner, "note_step", _noted)
    _observers[observer] = weakref.ref(loop)


def stop_observing(observer: Observer) -> None:
    """Tell `observer` nothing any more."""
    _observers.pop(observer, None)
    while _unwrapped and not _observers:
        setattr(*_unwrapped.pop())


def _wrap(kind: type, name: str, wrapper: Callable[..., Any]) -> None:
    plain = getattr(kind, name)
    _unwrapped.append((kind, name, plain))

    @functools.wraps(plain)
    def call(*args: Any, **kwargs: Any) -> Any:
        return wrapper(plain, *args, **kwargs)

    setattr(kind, name, call)


def _observers_of(task: CooperativeTask[Any]) -> list[Observer]:
    loop = task.get_loop()
    return [one for one, observed in tuple(_observers.items()) if observed() is loop]


def _made(make: Callable[..., Any], cooperator: Cooperator, *args: Any) -> Any:
    task = make(cooperator, *args)
    observers = _observers_of(task)
    for observer in observers:
        observer.task_made(task)
    if observers and task._call is None and not task.done():

        def begin() -> Any:
            for observer in observers:
                observer.task_begun(task)
            return task.iterator.__next__()

        task._resume_by(begin)
    return task


def _ended(
    end: Callable[..., None], task: CooperativeTask[Any], how: type, **given: Any
) -> None:
    try:
        end(task, how, **given)
    finally:
        failure = given.get("error") if how is TaskFailed else None
        for observer in _observers_of(task):
            observer.task_ended(task, failure)
        del task, given, failure  # an exception of the iterator refers to this frame


def _noted(
    note: Callable[..., None], runner: Runner, task: CooperativeTask[Any], seconds: float
) -> None:
    note(runner, task, seconds)
    runner.notable = max(runner.notable, min(seconds, runner._slow_step))
    for observer in _observers_of(task):
        observer.step_noted(task, seconds)
