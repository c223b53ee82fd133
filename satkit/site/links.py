"""Find links of a built site that lead nowhere."""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """Collects where a page links to, and what can be linked to in it."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = {"", "top"}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value or "")
            elif name in ("href", "src") and value:
                self.links.append(value)


@cache
def _parse(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text())
    return page


def broken_links(site: Path) -> list[str]:
    """Find the links within a site whose file or anchor does not exist.

    Args:
        site: folder of the built site.

    Returns:
        One line a link, "page: link"; empty if all is well.
    """
    _parse.cache_clear()
    found = []
    for path in sorted(site.rglob("*.html")):
        for link in sorted(set(_parse(path).links)):
            if not _is_external(link) and not _leads_somewhere(path, link):
                found.append(f"{path.relative_to(site)}: {link}")
    return found


def external_links(site: Path) -> dict[str, list[str]]:
    """List the links to other hosts, which are not fetched.

    Args:
        site: folder of the built site.

    Returns:
        For each address the pages that link to it.
    """
    _parse.cache_clear()
    found: dict[str, list[str]] = {}
    for path in sorted(site.rglob("*.html")):
        for link in set(_parse(path).links):
            if re.match(r"(https?:)?//", link):
                found.setdefault(link, []).append(str(path.relative_to(site)))
    return found


def _is_external(link: str) -> bool:
    return bool(re.match(r"[a-z][a-z0-9+.-]*:|//", link))


def _leads_somewhere(page: Path, link: str) -> bool:
    parts = urlsplit(link)
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if target.is_dir():
        target = target / "index.html"
    if not target.is_file():
        return False
    return target.suffix != ".html" or unquote(parts.fragment) in _parse(target).anchors
