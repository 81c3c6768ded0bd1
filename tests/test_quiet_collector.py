"""The garbage collector out of the loop's way: when it collects, and what is put back."""

import asyncio
import gc
import sys
import time
from types import SimpleNamespace

import pytest

from cooperative_aio import quiet_collector
from cooperative_aio._quiet_collector import (
    INCREMENTAL,
    OVERDUE,
    QUIET,
    RETRY,
    THRESHOLDS,
    TURNS,
    QuietCollector,
)
from cooperative_aio.testing import VirtualLoop


class FakeCollector:
    """Stand-in for `gc`, with a memory that a test fills."""

    def __init__(self, *, frozen=0, third=10):
        self.callbacks = []
        self.log = []
        self.blocks = 1000
        self.garbage = 0
        self.immortal = 0  # CPython 3.12 counts them as frozen
        self.visible = [sys.modules]  # to the collector
        self._thresholds = (700, 10, third)
        self._frozen = frozen

    def get_threshold(self):
        return self._thresholds

    def set_threshold(self, *thresholds):
        self._thresholds = thresholds
        self.log.append(thresholds)

    def get_freeze_count(self):
        return self._frozen + self.immortal

    def get_objects(self):
        return self.visible

    def freeze(self):
        self._frozen += 500
        self.visible = []
        self.log.append("freeze")

    def unfreeze(self):
        self._frozen = self.immortal = 0
        self.log.append("unfreeze")

    def collect(self, generation=2):
        for each in list(self.callbacks):
            each("start", {"generation": generation})
        if generation == 2:
            self.log.append("collect")
            self.blocks -= self.garbage
            self.garbage = 0
        for each in list(self.callbacks):
            each("stop", {"generation": generation})

    def grow(self, blocks, garbage=0):
        """Have more in use, which the collector happens to run after."""
        self.blocks += blocks
        self.garbage += garbage
        self.log.clear()
        self.collect(0)


class FakeClock:
    """Clock that goes on by `step` at each look."""

    def __init__(self):
        self.now = 0.0
        self.step = 0.0

    def __call__(self):
        self.now += self.step
        return self.now


@pytest.fixture
def collector():
    return FakeCollector()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def quiet(collector, clock):
    return QuietCollector(
        *(100, 1000),
        collector=collector,
        blocks=lambda: collector.blocks,
        clock=clock,
        incremental=False,
    )


@pytest.fixture
def run(loop_factory):
    """Run a coroutine function to its end, on a loop of either kind."""

    def run(function):
        with asyncio.Runner(loop_factory=loop_factory, debug=True) as runner:
            runner.run(function())

    return run


@pytest.fixture
def run_virtually():
    """Run a coroutine function to its end, on virtual time."""

    def run(function):
        with asyncio.Runner(loop_factory=VirtualLoop, debug=True) as runner:
            runner.run(function())

    return run


async def turns(count=TURNS + 2):
    for _ in range(count):
        await asyncio.sleep(0)


def test_it_freezes_sets_thresholds_and_puts_everything_back(run, quiet, collector):
    async def main():
        with quiet as entered:
            assert entered is quiet
            assert collector.log == ["collect", "freeze", THRESHOLDS]
            assert len(collector.callbacks) == 1
            collector.log.clear()

    run(main)
    assert collector.log == [(700, 10, 10), "unfreeze"]
    assert collector.callbacks == []


def test_what_was_frozen_before_stays_frozen(run, quiet, collector):
    collector._frozen = 1
    collector.visible = [[]]

    async def main():
        with quiet:
            pass

    run(main)
    assert collector.get_freeze_count() == 501
    assert "unfreeze" not in collector.log


def test_what_others_have_frozen_meanwhile_stays_frozen(run, quiet, collector):
    async def main():
        with quiet:
            collector.freeze()

    run(main)
    assert collector.get_freeze_count() == 1000


def test_what_the_collector_counts_as_frozen_by_itself_is_none(run, quiet, collector):
    collector.immortal = 12

    async def main():
        with quiet:
            collector.visible = [quiet._newer]
            collector.immortal += 3

    run(main)
    assert collector.log[-1] == "unfreeze"


def test_thresholds_that_others_have_set_meanwhile_stay(run, quiet, collector):
    async def main():
        with quiet:
            collector.set_threshold(1, 2, 3)

    run(main)
    assert collector.get_threshold() == (1, 2, 3)


def test_an_error_in_the_context_puts_everything_back(run, quiet, collector):
    async def main():
        with pytest.raises(KeyError), quiet:
            raise KeyError

    run(main)
    assert collector.get_threshold() == (700, 10, 10)
    assert collector.callbacks == []


def test_little_growth_is_left_alone(run, quiet, collector):
    async def main():
        with quiet:
            collector.grow(100)
            await turns()
            assert collector.log == []

    run(main)


def test_growth_is_collected_when_the_loop_is_quiet(run, quiet, collector):
    async def main():
        with quiet:
            collector.grow(101, garbage=90)
            await turns(TURNS)
            assert collector.log == []
            await turns(2)
            assert collector.log == ["collect"]
            collector.grow(100)  # what counts is what was left of it
            await turns()
            assert collector.log == []
            collector.grow(1)
            await turns()
            assert collector.log == ["collect"]

    run(main)


def test_growth_that_has_gone_by_itself_is_not_collected(run, quiet, collector):
    async def main():
        with quiet:
            collector.grow(101)
            collector.blocks -= 50
            await turns()
            assert collector.log == []
            collector.grow(51)
            await turns()
            assert collector.log == ["collect"]

    run(main)


def test_a_busy_loop_is_looked_at_again_until_it_is_quiet(
    run_virtually, quiet, collector, clock
):
    async def main():
        with quiet:
            clock.step = 2 * QUIET
            collector.grow(101)
            for _ in range(10):
                await asyncio.sleep(RETRY)
                collector.grow(1)
            await turns()
            assert collector.log == []
            clock.step = QUIET / 2
            await asyncio.sleep(RETRY)
            await turns()
            assert collector.log == ["collect"]

    run_virtually(main)


@pytest.mark.parametrize("grown", [1001, 1500])
def test_a_loop_that_is_never_quiet_is_collected_at_a_bound(
    run_virtually, quiet, collector, clock, grown
):
    async def main():
        with quiet:
            clock.step = 2 * QUIET
            collector.grow(1000)
            await turns(3)
            assert collector.log == []
            collector.grow(grown - 1000)
            await asyncio.sleep(2 * RETRY)
            assert collector.log == ["collect"]

    run_virtually(main)


def test_the_bound_is_in_proportion_to_what_is_not_frozen(
    run_virtually, quiet, collector, clock
):
    collector.blocks = 100_000  # they are frozen, and do not count

    async def main():
        with quiet:
            clock.step = 2 * QUIET
            collector.grow(1900)
            await asyncio.sleep(2 * RETRY)
            assert collector.log == ["collect"]
            collector.grow(1900)
            await asyncio.sleep(2 * RETRY)
            assert collector.log == []
            collector.grow(1)
            await asyncio.sleep(2 * RETRY)
            assert collector.log == ["collect"]

    run_virtually(main)


def test_what_is_freed_by_itself_lets_the_next_growth_count_from_there(run, quiet, collector):
    async def main():
        with quiet:
            collector.grow(900)
            await turns()
            assert collector.log == ["collect"]
            collector.grow(-900)
            await turns()
            assert collector.log == []
            collector.grow(101)
            await turns()
            assert collector.log == ["collect"]

    run(main)


def test_where_the_loop_does_not_turn_the_collector_does_it_itself(run, quiet, collector):
    async def main():
        with quiet:
            collector.grow(2001)
            assert collector.get_threshold() == OVERDUE
            collector.collect()  # as it does by itself then
            assert collector.get_threshold() == THRESHOLDS
            collector.log.clear()
            await turns()
            assert collector.log == []

    run(main)
    assert collector.get_threshold() == (700, 10, 10)


def test_leaving_while_the_loop_is_looked_at_ends_that(run, quiet, collector):
    async def main():
        with quiet:
            collector.grow(101)
        collector.log.clear()
        await turns()
        assert collector.log == []

    run(main)


def test_leaving_between_two_turns_ends_that_too(run, quiet, collector):
    async def main():
        with quiet:
            collector.grow(101)
            await turns(2)
        collector.log.clear()
        await turns()
        assert collector.log == []
        quiet._turn()  # as if it had been too late to cancel it
        assert collector.log == []

    run(main)


def test_a_closed_loop_is_told_nothing_and_not_kept(quiet, collector):
    async def main():
        quiet.__enter__()

    asyncio.run(main())
    collector.grow(101)
    assert collector.callbacks == []
    assert quiet._loop is None
    quiet.__exit__(None, None, None)
    assert collector.get_threshold() == (700, 10, 10)


def test_the_incremental_collector_keeps_its_thresholds(run, collector):
    quiet = QuietCollector(
        *(100, 1000), collector=collector, blocks=lambda: collector.blocks, incremental=True
    )

    async def main():
        with quiet:
            collector.grow(5000)
            assert collector.get_threshold() == (700, 10, 10)
            await turns()
            assert collector.log == ["collect"]

    run(main)
    assert collector.get_threshold() == (700, 10, 10)


def test_it_needs_a_loop(quiet):
    with pytest.raises(RuntimeError, match="without a running event loop; use it in an `async"):
        quiet.__enter__()


async def test_it_is_entered_once(quiet):
    with quiet, pytest.raises(RuntimeError, match=r"cannot enter a quiet_collector\(\) twice"):
        quiet.__enter__()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"growth": 0}, ValueError, "growth must be an integer of at least 1, got 0"),
        ({"growth": 1.5}, TypeError, "growth must be an integer of at least 1, got 1.5"),
        (
            {"growth": 5, "max_growth": 4},
            ValueError,
            "max_growth must be an integer of at least 5, got 4",
        ),
    ],
)
def test_bad_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        quiet_collector(**options)


@pytest.fixture
def nothing_is_frozen():
    """Let a test find the collector as a program does: see `pytest_collection_finish`."""
    gc.unfreeze()
    gc.collect()  # after which CPython 3.12 counts immortal objects as frozen
    yield
    gc.freeze()


@pytest.mark.usefixtures("nothing_is_frozen")
async def test_cycles_are_freed_by_the_real_collector(monkeypatch):
    """Beside a loop that is never quiet, as many as are alive at a time stay few."""
    monkeypatch.setattr("cooperative_aio._quiet_collector.QUIET", -1.0)
    alive = SimpleNamespace(count=0, most=0)

    class Cycle:
        def __init__(self):
            self.me = self
            alive.count += 1
            alive.most = max(alive.most, alive.count)

        def __del__(self):
            alive.count -= 1

    before = gc.get_threshold(), gc.get_freeze_count(), list(gc.callbacks)
    with quiet_collector(growth=1000, max_growth=5000):
        deadline = time.monotonic() + 60
        while alive.most < 200_000 and time.monotonic() < deadline:
            for _ in range(1000):
                Cycle()
            await asyncio.sleep(0)
            if alive.most > alive.count:  # some were freed
                break
    gc.collect()
    assert alive.count == 0
    assert alive.most <= 4 * THRESHOLDS[0] or INCREMENTAL
    thresholds, frozen, callbacks = before
    assert (gc.get_threshold(), list(gc.callbacks)) == (thresholds, callbacks)
    assert gc.get_freeze_count() in {frozen, 0}
    assert any(each is sys.modules for each in gc.get_objects())  # nothing is frozen
