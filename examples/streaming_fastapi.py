r"""Stream exports and fold sums in a FastAPI application that stays responsive.

    python examples/streaming_fastapi.py
    curl 'http://127.0.0.1:8000/export.csv?rows=1000000' | head     ends the export as well
    curl 'http://127.0.0.1:8000/export.ndjson?rows=20&first=100'
    curl 'http://127.0.0.1:8000/rows.json?rows=200000' | tail -c 99   one array, made in pieces
    curl 'http://127.0.0.1:8000/total?rows=1000000'                 one number, nothing kept
    printf '1\n2\n3\n' | curl --data-binary @- http://127.0.0.1:8000/total

Needs fastapi and uvicorn. How it works is told in docs/how-to/servers.md.
"""

import argparse
import asyncio
import csv
import io
import json
import logging
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from typing import Annotated

import uvicorn
from fastapi import APIRouter, FastAPI, HTTPException, Query, Request

from cooperative_aio import Cooperator, quiet_collector
from cooperative_aio.starlette import (
    BatchesResponse,
    CooperativeMiddleware,
    JSONArrayResponse,
)

LARGEST = 1_000_000  # rows
LARGEST_BODY = 1_000_000  # bytes
MOST_TASKS = 200  # that compute at a time; the next are answered by 503
RETRY_AFTER = 5  # seconds
PATIENCE = 30.0  # seconds that a client may take for one chunk, either way
GRACE = 10.0  # seconds for what is under way when the server is to end

logger = logging.getLogger(__name__)


# The work: plain generators, which know nothing of servers


def table(rows: int, first: int) -> Generator[dict[str, int]]:
    """Make rows one by one; say how many there were, whatever ended it."""
    made = 0
    try:
        for number in range(first, first + rows):
            made += 1
            yield {"number": number, "square": number**2, "digits": sum(map(int, str(number)))}
    finally:
        logger.info("table ended after %d of %d rows", made, rows)


def as_csv(rows: Generator[Mapping[str, int]]) -> Iterator[str]:
    """Make a line of CSV of each row, after one with the names."""
    line = io.StringIO()
    writer = csv.writer(line)
    writer.writerow(("number", "square", "digits"))
    with closing(rows):  # a loop alone leaves that to the garbage collector
        for row in rows:
            writer.writerow(row.values())
            yield line.getvalue()
            line.seek(0)
            line.truncate()


def as_ndjson(rows: Generator[Mapping[str, int]]) -> Iterator[str]:
    """Make a line of JSON of each row."""
    with closing(rows):
        for row in rows:
            yield json.dumps(row) + "\n"


def total(rows: Generator[Mapping[str, int]]) -> Generator[None, None, int]:
    """Fold the rows into one number, so that none of them is kept."""
    result = 0
    with closing(rows):
        for row in rows:
            result += row["digits"]
            yield
    return result


def parse_total(lines: Iterator[bytes]) -> Generator[None, None, int]:
    """Fold whole numbers, one a line, into their sum.

    Raises:
        HTTPException: A line is no number, or too long for one.
    """
    result = 0
    for number, line in enumerate(lines, 1):
        try:
            result += int(line[:20])
        except ValueError:
            raise HTTPException(
                400, f"line {number} must be a whole number, got {line[:20]!r}"
            ) from None
        yield
    return result


# The server's side

Rows = Annotated[int, Query(ge=0, le=LARGEST)]
First = Annotated[int, Query(ge=0, le=10**12)]

router = APIRouter()


@router.get("/export.csv")
async def get_csv(rows: Rows, first: First = 0) -> BatchesResponse:
    """Stream rows as CSV."""
    return BatchesResponse(as_csv(table(rows, first)), "text/csv", patience=PATIENCE)


@router.get("/export.ndjson")
async def get_ndjson(rows: Rows, first: First = 0) -> BatchesResponse:
    """Stream rows as NDJSON, one object a line."""
    lines = as_ndjson(table(rows, first))
    return BatchesResponse(lines, "application/x-ndjson", patience=PATIENCE)


@router.get("/rows.json")
async def get_rows(rows: Rows, first: First = 0) -> JSONArrayResponse:
    """Answer with all rows at once, as an array."""
    return JSONArrayResponse(table(rows, first), patience=PATIENCE)


@router.get("/total")
async def get_total(request: Request, rows: Rows, first: First = 0) -> dict[str, int]:
    """Fold rows; a client that goes away ends that."""
    cooperator: Cooperator = request.state.cooperator
    return {"total": await cooperator.cooperate(total(table(rows, first)), name="total")}


@router.post("/total")
async def post_total(request: Request) -> dict[str, int]:
    """Fold the numbers that the client sends, one a line."""
    body = await read_body(request)
    cooperator: Cooperator = request.state.cooperator
    return {"total": await cooperator.cooperate(parse_total(io.BytesIO(body)))}


async def read_body(request: Request) -> bytes:
    """Return the body of a request, if it is of a reasonable size and comes in time.

    Raises:
        HTTPException: It is too large, or too slow.

    Cancellation: drops what was read.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(PATIENCE):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LARGEST_BODY:
                    raise HTTPException(
                        413, f"the body must be of {LARGEST_BODY} bytes at most"
                    )
    except TimeoutError:
        raise HTTPException(408, f"the body must come within {PATIENCE:g} seconds") from None
    return bytes(body)


@router.get("/ping")
async def get_ping() -> dict[str, str]:
    """Answer at once."""
    return {"ping": "pong"}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Keep the garbage collector from making requests wait."""
    with quiet_collector():
        yield


def make_app() -> FastAPI:
    """Put the application together."""
    app = FastAPI(lifespan=lifespan)
    app.include_router(router)
    app.add_middleware(
        CooperativeMiddleware,
        cooperator=Cooperator(name="exports", max_tasks=MOST_TASKS),
        grace=GRACE,
        retry_after=RETRY_AFTER,
    )
    return app


def main() -> None:
    """Serve until Ctrl+C or SIGTERM, then give what is under way some time."""
    global PATIENCE, GRACE, MOST_TASKS  # settings
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--patience", type=float, default=PATIENCE, help="in seconds")
    parser.add_argument("--grace", type=float, default=GRACE, help="in seconds")
    parser.add_argument("--most-tasks", type=int, default=MOST_TASKS)
    options = parser.parse_args()
    PATIENCE, GRACE, MOST_TASKS = options.patience, options.grace, options.most_tasks
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    uvicorn.run(
        make_app(),
        host=options.host,
        port=options.port,
        access_log=False,
    )


if __name__ == "__main__":
    main()
