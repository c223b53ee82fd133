"""Answers of the wrong kind: the message says what was given and what is expected."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from satkit.course.answers import letters
from satkit.course.checks import CheckFailed, Exercise, check_answer, judge, outputs_of, plain
from satkit.course.registry import find_exercise, overview
from satkit.course.toy import cls_loss
from satkit.course.transport import passed


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
        ("ex00_start_here", "iou_by_hand", np.array([0.29]), "expected a number, got a ndarray"),
        ("ex03_build_sqa", "closed_patch", (0, 0.2, 0.25), "expected 4 values, got 3"),
        ("ex03_build_sqa", "closed_patch", np.zeros(3), "expected 4 values, got 3"),
        ("ex03_build_sqa", "closed_patch", {"a": 0}, "expected a tuple of 4 values, got a dict"),
        ("ex03_build_sqa", "closed_patch", 0.2, "expected a tuple of 4 values, got the number 0.2"),
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


QUARTERS = [0, 0.2, 0.25, 0.4]


@pytest.mark.parametrize(
    ("sheet", "name", "answer"),
    [
        ("ex00_start_here", "iou_by_hand", Fraction(18, 62)),
        ("ex00_start_here", "iou_by_hand", torch.tensor(18 / 62)),
        ("ex03_build_sqa", "closed_patch", QUARTERS),
        ("ex03_build_sqa", "closed_patch", np.array(QUARTERS)),
        ("ex03_build_sqa", "closed_patch", torch.tensor(QUARTERS)),
        ("ex03_build_sqa", "closed_patch", [Fraction(str(one)) for one in QUARTERS]),
        ("ex06_train_imagenet", "gradient_factor", Fraction(1, 4)),
        (
            "ex04_losses",
            "area_pushes",
            {"batch": np.array([-1, -1]), "image": torch.tensor([-1, 1])},
        ),
    ],
)
def test_numbers_come_in_any_form(sheet: str, name: str, answer: Any) -> None:
    exercise = find_exercise(name, sheet)
    assert check_answer(exercise, answer).startswith(f"✓ {name} is right")
    assert judge(exercise, passed(outputs_of(exercise, answer))).startswith(f"✓ {name}")


def test_messages_give_what_the_check_has_seen() -> None:
    flip = find_exercise("convention_flip", "ex01_localization_and_metrics")
    with pytest.raises(CheckFailed, match=r"The IoU is 0\.500 half-open and 0\.600 with the \+ 1"):
        check_answer(flip, ((0, 0, 4, 4), (0, 0, 4, 2)))
    loss = find_exercise("collapsing_loss", "ex04_losses")
    with pytest.raises(CheckFailed, match=r"0\.\d\d on the object and 0\.0\d on the background"):
        check_answer(loss, lambda maps, evidence, _: cls_loss(maps, evidence) + (maps**2).mean())


def test_a_question_that_a_task_leaves_open_is_answered_afterwards() -> None:
    for sheet, name, words in (
        ("ex02_cam_and_tscam", "scale_maps", "becomes 0 everywhere"),
        ("ex04_losses", "batch_area_loss", "does not depend on the patch"),
    ):
        exercise = find_exercise(name, sheet)
        assert words in check_answer(exercise, exercise.reference)


def test_named_tensors_are_compared_where_they_differ_most() -> None:
    fused = find_exercise("fused_sqa", "ex03_build_sqa")
    with pytest.raises(CheckFailed, match=r"output: the shape is right, but not the values: at \["):
        check_answer(fused, lambda q, k, v, gate: v)


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


@pytest.mark.parametrize(
    ("factor", "said"), [(0.01, "too small"), (100, "too large"), (-1, "sign")]
)
def test_percent_shares_and_signs_are_told_whatever_the_exercise(factor: float, said: str) -> None:
    double = Exercise(
        "double", "Double", 1, 1, 1, 1, lambda x: (2 * x, 3 * x), "Twice.", (),
        cases=lambda rng: [(np.array([5.0, 7.0]),), (np.array([1.0, 2.0]),)],
    )  # fmt: skip
    with pytest.raises(CheckFailed, match=said):
        check_answer(double, lambda x: (factor * 2 * x, factor * 3 * x))
    with pytest.raises(CheckFailed, match="should give"):
        check_answer(double, lambda x: (factor * 2 * x, 3 * x))
