"""The code of a sheet in a plain namespace, as teachers have it."""

from __future__ import annotations

import contextlib
import io
from functools import cache
from typing import Any

from satkit.course import sheets, worker
from satkit.course.registry import find_exercise
from satkit.course.submissions import is_marked


@cache
def cells(sheet: str) -> list[Any]:
    return sheets.teacher_notebook(sheet, sheets.source_path(sheet).read_text()).cells


def calls(sheet: str) -> list[sheets.Call]:
    """All calls of `check`, hidden ones too."""
    checks = [cell for cell in cells(sheet) if is_marked(cell, "grade")]
    return [call for cell in checks for call in sheets.calls_of(cell.source)]


def run(code: str, namespace: dict[str, Any]) -> None:
    """Run code quietly; a stub may say that it is one."""
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.suppress(NotImplementedError):
        exec(code, namespace)


@cache
def teacher_namespace(sheet: str) -> dict[str, Any]:
    """What all cells of the sheet with its solutions define, but the checks."""
    found: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells(sheet):
        if cell.cell_type == "code" and not is_marked(cell, "grade"):
            run(cell.source, found)
    return found


def verdict(sheet: str, call: sheets.Call, found: dict[str, Any]) -> tuple[bool, str]:
    """What grading says of an answer, with what it gives passed on as data."""
    exercise = find_exercise(call.exercise, sheet)
    given = worker.give(exercise, lambda: eval(call.answer, found), call.seed)
    return worker.judge_one(sheet, {"exercise": call.exercise, "seed": call.seed, **given})
