"""Show Prometheus what the Cooperators of a loop do, and how late the loop is.

    from cooperative_aio.prometheus import Collector

    async with Collector():  # for as long as the application lives
        ...

Needs `cooperative-aio[prometheus]`. What is exported is in the table; all of it has
the label `cooperator` but the lag, which is the loop's, and what begins with
`cooperative_aio_offload`, which has `place` in its place:

============================================== ==============================================
`cooperative_aio_tasks`                        unfinished tasks, by `state`
`cooperative_aio_ended_tasks_total`            tasks that have ended, by `state`: finished,
                                               failed, cancelled or stopped
`cooperative_aio_refused_tasks_total`          tasks that `max_tasks` has refused
`cooperative_aio_steps_total`                  steps that tasks have taken
`cooperative_aio_ticks_total`                  turns of the loop in which they were taken
`cooperative_aio_cpu_seconds_total`            seconds that they took
`cooperative_aio_collector_seconds_total`      seconds of garbage collection meanwhile
`cooperative_aio_longest_tick_seconds`         the longest turn
`cooperative_aio_longest_step_seconds`         the longest step
`cooperative_aio_recent_longest_step_seconds`  the longest step of the last minute
`cooperative_aio_task_duration_seconds`        histogram: from the making of a task to its end
`cooperative_aio_task_queued_seconds`          histogram: from its making to its first step
`cooperative_aio_labelled_tasks`               unfinished tasks, by a `label` of your own
`cooperative_aio_labelled_cpu_seconds`         seconds that these have taken
`cooperative_aio_offload_generators`           generators of places, by `state`: running, queued
`cooperative_aio_offload_ended_total`          generators of places that have ended
`cooperative_aio_offload_workers`              workers of places, by `state`: busy, idle
`cooperative_aio_offload_deaths_total`         workers that died, or were left to themselves
`cooperative_aio_offload_memory_bytes`         memory of the worker processes (on Linux)
`cooperative_aio_loop_lag_seconds`             histogram of how late callbacks are
============================================== ==============================================

An alert is made of `rate(cooperative_aio_ended_tasks_total{state="failed"}[5m])`, say. Names
and labels are cut to 200 characters. What was made before the Collector was entered is in no
histogram of tasks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import REGISTRY, CollectorRegistry
from prometheus_client.registry import Collector as BaseCollector

from cooperative_aio._cooperator import Cooperator
from cooperative_aio._history import Histogram
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

__all__ = ["Collector"]

PREFIX: Final = "cooperative_aio_"

_FIGURES: Final[
    tuple[tuple[type[CounterMetricFamily | GaugeMetricFamily], str, str, str], ...]
] = (
    (CounterMetricFamily, "refused_tasks", "refused", "Tasks that max_tasks has refused."),
    (CounterMetricFamily, "steps", "steps", "Steps taken by tasks."),
    (CounterMetricFamily, "ticks", "ticks", "Turns of the loop in which tasks were stepped."),
    (CounterMetricFamily, "cpu_seconds", "cpu_time", "Seconds that the steps of tasks took."),
    (
        CounterMetricFamily,
        "collector_seconds",
        "collector_time",
        "Seconds of garbage collection while tasks ran.",
    ),
    (GaugeMetricFamily, "longest_tick_seconds", "longest_tick", "The longest turn so far."),
    (GaugeMetricFamily, "longest_step_seconds", "longest_step", "The longest step so far."),
)
"""Kind, name, name among the statistics, and description of what has one figure each."""

_OF_PLACES: Final[dict[str, tuple[type[CounterMetricFamily | GaugeMetricFamily], str, str]]] = {
    "generators": (GaugeMetricFamily, "generators", "Generators of places by state."),
    "ended": (CounterMetricFamily, "ended", "Generators of places that have ended."),
    "workers": (GaugeMetricFamily, "workers", "Workers of places by state."),
    "deaths": (CounterMetricFamily, "deaths", "Workers that died or were left alone."),
    "memory": (GaugeMetricFamily, "memory_bytes", "Memory of the worker processes."),
}
"""The same for what a place has, which may have it by state."""


class Collector(BaseCollector):
    """A collector of a loop's figures for Prometheus' client; enter it on that loop.

        async with Collector():
            await asyncio.sleep(0)  # or: serve requests

    While it is entered it is in the registry, and measures the loop's lag.

    Args:
        cooperators: Which Cooperators to show; by default the loop's own, and all others
            that were seen to have tasks on the loop.
        registry: The registry of `prometheus_client`.
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
        registry: CollectorRegistry = REGISTRY,
        label: Callable[[CooperativeTask[Any]], str] | None = None,
        interval: float = 0.1,
        places: Iterable[object] = (),
    ) -> None:
        self._watch = Watch(cooperators, LoopLag(interval), places=places)
        self._registry = registry
        self._labels = None if label is None else Labels(label)

    async def __aenter__(self) -> Self:
        """Register the collector, and begin to measure the running loop.

        Raises:
            ValueError: The registry has these figures from another Collector already.

        Cancellation: does not suspend.
        """
        self._registry.register(self)
        await self._watch.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Unregister the collector, and stop measuring.

        Cancellation: does not suspend.
        """
        self._registry.unregister(self)
        await self._watch.__aexit__(kind, error, traceback)

    def describe(self) -> Iterator[Metric]:
        """Yield the names of the figures, so that no two Collectors have the same."""
        yield from self.collect()

    def collect(self) -> Iterator[Metric]:
        """Yield the figures of this moment; Prometheus' client calls it, in any thread."""
        cooperators = self._watch.cooperators()
        figures = {name: figures_of(one) for name, one in cooperators.items()}
        tasks = GaugeMetricFamily(
            f"{PREFIX}tasks", "Unfinished tasks by state.", labels=["cooperator", "state"]
        )
        ended = CounterMetricFamily(
            f"{PREFIX}ended_tasks", "Tasks that have ended.", labels=["cooperator", "state"]
        )
        for name, numbers in figures.items():
            for state in STATES:
                tasks.add_metric([name, state], numbers[state])
            for state in ENDS:
                ended.add_metric([name, state], numbers[state])
        yield from (tasks, ended)
        for kind, name, figure, text in _FIGURES:
            family = kind(f"{PREFIX}{name}", text, labels=["cooperator"])
            for cooperator, numbers in figures.items():
                family.add_metric([cooperator], numbers[figure])
            yield family
        yield from self._of_history(cooperators)
        if self._labels is not None:
            yield from _labelled(cooperators, self._labels)
        yield from _of_places(self._watch.places())
        lag = self._watch.lag.histogram
        yield HistogramMetricFamily(
            f"{PREFIX}loop_lag_seconds",
            "How late the callbacks of the event loop are.",
            buckets=_buckets(lag),
            sum_value=lag.sum,
        )

    def _of_history(self, cooperators: dict[str, Cooperator]) -> Iterator[Metric]:
        history, by = self._watch.history, ["cooperator"]
        longest = GaugeMetricFamily(
            f"{PREFIX}recent_longest_step_seconds",
            "The longest step of the last minute.",
            labels=by,
        )
        duration = HistogramMetricFamily(
            f"{PREFIX}task_duration_seconds", "From the making of a task to its end.", labels=by
        )
        queued = HistogramMetricFamily(
            f"{PREFIX}task_queued_seconds",
            "From the making of a task to its first step.",
            labels=by,
        )
        for name, cooperator in cooperators.items():
            longest.add_metric([name], history.longest(cooperator)[0])
            for family, histograms in (
                (duration, history.durations),
                (queued, history.queued),
            ):
                if (found := histograms.get(cooperator)) is not None:
                    family.add_metric([name], _buckets(found), found.sum)
        yield from (longest, duration, queued)


def _of_places(places: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    numbers = {name: numbers_of_place(figures) for name, figures in places.items() if figures}
    for what, (kind, name, text) in _OF_PLACES.items():
        labels = ["place", "state"] if what in {"generators", "workers"} else ["place"]
        family = kind(f"{PREFIX}offload_{name}", text, labels=labels)
        for place, figures in numbers.items():
            for state, number in figures[what].items():
                family.add_metric([place, state][: len(labels)], number)
        yield family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    return [
        ("+Inf" if bound == math.inf else str(bound), float(count))
        for bound, count in histogram.buckets()
    ]


def _labelled(cooperators: dict[str, Cooperator], labels: Labels) -> Iterator[Metric]:
    by = ["cooperator", "label"]
    tasks = GaugeMetricFamily(
        f"{PREFIX}labelled_tasks", "Unfinished tasks by label.", labels=by
    )
    cpu = GaugeMetricFamily(
        f"{PREFIX}labelled_cpu_seconds", "Seconds taken by unfinished tasks.", labels=by
    )
    for name, cooperator in cooperators.items():
        for text, (count, seconds) in labels.count(cooperator).items():
            tasks.add_metric([name, text], count)
            cpu.add_metric([name, text], seconds)
    yield from (tasks, cpu)
