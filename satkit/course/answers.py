"""Ways to use an answer that several sheets share, for ``run`` of an exercise."""

from __future__ import annotations

from typing import Any

from satkit.course.checks import CheckFailed, Misconception


def letters(answer: Any) -> frozenset[str]:
    """Use an answer that chooses among statements.

    Args:
        answer: Letters as a string, ``"AC"`` or ``"a, c"``, or as a set, list or tuple of them.

    Returns:
        The letters, in capitals.

    Raises:
        CheckFailed: The answer is of another kind, or holds no letter.
    """
    if isinstance(answer, str | set | frozenset | list | tuple):
        chosen = frozenset(one.upper() for one in "".join(map(str, answer)) if one.isalpha())
        if chosen:
            return chosen
    raise CheckFailed(f"the answer is {answer!r}; expected letters of statements, such as 'AC'")


def chooses(letter: str, right: str, name: str, idea: str) -> Misconception:
    """Misconception of whoever chooses a statement that is false.

    Args:
        letter: Of the statement.
        right: Letters of the right answer.
        name: Of the misconception.
        idea: The right idea.
    """
    return Misconception(
        name, idea, right + letter, lambda trials: all(letter in trial.given for trial in trials)
    )


def leaves_out(letter: str, right: str, name: str, idea: str) -> Misconception:
    """Misconception of whoever does not choose a statement that is true.

    Args:
        letter: Of the statement.
        right: Letters of the right answer.
        name: Of the misconception.
        idea: The right idea.
    """
    wrong = right.replace(letter, "")
    return Misconception(
        name, idea, wrong, lambda trials: all(letter not in trial.given for trial in trials)
    )
