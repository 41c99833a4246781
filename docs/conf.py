"""The site: `make docs` builds it from these pages and from the docstrings."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pvm_perception import __version__

project, author, version, release = "pvm_perception", "pvm_perception maintainers", __version__, __version__
copyright = "pvm_perception maintainers, Apache License 2.0"  # noqa: A001
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_heading_anchors = 4  # a link to a heading is its words with dashes, as on GitHub
html_theme = "alabaster"
html_theme_options = {"description": "Finds and follows a target by expecting it", "page_width": "70rem"}
html_sidebars = {"**": ["about.html", "searchfield.html", "navigation.html"]}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = False
