"""One change at a time, and what comes while one is made."""

import asyncio

import pytest
from core_support import Stepwise, on_both_loops, turns

from cooperative_aio import TaskFailed
from cooperative_aio._changes import Changes
from cooperative_aio._checks import quote


class TestChanges:
    def test_a_change_is_made_at_once(self):
        log = []
        Changes().make(log.append, 1)
        assert log == [1]

    def test_what_comes_in_the_middle_of_one_is_made_after_it(self):
        changes, log = Changes(), []

        def change():
            log.append("begun")
            changes.make(log.append, "noted")
            changes.make(change_again)
            log.append("over")

        def change_again():
            log.append("again")
            changes.make(log.append, "noted in that")

        changes.make(change)
        assert log == ["begun", "over", "noted", "again", "noted in that"]
        assert not changes.busy

    def test_one_that_raises_keeps_no_other_from_being_made(self):
        changes, log = Changes(), []

        def raises():
            raise LookupError("noted, and wrong")

        def change():
            changes.make(raises)
            changes.make(log.append, "after it")

        with pytest.raises(LookupError, match="noted, and wrong"):
            changes.make(change)
        assert log == ["after it"]
        assert not changes.busy

    def test_what_a_running_step_asks_for_is_done_at_once(self):
        changes, log, seat = Changes(), [], object()

        def change():
            changes.call(seat, step)
            log.append("over")

        def step():
            changes.make(log.append, changes.is_running(seat))
            assert changes.current is seat

        changes.make(change)
        assert log == [True, "over"]

    def test_what_is_to_leave_leaves_when_the_change_is_over(self):
        changes, log = Changes(), []

        def change():
            changes.leaving = SystemExit("now")
            log.append("over")

        with pytest.raises(SystemExit, match="now"):
            changes.make(change)
        assert (log, changes.leaving) == (["over"], None)

    def test_a_seat_that_cannot_move_yet_is_moved_later(self):
        class Seat:
            tries = 0

            def move(self):
                self.tries += 1
                return self if self.tries < 3 else None

        changes, seat = Changes(), Seat()
        changes.moves.append(seat)
        for tries in (1, 2, 3):
            changes.settle()
            assert (seat.tries, len(changes.moves)) == (tries, int(tries < 3))


class TestQuotations:
    class Hostile:
        def __repr__(self):
            raise LookupError

    class HostileText(str):
        __slots__ = ()

        def __repr__(self):
            raise LookupError

    class Long:
        def __repr__(self):
            return "x" * 10_000

    class Unnamed(type):
        @property
        def __name__(cls):
            raise LookupError

    class OfNoName(metaclass=Unnamed):
        pass

    @pytest.mark.parametrize(
        ("value", "begins"),
        [
            (Hostile(), "<TestQuotations.Hostile instance at 0x"),
            (HostileText("a"), "<TestQuotations.HostileText instance at 0x"),
            (Long(), "xxx"),
            (OfNoName(), "<TestQuotations.OfNoName instance at 0x"),
            (10**5000, "<int instance"),
            (list(range(10**6)), "[0, 1, 2"),
        ],
        ids=["raises", "of a builtin", "long", "of no name", "too many digits", "a list"],
    )
    def test_are_short_whatever_the_representation_does(self, value, begins):
        assert quote(value).startswith(begins)
        assert len(quote(value)) < 300


@on_both_loops
async def test_an_interrupt_out_of_one_task_that_is_woken_keeps_no_other_asleep(reports):
    """They wait on one future, and are being cancelled when that is done."""
    cooperator = Stepwise()
    future = asyncio.get_running_loop().create_future()
    log = []

    def waits(name, ends_with):
        try:
            yield future
        finally:
            log.append(name)
            if ends_with is not None:
                raise ends_with

    first = cooperator.cooperate(waits("first", LookupError("its own")))
    second = cooperator.cooperate(waits("second", None))
    cooperator.ticks.tick(2)
    first.cancel()
    second.cancel()
    await turns()
    assert log == ["first", "second"]
    assert first.state == "failed"
    assert second.cancelled()
    with pytest.raises(TaskFailed, match="look at done"):
        first.stop()
    assert str(first.exception()) == "its own"
    assert reports == []


@on_both_loops
async def test_a_clock_that_gives_no_number_is_reported_once_and_stands(reports):
    readings = iter([0.0, float("nan"), float("inf"), 0.5])
    cooperator = Stepwise(clock=lambda: next(readings, 1.0))
    task = cooperator.cooperate(iter("ab"))
    cooperator.ticks.run()
    assert task.done()
    assert [str(report["exception"]) for report in reports] == [
        "clock must return a finite number, got nan"
    ]
