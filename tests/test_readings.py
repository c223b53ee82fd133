"""Readings of the evaluation: each equals what the metrics say, and counts what it should."""

import numpy as np
import pandas as pd
import pytest
import torch

from satkit import paper, readings
from satkit.evaluation import Outputs, score
from satkit.metrics import DELTAS
from satkit.readings import AUTHORS, Reading
from satkit.settings import TrainSettings

SIDE = 32


def outputs(count=24, seed=0, **other):
    """Blobs near the true boxes, with random classes."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(10, 22, (count, 2))
    y, x = np.mgrid[:SIDE:4, :SIDE:4] + 2.0  # [8, 8]
    distance = (x - centre[:, :1, None]) ** 2 + (y - centre[:, 1:, None]) ** 2
    maps = np.exp(-distance / 2 / rng.uniform(3, 9, (count, 1, 1)) ** 2)
    maps += rng.normal(0, 0.08, maps.shape)
    half = rng.uniform(4, 9, (count, 1))
    boxes = np.hstack([centre - half, centre + half]).round().clip(0, SIDE - 1)
    values = {
        "maps": torch.from_numpy(maps).float(),
        "logits": torch.from_numpy(rng.normal(size=(count, 3))),
        "labels": torch.from_numpy(rng.integers(0, 3, count)),
        "boxes": [box[None] for box in boxes],
        "paths": [f"{i}.png" for i in range(count)],
    }
    return Outputs(**{**values, **other}, image_size=SIDE, masks={}, images_per_second=1.0)


TEST, HELD_OUT = outputs(), outputs(seed=1)


@pytest.mark.parametrize("reading", [AUTHORS, Reading(thresholds=(0.2, 0.5, 0.7))])
def test_the_authors_reading_is_the_protocol_sat(reading):
    expected = score(TEST, protocol="sat", thresholds=reading.thresholds)
    found = readings.apply(reading, {"test": TEST})
    assert found.numbers == pytest.approx({name: expected[name] for name in found.numbers})
    assert 100 * found.hits.mean() == pytest.approx(expected["gt_known"])


@pytest.mark.parametrize("protocol", ["wsoleval", "tscam"])
def test_whole_protocols_are_the_metrics(protocol):
    found = readings.apply(Reading(protocol=protocol), {"test": TEST})
    expected = score(TEST, protocol=protocol)
    assert found.numbers == pytest.approx({name: expected[name] for name in found.numbers})
    assert 100 * found.hits.mean() == pytest.approx(expected["gt_known"])


def test_a_threshold_from_held_out_images_is_theirs():
    grid = (0.1, 0.3, 0.5, 0.7)
    chosen = score(HELD_OUT, protocol="sat", thresholds=grid)["threshold"]
    expected = score(TEST, protocol="sat", thresholds=grid, threshold=chosen)
    views = {"test": TEST, "held_out": HELD_OUT}
    found = readings.apply(Reading(thresholds=grid, chosen_on="held_out"), views)
    assert found.numbers["threshold"] == chosen
    assert found.numbers["gt_known"] == pytest.approx(expected["gt_known"])
    best = readings.apply(Reading(thresholds=grid), views).numbers
    assert best["gt_known"] + best["top1_loc"] >= (
        found.numbers["gt_known"] + found.numbers["top1_loc"]
    )


def test_own_thresholds_are_never_worse_and_half_open_ious_never_better():
    grid = tuple(np.arange(1, 20) / 20)
    one = readings.apply(Reading(thresholds=grid), {"test": TEST}).numbers
    own = readings.apply(Reading(thresholds=grid, own_thresholds=True), {"test": TEST}).numbers
    assert own["gt_known"] == one["gt_known"]
    assert own["max_box_acc_v2"] > one["max_box_acc_v2"]
    assert all(own[f"max_box_acc@{d}"] >= one[f"max_box_acc@{d}"] for d in DELTAS)
    half = readings.apply(Reading(thresholds=(0.4,), convention="half_open"), {"test": TEST})
    full = readings.apply(Reading(thresholds=(0.4,)), {"test": TEST})
    assert half.numbers["max_box_acc_v2"] < full.numbers["max_box_acc_v2"]


def test_the_best_of_all_regions_hits_what_the_largest_misses():
    maps = torch.zeros(1, SIDE, SIDE)
    maps[0, :12, :12], maps[0, 20:30, 20:30] = 1, 1
    one = outputs(
        1, maps=maps, boxes=[np.array([[20, 20, 29, 29]])],
        logits=torch.eye(3)[:1], labels=torch.tensor([0]),
    )  # fmt: skip
    hit = {s: readings.apply(Reading(select=s), {"test": one}).hits.iloc[0]
           for s in ("largest", "all")}  # fmt: skip
    assert hit == {"largest": False, "all": True}


def test_every_reading_is_scored_beside_the_authors():
    views = {"test": TEST, "held_out": HELD_OUT, "whole_image": TEST}
    table = readings.evaluate_readings(views)
    assert len(table) == 1 + sum(len(others) for _, others in readings.SWITCHES.values())
    assert table["switch"].iloc[0] == "authors' code" and np.isnan(table["gain"].iloc[0])
    gain = table["gt_known"] - table["gt_known"].iloc[0]
    np.testing.assert_allclose(table["gain"].iloc[1:], gain.iloc[1:], atol=1e-9)
    same = table[table["switch"] == "test image"].iloc[0]  # the same outputs here
    assert (same["gain"], same["low"], same["high"]) == (0, 0, 0)
    shown = readings.show_readings(table)
    assert shown["GT-known Loc"].iloc[0] == f"{table['gt_known'].iloc[0]:.1f}"
    assert shown["GT-known, change [95 %]"].tolist()[0] == ""


def test_readings_that_need_what_is_not_there_are_left_out():
    table = readings.evaluate_readings({"test": TEST}, ("threshold chosen on", "IoU", "test image"))
    assert table["switch"].tolist() == ["authors' code", "IoU"]
    with pytest.raises(ValueError, match="IoU"):
        readings.evaluate_readings({"test": TEST}, ("Iou",))
    with pytest.raises(ValueError, match="held_out"):
        readings.apply(Reading(chosen_on="held_out"), {"test": TEST})


def test_images_without_boxes_do_not_count():
    some = outputs(boxes=[np.zeros((0, 4)), *TEST.boxes[1:]])
    assert len(readings.apply(AUTHORS, {"test": some}).hits) == len(TEST.boxes) - 1
    with pytest.raises(ValueError, match="no image has a box"):
        readings.apply(AUTHORS, {"test": outputs(boxes=[np.zeros((0, 4))] * 24)})


def test_training_readings_are_compared_on_the_same_seeds():
    base = TrainSettings.for_profile("lab")
    rows = pd.DataFrame({
        "dataset": "aviary", "profile": "lab", "source": "cached", "seed": [0, 1, 2, 0, 1],
        "given": ['{}'] * 3 + ['{"smoothing": "gaussian"}'] * 2,
        "gt_known": [90.0, 92.0, 10.0, 89.0, 90.0], "top1_loc": 80.0, "max_box_acc_v2": 70.0,
    })  # fmt: skip
    table = readings.training_readings(base, rows).set_index("reading")
    assert list(table.index) == list(paper.EXPERIMENTS["discrepancies"])
    change = table["GT-known, change [95 %]"]
    assert change["kernel with σ = 6"].startswith("-1.5 [")
    assert change["authors' reading"] == "" and table.loc["cosine schedule", "seeds"] == "not run"
