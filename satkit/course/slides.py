"""Slides for the lectures: their texts from `notebooks/course/lectures`, all results from lessons.

A lecture is a Markdown file in reveal.js's own convention: `---` parts the slides, `Notes:` begins
what only the speaker sees, and what comes after a line `. . .` appears at the next key (Pandoc's
convention): an answer below its question. A line such as ``{{ figure 01 | best_ious( }}`` takes its
place from the one cell of lesson 01 that holds the text ``best_ious(``, as it was executed last.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from PIL import Image

from satkit import notebooks
from satkit.choices import check_choice
from satkit.course.formulas import to_html

MINUTES = 45
WIDTH, HEIGHT = 1280, 720  # pixels of a slide
WIDE = 6  # columns of a table, from which on its text is smaller
REFERENCE = re.compile(r"^\{\{ (figure|table|print|code|text) (\d\d) \| (.+) \}\}$", re.MULTILINE)
PAUSE = "\n. . .\n"
NOTES = re.compile(r"^Notes: (\d+) min$", re.MULTILINE)
#: What `satkit.lessons.record` prints; on a slide stands the lesson instead
STORED = re.compile(r"^\S+\.json: commit .*\n", re.MULTILINE)
#: What the page needs of reveal.js; its themes are left out, since some load fonts from elsewhere
REVEAL = ("dist/reveal.js", "dist/reveal.css", "plugin/notes/notes.js")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@dataclass(frozen=True)
class Slide:
    """One slide as it was written.

    Attributes:
        title: Its heading.
        body: Markdown with references.
        notes: What the speaker says, asks and expects, Markdown.
        minutes: That it takes.
    """

    title: str
    body: str
    notes: str
    minutes: int

    @property
    def references(self) -> list[tuple[str, str, str]]:
        """Kind, lesson's number and text of each reference."""
        return REFERENCE.findall(self.body)


@dataclass(frozen=True)
class Lecture:
    """One lecture as it was written.

    Attributes:
        name: Of its file, `lecture1`.
        title: For the title slide.
        lessons: Numbers of the lessons that it presents.
        slides: In order.
    """

    name: str
    title: str
    lessons: tuple[str, ...]
    slides: tuple[Slide, ...]

    @property
    def quoted(self) -> set[str]:
        """Numbers of the lessons that its slides refer to."""
        return {number for slide in self.slides for _, number, _ in slide.references}


# --------------------------------------------------------------------------------------------------
# What a lecture's file says
# --------------------------------------------------------------------------------------------------


def lectures(folder: Path | None = None) -> list[Lecture]:
    """Read all lectures.

    Args:
        folder: Of the Markdown files; the project's `notebooks/course/lectures` where None.

    Returns:
        The lectures in order.

    Raises:
        ValueError: A file breaks the format; the message names the slide and what it lacks.
    """
    folder = folder or notebooks.project_root() / "notebooks" / "course" / "lectures"
    return [read_lecture(path) for path in sorted(folder.glob("lecture*.md"))]


def read_lecture(path: Path) -> Lecture:
    """Read a lecture: TOML between two lines `+++`, then slides parted by lines `---`.

    Args:
        path: Markdown file.

    Returns:
        The lecture.

    Raises:
        ValueError: A slide has no heading, no notes or no minutes, or the minutes do not add up.
    """
    _, head, text = path.read_text(encoding="utf-8").split("+++\n", 2)
    facts = tomllib.loads(head)
    slides = tuple(_read_slide(one.strip(), path.name) for one in text.split("\n---\n"))
    lecture = Lecture(path.stem, facts["title"], tuple(facts["lessons"]), slides)
    if (total := sum(slide.minutes for slide in slides)) != MINUTES:
        raise ValueError(f"{path.name}: the slides take {total} minutes; make it {MINUTES}")
    return lecture


def _read_slide(text: str, where: str) -> Slide:
    title, _, rest = text.partition("\n")
    if not re.match(r"##? \S", title):
        raise ValueError(f"{where}: a slide begins with {title!r}; begin it with '## Its title'")
    parts = NOTES.split(rest)
    if len(parts) != 3 or not parts[2].strip():
        raise ValueError(
            f"{where}: the slide {title!r} has no speaker notes; "
            "end it with a line such as 'Notes: 3 min' and what to say"
        )
    body = parts[0].strip()
    if any(line.startswith("{{") and not REFERENCE.match(line) for line in body.splitlines()):
        raise ValueError(
            f"{where}: the slide {title!r} has a reference that cannot be read; write it as "
            "'{{ figure 01 | text of the cell }}', with figure, table, print, code or text"
        )
    return Slide(title.lstrip("# "), body, parts[2].strip(), int(parts[1]))


# --------------------------------------------------------------------------------------------------
# What the lessons show
# --------------------------------------------------------------------------------------------------


def find_cell(lesson: Any, kind: str, text: str) -> Any:
    """Find the cell of a lesson that a reference means.

    Args:
        lesson: Notebook, executed or not.
        kind: `text` looks in texts; `figure`, `table`, `print` and `code` look in code.
        text: Part of the cell.

    Returns:
        The cell.

    Raises:
        ValueError: Not exactly one cell of that kind holds the text.
    """
    wanted = "markdown" if kind == "text" else "code"
    found = [one for one in lesson.cells if one.cell_type == wanted and text in one.source]
    if len(found) != 1:
        raise ValueError(
            f"{len(found)} {wanted} cells of the lesson hold {text!r}; "
            "quote a part that exactly one of them holds"
        )
    return found[0]


def shown(lesson: Any, kind: str, text: str) -> str:
    """What a reference puts on a slide.

    Args:
        lesson: Executed notebook.
        kind: `figure` (all of the cell), `table` (its first), `print` (what it printed), `code` or
            `text` (the paragraph, formula or table that holds the text).
        text: Part of the cell.

    Returns:
        HTML, or Markdown for `code` and `text`.

    Raises:
        ValueError: There is no such cell, or it shows nothing of that kind.
    """
    cell = find_cell(lesson, kind, text)
    if kind == "code":
        return f"```python\n{cell.source}\n```"
    if kind == "text":
        return next(part for part in cell.source.split("\n\n") if text in part)
    pages = [output.get("data", {}).get("text/html", "") for output in cell.outputs]
    if kind == "figure":
        found = re.findall(r"<img .*?>", "".join(pages), re.DOTALL)
    elif kind == "table":
        found = re.findall(r"<table.*?</table>", "".join(pages), re.DOTALL)[:1]
    else:
        printed = "".join(one.text for one in cell.outputs if one.get("name") == "stdout")
        printed = STORED.sub("", printed).strip()
        found = [f"<pre>{escape(printed)}</pre>"] if printed else []
    if not found:
        raise ValueError(f"the cell with {text!r} shows no {kind}")
    return "\n".join(found)


def provenance(lesson: Any) -> str:
    """Say where a slide's results come from: the lesson and its profile.

    Args:
        lesson: Executed notebook, as `satkit.notebooks.run` leaves it.

    Returns:
        Such as "lesson 01, profile lab".
    """
    injected = json.loads(lesson.metadata["satkit"]["fingerprint"]["parameters"])
    profile = {**notebooks.parameters_of(lesson), **injected}["profile"]
    warning = " (made tiny for tests, not for teaching)" if profile == "smoke" else ""
    return f"profile {profile}{warning}"


# --------------------------------------------------------------------------------------------------
# Build
# --------------------------------------------------------------------------------------------------


def build(
    out: Path,
    executed: Path,
    written: Sequence[Lecture] | None = None,
    *,
    folder: Path | None = None,
) -> list[Path]:
    """Write the lectures as HTML that needs no network: press S for the speaker's view.

    Args:
        out: Folder of the slides; made where it is not there.
        executed: Folder of the executed lessons.
        written: The lectures; all in the folder where None.
        folder: Of the lectures' Markdown files and template; the project's where None.

    Returns:
        The pages.

    Raises:
        FileNotFoundError: A lesson was not executed.
        ValueError: A slide refers to what its lesson does not show; the message names both.
        ImportError: The extra `docs` is not installed.
    """
    folder = folder or notebooks.project_root() / "notebooks" / "course" / "lectures"
    written = lectures(folder) if written is None else written
    quoted = sorted(set().union(*(one.quoted for one in written)))
    lessons = {number: _read_executed(executed, number) for number in quoted}
    pages = {one.name: render(one, lessons, folder) for one in written}
    _copy_reveal(out / "reveal")
    shutil.copy(folder / "lecture.css", out / "reveal" / "lecture.css")
    for name, page in pages.items():
        (out / f"{name}.html").write_text(page, encoding="utf-8")
    return [out / f"{name}.html" for name in pages]


def _read_executed(executed: Path, number: str) -> Any:
    import nbformat

    found = sorted(executed.glob(f"{number}_*.ipynb"))
    if not found:
        raise FileNotFoundError(
            f"lesson {number} is not in {executed}; run `python -m satkit run {number}` first"
        )
    return nbformat.read(found[0], as_version=4)


def _copy_reveal(out: Path) -> None:
    try:
        source = resources.files("sphinx_revealjs") / "_static" / "revealjs"
    except ModuleNotFoundError as error:
        raise ImportError(
            "slides need reveal.js, which comes with sphinx-revealjs; run in the clone: "
            "pip install '.[docs]'"
        ) from error
    for name in REVEAL:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes((source / name).read_bytes())


def render(lecture: Lecture, lessons: dict[str, Any], folder: Path) -> str:
    """Turn a lecture into an HTML page, by nbconvert's exporter of reveal.js slides.

    Args:
        lecture: As it was written.
        lessons: Executed notebooks by number.
        folder: That holds the template `lecture.html.j2`.

    Returns:
        The page; pictures are in it, reveal.js is in the folder `reveal` beside it.

    Raises:
        ValueError: A slide refers to what its lesson does not show.
    """
    from nbconvert import SlidesExporter
    from nbformat.v4 import new_markdown_cell, new_notebook

    cells = []
    for slide in lecture.slides:
        try:
            text, figures, layout = _fill(slide, lessons)
        except ValueError as error:
            raise ValueError(f"{lecture.name}, slide {slide.title!r}: {error}") from None
        facts = {"title": slide.title, "figures": figures, "layout": layout}
        kind = {"slide_type": "slide"}
        cells.append(new_markdown_cell(text, metadata={**facts, "slideshow": kind}))
        notes = f"*{slide.minutes} min*\n\n{slide.notes}"
        kind = {"slide_type": "notes"}
        cells.append(new_markdown_cell(notes, metadata={"slideshow": kind}))
    exporter = SlidesExporter(template_file=str(folder / "lecture.html.j2"))
    exporter.register_filter("markdown", to_html)
    size = {"lecture": lecture, "width": WIDTH, "height": HEIGHT}
    page, _ = exporter.from_notebook_node(new_notebook(cells=cells), resources=size)
    return page


def _fill(slide: Slide, lessons: dict[str, Any]) -> tuple[str, list[str], str]:
    """Put what the lessons show in place of the references: text, figures, and their layout."""
    figures: list[str] = []

    def fill(later: bool, match: re.Match[str]) -> str:
        kind, number, text = match.groups()
        lesson = lessons[number]
        content = shown(lesson, kind, text)
        origin = f'<p class="origin">lesson {number}, {provenance(lesson)}</p>'
        if kind in ("code", "text"):
            return content
        if kind == "figure":
            figures.append(_block("figure", f"{content}{origin}", later))
            return ""
        width = " wide" if content.partition("</tr>")[0].count("</th>") > WIDE else ""
        return f'<div class="shown{width}">{content}{origin}</div>'

    first, _, then = slide.body.partition(PAUSE)
    text = REFERENCE.sub(partial(fill, False), first).strip()
    if answer := REFERENCE.sub(partial(fill, True), then).strip():
        text += "\n\n" + _block("then", f"\n\n{answer}\n\n", later=True)
    if not figures:
        return text, [], "plain"
    if not text:
        return text, figures, "alone"
    question_only = text.startswith("> ") and "\n" not in text
    below = question_only or "$$" in text or _aspect(figures[0]) > 2
    return text, figures, "below" if below else "beside"


def _block(kind: str, content: str, later: bool) -> str:
    """Part of a slide; all that comes later on it appears at one key."""
    fragment = ' fragment" data-fragment-index="0' if later else ""
    return f'<div class="{kind}{fragment}">{content}</div>'


def _aspect(figure: str) -> float:
    """Width of an embedded picture divided by its height."""
    data = re.search(r'base64,([^"]+)"', figure)
    if data is None:
        return 1.0
    width, height = Image.open(io.BytesIO(base64.b64decode(data[1]))).size
    return width / height


# --------------------------------------------------------------------------------------------------
# PDF, and the command
# --------------------------------------------------------------------------------------------------


def find_browser() -> str | None:
    """Path of an installed Chromium or Chrome, None where there is none."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def to_pdf(page: Path, browser: str) -> Path:
    """Print a lecture to PDF, one page a slide.

    Args:
        page: HTML file of :func:`build`.
        browser: Path of Chromium or Chrome.

    Returns:
        The PDF, beside the page.

    Raises:
        ImportError: Playwright is not installed.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError as error:
        raise ImportError(
            "a PDF needs Playwright, which drives the installed browser: pip install playwright"
        ) from error
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    target = page.with_suffix(".pdf")
    with sync_playwright() as driver:
        # Chromium's sandbox refuses to run as root; the page is our own.
        chromium = driver.chromium.launch(executable_path=browser, chromium_sandbox=not root)
        tab = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        tab.goto(f"{page.resolve().as_uri()}?print-pdf")
        tab.wait_for_selector(".pdf-page", state="attached")
        tab.wait_for_function("[...document.images].every(image => image.complete)")
        tab.pdf(path=target, prefer_css_page_size=True, print_background=True)
        chromium.close()
    return target


def lessons_folder(profile: str) -> str:
    """Name the folder of the lessons that slides show: one for each profile.

    So slides at the smoke profile never replace the lessons that were executed for teaching.

    Args:
        profile: smoke, lab or paper.

    Returns:
        `build/notebooks` for lab, and such as `build/notebooks-smoke` for another one.
    """
    return "build/notebooks" if profile == "lab" else f"build/notebooks-{profile}"


def chosen(numbers: Iterable[str] | None) -> list[Lecture]:
    """Find lectures by their numbers.

    Args:
        numbers: Such as "1"; all where None or empty.

    Returns:
        The lectures in order.

    Raises:
        ValueError: There is no such lecture; the message lists them.
    """
    known = {one.name.removeprefix("lecture"): one for one in lectures()}
    numbers = set(numbers or known)
    for number in sorted(numbers):
        check_choice("the lecture", number, known)
    return [one for number, one in known.items() if number in numbers]


def slides(
    out: Path,
    pdf: bool = False,
    profile: str = "lab",
    numbers: Iterable[str] | None = None,
    executed: str = "",
) -> None:
    """Write lectures as slides that need no network; lessons that are not current run first.

    Each lecture is written as soon as its own lessons are there.

    Args:
        out: Folder of the slides.
        pdf: Print them to PDF, too.
        profile: Of the lessons that they show.
        numbers: Of the lectures, such as "1"; all six where None or empty.
        executed: Folder of the executed lessons; that of :func:`lessons_folder` where "".

    Raises:
        ValueError: There is no such lecture, or the profile is none.
        RuntimeError: A lesson failed, or there is no browser that prints.
    """
    pages, failed = [], []
    for lecture in chosen(numbers):
        folder = executed or lessons_folder(profile)
        outcomes = notebooks.run(sorted(lecture.quoted), profile, out_dir=folder)
        if lost := [one.name for one in outcomes if one.status == "failed"]:
            failed.append(f"{lecture.name} ({', '.join(lost)})")
            continue
        (page,) = build(out, outcomes[0].path.parent, [lecture])
        pages.append(page)
        print(f"slides: {page}")
    if pages and pdf:
        _print_pages(pages)
    if failed:
        raise RuntimeError(f"lessons failed, so there are no slides of: {', '.join(failed)}")


def _print_pages(pages: list[Path]) -> None:
    browser = find_browser()
    if browser is None:
        raise RuntimeError(
            f"no PDF: none of {', '.join(BROWSERS)} is installed. The HTML is complete; "
            "open it with ?print-pdf behind its address, and print it from the browser"
        )
    for page in pages:
        print(f"PDF: {to_pdf(page, browser)}")
