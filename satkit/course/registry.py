"""Which exercises there are, and how a notebook begins with them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from satkit.choices import check_choice
from satkit.course import exercises
from satkit.course.checks import Exercise, check_answer


def sheets() -> list[str]:
    """Names of all exercise notebooks, in order: ``ex00_start_here`` and on."""
    return sorted(module.name for module in pkgutil.iter_modules(exercises.__path__))


def exercises_of(sheet: str) -> tuple[Exercise, ...]:
    """Exercises of a notebook, in its order.

    Args:
        sheet: Name of the notebook, ``ex01_localization_and_metrics``.

    Raises:
        ValueError: There is no such notebook; the message names the nearest.
    """
    check_choice("exercise notebook", sheet, sheets())
    return importlib.import_module(f"satkit.course.exercises.{sheet}").EXERCISES


def find_exercise(name: str, sheet: str) -> Exercise:
    """Exercise of a notebook by its name.

    Raises:
        ValueError: The notebook has no such exercise; the message names the nearest.
    """
    known = {exercise.name: exercise for exercise in exercises_of(sheet)}
    check_choice("exercise", name, list(known))
    return known[name]


def start(sheet: str, seed: int = 0) -> Callable[..., None]:
    """Begin an exercise notebook: list what is in it, and get what checks the answers.

    Args:
        sheet: Name of the notebook.
        seed: Of the inputs that answers are checked on.

    Returns:
        ``check(name, answer, seed=seed)``, which prints that the answer is right or raises
        `CheckFailed` with a message that names the likely misconception.

    Raises:
        ValueError: There is no such notebook.
    """
    print(overview(sheet))

    def check(name: str, answer: Any, seed: int = seed) -> None:
        print(check_answer(find_exercise(name, sheet), answer, seed))

    return check


def overview(sheet: str) -> str:
    """The exercises of a notebook as a table in text."""
    rows = [
        f"{one.name:30s} {dots(one.difficulty):10s}  {dots(one.importance):10s}  "
        f"{one.minutes:7d}  {one.points:6d}"
        for one in exercises_of(sheet)
    ]
    heading = f"{'exercise':30s} difficulty  importance  minutes  points"
    return "\n".join([heading, *rows])


def facts_line(exercise: Exercise) -> str:
    """What stands under an exercise's heading, as Markdown."""
    return (
        f"*Difficulty {dots(exercise.difficulty)} · importance {dots(exercise.importance)} · "
        f"{exercise.minutes} minutes · {exercise.points} points*"
    )


def dots(level: int) -> str:
    """A level from 1 to 3 as filled and empty dots."""
    return "●" * level + "○" * (3 - level)
