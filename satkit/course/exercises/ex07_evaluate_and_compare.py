"""Exercises on comparing methods: pairs of hits, thresholds, and what a row of numbers implies."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from satkit.course.checks import Arguments, Exercise, Misconception, Trial

# --------------------------------------------------------------------------------------------------
# bootstrap_interval
# --------------------------------------------------------------------------------------------------

Ends = tuple[float, float]
ENDS = [0.025, 0.975]


def _bootstrap_interval(first: np.ndarray, second: np.ndarray, draws: np.ndarray) -> Ends:
    rates = 100 * (first[draws].mean(axis=1) - second[draws].mean(axis=1))  # [R]
    low, high = np.quantile(rates, ENDS)
    return float(low), float(high)


def _intervals_subtracted(first: np.ndarray, second: np.ndarray, draws: np.ndarray) -> Ends:
    one = np.quantile(100 * first[draws].mean(axis=1), ENDS)
    two = np.quantile(100 * second[draws].mean(axis=1), ENDS)
    return float(one[0] - two[1]), float(one[1] - two[0])


def _ends_subtracted(first: np.ndarray, second: np.ndarray, draws: np.ndarray) -> Ends:
    one = np.quantile(100 * first[draws].mean(axis=1), ENDS)
    two = np.quantile(100 * second[draws].mean(axis=1), ENDS)
    return float(one[0] - two[0]), float(one[1] - two[1])


def _unpaired(first: np.ndarray, second: np.ndarray, draws: np.ndarray) -> Ends:
    rates = 100 * (first[draws].mean(axis=1) - second[draws[::-1]].mean(axis=1))
    low, high = np.quantile(rates, ENDS)
    return float(low), float(high)


def _is_as_wide_as_unpaired(trials: list[Trial]) -> bool:
    """Symptom: the right centre, and the width of unpaired draws, whichever they are."""
    for trial in trials:
        low, high = (float(end) for end in trial.given)
        paired, unpaired = np.ptp(trial.expected), np.ptp(_unpaired(*trial.arguments))
        if not 1.2 * paired < high - low < 1.25 * unpaired:
            return False
        if abs((low + high) / 2 - np.mean(trial.expected)) > paired / 4:
            return False
    return True


def _five_each_side(first: np.ndarray, second: np.ndarray, draws: np.ndarray) -> Ends:
    rates = 100 * (first[draws].mean(axis=1) - second[draws].mean(axis=1))
    low, high = np.quantile(rates, [0.05, 0.95])
    return float(low), float(high)


def _second_minus_first(first: np.ndarray, second: np.ndarray, draws: np.ndarray) -> Ends:
    return _bootstrap_interval(second, first, draws)


def _shares(first: np.ndarray, second: np.ndarray, draws: np.ndarray) -> Ends:
    low, high = _bootstrap_interval(first, second, draws)
    return low / 100, high / 100


def _hits_and_draws(rng: np.random.Generator) -> Iterator[Arguments]:
    for images in (60, 100, 150):
        first = rng.random(images) < 0.8
        second = np.where(rng.random(images) < 0.2, ~first, first)  # alike on most images
        yield first, second, rng.integers(0, images, (400, images))


# --------------------------------------------------------------------------------------------------
# three_scores
# --------------------------------------------------------------------------------------------------

Scores = tuple[float, float, float]


def _percent(hits: np.ndarray | np.bool_) -> float:
    return float(100 * hits.mean())


def _three_scores(held_out: np.ndarray, test: np.ndarray) -> Scores:
    rates = test.mean(axis=0)  # [T]
    chosen = int(held_out.mean(axis=0).argmax())
    return 100 * float(rates[chosen]), 100 * float(rates.max()), _percent(test.any(axis=1))


def _held_out_score(held_out: np.ndarray, test: np.ndarray) -> Scores:
    return 100 * float(held_out.mean(axis=0).max()), *_three_scores(held_out, test)[1:]


def _never_held_out(held_out: np.ndarray, test: np.ndarray) -> Scores:
    _, best, each = _three_scores(held_out, test)
    return best, best, each


def _each_image_everywhere(held_out: np.ndarray, test: np.ndarray) -> Scores:
    honest, _, each = _three_scores(held_out, test)
    return honest, each, each


def _one_for_all(held_out: np.ndarray, test: np.ndarray) -> Scores:
    honest, best, _ = _three_scores(held_out, test)
    return honest, best, best


def _mean_over_thresholds(held_out: np.ndarray, test: np.ndarray) -> Scores:
    honest, best, _ = _three_scores(held_out, test)
    return honest, best, _percent(test)


def _hit_tables(rng: np.random.Generator) -> Iterator[Arguments]:
    centres = np.array([0.3, 0.45, 0.6, 0.5, 0.35])
    for shift in (1, 2, -1):
        held_out = rng.random((80, 5)) < centres
        yield held_out, rng.random((120, 5)) < np.roll(centres, shift)


# --------------------------------------------------------------------------------------------------
# class_bounds
# --------------------------------------------------------------------------------------------------


def _class_bounds(top1_loc: float, gt_known: float) -> Ends:
    return top1_loc, top1_loc + 100 - gt_known


def _bounds_to_hundred(top1_loc: float, gt_known: float) -> Ends:
    return top1_loc, 100.0


def _bounds_to_boxes(top1_loc: float, gt_known: float) -> Ends:
    return top1_loc, gt_known


def _bounds_independent(top1_loc: float, gt_known: float) -> Ends:
    share = 100 * top1_loc / gt_known
    return share, share


def _bounds_from_zero(top1_loc: float, gt_known: float) -> Ends:
    return 0.0, top1_loc + 100 - gt_known


def _table_rows(rng: np.random.Generator) -> Iterator[Arguments]:
    yield 80.96, 98.45  # SAT on CUB-200, Table 1
    yield 53.40, 67.60  # TS-CAM on ImageNet
    for _ in range(3):
        gt_known = float(rng.uniform(50, 95))
        yield float(rng.uniform(0.4, 0.9)) * gt_known, gt_known


EXERCISES = (
    Exercise(
        name="bootstrap_interval",
        title="An interval for two methods on the same images",
        difficulty=2,
        importance=3,
        minutes=20,
        points=3,
        reference=_bootstrap_interval,
        idea="For each draw of images compute both rates on these same images, subtract, and then "
        "look where the middle 95 % of the differences lie.",
        misconceptions=(
            Misconception(
                "two intervals are subtracted",
                "Both methods met the same easy and hard images, so their rates rise and fall "
                "together. Subtract within each draw, before you take quantiles.",
                _intervals_subtracted,
            ),
            Misconception(
                "lower end minus lower end is taken for an interval",
                "The ends of two intervals belong to different draws. Subtract within each draw, "
                "and take the quantiles of the differences.",
                _ends_subtracted,
            ),
            Misconception(
                "the methods are scored on different draws",
                "The pair of an image must stay together: a draw of images serves both methods.",
                _unpaired,
                _is_as_wide_as_unpaired,
            ),
            Misconception(
                "the interval leaves out 5 % on each side",
                "A 95 % interval leaves out 5 % in all, half of it on either side.",
                _five_each_side,
            ),
            Misconception(
                "the first method is subtracted from the second",
                "The difference is first minus second: above 0 the first is ahead. The other way "
                "round, the ends change places and signs.",
                _second_minus_first,
            ),
            Misconception(
                "shares are given, not points",
                "The rates of this course are percent, so their differences are points.",
                _shares,
            ),
        ),
        cases=_hits_and_draws,
    ),
    Exercise(
        name="three_scores",
        title="Who chose the threshold?",
        difficulty=2,
        importance=3,
        minutes=20,
        points=3,
        reference=_three_scores,
        idea="The three scores are all of the test images; they differ in who chose the threshold.",
        misconceptions=(
            Misconception(
                "the score of the held-out images is reported",
                "Held-out images choose the threshold; the score itself is that of the test images "
                "at this threshold.",
                _held_out_score,
            ),
            Misconception(
                "the test images choose, although held-out ones should",
                "For the honest score the test images have no say: the threshold comes from the "
                "held-out images alone.",
                _never_held_out,
            ),
            Misconception(
                "the second score lets every image choose",
                "The second score has one threshold for the whole test set: first the rate at each "
                "threshold, then the best rate.",
                _each_image_everywhere,
            ),
            Misconception(
                "the third score has one threshold for all",
                "In the third score every image has its own best threshold, so it is hit if any "
                "threshold hits it.",
                _one_for_all,
            ),
            Misconception(
                "the third score averages over thresholds",
                "An image that picks its own threshold is hit if *any* of them hits it; nothing is "
                "averaged over thresholds.",
                _mean_over_thresholds,
            ),
        ),
        cases=_hit_tables,
        afterword="The second score chose on the test images, the third for each of them: both can "
        "only flatter, and here the third does by tens of points.",
    ),
    Exercise(
        name="class_bounds",
        title="What a row of Table 1 says about the classifier",
        difficulty=3,
        importance=2,
        minutes=15,
        points=2,
        reference=_class_bounds,
        idea="Sort the images into four kinds: class right or wrong, box right or wrong. Top-1 Loc "
        "is one of the four shares, GT-known Loc the sum of two.",
        misconceptions=(
            Misconception(
                "the upper bound ignores the boxes",
                "Images with a right box and a wrong class are GT-known minus Top-1 Loc, and the "
                "classifier is wrong on all of these.",
                _bounds_to_hundred,
            ),
            Misconception(
                "GT-known Loc is taken for a bound of the classifier",
                "A right class may come with a wrong box, so the classifier can be better than the "
                "boxes.",
                _bounds_to_boxes,
            ),
            Misconception(
                "class and box are taken to be independent",
                "Dividing the two assumes that the class is right as often on missed images. "
                "Nothing says so; without it there are only bounds.",
                _bounds_independent,
            ),
            Misconception(
                "the lower bound ignores Top-1 Loc",
                "Every image that counts for Top-1 Loc has a right class.",
                _bounds_from_zero,
            ),
        ),
        cases=_table_rows,
        afterword="80.96 and 98.45 leave room from 80.96 to 82.51, so 82.05 fits.",
    ),
)
