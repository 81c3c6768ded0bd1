"""What the tests of functions share: a Cooperator by hand, and alarms at chosen places."""

import _thread
import functools
import operator
import signal
import weakref

from core_support import Clock, Ticks, one_step

from cooperative_aio import Cooperator
from cooperative_aio.functions import give_way, wait_on


class Stepwise(Cooperator):
    """A Cooperator whose ticks are made by hand, each of one step; its clock stands still."""

    def __init__(self, **options):
        self.clock = Clock()
        self.ticks = Ticks()
        super().__init__(one_step, self.ticks, clock=self.clock, **options)

    def give_way(self):
        """Let a function of its give way: its slice is over."""
        self.clock.advance(1.0)
        give_way()


def let_go():
    """Leave the loop, whatever the clock says: an awaitable that is done at once."""
    return wait_on(Done())


class Done:
    """An awaitable that has its result already."""

    def __init__(self, result=None):
        self.result = result

    def __await__(self):
        return self.result
        yield


def interrupt():
    """Have the slice be over; be set aside here, if the function may be."""
    _thread.interrupt_main(signal.SIGALRM)
    for _ in range(2):
        pass  # at the jump back


class Fuse(weakref.ref):
    """Is called without a bytecode."""


FUSES = []  # else they would be gone before what they refer to


class Bomb:
    """When it is dropped, signals are pending: at an instruction that does not look for any."""

    def __init__(self, *numbers):
        for number in numbers or [signal.SIGALRM]:
            fuse = Fuse(self, operator.methodcaller("trip"))
            fuse.trip = functools.partial(_thread.interrupt_main, number)
            FUSES.append(fuse)


def parts_of(iterator):
    """Step an iterator by hand to its end; return its result, and the number of steps."""
    count = 1
    while True:
        try:
            next(iterator)
        except StopIteration as stop:
            return stop.value, count
        count += 1
