"""What a type checker knows of events: run it on this file; pytest checks the rest."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, assert_type

from cooperative_aio import tasklet
from cooperative_aio.tasklet import (
    Message,
    Tasklet,
    WaitForAwaitable,
    WaitForCall,
    WaitForMessages,
    WaitForTasklet,
    WaitForTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Generator


def number() -> Generator[Any, Any, int]:
    yield WaitForTimeout(0)
    return 7


@tasklet.task
def text(prefix: str) -> Generator[Any, Any, str]:
    yield WaitForTimeout(0)
    return prefix


def body(call: WaitForCall[str]) -> Generator[Any, Any, int]:
    called = yield from call
    assert_type(called, WaitForCall[str])
    message = yield from WaitForMessages(accept="x")
    assert_type(message, Message)
    joined = yield from WaitForTasklet(tasklet.run(number()))
    assert_type(joined, WaitForTasklet[int])
    assert_type(joined.retval, int | None)
    assert_type((yield from tasklet.run(number())), int)
    assert_type((yield from text("t")), str)
    assert_type((yield from WaitForAwaitable(asyncio.sleep(0, 3))).retval, int | None)
    event: WaitForTimeout | Message = yield [WaitForTimeout(0), WaitForMessages(accept="x")]
    assert_type(event, WaitForTimeout | Message)
    return 1


async def test_events_are_what_the_checker_takes_them_for() -> None:
    call = WaitForCall("value")
    running = tasklet.run(body(call))
    assert_type(running, Tasklet[int])
    assert_type(call(), str | None)
    running.send_message(Message("x"))
    assert_type(await running, int)
    assert_type(running.return_value, int | None)
    assert running.return_value == 1
