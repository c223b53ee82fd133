"""What the lessons stand on: simulated maps, part coverage, result files."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from satkit import lessons, paper
from satkit.data import aviary
from satkit.evaluation import Outputs
from satkit.settings import TrainSettings


@pytest.fixture(scope="module")
def drawing() -> aviary.Drawing:
    return aviary.draw_bird(3, size=96)


def test_ideal_map_is_the_share_of_bird_in_each_patch(drawing):
    ideal = lessons.simulate_map(drawing, np.random.default_rng(0))
    share = drawing.mask.reshape(12, 8, 12, 8).mean(axis=(1, 3))
    np.testing.assert_allclose(ideal, share, atol=1e-6)


def test_head_only_map_is_zero_off_the_head(drawing):
    head = lessons.simulate_map(drawing, np.random.default_rng(0), rest=0.0)
    share = (drawing.parts == 1).reshape(12, 8, 12, 8).mean(axis=(1, 3))
    np.testing.assert_allclose(head, share, atol=1e-6)
    assert head.max() > 0.5


def test_noise_and_blur_stay_in_range_and_follow_the_generator(drawing):
    options = {"rest": 0.5, "blur": 0.8, "noise": 0.4}
    first = lessons.simulate_map(drawing, np.random.default_rng(1), **options)
    again = lessons.simulate_map(drawing, np.random.default_rng(1), **options)
    other = lessons.simulate_map(drawing, np.random.default_rng(2), **options)
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first.min() >= 0 and first.max() <= 1


def test_coverage_counts_pixels_part_by_part():
    parts = np.array([[0, 0, 1, 1], [2, 2, 2, 2], [0, 0, 0, 0], [3, 3, 3, 3]], np.uint8)
    values = np.array([[0, 0, 1, 0], [1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    found = lessons.part_coverage(values[None], [parts], 0.5)
    assert [found[name] for name in ("head", "wing", "body")] == [50, 75, 0]
    assert found["background"] == pytest.approx(100 / 6)
    assert np.isnan(found["tail"])


def test_coverage_refuses_maps_of_another_size():
    with pytest.raises(ValueError, match=r"maps are \(1, 2, 2\), but parts are \(1, 4, 4\)"):
        lessons.part_coverage(np.zeros((1, 2, 2)), [np.zeros((4, 4), np.uint8)], 0.5)


def test_maps_are_compared_with_masks_image_by_image():
    masks = np.zeros((3, 4, 4), bool)
    masks[0, :2] = True  # 8 of 16 pixels
    masks[1, 0, 0] = True
    maps = np.zeros((3, 4, 4), np.float32)
    maps[0, 1:3] = 0.6  # 8 pixels, 4 of them in the mask: 4 / 12
    maps[1, 0, 0] = 0.4  # not above the threshold
    found = lessons.mask_ious(maps, list(masks), 0.5)
    np.testing.assert_allclose(found["size"], [0.5, 1 / 16, 0])
    np.testing.assert_allclose(found["iou"], [1 / 3, 0, np.nan])
    found = lessons.mask_ious(maps, list(masks), 0.3)
    np.testing.assert_allclose(found["iou"], [1 / 3, 1, np.nan])


def test_masks_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"maps are \(1, 2, 2\), but masks are \(1, 4, 4\)"):
        lessons.mask_ious(np.zeros((1, 2, 2)), [np.zeros((4, 4), bool)], 0.5)


def test_record_writes_numbers_with_their_provenance(tmp_path, capsys):
    content = lessons.record("04_losses", "x", {"a": 1.5}, runs_dir=tmp_path, data="none")
    written = json.loads((tmp_path / "lessons" / "04_losses" / "x.json").read_text())
    assert content == written and written["numbers"] == {"a": 1.5}
    assert {"commit", "date", "device", "torch"} <= set(written["provenance"])
    assert written["provenance"]["commit"][:8] in capsys.readouterr().out


def test_a_lesson_on_boxes_stops_where_there_are_none():
    boxed, bare = {"boxes": torch.zeros(1, 4)}, {"boxes": torch.zeros(0, 4)}
    lessons.require_boxes([bare, boxed, bare])
    with pytest.raises(ValueError, match="no boxes, and this lesson scores boxes"):
        lessons.require_boxes([bare] * 3)


def test_best_threshold_is_the_one_with_most_hits():
    maps = torch.zeros(2, 8, 8)
    maps[:, :4, :4], maps[:, 4:, 4:] = 1.0, torch.tensor([0.3, 0.6])[:, None, None]
    upper_left = [np.array([[0.0, 0.0, 32.0, 32.0]])] * 2  # right above 0.6, too large below
    outputs = Outputs(maps, torch.eye(2), torch.arange(2), upper_left, ["a", "b"], 64, {}, 1.0)
    gt_known, boxes = lessons.at_best_threshold(outputs)
    assert gt_known == 100 and (boxes["iou"] >= 0.5).all() and boxes["path"].tolist() == ["a", "b"]


def test_rows_of_an_experiment_are_trained_once(tmp_path):
    base = TrainSettings.for_profile(
        "smoke", pretrained=False, train_images=8, eval_images=6, runs_dir=str(tmp_path), seed=4,
    )  # fmt: skip
    found = lessons.train_rows("table10_gate", base, "first", seeds=2)
    assert list(found) == ["before softmax", "after softmax"]
    assert [run.settings.seed for run in found["after softmax"]] == [4, 5]
    assert {run.settings.options["gate"] for run in found["before softmax"]} == {"before_softmax"}
    again = lessons.train_rows("table10_gate", base, "after softmax")
    assert again == {"after softmax": found["after softmax"][:1]}
    assert lessons.train_rows("table10_gate", base, "none") == {}
    with pytest.raises(ValueError, match="row of table10_gate is 'befor'"):
        lessons.train_rows("table10_gate", base, "befor")
    several = ["table9_blocks", "table10_gate"]
    assert lessons.train_rows(several, base, "after softmax") == again


def test_an_experiment_shows_table_origin_commands_and_verdicts(tmp_path, capsys):
    base = TrainSettings.for_profile("lab", runs_dir="runs")
    rows = pd.DataFrame(
        {"dataset": "aviary", "profile": "lab", "seed": [0, 1], "given": "{}", "commit": "a" * 40,
         "date": "2026-01-01", "device": "cpu", "source": "cached", "gt_known": [80.0, 82.0]}
    )  # fmt: skip
    gate = json.dumps({"method": "sat", "gate": "before_softmax"})
    both = pd.concat([rows, rows.assign(given=gate, gt_known=[70.0, 71.5])], ignore_index=True)
    lessons.show_experiment("table10_gate", base, rows, ["gt_known"], ["after_softmax_best"])
    text = capsys.readouterr().out
    assert "81.0 ± 1.4" in text and "cached: 2 runs, commit aaaaaaaa, 2026-01-01, cpu" in text
    assert "train --profile lab -p dataset aviary -p method sat -p gate before_softmax" in text
    assert "the numbers mean nothing" not in text
    assert paper.verdicts(rows, ["after_softmax_best"])["verdict"].tolist() == ["not run"]
    lessons.show_experiment("table10_gate", base, both, ["gt_known"], ["after_softmax_best"])
    assert "not run" not in capsys.readouterr().out
    verdict = paper.verdicts(both, ["after_softmax_best"]).iloc[0]
    assert (verdict["measured [95 %]"], verdict["verdict"]) == ("+10.25 [+7.07, +13.43]",
                                                                 "reproduced")  # fmt: skip
    with pytest.raises(ValueError, match="claim is 'after_softmax'"):
        paper.verdicts(both, ["after_softmax"])


def test_commands_say_how_many_more_there_are():
    base = TrainSettings.for_profile("lab", runs_dir="elsewhere")
    lines = lessons.commands("table9_blocks", base, ["N = 1", "N = 2", "N = 4"], most=2)
    assert len(lines) == 3 and lines[-1] == "not run: 1 rows more"
    assert lines[0].endswith("-p runs_dir elsewhere -p spatial_blocks 1")


def test_row_settings_are_those_of_the_sweep():
    base = TrainSettings.for_profile("lab", epochs=3, gate="before_softmax")
    cam = paper.row_settings(base, {"method": "cam"})
    assert cam == TrainSettings.for_profile("lab", epochs=3, method="cam")
    alone = paper.row_settings(base, {"pixel_term": "none"})
    assert (alone.epochs, alone.pixel_term, alone.area_term) == (3, "none", "batch_area")
