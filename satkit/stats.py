"""How sure a result is: intervals over seeds, intervals and tests over images, seeds needed.

Seeds say how much a number moves when training is repeated, images how much it moves when other
photographs are tested. The two answer different questions, and neither replaces the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

Values = Sequence[float] | np.ndarray


class Interval(NamedTuple):
    """A mean and its confidence interval.

    Attributes:
        mean: In the unit of the values.
        low: Lower end; NaN where there is one value only.
        high: Upper end; NaN where there is one value only.
        deviation: Standard deviation of what is averaged; NaN where there is one value only.
        n: How many values, or pairs of them.
        kind: ``t``, ``paired``, ``Welch`` or ``bootstrap``.
    """

    mean: float
    low: float
    high: float
    deviation: float
    n: int
    kind: str


def t_interval(values: Values, confidence: float = 0.95, kind: str = "t") -> Interval:
    """Student's t interval of a mean, for instance of a metric over seeds.

    Args:
        values: [n], one a seed.
        confidence: Share of such intervals that hold the true mean.
        kind: Name of the interval.

    Returns:
        The interval; without ends where n is 1.

    Raises:
        ValueError: No values.

    Source: Student, *The Probable Error of a Mean*, Biometrika 1908.
    """
    values = np.asarray(values, dtype=float)
    n = len(values)
    if n == 0:
        raise ValueError("there are no values; expected at least one")
    mean = float(values.mean())
    if n == 1:
        return Interval(mean, np.nan, np.nan, np.nan, 1, kind)
    deviation = float(values.std(ddof=1))
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * deviation / n**0.5
    return Interval(mean, mean - half, mean + half, deviation, n, kind)


def paired_interval(first: Values, second: Values, confidence: float = 0.95) -> Interval:
    """T interval of the mean difference of two methods that ran with the same seeds.

    Args:
        first: [n], one a seed.
        second: [n], of the same seeds in the same order.
        confidence: Share of such intervals that hold the true difference.

    Returns:
        Interval of first - second.

    Raises:
        ValueError: Different numbers of values, or none.
    """
    if len(first) != len(second):
        raise ValueError(
            f"there are {len(first)} and {len(second)} values; pairs need equally many"
        )
    return t_interval(np.asarray(first) - np.asarray(second), confidence, "paired")


def welch_interval(first: Values, second: Values, confidence: float = 0.95) -> Interval:
    """Interval of the difference of two means whose seeds have nothing to do with each other.

    Args:
        first: [n].
        second: [m].
        confidence: Share of such intervals that hold the true difference.

    Returns:
        Interval of mean(first) - mean(second); without ends where n or m is 1. ``deviation`` is
        that of the difference of two single runs, ``n`` the smaller number of runs.

    Raises:
        ValueError: No values.

    Source: B. L. Welch, *The generalization of 'Student's' problem when several different
    population variances are involved*, Biometrika 1947.
    """
    one, two = t_interval(first), t_interval(second)
    mean, n = one.mean - two.mean, min(one.n, two.n)
    if n == 1:
        return Interval(mean, np.nan, np.nan, np.nan, 1, "Welch")
    parts = np.array([one.deviation**2 / one.n, two.deviation**2 / two.n])
    deviation = float(np.hypot(one.deviation, two.deviation))
    if parts.sum() == 0:
        return Interval(mean, mean, mean, deviation, n, "Welch")
    freedom = parts.sum() ** 2 / (parts**2 / [one.n - 1, two.n - 1]).sum()
    half = float(stats.t.ppf((1 + confidence) / 2, freedom) * parts.sum() ** 0.5)
    return Interval(mean, mean - half, mean + half, deviation, n, "Welch")


def seeds_needed(
    effect: float, deviation: float, confidence: float = 0.95, most: int = 1000
) -> float:
    """How many seeds a t interval needs to exclude 0, if effect and spread stay what they are.

    Args:
        effect: Mean difference that was seen.
        deviation: Standard deviation of the differences, one a seed.
        confidence: Of the interval.
        most: Largest number that is tried.

    Returns:
        At least 2; infinity where ``most`` are not enough, NaN where the spread is unknown.
    """
    if np.isnan(deviation) or np.isnan(effect):
        return np.nan
    n = np.arange(2, most + 1)
    half = stats.t.ppf((1 + confidence) / 2, n - 1) * deviation / np.sqrt(n)
    enough = n[half < abs(effect)]
    return float(enough[0]) if len(enough) else np.inf


def paired_hits(
    first: pd.DataFrame, second: pd.DataFrame, delta: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Hits of two methods on the same images.

    Args:
        first: ``predictions.csv`` of a run: ``path`` and ``iou``.
        second: That of the other run, in any order.
        delta: IoU from which on a box is a hit, 0-1.

    Returns:
        Two boolean arrays [N], in the order of ``first``.

    Raises:
        ValueError: The two did not see the same images, or one image stands there twice.
    """
    both = [table.set_index("path")["iou"] for table in (first, second)]
    for iou in both:
        if iou.index.has_duplicates:
            twice = iou.index[iou.index.duplicated()][0]
            raise ValueError(f"image {twice!r} is there twice; expected one row an image")
    if set(both[0].index) != set(both[1].index):
        only = sorted(map(str, set(both[0].index) ^ set(both[1].index)))
        raise ValueError(
            f"{len(only)} images are in one of the two only, such as {only[0]!r}; compare runs "
            "that were tested on the same images"
        )
    other = both[1].reindex(both[0].index)
    return both[0].to_numpy() >= delta, other.to_numpy() >= delta


def bootstrap_difference(
    first: np.ndarray,
    second: np.ndarray,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval over images of the difference of two hit rates.

    The pair of an image is drawn as one. An image's difference is -1, 0 or 1, so that a resample of
    the images is one draw of a multinomial distribution; that is the ordinary bootstrap, computed
    at once.

    Args:
        first: bool [N], hits of one method (:func:`paired_hits`).
        second: bool [N], of the other, on the same images.
        confidence: Of the percentile interval.
        resamples: How often the images are drawn anew.
        seed: Of the draws.

    Returns:
        Interval of the rates' difference, in points (percent).

    Raises:
        ValueError: Different numbers of images, or none.

    Source: B. Efron, R. Tibshirani, *An Introduction to the Bootstrap*, 1993, Ch. 13.
    """
    difference = _differences(first, second)
    n = len(difference)
    shares = [(difference == step).mean() for step in (-1, 0, 1)]
    drawn = np.random.default_rng(seed).multinomial(n, shares, size=resamples)  # [R, 3]
    rates = 100 * (drawn[:, 2] - drawn[:, 0]) / n  # [R]
    low, high = np.quantile(rates, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(
        float(100 * difference.mean()),
        float(low),
        float(high),
        float(100 * difference.std()),
        n,
        "bootstrap",
    )


class McNemar(NamedTuple):
    """Outcome of McNemar's test.

    Attributes:
        only_first: Images that only the first method hits.
        only_second: Images that only the second method hits.
        p_value: Probability of so uneven a split where both hit equally often, two-sided.
    """

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: np.ndarray, second: np.ndarray) -> McNemar:
    """Exact McNemar test: do two methods hit equally often on the same images?

    Args:
        first: bool [N], hits of one method (:func:`paired_hits`).
        second: bool [N], of the other, on the same images.

    Returns:
        The images that tell the two apart, and the p-value (1 where there are none).

    Raises:
        ValueError: Different numbers of images, or none.

    Source: Q. McNemar, *Note on the sampling error of the difference between correlated
    proportions or percentages*, Psychometrika 1947; exact by the binomial distribution.
    """
    difference = _differences(first, second)
    one, two = int((difference > 0).sum()), int((difference < 0).sum())
    p_value = float(stats.binomtest(one, one + two).pvalue) if one + two else 1.0
    return McNemar(one, two, p_value)


def median_iou(predictions: pd.DataFrame, delta: float = 0.5) -> float:
    """Median IoU of the correct boxes (Fig. 5 of the paper).

    Args:
        predictions: ``predictions.csv`` of a run, with ``iou``.
        delta: IoU from which on a box is correct, 0-1.

    Returns:
        Percent; NaN where no box is correct.
    """
    correct = predictions.loc[predictions["iou"] >= delta, "iou"]
    return float(100 * correct.median())


def _differences(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    if len(first) != len(second) or not len(first):
        raise ValueError(
            f"there are {len(first)} and {len(second)} images; expected the same ones, at least one"
        )
    return np.asarray(first, dtype=int) - np.asarray(second, dtype=int)
