"""Several conditions, several rounds, and conditions of one's own."""

import asyncio

import pytest

from cooperative_aio import tasklet
from cooperative_aio.tasklet import Tasklet, WaitCondition, WaitForCall


class Bell:
    """Something that rings, with a number, for whoever listens."""

    def __init__(self):
        self.listeners = []

    def ring(self, number):
        for listener in tuple(self.listeners):
            listener(number)


class WaitForBell(WaitCondition):
    """A condition as a user writes one, in Kiwi's way."""

    def __init__(self, bell):
        WaitCondition.__init__(self)
        self.bell = bell
        self.number = None
        self.log = []
        self._tasklet = None

    def arm(self, tasklet):
        self.log.append("arm")
        self._tasklet = tasklet
        self.bell.listeners.append(self.rung)

    def disarm(self):
        self.log.append("disarm")
        self.bell.listeners.remove(self.rung)

    def rung(self, number):
        self.triggered = True
        self.number = number
        stays = self._tasklet.wait_condition_fired(self)
        self.log.append(stays)
        self.triggered = False


async def test_a_custom_condition_works():
    def body(condition):
        event = yield condition
        return event.number, event.triggered

    bell = Bell()
    condition = WaitForBell(bell)
    listening = tasklet.run(body(condition))
    bell.ring(5)
    assert await listening == (5, True)
    assert condition.log == ["arm", "disarm", False]
    assert bell.listeners == []
    assert not condition.triggered


async def test_two_emissions_in_one_callback_resume_twice():
    got = []

    def body(condition):
        for _ in range(3):
            event = yield condition
            got.append(event.number)

    bell = Bell()
    condition = WaitForBell(bell)
    listening = tasklet.run(body(condition))
    bell.ring(1)
    bell.ring(2)
    assert got == [1, 2]
    assert condition.log == ["arm", True, True]
    bell.ring(3)
    assert listening.done()


async def test_occurrences_while_the_tasklet_runs_are_queued_with_their_attributes():
    got = []

    def body(condition):
        yield condition
        for number in (2, 3):
            bell.ring(number)
        assert condition.number == 3  # what it says now, though nothing was delivered
        for _ in range(2):
            event = yield condition
            got.append((event.number, event.triggered))

    bell = Bell()
    tasklet.run(body(WaitForBell(bell)))
    bell.ring(1)
    assert got == [(2, True), (3, True)]


async def test_occurrences_while_a_message_is_sent_are_queued():
    got = []

    def receiver():
        yield tasklet.WaitForMessages(accept="x")
        call(1)
        call(2)

    def sender(dest):
        yield [call, asyncio.sleep(0)]
        yield tasklet.Message("x", dest=dest)
        for _ in range(2):
            event = yield call
            got.append(event.args)

    call = WaitForCall()
    await tasklet.run(sender(tasklet.run(receiver())))
    assert got == [(1,), (2,)]


async def test_the_attributes_of_a_call_are_set_when_it_is_delivered():
    got = []

    def body(call):
        yield call
        call(2, key="second")
        call(3)
        got.append(call.args)
        for _ in range(2):
            event = yield call
            got.append((event.args, event.kwargs))

    call = WaitForCall()
    tasklet.run(body(call))
    call(1)
    assert got == [(1,), ((2,), {"key": "second"}), ((3,), {})]


async def test_what_happens_to_a_condition_that_is_let_go_is_dropped():
    got = []

    def body(first, second):
        yield [first, second]
        second("dropped")
        yield first
        yield [first, second]
        got.append(second.args)

    first, second = WaitForCall(), WaitForCall()
    tasklet.run(body(first, second))
    first()
    first()
    assert got == []
    second("new")
    assert got == [("new",)]


async def test_the_first_of_several_wins_and_the_others_are_disarmed():
    def body(conditions):
        event = yield conditions
        yield asyncio.sleep(0)
        return [c.triggered for c in conditions], event

    bells = [Bell(), Bell()]
    conditions = tuple(WaitForBell(b) for b in bells)
    waiting = tasklet.run(body(conditions))
    bells[1].ring(1)
    assert [b.listeners for b in bells] == [[], []]
    assert await waiting == ([False, False], conditions[1])


async def test_triggered_tells_which_until_the_next_yield():
    seen = []

    def body(first, second):
        for _ in range(2):
            yield [first, second]
            seen.append((first.triggered, second.triggered))

    first, second = WaitForCall(), WaitForCall()
    tasklet.run(body(first, second))
    second()
    assert (first.triggered, second.triggered) == (False, False)
    first()
    assert seen == [(False, True), (True, False)]


async def test_a_condition_kept_is_not_armed_again():
    def body(kept, call):
        yield [kept, call]
        yield [call, kept]
        yield tasklet.Message("x", dest=drain)
        yield kept

    def draining():
        yield tasklet.WaitForMessages(accept="x")

    drain = tasklet.run(draining())
    bell = Bell()
    kept, call = WaitForBell(bell), WaitForCall()
    tasklet.run(body(kept, call))
    call()
    call()
    assert kept.log == ["arm"]
    bell.ring(1)
    assert kept.log == ["arm", "disarm", False]


async def test_a_condition_given_twice_is_armed_once():
    def body(condition):
        yield [condition, condition]

    bell = Bell()
    condition = WaitForBell(bell)
    doubled = tasklet.run(body(condition))
    assert doubled.wait_list == [condition]
    bell.ring(1)
    assert condition.log == ["arm", "disarm", False]


async def test_a_condition_that_nobody_waits_for_is_told_to_disarm():
    waiting = tasklet.run(iter_calls(WaitForCall()))
    assert waiting.wait_condition_fired(WaitForCall()) is False


def iter_calls(*calls):
    for call in calls:
        yield from call


async def test_a_condition_may_fire_while_it_is_being_armed():
    class Eager(WaitForBell):
        def arm(self, tasklet):
            super().arm(tasklet)
            self.rung(7)

    def body(condition):
        event = yield condition
        return event.number

    assert await tasklet.run(body(Eager(Bell()))) == 7


async def test_an_error_in_arm_is_raised_at_the_yield_and_disarms_what_was_new():
    class Broken(WaitForBell):
        def arm(self, _tasklet):
            raise OSError("no bell")

    log = []

    def body(kept, new, call):
        yield [kept, call]
        try:
            yield [kept, new, Broken(bell)]
        except OSError as error:
            log.append(str(error))
        log.append(list(me[0].wait_list))
        yield kept
        log.append("kept")

    bell = Bell()
    kept, new, call = WaitForBell(bell), WaitForBell(bell), WaitForCall()
    me = [Tasklet(body(kept, new, call), start=False)]
    me[0].start()
    call()
    assert log == ["no bell", [kept]]
    assert new.log == ["arm", "disarm"]
    bell.ring(1)
    assert kept.log == ["arm", "disarm", False]
    assert log[2:] == ["kept"]


async def test_an_error_in_disarm_is_reported_and_the_tasklet_goes_on(reports):
    class Sticky(WaitForBell):
        def disarm(self):
            raise OSError("stuck")

    def body():
        yield [Sticky(Bell()), asyncio.sleep(0)]
        return "went on"

    assert await tasklet.run(body()) == "went on"
    assert [r["message"].endswith("could not be disarmed") for r in reports] == [True]


async def test_a_condition_must_say_how_to_arm_and_disarm():
    def body():
        yield WaitCondition()

    with pytest.raises(NotImplementedError, match=r"WaitCondition must define arm\(tasklet\)"):
        await tasklet.run(body())
    with pytest.raises(NotImplementedError, match=r"WaitCondition must define disarm\(\)"):
        WaitCondition().disarm()


async def test_a_condition_may_name_its_attributes_and_coalesce():
    class Latest(WaitForBell):
        coalesces = True

        def rung(self, number):
            self._tasklet.wait_condition_fired(self, number=number)

    got = []

    def body(condition, call):
        yield [condition, call]
        for number in (1, 2, 3):
            bell.ring(number)
        event = yield condition
        got.append(event.number)
        event = yield [condition, call]
        got.append(event is call)

    bell, call = Bell(), WaitForCall()
    tasklet.run(body(Latest(bell), call))
    call()
    call()
    assert got == [3, True]


async def test_what_deliver_returns_is_the_event_and_what_it_raises_is_raised():
    class Number(WaitForBell):
        def deliver(self):
            if self.number < 0:
                raise ValueError("negative")
            return self.number

    def body(condition):
        first = yield condition
        try:
            yield condition
        except ValueError as error:
            return first, str(error)

    bell = Bell()
    listening = tasklet.run(body(Number(bell)))
    bell.ring(5)
    bell.ring(-1)
    assert await listening == (5, "negative")


async def test_disarming_what_is_not_armed_does_nothing():
    call = WaitForCall()
    call.disarm()
    tasklet.run(iter_calls(call))
    call.disarm()
    call(1)
    assert call.args is None


async def test_one_object_cannot_serve_two_tasklets():
    shared = WaitForCall()
    tasklet.run(iter_calls(shared))
    with pytest.raises(RuntimeError, match="cannot wait for a WaitForCall that another taskle"):
        await tasklet.run(iter_calls(shared))


async def test_yield_from_a_condition_gives_its_event():
    def body(call, bell):
        first = yield from call
        second = yield from WaitForBell(bell)
        message = yield from tasklet.WaitForMessages(accept="x")
        return first.args, second.number, message.value

    call, bell = WaitForCall(), Bell()
    waiting = tasklet.run(body(call, bell))
    call(1)
    bell.ring(2)
    waiting.send_message(tasklet.Message("x", value=3))
    assert await waiting == ((1,), 2, 3)
