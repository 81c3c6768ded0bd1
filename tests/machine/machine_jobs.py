"""Jobs: what a machine gives the Cooperators to do, and what has become of it."""

import asyncio
import inspect

from machine_faults import Awaitable, Disguised, Promise, Stranger, Unhashable

from cooperative_aio import checkpoint
from cooperative_aio.testing import spend

STEPS = [
    *("value", "value", "none", "work", "work", "slow", "future", "future", "done future"),
    *("coroutine", "awaitable", "promise", "task", "stranger", "disguised", "unhashable"),
    *("inside", "fail", "swallow", "clean up", "group", "run", "run", "grind"),
]


class Job:
    """One iterator, made of a script, and the tasks that step it.

    Args:
        world: What has the futures, the faults, and other jobs.
        script: The steps, each with a number that says more.
        kind: "generator", "iterator" or "expression".
    """

    def __init__(self, world, script, kind="generator"):
        self.world = world
        self.script = script
        self.number = len(world.jobs)
        self.kind = kind
        self.begun = self.closed = 0
        self.kept = []  # values, as they were yielded
        self.tasks = []  # CooperativeTasks that are known
        self.completions = []  # of these, as they came
        self.cooperator = None  # that of the tasks, if it is known
        self.consumer = None  # an asyncio.Task
        self.iterator = {"generator": self._generate, "iterator": self._iterate}.get(
            kind, self._express
        )()

    def __repr__(self):
        steps = " ".join(step for step, _ in self.script)
        return f"<job {self.number}: {self.kind} {steps!r}>"

    def _generate(self):
        self.begun += 1
        try:
            for step, number in self.script:
                self.world.faults.at("next")
                yield from getattr(self, "_" + step.replace(" ", "_"))(number)
            return "result"
        finally:
            self.closed += 1
            self.world.faults.at("close")

    def _iterate(self):
        return Plain(self)

    def _express(self):
        return (self.bring(step, number) for step, number in self.script)

    def bring(self, step, number):
        """Return what one step of anything but a generator function brings."""
        strange = {"stranger": Stranger, "disguised": Disguised, "unhashable": Unhashable}
        if step in strange:
            return self.keep(strange[step](self.world.faults))
        if step == "awaitable":
            return Awaitable(self.world.faults, self.world.future())
        return self.keep(number)

    def keep(self, value):
        """Return a value, and remember it."""
        self.world.faults.at("next")
        if value is not None:
            self.kept.append(value)
        return value

    # Steps

    def _value(self, number):
        yield self.keep(number)

    def _none(self, _):
        yield

    def _work(self, number):
        spend(0.001)
        yield self.keep(number)

    def _run(self, number):
        """Take many steps that are cheap, of values of several classes, or of one."""
        for each in range(200 + number % 100):
            yield self.keep(mixed(each) if number % 2 else each)

    def _grind(self, number):
        for each in range(number % 50):
            spend(0.0005)
            yield self.keep(each)

    def _slow(self, number):
        spend(0.25)
        yield self.keep(number)

    def _future(self, _):
        yield self.world.future()

    def _done_future(self, number):
        future = self.world.future()
        future.set_result(number)
        yield future

    def _coroutine(self, _):
        yield wait_for(self.world.future())

    def _awaitable(self, _):
        yield Awaitable(self.world.faults, self.world.future())

    def _promise(self, _):
        promise = self.world.future(Promise)
        promise.faults = self.world.faults
        yield promise

    def _task(self, number):
        tasks = [task for job in self.world.jobs[: self.number] for task in job.tasks]
        if tasks:
            yield tasks[number % len(tasks)]

    def _stranger(self, _):
        yield self.keep(Stranger(self.world.faults))

    def _disguised(self, _):
        yield self.keep(Disguised(self.world.faults))

    def _unhashable(self, _):
        yield self.keep(Unhashable(self.world.faults))

    def _inside(self, number):
        self.world.act_inside(number)
        yield self.keep(number)

    def _fail(self, _):
        raise LookupError(f"job {self.number} fails")
        yield

    def _swallow(self, number):
        try:
            yield self.world.future()
        except asyncio.CancelledError:
            yield self.keep(number)

    def _clean_up(self, _):
        try:
            yield self.world.future()
        except asyncio.CancelledError:
            yield self.world.future()
            yield
            raise

    def _group(self, _):
        yield asyncio.gather(self.world.future(), self.world.future())

    # What has become of it

    def add(self, task):
        """Know a task, and see it complete."""
        self.tasks.append(task)

        def completed(task):
            self.completions.append(task)
            self.world.faults.at("callback")

        task.add_done_callback(completed)

    @property
    def over(self):
        return all(task.done() for task in self.tasks) and (
            self.consumer is None or self.consumer.done()
        )

    @property
    def state(self):
        """The state of the generator, or None for other iterators."""
        if not inspect.isgenerator(self.iterator):
            return None
        return inspect.getgeneratorstate(self.iterator)


class Plain:
    """An iterator that is no generator."""

    def __init__(self, job):
        self._job = job
        self._left = iter(job.script)

    def __iter__(self):
        return self

    def __next__(self):
        return self._job.bring(*next(self._left))


def mixed(number):
    return [number, str(number), None, float(number), (number,)][number % 5]


async def wait_for(future):
    return await future


async def compute(world, number):
    """Compute in a loop with checkpoints."""
    for _ in range(number % 7):
        spend(0.001 * (number % 4))
        world.faults.at("next")
        await checkpoint()
