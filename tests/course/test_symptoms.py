"""Other forms of a misconception than the exercise lists are told by its symptom; others not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from satkit.course.answers import gradient
from satkit.course.checks import CheckFailed, check_answer
from satkit.course.registry import exercises_of, sheets

ENDS = [0.025, 0.975]
EXERCISES = {one.name: one for sheet in sheets() for one in exercises_of(sheet)}


def other_draws(first, second, draws):
    own = np.random.default_rng(42).integers(0, len(first), draws.shape)
    return tuple(np.quantile(100 * (first[draws].mean(1) - second[own].mean(1)), ENDS))


def softmax_over_patches(q, k):
    similarity = (k @ q[:, :, -1, :, None])[:, :, 1:-1, 0].mean(1) / q.shape[-1] ** 0.5
    side = int(similarity.shape[1] ** 0.5)
    return similarity.softmax(-1).unflatten(1, (side, side))


def rectangle(box, width, height, resize, crop):
    scale = max(width, height) / resize
    return [(corner + (resize - crop) / 2) * scale for corner in box]


def only_the_margin(box, width, height, resize, crop):
    return [corner + (resize - crop) / 2 for corner in box]


def one_way_round(box, orientation, width, height):
    x0, y0, x1, y1 = box
    turned = {
        1: box,
        3: (width - x1, height - y1, width - x0, height - y0),
        6: (height - y1, x0, height - y0, x1),
    }
    return turned.get(orientation, turned[6])


def sure(mean, low, high, bound, below):
    return "reproduced" if (mean < bound if below else mean > bound) else "contradicts"


def half_as_much(g, h):
    return g - 0.5 * (g @ h) / (h @ h) * h if g @ h < 0 else g


def entropy(maps):
    return -(maps * maps.log() + (1 - maps) * (1 - maps).log()).mean()


def a_new_tensor(maps, *_):
    return torch.tensor(float((maps * (1 - maps)).mean().detach()), requires_grad=True)


def masked_at(level):
    def attend(q, k, v, gate):
        mask = (gate > level)[:, None, None, :]
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    return attend


TOLD = [
    ("block_map", softmax_over_patches, "a softmax takes the place of the sigmoid"),
    ("batch_area_loss", a_new_tensor, "the loss has no gradient"),
    (
        "batch_area_loss",
        lambda maps, target: ((maps > 0.3).float().mean() - target) ** 1,
        "the area is counted above a threshold",
    ),
    ("fused_sqa", masked_at(0.3), "the gate is made a mask of yes and no"),
    ("bootstrap_interval", other_draws, "the methods are scored on different draws"),
    (
        "without_conflict",
        lambda g, h: g - (g @ h) * h if g @ h < 0 else g,
        "the part along h has the wrong length",
    ),
    ("without_conflict", half_as_much, "the part along h has the wrong length"),
    ("verdict", sure, "the mean alone decides"),
    ("upright_box", one_way_round, "6 and 8 are exchanged"),
    ("box_in_photograph", rectangle, "one scale serves both axes"),
    ("pixel_loss", entropy, "maps of 0 and 1 have no loss"),
    ("pixel_loss", a_new_tensor, "no gradient comes back"),
]
NOT_TOLD = [
    ("block_map", lambda q, k: torch.zeros(2, 3, 3)),
    ("fused_sqa", lambda q, k, v, gate: v * gate[:, None, :, None]),
    ("batch_area_loss", lambda maps, target: (maps.mean() - target).abs() / 2),
    ("bootstrap_interval", lambda first, second, draws: (-5.0, 35.0)),
    ("without_conflict", lambda g, h: g),
    ("verdict", lambda *_: "undecided"),
    ("upright_box", lambda box, *_: [0, 0, 5, 5]),
    ("box_in_photograph", only_the_margin),
]


def said(name: str, answer: Callable[..., Any], seed: int) -> str:
    with pytest.raises(CheckFailed) as refused:
        check_answer(EXERCISES[name], answer, seed)
    return str(refused.value)


@pytest.mark.parametrize(("name", "answer", "misconception"), TOLD)
def test_a_symptom_tells_other_forms(name, answer, misconception):
    for seed in range(3):
        assert said(name, answer, seed).startswith(f"{name}: {misconception}.")


@pytest.mark.parametrize(("name", "answer"), NOT_TOLD)
def test_a_symptom_does_not_tell_other_mistakes(name, answer):
    for seed in range(3):
        assert said(name, answer, seed).startswith(f"{name} is not right yet.")


def test_a_loss_has_a_gradient_only_if_it_comes_from_the_maps():
    maps = torch.rand(2, 3, 3, requires_grad=True)
    assert torch.equal(gradient(2 * maps.sum(), maps), torch.full((2, 3, 3), 2.0))
    for loss in (0.5, torch.tensor(0.5), torch.tensor(0.5, requires_grad=True)):
        assert gradient(loss, maps) is None
