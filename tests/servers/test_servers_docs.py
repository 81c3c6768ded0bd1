"""docs/servers.md: what it quotes stands in the examples, and its other code runs."""

import ast
import asyncio
import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "servers.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
QUOTED = [snippet for snippet in SNIPPETS if snippet.startswith("# examples/")]
FREE = [snippet for snippet in SNIPPETS if snippet not in QUOTED]


@pytest.mark.parametrize("snippet", QUOTED, ids=lambda text: text.split("\n")[1].strip()[:40])
def test_what_is_quoted_stands_in_the_example(snippet):
    name, _, code = snippet.partition("\n")
    assert code in (ROOT / name.removeprefix("# ")).read_text(encoding="utf-8")


def compute():
    yield from range(100_000)


@pytest.mark.parametrize("number", range(len(FREE)))
async def test_other_code_runs(number, monkeypatch, capsys):
    snippet = FREE[number].replace("port=8765", "port=0")
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    names = {"compute": compute}
    coroutine = eval(compile(snippet, "servers.md", "exec", flags=flags), names)  # noqa: S307
    async with asyncio.timeout(60):
        await coroutine
    if "tqdm" in snippet:
        assert len(names["values"]) == 100_000
    assert not any("cooperative" in family.name for family in REGISTRY.collect())


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        if target.startswith("#"):
            titles = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
            assert target[1:] in {title.lower().replace(" ", "-") for title in titles}
        else:
            assert (ROOT / "docs" / target).exists()
