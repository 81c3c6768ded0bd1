"""The main program of a worker, here in this process, and what makes it end."""

import asyncio
import os
import pickle
import socket
import subprocess
import sys
import threading
import time

import pytest
from offload_jobs import (
    ExitsWhenLoaded,
    ExitsWhenUnpickled,
    Unpicklable,
    endless,
    numbers,
    slow,
)

from cooperative_aio import offload
from cooperative_aio.offload import _hosts, _worker
from cooperative_aio.offload._pulling import Order, QueuedOrders, pull, serve
from cooperative_aio.offload._wire import (
    BEGUN,
    CALL,
    CLOSE,
    FINISHED,
    HEADER,
    NUMBER,
    ORDER,
    READY,
    VALUES,
    FrameCutter,
    dump_call,
    dump_error,
    dump_values,
    frame,
    load_call,
    load_error,
    load_values,
    pack_order,
)
from cooperative_aio.offload._workers import Worker


@pytest.fixture
def exits(monkeypatch):
    """Hold what `os._exit` was called with."""
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    return codes


@pytest.fixture
def until_now():
    """Wait until another thread has got somewhere."""

    def wait(condition):
        deadline = time.monotonic() + 100
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.001)

    return wait


class Place:
    """The other ends of the sockets of a worker's program, which runs in a thread."""

    def __init__(self, run):
        self.connection, theirs = socket.socketpair()
        self.endings, their_endings = socket.socketpair()
        self.connection.settimeout(300)
        self.endings.settimeout(300)
        self.returned = None
        self.running = threading.Thread(target=self._run, args=(run, theirs, their_endings))
        self.running.start()

    def _run(self, run, *theirs):
        self.returned = run(*theirs)
        for each in theirs:
            each.close()

    def send(self, *frames):
        self.connection.sendall(b"".join(frames))

    def announce(self, number):
        self.endings.sendall(NUMBER.pack(number))

    def receive_frame(self):
        head = self.connection.recv(HEADER.size, socket.MSG_WAITALL)
        letter, size = HEADER.unpack(head)
        return letter, self.connection.recv(size, socket.MSG_WAITALL) if size else b""

    def receive(self):
        letter, data = self.receive_frame()
        return letter, pickle.loads(data)  # noqa: S301

    def close(self):
        self.connection.close()
        self.endings.close()

    def ended(self):
        self.running.join(10)
        assert not self.running.is_alive()
        return self.returned


@pytest.fixture
def connect():
    """Make a place, and a program at the other end of it."""
    places = []

    def make(run):
        places.append(Place(run))
        assert places[-1].receive_frame() == (READY, NUMBER.pack(os.getpid()))
        return places[-1]

    yield make
    for place in places:
        place.close()
        place.ended()


@pytest.fixture
def program():
    """The program that `place` is connected with."""
    return []


@pytest.fixture
def place(connect, program):
    def run(*sockets):
        program.append(_worker.WorkerProgram(*sockets))
        return program[0].run()

    return connect(run)


def call(factory, *arguments):
    return frame(CALL, dump_call(factory, arguments, {}))


def order(size, max_seconds=None):
    return frame(ORDER, pack_order(size, max_seconds))


def test_orders_are_filled_until_the_generator_is_closed(place):
    place.send(call(endless), order(2))
    assert place.receive() == (VALUES, [0, 1])
    place.send(order(2, 0.5))
    assert place.receive() == (VALUES, [2, 3])
    place.announce(1)
    place.send(frame(CLOSE))
    assert place.receive() == (FINISHED, None)
    place.announce(0)
    place.close()
    assert place.ended() is True


def test_one_call_after_the_other_is_served(place):
    for count in (2, 3):
        place.send(call(numbers, count), order(9) * 3)
        assert place.receive() == (VALUES, list(range(count)))
        assert place.receive() == (FINISHED, None)
        assert place.endings.recv(100) == BEGUN


def test_a_generator_is_said_to_have_begun_before_it_does(place):
    place.send(call(slow, 10, 1))
    assert place.endings.recv(100) == BEGUN
    place.send(frame(CLOSE))
    assert place.receive() == (FINISHED, None)


def test_a_generator_is_closed_in_the_middle_of_an_order(place):
    place.send(call(slow, 0.01, 10_000), order(1), order(10_000))
    assert place.receive() == (VALUES, [0])
    place.announce(1)
    place.send(frame(CLOSE))
    assert place.receive() == (FINISHED, None)


def test_a_late_number_closes_no_other_generator(place, program, until_now):
    for each in (1, 2):
        place.send(call(numbers, 2), order(9), order(9))
        assert place.receive() == (VALUES, [0, 1])
        assert place.receive() == (FINISHED, None)
        place.announce(each)  # when it has ended
        until_now(lambda number=each: program[0]._closed == number)
        place.send(frame(CLOSE))


def test_a_number_may_come_before_its_generator(place, program, until_now):
    place.announce(1)
    until_now(lambda: program[0]._closed == 1)
    place.send(call(endless), order(1))
    assert place.receive() == (FINISHED, None)


def test_an_idle_worker_ends_when_its_program_has_gone(place):
    place.close()
    assert place.ended() is False


def test_a_cut_number_is_the_end(place):
    place.endings.sendall(b"123")
    place.close()
    assert place.ended() is False


def test_a_busy_worker_closes_its_generator_before_it_ends(place, tmp_path):
    closed = tmp_path / "closed"
    place.send(call(endless, str(closed)), order(1), b"O12")  # the last one is cut
    assert place.receive() == (VALUES, [0])
    place.close()
    assert place.ended() is False
    assert closed.exists()


def test_a_program_that_goes_before_the_generator_begins_makes_none(place, program, until_now):
    place.endings.close()
    until_now(lambda: program[0]._over)
    place.send(call(numbers, 1), order(1))
    assert place.receive() == (FINISHED, None)


def test_what_cannot_be_received_is_the_end():
    class Broken:
        def makefile(self, _mode):
            return self

        def recv(self, *_arguments):
            raise ConnectionResetError

        def sendall(self, _data):
            raise BrokenPipeError

        def close(self):
            pass

    assert _worker.WorkerProgram(Broken(), Broken()).run() is False


def test_an_interpreter_finds_what_the_program_finds(connect, exits, monkeypatch):
    prepared = []
    monkeypatch.setattr(_worker.spawn, "prepare", prepared.append)

    def run(*sockets):
        _worker.run_interpreter(*(os.dup(each.fileno()) for each in sockets), {"sys_path": []})

    place = connect(run)
    place.close()
    place.ended()
    assert prepared == [{"sys_path": []}]
    assert exits == []


@pytest.mark.parametrize("system", ["POSIX", "Windows"])
@pytest.mark.parametrize(("goodbye", "codes"), [(True, []), (False, [1])])
def test_a_process_is_prepared_and_ends_with_its_program(
    connect, exits, monkeypatch, system, goodbye, codes
):
    done = []
    monkeypatch.setattr(_worker.signal, "signal", lambda *handler: done.append(handler))
    monkeypatch.setattr(os, "nice", done.append, raising=False)
    if system == "Windows":
        monkeypatch.delattr(os, "nice")
    place = connect(lambda *sockets: _worker.run_process(*sockets, 7))
    not_for_the_terminal = (_worker.signal.SIGINT, _worker.signal.SIG_IGN)
    assert done == [not_for_the_terminal, *([7] if system == "POSIX" else [])]
    if goodbye:
        place.announce(0)
    place.close()
    place.ended()
    assert exits == codes


@pytest.mark.parametrize("size", [1, 3, 1000, FrameCutter.ROOM])
def test_frames_are_put_together_from_any_pieces(size):
    frames = [(b"V", b"x" * 40), (b"F", b""), (b"V", b"yz" * FrameCutter.ROOM), (b"V", b"z")]
    data = b"".join(frame(*each) for each in frames)
    cutter = FrameCutter()
    got = []
    while data:
        room = cutter.room[: min(size, len(data))]
        room[:], data = data[: len(room)], data[len(room) :]
        got += cutter.take(len(room))
    assert got == frames


def test_what_comes_for_nobody_is_dropped():
    worker = Worker("worker", None)
    late = frame(VALUES, b"late")
    worker.get_buffer(-1)[: len(late)] = late
    worker.buffer_updated(len(late))


async def test_a_worker_that_is_not_there_is_told_nothing():
    worker = Worker("worker", None)
    worker.put(Order(1, None), 1)
    worker.close()
    await worker.shut_down(grace=1)


def test_what_was_killed_is_not_killed_again(caplog):
    class Host:
        killed = 0

        def kill(self):
            self.killed += 1
            return True

    worker = Worker("worker", Host())
    worker.kill()
    worker.kill()
    assert worker._host.killed == 1
    [record] = caplog.records
    assert record.getMessage() == (
        "an idle worker was closed but has not ended in time; the worker 0 was killed"
    )


async def test_a_connection_that_fails_ends_the_worker(monkeypatch):
    async def fail(*_arguments, **_options):
        raise OSError("no connection")

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "create_unix_connection", fail)
    worker = Worker("worker", _hosts.ProcessHost(0))
    with pytest.raises(offload.WorkerDied, match="a worker died before it was ready"):
        await worker.start()
    await worker.shut_down(1)


def test_a_worker_that_outlives_its_loop_tells_nobody():
    class Host:
        def start(self, *sockets):
            for each in sockets:
                each.close()

        def join(self):
            return None

    loop = asyncio.new_event_loop()
    loop.close()
    Worker("worker", Host())._keep(loop)


async def test_what_was_given_up_may_end_later():
    worker = Worker("worker", None)
    loop = asyncio.get_running_loop()
    worker._ready, worker._gone = loop.create_future(), loop.create_future()
    worker._end(None)
    worker._end(None)
    worker._job = worker._gone  # what it ran has ended before
    worker._release()
    assert worker._gone.done()


def test_a_generator_that_was_closed_before_it_began_is_not_made():
    orders = QueuedOrders()
    orders.close()
    finished = []

    class Replies:
        def finished(self, error):
            finished.append(error)

    serve(lambda: finished.append("made"), orders, Replies())
    assert finished == [None]


class Closing(QueuedOrders):
    """Orders of a generator that closes itself, at its third step."""

    def steps(self):
        for number in range(5):
            if number == 2:
                self.close()
            yield number


@pytest.mark.parametrize("max_seconds", [None, 60.0])
def test_closing_takes_effect_after_the_current_step(max_seconds):
    orders = Closing()
    steps = orders.steps()
    assert not pull(steps, Order(5, max_seconds), orders).ended
    assert next(steps) == 3


@pytest.mark.parametrize("max_seconds", [None, 60.0])
@pytest.mark.parametrize("size", [1, 999, 1000, 1001, 2500, 10**9])
def test_an_order_of_any_size_is_filled(size, max_seconds):
    orders, order = QueuedOrders(), Order(size, max_seconds)
    values = [None if number % 3 else number for number in range(5000)]
    wanted = [value for value in values if value is not None]
    iterator, got, ended = iter(values), [], False
    while not ended:
        pulled, ended, error = pull(iterator, order, orders)
        assert error is None
        assert ended or len(pulled) == size
        got += pulled
    assert got == wanted


def test_what_came_before_an_error_counts():
    def failing():
        yield from (1, None, 2)
        raise KeyError(3)

    values, ended, error = pull(failing(), Order(10, None), QueuedOrders())
    assert (values, ended, repr(error)) == ([1, 2], True, "KeyError(3)")


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (KeyError("it"), KeyError, "'it'"),
        (SystemExit(3), SystemExit, "3"),
        (Unpicklable("stays"), offload.RemoteError, r"offload_jobs\.Unpicklable: stays"),
        (ExitsWhenLoaded(), offload.RemoteError, r"offload_jobs\.ExitsWhenLoaded"),
    ],
)
def test_errors_travel_with_their_tracebacks(error, kind, text):
    def failing():
        raise error

    caught = pull(iter(failing, None), Order(1, None), QueuedOrders()).error
    loaded = load_error(dump_error(caught))
    assert loaded is not None
    with pytest.raises(kind, match=text):
        raise loaded
    assert "in failing" in str(loaded.__cause__)
    assert "_pulling.py" not in str(loaded.__cause__)


def test_the_absence_of_an_error_travels_too():
    assert load_error(dump_error(None)) is None


def test_what_cannot_be_pickled_is_named():
    with pytest.raises(TypeError, match=r"cannot pickle the value <.*lambda> at .*>, which"):
        dump_values([1, lambda: 1])


@pytest.mark.parametrize("load", [load_call, load_values])
def test_what_unpickling_raises_says_what_it_was(load):
    with pytest.raises(SystemExit) as raised:
        load(pickle.dumps(ExitsWhenUnpickled(here=False)))
    assert raised.value.__notes__[0].startswith("raised by unpickling ")


def test_what_could_be_begun_where_a_reset_loses_it_counts_as_begun():
    class Reset:
        def __init__(self, family):
            self.family = family

        def recv(self, _size):
            raise ConnectionResetError

    worker = Worker("worker", None)
    worker._endings = Reset(socket.AF_INET)
    assert worker._has_begun()
    worker._endings = Reset(socket.AF_UNIX)
    assert not worker._has_begun()


def test_messages_quote_little():
    async def main():
        async with offload.threads() as place:
            with pytest.raises(TypeError, match="factory must be a generator fun") as raised:
                place.open(list(range(10**5)))
        assert len(str(raised.value)) < 300

    asyncio.run(main())


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
