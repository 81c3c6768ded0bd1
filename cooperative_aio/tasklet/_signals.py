"""Waiting for a signal: an object's, blinker's, or the operating system's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cooperative_aio.tasklet._conditions import Watch
from cooperative_aio.tasklet._sources import source_of

if TYPE_CHECKING:
    from cooperative_aio.tasklet._tasklet import Tasklet


class WaitForSignal(Watch):
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
        self._source = source_of(obj, signal, sender)
        self.object: Any = self._source.emitter
        self.class_: type | None = self._source.class_
        self.signal: Any = self._source.signal
        self.signal_args: tuple[Any, ...] | None = None
        self.signal_kwargs: dict[str, Any] | None = None

    def _start(self, tasklet: Tasklet[Any]) -> None:
        self._source.connect(tasklet.get_loop(), self._emitted)

    def _stop(self) -> None:
        self._source.disconnect()

    def _emitted(self, emitter: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        return self._fire(object=emitter, signal_args=args, signal_kwargs=kwargs)
