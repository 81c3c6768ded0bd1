"""Twins: one text that is a generator for the package, and a coroutine for asyncio.

A body is written as a generator function. Its twin is the same text with each `yield x`
made an `await step(x)`, run by an asyncio.Task. A way says what is done with what is
awaited. Both twins go the same way on a VirtualLoop and write down what they see; what is
written down must be equal.
"""

import ast
import asyncio
import functools
import inspect
import textwrap
from collections import deque

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


class _Awaits(ast.NodeTransformer):
    """Make `yield x` into `await step(x)`, and the function a coroutine function."""

    def visit_Yield(self, node):
        self.generic_visit(node)
        value = node.value or ast.Constant(None)
        step = ast.Call(ast.Name("step", ast.Load()), [value], [])
        return ast.Await(step)

    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        return ast.AsyncFunctionDef(**{name: getattr(node, name) for name in node._fields})


@functools.cache
def compiled(text, *, awaits):
    """Compile the text of a body, as a generator function or as a coroutine function."""
    source = "def body():\n" + textwrap.indent(textwrap.dedent(text), "    ")
    tree = ast.parse(source + "\n    if False:\n        yield\n")
    if awaits:
        tree = ast.fix_missing_locations(_Awaits().visit(tree))
    return compile(tree, "<body>", "exec")


def described(value):
    """Tell a value or an exception by what compares."""
    if isinstance(value, BaseExceptionGroup):
        return (type(value).__name__, *map(described, value.exceptions))
    if isinstance(value, BaseException):
        notes = getattr(value, "__notes__", [])
        cause = value.__cause__ and type(value.__cause__).__name__
        args = [
            text.replace("generator raised", "coroutine raised") if isinstance(text, str) else text
            for text in value.args
        ]
        return (type(value).__name__, *args, *notes, f"from {cause}")
    if inspect.isgenerator(value) or isinstance(value, LoopingCall):
        return "itself"
    if isinstance(value, (list, tuple, deque)):
        return [described(item) for item in value]
    return value


class Program:
    """One run of one way, with what it has seen: what the twins have in common."""

    awaits = False

    def __init__(self, subject, *bodies):
        self._subject = subject
        self._bodies = bodies
        self._subjects = 0
        self.log = []

    # What bodies and ways say

    def note(self, *what):
        """Write something down, with the time."""
        self.log.append((asyncio.get_running_loop().time(), *map(described, what)))

    async def told(self, name, awaitable):
        """Await something, and write down what came of it."""
        task = asyncio.current_task()
        try:
            result = await awaitable
        except BaseException as error:
            self.note(name, "raised", described(error), task.cancelling())
            raise
        else:
            self.note(name, "returned", described(result), task.cancelling())
            return result

    def subject(self):
        """Begin what is to be awaited, with the next of the bodies."""
        body = self._bodies[min(self._subjects, len(self._bodies) - 1)]
        name = "abcdefgh"[self._subjects]
        self._subjects += 1
        return getattr(self, self._subject)(self.body(body, name))

    def body(self, text, name):
        """Return the generator function or coroutine function of a body."""
        names = {
            "asyncio": asyncio,
            "Own": Own,
            "CancelledError": asyncio.CancelledError,
            "nap": asyncio.sleep,
            "wait": self.wait,
            "stubborn": self.stubborn,
            "spend": spend,
            "Awaitable": Awaitable,
            "failed": self.failed,
            "note": functools.partial(self.note, name),
            "caught": lambda error: self.note(name, "caught", described(error)),
            "step": self.step,
        }
        exec(compiled(text, awaits=self.awaits), names)  # noqa: S102
        return names["body"]

    def wait(self, seconds, kind=asyncio.Future):
        """Make a future that is done after so many seconds, with these as its result."""
        loop = asyncio.get_running_loop()
        future = kind(loop=loop)
        loop.call_later(seconds, lambda: future.done() or future.set_result(seconds))
        return future

    def stubborn(self, seconds):
        return self.wait(seconds, Stubborn)

    def failed(self, seconds):
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
                self.log.append(("end", described(error)))
            else:
                self.log.append(("end", described(result)))
            self.log.append(("cancelling", asyncio.current_task().cancelling()))
            while asyncio.current_task().uncancel():
                pass
            await asyncio.sleep(50)  # for what was left behind
            timer.cancel()

        try:
            with asyncio.Runner(loop_factory=VirtualLoop) as runner:
                runner.run(main())
        except (RuntimeError, Deadlock, asyncio.CancelledError) as error:
            self.log.append(("hangs", str(error).split(";", maxsplit=1)[0]))
        return self.log

    def _report(self, _loop, context):
        if "never retrieved" not in context["message"]:  # told when it is collected
            self.log.append(("report", described(context.get("exception"))))


class Package(Program):
    """What the package offers."""

    def __init__(self, subject, *bodies):
        super().__init__(subject, *bodies)
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
        async def once():
            await cooperate(body())
            call.stop()

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

    batch_accumulate = batches = batches_within = accumulate

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
    return Package(subject, *bodies).run(way), Asyncio(subject, *bodies).run(way)
