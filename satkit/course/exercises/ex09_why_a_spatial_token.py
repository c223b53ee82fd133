"""Exercises on two tasks that share parameters: do they fight, and what does sharing cost?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from satkit.course.checks import Arguments, Exercise, Misconception, Trial

# --------------------------------------------------------------------------------------------------
# gradient_cosine
# --------------------------------------------------------------------------------------------------

Gradients = Sequence[Tensor | None]


def _shared(first: Gradients, second: Gradients) -> list[tuple[Tensor, Tensor]]:
    pairs = zip(first, second, strict=True)
    return [(a.flatten(), b.flatten()) for a, b in pairs if a is not None and b is not None]


def _gradient_cosine(first: Gradients, second: Gradients) -> float:
    ours, theirs = (torch.cat(parts) for parts in zip(*_shared(first, second), strict=True))
    return float(torch.cosine_similarity(ours, theirs, dim=0))


def _cosine_mean_of_parameters(first: Gradients, second: Gradients) -> float:
    cosines = [torch.cosine_similarity(a, b, dim=0) for a, b in _shared(first, second)]
    return float(torch.stack(cosines).mean())


def _cosine_without_lengths(first: Gradients, second: Gradients) -> float:
    return float(sum(a @ b for a, b in _shared(first, second)))


def _cosine_of_signs(first: Gradients, second: Gradients) -> float:
    ours, theirs = (torch.cat(parts) for parts in zip(*_shared(first, second), strict=True))
    return float((ours.sign() * theirs.sign()).mean())


def _cosine_with_zeros(first: Gradients, second: Gradients) -> float:
    filled = [
        [
            torch.zeros_like(other) if own is None and other is not None else own
            for own, other in zip(one, two, strict=True)
        ]
        for one, two in ((first, second), (second, first))
    ]
    return _gradient_cosine(*filled)


def _gradient_pairs(rng: np.random.Generator) -> Iterator[Arguments]:
    for sign in (-1, 1, -1):
        shapes, scales = ((4, 3), (5,), (2, 2), (6,)), (0.1, 1.0, 3.0, 2.0)
        first: list[Tensor | None] = [
            torch.tensor(scale * rng.normal(size=shape))
            for shape, scale in zip(shapes, scales, strict=True)
        ]
        second: list[Tensor | None] = [
            sign * 0.5 * own + torch.tensor(scale * rng.normal(size=own.shape))
            for own, scale in zip(first, (0.1, 1.0, 1.0, 2.0), strict=True)
            if own is not None
        ]
        first[1], second[3] = None, None
        yield first, second


# --------------------------------------------------------------------------------------------------
# price_of_sharing
# --------------------------------------------------------------------------------------------------


def _loss_at(
    token: np.ndarray, first: np.ndarray, second: np.ndarray, weights: tuple[float, float]
) -> float:
    pulls = ((token - first) ** 2).sum(), ((token - second) ** 2).sum()
    return float(weights[0] * pulls[0] + weights[1] * pulls[1])


def _price(first: np.ndarray, second: np.ndarray, a: float, b: float) -> float:
    return _loss_at((a * first + b * second) / (a + b), first, second, (a, b))


def _price_in_the_middle(first: np.ndarray, second: np.ndarray, a: float, b: float) -> float:
    return _loss_at((first + second) / 2, first, second, (a, b))


def _price_of_the_weaker(first: np.ndarray, second: np.ndarray, a: float, b: float) -> float:
    return min(a, b) * float(((first - second) ** 2).sum())


def _price_weights_exchanged(first: np.ndarray, second: np.ndarray, a: float, b: float) -> float:
    return _loss_at((b * first + a * second) / (a + b), first, second, (a, b))


def _price_weights_not_scaled(first: np.ndarray, second: np.ndarray, a: float, b: float) -> float:
    return _loss_at(a * first + b * second, first, second, (a, b))


def _price_with_two(first: np.ndarray, second: np.ndarray, a: float, b: float) -> float:
    return 0.0


def _wishes(rng: np.random.Generator) -> Iterator[Arguments]:
    for heavy in (2.0, 5.0, 0.3):
        first, second = rng.normal(size=(2, 4))
        yield first, second, heavy, 1.0


# --------------------------------------------------------------------------------------------------
# without_conflict
# --------------------------------------------------------------------------------------------------


def _without_conflict(own: Tensor, other: Tensor) -> Tensor:
    dot = own @ other
    return own - dot / (other @ other) * other if dot < 0 else own


def _always_projected(own: Tensor, other: Tensor) -> Tensor:
    return own - (own @ other) / (other @ other) * other


def _own_length(own: Tensor, other: Tensor) -> Tensor:
    dot = own @ other
    return own - dot / (own @ own) * other if dot < 0 else own


def _another_share_is_taken(trials: list[Trial]) -> bool:
    """Symptom: what is taken has the right direction, and only where they fight; not the length."""
    for trial in trials:
        own, _ = trial.arguments
        taken, right = own - torch.as_tensor(trial.given), own - trial.expected
        if not right.any() and taken.any():
            return False
        if right.any() and taken @ right <= (1 - 1e-6) * taken.norm() * right.norm():
            return False
    return True


def _the_fight_itself(own: Tensor, other: Tensor) -> Tensor:
    dot = own @ other
    return dot / (other @ other) * other if dot < 0 else own


def _given_up(own: Tensor, other: Tensor) -> Tensor:
    return torch.zeros_like(own) if own @ other < 0 else own


def _added_up(own: Tensor, other: Tensor) -> Tensor:
    dot = own @ other
    return own + dot / (other @ other) * other if dot < 0 else own


def _two_directions(rng: np.random.Generator) -> Iterator[Arguments]:
    for sign in (-1, 1, -1):
        own = torch.tensor(rng.normal(size=5))
        yield own, 2.0 * sign * own + torch.tensor(0.7 * rng.normal(size=5))


EXERCISES = (
    Exercise(
        name="gradient_cosine",
        title="Do two losses fight?",
        difficulty=2,
        importance=3,
        minutes=15,
        points=3,
        reference=_gradient_cosine,
        idea="Lay the gradients of all shared parameters end to end, as one long vector for each "
        "loss, and take the cosine of the two.",
        misconceptions=(
            Misconception(
                "every parameter counts alike",
                "A mean of cosines lets a bias of tiny gradients weigh as much as a matrix of "
                "large ones. The step is made in the space of all parameters at once.",
                _cosine_mean_of_parameters,
            ),
            Misconception(
                "the lengths are left in",
                "A cosine lies between -1 and 1: divide by both lengths. Else a large gradient "
                "looks like a large conflict.",
                _cosine_without_lengths,
            ),
            Misconception(
                "signs are counted",
                "Two gradients may differ in most signs and still agree where they are large. "
                "The cosine weighs each entry by its size.",
                _cosine_of_signs,
            ),
            Misconception(
                "parameters that one loss does not touch are counted",
                "No gradient means that the parameter is not shared; its entries would lengthen "
                "one of the vectors and hide the conflict. Leave it out on both sides.",
                _cosine_with_zeros,
            ),
        ),
        cases=_gradient_pairs,
    ),
    Exercise(
        name="price_of_sharing",
        title="One token for two wishes",
        difficulty=2,
        importance=2,
        minutes=20,
        points=3,
        reference=_price,
        idea="Set the gradient of the sum to zero, put the token that you find into the sum.",
        misconceptions=(
            Misconception(
                "the compromise lies in the middle",
                "The heavier wish pulls harder: at the best token both pulls are equally strong.",
                _price_in_the_middle,
            ),
            Misconception(
                "one task gets all, the other pays",
                "At either wish the other task pulls and nobody pulls back, so a small step "
                "away lowers the sum.",
                _price_of_the_weaker,
            ),
            Misconception(
                "the weights are exchanged",
                "The token moves towards the wish with the larger weight, not away from it.",
                _price_weights_exchanged,
            ),
            Misconception(
                "the weights are not scaled",
                "A compromise lies between the two wishes: their weights in it add up to 1.",
                _price_weights_not_scaled,
            ),
            Misconception(
                "each task is given its own token",
                "With two tokens the price is zero, and that is the paper's point. Here is one.",
                _price_with_two,
            ),
        ),
        cases=_wishes,
    ),
    Exercise(
        name="without_conflict",
        title="Take the conflict out of a gradient",
        difficulty=3,
        importance=1,
        minutes=20,
        points=2,
        reference=_without_conflict,
        idea="Remove from the gradient its part along the other one, but only where they fight.",
        misconceptions=(
            Misconception(
                "gradients that agree are changed, too",
                "Where the cosine is not negative there is no conflict, and the common part is "
                "what both tasks want.",
                _always_projected,
            ),
            Misconception(
                "the part along h has the wrong length",
                "The length of h counts twice: in the product of g and h, and in h itself. A "
                "longer h must not change what is taken away. Test: what is left is orthogonal to "
                "h.",
                _own_length,
                _another_share_is_taken,
            ),
            Misconception(
                "only the fighting part is kept",
                "This part is to be taken away; what is orthogonal to the other gradient stays.",
                _the_fight_itself,
            ),
            Misconception(
                "the whole gradient is given up",
                "Most of the gradient may not touch the other task at all. Only the part along "
                "the other gradient has to go.",
                _given_up,
            ),
            Misconception(
                "the fighting part is doubled",
                "The part along the other gradient is negative here; subtracting it brings the "
                "product to zero, adding it makes it twice as bad.",
                _added_up,
            ),
        ),
        cases=_two_directions,
    ),
)
