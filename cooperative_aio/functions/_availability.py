"""Where functions can be interrupted: what is proved to be safe, and is nobody else's."""

from __future__ import annotations

import platform
import signal
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

__all__ = [
    "ITIMER_REAL",
    "SIGALRM",
    "SIG_DFL",
    "SIG_IGN",
    "busy",
    "get_handler",
    "set_handler",
    "unproved",
]

PROVED: Final = {("linux", "cpython", (3, minor)) for minor in (11, 12, 13, 14)}
"""Where the soak test has run: see docs/explanation/setting-functions-aside.md."""

SIGALRM: Final[Any] = getattr(signal, "SIGALRM", 0)  # 0 where there is none
ITIMER_REAL: Final[Any] = getattr(signal, "ITIMER_REAL", 0)
_signal: Final[Any] = import_module("_signal")
# Without an enum for each argument and each answer, which takes twenty times as long
get_handler: Final[Callable[[int], Any]] = getattr(_signal, "getsignal", signal.getsignal)
set_handler: Final[Callable[[int, Any], Any]] = getattr(_signal, "signal", signal.signal)
SIG_DFL: Final[Any] = getattr(_signal, "SIG_DFL", signal.SIG_DFL)
SIG_IGN: Final[Any] = getattr(_signal, "SIG_IGN", signal.SIG_IGN)


def unproved() -> str | None:
    """Return why this Python on this system is not one to interrupt functions on."""
    if not hasattr(signal, "setitimer"):
        return f"{sys.platform} has no signal.setitimer"
    version = sys.version_info[:2]
    if (sys.platform, sys.implementation.name, version) not in PROVED:
        python = f"{platform.python_implementation()} {version[0]}.{version[1]}"
        return f"that is not proved to be safe on {python} and {sys.platform}"
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return "that is not proved to be safe without the global interpreter lock"
    return None


def busy(ours: object, *, is_nested: bool) -> str | None:
    """Return why the signal and the timer cannot be had now.

    Args:
        ours: The handler that is ours.
        is_nested: Whether the timer is ours at present.
    """
    if threading.current_thread() is not threading.main_thread():
        return "the loop does not run in the main thread, where signals are handled"
    handler = get_handler(SIGALRM)
    if handler is not ours and not isinstance(handler, int):
        return f"SIGALRM has a handler, {handler!r:.200}"
    if not is_nested and signal.getitimer(ITIMER_REAL)[0]:
        return "signal.ITIMER_REAL is in use"
    if SIGALRM in signal.pthread_sigmask(signal.SIG_BLOCK, ()):
        return "SIGALRM is blocked in the main thread"
    return None
