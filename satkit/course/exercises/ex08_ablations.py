"""Exercises on ablations: what one run proves, which rows to compare, when λ is harmless."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import norm

from satkit.course.checks import Arguments, Exercise, Misconception

# --------------------------------------------------------------------------------------------------
# reversal_chance
# --------------------------------------------------------------------------------------------------


def _reversal_chance(gap: float, deviation: float) -> float:
    return float(norm.cdf(-gap / (deviation * 2**0.5)))


def _reversal_one_side_noisy(gap: float, deviation: float) -> float:
    return float(norm.cdf(-gap / deviation))


def _reversal_deviations_added(gap: float, deviation: float) -> float:
    return float(norm.cdf(-gap / (2 * deviation)))


def _reversal_two_sided(gap: float, deviation: float) -> float:
    return 2 * _reversal_chance(gap, deviation)


def _reversal_kept(gap: float, deviation: float) -> float:
    return 1 - _reversal_chance(gap, deviation)


def _gaps(rng: np.random.Generator) -> Iterator[Arguments]:
    yield 0.35, 2.0
    for _ in range(4):
        yield float(rng.uniform(0.2, 3)), float(rng.uniform(0.5, 3))


# --------------------------------------------------------------------------------------------------
# clean_pairs
# --------------------------------------------------------------------------------------------------

Rows = Sequence[Mapping[str, Any]]
Pairs = set[tuple[int, int]]


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    return sum(one[name] != other[name] for name in one)


def _clean_pairs(rows: Rows) -> Pairs:
    pairs = combinations(range(len(rows)), 2)
    return {(i, j) for i, j in pairs if _differences(rows[i], rows[j]) == 1}


def _neighbours(rows: Rows) -> Pairs:
    return {(i, j) for i, j in _clean_pairs(rows) if j == i + 1}


def _with_the_first(rows: Rows) -> Pairs:
    return {(i, j) for i, j in _clean_pairs(rows) if i == 0}


def _all_pairs(rows: Rows) -> Pairs:
    return set(combinations(range(len(rows)), 2))


def _at_least_one(rows: Rows) -> Pairs:
    pairs = combinations(range(len(rows)), 2)
    return {(i, j) for i, j in pairs if _differences(rows[i], rows[j]) >= 1}


def _both_orders(rows: Rows) -> Pairs:
    pairs = _clean_pairs(rows)
    return pairs | {(j, i) for i, j in pairs}


def _ablation_tables(rng: np.random.Generator) -> Iterator[Arguments]:
    names = ("method", "gate", "blocks", "seed")
    first = dict.fromkeys(names, 0)
    yield ([first, {**first, "gate": 1}, {**first, "gate": 1, "blocks": 1}, {**first}],)
    for _ in range(3):
        rows = [{name: int(rng.integers(0, 2)) for name in names} for _ in range(6)]
        yield ([first, {**first, "blocks": 1}, *rows, rows[0]],)


# --------------------------------------------------------------------------------------------------
# insensitive_range
# --------------------------------------------------------------------------------------------------

Range = tuple[float, float]


def _grow(targets: np.ndarray, good: np.ndarray, best: int) -> Range:
    low = high = best
    while low > 0 and good[low - 1]:
        low -= 1
    while high < len(good) - 1 and good[high + 1]:
        high += 1
    return float(targets[low]), float(targets[high])


def _insensitive_range(targets: np.ndarray, scores: np.ndarray, points: float) -> Range:
    return _grow(targets, scores >= scores.max() - points, int(scores.argmax()))


def _range_with_gaps(targets: np.ndarray, scores: np.ndarray, points: float) -> Range:
    good = targets[scores >= scores.max() - points]
    return float(good.min()), float(good.max())


def _range_in_percent(targets: np.ndarray, scores: np.ndarray, points: float) -> Range:
    good = scores >= scores.max() * (1 - points / 100)
    return _grow(targets, good, int(scores.argmax()))


def _range_of_mean(targets: np.ndarray, scores: np.ndarray, points: float) -> Range:
    return _grow(targets, np.abs(scores - scores.mean()) <= points, int(scores.argmax()))


def _range_by_steps(targets: np.ndarray, scores: np.ndarray, points: float) -> Range:
    low = high = int(scores.argmax())
    while low > 0 and abs(scores[low - 1] - scores[low]) <= points:
        low -= 1
    while high < len(scores) - 1 and abs(scores[high + 1] - scores[high]) <= points:
        high += 1
    return float(targets[low]), float(targets[high])


def _sweeps(rng: np.random.Generator) -> Iterator[Arguments]:
    targets = np.round(np.arange(0.1, 0.6, 0.05), 2)
    shape = np.array([40.0, 59.6, 56.0, 58.1, 59.3, 60.0, 58.8, 58.7, 57.4, 45.0])
    for _ in range(3):
        yield targets, shape + float(rng.uniform(-15, 0)), 2.0
    yield targets, shape[::-1] - float(rng.uniform(0, 15)), 2.0


EXERCISES = (
    Exercise(
        name="reversal_chance",
        title="One run each: how often does the worse method win?",
        difficulty=2,
        importance=3,
        minutes=15,
        points=2,
        reference=_reversal_chance,
        idea="The measured difference is itself a random number: find its mean and its deviation, "
        "and ask how often it falls below zero.",
        misconceptions=(
            Misconception(
                "only one of the two runs is noisy",
                "Both runs scatter, so their difference scatters more than either of them.",
                _reversal_one_side_noisy,
            ),
            Misconception(
                "the deviations are added up",
                "Of independent runs the variances add up, not the deviations.",
                _reversal_deviations_added,
            ),
            Misconception(
                "both sides are counted",
                "Only one outcome is asked for: that the better method comes out behind.",
                _reversal_two_sided,
            ),
            Misconception(
                "the chance of the right order is given",
                "Asked is how often the order is wrong. It is never above one half.",
                _reversal_kept,
            ),
        ),
        cases=_gaps,
    ),
    Exercise(
        name="clean_pairs",
        title="Which rows may be compared?",
        difficulty=1,
        importance=3,
        minutes=15,
        points=2,
        reference=_clean_pairs,
        idea="A pair of rows answers a question if exactly one setting differs.",
        misconceptions=(
            Misconception(
                "every pair of rows is compared",
                "Where two settings differ, nobody can say which of them made the difference.",
                _all_pairs,
            ),
            Misconception(
                "rows that differ in more than one setting are compared",
                "If several settings change at once, their effects cannot be told apart.",
                _at_least_one,
            ),
            Misconception(
                "only neighbours in the table are compared",
                "The order of the rows is the author's choice. Any two rows may form a pair.",
                _neighbours,
            ),
            Misconception(
                "only pairs with the first row are taken",
                "The first row has no special part: two later rows can differ in one setting, too.",
                _with_the_first,
            ),
            Misconception(
                "each pair is there twice",
                "A pair and its reverse are the same comparison; name the smaller number first.",
                _both_orders,
            ),
        ),
        cases=_ablation_tables,
    ),
    Exercise(
        name="insensitive_range",
        title="Over which range is λ harmless?",
        difficulty=2,
        importance=2,
        minutes=20,
        points=3,
        reference=_insensitive_range,
        idea="Start at the best λ and walk to both sides while the score stays within so many "
        "points of the best.",
        misconceptions=(
            Misconception(
                "the range leaps over a bad value",
                "Whoever trusts the range may pick any λ in it. A bad value ends it, even if a "
                "good one follows.",
                _range_with_gaps,
            ),
            Misconception(
                "points are taken for percent of the best",
                "Scores are percent already, and a point is one of these percent: subtract, do "
                "not multiply.",
                _range_in_percent,
            ),
            Misconception(
                "the mean is the measure, not the best",
                "«Costs little» means: little against the best choice of λ. The mean depends on "
                "which bad values somebody happened to try.",
                _range_of_mean,
            ),
            Misconception(
                "each step is compared with its neighbour",
                "Small steps add up to a large fall. Compare every score with the best one.",
                _range_by_steps,
            ),
        ),
        cases=_sweeps,
    ),
)
