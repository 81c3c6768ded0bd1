"""The Python in README.md and docs: it runs as it stands there, or stands in a tested file.

A snippet whose first line is a comment with the path of a file is a quotation of that. The
others of one page share their names and their loop, and may `await`.
"""

import ast
import asyncio
import inspect
import re
from pathlib import Path
from types import FunctionType

import pytest

ROOT = Path(__file__).parents[1]
SPECIAL = {
    "servers.md",  # tests/servers/test_servers_docs.py
    "tasklets.md",  # tests/tasklet/test_tasklet_docs.py
}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
QUOTED = re.compile(r"# ((?:examples|tests|benchmarks|docs)/[\w/.]+)\n(.*)", re.DOTALL)
on_every_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(ROOT))
)


def snippets(page):
    """Return the snippets of a page, each with the number of lines before it."""
    text = page.read_text(encoding="utf-8")
    return [(text.count("\n", 0, match.start(1)), match[1]) for match in SNIPPET.finditer(text)]


@on_every_page
def test_the_snippets_run(page):
    if page.name in SPECIAL:
        pytest.skip("has a test of its own")
    names = {"__name__": "__main__"}
    with asyncio.Runner() as runner:
        for lines_before, snippet in snippets(page):
            if QUOTED.match(snippet):
                continue
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            code = compile("\n" * lines_before + snippet, page, "exec", flags)
            result = FunctionType(code, names)()
            if inspect.iscoroutine(result):
                runner.run(result)


@on_every_page
def test_what_is_quoted_stands_in_its_file(page):
    for _, snippet in snippets(page):
        if quotation := QUOTED.match(snippet):
            path, code = quotation.groups()
            assert code in (ROOT / path).read_text(encoding="utf-8"), path


def anchors(page):
    """Return what `#…` may refer to, as code hosts make it of the titles."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", title.lower()) for title in titles]
    return {title.replace(" ", "-") for title in plain}


@on_every_page
def test_every_link_leads_somewhere(page):
    text = re.sub(
        r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("https://", "mailto:")):
            path, _, anchor = target.partition("#")
            linked = (page.parent / path).resolve() if path else page
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked), target


def test_every_page_has_a_line_for_each_of_its_snippets_fences():
    for page in PAGES:
        fences = re.findall(r"^```python.*$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(fences) == len(snippets(page)), page


def test_the_readme_has_snippets_and_fits_on_two_pages():
    assert snippets(PAGES[0])
    assert len(PAGES[0].read_text(encoding="utf-8").splitlines()) < 120
