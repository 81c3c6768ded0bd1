# ruff: noqa: INP001 (Sphinx imports it for conf.py; it is of no package)
"""What the site has that Sphinx does not make of itself.

* Names in docstrings, and in pages that are not about another library, are links to the
  reference.
* `Cancellation:` in a docstring is a field, as `Raises:` is.
* Files outside of docs that a page links to, or quotes, are pages of the site.
* A picture `…-light.svg` gives way to its `…-dark.svg` in the dark theme.
* A link that leads nowhere is a warning, and so an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.logging import getLogger
from sphinx.util.nodes import make_refnode
from sphinx.util.osutil import relative_uri

PACKAGE = "cooperative_aio"
DOCS = Path(__file__).parent
FILES = "_files"  # where the pages of files are
ABOUT = {  # the modules that pages of these names are about
    "monitor": f"{PACKAGE}.monitor",
    "offload": f"{PACKAGE}.offload",
    "servers": f"{PACKAGE}.starlette",
    "tasklet": f"{PACKAGE}.tasklet",
    "tasklets": f"{PACKAGE}.tasklet",
    "test-without-sleeping": f"{PACKAGE}.testing",
    "testing": f"{PACKAGE}.testing",
}
ABOUT_OTHERS = ("coming-from/", "explanation/comparison")  # whose names are not ours
MADE_ELSEWHERE = {  # the classes that users do not call, which the reference says by ()
    name
    for page in (DOCS / "reference").glob("*.md")
    for name in re.findall(
        r"^\.\. auto\w+:: ([\w.]+)\(\)", page.read_text("utf-8"), re.MULTILINE
    )
}

logger = getLogger(__name__)


# Docstrings

CANCELLATION = re.compile(r"^Cancellation:(.*?)\n(?=\n|\Z)", re.MULTILINE | re.DOTALL)
RETURNS = re.compile(r"^Returns:\n((?: .*\n)+)", re.MULTILINE)
CODE = re.compile(r"^(\S.*\n\n)(?= )", re.MULTILINE)
ARGUMENTS = re.compile(r"^Args:\n(?: .*\n|\n)*", re.MULTILINE)


def prepare_docstring(
    _app: Sphinx, _what: str, name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """Make a field of `Cancellation:`, and code of what is indented after a paragraph.

    What is returned is said without its type, whatever colons are in it. Of a class that
    users do not call, drop what its arguments are.
    """

    def as_field(match: re.Match[str]) -> str:
        sentence = " ".join(match[1].split())
        return f":Cancellation: {sentence[:1].upper()}{sentence[1:]}\n"

    text = "\n".join([*lines, ""])
    text = CANCELLATION.sub(as_field, text)
    text = RETURNS.sub(lambda match: f":returns: {' '.join(match[1].split())}\n", text)
    text = CODE.sub(r"\1.. code-block:: python\n\n", text)
    if name in MADE_ELSEWHERE:
        text = ARGUMENTS.sub("", text)
    lines[:] = text.split("\n")


def prepare_signature(
    _app: Sphinx,
    _what: str,
    _name: str,
    _object: object,
    _options: object,
    arguments: str | None,
    returned: str | None,
) -> tuple[str, str | None] | None:
    """Write the parameters of functions as Python does."""
    if arguments is None:
        return None
    arguments = re.sub(r"(?<=args: )~typing\.~(\w+)", r"\1.args", arguments)
    arguments = arguments.replace("**kwargs: P.args", "**kwargs: P.kwargs")
    return re.sub(r"Callable\[\[(~P|\.\.\.)\]", r"Callable[\1", arguments), returned


# Names


@cache
def found(name: str) -> object:
    """Return what a dotted name stands for, or None."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            value: Any = import_module(".".join(parts[:length]))
            for part in parts[length:]:
                value = getattr(value, part)
        except (ImportError, AttributeError):
            continue
        return value
    return None


def resolve_private_name(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.TextElement
) -> nodes.Node | None:
    """Find a class under its public name; a type variable needs no link."""
    target = node.get("reftarget", "")
    value = found(target) if target.startswith(PACKAGE) else None
    if value is None:
        return None
    if not isinstance(value, type):
        return content
    domain = env.domains.python_domain
    for name, entry in domain.objects.items():
        if name.rpartition(".")[2] == value.__name__ and found(name) is value:
            place = (env.docname if hasattr(env, "docname") else node["refdoc"], entry.docname)
            return make_refnode(app.builder, *place, entry.node_id, content, name)
    return None


class LinkNames(SphinxPostTransform):
    """Make links of names in code that are in the reference."""

    default_priority = 5
    name = re.compile(r"(?:await )?([A-Za-z_][\w.]*)(?:\(\))?")

    def run(self, **_: object) -> None:
        """Look at every piece of code that is not a link or a title."""
        if self.env.docname.startswith(ABOUT_OTHERS):
            return
        for node in tuple(self.document.findall(nodes.literal)):
            match = self.name.fullmatch(node.astext())
            if match and not has_ancestor(node, nodes.reference, nodes.title):
                self.link(node, match[1])

    def link(self, node: nodes.literal, name: str) -> None:
        """Make a link of it, if it names something else than what is described here."""
        domain = self.env.domains.python_domain
        places, parameters = surroundings(node)
        if name in parameters:
            return
        about = ABOUT.get(self.env.docname.rpartition("/")[2], PACKAGE)
        for place in (*places, about, PACKAGE, ""):
            full = f"{place}.{name}" if place else name
            entry = domain.objects.get(full)
            if entry is None:
                continue
            if full not in places[:1]:
                here = self.env.docname
                address = (here, entry.docname, entry.node_id)
                link = make_refnode(self.app.builder, *address, node.deepcopy(), full)
                node.replace_self(link)
            return


def has_ancestor(node: nodes.Node, *kinds: type[nodes.Node]) -> bool:
    """Tell whether it is inside of something of one of the kinds."""
    while node.parent is not None:
        node = node.parent
        if isinstance(node, kinds):
            return True
    return False


def surroundings(node: nodes.Node) -> tuple[list[str], set[str]]:
    """Return what is described around it, innermost first, and its parameters."""
    places: list[str] = []
    parameters: set[str] = set()
    while node.parent is not None:
        node = node.parent
        if isinstance(node, addnodes.desc):
            signature = next(iter(node.findall(addnodes.desc_signature)))
            module, full = signature.get("module") or "", signature.get("fullname") or ""
            for parameter in signature.findall(addnodes.desc_parameter):
                parameters.add(parameter.astext().lstrip("*").partition(":")[0])
            places.append(f"{module}.{full}")
            places += [module] if "." not in full else []
    return places, parameters


# Files


class NameSources(SphinxTransform):
    """Above code that begins with the path of the file that it is from, link to that."""

    default_priority = 500
    path = re.compile(r"# ((?:examples|tests|benchmarks)/[\w/.]+)\n")

    def apply(self, **_: object) -> None:
        """Put a link in the place of each such line."""
        for node in tuple(self.document.findall(nodes.literal_block)):
            if match := self.path.match(node.rawsource):
                code = node.rawsource[match.end() :]
                node.rawsource, node.children = code, [nodes.Text(code)]
                name = nodes.literal("", match[1])
                link = addnodes.download_reference("", "", name, reftarget=f"/../{match[1]}")
                source = nodes.paragraph("", "", link, classes=["source"])
                node.parent.insert(node.parent.index(node), source)


class ShowFiles(SphinxPostTransform):
    """Link to pages that show files, in place of the files."""

    default_priority = 5

    def run(self, **_: object) -> None:
        """Change the targets of all links to files."""
        for node in tuple(self.document.findall(addnodes.download_reference)):
            path = Path(self.env.relfn2path(node["reftarget"], self.env.docname)[1])
            address = relative_uri(self.env.docname, page_of(path))
            link = nodes.reference("", "", internal=True, refuri=f"{address}.html")
            link += node.children
            node.replace_self(link)


def page_of(path: Path) -> str:
    """Return the name of the page that shows a file."""
    return f"{FILES}/{path.resolve().relative_to(DOCS.parent)}"


def file_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield the pages of the files that others link to."""
    for name in sorted(app.env.dlfiles):
        path = Path(app.srcdir, name).resolve()
        title = str(path.relative_to(DOCS.parent))
        language = {".py": "python", ".html": "html", ".toml": "toml"}.get(path.suffix, "text")
        code = app.builder.highlighter.highlight_block(path.read_text("utf-8"), language)
        yield page_of(path), {"title": title, "body": f"<h1>{title}</h1>\n{code}"}, "page.html"


# Pictures


class ShowPictures(SphinxTransform):
    """Show a picture `…-light.svg` in light themes, and its other half in dark ones."""

    default_priority = 500

    def apply(self, **_: object) -> None:
        """Add the other half of each."""
        for node in tuple(self.document.findall(nodes.image)):
            light = node["uri"]
            if light.endswith("-light.svg"):
                dark = node.deepcopy()
                dark["uri"] = light.replace("-light.svg", "-dark.svg")
                node["classes"].append("only-light")
                dark["classes"].append("only-dark")
                node.parent.insert(node.parent.index(node) + 1, dark)


# Links


class Page(HTMLParser):
    """Collect where a page leads, and what can be referred to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, _tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note the attributes that matter."""
        for name, value in attributes:
            if name in {"href", "src"}:
                self.links.add(value or "")
            elif name in {"id", "name"}:
                self.anchors.add(value or "")


def check_links(app: Sphinx, error: Exception | None) -> None:
    """Warn of every link, of pictures and styles too, that leads nowhere in the site."""
    if error is not None:
        return
    out = Path(app.outdir).resolve()
    pages = {path: Page(path.read_text("utf-8")) for path in out.rglob("*.html")}
    for path, page in pages.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchors = pages[target].anchors if target in pages else {"", parts.fragment}
            if not target.exists() or unquote(parts.fragment) not in anchors:
                logger.warning("%s: the link %s leads nowhere", path.relative_to(out), link)


def setup(app: Sphinx) -> dict[str, bool]:
    """Be a Sphinx extension."""
    app.connect("autodoc-process-docstring", prepare_docstring, priority=400)
    app.connect("autodoc-process-signature", prepare_signature)
    app.connect("missing-reference", resolve_private_name)
    app.connect("html-collect-pages", file_pages)
    app.connect("build-finished", check_links)
    app.add_transform(NameSources)
    app.add_transform(ShowPictures)
    app.add_post_transform(LinkNames)
    app.add_post_transform(ShowFiles)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
