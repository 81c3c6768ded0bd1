"""Messages: accepted, deferred, discarded, in order."""

import asyncio
import warnings

import pytest

from cooperative_aio import tasklet
from cooperative_aio.tasklet import Message, Tasklet, WaitForCall, WaitForMessages, get_event


def collector(wait, into, count):
    for _ in range(count):
        message = yield wait
        into.append((message.name, message.value))


async def test_a_pinger_and_an_echoer_are_done_when_run_returns():
    def pinger(remote, value):
        yield Message("echo-request", dest=remote, value=value)
        yield WaitForMessages(accept="echo-reply")
        return get_event().value

    def echoer():
        yield WaitForMessages(accept="echo-request")
        message = get_event()
        assert isinstance(message, Message)
        assert isinstance(message.sender, Tasklet)
        yield Message("echo-reply", dest=message.sender, value=message.value)

    done = tasklet.run(pinger(tasklet.run(echoer()), 123))
    assert done.state == Tasklet.STATE_ZOMBIE
    assert done.return_value == 123


async def test_the_event_is_the_message_itself():
    def receiver():
        return (yield WaitForMessages(accept="x"))

    receiving = tasklet.run(receiver())
    message = Message("x", value=1)
    receiving.send_message(message)
    assert await receiving is message
    assert message.dest is receiving
    again = tasklet.run(receiver())
    again.send_message(message)
    assert await again is message
    assert message.dest is receiving  # set once


async def test_messages_are_delivered_in_the_order_they_were_sent():
    got = []
    receiving = tasklet.run(collector(WaitForMessages(accept=("a", "b")), got, 4))
    for name, value in [("b", 1), ("a", 2), ("b", 3), ("a", 4)]:
        receiving.send_message(Message(name, value=value))
    assert got == [("b", 1), ("a", 2), ("b", 3), ("a", 4)]
    assert receiving.done()


async def test_deferred_messages_wait_until_they_are_accepted():
    got = []

    def body():
        for wait in (
            WaitForMessages(accept="go", defer=["late", "later"]),
            WaitForMessages(accept=["later", "late"]),
            WaitForMessages(accept=["later", "late"]),
        ):
            message = yield wait
            got.append(message.name)

    receiving = tasklet.run(body())
    for name in ("late", "later", "go"):
        receiving.send_message(Message(name))
    assert got == ["go", "late", "later"]


async def test_discarded_messages_are_dropped_without_a_word():
    got = []
    wait = WaitForMessages(accept="yes", discard="no")
    receiving = tasklet.run(collector(wait, got, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        receiving.send_message(Message("no"))
        receiving.send_message(Message("yes", value=1))
    assert got == [("yes", 1)]


async def test_undeclared_messages_are_dropped_with_a_warning_that_names_both():
    receiving = tasklet.run(collector(WaitForMessages(accept="x"), [], 1))
    with pytest.warns(UserWarning, match=r"<Message 'odd' value=3> .*<Tasklet .*collector"):
        receiving.send_message(Message("odd", value=3))
    assert not receiving.done()


async def test_a_message_to_one_that_has_ended_is_dropped_with_a_warning():
    ended = tasklet.run(collector(None, [], 0))
    with pytest.warns(UserWarning, match=r"<Message 'late' .*<Tasklet ZOMBIE"):
        ended.send_message(Message("late"))


async def test_messages_that_come_while_a_message_is_being_sent_are_queued():
    got = []

    def talker(peer):
        yield Message("question", dest=peer)
        message = yield WaitForMessages(accept="answer")
        got.append(message.value)
        message = yield WaitForMessages(accept="answer")
        got.append(message.value)

    def answerer():
        message = yield WaitForMessages(accept="question")
        sender = message.sender
        assert sender.state == Tasklet.STATE_MSGSEND
        yield Message("answer", dest=sender, value=1)
        yield Message("answer", dest=sender, value=2)

    tasklet.run(talker(tasklet.run(answerer())))
    assert got == [1, 2]


async def test_the_receiver_runs_before_the_sender_goes_on():
    order = []

    def receiver():
        yield WaitForMessages(accept="x")
        order.append("received")

    def sender(dest):
        yield Message("x", dest=dest)
        order.append("sent")

    tasklet.run(sender(tasklet.run(receiver())))
    assert order == ["received", "sent"]


async def test_a_tasklet_may_send_to_itself():
    def body():
        yield Message("note", dest=me[0], value=4)
        message = yield WaitForMessages(accept="note")
        return message.value

    me = [Tasklet(body(), start=False)]
    me[0].start()
    assert await me[0] == 4


async def test_what_is_sent_before_the_start_is_kept_for_the_first_wait():
    got = []
    lazy = Tasklet(collector(WaitForMessages(accept="x"), got, 1), start=False)
    lazy.send_message(Message("x", value=1))
    assert got == []
    lazy.start()
    assert got == [("x", 1)]


async def test_messages_and_occurrences_come_in_the_order_in_which_they_happened():
    order = []
    first, second = WaitForCall(), WaitForCall()
    wait = WaitForMessages(accept="x")

    def body():
        yield first
        second()
        me[0].send_message(Message("x"))
        second()
        for _ in range(3):
            event = yield [second, wait]
            order.append(event)

    me = [tasklet.run(body())]
    first()
    # What was called while `second` was not waited for is kept from its first wait on.
    assert [type(e) for e in order] == [Message, WaitForCall, WaitForCall]


async def test_occurrences_older_than_a_message_come_first():
    order = []
    call, wait = WaitForCall(), WaitForMessages(accept="x")

    def body():
        yield [call, wait]
        call()
        me[0].send_message(Message("x"))
        for _ in range(2):
            event = yield [call, wait]
            order.append(type(event))

    me = [tasklet.run(body())]
    call()
    assert order == [WaitForCall, Message]


async def test_a_message_without_destination_is_an_error_at_the_yield():
    def body():
        yield Message("x")

    with pytest.raises(ValueError, match="dest must be a Tasklet in a yielded message, got No"):
        await tasklet.run(body())


async def test_a_destination_that_is_no_tasklet_is_an_error():
    with pytest.raises(TypeError, match="dest must be a Tasklet, got 3"):
        Message("x", dest=3)
    with pytest.raises(TypeError, match="sender must be a Tasklet, got 3"):
        Message("x", sender=3)
    with pytest.raises(TypeError, match="name must be a string, got 3"):
        Message(3)

    def body():
        message = Message("x")
        message.dest = "somebody"
        yield message

    with pytest.raises(TypeError, match="dest must be a Tasklet, got 'somebody'"):
        await tasklet.run(body())


async def test_a_destination_on_another_loop_is_an_error():
    kept = []

    async def elsewhere():
        kept.append(tasklet.run(collector(WaitForMessages(accept="x"), [], 1)))

    await asyncio.to_thread(asyncio.run, elsewhere())

    def body():
        yield Message("x", dest=kept[0])

    with pytest.raises(RuntimeError, match=r"cannot send a message to .* on another loop"):
        await tasklet.run(body())


async def test_only_a_message_can_be_sent():
    with pytest.raises(TypeError, match="message must be a Message, got 'x'"):
        tasklet.run(collector(WaitForCall(), [], 1)).send_message("x")


async def test_sending_from_another_thread_says_how_to():
    receiving = tasklet.run(collector(WaitForMessages(accept="x"), [], 1))
    with pytest.raises(RuntimeError, match=r"use loop\.call_soon_threadsafe"):
        await asyncio.to_thread(receiving.send_message, Message("x"))


async def test_actions_are_those_of_the_conditions_waited_for():
    def body():
        yield [WaitForMessages(accept="a", defer="b"), WaitForMessages(discard=("c",)), call]
        yield [WaitForMessages(accept=["a"]), call]

    call = WaitForCall()
    receiving = tasklet.run(body())
    assert receiving.message_actions == {
        "a": Message.ACCEPT, "b": Message.DEFER, "c": Message.DISCARD
    }  # fmt: skip
    call()
    assert receiving.get_message_actions() == {"a": Message.ACCEPT}
    call()
    assert receiving.message_actions == {}


async def test_a_name_that_two_conditions_declare_outlives_one_of_them():
    def body():
        yield [kept, WaitForMessages(accept="a"), call]
        yield [kept, call]

    kept, call = WaitForMessages(accept="a"), WaitForCall()
    receiving = tasklet.run(body())
    call()
    assert receiving.message_actions == {"a": Message.ACCEPT}


@pytest.mark.parametrize("argument", ["accept", "defer", "discard"])
@pytest.mark.parametrize("value", [3, [3], b"bytes"])
def test_names_must_be_strings(argument, value):
    with pytest.raises(TypeError, match=f"{argument} must be None, a string or several, got"):
        WaitForMessages(**{argument: value})


async def test_one_condition_serves_one_tasklet():
    shared = WaitForMessages(accept="x")
    tasklet.run(collector(shared, [], 1))
    with pytest.raises(RuntimeError, match="cannot wait for a WaitForMessages that another"):
        await tasklet.run(collector(shared, [], 1))


async def test_disarming_twice_does_nothing():
    wait = WaitForMessages(accept="x")
    wait.disarm()
    assert wait.actions == {"x": Message.ACCEPT}


async def test_a_message_says_its_name_and_value():
    assert repr(Message("x", value=[1])) == "<Message 'x' value=[1]>"
