"""What `python -m cooperative_aio.monitor` can run beside the monitor."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import random
from collections.abc import Awaitable, Callable, Generator
from math import isqrt
from typing import Any, Final

from cooperative_aio._checks import quote
from cooperative_aio._own import cooperate
from cooperative_aio.monitor._serve import listen, serving

__all__ = ["demo", "load", "run_target"]

Say = Callable[[str], object]


def load(name: str) -> Any:
    """Return what `module:attribute` names.

    Raises:
        ValueError: It does not have that form, or there is no such module or attribute.
    """
    from uvicorn.importer import (  # noqa: PLC0415 (an extra)
        ImportFromStringError,
        import_from_string,
    )

    try:
        return import_from_string(name)
    except ImportFromStringError as error:
        raise ValueError(
            f"target must be module:attribute, got {quote(name)}: {error}"
        ) from None


async def run_target(target: Any, host: str, port: int, say: Say) -> None:
    """Run a program until it ends, or for ever if it is a server.

    Args:
        target: A coroutine function without arguments, an `aiohttp.web.Application`, or
            an ASGI application.
        host: Where a server listens.
        port: Where a server listens; 0 for any port that is free.
        say: Told the address of a server.

    Raises:
        TypeError: It is nothing of that kind.

    Cancellation: ends the program.
    """
    if inspect.iscoroutinefunction(target) and not inspect.signature(target).parameters:
        await target()
    elif _is_aiohttp(target):
        await _serve_aiohttp(target, host, port, say)
    elif callable(target):
        with listen(host, port) as listening:
            async with serving(target, listening, lifespan="on") as address:
                say(f"the application: {address}")
                await asyncio.get_running_loop().create_future()
    else:
        raise TypeError(
            "target must be an ASGI application, an aiohttp.web.Application or a coroutine"
            f" function without arguments, got {quote(target)}"
        )


def _is_aiohttp(target: object) -> bool:
    return any(
        kind.__module__ == "aiohttp.web_app" and kind.__name__ == "Application"
        for kind in type(target).__mro__
    )


async def _serve_aiohttp(app: Any, host: str, port: int, say: Say) -> None:
    from aiohttp import web  # noqa: PLC0415 (whoever has an application of it has it)

    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        address, number = runner.addresses[0][:2]
        say(f"the application: http://{address}:{number}/")
        await asyncio.get_running_loop().create_future()
    finally:
        await runner.cleanup()


# Something to look at


async def demo() -> None:
    """Run tasks of several kinds for ever.

    Cancellation: ends them.
    """
    tasks: list[Awaitable[object]] = [
        cooperate(_search_primes(), name="primes"),
        cooperate(_search_primes(), name="primes, half the weight", weight=0.5),
        cooperate(_estimate_pi(), name="pi"),
        cooperate(_import_now_and_then(), name="an import now and then"),
    ]
    paused = cooperate(_search_primes(), name="paused from the beginning")
    paused.pause()
    try:
        await asyncio.gather(*tasks, _run_reports())
    finally:
        with contextlib.suppress(Exception):
            paused.stop()


REPORT_STEPS: Final = 40_000


async def _run_reports() -> None:
    number = 0
    while True:
        number += 1
        await asyncio.sleep(1)
        await cooperate(_make_report(REPORT_STEPS), name=f"report {number}")


def _make_report(steps: int) -> Generator[None, None, float]:
    total = 0.0
    for step in range(steps):
        total += sum(number**0.5 for number in range(step % 100))
        yield
    return total


def _search_primes() -> Generator[int | None, None, None]:
    number = 1
    while True:
        number += 1
        is_prime = all(number % divisor for divisor in range(2, isqrt(number) + 1))
        yield number if is_prime else None


def _estimate_pi() -> Generator[None, None, None]:
    chance = random.Random(1)  # noqa: S311
    inside = 0
    while True:
        for _ in range(100):
            inside += chance.random() ** 2 + chance.random() ** 2 < 1
        yield


def _import_now_and_then() -> Generator[object, None, None]:
    while True:
        yield asyncio.sleep(2)
        yield from _parse(20_000)


def _parse(lines: int) -> Generator[None, None, None]:
    for number in range(lines):
        str(number).split("1")
        yield
