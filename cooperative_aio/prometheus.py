"""Show Prometheus what the Cooperators of a loop do, and how late the loop is.

    from cooperative_aio.prometheus import Collector

    async with Collector():  # for as long as the application lives
        ...

Needs `cooperative-aio[prometheus]`. What is exported is in the table; all of it has
the label `cooperator` but the lag, which is the loop's:

======================================== ==============================================
`cooperative_aio_tasks`                  unfinished tasks, by `state`
`cooperative_aio_steps_total`            steps that tasks have taken
`cooperative_aio_ticks_total`            turns of the loop in which they were taken
`cooperative_aio_cpu_seconds_total`      seconds that they took
`cooperative_aio_longest_tick_seconds`   the longest turn
`cooperative_aio_longest_step_seconds`   the longest step
`cooperative_aio_labelled_tasks`         unfinished tasks, by a `label` of your own
`cooperative_aio_labelled_cpu_seconds`   seconds that these have taken
`cooperative_aio_loop_lag_seconds`       histogram of how late callbacks are
======================================== ==============================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import REGISTRY, CollectorRegistry
from prometheus_client.registry import Collector as BaseCollector

from cooperative_aio._cooperator import Cooperator
from cooperative_aio._task import CooperativeTask
from cooperative_aio._watch import STATES, LoopLag, Watch, labelled

__all__ = ["Collector"]

PREFIX = "cooperative_aio_"


class Collector(BaseCollector):
    """Collect the figures of a loop when Prometheus asks; to be entered on that loop.

    It is in the registry, and measures the loop's lag, between entering and leaving.

    Args:
        cooperators: Which Cooperators to show; by default the loop's own, and all others
            that were seen to have tasks on the loop.
        registry: Where to register.
        label: Says for a task what it counts as, such as the name of a kind of job; there
            should be few such labels. By default tasks are not told apart.
        interval: Seconds between two measurements of the lag.

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
    ) -> None:
        self._watch = Watch(cooperators, LoopLag(interval))
        self._registry = registry
        self._label = label

    async def __aenter__(self) -> Self:
        """Register, and begin to measure the running loop.

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
        """Unregister, and measure no more.

        Cancellation: does not suspend.
        """
        self._registry.unregister(self)
        await self._watch.__aexit__(kind, error, traceback)

    def describe(self) -> Iterator[Metric]:
        """Yield the names of the figures, so that no two Collectors have the same."""
        yield from self.collect()

    def collect(self) -> Iterator[Metric]:
        """Yield the figures as of now; what Prometheus' client calls, in any thread."""
        cooperators = self._watch.cooperators()
        by = ["cooperator"]
        tasks = GaugeMetricFamily(
            f"{PREFIX}tasks", "Unfinished tasks by state.", labels=[*by, "state"]
        )
        steps = CounterMetricFamily(f"{PREFIX}steps", "Steps taken by tasks.", labels=by)
        ticks = CounterMetricFamily(
            f"{PREFIX}ticks", "Turns of the loop in which tasks were stepped.", labels=by
        )
        cpu = CounterMetricFamily(
            f"{PREFIX}cpu_seconds", "Seconds that the steps of tasks took.", labels=by
        )
        longest_tick = GaugeMetricFamily(
            f"{PREFIX}longest_tick_seconds", "The longest turn so far.", labels=by
        )
        longest_step = GaugeMetricFamily(
            f"{PREFIX}longest_step_seconds", "The longest step so far.", labels=by
        )
        for name, cooperator in cooperators.items():
            figures = cooperator.statistics()
            for state in STATES:
                tasks.add_metric([name, state], getattr(figures, state))
            steps.add_metric([name], figures.steps)
            ticks.add_metric([name], figures.ticks)
            cpu.add_metric([name], figures.cpu_time)
            longest_tick.add_metric([name], figures.longest_tick)
            longest_step.add_metric([name], figures.longest_step)
        yield from (tasks, steps, ticks, cpu, longest_tick, longest_step)
        if self._label is not None:
            yield from _labelled(cooperators, self._label)
        lag = self._watch.lag
        buckets = [
            ("+Inf" if bound == float("inf") else str(bound), float(count))
            for bound, count in lag.buckets()
        ]
        yield HistogramMetricFamily(
            f"{PREFIX}loop_lag_seconds",
            "How late the callbacks of the event loop are.",
            buckets=buckets,
            sum_value=lag.sum,
        )


def _labelled(
    cooperators: dict[str, Cooperator], label: Callable[[CooperativeTask[Any]], str]
) -> Iterator[Metric]:
    by = ["cooperator", "label"]
    tasks = GaugeMetricFamily(
        f"{PREFIX}labelled_tasks", "Unfinished tasks by label.", labels=by
    )
    cpu = GaugeMetricFamily(
        f"{PREFIX}labelled_cpu_seconds", "Seconds taken by unfinished tasks.", labels=by
    )
    for name, cooperator in cooperators.items():
        for text, (count, seconds) in labelled(cooperator, label).items():
            tasks.add_metric([name, text], count)
            cpu.add_metric([name, text], seconds)
    yield from (tasks, cpu)
