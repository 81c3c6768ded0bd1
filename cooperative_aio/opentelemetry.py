"""Show OpenTelemetry what the Cooperators of a loop do, and how late the loop is.

    from cooperative_aio.opentelemetry import Instruments

    async with Instruments():  # for as long as the application lives
        ...

Needs `cooperative-aio[opentelemetry]`, and an SDK and an exporter to see something.
All instruments have the attribute `cooperator` but the lag, which is the loop's, and those of
offloading, which have `place` instead:

====================================== ==================================================
`cooperative_aio.tasks`                unfinished tasks, by `state`
`cooperative_aio.ended_tasks`          tasks that have ended, by `state`: finished,
                                       failed, cancelled or stopped
`cooperative_aio.refused_tasks`        tasks that `max_tasks` has refused
`cooperative_aio.steps`                steps that tasks have taken
`cooperative_aio.ticks`                turns of the loop in which they were taken
`cooperative_aio.cpu_time`             seconds that they took
`cooperative_aio.collector_time`       seconds of garbage collection meanwhile
`cooperative_aio.longest_tick`         seconds of the longest turn
`cooperative_aio.longest_step`         seconds of the longest step
`cooperative_aio.recent_longest_step`  seconds of the longest of the last minute
`cooperative_aio.task.duration`        histogram: from the making of a task to its end
`cooperative_aio.task.queued`          histogram: from its making to its first step
`cooperative_aio.labelled.tasks`       unfinished tasks, by a `label` of your own
`cooperative_aio.labelled.cpu_time`    seconds that these have taken
`cooperative_aio.offload.generators`   generators of places, by `state`: running, queued
`cooperative_aio.offload.ended`        generators of places that have ended
`cooperative_aio.offload.workers`      workers of places, by `state`: busy, idle
`cooperative_aio.offload.deaths`       workers that died, or were left to themselves
`cooperative_aio.offload.memory`       memory of the worker processes, in bytes (on Linux)
`cooperative_aio.loop.lag`             histogram of how late callbacks are, in seconds
====================================== ==================================================

Names and labels are cut to 200 characters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self
from weakref import WeakKeyDictionary

from opentelemetry.metrics import Histogram, Meter, Observation, get_meter

from cooperative_aio import __version__
from cooperative_aio._cooperator import Cooperator
from cooperative_aio._history import History
from cooperative_aio._task import CooperativeTask
from cooperative_aio._watch import (
    ENDS,
    STATES,
    Labels,
    LoopLag,
    Watch,
    figures_of,
    numbers_of_place,
)

__all__ = ["Instruments"]

PREFIX = "cooperative_aio."

Observe = Callable[[], Iterator[Observation]]


class Instruments:
    """OpenTelemetry's instruments for a loop and its Cooperators; enter them on that loop.

        async with Instruments():
            await asyncio.sleep(0)  # or: serve requests

    OpenTelemetry cannot take instruments back: after leaving, these observe nothing.

    Args:
        cooperators: Which Cooperators to show; by default the loop's own, and all others
            that were seen to have tasks on the loop.
        meter: The meter that makes the instruments; one of the global provider by default.
        label: A function that gives the label of a task, such as the name of a kind of
            job. There should be few different labels. By default tasks are not told apart.
        interval: Seconds between two measurements of the lag.
        places: Places to offload to; by default those that are entered on the loop.

    Raises:
        TypeError: What was given is no Cooperator, or `interval` is not a number.
        ValueError: `interval` is not finite and above 0.
    """

    def __init__(
        self,
        *cooperators: Cooperator,
        meter: Meter | None = None,
        label: Callable[[CooperativeTask[Any]], str] | None = None,
        interval: float = 0.1,
        places: Iterable[object] = (),
    ) -> None:
        self._meter = meter or get_meter("cooperative_aio", __version__)
        lag = self._histogram(
            "loop.lag", "How late the callbacks of the event loop are.", LoopLag.BOUNDS
        )
        self._times = {
            "duration": self._histogram(
                "task.duration", "From the making of a task to its end.", History.BOUNDS
            ),
            "queued": self._histogram(
                "task.queued", "From the making of a task to its first step.", History.BOUNDS
            ),
        }
        self._names: WeakKeyDictionary[Cooperator, str] = WeakKeyDictionary()
        record = LoopLag(interval, record=lag.record)
        self._watch = Watch(cooperators, record, self._record, places)
        self._observe_tasks()
        self._observe_places()
        if label is not None:
            self._observe_labels(Labels(label))

    # Making the instruments

    def _histogram(self, name: str, text: str, bounds: Sequence[float]) -> Histogram:
        return self._meter.create_histogram(
            f"{PREFIX}{name}",
            unit="s",
            description=text,
            explicit_bucket_boundaries_advisory=bounds,
        )

    def _level(self, name: str, observe: Observe, unit: str, text: str) -> None:
        """Make an instrument for a number of things that there are."""
        self._meter.create_observable_up_down_counter(
            f"{PREFIX}{name}", [lambda _: observe()], unit, text
        )

    def _total(self, name: str, observe: Observe, unit: str, text: str) -> None:
        """Make an instrument for what only grows."""
        self._meter.create_observable_counter(
            f"{PREFIX}{name}", [lambda _: observe()], unit, text
        )

    def _gauge(self, name: str, observe: Observe, unit: str, text: str) -> None:
        self._meter.create_observable_gauge(
            f"{PREFIX}{name}", [lambda _: observe()], unit, text
        )

    def _observe_tasks(self) -> None:
        self._level(
            "tasks", partial(self._states, STATES), "{task}", "Unfinished tasks by state."
        )
        self._total("ended_tasks", partial(self._states, ENDS), "{task}", "Tasks that ended.")
        for name, figure, unit, text in (
            ("refused_tasks", "refused", "{task}", "Tasks that max_tasks has refused."),
            ("steps", "steps", "{step}", "Steps taken by tasks."),
            ("ticks", "ticks", "{tick}", "Turns of the loop in which tasks were stepped."),
            ("cpu_time", "cpu_time", "s", "Seconds that the steps of tasks took."),
            ("collector_time", "collector_time", "s", "Seconds of collections meanwhile."),
        ):
            self._total(name, partial(self._figures, figure), unit, text)
        for figure, text in (
            ("longest_tick", "The longest turn so far."),
            ("longest_step", "The longest step so far."),
        ):
            self._gauge(figure, partial(self._figures, figure), "s", text)
        text = "The longest step of the last minute."
        self._gauge("recent_longest_step", self._recent, "s", text)

    def _observe_places(self) -> None:
        for name, make, unit, text in (
            ("generators", self._level, "{generator}", "Generators of places by state."),
            ("ended", self._total, "{generator}", "Generators of places that have ended."),
            ("workers", self._level, "{worker}", "Workers of places by state."),
            ("deaths", self._total, "{worker}", "Workers that died or were left alone."),
            ("memory", self._level, "By", "Memory of the worker processes."),
        ):
            make(f"offload.{name}", partial(self._of_places, name), unit, text)

    def _observe_labels(self, labels: Labels) -> None:
        count, seconds = (partial(self._labelled, labels, figure) for figure in (0, 1))
        self._level("labelled.tasks", count, "{task}", "Unfinished tasks by label.")
        text = "Seconds taken by unfinished tasks."
        self._gauge("labelled.cpu_time", seconds, "s", text)

    async def __aenter__(self) -> Self:
        """Begin to measure the running loop.

        Cancellation: does not suspend.
        """
        await self._watch.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop measuring.

        Cancellation: does not suspend.
        """
        await self._watch.__aexit__(kind, error, traceback)

    def _record(self, cooperator: Cooperator, what: str, seconds: float) -> None:
        if cooperator not in self._names:
            for name, one in self._watch.cooperators().items():
                self._names[one] = name
        name = self._names.setdefault(cooperator, "")  # which is not to be shown
        if name:
            self._times[what].record(seconds, {"cooperator": name})

    def _states(self, states: Iterable[str]) -> Iterator[Observation]:
        for name, cooperator in self._watch.cooperators().items():
            figures = figures_of(cooperator)
            for state in states:
                yield Observation(figures[state], {"cooperator": name, "state": state})

    def _recent(self) -> Iterator[Observation]:
        for name, cooperator in self._watch.cooperators().items():
            seconds, _task = self._watch.history.longest(cooperator)
            yield Observation(seconds, {"cooperator": name})

    def _figures(self, figure: str) -> Iterator[Observation]:
        for name, cooperator in self._watch.cooperators().items():
            yield Observation(figures_of(cooperator)[figure], {"cooperator": name})

    def _of_places(self, what: str) -> Iterator[Observation]:
        for name, figures in self._watch.places().items():
            numbers = numbers_of_place(figures)[what] if figures else {}
            for state, number in numbers.items():
                by = {"state": state} if state else {}
                yield Observation(number, {"place": name, **by})

    def _labelled(self, labels: Labels, figure: int) -> Iterator[Observation]:
        for name, cooperator in self._watch.cooperators().items():
            for text, figures in labels.count(cooperator).items():
                yield Observation(figures[figure], {"cooperator": name, "label": text})
