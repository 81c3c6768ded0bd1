"""The tasklet itself: a generator, what it waits for, and what resumes it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Generator
from enum import Enum
from typing import Any, TypeVar

from cooperative_aio._checks import quote
from cooperative_aio.tasklet._conditions import WaitCondition
from cooperative_aio.tasklet._ending import Joinable, State, as_tasklet
from cooperative_aio.tasklet._engine import drive, here, keeper_of
from cooperative_aio.tasklet._joins import Round, WaitForTasklet
from cooperative_aio.tasklet._messages import Inbox, Message

R = TypeVar("R")


class _NoEvent(Enum):
    NONE = "there is no event to read; the last yield sent a message or nothing was yielded"
    READ = "the event was read already; get_event gives it once after each yield"


class Tasklet(Joinable[R]):
    """A generator that waits for events, and the future of its result.

        def receive():
            message = yield WaitForMessages(accept="greeting")
            return message.value

        receiver = Tasklet(receive())
        receiver.send_message(Message("greeting", value="hello"))
        print(await receiver)

    The generator runs at once to its first wait. It may yield a `Message`, which is sent;
    or one or several (in a list or tuple) of `WaitCondition`, `Tasklet`, generator and
    awaitable, of which the first to happen resumes it. The `yield` gives the event, as
    does `get_event()`: the condition; for `WaitForMessages` the `Message`; for a tasklet
    or generator a `WaitForTasklet`; for an awaitable that was yielded alone its result,
    and for one of several the future that is done.

    As in Kiwi. Here it is also a future, so it can be awaited and cancelled; it runs in one
    copy of the context in which it was made; and `await` raises whatever goes wrong in it.

    Args:
        gen: The generator; None for a subclass that defines `run()`.
        start: Whether to start at once, or when `start()` is called.

    Raises:
        TypeError: `gen` is not a generator.
        RuntimeError: No loop is running.

    Cancellation:
        Cancelling a coroutine that awaits it cancels the tasklet, as with `asyncio.Task`;
        use `asyncio.shield` or `WaitForTasklet` to leave it alone.
    """

    def __init__(
        self,
        gen: Generator[Any, Any, R] | None = None,
        start: bool = True,  # noqa: FBT001, FBT002 - Kiwi's signature
    ) -> None:
        super().__init__()
        if gen is None:
            gen = self.run()
        if not isinstance(gen, Generator):
            raise TypeError(f"gen must be a generator, got {quote(gen)}")
        self.gen: Generator[Any, Any, R] | None = gen
        self.context: contextvars.Context = contextvars.copy_context()
        self._round = Round()
        self._actions: dict[str, int] = {}
        self._inbox = Inbox()
        self._event: Any = _NoEvent.NONE
        self._spent: WaitCondition | None = None
        self._error: BaseException | None = None
        self._next: tuple[Any, WaitCondition | None] | None = None
        self._started = self._held = self._uses_get_event = self._cancelling = False
        self._cancel_args: tuple[Any, ...] = ()
        self._keeper = keeper_of(self.get_loop())
        self._keeper.add(self)
        if start:
            self._begin()

    def run(self) -> Generator[Any, Any, R]:
        """Return the generator; for subclasses, which are made without one.

        Raises:
            NotImplementedError: It is not defined.
        """
        raise NotImplementedError(f"{type(self).__name__} must define run() or be given gen")

    def start(self) -> None:
        """Start a tasklet that was made with `start=False`.

        Raises:
            RuntimeError: It was started before.
        """
        if self._started or self.done():
            raise RuntimeError(
                f"cannot start a {self.state.name} tasklet; it was started before"
            )
        self._begin()

    def _begin(self) -> None:
        self._started = True
        self._next = (None, None)
        self._drive()

    @property
    def wait_list(self) -> list[WaitCondition]:
        """The conditions that the tasklet waits for."""
        return self._round.conditions

    @property
    def message_actions(self) -> dict[str, int]:
        """What becomes of messages: ACCEPT, DEFER or DISCARD by name; conditions fill it."""
        return self._actions

    def get_message_actions(self) -> dict[str, int]:
        """Return `message_actions`."""
        return self._actions

    def send_message(self, message: Message) -> None:
        """Send the tasklet a message from other code; a tasklet yields the message.

        The tasklet runs before this returns, if it waits for the message.

        Raises:
            TypeError: The argument is not a Message.
            RuntimeError: The call comes from another thread than the loop's.
        """
        if not isinstance(message, Message):
            raise TypeError(f"message must be a Message, got {quote(message)}")
        self._check_thread()
        if message.dest is None:
            message.dest = self
        if self.post(message):
            drive([self])

    def wait_condition_fired(self, condition: WaitCondition, /, **attributes: Any) -> bool:
        """Report an occurrence of a condition; for conditions to call.

        A suspended tasklet runs before this returns. Otherwise the occurrence is queued.

        Args:
            condition: The one that fired.
            attributes: What to set on it when the occurrence is delivered. With none, the
                public attributes it has now are kept with the occurrence.

        Returns:
            Whether the tasklet still waits for it, so that it has to stay armed.

        Raises:
            RuntimeError: The call comes from another thread than the loop's.
        """
        self._check_thread()
        if condition not in self._round.conditions:
            return False
        receptive = self._receptive()
        if not (attributes or receptive):
            attributes = {k: v for k, v in vars(condition).items() if k[:1] != "_"}
        self._inbox.note(condition, attributes)
        if receptive:
            self._drive()
        return condition in self._round.conditions

    def read_event(self) -> Any:
        """Return the event of the last yield, once; what `get_event` calls.

        Raises:
            RuntimeError: There was none, or it was read before.
        """
        self._uses_get_event = True
        event = self._event
        if event is _NoEvent.NONE or event is _NoEvent.READ:
            raise RuntimeError(f"cannot get an event; {event.value}")
        self._event = _NoEvent.READ
        return event

    def forget(self, condition: WaitCondition) -> None:
        """Drop the occurrences of a condition that were not delivered yet."""
        self._inbox.forget(condition)

    def cancel(self, msg: Any = None) -> bool:
        """Throw CancelledError into the generator at its `yield`, soon.

        As with `asyncio.Task.cancel`, the generator may clean up, also by waiting again,
        and cancelling again throws again. Its conditions are disarmed when it ends or
        yields something else. A coroutine or generator that it has yielded is cancelled; a
        future or tasklet that it did not make is left alone. If several cancellations are
        thrown as one, the first message counts if the tasklet waits, else the last.

        Args:
            msg: The argument of the CancelledError.

        Returns:
            False if the tasklet has ended already, else True.
        """
        if self.done():
            return False
        waits = self._started and self._now is State.SUSPENDED
        if not (self._cancelling and waits):
            self._cancel_args = () if msg is None else (msg,)
        if not self._cancelling:
            self._cancelling = True
            self.get_loop().call_soon(self._deliver_cancellation)
        return True

    def _deliver_cancellation(self) -> None:
        if self.done():
            return
        self._cancelling = False
        self._error = asyncio.CancelledError(*self._cancel_args)
        for condition in self._round.conditions:
            if isinstance(condition, WaitForTasklet) and condition.owned:
                condition.tasklet.cancel(*self._cancel_args)
        self._started = True
        if not self._held:
            self._drive()

    def abandon(self) -> None:
        """Close the generator now; for the end of the loop."""
        generator = self.gen
        if generator is None:
            return
        try:
            self.context.run(generator.close)
        except BaseException as error:  # noqa: BLE001 - reported, the loop is ending
            self._report("tasklet could not be closed", error)
        self._finish(error=asyncio.CancelledError())

    # What follows is for the engine and other tasklets.

    def prepare(self) -> None:
        """Have it begin when the engine comes to it."""
        self._started = self._held = True
        self._next = (None, None)

    def post(self, message: Message) -> bool:
        """Put a message into the box; tell whether the caller is to run this tasklet."""
        self._inbox.put(message)
        if self.done():
            self._inbox.purge(self._actions, self._warn_of_undeclared)
            return False
        if not self._receptive():
            return False
        self._held = True
        return True

    def ready(self) -> bool:
        """Tell whether there is anything to resume it with, and choose it."""
        if self._next is not None or self._error is not None:
            return not self.done()
        if self._now is State.MSGSEND:
            self._next = (None, None)
            return True
        if self.done() or self._cancelling:
            return False
        return self._choose()

    def step(self) -> tuple[Joinable[Any], ...]:
        """Resume the generator once; return the tasklets that must run before it goes on."""
        value, condition = self._next or (None, None)
        error, self._next, self._error = self._error, None, None
        if condition is not None:
            condition.triggered = True
        generator = self.gen
        assert generator is not None  # noqa: S101 - ready() has seen that it goes on
        self._move(State.RUNNING)
        previous, here.current = here.current, self
        try:
            if error is None:
                yielded = self.context.run(generator.send, value)
            else:
                yielded = self.context.run(generator.throw, error)
        except StopIteration as stop:
            self._returned(stop.value)
            return ()
        except (KeyboardInterrupt, SystemExit) as failure:
            self._finish(error=failure)
            raise
        except BaseException as failure:  # noqa: BLE001 - it reaches the joiners
            self._finish(error=failure)
            return ()
        finally:
            here.current = previous
            del error
            if condition is not None:
                condition.triggered = False
        if self._uses_get_event and isinstance(self._event, (WaitCondition, Message)):
            self._warn(f"{self!r} forgot to read an event")
        self._event = _NoEvent.NONE
        return self._send(yielded) if isinstance(yielded, Message) else self._wait(yielded)

    def released(self) -> None:
        """Note that no stack holds it any more."""
        self._held = False

    def _drive(self) -> None:
        self._held = True
        drive([self])

    def _receptive(self) -> bool:
        waits = self._now is State.SUSPENDED and self._started
        return waits and not self._held and not self._cancelling

    def _choose(self) -> bool:
        """Take the oldest of what may resume it; tell whether there was anything."""
        self._inbox.purge(self._actions, self._warn_of_undeclared)
        happened = self._inbox.next(self._actions)
        if not isinstance(happened, WaitCondition):
            self._event = happened or _NoEvent.NONE
            self._next = None if happened is None else (happened, None)
            return happened is not None
        if happened.once:
            self._spent = happened
        try:
            self._event = happened.deliver()
        except BaseException as error:  # noqa: BLE001 - it is raised at the yield
            self._error = error
        else:
            self._next = (self._event, happened)
        return True

    def _send(self, message: Message) -> tuple[Joinable[Any], ...]:
        try:
            dest = self._destination(message)
        except (TypeError, ValueError, RuntimeError) as error:
            return self._throw(error)
        self._move(State.MSGSEND)
        message.sender = self
        return (dest,) if dest.post(message) else ()

    def _destination(self, message: Message) -> Joinable[Any]:
        if message.dest is None:
            raise ValueError("dest must be a Tasklet in a yielded message, got None")
        dest = as_tasklet("dest", message.dest)
        if dest.get_loop() is not self.get_loop():
            raise RuntimeError(f"cannot send a message to {dest!r}; it is on another loop")
        return dest

    def _wait(self, yielded: object) -> tuple[Joinable[Any], ...]:
        if self._round.same(yielded) and yielded is not self._spent:
            self._move(State.SUSPENDED)
            return ()
        try:
            new, started = self._round.next(yielded, _unstarted)
            self._change_round(new)
        except BaseException as error:  # noqa: BLE001 - it is raised at the yield
            return self._throw(error)
        self._move(State.SUSPENDED)
        for tasklet in started:
            tasklet.prepare()
        return tuple(reversed(started))

    def _throw(self, error: BaseException) -> tuple[Joinable[Any], ...]:
        self._move(State.SUSPENDED)
        self._error = error
        return ()

    def _change_round(self, new: Round) -> None:
        """Disarm what is no longer waited for, then arm what is new."""
        spent, self._spent = self._spent, None
        old, self._round = self._round.conditions, new
        wanted = {id(c) for c in new.conditions}
        kept = {id(c) for c in old if c is not spent} & wanted
        for condition in old:
            if id(condition) not in kept:
                self.disarm(condition)
        new.arm(self, kept)

    def disarm(self, condition: WaitCondition) -> None:
        """Disarm a condition and drop what it has reported."""
        self.forget(condition)
        try:
            condition.disarm()
        except Exception as error:  # noqa: BLE001 - reported; the tasklet goes on
            self._report(f"{condition!r} could not be disarmed", error)

    def _returned(self, value: R) -> None:
        if self._cancelling:  # too late to be thrown: as asyncio.Task, it is cancelled
            self._finish(error=asyncio.CancelledError(*self._cancel_args))
        else:
            self._finish(result=value)

    def _finish(self, *, result: R | None = None, error: BaseException | None = None) -> None:
        old, self._round = self._round.conditions, Round()
        for condition in old:
            self.disarm(condition)
        self._inbox.clear()
        self._event, self._next, self._spent, self._error = _NoEvent.NONE, None, None, None
        self.gen = None
        self._keeper.discard(self)
        self._end(result=result, error=error)


def _unstarted(generator: Generator[Any, Any, R]) -> Tasklet[R]:
    return Tasklet(generator, start=False)
