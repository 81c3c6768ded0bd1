"""Functions as iterators: they can be stepped, sent to, thrown into and closed."""

import asyncio
import contextlib
import contextvars
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Generator
from functools import partial

import pytest
from core_support import on_both_loops
from functions_support import Done, let_go

from cooperative_aio import accumulate, cooperate, current_task
from cooperative_aio.functions import (
    PreemptionUnavailable,
    Steps,
    give_way,
    steps_of,
    to_slices,
    wait_on,
)
from cooperative_aio.functions import _steps as steps_module

steps = partial(steps_of, preempt=False)
number = contextvars.ContextVar("number", default=0)


def result_of(iterator):
    """Return what an iterator returns when it is stepped by hand."""
    while True:
        try:
            next(iterator)
        except StopIteration as stop:
            return stop.value


class SomethingElseError(Exception):
    pass


# Stepping


def test_a_function_that_does_not_let_go_is_one_step():
    iterator = steps(divmod, 17, 5)
    with pytest.raises(StopIteration) as stop:
        next(iterator)
    assert stop.value.value == (3, 2)


def test_each_leaving_ends_a_step():
    log = []

    def count():
        for value in range(3):
            log.append(value)
            let_go()
        return "done"

    iterator = steps(count)
    assert isinstance(iterator, Generator)
    assert isinstance(iterator, Steps)
    assert log == []
    next(iterator)
    assert log == [0]
    next(iterator)
    assert log == [0, 1]
    assert result_of(iterator) == "done"
    with pytest.raises(StopIteration) as stop:
        next(iterator)
    assert stop.value.value is None


def test_the_awaitable_is_yielded_and_its_result_is_sent():
    awaitable = Done()
    iterator = steps(lambda: wait_on(awaitable) + 1)
    assert next(iterator) is awaitable
    with pytest.raises(StopIteration) as stop:
        iterator.send(41)
    assert stop.value.value == 42


def test_a_value_cannot_be_sent_to_a_function_that_has_not_begun():
    iterator = steps(int)
    with pytest.raises(TypeError, match="cannot send a value to a function that has not begun"):
        iterator.send(1)
    assert result_of(iterator) == 0


@pytest.mark.parametrize(
    "form",
    [
        (SomethingElseError("thrown"),),
        (SomethingElseError, "thrown"),
        (SomethingElseError, SomethingElseError("thrown"), None),
    ],
)
def test_an_exception_is_thrown_where_the_function_stands(form):
    def catch():
        try:
            let_go()
        except SomethingElseError as error:
            return str(error)

    iterator = steps(catch)
    next(iterator)
    with pytest.raises(StopIteration) as stop:
        iterator.throw(*form)
    assert stop.value.value == "thrown"


def test_a_class_of_exceptions_can_be_thrown_with_a_traceback():
    try:
        raise SomethingElseError
    except SomethingElseError as error:
        traceback = error.__traceback__
    iterator = steps(let_go)
    next(iterator)
    with pytest.raises(SomethingElseError) as caught:
        iterator.throw(SomethingElseError, None, traceback)
    function = traceback.tb_frame.f_code.co_name
    assert caught.traceback[-1].name == function


def test_throwing_before_the_beginning_or_after_the_end_raises_there():
    log = []
    iterator = steps(log.append, 1)
    for _ in range(2):
        with pytest.raises(SomethingElseError):
            iterator.throw(SomethingElseError())
    assert result_of(iterator) is None
    assert log == []


def test_an_exception_comes_out_as_it_is_with_the_functions_lines():
    error = SomethingElseError()

    def fail():
        let_go()
        raise error

    iterator = steps(fail)
    next(iterator)
    with pytest.raises(SomethingElseError) as caught:
        next(iterator)
    assert caught.value is error
    assert caught.traceback[-1].name == "fail"
    assert "run" not in [entry.name for entry in caught.traceback]
    assert error.__context__ is None


@pytest.mark.parametrize("kind", [KeyboardInterrupt, GeneratorExit, SystemExit])
def test_any_exception_comes_out(kind):
    def fail():
        raise kind

    with pytest.raises(kind):
        next(steps(fail))


def test_greenlets_own_way_to_end_is_an_exception_like_others():
    greenlet = pytest.importorskip("greenlet")

    def fail():
        raise greenlet.GreenletExit

    with pytest.raises(greenlet.GreenletExit):
        next(steps(fail))


def test_stop_iteration_becomes_a_runtime_error():
    def fail():
        raise StopIteration(1)

    with pytest.raises(RuntimeError, match="fail raised StopIteration") as caught:
        next(steps(fail))
    assert isinstance(caught.value.__cause__, StopIteration)


def test_a_function_cannot_step_itself():
    told = []

    def step():
        for act in (next, steps.throw_into, Generator.close, Steps.close):
            with pytest.raises(ValueError, match="function already executing"):
                act(iterator)
            told.append(iterator.gi_running)

    steps.throw_into = lambda one: one.throw(SomethingElseError())
    iterator = steps(step)
    assert not iterator.gi_running
    result_of(iterator)
    assert told == [True] * 4
    assert not iterator.gi_running


def test_recursion_without_end_is_an_error_of_the_function_only():
    def recurse():
        recurse()

    with pytest.raises(RecursionError):
        next(steps(recurse))
    assert result_of(steps(sum, [1, 2])) == 3


def test_the_exception_that_is_being_handled_is_each_functions_own():
    def handle(error):
        try:
            raise error
        except SomethingElseError:
            let_go()
            return sys.exc_info()[1]

    errors = [SomethingElseError(number) for number in range(2)]
    iterators = [steps(handle, error) for error in errors]
    for iterator in iterators:
        next(iterator)
    assert sys.exc_info() == (None, None, None)
    assert [result_of(iterator) for iterator in iterators] == errors


# Closing


def test_closing_unwinds_the_function():
    log = []

    def work():
        try:
            let_go()
        finally:
            log.append("finally")

    iterator = steps(work)
    next(iterator)
    iterator.close()
    assert log == ["finally"]
    assert result_of(iterator) is None
    iterator.close()


def test_a_function_that_has_not_begun_never_does_after_closing():
    log = []
    iterator = steps(log.append, 1)
    iterator.close()
    assert result_of(iterator) is None
    assert log == []


def test_what_a_function_raises_when_it_is_closed_comes_out():
    def work():
        try:
            let_go()
        finally:
            raise SomethingElseError

    iterator = steps(work)
    next(iterator)
    with pytest.raises(SomethingElseError):
        iterator.close()


def test_a_function_may_return_when_it_is_closed():
    def work():
        try:
            let_go()
        except GeneratorExit:
            return 1

    iterator = steps(work)
    next(iterator)
    iterator.close()
    assert result_of(iterator) is None


def test_waiting_is_refused_while_closing_and_the_coroutine_is_closed():
    told = []

    def work():
        try:
            let_go()
        finally:
            give_way()  # its slice is not over: that takes a second
            coroutine = asyncio.sleep(0)
            try:
                wait_on(coroutine)
            except RuntimeError as error:
                told.append((str(error), coroutine.cr_frame))

    iterator = steps(work)
    next(iterator)
    iterator.close()
    problem = "cannot wait in a function that is being stopped; clean up by cancel() instead"
    assert told == [(problem, None)]


@pytest.mark.parametrize("wait", [give_way, let_go])
def test_a_function_that_goes_on_when_it_is_closed_is_dropped(monkeypatch, wait):
    monkeypatch.setattr(steps_module, "PATIENCE", 0.0)
    before = len(steps_module.dropped)
    rounds = []

    def work():
        let_go_first()
        while True:
            try:
                rounds.append(1)
                wait()
            except BaseException:  # noqa: BLE001
                rounds.append(2)

    def let_go_first():
        with contextlib.suppress(GeneratorExit):
            let_go()

    iterator = steps(work)
    next(iterator)
    with pytest.raises(
        RuntimeError,
        match="work ignored that it was stopped; it is dropped where it stands",
    ):
        iterator.close()
    assert rounds == [1]
    assert result_of(iterator) is None
    assert len(steps_module.dropped) == before + 1
    with pytest.raises(SomethingElseError):
        iterator.throw(SomethingElseError())


def test_what_is_dropped_is_closed_without_the_collector():
    log = []

    def work():
        try:
            let_go()
        finally:
            log.append("finally")

    iterator = steps(work)
    next(iterator)
    gc.disable()
    try:
        del iterator
        assert log == ["finally"]
    finally:
        gc.enable()


def test_arguments_and_results_are_not_kept():
    class Thing:
        pass

    def work(thing):
        let_go()
        return thing

    things = [Thing(), Thing()]
    seen = [weakref.ref(thing) for thing in things]
    iterators = [steps(work, thing) for thing in things]
    del things
    gc.disable()
    try:
        assert isinstance(result_of(iterators[0]), Thing)
        next(iterators[1])
        iterators[1].close()
        assert [one() for one in seen] == [None, None]
    finally:
        gc.enable()


def test_a_failure_keeps_nothing_but_its_frames_alive():
    def fail():
        let_go()
        raise SomethingElseError

    iterator = steps(fail)
    next(iterator)
    seen = weakref.ref(iterator)
    gc.disable()
    try:
        with pytest.raises(SomethingElseError):
            next(iterator)
        del iterator
        gc.enable()
        gc.collect()
        assert seen() is None
    finally:
        gc.enable()


# Threads


def in_thread(call):
    caught = []

    def run():
        try:
            caught.append(call())
        except BaseException as error:  # noqa: BLE001
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return caught[0]


def test_a_function_is_stepped_in_the_thread_that_it_began_in():
    iterator = steps(let_go)
    next(iterator)
    problem = "cannot step let_go in another thread than the one it began in"
    assert str(in_thread(lambda: next(iterator))) == problem
    assert str(in_thread(iterator.close)) == problem
    assert result_of(iterator) is None


def test_a_function_that_is_dropped_in_another_thread_is_unwound_in_its_own():
    log = []

    def work():
        try:
            let_go()
        finally:
            log.append(threading.current_thread())

    held = [steps(work)]
    next(held[0])
    in_thread(held.clear)
    assert log == []
    result_of(steps(int))  # the next step there
    assert log == [threading.main_thread()]


def test_functions_run_in_any_thread():
    assert in_thread(lambda: result_of(steps(sum, [1, 2]))) == 3


# What it says


def test_it_is_named_as_its_function():
    iterator = steps(partial(partial(let_go)))
    assert (iterator.__name__, iterator.__qualname__) == ("let_go", "let_go")
    assert repr(iterator) == "<steps of let_go>"

    class Callable:
        def __call__(self):
            pass

    assert steps(Callable()).__qualname__.endswith("Callable")


def test_its_frame_is_the_innermost_of_the_function():
    def inner():
        let_go()

    iterator = steps(inner)
    assert iterator.gi_frame is None
    next(iterator)
    frame = iterator.gi_frame
    assert frame.f_code is let_go.__code__
    assert frame.f_back.f_code is inner.__code__
    del frame
    result_of(iterator)
    assert iterator.gi_frame is None


@on_both_loops
async def test_a_task_shows_where_its_function_stands():
    future = asyncio.get_running_loop().create_future()
    task = cooperate(steps(lambda: wait_on(future)))
    await asyncio.sleep(0.01)
    assert f"<lambda> at {__file__}:" in repr(task)
    assert task.waiting
    future.set_result(3)
    assert await task == 3


# Contexts


def test_a_function_runs_in_the_context_of_each_step():
    def work():
        seen = [number.get()]
        number.set(number.get() + 1)
        let_go()
        seen.append(number.get())
        return seen

    context = contextvars.copy_context()
    iterator = steps(work)
    context.run(next, iterator)
    assert (number.get(), context[number]) == (0, 1)
    context.run(number.set, 7)
    with pytest.raises(StopIteration) as stop:
        context.run(next, iterator)
    assert stop.value.value == [0, 7]


def test_a_function_may_run_something_in_another_context_meanwhile():
    other = contextvars.copy_context()
    other.run(number.set, 5)

    def work():
        number.set(1)
        inside = other.run(lambda: (let_go(), number.get())[1])
        return inside, number.get()

    def run():
        iterator = steps(work)
        next(iterator)
        assert number.get() == 1
        return result_of(iterator)

    assert contextvars.copy_context().run(run) == (5, 1)


def test_a_context_is_made_where_there_was_none():
    program = """
import contextvars
from cooperative_aio.functions import steps_of, wait_on
number = contextvars.ContextVar("number")
iterator = steps_of(lambda: number.set(1), preempt=False)
try:
    next(iterator)
except StopIteration:
    print(number.get())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout == "1\n"


# Functions that step functions


def test_a_function_may_step_another():
    log = []

    def inner():
        for value in range(2):
            log.append(("inner", value))
            let_go()
        return "inner"

    def outer():
        iterator = steps(inner)
        next(iterator)
        let_go()
        log.append("outer")
        return result_of(iterator)

    iterator = steps(outer)
    next(iterator)
    assert log == [("inner", 0)]
    assert result_of(iterator) == "inner"
    assert log == [("inner", 0), "outer", ("inner", 1)]


def test_a_function_may_be_handed_to_another_to_go_on_with():
    iterator = steps(let_go)

    def outer():
        next(iterator)

    assert result_of(steps(outer)) is None
    assert iterator.gi_frame is not None
    assert result_of(iterator) is None


# What is refused


async def coroutine_function():
    pass


def generator_function():
    yield


async def async_generator_function():
    yield


class CalledAsCoroutine:
    async def __call__(self):
        pass


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (1, "function must be callable, got 1"),
        ("x" * 1000, r"function must be callable, got 'x+\.\.\.x+'$"),
        (
            coroutine_function,
            (
                "function must be an ordinary function, got the coroutine function"
                " coroutine_function; await what it returns"
            ),
        ),
        (partial(coroutine_function), "got the coroutine function coroutine_function"),
        (CalledAsCoroutine(), "got the coroutine function CalledAsCoroutine"),
        (
            generator_function,
            (
                "got the generator function generator_function; call it, and give what it returns"  # noqa: E501
                r" to cooperate\(\) or accumulate\(\)"
            ),
        ),
        (
            async_generator_function,
            (
                "got the async generator function async_generator_function; iterate with"
                " `async for` over what it returns"
            ),
        ),
    ],
)
def test_what_is_no_ordinary_function_is_refused(function, message):
    with pytest.raises(TypeError, match=message):
        steps(function)


def test_the_error_without_greenlet_names_the_extra():
    program = """
import sys
sys.modules["greenlet"] = None
try:
    import cooperative_aio.functions
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout == (
        "cooperative_aio.functions needs greenlet, which is not installed;"
        " install cooperative-aio[functions]\n"
    )


def test_the_error_for_where_there_is_no_preemption_is_a_runtime_error():
    assert issubclass(PreemptionUnavailable, RuntimeError)


# Tasks


@on_both_loops
async def test_tasks_may_share_a_function():
    def work():
        for _ in range(3):
            give_way()
        return current_task() in tasks

    iterator = steps(work)
    tasks = [cooperate(iterator) for _ in range(2)]
    assert sorted(map(bool, await asyncio.gather(*tasks))) == [False, True]


@on_both_loops
async def test_nothing_is_collected_from_a_function():
    assert list(await accumulate(steps(sum, [1, 2]))) == []
    assert await to_slices(sum, [1, 2], preempt=False) == 3
