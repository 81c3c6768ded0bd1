"""Waiting for a child process to end, without taking its exit status from anybody."""

from __future__ import annotations

import asyncio
import errno
import os
import struct
import sys
from typing import Any

from cooperative_aio._checks import quote
from cooperative_aio._host import check_host_has
from cooperative_aio.tasklet._conditions import Exclusive
from cooperative_aio.tasklet._ending import Joinable

if sys.platform == "linux":  # pragma: no branch (tests run there)
    import fcntl

POLL = 0.02
"""How often a child is looked at where there is no pidfd, in seconds."""

# Linux 6.15 tells by the pidfd how a process ended that was reaped already:
# ioctl(pidfd, PIDFD_GET_INFO, struct pidfd_info *) with PIDFD_INFO_EXIT in its mask.
_PIDFD_INFO = struct.Struct("=Q52xi")  # the mask, first, and the status, last
_PIDFD_INFO_EXIT = 1 << 3
_PIDFD_GET_INFO = 3 << 30 | 64 << 16 | 0xFF << 8 | 11


class WaitForProcess(Exclusive):
    """The condition that a child process has ended.

    `status` is then its wait status, as `os.waitpid` gives it, and `returncode` the exit
    code, or minus the number of the signal that killed it. Both are None if other code
    collected the status first and the system keeps no copy (Linux does from 6.15 on).

    Any child of this process will do, whichever library started it. The exit status is only
    looked at: `subprocess` or asyncio still gets it, and some code has to collect it.
    (Kiwi collected it itself.)

    Args:
        pid: The process identifier.

    Raises:
        NotImplementedError: This is a browser.
        TypeError, ValueError: `pid` is no process identifier. One that is not a child of
            this process, or was collected before, raises ChildProcessError at the
            `yield`.
    """

    once = True

    def __init__(self, pid: int) -> None:
        super().__init__()
        if isinstance(pid, bool) or not isinstance(pid, int):
            raise TypeError(f"pid must be a process identifier, got {quote(pid)}")
        if pid <= 0:
            raise ValueError(f"pid must be greater than 0, got {quote(pid)}")
        check_host_has("processes", "wait for a process", "wait for a tasklet")
        self.pid = pid
        self.status: int | None = None
        self._ended = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pidfd: int | None = None
        self._handle: asyncio.Handle | None = None

    @property
    def returncode(self) -> int | None:
        """The exit code, or minus the number of the signal that killed it."""
        return None if self.status is None else os.waitstatus_to_exitcode(self.status)

    def _start(self, tasklet: Joinable[Any]) -> None:
        self._loop = loop = tasklet.get_loop()
        if self._ended:
            self._handle = loop.call_soon(self._fire)
            return
        try:
            _peek(self.pid)
            self._pidfd = _open_pidfd(self.pid)
        except (ChildProcessError, ProcessLookupError) as error:
            raise ChildProcessError(
                error.errno,
                "pid must be a child of this process that nobody has waited for, "
                f"got {quote(self.pid)}",
            ) from error
        if self._pidfd is None:
            self._handle = loop.call_later(POLL, self._look)
            return
        try:
            loop.add_reader(self._pidfd, self._look)
        except BaseException:
            self._stop()
            raise

    def _stop(self) -> None:
        loop, self._loop = self._loop, None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._pidfd is not None:
            if loop is not None and not loop.is_closed():
                loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    def _look(self) -> None:
        loop, pidfd, self._handle = self._loop, self._pidfd, None
        assert loop is not None  # noqa: S101 - it is armed
        try:
            status = _peek(self.pid)
        except ChildProcessError:
            status = None if pidfd is None else _keepsake(pidfd)
        else:
            if status is None:
                self._handle = loop.call_later(POLL, self._look)
                return
        self._ended = True
        if pidfd is not None:
            loop.remove_reader(pidfd)
        self._fire(status=status)


def _peek(pid: int) -> int | None:
    """Return the wait status of a child that has ended, and leave it there.

    Raises:
        ChildProcessError: There is no such child, or not any more.
    """
    if sys.platform == "win32" or not hasattr(os, "waitid"):  # pragma: no cover
        raise NotImplementedError("cannot wait for processes here; os.waitid is missing")
    info = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if info is None:
        return None
    if info.si_code == os.CLD_EXITED:
        return info.si_status << 8
    return info.si_status | (0x80 if info.si_code == os.CLD_DUMPED else 0)


def _open_pidfd(pid: int) -> int | None:
    """Return a descriptor that is readable when the process ends, None where there is none.

    Raises:
        OSError: There is no such process, or no descriptor is left.
    """
    try:
        return os.pidfd_open(pid)  # type: ignore[attr-defined, unused-ignore]
    except AttributeError:  # not on this system
        return None
    except OSError as error:
        if error.errno in {errno.ENOSYS, errno.EPERM}:  # not by this kernel, or sandbox
            return None
        raise


def _keepsake(pidfd: int) -> int | None:
    """Return the wait status of a process that was reaped, None where nobody knows."""
    buffer = bytearray(_PIDFD_INFO.pack(_PIDFD_INFO_EXIT, 0))
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, buffer)
    except OSError:
        return None
    mask, status = _PIDFD_INFO.unpack(buffer)
    return status if mask & _PIDFD_INFO_EXIT else None
