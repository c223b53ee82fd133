"""Settings of the site. It is built from docs/ and the executed notebooks by `make site`."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

OWN = Path(__file__).parent / "_ext"
sys.path.insert(0, str(OWN))

project = "satkit"
author = "satkit developers"
copyright = "2026, satkit developers"
version = release = installed_version("satkit")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    *sorted(path.stem for path in OWN.glob("*.py")),
]
exclude_patterns = ["_build", "_ext"]
language = "en"
suppress_warnings = [
    "autosummary.import_cycle",  # packages list what their own modules define
    "ref.python",  # a type's short name, such as Run, may be that of two classes
]

# The reference is read from the docstrings.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autosummary_generate = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True

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
html_js_files = ["satkit.js"]
# Colours of code that keep the contrast of WCAG's level AAA.
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
copybutton_exclude = ".linenos, .gp, .go"
copybutton_selector = "div.highlight pre:not(.output pre)"
html_show_sourcelink = False
html_copy_source = False
