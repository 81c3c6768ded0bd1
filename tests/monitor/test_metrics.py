"""Figures carried to Prometheus and to OpenTelemetry, by their real libraries."""

import asyncio
import dataclasses
import math
import reprlib
import time
import urllib.request

import pytest

from cooperative_aio import Cooperator, SchedulerFull, cooperate, get_cooperator
from cooperative_aio._watch import LoopLag, Watch

prometheus_client = pytest.importorskip("prometheus_client")
export = pytest.importorskip("opentelemetry.sdk.metrics.export")
sdk = pytest.importorskip("opentelemetry.sdk.metrics")

from cooperative_aio.opentelemetry import Instruments  # noqa: E402
from cooperative_aio.prometheus import Collector  # noqa: E402


def endless(step=None):
    while True:
        if step is not None:
            step()
        yield


def wait(future):
    yield future


def counted(steps):
    for _ in range(steps):
        yield


def kind_of(task):
    return task.name.split()[0]


@pytest.fixture
async def workshop():
    cooperator = Cooperator(name="workshop")
    cooperator.cooperate(endless(), name="search 1")
    cooperator.cooperate(endless(), name="search 2")
    cooperator.cooperate(endless(), name="paused").pause()
    cooperator.cooperate(wait(asyncio.get_running_loop().create_future()), name="wait")
    while not all(task.steps for task in cooperator.tasks if not task.paused):
        await asyncio.sleep(0.01)
    yield cooperator
    cooperator.stop()


# Prometheus


async def scrape(registry):
    """Ask a real exporter, which answers from a thread of its own."""
    server, thread = prometheus_client.start_http_server(0, "127.0.0.1", registry)
    try:
        address = f"http://127.0.0.1:{server.server_port}/metrics"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(address).read().decode())
    finally:
        server.shutdown()
        server.server_close()
        await asyncio.to_thread(thread.join)
    families = prometheus_client.parser.text_string_to_metric_families(text)
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


async def test_prometheus_scrapes_what_cooperators_do(workshop):
    import prometheus_client.parser  # noqa: PLC0415

    registry = prometheus_client.CollectorRegistry()
    async with Collector(registry=registry, interval=0.01):
        await asyncio.sleep(0.1)
        found = await scrape(registry)
    assert found["cooperative_aio_tasks", "workshop", "ready"] == 2
    assert found["cooperative_aio_tasks", "workshop", "paused"] == 1
    assert found["cooperative_aio_tasks", "workshop", "waiting"] == 1
    assert 0 < found["cooperative_aio_steps_total", "workshop"] <= workshop.statistics().steps
    assert found["cooperative_aio_ticks_total", "workshop"] > 0
    assert 0 < found["cooperative_aio_cpu_seconds_total", "workshop"] < 60
    assert found["cooperative_aio_longest_step_seconds", "workshop"] > 0
    assert found["cooperative_aio_longest_tick_seconds", "workshop"] > 0
    lags = [value for key, value in found.items() if key[0].endswith("lag_seconds_bucket")]
    assert lags == sorted(lags)
    assert lags[-1] == found["cooperative_aio_loop_lag_seconds_count",] > 0
    assert found["cooperative_aio_loop_lag_seconds_sum",] > 0
    assert not any("labelled" in key[0] for key in found)
    assert list(registry.collect()) == []  # unregistered


async def test_prometheus_counts_tasks_by_a_label_of_the_users(workshop):
    registry = prometheus_client.CollectorRegistry()
    async with Collector(workshop, registry=registry, label=kind_of):
        by = {"cooperator": "workshop", "label": "search"}
        assert registry.get_sample_value("cooperative_aio_labelled_tasks", by) == 2
        assert registry.get_sample_value("cooperative_aio_labelled_cpu_seconds", by) > 0


async def test_two_collectors_do_not_fit_in_one_registry():
    registry = prometheus_client.CollectorRegistry()
    async with Collector(registry=registry):
        with pytest.raises(ValueError, match="Duplicated timeseries"):
            await Collector(registry=registry).__aenter__()
    async with Collector(registry=registry):
        assert list(registry.collect())


# OpenTelemetry


def read(reader):
    found = {}
    for resource in reader.get_metrics_data().resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    key = (metric.name, *point.attributes.values())
                    found[key] = point.value if hasattr(point, "value") else point
    return found


async def test_opentelemetry_observes_what_cooperators_do(workshop):
    reader = export.InMemoryMetricReader()
    provider = sdk.MeterProvider([reader])
    meter = provider.get_meter("test")
    async with Instruments(meter=meter, label=kind_of, interval=0.01):
        await asyncio.sleep(0.1)
        found = read(reader)
    assert found["cooperative_aio.tasks", "workshop", "ready"] == 2
    assert found["cooperative_aio.tasks", "workshop", "paused"] == 1
    assert found["cooperative_aio.tasks", "workshop", "waiting"] == 1
    assert found["cooperative_aio.steps", "workshop"] > 0
    assert found["cooperative_aio.ticks", "workshop"] > 0
    assert found["cooperative_aio.cpu_time", "workshop"] > 0
    assert found["cooperative_aio.longest_step", "workshop"] > 0
    assert found["cooperative_aio.longest_tick", "workshop"] > 0
    assert found["cooperative_aio.labelled.tasks", "workshop", "search"] == 2
    assert found["cooperative_aio.labelled.cpu_time", "workshop", "search"] > 0
    lag = found["cooperative_aio.loop.lag",]
    assert lag.count > 0
    assert tuple(lag.explicit_bounds) == LoopLag.BOUNDS
    provider.shutdown()


async def test_opentelemetry_observes_nothing_afterwards(workshop):
    reader = export.InMemoryMetricReader()
    provider = sdk.MeterProvider([reader])
    async with Instruments(workshop, meter=provider.get_meter("test")):
        pass
    assert reader.get_metrics_data() is None or read(reader) == {}
    provider.shutdown()


async def test_opentelemetry_takes_the_global_meter():
    async with Instruments():  # of the API alone, which measures nothing
        await asyncio.sleep(0)


# What is watched


async def test_the_loops_own_cooperator_is_watched_also_when_idle():
    await cooperate(counted(10))
    async with Watch((), LoopLag()) as watch:
        assert watch.cooperators() == {"loop": get_cooperator()}


async def test_a_cooperator_that_was_seen_is_watched_when_idle():
    cooperator = Cooperator(name="busy for a while")
    task = cooperator.cooperate(counted(10))
    async with Watch((), LoopLag()) as watch:
        assert watch.cooperators() == {"busy for a while": cooperator}
        await task
        assert watch.cooperators() == {"busy for a while": cooperator}
        del cooperator, task
        assert len(watch.cooperators()) <= 1


async def test_cooperators_of_one_name_are_told_apart():
    several = [Cooperator(name="one name") for _ in range(3)]
    async with Watch(tuple(several), LoopLag()) as watch:
        names = ["one name", "one name-2", "one name-3"]
        assert watch.cooperators() == dict(zip(names, several, strict=True))


async def test_nothing_is_watched_before_and_after():
    watch = Watch((get_cooperator(),), LoopLag())
    assert watch.cooperators() == {}
    async with watch:
        assert watch.cooperators()
    assert watch.cooperators() == {}


def test_only_cooperators_are_watched():
    with pytest.raises(TypeError, match=r"cooperators must be Cooperators, got 'workshop'"):
        Watch(("workshop",), LoopLag())


async def test_a_strange_guest_at_the_shutdown_is_no_cooperator():
    from cooperative_aio._loop import state_of  # noqa: PLC0415

    pacer = state_of(asyncio.get_running_loop())
    pacer.on_shutdown.add(print)
    async with Watch((), LoopLag()) as watch:
        assert watch.cooperators() == {}
    pacer.on_shutdown.discard(print)


# Lag


async def test_the_lag_is_how_long_the_loop_was_held():
    measured = []
    lag = LoopLag(0.02, record=measured.append)
    lag.start()
    time.sleep(0.15)  # noqa: ASYNC251
    await asyncio.sleep(0.05)
    lag.stop()
    assert max(measured) > 0.1
    assert [late for _, late in lag.samples] == measured
    assert lag.histogram.sum == pytest.approx(sum(measured))
    assert lag.histogram.buckets()[-1] == (math.inf, len(measured))
    before = len(measured)
    await asyncio.sleep(0.05)
    assert len(measured) == before


async def test_what_is_remembered_of_the_lag_is_bounded():
    lag = LoopLag(0.001, history=3)
    lag.start()
    lag.start()  # once more does no harm
    while lag.histogram.buckets()[-1][1] < 6:
        await asyncio.sleep(0.001)
    lag.stop()
    lag.stop()
    assert len(lag.samples) == 3


@pytest.mark.parametrize("interval", [0, -1, math.inf, math.nan])
def test_the_interval_is_a_finite_number_above_zero(interval):
    with pytest.raises(ValueError, match="interval must be a finite number above 0"):
        LoopLag(interval)


def test_measuring_needs_a_loop():
    with pytest.raises(RuntimeError, match="no running event loop"):
        LoopLag().start()


# What users name is not to blank the rest

SURROGATE = "caf\udce9"


def refuse_to_label(task):
    raise LookupError(f"no label for {task.name}")


class Unprintable:
    def __repr__(self):
        raise RuntimeError("unprintable")


UNPRINTABLE = Unprintable()


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        (lambda _: SURROGATE, "caf\\udce9"),
        (lambda _: "long " * 100_000, ("long " * 100)[:199] + "\N{HORIZONTAL ELLIPSIS}"),
        (lambda _: 'a "quote"\n\\', 'a "quote"\n\\'),
        (refuse_to_label, "(no label)"),
        (lambda _: None, "(no label)"),
        (lambda _: 5, "(no label)"),
        (lambda _: Unprintable(), "(no label)"),
    ],
    ids=["surrogate", "long", "quote", "raises", "None", "number", "unprintable"],
)
async def test_a_strange_label_blanks_nothing(workshop, label, shown):
    import prometheus_client.parser  # noqa: PLC0415

    registry = prometheus_client.CollectorRegistry()
    prometheus_client.Gauge("other", "Of another library.", registry=registry).set(7)
    async with Collector(registry=registry, label=label):
        found = await scrape(registry)
    assert found["other",] == 7
    assert found["cooperative_aio_labelled_tasks", "workshop", shown] == 4
    reader = export.InMemoryMetricReader()
    provider = sdk.MeterProvider([reader])
    async with Instruments(meter=provider.get_meter("test"), label=label):
        found = read(reader)
    assert found["cooperative_aio.labelled.tasks", "workshop", shown] == 4
    provider.shutdown()


@pytest.mark.parametrize(
    ("label", "warning"),
    [
        (refuse_to_label, "label has raised LookupError: no label for search 1; its tasks"),
        (lambda _: None, "label must return a string, got None; its tasks are counted"),
    ],
)
async def test_a_label_that_does_not_work_is_told_of_once(workshop, label, warning, caplog):
    registry = prometheus_client.CollectorRegistry()
    async with Collector(registry=registry, label=label):
        for _ in range(3):
            list(registry.collect())
    [record] = [one for one in caplog.records if one.getMessage().startswith("label ")]
    assert (record.name, record.levelname) == ("cooperative_aio", "WARNING")
    assert record.getMessage().startswith(warning)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (SURROGATE, "caf\\udce9"),
        ("x" * 10**6, "x" * 199 + "\N{HORIZONTAL ELLIPSIS}"),
        (5, "5"),
        (UNPRINTABLE, reprlib.repr(UNPRINTABLE)),
    ],
    ids=["surrogate", "long", "number", "unprintable"],
)
async def test_a_strange_name_of_a_cooperator_blanks_nothing(workshop, name, shown):
    import prometheus_client.parser  # noqa: PLC0415

    cooperators = [Cooperator(name=name) for _ in range(2)]
    tasks = [cooperator.cooperate(counted(3)) for cooperator in cooperators]
    for task in tasks:
        task.pause()
    registry = prometheus_client.CollectorRegistry()
    async with Collector(registry=registry):
        found = await scrape(registry)
    assert found["cooperative_aio_tasks", "workshop", "paused"] == 1
    assert found["cooperative_aio_tasks", shown, "paused"] == 1
    assert found["cooperative_aio_tasks", f"{shown}-2", "paused"] == 1
    for task in tasks:
        task.stop()


# What operators miss


class Collecting(Cooperator):
    """A Cooperator whose tasks have spent half a second in the garbage collector."""

    def statistics(self):
        return dataclasses.replace(super().statistics(), collector_time=0.5)


ENDED = {"finished": 1, "failed": 2, "cancelled": 3, "stopped": 4}


async def end_all_kinds(cooperator):
    """End 1, 2, 3 and 4 tasks in the four ways, and have 5 refused."""

    def failing():
        yield
        raise LookupError

    add = cooperator.cooperate
    cancelled = [add(endless()) for _ in range(3)]
    stopped = [add(endless()) for _ in range(4)]
    tasks = [add(counted(1)), add(failing()), add(failing()), *cancelled, *stopped]
    for _ in range(5):
        with pytest.raises(SchedulerFull):
            add(endless())
    for task in cancelled:
        task.cancel()
    for task in stopped:
        task.stop()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_has_ended_is_counted_for_alerts():
    import prometheus_client.parser  # noqa: PLC0415

    cooperator = Collecting(name="counting", max_tasks=10)
    await end_all_kinds(cooperator)
    registry = prometheus_client.CollectorRegistry()
    async with Collector(cooperator, registry=registry):
        found = await scrape(registry)
    for state, number in ENDED.items():
        assert found["cooperative_aio_ended_tasks_total", "counting", state] == number
    assert found["cooperative_aio_refused_tasks_total", "counting"] == 5
    assert found["cooperative_aio_collector_seconds_total", "counting"] == 0.5
    reader = export.InMemoryMetricReader()
    provider = sdk.MeterProvider([reader])
    async with Instruments(cooperator, meter=provider.get_meter("test")):
        found = read(reader)
    for state, number in ENDED.items():
        assert found["cooperative_aio.ended_tasks", "counting", state] == number
    assert found["cooperative_aio.refused_tasks", "counting"] == 5
    assert found["cooperative_aio.collector_time", "counting"] == 0.5
    assert found["cooperative_aio.recent_longest_step", "counting"] == 0
    provider.shutdown()


async def test_durations_and_times_in_the_queue_are_histograms():
    import prometheus_client.parser  # noqa: PLC0415

    cooperator = Cooperator(name="short tasks")
    registry = prometheus_client.CollectorRegistry()
    async with Collector(cooperator, registry=registry):
        await asyncio.gather(*(cooperator.cooperate(counted(3)) for _ in range(5)))
        never = cooperator.cooperate(counted(3))
        never.stop()
        found = await scrape(registry)
    reader = export.InMemoryMetricReader()
    provider = sdk.MeterProvider([reader])
    async with Instruments(cooperator, meter=provider.get_meter("test")):
        await asyncio.gather(*(cooperator.cooperate(counted(3)) for _ in range(5)))
        await Cooperator(name="not asked for").cooperate(counted(3))
        observed = read(reader)
    assert observed["cooperative_aio.task.duration", "short tasks"].count == 5
    assert observed["cooperative_aio.task.queued", "short tasks"].count == 5
    assert ("cooperative_aio.task.queued", "not asked for") not in observed
    provider.shutdown()
    assert found["cooperative_aio_task_duration_seconds_count", "short tasks"] == 6
    assert found["cooperative_aio_task_queued_seconds_count", "short tasks"] == 5
    assert found["cooperative_aio_task_duration_seconds_bucket", "short tasks", "300.0"] == 6
    assert found["cooperative_aio_recent_longest_step_seconds", "short tasks"] > 0
    await asyncio.gather(never, return_exceptions=True)
