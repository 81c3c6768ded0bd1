r"""Background jobs in FastAPI: start one, see how far it is, have its result, cancel it.

    python examples/background_jobs_fastapi.py
    curl -X POST -H 'X-User: ann' 'http://127.0.0.1:8000/jobs?below=2000000'
    curl -H 'X-User: ann' http://127.0.0.1:8000/jobs/1    tells how far it is
    curl -X DELETE -H 'X-User: ann' http://127.0.0.1:8000/jobs/1

Needs fastapi and uvicorn. How it works is told in docs/how-to/background-jobs.md.
"""

import argparse
import asyncio
import itertools
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import isqrt
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Header, HTTPException, Query, Response

from cooperative_aio import CooperativeTask, Cooperator, quiet_collector
from cooperative_aio.starlette import CooperativeMiddleware

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
            HTTPException: The user has as many as one may have.
            SchedulerFull: There are too many in all.
        """
        mine = [job for job in self._jobs.values() if job.user == user]
        if sum(not job.task.done() for job in mine) >= MOST_OF_A_USER:
            raise HTTPException(429, f"you have {MOST_OF_A_USER} jobs; wait, or cancel one")
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
            HTTPException: There is none of that number, or it is another user's.
        """
        job = self._jobs.get(number)
        if job is None or job.user != user:
            raise HTTPException(404, f"you have no job {number}")
        return job


# The server's side


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Keep the garbage collector from making requests wait."""
    with quiet_collector():
        yield


jobs = Jobs(Cooperator(name="jobs", max_tasks=MOST_JOBS))
app = FastAPI(lifespan=lifespan)
app.add_middleware(CooperativeMiddleware, cooperator=jobs.cooperator)

User = Annotated[str, Header(alias="X-User", max_length=40)]  # yours is who has logged in


@app.post("/jobs", status_code=202)
async def start_job(
    user: User, below: Annotated[int, Query(ge=2, le=LARGEST)], answer: Response
) -> dict[str, Any]:
    """Start a job; say where to ask for it."""
    job = jobs.start(user, below)
    answer.headers["Location"] = f"/jobs/{job.number}"
    return job.describe()


@app.get("/jobs/{number}")
async def get_job(user: User, number: int) -> dict[str, Any]:
    """Tell the state of a job, its progress, and its result if there is one."""
    return jobs.find(user, number).describe()


@app.delete("/jobs/{number}")
async def cancel_job(user: User, number: int) -> dict[str, Any]:
    """Cancel a job; one that is over stays as it is."""
    job = jobs.find(user, number)
    job.task.cancel()
    await asyncio.wait([job.task])
    return job.describe()


def main() -> None:
    """Serve until Ctrl+C or SIGTERM."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=8000)
    uvicorn.run(app, port=parser.parse_args().port)


if __name__ == "__main__":
    main()
