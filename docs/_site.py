# ruff: noqa: INP001 (Sphinx imports it for conf.py; it is of no package)
"""What no extension of Sphinx does for this site.

* `Cancellation:` in a docstring is a field, as `Raises:` is, code that follows a paragraph is
  highlighted, and a class that users do not call has no arguments.
* The search shows the first sentence of each docstring.
* Names in the pages are links to the reference, as those in docstrings are.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

PACKAGE = "cooperative_aio"
ABOUT = {  # the modules that pages of these names are about, if it is another name
    "run-a-function-that-never-yields": "functions",
    "servers": "starlette",
    "setting-functions-aside": "functions",
    "tasklets": "tasklet",
    "test-without-sleeping": "testing",
}
ABOUT_OTHERS = ("coming-from/", "explanation/comparison")  # whose names are not ours

CANCELLATION = re.compile(r"^Cancellation:(.*?)\n(?=\n|\Z)", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^(\S.*\n\n)(?= )", re.MULTILINE)
NAME = re.compile(r"(?:await )?([A-Za-z_][\w.]*)(?:\(\))?")


# Docstrings

ARGUMENTS = re.compile(r"^Args:\n(?: .*\n|\n)*", re.MULTILINE)
MADE_ELSEWHERE = {  # the classes that users do not call, as the `()` in the reference says
    name
    for page in Path(__file__).with_name("reference").glob("*.md")
    for name in re.findall(
        r"^\.\. autoclass:: ([\w.]+)\(\)", page.read_text("utf-8"), re.MULTILINE
    )
}
summaries: dict[str, str] = {}
"""The first sentence of each."""


def prepare_docstring(
    _app: Sphinx, _what: str, name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """Write in reStructuredText what our docstrings have that Google's have not."""

    def as_field(match: re.Match[str]) -> str:
        sentence = " ".join(match[1].split())
        return f":Cancellation: {sentence[:1].upper()}{sentence[1:]}\n"

    summaries[name] = " ".join(lines[:1]).replace("`", "")
    text = CANCELLATION.sub(as_field, "\n".join([*lines, ""]))
    if name in MADE_ELSEWHERE:
        text = ARGUMENTS.sub("", text)
    lines[:] = CODE.sub(r"\1.. code-block:: python\n\n", text).split("\n")


def write_summaries(app: Sphinx, error: Exception | None) -> None:
    """Give them to the page of the search; see _search.js."""
    if error is None and app.builder.format == "html":
        script = f"const SUMMARIES = {json.dumps(summaries, indent=0)};\n"
        Path(app.outdir, "_static", "summaries.js").write_text(script, "utf-8")


def load_summaries(app: Sphinx, page: str, *_: object) -> None:
    """Load them there, and nowhere else."""
    if page == "search":
        app.add_js_file("summaries.js")


# Pages

LINKED = (addnodes.desc, addnodes.pending_xref, nodes.reference, nodes.title)


class LinkNames(SphinxPostTransform):
    """Make references of names in code that are in the reference."""

    default_priority = 5  # before Sphinx resolves references

    def run(self, **_: Any) -> None:
        """Look at the code of a page that is about this package."""
        page = self.env.docname
        if page.startswith(ABOUT_OTHERS):
            return
        known = self.env.domains.python_domain.objects
        last = page.rpartition("/")[2]
        modules = (f"{PACKAGE}.{ABOUT.get(last, last)}", PACKAGE)
        for node in tuple(self.document.findall(nodes.literal)):
            match = NAME.fullmatch(node.astext())
            if match and not is_inside(node, *LINKED):
                for name in (*(f"{module}.{match[1]}" for module in modules), match[1]):
                    if name in known:
                        link = addnodes.pending_xref("", refdomain="py", reftype="obj")
                        link.attributes |= {"reftarget": name, "refdoc": page}
                        node.replace_self(link)
                        link += node
                        break


def is_inside(node: nodes.Node, *kinds: type[nodes.Node]) -> bool:
    """Tell whether it is in something of one of the kinds."""
    while (node := node.parent) is not None:
        if isinstance(node, kinds):
            return True
    return False


def setup(app: Sphinx) -> dict[str, bool]:
    """Be a Sphinx extension."""
    app.connect("autodoc-process-docstring", prepare_docstring, priority=400)
    app.connect("build-finished", write_summaries)
    app.connect("html-page-context", load_summaries)
    app.add_post_transform(LinkNames)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
