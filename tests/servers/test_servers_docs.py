"""docs/how-to/servers.md: its code that is not quoted from the examples runs."""

import ast
import asyncio
import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "servers.md"
SNIPPET = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SNIPPETS = SNIPPET.findall(PAGE.read_text("utf-8"))
FREE = [snippet for snippet in SNIPPETS if not snippet.startswith("# examples/")]


def compute():
    yield from range(100_000)


@pytest.mark.parametrize("number", range(len(FREE)))
async def test_other_code_runs(number):
    snippet = FREE[number].replace("port=8765", "port=0")
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    names = {"compute": compute}
    result = eval(compile(snippet, PAGE.name, "exec", flags=flags), names)  # noqa: S307
    async with asyncio.timeout(60):
        await result
    if "tqdm" in snippet:
        assert len(names["values"]) == 100_000
    assert not any("cooperative" in family.name for family in REGISTRY.collect())
