"""Event-driven generators that talk by messages: Kiwi's tasklets, on asyncio.

A tasklet is a generator that yields what it waits for: `Tasklet`, `run`, `task` and
`get_event`. What it may wait for, in modules of their own and imported one way only:

- `_states`: the states of a tasklet and the moves between them
- `_conditions`: `WaitCondition`, what all conditions have in common
- `_ending`: the future of a tasklet, and its joiners
- `_messages`: `Message`, `WaitForMessages`
- `_joins`: `WaitForTasklet`, `WaitForAwaitable`
- `_calls`: `WaitForCall`
- `_timers`, `_idle`: `WaitForTimeout`, `WaitForIdle`
- `_io`: `WaitForIO`
- `_system_signals`, `_sources`, `_signals`: `WaitForSignal`
- `_processes`: `WaitForProcess`
- `_inbox`, `_rounds`: what has happened, and what is waited for
- `_engine`: running tasklets without recursion, a bounded time at a turn
- `_shutdown`: closing those that are left when the loop ends
- `_tasklet`: `Tasklet` itself
- `_start`: `run`, `task`, `get_event`
"""

from cooperative_aio.tasklet._calls import WaitForCall
from cooperative_aio.tasklet._conditions import WaitCondition
from cooperative_aio.tasklet._idle import WaitForIdle
from cooperative_aio.tasklet._io import WaitForIO
from cooperative_aio.tasklet._joins import WaitForAwaitable, WaitForTasklet
from cooperative_aio.tasklet._messages import Message, WaitForMessages
from cooperative_aio.tasklet._processes import WaitForProcess
from cooperative_aio.tasklet._signals import WaitForSignal
from cooperative_aio.tasklet._start import get_event, run, task
from cooperative_aio.tasklet._states import State
from cooperative_aio.tasklet._tasklet import Tasklet
from cooperative_aio.tasklet._timers import WaitForTimeout

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
