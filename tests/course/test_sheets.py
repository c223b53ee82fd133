"""Exercise sheets: their form, and what their sources give."""

import nbformat
import pytest

from satkit.course import registry, sheets
from tests.course.hand_in import SHEET

SOURCE = sheets.source_path(SHEET).read_text()


def test_all_sheets_are_in_order():
    assert sheets.check() == []


def test_a_sheet_is_the_same_one_every_time_and_has_nbgraders_metadata():
    first, second = (sheets.teacher_notebook(SHEET, SOURCE) for _ in range(2))
    assert nbformat.writes(first) == nbformat.writes(second)
    nbformat.validate(first)
    found = {
        cell.metadata.nbgrader.grade_id: cell.metadata.nbgrader
        for cell in first.cells
        if "nbgrader" in cell.metadata
    }
    assert found["iou"].grade and found["iou"].locked and not found["iou"].solution
    assert found["iou"].points == registry.find_exercise("iou", SHEET).points
    assert found["iou-answer"].solution and not found["iou-answer"].locked
    assert found["start"].locked and {one.schema_version for one in found.values()} == {3}
    assert "{{" not in nbformat.writes(first)
    ids = [cell.id for cell in first.cells]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("{{iou}}", "{{iuo}}", "Did you mean 'iou'"),
        ("{{iou}}", "the IoU", "stands before the first {{name}} line"),
        ('# %% tags=["parameters"]', "# %%", "0 cells are tagged"),
        (f'start("{SHEET}"', 'start("ex02_other"', f'must call start("{SHEET}"'),
        ("## Intersection over union", "## Something", "no heading `## Intersection over union`"),
        ("### BEGIN SOLUTION", "### SOLUTION", "iou: has 0 times a cell with ### BEGIN SOLUTION"),
        ("### END SOLUTION", "###", "no ### END SOLUTION"),
        ("### BEGIN HIDDEN TESTS", "###", "iou: the check has no hidden tests"),
        ('check("iou", iou)\n', 'check("iou", iou); print(3)\n', "holds 'print(3)'"),
        ('check("iou", iou, seed', 'check("uio", iou, seed', "its check names"),
        ("<details><summary>Hint", "<b>Hint", "iou: has 0 times a <details>"),
    ],
)
def test_what_is_wrong_with_a_source_is_named(old, new, problem):
    assert old in SOURCE
    text = SOURCE.replace(old, new, 1)
    try:
        sheets.teacher_notebook(SHEET, text)
        found = list(sheets.check_source(SHEET, text))
    except ValueError as error:
        found = [str(error)]
    assert any(problem in one for one in found), found


def test_sheets_and_registry_must_agree(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "ex99_unknown.py").write_text(SOURCE)
    (tmp_path / "ex98_lost.ipynb").write_text("{}")
    found = sheets.check(tmp_path)
    assert "ex98_lost: no source/ex98_lost.py beside it" in found
    assert "ex99_unknown: no satkit/course/exercises/ex99_unknown.py for it" in found
    assert f"{SHEET}: no source for these exercises" in found


def test_a_sheet_that_is_not_what_its_source_gives_is_named(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / f"{SHEET}.py").write_text(SOURCE)
    stale = f"{SHEET}: not what source/{SHEET}.py gives; run `make notebooks`"
    assert stale in sheets.check(tmp_path)
    assert sheets.pair(tmp_path) == [SHEET]
    assert sheets.pair(tmp_path) == []
    assert not [one for one in sheets.check(tmp_path) if one.startswith(SHEET)]


def test_students_get_stubs_without_hidden_tests():
    code = "def f(x):\n    ### BEGIN SOLUTION\n    return x\n    ### END SOLUTION\n"
    stub = "def f(x):\n    # YOUR CODE HERE\n    raise NotImplementedError()\n"
    assert sheets.student_source(code) == stub
    value = "y = None  # yours\n### BEGIN SOLUTION\ny = 3\n### END SOLUTION"
    assert sheets.student_source(value) == "y = None  # yours"
    tests = 'check("y", y)\n### BEGIN HIDDEN TESTS\ncheck("y", y, seed=3)\n### END HIDDEN TESTS'
    assert sheets.student_source(tests) == 'check("y", y)'


def test_sheets_with_solutions_say_so_in_their_first_cell_alone():
    for name in registry.sheets():
        book = nbformat.read(sheets.project_root() / "notebooks" / "course" / f"{name}.ipynb", 4)
        own = sheets.teacher_notebook(name, sheets.source_path(name).read_text())
        assert book.cells[0].source == f"{own.cells[0].source}\n\n{sheets.NOTICE}"
        assert sheets.without_notice(book.cells[0].source) == own.cells[0].source
        assert nbformat.writes(book).count("student_edition.zip") == 1


def test_names_of_sheets_may_be_short():
    assert sheets.sheet_names(["ex01"]) == [SHEET]
    with pytest.raises(ValueError, match="exercise notebook is 'ex77'"):
        sheets.sheet_names(["ex77"])
