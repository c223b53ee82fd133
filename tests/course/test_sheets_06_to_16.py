"""References of the exercises 06 to 16 against the library, and answers written in another way.

That every misconception is found by its own name is tested for all sheets in test_exercises.py.
"""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageOps
from timm.layers import Attention
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from satkit.boxes import iou
from satkit.course import CheckFailed, Trial, check_answer, find_exercise
from satkit.errors import judge, look, scores
from satkit.paper.claims import _verdict
from satkit.stats import Interval, bootstrap_difference

SHEETS = {
    name: sheet
    for sheet, names in {
        "ex06_train_imagenet": (
            "attention_macs", "training_plan", "shared_area_loss", "gradient_factor",
        ),
        "ex07_evaluate_and_compare": ("bootstrap_interval", "three_scores", "class_bounds"),
        "ex08_ablations": ("reversal_chance", "clean_pairs", "insensitive_range"),
        "ex09_why_a_spatial_token": ("gradient_cosine", "price_of_sharing"),
        "ex10_few_shot_and_freezing": ("draw_shots", "tuned_share"),
        "ex11_backbones_and_datasets": ("resize_positions", "full_image_accuracy", "elsewhere"),
        "ex12_error_analysis": ("likely_cause", "balanced_accuracy", "flattering_matrix"),
        "ex13_figures": ("told_apart", "alt_text"),
        "ex14_ledger": ("verdict", "seeds_for", "undecided"),
        "ex15_your_own_images": ("upright_box", "box_in_photograph", "confident_misses"),
        "ex16_projects": ("pixel_loss", "claim_plan", "kappa"),
    }.items()
    for name in names
}  # fmt: skip


def exercise(name):
    return find_exercise(name, SHEETS[name])


def trials(name, seed=0):
    """The calls of a check, with the reference as answer."""
    one = exercise(name)
    for arguments in one.cases(np.random.default_rng(seed)):
        expected = one.run(one.reference, *arguments)
        yield Trial(arguments, expected, expected)


def refused(name, answer, seed=0):
    """What a check says to a wrong answer."""
    with pytest.raises(CheckFailed) as caught:
        check_answer(exercise(name), answer, seed)
    return str(caught.value)


# --------------------------------------------------------------------------------------------------
# References agree with the library
# --------------------------------------------------------------------------------------------------


def test_attention_macs_are_what_the_counter_counts():
    from satkit.model import SpatialQueryAttention

    tokens, width, heads = 11, 24, 3
    counted = []
    attention = Attention(width, num_heads=heads)
    for layer in (attention, SpatialQueryAttention(attention)):
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as count:
            layer(torch.zeros(1, tokens, width))
        counted.append(count.get_total_flops() // 2)
    plain, extra = exercise("attention_macs").reference(tokens, width, heads)
    assert counted == [plain, plain + extra]


def test_shared_area_loss_is_the_librarys():
    from satkit.losses import batch_area_loss

    parts = [torch.rand(2, 3, 3), torch.rand(5, 3, 3)]
    expected = batch_area_loss(torch.cat(parts), 0.3)
    assert torch.isclose(exercise("shared_area_loss").reference(parts, 0.3), expected)


def test_gradient_factor_by_simulation():
    weight = torch.tensor(0.3, requires_grad=True)  # shared by four processes
    inputs = torch.rand(4, 2, 3, 3)
    areas = [(weight * part).mean() for part in inputs]
    (whole,) = torch.autograd.grad(
        (torch.stack(areas).mean() - 0.9).abs(), weight, retain_graph=True
    )
    each = []
    for own in range(4):
        seen = [area if rank == own else area.detach() for rank, area in enumerate(areas)]
        loss = (torch.stack(seen).mean() - 0.9).abs()
        each.append(torch.autograd.grad(loss, weight, retain_graph=True)[0])
    factor = torch.stack(each).mean() / whole
    assert factor == pytest.approx(exercise("gradient_factor").reference)


def test_bootstrap_interval_is_close_to_the_librarys():
    rng = np.random.default_rng(0)
    first, second = rng.random(200) < 0.8, rng.random(200) < 0.7
    draws = rng.integers(0, 200, (4000, 200))
    found = exercise("bootstrap_interval").reference(first, second, draws)
    expected = bootstrap_difference(first, second)
    assert found == pytest.approx((expected.low, expected.high), abs=0.6)


def test_class_bounds_hold_for_the_papers_numbers():
    from satkit import paper

    own = paper.table("table9")
    row = own[(own["dataset"] == "cub") & (own["row"] == "N = 3")].set_index("metric")["value"]
    low, high = exercise("class_bounds").reference(row["top1_loc"], row["gt_known"])
    assert low <= row["top1_cls"] <= high


def test_reversal_chance_by_simulation():
    rng = np.random.default_rng(0)
    first, second = 0.8 + 2 * rng.normal(size=200_000), 2 * rng.normal(size=200_000)
    assert (second > first).mean() == pytest.approx(
        exercise("reversal_chance").reference(0.8, 2.0), abs=0.005
    )


def test_price_of_sharing_is_the_smallest():
    from satkit.course.exercises.ex09_why_a_spatial_token import _loss_at

    for trial in trials("price_of_sharing"):
        first, second, a, b = trial.arguments
        steps = np.linspace(0, 1, 1001)[:, None]
        tried = [_loss_at(t, first, second, (a, b)) for t in steps * first + (1 - steps) * second]
        assert min(tried) == pytest.approx(trial.expected, rel=1e-3)


def test_full_image_accuracy_uses_the_librarys_iou():
    for trial in trials("full_image_accuracy"):
        boxes, size, delta = trial.arguments
        whole = np.array([[0, 0, size, size]])
        hits = [iou(whole, own, "half_open").max() >= delta for own in boxes]
        assert trial.expected == pytest.approx(100 * np.mean(hits))


@pytest.mark.parametrize("seed", range(5))
def test_likely_cause_is_the_assistants_where_the_map_is_flat(seed):
    for trial in trials("likely_cause", seed):
        predicted, true, other = trial.arguments
        boxes = np.array([true] if other is None else [true, other])
        by_cause = scores(look(np.ones((100, 100)), predicted, boxes, threshold=0.5))
        assert trial.expected == max(by_cause, key=by_cause.get)


def test_balanced_accuracy_is_that_of_the_assistants_judge():
    from satkit.errors import CAUSES

    causes = list(CAUSES)[:5]
    for trial in trials("balanced_accuracy"):
        (matrix,) = trial.arguments
        rows = [
            (truth, proposal)
            for i, truth in enumerate(causes)
            for j, proposal in enumerate(causes)
            for _ in range(matrix[i, j])
        ]
        _, numbers = judge(pd.DataFrame(rows, columns=["truth", "proposal"]), causes)
        assert trial.expected == pytest.approx(numbers["balanced"])


@pytest.mark.parametrize("seed", range(5))
def test_verdict_is_the_ledgers(seed):
    for trial in trials("verdict", seed):
        mean, low, high, bound, below = trial.arguments
        assert trial.expected == _verdict(Interval(mean, low, high, 1.0, 3, "t"), bound, below)


@pytest.mark.parametrize("seed", range(3))
def test_upright_box_follows_the_pixels(seed):
    for trial in trials("upright_box", seed):
        (x0, y0, x1, y1), orientation, width, height = trial.arguments
        pixels = np.zeros((height, width), np.uint8)
        pixels[y0:y1, x0:x1] = 255
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "png", exif=exif)
        seen = np.asarray(ImageOps.exif_transpose(Image.open(file)))
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        assert trial.expected == box


def test_kappa_of_a_known_table():
    # Cohen 1960: both yes 20, both no 15, first only 5, second only 10; kappa 0.4
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert exercise("kappa").reference(first, second) == pytest.approx(0.4)


# --------------------------------------------------------------------------------------------------
# Right answers that are written in another way pass
# --------------------------------------------------------------------------------------------------


def draw_by_sorting(labels, shots, seed, held_out):
    """Every image gets a random number; the smallest of each class are drawn."""
    key = np.random.default_rng([7, seed]).random(len(labels))
    key[list(held_out)] = 2.0
    return [i for label in set(labels) for i in np.argsort(key + 3 * (labels != label))[:shots]]


def own_words(title, xs, lines):
    """A text with other words and another order."""
    text = f"Lines over {xs[0]}–{xs[-1]}."
    for name in sorted(lines):
        x, y = max(zip(xs, lines[name], strict=True), key=lambda point: point[1])
        text += f" At {x} {name} has its peak of {y:.1f} %."
    return text


def filtered_norm(maps):
    from satkit.losses import normalization_loss

    return normalization_loss(maps)


@pytest.mark.parametrize(
    "name, answer",
    [
        ("draw_shots", draw_by_sorting),
        ("alt_text", own_words),
        ("pixel_loss", filtered_norm),
        ("flattering_matrix", [[1000, 1, 1], [1, 0, 0], [0, 1, 0]]),
        ("claim_plan", {"claim": "area_insensitive", "seeds": 3, "minutes": 2, "hours": 3}),
        ("gradient_factor", 0.25),
        ("elsewhere", "d, b"),
    ],
)
def test_other_right_answers_pass(name, answer):
    for seed in range(4):
        assert check_answer(exercise(name), answer, seed).startswith("✓")


# --------------------------------------------------------------------------------------------------
# Wrong answers that are written in another way get the same name
# --------------------------------------------------------------------------------------------------


def chosen_per_class(labels, shots, seed, held_out):
    rng = np.random.default_rng(seed)
    return [
        i
        for label in np.unique(labels)
        for i in rng.choice(
            [j for j in np.flatnonzero(labels == label) if j not in held_out], shots, replace=False
        )
    ]


def looks(title, xs, lines):
    return f"{', '.join(lines)}: curves that rise steeply and then fall."


def not_calm(parts, target):
    return torch.tensor((torch.cat(parts).mean() - target).abs().item())


def without_sorting(box, orientation, width, height):
    (x0, y0), (x1, y1) = (
        {1: (x, y), 3: (width - x, height - y), 6: (height - y, x), 8: (y, width - x)}[orientation]
        for x, y in (box[:2], box[2:])
    )
    return x0, y0, x1, y1


@pytest.mark.parametrize(
    "name, answer, idea",
    [
        ("draw_shots", chosen_per_class, "more shots are other images"),
        ("alt_text", looks, "the looks are described"),
        ("shared_area_loss", not_calm, "the gradient is lost"),
        ("upright_box", without_sorting, "a box ends before it begins"),
        ("flattering_matrix", [[9, 0, 0], [0, 9, 0], [0, 1, 9]], "balanced accuracy is too high"),
        ("pixel_loss", lambda maps: (maps - maps.mean()).square().mean(), "doubt is not punished"),
        ("claim_plan", {"claim": "area_insensitive", "seeds": 5, "minutes": 30, "hours": 6},
         "the time is not enough"),
        ("elsewhere", "ABCD", "scores of different data sets are compared (A)"),
        ("undecided", "C", "undecided is read as refuted (C)"),
        ("confident_misses", lambda logits, ious: 0, "thought to have a right box"),
    ],
)  # fmt: skip
def test_other_wrong_answers_are_named(name, answer, idea):
    for seed in range(4):
        assert idea in refused(name, answer, seed)


@pytest.mark.parametrize(
    "name, answer, fix",
    [
        ("flattering_matrix", [[1, 0], [0, 1]], "three rows of three counts"),
        ("alt_text", lambda title, xs, lines: 5, "should give a text"),
        ("claim_plan", {"claim": "sat_over_scm"}, "claim, seeds, minutes, hours"),
    ],
)
def test_answers_of_another_kind_are_told_what_is_expected(name, answer, fix):
    assert fix in refused(name, answer)
