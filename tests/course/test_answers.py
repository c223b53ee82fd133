"""Answers of the wrong kind: the message says what was given and what is expected."""

from __future__ import annotations

from typing import Any

import pytest

from satkit.course.answers import letters
from satkit.course.checks import CheckFailed, check_answer
from satkit.course.registry import find_exercise


@pytest.mark.parametrize("answer", ["ac", "A, C", {"C", "A"}, ["a", "c"], ("AC",)])
def test_letters_come_in_any_form(answer: Any) -> None:
    assert letters(answer) == {"A", "C"}


@pytest.mark.parametrize("answer", [3, "", "12", {"A": True}])
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
