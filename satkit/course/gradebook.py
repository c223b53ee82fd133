"""All that touches nbgrader: the student edition, the gradebook and the feedback pages."""

from __future__ import annotations

import html
import logging
import os
import re
import sysconfig
import warnings
from pathlib import Path
from typing import Any

from satkit.course.formulas import to_html
from satkit.course.sheets import without_solutions

try:
    from jinja2 import pass_context
    from nbconvert.preprocessors.sanitize import SanitizeHTML
    from nbgrader import preprocessors
    from nbgrader.api import Comment, Grade, Gradebook
    from nbgrader.converters import (
        Autograde,
        BaseConverter,
        GenerateAssignment,
        GenerateFeedback,
        NbGraderException,
    )
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import Config
except ImportError as error:
    raise ImportError(
        f"releasing and grading need nbgrader ({error}); "
        "in a clone of the repository run: pip install '.[course]'"
    ) from None

#: Where notebooks lie that were executed in isolation, from which nbgrader reads the grades.
EXECUTED = "executed"


class ClearAnswers(preprocessors.ClearSolutions):  # type: ignore[misc]
    """Remove solutions; a value keeps the line that stands before its solution."""

    def _replace_solution_region(self, cell: Any, language: str) -> bool:
        cleared = without_solutions(cell.source)
        changed, cell.source = cleared != cell.source, cleared
        return changed


class SaveGrades(preprocessors.SaveAutoGrades):  # type: ignore[misc]
    """Save grades without the comment "No response.": the verdict of the check says as much."""

    def _add_comment(self, cell: Any, resources: Any) -> None:
        pass


def configure(config: Any) -> None:
    """Set what a course folder of satkit needs, also for nbgrader's own commands.

    Args:
        config: That of traitlets, as `get_config()` gives it in `nbgrader_config.py`.
    """
    release = GenerateAssignment.preprocessors.default_args[0]
    config.GenerateAssignment.preprocessors = [
        ClearAnswers if one is preprocessors.ClearSolutions else one
        for one in release
        if one is not preprocessors.InstantiateTests  # that is for tests made by templates
    ]
    # Pages are read without a network, and submissions may hold HTML.
    config.HTMLExporter.sanitize_html = True
    config.SanitizeHTML.tags = [*SanitizeHTML().tags, "details", "summary"]
    for name in ("mathjax_url", "require_js_url", "jquery_url", "mermaid_js_url"):
        config.HTMLExporter[name] = ""
    config.HTMLExporter.filters = {"markdown2html": _cell_to_html}


#: Of pages of feedback: long lines wrap; links and code keep the contrast of WCAG's level AA
STYLE = """
pre { white-space: pre-wrap; }
a { color: #23527c; text-decoration: underline; }
a[href="#top"] { color: inherit !important; }
.highlight, .highlight pre { background: #fff !important; }
"""


@pass_context
def _cell_to_html(context: Any, markdown: str) -> str:
    """Markdown of a cell, with its pictures, as HTML whose formulas need no script."""
    return to_html(markdown, context.get("cell", {}).get("attachments"))


def _convert(kind: type[BaseConverter], root: Path, config: Config, **course: str) -> None:
    """Run one of nbgrader's converters in a course folder.

    Raises:
        RuntimeError: It failed; the message holds what nbgrader logged.
    """
    configure(config)
    _find_programs()
    log, notes = logging.getLogger(f"satkit.course.{kind.__name__}"), _Notes()
    log.handlers, log.propagate = [notes], False
    folder = CourseDirectory(root=str(root.resolve()), config=config, **course)
    converter = kind(coursedir=folder, config=config)
    converter.log, converter.force = log, True
    try:
        with warnings.catch_warnings(action="ignore"):  # of nbgrader's own use of its database
            converter.start()
    except NbGraderException as error:
        raise RuntimeError(f"nbgrader: {error}\n{notes.text()}") from None


def _find_programs() -> None:
    """Let nbgrader find the program `alembic`, also where the environment is not activated."""
    scripts, path = sysconfig.get_path("scripts"), os.environ.get("PATH", "")
    if scripts not in path.split(os.pathsep):
        os.environ["PATH"] = f"{path}{os.pathsep}{scripts}"


class _Notes(logging.Handler):
    """Keeps errors, for the message."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def text(self) -> str:
        return "\n".join(self.lines)[-2000:]


def make_release(root: Path, sheet: str) -> None:
    """Make `release/SHEET` from `source/SHEET`, and note its cells in the gradebook.

    Args:
        root: Of the course.
        sheet: Full name.

    Raises:
        RuntimeError: nbgrader refuses, for instance as cells changed that were graded before.
    """
    _convert(GenerateAssignment, root, Config(), assignment_id=sheet)


def record_grades(root: Path, sheet: str, student: str, notice: str = "") -> None:
    """Take grades from `executed/STUDENT/SHEET` into the gradebook, and write the page.

    Args:
        root: Of the course.
        sheet: Full name.
        student: As in the folder's name.
        notice: To stand on top of the page.

    Raises:
        RuntimeError: nbgrader refuses.
    """
    config = Config()
    # The notebook was executed already, so nothing is run here.
    config.Autograde.sanitize_preprocessors = []
    config.Autograde.autograde_preprocessors = [
        SaveGrades,
        preprocessors.AssignLatePenalties,
    ]
    place = {"assignment_id": sheet, "student_id": student}
    _convert(Autograde, root, config, submitted_directory=EXECUTED, **place)
    write_page(root, sheet, student, notice)


def write_page(root: Path, sheet: str, student: str, notice: str = "") -> None:
    """Write the feedback page of a graded submission.

    Args:
        root: Of the course.
        sheet: Full name.
        student: As in the folder's name.
        notice: To stand on top of the page.

    Raises:
        RuntimeError: nbgrader refuses.
    """
    _convert(GenerateFeedback, root, Config(), assignment_id=sheet, student_id=student)
    page = root / "feedback" / student / sheet / f"{sheet}.html"
    page.write_text(mend_page(page.read_text(), notice))


def by_hand(root: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """What a person gave in Formgrader.

    Args:
        root: Of the course.

    Returns:
        By student and sheet (full name): for each exercise ``points``, if any, with extra credit,
        and ``comment``.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    changed = Grade.manual_score.isnot(None) | (Grade.extra_credit > 0)
    kinds = (
        (Grade, changed, "points", "score"),
        (Comment, Comment.manual_comment.isnot(None), "comment", "manual_comment"),
    )
    with Gradebook(f"sqlite:///{root.resolve() / 'gradebook.db'}") as book:
        for table, wanted, name, column in kinds:
            for one in book.db.query(table).filter(wanted):
                sheet = found.setdefault((one.student.id, one.assignment.name), {})
                sheet.setdefault(one.name, {})[name] = getattr(one, column)
    return found


def mend_page(page: str, notice: str = "") -> str:
    """Remove what a page would fetch, name its language and exercises, and let it be read well.

    Args:
        page: HTML of nbgrader.
        notice: Text to stand on top of it.

    Returns:
        HTML; links to lessons, which do not lie beside the page, are plain text in it.
    """
    page = re.sub(r'<a href="#([\w-]+)">Test cell</a>', r'<a href="#\1">\1</a>', page)
    page = re.sub(r'<a href="lessons/[^"]*"[^>]*>(.*?)</a>', r"\1", page)
    page = page.replace("<html>", '<html lang="en">', 1)
    page = page.replace("</head>", f"<style>{STYLE}</style></head>")
    page = re.sub(r"<script[^>]*\bsrc=\"[^\"]*\"[^>]*>\s*</script>", "", page)
    page = re.sub(r"<link[^>]*href=\"https?:[^>]*>", "", page)
    if not notice:
        return page
    top = f'<p class="alert alert-danger" role="alert">{html.escape(notice)}</p>'
    return page.replace('<div class="container">', f'<div class="container">\n{top}', 1)
