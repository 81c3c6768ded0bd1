"""Compute for a FastAPI application in worker processes that live as long as it does.

    python examples/offload_fastapi.py
    curl 'http://127.0.0.1:8000/primes?below=1000000' | tail -c 60     an array, made elsewhere
    curl 'http://127.0.0.1:8000/count?below=1000000'

Needs fastapi and uvicorn. A client that goes away ends its generator in the worker, too.
"""

import argparse
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from math import isqrt
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Query, Request

from cooperative_aio import batches, offload, quiet_collector
from cooperative_aio.starlette import CooperativeMiddleware, JSONArrayResponse

LARGEST = 5_000_000

Below = Annotated[int, Query(ge=2, le=LARGEST)]


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Keep the garbage collector from making requests wait."""
    with quiet_collector():
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(CooperativeMiddleware, place=partial(offload.processes, 2))


def primes(below: int) -> Iterator[dict[str, int]]:
    """Find primes; tell which process has found them."""
    for number in range(2, below):
        if all(number % divisor for divisor in range(2, isqrt(number) + 1)):
            yield {"prime": number, "process": os.getpid()}


@app.get("/primes")
async def get_primes(request: Request, below: Below) -> JSONArrayResponse:
    """Answer with the primes below a number."""
    return JSONArrayResponse(request.state.place.open(primes, below))


@app.get("/count")
async def get_count(request: Request, below: Below) -> dict[str, int]:
    """Count the primes below a number."""
    count = 0
    async with batches(1000, request.state.place.open(primes, below)) as found:
        async for batch in found:
            count += len(batch)
    return {"primes": count}


def main() -> None:
    """Serve until Ctrl+C or SIGTERM."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=8000)
    uvicorn.run(app, port=parser.parse_args().port)


if __name__ == "__main__":  # each process imports this module, and must not start anew
    main()
