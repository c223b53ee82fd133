"""All sheets, graded as submissions are: run in the sandbox, judged from data."""

import json
from copy import deepcopy
from dataclasses import asdict
from types import SimpleNamespace

import pytest

from satkit.course import registry, sandbox, sheets
from satkit.course import worker as children
from satkit.course.grading import Sheet, grade_one
from satkit.course.submissions import Submission, is_marked
from tests.course import editions

LIMITS = asdict(sandbox.Limits())


@pytest.fixture(scope="module")
def worker():
    """What a worker does, as children of this process."""
    children.import_what_sheets_use()

    def run(sheet, cells):
        return children.grade_job({"sheet": sheet, "cells": cells, "limits": LIMITS})

    return SimpleNamespace(run=run)


def released(name: str) -> tuple[Sheet, bytes, bytes]:
    """A sheet as its release is read, and the notebooks with and without solutions."""
    teacher = sheets.teacher_notebook(name, sheets.source_path(name).read_text())
    student = deepcopy(teacher)
    for cell in student.cells:
        cell.source = sheets.student_source(cell.source)
    checks = [cell for cell in editions.cells(name) if is_marked(cell, "grade")]
    calls = {cell.metadata.nbgrader.grade_id: sheets.calls_of(cell.source) for cell in checks}
    points = {cell.metadata.nbgrader.grade_id: cell.metadata.nbgrader.points for cell in checks}
    texts = (json.dumps(notebook).encode() for notebook in (teacher, student))
    return Sheet(name, student, calls, points, ""), *texts


@pytest.mark.parametrize("name", registry.sheets())
def test_solutions_score_all_and_stubs_nothing(worker, name):
    sheet, solved, untouched = released(name)
    rows = grade_one(Submission("ada", name[:4], "", solved), sheet, worker).rows
    assert [row for row in rows if row["status"] != "right"] == []
    assert len(rows) == len(registry.exercises_of(name))
    rows = grade_one(Submission("bob", name[:4], "", untouched), sheet, worker).rows
    assert {(row["points"], row["status"]) for row in rows} <= {(0, "not written")}
