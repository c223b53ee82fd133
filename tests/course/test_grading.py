"""Grading a class: right, wrong, malicious and broken submissions."""

import codecs
import json
import re
import sqlite3
from contextlib import closing

import pandas as pd
import pytest
from nbgrader.api import Gradebook

from satkit.course import registry, sandbox
from satkit.course.grading import grade
from tests.course.conftest import ANSWERS, LIMITS
from tests.course.hand_in import SHEET, hand_in

pytestmark = pytest.mark.slow
POINTS = {one.name: one.points for one in registry.exercises_of(SHEET)}
ALL = sum(POINTS.values())


def page(trial, student):
    return (trial.course / "feedback" / student / SHEET / f"{SHEET}.html").read_text()


@pytest.mark.parametrize("student", ["right", "colab", "shows", "hoards"])
def test_solutions_get_all_points(trial, student):
    assert trial.of(student)["points"].to_dict() == POINTS
    assert set(trial.of(student)["status"]) == {"right"}


def test_untouched_stubs_get_none(trial):
    assert trial.of("stub")["points"].sum() == 0
    assert set(trial.of("stub")["status"]) == {"not written"}


def test_a_wrong_answer_is_told_why(trial):
    assert "the common area is counted twice" in trial.of("faulty").loc["iou", "message"]
    assert "their sum counts it twice" in page(trial, "faulty")
    assert '<a href="#iou">iou</a>' in page(trial, "faulty")


def test_formulas_of_a_page_are_drawn(trial):
    text = re.sub(r"<(pre|style|script|code)\b.*?</\1>", "", page(trial, "right"), flags=re.S)
    assert "<math" in text and "$" not in text


@pytest.mark.parametrize(
    ("student", "exercise", "status", "message"),
    [
        ("faulty", "iou", "wrong", "the common area is counted twice"),
        ("faulty", "convention_flip", "wrong", "stops with SystemExit: 0"),
        ("faulty", "gt_known", "wrong", "TimeoutError: it took more than 1 seconds; is there an"),
        ("faulty", "max_box_acc_v2", "wrong", "cell of its answer stops with TimeoutError"),
        ("less", "pxap", "missing", "is not in the notebook"),
        ("vandal", "iou", "wrong", "iou is not there"),
        ("typo", "convention_flip", "wrong", "stops with NameError: name 'nump' is not defined"),
    ],
)
def test_an_exercise_without_points_is_named_and_takes_none_of_the_others(
    trial, student, exercise, status, message
):
    rows = trial.of(student)
    assert (rows.loc[exercise, "points"], rows.loc[exercise, "status"]) == (0, status)
    assert message in rows.loc[exercise, "message"]
    lost = {"faulty": list(POINTS)[:4]}.get(student, [exercise])
    rest = rows.drop(index=lost)
    assert rest["points"].to_dict() == {n: p for n, p in POINTS.items() if n not in lost}


@pytest.mark.parametrize(
    ("student", "status", "message"),
    [
        ("copies", "look", "the code uses .reference, satkit.course"),
        ("torn", "broken", "no notebook: NotJSONError"),
        ("elsewhere", "broken", "is it another notebook?"),
    ],
)
def test_a_submission_that_earns_nothing_is_named(trial, student, status, message):
    rows = trial.of(student)
    assert rows["points"].sum() == 0 and set(rows["status"]) == {status}
    assert rows["message"].str.contains(message, regex=False).all()


def test_the_page_of_a_file_that_cannot_be_graded_says_so_first(trial):
    html = page(trial, "torn")
    notice = html.index("This file could not be graded (the file is no notebook: NotJSONError")
    assert notice < html.index("(Score: 0.0 /") and "Hand it in again." in html
    assert "No response." not in html and ">Comment</a>" not in html
    assert "could not be graded" not in page(trial, "stub")


def test_pages_have_no_hints_and_no_dead_links(trial):
    for student in ("right", "torn", "colab"):
        html = page(trial, student)
        assert "<summary>Hint" not in html
        assert not re.search(r'href="[^"#]*\.ipynb', html)


def test_patches_make_nothing_right_and_are_for_a_person_to_read(trial):
    rows = trial.of("patches")
    assert rows["points"].sum() == 0
    assert rows.loc["iou", "status"] == "wrong"
    assert "iou is not right yet" in rows.loc["iou", "message"]
    assert set(rows["status"].drop("iou")) == {"look"}


def test_what_comes_before_the_end_of_the_process_is_graded(trial):
    rows = trial.of("hard_exit")
    assert list(rows["status"]) == ["right", "right", "stopped", "stopped", "stopped"]
    assert set(rows["message"][2:]) == {"it ended the process that runs it"}
    state = json.loads((trial.course / "graded" / "hard_exit" / "ex01.json").read_text())
    assert state["notes"] == ["stopped: it ended the process that runs it"]


def test_a_cell_that_wants_too_much_memory_is_stopped(trial):
    assert "MemoryError" in page(trial, "hoards")


def test_others_are_neither_read_nor_changed(trial):
    if sandbox.missing():
        pytest.skip(f"this kernel isolates not fully: {sandbox.missing()}")
    for path in trial.others:
        assert path.exists()
        for attempt in ("open", "remove"):
            assert f"{attempt} {path} PermissionError" in page(trial, "vandal")


def test_long_output_is_cut_and_pictures_are_kept(trial):
    html = page(trial, "shows")
    assert len(html) < 1_000_000 and "the output is too long" in html
    assert html.count("data:image/png") == 2 and "NotImplementedError" not in html
    assert 'alt="a page &amp; nothing"' in html


@pytest.mark.parametrize("student", ["shows", "faulty", "torn"])
def test_axe_finds_nothing_serious_on_a_page_of_feedback(trial, browser, student):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs `dev`")
    tab = browser.new_page()
    tab.goto((trial.course / "feedback" / student / SHEET / f"{SHEET}.html").as_uri())
    violations = axe.Axe().run(tab).response["violations"]
    tab.close()
    assert [one["id"] for one in violations if one["impact"] in ("serious", "critical")] == []


def test_pages_run_no_code_of_students_and_fetch_nothing(trial):
    for student in ("shows", "right"):
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
    pd.testing.assert_series_equal(summary["ex01"], summary["percent"], check_names=False)
    for name in ("grades.csv", "summary.csv"):
        assert (trial.course / name).read_bytes().startswith(codecs.BOM_UTF8)
    assert summary.loc["right", "percent"] == 100 and summary.loc["stub", "percent"] == 0
    assert summary.loc["copies", "to_read"] == len(POINTS)
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
    line = re.compile(rf"\[\d+/\d+\] right ex01: {ALL} of {ALL} points, .* s")
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


def test_points_and_comments_by_hand_reach_tables_and_page(trial):
    with Gradebook(f"sqlite:///{trial.course.resolve()}/gradebook.db") as book:
        place = ("iou", SHEET, SHEET, "faulty")
        book.find_grade(*place).manual_score = 1.5
        book.find_comment("iou-answer", *place[1:]).manual_comment = "Half the way."
        book.db.commit()
    said: list[str] = []
    before = trial.table.set_index(["student", "exercise"])
    table = grade(trial.submissions, trial.course, limits=LIMITS, say=said.append)
    assert said[-1] == "faulty ex01: took over what you gave by hand: iou, iou-answer"
    row = table.set_index(["student", "exercise"]).loc[("faulty", "iou")]
    assert (row["points"], row["status"]) == (1.5, "by hand")
    assert row["message"] == before.loc[("faulty", "iou"), "message"]
    assert "Half the way." in page(trial, "faulty")
    grade(trial.submissions, trial.course, limits=LIMITS, say=said.append)
    assert said[-1].endswith("graded before and unchanged")  # the page is written once
    with Gradebook(f"sqlite:///{trial.course.resolve()}/gradebook.db") as book:
        book.find_grade(*place).extra_credit = 0.5
        book.db.commit()
    hand_in(
        trial.submissions, "faulty", (trial.submissions / "right" / f"{SHEET}.ipynb").read_bytes()
    )
    table = grade(trial.submissions, trial.course, limits=LIMITS, say=said.append)
    row = table.set_index(["student", "exercise"]).loc[("faulty", "iou")]
    assert (row["points"], row["status"]) == (2.0, "by hand")
    notes = pd.read_csv(trial.course / "summary.csv", index_col="student").loc["faulty", "notes"]
    assert notes == "ex01: what you gave by hand was for an earlier version: iou, iou-answer"
