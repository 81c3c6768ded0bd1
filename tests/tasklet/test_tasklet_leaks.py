"""Thousands of tasklets with every condition, ended at random points, leave nothing."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import weakref

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cooperative_aio import tasklet
from cooperative_aio.tasklet import (
    Message,
    WaitForAwaitable,
    WaitForCall,
    WaitForIdle,
    WaitForIO,
    WaitForMessages,
    WaitForProcess,
    WaitForSignal,
    WaitForTasklet,
    WaitForTimeout,
)
from cooperative_aio.tasklet import _engine as shutdown
from cooperative_aio.tasklet import _system_signals as system_signals
from cooperative_aio.testing import VirtualLoop

blinker = pytest.importorskip("blinker")

TASKLETS_IN_A_RUN = 200


class Emitter:
    """An object with signals, that knows how many listen."""

    def __init__(self):
        self.handlers = {}

    def connect(self, _name, callback):
        handle = object()
        self.handlers[handle] = callback
        return handle

    def disconnect(self, handle):
        del self.handlers[handle]

    def emit(self):
        for callback in tuple(self.handlers.values()):
            callback(self)


def nobody(*_):
    """Handle SIGUSR1 when no tasklet does."""


class World:
    """Everything that tasklets wait for, and what is left of it."""

    def __init__(self):
        self.read_end, self.write_end = os.pipe()
        self.emitter, self.blinker = Emitter(), blinker.Signal()
        self.calls = []
        self.child = subprocess.Popen(
            [sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE
        )
        self.seen = weakref.WeakSet()

    def close(self):
        self.child.communicate()
        os.close(self.read_end)
        os.close(self.write_end)

    def condition(self, kind):
        condition = self.KINDS[kind](self)
        if not asyncio.iscoroutine(condition):
            self.seen.add(condition)
        return condition

    def call(self):
        call = WaitForCall()
        self.calls.append(weakref.ref(call))
        return call

    def ended(self):
        return WaitForTasklet(tasklet.run(iter_once()))

    KINDS = (
        call,
        ended,
        lambda w: WaitForIO(w.read_end),
        lambda w: WaitForIO(w.write_end, "writable"),
        lambda w: WaitForIO(w.write_end, 3),
        lambda _: WaitForTimeout(250),
        lambda _: WaitForIdle(),
        lambda w: WaitForSignal(w.emitter, "changed"),
        lambda w: WaitForSignal(w.blinker),
        lambda _: WaitForSignal(signal.SIGUSR1),
        lambda w: WaitForProcess(w.child.pid),
        lambda _: WaitForMessages(accept="x", defer="y"),
        lambda _: WaitForAwaitable(forever()),
        lambda _: asyncio.sleep(0.25),
        lambda _: iter_once(),
    )


async def forever():
    await asyncio.Event().wait()


def iter_once():
    yield WaitForTimeout(125)


def body(world, rounds):
    kept = ()
    for kinds in rounds:
        new = [world.condition(k) for k in kinds]
        yield [*kept, *new]
        kept = tuple(c for c in new if isinstance(c, tasklet.WaitCondition))


ROUNDS = st.lists(
    st.lists(st.integers(0, len(World.KINDS) - 1), min_size=1, max_size=4),
    min_size=1,
    max_size=3,
)
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["cancel", "call", "emit", "send", "message", "raise", "write", "wait"]
        ),
        st.integers(0, TASKLETS_IN_A_RUN - 1),
    ),
    max_size=40,
)


async def act(world, tasklets, action, which):
    chosen = tasklets[which]
    if action == "cancel":
        chosen.cancel()
    elif action == "call":
        for call in filter(None, (ref() for ref in world.calls[which:])):
            call()
    elif action == "emit":
        world.emitter.emit()
    elif action == "send":
        world.blinker.send()
    elif action == "message":
        if "x" in chosen.message_actions:
            chosen.send_message(Message("x"))
    elif action == "raise":
        signal.raise_signal(signal.SIGUSR1)
    elif action == "write":
        os.write(world.write_end, b"x")
        os.read(world.read_end, 1)
    else:
        await asyncio.sleep(which / 256)


async def live(world, lives, actions):
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, about: pytest.fail(str(about)))
    tasklets = [
        tasklet.run(body(world, lives[n % len(lives)])) for n in range(TASKLETS_IN_A_RUN)
    ]
    world.seen.update(tasklets)
    for action, which in actions:
        await act(world, tasklets, action, which)
    for each in tasklets:
        each.cancel()
    await asyncio.wait(tasklets)
    await asyncio.sleep(1)  # the children of generators that lost end by themselves
    assert len(asyncio.all_tasks()) == 1
    assert all(each.done() for each in tasklets)


@settings(
    max_examples=max(10, settings().max_examples // 4),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(lives=st.lists(ROUNDS, min_size=1, max_size=8), actions=ACTIONS)
def test_nothing_is_left_of_tasklets_ended_at_random_points(descriptors, lives, actions):
    world = World()
    former = signal.signal(signal.SIGUSR1, nobody)
    try:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            baseline = descriptors()
            runner.run(live(world, lives, actions))
            assert descriptors() == baseline
            assert len(asyncio.all_tasks(runner.get_loop())) == 0
        assert signal.getsignal(signal.SIGUSR1) is nobody
        assert system_signals._receivers == {}
        assert world.emitter.handlers == {}
        assert not world.blinker.receivers
        gc.collect()
        assert list(world.seen) == []
        assert len(shutdown._keepers) == 0
    finally:
        signal.signal(signal.SIGUSR1, former)
        world.close()
