"""Waiting for a signal: an object's, blinker's, or the operating system's."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from cooperative_aio._checks import quote
from cooperative_aio.tasklet._conditions import Exclusive
from cooperative_aio.tasklet._ending import Joinable
from cooperative_aio.tasklet._system_signals import as_signal, subscribe

Report = Callable[[Any, tuple[Any, ...], dict[str, Any]], bool]


class Connection:
    """One way to hear of a signal."""

    emitter: Any = None
    class_: type | None = None
    signal: Any = None

    def connect(self, loop: asyncio.AbstractEventLoop, report: Report) -> None:
        """Begin to call `report(emitter, args, kwargs)`; it tells whether to go on."""

    def disconnect(self) -> None:
        """Stop calling it."""


class SystemConnection(Connection):
    """A signal of the operating system."""

    def __init__(self, number: Any) -> None:
        self.signal = as_signal(number)
        self._token: object = None
        self._leave: Callable[[], object] = object

    def connect(self, loop: asyncio.AbstractEventLoop, report: Report) -> None:
        """Share the handler of the signal."""
        self._token = token = object()

        def received() -> None:
            # The loop may have it in its queue after the last was disconnected.
            if token is self._token:
                report(None, (self.signal,), {})

        receiver = subscribe(self.signal, loop, received)
        self._leave = partial(receiver.remove, loop, received)

    def disconnect(self) -> None:
        """Leave it, or put the former one back."""
        self._token = None
        self._leave()


class BlinkerConnection(Connection):
    """A signal of blinker."""

    def __init__(self, blinker_signal: Any, sender: Any) -> None:
        self.signal = blinker_signal
        self._about = {} if sender is None else {"sender": sender}
        self._receiver: Callable[..., None] | None = None

    def connect(self, loop: asyncio.AbstractEventLoop, report: Report) -> None:  # noqa: ARG002 - needs no loop
        """Connect a receiver of its own, held strongly."""

        def receiver(sender: Any, **kwargs: Any) -> None:
            report(sender, (sender,), kwargs)

        self.signal.connect(receiver, weak=False, **self._about)
        self._receiver = receiver

    def disconnect(self) -> None:
        """Disconnect that receiver."""
        # Naming the sender would leave the receiver behind.
        self.signal.disconnect(self._receiver)
        self._receiver = None


class ObjectConnection(Connection):
    """A signal of an object with `connect` and `disconnect`, as GObject has them."""

    def __init__(self, obj: Any, name: str) -> None:
        self.emitter = obj
        self.signal = name
        self._handle: Any = None
        self._destroy: Any = None

    def connect(self, loop: asyncio.AbstractEventLoop, report: Report) -> None:  # noqa: ARG002 - needs no loop
        """Connect a handler, and one that tells of the object's destruction."""

        def handler(emitter: Any, *args: Any, **kwargs: Any) -> bool:
            return report(emitter, args, kwargs)

        self._handle = _connected(self.emitter, self.signal, handler, self.emitter.connect)
        if _has_signal(self.emitter, "destroy") is True:
            self._destroy = self.emitter.connect("destroy", self._destroyed)

    def _destroyed(self, _obj: Any) -> None:
        # It has dropped its handlers, and its handles mean nothing any more.
        self.emitter = self._handle = self._destroy = None

    def disconnect(self) -> None:
        """Disconnect what is still connected."""
        handles = (self._handle, self._destroy)
        self._handle = self._destroy = None
        for handle in handles:
            if handle is not None:
                self.emitter.disconnect(handle)


class ClassConnection(Connection):
    """A signal of any instance of a class."""

    def __init__(self, class_: type, name: str) -> None:
        self.class_ = class_
        self.signal = name
        self._hook, self._unhook = _hooks(class_)
        self._handle: Any = None

    def connect(self, loop: asyncio.AbstractEventLoop, report: Report) -> None:  # noqa: ARG002 - needs no loop
        """Add an emission hook."""

        def hook(emitter: Any, *args: Any, **kwargs: Any) -> bool:
            return report(emitter, args, kwargs)

        self._handle = _connected(self.class_, self.signal, hook, self._hook)

    def disconnect(self) -> None:
        """Remove the hook."""
        handle, self._handle = self._handle, None
        self._unhook(handle)


def connection_of(obj: Any, name: Any, sender: Any) -> Connection:
    """Return how to connect to what the arguments of `WaitForSignal` mean.

    Raises:
        TypeError: They mean nothing.
        ValueError: There is no such signal.
    """
    if isinstance(obj, int) and not isinstance(obj, bool):
        if name is not None or sender is not None:
            raise TypeError(f"signal must be left out for a system signal, got {quote(name)}")
        return SystemConnection(obj)
    if hasattr(obj, "receivers_for") and hasattr(obj, "connect"):
        return BlinkerConnection(obj, name if sender is None else sender)
    if sender is not None:
        raise TypeError(f"sender must be left out except for blinker, got {quote(sender)}")
    if not (hasattr(obj, "connect") and hasattr(obj, "disconnect")) and not (
        isinstance(obj, type) and hasattr(obj, "add_emission_hook")
    ):
        raise TypeError(
            "obj must be a system signal, a blinker signal, or an object or class with "
            f"connect and disconnect, got {quote(obj)}"
        )
    if not isinstance(name, str):
        raise TypeError(f"signal must be the name of a signal, got {quote(name)}")
    if _has_signal(obj, name) is False:
        raise ValueError(_unknown(obj, name))
    return ClassConnection(obj, name) if isinstance(obj, type) else ObjectConnection(obj, name)


def _unknown(obj: Any, name: str) -> str:
    return f"signal must be one that {quote(obj)} has, got {quote(name)}"


def _connected(obj: Any, name: str, handler: object, connect: Callable[..., Any]) -> Any:
    """Connect and return the handle; what does not know the name says so in many ways."""
    try:
        return connect(name, handler)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise ValueError(_unknown(obj, name)) from error


def _gobject() -> Any:
    """Return PyGObject's module if the program has imported it."""
    return sys.modules.get("gi.repository.GObject")


def _has_signal(obj: Any, name: str) -> bool | None:
    """Tell whether an object or class declares a signal, None where only trying tells."""
    gobject = _gobject()
    class_ = obj if isinstance(obj, type) else type(obj)
    if gobject is not None and issubclass(class_, gobject.GObject):
        return bool(gobject.signal_lookup(name.partition("::")[0], obj))
    declared = [vars(c)["__gsignals__"] for c in class_.__mro__ if "__gsignals__" in vars(c)]
    return any(name.partition("::")[0] in d for d in declared) if declared else None


def _hooks(class_: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return what adds and what removes an emission hook of a class."""
    gobject = _gobject()
    if gobject is not None and issubclass(class_, gobject.GObject):

        def add(name: str, hook: object) -> tuple[str, int]:
            return name, gobject.add_emission_hook(class_, name, hook)

        def remove(handle: tuple[str, int]) -> None:
            gobject.remove_emission_hook(class_, *handle)

        return add, remove
    if hasattr(class_, "add_emission_hook"):
        return class_.add_emission_hook, class_.remove_emission_hook
    static = inspect.getattr_static(class_, "connect")
    if isinstance(static, (classmethod, staticmethod)) or hasattr(type(class_), "connect"):
        return class_.connect, class_.disconnect
    raise TypeError(f"obj must be a class whose instances can be heard, got {quote(class_)}")


class WaitForSignal(Exclusive):
    """The condition that a signal was emitted.

    - `WaitForSignal(obj, name)` for any object with `connect(name, callback)` giving a
      handle and `disconnect(handle)`, as those of GObject;
    - `WaitForSignal(Class, name)` for any instance of a class of GObject, or a class that
      has `connect` and `disconnect`, or `add_emission_hook` and `remove_emission_hook`, as
      methods of the class itself;
    - `WaitForSignal(blinker_signal, sender=None)` for blinker's, None being any sender;
    - `WaitForSignal(signal.SIGUSR1)` for the operating system's, in the main thread.

    `signal_args` are then the positional arguments after the object; of a blinker signal
    the sender; of a system signal its number. `signal_kwargs` are the keyword arguments,
    and `object` is the one that emitted it. A handler of an object's signal returns whether
    it stays connected. As in Kiwi, which has the first two.

    Args:
        obj: The object that emits the signal, or the signal itself.
        signal: The signal's name, for objects and classes; a sender, for blinker.
        sender: Whose emissions count, for blinker.

    Raises:
        TypeError: `obj` emits no signals.
        ValueError: It has no such signal. Where only connecting tells, this is raised at
            the `yield`.
    """

    def __init__(self, obj: Any, signal: Any = None, *, sender: Any = None) -> None:
        super().__init__()
        self._connection = connection_of(obj, signal, sender)
        self.object: Any = self._connection.emitter
        self.class_: type | None = self._connection.class_
        self.signal: Any = self._connection.signal
        self.signal_args: tuple[Any, ...] | None = None
        self.signal_kwargs: dict[str, Any] | None = None

    def _start(self, tasklet: Joinable[Any]) -> None:
        self._connection.connect(tasklet.get_loop(), self._emitted)

    def _stop(self) -> None:
        self._connection.disconnect()

    def _emitted(self, emitter: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        return self._fire(object=emitter, signal_args=args, signal_kwargs=kwargs)
