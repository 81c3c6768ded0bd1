"""Generators on a Dask cluster of real processes, and what can happen to that."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading

import pytest
from offload_jobs import endless, exiting_factory, failing_with, identity, numbers, stuck

from cooperative_aio import accumulate, batches, offload
from cooperative_aio.offload._dask import RemoteGenerator
from cooperative_aio.offload._wire import dump_call, load_error, load_values

pytestmark = pytest.mark.dask
distributed = pytest.importorskip("distributed")


@contextlib.asynccontextmanager
async def own_cluster(workers=1):
    """Start a cluster that may be damaged."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL + 1)
    async with distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address=":0",
        silence_logs=logging.CRITICAL,
        asynchronous=True,
    ) as cluster:
        yield cluster


async def exhaust(source):
    async with asyncio.timeout(100):
        async for _ in batches(100, source):
            pass


async def actors(address):
    async with distributed.Client(address, asynchronous=True) as client:
        found = await client.run(lambda dask_worker: len(dask_worker.state.actors))
        return sum(found.values())


def reply(actor, order=(2, None)):
    """Ask for a batch, here; return its number, its values, and how it all ended."""
    number, data, ending = actor.next_batch(*order)
    values = load_values(data) if data else []
    return number, values, ending if ending is None else repr(load_error(ending))


def test_an_actor_makes_one_batch_after_the_other():
    actor = RemoteGenerator(dump_call(numbers, (3,), {}))
    assert reply(actor) == (0, [0, 1], None)
    assert reply(actor) == (1, [2], "None")
    assert reply(actor) == (2, [], "None")


async def test_an_actor_that_was_stopped_makes_no_more():
    actor = RemoteGenerator(dump_call(endless, (), {}))
    assert reply(actor) == (0, [0, 1], None)
    await actor.stop()
    assert reply(actor) == (1, [], None)
    assert load_error(actor.close()) is None


def test_an_actor_whose_generator_cannot_be_made_says_so():
    actor = RemoteGenerator(dump_call(exiting_factory, (), {}))
    assert reply(actor) == (0, [], "SystemExit('no reason')")


async def test_nothing_is_left_on_the_workers(cluster):
    async with offload.dask(cluster.scheduler_address) as place:
        assert place.limit == 2
        await accumulate(place.open(numbers, 10))
        source = place.open(endless)
        await source.next_batch(1)
    async with asyncio.timeout(300):
        while await actors(cluster.scheduler_address):
            await asyncio.sleep(0.05)


async def test_an_asynchronous_client_stays_open(cluster):
    async with distributed.Client(cluster.scheduler_address, asynchronous=True) as client:
        async with offload.dask(client, workers=1) as place:
            assert list(await accumulate(place.open(numbers, 3))) == [0, 1, 2]
        assert client.status == "running"


def test_a_synchronous_client_is_refused(cluster):
    with (
        distributed.Client(cluster) as client,
        pytest.raises(
            TypeError, match=r"cluster must be a Client\(asynchronous=True\), an addr"
        ),
    ):
        offload.dask(client)


def test_a_bad_number_of_workers_is_refused():
    with pytest.raises(ValueError, match="workers must be an integer of at least 1, got 0"):
        offload.dask("tcp://127.0.0.1:1", workers=0)


def test_its_absence_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"install cooperative-aio\[dask\]"):
        offload.dask("tcp://127.0.0.1:1")


async def test_lambdas_can_be_sent(cluster):
    async with offload.dask(cluster.scheduler_address) as place:
        assert list(await accumulate(place.open(lambda: (yield 5)))) == [5]


async def test_the_remote_traceback_is_visible(cluster):
    async with offload.dask(cluster.scheduler_address) as place:
        with pytest.raises(LookupError, match="deep") as raised:
            await accumulate(place.open(failing_with, "deep"))
    assert "raise LookupError(name)" in str(raised.value.__cause__)


async def test_what_cannot_be_pickled_is_named(cluster):
    logging.getLogger("distributed.protocol.pickle").setLevel(logging.CRITICAL + 1)
    async with offload.dask(cluster.scheduler_address) as place:
        with pytest.raises(TypeError, match="cannot pickle argument 1 of numbers: "):
            place.open(numbers, threading.Lock())


async def test_a_step_that_does_not_end_is_left_to_itself(caplog, tmp_path, until):
    began = tmp_path / "began"
    async with own_cluster() as cluster, offload.dask(cluster, grace=0.2) as place:
        source = place.open(stuck, 1, str(began))
        await source.next_batch(1)
        await until(began.exists)
        await source.close()
        assert place.figures().deaths == 1
    [record] = [record for record in caplog.records if record.name == "cooperative_aio"]
    assert record.getMessage() == (
        "the generator of stuck was closed but has not ended in time;"
        " its Dask worker is left to itself"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
async def test_a_killed_worker_is_an_error():
    async with own_cluster() as cluster, offload.dask(cluster) as place:
        source = place.open(identity)
        [(pid, _)] = await source.next_batch(1)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(
            offload.WorkerDied, match="was lost before the generator of identity"
        ):
            await exhaust(source)
        assert place.figures().deaths == 1


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
async def test_a_worker_that_is_killed_in_a_step_is_an_error(tmp_path, until):
    began = tmp_path / "began"
    async with own_cluster() as cluster, offload.dask(cluster) as place:
        async with distributed.Client(cluster, asynchronous=True) as client:
            [pid] = (await client.run(os.getpid)).values()
        source = place.open(stuck, 30, str(began))
        await source.next_batch(1)
        await until(began.exists)
        waiting = asyncio.create_task(source.next_batch(1))
        await asyncio.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(offload.WorkerDied, match="was lost before the generator of stuck"):
            async with asyncio.timeout(300):
                await waiting


async def test_a_cluster_that_goes_away_is_an_error(monkeypatch):
    async with contextlib.AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(own_cluster())
        place = await stack.enter_async_context(offload.dask(cluster.scheduler_address))
        source = place.open(endless)
        await source.next_batch(1)
        await cluster.close()
        with pytest.raises(
            offload.WorkerDied, match="was lost before the generator of endless"
        ):
            await exhaust(source)
        with pytest.raises(offload.WorkerDied, match="no Dask worker could run numbers"):
            await asyncio.wait_for(accumulate(place.open(numbers, 3)), 100)


@pytest.fixture
def watchful(monkeypatch):
    """Look after the workers more often."""
    monkeypatch.setattr("cooperative_aio.offload._dask.WATCH", 0.02)


async def test_an_idle_place_asks_the_scheduler_nothing(cluster, watchful):
    async with distributed.Client(cluster.scheduler_address, asynchronous=True) as client:
        asked = []
        client.who_has = asked.append
        async with offload.dask(client):
            await asyncio.sleep(0.1)
        assert asked == []


async def test_an_actor_that_is_not_at_home_any_more_is_lost(cluster, watchful, monkeypatch):
    async def nowhere(_futures):
        return {}

    async with (
        distributed.Client(cluster.scheduler_address, asynchronous=True) as client,
        offload.dask(client) as place,
    ):
        source = place.open(stuck, 0.5)
        await source.next_batch(1)
        monkeypatch.setattr(client, "who_has", nowhere)
        with pytest.raises(offload.WorkerDied, match="it has left the cluster"):
            await exhaust(source)


async def test_a_client_that_was_closed_is_an_error(cluster, watchful):
    client = await distributed.Client(cluster.scheduler_address, asynchronous=True)
    async with offload.dask(client) as place:
        source = place.open(stuck, 0.5)
        await source.next_batch(1)
        await client.close()
        with pytest.raises(offload.WorkerDied, match="was lost before the generator of stuck"):
            await exhaust(source)
        with pytest.raises(offload.WorkerDied, match="no Dask worker could run numbers"):
            await exhaust(place.open(numbers, 3))


async def test_a_scheduler_that_does_not_answer_is_an_error(cluster, watchful, monkeypatch):
    async def fail(_futures):
        raise OSError("gone")

    async with offload.dask(cluster.scheduler_address) as place:
        source = place.open(stuck, 0.5)
        await source.next_batch(1)
        monkeypatch.setattr(place._client, "who_has", fail)
        with pytest.raises(offload.WorkerDied, match=r"generator of stuck had .*gone"):
            await exhaust(source)


async def test_losing_the_scheduler_ends_who_waits_for_a_worker(watchful, monkeypatch):
    async with own_cluster(0) as cluster, offload.dask(cluster) as place:
        task = asyncio.create_task(accumulate(place.open(numbers, 3)))
        while not place._starting:
            await asyncio.sleep(0)

        async def fail(_futures):
            raise OSError("gone")

        monkeypatch.setattr(place._client, "who_has", fail)
        with pytest.raises(offload.WorkerDied, match=r"could run numbers: OSError\('gone'\)"):
            await asyncio.wait_for(task, 60)


async def test_waiting_for_a_worker_can_be_cancelled():
    async with own_cluster(0) as cluster, offload.dask(cluster) as place:
        assert place.limit == 1
        task = asyncio.create_task(accumulate(place.open(numbers, 3)))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
