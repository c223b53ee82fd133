"""Wrong answers to the exercises of lesson 07."""

from tests.course.wrong_answers import Wrong

WRONG = [
    Wrong(
        exercise="bootstrap_interval",
        misconception="two intervals are subtracted",
        code="""
import numpy as np


def ci(hits, draws):
    rates = 100 * hits[draws].mean(axis=1)
    return np.quantile(rates, [0.025, 0.975])


def bootstrap_interval(first, second, draws):
    lo_a, hi_a = ci(first, draws)
    lo_b, hi_b = ci(second, draws)
    # worst case and best case of the difference
    return float(lo_a - hi_b), float(hi_a - lo_b)
""",
    ),
    Wrong(
        exercise="bootstrap_interval",
        misconception="the methods are scored on different draws",
        code="""
import numpy as np


def bootstrap_interval(first, second, draws):
    n = len(first)
    rng = np.random.default_rng(42)
    draws2 = rng.integers(0, n, size=draws.shape)  # the second method needs its own resamples
    diffs = []
    for d1, d2 in zip(draws, draws2):
        diffs.append(100 * (first[d1].mean() - second[d2].mean()))
    low, high = np.percentile(diffs, [2.5, 97.5])
    return float(low), float(high)
""",
    ),
    Wrong(
        exercise="bootstrap_interval",
        misconception="the interval leaves out 5 % on each side",
        code="""
import numpy as np


def bootstrap_interval(first, second, draws):
    delta = first.astype(float) - second.astype(float)
    d = delta[draws].mean(1) * 100
    return float(np.quantile(d, 0.05)), float(np.quantile(d, 0.95))
""",
    ),
    Wrong(
        exercise="bootstrap_interval",
        misconception="the first method is subtracted from the second",
        code="""
import numpy as np


def bootstrap_interval(first, second, draws):
    gain = second[draws].mean(axis=1) - first[draws].mean(axis=1)
    low, high = np.quantile(100 * gain, [0.025, 0.975])
    return float(low), float(high)
""",
    ),
    Wrong(
        exercise="three_scores",
        misconception="the score of the held-out images is reported",
        code="""
def three_scores(held_out, test):
    curve_val = 100 * held_out.mean(axis=0)
    curve_test = 100 * test.mean(axis=0)
    s1 = curve_val.max()
    s2 = curve_test.max()
    s3 = 100 * test.any(axis=1).mean()
    return float(s1), float(s2), float(s3)
""",
    ),
    Wrong(
        exercise="three_scores",
        misconception="the third score averages over thresholds",
        code="""
def three_scores(held_out, test):
    best = int(held_out.sum(axis=0).argmax())
    rates = test.sum(axis=0) / len(test)
    per_image = [row.sum() / len(row) for row in test]
    third = sum(per_image) / len(per_image)
    return 100 * float(rates[best]), 100 * float(max(rates)), 100 * float(third)
""",
    ),
    Wrong(
        exercise="class_bounds",
        misconception="the upper bound ignores the boxes",
        code="""
def class_bounds(top1_loc, gt_known):
    # every Top-1 Loc hit has the right class, the rest can be anything
    return float(top1_loc), 100.0
""",
    ),
    Wrong(
        exercise="class_bounds",
        misconception="class and box are taken to be independent",
        code="""
def class_bounds(top1_loc, gt_known):
    # Top-1 Loc = Top-1 Cls * GT-known
    cls = top1_loc / (gt_known / 100)
    return cls, cls
""",
    ),
    Wrong(
        exercise="class_bounds",
        misconception="GT-known Loc is taken for a bound of the classifier",
        code="""
def class_bounds(top1_loc, gt_known):
    lower = float(top1_loc)
    upper = float(gt_known)
    return lower, upper
""",
    ),
]
