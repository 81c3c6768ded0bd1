import pytest

from cooperative_aio.testing import ManualScheduler, one_step, steps_per_tick


@pytest.fixture
def scheduler():
    return ManualScheduler()


def test_nothing_is_called_until_it_is_pumped(scheduler):
    log = []
    for name in "abc":
        scheduler(lambda name=name: log.append(name))
    assert log == []
    assert scheduler.pump() == 1
    assert log == ["a"]
    assert scheduler.pump(5) == 2
    assert log == ["a", "b", "c"]
    assert scheduler.pump() == 0


def test_calls_scheduled_while_pumping_come_after_the_others(scheduler):
    log = []
    scheduler(lambda: scheduler(lambda: log.append("inner")))
    scheduler(lambda: log.append("outer"))
    assert scheduler.pump(2) == 2
    assert log == ["outer"]
    assert scheduler.pump(2) == 1
    assert log == ["outer", "inner"]


def test_pending_calls_can_be_seen_and_cancelled(scheduler):
    first, second = scheduler(pytest.fail), scheduler(lambda: None)
    assert scheduler.pending == (first, second)
    first.cancel()
    first.cancel()
    assert (first.active(), second.active()) == (False, True)
    assert scheduler.pump(2) == 1
    assert scheduler.pending == ()
    second.cancel()


def test_run_pumps_until_nothing_is_pending(scheduler):
    left = [1, 2, 3]

    def again():
        left.pop()
        if left:
            scheduler(again)

    scheduler(again)
    assert scheduler.run() == 3
    assert scheduler.run() == 0


def test_run_gives_up_on_what_never_ends(scheduler):
    def again():
        scheduler(again)

    scheduler(again)
    with pytest.raises(RuntimeError, match="the scheduler is still not idle after 10 calls"):
        scheduler.run(limit=10)
    assert len(scheduler.pending) == 1


def test_an_exception_comes_out_and_leaves_the_later_calls(scheduler):
    scheduler(lambda: 1 / 0)
    scheduler(lambda: None)
    with pytest.raises(ZeroDivisionError):
        scheduler.pump(2)
    assert scheduler.pump(2) == 1


def test_bad_arguments_are_refused(scheduler):
    with pytest.raises(ValueError, match="n must be at least 0, got -1"):
        scheduler.pump(-1)
    with pytest.raises(TypeError, match="callback must be callable, got 3"):
        scheduler(3)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        steps_per_tick(0)


def test_one_step_ends_every_tick_after_one_step():
    predicate = one_step()
    assert [predicate(), predicate()] == [True, True]


def test_steps_per_tick_counts_anew_in_each_tick():
    factory = steps_per_tick(3)
    for _tick in range(2):
        predicate = factory()
        assert [predicate() for _ in range(3)] == [False, False, True]


def test_reprs_say_what_is_pending(scheduler):
    call = scheduler(print)
    assert repr(scheduler) == "<ManualScheduler 1 pending>"
    assert repr(call) == "<ManualCall pending <built-in function print>>"
    call.cancel()
    assert repr(call) == "<ManualCall past <built-in function print>>"
