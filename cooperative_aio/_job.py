"""A task's inner life: its states, what it is asked, and its end.

`CooperativeTask` is the future that users hold; a Job is what is stepped. All of its
methods are called as changes (see `_changes`), one after the other. Its `state` moves by
the table in `_states`, and whether it competes for the time follows from that.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from asyncio import Future
from collections.abc import Awaitable, Callable, Iterator
from contextvars import Context
from typing import Any, Final

from cooperative_aio._asked import NOTHING, Asked
from cooperative_aio._checks import quote
from cooperative_aio._engine import Engine
from cooperative_aio._errors import (
    AccumulationTooLarge,
    SchedulerError,
    SchedulerStopped,
    TaskDone,
    TaskFailed,
    TaskStopped,
)
from cooperative_aio._fairness import FairQueue
from cooperative_aio._futures import cancel_with
from cooperative_aio._iterators import can_receive, describe, is_generator, strip
from cooperative_aio._seats import Seat
from cooperative_aio._sinks import Sink
from cooperative_aio._states import TRANSITIONS, State
from cooperative_aio._stepped import Unmatched
from cooperative_aio._stepping import Chunks
from cooperative_aio._waiting import Waiting

__all__ = ["Job"]


class Job(Waiting):
    """A task's inner life: one iterator, stepped beside others.

    Args:
        home: What steps it.
        iterator: What is stepped.
        queue: Where it competes.
        context: Where its steps run.
        weight: Its part of the time.
        chunks: How to take several steps at a turn, if it does.
        sink: What takes its values, if anything does.
    """

    __slots__ = ("asked", "held", "how", "was_slow")

    def __init__(
        self,
        home: Engine,
        iterator: Iterator[Any],
        queue: FairQueue[Any],
        context: Context,
        weight: float,
        chunks: Chunks | None = None,
        sink: Sink | None = None,
    ) -> None:
        self.sit(queue, weight)
        self.home = home
        self.iterator = iterator
        self.context = context
        self.run = context.run
        self.next = iterator.__next__
        self.resuming = False
        self.plain = home.usual  # the last class seen that is not awaitable
        self.keep: Callable[[Any], object] | None = None
        self.weight = weight
        self.state = State.READY
        self.how: type[SchedulerError] | None = None  # it ended
        self.asked: Asked = NOTHING
        self.held: bool = False  # its sink wants no more for now
        self.was_slow: bool = False  # a slow step was logged
        self.waiter = None
        self.chunks = chunks
        self.sink = sink
        if chunks is not None:
            self.bursts = True
            self.alone = chunks.per_turn == 1
        if sink is not None:
            self.expect(self.plain if sink.keep is not None else Unmatched)

    @property
    def interrupted(self) -> bool:
        """Whether something has happened that ends a turn of several steps."""
        return super().interrupted or self.asked.stopping is not None

    def ask(self) -> Asked:
        """Return what was asked of it, for more to be put down there."""
        made = Asked()
        if self.asked is NOTHING:  # also after an interruption by the making
            self.asked = made
        return self.asked

    # Ready or not

    def _move(self, event: str) -> None:
        """Let the state follow from what has happened: the only place where it changes."""
        self.state = state = TRANSITIONS[self.state][event]
        wanted = state is State.READY and not self.held
        if wanted is not self.wanted:
            self.home.update(self, wanted=wanted)

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
        if self.state is State.READY:
            self.home.update(self, wanted=not held)

    # Turns

    def settle(self, value: Any) -> None:
        """Deal with what a step has yielded."""
        if self.asked.stopping is not None:
            if inspect.iscoroutine(value):
                value.close()
            self.finish_stop()
            return
        try:
            waits = value is not None and self.is_to_be_awaited(value)
        except BaseException as error:  # noqa: BLE001 (it was raised by a look at the value)
            self.raised(error)
            return
        if waits:
            self.wait_for(value)
        else:
            if value is None:
                self.expect_none()
            elif self.sink is not None:
                self.sink.take(self, value)
            if self.state is State.ENDING and not self.asked.cancelling:
                self._go_on()

    def _go_on(self) -> None:
        """Be a task like any other again, although it was cancelled."""
        self._move("yields a value")
        if not self.home.started:
            self.home.loop_state.call_soon(self.home.changes.make, self._wind_up)

    def _wind_up(self) -> None:
        """Go on cleaning up, where no tick comes: the Cooperator is not started."""
        if self._is_winding_up():
            self.home.step_now(self)
            if self._is_winding_up():
                self.home.loop_state.call_soon(self.home.changes.make, self._wind_up)

    def _is_winding_up(self) -> bool:
        return self.asked.unwinding and self.state is State.READY and not self.home.started

    def raised(self, error: BaseException) -> None:
        """Deal with what a step has raised."""
        try:
            if isinstance(error, StopIteration):
                self.returned(error.value)
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

    def returned(self, value: Any) -> None:
        """Learn that the iterator has come to its end."""
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
            self.home.loop_state.call_soon(self.home.changes.make, self._deliver_cancel)

    def _deliver_cancel(self) -> None:
        if self.asked.cancelling and self.waiter is None and self.state is State.ENDING:
            self.throw(self._cancelled_error())
        del self  # the error refers to this frame

    def _cancelled_error(self) -> asyncio.CancelledError:
        asked = self.asked
        asked.cancelling = False
        return asyncio.CancelledError(*([] if asked.message is None else [asked.message]))

    # Waiting

    def wait_for(self, awaitable: Awaitable[Any]) -> None:
        """Be suspended until `awaitable` is done."""
        if self.sink is not None and not can_receive(self.iterator):
            self._refuse(awaitable)
            return
        self._move(self._note_cleaning())
        waiter = self.suspend(awaitable)
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

    def go_on(self, result: Any, error: BaseException | None) -> None:
        """Go on with what was waited on: its result, or what it has failed with."""
        try:
            if result is not None and self.sink is not None:
                self.sink.note_result()
            if self.asked.cancelling:
                if not isinstance(error, asyncio.CancelledError):
                    error = self._cancelled_error()
                self.asked.cancelling = False
            self.resume_with(result, error, self.since)
            is_ending = self.state is State.ENDING
            is_paused = self.asked.pauses > 0
            self._move(f"the awaitable is done{', while paused' if is_paused else ''}")
            if is_ending:
                self.home.step_now(self)
            else:
                self._wind_up()
        finally:
            del self, error, result  # an exception of the iterator refers to this frame

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
        face = self.face
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
                self.wait_no_more()
        finally:
            if close and was_last and is_generator(self.iterator):
                self.close()
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


UNREAD: Final = (
    "%s has yielded awaitables and collected nothing; to collect their results,"
    " `yield (yield awaitable)`"
)

EVENTS: Final[dict[type[SchedulerError], str]] = {
    TaskDone: "returns",
    TaskFailed: "raises",
    TaskStopped: "stop()",
    SchedulerStopped: "stop()",
}
"""What leads to each end, by the table of the states."""
