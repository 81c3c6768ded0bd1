"""What tests share: time and ticks by hand, from the package's own kit, and both loops."""

import asyncio
import contextlib
import functools
import gc
import inspect

import pytest

from cooperative_aio import Cooperator
from cooperative_aio.testing import ManualScheduler, VirtualLoop, one_step

TURN = 2**-16  # seconds that a turn of a Loop costs


class Clock:
    """What a Cooperator asks for the time; unlike the package's, it may be set back."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


class Ticks(ManualScheduler):
    """The package's; each of the calls has to be there."""

    def tick(self, count=1):
        assert self.pump(count) == count


class Loop(VirtualLoop):
    """A loop on virtual time on which each turn costs the same."""

    def __init__(self, turn=TURN):
        super().__init__(turn=turn)


class Still:
    """On this loop, time moves only when somebody says that work took some."""

    now = 0.0

    def perf_counter(self):
        return self.now

    def spend(self, seconds):
        self.now += seconds


class StillAsyncio(Still, asyncio.SelectorEventLoop):
    pass


with contextlib.suppress(ModuleNotFoundError):  # then tests that want it are skipped
    import uvloop

    class StillUvloop(Still, uvloop.Loop):
        pass


class Stepwise(Cooperator):
    """A Cooperator on a clock of its own, with one step for each tick by hand."""

    def __init__(self, **options):
        self.clock = Clock()
        self.ticks = Ticks()
        options = {"clock": self.clock, **options}
        super().__init__(one_step, self.ticks, **options)


def work(log, letters, clock=None, seconds=0.0):
    """Log one letter a step, each of which takes so many seconds."""
    for letter in letters:
        log.append(letter)
        if clock is not None:
            clock.advance(seconds)
        yield


def forever(log=None, name="closed"):
    """Yield for ever; log when that is ended."""
    try:
        while True:
            yield
    finally:
        if log is not None:
            log.append(name)


async def turns(count=5):
    """Let the loop take so many turns."""
    for _ in range(count):
        await asyncio.sleep(0)


def outcome(future):
    """Tell how a future has ended, as a string or a value that compares."""
    if not future.done():
        return "pending"
    if future.cancelled():
        return "cancelled"
    if (error := future.exception()) is not None:
        return type(error)
    return future.result()


def on(*loop_factories):
    """Run a coroutine test on a fresh loop of each kind, such as `on(Loop)`."""

    def decorate(test):
        def run(*instance, loop_factory, **fixtures):
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(test(*instance, **fixtures))

        as_test(run, test, "loop_factory")
        return pytest.mark.parametrize("loop_factory", loop_factories)(run)

    return decorate


def on_both_loops(test):
    """Run a coroutine test on asyncio's loop and on uvloop's, in debug mode.

    What the loop's exception handler is told goes to the fixture `reports`; where a
    test does not ask for that, it fails if there was anything.
    """
    wants_reports = "reports" in inspect.signature(test).parameters

    def run(*instance, loop_factory, reports, **fixtures):
        async def main():
            asyncio.get_running_loop().set_exception_handler(
                lambda _loop, context: reports.append(context)
            )
            wanted = {"reports": reports} if wants_reports else {}
            async with asyncio.timeout(100):  # so that a test that hangs is one that fails
                await test(*instance, **fixtures, **wanted)

        with asyncio.Runner(debug=True, loop_factory=loop_factory) as runner:
            runner.run(main())
            gc.collect()
        if not wants_reports:
            assert reports == []

    return as_test(run, test, "loop_factory", "reports")


def as_test(run, test, *fixtures):
    """Let pytest see `test` in what runs it, and that it takes some fixtures more."""
    functools.update_wrapper(run, test)
    del run.__wrapped__
    signature = inspect.signature(test)
    own = [one for one in signature.parameters.values() if one.name not in fixtures]
    more = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in fixtures]
    run.__signature__ = signature.replace(parameters=[*own, *more])
    return run


def errors_in(text):
    """Return what a program has written to stderr: but for slow steps, as on a busy machine."""
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if " held the loop for " not in line)
