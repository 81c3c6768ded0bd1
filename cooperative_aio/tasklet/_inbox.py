"""What has happened to a tasklet and was not delivered yet, in order."""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, Any

from cooperative_aio.tasklet._messages import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cooperative_aio.tasklet._conditions import WaitCondition


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
