"""Compute in a server, and answer everybody else meanwhile: the middle of docs/tutorial.md.

    python examples/tutorial_responsive.py

Needs aiohttp. Ctrl+C ends it.
"""

import argparse
from collections.abc import Iterator

from aiohttp import web

from cooperative_aio import batch_accumulate

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
    """Compute what each loan costs; at each `yield`, others may come first."""
    for loan in range(LOANS):
        yield interest(loan)


async def get_report(_: web.Request) -> web.Response:
    """Add up what all loans cost."""
    costs = await batch_accumulate(1000, interests())
    return web.json_response({"loans": len(costs), "interest": round(sum(costs))})


async def get_ping(_: web.Request) -> web.Response:
    """Answer at once."""
    return web.json_response({"ping": "pong"})


def main() -> None:
    """Serve until Ctrl+C."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8080)
    app = web.Application()
    app.router.add_get("/report", get_report)
    app.router.add_get("/ping", get_ping)
    web.run_app(app, host="127.0.0.1", port=parser.parse_args().port)


if __name__ == "__main__":
    main()
