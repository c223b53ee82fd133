"""The metrics: by hand, by an independent loop, split and merged, and against the references."""

import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from satkit.boxes import prepare_maps
from satkit.metrics import DELTAS, BoxLocalization, MaskLocalization

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.baselines import boxes as plain

SIZE = 32


def batch(count=12, seed=0, classes=7):
    """Maps, boxes, logits, labels, masks and ignore regions that belong together loosely."""
    rng = np.random.default_rng(seed)
    maps = torch.from_numpy(rng.random((count, 6, 6), np.float32))
    start = rng.integers(0, SIZE // 2, (count, 2, 2))
    boxes = np.concatenate([start, start + rng.integers(4, SIZE // 2, start.shape)], axis=2)
    boxes = [torch.from_numpy(b[: 1 + i % 2]) for i, b in enumerate(boxes)]
    logits = torch.from_numpy(rng.random((count, classes), np.float32))
    masks = torch.from_numpy(rng.random((count, SIZE, SIZE)) < 0.3)
    ignore = torch.from_numpy(rng.random((count, SIZE, SIZE)) < 0.2)
    return maps, boxes, logits, torch.arange(count) % classes, masks, ignore


def numbers(result):
    return {name: float(value) for name, value in result.items()}


def test_one_image_by_hand():
    maps = torch.zeros(2, 10, 10)
    maps[:, 2:7, 1:9] = 1  # box 1 2 9 7; with the official extra pixel 9 x 6 = 54
    boxes = [torch.tensor([[1, 2, 9, 7]]), torch.tensor([[1, 2, 4, 7], [7, 7, 9, 9]])]
    logits = torch.tensor([[0.0, 2.0, 1.0], [0.0, 2.0, 1.0]])
    metric = BoxLocalization("sat", thresholds=[0.5], image_size=10, keep_ious=True)
    metric.update(maps, boxes, logits, torch.tensor([1, 0]))
    assert metric.ious().tolist() == [1, 24 / 54]
    assert numbers(metric.compute()) == pytest.approx({
        "top1_cls": 50, "top5_cls": 100, "top1_loc": 50, "top5_loc": 50, "gt_known": 50,
        "max_box_acc_v2": 200 / 3, "max_box_acc@0.3": 100, "max_box_acc@0.5": 50,
        "max_box_acc@0.7": 50, "threshold": 0.5,
    })  # fmt: skip


@pytest.mark.parametrize("protocol", ["sat", "wsoleval"])
def test_curves_equal_the_plain_loop(protocol):
    maps, boxes, logits, labels, *_ = batch()
    metric = BoxLocalization(protocol, np.linspace(0, 0.95, 20), image_size=SIZE)
    metric.update(maps, boxes, logits, labels)
    curves = metric.curves()
    prepared = prepare_maps(maps, SIZE, protocol)

    def ious(every):
        if protocol == "sat":
            found = [plain.pixel_boxes(m, metric.thresholds) for m in prepared]
        else:
            found = [plain.contour_boxes(m, metric.thresholds, every) for m in prepared]
        return np.array(
            [
                [plain.best_iou(b, t.numpy()) for b in row]
                for row, t in zip(found, boxes, strict=True)
            ]
        )

    single, top1 = ious(False), (logits.argmax(1) == labels).numpy()
    for delta in DELTAS:
        expected = 100 * (single >= delta).mean(axis=0)
        assert np.allclose(curves[f"box_acc@{delta}"], expected, rtol=1e-12)
        if protocol == "wsoleval":
            expected = 100 * (ious(True) >= delta).mean(axis=0)
            assert np.allclose(curves[f"box_acc_all@{delta}"], expected, rtol=1e-12)
    both = (single >= 0.5) & top1[:, None]
    assert np.allclose(curves["top1_loc"], 100 * both.mean(axis=0), rtol=1e-12)
    assert np.allclose(curves["gt_known"], curves["box_acc@0.5"])


def test_sat_reads_everything_at_one_threshold_and_wsoleval_each_at_its_own():
    maps, boxes, logits, labels, *_ = batch(40)
    taus = np.linspace(0, 0.95, 20)
    sat = BoxLocalization("sat", taus, image_size=SIZE)
    wsol = BoxLocalization("wsoleval", taus, image_size=SIZE)
    for metric in (sat, wsol):
        metric.update(maps, boxes, logits, labels)
    result, curves = sat.compute(), sat.curves()
    index = int((curves["gt_known"] + curves["top1_loc"]).argmax())
    assert float(result["threshold"]) == taus[index]
    assert numbers(sat.at(taus[index])) == numbers(result)
    accuracies = [float(curves[f"box_acc@{d}"][index]) for d in DELTAS]
    assert [float(result[f"max_box_acc@{d}"]) for d in DELTAS] == accuracies
    assert float(result["max_box_acc_v2"]) == pytest.approx(np.mean(accuracies))
    result, curves = wsol.compute(), wsol.curves()
    for d in DELTAS:
        assert float(result[f"max_box_acc@{d}"]) == float(curves[f"box_acc@{d}"].max())
    best = [float(curves[f"box_acc_all@{d}"].max()) for d in DELTAS]
    assert float(result["max_box_acc_v2"]) == pytest.approx(np.mean(best))
    assert float(result["gt_known"]) == float(result["max_box_acc@0.5"])
    fixed = wsol.at(float(taus[3]))
    assert float(fixed["max_box_acc@0.7"]) == float(curves["box_acc@0.7"][3])


def test_without_logits_classes_are_nan_and_gt_known_chooses():
    maps, boxes, *_ = batch()
    metric = BoxLocalization("sat", image_size=SIZE)
    metric.update(maps.numpy(), [b.numpy() for b in boxes])
    result, curves = metric.compute(), metric.curves()
    assert all(result[k].isnan() for k in ("top1_cls", "top5_cls", "top1_loc", "top5_loc"))
    assert float(result["gt_known"]) == float(curves["gt_known"].max())


@pytest.mark.parametrize("protocol", ["sat", "wsoleval", "tscam"])
def test_results_do_not_depend_on_the_split(protocol):
    maps, boxes, logits, labels, masks, ignore = batch(20)
    whole = BoxLocalization(protocol, image_size=SIZE, keep_ious=True)
    whole.update(maps, boxes, logits, labels)
    parts = [BoxLocalization(protocol, image_size=SIZE, keep_ious=True) for _ in range(2)]
    whole_mask = MaskLocalization(image_size=SIZE)
    mask_parts = [MaskLocalization(image_size=SIZE) for _ in range(2)]
    whole_mask.update(maps, masks, ignore)
    for i, (a, b) in enumerate([(0, 3), (3, 4), (4, 13), (13, 20)]):
        parts[i // 2].update(maps[a:b], boxes[a:b], logits[a:b], labels[a:b])
        mask_parts[i // 2].update(maps[a:b], masks[a:b], ignore[a:b])
    parts[0].merge_state(parts[1])
    mask_parts[0].merge_state(mask_parts[1])
    assert numbers(parts[0].compute()) == numbers(whole.compute())
    assert numbers(mask_parts[0].compute()) == numbers(whole_mask.compute())
    assert sorted(parts[0].ious().tolist()) == sorted(whole.ious().tolist())


def one_process(rank, folder):
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2,
                            timeout=timedelta(seconds=120))  # fmt: skip
    maps, boxes, logits, labels, masks, _ = batch(11)
    part = slice(0, 4) if rank == 0 else slice(4, 11)
    box = BoxLocalization("sat", image_size=SIZE, keep_ious=True)
    box.update(maps[part], boxes[part], logits[part], labels[part])
    mask = MaskLocalization(image_size=SIZE)
    mask.update(maps[part], masks[part])
    torch.save((box.compute(), mask.compute()), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_the_result_of_one(tmp_path):
    mp.spawn(one_process, (str(tmp_path),), nprocs=2)
    maps, boxes, logits, labels, masks, _ = batch(11)
    box, mask = BoxLocalization("sat", image_size=SIZE), MaskLocalization(image_size=SIZE)
    box.update(maps, boxes, logits, labels)
    mask.update(maps, masks)
    for rank in (0, 1):
        of_boxes, of_masks = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert numbers(of_boxes) == numbers(box.compute())
        assert numbers(of_masks) == numbers(mask.compute())


def test_reset_forgets():
    maps, boxes, logits, labels, *_ = batch()
    metric = BoxLocalization("sat", image_size=SIZE, keep_ious=True)
    metric.update(maps, boxes)
    metric.reset()
    metric.update(maps[:5], boxes[:5], logits[:5], labels[:5])
    assert len(metric.ious(0.3)) == 5


def test_masks_by_hand():
    maps = torch.tensor([[[0.0, 1.0], [2.0, 4.0]]])  # scaled: 0, 1/4, 1/2, 1
    masks = torch.tensor([[[0, 0], [1, 1]]])
    metric = MaskLocalization([0, 0.2, 0.4], image_size=2)
    metric.update(maps, masks)
    assert numbers(metric.compute()) == pytest.approx(
        {"pxap": 100, "piou": 100, "piou_threshold": 0.4}
    )
    metric.reset()
    metric.update(
        maps, torch.tensor([[[0, 1], [0, 1]]])
    )  # precision 1, 1/2, 2/3 at recall .5, .5, 1
    result = metric.compute()
    assert float(result["pxap"]) == pytest.approx(100 * (0.5 + 0.5 * 2 / 3))
    assert float(result["piou"]) == pytest.approx(100 * 2 / 3)
    assert float(result["piou_threshold"]) == 0.2


def test_ignored_pixels_do_not_count_but_the_mask_does():
    maps = torch.tensor([[[0.0, 1.0], [2.0, 4.0]]])
    metric = MaskLocalization([0, 0.2, 0.4], image_size=2)
    metric.update(maps, torch.tensor([[[0, 1], [0, 1]]]), torch.tensor([[[0, 1], [1, 1]]]))
    assert float(metric.compute()["piou"]) == 100  # the false 1/2 is ignored


@pytest.mark.parametrize("count", [2, 1000, 20_000])
def test_mask_histograms_equal_the_plain_ones(count):
    maps, *_, masks, ignore = batch()
    metric = MaskLocalization(np.linspace(0, 1, count, endpoint=False) ** 2, image_size=SIZE)
    metric.update(maps, masks, ignore)
    prepared = prepare_maps(maps, SIZE, "wsoleval")
    expected = sum(
        plain.histograms(m, k.numpy(), (k | ~i).numpy(), metric.thresholds)
        for m, k, i in zip(prepared, masks, ignore, strict=True)
    )
    assert (expected == np.stack([metric.outside, metric.inside])).all()


def test_masks_of_another_size_are_resized():
    metric = MaskLocalization(image_size=4)
    big = torch.zeros(1, 16, 16)
    big[:, :8] = 1
    metric.update(big, big)
    assert float(metric.compute()["piou"]) == 100


def bad_update(**changes):
    maps, boxes, logits, labels, *_ = batch(3)
    return {"maps": maps, "boxes": boxes, "logits": logits, "labels": labels} | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, "logits were given without labels"),
        ({"logits": None}, "labels were given without logits"),
        ({"labels": torch.tensor([0, 7, 1])}, "label 7 is outside 0–6"),
        ({"labels": torch.tensor([0, -1, 1])}, "label -1 is outside"),
        ({"labels": torch.tensor([0, 1])}, r"labels \[2\] do not fit 3 maps"),
        ({"logits": torch.zeros(2, 7)}, r"logits \[2, 7\]"),
        ({"logits": torch.full((3, 7), float("nan"))}, "logits hold NaN"),
        ({"boxes": [torch.zeros(1, 4)] * 2}, "2 lists of boxes for 3 maps"),
        (
            {"boxes": [torch.zeros(1, 4), torch.zeros(0, 4), torch.zeros(1, 4)]},
            r"boxes\[1\] is empty",
        ),
        ({"maps": torch.full((3, 4, 4), float("nan"))}, r"maps\[0\] holds NaN"),
        ({"maps": torch.zeros(3, 1, 4, 4)}, r"expected \[N, h, w\]"),
    ],
)
def test_bad_batches_are_named_and_leave_the_counts_alone(changes, message):
    metric = BoxLocalization(image_size=SIZE)
    with pytest.raises(ValueError, match=message):
        metric.update(**bad_update(**changes))
    assert int(metric.count) == int(metric.classified) == int(metric.hits.sum()) == 0


def test_logits_come_always_or_never():
    metric = BoxLocalization(image_size=SIZE)
    metric.update(**bad_update())
    with pytest.raises(ValueError, match="some batches came with logits"):
        metric.update(**bad_update(logits=None, labels=None))


def test_fewer_than_five_classes():
    metric = BoxLocalization(image_size=SIZE)
    metric.update(**bad_update(logits=torch.rand(3, 2), labels=torch.tensor([0, 1, 1])))
    assert float(metric.compute()["top5_cls"]) == 100


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BoxLocalization("cub"), "expected one of sat, wsoleval, tscam"),
        (lambda: BoxLocalization(thresholds=[2]), "threshold 2 is outside 0–1"),
        (lambda: BoxLocalization(image_size=0), "image_size is 0"),
        (lambda: MaskLocalization([0.5, 0.6]), "ascend from 0"),
        (lambda: MaskLocalization([0, 0.6, 0.5]), "ascend from 0"),
        (lambda: MaskLocalization(image_size=0), "image_size is 0"),
        (lambda: BoxLocalization().compute(), "no images were added"),
        (lambda: MaskLocalization().compute(), "no object pixels were added"),
        (lambda: BoxLocalization().ious(), "keep_ious=True"),
        (lambda: BoxLocalization()._index(0.32), "the nearest is 0.3"),
        (
            lambda: MaskLocalization().update(torch.zeros(2, 4, 4), torch.zeros(1, 4, 4)),
            r"masks have shape \(1, 4, 4\); expected \[2, H, W\]",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_bad_settings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- against the original programs' outputs, where they are at hand


@pytest.fixture(scope="module")
def reference(shared):
    arrays = dict(np.load(shared / "reference" / "metrics.npz"))
    arrays["boxes"] = [np.array(b.split(), float).reshape(-1, 4) for b in arrays["boxes"]]
    for name in ("masks", "ignores"):
        arrays[name] = np.unpackbits(arrays[name]).reshape(-1, 224, 224)
    return arrays


def test_sat_results_equal_the_reference(reference):
    metric = BoxLocalization("sat")
    metric.update(*(reference[k] for k in ("maps", "boxes", "logits", "labels")))
    result = metric.compute()
    found = [float(result[k]) for k in ("top1_loc", "gt_known", "threshold")]
    assert np.allclose(found, reference["sat/result_top1loc_gt_thr"], rtol=0, atol=1e-9)
    printed = {
        "cls_top1": "top1_cls", "cls_top5": "top5_cls", "gt_loc": "gt_known",
        "loc_top1": "top1_loc", "loc_top5": "top5_loc", "IoU30": "max_box_acc@0.3",
        "IoU50": "max_box_acc@0.5", "IoU70": "max_box_acc@0.7", "Mean": "max_box_acc_v2",
    }  # fmt: skip
    words = str(reference["sat/stdout"]).replace(":", " ").split()
    for word, key in printed.items():
        assert f"{float(result[key]):.2f}" == words[words.index(word) + 1], key


@pytest.mark.parametrize(("name", "step"), [("wsol", 0.001), ("wsol01", 0.01)])
def test_wsolevaluation_results_equal_the_reference(reference, name, step):
    metric = BoxLocalization("wsoleval", np.arange(0, 1, step))
    metric.update(reference["maps"], reference["boxes"])
    result = metric.compute()
    single = [float(result[f"max_box_acc@{d}"]) for d in DELTAS]
    assert np.allclose(single, reference[f"{name}/maxboxacc_single"], rtol=0, atol=1e-9)
    multi = reference[f"{name}/maxboxacc_multi"].mean()
    assert float(result["max_box_acc_v2"]) == pytest.approx(multi, abs=1e-9)
    for mode, counts in (("single", metric.hits), ("multi", metric.hits_all)):
        for i, delta in enumerate((30, 50, 70)):
            assert (counts[:, i].numpy() == reference[f"{name}/num_correct_{mode}_{delta}"]).all()


@pytest.mark.parametrize(("name", "step"), [("wsol", 0.001), ("wsol01", 0.01)])
def test_mask_results_equal_the_reference(reference, name, step):
    metric = MaskLocalization(np.arange(0, 1, step))
    metric.update(reference["maps"], reference["masks"], reference["ignores"])
    result = metric.compute()
    assert float(result["pxap"]) == pytest.approx(float(reference[f"{name}/pxap"]), abs=1e-9)
    assert float(result["piou"]) == pytest.approx(float(reference[f"{name}/piou"]), abs=1e-9)
    bins = len(metric.edges)  # the reference has one more, above 2, which stays empty
    assert (metric.inside.numpy() == reference[f"{name}/hist_true"][:bins]).all()
    assert (metric.outside.numpy() == reference[f"{name}/hist_false"][:bins]).all()
