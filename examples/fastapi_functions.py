"""A FastAPI server whose handler is an ordinary function, in slices on the loop.

    python examples/fastapi_functions.py --port 8000

One line above the handler replaces FastAPI's thread. Needs `cooperative-aio[functions]`.
"""

import argparse

import uvicorn
from fastapi import FastAPI

from cooperative_aio.functions import in_slices

app = FastAPI()


@app.get("/ping")
async def ping() -> dict[str, str]:
    """Answer at once, whatever is being computed."""
    return {"ping": "pong"}


@app.get("/longest")
@in_slices
def longest(below: int = 1000) -> dict[str, int]:
    """Find the number with the longest way down to 1."""
    best, found = 0, 1
    for number in range(1, below):
        value, length = number, 0
        while value != 1:
            value = value // 2 if value % 2 == 0 else 3 * value + 1
            length += 1
        if length > best:
            best, found = length, number
    return {"number": found, "length": best}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    uvicorn.run(app, port=parser.parse_args().port)
