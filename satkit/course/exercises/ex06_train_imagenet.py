"""Exercises on what a run costs, and on a batch that several processes share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from satkit.course.checks import Arguments, Exercise, Misconception, Trial, value

# --------------------------------------------------------------------------------------------------
# attention_macs
# --------------------------------------------------------------------------------------------------


def _attention_macs(tokens: int, width: int, heads: int) -> tuple[int, int]:
    return 4 * tokens * width**2 + 2 * tokens**2 * width, tokens * width


def _macs_heads_twice(tokens: int, width: int, heads: int) -> tuple[int, int]:
    return 4 * tokens * width**2 + 2 * heads * tokens**2 * width, tokens * width


def _macs_one_product(tokens: int, width: int, heads: int) -> tuple[int, int]:
    return 4 * tokens * width**2 + tokens**2 * width, tokens * width


def _macs_three_projections(tokens: int, width: int, heads: int) -> tuple[int, int]:
    return 3 * tokens * width**2 + 2 * tokens**2 * width, tokens * width


def _macs_all_query(tokens: int, width: int, heads: int) -> tuple[int, int]:
    return _attention_macs(tokens, width, heads)[0], tokens**2 * width


def _macs_operations(tokens: int, width: int, heads: int) -> tuple[int, int]:
    attention, extra = _attention_macs(tokens, width, heads)
    return 2 * attention, 2 * extra


def _attention_sizes(rng: np.random.Generator) -> Iterator[Arguments]:
    yield 198, 384, 6  # DeiT-S at 224 pixels, with SAT's token
    for _ in range(3):
        heads = int(rng.integers(2, 13))
        yield int(rng.integers(20, 400)), heads * int(rng.integers(8, 65)), heads


# --------------------------------------------------------------------------------------------------
# training_plan
# --------------------------------------------------------------------------------------------------


def _training_plan(
    images: int, epochs: int, own: int, processes: int, base_lr: float, base_batch: int
) -> tuple[int, float]:
    batch = own * processes
    return math.ceil(images / batch) * epochs, base_lr * batch / base_batch


def _plan_of_one(
    images: int, epochs: int, own: int, processes: int, base_lr: float, base_batch: int
) -> tuple[int, float]:
    return _training_plan(images, epochs, own, 1, base_lr, base_batch)


def _plan_across_epochs(
    images: int, epochs: int, own: int, processes: int, base_lr: float, base_batch: int
) -> tuple[int, float]:
    batch = own * processes
    return math.ceil(images * epochs / batch), base_lr * batch / base_batch


def _plan_whole_batches(
    images: int, epochs: int, own: int, processes: int, base_lr: float, base_batch: int
) -> tuple[int, float]:
    batch = own * processes
    return images // batch * epochs, base_lr * batch / base_batch


def _plan_inverse(
    images: int, epochs: int, own: int, processes: int, base_lr: float, base_batch: int
) -> tuple[int, float]:
    batch = own * processes
    return math.ceil(images / batch) * epochs, base_lr * base_batch / batch


def _plan_root(
    images: int, epochs: int, own: int, processes: int, base_lr: float, base_batch: int
) -> tuple[int, float]:
    batch = own * processes
    return math.ceil(images / batch) * epochs, base_lr * (batch / base_batch) ** 0.5


def _plan_unscaled(
    images: int, epochs: int, own: int, processes: int, base_lr: float, base_batch: int
) -> tuple[int, float]:
    return math.ceil(images / (own * processes)) * epochs, base_lr


def _plans(rng: np.random.Generator) -> Iterator[Arguments]:
    yield 1_281_167, 5, 64, 4, 0.5, 512
    for _ in range(4):
        own, processes = int(rng.integers(8, 33)), int(rng.integers(2, 9))
        batch = own * processes
        images = batch * int(rng.integers(20, 60)) + int(rng.integers(1, batch // 3))
        yield images, int(rng.integers(3, 9)), own, processes, float(rng.uniform(0.5, 2)), 100


# --------------------------------------------------------------------------------------------------
# shared_area_loss
# --------------------------------------------------------------------------------------------------

AreaLoss = Callable[[list[Tensor], float], Tensor]


def _shared_area_loss(parts: list[Tensor], target: float) -> Tensor:
    return (torch.cat(parts).mean() - target).abs()


def _area_each_its_own(parts: list[Tensor], target: float) -> Tensor:
    return torch.stack([(part.mean() - target).abs() for part in parts]).mean()


def _area_each_its_own_weighted(parts: list[Tensor], target: float) -> Tensor:
    count = sum(len(part) for part in parts)
    return torch.stack([len(part) * (part.mean() - target).abs() for part in parts]).sum() / count


def _area_each_its_own_summed(parts: list[Tensor], target: float) -> Tensor:
    return _area_each_its_own(parts, target) * len(parts)


def _area_mean_of_means(parts: list[Tensor], target: float) -> Tensor:
    return (torch.stack([part.mean() for part in parts]).mean() - target).abs()


def _area_each_image(parts: list[Tensor], target: float) -> Tensor:
    return (torch.cat(parts).mean(dim=(1, 2)) - target).abs().mean()


def _area_sum_of_means(parts: list[Tensor], target: float) -> Tensor:
    return (torch.stack([part.mean() for part in parts]).sum() - target).abs()


def _area_sum_of_values(parts: list[Tensor], target: float) -> Tensor:
    return (torch.cat(parts).sum() - target).abs()


def _area_without_gradient(parts: list[Tensor], target: float) -> Tensor:
    return _shared_area_loss([part.detach() for part in parts], target)


def _area_and_gradient(answer: AreaLoss, arrays: Sequence[np.ndarray], target: float) -> Any:
    """Loss, and its gradient on all maps in a row; None where no gradient comes back."""
    parts = [torch.tensor(array, requires_grad=True) for array in arrays]
    loss = torch.as_tensor(answer(parts, target))
    if not loss.requires_grad:
        return {"loss": float(loss), "gradient": None}
    found = torch.autograd.grad(loss, parts, allow_unused=True)
    if any(gradient is None for gradient in found):
        return {"loss": float(loss.detach()), "gradient": None}
    gradient = torch.cat([part.flatten() for part in found])
    return {"loss": float(loss.detach()), "gradient": gradient}


def _has_no_gradient(trials: list[Trial]) -> bool:
    return all(trial.given["gradient"] is None for trial in trials)


def _parts(rng: np.random.Generator) -> Iterator[Arguments]:
    for counts in ((4, 4), (5, 2, 1), (1, 6)):
        scales = rng.uniform(0.2, 1, len(counts))
        parts = [
            scale * rng.uniform(0, 1, (n, 3, 3)) for scale, n in zip(scales, counts, strict=True)
        ]
        mean = float(np.concatenate(parts).mean())
        images = np.concatenate(parts).mean(axis=(1, 2))
        yield parts, float((mean + images.max()) / 2)  # some images lie above, some below


# --------------------------------------------------------------------------------------------------
# gradient_factor
# --------------------------------------------------------------------------------------------------


def _is_number(expected: float, trials: list[Trial]) -> bool:
    return bool(abs(float(trials[0].given) - expected) < 1e-6)


EXERCISES = (
    Exercise(
        name="attention_macs",
        title="Count the multiply-adds of attention",
        difficulty=2,
        importance=2,
        minutes=20,
        points=3,
        reference=_attention_macs,
        idea="A product [a, b] @ [b, c] takes a · b · c multiply-adds. Write down the shapes of "
        "every product, one after the other.",
        misconceptions=(
            Misconception(
                "the heads are counted twice",
                "The heads share the width: each is D / heads wide. So the products of all heads "
                "together cost as much as those of one head that is D wide.",
                _macs_heads_twice,
            ),
            Misconception(
                "one of the two products of attention is missing",
                "Queries meet keys, and then the weights meet the values: both products grow with "
                "the square of the tokens.",
                _macs_one_product,
            ),
            Misconception(
                "a projection is missing",
                "There are projections to queries, keys and values, and one more that mixes the "
                "heads' outputs.",
                _macs_three_projections,
            ),
            Misconception(
                "SQA is taken for a second attention",
                "One token asks, not all of them: SQA compares a single query with the keys.",
                _macs_all_query,
            ),
            Misconception(
                "operations are counted, not multiply-adds",
                "A multiply-add is one multiplication with its addition; as operations it would "
                "be two.",
                _macs_operations,
            ),
        ),
        cases=_attention_sizes,
    ),
    Exercise(
        name="training_plan",
        title="Steps and learning rate of a run",
        difficulty=1,
        importance=2,
        minutes=10,
        points=2,
        reference=_training_plan,
        idea="A step takes the images of all processes together, and every epoch ends for itself.",
        misconceptions=(
            Misconception(
                "only one process is counted",
                "All processes take their part of every step, so a step sees the images of all of "
                "them; both the steps and the rate follow from that batch.",
                _plan_of_one,
            ),
            Misconception(
                "an epoch's rest is carried into the next",
                "Every epoch ends with its own smaller batch, which is a step, too. Round for one "
                "epoch, then multiply.",
                _plan_across_epochs,
            ),
            Misconception(
                "the last, smaller batch is left out",
                "No image is dropped: what is left at the end of an epoch makes one more step.",
                _plan_whole_batches,
            ),
            Misconception(
                "the rate falls as the batch grows",
                "A larger batch gives a gradient with less noise and takes fewer steps, so each "
                "step may be longer.",
                _plan_inverse,
            ),
            Misconception(
                "the rate grows with the root of the batch",
                "That is another rule (some use it for Adam). Linear scaling was asked for: twice "
                "the batch, twice the rate.",
                _plan_root,
            ),
            Misconception(
                "the rate is not scaled",
                "The base rate belongs to the base batch; this batch has another size.",
                _plan_unscaled,
            ),
        ),
        cases=_plans,
    ),
    Exercise(
        name="shared_area_loss",
        title="One area for all processes",
        difficulty=2,
        importance=3,
        minutes=15,
        points=3,
        reference=_shared_area_loss,
        idea="The loss compares the mean over all maps of all processes with λ, and its gradient "
        "reaches every map.",
        misconceptions=(
            Misconception(
                "the gradient is lost on the way",
                "Numbers that leave the graph (by detach, item, float or NumPy) teach nothing. "
                "Stay in torch until the loss is there.",
                _area_without_gradient,
                _has_no_gradient,
            ),
            Misconception(
                "every process has its own area",
                "A mean of distances is not the distance of the mean: each process would pull its "
                "own images to λ, so the number of processes would change the loss.",
                _area_each_its_own,
                also=(_area_each_its_own_weighted, _area_each_its_own_summed),
            ),
            Misconception(
                "every image has its own area",
                "Small birds and large ones may differ: λ is wanted of the batch, not of each map.",
                _area_each_image,
            ),
            Misconception(
                "processes count alike, however few images they have",
                "The mean of means is the mean only where all parts have one size. Where they "
                "differ, add up sums and counts.",
                _area_mean_of_means,
            ),
            Misconception(
                "areas are added up, not averaged",
                "An area is a share of the image. Shares of several processes are averaged, else "
                "they exceed 1.",
                _area_sum_of_means,
                also=(_area_sum_of_values,),
            ),
        ),
        cases=_parts,
        run=_area_and_gradient,
    ),
    Exercise(
        name="gradient_factor",
        title="What if the sum passes no gradient?",
        difficulty=3,
        importance=1,
        minutes=10,
        points=2,
        reference=0.25,
        idea="Follow one weight: how much of the loss's gradient does each process hold, and what "
        "does averaging over processes make of it?",
        misconceptions=(
            Misconception(
                "the gradient is believed to be right",
                "The loss has the right value in every process, but each sees only how its own "
                "images change it; averaging then divides what should have been added up.",
                1.0,
                partial(_is_number, 1.0),
            ),
            Misconception(
                "the gradients are believed to be added up",
                "Data parallelism averages the gradients of the processes; it does not add them.",
                4.0,
                partial(_is_number, 4.0),
            ),
            Misconception(
                "the number of processes is counted twice",
                "That each process holds a part of the images is no second loss: the parts "
                "together make the whole gradient. Only the averaging divides.",
                1 / 16,
                partial(_is_number, 1 / 16),
            ),
        ),
        run=value,
    ),
)
