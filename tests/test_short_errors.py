"""No error quotes more than a few hundred characters of an argument."""

import ast
from pathlib import Path

import pytest

import cooperative_aio
from cooperative_aio import Clock, LoopingCall, defer_later, offload
from cooperative_aio.tasklet import (
    Message,
    Tasklet,
    WaitForAwaitable,
    WaitForIO,
    WaitForMessages,
    WaitForSignal,
    WaitForTasklet,
    WaitForTimeout,
)
from cooperative_aio.testing import ManualScheduler, steps_per_tick

PACKAGE = Path(cooperative_aio.__file__).parent
LARGE = list(range(100_000))
NUMBERS = {"_meter.py", "_pacing.py"}  # what arrives there has been looked at


@pytest.mark.parametrize(
    "call",
    [
        lambda: LoopingCall(LARGE),
        lambda: defer_later(LARGE),
        lambda: Clock().call_later(LARGE, print),
        lambda: Clock().call_soon(LARGE),
        lambda: ManualScheduler()(LARGE),
        lambda: steps_per_tick(LARGE),
        lambda: offload.processes(nice=LARGE),
        lambda: offload.threads(LARGE),
        lambda: Message(LARGE),
        lambda: Message("name", LARGE),
        lambda: Tasklet(LARGE),
        lambda: WaitForAwaitable(LARGE),
        lambda: WaitForIO(LARGE),
        lambda: WaitForMessages(LARGE),
        lambda: WaitForSignal(LARGE),
        lambda: WaitForTasklet(LARGE),
        lambda: WaitForTimeout(LARGE),
    ],
)
async def test_a_large_argument_is_cut_short(call):
    with pytest.raises((TypeError, ValueError)) as refused:
        call()
    assert len(str(refused.value)) < 500


def quoted_in_full(path):
    """Yield the lines of a module where an error has `got {value!r}` in place of `quote`."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.JoinedStr):
            for before, value in zip(node.values, node.values[1:], strict=False):
                text = before.value if isinstance(before, ast.Constant) else ""
                is_repr = getattr(value, "conversion", -1) == ord("r")
                if is_repr and text.endswith("got ") and not isinstance(value.value, ast.Call):
                    yield value.lineno


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(PACKAGE.rglob("*.py")) if path.name not in NUMBERS],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_what_has_arrived_is_quoted_by_quote(path):
    assert list(quoted_in_full(path)) == []
