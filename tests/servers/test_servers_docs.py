"""docs/how-to/servers.md: its code that is not quoted from the examples runs."""

import ast
import asyncio
import inspect
import re
from pathlib import Path

import httpx
import pytest
from aiohttp.test_utils import TestClient, TestServer
from fastapi import FastAPI
from prometheus_client import REGISTRY

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "servers.md"
SNIPPET = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SNIPPETS = SNIPPET.findall(PAGE.read_text("utf-8"))
FREE = [snippet for snippet in SNIPPETS if not snippet.startswith("# examples/")]


async def until_it_answers(app):
    """Ask an application for all that it has, if a snippet makes one."""
    if isinstance(app, FastAPI):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            for route in app.routes:
                if route.path in {"/rows", "/export", "/total", "/days"}:
                    query = "" if route.path == "/days" else "?count=3000"
                    response = await client.get(route.path + query)
                    assert response.status_code == 200
                    assert len(response.content) > 4
    elif app is not None:
        async with TestClient(TestServer(app)) as client:
            for resource in app.router.resources():
                async with client.get(resource.canonical) as response:
                    assert response.status == 200
                    assert await response.read()


@pytest.mark.parametrize("number", range(len(FREE)))
async def test_other_code_runs(number):
    snippet = FREE[number]
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    names = {"__name__": "app"}
    result = eval(compile(snippet, PAGE.name, "exec", flags=flags), names)  # noqa: S307
    if inspect.iscoroutine(result):
        async with asyncio.timeout(300):
            await result
    await until_it_answers(names.get("app"))
    if "tqdm" in snippet:
        assert len(names["values"]) == 100_000
    assert not any("cooperative" in family.name for family in REGISTRY.collect())
