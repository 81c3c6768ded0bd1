"""Compute in a FastAPI application that stays responsive.

    python examples/fastapi_server.py
    curl 'http://127.0.0.1:8000/primes?below=1000000'      takes seconds
    curl 'http://127.0.0.1:8000/ping'                      is answered at once, meanwhile

Needs fastapi and uvicorn. When a client goes away, or the server is to end, the computing
ends as well.
"""

import argparse
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from math import isqrt
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Query
from pydantic import BaseModel

from cooperative_aio import batch_accumulate, quiet_collector
from cooperative_aio.starlette import CooperativeMiddleware

LARGEST = 5_000_000


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Keep the garbage collector from making requests wait."""
    with quiet_collector():
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(CooperativeMiddleware)  # ends the work of a client that goes away


class Primes(BaseModel):
    """Tell which primes there are."""

    count: int
    largest: int | None


def primes(below: int) -> Iterator[int | None]:
    """Find primes; each step looks at one number, and yields None if that is no prime."""
    for number in range(2, below):
        is_prime = all(number % divisor for divisor in range(2, isqrt(number) + 1))
        yield number if is_prime else None


@app.get("/primes")
async def get_primes(
    below: Annotated[int, Query(ge=2, le=LARGEST)],
) -> Primes:
    """Count the primes below a number, and tell the largest."""
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
