r"""Background jobs in aiohttp: start one, see how far it is, have its result, cancel it.

    python examples/background_jobs_aiohttp.py
    curl -X POST -H 'X-User: ann' 'http://127.0.0.1:8080/jobs?below=2000000'
    curl -H 'X-User: ann' http://127.0.0.1:8080/jobs/1    tells how far it is
    curl -X DELETE -H 'X-User: ann' http://127.0.0.1:8080/jobs/1

Needs aiohttp. How it works is told in docs/how-to/background-jobs.md.
"""

import argparse
import asyncio
import itertools
from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass
from math import isqrt
from typing import Any

from aiohttp import web

from cooperative_aio import CooperativeTask, Cooperator, quiet_collector
from cooperative_aio.aiohttp import setup

LARGEST = 5_000_000
MOST_JOBS = 100  # of all users together, and of requests; beyond it the answer is 503
MOST_OF_A_USER = 3
KEPT = 600.0  # seconds that a job is remembered when it is over


# The work: a generator, which says how far it is


@dataclass
class Progress:
    """How far a job is."""

    total: int
    done: int = 0


def count_primes(progress: Progress) -> Generator[None, None, int]:
    """Count the primes below a number."""
    count = 0
    for number in range(2, progress.total):
        count += all(number % divisor for divisor in range(2, isqrt(number) + 1))
        progress.done = number
        yield
    return count


# The jobs


@dataclass
class Job:
    """A job that runs, or is over."""

    number: int
    user: str
    progress: Progress
    task: CooperativeTask[int]

    def describe(self) -> dict[str, Any]:
        """Return what its user is told."""
        told = {"job": self.number, "done": self.progress.done, "total": self.progress.total}
        if not self.task.done():
            return told | {"state": "running"}
        if self.task.cancelled():
            return told | {"state": "cancelled"}
        if (error := self.task.exception()) is not None:
            return told | {"state": "failed", "error": str(error)}
        return told | {"state": "done", "result": self.task.result()}


class Jobs:
    """The jobs of all users, until some time after they are over."""

    def __init__(self, cooperator: Cooperator) -> None:
        self.cooperator = cooperator
        self._jobs: dict[int, Job] = {}
        self._numbers = itertools.count(1)

    def start(self, user: str, below: int) -> Job:
        """Start a job, which shares the time of one with the user's others.

        Raises:
            HTTPTooManyRequests: The user has as many as one may have.
            SchedulerFull: There are too many in all.
        """
        mine = [job for job in self._jobs.values() if job.user == user]
        if sum(not job.task.done() for job in mine) >= MOST_OF_A_USER:
            reason = f"you have {MOST_OF_A_USER} jobs; wait, or cancel one"
            raise web.HTTPTooManyRequests(text=reason)
        number = next(self._numbers)
        progress = Progress(below)
        task = self.cooperator.cooperate(
            count_primes(progress), name=f"job {number}", group=user
        )
        task.add_done_callback(lambda _: self._forget_later(number))
        job = self._jobs[number] = Job(number, user, progress, task)
        return job

    def _forget_later(self, number: int) -> None:
        asyncio.get_running_loop().call_later(KEPT, self._jobs.pop, number, None)

    def find(self, user: str, number: int) -> Job:
        """Return a job of a user.

        Raises:
            HTTPNotFound: There is none of that number, or it is another user's.
        """
        job = self._jobs.get(number)
        if job is None or job.user != user:
            raise web.HTTPNotFound(text=f"you have no job {number}")
        return job


# The server's side

JOBS = web.AppKey("JOBS", Jobs)


def user_of(request: web.Request) -> str:
    """Return who asks; yours is who has logged in.

    Raises:
        HTTPUnauthorized: The request does not say it.
    """
    user = request.headers.get("X-User", "")
    if not 0 < len(user) <= 40:
        raise web.HTTPUnauthorized(text="X-User must say who you are")
    return user


def queried_below(request: web.Request) -> int:
    """Return how far the query asks to count.

    Raises:
        HTTPBadRequest: It is missing, no number, or too small or large.
    """
    text = request.query.get("below", "")
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST))
    if not digits or not 2 <= int(text) <= LARGEST:
        reason = f"below must be a whole number from 2 to {LARGEST}, got {text[:40]!r}"
        raise web.HTTPBadRequest(text=reason)
    return int(text)


def found_job(request: web.Request) -> Job:
    """Return the job that a request is about."""
    return request.app[JOBS].find(user_of(request), int(request.match_info["number"]))


async def start_job(request: web.Request) -> web.Response:
    """Start a job; say where to ask for it."""
    job = request.app[JOBS].start(user_of(request), queried_below(request))
    headers = {"Location": f"/jobs/{job.number}"}
    return web.json_response(job.describe(), status=202, headers=headers)


async def get_job(request: web.Request) -> web.Response:
    """Tell the state of a job, its progress, and its result if there is one."""
    return web.json_response(found_job(request).describe())


async def cancel_job(request: web.Request) -> web.Response:
    """Cancel a job; one that is over stays as it is."""
    job = found_job(request)
    job.task.cancel()
    await asyncio.wait([job.task])
    return web.json_response(job.describe())


async def lifetime(_: web.Application) -> AsyncIterator[None]:
    """Keep the garbage collector from making requests wait."""
    with quiet_collector():
        yield


def make_app() -> web.Application:
    """Put the application together."""
    app = web.Application()
    app.router.add_post("/jobs", start_job)
    app.router.add_get(r"/jobs/{number:\d{1,18}}", get_job)
    app.router.add_delete(r"/jobs/{number:\d{1,18}}", cancel_job)
    app[JOBS] = Jobs(Cooperator(name="jobs", max_tasks=MOST_JOBS))
    app.cleanup_ctx.append(lifetime)
    setup(app, app[JOBS].cooperator)
    return app


def main() -> None:
    """Serve until Ctrl+C or SIGTERM."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=8080)
    web.run_app(make_app(), host="127.0.0.1", port=parser.parse_args().port)


if __name__ == "__main__":
    main()
