"""Grading a class: right, wrong, malicious and broken submissions."""

import json
import re
import sqlite3
from contextlib import closing

import pandas as pd
import pytest

from satkit.course import registry, sandbox
from satkit.course.grading import grade
from tests.course.conftest import ANSWERS, LIMITS
from tests.course.hand_in import SHEET

pytestmark = pytest.mark.slow
POINTS = sum(one.points for one in registry.exercises_of(SHEET))
OTHERS = POINTS - registry.find_exercise("iou", SHEET).points


def page(trial, student):
    return (trial.course / "feedback" / student / SHEET / f"{SHEET}.html").read_text()


@pytest.mark.parametrize("student", ["right", "colab", "no_kernel"])
def test_solutions_get_all_points(trial, student):
    assert trial.of(student)["points"].sum() == POINTS
    assert set(trial.of(student)["status"]) == {"right"}


def test_untouched_stubs_get_none(trial):
    assert trial.of("stub")["points"].sum() == 0
    assert set(trial.of("stub")["status"]) == {"not written"}


def test_a_wrong_answer_loses_its_points_only_and_is_told_why(trial):
    assert trial.of("double")["points"].sum() == OTHERS
    row = trial.of("double").loc["iou"]
    assert row["status"] == "wrong"
    assert "the common area is counted twice" in row["message"]
    assert "their sum counts it twice" in page(trial, "double")
    assert '<a href="#iou">iou</a>' in page(trial, "double")


@pytest.mark.parametrize(
    ("student", "status", "message"),
    [
        (
            "endless",
            "wrong",
            "TimeoutError: it took more than 1 seconds; is there an endless loop?",
        ),
        ("endless_cell", "wrong", "iou is not there"),
        ("stubborn", "stopped", "it took more than 6 seconds in all"),
        ("bomb", "wrong", "iou is not there"),
        ("patches", "wrong", "iou is not right yet"),
        ("exit", "wrong", "iou is not there"),
        ("hard_exit", "stopped", "it ended the process that runs it"),
        ("copies", "look", "the code uses .reference, satkit.course"),
        ("less", "missing", "is not in the notebook"),
        ("empty", "broken", "the file is empty"),
        ("torn", "broken", "no notebook: NotJSONError"),
        ("elsewhere", "broken", "is it another notebook?"),
    ],
)
def test_what_earns_nothing_is_named(trial, student, status, message):
    if student == "less" and not OTHERS:
        status, message = "broken", "is it another notebook?"
    row = trial.of(student).loc["iou"]
    assert (row["points"], row["status"]) == (0, status)
    assert message in row["message"]


def test_what_follows_an_endless_loop_is_graded(trial):
    assert trial.of("endless")["points"].sum() == OTHERS


def test_memory_is_limited_and_the_answer_counts(trial):
    """The cell stops with MemoryError; the function before it was right."""
    assert trial.of("memory").loc["iou", "status"] == "right"
    assert "MemoryError" in page(trial, "memory")


def test_others_are_neither_read_nor_changed(trial):
    if sandbox.missing():
        pytest.skip(f"this kernel isolates not fully: {sandbox.missing()}")
    assert trial.secret.read_text() == "questions"
    assert (trial.submissions / "right" / f"{SHEET}.ipynb").exists()
    for number in range(3):
        for student in (f"thief{number}", f"vandal{number}"):
            assert trial.of(student).loc["iou", "points"] == 0
            assert "PermissionError" in page(trial, student)


def test_long_output_is_cut(trial):
    assert trial.of("loud").loc["iou", "status"] == "right"
    assert len(page(trial, "loud")) < 1_000_000
    assert "the output is too long" in page(trial, "loud")


def test_pages_run_no_code_of_students_and_fetch_nothing(trial):
    assert trial.of("html").loc["iou", "status"] == "right"
    for student in ("html", "right"):
        html = page(trial, student)
        assert "<script>alert(1)" not in html
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//", html)


def test_tables_hold_every_submission(trial):
    written = pd.read_csv(trial.course / "grades.csv")
    assert list(written.columns) == [
        "student", "sheet", "exercise", "points", "max_points", "status", "message",
    ]  # fmt: skip
    handed_in = {path.name for path in trial.submissions.iterdir()}
    assert set(written["student"]) == handed_in > set(ANSWERS)
    assert not written["message"].str.contains("\n").any()
    summary = pd.read_csv(trial.course / "summary.csv", index_col="student")
    assert summary.loc["right", "percent"] == 100 and summary.loc["stub", "percent"] == 0
    assert summary.loc["copies", "to_read"] == 1
    assert "metadata was missing" in summary.loc["colab", "notes"]


def test_the_gradebook_agrees_with_the_table(trial):
    with closing(sqlite3.connect(trial.course / "gradebook.db")) as database:
        found = database.execute(
            "select handed.student_id, sum(grade.auto_score) from grade "
            "join submitted_notebook book on grade.notebook_id = book.id "
            "join submitted_assignment handed on book.assignment_id = handed.id "
            "group by handed.student_id"
        )
        points = dict(found.fetchall())
    assert points == trial.table.groupby("student")["points"].sum().to_dict()


def test_what_is_graded_and_unchanged_is_not_graded_again(trial):
    said: list[str] = []
    table = grade(trial.submissions, trial.course, limits=LIMITS, say=said.append)
    count = len(list(trial.submissions.iterdir()))
    assert said[-1] == f"{count} submissions, {count} graded before and unchanged"
    pd.testing.assert_frame_equal(table, trial.table, check_dtype=False)


def test_progress_names_each_submission(trial):
    line = re.compile(rf"\[\d+/\d+\] right ex01: {POINTS} of {POINTS} points, .* s")
    assert any(line.fullmatch(one) for one in trial.said)


def test_sheets_of_that_name_must_be_released(trial):
    with pytest.raises(ValueError, match="sheet is 'ex05'; expected one of ex01"):
        grade(trial.submissions, trial.course, ["ex05"])


def test_who_hands_in_nothing_is_named(trial):
    from satkit.course.grading import _not_handed_in, read_sheets

    sheets = read_sheets(trial.course)
    one = trial.table[trial.table["student"] == "right"]
    other = one.assign(student="absent", sheet="ex02_other")
    rows = _not_handed_in(pd.concat([one, other]), sheets)
    assert set(rows["student"]) == {"absent"} and set(rows["status"]) == {"not handed in"}


def test_notes_of_a_run_are_kept_as_data(trial):
    state = json.loads((trial.course / "graded" / "stubborn" / "ex01.json").read_text())
    assert state["notes"] == ["stopped: it took more than 6 seconds in all"]
