"""The Python in README.md and docs: it runs as it stands there, or stands in a tested file.

The first line of a snippet tells what it is:

* `# examples/….py`, or another path: a quotation, which stands in that file;
* `# app.py`, or another name: a whole file, with its imports; so is what calls `asyncio.run`;
* `# Twisted`: code for what that guide comes from;
* anything else: it can be pasted into `python -m asyncio`, after the others of its page.
"""

import ast
import asyncio
import codeop
import importlib.util
import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from types import FunctionType

import httpx
import pytest
from core_support import errors_in

from cooperative_aio.functions import PreemptionUnavailable

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SNIPPET = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
QUOTED = re.compile(r"# ((?:examples|tests|benchmarks|docs)/[\w/.]+)\n(.*)", re.DOTALL)
FILE = re.compile(r"(?:# (\w+)\.py\n|.*^asyncio\.run\()", re.MULTILINE | re.DOTALL)
ANCESTOR = re.compile(r"# (Twisted|cooperative|Kiwi)\n")
IMPORTED_AS = {"Twisted": "twisted", "cooperative": "cooperative", "Kiwi": "kiwi"}
PROGRAM = re.compile(r'^if __name__ == "__main__":|^asyncio\.run\(', re.MULTILINE)
IN_VIRTUAL_TIME = {"tasklets.md"}  # whose programs tests/tasklet/test_tasklet_docs.py runs
on_every_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(ROOT))
)


def snippets(page):
    """Return the snippets of a page, also those of its lists."""
    found = SNIPPET.findall(page.read_text(encoding="utf-8"))
    return [textwrap.dedent(snippet) for _, snippet in found]


def pasted(snippet):
    """Give one statement after the other, as the console of `python -m asyncio` takes them.

    It is what the consoles of Python 3.11 and 3.12 do with every line. An empty line ends a
    compound statement, so there has to be one behind it, and none inside.
    """
    compiler = codeop.CommandCompiler()
    compiler.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    lines = []
    for line in [*snippet.splitlines(), ""]:
        lines.append(line)
        if (code := compiler("\n".join(lines), "<console>")) is not None:
            lines.clear()
            yield code
    assert not "".join(lines).strip(), "the last statement is not complete"


async def run_on_the_loop(code, names):
    """Run what was pasted where the console runs it: on the loop."""
    result = FunctionType(code, names)()
    if inspect.iscoroutine(result):
        await result


@on_every_page
def test_the_snippets_can_be_pasted_and_run(page, monkeypatch):
    names = {"__name__": "__main__"}
    # The console shows what expressions give; so that pages need no `_ =`, this does not.
    monkeypatch.setattr(sys, "displayhook", lambda value: None)
    with asyncio.Runner() as runner:
        for snippet in snippets(page):
            if QUOTED.match(snippet) or FILE.match(snippet) or ANCESTOR.match(snippet):
                continue
            for code in pasted(snippet):
                try:
                    runner.run(run_on_the_loop(code, names))
                except PreemptionUnavailable as error:
                    pytest.skip(str(error))


@on_every_page
def test_the_files_run(page, tmp_path):
    for number, snippet in enumerate(snippets(page)):
        if found := FILE.match(snippet):
            code = compile(snippet, f"{page} snippet {number}", "exec")
            if not PROGRAM.search(snippet):
                exec(code, {"__name__": found[1]})  # noqa: S102 - our own page
            elif page.name not in IN_VIRTUAL_TIME:
                path = tmp_path / f"{found[1] or 'program'}.py"
                path.write_text(snippet, encoding="utf-8")
                command = [sys.executable, "-P", str(path)]
                done = subprocess.run(
                    command, capture_output=True, text=True, timeout=300, check=False
                )
                assert (errors_in(done.stderr), done.returncode) == ("", 0)


@on_every_page
def test_what_is_of_an_ancestor_is_python_and_runs_where_that_is_installed(page):
    names = {}
    for snippet in snippets(page):
        if found := ANCESTOR.match(snippet):
            code = compile(snippet, page, "exec")
            if importlib.util.find_spec(IMPORTED_AS[found[1]]) is not None:
                exec(code, names)  # noqa: S102 - our own page


@on_every_page
def test_what_is_quoted_stands_in_its_file(page):
    for snippet in snippets(page):
        if quotation := QUOTED.match(snippet):
            path, code = quotation.groups()
            assert code in (ROOT / path).read_text(encoding="utf-8"), path


@on_every_page
def test_no_other_page_installs_from_a_checkout(page):
    if page.name not in {"README.md", "tutorial.md", "CONTRIBUTING.md", "releasing.md"}:
        assert not re.search(r"pip install '?\.", page.read_text(encoding="utf-8"))


def test_snippets_that_cannot_be_pasted_are_found():
    with pytest.raises(SyntaxError):
        list(pasted("def f():\n    pass\nf()\n"))
    with pytest.raises(SyntaxError):
        list(pasted("def f():\n    one = 1\n\n    return one\n"))
    assert len(list(pasted("def f():\n    pass\n\n\nf()\n"))) >= 2


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
        fences = re.findall(r"^ *```python.*$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(fences) == len(snippets(page)), page


def test_the_server_of_the_readme_answers():
    [program] = [snippet for snippet in snippets(PAGES[0]) if FILE.match(snippet)]
    names = {"__name__": "app"}
    exec(compile(program, "app.py", "exec"), names)  # noqa: S102 - our own page

    async def ask():
        transport = httpx.ASGITransport(names["app"])
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            answers = [await client.get(path) for path in ("/ping", "/work?below=1000")]
        return [answer.json() for answer in answers]

    try:
        assert asyncio.run(ask()) == ["pong", {"longest": 178}]
    except PreemptionUnavailable as error:
        pytest.skip(str(error))


def test_the_readme_has_snippets_and_fits_on_two_pages():
    assert snippets(PAGES[0])
    lines = PAGES[0].read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if not line.startswith("<!-- ")]) < 150
