r"""Stream exports and fold sums in an aiohttp server that stays responsive.

    python examples/streaming_aiohttp.py
    curl 'http://127.0.0.1:8080/export.csv?rows=1000000' | head     ends the export as well
    curl 'http://127.0.0.1:8080/export.ndjson?rows=20&first=100'
    curl 'http://127.0.0.1:8080/rows.json?rows=200000' | tail -c 99   one array, made in pieces
    curl 'http://127.0.0.1:8080/total?rows=1000000'                 one number, nothing kept
    printf '1\n2\n3\n' | curl --data-binary @- http://127.0.0.1:8080/total

Needs aiohttp. How it works is told in docs/how-to/servers.md.
"""

import argparse
import asyncio
import csv
import io
import json
import logging
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from contextlib import closing

from aiohttp import web

from cooperative_aio import Cooperator, quiet_collector
from cooperative_aio.aiohttp import (
    COOPERATOR,
    batches_response,
    json_array_response,
    setup,
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
        HTTPBadRequest: A line is no number, or too long for one.
    """
    result = 0
    for number, line in enumerate(lines, 1):
        try:
            result += int(line[:20])
        except ValueError:
            reason = f"line {number} must be a whole number, got {line[:20]!r}"
            raise web.HTTPBadRequest(text=reason) from None
        yield
    return result


# The server's side


def query_number(request: web.Request, name: str, largest: int, default: str = "") -> int:
    """Return what the query asks for.

    Raises:
        HTTPBadRequest: It is missing, no number, or too large; the text says so.
    """
    text = request.query.get(name, default)
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(largest))
    if not digits or int(text) > largest:
        reason = f"{name} must be a whole number from 0 to {largest}, got {text[:40]!r}"
        raise web.HTTPBadRequest(text=reason)
    return int(text)


def queried_table(request: web.Request) -> Generator[dict[str, int]]:
    """Return the rows that the query asks for.

    Raises:
        HTTPBadRequest: The query is malformed.
    """
    return table(
        query_number(request, "rows", LARGEST), query_number(request, "first", 10**12, "0")
    )


async def get_csv(request: web.Request) -> web.StreamResponse:
    """Stream rows as CSV."""
    lines = as_csv(queried_table(request))
    return await batches_response(request, lines, "text/csv", patience=PATIENCE)


async def get_ndjson(request: web.Request) -> web.StreamResponse:
    """Stream rows as NDJSON, one object a line."""
    lines = as_ndjson(queried_table(request))
    return await batches_response(request, lines, "application/x-ndjson", patience=PATIENCE)


async def get_rows(request: web.Request) -> web.StreamResponse:
    """Answer with all rows at once, as an array."""
    return await json_array_response(request, queried_table(request), patience=PATIENCE)


async def get_total(request: web.Request) -> web.Response:
    """Fold rows; a client that goes away ends that."""
    folding = total(queried_table(request))
    task = request.config_dict[COOPERATOR].cooperate(folding, name="total")
    return web.json_response({"total": await task})


async def post_total(request: web.Request) -> web.Response:
    """Fold the numbers that the client sends, one a line.

    Raises:
        HTTPRequestTimeout: They do not come in time. (aiohttp raises what it takes when
            they are too many: see `client_max_size`.)
    """
    try:
        async with asyncio.timeout(PATIENCE):
            body = await request.read()
    except TimeoutError:
        reason = f"the body must come within {PATIENCE:g} seconds"
        raise web.HTTPRequestTimeout(text=reason) from None
    task = request.config_dict[COOPERATOR].cooperate(parse_total(io.BytesIO(body)))
    return web.json_response({"total": await task})


async def get_ping(_: web.Request) -> web.Response:
    """Answer at once."""
    return web.json_response({"ping": "pong"})


async def lifetime(_: web.Application) -> AsyncIterator[None]:
    """Keep the garbage collector from making requests wait."""
    with quiet_collector():
        yield


def make_app() -> web.Application:
    """Put the application together."""
    app = web.Application(client_max_size=LARGEST_BODY)
    app.router.add_get("/export.csv", get_csv)
    app.router.add_get("/export.ndjson", get_ndjson)
    app.router.add_get("/rows.json", get_rows)
    app.router.add_get("/total", get_total)
    app.router.add_post("/total", post_total)
    app.router.add_get("/ping", get_ping)
    app.cleanup_ctx.append(lifetime)
    cooperator = Cooperator(name="exports", max_tasks=MOST_TASKS)
    setup(app, cooperator, grace=GRACE, retry_after=RETRY_AFTER)
    return app


def main() -> None:
    """Serve until Ctrl+C or SIGTERM, then give what is under way some time."""
    global PATIENCE, GRACE, MOST_TASKS  # settings
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--patience", type=float, default=PATIENCE, help="in seconds")
    parser.add_argument("--grace", type=float, default=GRACE, help="in seconds")
    parser.add_argument("--most-tasks", type=int, default=MOST_TASKS)
    options = parser.parse_args()
    PATIENCE, GRACE, MOST_TASKS = options.patience, options.grace, options.most_tasks
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    web.run_app(
        make_app(),
        host=options.host,
        port=options.port,
        keepalive_timeout=15.0,  # seconds; also for a request that is slow to begin
        access_log=None,
    )


if __name__ == "__main__":
    main()
