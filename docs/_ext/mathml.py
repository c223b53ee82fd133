"""Formulas as MathML, which browsers draw themselves: no script, no network."""

import html

import latex2mathml.converter
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


def visit_inline(self, node: nodes.math) -> None:
    """Write a formula within a line."""
    self.body.append(convert(node, "inline"))
    raise nodes.SkipNode


def visit_block(self, node: nodes.math_block) -> None:
    """Write a formula of its own, with its number if it has one."""
    number = f'<span class="eqno">({node["number"]})</span>' if node.get("number") else ""
    anchor = f' id="{node["ids"][0]}"' if node.get("ids") else ""
    self.body.append(f'<div class="math"{anchor}>{number}{convert(node, "block")}</div>')
    raise nodes.SkipNode


def convert(node: nodes.Element, display: str) -> str:
    """Turn a node's LaTeX into MathML; what cannot be turned is shown as it is, with a warning."""
    try:
        return latex2mathml.converter.convert(node.astext(), display=display)
    except Exception as error:
        logger.warning("no MathML for %r: %s", node.astext(), error, location=node)
        return f"<code>{html.escape(node.astext())}</code>"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer under the name `mathml`."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
