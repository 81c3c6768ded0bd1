"""How long does encoding a large JSON answer hold up everybody else?

A FastAPI application answers with 100,000 rows, in each of the ways there are, called without
a server. Meanwhile a callback is due every millisecond; it is said how late the latest was.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from typing import Any

import httpx
from _common import Report, parse_arguments
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response

from cooperative_aio.starlette import CooperativeMiddleware, JSONArrayResponse

INTERVAL = 0.001  # seconds
WAYS = {
    "return rows": "/untyped",
    "return rows, of a type": "/typed",
    "JSONResponse(rows)": "/response",
    "to_thread(json.dumps)": "/thread",
    "JSONArrayResponse(rows)": "/array",
    "JSONArrayResponse(rows, streamed=True)": "/streamed",
}


def application(rows: list[dict[str, Any]]) -> FastAPI:
    app = FastAPI()
    app.add_middleware(CooperativeMiddleware)

    @app.get("/untyped", response_model=None)
    async def get_untyped() -> Any:
        return rows

    @app.get("/typed")
    async def get_typed() -> list[dict[str, Any]]:
        return rows

    @app.get("/response")
    async def get_response() -> Response:
        return JSONResponse(rows)

    @app.get("/thread")
    async def get_thread() -> Response:
        return Response(await asyncio.to_thread(json.dumps, rows), 200, {}, "application/json")

    @app.get("/array")
    async def get_array() -> Response:
        return JSONArrayResponse(rows)

    @app.get("/streamed")
    async def get_streamed() -> Response:
        return JSONArrayResponse(rows, streamed=True)

    return app


async def watch(late: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(INTERVAL)
        late.append(time.perf_counter() - began - INTERVAL)


async def measure(client: httpx.AsyncClient, path: str, count: int) -> tuple[float, float]:
    """Return the seconds that an answer took, and by how many others were late at most."""
    gc.collect()
    late: list[float] = []
    watching = asyncio.create_task(watch(late))
    await asyncio.sleep(0.05)
    began = time.perf_counter()
    answer = await client.get(path)
    took = time.perf_counter() - began
    await asyncio.sleep(0.05)
    watching.cancel()
    if len(json.loads(answer.content)) != count:
        raise RuntimeError(f"{path} has lost rows")
    return took, max(late)


async def main(options: Any) -> None:
    count, rounds = (10_000, 1) if options.quick else (100_000, 3)
    rows = [
        {"id": number, "name": f"row {number}", "parts": [1.5, None], "of": {"a": number}}
        for number in range(count)
    ]
    report = Report(f"An answer of {count:,} rows, and how late others are meanwhile")
    took: dict[str, list[float]] = {way: [] for way in WAYS}
    late: dict[str, list[float]] = {way: [] for way in WAYS}
    transport = httpx.ASGITransport(application(rows))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://app", timeout=60.0
    ) as client:
        for _ in range(rounds):
            for way, path in WAYS.items():
                seconds, latest = await measure(client, path, count)
                took[way].append(seconds)
                late[way].append(1e3 * latest)
    for way in WAYS:
        report.record(f"{way}: takes", took[way], "s")
        report.record(f"{way}: others are late by", late[way], "ms")
    for way in list(WAYS)[-2:]:
        report.judge(f"{way}: others are late by, ms", late[way], at_most=30)
    report.finish(options.json)


if __name__ == "__main__":
    asyncio.run(main(parse_arguments(__doc__).parse_args()))
