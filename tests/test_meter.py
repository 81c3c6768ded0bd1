"""Clocks that are honest: what a step is blamed for, and what it is not."""

import asyncio
import gc
import logging
import weakref

import pytest
from core_support import Clock, on_both_loops, turns

from cooperative_aio import Cooperator, _roster
from cooperative_aio import _meter as meter
from cooperative_aio._meter import CollectorClock, Meter


class TestTheCollectorsTime:
    def test_is_counted_while_something_listens(self, monkeypatch):
        clock = Clock()
        monkeypatch.setattr(meter.time, "perf_counter", clock)
        collector = CollectorClock()
        callbacks = list(gc.callbacks)
        collector.listen()
        collector.listen()
        (note,) = [callback for callback in gc.callbacks if callback not in callbacks]
        gc.disable()
        try:
            note("stop", {})  # of a collection that had begun before
            note("start", {})
            clock.advance(0.25)
            note("stop", {})
            clock.advance(0.5)
            note("start", {})
            clock.advance(0.125)
            note("stop", {})
        finally:
            gc.enable()
        assert collector.seconds == 0.375
        collector.ignore()
        assert note in gc.callbacks
        collector.ignore()
        assert gc.callbacks == callbacks

    @on_both_loops
    async def test_is_listened_to_only_while_there_are_tasks(self, monkeypatch):
        collector = CollectorClock()  # of its own: a loop that another test has lost may listen
        monkeypatch.setattr(_roster, "collector", collector)
        before = list(gc.callbacks)
        cooperator = Cooperator()
        task = cooperator.cooperate(iter(range(3)))
        assert len(gc.callbacks) == len(before) + 1
        await task
        assert gc.callbacks == before

    @on_both_loops
    async def test_is_told_apart_in_the_statistics(self):
        def collects():
            yield
            gc.collect()
            yield

        cooperator = Cooperator()
        await cooperator.cooperate(collects())
        statistics = cooperator.statistics()
        assert 0 < statistics.collector_time <= statistics.longest_tick * statistics.ticks


class TestASlowStep:
    @on_both_loops
    async def test_is_reported_with_its_cpu_time_and_the_collectors(self, monkeypatch, caplog):
        clock, cpu = Clock(), Clock()
        monkeypatch.setattr(meter, "thread_time", cpu)

        def waits_for_the_machine():
            clock.advance(0.5)
            cpu.advance(0.125)
            yield
            clock.advance(0.5)
            meter.collector.seconds += 0.375
            cpu.advance(0.5)
            yield

        def first():
            yield from waits_for_the_machine()

        cooperator = Cooperator(clock=clock, slow_step=0.25, time_slice=0.25)
        generator = first()
        await cooperator.cooperate(generator, name="first")
        next_one = first()
        next(next_one)
        await cooperator.cooperate(next_one, name="second")
        assert [message.partition("held the loop for ")[2] for message in caplog.messages] == [
            "0.500 seconds (0.125 of CPU, 0.000 in the garbage collector)",
            (
                "0.500 seconds (0.500 of CPU, 0.375 in the garbage collector)"
                "; quiet_collector() keeps the collector out of the way"
            ),
        ]

    @on_both_loops
    async def test_keeps_no_task_alive_by_its_record(self, caplog):
        clock = Clock()

        def slow():
            clock.advance(1)
            yield

        caplog.set_level(logging.WARNING)
        task = Cooperator(clock=clock).cooperate(slow())
        await task
        assert len(caplog.records) == 1
        refs = [weakref.ref(task), weakref.ref(task.iterator)]
        del task
        await turns()
        assert [ref() for ref in refs] == [None, None]


class TestWhatIsBeyondTheCpuTime:
    @pytest.mark.parametrize(
        ("is_real", "beyond"),
        [(True, 0.375), (False, 0.0)],
        ids=["of a real clock", "of another"],
    )
    def test_is_told_of_real_clocks_only(self, monkeypatch, is_real, beyond):
        cpu = Clock()
        monkeypatch.setattr(meter, "thread_time", cpu)
        one = Meter()
        one.is_real = is_real
        one.start()
        cpu.advance(0.125)
        assert one.beyond(0.5) == beyond
        assert one.beyond(0.0625) == 0.0

    def test_is_charged_to_nobody(self, monkeypatch):
        clock, cpu = Clock(), Clock()
        monkeypatch.setattr(meter, "thread_time", cpu)
        monkeypatch.setattr("time.perf_counter", clock)

        def interrupted(is_long):
            while True:
                clock.advance(0.5 if is_long else 2**-10)
                cpu.advance(2**-10)
                yield
                is_long = False

        async def main():
            cooperator = Cooperator(clock=clock)
            tasks = [
                cooperator.cooperate(interrupted(is_long), group=group)
                for is_long, group in ((True, None), (False, None), (True, "g"), (False, "g"))
            ]
            while cooperator.statistics().steps < 400:
                await asyncio.sleep(0)
            figures = [(task.steps, task.cpu_time) for task in tasks]
            total = cooperator.statistics().cpu_time
            cooperator.stop()
            return figures, total

        figures, total = asyncio.run(main())
        for steps, seconds in figures:
            assert seconds == pytest.approx(steps * 2**-10, rel=0.1)
        assert total == pytest.approx(sum(seconds for _, seconds in figures), rel=0.01)
