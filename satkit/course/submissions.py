"""Submissions: finding them in what an LMS exports, reading them, putting cells into their places.

A submission is somebody else's file: it may be broken, lack nbgrader's metadata (Colab and VS Code
drop it), hold cells twice, or be the notebook of another course.
"""

from __future__ import annotations

import ast
import re
import stat
import warnings
import zipfile
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from satkit.course.sheets import student_source

LARGEST_FILE = 20 << 20
SHEET = r"(?P<sheet>ex\d\d)[^/]*"
#: How paths of exported notebooks look, below the folder or in the zip; the first that fits counts.
PATTERNS = {
    "Moodle": rf"(?:.*/)?(?P<student>[^/]+_\d+)_assignsubmission_file_?/?(?:.*/)?{SHEET}",
    "Canvas": rf"(?:.*/)?(?P<student>[^/_]+_(?:LATE_)?\d+)_\d+_{SHEET}",
    "nbgrader": rf"(?:.*/)?(?P<student>[^/]+)/{SHEET}/[^/]+",
    "folders": rf"(?:.*/)?(?P<student>[^/]+)/{SHEET}",
    "flat": rf"(?:.*/)?(?P<student>[^/_]+)_(?:[^/]*_)?{SHEET}",
}


@dataclass(frozen=True)
class Submission:
    """A file that a student handed in.

    Attributes:
        student: As the path says, with other characters than letters, digits, ``.@-`` as ``_``.
        sheet: ``ex01``.
        path: Below the folder or in the zip.
        data: The file; b"" where it is too large.
        remarks: For the teacher: that it is late, or which file it replaces.
    """

    student: str
    sheet: str
    path: str
    data: bytes
    remarks: tuple[str, ...] = ()


class BrokenSubmission(ValueError):
    """A file that cannot be graded; the message says why."""


# --------------------------------------------------------------------------------------------------
# Finding
# --------------------------------------------------------------------------------------------------


def find_submissions(
    place: str | Path, pattern: str | None = None
) -> tuple[list[Submission], list[str]]:
    """Find the notebooks that students handed in.

    Args:
        place: A folder or a zip file.
        pattern: Regular expression with the groups ``student`` and ``sheet`` (``ex01``) for a
            whole path; the usual ones (``PATTERNS``) where None.

    Returns:
        One submission a student and sheet (the last where there are several), and one line for
        each file that was left out.

    Raises:
        FileNotFoundError: The place is not there.
        ValueError: It is neither folder nor zip, or the pattern lacks a group.
    """
    found: dict[tuple[str, str], Submission] = {}
    left_out = []
    patterns = _patterns(pattern)
    for path, data in sorted(_files(Path(place)), key=lambda pair: _natural(pair[0])):
        names = [match for one in patterns if (match := one.fullmatch(path))]
        if not names:
            left_out.append(f"{path}: no student and sheet in its path")
            continue
        student = re.sub(r"[^\w.@-]+", "_", names[0]["student"].replace("_LATE_", "_")).lstrip(".")
        key = (student or "_", names[0]["sheet"][:4])
        remarks = ["late, as Canvas says"] if "_LATE_" in names[0]["student"] else []
        if earlier := found.get(key):
            left_out.append(f"{earlier.path}: {path} counts instead")
            remarks.append(f"counts instead of {earlier.path}")
        found[key] = Submission(*key, path, data, tuple(remarks))
    return [found[key] for key in sorted(found)], left_out


def _patterns(pattern: str | None) -> list[re.Pattern[str]]:
    if pattern is None:
        return [re.compile(one + r"\.ipynb") for one in PATTERNS.values()]
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"pattern is {pattern!r}, no regular expression: {error}") from None
    if not {"student", "sheet"} <= set(compiled.groupindex):
        raise ValueError(
            f"pattern is {pattern!r}; it needs the groups (?P<student>…) and (?P<sheet>ex\\d\\d)"
        )
    return [compiled]


def _natural(path: str) -> list[Any]:
    """Sort key in which exNN-2 comes after exNN, and exNN-10 after exNN-2."""
    stem = path.removesuffix(".ipynb")
    return [int(word) if word.isdigit() else word for word in re.split(r"(\d+)", stem)]


def _files(place: Path) -> Iterator[tuple[str, bytes]]:
    """Paths and contents of all files that could be meant."""
    if not place.exists():
        raise FileNotFoundError(f"submissions are looked for in {str(place)!r}, which is not there")
    if place.is_dir():
        for path in place.rglob("*"):
            name = path.relative_to(place).as_posix()
            if _is_meant(name) and stat.S_ISREG(path.lstat().st_mode):
                yield name, path.read_bytes() if path.stat().st_size <= LARGEST_FILE else b""
    elif zipfile.is_zipfile(place):
        with zipfile.ZipFile(place) as archive:
            for info in archive.infolist():
                if not info.is_dir() and _is_meant(info.filename):
                    small = info.file_size <= LARGEST_FILE
                    yield info.filename, archive.read(info) if small else b""
    else:
        raise ValueError(f"submissions are {str(place)!r}; expected a folder or a zip file")


def _is_meant(name: str) -> bool:
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    return name.endswith(".ipynb") and not hidden


# --------------------------------------------------------------------------------------------------
# Reading
# --------------------------------------------------------------------------------------------------


def read_notebook(data: bytes) -> Any:
    """Read a submission's file.

    Args:
        data: Of the file.

    Returns:
        As nbformat has it, version 4.

    Raises:
        BrokenSubmission: It is empty, too large, no JSON, or no notebook.
    """
    import nbformat

    if not data.strip():
        raise BrokenSubmission(f"the file is empty, or larger than {LARGEST_FILE >> 20} MB")
    try:
        with warnings.catch_warnings(action="ignore"):  # of cell ids that stand twice
            notebook = nbformat.reads(data.decode("utf-8-sig"), as_version=4)
        cells = [(cell.cell_type, cell.source, cell.metadata) for cell in notebook.cells]
    except RecursionError:
        raise BrokenSubmission("the file is no notebook: it is nested too deeply") from None
    except Exception as error:
        raise BrokenSubmission(f"the file is no notebook: {_short(error)}") from None
    for cell, (_, source, metadata) in zip(notebook.cells, cells, strict=True):
        if not isinstance(source, str) or not isinstance(metadata, dict):
            raise BrokenSubmission("the file is no notebook: a cell has no text")
        cell["source"] = source.replace("\r\n", "\n")
    return notebook


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"


# --------------------------------------------------------------------------------------------------
# Putting cells into their places
# --------------------------------------------------------------------------------------------------


@dataclass
class Rebuilt:
    """A submission in the teacher's order: the teacher's cells with the student's answers.

    Attributes:
        cells: The teacher's, each answer with the student's code, and the student's own cells
            after the one that they followed. A teacher's cell carries `nbgrader` metadata.
        answers: The student's code by exercise; a missing one is not in it.
        own: Code of cells that students added.
        notes: What had to be mended, in words.
    """

    cells: list[Any] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    own: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def rebuild(teacher: Any, student: Any) -> Rebuilt:
    """Put a student's answers into the teacher's notebook.

    Args:
        teacher: Of `satkit.course.sheets.teacher_notebook`.
        student: Of :func:`read_notebook`.

    Raises:
        BrokenSubmission: None of the sheet's answers or checks is in it.
    """
    places = _places(teacher.cells, student.cells)
    _refuse_others(teacher, places)
    rebuilt = Rebuilt()
    for index, cell in enumerate(teacher.cells):
        mine = [number for number, place in enumerate(places) if place == index]
        copy = deepcopy(cell)
        if is_marked(cell, "solution"):
            _answer(copy, [student.cells[number].source for number in mine], rebuilt)
        rebuilt.cells.append(copy)
        for number in mine:
            rebuilt.cells += _following(student.cells, places, number, rebuilt)
    first = next((number for number, place in enumerate(places) if place is not None), 0)
    rebuilt.cells[:0] = [_own(cell, rebuilt) for cell in student.cells[:first]]
    if not any("nbgrader" in cell.metadata for cell in student.cells):
        rebuilt.notes.append("nbgrader's metadata was missing; cells were found by their text")
    return rebuilt


def is_marked(cell: Any, what: str) -> bool:
    """Whether nbgrader's metadata of a teacher's cell say that it is a `grade` or `solution`."""
    return bool(cell.metadata.get("nbgrader", {}).get(what))


def _refuse_others(teacher: Any, places: list[int | None]) -> None:
    graded = {
        index
        for index, cell in enumerate(teacher.cells)
        if is_marked(cell, "grade") or is_marked(cell, "solution")
    }
    if graded and not graded & set(places):
        raise BrokenSubmission("no exercise of this sheet is in it; is it another notebook?")


def _places(teacher: list[Any], student: list[Any]) -> list[int | None]:
    """For each cell of a student the teacher's cell that it comes from."""
    marked = [(index, cell) for index, cell in enumerate(teacher) if "nbgrader" in cell.metadata]
    by_id = {cell.metadata.nbgrader.grade_id: index for index, cell in marked}
    by_text = {_plain(student_source(cell.source)): index for index, cell in enumerate(teacher)}
    by_cell = {cell.id: index for index, cell in enumerate(teacher)}
    places: list[int | None] = []
    for cell in student:
        known = cell.metadata.get("nbgrader")
        own = known.get("grade_id") if isinstance(known, dict) else None
        place = by_id.get(own) if isinstance(own, str) else None
        place = by_text.get(_plain(cell.source)) if place is None else place
        place = by_cell.get(cell.get("id")) if place is None else place
        fits = place is None or teacher[place].cell_type == cell.cell_type
        places.append(place if fits else None)
    _find_checks(teacher, student, places)
    _find_answers(teacher, student, places)
    return places


def _find_checks(teacher: list[Any], student: list[Any], places: list[int | None]) -> None:
    """Find checks whose text was changed, by the exercise that they name."""
    checks = {
        cell.metadata.nbgrader.grade_id: index
        for index, cell in enumerate(teacher)
        if is_marked(cell, "grade")
    }
    for number, cell in enumerate(student):
        named = re.match(r"\s*check\(\s*[\"'](\w+)[\"']", cell.source)
        if places[number] is None and cell.cell_type == "code" and named:
            places[number] = checks.get(named[1])


def _find_answers(teacher: list[Any], student: list[Any], places: list[int | None]) -> None:
    """Find answers by what they define: the last cell before the check that defines all of it."""
    for index, cell in enumerate(teacher):
        if not is_marked(cell, "solution") or index in places:
            continue
        checks = [i for i in range(index, len(teacher)) if is_marked(teacher[i], "grade")]
        end = places.index(checks[0]) if checks and checks[0] in places else len(student)
        wanted = defined(student_source(cell.source))
        for number in reversed(range(len(student))):
            free = places[number] is None and student[number].cell_type == "code"
            if free and number < end and wanted and wanted <= defined(student[number].source):
                places[number] = index
                break


def defined(code: str) -> set[str]:
    """Names that a piece of code defines at its top; none where it cannot be read.

    Args:
        code: Of a cell, perhaps with magics.
    """
    try:
        body = ast.parse(re.sub(r"^\s*[%!].*$", "pass", code, flags=re.MULTILINE)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set(re.findall(r"^(?:def|class)\s+(\w+)", code, re.MULTILINE))
    names: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            parts = [part for target in targets for part in ast.walk(target)]
            names |= {part.id for part in parts if isinstance(part, ast.Name)}
    return names


def _answer(copy: Any, sources: list[str], rebuilt: Rebuilt) -> None:
    """Put a student's answer into the teacher's cell."""
    name = copy.metadata.nbgrader.grade_id.removesuffix("-answer")
    stub = student_source(copy.source)
    written = [source for source in sources if _plain(source) != _plain(stub)]
    copy.source = (written or sources or [stub])[-1]
    if len(sources) > 1:
        rebuilt.notes.append(f"the answer to {name} is in {len(sources)} cells; the last counts")
    if sources:
        rebuilt.answers[name] = copy.source
    else:
        rebuilt.notes.append(f"the cell for the answer to {name} is missing")


def _following(
    student: list[Any], places: list[int | None], number: int, rebuilt: Rebuilt
) -> list[Any]:
    """Cells that a student added after one of the teacher's."""
    found = []
    for other in range(number + 1, len(student)):
        if places[other] is not None:
            break
        found.append(_own(student[other], rebuilt))
    return found


def _own(cell: Any, rebuilt: Rebuilt) -> Any:
    """A student's own cell, without metadata and outputs."""
    from nbformat import v4

    if cell.cell_type != "code":
        return v4.new_markdown_cell(cell.source)
    rebuilt.own.append(cell.source)
    return v4.new_code_cell(cell.source)


def _plain(source: str) -> str:
    """Text of a cell up to spaces at the ends of lines."""
    return "\n".join(line.rstrip() for line in source.strip().splitlines())
