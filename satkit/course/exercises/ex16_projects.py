"""First steps of the mini-projects, which check themselves; a teacher judges the projects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from satkit.course.answers import gradient
from satkit.course.checks import Arguments, CheckFailed, Exercise, Misconception, Trial


def _lacks(fact: str, trials: list[Trial]) -> bool:
    return any(not trial.given[fact] for trial in trials)


# --------------------------------------------------------------------------------------------------
# pixel_loss
# --------------------------------------------------------------------------------------------------

PixelLoss = Callable[[Tensor], Tensor]


def _pixel_loss(maps: Tensor) -> Tensor:
    return (maps * (1 - maps)).mean()


def _loss_per_image(maps: Tensor) -> Tensor:
    return (maps * (1 - maps)).mean(dim=(1, 2))


def _loss_without_gradient(maps: Tensor) -> Tensor:
    return _pixel_loss(maps).detach()


def _loss_of_area(maps: Tensor) -> Tensor:
    return maps.mean()


def _loss_summed(maps: Tensor) -> Tensor:
    return (maps * (1 - maps)).sum()


def _loss_of_the_middle(maps: Tensor) -> Tensor:
    return torch.exp(-((maps - 0.5) ** 2) / (2 * 0.1**2)).mean()


def _loss_with_a_pause(maps: Tensor) -> Tensor:
    return (torch.minimum(maps, 1 - maps) - 0.2).relu().mean()


def _loss_of_entropy(maps: Tensor) -> Tensor:
    return -(maps * maps.log() + (1 - maps) * (1 - maps).log()).mean()


def _leaves_alone(trials: list[Trial]) -> bool:
    """Symptom: doubt is punished in the middle, but hardly pushed near 0 and 1."""
    return any(
        trial.given["0.5 costs more than 0 and 1"] and not trial.given["still pushes at 0.1"]
        for trial in trials
    )


def _facts_of_loss(answer: PixelLoss, maps: np.ndarray) -> dict[str, bool]:
    batch = torch.tensor(maps, requires_grad=True)  # [B, h, w]
    loss = torch.as_tensor(answer(batch))
    facts = {"one number": loss.ndim == 0}
    facts["passes a gradient"] = not facts["one number"] or gradient(loss, batch) is not None
    if not all(facts.values()):
        return facts
    values = torch.linspace(0, 1, 11, dtype=torch.float64)
    flat = torch.stack([answer(value.expand(2, 4, 4)) for value in values])  # one value each
    two = torch.tensor([0.1, 0.9], dtype=torch.float64).repeat_interleave(16).reshape(2, 4, 4)
    two.requires_grad_()
    slopes = torch.autograd.grad(answer(two), two)[0] * two.numel()  # of single patches
    return facts | {
        "a number at 0 and 1": bool(flat.isfinite().all()),
        "0.5 costs more than 0 and 1": bool(flat[[0, -1]].max() < flat[5]),
        "punishes doubt": bool(flat[[0, -1]].max() < flat[1:-1].min()),
        "the same for twice the batch": bool(
            torch.isclose(answer(torch.cat([batch, batch])), loss, rtol=1e-4)
        ),
        "still pushes at 0.1": bool((slopes[0] > 0.02).all() and (slopes[1] < -0.02).all()),
    }


def _maps(rng: np.random.Generator) -> Iterator[Arguments]:
    for shape in ((2, 4, 4), (5, 7, 7)):
        yield (rng.uniform(0.05, 0.95, shape),)


# --------------------------------------------------------------------------------------------------
# annotator_agreement
# --------------------------------------------------------------------------------------------------

Agreement = tuple[float, float]


def _pair_ious(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    low, high = np.maximum(first[:, :2], second[:, :2]), np.minimum(first[:, 2:], second[:, 2:])
    common = (high - low).clip(0).prod(axis=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    return common / (areas[0] + areas[1] - common)


def _agreement(first: np.ndarray, second: np.ndarray) -> Agreement:
    ious = _pair_ious(first, second)
    return float(ious.mean()), float(100 * (ious >= 0.5).mean())


def _agreement_all_pairs(first: np.ndarray, second: np.ndarray) -> Agreement:
    return _agreement(np.repeat(first, len(second), axis=0), np.tile(second, (len(first), 1)))


def _agreement_of_hits(first: np.ndarray, second: np.ndarray) -> Agreement:
    ious = _pair_ious(first, second)
    return float(ious[ious >= 0.5].mean()), float(100 * (ious >= 0.5).mean())


def _agreement_of_identical(first: np.ndarray, second: np.ndarray) -> Agreement:
    return _agreement(first, second)[0], float(100 * (first == second).all(axis=1).mean())


def _two_annotators(rng: np.random.Generator) -> Iterator[Arguments]:
    for images in (12, 20):
        corner, size = rng.integers(20, 200, (images, 2)), rng.integers(40, 90, (images, 2))
        first = np.hstack([corner, corner + size])
        second = first + rng.integers(-12, 13, (images, 4))
        second[:2] += 40  # two images on which they mean another thing
        second[2] = first[2]
        yield first, second


# --------------------------------------------------------------------------------------------------
# claim_plan
# --------------------------------------------------------------------------------------------------

PLAN = {"claim": "sat_over_scm", "seeds": 5, "minutes": 4.0, "hours": 2.0}


@cache
def _ledger() -> pd.DataFrame:
    """The paper's claims by id."""
    from satkit.paper import claims

    return claims().set_index("id")


def _facts_of_plan(answer: Mapping[str, Any]) -> dict[str, bool]:
    if not isinstance(answer, Mapping) or set(answer) != set(PLAN):
        raise CheckFailed(f"claim_plan has to be a dictionary with the keys {', '.join(PLAN)}")
    known = answer["claim"] in _ledger().index
    claim = _ledger().loc[answer["claim"]] if known else None
    sides = 2 if claim is None else max(2, 1 + len(claim["others"]), len(claim["values"]))
    hours = sides * answer["seeds"] * answer["minutes"] / 60
    return {
        "a claim of the ledger": known,
        "three seeds or more": answer["seeds"] >= 3,
        "time for all runs": hours <= answer["hours"],
    }


# --------------------------------------------------------------------------------------------------
# kappa
# --------------------------------------------------------------------------------------------------


def _kappa(first: Sequence[str], second: Sequence[str]) -> float:
    a, b = np.array(first), np.array(second)
    chance = sum((a == name).mean() * (b == name).mean() for name in set(first))
    return float(((a == b).mean() - chance) / (1 - chance))


def _plain_agreement(first: Sequence[str], second: Sequence[str]) -> float:
    return float((np.array(first) == np.array(second)).mean())


def _even_chance(first: Sequence[str], second: Sequence[str]) -> float:
    chance = 1 / len({*first, *second})
    return (_plain_agreement(first, second) - chance) / (1 - chance)


def _chance_of_one(first: Sequence[str], second: Sequence[str]) -> float:
    a = np.array(first)
    chance = sum((a == name).mean() ** 2 for name in set(first))
    return float((_plain_agreement(first, second) - chance) / (1 - chance))


def _beyond_chance_only(first: Sequence[str], second: Sequence[str]) -> float:
    a, b = np.array(first), np.array(second)
    chance = sum((a == name).mean() * (b == name).mean() for name in set(first))
    return float((a == b).mean() - chance)


def _two_judges(rng: np.random.Generator) -> Iterator[Arguments]:
    causes = np.array(["object occlusion", "localization more", "localization part", "label error"])
    for images in (40, 60):
        first = rng.choice(causes, images, p=[0.6, 0.2, 0.1, 0.1])
        guess = rng.choice(causes, images, p=[0.3, 0.3, 0.2, 0.2])
        second = np.where(rng.random(images) < 0.6, first, guess)
        yield first.tolist(), second.tolist()


# --------------------------------------------------------------------------------------------------
# extra_harm
# --------------------------------------------------------------------------------------------------

Hits = np.ndarray


def _points(hits: Hits) -> float:
    return 100 * float(hits.mean())


def _extra_harm(sat_hard: Hits, sat_twin: Hits, other_hard: Hits, other_twin: Hits) -> float:
    return _points(sat_twin) - _points(sat_hard) - (_points(other_twin) - _points(other_hard))


def _harm_on_hard(sat_hard: Hits, sat_twin: Hits, other_hard: Hits, other_twin: Hits) -> float:
    return _points(other_hard) - _points(sat_hard)


def _harm_to_sat(sat_hard: Hits, sat_twin: Hits, other_hard: Hits, other_twin: Hits) -> float:
    return _points(sat_twin) - _points(sat_hard)


def _harm_reversed(sat_hard: Hits, sat_twin: Hits, other_hard: Hits, other_twin: Hits) -> float:
    return -_extra_harm(sat_hard, sat_twin, other_hard, other_twin)


def _harm_relative(sat_hard: Hits, sat_twin: Hits, other_hard: Hits, other_twin: Hits) -> float:
    sat = 1 - sat_hard.mean() / sat_twin.mean()
    return 100 * float(sat - (1 - other_hard.mean() / other_twin.mean()))


def _twins(rng: np.random.Generator) -> Iterator[Arguments]:
    for images in (50, 80):
        yield tuple(rng.random(images) < rate for rate in (0.4, 0.9, 0.45, 0.7))


EXERCISES = (
    Exercise(
        name="pixel_loss",
        title="Project 1 · A pixel loss of your own",
        difficulty=3,
        importance=2,
        minutes=20,
        points=0,
        reference=_pixel_loss,
        idea="A pixel loss is one number for a batch, passes a gradient, and is smallest where "
        "every patch is 0 or 1.",
        misconceptions=(
            Misconception(
                "a number for each image",
                "A loss is one number: take the mean over images, too.",
                _loss_per_image,
                partial(_lacks, "one number"),
            ),
            Misconception(
                "no gradient comes back",
                "Stay in torch: numbers that leave the graph teach nothing.",
                _loss_without_gradient,
                partial(_lacks, "passes a gradient"),
            ),
            Misconception(
                "maps of 0 and 1 have no loss",
                "log 0 is −∞, and 0 · (−∞) is no number: the best maps of all make the loss NaN. "
                "Keep the logarithm away from 0, or use `torch.special.entr`.",
                _loss_of_entropy,
                partial(_lacks, "a number at 0 and 1"),
            ),
            Misconception(
                "a patch at 0.1 is left alone",
                "That is the weakness of the weighted entropy (lesson 08): where the slope is "
                "nearly zero, nobody tells a hesitant patch to make up its mind.",
                _loss_of_the_middle,
                _leaves_alone,
                also=(_loss_with_a_pause,),
            ),
            Misconception(
                "doubt is not punished",
                "Maps of zeros and maps of ones have to cost less than any map in between, else "
                "the loss asks for something other than a decision.",
                _loss_of_area,
                partial(_lacks, "punishes doubt"),
            ),
            Misconception(
                "a larger batch costs more",
                "A sum grows with the batch, and so would the weight of your loss. Take the mean.",
                _loss_summed,
                partial(_lacks, "the same for twice the batch"),
            ),
        ),
        cases=_maps,
        run=_facts_of_loss,
    ),
    Exercise(
        name="annotator_agreement",
        title="Project 2 · A data set of your own",
        difficulty=2,
        importance=2,
        minutes=15,
        points=0,
        reference=_agreement,
        idea="Compare the two boxes of each image, and only these.",
        misconceptions=(
            Misconception(
                "boxes of different images are compared",
                "Row i of both lists is the same image; a box has nothing to do with the boxes of "
                "other images.",
                _agreement_all_pairs,
            ),
            Misconception(
                "only images with agreement are averaged",
                "The images on which you differ are the interesting ones: keep them in the mean.",
                _agreement_of_hits,
            ),
            Misconception(
                "agreement is taken for identity",
                "Nobody draws the same box twice. Count what the metric of the course calls right.",
                _agreement_of_identical,
            ),
        ),
        cases=_two_annotators,
    ),
    Exercise(
        name="claim_plan",
        title="Project 3 · One claim, enough seeds",
        difficulty=2,
        importance=3,
        minutes=15,
        points=0,
        reference=PLAN,
        idea="Count the settings that the claim compares, times the seeds, times the minutes.",
        misconceptions=(
            Misconception(
                "the ledger has no such claim",
                "Take an id from the first column of `satkit.paper.claims()`.",
                {**PLAN, "claim": "sat_is_better"},
                partial(_lacks, "a claim of the ledger"),
            ),
            Misconception(
                "there are too few seeds",
                "One seed has no interval, and with two the t interval is 9 times the deviation "
                "to each side. Take three or more.",
                {**PLAN, "seeds": 1},
                partial(_lacks, "three seeds or more"),
            ),
            Misconception(
                "the time is not enough for all runs",
                "Every setting that the claim compares needs every seed: all of them have to be "
                "trained. Plan fewer seeds (three at least), another claim, or more hours.",
                {**PLAN, "minutes": 60.0},
                partial(_lacks, "time for all runs"),
            ),
        ),
        run=_facts_of_plan,
    ),
    Exercise(
        name="kappa",
        title="Project 4 · Two judges, fifty errors",
        difficulty=2,
        importance=2,
        minutes=20,
        points=0,
        reference=_kappa,
        idea="How far does the agreement go beyond chance, as a share of how far it could go?",
        misconceptions=(
            Misconception(
                "chance is not taken off",
                "Two people who both call most errors occlusion agree often without looking. That "
                "is what kappa takes off.",
                _plain_agreement,
            ),
            Misconception(
                "chance is the same for every cause",
                "Nobody guesses evenly: a frequent cause meets itself more often. Use how often "
                "each of you names it.",
                _even_chance,
            ),
            Misconception(
                "only one judge's habits are used",
                "By chance both name a cause with the product of *their* two frequencies.",
                _chance_of_one,
            ),
            Misconception(
                "the rest is not scaled",
                "What is left beyond chance is divided by what could be left, so that full "
                "agreement gives 1.",
                _beyond_chance_only,
            ),
        ),
        cases=_two_judges,
    ),
    Exercise(
        name="extra_harm",
        title="Project 5 · Make it fail, and say why",
        difficulty=3,
        importance=2,
        minutes=15,
        points=0,
        reference=_extra_harm,
        idea="For each method: the twins' hit rate minus that of the hard drawings. Then the "
        "difference of the two.",
        misconceptions=(
            Misconception(
                "only the hard drawings are compared",
                "A method that is worse everywhere is worse on hard drawings, too. The twins show "
                "how good it is without the difficulty.",
                _harm_on_hard,
            ),
            Misconception(
                "the other method is left out",
                "That says what the difficulty costs SAT. Whether it is a weakness of *SAT* shows "
                "beside what it costs another method.",
                _harm_to_sat,
            ),
            Misconception(
                "the sign is reversed",
                "Harm is what is lost: the twins' rate minus that of the hard drawings, SAT's "
                "first.",
                _harm_reversed,
            ),
            Misconception(
                "harm is measured in percent of the twins",
                "Rates are percent already, and their differences are points; do not divide again.",
                _harm_relative,
            ),
        ),
        cases=_twins,
    ),
)
