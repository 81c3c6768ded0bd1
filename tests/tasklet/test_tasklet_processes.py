"""Child processes, and whoever else waits for them."""

import asyncio
import errno
import os
import signal
import subprocess
import sys

import pytest

from cooperative_aio import tasklet
from cooperative_aio.tasklet import WaitForCall, WaitForProcess
from cooperative_aio.tasklet import _processes as processes


def waiting(*conditions):
    event = yield conditions
    return event.status, event.returncode


def child(code="pass"):
    return subprocess.Popen([sys.executable, "-S", "-c", code])


def test_the_status_is_told_and_left_to_subprocess(run_loop):
    async def main():
        process = child("raise SystemExit(3)")
        assert await tasklet.run(waiting(WaitForProcess(process.pid))) == (3 << 8, 3)
        assert process.wait() == 3

    run_loop(main)


def test_a_killed_child_has_the_signal_for_its_status(run_loop):
    async def main():
        process = child("import time; time.sleep(60)")
        done = tasklet.run(waiting(WaitForProcess(process.pid)))
        process.send_signal(signal.SIGTERM)
        assert await done == (signal.SIGTERM, -signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM

    run_loop(main)


def test_a_child_that_has_ended_already_is_told_at_once(run_loop):
    async def main():
        process = child()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222
        condition = WaitForProcess(process.pid)
        assert await tasklet.run(waiting(condition)) == (0, 0)
        process.wait()
        assert await tasklet.run(waiting(condition)) == (0, 0)  # it remembers

    run_loop(main)


def test_asyncio_gets_the_exit_status_too(run_loop):
    async def main():
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-S", "-c", "input(); raise SystemExit(4)"), stdin=subprocess.PIPE
        )
        done = tasklet.run(waiting(WaitForProcess(process.pid)))
        process.stdin.write(b"\n")
        _, returncode = await done
        assert returncode in {4, None}  # None: reaped first, on a system that forgets
        assert await process.wait() == 4

    run_loop(main)


def test_two_may_wait_for_one_child_and_nothing_is_left(descriptors, run_loop):
    async def main():
        before = descriptors()
        process = child()
        both = [tasklet.run(waiting(WaitForProcess(process.pid))) for _ in range(2)]
        assert await asyncio.gather(*both) == [(0, 0)] * 2
        process.wait()
        assert descriptors() == before

    run_loop(main)


@pytest.fixture(params=["pidfd", "refused", "missing"])
def means(request, monkeypatch):
    """Wait by pidfd, and as where there is none."""
    if request.param == "missing":
        monkeypatch.delattr(os, "pidfd_open")
    elif request.param == "refused":

        def missing(*_):
            raise OSError(errno.ENOSYS, "not implemented")

        monkeypatch.setattr(os, "pidfd_open", missing)


async def test_both_means_tell_the_same(means):
    process = child("raise SystemExit(5)")
    assert await tasklet.run(waiting(WaitForProcess(process.pid))) == (5 << 8, 5)
    assert process.wait() == 5


async def test_letting_go_leaves_nothing(descriptors, means):
    process = child("import time; time.sleep(60)")
    before = descriptors()
    call = WaitForCall()

    def body():
        yield [WaitForProcess(process.pid), call]

    done = tasklet.run(body())
    call()
    assert done.done()
    assert descriptors() == before
    process.kill()
    process.wait()


async def test_polling_goes_on_until_the_child_ends(monkeypatch):
    monkeypatch.setattr(processes, "_open_pidfd", lambda _pid: None)
    process = child("import time; time.sleep(0.1)")
    assert await tasklet.run(waiting(WaitForProcess(process.pid))) == (0, 0)
    process.wait()


@pytest.mark.parametrize("pid", [1, "reaped"])
async def test_what_is_no_child_to_wait_for_is_an_error_at_the_yield(pid):
    if pid == "reaped":
        process = child()
        process.wait()
        pid = process.pid
    with pytest.raises(
        ChildProcessError, match="pid must be a child of this process that nobo"
    ):
        await tasklet.run(waiting(WaitForProcess(pid)))


async def test_a_child_reaped_while_it_is_being_armed_is_an_error(monkeypatch):
    def gone(_pid):
        raise ProcessLookupError(errno.ESRCH, "no such process")

    process = child()
    monkeypatch.setattr(os, "pidfd_open", gone)
    with pytest.raises(ChildProcessError, match="that nobody has waited for, got"):
        await tasklet.run(waiting(WaitForProcess(process.pid)))
    process.wait()


async def test_a_child_reaped_by_somebody_else_has_ended_all_the_same(means, monkeypatch):
    process = child("raise SystemExit(6)")
    condition = WaitForProcess(process.pid)
    done = tasklet.run(waiting(condition))
    process.wait()
    _, returncode = await done
    assert returncode in {6, None}


async def test_where_nobody_kept_the_status_it_is_none(monkeypatch):
    def refuse(*_args):
        raise OSError(errno.ENOTTY, "not supported")

    monkeypatch.setattr(processes.fcntl, "ioctl", refuse)
    process = child()
    done = tasklet.run(waiting(WaitForProcess(process.pid)))
    process.wait()
    assert await done == (None, None)


async def test_an_answer_without_the_status_is_no_answer(monkeypatch):
    monkeypatch.setattr(processes.fcntl, "ioctl", lambda _fd, _request, buffer: buffer[0:8])
    monkeypatch.setattr(processes, "_PIDFD_INFO_EXIT", 0)
    assert processes._keepsake(0) is None


async def test_a_core_dump_is_part_of_the_status(monkeypatch):
    class Info:
        si_code = os.CLD_DUMPED
        si_status = signal.SIGSEGV

    monkeypatch.setattr(os, "waitid", lambda *_: Info)
    assert processes._peek(1) == signal.SIGSEGV | 0x80


async def test_an_unexpected_error_of_pidfd_is_raised(monkeypatch):
    def full(_pid):
        raise OSError(errno.EMFILE, "too many open files")

    process = child()
    monkeypatch.setattr(os, "pidfd_open", full)
    with pytest.raises(OSError, match="too many open files"):
        await tasklet.run(waiting(WaitForProcess(process.pid)))
    process.wait()


async def test_a_loop_without_readers_is_an_error_that_leaves_nothing(descriptors, monkeypatch):
    def refuse(*_args):
        raise NotImplementedError

    process = child()
    before = descriptors()
    monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", refuse)
    with pytest.raises(NotImplementedError):
        await tasklet.run(waiting(WaitForProcess(process.pid)))
    assert descriptors() == before
    process.wait()


@pytest.mark.parametrize("pid", [None, "1", 1.5, True])
def test_a_pid_must_be_a_process_identifier(pid):
    with pytest.raises(TypeError, match="pid must be a process identifier, got"):
        WaitForProcess(pid)


@pytest.mark.parametrize("pid", [0, -1])
def test_a_pid_must_be_positive(pid):
    with pytest.raises(ValueError, match="pid must be greater than 0, got"):
        WaitForProcess(pid)


def test_a_descriptor_is_closed_when_the_loop_is_closed_already(descriptors):
    loop = asyncio.new_event_loop()
    process = child("import time; time.sleep(60)")
    before = descriptors()

    async def main():
        return tasklet.run(waiting(WaitForProcess(process.pid)))

    left = loop.run_until_complete(main())
    loop.close()
    left.abandon()
    assert descriptors() <= before
    process.kill()
    process.wait()
