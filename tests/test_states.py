"""The table of a task's states and events holds: each entry is gone through here."""

import asyncio
import contextlib

import pytest
from core_support import Stepwise, turns

from cooperative_aio._states import ENDS, TRANSITIONS, State


class Puppet:
    """A task whose generator does what it is told at each step."""

    def __init__(self):
        self.cooperator = Stepwise()
        self.orders = []
        self.pauses = False  # itself, in the step that is ordered
        self.seen = None  # the state during the last step
        self.future = asyncio.get_running_loop().create_future()
        self.task = self.cooperator.cooperate(self._body())
        self.cooperator.ticks.tick()

    def _body(self):
        while True:
            order = self.orders.pop(0) if self.orders else "yields a value"
            self.seen = self.task.state if hasattr(self, "task") else None
            if self.pauses:
                self.task.pause()
            if order == "returns":
                return
            if order == "raises":
                raise LookupError(order)
            if order == "raises CancelledError":
                raise asyncio.CancelledError
            with contextlib.suppress(asyncio.CancelledError):
                yield self.future if order == "yields an awaitable" else None


async def bring_into(state):
    puppet = Puppet()
    if state is State.PAUSED:
        puppet.task.pause()
    elif state is State.WAITING:
        puppet.orders.append("yields an awaitable")
        puppet.cooperator.ticks.tick()
    elif state is State.ENDING:
        puppet.task.cancel()
    return puppet


async def happen(puppet, state, event):
    task, ticks = puppet.task, puppet.cooperator.ticks
    if event in ("pause()", "stop()", "cancel()"):
        getattr(task, event.removesuffix("()"))()
    elif event == "the last resume()":
        task.resume()
    elif event == "yields another awaitable":
        puppet.orders += ["yields an awaitable"] * 2
        await turns(2)
        puppet.future.set_result(None)
        puppet.future = asyncio.get_running_loop().create_future()
        await turns()
    elif event == "the awaitable is done" and state is State.ENDING:
        puppet.orders.append("yields an awaitable")
        await turns(2)
        puppet.future.set_result(None)
        await turns()
    elif event.startswith("the awaitable is done"):
        if event.endswith("while paused"):
            task.pause()
        puppet.future.set_result(None)
        await turns()
    else:
        puppet.orders.append(event)
        if state is State.PAUSED:  # by itself, in the step that is going on
            task.resume()
            puppet.pauses = True
        if state is State.ENDING:  # the error is delivered by the loop, not by a tick
            await turns(2)
        else:
            ticks.tick()


@pytest.mark.parametrize(
    ("state", "event"),
    [(state, event) for state in TRANSITIONS for event in TRANSITIONS[state]],
)
async def test_each_event_leads_where_the_table_says(state, event):
    puppet = await bring_into(state)
    assert puppet.task.state == state.value
    await happen(puppet, state, event)
    if (state, event) == (State.ENDING, "the awaitable is done"):
        assert puppet.seen == TRANSITIONS[state][event].value  # and has then gone on
        puppet.task.stop()
        return
    assert puppet.task.state == TRANSITIONS[state][event].value
    assert repr(puppet.task).startswith(
        f"<CooperativeTask {TRANSITIONS[state][event].value} name="
    )
    if not puppet.task.done():
        puppet.task.stop()
    elif not puppet.task.cancelled():
        puppet.task.exception()
    await turns()


def test_every_state_is_reached_and_nothing_leads_out_of_the_ends():
    assert set(TRANSITIONS) == set(State) - ENDS
    reached = {after for events in TRANSITIONS.values() for after in events.values()}
    assert reached == set(State)
