# ruff: noqa: INP001 (Sphinx runs it; it is of no package)
"""How `nox -s docs` makes a site of these pages; no network is needed."""

import sys
from pathlib import Path

from sphinx.pycode import ModuleAnalyzer

import cooperative_aio

sys.path.insert(0, str(Path(__file__).parent))  # for _live and _site

project = "cooperative_aio"
author = "The cooperative_aio authors"
copyright = author  # noqa: A001 (Sphinx's name)
version = release = cooperative_aio.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "_live",
    "_site",
]
exclude_patterns = ["_build"]
nitpicky = True  # what a signature names is on some page, if it is of this package
nitpick_ignore_regex = [
    ("py:.*", r"(?!cooperative_aio\b).*"),
    ("py:obj", ".*"),  # names of all kinds, in pages and in docstrings
    ("py:class", r".*\.[A-Z](_co)?"),  # type variables
    ("py:class", r"cooperative_aio\..*\.(FaithfulFuture|TaskOptions)"),  # a base; `**options`
]

# Markdown
myst_heading_anchors = 4
myst_links_external_new_tab = False

# Docstrings: a short signature, and the types with the arguments
default_role = "py:obj"
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_preserve_defaults = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
ModuleAnalyzer.overloads = property(lambda _: {}, lambda *_: None)  # which would show them all
napoleon_numpy_docstring = False
napoleon_use_ivar = True
add_module_names = False
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

# The site
html_theme = "furo"
html_title = f"cooperative_aio {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_search_scorer = str(Path(__file__).with_name("_search.js"))
html_show_sourcelink = False
html_show_copyright = False
html_show_sphinx = False
html_domain_indices = False
html_use_index = False
pygments_style = "default"
pygments_dark_style = "github-dark"
html_logo = html_favicon = "_static/mark.svg"
html_theme_options = {
    "navigation_with_keys": True,
    "light_css_variables": {"color-brand-primary": "#0f7b6c", "color-brand-content": "#0b6b8a"},
    "dark_css_variables": {"color-brand-primary": "#4cc9b0", "color-brand-content": "#63c5e8"},
}
