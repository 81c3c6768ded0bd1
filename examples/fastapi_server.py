"""Compute in a FastAPI application that stays responsive.

    python examples/fastapi_server.py
    curl 'http://127.0.0.1:8000/primes?below=1000000'      takes seconds
    curl 'http://127.0.0.1:8000/ping'                      is answered at once, meanwhile

Needs fastapi and uvicorn. When a client goes away, its computing ends: see
`while_connected`, since Starlette does not do that by itself.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from math import isqrt
from typing import Annotated

import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request
from pydantic import BaseModel

from cooperative_aio import batch_accumulate

LARGEST = 5_000_000
CLIENT_CLOSED_REQUEST = 499  # what servers log; nobody is there to read it

app = FastAPI()


class Primes(BaseModel):
    """Tell which primes there are."""

    count: int
    largest: int | None


def primes(below: int) -> Iterator[int | None]:
    """Find primes; each step looks at one number, and yields None if that is no prime."""
    for number in range(2, below):
        is_prime = all(number % divisor for divisor in range(2, isqrt(number) + 1))
        yield number if is_prime else None


@asynccontextmanager
async def while_connected(request: Request) -> AsyncIterator[None]:
    """Cancel what is inside when the client goes away.

    The body of the request must have been read before, or be of no interest.

    Raises:
        HTTPException: The client has gone away.
    """

    async def watch(scope: asyncio.Timeout) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        scope.reschedule(asyncio.get_running_loop().time())

    async with asyncio.timeout(None) as scope:  # no exception group comes of that
        watching = asyncio.create_task(watch(scope))
        try:
            yield
        except asyncio.CancelledError:
            if scope.expired():
                raise HTTPException(CLIENT_CLOSED_REQUEST) from None
            raise
        finally:
            watching.cancel()


@app.get("/primes")
async def get_primes(
    request: Request, below: Annotated[int, Query(ge=2, le=LARGEST)]
) -> Primes:
    """Count the primes below a number, and tell the largest."""
    async with while_connected(request):
        found = await batch_accumulate(1000, primes(below), name=f"primes below {below}")
    return Primes(count=len(found), largest=found[-1] if found else None)


@app.get("/ping")
async def get_ping() -> dict[str, str]:
    """Answer at once."""
    return {"ping": "pong"}


def main() -> None:
    """Serve until Ctrl+C."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    uvicorn.run(app, host=options.host, port=options.port)


if __name__ == "__main__":
    main()
