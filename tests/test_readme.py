"""The Python in README.md and docs, run as it stands there.

Snippets of one file share their names and their loop, and may `await`. One that begins with
"```python no-run" is only compiled.
"""

import ast
import asyncio
import inspect
import re
from pathlib import Path
from types import FunctionType

import pytest

ROOT = Path(__file__).parents[1]
TESTED_ELSEWHERE = {
    "servers.md",  # tests/servers/test_servers_docs.py
    "tasklets.md",  # tests/tasklet/test_tasklet_docs.py
}
PAGES = [ROOT / "README.md"] + [
    page for page in sorted((ROOT / "docs").rglob("*.md")) if page.name not in TESTED_ELSEWHERE
]
SNIPPET = re.compile(r"^```python([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def snippets(page):
    """Compile the snippets of a page, so that errors show its lines."""
    text = page.read_text(encoding="utf-8")
    for match in SNIPPET.finditer(text):
        lines_before = text.count("\n", 0, match.start(2))
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile("\n" * lines_before + match[2], page, "exec", flags)
        if "no-run" not in match[1].split():
            yield code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_snippets_run(page):
    names = {"__name__": "__main__"}
    with asyncio.Runner() as runner:
        for code in snippets(page):
            result = FunctionType(code, names)()
            if inspect.iscoroutine(result):
                runner.run(result)


def test_the_readme_has_snippets_and_fits_on_two_pages():
    assert list(snippets(PAGES[0]))
    assert len(PAGES[0].read_text(encoding="utf-8").splitlines()) < 120
