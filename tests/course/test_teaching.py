"""The instructor's guide: its plans add up, and what it names is there."""

import json
import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from satkit.course import slides
from satkit.course.registry import exercises_of, sheets
from satkit.notebooks import list_notebooks

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "_ext"))

import teaching  # noqa: E402

GUIDE = (DOCS / "teaching" / "guide.md").read_text(encoding="utf-8")
QUESTIONS = (DOCS / "teaching" / "questions.md").read_text(encoding="utf-8")
OBJECTIVES = teaching.read_objectives(DOCS / "teaching" / "objectives.toml")
LESSONS = [name[:2] for name in list_notebooks(ROOT / "notebooks")]


def section(title):
    """What stands below a heading, up to the next one of any level."""
    return GUIDE.partition(title)[2].split("\n#")[0]


def test_objectives_are_numbered_and_cover_every_lesson_and_lecture():
    assert [one["id"] for one in OBJECTIVES] == [f"O{i + 1}" for i in range(len(OBJECTIVES))]
    assert {lesson for one in OBJECTIVES for lesson in one["lessons"]} == set(LESSONS)
    assert {one["lecture"] for one in OBJECTIVES} == set(range(1, 7))
    assert all(one["says"].endswith(".") for one in OBJECTIVES)


def test_every_exercise_serves_an_objective_and_all_that_are_named_exist():
    known = {f"{sheet[:4]}/{one.name}" for sheet in sheets() for one in exercises_of(sheet)}
    assert {name for one in OBJECTIVES for name in one["exercises"]} == known


def test_every_question_serves_an_objective_that_names_its_lesson():
    lesson_of = teaching.question_lessons()
    assert {name for one in OBJECTIVES for name in one["questions"]} == set(lesson_of)
    for one in OBJECTIVES:
        assert {lesson_of[name] for name in one["questions"]} == set(one["lessons"]), one["id"]


@pytest.mark.parametrize("field", ["lessons", "exercises", "questions"])
def test_an_objective_names_nothing_twice_and_something_of_each_kind(field):
    for one in OBJECTIVES:
        assert 0 < len(one[field]) == len(set(one[field])), one["id"]


def test_an_objective_belongs_to_a_lecture_that_presents_one_of_its_lessons():
    presented = [set(one.lessons) for one in slides.lectures(ROOT / "notebooks/course/lectures")]
    for one in OBJECTIVES:
        assert presented[one["lecture"] - 1] & set(one["lessons"]), one["id"]


@pytest.mark.parametrize("week", range(1, 7))
def test_a_lab_is_planned_by_the_minute_for_ninety_minutes(week):
    spans = re.findall(r"^\| (\d+)–(\d+) \|", section(f"### Week {week} ·"), re.MULTILINE)
    ends = [0, *(int(end) for _, end in spans)]
    assert [int(start) for start, _ in spans] == ends[:-1] and ends[-1] == 90


def test_the_day_is_planned_by_the_minute_from_nine_to_five():
    spans = re.findall(r"^\| (\d+:\d\d)–(\d+:\d\d) \|", section("## One day"), re.MULTILINE)
    assert spans[0][0] == "9:00" and spans[-1][1] == "17:00"
    assert all(end == start for (_, end), (start, _) in pairwise(spans))


def test_monday_is_planned_by_the_minute_for_half_an_hour():
    spans = re.findall(r"^\| (\d+)–(\d+) \|", section("## Monday's class"), re.MULTILINE)
    ends = [0, *(int(end) for _, end in spans)]
    assert [int(start) for start, _ in spans] == ends[:-1] and ends[-1] == 30


def test_exercises_that_the_pages_name_are_in_their_sheets():
    named = re.findall(r"`(ex\d\d)/(\w+)`", GUIDE + QUESTIONS)
    assert len(named) > 20
    full = {name.split("_")[0]: name for name in sheets()}
    for sheet, exercise in named:
        known = [one.name for one in exercises_of(full[sheet])]
        assert exercise in known, f"{sheet} has no exercise {exercise}; it has {known}"


def test_a_lab_gives_each_exercise_the_minutes_that_it_states():
    full = {name.split("_")[0]: name for name in sheets()}
    for start, end, text in re.findall(r"^\| (\d+)–(\d+) \| (.+?) \|", GUIDE, re.MULTILINE):
        stated = [
            one.minutes
            for sheet, exercise in re.findall(r"`(ex\d\d)/(\w+)`", text)
            for one in exercises_of(full[sheet])
            if one.name == exercise
        ]
        assert sum(stated) <= int(end) - int(start) + 5, text


def test_slides_that_the_day_names_are_there():
    counts = [len(one.slides) for one in slides.lectures(ROOT / "notebooks/course/lectures")]
    named = re.findall(r"lecture (\d), slides ([\d, to]+)", section("## One day"))
    assert named
    for lecture, numbers in named:
        assert max(map(int, re.findall(r"\d+", numbers))) <= counts[int(lecture) - 1]


@pytest.mark.parametrize(
    "thread",
    ["vasgaowei/TS-CAM #17", "#7, #8", "clovaai/wsolevaluation #36", "#4, #10, #22",
     "clovaai/wsolevaluation #21", "clovaai/wsolevaluation #26", "nteract/papermill #818",
     "nteract/papermill #906, #806", "nteract/papermill #251", "#765 and #478",
     "nteract/papermill #400", "jupyter/nbconvert #923",
     "jupyter/nbgrader #1083", "jupyter/nbgrader #1941", "jupyter/nbgrader #915",
     "d2l-ai/d2l-en #2608"],
)  # fmt: skip
def test_questions_name_the_threads_where_they_were_asked(thread):
    assert thread in " ".join(QUESTIONS.split())


# --------------------------------------------------------------------------------------------------
# Tables
# --------------------------------------------------------------------------------------------------


def test_tables_that_the_guide_asks_for_exist():
    assert set(re.findall(r"```\{teaching\} (\w+)", GUIDE)) == set(teaching.TABLES)


def test_objectives_and_sheets_become_tables():
    table = teaching.objectives_table(DOCS, ROOT)
    assert table.count("\n") == len(OBJECTIVES) + 1
    assert "`ex00/iou_by_hand`" in table
    assert "quiz 01: {ref}`iou_by_hand <quiz-iou_by_hand>`" in table
    table = teaching.sheets_table(DOCS, ROOT)
    assert table.count("\n") == len(sheets()) + 2
    points = sum(one.points for sheet in sheets() for one in exercises_of(sheet))
    assert table.endswith(f"| {points} |")


def test_hardware_comes_from_result_files_and_says_what_was_not_measured(tmp_path):
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    (results / "table_aviary.csv").write_text(
        "row,train_seconds,training_memory,device,date\n"
        "SAT (d) all losses,80,,cpu,2026-11-22T01\nSAT (d) all losses,120,510.9,cpu,2026-11-23T01\n"
        "CAM,999,9,cpu,2026-11-20T01\n"
    )
    table = teaching.hardware_table(DOCS, tmp_path)
    assert "80–120 s a run, 2 runs" in table and "0.51 GB" in table and "999" not in table
    assert "2026-11-22, 2026-11-23" in table and "| on a GPU | cuda | not measured |" in table
    one = {"training_images_per_second": 900.04, "training_mb": 2000}
    scale = {"numbers": {"batch_size": 8, "compute": {"deit": one}},
             "provenance": {"device": "cuda", "date": "2026-11-24T00"}}  # fmt: skip
    (results / "scale_cuda.json").write_text(json.dumps(scale))
    table = teaching.hardware_table(DOCS, tmp_path)
    assert "| 900.0 images/s | 2.00 GB | 2026-11-24 |" in table and "not measured" not in table
    lessons = {"seconds": {"first": {"00": 60, "01": 180}}, "provenance": scale["provenance"]}
    for held, said in ((3.14, "3.1 GB"), (None, "not measured")):
        text = json.dumps({**lessons, "memory_gb": held})
        (results / "notebooks_lab.json").write_text(text)
        first = teaching.hardware_table(DOCS, tmp_path).splitlines()[2]
        assert first == f"| all lessons, profile lab | cuda | 4 min | {said} | 2026-11-24 |"


def test_hardware_of_this_project_is_measured():
    assert "s a run" in teaching.hardware_table(DOCS, ROOT)


def test_lesson_times_come_from_executed_notebooks(tmp_path):
    built = tmp_path / "notebooks"
    built.mkdir()
    about = {"seconds": 41.2, "fingerprint": {"parameters": '{"profile": "smoke"}'}}
    text = json.dumps({"cells": [], "metadata": {"satkit": about}})
    (built / "01_localization_and_metrics.ipynb").write_text(text)
    lines = teaching.lessons_table(tmp_path, ROOT).splitlines()
    assert len(lines) == 18
    assert lines[3].startswith("| 01 | 30 s |") and lines[3].endswith("| 41 s, profile smoke |")
    assert lines[4].endswith("| not executed |")
