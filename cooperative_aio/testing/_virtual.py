"""An asyncio event loop on virtual time: it jumps where others wait.

The rules of its time:

* Code takes no time, however long it runs, but what `spend` says that it took. What
  becomes due meanwhile happens afterwards, late, as on every loop.
* When nothing is ready to run, time jumps to the next timer, exactly to its instant.
* While sockets, pipes, child processes, executor jobs or other threads may have something
  to say, a jump first waits for them in real time: as long as the jump is, but at most
  `patience` seconds. So what answers within that time never times out, and no wait takes
  longer than on a real loop. (Threads older than the loop, and an executor's while they
  have no job, do not count.)
* When nothing is ready, no timer is set and nothing outside is awaited, no time will ever
  come: that is a `Deadlock`, raised out of `run_forever` and what is built on it.
* Whoever waits by spinning is not left hanging. After `TURNS` turns without rest time goes
  on to the next timer, or by `LUMP` seconds, then twice that, and so on. Readings of
  `perf_counter` within a turn, of which `READINGS` have given the same time, make it go on
  by `LUMP`: so a time slice ends although its steps were never said to take any.
"""

from __future__ import annotations

import asyncio
import functools
import math
import selectors
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context, copy_context
from typing import Any, ParamSpec, TypeVar, TypeVarTuple, Unpack, overload

from cooperative_aio._checks import check_finite, quote
from cooperative_aio._clock import Agenda

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

TURNS = 10_000
"""Turns without rest after which time goes on in spite of them."""

READINGS = 10_000
"""Equal readings of `perf_counter` in one turn after which time goes on."""

LUMP = 0.01
"""The seconds by which it goes on then."""

_TASKS_SHOWN = 10
_WORKERS = ("asyncio_", "ThreadPoolExecutor-")  # how idle executor threads are named


class Deadlock(RuntimeError):
    """Nothing can ever happen again on a virtual loop; the text says what waits for it."""


class _Timer(asyncio.TimerHandle):
    """A call on a virtual loop; when due it is handed on to the loop's `call_soon`."""

    __slots__ = ("agenda", "call", "place", "soon")

    def __init__(
        self,
        loop: VirtualLoop,
        agenda: Agenda[_Timer],
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context,
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self.agenda = agenda
        self.place: int | None = None
        self.soon: asyncio.Handle | None = None
        self.call = functools.partial(loop.call_soon, callback, *args, context=context)

    def release(self) -> None:
        self.soon = self.call()
        del self.call

    def cancel(self) -> None:
        super().cancel()
        if self.place is not None:
            self.agenda.drop(self)
        if self.soon is not None:
            self.soon.cancel()


class _Timeline(selectors.DefaultSelector):
    """Virtual time, moved where the loop would wait: in its selector."""

    def __init__(self, start: float, turn: float, patience: float) -> None:
        super().__init__()
        self.now = start
        self.agenda: Agenda[_Timer] = Agenda()
        self.jobs = 0
        self.own = 0  # what the loop itself has registered (to be woken by threads)
        self.loop: asyncio.AbstractEventLoop | None = None
        self._threads = frozenset(threading.enumerate())
        self._turn = turn
        self._patience = patience
        self._turns = 0
        self._readings = 0

    def move(self, seconds: float) -> None:
        self.now += seconds
        self._turns = self._readings = 0

    def read(self) -> float:
        self._readings += 1
        if self._readings > READINGS:
            self.move(LUMP)
        return self.now

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Look for I/O, let time pass, and release the timers that are due."""
        # Threads first: one that ends before the look at I/O has called already.
        threads = timeout != 0 and threading.active_count() > 1
        others = threads and self._other_threads()
        events = super().select(0)
        self._readings = 0
        if events or timeout == 0:
            self._pass_a_turn()
        else:
            events = self._rest(threads=threads, others=others)
        agenda = self.agenda
        while (when := agenda.next_when()) is not None and when <= self.now:
            agenda.pop().release()
        return events

    def close(self) -> None:
        """Close the selector and forget the timers, as every loop does."""
        super().close()
        self.loop = None
        self.agenda = Agenda()

    def _pass_a_turn(self) -> None:
        self._turns += 1
        cost = self._turn if self._turns <= TURNS else max(self._turn, LUMP)
        if cost:
            when = self.agenda.next_when()
            then = self.now + cost
            self.now = min(then, when) if when is not None and when > self.now else then

    def _rest(self, *, threads: bool, others: bool) -> list[tuple[selectors.SelectorKey, int]]:
        self._turns = 0
        when = self.agenda.next_when()
        answering = self.jobs > 0 or len(self.get_map()) > self.own
        if when is None:
            if answering:
                return super().select(None)
            events = super().select(self._patience) if threads else []
            if not events:
                raise Deadlock(self._who_waits())
            return events
        gap = min(when - self.now, self._patience)
        if gap > 0 and (answering or others):
            events = super().select(gap)
            if events:
                return events
        self.now = max(self.now, when)
        return []

    def _other_threads(self) -> bool:
        """Tell whether threads that are not idle for sure came after the loop."""
        return any(
            thread not in self._threads and not thread.name.startswith(_WORKERS)
            for thread in threading.enumerate()
        )

    def _who_waits(self) -> str:
        tasks = asyncio.all_tasks(self.loop)
        shown = sorted(map(repr, tasks))[:_TASKS_SHOWN]
        more = [f"and {len(tasks) - len(shown)} more"] if len(tasks) > len(shown) else []
        first = (
            f"nothing can happen any more at {self.now}: no call is scheduled, no I/O or "
            f"thread is awaited; unfinished tasks: {len(tasks)}"
        )
        return "\n  ".join([first, *shown, *more])


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on which waiting costs nothing: time jumps from timer to timer.

    `asyncio.sleep`, `asyncio.timeout`, `call_later`, LoopingCall and the Cooperator run on
    it unchanged, in the order and at the instants of a loop of infinite speed. Make it like
    any loop, for example with `asyncio.Runner(loop_factory=VirtualLoop)`, or decorate a
    test with `virtual_time`.

    Args:
        start: The time to begin with, in seconds.
        turn: How long a turn of the loop without a jump takes, in seconds of virtual time.
        patience: How many seconds of real time to wait at most for sockets, pipes and
            threads before a jump, and for threads before a `Deadlock`. Use 0 for tests
            without any of these.

    Raises:
        TypeError: A value is not a number.
        ValueError: A value is negative, nan or infinite.
    """

    def __init__(self, *, start: float = 0.0, turn: float = 0.0, patience: float = 1.0) -> None:
        try:
            start = check_finite("start", start, positive=False)
            turn = check_finite("turn", turn, positive=False)
            patience = check_finite("patience", patience, positive=False)
        except (TypeError, ValueError):
            super().__init__()  # or else asyncio complains about a loop half made
            self.close()
            raise
        self._timeline = _Timeline(start, turn, patience)
        super().__init__(self._timeline)
        self._timeline.loop = self
        self._timeline.own = len(self._timeline.get_map())

    def time(self) -> float:
        """Return the virtual time, in seconds."""
        return self._timeline.now

    def perf_counter(self) -> float:
        """Return the virtual time, in seconds: a clock for a Cooperator, say."""
        return self._timeline.read()

    def spend(self, seconds: float) -> None:
        """Let the current work take time.

        Args:
            seconds: How long it takes, in seconds, at least 0. Time moves at once.

        Raises:
            TypeError: Seconds is not a number.
            ValueError: Seconds is negative, nan or infinite.
        """
        self._timeline.move(check_finite("seconds", seconds, positive=False))

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Make a call after a delay, as `asyncio.loop.call_later`.

        Args:
            delay: The seconds from now; a negative one means as soon as possible.
            callback: What to call.
            *args: What to call it with.
            context: The context to call it in; a copy of the current one if None.

        Raises:
            ValueError: The delay is nan.
        """
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Make a call at an instant, and not an ulp earlier.

        Args:
            when: The instant, in seconds; one that has passed means as soon as possible,
                and infinity means never.
            callback: What to call.
            *args: What to call it with.
            context: The context to call it in; a copy of the current one if None.

        Raises:
            RuntimeError: The loop is closed.
            TypeError: The callback is not callable.
            ValueError: The instant is nan.
        """
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        if not callable(callback):
            raise TypeError(f"callback must be callable, got {quote(callback)}")
        if math.isnan(when):
            raise ValueError(f"when must be a number of seconds, got {quote(when)}")
        agenda = self._timeline.agenda
        context = copy_context() if context is None else context
        timer = _Timer(self, agenda, when, callback, *args, context=context)
        if when < math.inf:
            agenda.put(when, timer)
        return timer

    def run_in_executor(
        self,
        executor: Executor | None,
        func: Callable[[Unpack[Ts]], T],
        *args: *Ts,
    ) -> asyncio.Future[T]:
        """Run a function in a thread or process, for which jumps wait in real time.

        Raises:
            RuntimeError: The loop is closed, or its executor was shut down.

        Cancellation:
            Cancels the returned future; a function already running goes on.
        """
        job = super().run_in_executor(executor, func, *args)
        self._timeline.jobs += 1
        job.add_done_callback(self._end_job)
        return job

    def _end_job(self, _job: asyncio.Future[Any]) -> None:
        self._timeline.jobs -= 1

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109
        """Wait for the threads of the default executor, in real time.

        Args:
            timeout: Of no effect: virtual seconds say nothing about threads.

        Cancellation:
            Leaves the executor shut down and its threads ending.
        """
        self._timeline.jobs += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._timeline.jobs -= 1


def spend(seconds: float) -> None:
    """Let the current step take time on the running VirtualLoop.

    Args:
        seconds: How long it takes, in seconds, at least 0.

    Raises:
        TypeError: Seconds is not a number.
        RuntimeError: No loop is running, or one on real time.
        ValueError: Seconds is negative, nan or infinite.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise RuntimeError(f"cannot spend time on {loop!r}; run on a VirtualLoop")  # noqa: TRY004
    loop.spend(seconds)


@overload
def virtual_time(function: Callable[P, Coroutine[Any, Any, T]], /) -> Callable[P, T]: ...
@overload
def virtual_time(
    *, start: float = 0.0, turn: float = 0.0, patience: float = 1.0
) -> Callable[[Callable[P, Coroutine[Any, Any, T]]], Callable[P, T]]: ...
def virtual_time(function: Callable[..., Any] | None = None, /, **options: float) -> Any:
    """Make a coroutine function an ordinary one that runs to its end in virtual time.

        @virtual_time
        async def test_an_hour_passes_at_once():
            loop = asyncio.get_running_loop()
            began = loop.time()
            await asyncio.sleep(3600)
            assert loop.time() - began >= 3600

    The result is a synchronous function, which every test runner takes as it is. Each call
    has a fresh loop. Asynchronous fixtures live on another loop and cannot be used.

    Args:
        function: The coroutine function.
        **options: Arguments of VirtualLoop; all of them are in seconds.

    Raises:
        TypeError: An option is not a number; raised when the function is called.
        ValueError: An option is out of range; raised when the function is called.
    """
    if function is None:
        return functools.partial(_in_virtual_time, options)
    return _in_virtual_time(options, function)


def _in_virtual_time(
    options: dict[str, float], function: Callable[P, Coroutine[Any, Any, T]]
) -> Callable[P, T]:
    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(**options)) as runner:
            return runner.run(function(*args, **kwargs))

    return run
