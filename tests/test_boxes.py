"""The all-threshold engine against the plain loop over thresholds."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.measure import label, regionprops

from satkit.boxes import best_ious, component_boxes, iou, prepare_maps

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import boxes as benchmark
from benchmarks.baselines import boxes as plain

RNG = np.random.default_rng
FINE = np.linspace(0, 1, 41)


def fuzzed_maps(seed, size):
    """Noise, plateaus, holes, ties, single pixels, constants and smooth maps, [n, size, size]."""
    rng = RNG(seed)
    noise = rng.random((size, size))
    steps = np.floor(noise * 4) / 4
    binary = (noise > rng.choice([0.2, 0.5, 0.8])).astype(float)
    block = np.kron(rng.integers(0, 3, (size // 2, size // 2)) / 2, np.ones((2, 2)))
    point = np.zeros((size, size))
    point[tuple(rng.integers(0, size, 2))] = 1
    rings = np.abs(np.sin(np.hypot(*np.mgrid[:size, :size]) + seed))
    smooth = prepare_maps(rng.random((1, 4, 4)), size, "wsoleval")[0]
    constant = np.full((size, size), rng.choice([0.0, 0.5, 1.0]))
    block = np.pad(block, ((0, size % 2), (0, size % 2)), "edge")
    return np.stack([noise, steps, binary, block, point, rings, smooth, constant]).clip(0, 1)


def in_order(boxes):
    return boxes[np.lexsort(boxes.T[::-1])]


@pytest.mark.parametrize("seed", range(25))
def test_largest_component_equals_labelling_at_each_threshold(seed):
    maps = fuzzed_maps(seed, 5 + seed)
    boxes = component_boxes(maps, FINE, protocol="sat")
    for i, one in enumerate(maps):
        assert (boxes[i] == np.concatenate(plain.pixel_boxes(one, FINE))).all(), i


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("protocol", ["wsoleval", "tscam"])
def test_contours_equal_opencv_at_each_threshold(seed, protocol):
    maps = fuzzed_maps(seed, 5 + seed % 20)
    style = {"clip": protocol == "wsoleval", "nothing": int(protocol == "tscam")}
    largest = component_boxes(maps, FINE, "largest", protocol)
    everything = component_boxes(maps, FINE, "all", protocol)
    for i, one in enumerate(maps):
        expected = plain.contour_boxes(one, FINE, every=False, **style)
        assert (largest[i] == np.concatenate(expected)).all(), i
        expected = plain.contour_boxes(one, FINE, every=True, **style)
        for got, want in zip(everything[i], expected, strict=True):
            assert np.array_equal(got, in_order(want)), i


def oblong_maps(seed):
    """Maps of one height and width between 1 and 40, [3, H, W]: few levels, many levels, smooth."""
    rng = RNG(seed)
    shape = (1, rng.integers(1, 40)) if seed % 4 == 0 else tuple(rng.integers(1, 40, 2))
    shape = shape[:: rng.choice([-1, 1])]
    noise = rng.random(shape)
    smooth = prepare_maps(rng.random((1, 3, 3)), tuple(int(n) for n in shape), "wsoleval")[0]
    return np.stack([np.floor(noise * rng.integers(2, 5)) / 4, noise, smooth]).clip(0, 1)


@pytest.mark.parametrize("seed", range(60))
def test_maps_of_any_shape_equal_the_plain_loop(seed):
    maps = oblong_maps(seed)
    taus = np.sort(RNG(seed).random(12))
    pixels = component_boxes(maps, taus)
    largest = component_boxes(maps, taus, "largest", "wsoleval")
    everything = component_boxes(maps, taus, "all", "wsoleval")
    for i, one in enumerate(maps):
        assert (pixels[i] == np.concatenate(plain.pixel_boxes(one, taus))).all(), i
        assert (largest[i] == np.concatenate(plain.contour_boxes(one, taus, False))).all(), i
        for got, want in zip(everything[i], plain.contour_boxes(one, taus, True), strict=True):
            assert np.array_equal(got, in_order(want)), i


@pytest.mark.parametrize("seed", range(60))
def test_a_few_thresholds_equal_the_plain_loop(seed):
    maps = oblong_maps(seed)
    taus = np.sort(RNG(seed).random(4))
    for one, got in zip(maps, component_boxes(maps, taus), strict=True):
        assert (got == np.concatenate(plain.pixel_boxes(one, taus))).all()


@pytest.mark.parametrize("protocol", ["sat", "wsoleval"])
def test_a_thousand_thresholds_equal_the_plain_loop(protocol):
    rng = RNG(3)
    small = np.stack([rng.random((14, 14)), np.floor(rng.random((14, 14)) * 5)])
    maps = prepare_maps(small, 48 if protocol == "wsoleval" else 15, protocol)
    taus = np.arange(0, 1, 0.001)
    selects = ("largest", "all") if protocol == "wsoleval" else ("largest",)
    for select in selects:
        found = component_boxes(maps, taus, select, protocol)
        for one, got in zip(maps, found, strict=True):
            if protocol == "sat":
                want = plain.pixel_boxes(one, taus)
                assert (got == np.concatenate(want)).all()
                continue
            want = plain.contour_boxes(one, taus, select == "all")
            for a, b in zip(got, want, strict=True):
                assert np.array_equal(a.reshape(-1, 4), in_order(b))


@pytest.mark.parametrize("seed", range(10))
def test_all_components_equal_labelling_at_each_threshold(seed):
    maps = fuzzed_maps(seed, 6 + 2 * seed).astype(np.float32)
    taus = np.linspace(0, 0.99, 12)
    for one, row in zip(maps, component_boxes(maps, taus, "all"), strict=True):
        for tau, got in zip(taus, row, strict=True):
            regions = regionprops(label(one > np.float32(tau), connectivity=2))
            want = [[r.bbox[1], r.bbox[0], r.bbox[3], r.bbox[2]] for r in regions]
            assert np.array_equal(got, in_order(np.array(want or [[0, 0, *one.shape[::-1]]])))


def test_the_order_of_ties_does_not_depend_on_what_lies_around():
    """Maps are traced in the rectangle above the lowest level: ties are decided as without it."""
    block = np.zeros((6, 12), np.float32)
    block[1:3, 1:3] = block[3:5, 8:10] = 1
    padded = np.pad(block, ((7, 3), (5, 9)))[None]
    for protocol in ("sat", "wsoleval"):
        alone = component_boxes(block[None], [0.5], protocol=protocol)[0, 0]
        moved = component_boxes(padded, [0.5], protocol=protocol)[0, 0]
        assert (moved == alone + np.array([5, 7, 5, 7])).all()


def test_all_components_without_holes_under_sat():
    map_ = np.zeros((1, 7, 9), np.float32)
    map_[0, 1:4, 1:4] = 0.8
    map_[0, 2, 2] = 0  # a hole is no component
    map_[0, 5, 6:8] = 0.4
    boxes = component_boxes(map_, [0.5, 0.3, 0.9], "all")
    assert boxes[0][0].tolist() == [[1, 1, 4, 4]]
    assert boxes[0][1].tolist() == [[1, 1, 4, 4], [6, 5, 8, 6]]
    assert boxes[0][2].tolist() == [[0, 0, 9, 7]]  # nothing: the whole image


def test_ties_go_to_the_first_component_and_the_last_contour():
    map_ = np.zeros((1, 6, 12), np.float32)
    map_[0, 1:3, 1:3] = map_[0, 3:5, 8:10] = 1
    assert component_boxes(map_, [0.5])[0, 0].tolist() == [1, 1, 3, 3]
    assert component_boxes(map_, [0.5], protocol="wsoleval")[0, 0].tolist() == [8, 3, 10, 5]


def test_a_tie_is_decided_anew_when_the_leader_grows_upwards_without_area():
    map_ = np.zeros((1, 9, 12), np.float32)
    map_[0, 2:4, 1:3] = map_[0, 4:6, 8:10] = 1
    map_[0, 1:4, 7] = 0.5  # a whisker from its corner: no area, but an earlier first pixel
    taus = [0.7, 0.2]
    got = component_boxes(map_, taus, protocol="wsoleval")[0]
    assert (got == np.concatenate(plain.contour_boxes(map_[0], taus, every=False))).all()
    assert got.tolist() == [[8, 4, 10, 6], [1, 2, 3, 4]]


@pytest.mark.parametrize("protocol", ["sat", "wsoleval"])
def test_best_ious_equal_the_plain_ones(protocol):
    maps = np.concatenate([fuzzed_maps(seed, 16) for seed in range(5)])
    rng = RNG(0)
    truth = []
    for _ in maps:
        start = rng.integers(0, 12, (rng.integers(1, 4), 2))
        truth.append(np.concatenate([start, start + rng.integers(0, 8, start.shape)], 1))
    got = best_ious(maps, FINE, truth, ("largest", "all"), protocol)
    assert got.shape == (2, len(maps), len(FINE))
    for i, one in enumerate(maps):
        if protocol == "sat":
            want = [plain.best_iou(b, truth[i]) for b in plain.pixel_boxes(one, FINE)]
        else:
            want = [plain.best_iou(b, truth[i]) for b in plain.contour_boxes(one, FINE, False)]
            every = [plain.best_iou(b, truth[i]) for b in plain.contour_boxes(one, FINE, True)]
            assert (got[1, i] == every).all()
        assert (got[0, i] == want).all()
    assert (got[1] >= got[0]).all()


def test_results_do_not_depend_on_threads_or_the_order_of_thresholds():
    maps = prepare_maps(RNG(1).random((9, 6, 6)), 48)
    boxes = component_boxes(maps, [0.45, 0.3, 0.3])
    alone = np.stack([component_boxes(m[None], [0.3, 0.45])[0] for m in maps])
    assert (boxes == alone[:, [1, 0, 0]]).all()


@pytest.mark.parametrize("protocol", ["sat", "wsoleval", "tscam"])
@pytest.mark.parametrize("size", [36, (30, 45)])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_maps_prepared_on_their_way_give_the_same_boxes(protocol, size, kind):
    maps = torch.from_numpy(RNG(2).normal(size=(9, 5, 7))).to(kind)
    before = maps.clone()
    truth = [np.array([[3, 3, 20, 20]])] * len(maps)
    prepared = prepare_maps(maps, size, protocol)
    for taus in ([0.3, 0.45], FINE):
        for select in ("largest", "all"):
            want = component_boxes(prepared, taus, select, protocol)
            got = component_boxes(maps, taus, select, protocol, size)
            for one, other in zip(want, got, strict=True):
                assert all(map(np.array_equal, one, other))
        pair = [prepared, {}], [maps, {"size": size}]
        want, got = (best_ious(m, taus, truth, ("all",), protocol, **more) for m, more in pair)
        assert (want == got).all()
    assert torch.equal(maps, before)


def test_iou_conventions():
    a, b = [[0, 0, 10, 10]], [[0, 0, 4, 9], [20, 20, 30, 30], [8, 8, 3, 3]]
    assert iou(np.array(a), np.array(b), "half_open")[0].tolist() == [36 / 100, 0, 0]
    assert iou(torch.tensor(a), torch.tensor(b))[0].tolist() == [50 / 121, 0, 0]
    assert iou(np.zeros((0, 4)), np.array(b)).shape == (0, 3)


def test_preparing_follows_the_protocols_order():
    maps = torch.tensor([[[0.0, 1.0], [2.0, 4.0]]])
    sat, wsol = prepare_maps(maps, 8, "sat"), prepare_maps(maps, 8, "wsoleval")
    assert sat.shape == wsol.shape == (1, 8, 8)
    assert sat[0, -1, -1] == np.float32(4) / np.float32(4.00001)
    assert (sat.dtype, wsol.dtype) == (np.float32, np.float64)
    assert (wsol.min(), wsol.max()) == (0, 1)
    assert prepare_maps(maps.bfloat16(), (3, 5), "tscam").shape == (1, 3, 5)


@pytest.mark.parametrize("protocol", ["sat", "wsoleval", "tscam"])
def test_a_constant_map_gives_the_box_for_nothing(protocol):
    prepared = prepare_maps(np.full((1, 4, 4), 7.0), 16, protocol)
    assert (prepared == 0).all()
    nothing = {"sat": [0, 0, 16, 16], "wsoleval": [0, 0, 0, 0], "tscam": [0, 0, 1, 1]}[protocol]
    assert component_boxes(prepared, [0, 0.5, 1], protocol=protocol)[0].tolist() == [nothing] * 3


def test_no_maps_give_no_boxes():
    assert component_boxes(prepare_maps(np.zeros((0, 4, 4)), 8), [0.5]).shape == (0, 1, 4)


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (np.stack([np.zeros((4, 4)), np.full((4, 4), np.nan)]), r"maps\[1\] holds NaN"),
        (np.full((1, 4, 4), np.inf), r"maps\[0\] holds NaN or infinity"),
        (np.zeros((4, 4)), r"shape \(4, 4\); expected \[N, h, w\]"),
        (np.zeros((1, 0, 4)), r"expected \[N, h, w\]"),
    ],
)
def test_bad_maps_are_named(maps, message):
    with pytest.raises(ValueError, match=message):
        prepare_maps(maps, 8)
    with pytest.raises(ValueError, match=message):
        component_boxes(maps, [0.5])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"thresholds": [0.5, 1.5]}, "threshold 1.5 is outside 0–1"),
        ({"thresholds": [-0.1]}, "threshold -0.1 is outside"),
        ({"thresholds": [float("nan")]}, "threshold nan is outside"),
        ({"thresholds": []}, "thresholds have shape"),
        ({"thresholds": 0.5}, "thresholds have shape"),
        ({"select": "biggest"}, "select is 'biggest'; expected one of largest, all"),
        ({"protocol": "clovaai"}, "protocol is 'clovaai'; expected one of sat, wsoleval, tscam"),
        ({"maps": np.full((1, 4, 4), 2.0)}, "use prepare_maps first"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        component_boxes(**{"maps": np.zeros((1, 4, 4)), "thresholds": [0.5]} | arguments)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([], "0 lists of boxes for 1 maps"),
        ([np.zeros((0, 4))], r"boxes\[0\] is empty"),
        ([np.zeros((2, 3))], r"boxes\[0\] has shape \(2, 3\)"),
        ([np.array([[0, 0, np.nan, 1]])], r"boxes\[0\] holds NaN"),
    ],
)
def test_bad_boxes_are_named(boxes, message):
    with pytest.raises(ValueError, match=message):
        best_ious(np.zeros((1, 4, 4)), [0.5], boxes)


def test_other_bad_values_are_named():
    with pytest.raises(ValueError, match="convention is 'plain'"):
        iou(np.zeros((1, 4)), np.zeros((1, 4)), "plain")
    with pytest.raises(ValueError, match="size is 0"):
        prepare_maps(np.zeros((1, 4, 4)), 0)


def test_degenerate_and_outside_boxes_are_not_hit():
    full = np.zeros((1, 8, 8))  # under "sat", nothing means the whole image
    truth = [np.array([[30, 30, 7, 7], [20, 20, 40, 40], [5, 5, 3, 3]])]
    assert best_ious(full, [0.5], truth).max() == 0


def test_a_failing_import_of_opencv_names_the_headless_build():
    code = (
        "import sys, importlib.util\n"
        "sys.modules['cv2'] = None\n"  # what Python does for a module that cannot be imported
        "spec = importlib.util.spec_from_file_location('_cv2', sys.argv[1])\n"
        "spec.loader.exec_module(importlib.util.module_from_spec(spec))\n"
    )
    path = Path(__file__).parents[1] / "satkit" / "_cv2.py"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install opencv-python-headless" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", benchmark.LEAST_RATIO)
def test_what_the_benchmark_compares_is_equal(name):
    slow, fast = benchmark.cases()[name]
    maps, boxes = benchmark.synthetic_maps(2, seed=5)
    assert (slow(maps, boxes) == fast(maps, boxes)).all()


def test_the_benchmark_judges_ratios_and_times():
    case = {"ratio": 14.9}
    result = {"cases": dict.fromkeys(benchmark.LEAST_RATIO, case), "everything_ms": 1.4}
    reached = {name: row["reached"] for name, row in benchmark.judged(result).items()}
    assert list(reached.values()) == [False, False, True, True, False, True]


# ---- against the original programs' outputs, where they are at hand


def test_sat_boxes_equal_the_reference(shared):
    reference = np.load(shared / "reference" / "metrics.npz")
    boxes = component_boxes(prepare_maps(reference["maps"], 224, "sat"), [0.3, 0.35, 0.4, 0.45])
    assert (boxes == reference["sat/boxes"]).all()


def test_wsolevaluation_boxes_equal_the_reference(shared):
    reference = np.load(shared / "reference" / "metrics.npz")
    maps = prepare_maps(reference["maps"][:60], 224, "wsoleval")
    thresholds = reference["wsol/thr_small"]
    single = component_boxes(maps, thresholds, "largest", "wsoleval")
    assert (single == reference["wsol/boxes_single_small"]).all()
    multi = [b for row in component_boxes(maps, thresholds, "all", "wsoleval") for b in row]
    counts = reference["wsol/nboxes_multi_small"].ravel()
    assert [len(b) for b in multi] == counts.tolist()
    expected = np.split(reference["wsol/boxes_multi_small"], np.cumsum(counts)[:-1])
    for got, want in zip(multi, expected, strict=True):
        assert (got == in_order(want)).all()


@pytest.mark.parametrize("name", ["wsol", "wsol01"])
def test_wsolevaluation_hits_equal_the_reference(shared, name):
    reference = np.load(shared / "reference" / "metrics.npz")
    maps = prepare_maps(reference["maps"], 224, "wsoleval")
    truth = [np.array(b.split(), float).reshape(-1, 4) for b in reference["boxes"]]
    thresholds = np.arange(0, 1, 0.001 if name == "wsol" else 0.01)
    ious = best_ious(maps, thresholds, truth, ("largest", "all"), "wsoleval")
    for mode, values in zip(("single", "multi"), ious, strict=True):
        for delta in (30, 50, 70):
            hits = (values >= delta / 100).sum(axis=0)
            assert (hits == reference[f"{name}/num_correct_{mode}_{delta}"]).all()


@pytest.mark.parametrize("threshold", ["0.10", "0.12", "0.30", "0.50"])
def test_tscam_boxes_equal_the_reference(shared, threshold):
    reference = np.load(shared / "reference" / "tscam_tiny.npz")
    maps = np.stack([reference[f"map224_{i}"] for i in range(4)])
    maps = prepare_maps(maps, 224, "tscam")
    boxes = component_boxes(maps, [float(threshold)], protocol="tscam")[:, 0]
    assert (boxes == reference[f"boxes_gtclass_{threshold}"]).all()
