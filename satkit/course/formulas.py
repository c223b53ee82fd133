"""Markdown with formulas as HTML that needs no script, for slides and feedback pages."""

from __future__ import annotations

from html import escape
from typing import Any


def to_html(markdown: str, attachments: dict[str, Any] | None = None) -> str:
    """Turn Markdown into HTML, formulas into MathML, which browsers draw without a script.

    Args:
        markdown: Text with formulas between dollars.
        attachments: Pictures of the notebook's cell, by name.

    Returns:
        HTML; a formula that is no TeX (a student may write anything) stays as it was written.
    """
    from latex2mathml import converter
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):
        def inline_math(self, body: str) -> str:
            return draw(body, "inline")

        def block_math(self, body: str) -> str:
            return draw(body, "block")

    def draw(body: str, display: str) -> str:
        try:
            return converter.convert(body, display=display)
        except Exception:  # of many kinds, which share no class
            return f"<code>{escape(body)}</code>"

    renderer = Renderer(escape=False, attachments=attachments or {})
    return MarkdownWithMath(renderer=renderer).render(markdown)
