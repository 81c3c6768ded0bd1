"""What is remembered of the tasks of a loop: failures, durations, groups, longest steps."""

import asyncio
import gc
import weakref

import pytest

from cooperative_aio import Cooperator, SchedulerStopped, TaskStopped, batch_accumulate
from cooperative_aio._history import FAILURES, GROUPS, TEXT, Histogram, History, group_name
from cooperative_aio._legible import legible
from cooperative_aio._loop import state_of
from cooperative_aio._observing import note_all_steps, observe, stop_observing
from cooperative_aio.testing import ManualScheduler, one_step


class Loop:
    """A Cooperator with ticks and a clock by hand, under observation."""

    def __init__(self):
        self.now = 0.0
        self.history = History(lambda: self.now, wall=lambda: 1000.0 + self.now)
        self.ticks = ManualScheduler()
        self.cooperator = Cooperator(
            one_step, self.ticks, clock=lambda: self.now, name="by hand", slow_step=4
        )

    def __enter__(self):
        observe(asyncio.get_running_loop(), self.history)
        return self

    def __exit__(self, *_):
        stop_observing(asyncio.get_running_loop(), self.history)

    def tick(self, count=1):
        """Take so many steps, one in every quarter of a second."""
        for _ in range(count):
            self.now += 0.25
            self.ticks.pump()

    def spend(self, *seconds):
        """Take steps that last so long."""
        for one in seconds:
            self.now += one
            yield


@pytest.fixture
async def loop():
    with Loop() as made:
        yield made
        made.cooperator.stop()


def failing(message="no such row"):
    yield
    raise LookupError(message)


# Durations


async def test_a_task_has_an_age_and_a_time_in_the_queue(loop):
    first = loop.cooperator.cooperate(iter(range(3)))
    loop.tick()
    second = loop.cooperator.cooperate(iter(range(3)))
    assert loop.history.times(first).made == 0
    assert loop.history.times(first).begun == 0.25
    assert loop.history.times(second).made == 0.25
    assert loop.history.times(second).begun is None
    second.stop()
    loop.tick(3)
    assert loop.history.times(first) is loop.history.times(second) is None
    durations = loop.history.durations[loop.cooperator]
    assert durations.buckets()[-1][1] == 2
    assert durations.sum == 1 + 0
    assert loop.history.queued[loop.cooperator].sum == 0.25
    assert await first is None
    with pytest.raises(TaskStopped):
        await second


@pytest.mark.parametrize("end", ["stop", "cancel"])
async def test_a_task_that_never_began_has_only_a_duration(loop, end):
    task = loop.cooperator.cooperate(iter(range(3)))
    loop.now = 0.125
    getattr(task, end)()
    await asyncio.wait([task])
    assert loop.history.durations[loop.cooperator].sum == 0.125
    assert loop.cooperator not in loop.history.queued
    assert list(loop.history.failures) == []


async def test_an_accumulation_begins_with_its_first_chunk(loop):
    work = asyncio.create_task(batch_accumulate(10, iter(range(25)), loop.cooperator))
    await asyncio.sleep(0)
    loop.tick(4)
    assert list(await work) == list(range(25))
    assert loop.history.queued[loop.cooperator].sum == 0.25


async def test_a_task_of_a_stopped_cooperator_is_not_remembered(loop):
    loop.cooperator.stop()
    task = loop.cooperator.cooperate(iter(range(3)))
    assert loop.history.times(task) is None
    with pytest.raises(SchedulerStopped):
        await task


async def test_what_was_made_before_has_no_times():
    loop = Loop()
    task = loop.cooperator.cooperate(iter(range(1)), group="a")
    with loop:
        assert loop.history.times(task) is None
        loop.history.task_begun(task)
        loop.tick(2)
        assert await task is None
        assert loop.cooperator not in loop.history.durations
        assert loop.history.groups(loop.cooperator)["a"].ended == 1
    assert state_of(asyncio.get_running_loop()).observers == []  # nobody is told now


async def test_several_observers_and_loops_are_told_apart(loop):
    other = History(lambda: loop.now)
    foreign = asyncio.new_event_loop()
    elsewhere = History(lambda: loop.now)
    observe(asyncio.get_running_loop(), other)
    observe(foreign, elsewhere)
    task = loop.cooperator.cooperate(iter(range(1)))
    assert other.times(task) is not None
    assert elsewhere.times(task) is None
    stop_observing(asyncio.get_running_loop(), other)
    stop_observing(asyncio.get_running_loop(), other)
    stop_observing(foreign, elsewhere)
    foreign.close()
    assert loop.cooperator.cooperate(iter(range(1))) in loop.history._times


# Failures


async def test_a_failure_is_remembered_with_its_traceback(loop):
    task = loop.cooperator.cooperate(failing(), name="import")
    loop.tick(2)
    [failure] = loop.history.failures
    assert (failure.number, failure.when) == (1, 1000.5)
    assert (failure.cooperator, failure.task, failure.steps) == ("by hand", "import", 2)
    assert failure.summary == "LookupError: no such row"
    assert failure.text().startswith("Traceback (most recent call last):")
    assert "in failing\n    raise LookupError(message)\n" in failure.text()
    assert failure.text().endswith("LookupError: no such row")
    with pytest.raises(LookupError, match="no such row"):
        await task


async def test_a_failure_keeps_nothing_alive(loop):
    class Payload:
        pass

    def work():
        payload = Payload()
        references.append(weakref.ref(payload))
        yield
        raise LookupError(payload)

    references = []
    task = loop.cooperator.cooperate(work(), name="keeps")
    references.append(weakref.ref(task))
    loop.tick(2)
    assert isinstance(task.exception(), LookupError)
    del task
    gc.collect()
    assert [reference() for reference in references] == [None, None]
    assert loop.history.failures[0].task == "keeps"


async def test_a_failure_that_nobody_saw_is_reported_all_the_same(loop):
    reports = []
    running = asyncio.get_running_loop()
    running.set_exception_handler(lambda _, context: reports.append(context["message"]))
    loop.cooperator.cooperate(failing(), name="import")
    loop.tick(2)
    gc.collect()
    assert len(loop.history.failures) == len(reports) == 1
    assert "exception was never retrieved" in reports[0]


async def test_only_the_last_failures_are_remembered_and_they_are_cut(loop):
    tasks = [loop.cooperator.cooperate(failing("x" * 10**5)) for _ in range(FAILURES + 3)]
    loop.tick(2 * FAILURES + 6)
    await asyncio.wait(tasks)
    assert [one.number for one in loop.history.failures] == list(range(4, FAILURES + 4))
    for failure in loop.history.failures:
        assert len(failure.text()) <= TEXT + 4
        assert len(failure.summary) == 500
    assert all(task.exception() for task in tasks)


async def test_an_exception_that_cannot_be_shown_is_remembered(loop):
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError

    def work():
        yield
        raise Odd

    task = loop.cooperator.cooperate(work(), name="a\udce9")
    loop.tick(2)
    assert "<exception str() failed>" in loop.history.failures[0].summary
    assert loop.history.failures[0].task == "a\\udce9"
    with pytest.raises(Odd):
        await task


# Groups


async def test_a_group_has_what_its_ended_tasks_had(loop):
    tasks = [
        loop.cooperator.cooperate(loop.spend(0.5, 0.5), group="client a"),
        loop.cooperator.cooperate(loop.spend(1), group="client a"),
        loop.cooperator.cooperate(loop.spend(2), group=("client", 7)),
        loop.cooperator.cooperate(loop.spend(1)),
    ]
    loop.tick(20)
    await asyncio.gather(*tasks)
    groups = loop.history.groups(loop.cooperator)
    assert {name: (group.ended, group.seconds) for name, group in groups.items()} == {
        "client a": (2, 2.0),
        "('client', 7)": (1, 2.0),
    }


async def test_of_very_many_groups_the_rest_is_one(loop):
    for number in range(GROUPS + 5):
        loop.cooperator.cooperate(iter([]), group=number)
    loop.tick(GROUPS + 6)
    groups = loop.history.groups(loop.cooperator)
    assert len(groups) == GROUPS + 1
    assert groups["(others)"].ended == 5


async def test_a_group_whose_name_cannot_be_shown_is_told_by_its_class(loop):
    class Client:
        def __repr__(self):
            raise RuntimeError

    task = loop.cooperator.cooperate(iter([]), group=Client())
    assert group_name(task).startswith("<Client instance at ")
    assert group_name(loop.cooperator.cooperate(iter([]))) is None


# The longest step of the last minute


async def test_the_longest_step_of_the_last_minute_is_not_that_of_all_time(loop):
    task = loop.cooperator.cooperate(loop.spend(1, 2, 0.5, 0.25, 3), name="heavy")
    seen = []
    for now in (0, 12, 24, 66, 84, 200):
        loop.now = now
        loop.history.turn()
        if now < 84:
            loop.ticks.pump()
        seen.append(loop.history.longest(loop.cooperator)[0])
    assert seen == [1, 2, 2, 2, 0.5, 0]
    assert loop.cooperator.statistics().longest_step == 2
    loop.ticks.pump()
    assert loop.history.longest(loop.cooperator) == (3, "heavy")
    task.stop()
    with pytest.raises(TaskStopped):
        await task


async def test_a_shorter_step_does_not_take_the_place_of_the_longest(loop):
    task = loop.cooperator.cooperate(loop.spend(1), name="heavy")
    loop.history.step_noted(loop.cooperator, task.name, 5)
    loop.history.step_noted(loop.cooperator, task.name, 3)
    assert loop.history.longest(loop.cooperator) == (5, "heavy")


async def test_only_steps_that_are_longer_than_those_before_are_noted(loop, monkeypatch):
    noted = []
    monkeypatch.setattr(loop.history, "step_noted", lambda *told: noted.append(told[-1]))
    loop.cooperator.cooperate(loop.spend(1, 1, 0.5, 2, 1, 1))
    loop.ticks.pump(4)
    note_all_steps(loop.cooperator)  # as for another part of the minute
    loop.ticks.pump(2)
    assert noted == [1, 2, 1]


async def test_a_cooperator_that_was_never_seen_has_no_longest_step(loop):
    assert loop.history.longest(Cooperator()) == (0.0, None)


def test_of_nothing_there_is_no_mean():
    assert Histogram((1.0,)).mean() is None


# Text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("\ud800", "\\ud800"),
        ("0123456789", "0123456789"),
        ("0123456789a", "012345678\N{HORIZONTAL ELLIPSIS}"),
        ("\ud800\ud801", "\\ud800\\ud\N{HORIZONTAL ELLIPSIS}"[:9] + "\N{HORIZONTAL ELLIPSIS}"),
        (None, "None"),
        (b"bytes", "b'bytes'"),
    ],
)
def test_text_is_made_legible(value, shown):
    assert legible(value, 10) == shown
