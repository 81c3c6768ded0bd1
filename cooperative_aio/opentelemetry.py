"""Show OpenTelemetry what the Cooperators of a loop do, and how late the loop is.

    from cooperative_aio.opentelemetry import Instruments

    async with Instruments():  # for as long as the application lives
        ...

Needs `cooperative-aio[opentelemetry]`, and an SDK and an exporter to see something.
All instruments have the attribute `cooperator` but the lag, which is the loop's:

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
`cooperative_aio.loop.lag`             histogram of how late callbacks are, in seconds
====================================== ==================================================

Names and labels are cut to 200 characters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self
from weakref import WeakKeyDictionary

from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter

from cooperative_aio import __version__
from cooperative_aio._cooperator import Cooperator
from cooperative_aio._history import History
from cooperative_aio._task import CooperativeTask
from cooperative_aio._watch import ENDS, STATES, Labels, LoopLag, Watch, figures_of

__all__ = ["Instruments"]

PREFIX = "cooperative_aio."


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
    ) -> None:
        meter = get_meter("cooperative_aio", __version__) if meter is None else meter
        lag = meter.create_histogram(
            f"{PREFIX}loop.lag",
            unit="s",
            description="How late the callbacks of the event loop are.",
            explicit_bucket_boundaries_advisory=LoopLag.BOUNDS,
        )
        self._times = {
            what: meter.create_histogram(
                f"{PREFIX}task.{what}",
                unit="s",
                description=description,
                explicit_bucket_boundaries_advisory=History.BOUNDS,
            )
            for what, description in (
                ("duration", "From the making of a task to its end."),
                ("queued", "From the making of a task to its first step."),
            )
        }
        self._names: WeakKeyDictionary[Cooperator, str] = WeakKeyDictionary()
        self._watch = Watch(cooperators, LoopLag(interval, record=lag.record), self._record)
        meter.create_observable_up_down_counter(
            f"{PREFIX}tasks",
            [lambda _: self._states(STATES)],
            "{task}",
            "Unfinished tasks by state.",
        )
        meter.create_observable_counter(
            f"{PREFIX}ended_tasks",
            [lambda _: self._states(ENDS)],
            "{task}",
            "Tasks that have ended.",
        )
        meter.create_observable_gauge(
            f"{PREFIX}recent_longest_step",
            [self._recent],
            "s",
            "The longest step of the last minute.",
        )
        for name, unit, description in (
            ("refused", "{task}", "Tasks that max_tasks has refused."),
            ("steps", "{step}", "Steps taken by tasks."),
            ("ticks", "{tick}", "Turns of the loop in which tasks were stepped."),
            ("cpu_time", "s", "Seconds that the steps of tasks took."),
            ("collector_time", "s", "Seconds of garbage collection while tasks ran."),
        ):
            shown = "refused_tasks" if name == "refused" else name
            meter.create_observable_counter(
                f"{PREFIX}{shown}", [self._observing(name)], unit, description
            )
        for name, description in (
            ("longest_tick", "The longest turn so far."),
            ("longest_step", "The longest step so far."),
        ):
            meter.create_observable_gauge(
                f"{PREFIX}{name}", [self._observing(name)], "s", description
            )
        if label is not None:
            labels = Labels(label)
            meter.create_observable_up_down_counter(
                f"{PREFIX}labelled.tasks",
                [lambda _: self._labelled(labels, 0)],
                "{task}",
                "Unfinished tasks by label.",
            )
            meter.create_observable_gauge(
                f"{PREFIX}labelled.cpu_time",
                [lambda _: self._labelled(labels, 1)],
                "s",
                "Seconds taken by unfinished tasks.",
            )

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

    def _recent(self, _: CallbackOptions) -> Iterator[Observation]:
        for name, cooperator in self._watch.cooperators().items():
            seconds, _task = self._watch.history.longest(cooperator)
            yield Observation(seconds, {"cooperator": name})

    def _observing(self, figure: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterator[Observation]:
            for name, cooperator in self._watch.cooperators().items():
                yield Observation(figures_of(cooperator)[figure], {"cooperator": name})

        return observe

    def _labelled(self, labels: Labels, figure: int) -> Iterator[Observation]:
        for name, cooperator in self._watch.cooperators().items():
            for text, figures in labels.count(cooperator).items():
                yield Observation(figures[figure], {"cooperator": name, "label": text})
