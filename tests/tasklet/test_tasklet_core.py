"""What a tasklet is: a generator that runs to its first wait, and a future."""

import asyncio
import contextvars
import gc

import pytest

from cooperative_aio import tasklet
from cooperative_aio.tasklet import Tasklet, WaitForCall
from cooperative_aio.tasklet._ending import MOVES, State, check_move


def waiting(call, result=None):
    yield call
    return result


async def test_the_generator_has_run_to_its_first_wait_when_the_constructor_returns():
    seen = []

    def body(call):
        seen.append("began")
        yield call
        seen.append("ended")

    call = WaitForCall()
    started = Tasklet(body(call))
    assert seen == ["began"]
    assert started.wait_list == [call]
    call()
    assert seen == ["began", "ended"]
    assert started.wait_list == []


async def test_states_follow_what_the_tasklet_does():
    seen = []

    def body(call, other):
        seen.append(me[0].state)
        yield call
        yield tasklet.Message("look", dest=other)

    def looker():
        yield tasklet.WaitForMessages(accept="look")
        seen.append(me[0].state)

    call = WaitForCall()
    me = [Tasklet(body(call, tasklet.run(looker())), start=False)]
    assert me[0].state == Tasklet.STATE_SUSPENDED
    me[0].start()
    assert me[0].state == Tasklet.STATE_SUSPENDED
    call()
    assert me[0].state == Tasklet.STATE_ZOMBIE
    assert seen == [Tasklet.STATE_RUNNING, Tasklet.STATE_MSGSEND]


def test_state_constants_are_the_numbers_of_kiwi_in_module_and_class():
    names = ["STATE_RUNNING", "STATE_SUSPENDED", "STATE_MSGSEND", "STATE_ZOMBIE"]
    assert [getattr(tasklet, n) for n in names] == [0, 1, 2, 3]
    assert [getattr(Tasklet, n) for n in names] == [0, 1, 2, 3]


@pytest.mark.parametrize("old", State)
@pytest.mark.parametrize("new", State)
def test_only_the_moves_of_the_table_are_made(old, new):
    if new in MOVES[old]:
        check_move(old, new)
    else:
        with pytest.raises(RuntimeError, match=f"cannot make a {old.name} tasklet {new.name}"):
            check_move(old, new)


async def test_every_name_that_is_promised_is_there():
    assert set(tasklet.__all__) >= {
        "Message", "Tasklet", "WaitCondition", "WaitForCall", "WaitForIO", "WaitForIdle",
        "WaitForMessages", "WaitForProcess", "WaitForSignal", "WaitForTasklet",
        "WaitForTimeout", "get_event", "run", "task",
    }  # fmt: skip
    assert all(hasattr(tasklet, name) for name in tasklet.__all__)


async def test_awaiting_gives_what_the_generator_returned():
    call = WaitForCall()
    waiter = tasklet.run(waiting(call, "done"))
    asyncio.get_running_loop().call_soon(call)
    assert await waiter == "done"
    assert waiter.return_value == "done"
    assert waiter.result() == "done"


async def test_join_serves_where_only_a_coroutine_will_do():
    call = WaitForCall()
    async with asyncio.TaskGroup() as group:
        joined = group.create_task(tasklet.run(waiting(call, 7)).join())
        await asyncio.sleep(0)
        call()
    assert joined.result() == 7


async def test_a_failure_is_raised_where_the_tasklet_is_awaited():
    def body():
        yield asyncio.sleep(0)
        raise ValueError("broken")

    failing = tasklet.run(body())
    with pytest.raises(ValueError, match="broken"):
        await failing
    assert failing.return_value is None
    assert failing.state == tasklet.STATE_ZOMBIE


async def test_a_failure_at_once_does_not_leave_the_constructor():
    def body():
        raise ValueError("broken")
        yield

    failing = tasklet.run(body())
    with pytest.raises(ValueError, match="broken"):
        await failing


async def test_a_failure_nobody_waits_for_is_reported_to_the_loop(reports):
    def body():
        raise ValueError("broken")
        yield

    tasklet.run(body())
    gc.collect()
    assert [type(r["exception"]) for r in reports] == [ValueError]
    assert "Tasklet exception was never retrieved" in reports[0]["message"]


async def test_stop_iteration_is_a_failure_since_a_return_is_there():
    def body():
        yield asyncio.sleep(0)
        raise StopIteration("value")  # noqa: PLR1708 - as Kiwi's tasklets did

    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        await tasklet.run(body())


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_leaving_the_program_leaves_through_the_loop(kind, run_loop):
    kept = []

    def body():
        yield tasklet.WaitForTimeout(0)
        raise kind

    async def main():
        kept.append(tasklet.run(body()))
        await asyncio.sleep(10)

    with pytest.raises(kind):
        run_loop(main)
    assert isinstance(kept[0].exception(), kind)


async def test_the_senders_go_on_when_a_receiver_leaves_the_program():
    def leaving():
        yield tasklet.WaitForMessages(accept="go")
        raise SystemExit(3)

    def sender(dest):
        yield tasklet.Message("go", dest=dest)
        return "went on"

    leaver = tasklet.run(leaving())
    sending = Tasklet(sender(leaver), start=False)
    with pytest.raises(SystemExit):
        sending.start()
    assert isinstance(leaver.exception(), SystemExit)
    assert await sending == "went on"


async def test_a_result_cannot_be_set_from_outside():
    waiter = tasklet.run(waiting(WaitForCall()))
    with pytest.raises(RuntimeError, match="cannot set the result of a tasklet"):
        waiter.set_result(1)
    with pytest.raises(RuntimeError, match="cannot set the exception of a tasklet"):
        waiter.set_exception(ValueError())


async def test_a_subclass_may_define_run():
    class Counter(Tasklet):
        def __init__(self, count):
            self.count = count
            Tasklet.__init__(self)

        def run(self):
            for _ in range(self.count):
                yield asyncio.sleep(0)
            return self.count * 2

    assert await Counter(3) == 6


async def test_a_subclass_without_run_says_what_is_missing():
    with pytest.raises(NotImplementedError, match=r"Tasklet must define run\(\)"):
        Tasklet()


@pytest.mark.parametrize("gen", [3, [], iter(()), len])
async def test_only_a_generator_makes_a_tasklet(gen):
    with pytest.raises(TypeError, match="gen must be a generator, got"):
        Tasklet(gen)


def test_without_a_running_loop_there_is_no_tasklet():
    with pytest.raises(RuntimeError, match="cannot make a tasklet without a running loop"):
        tasklet.run(waiting(None))


async def test_start_starts_once():
    lazy = Tasklet(waiting(WaitForCall()), start=False)
    assert lazy.wait_list == []
    lazy.start()
    with pytest.raises(RuntimeError, match="cannot start a SUSPENDED tasklet; it was started"):
        lazy.start()


async def test_the_decorator_starts_functions_and_methods():
    class Holder:
        name = "holder"

        @tasklet.task
        def method(self, more):
            """Say who it is."""
            yield asyncio.sleep(0)
            return self.name + more

    assert await Holder().method("!") == "holder!"
    assert Holder.method.__doc__ == "Say who it is."
    assert Holder.method.__name__ == "method"


@pytest.mark.parametrize("value", [None, 3, "text", object(), [3], (None,), {}])
async def test_a_bad_yield_is_raised_at_the_yield(value):
    def body():
        try:
            yield value
        except TypeError as error:
            return str(error)

    text = await tasklet.run(body())
    assert text.startswith("yielded values must be a Message, or one or several of")


async def test_an_empty_list_is_nothing_to_wait_for():
    def body():
        yield []

    with pytest.raises(ValueError, match=r"yielded values must be .*, got \[\]"):
        await tasklet.run(body())


async def test_a_message_cannot_be_one_of_several():
    def body():
        yield [tasklet.Message("x"), WaitForCall()]

    with pytest.raises(TypeError, match=r"yielded values must be .*, got <Message 'x'"):
        await tasklet.run(body())


async def test_a_tasklet_runs_in_one_copy_of_the_context_it_was_made_in():
    variable = contextvars.ContextVar("variable", default="outside")
    variable.set("made")

    def body(call):
        seen = [variable.get()]
        variable.set("mine")
        yield call
        seen.append(variable.get())
        return seen

    call = WaitForCall()
    reader = tasklet.run(body(call))
    variable.set("changed")
    call()
    assert await reader == ["made", "mine"]
    assert variable.get() == "changed"


async def test_repr_says_state_function_and_line():
    waiter = tasklet.run(waiting(WaitForCall()))
    line = waiting.__code__.co_firstlineno + 1
    assert repr(waiter) == f"<Tasklet SUSPENDED waiting at line {line}>"
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.sleep(0)
    assert repr(waiter) == "<Tasklet ZOMBIE>"


async def test_a_finished_tasklet_keeps_neither_generator_nor_conditions():
    call = WaitForCall()
    ended = tasklet.run(waiting(call))
    call()
    assert ended.gen is None
    assert ended.wait_list == []
