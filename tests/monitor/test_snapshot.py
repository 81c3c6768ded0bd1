"""What the monitor tells: who had the time of late, failures, stalls, groups, places."""

import asyncio
import gc
import time

import httpx
import pytest

from cooperative_aio import Cooperator
from cooperative_aio._history import History
from cooperative_aio._observing import observe, stop_observing
from cooperative_aio._watch import LoopLag
from cooperative_aio._watchdog import Stall
from cooperative_aio.monitor import Monitor
from cooperative_aio.monitor._snapshot import (
    Recent,
    Selection,
    describe_stalls,
    picture,
)
from cooperative_aio.testing import ManualScheduler, one_step


def asking(monitor):
    transport = httpx.ASGITransport(monitor)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


def failing():
    yield
    raise LookupError("no such row")


class Workshop:
    """Tasks on a clock by hand, whose steps last as long as they are told to."""

    def __init__(self):
        self.now = 100.0
        self.lasting = 1.0
        self.history = History(lambda: self.now)
        self.recent = Recent(self.history, lambda: self.now)
        self.ticks = ManualScheduler()
        self.cooperator = Cooperator(
            one_step, self.ticks, clock=lambda: self.now, slow_step=100, name="by hand"
        )

    def work(self):
        while True:
            self.now += self.lasting
            yield

    def add(self, name, **options):
        return self.cooperator.cooperate(self.work(), name=name, **options)

    def at(self, now):
        self.now = now
        self.recent.turn()

    async def look(self, most=10, sort="recent", search=""):
        self.recent.turn()
        selection = Selection(most, sort, search)
        return await picture("shown", self.cooperator, self.history, self.recent, selection)

    async def names(self, **selection):
        return [task["name"] for task in (await self.look(**selection))["tasks"]]


@pytest.fixture
async def workshop():
    made = Workshop()
    observe(asyncio.get_running_loop(), made.history)
    yield made
    stop_observing(asyncio.get_running_loop(), made.history)
    made.cooperator.stop()


# Who had the time of late


async def test_the_time_of_the_last_ten_seconds_is_told(workshop):
    task = workshop.add("task")
    seen = []
    for now in (100, 103, 106, 109, 112, 115):
        workshop.at(now)
        seen.append(workshop.recent.seconds(task))
        if now < 109:
            workshop.ticks.pump()
    # three steps of a second, which began at 100, 103 and 106
    assert seen == [0, 1, 2, 3, 3, 2]
    assert task.cpu_time == 3


async def test_when_nobody_has_looked_for_a_while_it_begins_anew(workshop):
    task = workshop.add("task")
    workshop.at(100)
    assert workshop.recent.seconds(task) == 0
    workshop.ticks.pump()
    workshop.at(105)
    assert workshop.recent.seconds(task) == 1
    workshop.ticks.pump(20)  # of which nobody knows when it was
    workshop.at(200)
    assert workshop.recent.seconds(task) == 0


async def test_of_a_task_made_of_late_all_its_time_counts(workshop):
    task = workshop.add("task")
    workshop.ticks.pump()
    workshop.at(105)
    assert workshop.recent.seconds(task) == 1


async def test_of_a_task_that_was_there_before_only_what_was_seen_counts():
    workshop = Workshop()
    task = workshop.add("task")
    workshop.ticks.pump()
    workshop.at(105)
    assert workshop.recent.seconds(task) == 0
    assert workshop.recent.age(task) is workshop.recent.queued(task) is None
    assert (await workshop.names(sort="age")) == ["task"]
    assert (await workshop.names(sort="queued")) == ["task"]
    workshop.cooperator.stop()


async def test_no_task_is_kept_alive_by_being_looked_at(workshop):
    workshop.add("task")
    await workshop.look()
    assert len(workshop.recent._marks) == len(workshop.recent._numbers) == 1
    workshop.cooperator.tasks[0].stop()
    await asyncio.sleep(0)
    gc.collect()
    assert len(workshop.recent._marks) == len(workshop.recent._numbers) == 0


# Which tasks are shown


async def test_tasks_are_sorted_by_what_is_asked_for(workshop):
    workshop.add("old").pause()
    workshop.at(108)
    busy = workshop.add("busy")
    for _ in range(3):
        workshop.ticks.pump()
    workshop.at(120)
    idle = workshop.add("waits in the queue", weight=1)
    busy.pause()
    workshop.at(122)
    assert await workshop.names(sort="age") == ["old", "busy", "waits in the queue"]
    assert await workshop.names(sort="queued") == ["old", "waits in the queue", "busy"]
    assert await workshop.names(sort="cpu_time") == ["busy", "old", "waits in the queue"]
    assert await workshop.names(sort="steps") == ["busy", "old", "waits in the queue"]
    assert await workshop.names(sort="age", most=1) == ["old"]
    workshop.at(124)
    workshop.ticks.pump()
    assert await workshop.names(sort="recent", most=1) == ["waits in the queue"]
    shown = {task["name"]: task for task in (await workshop.look())["tasks"]}
    assert (shown["old"]["age"], shown["old"]["queued"]) == (25, 25)
    assert (shown["busy"]["age"], shown["busy"]["queued"]) == (17, 0)
    assert idle.steps == 1


async def test_where_nobody_had_time_of_late_those_with_most_of_all_are_shown(workshop):
    workshop.add("none").pause()
    workshop.add("most")
    workshop.ticks.pump()
    workshop.at(200)
    assert await workshop.names(sort="recent", most=1) == ["most"]


async def test_tasks_are_searched_by_name_group_and_generator(workshop):
    workshop.add("Import of MAY", group="client a")
    workshop.add("export", group=("client", 7))
    workshop.cooperator.cooperate(failing(), name="third")
    assert await workshop.names(search="import") == ["Import of MAY"]
    assert await workshop.names(search="CLIENT") == ["Import of MAY", "export"]
    assert await workshop.names(search="failing") == ["third"]
    look = await workshop.look(search="nothing")
    assert (look["tasks"], look["found"], look["count"]) == ([], 0, 3)
    assert [group["name"] for group in look["groups"]] == ["client a", "('client', 7)"]


async def test_of_very_many_tasks_all_are_looked_at_in_turns(workshop, monkeypatch):
    turns = []

    async def stand_back():
        turns.append(len(turns))
        if turns == [0]:
            workshop.cooperator.tasks[249].stop()  # meanwhile

    monkeypatch.setattr("cooperative_aio.monitor._snapshot.checkpoint", stand_back)
    for number in range(250):
        workshop.add(f"task {number}")
    found = await workshop.look(search="task 24", sort="cpu_time")
    assert turns == [0, 1]
    assert found["found"] == 10
    assert sorted(task["name"] for task in found["tasks"]) == sorted(
        ["task 24", *(f"task {number}" for number in range(240, 249))]
    )


async def test_groups_have_what_their_tasks_had_and_have(workshop):
    workshop.add("first", group="a")
    workshop.ticks.pump(2)
    workshop.cooperator.tasks[0].stop()
    workshop.add("second", group="a")
    workshop.ticks.pump()
    workshop.add("third", group="b")
    [first, second] = (await workshop.look())["groups"]
    assert first == {"name": "a", "tasks": 1, "cpu_time": 3.0, "ended": 1}
    assert second == {"name": "b", "tasks": 1, "cpu_time": 0.0, "ended": 0}


async def test_the_longest_step_of_the_last_minute_stands_beside_that_of_all_time(workshop):
    workshop.add("task")
    workshop.lasting = 5
    workshop.ticks.pump()
    workshop.now += 100
    workshop.history.turn()
    workshop.lasting = 2
    workshop.ticks.pump()
    statistics = (await workshop.look())["statistics"]
    assert statistics["longest_step"] == 5
    assert statistics["longest_step_task"] == "task"
    assert statistics["recent_longest_step"] == 2
    assert statistics["recent_longest_step_task"] == "task"


async def test_how_long_tasks_lasted_and_were_queued_is_told_in_the_mean(workshop):
    statistics = (await workshop.look())["statistics"]
    assert statistics["mean_duration"] is statistics["mean_queued"] is None
    for waiting in (1, 2):
        task = workshop.add("task")
        workshop.now += waiting
        workshop.ticks.pump()  # a step of one second
        task.stop()
    statistics = (await workshop.look())["statistics"]
    assert (statistics["mean_duration"], statistics["mean_queued"]) == (2.5, 1.5)


async def test_what_has_ended_is_counted(workshop):
    for task in [workshop.add("task") for _ in range(3)]:
        task.stop()
    workshop.cooperator.cooperate(iter(()))
    task = workshop.cooperator.cooperate(failing())
    workshop.ticks.pump(3)
    shown = (await workshop.look())["statistics"]
    assert (shown["finished"], shown["failed"], shown["stopped"]) == (1, 1, 3)
    assert shown["cancelled"] == shown["refused"] == 0
    assert shown["collector_time"] == workshop.cooperator.statistics().collector_time
    assert isinstance(task.exception(), LookupError)


async def test_a_task_that_is_being_cancelled_is_ending(workshop):
    task = workshop.add("task")
    workshop.ticks.pump()
    task.cancel()
    [shown] = (await workshop.look())["tasks"]
    assert shown["state"] == "ending"
    await asyncio.wait([task])
    assert (await workshop.look())["statistics"]["cancelled"] == 1


# By the application


async def test_failures_are_told_once():
    async with Cooperator(name="shop") as cooperator, Monitor() as monitor:
        task = cooperator.cooperate(failing(), name="an import")
        await asyncio.wait([task])
        async with asking(monitor) as client:
            [failure] = (await client.get("/state")).json()["failures"]
            again = (await client.get(f"/state?failed={failure['number']}")).json()
    assert (failure["cooperator"], failure["task"]) == ("shop", "an import")
    assert failure["summary"] == "LookupError: no such row"
    assert "in failing\n" in failure["traceback"]
    assert abs(failure["when"] - time.time()) < 3600
    assert again["failures"] == []
    assert isinstance(task.exception(), LookupError)


async def test_a_spike_of_the_lag_names_its_culprit():
    async with Monitor(spike=0.05, interval=0.01) as monitor, asking(monitor) as client:
        while not any(__file__ in stall.place for _, stall in monitor._stalls):
            time.sleep(0.01)  # noqa: ASYNC251 (the watchdog's thread ends this)
        culprits = []
        while not culprits:
            stalls = (await client.get("/state")).json()["stalls"]
            culprits = [stall for stall in stalls if stall["place"].startswith(f"{__file__}:")]
            await asyncio.sleep(0.001)
        again = (await client.get(f"/state?held={culprits[-1]['number']}")).json()
    assert culprits[0]["late"] >= 0.05
    assert "asyncio task" in culprits[0]["holder"]
    assert "test_a_spike_of_the_lag_names_its_culprit" in culprits[0]["stack"]
    assert culprits[-1]["number"] not in {stall["number"] for stall in again["stalls"]}


def test_a_stall_is_told_when_it_is_known_how_long_it_was():
    lag = LoopLag()
    stalls = [(1, Stall(10.0, 0.5, "a", "b", "c")), (2, Stall(20.0, 0.5, "d", "e", "f"))]
    assert list(describe_stalls(lag, stalls, 0)) == []
    lag.samples.append((10.0, 2.5))
    [told] = describe_stalls(lag, stalls, 0)
    assert (told["number"], told["late"], told["holder"]) == (1, 2.5, "a")
    assert list(describe_stalls(lag, stalls, 1)) == []


async def test_without_spikes_there_is_no_thread():
    async with Monitor(spike=None) as monitor:
        assert monitor._watchdog is None


@pytest.mark.parametrize("spike", [0, -1, float("nan")])
def test_a_spike_is_a_finite_number_above_zero(spike):
    with pytest.raises(ValueError, match="spike must be a finite number above 0"):
        Monitor(spike=spike)


async def test_an_unknown_order_is_told_of():
    async with Monitor() as monitor, asking(monitor) as client:
        answer = await client.get("/state?sort=beauty")
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "sort must be one of recent, cpu_time, age, queued, steps"
    }
