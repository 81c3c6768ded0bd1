import asyncio
import contextvars
import gc
import logging
import signal
import subprocess
import sys
import textwrap
import weakref

import pytest

from cooperative_aio import Clock, defer_later, react
from cooperative_aio.testing import VirtualLoop, virtual_time


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def clock():
    return Clock()


# --- defer_later ------------------------------------------------------------------------


async def test_the_function_is_called_once_after_the_delay(clock):
    calls = []

    def f(*args, **kwargs):
        calls.append((clock.time(), args, kwargs))
        return "result"

    future = defer_later(2, f, 1, clock=clock, key=2)
    assert isinstance(future, asyncio.Future)
    clock.advance(1.75)
    assert calls == []
    clock.advance(5)
    assert calls == [(2.0, (1,), {"key": 2})]
    assert await future == "result"


async def test_without_a_function_it_only_waits(clock):
    future = defer_later(1, clock=clock)
    assert not future.done()
    clock.advance(1)
    assert await future is None


@virtual_time
async def test_the_delay_counts_from_the_call_and_by_default_on_the_running_loop():
    loop = asyncio.get_running_loop()
    future = defer_later(5, loop.time)
    await asyncio.sleep(3)
    assert await future == 5.0
    assert loop.time() == 5.0


async def test_a_coroutine_function_is_awaited(clock):
    async def f(value):
        await asyncio.sleep(0)
        return value

    future = defer_later(1, f, "result", clock=clock)
    clock.advance(1)
    assert not future.done()
    assert await future == "result"


async def test_any_awaitable_is_awaited(clock):
    class Awaitable:
        def __await__(self):
            yield
            return "result"

    inner = asyncio.get_running_loop().create_future()
    one = defer_later(1, Awaitable, clock=clock)
    two = defer_later(1, lambda: inner, clock=clock)
    clock.advance(1)
    assert await one == "result"
    inner.set_result("inner")
    assert await two == "inner"


async def test_what_the_function_raises_reaches_the_future(clock):
    async def later():
        raise KeyError("later")

    def at_once():
        raise KeyError("at once")

    for f in (later, at_once):
        future = defer_later(1, f, clock=clock)
        clock.advance(1)
        with pytest.raises(KeyError, match=f.__name__.replace("_", " ")):
            await future


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_keyboard_interrupt_and_system_exit_leave(clock, error):
    def leave():
        raise error

    future = defer_later(1, leave, clock=clock)
    with pytest.raises(error):
        clock.advance(1)
    assert type(future.exception()) is error


async def test_cancelling_the_future_takes_the_call_off_the_clock(clock):
    future = defer_later(1, pytest.fail, clock=clock)
    assert future.cancel("reason") is True
    assert future.cancelled()
    assert clock.get_delayed_calls() == []
    assert future.cancel() is False
    clock.advance(2)
    with pytest.raises(asyncio.CancelledError, match="reason"):
        await future


async def test_cancelling_the_future_cancels_the_awaitable_in_flight(clock):
    steps = []

    async def f():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    future = defer_later(1, f, clock=clock)
    clock.advance(1)
    await settle()
    future.cancel("reason")
    with pytest.raises(asyncio.CancelledError, match="reason"):
        await future
    assert steps == ["cleaned up"]


async def test_an_awaitable_may_answer_its_cancellation_with_a_result(clock):
    async def f():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "all the same"

    future = defer_later(1, f, clock=clock)
    clock.advance(1)
    await settle()
    future.cancel()
    assert await future == "all the same"


async def test_it_can_be_cancelled_from_inside_the_call(clock):
    future = defer_later(1, lambda: future.cancel("inside"), clock=clock)
    clock.advance(1)
    with pytest.raises(asyncio.CancelledError, match="inside"):
        await future


@virtual_time
async def test_timeout_cancels_it():
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await defer_later(2, pytest.fail)
    await asyncio.sleep(5)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (-1, ValueError),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        ("1", TypeError),
        (None, TypeError),
    ],
)
async def test_a_bad_delay_is_an_error_that_names_it(clock, value, error):
    message = f"delay must be a finite number of at least 0, got {value!r}"
    with pytest.raises(error, match=message):
        defer_later(value, print, clock=clock)
    assert clock.get_delayed_calls() == []


async def test_what_is_not_callable_is_refused(clock):
    with pytest.raises(TypeError, match="f must be callable, got 3"):
        defer_later(1, 3, clock=clock)


def test_without_a_running_loop_it_needs_a_loop_for_its_clock(clock):
    with pytest.raises(RuntimeError, match="no running event loop"):
        defer_later(1, print, clock=clock)
    loop = VirtualLoop()
    try:
        assert loop.run_until_complete(defer_later(1, loop.time, clock=loop)) == 1.0
    finally:
        loop.close()


async def test_the_function_runs_in_a_copy_of_the_context_of_the_call(clock):
    variable = contextvars.ContextVar("variable", default="outside")

    async def f():
        seen = variable.get()
        variable.set("changed")
        return seen

    variable.set("called")
    future = defer_later(1, f, clock=clock)
    variable.set("later")
    clock.advance(1)
    assert await future == "called"
    assert variable.get() == "later"


@pytest.mark.parametrize("end", ["result", "failure", "cancelled"])
async def test_what_is_over_leaves_no_cycle_behind(clock, end):
    class Function:
        def __call__(self):
            return 1 / 0 if end == "failure" else None

    function = Function()
    gone = weakref.ref(function)
    gc.collect()
    gc.disable()
    try:
        future = defer_later(1, function, clock=clock)
        if end == "cancelled":
            future.cancel()
        clock.advance(1)
        assert future.done()
        assert future.cancelled() or bool(future.exception()) is (end == "failure")
        del function, future
        await settle()
        assert gone() is None
    finally:
        gc.enable()


# --- react ------------------------------------------------------------------------------


def run(program, *argv, **options):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *argv],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        **options,
    )


def test_react_runs_main_with_the_loop_and_the_arguments_and_exits_with_0():
    done = run(
        """
        import asyncio, sys
        from cooperative_aio import react

        async def main(loop, *argv):
            assert loop is asyncio.get_running_loop()
            await asyncio.sleep(0)
            print(argv)
            return 5

        react(main, sys.argv[1:])
        print("not reached")
        """,
        "a",
        "b",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "('a', 'b')\n", "")


@pytest.mark.parametrize(
    ("code", "expected", "stderr"), [("", 0, ""), ("7", 7, ""), ("'sorry'", 1, "sorry\n")]
)
def test_react_exits_with_the_code_of_a_system_exit(code, expected, stderr):
    done = run(
        f"""
        import sys
        from cooperative_aio import react

        async def main(loop):
            sys.exit({code})

        react(main)
        """
    )
    assert (done.returncode, done.stderr) == (expected, stderr)


@pytest.mark.parametrize("error", ["KeyError('why')", "asyncio.CancelledError('why')"])
def test_react_logs_any_other_exception_and_exits_with_1(error):
    done = run(
        f"""
        import asyncio, logging
        from cooperative_aio import react

        logging.basicConfig(format="%(name)s %(levelname)s %(message)s")

        async def main(loop):
            raise {error}

        react(main)
        """
    )
    assert done.returncode == 1
    first, *rest = done.stderr.splitlines()
    assert first.startswith("cooperative_aio ERROR main function <function main at ")
    assert rest[0] == "Traceback (most recent call last):"
    assert "why" in rest[-1]


def test_react_cleans_up_what_main_leaves_behind():
    done = run(
        """
        import asyncio
        from cooperative_aio import react

        async def left_behind():
            try:
                await asyncio.Event().wait()
            finally:
                print("cleaned up")

        async def main(loop):
            main.task = loop.create_task(left_behind())
            await asyncio.sleep(0)

        react(main)
        """
    )
    assert (done.returncode, done.stdout) == (0, "cleaned up\n")


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT kills there")
def test_sigint_ends_react_as_it_ends_asyncio_run():
    program = """
        import asyncio, os, signal
        from cooperative_aio import react

        async def main(*args):
            try:
                os.kill(os.getpid(), signal.SIGINT)
                await asyncio.sleep(60)
            finally:
                print("cleaned up", flush=True)

        {start}
        """
    done = [run(program.format(start=s)) for s in ("react(main)", "asyncio.run(main())")]
    assert [(d.returncode, d.stdout) for d in done] == [(-signal.SIGINT, "cleaned up\n")] * 2
    assert all(d.stderr.endswith("KeyboardInterrupt\n") for d in done)


async def test_react_is_refused_in_a_running_loop():
    async def main(loop):
        pytest.fail("called")

    with pytest.raises(RuntimeError, match="cannot react in a running event loop; await main"):
        react(main)


def test_react_in_this_process_ends_as_in_one_of_its_own(caplog):
    async def main(loop, how):
        return {"well": lambda: None, "badly": lambda: 1 / 0, "soon": lambda: sys.exit(3)}[
            how
        ]()

    codes = []
    for how in ("well", "badly", "soon"):
        with pytest.raises(SystemExit) as caught:
            react(main, [how])
        codes.append(caught.value.code)
    assert codes == [0, 1, 3]
    [record] = caplog.records
    assert (record.name, record.levelno) == ("cooperative_aio", logging.ERROR)
    assert record.exc_info[0] is ZeroDivisionError


@pytest.mark.parametrize("argv", [("x",), ["x"], iter("x")])
def test_react_takes_any_iterable_of_arguments(argv):
    seen = []

    async def main(loop, *argv):
        seen.append(argv)

    with pytest.raises(SystemExit):
        react(main, argv)
    assert seen == [("x",)]
