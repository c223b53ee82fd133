"""Stage the sources of the site and build it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat

from satkit.notebooks import PACKAGE, project_root
from satkit.site.pages import (
    SHEETS,
    exercise_page,
    lesson_page,
    repository_of,
    sheet_without_solutions,
)
from satkit.site.reference import reference_pages


def render(
    executed: str | Path = "build/notebooks",
    out: str | Path = "build/site",
    *,
    root: Path | None = None,
    solutions: bool = True,
    strict: bool = False,
) -> Path:
    """Make the site from `docs/` and the executed notebooks; it needs no network to be read.

    Lessons that were not executed are shown without outputs, and say so.

    Args:
        executed: folder of the executed notebooks, relative to the project's folder.
        out: folder of the site; what is there is replaced once the new one is whole.
        root: the project's folder; found from the current one where None.
        solutions: show the solutions of the exercises, folded; else leave them out.
        strict: fail on Sphinx's warnings, too.

    Returns:
        The page to open.

    Raises:
        FileNotFoundError: if no executed notebook is there.
        RuntimeError: if Sphinx fails; the message ends with what it said.
    """
    root = root or project_root()
    notebooks = sorted((root / executed).glob("*.ipynb"))
    if not notebooks:
        raise FileNotFoundError(
            f"no executed notebook in {root / executed}; run `python -m satkit run` first"
        )
    site = root / out
    stage, fresh = site.with_name(site.name + "-source"), site.with_name(site.name + "-new")
    for folder in (stage, fresh):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(root / "docs", stage, ignore=shutil.ignore_patterns("_build", "__pycache__"))
    shutil.copy(PACKAGE / "weights" / "MODEL_CARD.md", stage / "model_card.md")
    _stage_notebooks(root, notebooks, stage, solutions)
    for name, text in reference_pages().items():
        _write(stage / "api" / f"{name}.md", text)
    slides = root / "build" / "slides"
    _stage_slides(slides, stage)
    _sphinx(stage, fresh, strict)
    if slides.is_dir():
        shutil.copytree(slides, fresh / "slides")
    shutil.rmtree(site, ignore_errors=True)
    fresh.rename(site)
    return site / "index.html"


def _stage_notebooks(root: Path, executed: list[Path], stage: Path, solutions: bool) -> None:
    """Write the lessons, executed where they were, and the exercises of the project."""
    repository = repository_of(root / "pyproject.toml")
    sources = {path.name: path for path in (root / "notebooks").glob("[0-9]*.ipynb")}
    for path in (sources | {path.name: path for path in executed}).values():
        page = lesson_page(nbformat.read(path, 4), path.stem, repository, path in executed)
        _write_notebook(stage / "notebooks" / path.name, page)
    for path in sorted((root / "notebooks" / "course").glob("ex*.ipynb")):
        sheet = nbformat.read(path, 4)
        page = exercise_page(sheet, path.stem, repository, solutions)
        _write_notebook(stage / "notebooks" / "course" / path.name, page)
        _write_notebook(stage / SHEETS / path.name, sheet_without_solutions(sheet))


def _stage_slides(slides: Path, stage: Path) -> None:
    """Write a page that lists the slides, if any were built."""
    decks = sorted(slides.glob("*.html"))
    if decks:
        lines = [f'<li><a href="slides/{deck.name}">{deck.stem}</a></li>' for deck in decks]
        head = "# Slides\n\nThey open in this browser and need no network; `S` shows the notes."
        _write(stage / "slides.md", "\n".join([head, "", "<ul>", *lines, "</ul>", ""]))


def _sphinx(stage: Path, fresh: Path, strict: bool) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-E", "-d", str(fresh / ".doctrees")]
    command += ["-j", "auto"] + (["-W", "--keep-going"] if strict else [])
    built = subprocess.run(
        [*command, str(stage), str(fresh)], capture_output=True, text=True, check=False
    )
    if built.returncode:
        raise RuntimeError(f"Sphinx could not build the site: {built.stderr[-2000:]}")
    print(built.stderr, end="", file=sys.stderr)
    shutil.rmtree(fresh / ".doctrees")


def _write_notebook(path: Path, notebook: Any) -> None:
    _write(path, nbformat.writes(notebook))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
