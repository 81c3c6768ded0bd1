"""Event-driven generators that talk by messages: Kiwi's tasklets, on asyncio.

A tasklet is a generator that yields what it waits for: `Tasklet`, `run`, `task` and
`get_event`. What it may wait for, in modules of their own and imported one way only:

- `_ending`: the states of a tasklet, its future and its joiners
- `_conditions`: `WaitCondition`, what all conditions have in common; `WaitForCall`
- `_messages`: `Message`, `WaitForMessages`; what has happened and was not delivered
- `_joins`: `WaitForTasklet`, `WaitForAwaitable`; all that was yielded to be waited for
- `_timers`: `WaitForTimeout`, `WaitForIdle`
- `_io`: `WaitForIO`
- `_system_signals`, `_signals`: `WaitForSignal`
- `_processes`: `WaitForProcess`
- `_engine`: running tasklets without recursion, a bounded time at a turn; closing those that
  are left when the loop ends
- `_tasklet`: `Tasklet` itself
- `_start`: `run`, `task`, `get_event`
"""

from cooperative_aio.tasklet._conditions import WaitCondition, WaitForCall
from cooperative_aio.tasklet._ending import State
from cooperative_aio.tasklet._io import WaitForIO
from cooperative_aio.tasklet._joins import WaitForAwaitable, WaitForTasklet
from cooperative_aio.tasklet._messages import Message, WaitForMessages
from cooperative_aio.tasklet._processes import WaitForProcess
from cooperative_aio.tasklet._signals import WaitForSignal
from cooperative_aio.tasklet._start import get_event, run, task
from cooperative_aio.tasklet._tasklet import Tasklet
from cooperative_aio.tasklet._timers import WaitForIdle, WaitForTimeout

STATE_RUNNING = State.RUNNING
STATE_SUSPENDED = State.SUSPENDED
STATE_MSGSEND = State.MSGSEND
STATE_ZOMBIE = State.ZOMBIE

__all__ = [
    "STATE_MSGSEND",
    "STATE_RUNNING",
    "STATE_SUSPENDED",
    "STATE_ZOMBIE",
    "Message",
    "State",
    "Tasklet",
    "WaitCondition",
    "WaitForAwaitable",
    "WaitForCall",
    "WaitForIO",
    "WaitForIdle",
    "WaitForMessages",
    "WaitForProcess",
    "WaitForSignal",
    "WaitForTasklet",
    "WaitForTimeout",
    "get_event",
    "run",
    "task",
]
