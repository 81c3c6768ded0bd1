"""CooperativeTask: one iterator, stepped for its Cooperator, as a future.

Its states are those of `_states`. Every change goes through `_rest` (out of the queue),
`_compete` (into it) and, at last, `_end`.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
import inspect
import itertools
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextvars import Context, copy_context
from types import GeneratorType, NoneType
from typing import Any, Final, Generic, NoReturn, Protocol, TypeGuard, TypeVar

from cooperative_aio._call_graph import Frames, note_awaited, note_not_awaited
from cooperative_aio._errors import (
    NotPaused,
    SchedulerError,
    SchedulerStopped,
    TaskDone,
    TaskFailed,
    TaskStopped,
    check_finite,
)
from cooperative_aio._fairness import FairQueue, Group, effective_weight
from cooperative_aio._pacing import Pacer
from cooperative_aio._source import Source, describe, is_generator, run_in, strip
from cooperative_aio._states import State

__all__ = ["ENDED", "PLAIN", "CooperativeTask", "Ended", "Home", "Outcome"]

T = TypeVar("T")

PLAIN: Final = frozenset(
    {NoneType, bool, int, float, complex, str, bytes, bytearray}
    | {tuple, list, dict, set, frozenset}
)
"""Classes known not to be awaitable, so that most values need but one look."""


class Ended(enum.Enum):
    """Say, in place of an awaitable, that a step was the last."""

    ENDED = enum.auto()


ENDED: Final = Ended.ENDED
Outcome = Awaitable[Any] | Ended | None

_numbers = itertools.count(1)


class Home(Protocol):
    """What runs the task: see `_runner.Runner`."""

    queue: FairQueue[Any]
    stepping: CooperativeTask[Any] | None
    clock: Callable[[], float]
    waiting: int
    notable: float

    @property
    def the_pacer(self) -> Pacer: ...
    def check_caller(self) -> None: ...
    def add_ready(self, competitor: CooperativeTask[Any]) -> None: ...
    def remove_ready(self, competitor: CooperativeTask[Any]) -> None: ...
    def step_now(self, task: CooperativeTask[Any]) -> None: ...
    def note_step(self, task: CooperativeTask[Any], seconds: float) -> None: ...
    def forget(self, task: CooperativeTask[Any]) -> None: ...


class CooperativeTask(asyncio.Future[T], Generic[T]):
    """Run an iterator step by step, beside others; made by `Cooperator.cooperate`.

    It is a future: awaiting it gives the generator's `return` value or raises what
    the generator raised, and everything of asyncio's that takes a future takes it.
    For what takes only coroutines there is `join()`.

    It comes from Twisted's CooperativeTask. There, a finished task gives its
    iterator; here that is what `when_done()` does.

    Cancellation: cancelling who awaits the task cancels the task, as with an
    `asyncio.Task`; `when_done()` gives futures that do not pass it on.
    """

    __slots__ = (
        "_call",
        "_context",
        "_ended_by",
        "_forgiven",
        "_given",
        "_group",
        "_how",
        "_interrupted",
        "_keep",
        "_message",
        "_must_cancel",
        "_name",
        "_next",
        "_owns_waiter",
        "_pauses",
        "_per_turn",
        "_plain",
        "_queued",
        "_rate",
        "_ready",
        "_run",
        "_runner",
        "_sole_since",
        "_source",
        "_steps",
        "_virtual",
        "_waiter",
        "_was_slow",
        "_weight",
        "_winding_up",
    )

    def __init__(
        self,
        runner: Home,
        iterator: Iterator[Any],
        *,
        loop: asyncio.AbstractEventLoop,
        name: str | None = None,
        weight: float = 1.0,
        context: Context | None = None,
        group: Group | None = None,
    ) -> None:
        super().__init__(loop=loop)
        self._runner = runner
        self._name = name if name is not None else f"CooperativeTask-{next(_numbers)}"
        self._context = copy_context() if context is None else context
        self._run = self._context.run
        self._source = Source.acquire(iterator)
        self._next: Callable[[], Any] = iterator.__next__
        self._call: Callable[[], Any] | None = None  # the next step, if not a next()
        self._plain: type = NoneType  # the last class seen that is not awaitable
        self._keep: Callable[[Any], object] | None = None  # takes the values
        self._per_turn = 0  # steps at most, if it can take several; see _burst
        self._weight = weight
        self._rate = effective_weight(weight)
        self._group = group
        self._virtual = 0.0
        self._given = 0.0  # virtual time that it did not compute for
        self._ready = self._queued = False
        self._pauses = 0
        self._forgiven = 0  # pauses that the end or a cancellation lifted
        self._waiter: asyncio.Future[Any] | None = None
        self._owns_waiter = False
        self._sole_since = 0  # the source's epoch when the awaitable was yielded
        self._interrupted = False  # something happened during the step
        self._ended_by: SchedulerError | None = None  # stopped during the step
        self._must_cancel = False  # CancelledError is to be thrown
        self._message: Any = None
        self._winding_up = False  # CancelledError was thrown
        self._how: type[SchedulerError] | None = None  # it ended
        self._was_slow = False  # a slow step was logged
        self._steps = 0

    # What it is

    @property
    def name(self) -> str:
        """The name that it was given, or one with a number."""
        return self._name

    @property
    def iterator(self) -> Iterator[Any]:
        """The iterator that it steps."""
        return self._source.iterator

    @property
    def paused(self) -> bool:
        """Whether `pause()` was called more often than `resume()`."""
        return self._pauses > 0

    @property
    def waiting(self) -> bool:
        """Whether it is suspended on an awaitable that its iterator yielded."""
        return self._waiter is not None

    @property
    def steps(self) -> int:
        """How many steps it has taken."""
        return self._steps

    @property
    def cpu_time(self) -> float:
        """How long its steps have taken, in seconds of its Cooperator's clock."""
        return (self._virtual - self._given) * self._rate

    @property
    def weight(self) -> float:
        """Its part of the time, in proportion to the weights of the other ready tasks.

        In a group: its part of what the group has.

        Raises:
            TypeError: The weight that it is set to is not a number.
            ValueError: The weight that it is set to is not finite and above 0.
            RuntimeError: Set from another thread or another loop.
        """
        return self._weight

    @weight.setter
    def weight(self, weight: float) -> None:
        self._runner.check_caller()
        self._weight = check_finite("weight", weight, positive=True)
        cpu_time = self.cpu_time
        queue = self._runner.queue if self._group is None else self._group.members
        queue.set_rate(self, effective_weight(weight))
        self._given = self._virtual - cpu_time / self._rate

    def __repr__(self) -> str:
        parts = [type(self).__name__, self._state_now.value, f"name={self._name!r}"]
        return f"<{' '.join(parts)} {describe(self.iterator)}>"

    @property
    def group(self) -> Group | None:
        """The group that it shares the time of, if it has one."""
        return self._group

    @property
    def _state_now(self) -> State:
        if self._how is not None:
            return State.CANCELLED if self.cancelled() else _ENDS[self._how]
        if self._must_cancel or self._winding_up:
            return State.ENDING
        if self._waiter is not None:
            return State.WAITING
        return State.PAUSED if self._pauses else State.READY

    def get_coro(self) -> Frames | None:
        """Return what asyncio's call graphs show of a generator; None for other iterators.

        It has `cr_frame` and `cr_await`, as a coroutine has, and cannot be awaited.
        """
        iterator = self.iterator
        return Frames(iterator) if isinstance(iterator, GeneratorType) else None

    # Other ways to await it

    async def join(self) -> T:
        """Return what awaiting the task returns; for what takes only coroutines.

        Raises:
            SchedulerStopped: The Cooperator was stopped.
            TaskStopped: The task was stopped.
            BaseException: Whatever the iterator raised.

        Cancellation: cancels the task, as awaiting it would.
        """
        return await self

    def when_done(self) -> asyncio.Future[Iterator[Any]]:
        """Return a new future that completes with the iterator, or fails as the task does.

        This is Twisted's `whenDone()`: each caller has a future of its own.

        Raises:
            RuntimeError: Called from another thread or another loop.

        Cancellation: cancelling the future leaves the task alone.
        """
        self._runner.check_caller()
        future: asyncio.Future[Iterator[Any]] = self.get_loop().create_future()
        self._relay(future)
        return future

    def _relay(self, future: asyncio.Future[Iterator[Any]]) -> None:
        def pass_on(task: CooperativeTask[T]) -> None:
            if future.done():
                return
            if task.cancelled():
                future.cancel()
            elif (error := task.exception()) is not None:
                future.set_exception(error)
                if task._how is not TaskFailed:
                    future.exception()  # nothing to log about a task that was stopped
            else:
                future.set_result(task.iterator)

        def forget(_: object) -> None:
            self.remove_done_callback(pass_on)

        if self.done():
            pass_on(self)
        else:
            self.add_done_callback(pass_on)
            future.add_done_callback(forget)

    # Pausing, stopping, cancelling

    def pause(self) -> None:
        """Take no step before `resume()` was called as often as this.

        Twisted's, and as there an awaitable that the task waits on goes on.

        Raises:
            TaskFinished: The task has ended; the subclass says how.
            SchedulerStopped: Its Cooperator was stopped.
            RuntimeError: Called from another thread or another loop.
        """
        self._check_unfinished("pause")
        if self._must_cancel or self._winding_up:
            self._forgiven += 1
            return
        self._pauses += 1
        self._rest()

    def resume(self) -> None:
        """Take back one `pause()`; after the last the task goes on.

        A pause that the task's end or a cancellation lifted is taken back quietly.

        Raises:
            NotPaused: There is no pause to take back.
            RuntimeError: Called from another thread or another loop.
        """
        self._runner.check_caller()
        if self._pauses:
            self._pauses -= 1
            if not self._pauses and self._waiter is None:
                self._compete()
        elif self._forgiven:
            self._forgiven -= 1
        else:
            raise NotPaused(f"cannot resume a {self._state_now.value} task; it is not paused")

    def stop(self) -> None:
        """Complete the task with TaskStopped and close its generator.

        The generator's `finally` blocks have run when this returns; called from
        inside the task's own step, it takes effect when that ends. A coroutine
        that the task waits on is cancelled; a future of somebody else's is not.

        Raises:
            TaskFinished: The task has ended already; the subclass says how.
            SchedulerStopped: Its Cooperator was stopped.
            RuntimeError: Called from another thread or another loop.
        """
        self._check_unfinished("stop")
        self._stop_with(TaskStopped("the task was stopped"))

    def _stop_with(self, error: SchedulerError) -> None:
        if self._runner.stepping is self:
            self._ended_by = error
            self._rest()
        else:
            self._end(type(error), error=error, close=True)

    def cancel(self, msg: Any | None = None) -> bool:
        """Throw CancelledError into the generator, as `asyncio.Task.cancel` does.

        It is delivered by the loop's `call_soon`, at the generator's `yield`, where
        the generator may clean up, also by yielding awaitables. Every pause is
        lifted. What the task waits on is cancelled. A plain iterator, or one that
        other tasks share, is dropped instead.

        Returns:
            False if the task has ended already, else True.

        Raises:
            RuntimeError: Called from another thread or another loop.
        """
        if self.done():
            return False
        self._runner.check_caller()
        self._forgiven += self._pauses
        self._pauses = 0
        if self._waiter is not None and self._waiter.cancel(msg):
            self._winding_up = True
            return True
        self._message = msg
        if not self._must_cancel:
            self._must_cancel = True
            self._rest()
            self._runner.the_pacer.call_soon(self._deliver_cancel)
        return True

    def _deliver_cancel(self) -> None:
        if self._must_cancel:
            self._must_cancel = False
            self._drop_waiter()
            self._winding_up = True
            message = self._message
            error = asyncio.CancelledError(*([] if message is None else [message]))
            self._resume_by(self._thrower(error))
            del error
            self._runner.step_now(self)
        del self  # the error refers to this frame

    def set_result(self, _result: object, /) -> None:
        """Refuse: the result is what the iterator returns.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("cannot set the result of a CooperativeTask; its iterator does")

    def set_exception(self, _exception: object, /) -> None:
        """Refuse: the exception is what the iterator raises.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("cannot set the exception of a CooperativeTask; its iterator does")

    def _check_unfinished(self, verb: str) -> None:
        self._runner.check_caller()
        if self._how is not None:
            remedy = "look at done() first"
            raise self._how(f"cannot {verb} a {self._state_now.value} task; {remedy}")

    # Into the queue and out of it

    def _compete(self) -> None:
        if not (self._ready or self._must_cancel or self._winding_up):
            self._runner.add_ready(self)

    def _rest(self) -> None:
        self._interrupted = True
        if self._ready:
            self._runner.remove_ready(self)

    # Steps

    def _step(self) -> Outcome:
        """Take one step; return what is to be waited on, or ENDED, or None.

        Runs in the task's context. What is said here is said once more, for speed,
        in the loop of `_runner.Runner._tick`.
        """
        self._steps += 1
        try:
            value = self._next()
        except StopIteration as stop:
            return self._returned(stop.value)
        except BaseException as error:  # noqa: BLE001
            return self._raised(error)
        else:
            outcome = None if type(value) is self._plain else self._inspect(value)
            if self._keep is not None and outcome is None and value is not None:
                self._keep(value)
            return outcome
        finally:
            del self  # an exception of the iterator refers to this frame

    def _burst(self, steps: int, deadline: float) -> Outcome:
        """Take up to so many steps, but none after the clock says `deadline`.

        Runs in the task's context, for tasks whose `_per_turn` is above 0.
        """
        raise NotImplementedError

    def _inspect(self, value: Any) -> Outcome:
        """Return a value that is awaitable; remember the class of one that is not."""
        kind = type(value)
        if kind not in PLAIN:
            if _is_awaitable(value):
                return value
            if kind is GeneratorType:  # of which some are awaitable
                return None
        self._plain = kind
        return None

    def _returned(self, value: Any) -> Ended:
        if self._ended_by is not None:
            self._end(type(self._ended_by), error=self._ended_by)
        elif self._must_cancel:
            self._end(TaskStopped, message=self._message)
        else:
            self._end(TaskDone, result=value)
        return ENDED

    def _raised(self, error: BaseException) -> Ended:
        strip(error)
        if isinstance(error, asyncio.CancelledError):
            if self._ended_by is not None:
                return self._returned(None)
            self._end(TaskStopped, message=error.args[0] if error.args else None, close=True)
        else:
            self._end(TaskFailed, error=error, close=True)
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise error
        return ENDED

    def _after_step(self, outcome: Awaitable[Any] | None, *, is_ticking: bool) -> None:
        """Deal with what a step has brought: outside of the context, which is not over."""
        if self._ended_by is not None:
            if inspect.iscoroutine(outcome):
                outcome.close()
            self._end(type(self._ended_by), error=self._ended_by, close=True)
        elif outcome is not None:
            self._wait_for(outcome)
        elif self._winding_up and not self._must_cancel:
            if is_ticking:
                self._winding_up = False
                self._compete()
            else:
                self._runner.the_pacer.call_soon(self._wind_up)

    def _wind_up(self) -> None:
        """Go on cleaning up, where no tick comes: the Cooperator is not started."""
        if self._winding_up and self._waiter is None and not self._must_cancel:
            self._runner.step_now(self)

    def _watch(self) -> None:
        """Take single steps from now on: the iterator's code may stop or pause the task."""

    # Waiting

    def _wait_for(self, awaitable: Awaitable[Any]) -> None:
        """Suspend the task, outside of its context, until `awaitable` is done."""
        self._rest()
        waiter, self._owns_waiter = self._as_future(awaitable)
        if self._how is not None:  # a coroutine that started at once has stopped the task
            waiter.cancel()
            return
        self._sole_since = self._source.epoch if self._source.users == 1 else -1
        context = self._runner.the_pacer.context
        try:
            waiter.add_done_callback(self._woken, context=context)
        except Exception as error:  # noqa: BLE001 (something that only looks like a future)
            waiter, self._owns_waiter = self._failed_future(strip(error)), True
            waiter.add_done_callback(self._woken, context=context)
        self._waiter = waiter
        note_awaited(waiter, self)
        self._runner.waiting += 1
        if self._must_cancel and waiter.cancel(self._message):
            self._must_cancel = False
            self._winding_up = True

    def _as_future(self, awaitable: Awaitable[Any]) -> tuple[asyncio.Future[Any], bool]:
        """Return a future to wait on, and whether it is the task's own."""
        loop = self.get_loop()
        problem = ""
        try:
            if not asyncio.isfuture(awaitable):
                coroutine = awaitable if inspect.iscoroutine(awaitable) else _await(awaitable)
                return loop.create_task(coroutine, context=self._context), True
            if awaitable is self:
                problem = f"cannot wait for the task itself: {self!r}"
            elif awaitable.get_loop() is not loop:
                problem = f"cannot wait for a future of another loop: {awaitable!r}"
        except Exception as error:  # noqa: BLE001 (the generator shall see it)
            return self._failed_future(strip(error)), True
        if problem:
            return self._failed_future(RuntimeError(problem)), True
        return awaitable, False

    def _failed_future(self, error: BaseException) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self.get_loop().create_future()
        future.set_exception(error)
        return future

    def _woken(self, waiter: asyncio.Future[Any]) -> None:
        if self._waiter is not waiter:
            return  # the task lost interest when this had been scheduled already
        self._waiter = None
        note_not_awaited(waiter, self)
        self._runner.waiting -= 1
        error = _exception_of(waiter)
        if error is not None:
            self._resume_by(self._thrower(error, self._sole_since))
        elif (generator := self._own_generator(self._sole_since)) is not None:
            self._resume_by(functools.partial(generator.send, waiter.result()))
        if self._winding_up:
            self._runner.step_now(self)
        elif not self._pauses:
            self._compete()
        del self, error, waiter  # an exception of the iterator refers to this frame

    def _own_generator(self, since: int) -> Generator[Any, Any, Any] | None:
        """Return the generator, if it stands where this task left it, to be sent to."""
        source = self._source
        is_own = source.users == 1 and source.epoch == since
        return source.iterator if is_own and is_generator(source.iterator) else None

    def _thrower(self, error: BaseException, since: int | None = None) -> Callable[[], Any]:
        generator = self._own_generator(self._source.epoch if since is None else since)
        if generator is None:
            return functools.partial(_raise, error)
        return functools.partial(generator.throw, error)

    def _resume_by(self, call: Callable[[], Any]) -> None:
        """Let the next step be `call` instead of a `next()`."""
        self._call = call
        self._next = self._resume

    def _resume(self) -> Any:
        call, self._call = self._call, None
        self._next = self.iterator.__next__
        assert call is not None  # noqa: S101 (for the type checker)
        try:
            return call()
        finally:
            del self, call

    def _drop_waiter(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._runner.waiting -= 1
            note_not_awaited(waiter, self)
            waiter.remove_done_callback(self._woken)
            if self._owns_waiter and not waiter.cancel():
                _exception_of(waiter)  # it was ours: nobody else will look at it

    # The end

    def _end(
        self,
        how: type[SchedulerError],
        *,
        result: Any = None,
        error: BaseException | None = None,
        message: Any = None,
        close: bool = False,
    ) -> None:
        """Complete the task: the only place where that happens."""
        self._how = how
        self._must_cancel = self._winding_up = False
        self._forgiven += self._pauses
        self._pauses = 0
        self._ended_by = None
        self._next = self.iterator.__next__  # these may refer to the task
        self._keep = self._call = None
        self._drop_waiter()
        was_last = self._release()
        if self._ready:
            self._runner.remove_ready(self)
        self._runner.forget(self)
        try:
            if error is not None:
                super().set_exception(error)
                if how is not TaskFailed:
                    self.exception()  # nothing to log about a task that was stopped
            elif how is TaskDone:
                super().set_result(result)
            else:
                super().cancel(message)
        finally:
            if close and was_last and is_generator(self.iterator):
                self._close(self.iterator)

    def _lose(self) -> None:
        """End, although the loop was closed: nobody can be told any more."""
        self._owns_waiter = False
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._end(
                SchedulerStopped,
                error=SchedulerStopped("the event loop was closed"),
                close=True,
            )

    def _release(self) -> bool:
        """Give the iterator up; tell whether no other task uses it."""
        return self._source.release()

    def _close(self, generator: Generator[Any, Any, Any]) -> None:
        pacer = self._runner.the_pacer
        outer, pacer.closing = pacer.closing, self
        try:
            run_in(self._context, generator.close)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001
            self.get_loop().call_exception_handler(
                {
                    "message": f"closing the generator of {self!r} failed",
                    "exception": strip(error),
                    "future": self,
                }
            )
        finally:
            pacer.closing = outer


_ENDS: Final[dict[type[SchedulerError], State]] = {
    TaskDone: State.FINISHED,
    TaskFailed: State.FAILED,
    TaskStopped: State.STOPPED,
    SchedulerStopped: State.STOPPED,
}


def _is_awaitable(value: Any) -> TypeGuard[Awaitable[Any]]:
    try:
        return asyncio.isfuture(value) or inspect.isawaitable(value)
    except Exception:  # noqa: BLE001 (a proxy that refers to nothing, say)
        return False


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _raise(error: BaseException) -> NoReturn:
    raise error


def _exception_of(future: asyncio.Future[Any]) -> BaseException | None:
    try:
        return future.exception()
    except asyncio.CancelledError as error:
        return error.with_traceback(None)
