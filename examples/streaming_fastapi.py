r"""Stream exports and fold sums in a FastAPI application that stays responsive.

    python examples/streaming_fastapi.py
    curl 'http://127.0.0.1:8000/export.csv?rows=1000000' | head     ends the export as well
    curl 'http://127.0.0.1:8000/export.ndjson?rows=20&first=100'
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
from contextlib import aclosing, asynccontextmanager, closing
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from cooperative_aio import Batches, Cooperator, SchedulerFull, batches

LARGEST = 1_000_000  # rows
LARGEST_BODY = 1_000_000  # bytes
MOST_TASKS = 200  # that compute at a time; who comes later is told to come again
RETRY_AFTER = 5  # seconds
PATIENCE = 30.0  # seconds that a client may take for one chunk, either way
GRACE = 10.0  # seconds for what is under way when the server is to end
CLIENT_CLOSED_REQUEST = 499  # what servers log; nobody is there to read it

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


# The servers' side


class TooSlowError(Exception):
    """Say that a client takes too long."""


class Export(StreamingResponse):
    """Stream, close what is streamed however this ends, and give up on dawdlers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request.

        Cancellation: closes what is streamed; Starlette cancels when the client is gone.
        """

        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(PATIENCE):
                    await send(message)
            except TimeoutError:
                raise TooSlowError from None

        async with aclosing(self.body_iterator):  # type: ignore[type-var]
            try:
                await super().__call__(scope, receive, send_in_time)
            except TooSlowError:
                logger.info("gave up on a client that takes too long")


async def export(lines: Iterator[str], cooperator: Cooperator, media_type: str) -> Export:
    """Stream lines, as soon as there are some: a tenth of a second is waited at most.

    Until then what goes wrong still has a status of its own.

    Cancellation: closes the generator of the lines.
    """
    stream = batches(1000, lines, cooperator, max_seconds=0.1)
    first: list[str] = await anext(stream, [])
    return Export(as_text(first, stream), media_type=media_type)


async def as_text(first: list[str], stream: Batches[str]) -> AsyncIterator[str]:
    """Put the lines of each batch together to a chunk.

    Cancellation: closes the generator of the lines.
    """
    async with stream:
        yield "".join(first)
        async for batch in stream:
            yield "".join(batch)


@asynccontextmanager
async def while_connected(request: Request) -> AsyncIterator[None]:
    """Cancel what is inside when the client goes away: Starlette does that for streams only.

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


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Cooperator]]:
    """Own the application's Cooperator; at the end let it finish, for a while."""
    async with Cooperator(name="exports", max_tasks=MOST_TASKS) as cooperator:
        yield {"cooperator": cooperator}
        try:
            async with asyncio.timeout(GRACE):
                await cooperator.drain()
        except TimeoutError:
            logger.warning("stopping %d tasks that have not ended", len(cooperator.tasks))
            cooperator.stop()


async def get_own_cooperator(request: Request) -> Cooperator:
    """Return what `lifespan` has made.

    Were this no coroutine function, FastAPI would call it in a thread for each request.

    Cancellation: does not suspend.
    """
    cooperator: Cooperator = request.state.cooperator
    return cooperator


Own = Annotated[Cooperator, Depends(get_own_cooperator)]
Rows = Annotated[int, Query(ge=0, le=LARGEST)]
First = Annotated[int, Query(ge=0, le=10**12)]

app = FastAPI(lifespan=lifespan)


@app.exception_handler(SchedulerFull)
async def tell_when_to_come_again(_: Request, __: Exception) -> JSONResponse:
    """Answer 503 when as much is being computed as may be.

    Cancellation: does not suspend.
    """
    body = {"detail": "too much is being computed; try again later"}
    return JSONResponse(body, 503, {"Retry-After": str(RETRY_AFTER)})


@app.get("/export.csv")
async def get_csv(cooperator: Own, rows: Rows, first: First = 0) -> StreamingResponse:
    """Stream rows as CSV."""
    return await export(as_csv(table(rows, first)), cooperator, "text/csv")


@app.get("/export.ndjson")
async def get_ndjson(cooperator: Own, rows: Rows, first: First = 0) -> StreamingResponse:
    """Stream rows as NDJSON, one object a line."""
    lines = as_ndjson(table(rows, first))
    return await export(lines, cooperator, "application/x-ndjson")


@app.get("/total")
async def get_total(
    request: Request, cooperator: Own, rows: Rows, first: First = 0
) -> dict[str, int]:
    """Fold rows; a client that goes away ends that."""
    async with while_connected(request):
        return {"total": await cooperator.cooperate(total(table(rows, first)), name="total")}


@app.post("/total")
async def post_total(request: Request, cooperator: Own) -> dict[str, int]:
    """Fold the numbers that the client sends, one a line."""
    body = await read_body(request)
    async with while_connected(request):
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


@app.get("/ping")
async def get_ping() -> dict[str, str]:
    """Answer at once."""
    return {"ping": "pong"}


def main() -> None:
    """Serve until Ctrl+C or SIGTERM, then give what is under way some time."""
    global PATIENCE, GRACE, MOST_TASKS  # settings
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--patience", type=float, default=PATIENCE, help="in seconds")
    parser.add_argument("--grace", type=int, default=int(GRACE), help="in seconds")
    parser.add_argument("--most-tasks", type=int, default=MOST_TASKS)
    options = parser.parse_args()
    PATIENCE, GRACE, MOST_TASKS = options.patience, options.grace, options.most_tasks
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    uvicorn.run(
        app,
        host=options.host,
        port=options.port,
        timeout_graceful_shutdown=options.grace,  # for requests; `lifespan` for the rest
        access_log=False,
    )


if __name__ == "__main__":
    main()
