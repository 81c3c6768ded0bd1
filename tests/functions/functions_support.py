"""What the tests of functions share: a Cooperator by hand, and alarms at chosen places."""

import _thread
import signal

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


def alarm():
    """Have the slice be over at the next instruction that looks for signals."""
    _thread.interrupt_main(signal.SIGALRM)
