"""What several sheets share: ways to use an answer, and common misconceptions and symptoms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from satkit.course.checks import CheckFailed, Misconception, Trial, same


def letters(answer: Any, among: str = "ABCDEF") -> frozenset[str]:
    """Use an answer that chooses among statements.

    Args:
        answer: Letters as a string, ``"AC"`` or ``"a, c"``, or as a set, list or tuple of them.
        among: Letters of the statements.

    Returns:
        The letters, in capitals.

    Raises:
        CheckFailed: The answer is of another kind, or holds no letter or one of no statement.
    """
    if isinstance(answer, str | set | frozenset | list | tuple):
        chosen = frozenset(one.upper() for one in "".join(map(str, answer)) if one.isalpha())
        if chosen and chosen <= set(among):
            return chosen
    raise CheckFailed(
        f"the answer is {answer!r}; expected letters of statements, such as 'AC', "
        f"from {among[0]} to {among[-1]}"
    )


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


def gradient(loss: Any, leaf: Tensor) -> Tensor | None:
    """Gradient of an answer's loss.

    Args:
        loss: What the answer gave, a scalar.
        leaf: Tensor that requires a gradient.

    Returns:
        Gradient with the shape of ``leaf``; None where the loss was not computed from it in
        PyTorch, whether or not it claims to require a gradient.
    """
    if not (isinstance(loss, Tensor) and loss.requires_grad):
        return None
    return torch.autograd.grad(loss, leaf, allow_unused=True)[0]


def partly(wrong: Callable[..., Any]) -> Callable[[list[Trial]], bool]:
    """Symptom of answers that are wrong on some inputs only, and there as a wrong one is.

    Args:
        wrong: Function in place of the reference, for one who believes the misconception.
    """
    return lambda trials: all(
        same(trial.given, trial.expected, 1e-5) or same(trial.given, wrong(*trial.arguments), 1e-5)
        for trial in trials
    )
