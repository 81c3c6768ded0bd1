"""An exception of another signal's handler, such as Ctrl-C, between any two lines of a step."""

import dis
import signal
import sys

import pytest
from functions_support import interrupt, parts_of

from cooperative_aio.functions import _alarm as alarm
from cooperative_aio.functions import _aside as aside
from cooperative_aio.functions import _collections, steps_of
from cooperative_aio.functions import _steps as steps_module

OURS = {module.__file__ for module in (alarm, steps_module)}
HANDLERS = {"_on_alarm", "_set_aside", "_pending", "_try_sooner", "__init__", "__del__"}
CALLS = {dis.opmap[name] for name in ("PRECALL", "CALL", "RESUME") if name in dis.opmap}


class StopHereError(BaseException):
    """What a handler raises."""


class Interruption:
    """Raise at the so many-th instruction at which handlers run: after calls, on entry."""

    def __init__(self, at):
        self.at, self.count = at, 0

    def __enter__(self):
        self._before = sys.gettrace()
        sys.settrace(self._call)

    def __exit__(self, *_):
        sys.settrace(self._before)

    def _call(self, frame, _event, _argument):
        code = frame.f_code
        if code.co_filename not in OURS or code.co_name in HANDLERS:
            return None
        frame.f_trace_opcodes = True
        return self._opcode

    def _opcode(self, frame, event, _argument):
        if event == "opcode" and self._after_a_call(frame):
            self.count += 1
            if self.count == self.at:
                raise StopHereError
        return self._opcode

    def _after_a_call(self, frame):
        code, offset = frame.f_code.co_code, frame.f_lasti
        before = offset - 2
        while before > 0 and code[before] == dis.opmap["CACHE"]:
            before -= 2
        return offset == 0 or code[before] in CALLS


def work(log):
    try:
        interrupt()
        log.append("done")
        return "result"
    finally:
        log.append("finally")


def play(at, times=2):
    """Step a function that is interrupted; return how many instructions there were."""
    log = []
    iterator = steps_of(work, log)
    interruption = Interruption(at)
    ends = []
    for _ in range(times):
        try:
            with interruption:
                next(iterator)
        except StopHereError:
            ends.append("interrupted")
        except StopIteration as stop:
            ends.append(stop.value)
    return interruption.count, iterator, log, ends


@pytest.fixture
def untraced():
    """Leave the only trace function that a thread has to the test."""
    before = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(before)


@pytest.mark.usefixtures("long_slices", "untraced")
def test_leaves_neither_timer_nor_handler_behind_and_loses_no_finally(monkeypatch):
    monkeypatch.setattr(alarm, "watch", lambda _: None)
    count, iterator, _, ends = play(0)
    assert ends == ["result"]
    iterator.close()
    assert count > 20
    for at in range(1, count + 1):
        _, iterator, log, ends = play(at)
        assert "interrupted" in ends, at
        iterator.close()
        assert log in ([], ["finally"], ["done", "finally"]), at
        _, iterator, log, _ = play(at, times=1)
        has_begun = iterator.gi_frame is not None
        iterator.close()
        assert log == (["finally"] if has_begun else []), at
        assert parts_of(steps_of(interrupt)) == (None, 2), at
        assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL, at
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0), at
        assert not aside.aside, at
        assert alarm._now.function is None, at
        assert not alarm._now.is_stopping, at
    assert not _collections._watchers
