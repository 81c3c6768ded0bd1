"""Compute in a server, and keep everybody waiting: where docs/tutorial.md begins.

    python examples/tutorial_blocked.py

Needs aiohttp. Ctrl+C ends it.
"""

import argparse

from aiohttp import web

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


def report() -> dict[str, int]:
    """Add up what all loans cost."""
    costs = [interest(loan) for loan in range(LOANS)]
    return {"loans": len(costs), "interest": round(sum(costs))}


async def get_report(_: web.Request) -> web.Response:
    """Answer with the report."""
    return web.json_response(report())


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
