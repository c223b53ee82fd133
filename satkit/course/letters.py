"""Exercises that are answered by a set of letters: which of these statements are right?"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial

from satkit.course.checks import Misconception, Trial


def by_letter(
    right: Collection[str], told: Mapping[str, tuple[str, str]]
) -> tuple[Misconception, ...]:
    """One misconception for each statement, met where it is wrongly taken or left out.

    Args:
        right: Letters of the right statements.
        told: For each letter, what one who gets it wrong believes, and the right idea.

    Returns:
        The misconceptions, in the order of the letters.
    """
    return tuple(
        Misconception(
            name,
            idea,
            wrong=set(right) ^ {letter},
            symptom=partial(_misjudged, letter, letter in right),
        )
        for letter, (name, idea) in told.items()
    )


def _misjudged(letter: str, is_right: bool, trials: list[Trial]) -> bool:
    return (letter in trials[0].given) != is_right
