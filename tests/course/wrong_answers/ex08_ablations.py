"""Wrong answers to the exercises of lesson 08."""

from tests.course.wrong_answers import Wrong

WRONG = [
    Wrong(
        exercise="reversal_chance",
        misconception="the deviations are added up",
        code="""
from scipy.stats import norm


def reversal_chance(gap, deviation):
    total = deviation + deviation
    return float(norm.cdf(0, loc=gap, scale=total))
""",
    ),
    Wrong(
        exercise="reversal_chance",
        misconception="only one of the two runs is noisy",
        code="""
from scipy.stats import norm


def reversal_chance(gap, deviation):
    z = -gap / deviation
    return float(norm.cdf(z))
""",
    ),
    Wrong(
        exercise="clean_pairs",
        misconception="rows that differ in more than one setting are compared",
        code="""
from itertools import combinations


def clean_pairs(rows):
    pairs = set()
    for i, j in combinations(range(len(rows)), 2):
        if rows[i] != rows[j]:
            pairs.add((i, j))
    return pairs
""",
    ),
    Wrong(
        exercise="clean_pairs",
        misconception="only neighbours in the table are compared",
        code="""
from itertools import combinations


def clean_pairs(rows):
    result = set()
    for i in range(1, len(rows)):
        before, now = rows[i - 1], rows[i]
        changed = [key for key in now if now[key] != before[key]]
        if len(changed) == 1:
            result.add((i - 1, i))
    return result
""",
    ),
    Wrong(
        exercise="clean_pairs",
        misconception="each pair is there twice",
        code="""
from itertools import combinations


def clean_pairs(rows):
    n = len(rows)
    return {
        (i, j)
        for i in range(n)
        for j in range(n)
        if sum(rows[i][k] != rows[j][k] for k in rows[i]) == 1
    }
""",
    ),
    Wrong(
        exercise="insensitive_range",
        misconception="the range leaps over a bad value",
        code="""
import numpy as np


def insensitive_range(targets, scores, points):
    good = targets[scores >= scores.max() - points]
    return float(good.min()), float(good.max())
""",
    ),
    Wrong(
        exercise="insensitive_range",
        misconception="points are taken for percent of the best",
        code="""
import numpy as np


def insensitive_range(targets, scores, points):
    best = int(np.argmax(scores))
    limit = scores[best] * (1 - points / 100)
    left = best
    while left > 0 and scores[left - 1] >= limit:
        left -= 1
    right = best
    while right < len(scores) - 1 and scores[right + 1] >= limit:
        right += 1
    return float(targets[left]), float(targets[right])
""",
    ),
    Wrong(
        exercise="insensitive_range",
        misconception="each step is compared with its neighbour",
        code="""
import numpy as np


def insensitive_range(targets, scores, points):
    lo = hi = int(np.argmax(scores))
    # walk as long as the score does not drop by more than `points`
    while lo - 1 >= 0 and scores[lo] - scores[lo - 1] <= points:
        lo = lo - 1
    while hi + 1 < len(scores) and scores[hi] - scores[hi + 1] <= points:
        hi = hi + 1
    return float(targets[lo]), float(targets[hi])
""",
    ),
]
