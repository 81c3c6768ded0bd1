"""The main program of a worker, here in this process, and what makes it end."""

import functools
import os
import pickle
import socket
import subprocess
import sys
import threading
import time

import pytest
from offload_jobs import endless, numbers, slow

from cooperative_aio import offload
from cooperative_aio.offload import _worker
from cooperative_aio.offload._frames import (
    CALL,
    CLOSE,
    FINISHED,
    HEADER,
    NUMBER,
    ORDER,
    VALUES,
    Frames,
    frame,
    pack_order,
)
from cooperative_aio.offload._pickling import dump_call
from cooperative_aio.offload._pulling import Order, QueuedOrders, serve
from cooperative_aio.offload._workers import Worker


class Exits:
    """Stand in for `os._exit`."""

    def __init__(self):
        self.happened = threading.Event()
        self.codes = []

    def __call__(self, code):
        self.codes.append(code)
        self.happened.set()


@pytest.fixture
def exits(monkeypatch):
    exits = Exits()
    monkeypatch.setattr(os, "_exit", exits)
    return exits


@pytest.fixture
def until_now():
    """Wait until another thread has got somewhere."""

    def wait(condition):
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.001)

    return wait


class Place:
    """Be at the other ends of the sockets of a channel."""

    def __init__(self, connection, endings):
        self.connection = connection
        self.endings = endings
        connection.settimeout(10)

    def send(self, *frames):
        self.connection.sendall(b"".join(frames))

    def announce(self, number):
        self.endings.sendall(NUMBER.pack(number))

    def receive(self):
        head = self.connection.recv(HEADER.size, socket.MSG_WAITALL)
        letter, size = HEADER.unpack(head)
        data = self.connection.recv(size, socket.MSG_WAITALL)
        return letter, pickle.loads(data)  # noqa: S301

    def close(self):
        self.connection.close()
        self.endings.close()


@pytest.fixture
def connect(exits):
    """Make a place, and a channel at the other end of it."""
    places, listeners = [], []

    def make(attach):
        (ours, theirs), (our_endings, their_endings) = socket.socketpair(), socket.socketpair()
        places.append(Place(ours, our_endings))
        channel = attach(theirs, their_endings) or _worker._channels[threading.get_ident()]
        listeners.append(channel._listener)
        return places[-1], channel

    yield make
    for place, listener in zip(places, listeners, strict=True):
        place.close()
        listener.join(10)
        assert not listener.is_alive()


@pytest.fixture
def connected(connect):
    return connect(functools.partial(_worker.Channel, is_process=True))


def call(factory, *arguments):
    return frame(CALL, dump_call(factory, arguments, {}))


def order(size, max_seconds=None):
    return frame(ORDER, pack_order(size, max_seconds))


def run(channel):
    """Run the next generator in a thread."""
    running = threading.Thread(target=channel.run_one)
    running.start()
    return running


def test_orders_are_filled_until_the_generator_is_closed(connected, exits):
    place, channel = connected
    running = run(channel)
    place.send(call(endless), order(2))
    assert place.receive() == (VALUES, [0, 1])
    place.send(order(2, 0.5))
    assert place.receive() == (VALUES, [2, 3])
    place.announce(1)
    place.send(frame(CLOSE))
    assert place.receive() == (FINISHED, None)
    place.announce(0)
    running.join(10)
    channel._listener.join(10)
    assert exits.codes == []


def test_one_call_after_the_other_is_served(connected, exits):
    place, channel = connected
    for count in (2, 3):
        place.send(call(numbers, count), order(9) * 3)
        channel.run_one()
        assert place.receive() == (VALUES, list(range(count)))
        assert place.receive() == (FINISHED, None)
    place.announce(0)
    channel._listener.join(10)
    assert exits.codes == []


def test_a_generator_is_closed_in_the_middle_of_an_order(connected):
    place, channel = connected
    running = run(channel)
    place.send(call(slow, 0.01, 10_000), order(1), order(10_000))
    assert place.receive() == (VALUES, [0])
    place.announce(1)
    place.send(frame(CLOSE))
    assert place.receive() == (FINISHED, None)
    running.join(10)
    place.announce(0)


def test_a_late_number_closes_no_other_generator(connected, until_now):
    place, channel = connected
    for each in (1, 2):
        place.send(call(numbers, 2), order(9), order(9))
        channel.run_one()
        assert place.receive() == (VALUES, [0, 1])
        assert place.receive() == (FINISHED, None)
        place.announce(each)  # when it has ended
        until_now(lambda number=each: channel._closed == number)
        place.send(frame(CLOSE))
    place.announce(0)


def test_a_number_may_come_before_its_generator(connected, until_now):
    place, channel = connected
    place.announce(1)
    until_now(lambda: channel._closed == 1)
    place.send(call(endless), order(1))
    channel.run_one()
    assert place.receive() == (FINISHED, None)
    place.announce(0)


def test_an_idle_worker_ends_when_its_program_has_gone(connected, exits):
    place, _ = connected
    place.close()
    assert exits.happened.wait(10)
    assert exits.codes == [1]


def test_a_cut_number_is_the_end(connected, exits):
    place, _ = connected
    place.endings.sendall(b"123")
    place.close()
    assert exits.happened.wait(10)


def test_a_busy_worker_closes_its_generator_before_it_ends(connected, exits, tmp_path):
    closed = tmp_path / "closed"
    place, channel = connected
    running = run(channel)
    place.send(call(endless, str(closed)), order(1), b"O12")  # the last one is cut
    assert place.receive() == (VALUES, [0])
    place.close()
    running.join(10)
    assert closed.exists()
    assert exits.happened.wait(10)
    assert exits.codes == [1]


def test_a_program_that_goes_before_its_call_has_come_is_the_end(connected, exits):
    place, channel = connected
    place.connection.close()
    channel.run_one()
    assert exits.codes == []
    place.close()
    assert exits.happened.wait(10)


def test_a_broken_connection_is_the_end(connect, exits):
    class Broken:
        def makefile(self, _mode):
            return self

        def recv(self, *_arguments):
            raise ConnectionResetError

        def read(self, _size):
            raise ConnectionResetError

        def close(self):
            pass

    channel = _worker.Channel(Broken(), Broken(), is_process=True)
    channel._listener.join(10)
    assert exits.codes == [1]
    channel.run_one()
    assert exits.codes == [1, 1]


def test_an_interpreter_ends_nothing_but_its_thread(connect, exits):
    place, channel = connect(functools.partial(_worker.Channel, is_process=False))
    place.close()
    channel._listener.join(10)
    assert exits.codes == []


@pytest.mark.parametrize("system", ["POSIX", "Windows"])
def test_a_process_is_prepared_when_it_is_attached(connect, exits, monkeypatch, system):
    done = []
    monkeypatch.setattr(_worker.signal, "signal", lambda *handler: done.append(handler))
    monkeypatch.setattr(os, "nice", done.append, raising=False)
    if system == "Windows":
        monkeypatch.delattr(os, "nice")
    place, _ = connect(functools.partial(_worker.attach_process, nice=7))
    not_for_the_terminal = (_worker.signal.SIGINT, _worker.signal.SIG_IGN)
    assert done == [not_for_the_terminal, *([7] if system == "POSIX" else [])]
    assert _worker.identify() == os.getpid()
    place.send(call(numbers, 0), order(1))
    _worker.run_one()
    assert place.receive() == (FINISHED, None)
    place.announce(0)


@pytest.mark.parametrize("size", [1, 3, 1000, Frames.ROOM])
def test_frames_are_put_together_from_any_pieces(size):
    frames = [(b"V", b"x" * 40), (b"F", b""), (b"V", b"yz" * Frames.ROOM), (b"V", b"z")]
    data = b"".join(frame(*each) for each in frames)
    cutter = Frames()
    got = []
    while data:
        room = cutter.room[: min(size, len(data))]
        room[:], data = data[: len(room)], data[len(room) :]
        got += cutter.take(len(room))
    assert got == frames


def test_what_comes_for_nobody_is_dropped():
    worker = Worker("worker", None, None)
    late = frame(VALUES, b"late")
    worker.get_buffer(-1)[: len(late)] = late
    worker.buffer_updated(len(late))


async def test_a_worker_that_is_not_there_is_told_nothing():
    worker = Worker("worker", None, None)
    worker.put(Order(1, None))
    worker.close()
    await worker.shut_down(None, grace=1)


def test_what_was_killed_is_not_killed_again(caplog):
    ended = []
    worker = Worker("worker", None, lambda pid: not ended.append(pid))
    worker.kill()
    worker.kill()
    assert ended == [0]
    [record] = caplog.records
    assert record.getMessage() == (
        "an idle worker was closed but has not ended in time; the worker 0 was killed"
    )


def test_a_generator_that_was_closed_before_it_began_is_not_made():
    orders = QueuedOrders()
    orders.close()
    finished = []

    class Replies:
        def finished(self, error):
            finished.append(error)

    serve(lambda: finished.append("made"), orders, Replies())
    assert finished == [None]


def test_names_that_offload_does_not_have_are_refused():
    with pytest.raises(
        AttributeError, match=r"'cooperative_aio\.offload' has no attribute 'no'"
    ):
        offload.no  # noqa: B018
    assert {"processes", "map"} <= set(dir(offload))


def test_nothing_heavy_is_imported_before_it_is_used():
    program = (
        "import sys, cooperative_aio; from cooperative_aio import offload;"
        "import cooperative_aio.offload._worker;"
        "print(*{'anyio', 'distributed', 'asyncio', 'concurrent.futures.process'}"
        " & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.split() == []
