"""Sphinx configuration: MyST Markdown, furo, Google docstrings; warnings are errors (`make docs`)."""

import finescale

project = "finescale"
author = "the finescale authors"
copyright = "2026, the finescale authors"
version = release = finescale.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
nb_execution_mode = "off"  # the notebook is kept with its outputs; tests/test_docs.py runs it
html_theme = "furo"
html_title = "finescale"
autodoc_typehints = "description"
autodoc_member_order = "bysource"
nitpicky = False
