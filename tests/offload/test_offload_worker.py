"""The main program of a worker, here in this process, and what makes it end."""

import os
import pickle
import socket
import subprocess
import sys
import threading

import pytest
from offload_jobs import endless, numbers

from cooperative_aio import offload
from cooperative_aio.offload import _worker
from cooperative_aio.offload._frames import (
    BYE,
    CALL,
    CLOSE,
    FINISHED,
    HEADER,
    ORDER,
    VALUES,
    Frames,
    frame,
    pack_order,
)
from cooperative_aio.offload._pickling import dump_call
from cooperative_aio.offload._pulling import Orders, serve
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
def connected(exits):
    """Return this end of the socket, and a channel at the other."""
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    with theirs:
        channel = _worker.Channel(theirs, is_process=True)
        with ours:
            yield ours, channel
        channel._reader.join(10)


def receive(connection):
    head = connection.recv(HEADER.size, socket.MSG_WAITALL)
    letter, size = HEADER.unpack(head)
    data = connection.recv(size, socket.MSG_WAITALL)
    return letter, pickle.loads(data)  # noqa: S301


def test_orders_are_filled_until_the_generator_is_closed(connected, exits):
    ours, channel = connected
    running = threading.Thread(target=channel.run_one)
    running.start()
    ours.sendall(frame(CALL, dump_call(endless, (), {})) + frame(ORDER, pack_order(2, None)))
    assert receive(ours) == (VALUES, [0, 1])
    ours.sendall(frame(ORDER, pack_order(2, 0.5)))
    assert receive(ours) == (VALUES, [2, 3])
    ours.sendall(frame(CLOSE) + frame(BYE))
    assert receive(ours) == (FINISHED, None)
    running.join(10)
    assert exits.codes == []


def test_one_call_after_the_other_is_served(connected, exits):
    ours, channel = connected
    for count in (2, 3):
        call = frame(CALL, dump_call(numbers, (count,), {}))
        ours.sendall(call + frame(ORDER, pack_order(9, None)) * 3)
        channel.run_one()
        assert receive(ours) == (VALUES, list(range(count)))
        assert receive(ours) == (FINISHED, None)
    ours.sendall(frame(BYE))
    assert exits.codes == []


def test_an_idle_worker_ends_when_its_program_has_gone(connected, exits):
    ours, _ = connected
    ours.close()
    assert exits.happened.wait(10)
    assert exits.codes == [1]


def test_a_cut_frame_is_the_end(connected, exits):
    ours, _ = connected
    ours.sendall(frame(CLOSE) + b"O12")
    ours.close()
    assert exits.happened.wait(10)


def test_a_busy_worker_closes_its_generator_before_it_ends(connected, exits, tmp_path):
    closed = tmp_path / "closed"
    ours, channel = connected
    running = threading.Thread(target=channel.run_one)
    running.start()
    call = frame(CALL, dump_call(endless, (str(closed),), {}))
    ours.sendall(call + frame(ORDER, pack_order(1, None)))
    assert receive(ours) == (VALUES, [0])
    ours.close()
    running.join(10)
    assert closed.exists()
    assert exits.codes == [1]


def test_a_broken_connection_is_the_end(exits):
    class Broken:
        def makefile(self, _mode):
            raise ConnectionResetError

        def close(self):
            pass

    channel = _worker.Channel(Broken(), is_process=True)
    channel._reader.join(10)
    assert exits.codes == [1]


def test_an_interpreter_ends_nothing_but_its_thread(exits):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = _worker.Channel(theirs, is_process=False)
        ours.close()
        channel._reader.join(10)
    assert exits.codes == []


def test_a_process_that_is_attached_ignores_the_terminal(exits, monkeypatch):
    handlers = []
    monkeypatch.setattr(_worker.signal, "signal", lambda *handler: handlers.append(handler))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        _worker.attach_process(theirs)
        assert handlers == [(_worker.signal.SIGINT, _worker.signal.SIG_IGN)]
        assert _worker.identify() == os.getpid()
        ours.sendall(
            frame(CALL, dump_call(numbers, (0,), {})) + frame(ORDER, pack_order(1, None))
        )
        _worker.run_one()
        assert receive(ours) == (FINISHED, None)
        ours.sendall(frame(BYE))
        _worker._local.channel._reader.join(10)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_frames_are_put_together_from_any_pieces(size):
    frames = [(b"V", b"x" * 40), (b"F", b""), (b"V", b"yz")]
    data = b"".join(frame(*each) for each in frames)
    cutter = Frames()
    pieces = [data[begin : begin + size] for begin in range(0, len(data), size)]
    assert [each for piece in pieces for each in cutter.feed(piece)] == frames


def test_what_comes_for_nobody_is_dropped():
    worker = Worker("worker", None, None)
    worker.data_received(frame(VALUES, b"late"))


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
    orders = Orders()
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
