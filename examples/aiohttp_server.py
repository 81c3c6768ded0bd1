"""Compute in an aiohttp server that stays responsive.

    python examples/aiohttp_server.py
    curl 'http://127.0.0.1:8080/primes?below=1000000'      takes seconds
    curl 'http://127.0.0.1:8080/ping'                      is answered at once, meanwhile

Needs aiohttp. When a client goes away, or the server is to end, the computing ends as well.
"""

import argparse
from collections.abc import AsyncIterator, Iterator
from math import isqrt

from aiohttp import web

from cooperative_aio import batch_accumulate, quiet_collector
from cooperative_aio.aiohttp import setup

LARGEST = 5_000_000


def primes(below: int) -> Iterator[int | None]:
    """Find primes; each step looks at one number, and yields None if that is no prime."""
    for number in range(2, below):
        is_prime = all(number % divisor for divisor in range(2, isqrt(number) + 1))
        yield number if is_prime else None


def parse_below(request: web.Request) -> int:
    """Return what the query asks for.

    Raises:
        HTTPBadRequest: It is missing, no number, or too small or large; the text says so.
    """
    text = request.query.get("below", "")
    reason = f"below must be a whole number from 2 to {LARGEST}, got {text[:40]!r}"
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST))):
        raise web.HTTPBadRequest(text=reason)
    below = int(text)
    if not 2 <= below <= LARGEST:
        raise web.HTTPBadRequest(text=reason)
    return below


async def get_primes(request: web.Request) -> web.Response:
    """Count the primes below a number, and tell the largest."""
    below = parse_below(request)
    found = await batch_accumulate(1000, primes(below), name=f"primes below {below}")
    return web.json_response({"count": len(found), "largest": found[-1] if found else None})


async def get_ping(request: web.Request) -> web.Response:  # noqa: ARG001 (aiohttp passes it)
    """Answer at once."""
    return web.json_response({"ping": "pong"})


async def lifetime(_: web.Application) -> AsyncIterator[None]:
    """Keep the garbage collector from making requests wait."""
    with quiet_collector():
        yield


def make_app() -> web.Application:
    """Put the routes together."""
    app = web.Application()
    app.router.add_get("/primes", get_primes)
    app.router.add_get("/ping", get_ping)
    app.cleanup_ctx.append(lifetime)
    setup(app)  # ends the work of a client that goes away
    return app


def main() -> None:
    """Serve until Ctrl+C."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    options = parser.parse_args()
    web.run_app(make_app(), host=options.host, port=options.port)


if __name__ == "__main__":
    main()
