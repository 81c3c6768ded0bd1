"""to_slices and in_slices: ordinary functions that are awaited."""

import asyncio
import contextvars
import functools
import gc
import inspect
import weakref

import pytest
from core_support import on_both_loops
from functions_support import let_go

from cooperative_aio import Cooperator, SchedulerFull, SchedulerStopped, get_cooperator
from cooperative_aio.functions import PreemptionUnavailable, in_slices, to_slices, wait_on

number = contextvars.ContextVar("number", default=0)


def divide(one, other=1, *, rounded=False):
    """Divide one by the other."""
    return one // other if rounded else one / other


@on_both_loops
async def test_the_result_is_returned():
    assert await to_slices(divide, 7, 2) == 3.5
    assert await to_slices(functools.partial(divide, rounded=True), 7, 2) == 3


@on_both_loops
async def test_the_exception_is_raised():
    with pytest.raises(ZeroDivisionError) as caught:
        await to_slices(divide, 1, 0)
    assert caught.traceback[-1].name == "divide"


@on_both_loops
async def test_stop_iteration_is_a_runtime_error():
    with pytest.raises(RuntimeError, match="next raised StopIteration"):
        await to_slices(next, iter([]))


@on_both_loops
async def test_nothing_begins_before_it_is_awaited():
    log = []
    coroutine = to_slices(log.append, 1)
    await asyncio.sleep(0.01)
    assert log == []
    await coroutine
    assert log == [1]


@on_both_loops
async def test_the_options_are_those_of_cooperate():
    context = contextvars.copy_context()
    context.run(number.set, 5)
    cooperator = Cooperator(time_slice=0.25)

    def work():
        [task] = cooperator.tasks
        return task.name, task.weight, task.group.name, number.get()

    options = {"name": "work", "weight": 3, "group": "group", "context": context}
    found = await to_slices(work, cooperator=cooperator, **options)
    assert found == ("work", 3, "group", 5)


@on_both_loops
async def test_what_a_function_sets_in_its_context_stays_there():
    def work():
        number.set(1)
        let_go()
        return number.get()

    assert await to_slices(work) == 1
    assert number.get() == 0


@on_both_loops
async def test_bad_arguments_are_refused():
    with pytest.raises(TypeError, match="cooperator must be a Cooperator or None, got 'it'"):
        await to_slices(int, cooperator="it")
    with pytest.raises(TypeError, match="function must be callable, got 1"):
        await to_slices(1)
    with pytest.raises(TypeError, match="weight must be a finite number above 0"):
        await to_slices(int, weight="heavy")
    assert get_cooperator().tasks == ()


def test_a_loop_is_needed():
    with pytest.raises(RuntimeError, match="cannot find a Cooperator without a running event"):
        to_slices(int).send(None)


@on_both_loops
async def test_a_full_or_stopped_cooperator_refuses():
    cooperator = Cooperator(max_tasks=1)
    future = asyncio.get_running_loop().create_future()
    first = asyncio.create_task(to_slices(lambda: wait_on(future), cooperator=cooperator))
    await asyncio.sleep(0)
    with pytest.raises(SchedulerFull):
        await to_slices(int, cooperator=cooperator)
    cooperator.stop()
    with pytest.raises(SchedulerStopped):
        await first
    with pytest.raises(SchedulerStopped):
        await to_slices(int, cooperator=cooperator)


@on_both_loops
async def test_stopping_unwinds_the_function_before_it_returns():
    log = []
    future = asyncio.get_running_loop().create_future()

    def work():
        try:
            wait_on(future)
        finally:
            log.append("finally")

    cooperator = Cooperator()
    task = asyncio.create_task(to_slices(work, cooperator=cooperator))
    await asyncio.sleep(0.01)
    cooperator.stop()
    assert log == ["finally"]
    assert not future.cancelled()
    with pytest.raises(SchedulerStopped):
        await task


def test_leaving_the_loop_unwinds_the_function(loop_factory):
    log = []

    def work():
        try:
            wait_on(asyncio.get_running_loop().create_future())
        finally:
            log.append("finally")

    async def main():
        get_cooperator().cooperate(steps_of(work, preempt=False))
        await asyncio.sleep(0.01)

    from cooperative_aio.functions import steps_of  # noqa: PLC0415

    with asyncio.Runner(debug=True, loop_factory=loop_factory) as runner:
        runner.run(main())
    assert log == ["finally"]


@on_both_loops
async def test_a_function_that_ignores_that_it_is_stopped_is_reported_and_dropped(
    reports, monkeypatch
):
    monkeypatch.setattr("cooperative_aio.functions._steps.PATIENCE", 0.0)

    def work():
        while True:
            try:
                let_go()
            except BaseException:  # noqa: BLE001, S110
                pass

    cooperator = Cooperator()
    task = cooperator.cooperate(steps_of_unpreempted(work))
    await asyncio.sleep(0.01)
    task.stop()
    [report] = reports
    assert "ignored that it was stopped; it is dropped where it stands" in str(
        report["exception"]
    )
    assert task.exception() is not None


def steps_of_unpreempted(function):
    from cooperative_aio.functions import steps_of  # noqa: PLC0415

    return steps_of(function, preempt=False)


@on_both_loops
async def test_nothing_of_a_call_is_kept():
    class Thing:
        pass

    async def call():
        thing = Thing()
        things.append(weakref.ref(thing))
        await to_slices(lambda _: None, thing)
        with pytest.raises(ZeroDivisionError):
            await to_slices(lambda _: 1 / 0, thing)

    things = []
    await call()
    await asyncio.sleep(0)
    gc.collect()
    assert things[0]() is None


# Decorated


@on_both_loops
async def test_a_decorated_function_is_awaited():
    decorated = in_slices(divide)
    assert await decorated(7, 2) == 3.5
    assert await decorated(7, other=2, rounded=True) == 3


def test_a_decorated_function_looks_as_before():
    decorated = in_slices(divide)
    assert inspect.iscoroutinefunction(decorated)
    assert inspect.signature(decorated) == inspect.signature(divide)
    assert (decorated.__name__, decorated.__doc__) == ("divide", "Divide one by the other.")


@on_both_loops
async def test_a_method_can_be_decorated():
    class Adder:
        def __init__(self, value):
            self.value = value

        @in_slices
        def add(self, value):
            return self.value + value

    assert await Adder(1).add(2) == 3


def test_only_ordinary_functions_can_be_decorated():
    with pytest.raises(TypeError, match="function must be an ordinary function, got the corou"):

        @in_slices
        async def work():
            pass


@on_both_loops
async def test_where_there_is_no_preemption_the_call_says_so(monkeypatch):
    monkeypatch.setattr("cooperative_aio.functions._availability.PROVED", set())
    problem = (
        r"cannot preempt functions: that is not proved to be safe on \w+ 3\.\d+ and \w+;"
        r" with preempt=False they are set aside where they call give_way\(\) or wait_on\(\)"
    )
    with pytest.raises(PreemptionUnavailable, match=problem):
        await to_slices(int)
    assert await to_slices(int, preempt=False) == 0
    decorated = in_slices(int_of)
    with pytest.raises(PreemptionUnavailable, match=problem):
        await decorated("1")
    assert get_cooperator().tasks == ()


def int_of(text):
    return int(text)


def test_postponed_annotations_are_known_by_the_time_somebody_else_looks():
    names = {"in_slices": in_slices}
    code = """
from __future__ import annotations
class Here: pass
@in_slices
def known(value: Here) -> int: ...
@in_slices
def unknown(value: Elsewhere) -> int: ...
"""
    exec(compile(code, "elsewhere", "exec", dont_inherit=True), names)  # noqa: S102
    signature = inspect.signature(names["known"])
    assert signature.parameters["value"].annotation is names["Here"]
    assert signature.return_annotation is int
    assert inspect.signature(names["unknown"]).return_annotation == "int"
