"""Answers of the wrong kind: the message says what was given and what is expected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from satkit.course.answers import letters
from satkit.course.checks import CheckFailed, Exercise, check_answer, plain
from satkit.course.registry import find_exercise, overview


@pytest.mark.parametrize("answer", ["ac", "A, C", {"C", "A"}, ["a", "c"], ("AC",)])
def test_letters_come_in_any_form(answer: Any) -> None:
    assert letters(answer) == {"A", "C"}


@pytest.mark.parametrize("answer", [3, "", "12", {"A": True}, "AG"])
def test_no_letters(answer: Any) -> None:
    with pytest.raises(CheckFailed, match="expected letters of statements, such as 'AC'"):
        letters(answer)


@pytest.mark.parametrize(
    ("sheet", "name", "answer", "expected"),
    [
        (
            "ex01_localization_and_metrics",
            "convention_flip",
            ((0, 0, 3, 3), (2, 2, 0, 0)),
            "expected two boxes of four whole numbers",
        ),
        ("ex00_start_here", "iou_by_hand", "0.290", "expected a number, got the text '0.290'"),
        ("ex00_start_here", "iou_by_hand", (0.29,), r"expected a number, got a tuple, \(0.29,\)"),
        ("ex03_build_sqa", "closed_patch", (0, "1/5", 0.25, 0.4), "got the text '1/5'"),
        ("ex03_build_sqa", "closed_patch", (0, 0.2, 0.25), "expected 4 values, got 3"),
        *(
            ("ex04_losses", "area_pushes", pushes, r'expected \{"batch": \(large, small\), "image"')
            for pushes in (
                {"batch": ("down", "down"), "image": ("down", "up")},
                (-1, -1, -1, 1),
                {"batch": (-0.35, -1), "image": (-1, 1)},
                {"batch": (-1, -1, -1), "image": (-1, 1)},
            )
        ),
        ("ex04_losses", "collapsing_loss", lambda *_: 0.5, "no gradient with respect to the maps"),
        ("ex05_train_cub", "decayed", lambda _: "head.weight", "expected a set of names"),
        ("ex05_train_cub", "read_logs", {"log 1": "A"}, "expected a letter for each log"),
    ],
)
def test_answers_of_another_kind(sheet: str, name: str, answer: Any, expected: str) -> None:
    with pytest.raises(CheckFailed, match=expected):
        check_answer(find_exercise(name, sheet), answer)


def test_the_colleague_of_fused_sqa_is_told_that_rows_are_renormalised() -> None:
    fused = find_exercise("fused_sqa", "ex03_build_sqa")
    attend = fused.reference

    def by_division(q: Any, k: Any, v: Any, gate: Any) -> Any:
        return attend(q, k, v, gate) / attend(q, k, v * 0 + 1, gate)  # no T × T matrix is kept

    with pytest.raises(CheckFailed, match="the rows are renormalised"):
        check_answer(fused, by_division)


def test_messages_show_plain_numbers_and_end_sentences() -> None:
    half = Exercise(
        "half",
        "Half",
        1,
        1,
        1,
        1,
        lambda x: x / 2,
        "Half of it.",
        (),
        lambda rng: [(np.float64(5),)],
    )
    with pytest.raises(CheckFailed) as caught:
        check_answer(half, lambda x: x / 4)
    said = "for 5.0 it gives 1.25 and should give 2.5. Half of it."
    assert " ".join(str(caught.value).split()) == f"half is not right yet. {said}"


def test_numbers_of_numpy_become_plain_in_containers() -> None:
    assert (
        repr(plain([(np.int64(1), {np.str_("a"): np.bool_(True)}), 2])) == "[(1, {'a': True}), 2]"
    )


def test_the_overview_has_its_numbers_below_their_names() -> None:
    heading, row, *_ = overview("ex01_localization_and_metrics").splitlines()
    assert heading.split() == ["exercise", "difficulty", "importance", "minutes", "points"]
    for name in ("difficulty", "importance"):
        start = heading.index(name)
        assert set(row[start : start + 3]) <= {"●", "○"} and row[start - 1] == " "
    for name in ("minutes", "points"):
        end = heading.index(name) + len(name)
        assert row[end - 1].isdigit() and row[end : end + 1].strip() == ""


def test_tensors_of_the_right_shape_are_compared_where_they_differ_most() -> None:
    exercise = find_exercise("class_map", "ex02_cam_and_tscam")

    def one_patch_off(*inputs: Any) -> Any:
        maps = exercise.reference(*inputs)
        maps[2, 1, 0] = maps[2, 1, 0] + 3
        return maps

    with pytest.raises(CheckFailed, match=r"not the values: at \[2, 1, 0\] it gives -?\d"):
        check_answer(exercise, one_patch_off)


def test_an_error_that_a_misconception_would_raise_is_told_its_idea() -> None:
    def rows_and_columns_exchanged(held_out: Any, test: Any) -> Any:
        best = (held_out >= 0.5).sum(1).argmax()
        return 100 * (test[:, best] >= 0.5).mean()

    exercise = find_exercise("gt_known", "ex01_localization_and_metrics")
    with pytest.raises(CheckFailed, match="the mean runs over thresholds, not images"):
        check_answer(exercise, rows_and_columns_exchanged)
    with pytest.raises(CheckFailed, match="gt_known stops with IndexError"):
        check_answer(exercise, lambda held_out, test: test[1000])
