"""What holds after each action, and at the end: all of it stands here."""

import asyncio
import inspect
import math

from cooperative_aio import SchedulerStopped

TURNS = 100  # within which something that is ready has to make a step
ROUNDS = 200  # of half as many turns, within which all has to end
QUIET = 0.05  # virtual seconds after which whatever was under way is over


def check(world):
    """Check all that holds at any time."""
    for invariant in ALWAYS:
        invariant(world)


def finish(world, *, gently):
    """End everything, and check what holds then.

    Gently: only by letting it go on, so that nothing may wait for what never comes.
    """
    world.faults.disarm()
    if not gently:
        for cooperator in world.all_cooperators:
            world.run(cooperator.stop)
            assert not cooperator.tasks, f"stop() has left tasks: {cooperator.tasks}"
    for _ in range(ROUNDS):
        world.run(_let_go, world, gently)
        world.drive(world.turns(TURNS // 2))
        world.drive(asyncio.sleep(QUIET))
        unfinished = any(cooperator.tasks for cooperator in world.all_cooperators)
        if not unfinished and all(task.done() for task in world.others):
            break
    check(world)
    for invariant in IN_THE_END:
        invariant(world)


def _let_go(world, gently):
    for future in world.futures:
        if not future.done():
            future.set_result(None)
    if not gently:
        for task in world.others:
            task.cancel()
        return
    for cooperator in world.all_cooperators:
        cooperator.start()
    for task in world.tasks:
        while task.paused:
            task.resume()


# Always


def no_task_is_lost(world):
    for job in world.jobs:
        for task in job.tasks:
            if job.cooperator is not None:
                is_known = task in job.cooperator.tasks
                assert is_known is not task.done(), f"a task is lost: {task} of {job}"
    for cooperator in world.all_cooperators:
        tasks = cooperator.tasks
        assert len(set(tasks)) == len(tasks), f"a task is there twice: {tasks}"
        assert not any(task.done() for task in tasks), f"a task is done: {tasks}"


def each_task_completes_once(world):
    ended = [(task, job) for job in world.jobs for task in job.tasks if task.done()]
    world.drive(asyncio.sleep(0))  # a future tells in the next turn
    for task, job in ended:
        told = sum(told is task for told in job.completions)
        assert told == 1, f"a task completes {told} times: {task} of {job}"
    for job in world.jobs:
        assert all(task.done() for task in job.completions), f"a task is not done: {job}"


def generators_are_closed_once_when_their_tasks_are_done(world):
    for job in world.jobs:
        assert job.begun <= 1, f"a generator begins {job.begun} times: {job}"
        assert job.closed <= job.begun, f"a generator is closed {job.closed} times: {job}"
        if job.tasks and job.over and job.state is not None:
            closed = job.state == inspect.GEN_CLOSED
            assert closed, f"a generator is left open: {job} {job.tasks}"


def statistics_add_up(world):
    for cooperator in world.all_cooperators:
        numbers, tasks = cooperator.statistics(), cooperator.tasks
        parts = [numbers.ready, numbers.paused, numbers.waiting]
        what = f"{numbers} {tasks}"
        assert min(parts) >= 0, f"a count is negative: {what}"
        assert sum(parts) == len(tasks), f"the counts do not add up: {what}"
        waiting = sum(task.waiting for task in tasks)
        assert numbers.waiting == waiting, f"{waiting} tasks are waiting: {what}"
        able = sum(not (task.waiting or task.paused) for task in tasks)
        assert numbers.ready <= able, f"only {able} tasks can be ready: {what}"
        ready = sum(task in tasks and repr(task).split()[1] == "ready" for task in world.tasks)
        assert numbers.ready >= ready, f"{ready} tasks are ready: {what}"
        assert numbers.cpu_time >= 0, f"the time is negative: {what}"
        steps = sum(task.steps for task in tasks)
        assert steps <= numbers.steps, f"there were {steps} steps: {what}"


def only_faults_are_reported(world):
    assert not world.surprises, f"something unexpected was raised: {world.surprises!r}"
    for context in world.reports:
        error = context.get("exception")
        if "never retrieved" in context["message"] or isinstance(error, SchedulerStopped):
            continue
        if isinstance(error, LookupError):  # what jobs raise; a bug raises subclasses
            continue
        text = f"something unexpected was reported: {context}"
        assert world.faults.explains(error), text
    world.reports.clear()


def the_core_is_at_rest(world):
    for cooperator in world.all_cooperators:
        changes = cooperator._engine.changes
        flags = (changes.busy, changes.serving, changes.current, changes.leaving)
        assert flags == (False, False, None, None), f"something is going on: {flags}"
        left = [*changes.outer, *changes.noted, *filter(None, changes.moves)]
        assert not left, f"something is left to be done: {left}"


def the_books_of_each_queue_are_right(world):
    for cooperator in world.all_cooperators:
        engine = cooperator._engine
        for queue in (engine.queue, *engine.groups.values()):
            entries = [*queue.ring, *(entry[2] for entry in queue.ahead)]
            assert len(set(entries)) == len(entries), f"a seat is there twice: {entries}"
            ready = [seat for seat in entries if seat.ready]
            assert queue.count == len(ready), f"{queue.count} compete: {entries}"
            stale = len(entries) - len(ready)
            assert queue._stale == stale, f"{queue._stale} are stale: {entries}"
            units = sum(seat.units for seat in ready)
            assert queue._units == units, f"{queue._units} is not the sum of weights: {ready}"
            total = sum(seat.virtual / seat.pace for seat in ready)
            is_right = math.isclose(queue.sum, total, rel_tol=1e-6, abs_tol=1e-6)
            assert is_right, f"{queue.sum} is not the sum of times, {total}: {ready}"


def what_is_ready_makes_steps(world):
    for cooperator in world.all_cooperators:
        if cooperator.running and cooperator.statistics().ready:
            world.drive(_progress(world, cooperator))


async def _progress(world, cooperator):
    before, tasks = cooperator.statistics(), cooperator.tasks
    for turn in range(TURNS):
        await world.turns(1)
        if turn % 10 == 9:  # tasks of others may compute meanwhile
            await asyncio.sleep(QUIET)
        now = cooperator.statistics()
        if now.steps > before.steps or not (now.ready and cooperator.running):
            return
        if cooperator.tasks != tasks:
            return
    raise AssertionError(f"nothing makes a step: {cooperator} {now} {tasks}")


def anything_competes(world):
    """Tell whether a task is ready, or code at a checkpoint stands back."""
    return any(
        cooperator.running and cooperator._engine.ready for cooperator in world.all_cooperators
    )


def nothing_is_scheduled_when_nothing_is_ready(world):
    if anything_competes(world):
        return
    world.drive(asyncio.sleep(QUIET))
    if anything_competes(world):
        return
    before = world.steps
    scheduled = world.watch(QUIET)
    if world.steps > before:  # a stream and its consumer take turns in being ready
        return
    assert scheduled <= 0, f"{scheduled} calls are scheduled while nothing is ready"
    if not any("handle" in str(error) for error in world.faults.raised):
        for scheduler in world.schedulers:
            assert not scheduler.pending, "a scheduler has a call while nothing is ready"


# In the end


def all_is_over(world):
    for job in world.jobs:
        assert job.over, f"a job is not over: {job} {job.tasks} {job.consumer}"
        assert job.begun == job.closed or job.state is None, f"it is not closed: {job}"
    for task in world.others:
        assert task.done(), f"a coroutine never ends: {task}"


def accumulations_have_what_was_yielded(world):
    for job in world.jobs:
        if job.consumer is None or job.consumer.cancelled():
            continue
        if job.consumer.exception() is None:
            result = job.consumer.result()
            if result is None or isinstance(result, BaseException):
                continue
            same = [id(value) for value in result] == [id(value) for value in job.kept]
            assert same, f"values are missing: {job} has {len(result)} of {len(job.kept)}"


ALWAYS = [
    no_task_is_lost,
    each_task_completes_once,
    generators_are_closed_once_when_their_tasks_are_done,
    statistics_add_up,
    only_faults_are_reported,
    the_core_is_at_rest,
    the_books_of_each_queue_are_right,
    what_is_ready_makes_steps,
    nothing_is_scheduled_when_nothing_is_ready,
]
IN_THE_END = [all_is_over, accumulations_have_what_was_yielded]
