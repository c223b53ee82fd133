"""Speed of the all-threshold engine against the plain loop over thresholds, and its equality.

    python benchmarks/boxes.py [--maps 60] [--repeats 3] [--cores 2] [--small]

The loop runs in one thread, as the official programs do; the engine uses two. Both start from the
model's 14x14 maps, and each pair is timed in turn in the same run. Results, goals and whether
they were reached go to benchmarks/results/boxes.json. On a machine that does other work, wall
time says little; CPU time is the steadier one.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numba
import numpy as np
import skimage

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.baselines import boxes as plain  # noqa: E402
from benchmarks.goals import goal, say  # noqa: E402
from satkit.boxes import best_ious, component_boxes, prepare_maps, warm_up  # noqa: E402
from satkit.metrics import BoxLocalization, MaskLocalization  # noqa: E402
from satkit.results import provenance, write_json  # noqa: E402

SIZE = 224
SAT_THRESHOLDS = (0.3, 0.35, 0.4, 0.45)
CUB_TEST_IMAGES = 5794

# Targets, on two cores
LEAST_RATIO = {
    "contours, 1000 thresholds, largest": 40,
    "contours, 1000 thresholds, all": 40,
    "contours, 100 thresholds, largest": 5,
    "contours, 100 thresholds, all": 5,
    "SAT, 4 thresholds": 15,
}
MOST = {
    "everything_ms": (1.5, "everything at once, a map: both modes, 1000 thresholds, PxAP", "ms"),
    "first_use_s": (5, "first use after set-up", "s"),
    "test_set_s": (10, "CUB's 5,794 test maps at 1000 thresholds", "s"),
}


def synthetic_maps(count: int, seed: int = 0) -> tuple[np.ndarray, list[np.ndarray]]:
    """Noisy 14x14 maps of one or two blobs, float32 [count, 14, 14], with a box each."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:14, :14]
    maps, boxes = [], []
    for _ in range(count):
        score = 0.1 * rng.random((14, 14))
        for _ in range(rng.choice([1, 2], p=[0.8, 0.2])):
            (cx, cy), (sx, sy) = rng.uniform(3, 11, 2), rng.uniform(1.2, 3.5, 2)
            blob = np.exp(-(((x - cx) / sx) ** 2) - ((y - cy) / sy) ** 2)
            score += blob * rng.uniform(0.6, 1) * rng.uniform(0.7, 1, (14, 14))
        maps.append(score)
        box = np.array([cx - 1.5 * sx, cy - 1.5 * sy, cx + 1.5 * sx, cy + 1.5 * sy]) * 16
        boxes.append(box.clip(0, SIZE - 1).astype(int)[None])
    return np.array(maps, np.float32), boxes


def contour_case(step: float, every: bool) -> tuple[Callable, Callable]:
    """Plain and fast IoUs [N, T] of wsolevaluation's contours."""
    thresholds = np.arange(0, 1, step)
    select = "all" if every else "largest"

    def slow(maps: np.ndarray, truth: list[np.ndarray]) -> np.ndarray:
        rows = []
        for score, boxes in zip(prepare_maps(maps, SIZE, "wsoleval"), truth, strict=True):
            found = plain.contour_boxes(score, thresholds, every)
            rows.append([plain.best_iou(b, boxes) for b in found])
        return np.array(rows)

    def fast(maps: np.ndarray, truth: list[np.ndarray]) -> np.ndarray:
        return best_ious(maps, thresholds, truth, (select,), "wsoleval", size=SIZE)[0]

    return slow, fast


def sat_case() -> tuple[Callable, Callable]:
    """Plain and fast boxes [N, 4, 4] at SAT's four thresholds."""

    def slow(maps: np.ndarray, _: list[np.ndarray]) -> np.ndarray:
        prepared = prepare_maps(maps, SIZE, "sat")
        return np.stack([np.concatenate(plain.pixel_boxes(m, SAT_THRESHOLDS)) for m in prepared])

    def fast(maps: np.ndarray, _: list[np.ndarray]) -> np.ndarray:
        return component_boxes(maps, SAT_THRESHOLDS, size=SIZE)

    return slow, fast


def cases() -> dict[str, tuple[Callable, Callable]]:
    """Plain and fast form of each case that has a target ratio."""
    return {
        "contours, 1000 thresholds, largest": contour_case(0.001, every=False),
        "contours, 1000 thresholds, all": contour_case(0.001, every=True),
        "contours, 100 thresholds, largest": contour_case(0.01, every=False),
        "contours, 100 thresholds, all": contour_case(0.01, every=True),
        "SAT, 4 thresholds": sat_case(),
    }


def seconds(work: Callable, *arguments: object) -> tuple[np.ndarray, np.ndarray]:
    """Wall and CPU seconds (of all threads), and the result."""
    start = np.array([time.perf_counter(), time.process_time()])
    result = work(*arguments)
    return np.array([time.perf_counter(), time.process_time()]) - start, result


def compare(slow: Callable, fast: Callable, maps: int, repeats: int) -> dict[str, float]:
    """Milliseconds a map of both (median of the repeats), and their ratio, wall and CPU.

    On a busy machine the CPU time is the steadier one. The fast one is timed on ten times as many
    maps, as it needs many to show its pace.
    """
    few, few_boxes = synthetic_maps(maps)
    many, many_boxes = np.tile(few, (10, 1, 1)), few_boxes * 10
    times = []
    for _ in range(repeats):
        slow_s, expected = seconds(slow, few, few_boxes)
        fast_s, found = seconds(fast, many, many_boxes)
        if not (found[:maps] == expected).all():
            raise SystemExit("the engine and the plain loop differ")
        times.append((1e3 * slow_s / maps, 1e3 * fast_s / len(many)))
    plain_ms, fast_ms = np.median(times, axis=0)  # each [wall, CPU]
    columns = {"plain_ms": plain_ms, "fast_ms": fast_ms, "ratio": plain_ms / fast_ms}
    return {
        f"{prefix}{k}": round(v[i], 3)
        for k, v in columns.items()
        for i, prefix in enumerate(("", "cpu_"))
    }


def everything_at_once(maps: int, repeats: int) -> dict[str, float]:
    """Milliseconds a map, median of the repeats: both modes, 1000 thresholds, three δ, PxAP."""
    few, boxes = synthetic_maps(maps)
    many, masks = np.tile(few, (10, 1, 1)), np.zeros((10 * maps, SIZE, SIZE), bool)
    masks[:, 60:150, 60:150] = True
    box, mask = BoxLocalization("wsoleval", image_size=SIZE), MaskLocalization(image_size=SIZE)

    def score() -> dict:
        for i in range(0, len(many), 128):
            part = slice(i, i + 128)
            box.update(many[part], (boxes * 10)[part])
            mask.update(many[part], masks[part])
        return box.compute() | mask.compute()

    times = [1e3 * seconds(score)[0] / len(many) for _ in range(repeats)]
    wall, cpu = np.median(times, axis=0)
    return {"everything_ms": round(wall, 3), "everything_cpu_ms": round(cpu, 3)}


def whole_test_set(images: int) -> dict[str, float]:
    """Seconds to score as many maps as CUB has test images at 1000 thresholds, in both modes."""
    few, boxes = synthetic_maps(min(images, 100))
    index = np.arange(images) % len(few)
    metric = BoxLocalization("wsoleval", image_size=SIZE)
    wall, cpu = seconds(metric.update, few[index], [boxes[i] for i in index])[0]
    return {"images": images, "test_set_s": round(wall, 2), "test_set_cpu_s": round(cpu, 2)}


def first_use() -> dict[str, float]:
    """Seconds of the first use in a new process: without a cache, and with the one that it left."""
    code = (
        "import time; from satkit.boxes import warm_up; "
        "start = time.perf_counter(); warm_up(); print(time.perf_counter() - start)"
    )
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-c", code]
        surroundings = os.environ | {"NUMBA_CACHE_DIR": cache}
        cold, warm = (
            float(subprocess.check_output(command, cwd=ROOT, env=surroundings)) for _ in range(2)
        )
    return {"first_use_cold_s": round(cold, 2), "first_use_s": round(warm, 2)}


def judged(result: dict) -> dict[str, dict]:
    """Each goal with what was measured, and whether it was reached."""
    goals = {
        name: goal(result["cases"][name]["ratio"], least) for name, least in LEAST_RATIO.items()
    }
    for name, (most, text, unit) in MOST.items():
        if name in result:
            goals[text] = goal(result[name], most, more=False, unit=unit)
    return goals


def origin() -> dict:
    """Commit, date, machine and library versions."""
    info = Path("/proc/cpuinfo")
    names = [n for n in info.read_text().splitlines() if "model name" in n] if info.exists() else []
    return provenance("cpu", "synthetic maps of one or two blobs, 14x14") | {
        "cpu": names[0].split(":")[1].strip() if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 1),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "opencv": cv2.__version__,
        "scikit-image": skimage.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maps", type=int, default=60, help="maps of the plain loop")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2, help="processors to use; targets are for 2")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder")
    parser.add_argument("--small", action="store_true", help="a few maps, in seconds; no file")
    options = parser.parse_args()
    if options.small:
        options.maps, options.repeats = 4, 1
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    result = {"provenance": origin(), "maps": options.maps, "repeats": options.repeats}
    warm_up()
    result["cases"] = {}
    for name, (slow, fast) in cases().items():
        row = compare(slow, fast, options.maps, options.repeats)
        result["cases"][name] = row
        for prefix, clock in (("", "wall"), ("cpu_", "CPU")):
            plain_ms, fast_ms, ratio = (row[prefix + k] for k in ("plain_ms", "fast_ms", "ratio"))
            print(f"{name:35} {clock:4} {plain_ms:8.2f} ms {fast_ms:7.2f} ms {ratio:6.1f}x")
    result |= everything_at_once(options.maps, options.repeats)
    result |= whole_test_set(100 if options.small else CUB_TEST_IMAGES)
    if not options.small:
        result |= first_use()
    result["goals"] = judged(result)
    say(result["goals"])
    if not options.small:
        write_json(options.out / "boxes.json", result)


if __name__ == "__main__":
    main()
