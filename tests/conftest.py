"""The two loops, what a loop was told of, and how much of the large products is run."""

import asyncio
import gc
import os
import re
import signal
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


THOROUGH = bool(os.environ.get("COOPERATIVE_AIO_THOROUGH"))
MISSING = re.compile(
    r"^E +(?:ModuleNotFound|Import)Error: (.*(?:No module named|needs) .*)", re.MULTILINE
)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Skip a module that imports what is not installed; a thorough run wants everything."""
    report = yield
    if report.failed and not THOROUGH and (found := MISSING.search(str(report.longrepr))):
        report.outcome = "skipped"
        report.longrepr = (str(collector.path), 0, f"Skipped: {found[1]}")
    return report


def pytest_collection_modifyitems(config, items):
    """Take a part of what is marked as `thinned`, and nothing of what is to run `once`.

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
        is_taken = thinned is None or function not in seen
        is_taken = is_taken or zlib.crc32(item.nodeid.encode()) % thinned.args[0] == 0
        is_taken = is_taken and item.get_closest_marker("once") is None
        seen.add(function)
        (kept if is_taken else left_out).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def pytest_collection_finish():
    """Let collections, of which tests make thousands, not look at all that was imported."""
    gc.collect()
    gc.freeze()
