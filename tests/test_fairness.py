"""Who goes next: the queue, and what a Cooperator makes of it, on a clock by hand."""

import asyncio
import itertools
import random

import pytest
from core_support import Clock, Stepwise, Ticks, on_both_loops, work
from hypothesis import given, settings
from hypothesis import strategies as st

from cooperative_aio import Cooperator, current_task
from cooperative_aio._fairness import FairQueue
from cooperative_aio._seats import GRAIN, Seat

MILLISECOND = 1 / 1024  # binary-exact
MICROSECOND = MILLISECOND / 1024


class Competitor(Seat):
    def __init__(self, name, rate=1.0):
        self.sit(None, rate)
        self.name = name

    def __repr__(self):
        return self.name

    @property
    def rate(self):
        return 1 / self.pace


def turns_of(queue, costs, turns):
    """Hand out so many turns, charge for them, and tell who had them."""
    names = []
    for _ in range(turns):
        competitor = queue.take()
        names.append(competitor.name)
        queue.charge(competitor, costs[competitor.name])
        queue.put_back(competitor)
    return "".join(names)


def queue_of(*competitors):
    queue = FairQueue()
    for competitor in competitors:
        queue.join(competitor)
    return queue


class TestTheQueue:
    def test_equals_alternate_in_the_order_of_arrival(self):
        queue = queue_of(*map(Competitor, "abc"))
        assert turns_of(queue, dict.fromkeys("abc", 0.25), 9) == "abcabcabc"

    def test_an_empty_queue_has_nobody(self):
        queue = FairQueue()
        assert queue.take() is None
        assert queue.mean() == 0.0
        assert queue.first() is None

    def test_who_costs_three_times_as_much_has_a_third_of_the_turns(self):
        queue = queue_of(*map(Competitor, "ab"))
        turns = turns_of(queue, {"a": 0.75, "b": 0.25}, 400)
        assert abs(turns.count("a") - 100) <= 1

    def test_who_weighs_three_times_as_much_has_three_times_the_turns(self):
        queue = queue_of(Competitor("a", 3.0), Competitor("b"))
        turns = turns_of(queue, {"a": 0.25, "b": 0.25}, 400)
        assert abs(turns.count("a") - 300) <= 3

    def test_differences_within_the_grain_do_not_change_the_order(self):
        queue = queue_of(*map(Competitor, "ab"))
        costs = {"a": GRAIN / 8, "b": GRAIN / 16}
        assert turns_of(queue, costs, 16) == "ab" * 8

    def test_differences_beyond_the_grain_do(self):
        queue = queue_of(*map(Competitor, "ab"))
        turns = turns_of(queue, {"a": 8 * GRAIN, "b": GRAIN}, 90)
        assert abs(turns.count("a") - 10) <= 1

    def test_who_joins_is_owed_nothing(self):
        first = Competitor("a")
        queue = queue_of(first)
        assert turns_of(queue, {"a": 1.0}, 100) == "a" * 100
        second = Competitor("b")
        queue.join(second)
        assert second.virtual == queue.mean() == 100.0
        assert turns_of(queue, {"a": 1.0, "b": 1.0}, 6) in ("ababab", "bababa")

    def test_who_comes_back_keeps_what_it_owes(self):
        heavy, light = Competitor("h"), Competitor("l")
        queue = queue_of(heavy, light)
        names = []
        for _ in range(210):
            competitor = queue.take()
            names.append(competitor.name)
            queue.charge(competitor, 1.0 if competitor is heavy else 1 / 16)
            if competitor is heavy:  # sleeps a moment after each step
                queue.leave(heavy)
                queue.put_back(heavy)
                queue.join(heavy)
            else:
                queue.put_back(competitor)
        assert abs(names.count("h") - 210 / 17) <= 2

    def test_who_left_is_not_handed_out(self):
        first, second, third = map(Competitor, "abc")
        queue = queue_of(first, second, third)
        queue.leave(second)
        assert turns_of(queue, dict.fromkeys("abc", 0.25), 4) == "acac"
        assert not second.queued

    def test_who_leaves_and_joins_at_once_has_one_entry(self):
        first, second = map(Competitor, "ab")
        queue = queue_of(first, second)
        for _ in range(5):
            queue.leave(first)
            queue.join(first)
        assert turns_of(queue, dict.fromkeys("ab", 0.25), 4) == "abab"

    def test_an_emptied_queue_remembers_its_time(self):
        first = Competitor("a")
        queue = queue_of(first)
        turns_of(queue, {"a": 1.0}, 10)
        queue.leave(first)
        assert queue.mean() == 10.0
        second = Competitor("b")
        queue.join(second)
        assert second.virtual == 10.0

    @pytest.mark.parametrize(
        ("weight", "expected"), [(1.0, 1.0), (0.5, 0.5), (3, 3), (1e-300, None), (1e300, None)]
    )
    def test_extreme_weights_are_bounded_in_calculations(self, weight, expected):
        effective = Competitor("a", weight).rate
        if expected is not None:
            assert effective == expected
        assert 0 < effective < 1e18

    @pytest.mark.parametrize("leaver", ["heavy", "light"])
    def test_extreme_weights_beside_each_other_are_survived(self, leaver):
        heavy, light = (
            Competitor("heavy", 1e300),
            Competitor("light", 1e-300),
        )
        queue = queue_of(light, heavy)
        for _ in range(10):
            competitor = queue.take()
            queue.charge(competitor, 1.0)
            queue.put_back(competitor)
        queue.leave(heavy if leaver == "heavy" else light)
        stays = light if leaver == "heavy" else heavy
        assert queue.mean() == pytest.approx(stays.virtual, rel=1e-4)
        queue.charge(queue.take(), 1.0)
        queue.put_back(stays)
        assert queue.take() is stays

    def test_a_change_of_weight_counts_from_now_on(self):
        first, second = map(Competitor, "ab")
        queue = queue_of(first, second)
        costs = {"a": 0.25, "b": 0.25}
        turns_of(queue, costs, 100)
        queue.reweigh(first, 3.0)
        turns = turns_of(queue, costs, 400)
        assert abs(turns.count("a") - 300) <= 4
        queue.leave(first)
        queue.reweigh(first, 1.0)
        queue.join(first)
        turns = turns_of(queue, costs, 400)
        assert abs(turns.count("a") - 200) <= 4

    def test_stale_entries_are_bounded(self):
        stays = Competitor("stays")
        queue = queue_of(stays)
        for number in range(1000):
            competitor = Competitor(str(number))
            queue.join(competitor)
            queue.leave(competitor)
            assert len(queue.ring) + len(queue.ahead) <= 40
        assert queue.take() is stays

    def test_stale_entries_of_those_ahead_are_bounded_too(self):
        stays = Competitor("stays")
        queue = queue_of(stays)
        for number in range(200):
            competitor = Competitor(str(number))
            competitor.virtual = 1e6 + number
            queue.join(competitor)
            queue.leave(competitor)
            assert len(queue.ring) + len(queue.ahead) <= 40
        assert queue.take() is stays

    def test_the_mean_stays_exact_with_many_comings_and_goings(self):
        source = random.Random(7)  # noqa: S311
        competitors = [Competitor(str(n), source.choice([0.25, 1.0, 4.0])) for n in range(20)]
        queue = queue_of(*competitors)
        for _ in range(20_000):
            competitor = source.choice(competitors)
            (queue.leave if competitor.ready else queue.join)(competitor)
            if queue.count:
                turn = queue.take()
                queue.charge(turn, source.random() / 1000)
                queue.put_back(turn)
        ready = [competitor for competitor in competitors if competitor.ready]
        rates = sum(competitor.rate for competitor in ready)
        mean = sum(competitor.rate * competitor.virtual for competitor in ready) / rates
        assert queue.mean() == pytest.approx(mean, rel=1e-9)


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["toggle", "turn", "turn and leave", "leave others in a turn", "weigh"]
        ),
        st.integers(0, 39),
        st.sampled_from([MICROSECOND, MILLISECOND, 0.25]),
    ),
    max_size=200,
)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(OPERATIONS)
def test_the_books_are_right_whatever_happens(operations):  # noqa: C901
    competitors = [Competitor(str(number)) for number in range(40)]
    queue = queue_of(*competitors[:20])

    def toggle(competitor):
        (queue.leave if competitor.ready else queue.join)(competitor)

    for operation, index, seconds in operations:
        competitor = competitors[index]
        if operation == "toggle":
            toggle(competitor)
        elif operation == "weigh":
            queue.reweigh(competitor, 1 + 1024 * seconds)
        elif (turn := queue.take()) is not None:
            queue.charge(turn, seconds)
            if operation == "turn and leave":
                queue.leave(turn)
            elif operation == "leave others in a turn":
                toggle(turn)
                for other in competitors[index:]:
                    if other is not turn and other.ready:
                        queue.leave(other)
                if index % 2:
                    toggle(turn)
            queue.put_back(turn)
        entries = [*queue.ring, *(entry[2] for entry in queue.ahead)]
        assert len(set(entries)) == len(entries)
        assert {competitor for competitor in competitors if competitor.queued} == set(entries)
        assert queue._stale == sum(not entry.ready for entry in entries)
        assert queue._stale <= 17 + len(entries) // 2
        ready = [competitor for competitor in competitors if competitor.ready]
        assert queue.count == len(ready)
        assert set(ready) <= set(entries)
        rates = sum(competitor.rate for competitor in ready)
        if ready:
            total = sum(competitor.rate * competitor.virtual for competitor in ready)
            assert queue.mean() == pytest.approx(total / rates)
    while queue.take() is not None:
        pass


def spin(log, name, clock, seconds):
    """Take steps of so many seconds for ever."""
    while True:
        log.append(name)
        clock.advance(seconds)
        yield


def share(log, name):
    return log.count(name) / len(log)


class TestInACooperator:
    @on_both_loops
    async def test_a_task_with_steps_twenty_times_as_long_has_a_twentieth_of_them(self):
        cooperator = Stepwise()
        log = []
        heavy = cooperator.cooperate(spin(log, "h", cooperator.clock, 20 * MILLISECOND))
        light = cooperator.cooperate(spin(log, "l", cooperator.clock, MILLISECOND))
        cooperator.ticks.tick(2100)
        assert abs(log.count("l") - 20 * log.count("h")) <= 21
        assert heavy.cpu_time == pytest.approx(light.cpu_time, rel=0.05)
        cooperator.stop()

    @pytest.mark.parametrize("costs", [(1, 1), (1, 4), (4, 1), (1 / 64, 1), (1, 1 / 64)])
    async def test_weights_of_one_and_three_share_the_time_in_that_ratio(self, costs):
        cooperator = Stepwise()
        log = []
        first, second = (
            cooperator.cooperate(
                spin(log, weight, cooperator.clock, cost * MILLISECOND), weight=weight
            )
            for weight, cost in zip((1, 3), costs, strict=True)
        )
        while cooperator.clock.now < 2:
            cooperator.ticks.tick()
        assert second.cpu_time / first.cpu_time == pytest.approx(3, rel=0.05)
        cooperator.stop()

    @on_both_loops
    async def test_every_second_is_shared_within_five_per_cent(self):
        clock, ticks = Clock(), Ticks()
        cooperator = Cooperator(scheduler=ticks, clock=clock, time_slice=5 * MILLISECOND)
        costs = [MILLISECOND / 16, MILLISECOND / 2, MILLISECOND, 5 * MILLISECOND]
        tasks = [cooperator.cooperate(spin([], "", clock, cost)) for cost in costs]
        for _ in range(5):
            before = [task.cpu_time for task in tasks]
            began = clock.now
            while clock.now < began + 1:
                ticks.tick()
            used = [task.cpu_time - was for task, was in zip(tasks, before, strict=True)]
            elapsed = clock.now - began
            assert used == pytest.approx([elapsed / 4] * 4, rel=0.05)
        cooperator.stop()

    @on_both_loops
    async def test_a_newcomer_does_not_get_what_it_missed(self):
        cooperator = Stepwise()
        log = []
        cooperator.cooperate(spin(log, "a", cooperator.clock, MILLISECOND))
        cooperator.ticks.tick(1000)
        cooperator.cooperate(spin(log, "b", cooperator.clock, MILLISECOND))
        del log[:]
        cooperator.ticks.tick(100)
        assert "".join(log) == "ab" * 50
        cooperator.stop()

    @on_both_loops
    async def test_who_was_paused_does_not_get_what_it_missed(self):
        cooperator = Stepwise()
        log = []
        cooperator.cooperate(spin(log, "a", cooperator.clock, MILLISECOND))
        sleeper = cooperator.cooperate(spin(log, "b", cooperator.clock, MILLISECOND))
        cooperator.ticks.tick(2)
        sleeper.pause()
        cooperator.ticks.tick(1000)
        sleeper.resume()
        del log[:]
        cooperator.ticks.tick(100)
        assert log.count("b") == 50
        cooperator.stop()

    @pytest.mark.parametrize("nap", ["await", "pause", "pause later"])
    async def test_sleeping_a_moment_after_each_heavy_step_buys_nothing(self, nap):
        cooperator = Stepwise()
        log = []
        loop = asyncio.get_running_loop()

        def naps():
            while True:
                log.append("h")
                cooperator.clock.advance(20 * MILLISECOND)
                if nap == "pause":
                    current_task().pause()
                    loop.call_soon(heavy.resume)
                yield asyncio.sleep(0) if nap == "await" else None

        heavy = cooperator.cooperate(naps())
        cooperator.cooperate(spin(log, "l", cooperator.clock, MILLISECOND))
        for _ in range(840):
            steps = heavy.steps
            cooperator.ticks.tick()
            if nap == "pause later" and heavy.steps > steps:
                heavy.pause()
                cooperator.ticks.tick()
                heavy.resume()
            for _ in range(4):
                await asyncio.sleep(0)
        assert log.count("l") >= 18 * log.count("h")
        cooperator.stop()

    @on_both_loops
    async def test_nobody_starves(self):
        cooperator = Stepwise()
        log = []
        cooperator.cooperate(spin(log, "h", cooperator.clock, 64 * MILLISECOND), weight=0.25)
        for _ in range(4):
            cooperator.cooperate(spin(log, "l", cooperator.clock, MILLISECOND))
        newcomers = (cooperator.cooperate(work(log, "n")) for _ in itertools.count())
        while log.count("h") < 3:
            cooperator.ticks.tick()
            if len(log) % 8 == 0:
                next(newcomers)
            assert len(log) < 10_000
        cooperator.stop()

    @on_both_loops
    async def test_cheap_tasks_alternate_in_spite_of_small_differences(self):
        cooperator = Stepwise()
        log = []
        for name, seconds in (("a", MICROSECOND / 4), ("b", MICROSECOND), ("c", 0.0)):
            cooperator.cooperate(spin(log, name, cooperator.clock, seconds))
        cooperator.ticks.tick(48)
        assert "".join(log) == "abc" * 16
        cooperator.stop()

    @on_both_loops
    async def test_in_one_tick_the_order_is_the_same_as_in_many(self):
        logs = []
        for seconds in (0, 2):
            clock, ticks, log = Clock(), Ticks(), []
            cooperator = (
                Cooperator(scheduler=ticks, clock=clock, time_slice=seconds)
                if seconds
                else Stepwise()
            )
            if not seconds:
                clock, ticks = cooperator.clock, cooperator.ticks
            for name, cost in (("a", 8), ("b", 1), ("c", 4)):
                cooperator.cooperate(spin(log, name, clock, cost * MILLISECOND))
            while len(log) < 300:
                ticks.tick()
            cooperator.stop()
            logs.append("".join(log[:300]))
        assert logs[0] == logs[1]

    @on_both_loops
    async def test_who_joins_in_a_tick_is_fitted_in(self):
        clock, ticks, log = Clock(), Ticks(), []
        cooperator = Cooperator(scheduler=ticks, clock=clock, time_slice=4)

        def parent():
            yield from itertools.islice(spin(log, "p", clock, MILLISECOND), 100)
            cooperator.cooperate(spin(log, "c", clock, MILLISECOND))
            yield from spin(log, "p", clock, MILLISECOND)

        cooperator.cooperate(parent())
        ticks.tick()
        assert log[:100] == ["p"] * 100
        assert abs(log.count("c") - (len(log) - 100) / 2) <= 2
        cooperator.stop()

    @on_both_loops
    async def test_extreme_weights_beside_each_other_are_survived(self):
        cooperator = Stepwise()
        log = []
        for name, weight in (("tiny", 1e-300), ("huge", 1e300), ("one", 1)):
            cooperator.cooperate(
                spin(log, name, cooperator.clock, MILLISECOND), name=name, weight=weight
            )
        cooperator.ticks.tick(100)
        tiny, huge, one = cooperator.tasks
        huge.pause()
        cooperator.ticks.tick(10)
        one.stop()
        cooperator.ticks.tick(10)
        huge.resume()
        cooperator.ticks.tick(10)
        huge.cancel()
        await asyncio.sleep(0)
        cooperator.ticks.tick(10)
        assert cooperator.tasks == (tiny,)
        cooperator.stop()

    @on_both_loops
    async def test_weights_that_change_in_a_step_count_from_then_on(self):
        cooperator = Stepwise()
        log = []

        def grows():
            yield from itertools.islice(spin(log, "a", cooperator.clock, MILLISECOND), 100)
            current_task().weight = 3
            yield from spin(log, "a", cooperator.clock, MILLISECOND)

        task = cooperator.cooperate(grows())
        cooperator.cooperate(spin(log, "b", cooperator.clock, MILLISECOND))
        cooperator.ticks.tick(200)
        assert abs(log.count("a") - 100) <= 1
        del log[:]
        cooperator.ticks.tick(400)
        assert abs(log.count("a") - 300) <= 5
        assert task.weight == 3
        cooperator.stop()


class Counting:
    """Count how often the queue looks at those who compete."""

    def __init__(self, monkeypatch):
        self.operations = 0
        for name in ("join", "leave", "drop", "put", "take", "_drop_stale"):
            monkeypatch.setattr(FairQueue, name, self.counted(getattr(FairQueue, name), name))

    def counted(self, method, name):
        def count(queue, *arguments):
            self.operations += (
                len(queue.ring) + len(queue.ahead) if name == "_drop_stale" else 1
            )
            return method(queue, *arguments)

        return count


class TestCosts:
    @pytest.mark.parametrize("operation", ["add", "pause", "resume", "stop", "cancel", "wake"])
    async def test_what_an_operation_costs_does_not_depend_on_how_many_are_parked(
        self, monkeypatch, operation
    ):
        counting = Counting(monkeypatch)
        costs = []
        for parked in (10, 1000):
            cooperator = Stepwise()
            for _ in range(parked):
                cooperator.cooperate(iter("ab")).pause()
            counting.operations = 0
            future = asyncio.get_running_loop().create_future()
            for _ in range(20):
                task = cooperator.cooperate(iter([future]))
                if operation in ("pause", "resume"):
                    task.pause()
                if operation == "resume":
                    task.resume()
                if operation in ("stop", "cancel"):
                    getattr(task, operation)()
            if operation == "wake":
                cooperator.ticks.tick(20)
                future.set_result(None)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            costs.append(counting.operations)
            cooperator.stop()
        assert costs[1] <= 2 * costs[0] + 20

    async def test_stopping_many_tasks_costs_no_square(self, monkeypatch):
        counting = Counting(monkeypatch)
        cooperator = Stepwise()
        tasks = [cooperator.cooperate(iter("ab")) for _ in range(2000)]
        counting.operations = 0
        for task in tasks:
            task.stop()
        assert counting.operations < 10 * len(tasks)

    async def test_parked_tasks_cost_a_ready_one_nothing(self, monkeypatch):
        cooperator = Stepwise()
        for _ in range(1000):
            cooperator.cooperate(iter("ab")).pause()
        cooperator.cooperate(iter(range(1000)))
        cooperator.ticks.tick()
        counting = Counting(monkeypatch)
        cooperator.ticks.tick(100)
        assert counting.operations <= 200
        cooperator.stop()
