"""What docs/coming-from/twisted.md says of Twisted itself, where that is installed."""

import contextlib
import contextvars
import gc
import inspect
import subprocess
import sys
import threading
import time
import warnings

import pytest
from core_support import Ticks, errors_in, forever, one_step, work
from test_coming_from import NAMES, inline, raises

twisted_task = pytest.importorskip("twisted.internet.task")
defer = pytest.importorskip("twisted.internet.defer")
logger = pytest.importorskip("twisted.logger")

Deferred = defer.Deferred


@pytest.fixture
def ticks():
    return Ticks()


@pytest.fixture
def cooperator(ticks):
    """Make one of Twisted's that takes one step for each tick."""
    return twisted_task.Cooperator(one_step, ticks)


@pytest.fixture
def logged():
    """Collect the failures that are logged, which is when a Deferred is collected."""
    failures = []

    def observe(event):
        if "log_failure" in event:
            failures.append(event["log_failure"].type)

    logger.globalLogPublisher.addObserver(observe)
    yield failures
    logger.globalLogPublisher.removeObserver(observe)


def ends(deferred):
    """Return a list that gets what the Deferred fires with: a result or a class of error."""
    seen = []
    deferred.addCallbacks(seen.append, lambda failure: seen.append(failure.type))
    return seen


def fails():
    yield
    raise LookupError("failed")


# --- names ------------------------------------------------------------------------------


def test_the_names_are_those_of_the_module():
    public = {
        name: value
        for name, value in vars(twisted_task).items()
        if name[0] != "_" and getattr(value, "__module__", None) == twisted_task.__name__
    }
    assert sorted(public) == sorted(NAMES["twisted"])
    instances = {
        "Clock": twisted_task.Clock(),
        "LoopingCall": twisted_task.LoopingCall(print),
    }
    for name, parts in NAMES["twisted"].items():
        if inspect.isclass(public[name]) and not issubclass(public[name], Exception):
            found = {*dir(public[name]), *vars(instances.get(name, public[name]))}
            assert sorted(part for part in found if part[0] != "_") == sorted(parts)


def test_the_errors_are_the_family():
    parents = {
        name: getattr(twisted_task, name).__base__.__name__
        for name in NAMES["twisted"]
        if name[:4] in ("Task", "Sche", "NotP")
    }
    assert parents == {
        "NotPaused": "SchedulerError",
        "SchedulerError": "Exception",
        "SchedulerStopped": "SchedulerError",
        "TaskDone": "TaskFinished",
        "TaskFailed": "TaskFinished",
        "TaskFinished": "SchedulerError",
        "TaskStopped": "TaskFinished",
    }


# --- the Cooperator ---------------------------------------------------------------------


def test_a_tick_lasts_ten_milliseconds_by_default(ticks):
    cooperator = twisted_task.Cooperator(scheduler=ticks)
    cooperator.cooperate(forever())
    began = time.monotonic()
    ticks.tick()
    assert time.monotonic() - began > 0.005
    cooperator.stop()


def test_what_a_scheduler_returns_is_not_checked():
    scheduled = []
    cooperator = twisted_task.Cooperator(one_step, scheduled.append)
    for _ in range(3):
        cooperator.cooperate(forever())
    assert len(scheduled) == 3
    cooperator.stop()
    assert len(scheduled) == 3  # still


def test_after_a_predicate_has_raised_nothing_comes_until_something_is_added(ticks):
    cooperator = twisted_task.Cooperator(lambda: lambda: 1 / 0, ticks)
    cooperator.cooperate(forever())
    with pytest.raises(ZeroDivisionError):
        ticks.tick()
    assert ticks.pending == ()
    cooperator.cooperate(forever())
    assert len(ticks.pending) == 1


def test_after_a_scheduler_has_raised_nothing_comes_until_something_is_added():
    scheduled = []

    def schedule(callback):
        scheduled.append(callback)
        if len(scheduled) == 2:
            raise LookupError("no more")
        return threading.Timer(0, callback)  # has cancel()

    cooperator = twisted_task.Cooperator(one_step, schedule)
    cooperator.cooperate(forever())
    with pytest.raises(LookupError):
        scheduled[0]()
    cooperator.cooperate(forever())
    assert len(scheduled) == 3


def test_steps_are_shared_and_not_time(cooperator, ticks):
    log = []
    for name in "ab":
        cooperator.cooperate(work(log, name * 20))
    ticks.run()
    assert log == ["a", "b"] * 20


@pytest.mark.parametrize(
    ("letters", "expected"), [(("a", "bbb", "ccc"), "abccbcb"), (("aaa", "bbb", "ccc"), None)]
)
def test_after_one_that_ends_or_pauses_the_next_misses_a_turn(
    cooperator, ticks, letters, expected
):
    log = []
    tasks = [cooperator.cooperate(work(log, each)) for each in letters]
    if expected is None:
        ticks.tick()
        tasks[0].pause()
        ticks.tick(3)
        expected = "acbc"
    else:
        ticks.run()
    assert "".join(log) == expected


@pytest.mark.parametrize("number", range(1, 6))
def test_stop_forgets_every_second_task(cooperator, ticks, number):
    told = [ends(cooperator.cooperate(forever()).whenDone()) for _ in range(number)]
    cooperator.stop()
    assert [bool(each) for each in told] == [index % 2 == 0 for index in range(number)]
    assert ticks.pending == ()


def test_stop_tells_paused_and_waiting_tasks_only_when_they_are_resumed(cooperator, ticks):
    deferred = Deferred()
    waiting = cooperator.cooperate(iter([deferred]))
    paused = cooperator.cooperate(forever())
    ticks.tick()
    paused.pause()
    told = [ends(task.whenDone()) for task in (waiting, paused)]
    cooperator.stop()
    assert told == [[], []]
    paused.resume()
    deferred.callback(None)
    assert told == [[twisted_task.SchedulerStopped]] * 2


@pytest.mark.parametrize("last_words", ["return", "raise"])
@pytest.mark.parametrize("stopped", ["task", "Cooperator"])
def test_stopping_in_the_last_step_tears_the_tick(cooperator, ticks, last_words, stopped):
    def stops():
        (task if stopped == "task" else cooperator).stop()
        if last_words == "raise":
            raise LookupError("too late")
        return
        yield

    task = cooperator.cooperate(stops())
    told = ends(task.whenDone())
    log = []
    if stopped == "task":
        cooperator.cooperate(work(log, "abc"))
    with pytest.raises(ValueError, match="not in list"):
        ticks.tick()
    assert len(told) == 1
    assert (log, ticks.pending) == ([], ())  # nobody else goes on


def test_a_stopped_one_closes_no_generator(cooperator, ticks):
    log = []
    generator = forever(log)
    cooperator.cooperate(generator)
    ticks.tick()
    cooperator.stop()
    assert log == []
    del generator
    gc.collect()
    assert log == ["closed"]


def test_a_stopped_one_refuses_tasks_until_it_is_started_again(cooperator, ticks):
    cooperator.stop()
    assert ends(cooperator.cooperate(forever()).whenDone()) == [twisted_task.SchedulerStopped]
    cooperator.start()
    told = ends(cooperator.cooperate(iter("ab")).whenDone())
    ticks.run()
    assert len(told) == 1
    assert cooperator.running


def test_another_thread_is_not_noticed(cooperator):
    thread = threading.Thread(target=cooperator.cooperate, args=[forever()])
    thread.start()
    thread.join()
    assert len(cooperator._tasks) == 1


@pytest.mark.parametrize("make", [list, raises])
def test_what_is_no_iterator_is_a_task_that_fails(cooperator, ticks, make):
    with contextlib.closing(raises(None)) as coroutine:
        told = ends(cooperator.cooperate([] if make is list else coroutine).whenDone())
        ticks.run()
    assert told == [TypeError]


def test_the_global_one_is_made_with_the_module():
    assert isinstance(twisted_task._theCooperator, twisted_task.Cooperator)
    assert list(inspect.signature(twisted_task.coiterate).parameters) == ["iterator"]


def test_a_done_deferred_that_has_fired_is_an_error_in_the_end(logged):
    def give():
        ticks = Ticks()
        done = Deferred()
        done.callback(None)
        cooperator = twisted_task.Cooperator(one_step, ticks)
        assert cooperator.coiterate(iter("a"), done) is done
        ticks.run()

    give()
    gc.collect()
    assert logged == [defer.AlreadyCalledError]


def test_work_may_be_added_before_the_reactor_runs():
    cooperator = twisted_task.Cooperator()
    task = cooperator.cooperate(forever())
    task.stop()
    assert cooperator._delayedCall is None  # it was one of the reactor


def test_steps_have_the_context_of_the_tick(cooperator, ticks):
    variable = contextvars.ContextVar("variable", default="that of the tick")
    seen = []

    def looks():
        seen.append(variable.get())
        yield

    def caller():
        variable.set("that of the caller")
        cooperator.cooperate(looks())

    contextvars.copy_context().run(caller)
    ticks.run()
    assert seen == ["that of the tick"]


# --- the task ---------------------------------------------------------------------------


def test_when_done_gives_the_iterator_and_loses_what_it_returns(cooperator, ticks):
    def returns():
        yield
        return 42

    generator = returns()
    told = ends(cooperator.cooperate(generator).whenDone())
    ticks.run()
    assert told == [generator]


def test_who_waits_is_told_inside_of_stop(cooperator):
    log = []
    task = cooperator.cooperate(forever())
    task.whenDone().addErrback(lambda failure: log.append(failure.type))
    task.stop()
    log.append("stop() has returned")
    assert log == [twisted_task.TaskStopped, "stop() has returned"]


@pytest.mark.parametrize("how", ["whenDone", "coiterate"])
def test_cancelling_what_tells_of_the_end_leaves_the_task_alone(cooperator, ticks, how):
    log = []
    iterator = work(log, "abc")
    if how == "whenDone":
        deferred = cooperator.cooperate(iterator).whenDone()
    else:
        deferred = cooperator.coiterate(iterator)
    told = ends(deferred)
    deferred.cancel()
    ticks.run()
    assert (told, log) == ([defer.CancelledError], list("abc"))


def test_stop_closes_no_generator(cooperator, ticks):
    log = []
    task = cooperator.cooperate(forever(log))
    ticks.tick()
    task.stop()
    gc.collect()
    assert log == []
    del task
    gc.collect()
    assert log == ["closed"]


def test_a_deferred_that_fails_when_its_task_was_stopped_changes_that(
    cooperator, ticks, logged
):
    deferred = Deferred()
    task = cooperator.cooperate(iter([deferred]))
    told = ends(task.whenDone())
    ticks.tick()
    task.stop()
    deferred.errback(LookupError("for somebody else"))
    assert told == [twisted_task.TaskStopped]
    with pytest.raises(twisted_task.TaskFailed):
        task.pause()
    del deferred, task
    gc.collect()
    assert logged == [defer.AlreadyCalledError]


def test_a_finished_task_raises_one_exception_again_and_again(cooperator, ticks):
    task = cooperator.cooperate(iter(()))
    ticks.run()
    caught = []
    for operation in (task.pause, task.stop):
        with pytest.raises(twisted_task.TaskDone) as raised:
            operation()
        caught.append(raised.value)
    assert caught[0] is caught[1]
    assert str(caught[0]) == ""
    with pytest.raises(twisted_task.NotPaused):
        task.resume()


def test_resume_lets_a_task_go_on_that_waits(cooperator, ticks):
    log = []
    deferred = Deferred()

    def waits():
        yield deferred
        log.append("went on")
        yield

    task = cooperator.cooperate(waits())
    ticks.tick()
    task.resume()
    ticks.tick()
    assert (log, deferred.called) == (["went on"], False)


def test_a_failure_nobody_asked_for_is_lost(cooperator, ticks, logged):
    cooperator.cooperate(fails())
    ticks.run()
    gc.collect()
    assert logged == []
    cooperator.cooperate(fails()).whenDone()
    ticks.run()
    gc.collect()
    assert logged == [LookupError]


@pytest.mark.parametrize("leaving", [KeyboardInterrupt, SystemExit])
def test_who_wants_to_leave_the_program_does_not(cooperator, ticks, leaving):
    def leaves():
        yield
        raise leaving

    told = ends(cooperator.cooperate(leaves()).whenDone())
    ticks.run()
    assert told == [leaving]


# --- what is yielded --------------------------------------------------------------------


def test_results_are_not_sent_in_and_nobody_gets_them_later(cooperator, ticks):
    log = []
    deferred = Deferred()

    def waits():
        log.append((yield deferred))

    cooperator.cooperate(waits())
    ticks.tick()
    deferred.callback("the result")
    ticks.run()
    assert (log, ends(deferred)) == ([None], [None])


def test_failures_are_not_thrown_in_and_nobody_gets_them_later(cooperator, ticks):
    log = []
    deferred = Deferred()

    def waits():
        try:
            yield deferred
        except LookupError:
            log.append("caught")

    task = cooperator.cooperate(waits())
    told = ends(task.whenDone())
    ticks.tick()
    deferred.errback(LookupError("the failure"))
    ticks.run()
    assert (log, told, ends(deferred)) == ([], [LookupError], [None])


def test_after_a_deferred_that_has_fired_the_tick_goes_on(ticks):
    def five_steps():
        steps = iter([False] * 4)
        return lambda: next(steps, True)

    log = []

    def waits():
        log.append("before")
        yield defer.succeed(None)
        log.append("after")

    twisted_task.Cooperator(five_steps, ticks).cooperate(waits())
    ticks.tick()
    assert log == ["before", "after"]


def test_a_coroutine_is_a_value_and_never_run(cooperator, ticks):
    with contextlib.closing(raises(LookupError("never"))) as coroutine:
        told = ends(cooperator.cooperate(iter([coroutine])).whenDone())
        ticks.run()
        assert len(told) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it was never awaited
            del coroutine


def test_one_failure_ends_one_of_those_who_share_a_generator(cooperator, ticks):
    deferreds = [Deferred() for _ in range(3)]
    started = []

    def shared():
        for deferred in deferreds:
            started.append(deferred)
            yield deferred

    generator = shared()
    told = [ends(cooperator.coiterate(generator)) for _ in range(2)]
    ticks.tick(2)
    deferreds[0].errback(LookupError("of one"))
    for deferred in deferreds[1:]:
        deferred.callback(None)
        ticks.run()
    assert (started, told) == (deferreds, [[LookupError], [generator]])


# --- Deferreds --------------------------------------------------------------------------


def test_inline_callbacks_get_values_back():
    log = []
    body = inline(log, defer.succeed("result"), defer.fail(LookupError("failure")))
    told = ends(defer.inlineCallbacks(lambda: body)())
    assert (log, told) == (["result", "failure", "no awaitable"], ["returned"])


def test_gather_results_wraps_the_failure():
    told = ends(defer.gatherResults([Deferred(), defer.fail(LookupError("inside"))]))
    assert told == [defer.FirstError]


def test_a_deferred_list_does_not_fail():
    [results] = ends(
        defer.DeferredList([defer.succeed(1), defer.fail(LookupError())], consumeErrors=True)
    )
    assert [succeeded for succeeded, _ in results] == [True, False]


def test_a_cooperator_service_stops_without_waiting():
    internet = pytest.importorskip("twisted.application.internet")
    service = internet.CooperatorService()
    service.coop._scheduler = Ticks()
    told = ends(service.coiterate(forever()))
    service.startService()
    service.stopService()
    assert told == [twisted_task.SchedulerStopped]


# --- both in one program ----------------------------------------------------------------

BOTH = """\
import asyncio

from twisted.internet import asyncioreactor, defer, task

asyncioreactor.install()  # before anything imports the reactor

from cooperative_aio import batch_accumulate


def expensive(reactor):
    loop = asyncio.get_running_loop()
    first = yield task.deferLater(reactor, 0.01, int, 1).asFuture(loop)  # wait for a Deferred
    for value in range(3):
        yield first + value


@defer.inlineCallbacks
def main(reactor):
    yield task.deferLater(reactor, 0)  # react calls this before the loop runs
    computing = asyncio.ensure_future(batch_accumulate(1000, expensive(reactor)))
    values = yield defer.Deferred.fromFuture(computing)  # wait for a coroutine of asyncio
    print(list(values))


task.react(main)
"""

DIRECTLY = """\
import asyncio

from twisted.internet import asyncioreactor, defer, task

asyncioreactor.install()

from cooperative_aio import cooperate


def waits():
    try:
        yield defer.Deferred()
    except RuntimeError as error:
        print(str(error)[:18])
    print((yield defer.succeed("has fired")))


@defer.inlineCallbacks
def main(reactor):
    yield task.deferLater(reactor, 0)
    yield defer.Deferred.fromFuture(cooperate(waits()))


task.react(main)
"""

TOO_EARLY = """\
from twisted.internet import asyncioreactor, task

asyncioreactor.install()

from cooperative_aio import cooperate


def main(reactor):
    try:
        cooperate(iter("abc"))
    except RuntimeError as error:
        print(str(error)[:53])
    return task.deferLater(reactor, 0)


task.react(main)
"""


def run(program):
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (errors_in(done.stderr), done.returncode) == ("", 0), done.stdout
    return done.stdout


def test_both_work_in_one_program_on_the_asyncio_reactor():
    assert run(BOTH) == "[1, 2, 3]\n"


def test_before_the_reactor_runs_there_is_no_loop():
    assert run(TOO_EARLY) == "cannot find a Cooperator without a running event loop\n"


def test_a_deferred_that_is_yielded_directly_must_have_fired():
    assert run(DIRECTLY) == "Task got bad yield\nhas fired\n"
