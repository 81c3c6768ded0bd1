"""The world of a machine: a loop on virtual time, Cooperators of all kinds, and actions."""

import asyncio
import logging

from machine_faults import KINDS, PLACES, Calls, Faults, Handler, Loop
from machine_jobs import STEPS, Job, compute

from cooperative_aio import (
    AccumulationTooLarge,
    Cooperator,
    NotPaused,
    SchedulerFull,
    SchedulerStopped,
    TaskFinished,
    TimeSlice,
    accumulate,
    batch_accumulate,
    batches,
    current_task,
    get_cooperator,
)

EXPECTED = (TaskFinished, SchedulerStopped, NotPaused, SchedulerFull)


class World:
    """Everything that one run of a machine has.

    An action is a method whose name begins with `do_`; it takes one number, from which it
    chooses what to act on.
    """

    def __init__(self):
        self.loop = Loop(patience=0)
        self.loop.set_exception_handler(self._report)
        self.loop.set_task_factory(self._make_task)
        self.faults = Faults()
        self.reports = []  # contexts that the loop's exception handler was given
        self.surprises = []  # what nobody has raised on purpose
        self.left = []  # what has left the loop
        self.jobs = []
        self.futures = []
        self.others = []  # asyncio tasks
        self.handler = Handler(self.faults)
        self.logger = logging.getLogger("cooperative_aio")
        self.logger.addHandler(self.handler)
        self.was_propagating, self.logger.propagate = self.logger.propagate, False
        self.cooperators = []
        self.choices = []  # those that get jobs, some of them more often
        self.owned = []  # Cooperators of `async with`
        self.schedulers = []
        self.run(self._open)

    def _open(self):
        def scheduler():
            self.schedulers.append(Calls(self.faults))
            return self.schedulers[-1]

        self.cooperators = [
            get_cooperator(),
            Cooperator(time_slice=TimeSlice(0.002, max_wait=0), name="sliced"),
            Cooperator(clock=self.clock, max_tasks=4, name="with a clock"),
            Cooperator(None, scheduler(), clock=self.clock, name="scheduled"),
            Cooperator(self.factory, clock=self.clock, name="by predicate"),
            Cooperator(self.factory, scheduler(), name="by both"),
            Cooperator(started=False, name="not started"),
        ]
        self.choices = self.cooperators[:]

    def clock(self):
        self.faults.at("clock")
        return self.loop.perf_counter()

    def factory(self):
        self.faults.at("factory")
        taken = 0

        def predicate():
            nonlocal taken
            self.faults.at("predicate")
            taken += 1
            return taken >= 2

        return predicate

    def _make_task(self, loop, coroutine, **options):
        try:
            self.faults.at("task factory")
        except BaseException:
            coroutine.close()
            raise
        return asyncio.Task(coroutine, loop=loop, **options)

    def _report(self, _loop, context):
        self.reports.append(context)

    def future(self, kind=asyncio.Future):
        self.futures.append(kind(loop=self.loop))
        return self.futures[-1]

    # Running

    def run(self, function, *arguments):
        """Call in the loop, and give it a few turns, whatever leaves it meanwhile.

        The schedulers make no call in these: what is ready has one pending most of the time.
        """

        async def main():
            result = self.attempt(function, *arguments)
            for _ in range(3):
                await asyncio.sleep(0)
            return result

        return self.drive(main())

    def drive(self, coroutine):
        """Run a coroutine to its end, although things leave the loop."""
        task = asyncio.Task(coroutine, loop=self.loop)
        while not task.done():
            try:
                self.loop.run_until_complete(task)
            except RuntimeError:  # stopped by a call left over, when something had left
                if task.done() or not self.left:
                    raise
            except (KeyboardInterrupt, SystemExit) as error:
                if not self.faults.explains(error):
                    raise
                self.left.append(error)
        return task.result()

    def watch(self, seconds):
        """Return how many calls are scheduled within so many seconds."""
        self.drive(asyncio.sleep(0))
        before, end = self.loop.scheduled, self.loop.time() + seconds
        timer = self.loop.call_at(end, self.loop.stop)
        while self.loop.time() < end:
            try:
                self.loop.run_forever()
            except (KeyboardInterrupt, SystemExit) as error:
                if not self.faults.explains(error):
                    raise
                self.left.append(error)
        timer.cancel()
        return self.loop.scheduled - before - 2  # but for the timer, and its call

    async def turns(self, count):
        """Let turns pass in which the schedulers make one call each."""
        for _ in range(count):
            for scheduler in self.schedulers:
                if scheduler.pending:
                    self.loop.call_soon(scheduler.take())
            await asyncio.sleep(0)

    def attempt(self, function, *arguments):
        """Call, and survive what may be raised: a refusal, or a fault."""
        try:
            return function(*arguments)
        except EXPECTED:
            return None
        except BaseException as error:
            if not self.faults.explains(error):
                raise
            return None

    def spawn(self, coroutine):
        """Run a coroutine beside; its failure is nobody's affair."""
        task = asyncio.Task(self._survive(coroutine), loop=self.loop)
        self.others.append(task)
        return task

    async def _survive(self, coroutine):
        try:
            return await coroutine
        except (LookupError, AccumulationTooLarge, TimeoutError, *EXPECTED) as error:
            return error
        except Exception as error:  # noqa: BLE001 (told by an invariant)
            refusal = isinstance(error, TypeError) and "cannot receive" in str(error)
            if not (self.faults.explains(error) or refusal):
                self.surprises.append(error)
            return error

    @property
    def all_cooperators(self):
        return [*self.cooperators, *self.owned]

    @property
    def steps(self):
        return sum(cooperator.statistics().steps for cooperator in self.all_cooperators)

    # Actions

    def one_of(self, things, number):
        return things[number % len(things)]

    @property
    def tasks(self):
        return [task for job in self.jobs for task in job.tasks]

    def act_inside(self, number):
        """Do something from inside of a step."""
        name = self.one_of(INSIDE, number)
        if name in ACTIONS:
            self.attempt(getattr(self, "do_" + name), number // len(INSIDE))

    def _script(self, number):
        script = []
        while number and len(script) < 8:
            number, step = divmod(number, len(STEPS))
            script.append((STEPS[step], number))
        return script

    def _add(self, number, kind="generator"):
        cooperator, number = self.one_of(self.choices, number), number // 7
        job = Job(self, self._script(number), kind)
        job.cooperator = cooperator
        self.jobs.append(job)
        options = {"weight": 1 + number % 3}
        if number % 2:
            options["group"] = f"group {number % 3}"
        return cooperator, job, options

    def do_focus(self, number):
        """Prefer one Cooperator, so that tasks meet there."""
        preferred = self.cooperators + 2 * self.cooperators[3:6]
        self.choices = self.cooperators + 5 * [self.one_of(preferred, number)]

    def do_cooperate(self, number):
        cooperator, job, options = self._add(number)
        job.add(cooperator.cooperate(job.iterator, **options))

    def do_cooperate_plainly(self, number):
        cooperator, job, options = self._add(number, "iterator")
        job.add(cooperator.cooperate(job.iterator, **options))

    def do_share(self, number):
        cooperator, job, options = self._add(number)
        for _ in range(3):
            job.add(cooperator.cooperate(job.iterator, **options))

    def do_coiterate(self, number):
        cooperator, job, _ = self._add(number)
        self.spawn(cooperator.coiterate(job.iterator))

    def _consume(self, job, coroutine):
        job.consumer = self.spawn(coroutine)

    def do_accumulate(self, number):
        cooperator, job, options = self._add(number, self.one_of(ITERATORS, number))
        if number % 3 == 0:
            options["max_bytes" if number % 2 else "max_items"] = 1 + number % 9000
        self._consume(job, accumulate(job.iterator, cooperator, **options))

    def do_batch_accumulate(self, number):
        cooperator, job, options = self._add(number, self.one_of(ITERATORS, number))
        self._consume(
            job, batch_accumulate(1 + number % 9, job.iterator, cooperator, **options)
        )

    def do_batches(self, number):
        cooperator, job, options = self._add(number, self.one_of(ITERATORS, number))

        async def consume():
            values = []
            async with batches(1 + number % 4, job.iterator, cooperator, **options) as stream:
                async for batch in stream:
                    values += batch
                    if number % 11 == 0:
                        return None
                    if number % 3 == 0 and len(values) < 20:
                        await self.future()
            return values

        self._consume(job, consume())

    def do_checkpoints(self, number):
        self.spawn(compute(self, number))

    def do_own(self, number):
        _, job, options = self._add(number)
        job.cooperator = None

        async def own():
            async with Cooperator(name="owned") as cooperator:
                self.owned.append(cooperator)
                job.cooperator = cooperator
                job.add(cooperator.cooperate(job.iterator, **options))
                if number % 3 == 0:
                    await self.future()

        self.spawn(own())

    def do_join(self, number):
        if self.tasks:
            task = self.one_of(self.tasks, number)
            self.spawn(task.join() if number % 2 else asyncio.wait([task, task.when_done()]))

    def do_wait_for(self, number):
        if self.tasks:
            task = self.one_of(self.tasks, number)
            self.spawn(asyncio.wait_for(task, number % 3 * 0.01))

    def do_pause(self, number):
        if self.tasks:
            self.one_of(self.tasks, number).pause()

    def do_resume(self, number):
        if self.tasks:
            self.one_of(self.tasks, number).resume()

    def do_pause_all(self, _):
        for task in self.tasks:
            self.attempt(task.pause)

    def do_resume_all(self, _):
        for task in self.tasks:
            self.attempt(task.resume)

    def do_stop(self, number):
        if self.tasks:
            self.one_of(self.tasks, number).stop()

    def do_cancel(self, number):
        if self.tasks:
            self.one_of(self.tasks, number).cancel(number)

    def do_weigh(self, number):
        if self.tasks:
            self.one_of(self.tasks, number).weight = 1 + number % 5

    def do_weigh_a_group(self, number):
        cooperator = self.one_of(self.cooperators, number)
        cooperator.group(f"group {number % 3}").weight = 1 + number % 5

    def do_finish(self, number):
        self._settle(number, lambda future: future.set_result(number))

    def do_fail(self, number):
        self._settle(number, lambda future: future.set_exception(LookupError(number)))

    def do_cancel_a_future(self, number):
        self._settle(number, lambda future: future.cancel())

    def _settle(self, number, how):
        futures = [future for future in self.futures if not future.done()]
        if futures:
            how(self.one_of(futures, number))

    def do_cancel_another(self, number):
        others = [task for task in self.others if not task.done()]
        if others:
            self.one_of(others, number).cancel()

    def do_start_a_cooperator(self, number):
        self.one_of(self.choices, number).start()

    def do_stop_a_cooperator(self, number):
        cooperator = self.one_of(self.choices, number)
        try:
            cooperator.stop()
        finally:
            if current_task() is None:
                assert not cooperator.tasks, f"stop() has left tasks: {cooperator.tasks}"

    def do_drain(self, number):
        self.spawn(self.one_of(self.choices, number).drain())

    def do_pass(self, number):
        self.spawn(asyncio.sleep(0.004 * (number % 4)))

    def do_break(self, number):
        number, place = divmod(number, len(PLACES))
        number, kind = divmod(number, len(KINDS))
        self.faults.arm(PLACES[place], KINDS[kind], number % 3)

    # The end

    def close(self):
        """Close the loop as asyncio.run does, and restore what is everybody's."""
        self.faults.disarm()
        try:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.drive(asyncio.sleep(0))
            self.drive(self.loop.shutdown_asyncgens())
        finally:
            self.logger.removeHandler(self.handler)
            self.logger.propagate = self.was_propagating
            self.loop.close()


ITERATORS = ["generator", "generator", "iterator", "expression"]
ACTIONS = [name.removeprefix("do_") for name in vars(World) if name.startswith("do_")]
INSIDE = [
    *("pause", "resume", "stop", "cancel", "cooperate", "finish", "fail", "weigh"),
    *("stop_a_cooperator", "start_a_cooperator", "cancel_another", "cancel_a_future"),
]
