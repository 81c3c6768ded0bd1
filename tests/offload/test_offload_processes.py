"""Generators in worker processes: what can be sent, and what dies."""

import asyncio
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest
from offload_jobs import (
    FirstHalf,
    dying,
    endless,
    failing_with,
    identity,
    ignoring_close,
    large,
    loads_badly,
    niceness,
    not_picklable,
    numbers,
    slow,
    stuck,
    taking,
    where,
)

from cooperative_aio import accumulate, batches, offload
from cooperative_aio.offload import _hosts
from cooperative_aio.offload._workers import Worker

ROUNDS = int(os.environ.get("OFFLOAD_KILLS", "10"))


# Pickling


async def test_an_unpicklable_factory_is_named():
    async with offload.processes(1) as place:
        with pytest.raises(
            TypeError, match=r"cannot pickle the factory .*<lambda>, which must be at the top"
        ):
            place.open(lambda: [1])


async def test_an_unpicklable_argument_is_named():
    async with offload.processes(1) as place:
        with pytest.raises(TypeError, match="cannot pickle argument 2 of numbers: "):
            place.open(numbers, 1, lambda: 1)
        with pytest.raises(TypeError, match="cannot pickle argument 'offset' of numbers: "):
            place.open(numbers, 1, offset=lambda: 1)


async def test_what_can_be_pickled_in_parts_only_is_refused():
    class Shy:
        pickled = 0

        def __reduce__(self):
            type(self).pickled += 1
            if self.pickled == 1:
                raise TypeError("not yet")
            return int, ()

    async with offload.processes(1) as place:
        with pytest.raises(TypeError, match="cannot pickle all of it together: not yet"):
            place.open(taking, Shy())


async def test_an_argument_that_cannot_be_unpickled_there_says_so():
    async with offload.processes(1) as place:
        with pytest.raises(ImportError, match="cannot be unfolded elsewhere") as raised:
            await accumulate(place.open(taking, FirstHalf()))
    assert raised.value.__notes__ == [
        "raised by unpickling the factory and its arguments in the worker"
    ]


async def test_an_unpicklable_value_is_named():
    async with offload.processes(1) as place:
        with pytest.raises(
            TypeError,
            match=r"cannot pickle the value <function .*>, which the generator yields",
        ):
            await accumulate(place.open(not_picklable))


async def test_a_value_that_cannot_be_unpickled_here_says_so():
    async with offload.processes(1) as place:
        with pytest.raises(TypeError, match="__init__") as raised:
            await accumulate(place.open(loads_badly))
        assert raised.value.__notes__ == ["raised by unpickling a batch that a worker sent"]
        assert list(await accumulate(place.open(numbers, 2))) == [0, 1]


async def test_an_error_shows_where_in_the_worker_it_was_raised():
    async with offload.processes(1) as place:
        with pytest.raises(LookupError, match="deep") as raised:
            await accumulate(place.open(failing_with, "deep"))
    text = "".join(traceback.format_exception(raised.value))
    assert isinstance(raised.value.__cause__, offload.RemoteTraceback)
    assert "raise LookupError(name)" in text
    assert "ValueError: the reason" in text
    assert "_pulling.py" not in str(raised.value.__cause__)


@pytest.mark.parametrize(
    ("name", "text"), [("unpicklable", "Unpicklable: cannot travel"), ("unloadable", "unload")]
)
async def test_an_error_that_cannot_be_pickled_has_a_stand_in(name, text):
    async with offload.processes(1) as place:
        with pytest.raises(offload.RemoteError, match=text) as raised:
            await accumulate(place.open(failing_with, name))
    assert "in failing_with" in str(raised.value.__cause__)


async def test_large_values_pass():
    async with offload.processes(1) as place:
        got = await accumulate(place.open(large, 5, 3_000_000))
    assert [len(value) for value in got] == [3_000_000] * 5


# Workers


async def test_workers_are_used_again():
    async with offload.processes(2) as place:
        pids = set()
        for _ in range(3):
            async with place.open(identity) as source:
                [(pid, _)] = await source.next_batch(1)
                pids.add(pid)
        assert len(pids) == 1
        assert pids != {os.getpid()}


async def test_the_number_of_workers_is_that_of_the_usable_cpus(monkeypatch):
    assert offload.processes(3).limit == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {1, 2, 5}, raising=False)
    assert offload.processes().limit == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert offload.processes().limit == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert offload.processes().limit == 1


@pytest.mark.parametrize(("workers", "error"), [(0, ValueError), (True, TypeError)])
def test_a_bad_number_of_workers_is_refused(workers, error):
    with pytest.raises(error, match=f"workers must be an integer of at least 1, got {workers}"):
        offload.processes(workers)


@pytest.mark.skipif(not hasattr(os, "nice"), reason="there are no such priorities")
@pytest.mark.parametrize("options", [{}, {"nice": 10}, {"nice": 19}])
async def test_workers_have_the_priority_that_was_asked_for(options):
    async with offload.processes(1, **options) as place:
        [priority] = await accumulate(place.open(niceness))
    assert priority == min(19, os.nice(0) + options.get("nice", 0))


@pytest.mark.parametrize(
    ("nice", "error"), [(-1, ValueError), (20, ValueError), (True, TypeError), (1.5, TypeError)]
)
def test_a_bad_priority_is_refused(nice, error):
    with pytest.raises(error, match=f"nice must be an integer from 0 to 19, got {nice}"):
        offload.processes(1, nice=nice)


async def test_memory_stays_flat_beside_a_slow_consumer(until):
    async with offload.processes(1, prefetch=2) as place:
        source = place.open(large, 10_000, 1_000_000)
        for _ in range(3):
            assert len(await source.next_batch(1)) == 1
        await until(lambda: len(source._stream._batches) == 2)
        assert source._stream._owed == 0


# Death


async def exhaust(size, source):
    async for _ in batches(size, source):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
async def test_a_killed_worker_is_an_error_every_time_and_leaves_no_zombie():
    chance = random.Random(1)  # noqa: S311
    async with offload.processes(2) as place, asyncio.timeout(60 + ROUNDS):
        survivor = place.open(endless)
        assert await survivor.next_batch(1) == [0]
        for _ in range(ROUNDS):
            source = place.open(identity)
            [(pid, _)] = await source.next_batch(1)
            killer = asyncio.get_running_loop().call_later(
                chance.uniform(0, 0.02), os.kill, pid, signal.SIGKILL
            )
            with pytest.raises(
                offload.WorkerDied,
                match=f"the worker process {pid} died before the generator of identity had",
            ):
                await exhaust(chance.choice([1, 100, 5000]), source)
            killer.cancel()
            await source.close()
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
        assert await survivor.next_batch(1) == [1]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
async def test_a_worker_that_is_killed_while_idle_is_replaced(until):
    async with offload.processes(1) as place:
        async with place.open(identity) as source:
            [(pid, _)] = await source.next_batch(1)
        [worker] = place._idle
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not worker.alive)
        assert list(await accumulate(place.open(numbers, 2))) == [0, 1]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
async def test_killing_idle_workers_fails_no_generator(tmp_path):
    """The signal may be noticed before or after the next generator is sent, or never."""
    count = tmp_path / "count"
    async with offload.processes(2) as place:
        [(_, pid)] = await accumulate(place.open(where, str(count)))
        for number in range(2, 22):
            os.kill(pid, signal.SIGKILL)
            [(runs, pid)] = await accumulate(place.open(where, str(count)))
            assert runs == number


async def test_all_idle_workers_may_have_died(until):
    async with offload.processes(2) as place:
        sources = [place.open(identity) for _ in range(2)]
        pids = [(await source.next_batch(1))[0][0] for source in sources]
        for source in sources:
            await source.close()
        for worker in place._idle:
            worker._host.kill()
        [(pid, _)] = await place.open(identity).next_batch(1)
        assert pid not in pids


async def test_what_had_begun_is_not_run_again(tmp_path):
    count = tmp_path / "count"
    async with offload.processes(1) as place:
        await accumulate(place.open(numbers, 1))
        with pytest.raises(offload.WorkerDied, match="generator of where had come to its end"):
            await accumulate(place.open(where, str(count), dies=True))
    assert count.read_text() == "1"


async def test_a_fresh_worker_that_dies_before_it_has_begun_is_an_error(monkeypatch):
    run = Worker.run

    async def die_first(self, stream):
        self._host.kill()
        return await run(self, stream)

    monkeypatch.setattr(Worker, "run", die_first)
    async with offload.processes(1) as place:
        with pytest.raises(
            offload.WorkerDied, match="generator of numbers had come to its end"
        ):
            await accumulate(place.open(numbers, 1))


async def test_closing_what_a_dead_idle_worker_was_sent_needs_no_other_worker(monkeypatch):
    run = Worker.run

    async def die_first(self, stream):
        self._host.kill()
        asyncio.get_running_loop().call_soon(stream.abandon)
        return await run(self, stream)

    async with offload.processes(1) as place:
        await accumulate(place.open(numbers, 1))
        monkeypatch.setattr(Worker, "run", die_first)
        with pytest.raises(offload.SourceClosed, match="it was closed"):
            await place.open(numbers, 1).next_batch(1)
    assert place._idle == []


async def test_a_generator_that_ends_its_process_is_an_error():
    async with offload.processes(1) as place:
        source = place.open(dying, 3)
        with pytest.raises(offload.WorkerDied, match="generator of dying"):
            await accumulate(source)


async def test_dying_while_being_closed_is_an_error_too(tmp_path, until):
    began = tmp_path / "began"
    async with offload.processes(1) as place:
        source = place.open(stuck, 30, str(began))
        await source.next_batch(1)
        [worker] = [job._link for job in place._jobs.values()]
        await until(began.exists)
        source.abandon()
        os.kill(worker._pid, signal.SIGKILL)
        with pytest.raises(offload.WorkerDied, match="generator of stuck"):
            await source.close()


@pytest.mark.parametrize(("exits", "cause"), [(True, SystemExit), (False, type(None))])
async def test_a_worker_that_does_not_start_is_an_error(monkeypatch, exits, cause):
    monkeypatch.setattr(_hosts, "run_process", exit_at_once if exits else kill_at_once)
    async with offload.processes(1) as place:
        with pytest.raises(
            offload.WorkerDied, match=r"does the program start under `if __name"
        ) as raised:
            await accumulate(place.open(numbers, 1))
    assert type(raised.value.__cause__) is cause


def exit_at_once(_connection, _endings, _nice):
    sys.exit(3)


def kill_at_once(_connection, _endings, _nice):
    os.kill(os.getpid(), signal.SIGKILL)


async def test_any_other_trouble_in_starting_is_raised(monkeypatch):
    def fail(_self, *sockets):
        for each in sockets:
            each.close()
        raise OSError("no more processes")

    monkeypatch.setattr(_hosts.ProcessHost, "start", fail)
    async with offload.processes(1) as place:
        with pytest.raises(OSError, match="no more processes"):
            await accumulate(place.open(numbers, 1))


async def test_no_thread_for_a_worker_is_an_error(no_threads):
    async with offload.processes(1) as place:
        with no_threads(), pytest.raises(RuntimeError, match="can't start new thread"):
            await accumulate(place.open(numbers, 1))
        assert list(await accumulate(place.open(numbers, 2))) == [0, 1]


async def test_no_second_pair_of_sockets_is_an_error(monkeypatch):
    pairs = iter([socket.socketpair()])
    monkeypatch.setattr(socket, "socketpair", lambda: next(pairs, None) or fail())

    def fail():
        raise OSError("too many open files")

    async with offload.processes(1) as place:
        with pytest.raises(OSError, match="too many open files"):
            await accumulate(place.open(numbers, 1))


async def test_a_step_that_does_not_end_is_ended_with_its_process(tmp_path, until, caplog):
    began = tmp_path / "began"
    async with offload.processes(1, grace=0.1) as place:
        source = place.open(stuck, 3600, str(began))
        await source.next_batch(1)
        await until(began.exists)
        async with asyncio.timeout(100):
            await source.close()
        assert list(await accumulate(place.open(numbers, 2))) == [0, 1]
    # (the idle worker may need more than the tenth of a second as well, to be ended)
    [record] = [record for record in caplog.records if "an idle" not in record.getMessage()]
    assert record.getMessage().startswith(
        "the generator of stuck was closed but has not ended in time; the worker process "
    )
    assert record.getMessage().endswith(" was killed")


async def test_an_idle_worker_that_does_not_end_is_killed(caplog, monkeypatch):
    async with offload.processes(1, grace=0.1) as place:
        await accumulate(place.open(hold_on_to_the_process))
    [record] = caplog.records
    assert record.getMessage().startswith("an idle worker was closed but has not ended in time")


def hold_on_to_the_process():
    import threading  # noqa: PLC0415

    threading.Thread(target=time.sleep, args=(30,)).start()
    yield 1


async def test_a_generator_that_ignores_being_closed_is_an_error():
    async with offload.processes(1) as place:
        source = place.open(ignoring_close)
        await source.next_batch(1)
        with pytest.raises(RuntimeError, match="generator ignored GeneratorExit"):
            await source.close()


# Starting and interrupting


async def test_a_cancellation_while_the_worker_starts_leaves_nothing():
    async with offload.processes(1) as place:
        source = place.open(numbers, 5)
        task = asyncio.create_task(accumulate(source))
        while not place._jobs:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert list(await accumulate(place.open(numbers, 2))) == [0, 1]


def test_the_end_of_the_loop_while_the_worker_starts_leaves_nothing():
    async def main():
        place = await offload.processes(1).__aenter__()

        async def hold():
            async with contextlib_aclosing(place):
                await accumulate(place.open(numbers, 5))

        main.task = asyncio.create_task(hold())
        while not place._jobs:
            await asyncio.sleep(0)

    asyncio.run(main())
    assert main.task.cancelled()


class contextlib_aclosing:  # noqa: N801
    def __init__(self, place):
        self.place = place

    async def __aenter__(self):
        return self.place

    async def __aexit__(self, *details):
        await self.place.__aexit__(*details)


PROGRAM = """
import asyncio, os, sys
sys.path.insert(0, {here!r})
from offload_jobs import endless, identity
from cooperative_aio import accumulate, offload

async def main():
    async with offload.processes(1) as place:
        source = place.open(endless, {closed!r})
        await source.next_batch(1)
        other = None
        print("ready", flush=True)
        await accumulate(source)

if __name__ == "__main__":
    asyncio.run(main())
"""


def start_program(closed):
    program = PROGRAM.format(here=str(Path(__file__).parent), closed=str(closed))
    path = closed.with_suffix(".py")
    path.write_text(program)
    process = subprocess.Popen(
        [sys.executable, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.skipif(sys.platform == "win32", reason="there are no process groups")
def test_ctrl_c_closes_the_generators_and_the_workers_say_nothing(tmp_path):
    closed = tmp_path / "closed"
    with start_program(closed) as process:
        os.killpg(process.pid, signal.SIGINT)  # as the terminal does
        _, errors = process.communicate(timeout=300)
    assert closed.exists()
    assert errors.count("Traceback") <= 2  # asyncio's own, of the main process
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert "offload_jobs" not in errors


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
async def test_workers_do_not_outlive_the_program(tmp_path, until):
    closed = tmp_path / "closed"
    with start_program(closed) as process:
        process.kill()
        process.communicate(timeout=300)
    await until(closed.exists)
    await until(closed.read_text)
    pid = int(closed.read_text().split()[0])

    def is_gone():
        try:
            return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
        except FileNotFoundError:
            return True

    await until(is_gone)


def test_no_child_is_left():
    assert multiprocessing.active_children() == []


async def test_the_loop_is_not_held_while_workers_start():
    async with offload.processes(1) as place:
        source = place.open(slow, 0.01, 5)
        taking_all = asyncio.create_task(accumulate(source))
        turns = 0
        while not taking_all.done():
            await asyncio.sleep(0.001)
            turns += 1
    assert turns > 20
