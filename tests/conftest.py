"""The two loops, what a loop was told of, and how much of the large products is run."""

import asyncio
import contextlib
import gc
import os
import re
import signal
import sys
import zlib

import pytest

# A shell starts what it puts into the background with SIGINT ignored, and children inherit
# that; the tests of interrupts, and the programs that they run, want it as a terminal has it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["asyncio", "uvloop"])
def loop_factory(request):
    """Make a loop of either kind."""
    if request.param == "uvloop":
        return pytest.importorskip("uvloop").new_event_loop
    return asyncio.new_event_loop


@pytest.fixture
def reports():
    """Hold what the loop's exception handler was told: see `on_both_loops`."""
    return []


THOROUGH = bool(os.environ.get("COOPERATIVE_AIO_THOROUGH"))  # nox -s thorough
ONCE = THOROUGH or bool(os.environ.get("COOPERATIVE_AIO_ONCE"))  # on one Python of nox -s tests
LEFT_OUT = 1 if THOROUGH else 2 if ONCE else 8  # of products: all, one in two, one in eight

with contextlib.suppress(ModuleNotFoundError):  # then tests that want Hypothesis are skipped
    from hypothesis import settings

    # No deadline: a busy machine is as good as another.
    settings.register_profile(
        "this run",
        max_examples=200 // LEFT_OUT,
        deadline=None,
        derandomize=True,
        database=None,
    )
    settings.load_profile("this run")
MISSING = re.compile(
    r"^E +(?:ModuleNotFound|Import)Error: (.*(?:No module named|needs) .*)", re.MULTILINE
)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Skip a module that imports what is not installed; where all tests run, all has to be."""
    report = yield
    if report.failed and not ONCE and (found := MISSING.search(str(report.longrepr))):
        report.outcome = "skipped"
        report.longrepr = (str(collector.path), 0, f"Skipped: {found[1]}")
    return report


def pytest_collection_modifyitems(config, items):
    """Take a part of what is marked as `thinned`, and what is to run `once` if this is the run.

    The first test of each function stays; which others do depends on their names alone, so it
    is the same in every process. All of them are taken if one is named on the command line.
    """
    if THOROUGH or any("::" in argument for argument in config.args):
        return
    seen = set()
    kept, left_out = [], []
    for item in items:
        function = item.nodeid.partition("[")[0]
        thinned = item.get_closest_marker("thinned")
        is_taken = ONCE or item.get_closest_marker("once") is None
        if thinned is not None and function in seen:
            is_taken &= zlib.crc32(item.nodeid.encode()) % (thinned.args[0] * LEFT_OUT) == 0
        seen.add(function)
        (kept if is_taken else left_out).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


@pytest.fixture
def part():
    """Tell which part of its cases a test of a product takes: one in so many."""
    return LEFT_OUT


def pytest_collection_finish():
    """Let collections, of which tests make thousands, not look at all that was imported."""
    gc.collect()
    gc.freeze()


def pytest_runtest_logfinish(nodeid, known=[]):  # noqa: B006 (of one process)
    """Nor at what the tests of one module have imported and left behind."""
    module = nodeid.partition("::")[0]
    if known != [module]:
        known[:] = [module]
        pytest_collection_finish()


class Measuring:
    """Pause coverage where it costs much and finds nothing.

    That is for the products, which are long and reach what the other tests reach, and in
    the programs that tests run, but for workers and for programs beside a monitor.
    """

    def __init__(self, coverage):
        self.coverage = coverage
        self.is_on = True
        self.of_processes = os.environ.get("COVERAGE_PROCESS_CONFIG")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item):
        wanted = item.get_closest_marker("thinned") is None
        if wanted is not self.is_on:
            (self.coverage.start if wanted else self.coverage.stop)()
            self.is_on = wanted
        os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
        if self.of_processes is not None and item.path.parent.name in {"offload", "monitor"}:
            os.environ["COVERAGE_PROCESS_CONFIG"] = self.of_processes
        return (yield)


def pytest_configure(config):
    coverage = sys.modules.get("coverage")  # which is there if it measures
    if coverage is not None and (measuring := coverage.Coverage.current()) is not None:
        config.pluginmanager.register(Measuring(measuring))
