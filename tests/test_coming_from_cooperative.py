"""What docs/coming-from/cooperative.md says of `cooperative` itself, where that is installed.

Its last version, 0.1.12, can be installed up to Python 3.11: later ones lack what its setup
script imports.
"""

from collections import deque

import pytest
from core_support import Ticks, one_step
from test_coming_from import NAMES, values

cooperative = pytest.importorskip("cooperative")
defer = pytest.importorskip("twisted.internet.defer")
twisted_task = pytest.importorskip("twisted.internet.task")


@pytest.fixture
def ticks():
    return Ticks()


@pytest.fixture
def cooperator(ticks):
    """Make one of Twisted's that takes one step for each tick."""
    return twisted_task.Cooperator(one_step, ticks)


def ends(deferred):
    """Return a list that gets what the Deferred fires with: a result or a class of error."""
    seen = []
    deferred.addCallbacks(seen.append, lambda failure: seen.append(failure.type))
    return seen


def test_the_names_are_those_of_the_package():
    public = {
        name
        for name, value in vars(cooperative).items()
        if getattr(value, "__module__", None) == "cooperative"
    }
    older = {name for name in NAMES["cooperative"] if name.startswith("cooperative_")}
    assert public | older == set(NAMES["cooperative"])
    assert cooperative.__version__ == "0.1.12"


def test_a_call_begins_at_once(cooperator, ticks):
    cooperative.accumulate(iter("abc"), cooperator)
    assert len(ticks.pending) == 1


def test_a_deferred_is_waited_for_and_collected_without_its_result(cooperator, ticks):
    deferred = defer.Deferred()
    told = ends(cooperative.accumulate(iter([1, deferred, 2]), cooperator))
    ticks.run()
    assert told == []
    deferred.callback("the result")
    ticks.run()
    assert told == [deque([1, deferred, 2])]
    assert ends(deferred) == [None]


def test_in_a_batch_a_deferred_is_only_collected(cooperator, ticks):
    deferred = defer.Deferred()
    told = ends(cooperative.batch_accumulate(10, iter([1, deferred, 2]), cooperator))
    ticks.run()
    assert told == [deque([1, deferred, 2])]


def test_a_turn_is_a_whole_batch_and_nones_count(cooperator, ticks):
    log = []

    def nothing():
        for each in values(log, "abcde"):
            yield None if each else each

    told = ends(cooperative.batch_accumulate(3, nothing(), cooperator))
    ticks.tick()
    assert log == list("abc")
    ticks.run()
    assert told == [deque()]


@pytest.mark.parametrize(
    ("size", "result"),
    [
        (0, deque()),
        (None, deque("abc")),
        (True, deque("abc")),
        (-1, ValueError),
        (2.5, ValueError),
    ],
)
def test_sizes_are_not_checked(cooperator, ticks, size, result):
    told = ends(cooperative.batch_accumulate(size, iter("abc"), cooperator))
    ticks.run()
    assert told == [result]


@pytest.mark.parametrize("what", [1, lambda: iter("abc")])
def test_what_cannot_be_iterated_over_fails_in_the_deferred(cooperator, ticks, what):
    told = ends(cooperative.accumulate(what, cooperator))
    ticks.run()
    assert told == [TypeError]


def test_cancelling_leaves_the_generator_running(cooperator, ticks):
    log = []
    deferred = cooperative.accumulate(values(log, "abc"), cooperator)
    told = ends(deferred)
    ticks.tick()
    deferred.cancel()
    ticks.run()
    assert (told, log) == ([defer.CancelledError], list("abc"))


def test_a_cooperator_is_whatever_cooperates_and_is_true():
    iterators = []

    class Anything:
        def cooperate(self, iterator):
            iterators.append(iterator)
            return self

        def whenDone(self):  # noqa: N802 (Twisted's name)
            return defer.succeed(None)

    cooperative.accumulate("abc", Anything())
    assert [list(iterator) for iterator in iterators] == [list("abc")]


def test_contents_are_the_bucket_itself():
    bucket = cooperative.ValueBucket()
    contents = bucket.contents()
    for value in (1, None, 2):
        bucket(value)
    assert contents == deque([1, 2])
    assert cooperative.accumulation_handler(None, bucket) is contents
    assert bucket.contents() == deque()


def test_accumulations_take_turns_and_a_batch_is_one_turn(cooperator, ticks):
    log = []
    told = [
        ends(cooperative.accumulate(values(log, "ab"), cooperator)),
        ends(cooperative.accumulate(values(log, "cd"), cooperator)),
        ends(cooperative.batch_accumulate(3, values(log, "efgh"), cooperator)),
        ends(cooperative.accumulate(values(log, "ij"), cooperator)),
    ]
    ticks.run()
    assert ["".join(*each) for each in told] == ["ab", "cd", "efgh", "ij"]
    assert "".join(log) == "acefgibdhj"
