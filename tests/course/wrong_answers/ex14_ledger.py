"""Wrong answers to the exercises of lesson 14."""

from tests.course.wrong_answers import Wrong

WRONG = [
    Wrong(
        exercise="verdict",
        misconception="one seed decides",
        code="""
import math


def verdict(mean, low, high, bound, below):
    if math.isnan(low) or math.isnan(high):
        low = high = mean  # only one seed: the interval is a point
    if below:
        mean, low, high, bound = -mean, -high, -low, -bound
    if low > bound:
        return "reproduced"
    if high < bound:
        return "contradicts"
    return "same direction" if mean > bound else "undecided"
""",
    ),
    Wrong(
        exercise="verdict",
        misconception="every uncertain effect is undecided",
        code="""
def verdict(mean, low, high, bound, below):
    if low != low:  # NaN: one seed, no interval
        right_side = mean < bound if below else mean > bound
        return "same direction" if right_side else "undecided"
    if low <= bound <= high:
        return "undecided"
    if below:
        return "reproduced" if high < bound else "contradicts"
    return "reproduced" if low > bound else "contradicts"
""",
    ),
    Wrong(
        exercise="verdict",
        misconception="the bound is always zero",
        code="""
def verdict(mean, low, high, bound, below):
    if below:
        mean, low, high = -mean, -high, -low
    if low > 0:
        return "reproduced"
    elif high < 0:
        return "contradicts"
    elif mean > 0:
        return "same direction"
    else:
        return "undecided"
""",
    ),
    Wrong(
        exercise="verdict",
        misconception="a mean on the bound counts for the claim",
        code="""
def verdict(mean, low, high, bound, below):
    sign = -1 if below else 1
    ends = sorted([sign * (low - bound), sign * (high - bound)])
    middle = sign * (mean - bound)
    if ends[0] > 0:
        return "reproduced"
    if ends[1] < 0:
        return "contradicts"
    if middle >= 0:
        return "same direction"
    return "undecided"
""",
    ),
    Wrong(
        exercise="seeds_for",
        misconception="the spread is taken to be known",
        code="""
import math

from scipy.stats import t


def seeds_for(effect, deviation):
    # effect > 1.96 * s / sqrt(n), solved for n
    n = math.ceil((1.96 * deviation / effect) ** 2)
    return max(2, n)
""",
    ),
    Wrong(
        exercise="seeds_for",
        misconception="only one side is left out",
        code="""
from scipy.stats import t


def seeds_for(effect, deviation):
    n = 2
    while t.ppf(0.95, n - 1) * deviation / n**0.5 >= effect:
        n += 1
    return n
""",
    ),
    Wrong(
        exercise="seeds_for",
        misconception="the degrees of freedom are the number of seeds",
        code="""
from itertools import count

import numpy as np
from scipy.stats import t


def seeds_for(effect, deviation):
    for seeds in count(2):
        half_width = t.ppf(0.975, df=seeds) * deviation / np.sqrt(seeds)
        if effect - half_width > 0:
            return seeds
""",
    ),
    Wrong(
        exercise="undecided",
        misconception="no proof of a difference is taken for a proof of equality (B)",
        code="""
undecided = "ABD"
""",
    ),
    Wrong(
        exercise="undecided",
        misconception="the word is thought to depend on the width alone (D)",
        code="""
undecided = "A"  # D: the interval is as wide as before, so still undecided
""",
    ),
]
