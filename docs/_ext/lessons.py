"""Below each name of the reference: in which lessons it is explained and used."""

import re
from pathlib import Path

from sphinx.application import Sphinx

from satkit.site.reference import users_of_names


def find_users(app: Sphinx) -> None:
    """Read the lessons once."""
    app.lesson_users = users_of_names(Path(app.srcdir) / "notebooks")


def add_users(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list) -> None:
    """Add a paragraph to a docstring."""
    users = app.lesson_users.get(name, [])
    if users:
        (stem, title), *others = users
        text = f"Explained in lesson :doc:`{title} </notebooks/{stem}>`."
        if others:
            links = [f":doc:`{stem[:2]} </notebooks/{stem}>`" for stem, _ in others]
            text += f" Also used in {', '.join(links)}."
        lines += ["", ".. container:: lessons", "", f"   {text}", ""]


def drop_empty_globs(app: Sphinx, name: str, source: list[str]) -> None:
    """Leave out of the index the folders that hold no pages, which Sphinx would warn of."""
    if name == "index":
        kept = [line for line in source[0].splitlines() if not empty_glob(app, line)]
        source[0] = "\n".join(kept) + "\n"


def empty_glob(app: Sphinx, line: str) -> bool:
    """True for a line such as `course/*` that matches no page."""
    glob = re.fullmatch(r"[\w/]+\*", line)
    return bool(glob) and not any(Path(app.srcdir).glob(f"{line}.*"))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register all; docstrings are converted by napoleon before (its priority is 500)."""
    app.connect("builder-inited", find_users)
    app.connect("source-read", drop_empty_globs)
    app.connect("autodoc-process-docstring", add_users, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
