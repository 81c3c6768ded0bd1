"""Messages, and what has happened to a tasklet and was not delivered yet, in order."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, ClassVar

from cooperative_aio._checks import quote
from cooperative_aio.tasklet._conditions import WaitCondition
from cooperative_aio.tasklet._ending import Joinable, as_tasklet


class Message:
    """A name and a value, for a tasklet.

    As in Kiwi. A tasklet sends it by yielding it with a `dest`; `sender` is set on sending.

    Args:
        name: The name that the receiver gives to `WaitForMessages`.
        dest: The tasklet to receive it.
        value: Anything.
        sender: The tasklet that sent it.

    Raises:
        TypeError: The name is no string, or `dest` or `sender` no tasklet.
    """

    ACCEPT: ClassVar[int] = 0
    DEFER: ClassVar[int] = 1
    DISCARD: ClassVar[int] = 2

    __slots__ = ("__weakref__", "dest", "name", "sender", "value")

    def __init__(
        self,
        name: str,
        dest: Joinable[Any] | None = None,
        value: Any = None,
        sender: Joinable[Any] | None = None,
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, got {quote(name)}")
        self.name: str = name
        self.dest: Joinable[Any] | None = None if dest is None else as_tasklet("dest", dest)
        self.value: Any = value
        self.sender: Joinable[Any] | None = (
            None if sender is None else as_tasklet("sender", sender)
        )

    def __repr__(self) -> str:
        return f"<Message {self.name!r} value={self.value!r}>"


class WaitForMessages(WaitCondition):
    """The condition that a message has come, and what happens to other messages meanwhile.

    The event is the `Message`, not the condition. Deferred messages are kept until a
    later wait accepts them, discarded ones are dropped, and messages with other names are
    dropped with a warning. As in Kiwi.

    Args:
        accept: A name, or names, to receive.
        defer: A name, or names, to keep for later.
        discard: A name, or names, to drop.

    Raises:
        TypeError: A name is no string.
    """

    def __init__(
        self,
        accept: str | Iterable[str] | None = None,
        defer: str | Iterable[str] | None = None,
        discard: str | Iterable[str] | None = None,
    ) -> None:
        super().__init__()
        self._tasklet: Joinable[Any] | None = None
        self.actions: dict[str, int] = dict.fromkeys(_names("accept", accept), Message.ACCEPT)
        self.actions.update(dict.fromkeys(_names("defer", defer), Message.DEFER))
        self.actions.update(dict.fromkeys(_names("discard", discard), Message.DISCARD))

    def arm(self, tasklet: Joinable[Any]) -> None:
        """Declare the names to the tasklet.

        Raises:
            RuntimeError: Another tasklet is waiting for this very object.
        """
        if self._tasklet is not None:
            raise RuntimeError(
                "cannot wait for a WaitForMessages that another tasklet waits for; "
                "give each tasklet its own"
            )
        self._tasklet = tasklet
        tasklet.message_actions.update(self.actions)

    def disarm(self) -> None:
        """Take the names back, except those that another condition declares too."""
        tasklet, self._tasklet = self._tasklet, None
        if tasklet is None:
            return
        for name in self.actions:
            tasklet.message_actions.pop(name, None)
        for other in tasklet.wait_list:
            if isinstance(other, WaitForMessages) and other._tasklet is tasklet:
                tasklet.message_actions.update(other.actions)

    def __iter__(self) -> Generator[Any, Any, Message]:  # type: ignore[override]
        message: Message = yield self
        return message


def _names(argument: str, value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    given = tuple(value) if isinstance(value, Iterable) else (value,)
    names = tuple(name for name in given if isinstance(name, str))
    if len(names) != len(given):
        raise TypeError(f"{argument} must be None, a string or several, got {quote(value)}")
    return names


class Inbox:
    """Occurrences of conditions, and messages, in the order of their arrival."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._occurrences: deque[tuple[int, WaitCondition, dict[str, Any]]] = deque()
        # A queue for each name: however many messages are deferred, finding the next
        # acceptable one looks at the names only.
        self._messages: dict[str, deque[tuple[int, Message]]] = {}

    def note(self, condition: WaitCondition, attributes: dict[str, Any]) -> None:
        """Add an occurrence; those of a condition that coalesces become the last one."""
        if condition.coalesces:
            self.forget(condition)
        self._occurrences.append((next(self._numbers), condition, attributes))

    def forget(self, condition: WaitCondition) -> None:
        """Drop the occurrences of a condition."""
        if self._occurrences:
            self._occurrences = deque(o for o in self._occurrences if o[1] is not condition)

    def put(self, message: Message) -> None:
        """Add a message."""
        queue = self._messages.get(message.name)
        if queue is None:
            queue = self._messages[message.name] = deque()
        queue.append((next(self._numbers), message))

    def purge(self, actions: Mapping[str, int], undeclared: Callable[[Message], None]) -> None:
        """Drop what is to be discarded; call `undeclared` with what nobody spoke of."""
        dropped = [
            name
            for name in self._messages
            if actions.get(name, Message.DISCARD) == Message.DISCARD
        ]
        for name in dropped:
            queue = self._messages.pop(name)
            if name not in actions:
                for _, message in queue:
                    undeclared(message)

    def next(self, actions: Mapping[str, int]) -> Message | WaitCondition | None:
        """Remove and return the oldest thing to deliver, with its attributes set."""
        number, name = min(
            (
                (queue[0][0], name)
                for name, queue in self._messages.items()
                if actions.get(name) == Message.ACCEPT
            ),
            default=(None, ""),
        )
        if self._occurrences and (number is None or self._occurrences[0][0] < number):
            _, condition, attributes = self._occurrences.popleft()
            vars(condition).update(attributes)
            return condition
        return None if number is None else self._take(name)

    def _take(self, name: str) -> Message:
        queue = self._messages[name]
        message = queue.popleft()[1]
        if not queue:
            del self._messages[name]
        return message

    def clear(self) -> None:
        """Forget everything."""
        self._occurrences.clear()
        self._messages.clear()
