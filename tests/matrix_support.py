"""Twins: one text that is a generator for the package, and a coroutine for asyncio.

A body is written as a generator function. Its twin is the same text with each `yield x`
made an `await step(x)`, run by an asyncio.Task. A way says what is done with what is
awaited. Both twins go the same way on a VirtualLoop and write down what they see; what is
written down must be equal.
"""

import asyncio
import functools
import inspect
import re
from collections import deque

from matrix_bodies import compiled

from cooperative_aio import (
    Cooperator,
    LoopingCall,
    accumulate,
    batch_accumulate,
    batches,
    checkpoint,
    coiterate,
    cooperate,
    defer_later,
)
from cooperative_aio.tasklet import Tasklet
from cooperative_aio.testing import Deadlock, VirtualLoop, spend

# What messages say of who they are, and that their twins are not called alike
ADDRESS = re.compile(r" [0-9a-f]{8,}( by .*>)?|^(generator|coroutine) |'Task-\d+'")
PATIENCE = 1000.0  # virtual seconds after which a program is said to hang


class Own(asyncio.CancelledError):
    """A cancellation of the body's own making."""


class Stubborn(asyncio.Future):
    """A future that will not be cancelled."""

    def cancel(self, msg=None):
        return False


class Awaitable:
    """Neither a future nor a coroutine."""

    def __init__(self, awaitable):
        self.awaitable = awaitable

    def __await__(self):
        return self.awaitable.__await__()


def described(value):
    """Tell a value or an exception by what compares."""
    if isinstance(value, BaseExceptionGroup):
        return (type(value).__name__, *map(described, value.exceptions))
    if isinstance(value, BaseException):
        notes = getattr(value, "__notes__", [])
        cause = value.__cause__ and type(value.__cause__).__name__
        args = [ADDRESS.sub("", text) if isinstance(text, str) else text for text in value.args]
        return (type(value).__name__, *args, *notes, f"from {cause}")
    if inspect.isgenerator(value) or isinstance(value, LoopingCall):
        return "itself"
    if isinstance(value, (list, tuple, deque)):
        return [described(item) for item in value]
    return value


class Program:
    """One run of one way, with what it has seen: what the twins have in common."""

    awaits = False

    def __init__(self, subject, *bodies, late=lambda number: number / 64):
        self._late = late
        self._subject = subject
        self.bodies = bodies
        self._subjects = 0
        self.press = lambda: None  # for a body to call, which a way may define
        self.log = []

    # What bodies and ways say

    def note(self, *what):
        """Write something down, with the time."""
        self.log.append((asyncio.get_running_loop().time(), *map(described, what)))

    async def told(self, name, awaitable, *, briefly=False):
        """Await something, and write down what came of it.

        Briefly: of a second task that awaits a cancelled one, asyncio says less.
        """
        task = asyncio.current_task()
        try:
            result = await awaitable
        except BaseException as error:
            if briefly and isinstance(error, asyncio.CancelledError):
                error = asyncio.CancelledError()
            # A scope of anyio's cancels on every turn: how many these are is not promised
            by_scope = "cancel scope" in str(error)
            self.note(name, "raised", error, by_scope or task.cancelling())
            raise
        else:
            self.note(name, "returned", result, task.cancelling())
            return result

    def subject(self):
        """Begin what is to be awaited, with the next of the bodies."""
        body = self.bodies[min(self._subjects, len(self.bodies) - 1)]
        number = self._subjects
        self._subjects += 1
        return getattr(self, self._subject)(self.body(body, number))

    def body(self, text, number):
        """Return the generator function or coroutine function of a body.

        What the second awaits takes longer than what the first awaits, so that it does not
        depend on single turns of the loop which comes first.
        """
        name, late = "abcdefgh"[number], self._late(number)
        names = {
            "asyncio": asyncio,
            "Own": Own,
            "CancelledError": asyncio.CancelledError,
            "nap": lambda seconds, result=None: asyncio.sleep(seconds + late, result),
            "wait": lambda seconds: self.wait(seconds + late, seconds),
            "stubborn": lambda seconds: self.wait(seconds + late, seconds, Stubborn),
            "failed": lambda seconds: self.failed(seconds + late),
            "spend": spend,
            "press": lambda: self.press(),  # noqa: PLW0108 (a way defines it later)
            "Awaitable": Awaitable,
            "note": functools.partial(self.note, name),
            "caught": lambda error: self.note(name, "caught", error),
            "step": self.step,
        }
        exec(compiled(text, awaits=self.awaits), names)  # noqa: S102
        return names["body"]

    def wait(self, seconds, result, kind=asyncio.Future):
        """Make a future that has a result after so many seconds."""
        loop = asyncio.get_running_loop()
        future = kind(loop=loop)
        loop.call_later(seconds, lambda: future.done() or future.set_result(result))
        return future

    def failed(self, seconds):
        """Make a future that has failed after so many seconds."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        error = LookupError("awaited")
        loop.call_later(seconds, lambda: future.done() or future.set_exception(error))
        return future

    async def step(self, value, keep=None):
        """Stand for the `yield` of a body whose twin is a coroutine."""
        if asyncio.isfuture(value):
            return await value
        if inspect.iscoroutine(value):
            return await asyncio.create_task(value)
        if inspect.isawaitable(value):
            return await asyncio.create_task(_await(value))
        if keep is not None and value is not None:
            keep(value)
        await self.pause()
        return None

    async def pause(self):
        await asyncio.sleep(0)

    # Running

    def run(self, way):
        """Go one way to its end, and return all that was seen."""

        async def main():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(self._report)
            timer = loop.call_later(PATIENCE, loop.stop)
            try:
                result = await way(self)
            except BaseException as error:  # noqa: BLE001
                self.note("main", "raised", error, asyncio.current_task().cancelling())
            else:
                self.note("main", "returned", result, asyncio.current_task().cancelling())
            while asyncio.current_task().uncancel():
                pass
            await asyncio.sleep(50)  # for what was left behind
            timer.cancel()

        try:
            with asyncio.Runner(loop_factory=VirtualLoop) as runner:
                runner.run(main())
        except (RuntimeError, Deadlock, asyncio.CancelledError) as error:
            self.log.append((PATIENCE, "main", "hangs", str(error).split(";", maxsplit=1)[0]))
        return self.log

    def _report(self, _loop, context):
        if "never retrieved" not in context["message"]:  # told when it is collected
            self.note("loop", "reports", context.get("exception"))


class Package(Program):
    """What the package offers."""

    def __init__(self, subject, *bodies, **options):
        super().__init__(subject, *bodies, **options)
        self.awaits = subject == "checkpoints"  # these are coroutines on both sides

    async def pause(self):
        await checkpoint()

    def task(self, body):
        return cooperate(body())

    def join(self, body):
        return cooperate(body()).join()

    def when_done(self, body):
        return cooperate(body()).when_done()

    def coiterate(self, body):
        return coiterate(body())

    def coiterate_into(self, body):
        return coiterate(body(), asyncio.get_running_loop().create_future())

    def accumulate(self, body):
        return accumulate(body())

    def batch_accumulate(self, body):
        return batch_accumulate(3, body())

    async def batches(self, body):
        values = []
        async for batch in batches(1, body()):
            values += batch
        return values

    async def batches_within(self, body):
        values = []
        async with batches(3, body(), max_seconds=0.125) as stream:
            async for batch in stream:
                values += batch
        return values

    def drain(self, body):
        cooperator = Cooperator()
        cooperator.cooperate(body()).add_done_callback(_look)
        return cooperator.drain()

    def checkpoints(self, body):
        return body()

    def defer_later(self, body):
        return defer_later(0.25, lambda: cooperate(body()))

    def looping_call(self, body):
        def once():
            task = cooperate(body())
            task.add_done_callback(lambda _: call.running and call.stop())
            return task

        call = LoopingCall(once)
        return call.start(0.25)

    def tasklet(self, body):
        return Tasklet(body())


class Asyncio(Program):
    """What asyncio has for the same."""

    awaits = True

    def task(self, body):
        return asyncio.create_task(body())

    def join(self, body):
        return _await(self.task(body))

    def when_done(self, body):
        return self._relayed(body, asyncio.get_running_loop().create_future())

    coiterate = coiterate_into = when_done

    def _relayed(self, body, future):
        def pass_on(task):
            if future.done():
                _look(task)
            elif task.cancelled():
                future.cancel()
            elif (error := task.exception()) is not None:
                future.set_exception(error)
            else:
                future.set_result("itself")

        self.task(body).add_done_callback(pass_on)
        return future

    async def accumulate(self, body):
        values = deque()
        await self.task(self._keeping(body, values.append))
        return values

    batch_accumulate = accumulate

    async def batches(self, body):
        """Collect them all; when cancelled, wait for the body's end, and raise its error."""
        values = []
        task = self.task(self._keeping(body, values.append))
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            if not task.cancel(*error.args):  # it had ended, in this very turn
                raise
            while not task.done():
                try:
                    await asyncio.wait([task])
                except asyncio.CancelledError as again:
                    task.cancel(*again.args)
            if task.cancelled():
                task.result()
            if task.exception() is not None:
                raise task.exception() from None
            raise
        await task
        return values

    batches_within = batches

    def _keeping(self, body, keep):
        body.__globals__["step"] = functools.partial(self.step, keep=keep)
        return body

    def drain(self, body):
        task = self.task(body)
        task.add_done_callback(_look)
        return self._drained(task)

    async def _drained(self, task):
        await asyncio.wait([task])

    def checkpoints(self, body):
        return body()

    def defer_later(self, body):
        async def later():
            await asyncio.sleep(0.25)
            return await self.task(body)

        return asyncio.create_task(later())

    def looping_call(self, body):
        async def call():
            await self.task(body)
            return "itself"

        return asyncio.create_task(call())

    tasklet = task


async def _await(awaitable):
    return await awaitable


def _look(task):
    if not task.cancelled():
        task.exception()


SUBJECTS = [name for name in vars(Package) if name[0] != "_" and name != "pause"]


def compare(way, subject, *bodies):
    """Return what a generator's program and a coroutine's have seen."""
    logs = [Package(subject, *bodies).run(way), coroutines(way, TWINS[subject], *bodies)]
    if any("spend(" in body for body in bodies):  # when such steps come is the package's affair
        logs = [[(0.0, *event[1:]) for event in log] for log in logs]
    if subject in RELAYED:  # the bodies go their own ways
        logs = [sorted(log, key=lambda event: event[:2]) for log in logs]
    return logs


@functools.cache
def coroutines(way, subject, *bodies):
    return Asyncio(subject, *bodies).run(way)


RELAYED = ("when_done", "coiterate", "coiterate_into", "drain")
TWINS = {
    name: next(
        twin for twin, function in vars(Asyncio).items() if function is getattr(Asyncio, name)
    )
    for name in SUBJECTS
}
