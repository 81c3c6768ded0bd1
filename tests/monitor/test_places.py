"""Places to offload to: on the page, and in the metrics, by their real libraries."""

import asyncio

import pytest

from cooperative_aio import accumulate, offload
from cooperative_aio._watch import LoopLag, Watch
from cooperative_aio.monitor._snapshot import describe_place

prometheus_client = pytest.importorskip("prometheus_client")
export = pytest.importorskip("opentelemetry.sdk.metrics.export")
sdk = pytest.importorskip("opentelemetry.sdk.metrics")

from cooperative_aio.opentelemetry import Instruments  # noqa: E402
from cooperative_aio.prometheus import Collector  # noqa: E402

FIGURES = {
    "name": "here",
    "limit": 4,
    "running": 2,
    "queued": 3,
    "ended": 7,
    "deaths": 1,
    "workers": ({"pid": 12, "busy": True, "memory": 1 << 20},),
}


class Place:
    name = "four\udce9"

    def figures(self):
        workers = (offload.WorkerFigures(**one) for one in FIGURES["workers"])
        return offload.PlaceFigures(**{**FIGURES, "workers": tuple(workers)})


class Wrong:
    def figures(self):
        return {"running": 1}


class Failing:
    def figures(self):
        raise ValueError("no figures today")


class Unnameable(Failing):
    @property
    def name(self):
        raise OSError("\udce9" * 1000)


def test_what_a_place_does_not_tell_is_unknown():
    nothing = dict.fromkeys(["limit", "running", "queued", "ended", "deaths"])
    assert describe_place("four", {}) == {**nothing, "name": "four", "workers": ()}
    assert describe_place("four", FIGURES) == {**FIGURES, "name": "four"}


async def test_places_are_named_and_those_that_tell_nothing_have_no_figures(caplog):
    places = [Place(), Place(), object(), Failing(), Failing(), Unnameable()]
    watch = Watch((), LoopLag(), places=places)
    assert watch.places() == {}  # it is not entered
    async with watch:
        assert watch.places() == {
            "four\\udce9": FIGURES,
            "four\\udce9-2": FIGURES,
            "object": {},
            "Failing": {},
            "Failing-2": {},
            "Unnameable": {},
        }
    assert caplog.messages == [
        "the figures of place Failing failed: ValueError: no figures today"
    ]


async def test_figures_of_another_kind_are_not_shown(caplog):
    async with Watch((), LoopLag(), places=[Wrong()]) as watch:
        assert watch.places() == {"Wrong": {}}
    [message] = caplog.messages
    wanted = "TypeError: figures() must return PlaceFigures, got {'running': 1}"
    assert message == f"the figures of place Wrong failed: {wanted}"


async def test_what_a_place_has_raised_is_logged_legibly(caplog):
    async with Watch((), LoopLag(), places=[Unnameable()]) as watch:
        watch.places()
    [message] = caplog.messages
    assert message.startswith("the figures of place Unnameable failed: OSError: \\udce9")
    assert len(message) < 600


async def test_places_are_found_while_they_are_entered_on_the_loop():
    async with Watch((), LoopLag()) as watch, offload.threads(3) as place:
        async with offload.threads(3):
            assert list(watch.places()) == ["threads(3)", "threads(3)-2"]
        await accumulate(place.open(range, 3))
        [(name, figures)] = watch.places().items()
        assert describe_place(name, figures) == {
            "name": "threads(3)",
            "limit": 3,
            "running": 0,
            "queued": 0,
            "ended": 1,
            "deaths": 0,
            "workers": (),
        }
    assert watch.places() == {}


async def test_places_of_other_loops_are_not_shown():
    async def elsewhere(watch):
        async with offload.threads(1):
            return watch.places()

    async with Watch((), LoopLag()) as watch:
        assert await asyncio.to_thread(asyncio.run, elsewhere(watch)) == {}


METRICS = {
    ("generators", "running"): 2,
    ("generators", "queued"): 3,
    ("ended",): 7,
    ("workers", "busy"): 1,
    ("workers", "idle"): 0,
    ("deaths",): 1,
    ("memory",): 1 << 20,
}


async def test_prometheus_has_the_numbers_of_places_and_of_none_that_tells_none():
    registry = prometheus_client.CollectorRegistry()
    async with Collector(registry=registry, places=[Place(), Failing(), object()]):
        text = prometheus_client.generate_latest(registry).decode()
    lines = [line.rpartition(" ") for line in text.splitlines()]
    found = {what: float(value) for what, _, value in lines if "aio_offload_" in what[:30]}
    place = 'place="four\\\\udce9"'
    names = {"ended": "ended_total", "deaths": "deaths_total", "memory": "memory_bytes"}
    assert found == {
        f"cooperative_aio_offload_{names.get(what, what)}{{{place}"
        + "".join(f',state="{one}"' for one in state)
        + "}": value
        for (what, *state), value in METRICS.items()
    }


async def test_opentelemetry_has_the_numbers_of_places_and_of_none_that_tells_none():
    reader = export.InMemoryMetricReader()
    meter = sdk.MeterProvider([reader]).get_meter("test")
    async with Instruments(meter=meter, places=[Place(), Failing(), object()]):
        [resource] = reader.get_metrics_data().resource_metrics
    found = {
        (metric.name.rpartition(".")[2], *list(point.attributes.values())[1:]): point.value
        for metric in resource.scope_metrics[0].metrics
        if ".offload." in metric.name
        for point in metric.data.data_points
        if point.attributes["place"] == "four\\udce9"
    }
    assert found == METRICS


async def test_metrics_find_the_places_that_are_entered():
    registry = prometheus_client.CollectorRegistry()
    async with Collector(registry=registry), offload.threads(2) as place:
        await accumulate(place.open(range, 3))
        by = {"place": "threads(2)"}
        assert registry.get_sample_value("cooperative_aio_offload_ended_total", by) == 1
