"""Descriptors, on both loops."""

import asyncio
import os
import select
import selectors
import socket

import pytest

from cooperative_aio import tasklet
from cooperative_aio.tasklet import WaitForCall, WaitForIO


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.settimeout(0)
    yield ours, theirs
    ours.close()
    theirs.close()


def reading(end, *args):
    event = yield WaitForIO(end, *args)
    return end.recv(10), event.condition


def waiting(*conditions):
    event = yield conditions
    return event


def test_a_pipe_is_read_when_something_was_written(run_loop):
    def reader(fd):
        yield WaitForIO(fd)
        return os.read(fd, 1)

    def writer(fd, data):
        event = yield WaitForIO(fd, "writable")
        assert event.condition == WaitForIO.WRITABLE
        os.write(fd, data)

    async def main():
        read_end, write_end = os.pipe()
        got = tasklet.run(reader(read_end))
        tasklet.run(writer(write_end, b"{"))
        assert await got == b"{"
        os.close(read_end)
        os.close(write_end)

    run_loop(main)


def test_an_object_with_fileno_is_waited_for(run_loop, pair):
    async def main():
        got = tasklet.run(reading(pair[0]))
        pair[1].send(b"x")
        assert await got == (b"x", WaitForIO.READABLE)

    run_loop(main)


@pytest.mark.parametrize(
    "condition",
    [
        "writable",
        selectors.EVENT_WRITE,
        select.POLLOUT,
        WaitForIO.WRITABLE,
        selectors.EVENT_READ | selectors.EVENT_WRITE,
        select.POLLIN | select.POLLOUT,
    ],
)
def test_conditions_have_the_names_of_the_standard_library(run_loop, pair, condition):
    async def main():
        io = WaitForIO(pair[0], condition)
        assert io.condition is None
        event = await tasklet.run(waiting(io))
        assert event.condition == WaitForIO.WRITABLE

    run_loop(main)


def test_several_conditions_on_one_descriptor_get_along(run_loop, pair):
    async def main():
        first, second = WaitForIO(pair[0]), WaitForIO(pair[0])
        call = WaitForCall()
        waits = [tasklet.run(waiting(first)), tasklet.run(waiting(second, call))]
        call()
        writer = tasklet.run(waiting(WaitForIO(pair[0], "writable")))
        assert (await writer).condition == WaitForIO.WRITABLE
        pair[1].send(b"x")
        assert await waits[0] is first

    run_loop(main)


def test_a_reader_of_somebody_else_is_not_disturbed(run_loop, pair):
    async def main():
        loop = asyncio.get_running_loop()
        told = asyncio.Event()
        loop.add_reader(pair[0].fileno(), told.set)
        done = tasklet.run(waiting(WaitForIO(pair[0])))
        pair[1].send(b"x")
        await done
        await told.wait()
        told.clear()
        await told.wait()
        loop.remove_reader(pair[0].fileno())

    run_loop(main)


def test_kept_readiness_is_told_until_it_is_used(run_loop, pair):
    def body():
        io = WaitForIO(pair[0])
        times = 0
        while times < 3:
            yield io
            times += 1
        data = pair[0].recv(10)
        event = yield [io, asyncio.sleep(0.01)]
        return data, event is io

    async def main():
        pair[1].send(b"x")
        assert await tasklet.run(body()) == (b"x", False)

    run_loop(main)


def test_no_descriptor_is_left(descriptors, run_loop, pair):
    async def main():
        before = descriptors()
        for _ in range(3):
            lost = tasklet.run(waiting(WaitForIO(pair[0]), WaitForIO(pair[1], 3)))
            assert descriptors() != before
            lost.cancel()
            await asyncio.wait([lost])
            assert descriptors() == before

    run_loop(main)


def test_a_descriptor_that_cannot_be_polled_is_an_error_and_leaves_nothing(
    descriptors, run_loop, tmp_path
):
    async def main():
        with (tmp_path / "file").open("w") as file:
            before = descriptors()
            for condition in ("readable", "writable"):
                with pytest.raises(
                    ValueError, match="filedes must be a descriptor that can be"
                ):
                    await tasklet.run(waiting(WaitForIO(file, condition)))
            assert descriptors() == before

    run_loop(main)


def test_a_descriptor_closed_before_the_yield_is_an_error(run_loop, pair):
    async def main():
        io = WaitForIO(pair[0])
        pair[0].close()
        with pytest.raises(
            ValueError, match="filedes must be an open file descriptor, got <soc"
        ):
            await tasklet.run(waiting(io))

    run_loop(main)


def test_closed_descriptors_are_refused(tmp_path):
    read_end, write_end = os.pipe()
    os.close(read_end)
    os.close(write_end)
    file = (tmp_path / "file").open("w")
    file.close()
    for closed in (read_end, -1, file, 2**70):
        with pytest.raises(ValueError, match="filedes must be an open file descriptor, got"):
            WaitForIO(closed)


@pytest.mark.parametrize("value", [None, "stdin", True, 1.5])
def test_only_descriptors_are_taken(value):
    with pytest.raises(TypeError, match=r"filedes must be a file descriptor or have a fileno"):
        WaitForIO(value)


def test_a_fileno_that_is_no_number_is_refused():
    class Odd:
        def fileno(self):
            return "3"

    with pytest.raises(TypeError, match=r"filedes must be a file descriptor or have a fileno"):
        WaitForIO(Odd())


@pytest.mark.parametrize("value", ["read", 0, 8, -1, None, 1.5])
def test_conditions_must_be_known(value):
    with pytest.raises(ValueError, match="condition must be readable, writable or both, got"):
        WaitForIO(0, value)


async def test_a_loop_without_readers_is_an_error_that_leaves_nothing(
    descriptors, pair, monkeypatch
):
    def refuse(*_args):
        raise NotImplementedError

    monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", refuse)
    before = descriptors()
    with pytest.raises(NotImplementedError):
        await tasklet.run(waiting(WaitForIO(pair[0])))
    assert descriptors() == before


def test_the_copy_is_closed_when_the_loop_is_closed_already(descriptors, pair):
    loop = asyncio.new_event_loop()
    before = descriptors()

    async def main():
        return tasklet.run(waiting(WaitForIO(pair[0])))

    left = loop.run_until_complete(main())
    loop.close()
    left.abandon()
    assert descriptors() <= before
