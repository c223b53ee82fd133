"""Settings of the site. It is built from docs/ and the executed notebooks by `make site`."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "satkit"
author = "satkit developers"
copyright = "2026, satkit developers"
version = release = installed_version("satkit")

extensions = ["myst_nb", "mathml"]
exclude_patterns = ["_build", "_ext"]

# Notebooks are executed beforehand, by papermill; the site only shows them.
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Nothing on the pages comes from another host.
html_math_renderer = "mathml"
nb_ipywidgets_js = {}

html_theme = "furo"
html_title = "satkit"
html_static_path = ["_static"]
html_css_files = ["satkit.css"]
html_show_sourcelink = False
html_copy_source = False
