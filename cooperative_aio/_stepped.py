"""An iterator that is stepped: how its next step is taken, and what is done with a value."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator
from contextvars import Context
from types import GeneratorType, NoneType
from typing import Any

from cooperative_aio._checks import quote
from cooperative_aio._engine import Engine
from cooperative_aio._fairness import FairQueue
from cooperative_aio._futures import is_awaitable
from cooperative_aio._groups import Members
from cooperative_aio._iterators import PLAIN, describe, run_in, strip
from cooperative_aio._seats import Seat
from cooperative_aio._sinks import ENDLESS, Sink
from cooperative_aio._states import State
from cooperative_aio._stepping import END, Chunks

__all__ = ["Once", "Stepped", "Unmatched"]


class Unmatched:
    """A class that no value has, so that each is looked at."""


class Once:
    """Another one, for a step whose value is to be looked at whatever it is."""


class Stepped(Seat):
    """A seat whose turns are steps of an iterator."""

    __slots__ = (
        "chunks",
        "context",
        "face",
        "given_name",
        "home",
        "iterator",
        "number",
        "resuming",
        "sink",
        "state",
        "weight",
    )

    queue: FairQueue[Any]
    home: Engine  # what steps it
    iterator: Iterator[Any]
    context: Context  # where its steps run
    resuming: bool  # `next` is not the iterator's
    chunks: Chunks | None  # how to take several steps at a turn, if it does
    sink: Sink | None  # what takes its values, if anything does
    face: Any  # the CooperativeTask, until the end
    given_name: str | None
    number: int
    state: State
    weight: float

    def __repr__(self) -> str:
        return (
            f"<CooperativeTask {self.state.value} name={quote(self.name)}"
            f" {describe(self.iterator)}>"
        )

    @property
    def name(self) -> str:
        """The name that it was given, or what it steps and a number."""
        if self.given_name is not None:
            return self.given_name
        iterator = self.iterator
        label = getattr(iterator, "__qualname__", None) or type(iterator).__qualname__
        return f"{label}-{self.number}"

    # How the next step is taken

    def resume_by(self, call: Callable[[], Any]) -> None:
        """Let the next step be `call` instead of a `next()`, and be looked at."""
        if self.plain is not Unmatched:
            self.plain = Once
        self.resuming = True
        self.next = functools.partial(self._resume, call)

    def _resume(self, call: Callable[[], Any]) -> Any:
        self.resuming = False
        self.next = self.iterator.__next__
        try:
            return call()
        finally:
            del self, call

    # Its place in the queue

    @property
    def members(self) -> Members | None:
        """The group that it is a member of."""
        return self.queue if isinstance(self.queue, Members) else None

    def set_weight(self, weight: float) -> None:
        """Count with another weight from now on."""
        self.weight = weight
        self.queue.reweigh(self, weight)
        self.home.changes.moves.append(None)  # a turn that goes on looks again

    def inherit(self, maker: Seat) -> None:
        """Owe what `maker` owes, which has ended in the step that made this task."""
        if maker.queue is self.queue and not self.ready and not self.steps:
            self.virtual = self.credit = maker.virtual
            self.queue.forgive(self)  # the maker's step may have been a long one
            moves = self.home.changes.moves
            if self in moves:  # others that were made start level with those that were there
                moves.remove(self)
                moves.append(self)

    # Turns of several steps

    @property
    def interrupted(self) -> bool:
        """Whether something has happened that ends a turn of several steps."""
        return bool(self.home.changes.moves)

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
                self.returned(None)
            elif outcome is not None:
                self.wait_for(outcome)
        finally:
            del raised, outcome
        return False

    def take_single_steps(self) -> None:
        """Time each step from now on."""
        if self.chunks is not None:
            self.chunks.take_single_steps()

    # What a step has brought

    def is_to_be_awaited(self, value: Any) -> bool:
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
        if self.plain is not Unmatched:
            self.expect(kind)
        return False

    def expect(self, kind: type) -> None:
        """Take values of that class without a look at each; None is not kept."""
        self.plain = kind
        if self.sink is not None:
            self.keep = None if kind is NoneType else self.sink.keep

    def expect_none(self) -> None:
        """Take None for what is yielded from now on, unless another class is known to be."""
        if self.plain is Once or (self.steps == 1 and self.plain is not Unmatched):
            self.expect(NoneType)
            if self.sink is None:
                self.home.usual = NoneType

    def returned(self, value: Any) -> None:
        """Learn that the iterator has come to its end."""
        raise NotImplementedError

    def wait_for(self, awaitable: Awaitable[Any]) -> None:
        """Be suspended until `awaitable` is done."""
        raise NotImplementedError

    # The end

    def close(self) -> None:
        """Close the generator; what that raises is reported."""
        try:
            close = functools.partial(run_in, self.context, self.iterator.close)  # type: ignore[attr-defined]
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
