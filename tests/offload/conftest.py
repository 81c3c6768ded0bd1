"""Fixtures: the places, and what is left of them."""

import asyncio
import contextlib
import gc
import logging
import multiprocessing
import threading
import warnings

import pytest

from cooperative_aio import offload

POOLS = "asyncio", "Tornado", "IO loop", "Profile", "TCP-Executor", "Dask"  # threads that stay


def pytest_configure(config):
    config.addinivalue_line("markers", "dask: needs a Dask cluster of processes, which is slow")


@pytest.fixture(autouse=True)
def nothing_is_left(request):
    """Check that a test leaves no process, and no thread but those that go by themselves."""
    if "dask" in request.keywords:  # it has its cluster for longer than one test
        request.getfixturevalue("cluster")
    before = set(threading.enumerate())
    processes = set(multiprocessing.active_children())
    yield
    assert set(multiprocessing.active_children()) - processes == set()
    left = [
        thread
        for thread in threading.enumerate()
        if thread not in before and not thread.name.startswith(("AnyIO", *POOLS))
    ]
    for thread in left:
        thread.join(60)
        assert not thread.is_alive(), thread


@contextlib.contextmanager
def forgiving():
    """Collect what distributed has not closed, in silence (sockets of its listeners)."""
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


@pytest.fixture(autouse=True)
def quiet_dask(request):
    """Let tests with Dask be told of what this package leaves open, but not distributed."""
    with forgiving() if "dask" in request.keywords else contextlib.nullcontext():
        yield


@pytest.fixture
def until():
    """Wait until something is the case."""

    async def wait(condition):
        async with asyncio.timeout(100):
            while not condition():
                await asyncio.sleep(0.005)

    return wait


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes under a scheduler of this process, for all tests of a module."""
    distributed = pytest.importorskip("distributed")
    with (
        forgiving(),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        gc.freeze()  # so that collecting after each test need not look at all of distributed
        yield cluster
        gc.unfreeze()


@pytest.fixture(params=["threads", "processes", pytest.param("dask", marks=pytest.mark.dask)])
def make_place(request):
    """Make a place of each kind, with room for two."""
    if request.param == "threads":
        return lambda **options: offload.threads(2, **options)
    if request.param == "processes":
        return lambda **options: offload.processes(2, **options)
    cluster = request.getfixturevalue("cluster")
    return lambda **options: offload.dask(cluster.scheduler_address, workers=2, **options)


@pytest.fixture
def no_threads(monkeypatch):
    """Let no thread start within its context, as in a container at its limit."""

    @contextlib.contextmanager
    def at_the_limit():
        def start(_thread):
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            yield

    return at_the_limit
