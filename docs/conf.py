# ruff: noqa: INP001 (Sphinx runs it; it is of no package)
"""How `nox -s docs` makes a site of these pages; no network is needed."""

import sys
from pathlib import Path

import cooperative_aio

sys.path.insert(0, str(Path(__file__).parent))  # for _site

project = "cooperative_aio"
author = "The cooperative_aio authors"
copyright = author  # noqa: A001 (Sphinx's name)
version = release = cooperative_aio.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "_live", "_site"]
exclude_patterns = ["_build"]
nitpicky = True  # what a signature names is on some page, if it is of this package
nitpick_ignore_regex = [
    ("py:.*", r"(?!cooperative_aio\b).*"),
    ("py:class", r"cooperative_aio\._json_array\.TaskOptions"),  # described by `**options`
    ("py:class", r"cooperative_aio\._(futures\.FaithfulFuture|fairness\.Seat)"),  # bases
]

# Markdown
myst_heading_anchors = 4
myst_links_external_new_tab = False

# Docstrings
default_role = "code"  # _site makes links of those that name something
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
add_module_names = False
python_maximum_signature_line_length = 110
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

# The site
html_theme = "furo"
html_title = f"cooperative_aio {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_show_sphinx = False
html_domain_indices = False
html_use_index = False
pygments_style = "default"
pygments_dark_style = "github-dark"
html_theme_options = {"navigation_with_keys": True}
