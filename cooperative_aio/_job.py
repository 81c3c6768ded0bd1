"""A task's inner life: its states, its steps, what it waits on, and its end.

`CooperativeTask` is the future that users hold; a Job is what is stepped. All of its
methods are called as changes (see `_changes`), one after the other. Its `state` moves
by the table in `_states`, and whether it competes for the time follows from that.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from asyncio import Future
from collections.abc import Awaitable, Callable, Iterator
from contextvars import Context
from types import GeneratorType, NoneType
from typing import Any, Final, NoReturn, Protocol

from cooperative_aio._call_graph import note_awaited, note_not_awaited
from cooperative_aio._changes import Changes
from cooperative_aio._checks import quote
from cooperative_aio._errors import (
    AccumulationTooLarge,
    SchedulerError,
    SchedulerStopped,
    TaskDone,
    TaskFailed,
    TaskStopped,
)
from cooperative_aio._fairness import FairQueue, Group
from cooperative_aio._futures import cancel_with, is_awaitable
from cooperative_aio._iterators import (
    PLAIN,
    can_receive,
    describe,
    is_generator,
    run_in,
    strip,
)
from cooperative_aio._loop import LoopState
from cooperative_aio._seats import Seat
from cooperative_aio._sinks import ENDLESS, Sink
from cooperative_aio._states import TRANSITIONS, State
from cooperative_aio._stepping import END, Chunks

__all__ = ["Home", "Job"]


class Home(Protocol):
    """The engine that a job belongs to."""

    changes: Changes
    clock: Callable[[], float]
    notable: float
    owner: object
    started: bool
    steps: int
    usual: type
    waiting: int

    @property
    def loop_state(self) -> LoopState:
        """What the package keeps on the loop."""

    def check_caller(self) -> None:
        """Refuse calls from elsewhere."""

    def update(self, job: Job, *, wanted: bool) -> None:
        """Let the job compete, or not."""

    def step_now(self, job: Job) -> None:
        """Step the job outside of a tick."""

    def note_step(self, seat: Seat, seconds: float) -> None:
        """Note a step that took so long."""

    def warn(self, text: str, *args: object) -> None:
        """Log a warning."""

    def rest_of_slice(self) -> float:
        """Return for how many seconds a step may go on that can be set aside."""

    def forget(self, job: Job, failure: BaseException | None) -> bool:
        """Drop a job that has ended; tell whether no other steps its iterator."""


class _Unmatched:
    """A class that no value has, so that each is looked at."""


class _Once:
    """Another one, for a step whose value is to be looked at whatever it is."""


class Asked:
    """What others have asked of a task: pauses, its end, a cancellation.

    Of most tasks nothing is, so this is made when something is: see `Job.ask`.
    """

    __slots__ = (
        "cancelling",
        "cleaning",
        "forgiven",
        "message",
        "pauses",
        "pausing",
        "stopping",
        "unwinding",
    )

    def __init__(self) -> None:
        self.pauses: int = 0
        self.pausing: int = 0  # pauses that are asked for, and may only be noted
        self.forgiven: int = 0  # pauses that the end or a cancellation lifted
        self.stopping: SchedulerError | None = None  # what to end with after this step
        self.cancelling: bool = False  # CancelledError is to be thrown
        self.cleaning: bool = False  # it waits after CancelledError was thrown
        self.unwinding: bool = False  # cancel() was called, and it has not ended
        self.message: Any = None

    def forgive(self) -> None:
        """Lift every pause."""
        self.forgiven += self.pauses
        self.pauses = 0


NOTHING: Final = Asked()
"""What was asked of most tasks; only to be read."""


class Job(Seat):
    """One iterator, stepped beside others.

    Args:
        home: What steps it.
        iterator: What is stepped.
        queue: Where it competes.
        context: Where its steps run.
        weight: Its part of the time.
        chunks: How to take several steps at a turn, if it does.
        sink: What takes its values, if anything does.
    """

    __slots__ = (
        "asked",
        "chunks",
        "context",
        "face",
        "given_name",
        "held",
        "home",
        "how",
        "iterator",
        "number",
        "owned",
        "resuming",
        "since",
        "sink",
        "state",
        "waiter",
        "was_slow",
        "weight",
    )

    face: Any  # the CooperativeTask, until the end
    number: int

    def __init__(
        self,
        home: Home,
        iterator: Iterator[Any],
        queue: FairQueue[Any],
        context: Context,
        weight: float,
        chunks: Chunks | None = None,
        sink: Sink | None = None,
    ) -> None:
        self.sit(queue, weight)
        self.home = home
        self.iterator: Iterator[Any] = iterator
        self.context: Context = context
        self.weight: float = weight
        self.run = context.run
        self.next = iterator.__next__
        self.resuming: bool = False  # `next` is not the iterator's
        self.plain = home.usual  # the last class seen that is not awaitable
        self.keep: Callable[[Any], object] | None = None
        self.chunks: Chunks | None = chunks
        self.sink: Sink | None = sink
        self.state: State = State.READY
        self.how: type[SchedulerError] | None = None  # it ended
        self.asked: Asked = NOTHING
        self.held: bool = False  # its sink wants no more for now
        self.waiter: Future[Any] | None = None
        self.was_slow: bool = False  # a slow step was logged
        self.owned: bool = False  # the waiter is the task's own
        self.since: int = -1
        self.given_name: str | None = None
        if chunks is not None:
            self.bursts = True
            self.alone = chunks.per_turn == 1
        if sink is not None:
            self._expect(self.plain if sink.keep is not None else _Unmatched)

    def __repr__(self) -> str:
        return (
            f"<CooperativeTask {self.state.value} name={self.name!r} {describe(self.iterator)}>"
        )

    @property
    def group(self) -> Group | None:
        """The group that it is a member of."""
        return self.queue if isinstance(self.queue, Group) else None

    @property
    def name(self) -> str:
        """The name that it was given, or what it steps and a number."""
        if self.given_name is not None:
            return self.given_name
        iterator = self.iterator
        label = getattr(iterator, "__qualname__", None) or type(iterator).__qualname__
        return f"{label}-{self.number}"

    @property
    def interrupted(self) -> bool:
        """Whether something has happened that ends a turn of several steps."""
        changes = self.home.changes
        return bool(changes.moves) or self.asked.stopping is not None

    def ask(self) -> Asked:
        """Return what was asked of it, for more to be put down there."""
        if self.asked is NOTHING:
            made = Asked()
            self.asked = made if self.asked is NOTHING else self.asked  # by an interruption
        return self.asked

    # Ready or not

    def _update(self) -> None:
        """Let the readiness follow from the state."""
        wanted = self.state is State.READY and not self.held
        if wanted is not self.wanted:
            self.home.update(self, wanted=wanted)

    def _move(self, event: str) -> None:
        """Let the state follow from what has happened: the only place where it changes."""
        self.state = _ROWS[self.state._name_][event]
        self._update()

    def pause(self) -> None:
        """Take back the readiness until `resume()`."""
        asked = self.ask()
        asked.pausing -= 1
        if self.how is not None or self.state is State.ENDING:
            asked.forgiven += 1
            return
        asked.pauses += 1
        self._move("pause()")

    def resume(self) -> None:
        """Take one pause back."""
        asked = self.asked
        if asked.pauses:
            asked.pauses -= 1
            if not asked.pauses and self.state is State.PAUSED:
                self._move("the last resume()")
        elif asked.forgiven:
            asked.forgiven -= 1

    def hold(self, *, held: bool) -> None:
        """Take no step for now, or go on: what the sink wants."""
        self.home.changes.make(self._hold, held)

    def _hold(self, held: bool) -> None:  # noqa: FBT001
        self.held = held
        if self.how is None:
            self._update()

    def set_weight(self, weight: float) -> None:
        """Count with another weight from now on."""
        self.weight = weight
        self.queue.reweigh(self, weight)
        self.home.changes.moves.append(None)  # a turn that goes on looks again

    def take_single_steps(self) -> None:
        """Time each step from now on."""
        if self.chunks is not None:
            self.chunks.take_single_steps()

    # Turns

    def burst(self, deadline: float, is_alone: bool) -> bool:  # noqa: FBT001
        """Take several steps."""
        changes, chunks = self.home.changes, self.chunks
        assert chunks is not None  # noqa: S101 (for the type checker)
        steps = ENDLESS if is_alone else chunks.per_turn
        outcome: Any = None
        raised: BaseException | None = None
        before = self.steps
        changes.current = self
        try:
            outcome = self.context.run(chunks.take, self, self.home, deadline, steps)
        except BaseException as error:  # noqa: BLE001
            raised = error
        changes.current = None
        self.home.steps += self.steps - before
        try:
            if raised is not None:
                self.raised(raised)
            elif outcome is END:
                self._returned(None)
            elif outcome is not None:
                self._wait_for(outcome)
        finally:
            del raised, outcome
        return False

    def settle(self, value: Any) -> None:
        """Deal with what a step has yielded."""
        if self.asked.stopping is not None:
            if inspect.iscoroutine(value):
                value.close()
            self.finish_stop()
            return
        try:
            waits = value is not None and self._is_to_be_awaited(value)
        except BaseException as error:  # noqa: BLE001 (it was raised by a look at the value)
            self.raised(error)
            return
        if waits:
            self._wait_for(value)
        else:
            if value is None:
                self._expect_none()
            elif self.sink is not None:
                self.sink.take(self, value)
            if self.state is State.ENDING and not self.asked.cancelling:
                self._go_on()

    def _is_to_be_awaited(self, value: Any) -> bool:
        """Look at a value; remember the class of one that is not awaitable."""
        kind = type(value)
        try:
            is_known = kind in PLAIN
        except Exception:  # noqa: BLE001 (a class that cannot be hashed)
            is_known = False
        if not is_known:
            if is_awaitable(value):
                return True
            if kind is GeneratorType:  # of which some are awaitable
                return False
        elif self.sink is None:
            self.home.usual = kind  # others are likely to yield the same
        if self.plain is not _Unmatched:
            self._expect(kind)
        return False

    def _expect(self, kind: type) -> None:
        """Take values of that class without a look at each; None is not kept."""
        self.plain = kind
        if self.sink is not None:
            self.keep = None if kind is NoneType else self.sink.keep

    def _expect_none(self) -> None:
        """Take None for what is yielded from now on, unless another class is known to be."""
        if self.plain is _Once or (self.steps == 1 and self.plain is not _Unmatched):
            self._expect(NoneType)
            if self.sink is None:
                self.home.usual = NoneType

    def _go_on(self) -> None:
        """Be a task like any other again, although it was cancelled."""
        self._move("yields a value")
        if not self.home.started:
            self.home.loop_state.call_soon(self._change, self._wind_up)

    def _wind_up(self) -> None:
        """Go on cleaning up, where no tick comes: the Cooperator is not started."""
        if self._is_winding_up():
            self.home.step_now(self)
            if self._is_winding_up():
                self.home.loop_state.call_soon(self._change, self._wind_up)

    def _is_winding_up(self) -> bool:
        return self.asked.unwinding and self.state is State.READY and not self.home.started

    def _change(self, change: Callable[[], object]) -> None:
        """Make a change from a callback of the loop."""
        self.home.changes.make(change)

    def raised(self, error: BaseException) -> None:
        """Deal with what a step has raised."""
        try:
            if isinstance(error, StopIteration):
                self._returned(error.value)
                return
            strip(error)
            if isinstance(error, asyncio.CancelledError):
                if self.asked.stopping is not None:
                    self.finish_stop()
                else:
                    self.end(TaskStopped, cancelled=error, close=True)
                return
            self.end(TaskFailed, error=error, close=True)
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise error
        finally:
            del self, error

    def _returned(self, value: Any) -> None:
        if self.asked.stopping is not None:
            self.finish_stop()
        elif self.asked.cancelling:
            self.end(TaskStopped, cancelled=self._cancelled_error())
        elif self.sink is None:
            self.end(TaskDone, result=value)
        else:
            result = self.sink.result(value)
            if self.sink.lost_results():
                self.home.warn(UNREAD, repr(self))
            self.end(TaskDone, result=result)

    # Being stopped and cancelled

    def stop(self, error: SchedulerError) -> None:
        """End now, or if it is its own step that is going on, after that."""
        if self.how is not None:
            return
        if self.home.changes.is_running(self):
            self.stop_when_over(error)
        else:
            self.end(type(error), error=error, close=True)

    def stop_when_over(self, error: SchedulerError) -> None:
        """End when the step that is going on is over, unless it is the last anyhow."""
        asked = self.ask()
        if asked.stopping is None:
            asked.stopping = error
            self.home.changes.moves.append(self)

    def move(self) -> Seat | None:
        """End, if that was asked for during the step that is over; else join or leave."""
        if self.asked.stopping is not None:
            if self.home.changes.is_running(self):
                return self
            self.finish_stop()
        return super().move()

    def finish_stop(self) -> None:
        """End, now that the step is over during which that was asked for."""
        asked = self.asked
        error = asked.stopping
        if error is None:
            return
        asked.stopping = None
        if self.how is not None:
            return
        if not isinstance(error, AccumulationTooLarge):
            self.end(type(error), error=error, close=True)
        elif asked.unwinding:  # it was cancelled, and its clean-up has yielded too much
            self.end(TaskStopped, cancelled=self._cancelled_error(), close=True)
        else:
            self.end(TaskFailed, error=error, close=True)

    def cancel(self, message: Any) -> None:
        """Have CancelledError thrown, once for all cancellations until then."""
        if self.how is not None:
            return
        asked = self.ask()
        asked.unwinding = True
        asked.cleaning = False
        asked.forgive()
        self._move("cancel()")
        asked.message = message
        waiter = self.waiter
        if waiter is not None:
            if not waiter.cancel(message):  # it refuses, or is done: its callback comes
                asked.cancelling = True
        elif not asked.cancelling:
            asked.cancelling = True
            self.home.loop_state.call_soon(self._change, self._deliver_cancel)

    def _deliver_cancel(self) -> None:
        if self.asked.cancelling and self.waiter is None and self.state is State.ENDING:
            self._throw(self._cancelled_error())
        del self  # the error refers to this frame

    def _cancelled_error(self) -> asyncio.CancelledError:
        asked = self.asked
        asked.cancelling = False
        return asyncio.CancelledError(*([] if asked.message is None else [asked.message]))

    def _throw(self, error: BaseException) -> None:
        """Take a step now, in which `error` is raised at the `yield`."""
        try:
            since = self.home.loop_state.sharings.since(self.iterator)
            self.resume_by(self._thrower(error, since))
            self.home.step_now(self)
        finally:
            del self, error

    # Waiting

    def _wait_for(self, awaitable: Awaitable[Any]) -> None:
        """Be suspended until `awaitable` is done."""
        if self.sink is not None and not can_receive(self.iterator):
            self._refuse(awaitable)
            return
        self._move(self._note_cleaning())
        state = self.home.loop_state
        waiter, self.owned = self._as_future(awaitable)
        self.since = state.sharings.since(self.iterator)
        try:
            state.wait_on(waiter, self)
        except BaseException as error:  # noqa: BLE001 (something that only looks like a future)
            waiter, self.owned = self._failed_future(strip(error)), True
            state.wait_on(waiter, self)
        self.waiter = waiter
        del self.run, self.next  # they weigh, and are made again when it is woken
        self.home.waiting += 1
        note_awaited(waiter, self.face)
        if self.asked.stopping is not None:  # by a coroutine that was begun at once
            self.finish_stop()
        elif self.asked.cancelling and waiter.cancel(self.asked.message):
            self.asked.cancelling = False

    def _note_cleaning(self) -> str:
        """Note whether it is cleaning up that waits; return what yielding an awaitable is."""
        asked = self.asked
        if asked.unwinding:
            was_cleaning, asked.cleaning = asked.cleaning, self.state is State.ENDING
            if was_cleaning and asked.cleaning and not asked.cancelling:
                return "yields another awaitable"
        return "yields an awaitable"

    def _refuse(self, awaitable: Awaitable[Any]) -> None:
        """Fail, since the result could not be given to what yielded the awaitable."""
        if inspect.iscoroutine(awaitable):
            awaitable.close()
        error = TypeError(
            f"cannot wait for {quote(awaitable)}: {describe(self.iterator)} cannot receive"
            " its result; write a generator function that does"
            " `yield (yield awaitable)`"
        )
        self.end(TaskFailed, error=error, close=True)

    def _as_future(self, awaitable: Awaitable[Any]) -> tuple[Future[Any], bool]:
        """Return a future to wait on, and whether it is the task's own."""
        loop = self.home.loop_state.loop
        problem = ""
        try:
            if not asyncio.isfuture(awaitable):
                coroutine = awaitable if inspect.iscoroutine(awaitable) else _await(awaitable)
                return loop.create_task(coroutine, context=self.context), True
            if awaitable is self.face:
                problem = f"cannot wait for the task itself: {awaitable!r}"
            elif awaitable.get_loop() is not loop:
                problem = f"cannot wait for a future of another loop: {awaitable!r}"
        except BaseException as error:  # noqa: BLE001 (the generator shall see it)
            return self._failed_future(strip(error)), True
        if problem:
            return self._failed_future(RuntimeError(problem)), True
        return awaitable, False

    def _failed_future(self, error: BaseException) -> Future[Any]:
        future: Future[Any] = self.home.loop_state.loop.create_future()
        future.set_exception(error)
        return future

    def woken(self, waiter: Future[Any]) -> None:
        """Learn that what was waited on is done."""
        if self.waiter is not waiter:
            return  # it lost interest when this had been scheduled already
        self._forget_waiter()
        self.run, self.next = self.context.run, self.iterator.__next__
        try:
            result, error = _outcome_of(waiter)
        except BaseException as raised:  # noqa: BLE001 (it is thrown, and the task not lost)
            result, error = None, strip(raised)
        if result is not None and self.sink is not None:
            self.sink.note_result()
        if self.asked.cancelling:
            if not isinstance(error, asyncio.CancelledError):
                error = self._cancelled_error()
            self.asked.cancelling = False
        if error is not None:
            self.resume_by(self._thrower(error, self.since))
        elif self._is_sole(self.since):
            self.resume_by(functools.partial(self.iterator.send, result))  # type: ignore[attr-defined]
        try:
            is_ending = self.state is State.ENDING
            is_paused = self.asked.pauses > 0
            self._move(f"the awaitable is done{', while paused' if is_paused else ''}")
            if is_ending:
                self.home.step_now(self)
            else:
                self._wind_up()
        finally:
            del self, error, result, waiter  # an exception of the iterator refers to this frame

    def _is_sole(self, since: int) -> bool:
        """Tell whether the generator stands where this task left it."""
        sole = self.home.loop_state.sharings.since(self.iterator)
        return sole == since != -1 and is_generator(self.iterator)

    def _thrower(self, error: BaseException, since: int) -> Callable[[], Any]:
        if self._is_sole(since):
            return functools.partial(self.iterator.throw, error)  # type: ignore[attr-defined]
        return functools.partial(_raise, error)

    def resume_by(self, call: Callable[[], Any]) -> None:
        """Let the next step be `call` instead of a `next()`, and be looked at."""
        if self.plain is not _Unmatched:
            self.plain = _Once
        self.resuming = True
        self.next = functools.partial(self._resume, call)

    def _resume(self, call: Callable[[], Any]) -> Any:
        self.resuming = False
        self.next = self.iterator.__next__
        try:
            return call()
        finally:
            del self, call

    def _forget_waiter(self) -> None:
        waiter, self.waiter = self.waiter, None
        if waiter is not None:
            self.home.waiting -= 1
            note_not_awaited(waiter, self.face)

    def _drop_waiter(self) -> None:
        """Wait no more: end a coroutine of its own, and leave other futures alone."""
        waiter = self.waiter
        self._forget_waiter()
        if waiter is None:
            return
        self.home.loop_state.wait_no_more(waiter, self)
        if self.owned and not waiter.cancel():
            _outcome_of(waiter)  # it was its own: nobody else will look at it

    # The end

    def end(
        self,
        how: type[SchedulerError],
        *,
        result: Any = None,
        error: BaseException | None = None,
        cancelled: asyncio.CancelledError | None = None,
        close: bool = False,
    ) -> None:
        """Complete the task: the only place where that happens."""
        self.how = how
        if self.asked is not NOTHING:
            self.asked.stopping = None
            self.asked.cancelling = False
            self.asked.forgive()
        self._move(EVENTS[how] if cancelled is None else "raises CancelledError")
        self.keep = None
        self.next = None  # it may refer to the task
        face, context = self.face, self.context
        was_last = self.home.forget(self, error if how is TaskFailed else None)
        try:
            if self.sink is not None:
                self.sink.end(complete=how in (TaskDone, TaskFailed))
            if cancelled is not None:
                cancel_with(face, cancelled)
            elif error is not None:
                Future.set_exception(face, error)
                if how is not TaskFailed:
                    Future.exception(face)  # nothing to log about a task that was stopped
            else:
                Future.set_result(face, result)
            if self.waiter is not None:
                self._drop_waiter()
        finally:
            if close and was_last and is_generator(self.iterator):
                self._close(context)
            self.face = None
            del self, face, error, cancelled, result

    def lose(self) -> None:
        """End, although the loop was closed: nobody can be told any more."""
        if self.how is not None:
            return
        self.owned = False
        with contextlib.suppress(RuntimeError):  # the loop is closed
            error = SchedulerStopped("the event loop was closed")
            self.end(SchedulerStopped, error=error, close=True)

    def inherit(self, maker: Seat) -> None:
        """Owe what `maker` owes, which has ended in the step that made this task."""
        if maker.queue is self.queue and not self.ready and not self.steps:
            self.virtual = self.credit = maker.virtual
            moves = self.home.changes.moves
            if self in moves:  # others that were made start level with those that were there
                moves.remove(self)
                moves.append(self)

    def _close(self, context: Context) -> None:
        try:
            close = functools.partial(run_in, context, self.iterator.close)  # type: ignore[attr-defined]
            self.home.changes.call(self, close)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001
            self.home.loop_state.loop.call_exception_handler(
                {
                    "message": f"closing the generator of {self.face!r} failed",
                    "exception": strip(error),
                    "future": self.face,
                }
            )


UNREAD: Final = (
    "%s has yielded awaitables and collected nothing; to collect their results,"
    " `yield (yield awaitable)`"
)

_ROWS: Final = {state.name: row for state, row in TRANSITIONS.items()}
"""The same table by name: an enum's member is hashed by code in Python."""

EVENTS: Final[dict[type[SchedulerError], str]] = {
    TaskDone: "returns",
    TaskFailed: "raises",
    TaskStopped: "stop()",
    SchedulerStopped: "stop()",
}
"""What leads to each end, by the table of the states."""


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _raise(error: BaseException) -> NoReturn:
    raise error


def _outcome_of(future: Future[Any]) -> tuple[Any, BaseException | None]:
    """Return the result of what is done, or its exception."""
    try:
        error = future.exception()
        return (future.result(), None) if error is None else (None, error)
    except asyncio.CancelledError as error:
        return None, error.with_traceback(None)
    except Exception as error:  # noqa: BLE001 (it only looks like a future)
        return None, strip(error)
