"""TS-CAM's own evaluation (`protocol="tscam"`); its model is tested in tests/test_methods.py."""

import numpy as np
import pytest
import torch

from satkit.boxes import component_boxes, iou, prepare_maps
from satkit.evaluation import Outputs, score
from satkit.metrics import BoxLocalization
from tests.recipe import FIXTURES


def test_official_evaluation():
    """Hits of the authors' program on its own maps: classes, Top-1, Top-5 and GT-known."""
    official = np.load(FIXTURES / "tscam_tiny.npz")
    labels, logits = official["y_eval"], official["logits"]
    boxes = [np.array(text.split(), float).reshape(-1, 4) for text in official["gt_boxes"]]
    maps = [official["cams_gt"][i] for i in range(4)]
    for i, label in enumerate(labels):  # these labels differ from those of the stored maps
        place = np.flatnonzero(official["top5"][i] == label)
        maps[i] = official["cams_top5"][i, place[0]] if len(place) else maps[i]
    metric = BoxLocalization("tscam", [0.3])
    metric.update(np.stack(maps), boxes, logits, labels)
    result = metric.compute()
    for ours, theirs in (("cls", "cls"), ("loc", "loc")):
        for k in (1, 5):
            expected = 100 * official[f"eval_thr0.3_{theirs}{k}"].mean()
            assert float(result[f"top{k}_{ours}"]) == expected
    assert float(result["gt_known"]) == 100 * official["eval_thr0.3_gtknown"].mean()


def test_an_iou_of_one_half_is_gt_known_but_no_top1():
    """Box 0 0 3 3 is 16 with the official extra pixel; the truth 0 0 3 7 is 32: IoU 0.5."""
    maps = torch.zeros(1, 10, 10)
    maps[:, :3, :3] = 1
    truth, logits, labels = [np.array([[0, 0, 3, 7]])], torch.tensor([[2.0, 1]]), torch.tensor([0])
    results = {}
    for protocol in ("tscam", "wsoleval"):
        metric = BoxLocalization(protocol, [0.5], image_size=10)
        metric.update(maps, truth, logits, labels)
        results[protocol] = metric.compute()
    assert float(results["tscam"]["gt_known"]) == 100
    assert float(results["tscam"]["top1_loc"]) == float(results["tscam"]["top5_loc"]) == 0
    assert float(results["wsoleval"]["top1_loc"]) == 100


def class_box_hits(class_maps, truth, ranked, label):
    """TS-CAM's rule literally: any of the classes is the label, and its own box is above 0.5."""
    for index in ranked:
        box = component_boxes(
            prepare_maps(class_maps[[index]], 32, "tscam"), [0.3], "largest", "tscam"
        )
        if index == label and iou(box[0], truth).max() > 0.5:
            return True
    return False


def test_the_labels_maps_are_all_that_top5_needs():
    rng = np.random.default_rng(0)
    count, classes = 40, 8
    class_maps = rng.random((count, classes, 3, 3)).astype(np.float32)
    logits, labels = rng.random((count, classes)), rng.integers(0, classes, count)
    corner = rng.integers(0, 8, (count, 1, 2))
    truth = list(np.concatenate([corner, corner + rng.integers(12, 24, (count, 1, 2))], axis=2))
    metric = BoxLocalization("tscam", [0.3], image_size=32)
    metric.update(class_maps[np.arange(count), labels], truth, logits, labels)
    result = metric.compute()
    ranked = np.argsort(-logits, axis=1)
    for k in (1, 5):
        hits = [
            class_box_hits(m, t, r[:k], label)
            for m, t, r, label in zip(class_maps, truth, ranked, labels, strict=True)
        ]
        assert 0 < sum(hits) < count
        assert float(result[f"top{k}_loc"]) == pytest.approx(100 * np.mean(hits))


def test_thresholds_are_the_authors_and_gt_known_chooses():
    """At 0.1 the faint frame joins the square; at 0.12 only the square is left, which is right."""
    maps = torch.full((1, 16, 16), 0.11)
    maps[0, 0, 0] = 0
    maps[:, 4:9, 4:9] = 1
    outputs = Outputs(
        maps, torch.eye(2)[:1], torch.tensor([0]), [np.array([[4, 4, 8, 8]])], ["a"], 16, {}, 1.0
    )
    assert BoxLocalization("tscam").thresholds.tolist() == [0.1, 0.12]
    assert score(outputs, protocol="tscam")["threshold"] == 0.12
    assert score(outputs, protocol="tscam")["top1_loc"] == 100
    assert score(outputs, protocol="tscam", threshold=0.1)["gt_known"] == 0


def test_trains_and_is_evaluated_under_its_own_protocol(train_briefly):
    """Ten crops belong to SAT's protocol only and are left out."""
    run = train_briefly("tscam", protocol="tscam", ten_crop=True, thresholds=())
    assert run.metrics["threshold"] in (0.1, 0.12)
    table = run.predictions
    right = (table["predicted"] == table["label"]) & (table["iou"] > 0.5)
    assert run.metrics["top1_loc"] == pytest.approx(100 * right.mean())
