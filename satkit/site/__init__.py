"""The site: lessons as they were executed, exercises, and the reference, made by Sphinx.

`render` copies `docs/` and the notebooks to a stage, adds to each lesson what a reader on the web
needs (`pages`), writes the pages of the reference (`reference`), and lets Sphinx build. `links`
finds links that lead nowhere. Nothing is executed or fetched. It needs the extra `docs`.
"""

from satkit.site.build import render
from satkit.site.links import broken_links, external_links

__all__ = ["broken_links", "external_links", "render"]
