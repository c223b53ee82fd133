"""Exercises on few images and few parameters."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial

import numpy as np

from satkit.course.checks import Arguments, Exercise, Misconception, Trial

# --------------------------------------------------------------------------------------------------
# draw_shots
# --------------------------------------------------------------------------------------------------

Draw = Callable[[np.ndarray, int, int, Collection[int]], Sequence[int]]


def _members(labels: np.ndarray, label: int, held_out: Collection[int]) -> np.ndarray:
    return np.array([i for i in np.flatnonzero(labels == label) if i not in held_out])


def _draw_shots(labels: np.ndarray, shots: int, seed: int, held_out: Collection[int]) -> list[int]:
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(_members(labels, label, held_out)) for label in np.unique(labels)]
    return [int(index) for order in orders for index in order[:shots]]


def _draw_any_class(
    labels: np.ndarray, shots: int, seed: int, held_out: Collection[int]
) -> list[int]:
    free = np.array([i for i in range(len(labels)) if i not in held_out])
    count = shots * len(np.unique(labels))
    return np.random.default_rng(seed).permutation(free)[:count].tolist()


def _draw_held_out_too(
    labels: np.ndarray, shots: int, seed: int, held_out: Collection[int]
) -> list[int]:
    return _draw_shots(labels, shots, seed, ())


def _draw_first(labels: np.ndarray, shots: int, seed: int, held_out: Collection[int]) -> list[int]:
    members = [_members(labels, label, held_out)[:shots] for label in np.unique(labels)]
    return np.concatenate(members).tolist()


def _draw_twice(labels: np.ndarray, shots: int, seed: int, held_out: Collection[int]) -> list[int]:
    rng = np.random.default_rng(seed)
    members = [_members(labels, label, held_out) for label in np.unique(labels)]
    return [int(i) for own in members for i in rng.choice(own[:2], shots)]


def _draw_anew(labels: np.ndarray, shots: int, seed: int, held_out: Collection[int]) -> list[int]:
    return _draw_shots(labels, shots, 1000 * shots + seed, held_out)


def _draw_without_seed(
    labels: np.ndarray, shots: int, seed: int, held_out: Collection[int]
) -> list[int]:
    return _draw_shots(labels, shots, int(np.random.default_rng().integers(2**31)), held_out)


def _facts_of_draws(answer: Draw, labels: np.ndarray, held_out: Collection[int]) -> dict[str, bool]:
    """What is true of several draws, whatever random numbers they use."""
    one, three, again, other = (
        [int(index) for index in answer(labels, shots, seed, held_out)]
        for shots, seed in ((1, 0), (3, 0), (3, 0), (3, 1))
    )
    classes = set(labels.tolist())
    draws = ((one, 1), (three, 3), (again, 3), (other, 3))
    return {
        "every image once": all(len(set(draw)) == len(draw) for draw, _ in draws),
        "so many of every class": all(
            Counter(labels[draw].tolist()) == dict.fromkeys(classes, shots) for draw, shots in draws
        ),
        "none held out": not any(set(draw) & set(held_out) for draw, _ in draws),
        "another seed, other images": set(three) != set(other),
        "one seed, the same images": set(three) == set(again),
        "fewer shots are a part of more": set(one) <= set(three),
    }


def _lacks(fact: str, trials: list[Trial]) -> bool:
    return any(not trial.given[fact] for trial in trials)


def _label_lists(rng: np.random.Generator) -> Iterator[Arguments]:
    for classes in (8, 12):
        labels = rng.permutation(np.repeat(np.arange(classes), 9))
        first = [np.flatnonzero(labels == label)[0] for label in range(classes)]  # never drawable
        others = rng.permutation(len(labels))[:classes]
        yield labels, {int(index) for index in (*first, *others)}


# --------------------------------------------------------------------------------------------------
# tuned_share
# --------------------------------------------------------------------------------------------------

Parameters = Sequence[tuple[str, tuple[int, ...], bool]]


def _tuned_share(parameters: Parameters) -> float:
    own = [(math.prod(shape), tuned) for name, shape, tuned in parameters if _in_backbone(name)]
    return 100 * sum(count for count, tuned in own if tuned) / sum(count for count, _ in own)


def _in_backbone(name: str) -> bool:
    return name.startswith("backbone.")


def _tuned_of_model(parameters: Parameters) -> float:
    tuned = sum(math.prod(shape) for _, shape, tuned in parameters if tuned)
    return 100 * tuned / sum(math.prod(shape) for _, shape, _ in parameters)


def _tuned_backbone_of_model(parameters: Parameters) -> float:
    tuned = sum(
        math.prod(shape) for name, shape, tuned in parameters if tuned and _in_backbone(name)
    )
    return 100 * tuned / sum(math.prod(shape) for _, shape, _ in parameters)


def _frozen_share(parameters: Parameters) -> float:
    return 100 - _tuned_share(parameters)


def _tuned_tensors(parameters: Parameters) -> float:
    own = [tuned for name, _, tuned in parameters if _in_backbone(name)]
    return 100 * sum(own) / len(own)


def _models(rng: np.random.Generator) -> Iterator[Arguments]:
    for _ in range(3):
        width = int(rng.integers(16, 65))
        blocks = [
            (f"backbone.blocks.{i}.{name}", shape, bool(i >= 3 and name == "attn.qkv.weight"))
            for i in range(4)
            for name, shape in (
                ("attn.qkv.weight", (3 * width, width)),
                ("attn.proj.weight", (width, width)),
                ("mlp.fc1.weight", (4 * width, width)),
                ("mlp.fc1.bias", (4 * width,)),
            )
        ]
        rest = [
            ("backbone.cls_token", (1, 1, width), True),
            ("loc_token", (1, 1, width), True),
            ("head.weight", (20, width, 3, 3), True),
        ]
        yield ([*blocks, *rest],)


# --------------------------------------------------------------------------------------------------
# share_learned
# --------------------------------------------------------------------------------------------------


def _share_learned(untrained: float, few: float, full: float) -> float:
    return 100 * (few - untrained) / (full - untrained)


def _share_of_full(untrained: float, few: float, full: float) -> float:
    return 100 * few / full


def _share_still_missing(untrained: float, few: float, full: float) -> float:
    return 100 * (full - few) / (full - untrained)


def _gain_in_percent(untrained: float, few: float, full: float) -> float:
    return 100 * (few - untrained) / untrained


def _gain_in_points(untrained: float, few: float, full: float) -> float:
    return few - untrained


def _score_triples(rng: np.random.Generator) -> Iterator[Arguments]:
    yield 50.0, 60.0, 90.0
    for _ in range(3):
        untrained, full = rng.uniform(20, 50), rng.uniform(70, 95)
        yield float(untrained), float(rng.uniform(untrained - 10, full)), float(full)


EXERCISES = (
    Exercise(
        name="draw_shots",
        title="Draw the images of a few-shot experiment",
        difficulty=2,
        importance=3,
        minutes=20,
        points=3,
        reference=_draw_shots,
        idea="Go through the list of what a draw has to keep, and test your function on a small "
        "list of labels.",
        misconceptions=(
            Misconception(
                "an image is drawn twice",
                "k shots are k different images: draw without putting back.",
                _draw_twice,
                partial(_lacks, "every image once"),
            ),
            Misconception(
                "the classes are not counted",
                "k-shot means k images of *each* class. A draw from all images leaves some classes "
                "without any.",
                _draw_any_class,
                partial(_lacks, "so many of every class"),
            ),
            Misconception(
                "held-out images leak into training",
                "Images that choose the threshold or the epoch must not be trained on, else the "
                "choice is made on images that the model has seen.",
                _draw_held_out_too,
                partial(_lacks, "none held out"),
            ),
            Misconception(
                "every seed draws the same images",
                "The spread over draws is a part of the result. With the same images each time it "
                "cannot be seen.",
                _draw_first,
                partial(_lacks, "another seed, other images"),
            ),
            Misconception(
                "the draw cannot be repeated",
                "The same seed has to give the same images, else nobody can check the result. Make "
                "a generator from the seed.",
                _draw_without_seed,
                partial(_lacks, "one seed, the same images"),
            ),
            Misconception(
                "more shots are other images",
                "If one shot is not a part of three, the two differ in luck as well as in number. "
                "Order each class once, and take its beginning.",
                _draw_anew,
                partial(_lacks, "fewer shots are a part of more"),
            ),
        ),
        cases=_label_lists,
        run=_facts_of_draws,
    ),
    Exercise(
        name="tuned_share",
        title="«6 % of the backbone»",
        difficulty=1,
        importance=2,
        minutes=15,
        points=2,
        reference=_tuned_share,
        idea="Count the numbers in the tensors of the backbone, tuned ones and all.",
        misconceptions=(
            Misconception(
                "the share is taken of the whole model",
                "Head and spatial token are no part of the backbone, and the head is large: "
                "leave both out, above and below the line.",
                _tuned_of_model,
            ),
            Misconception(
                "tuned parameters of the backbone are compared with the whole model",
                "Above and below the line has to stand the same thing: the backbone.",
                _tuned_backbone_of_model,
            ),
            Misconception(
                "the frozen share is given",
                "Asked is what is tuned. (Table 14 prints the frozen rate, and of all parameters.)",
                _frozen_share,
            ),
            Misconception(
                "tensors are counted, not numbers",
                "A bias is one tensor and a matrix is one tensor, but the matrix holds far more "
                "parameters: multiply the sides of each shape.",
                _tuned_tensors,
            ),
        ),
        cases=_models,
    ),
    Exercise(
        name="share_learned",
        title="How much of it was learned?",
        difficulty=1,
        importance=3,
        minutes=10,
        points=2,
        reference=_share_learned,
        idea="Measure from where the model stood before training to where all images bring it.",
        misconceptions=(
            Misconception(
                "what the backbone knew is credited to training",
                "A part of the score was there before the first step. Measure both distances from "
                "the untrained model, not from zero.",
                _share_of_full,
            ),
            Misconception(
                "the part that is still missing is given",
                "Asked is how far the few images have come, not how far there is to go.",
                _share_still_missing,
            ),
            Misconception(
                "the gain is divided by the untrained score",
                "That is a growth rate. The whole that the share refers to is the gain with all "
                "images.",
                _gain_in_percent,
            ),
            Misconception(
                "points are given, not a share",
                "Ten points are much where all images bring twelve, and little where they bring "
                "sixty. Divide by what all images bring.",
                _gain_in_points,
            ),
        ),
        cases=_score_triples,
        afterword="A negative share means that the few images left the model worse than it was "
        "before any training.",
    ),
)
