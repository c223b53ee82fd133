"""Mend what screen readers stumble over in the pages that Sphinx and the theme make."""

import re

from sphinx.application import Sphinx


def mend(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Give headings their level, and make a table's empty header a plain cell."""
    for part in ("body", "furo_navigation_tree"):
        html = context.get(part) or ""
        html = html.replace(' role="heading">', ' role="heading" aria-level="2">')
        context[part] = re.sub(r"<th\b([^>]*)>\s*(?:<p>\s*</p>)?\s*</th>", r"<td\1></td>", html)


def setup(app: Sphinx) -> dict[str, bool]:
    """Mend after the theme, whose priority is 500."""
    app.connect("html-page-context", mend, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
