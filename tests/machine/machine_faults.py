"""Faults: what is called from the core raises something, once, when a machine says so."""

import asyncio
import logging

from cooperative_aio.testing import VirtualLoop

KINDS = [LookupError, asyncio.CancelledError, KeyboardInterrupt, SystemExit, MemoryError]
PLACES = [
    *("scheduler", "handle", "factory", "predicate", "clock", "callback", "next", "close"),
    *("await", "add_done_callback", "task factory", "log", "repr", "class", "eq", "size"),
]


class Faults:
    """Which call-outs will raise, and what has been raised."""

    def __init__(self):
        self._armed = {}  # by place: after how many calls to raise what
        self.raised = []

    def arm(self, place, kind, after=0):
        self._armed[place] = (after, kind)

    def disarm(self):
        self._armed.clear()

    def at(self, place):
        """Raise, if it is to be here and now."""
        if place in self._armed:
            after, kind = self._armed[place]
            if after:
                self._armed[place] = (after - 1, kind)
                return
            del self._armed[place]
            error = kind(f"the {place} is broken")
            self.raised.append(error)
            raise error

    def explains(self, error):
        """Tell whether an exception is one of those raised here, or comes of one."""
        seen = set()
        while error is not None and id(error) not in seen:
            seen.add(id(error))
            if any(error is raised for raised in self.raised):
                return True
            if isinstance(error, BaseExceptionGroup):
                return any(map(self.explains, error.exceptions))
            error = error.__cause__ or error.__context__
        return False


class Calls:
    """A scheduler that a machine pumps; what it returns may fail to be cancelled."""

    def __init__(self, faults):
        self._faults = faults
        self.pending = []

    def __call__(self, callback):
        self._faults.at("scheduler")
        call = Call(callback, self)
        self.pending.append(call)
        return call

    def take(self):
        return self.pending.pop(0).callback


class Call:
    def __init__(self, callback, calls):
        self.callback = callback
        self._calls = calls

    def cancel(self):
        self._calls._faults.at("handle")
        if self in self._calls.pending:
            self._calls.pending.remove(self)


class Handler(logging.Handler):
    """Look at log records, and fail."""

    def __init__(self, faults):
        super().__init__()
        self._faults = faults

    def emit(self, record):
        record.getMessage()
        self._faults.at("log")


class Stranger:
    """A value that fails when it is looked at."""

    def __init__(self, faults):
        self._faults = faults

    def __repr__(self):
        self._faults.at("repr")
        return "<a stranger>"

    def __sizeof__(self):
        self._faults.at("size")
        return 16


class Disguised(Stranger):
    """Fail when asked for the class."""

    @property
    def __class__(self):
        self._faults.at("class")
        return Stranger


class _Unhashable(type):
    faults = None

    def __eq__(cls, other):
        if cls.faults is not None:
            cls.faults.at("eq")
        return cls is other

    __hash__ = None


class Unhashable(Stranger, metaclass=_Unhashable):
    """A value whose class cannot be looked up."""

    def __init__(self, faults):
        super().__init__(faults)
        _Unhashable.faults = faults


class Promise(asyncio.Future):
    """A future that fails when it is waited for."""

    faults = None

    def add_done_callback(self, *args, **kwargs):
        if self.faults is not None:
            self.faults.at("add_done_callback")
        super().add_done_callback(*args, **kwargs)


class Awaitable:
    """Neither a future nor a coroutine; may fail to be awaited."""

    def __init__(self, faults, future):
        self._faults = faults
        self._future = future

    def __repr__(self):
        self._faults.at("repr")
        return "<an awaitable>"

    def __await__(self):
        self._faults.at("await")
        return (yield from self._future)


class Loop(VirtualLoop):
    """Count what is scheduled."""

    scheduled = 0

    def call_soon(self, *args, **kwargs):
        self.scheduled += 1
        return super().call_soon(*args, **kwargs)

    def call_at(self, *args, **kwargs):
        self.scheduled += 1
        return super().call_at(*args, **kwargs)
