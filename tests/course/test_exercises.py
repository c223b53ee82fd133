"""All exercise sheets: answers that are right, missing, or wrong in a way that has a name."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import jupytext
import pytest

from satkit.course.checks import CheckFailed, Exercise, Misconception, check_answer
from satkit.course.registry import exercises_of, sheets
from satkit.course.sheets import without_solutions

SOURCE = Path(__file__).resolve().parents[2] / "notebooks" / "course" / "source"
SEEDS = (0, 1, 20_231)  # the last one is that of the sheets' hidden tests

EXERCISES = [(sheet, exercise) for sheet in sheets() for exercise in exercises_of(sheet)]
WRONG = [
    pytest.param(exercise, misconception, wrong, id=f"{exercise.name}-{misconception.name}")
    for _, exercise in EXERCISES
    for misconception in exercise.misconceptions
    for wrong in (misconception.wrong, *misconception.also)
    if wrong is not None
]


def message(exercise: Exercise, answer: Any, seed: int) -> str:
    with pytest.raises(CheckFailed) as caught:
        check_answer(exercise, answer, seed)
    return str(caught.value)


@pytest.mark.parametrize("exercise", [pytest.param(e, id=e.name) for _, e in EXERCISES])
def test_the_reference_is_right(exercise: Exercise) -> None:
    for seed in SEEDS:
        assert check_answer(exercise, exercise.reference, seed).startswith(f"✓ {exercise.name}")


@pytest.mark.parametrize(("exercise", "misconception", "wrong"), WRONG)
def test_a_misconception_is_called_by_its_name(
    exercise: Exercise, misconception: Misconception, wrong: Any
) -> None:
    for seed in SEEDS:
        said = message(exercise, wrong, seed)
        assert said.startswith(f"{exercise.name}: {misconception.name}.\n  ")
        assert said.endswith(misconception.idea)
        if misconception.seen is None:
            assert said == f"{exercise.name}: {misconception.name}.\n  {misconception.idea}"


def test_names_are_unique() -> None:
    names = [exercise.name for _, exercise in EXERCISES]
    assert len(set(names)) == len(names)
    for _, exercise in EXERCISES:
        ideas = [misconception.name for misconception in exercise.misconceptions]
        assert len(set(ideas)) == len(ideas), exercise.name


@pytest.mark.parametrize("exercise", [pytest.param(e, id=e.name) for _, e in EXERCISES])
def test_facts_are_in_their_ranges(exercise: Exercise) -> None:
    assert {exercise.difficulty, exercise.importance} <= {1, 2, 3}
    assert 1 <= exercise.minutes <= 240
    assert exercise.points >= 0  # mini-projects are graded by a person
    assert exercise.name.isidentifier()


def run_sheet(sheet: str, solved: bool) -> tuple[list[str], list[str]]:
    """Run a sheet's code cells; what its checks and then all other cells have to complain about."""
    book = jupytext.reads((SOURCE / f"{sheet}.py").read_text(), fmt="py:percent")
    names: dict[str, Any] = {}
    of_checks, of_others = [], []
    for cell in book.cells:
        if cell.cell_type != "code":
            continue
        code = cell.source if solved else without_solutions(cell.source)
        try:
            exec(compile(code, sheet, "exec"), names)
        except Exception as error:
            of = of_checks if isinstance(error, CheckFailed) else of_others
            of.append(str(error))
    return of_checks, of_others


@pytest.fixture()
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "MPLBACKEND", "agg")


@pytest.mark.usefixtures("_elsewhere")
@pytest.mark.parametrize("sheet", sheets())
def test_the_solutions_of_a_sheet_are_right(sheet: str) -> None:
    assert run_sheet(sheet, solved=True) == ([], [])


@pytest.mark.usefixtures("_elsewhere")
@pytest.mark.parametrize("sheet", sheets())
def test_the_stubs_of_a_sheet_are_not_written_yet(sheet: str) -> None:
    of_checks, of_others = run_sheet(sheet, solved=False)
    assert of_checks == [f"{exercise.name} is not written yet" for exercise in exercises_of(sheet)]
    assert not of_others


@pytest.mark.parametrize("sheet", sheets())
def test_a_sheet_holds_its_exercises_in_order(sheet: str) -> None:
    text = (SOURCE / f"{sheet}.py").read_text()
    names = [exercise.name for exercise in exercises_of(sheet)]
    assert re.findall(r"^# \{\{(\w+)\}\}$", text, re.MULTILINE) == names
    assert re.findall(r'^check\("(\w+)", \1\)$', text, re.MULTILINE) == names
    assert re.findall(r'^check\("(\w+)", \1, seed=20_231\)$', text, re.MULTILINE) == names
    assert re.findall(r"^# ## (.+)$", text, re.MULTILINE) == [
        exercise.title for exercise in exercises_of(sheet)
    ]
    assert text.count("<summary>Hint</summary>") == len(names)
