"""The tasks of a Cooperator: how they are made, counted and ended.

While there is one, the Cooperator belongs to the loop that it was made on.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextvars import Context, copy_context
from functools import partial
from itertools import count
from typing import Any
from weakref import WeakValueDictionary

from cooperative_aio._changes import call_all
from cooperative_aio._checks import as_name, check_context, check_finite, quote
from cooperative_aio._engine import Engine
from cooperative_aio._errors import SchedulerFull, SchedulerStopped
from cooperative_aio._fairness import FairQueue
from cooperative_aio._futures import wake
from cooperative_aio._groups import Members
from cooperative_aio._iterators import check_iterator
from cooperative_aio._job import Job
from cooperative_aio._loop import LoopState
from cooperative_aio._meter import collector
from cooperative_aio._rhythm import Rhythm
from cooperative_aio._sinks import Sink
from cooperative_aio._states import State
from cooperative_aio._stepping import Chunks
from cooperative_aio._task import CooperativeTask

__all__ = ["Roster"]

_numbers = count(1)


class Roster(Engine):
    """An engine, and the tasks that it runs.

    Args:
        owner: The Cooperator.
        rhythm: What brings ticks about.
        clock: As for Cooperator; `time.perf_counter` stands for the loop's own.
        slow_step: As for Cooperator.
        max_tasks: As for Cooperator.
    """

    def __init__(
        self,
        owner: object,
        rhythm: Rhythm,
        clock: Callable[[], float],
        slow_step: float,
        max_tasks: int | None = None,
    ) -> None:
        super().__init__(owner, rhythm, clock, slow_step)
        self._max_tasks = max_tasks
        self.stopped: bool = False  # new tasks are refused
        self.jobs: dict[Job, None] = {}
        self.groups: WeakValueDictionary[Hashable, Members] = WeakValueDictionary()
        self._weighted: set[Members] = set()  # groups that are not to be forgotten
        self.drained: set[asyncio.Future[None]] = set()
        self.ended: Counter[State] = Counter()  # tasks, by how they ended
        self.refused: int = 0
        self._born: tuple[Any, int, Job] | None = None  # the first task made in a step

    def start(
        self,
        iterator: Iterator[Any],
        running: asyncio.AbstractEventLoop | None = None,
        *,
        chunks: Chunks | None = None,
        sink: Sink | None = None,
        name: str | None = None,
        weight: float = 1.0,
        context: Context | None = None,
        group: Hashable = None,
    ) -> CooperativeTask[Any]:
        """Check everything, then make a task and let it compete; see `TaskOptions`.

        Args:
            iterator: As for `cooperate`.
            running: The loop that is running, if that is known.
            chunks: How it takes several steps at a turn, if it does.
            sink: What takes its values, if it keeps them.
            name: As for `cooperate`.
            weight: As for `cooperate`.
            context: As for `cooperate`.
            group: As for `cooperate`.

        Raises:
            TypeError: An argument is of the wrong kind.
            ValueError: The weight is not a finite number above 0.
            SchedulerFull: There are as many unfinished tasks as are allowed.
            RuntimeError: It cannot be used here.
            BaseException: No tick can be had from the scheduler; all is as it was.
        """
        if running is None:
            running = self.check_loop()
        else:
            self.check_running(running)
        check_iterator(iterator)
        if weight != 1.0 or isinstance(weight, bool):
            weight = check_finite("weight", weight, positive=True)
        if context is None:
            context = copy_context()
        else:
            check_context("context", context)
        if self._max_tasks is not None:
            self._check_room(self._max_tasks)
        queue: FairQueue[Any] = self.queue if group is None else self.members(group)
        state = self._state or self.bind(running)
        job = Job(self, iterator, queue, context, weight, chunks, sink)
        job.given_name = as_name(name)
        job.number = next(_numbers)
        task: CooperativeTask[Any] = CooperativeTask(job, running)
        job.face = task
        maker = state.changes.current
        if maker is not None:
            self._note_birth(job, maker)
        state.changes.make(self._adopt, job, state)
        return task

    def _check_room(self, most: int) -> None:
        if len(self.jobs) >= most:
            self.refused += 1
            raise SchedulerFull(
                f"cannot take another task; {self.label()} has max_tasks={most}"
            )

    def _note_birth(self, job: Job, maker: Any) -> None:
        """Note the first task that is made in a step: it may owe what its maker owes."""
        born = self._born
        steps = maker.queue.steps_of(maker)
        if born is None or born[0] is not maker or born[1] != steps:
            self._born = (maker, steps, job)

    def _adopt(self, job: Job, state: LoopState) -> None:
        if self._state is None:
            self._state = state
            collector.listen()
            state.on_shutdown.add(self.shut_down)
            state.watch_shutdown()
        self.jobs[job] = None
        state.sharings.add(job.iterator)
        if self.stopped:
            job.stop(SchedulerStopped("the Cooperator is stopped; start() it first"))
            return
        if state.observers:
            self._observe(job, state)
        try:
            self.update(job, wanted=True, strict=True)
        except BaseException:
            self.update(job, wanted=False)
            self.forget(job)
            raise

    def _observe(self, job: Job, state: LoopState) -> None:
        """Tell those who watch the loop of a new task, and of its first step."""
        for observer in state.observers:
            observer.task_made(job.face)

        def begin() -> Any:
            for observer in state.observers:
                observer.task_begun(job.face)
            return job.iterator.__next__()

        job.resume_by(begin)

    def forget(self, job: Any, failure: BaseException | None = None) -> bool:
        """Drop a task that ends, and with what if it has failed; with the last, leave the loop.

        Returns:
            Whether no other task steps its iterator.
        """
        state = self._state or self.loop_state
        was_last = state.sharings.remove(job.iterator)
        for observer in state.observers:
            observer.task_ended(job.face, failure)
        del self.jobs[job]
        self.ended[job.state] += 1
        born = self._born
        if born is not None and born[0] is job:
            self._born = None
            if born[1] >= job.queue.steps_of(job) - 1:
                born[2].inherit(job)
        if not self.jobs:
            self._leave_loop()
        return was_last

    def _leave_loop(self) -> None:
        state, self._state = self._state, None
        if state is not None:
            collector.ignore()
            self._last_state = weakref.ref(state)  # a collection may have cleared the other
            state.on_shutdown.discard(self.shut_down)
        for drained in self.drained:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                wake(drained)

    def members(self, name: Hashable) -> Members:
        """Return the members of the group of that name, which is made when first asked for.

        Raises:
            TypeError: The name cannot be hashed.
        """
        try:
            members = self.groups.get(name)
        except TypeError:
            raise TypeError(f"group must be hashable, got {quote(name)}") from None
        if members is None:
            made = Members(name, self.queue, self, self._weighted)
            members = self.groups.setdefault(name, made)
        return members

    # The end of all tasks

    def resume(self) -> None:
        """Step tasks from now on."""
        self.stopped = False
        self.started = True
        self.update_rhythm()

    def stop(self) -> None:
        """End all tasks, and step none from now on."""
        self.started = False
        self.stopped = True
        self.update_rhythm()
        self._end_tasks("the Cooperator was stopped")

    def shut_down(self) -> None:
        """End what is unfinished when the loop ends; the next one may be served."""
        was_stopped, self.stopped = self.stopped, True
        try:
            self._end_tasks("the event loop was shut down")
        finally:
            self.stopped = was_stopped

    def _end_tasks(self, why: str) -> None:
        """End all tasks with SchedulerStopped, and let code at a checkpoint go on."""
        for lease in tuple(self.leases):
            self.take_back_lease(lease)
            lease.begin()
        call_all([partial(job.stop, SchedulerStopped(why)) for job in tuple(self.jobs)])

    def lose_tasks(self) -> None:
        """End the tasks of a loop that was closed without being shut down."""
        self.rhythm.forget()
        for lease in tuple(self.leases):
            self.take_back_lease(lease)
        for job in tuple(self.jobs):
            job.lose()
