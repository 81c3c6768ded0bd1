"""Compute, stream, and stop when nobody listens: where docs/tutorial.md ends.

    python examples/tutorial_streaming.py

Needs aiohttp. Ctrl+C ends it.
"""

import argparse
from collections.abc import Iterator

from aiohttp import web

from cooperative_aio import batch_accumulate
from cooperative_aio.aiohttp import batches_response, setup

LOANS = 100_000


def interest(loan: int) -> float:
    """Return the interest that a loan costs until it is paid off, computed month by month."""
    debt = 10_000.0 + loan
    payment = debt / 120
    paid = 0.0
    while debt > 0:
        month = debt * 0.005
        paid += month
        debt += month - payment
    return paid


def interests() -> Iterator[float]:
    """Compute what each loan costs, and say how far that came, whatever ended it."""
    computed = 0
    try:
        for loan in range(LOANS):
            cost = interest(loan)
            computed += 1
            yield cost
    finally:
        print(f"computed {computed} of {LOANS} loans")


def rows() -> Iterator[str]:
    """Make a line of CSV for each loan."""
    for loan in range(LOANS):
        yield f"{loan},{interest(loan):.2f}\n"


async def get_report(request: web.Request) -> web.Response:
    """Add up what all loans cost."""
    weight = 4 if "urgent" in request.query else 1
    costs = await batch_accumulate(1000, interests(), weight=weight)
    return web.json_response({"loans": len(costs), "interest": round(sum(costs))})


async def get_rows(request: web.Request) -> web.StreamResponse:
    """Send what each loan costs, as it is computed."""
    return await batches_response(request, rows(), "text/csv")


async def get_ping(_: web.Request) -> web.Response:
    """Answer at once."""
    return web.json_response({"ping": "pong"})


def main() -> None:
    """Serve until Ctrl+C."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8080)
    app = web.Application()
    app.router.add_get("/report", get_report)
    app.router.add_get("/rows", get_rows)
    app.router.add_get("/ping", get_ping)
    setup(app)  # ends the work of a client that leaves, and all work at Ctrl+C
    web.run_app(app, host="127.0.0.1", port=parser.parse_args().port)


if __name__ == "__main__":
    main()
