"""The course folder that a teacher gets."""

import importlib
import re
import sqlite3
import sys
import zipfile
from contextlib import closing
from unittest.mock import patch

import nbformat
import pytest

from satkit import __main__ as cli
from satkit.course import registry
from satkit.notebooks import list_notebooks
from tests.course.hand_in import SHEET, read


def test_students_get_no_solutions_and_no_hidden_tests(course):
    given = "\n".join(cell.source for cell in read(course).cells)
    kept = "\n".join(cell.source for cell in read(course, "source").cells)
    for mark in ("BEGIN SOLUTION", "BEGIN HIDDEN TESTS", "20_231"):
        assert mark in kept and mark not in given
    assert "# YOUR CODE HERE\n    raise NotImplementedError()" in given
    with zipfile.ZipFile(course / "student_edition.zip") as archive:
        sheet = archive.read(f"{SHEET}.ipynb")
    assert b"SOLUTION" not in sheet and b"holds the solutions" not in sheet
    (value,) = (cell for cell in read(course).cells if cell.source.startswith("convention_flip ="))
    assert value.source.startswith("convention_flip = None  #") and "\n" not in value.source


def test_students_get_lessons_that_their_sheets_link_to_and_a_readme(course):
    with zipfile.ZipFile(course / "student_edition.zip") as archive:
        files = {name for name in archive.namelist() if not name.endswith("/")}
        sheet = "".join(
            cell.source for cell in nbformat.reads(archive.read(f"{SHEET}.ipynb"), 4).cells
        )
        readme = archive.read("README.md").decode()
        own, other = (
            archive.read(f"lessons/{name}.ipynb").decode()
            for name in (SHEET.removeprefix("ex"), "02_cam_and_tscam")
        )
    lessons = {f"lessons/{name}.ipynb" for name in list_notebooks()}
    assert files == {f"{SHEET}.ipynb", "README.md", *lessons}
    links = set(re.findall(r"\]\(([^)#]+\.ipynb)\)", sheet))
    assert links and links <= lessons
    assert f"sheet [{SHEET[:4]}](../{SHEET}.ipynb)" in own
    assert "sheet ex02 ·" in other  # was not released
    for step in (
        "git clone",
        "jupyter lab",
        "In Colab",
        "%cd satkit",
        "check(…)",
        "Hand in",
        "fetches a different project",
    ):
        assert step in readme


def test_the_gradebook_knows_all_exercises_and_points(course):
    with closing(sqlite3.connect(course / "gradebook.db")) as database:
        names = {
            row[0] for row in database.execute("select name from base_cell where type='GradeCell'")
        }
        (points,) = database.execute("select sum(max_score) from grade_cells").fetchone()
    exercises = registry.exercises_of(SHEET)
    assert names == {one.name for one in exercises}
    assert points == sum(one.points for one in exercises)


def test_the_teacher_finds_three_commands_and_a_configuration(course):
    readme = (course / "README.md").read_text()
    assert f"course grade SUBMISSIONS --course {course}" in readme
    assert "`pip install satkit` fetches a different project" in readme
    assert "configure(c)" in (course / "nbgrader_config.py").read_text()


def test_bad_input_is_refused(tmp_path):
    from satkit.course.release import release

    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="holds other things"):
        release(tmp_path, ["ex01"])
    with pytest.raises(ValueError, match="exercise notebook is 'ex77'"):
        release(tmp_path / "new", ["ex77"])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("command", [["course"], ["course", "release"], ["course", "grade"]])
def test_commands_have_help(capsys, command):
    with pytest.raises(SystemExit) as stopped:
        cli.main([*command, "--help"])
    assert not stopped.value.code
    assert f"Usage: python -m satkit {' '.join(command)}" in capsys.readouterr().out


def test_bad_paths_end_with_2_and_one_message(capsys, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["course", "grade", str(tmp_path), "--course", str(tmp_path / "nowhere")])
    assert stopped.value.code == 2
    assert "holds no released sheets" in capsys.readouterr().err


def test_nbgrader_is_imported_only_where_it_is_needed_and_named_if_missing(capsys):
    """All of satkit is imported again where there is no nbgrader."""
    others = {name: one for name, one in sys.modules.items() if name.split(".")[0] != "satkit"}
    with patch.dict(sys.modules, {**others, "nbgrader": None}, clear=True):
        for name in ("__main__", "course", "course.sheets", "course.worker"):
            importlib.import_module(f"satkit.{name}")
        with pytest.raises(SystemExit) as stopped:
            sys.modules["satkit.__main__"].main(["course", "release", "/nowhere/course"])
    assert stopped.value.code == 1
    assert "in a clone of the repository run: pip install '.[course]'" in capsys.readouterr().err


def test_a_feedback_page_has_its_notice_on_top_and_no_links_to_lessons():
    from satkit.course.gradebook import mend_page

    page = (
        '<body><div class="container"><h4>ex01</h4><a href="#iou">Test cell</a>'
        '<a href="lessons/01_a.ipynb">01</a><div class="container">x</div></div></body>'
    )
    assert '<h4>ex01</h4><a href="#iou">iou</a>01<div' in mend_page(page)
    assert "alert" not in mend_page(page)
    mended = mend_page(page, "No file: <b>.")
    assert mended.count("No file: &lt;b&gt;.") == 1
    assert mended.index("No file") < mended.index("<h4>")
