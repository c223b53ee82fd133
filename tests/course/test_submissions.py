"""Submissions: found in what an LMS exports, read, and their cells put into their places."""

import json
import zipfile
from copy import deepcopy

import nbformat
import pytest

from satkit.course import sheets, submissions
from satkit.course.submissions import BrokenSubmission, find_submissions, read_notebook, rebuild
from tests.course.hand_in import RIGHT, SHEET, answer, grade_id, stripped

TEACHER = sheets.teacher_notebook(SHEET, sheets.source_path(SHEET).read_text())


@pytest.fixture
def release():
    """The student edition."""
    notebook = deepcopy(TEACHER)
    for cell in notebook.cells:
        cell.source = sheets.student_source(cell.source)
    return notebook


@pytest.mark.parametrize(
    ("path", "student"),
    [
        (f"submitted/ada/{SHEET}/{SHEET}.ipynb", "ada"),
        (f"ada/{SHEET}/{SHEET}.ipynb", "ada"),
        ("ada/ex01.ipynb", "ada"),
        (f"class/ada@uni.edu/{SHEET}.ipynb", "ada@uni.edu"),
        ("ada_2026-02-03_ex01.ipynb", "ada"),
        (f"lovelaceada_4711_99_{SHEET}-2.ipynb", "lovelaceada_4711"),
        (f"lovelaceada_LATE_4711_99_{SHEET}.ipynb", "lovelaceada_4711"),
        (f"Ada Lovelace_815_assignsubmission_file_/{SHEET}.ipynb", "Ada_Lovelace_815"),
        (f"Ada Lovelace_815_assignsubmission_file/{SHEET}.ipynb", "Ada_Lovelace_815"),
        (f"Ada Lovelace_815_assignsubmission_file_{SHEET}.ipynb", "Ada_Lovelace_815"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_exports_are_understood(tmp_path, path, student, packed):
    place = tmp_path / "in"
    (place / path).parent.mkdir(parents=True)
    (place / path).write_text("{}")
    if packed:
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
            archive.write(place / path, path)
        place = tmp_path / "in.zip"
    found, left_out = find_submissions(place)
    assert [(one.student, one.sheet, one.path, one.data) for one in found] == [
        (student, "ex01", path, b"{}")
    ]
    assert left_out == []


def test_what_is_left_out_is_named(tmp_path):
    for name in ("ada_ex01.ipynb", "ada_ex01-2.ipynb", "ada_ex01-10.ipynb", "notes.ipynb"):
        (tmp_path / name).write_text(name)
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / ".ipynb_checkpoints" / "ada_ex01.ipynb").write_text("")
    (tmp_path / "bob_ex01.ipynb").symlink_to("/etc/passwd")
    (one,), left_out = find_submissions(tmp_path)
    assert one.path == "ada_ex01-10.ipynb"
    assert one.remarks == ("counts instead of ada_ex01-2.ipynb",)
    assert sorted(left_out) == [
        "ada_ex01-2.ipynb: ada_ex01-10.ipynb counts instead",
        "ada_ex01.ipynb: ada_ex01-2.ipynb counts instead",
        "notes.ipynb: no student and sheet in its path",
    ]


def test_a_pattern_of_ones_own(tmp_path):
    (tmp_path / "ex01-by-ada.ipynb").write_text("")
    pattern = r"(?P<sheet>ex\d\d)-by-(?P<student>\w+)\.ipynb"
    (one,), _ = find_submissions(tmp_path, pattern)
    assert (one.student, one.sheet) == ("ada", "ex01")
    with pytest.raises(ValueError, match="needs the groups"):
        find_submissions(tmp_path, r"(?P<student>\w+)\.ipynb")
    with pytest.raises(ValueError, match="no regular expression"):
        find_submissions(tmp_path, "(")


def test_submissions_must_be_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not there"):
        find_submissions(tmp_path / "nowhere")
    (tmp_path / "in.rar").write_text("no zip")
    with pytest.raises(ValueError, match="expected a folder or a zip file"):
        find_submissions(tmp_path / "in.rar")


def test_no_file_outside_a_zip_is_written(tmp_path):
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.writestr("../../ada/ex01.ipynb", "{}")
    assert find_submissions(tmp_path / "in.zip") == ([], [])
    assert not (tmp_path.parents[1] / "ada").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"  \n", "the file is empty"),
        (b"no json", "no notebook: NotJSON"),
        (b"\xff\xfe\x00", "no notebook: UnicodeDecodeError"),
        (b"[1, 2]", "no notebook"),
        (b'{"cells": 3}', "no notebook"),
        (
            b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"a": 1}]}',
            "no notebook",
        ),
        (b"[" * 100_000, "no notebook"),
    ],
)
def test_broken_files_are_named(data, message):
    with pytest.raises(BrokenSubmission, match=message):
        read_notebook(data)


def test_a_notebook_of_another_course_is_refused(release):
    other = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")])
    with pytest.raises(BrokenSubmission, match="no exercise of this sheet"):
        rebuild(release, other)


def code_of(rebuilt, name):
    (found,) = [cell.source for cell in rebuilt.cells if grade_id(cell) == name]
    return found


def test_an_untouched_sheet_stays_as_it_is(release):
    rebuilt = rebuild(release, release)
    assert [cell.source for cell in rebuilt.cells] == [cell.source for cell in release.cells]
    assert rebuilt.notes == [] and rebuilt.own == []


@pytest.mark.parametrize("strip", [False, True])
def test_answers_are_found_with_and_without_metadata(release, strip):
    student = answer(release, {"iou": RIGHT})
    read = read_notebook(json.dumps(stripped(student) if strip else student).encode())
    rebuilt = rebuild(release, read)
    assert code_of(rebuilt, "iou-answer") == RIGHT
    assert rebuilt.answers["iou"] == RIGHT and rebuilt.own == []
    assert rebuilt.notes == (
        ["nbgrader's metadata was missing; cells were found by their text"] * strip
    )


def test_changed_checks_are_the_teachers_again(release):
    student = answer(release, {"iou": RIGHT})
    (cell,) = [cell for cell in student.cells if grade_id(cell) == "iou"]
    cell.source = "print('right')"
    assert code_of(rebuild(release, student), "iou") == 'check("iou", iou)'
    bare = stripped(student)
    bare.cells[[c.source for c in bare.cells].index("print('right')")].source = "check('iou', 3)"
    rebuilt = rebuild(release, bare)
    assert code_of(rebuilt, "iou") == 'check("iou", iou)' and rebuilt.own == []


def test_missing_cells_are_put_back(release):
    student = deepcopy(release)
    student.cells = [
        cell for cell in student.cells if grade_id(cell) not in ("iou-answer", "start")
    ]
    rebuilt = rebuild(release, student)
    assert code_of(rebuilt, "iou-answer") == code_of(rebuild(release, release), "iou-answer")
    assert "iou" not in rebuilt.answers
    assert rebuilt.notes == ["the cell for the answer to iou is missing"]


@pytest.mark.parametrize("order", [1, -1])
def test_of_cells_that_stand_twice_the_written_one_counts(release, order):
    student = deepcopy(release)
    index = [grade_id(cell) for cell in student.cells].index("iou-answer")
    written = deepcopy(student.cells[index])
    written.source = RIGHT
    student.cells[index : index + 1] = [student.cells[index], written][::order]
    rebuilt = rebuild(release, student)
    assert code_of(rebuilt, "iou-answer") == RIGHT
    assert rebuilt.notes == ["the answer to iou is in 2 cells; the last counts"]


def test_a_students_own_cells_stay_where_they_were(release):
    student = answer(release, {"iou": "def iou(a, b):\n    return helper(a, b)"})
    index = [grade_id(cell) for cell in student.cells].index("iou-answer")
    own = [nbformat.v4.new_code_cell("helper = max"), nbformat.v4.new_markdown_cell("I think")]
    student.cells[index:index] = own
    student.cells.insert(0, nbformat.v4.new_code_cell("import math"))
    rebuilt = rebuild(release, student)
    sources = [cell.source for cell in rebuilt.cells]
    assert sources == [cell.source for cell in student.cells]
    assert rebuilt.own == ["helper = max", "import math"]


def test_names_that_code_defines():
    code = "%matplotlib inline\nimport os\nx, y = 1, 2\ndef f(): z = 3\nclass C: pass"
    assert submissions.defined(code) == {"x", "y", "f", "C"}
    assert submissions.defined("def f(:\n") == {"f"}
