"""Exercises on verdicts: from an interval to a word, and from a spread to a number of seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import numpy as np
from scipy import stats

from satkit.course.answers import chooses, leaves_out, letters, partly
from satkit.course.checks import Arguments, Exercise, Misconception, Trial
from satkit.stats import seeds_needed

# --------------------------------------------------------------------------------------------------
# verdict
# --------------------------------------------------------------------------------------------------


CERTAIN = ("reproduced", "contradicts")


def _verdict(mean: float, low: float, high: float, bound: float, below: bool) -> str:
    sign = -1 if below else 1
    nearest = min(sign * (low - bound), sign * (high - bound))
    farthest = max(sign * (low - bound), sign * (high - bound))
    if sign * (mean - bound) > 0:
        return "reproduced" if nearest > 0 else "same direction"
    return "contradicts" if farthest < 0 else "undecided"


def _verdict_of_mean(mean: float, low: float, high: float, bound: float, below: bool) -> str:
    return _verdict(mean, mean, mean, bound, below)


def _is_too_sure(trials: list[Trial]) -> bool:
    """Symptom: what is uncertain gets a certain verdict, and all else is right."""
    return all(
        trial.given == trial.expected or (trial.given in CERTAIN and trial.expected not in CERTAIN)
        for trial in trials
    )


def _verdict_of_one_seed(mean: float, low: float, high: float, bound: float, below: bool) -> str:
    ends = (mean, mean) if math.isnan(low) else (low, high)
    return _verdict(mean, *ends, bound, below)


def _verdict_of_zero(mean: float, low: float, high: float, bound: float, below: bool) -> str:
    return _verdict(mean, low, high, 0.0, below)


def _verdict_upwards(mean: float, low: float, high: float, bound: float, below: bool) -> str:
    return _verdict(mean, low, high, bound, False)


def _verdict_of_three(mean: float, low: float, high: float, bound: float, below: bool) -> str:
    word = _verdict(mean, low, high, bound, below)
    return "undecided" if word == "same direction" else word


def _verdict_of_equal(mean: float, low: float, high: float, bound: float, below: bool) -> str:
    return "same direction" if mean == bound else _verdict(mean, low, high, bound, below)


def _effects(rng: np.random.Generator) -> Iterator[Arguments]:
    for below in (False, True):
        for bound in (0.0, 2.0):
            for side in (-1, 1):
                mean = bound + side * float(rng.uniform(0.5, 1.5))
                narrow, wide = 0.4, 1.8
                yield mean, mean - narrow, mean + narrow, bound, below
                yield mean, mean - wide, mean + wide, bound, below
                yield mean, math.nan, math.nan, bound, below
            yield bound, bound - 1.0, bound + 1.0, bound, below


# --------------------------------------------------------------------------------------------------
# seeds_for
# --------------------------------------------------------------------------------------------------


def _seeds_for(effect: float, deviation: float) -> int:
    return int(seeds_needed(effect, deviation))


def _seeds_with(
    effect: float,
    deviation: float,
    normal: bool = False,
    one_sided: bool = False,
    freedom: int = 1,
    power: float = 0.5,
) -> int:
    share = 0.95 if one_sided else 0.975
    n = 2
    while True:
        factor = stats.norm.ppf(share) if normal else stats.t.ppf(share, n - freedom)
        if factor * deviation / n**power < effect:
            return n
        n += 1


def _spreads(rng: np.random.Generator) -> Iterator[Arguments]:
    for ratio in (0.2, 0.35, 0.5, 0.8, 1.2, 2.0, 3.0, 5.0, 8.0):
        deviation = float(rng.uniform(0.8, 1.2))
        yield ratio * deviation, deviation


EXERCISES = (
    Exercise(
        name="verdict",
        title="From an interval to a verdict",
        difficulty=2,
        importance=3,
        minutes=20,
        points=3,
        reference=_verdict,
        idea="Two questions: on which side of the bound does the mean lie, and does the whole "
        "interval lie there, too?",
        misconceptions=(
            Misconception(
                "one seed decides",
                "One run has no interval, so nothing says how far its number would move. It gives "
                "a direction at most, for or against.",
                _verdict_of_one_seed,
                partly(_verdict_of_one_seed),
            ),
            Misconception(
                "the mean alone decides",
                "Where the interval reaches over the bound, another handful of seeds might turn "
                "the sign. A certain verdict needs the whole interval.",
                _verdict_of_mean,
                _is_too_sure,
            ),
            Misconception(
                "the bound is always zero",
                "A claim may say «far better» or «less than two points»: its bound is part of the "
                "rule.",
                _verdict_of_zero,
            ),
            Misconception(
                "larger is always what the claim wants",
                "Some claims say that a number is *small*. Then the claim's side is below the "
                "bound, and all is mirrored.",
                _verdict_upwards,
            ),
            Misconception(
                "every uncertain effect is undecided",
                "An uncertain effect still has a direction: with the claim it is «same direction», "
                "against it «undecided».",
                _verdict_of_three,
                partly(_verdict_of_three),
            ),
            Misconception(
                "a mean on the bound counts for the claim",
                "An effect that only reaches the bound is not beyond it: undecided.",
                _verdict_of_equal,
            ),
        ),
        cases=_effects,
    ),
    Exercise(
        name="seeds_for",
        title="How many seeds would it take?",
        difficulty=2,
        importance=2,
        minutes=20,
        points=3,
        reference=_seeds_for,
        idea="Try 2, 3, 4 … seeds, and compute the half-width that the interval would have with "
        "each.",
        misconceptions=(
            Misconception(
                "the spread is taken to be known",
                "With a few seeds the spread itself is a guess, so the interval must be wider than "
                "that of a normal distribution: by Student's t.",
                partial(_seeds_with, normal=True),
            ),
            Misconception(
                "only one side is left out",
                "A 95 % interval leaves out 5 % in all, so 2.5 % lie above its upper end.",
                partial(_seeds_with, one_sided=True),
            ),
            Misconception(
                "the degrees of freedom are the number of seeds",
                "One degree is used up by the mean, from which the spread is measured: there are "
                "n − 1 left.",
                partial(_seeds_with, freedom=0),
            ),
            Misconception(
                "the half-width falls with the number of seeds",
                "The mean of n runs scatters by the deviation over the *root* of n: four times the "
                "seeds halve it.",
                partial(_seeds_with, power=1.0),
            ),
        ),
        cases=_spreads,
    ),
    Exercise(
        name="undecided",
        title="What does «undecided» mean?",
        difficulty=2,
        importance=3,
        minutes=10,
        points=2,
        reference="AD",
        idea="The interval says what the runs leave open, no more.",
        misconceptions=(
            chooses(
                "B",
                "AD",
                "no proof of a difference is taken for a proof of equality (B)",
                "The interval holds 0, but it holds +1 and −1.5, too. Equal methods would need an "
                "interval that is *narrow* around 0.",
            ),
            chooses(
                "C",
                "AD",
                "undecided is read as refuted (C)",
                "Refuted would be an interval that lies wholly on the other side; the ledger calls "
                "that «contradicts».",
            ),
            leaves_out(
                "A",
                "AD",
                "the verdict is thought to be final (A)",
                "The interval reaches over the bound on both sides, so more seeds can move the "
                "mean and shrink the interval to either side.",
            ),
            leaves_out(
                "D",
                "AD",
                "the word is thought to depend on the width alone (D)",
                "With the same width, the mean decides between the two uncertain words: on the "
                "claim's side it is «same direction».",
            ),
        ),
        run=letters,
    ),
)
