"""How time and memory grow: with image size, batch, classes, test images, thresholds, processes.

    python benchmarks/growth.py [--backbone deit_tiny_patch16_224]

Each curve has an expected law, stated before it is measured, and a measured exponent: the slope of
log cost over log size, from the upper half of the sizes. Results go to
benchmarks/results/growth_<device>.json and the plots to docs/pictures/growth_<device>.svg.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from satkit.cost import peak_bytes, step_seconds, training_memory
from satkit.evaluation import Outputs, score
from satkit.results import device_name, device_slug, provenance, read_json, write_json
from satkit.settings import TrainSettings

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BATCH = 4
#: Sizes that are measured, and the exponents that the algorithm should have in time and memory
CURVES: dict[str, dict[str, Any]] = {
    "image size": {"sizes": [96, 128, 160, 224, 320, 448], "law": "2 to 4", "memory law": "2",
                   "unit": "pixels a side",
                   "why": "S² tokens, each costs the same in linear layers and S² in attention"},
    "tokens": {"sizes": [], "law": "1 to 2", "memory law": "1", "unit": "tokens",
               "why": "linear layers cost the same a token, attention one row a token"},
    "batch": {"sizes": [1, 2, 4, 8, 16], "law": "1", "memory law": "1", "unit": "images",
              "why": "images do not know of each other but for their mean area"},
    "classes": {"sizes": [200, 1000, 21_000], "law": "below 1", "memory law": "below 1",
                "unit": "classes",
                "why": "only the head grows, with 9 D weights a class; logits need no class maps"},
    "test images": {"sizes": [100, 300, 1000, 3000], "law": "1", "memory law": "at most 1",
                    "unit": "images", "why": "each map is scored alone, some hundred at a time"},
    "thresholds": {"sizes": [4, 10, 100, 1000], "law": "0", "memory law": "below 1",
                   "unit": "thresholds",
                   "why": "one pass over a map gives the boxes at all; an IoU each is kept"},
    "processes": {"sizes": [1, 2], "law": "-1, to the number of cores", "memory law": "0 to 1",
                  "unit": "processes",
                  "why": "each takes its part of the batch, and has a model of its own"},
}  # fmt: skip


def settings_for(backbone: str, size: int = 224, batch: int = BATCH) -> TrainSettings:
    """SAT on a backbone, random weights."""
    return TrainSettings.for_profile(
        "lab", dataset="tiny_imagenet", backbone=backbone, image_size=size, batch_size=batch,
        resize_size=max(256, size), pretrained=False,
    )  # fmt: skip


def training_point(settings: TrainSettings, classes: int = 200) -> dict[str, float]:
    """Seconds and megabytes of a training step."""
    return {
        "seconds": step_seconds(settings, classes),
        "megabytes": training_memory(settings, classes),
    }


def random_outputs(images: int, seed: int = 0) -> Outputs:
    """Outputs of a localizer that guesses: smooth maps, a box each."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 110, (images, 2))
    return Outputs(
        maps=torch.from_numpy(rng.random((images, 14, 14), np.float32)),
        logits=torch.from_numpy(rng.random((images, 200), np.float32)),
        labels=torch.from_numpy(rng.integers(0, 200, images)),
        boxes=[np.concatenate([c, c + 100])[None] for c in corner],
        paths=[str(index) for index in range(images)],
        image_size=224,
        masks={},
        images_per_second=0.0,
    )


def scoring_point(images: int, thresholds: int) -> dict[str, float]:
    """Seconds and megabytes to score so many images at so many thresholds; in a fresh process."""
    grid = np.linspace(0, 1, thresholds, endpoint=False).tolist()
    score(random_outputs(4), protocol="wsoleval", thresholds=grid[:4])  # loads what it needs
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = peak_bytes()
    outputs = random_outputs(images)
    score(outputs, protocol="wsoleval", thresholds=grid)
    start = time.perf_counter()
    score(outputs, protocol="wsoleval", thresholds=grid)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "megabytes": (peak_bytes() - before) / 1e6}


def share_point(backbone: str, batch: int) -> dict[str, float]:
    """Costs of one process's part of a batch, on one thread."""
    torch.set_num_threads(1)
    return training_point(settings_for(backbone, batch=batch))


def in_processes(count: int, call: str, gpu: bool = True) -> dict[str, float]:
    """Costs of a call of this module in new processes that work side by side.

    Args:
        count: Of processes.
        call: The call, as code.
        gpu: Whether they see the GPU.

    Returns:
        The longest time, and the memory of all together.
    """
    code = f"import json; from benchmarks.growth import *; print(json.dumps({call}))"
    many = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env={**os.environ, **({} if gpu else {"CUDA_VISIBLE_DEVICES": ""})},
        )
        for _ in range(count)
    ]  # fmt: skip
    costs = [json.loads(child.communicate()[0].splitlines()[-1]) for child in many]
    return {
        "seconds": max(cost["seconds"] for cost in costs),
        "megabytes": sum(cost["megabytes"] for cost in costs),
    }


def measure(backbone: str) -> dict[str, dict[int, dict[str, float]]]:
    """Every point of every curve."""
    patch = 16
    curves: dict[str, dict[int, dict[str, float]]] = {name: {} for name in CURVES}
    for size in CURVES["image size"]["sizes"]:
        point = training_point(settings_for(backbone, size))
        curves["image size"][size] = point
        curves["tokens"][(size // patch) ** 2 + 2] = point
    for batch in CURVES["batch"]["sizes"]:
        curves["batch"][batch] = training_point(settings_for(backbone, batch=batch))
    for classes in CURVES["classes"]["sizes"]:
        curves["classes"][classes] = training_point(settings_for(backbone), classes)
    for images in CURVES["test images"]["sizes"]:
        curves["test images"][images] = in_processes(1, f"scoring_point({images}, 1000)", False)
    for thresholds in CURVES["thresholds"]["sizes"]:
        curves["thresholds"][thresholds] = in_processes(
            1, f"scoring_point(300, {thresholds})", False
        )
    for processes in CURVES["processes"]["sizes"]:
        call = f"share_point({backbone!r}, {8 // processes})"
        curves["processes"][processes] = in_processes(processes, call)
    return curves


def exponent(points: dict[int, dict[str, float]], cost: str) -> float:
    """Slope of log cost over log size: the median over neighbours in the upper half of the sizes.

    Args:
        points: Size -> costs.
        cost: ``seconds`` or ``megabytes``.

    Returns:
        The exponent.
    """
    sizes = sorted(points)[(len(points) - 1) // 2 :]
    values = [points[size][cost] for size in sizes]
    slopes = [
        np.log(b[1] / a[1]) / np.log(b[0] / a[0])
        for a, b in itertools.pairwise(zip(sizes, values, strict=True))
    ]
    return float(statistics.median(slopes))


def draw(content: dict[str, Any]) -> Figure:
    """One plot a curve, time in the left axis and memory in the right one."""
    figure = Figure(figsize=(14, 6.5), layout="constrained")
    axes = list(figure.subplots(2, 4).flat)
    for axis, (name, curve) in zip(axes, content["curves"].items(), strict=False):
        points = {int(size): point for size, point in curve["points"].items()}
        sizes = list(points)
        axis.loglog(sizes, [p["seconds"] for p in points.values()], "o-", color="#0072b2")
        axis.set(xlabel=curve["unit"], ylabel="seconds", title=f"{name}: n^{curve['seconds']:.2f}")
        right = axis.twinx()
        right.loglog(sizes, [p["megabytes"] for p in points.values()], "s--", color="#d55e00")
        right.set_ylabel("MB beyond the program")
        tick(right)
        axis.set_xticks(sizes, list(map(str, sizes)), rotation=45)  # after the second one's scale
        tick(axis)
    for axis in axes[len(content["curves"]) :]:
        axis.set_axis_off()
    return figure


def tick(axis: Axes) -> None:
    """Numbers 1, 2 and 5 of each power of ten along a logarithmic y axis."""
    axis.minorticks_off()
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter("{x:g}")


def write_page(content: dict[str, Any], name: str) -> None:
    """Put the table of exponents into docs/speed.md."""
    from benchmarks.goals import PAGE, replace_part

    about = content["provenance"]
    lines = [
        f"![Time (blue) and memory (orange) against each size, logarithmic](pictures/{name}.svg)",
        "",
        f"{content['backbone']}, measured {about['date'][:10]} on {about['device']}, commit "
        f"{about['commit'][:10]}",
        "",
        "| | from – to | seconds, expected | measured | memory, expected | measured | why |",
        "|---|---|---|---|---|---|---|",
    ]
    for curve_name, curve in content["curves"].items():
        sizes = [int(size) for size in curve["points"]]
        lines.append(
            f"| {curve_name} | {min(sizes)} – {max(sizes)} | {curve['law']} | "
            f"{curve['seconds']:.2f} | {curve['memory law']} | {curve['megabytes']:.2f} | "
            f"{curve['why']} |"
        )
    PAGE.write_text(replace_part(PAGE.read_text(), "growth", "\n".join(lines) + "\n"))


def main(
    backbone: Annotated[str, typer.Option(help="By its timm name.")] = "deit_tiny_patch16_224",
    show: Annotated[bool, typer.Option("--show", help="Only draw what was measured.")] = False,
) -> None:
    device = device_name(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    name = "growth_" + device_slug(device)
    path = RESULTS / f"{name}.json"
    if not show:
        about = provenance(device, "random pixels and maps")
        about["load_average"] = round(os.getloadavg()[0], 1)
        curves = {}
        for curve, points in measure(backbone).items():
            costs = list(next(iter(points.values())))
            slopes = {cost: round(exponent(points, cost), 3) for cost in costs}
            rest = {k: v for k, v in CURVES[curve].items() if k != "sizes"}
            curves[curve] = {**rest, "points": points, **slopes}
        content = {"provenance": about, "backbone": backbone, "batch": BATCH, "curves": curves}
        write_json(path, content)
    content = read_json(path)
    picture = ROOT / "docs" / "pictures" / f"{name}.svg"
    picture.parent.mkdir(exist_ok=True)
    draw(content).savefig(picture)
    write_page(content, name)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    typer.run(main)
