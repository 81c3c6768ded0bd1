"""Many messages, deep chains: no recursion, and a bounded time at every turn."""

import asyncio
import sys

import pytest

from cooperative_aio import tasklet
from cooperative_aio.tasklet import Message, WaitForCall, WaitForMessages
from cooperative_aio.tasklet import _engine as engine


def pinger(remote, count):
    wait = WaitForMessages(accept="pong")
    for number in range(count):
        yield Message("ping", dest=remote, value=number)
        message = yield wait
        assert message.value == number
    return count


def ponger(count):
    wait = WaitForMessages(accept="ping")
    for _ in range(count):
        message = yield wait
        yield Message("pong", dest=message.sender, value=message.value)


@pytest.mark.once
def test_a_hundred_thousand_messages_starve_nobody(run_loop):
    count = 50_000

    async def main():
        turns = 0
        chatter = tasklet.run(pinger(tasklet.run(ponger(count)), count))
        while not chatter.done():
            await asyncio.sleep(0)
            turns += 1
        assert await chatter == count
        # Each message is two resumptions at most.
        assert turns >= 2 * count / engine.TURN_STEPS

    run_loop(main)


async def test_a_turn_ends_after_so_many_resumptions(monkeypatch):
    monkeypatch.setattr(engine, "TURN_SECONDS", 3600)
    sent = []

    def talker(dest):
        while len(sent) < 2 * engine.TURN_STEPS:
            yield Message("x", dest=dest)
            sent.append(1)

    def drain():
        wait = WaitForMessages(accept="x")
        while True:
            yield wait

    draining = tasklet.run(drain())
    talking = tasklet.run(talker(draining))
    # One resumption of the sender for each of the receiver.
    assert len(sent) == engine.TURN_STEPS / 2 - 1
    await talking


async def test_a_turn_ends_after_its_time_too(monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr(engine.time, "perf_counter", lambda: next(clock))
    chatter = tasklet.run(pinger(tasklet.run(ponger(100)), 100))
    assert not chatter.done()
    assert await chatter == 100


async def test_what_is_sent_in_the_middle_of_a_long_talk_is_not_lost():
    got = []

    def listener(count):
        wait = WaitForMessages(accept=("ping", "other"))
        while len(got) < count:
            message = yield wait
            got.append(message.name)

    def talker(dest, count):
        for _ in range(count):
            yield Message("ping", dest=dest)

    count = 3 * engine.TURN_STEPS
    listening = tasklet.run(listener(count + 1))
    talking = tasklet.run(talker(listening, count))
    assert not talking.done()
    listening.send_message(Message("other"))
    await asyncio.gather(talking, listening)
    assert got.count("other") == 1
    assert got.count("ping") == count


async def test_a_long_chain_of_messages_does_not_recurse():
    def link(following):
        message = yield WaitForMessages(accept="x")
        if following is not None:
            yield Message("x", dest=following, value=message.value)

    chain = [tasklet.run(link(None))]
    for _ in range(5 * sys.getrecursionlimit()):
        chain.append(tasklet.run(link(chain[-1])))
    chain[-1].send_message(Message("x"))
    await asyncio.gather(*chain)


async def test_a_long_chain_of_calls_does_not_recurse_too_deep():
    def link(call, following):
        yield call
        if following is not None:
            following()

    calls = [WaitForCall() for _ in range(2 * sys.getrecursionlimit())]
    chain = [tasklet.run(link(c, f)) for c, f in zip(calls, [*calls[1:], None], strict=True)]
    calls[0]()
    assert chain[engine.MAX_DEPTH - 1].done()
    assert not chain[engine.MAX_DEPTH].done()
    await asyncio.gather(*chain)


async def test_tasklets_that_start_tasklets_do_not_recurse_too_deep():
    def nested(left):
        if left:
            event = yield tasklet.run(nested(left - 1))
            return event.retval + 1
        return 0

    assert await tasklet.run(nested(sys.getrecursionlimit())) == sys.getrecursionlimit()


async def test_generators_yielded_in_generators_do_not_recurse():
    def nested(left):
        if left:
            event = yield nested(left - 1)
            return event.retval + 1
        return 0

    assert await tasklet.run(nested(sys.getrecursionlimit())) == sys.getrecursionlimit()


@pytest.mark.parametrize("count", [1, 3])
async def test_generators_in_a_list_start_in_its_order(count):
    order = []

    def child(number):
        order.append(number)
        yield WaitForCall()

    def parent():
        yield [child(n) for n in range(count)]

    kept = tasklet.run(parent())
    assert order == list(range(count))
    assert len(kept.wait_list) == count


async def test_an_endless_talk_can_be_cancelled():
    def talker(dest):
        while True:
            yield Message("x", dest=dest)

    def drain():
        wait = WaitForMessages(accept="x")
        while True:
            yield wait

    draining = tasklet.run(drain())
    talking = tasklet.run(talker(draining))
    await asyncio.sleep(0)
    assert not talking.done()
    talking.cancel()
    await asyncio.wait([talking])
    draining.cancel()
    await asyncio.wait([draining])
