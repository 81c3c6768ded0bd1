"""What the tests of the Cooperator share: clocks and ticks by hand, and both loops."""

import asyncio
import functools
import gc
import inspect

from cooperative_aio import Cooperator


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


class Ticks:
    """A scheduler whose calls are made one by one, by the test."""

    def __init__(self):
        self.pending = []

    def __call__(self, callback):
        call = Call(callback, self.pending)
        self.pending.append(call)
        return call

    def tick(self, count=1):
        for _ in range(count):
            self.pending.pop(0).callback()

    def run(self, limit=1000):
        for _ in range(limit):
            if not self.pending:
                return
            self.tick()
        raise AssertionError("there is still something scheduled")


class Call:
    def __init__(self, callback, pending):
        self.callback = callback
        self._pending = pending

    def cancel(self):
        self._pending.remove(self)


def one_step():
    """Make a predicate that ends every tick after one step."""
    return lambda: True


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


def on_both_loops(test):
    """Run a coroutine test on asyncio's loop and on uvloop's, in debug mode.

    What the loop's exception handler is told goes to the fixture `reports`; where a
    test does not ask for that, it fails if there was anything.
    """
    signature = inspect.signature(test)
    wants_reports = "reports" in signature.parameters

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

    functools.update_wrapper(run, test)
    del run.__wrapped__
    parameters = [
        parameter for parameter in signature.parameters.values() if parameter.name != "reports"
    ]
    run.__signature__ = signature.replace(
        parameters=[
            *parameters,
            inspect.Parameter("loop_factory", inspect.Parameter.KEYWORD_ONLY),
            inspect.Parameter("reports", inspect.Parameter.KEYWORD_ONLY),
        ]
    )
    return run
