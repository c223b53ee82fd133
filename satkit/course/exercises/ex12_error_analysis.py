"""Exercises on why boxes are wrong, and on judging whoever says why."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from satkit.course.checks import Arguments, CheckFailed, Exercise, Misconception, Trial

# --------------------------------------------------------------------------------------------------
# likely_cause
# --------------------------------------------------------------------------------------------------

Box = np.ndarray
SIDE = 100


def _common(a: Box, b: Box) -> float:
    return float(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod())


def _area(box: Box) -> float:
    return float((box[2:] - box[:2]).prod())


def _likely_cause(
    predicted: Box,
    true: Box,
    other: Box | None,
    exchanged: bool = False,
    other_decides: bool = False,
    wide: bool = False,
    apart_only: bool = False,
    undefined: bool = False,
) -> str:
    """The rules of satkit.errors where there is no map; a flag makes one of the mistakes."""
    shared = _common(predicted, true)
    covered, inside = shared / _area(true), shared / _area(predicted)
    if exchanged:
        covered, inside = inside, covered
    held = 0.0 if other is None else _common(predicted, other) / _area(other)
    if other_decides and held > 0:
        return "multiple instances"
    left, right = (0, SIDE) if wide else (true[0], true[2])
    column = np.array([left, true[3], right, SIDE])
    outside = _area(predicted) - shared
    below = _common(predicted, column) / outside if outside else np.nan if undefined else 0.0
    large, small = covered * (1 - inside), inside * (1 - covered)
    found = {
        "multiple instances": large * held,
        "water reflection": large * (1 - held) * below,
        "localization more": large * (1 - held) * (1 - below),
        "localization part": small,
        "label error": (1 - inside) * (1 - covered) * (0 if apart_only and shared else 1),
    }
    return list(found)[int(np.argmax(list(found.values())))]


def _misses(rng: np.random.Generator) -> Iterator[Arguments]:
    templates: tuple[tuple[list[int], list[int], list[int] | None], ...] = (
        ([5, 5, 60, 55], [20, 20, 45, 45], None),  # too large on all sides
        ([20, 15, 42, 72], [20, 15, 42, 40], None),  # goes on straight below
        ([5, 25, 75, 60], [32, 20, 48, 38], None),  # below, but far wider
        ([5, 20, 75, 50], [5, 20, 35, 50], [45, 22, 73, 48]),  # holds a second bird
        ([5, 5, 60, 60], [18, 12, 45, 40], [56, 56, 75, 75]),  # touches a second bird
        ([30, 20, 45, 35], [20, 10, 55, 45], None),  # a part
        ([10, 10, 40, 40], [30, 30, 70, 70], None),  # overlaps a corner
        ([5, 5, 25, 25], [50, 50, 75, 75], None),  # elsewhere
    )
    for predicted, true, other in templates:
        move = np.tile(rng.integers(0, 25, 2), 2)
        moved = None if other is None else np.array(other) + move
        yield np.array(predicted) + move, np.array(true) + move, moved


# --------------------------------------------------------------------------------------------------
# balanced_accuracy
# --------------------------------------------------------------------------------------------------


def _balanced_accuracy(matrix: np.ndarray) -> float:
    counts = matrix.sum(axis=1)
    seen = counts > 0
    return float(100 * (np.diag(matrix)[seen] / counts[seen]).mean())


def _accuracy(matrix: np.ndarray) -> float:
    return float(100 * np.trace(matrix) / matrix.sum())


def _mean_precision(matrix: np.ndarray) -> float:
    return _balanced_accuracy(matrix.T)


def _empty_as_zero(matrix: np.ndarray) -> float:
    counts = matrix.sum(axis=1)
    return float(100 * (np.diag(matrix) / np.maximum(counts, 1)).mean())


def _without_guard(matrix: np.ndarray) -> float:
    with np.errstate(invalid="ignore"):
        return float(100 * (np.diag(matrix) / matrix.sum(axis=1)).mean())


def _is_nan(trials: list[Trial]) -> bool:
    return any(np.isnan(trial.given) for trial in trials)


def _matrices(rng: np.random.Generator) -> Iterator[Arguments]:
    for empty in (False, True, True):
        matrix = rng.integers(1, 12, (5, 5)) * rng.integers(1, 6, (5, 1))
        matrix += np.diag(rng.integers(5, 60, 5))
        if empty:
            matrix[int(rng.integers(5))] = 0
        yield (matrix,)


# --------------------------------------------------------------------------------------------------
# flattering_matrix
# --------------------------------------------------------------------------------------------------


def _facts_of_matrix(answer: Any) -> dict[str, bool]:
    matrix = np.asarray(answer, dtype=float)
    counts = matrix.shape == (3, 3) and bool(((matrix >= 0) & (matrix % 1 == 0)).all())
    if not counts or (matrix.sum(axis=1) == 0).any():
        raise CheckFailed(
            "flattering_matrix has to be three rows of three counts (whole numbers, 0 or more), "
            "with at least one miss of every true cause"
        )
    return {
        "accuracy of 90 % or more": _accuracy(matrix) >= 90,
        "balanced accuracy of 40 % or less": _balanced_accuracy(matrix) <= 40,
    }


def _fails(fact: str, trials: list[Trial]) -> bool:
    return not trials[0].given[fact]


EXERCISES = (
    Exercise(
        name="likely_cause",
        title="Read the cause off the boxes",
        difficulty=3,
        importance=2,
        minutes=30,
        points=4,
        reference=_likely_cause,
        idea="Compute covered, inside, held and below first, then the five scores, and take the "
        "cause with the largest.",
        misconceptions=(
            Misconception(
                "too large and too small are exchanged",
                "*Covered* is a share of the true box, *inside* one of the predicted box. A box "
                "that is too large covers all of the true one, but does not lie inside.",
                partial(_likely_cause, exchanged=True),
            ),
            Misconception(
                "a touch of another object is enough",
                "*Held* is a share, not a yes or no: a box that holds a corner of another bird "
                "holds little of it, and another cause may explain more.",
                partial(_likely_cause, other_decides=True),
            ),
            Misconception(
                "whatever lies lower is a reflection",
                "A reflection lies *straight* below the object: only the part between its left and "
                "right edges counts.",
                partial(_likely_cause, wide=True),
            ),
            Misconception(
                "boxes that touch are never a label error",
                "(1 − inside) · (1 − covered) is a share, too: a box that holds a corner of the "
                "object lies mostly somewhere else, as if another thing had been marked.",
                partial(_likely_cause, apart_only=True),
            ),
            Misconception(
                "a share of nothing is not 0",
                "Where the predicted box lies inside the true one, no part of it is outside, and "
                "*below* is 0 / 0. The task calls it 0 then: ask before you divide.",
                partial(_likely_cause, undefined=True),
            ),
        ),
        cases=_misses,
    ),
    Exercise(
        name="balanced_accuracy",
        title="Is the assistant any good?",
        difficulty=1,
        importance=3,
        minutes=15,
        points=2,
        reference=_balanced_accuracy,
        idea="For each true cause the share that is recognised; then the mean over the causes.",
        misconceptions=(
            Misconception(
                "an empty row makes the result NaN",
                "A cause without any miss has no share that could be right. Leave it out.",
                _without_guard,
                _is_nan,
            ),
            Misconception(
                "all misses count alike",
                "That is plain accuracy, which a frequent cause dominates. Here every cause counts "
                "alike, however many misses it has.",
                _accuracy,
            ),
            Misconception(
                "proposals are the whole, not true causes",
                "The share of proposals that are right is precision. Rows are true causes: ask how "
                "many of them were recognised.",
                _mean_precision,
            ),
            Misconception(
                "a cause without any miss counts as never recognised",
                "Nothing is known of such a cause, and that is not the same as zero. Leave it out.",
                _empty_as_zero,
            ),
        ),
        cases=_matrices,
    ),
    Exercise(
        name="flattering_matrix",
        title="A number that flatters",
        difficulty=2,
        importance=2,
        minutes=10,
        points=2,
        reference=((92, 0, 0), (4, 0, 0), (4, 0, 0)),
        idea="Let one cause be far more frequent than the others, and think of an assistant that "
        "does not look at the images.",
        misconceptions=(
            Misconception(
                "the accuracy is too low",
                "Nine in ten of all misses have to stand on the diagonal. That is easy if nearly "
                "all misses have the same cause.",
                ((5, 5, 5), (5, 5, 5), (5, 5, 5)),
                partial(_fails, "accuracy of 90 % or more"),
            ),
            Misconception(
                "the balanced accuracy is too high",
                "Each row counts for a third, however few misses it holds: the rare causes must go "
                "wrong, although there are few of them.",
                ((90, 0, 0), (0, 5, 0), (0, 0, 5)),
                partial(_fails, "balanced accuracy of 40 % or less"),
            ),
        ),
        run=_facts_of_matrix,
        afterword="Such an assistant names the commonest cause whatever it sees: 90 % right, and "
        "it tells nothing.",
    ),
)
