"""What notebooks need for teaching: simulated maps, part coverage, speed, and result files.

A lesson measures, writes what it measured with its provenance, and shows what the file holds.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from satkit._cv2 import cv2
from satkit.choices import check_choice
from satkit.data.aviary import PART_NAMES, Drawing
from satkit.evaluation import Outputs, predictions, threshold_curve
from satkit.losses import total_loss
from satkit.notebooks import in_project
from satkit.paper import EXPERIMENTS, banner, beside, row_settings, rows_of, verdicts
from satkit.results import Run, device_name, provenance, read_json, write_json
from satkit.settings import TrainSettings
from satkit.training import train


def simulate_map(
    drawing: Drawing,
    rng: np.random.Generator,
    *,
    head: float = 1.0,
    rest: float = 1.0,
    blur: float = 0.0,
    noise: float = 0.0,
    grid: int = 12,
) -> np.ndarray:
    """Localization map as a network might draw it, made from the true parts of a drawing.

    No network is asked: it is a stand-in whose faults are known, because they are chosen here.

    Args:
        drawing: Of Aviary.
        rng: Draws the noise.
        head: Value on the head, 0–1.
        rest: Value on wing, body and tail, 0–1.
        blur: Standard deviation of a Gaussian blur, in patches.
        noise: Standard deviation of the noise of each patch, before the blur.
        grid: Patches a side.

    Returns:
        Float32 [grid, grid], 0–1.
    """
    value = np.array([0.0, head, rest, rest, rest], np.float32)[drawing.parts]  # [S, S]
    patches = cv2.resize(value, (grid, grid), interpolation=cv2.INTER_AREA)
    noisy = patches + rng.normal(0, noise, (grid, grid)).astype(np.float32)
    if blur:
        noisy = cv2.GaussianBlur(noisy, (0, 0), blur, borderType=cv2.BORDER_REPLICATE)
    return np.clip(noisy, 0, 1)


def part_coverage(
    maps: np.ndarray, parts: Sequence[np.ndarray], threshold: float
) -> dict[str, float]:
    """Which parts of the birds lie above the threshold.

    Args:
        maps: [N, S, S] at the size of the drawings, as `satkit.boxes.prepare_maps` gives them.
        parts: N part maps uint8 [S, S] of Aviary.
        threshold: On the maps.

    Returns:
        For background, head, wing, body and tail, the percentage of its pixels (over all images)
        that lie above the threshold; NaN for a part that is nowhere.

    Raises:
        ValueError: Maps and parts are not of one size.
    """
    truth, above = np.stack(list(parts)), np.asarray(maps) > threshold
    if truth.shape != above.shape:
        raise ValueError(f"maps are {above.shape}, but parts are {truth.shape}; make them alike")
    area = np.bincount(truth.ravel(), minlength=len(PART_NAMES)).astype(float)
    found = np.bincount(truth[above], minlength=len(PART_NAMES))
    share = np.divide(100 * found, area, out=np.full(len(area), np.nan), where=area > 0)
    return dict(zip(PART_NAMES, share.tolist(), strict=True))


def mask_ious(maps: np.ndarray, masks: Sequence[np.ndarray], threshold: float) -> pd.DataFrame:
    """How well each image's map fits its mask, and how large the object is (Fig. 6 of the paper).

    Args:
        maps: [N, S, S] in 0–1 at the size of the masks, as `satkit.boxes.prepare_maps` gives them.
        masks: N masks bool [S, S].
        threshold: On the maps; one for all images.

    Returns:
        ``iou`` of what lies above the threshold with the mask, and ``size``, the mask's share of
        the image, both 0–1 and one row an image; NaN as IoU where both are empty.

    Raises:
        ValueError: Maps and masks are not of one size.
    """
    truth, above = np.stack(list(masks)).astype(bool), np.asarray(maps) > threshold
    if truth.shape != above.shape:
        raise ValueError(f"maps are {above.shape}, but masks are {truth.shape}; make them alike")
    both, either = (part.sum(axis=(1, 2)) for part in (truth & above, truth | above))
    iou = np.divide(both, either, out=np.full(len(both), np.nan), where=either > 0)
    return pd.DataFrame({"iou": iou, "size": truth.mean(axis=(1, 2))})


@torch.inference_mode()
def accuracy_without_parts(model: nn.Module, dataset: Any) -> dict[str, float]:
    """Top-1 Cls where one part of every bird is painted over, in Aviary's images.

    The part takes the mean colour of the image's background, so nothing else changes.

    Args:
        model: The localizer.
        dataset: Aviary's items, with ``parts``.

    Returns:
        Percent for ``nothing``, ``head``, ``wing``, ``body`` and ``tail`` painted over.
    """
    items = [dataset[index] for index in range(len(dataset))]
    images = torch.stack([item["image"] for item in items])  # [N, 3, S, S]
    parts = torch.stack([item["parts"] for item in items])[:, None]  # [N, 1, S, S]
    labels = torch.tensor([item["label"] for item in items])
    ground = parts == 0
    colour = (images * ground).sum(dim=(2, 3), keepdim=True) / ground.sum(dim=(2, 3), keepdim=True)
    percent = {}
    for number, name in enumerate(("nothing", *PART_NAMES[1:])):
        painted = torch.where((parts == number) & (number > 0), colour, images)
        logits = torch.cat([model(chunk).logits for chunk in painted.split(64)])
        percent[name] = 100 * float((logits.argmax(dim=1) == labels).double().mean())
    return percent


def at_best_threshold(outputs: Outputs, protocol: str = "sat") -> tuple[float, pd.DataFrame]:
    """Boxes at the threshold that is best for these very images.

    That flatters; it is for comparing maps of the same images, all of them flattered alike.

    Args:
        outputs: Maps and true boxes.
        protocol: Localization protocol.

    Returns:
        GT-known Loc in percent, and the boxes as ``predictions.csv`` of a run has them.
    """
    curve = threshold_curve(outputs, protocol=protocol)
    best = curve.loc[curve["gt_known"].idxmax()]
    boxes = predictions(outputs, protocol=protocol, threshold=float(best["threshold"]))
    return float(best["gt_known"]), boxes


def gradient_agreement(
    model: nn.Module, images: Tensor, labels: Tensor, target_area: float
) -> dict[str, float]:
    """Cosine between the gradients of L_cls and of L_ba + L_norm, by group of parameters.

    At 1 both want the same change, at -1 the opposite; at 0 they do not touch each other.

    Args:
        model: Localizer with foreground probabilities as maps.
        images: [B, 3, S, S].
        labels: int [B].
        target_area: λ of Eq. 7.

    Returns:
        Cosine for ``spatial token``, ``class token``, ``patch embedding``, ``block 1`` …, where a
        group has both gradients.
    """
    named = {n: p for n, p in model.named_parameters() if p.requires_grad}
    output = model(images, labels)
    terms = total_loss(output.logits, output.maps, labels, target_area=target_area)
    pair = []
    for loss in (terms["cls"], terms["total"] - terms["cls"]):
        found = torch.autograd.grad(
            loss, list(named.values()), retain_graph=True, allow_unused=True
        )
        pair.append(dict(zip(named, found, strict=True)))
    cosines = {}
    for group in dict.fromkeys(map(_group, named)):
        names = [n for n in named if _group(n) == group and all(g[n] is not None for g in pair)]
        if names and group:
            ours, theirs = (torch.cat([g[n].flatten() for n in names]) for g in pair)
            cosines[group] = float(torch.cosine_similarity(ours, theirs, dim=0, eps=1e-20))
    return cosines


def _group(name: str) -> str:
    """Group of a parameter; empty for those that only one of the losses knows."""
    if block := re.match(r"backbone\.blocks\.(\d+)\.", name):
        return f"block {int(block[1]) + 1}"
    starts = {"loc_": "spatial token", "backbone.cls_token": "class token"}
    starts |= {"backbone.patch_embed": "patch embedding"}
    return next((group for start, group in starts.items() if name.startswith(start)), "")


def require_boxes(dataset: Any, sample: int = 8) -> None:
    """Stop a lesson that scores boxes where a data set has none.

    Args:
        dataset: Test images; a few, spread evenly over it, are looked at.
        sample: How many.

    Raises:
        ValueError: None of them has a box.
    """
    spread = np.linspace(0, len(dataset) - 1, sample).round().astype(int)
    if not any(len(dataset[int(index)]["boxes"]) for index in spread):
        raise ValueError(
            "the test images have no boxes, and this lesson scores boxes: add a boxes.csv "
            "(`python -m satkit data --help`), or use `python -m satkit train` and `predict`, "
            "which need none"
        )


def train_processes(settings: TrainSettings, processes: int) -> Run:
    """Train in processes of their own, as ``torchrun`` starts them, on CPUs.

    Args:
        settings: Of the run.
        processes: How many.

    Returns:
        The finished run.

    Raises:
        RuntimeError: The processes failed; the end of what they printed is shown.
    """
    process = _launch(settings, processes)
    text, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"training in {processes} processes failed:\n{text[-2000:]}")
    return train(settings)  # opens it


def train_and_kill(settings: TrainSettings, processes: int) -> None:
    """The same, but all are killed (``kill -9``) once they have saved their first state.

    Args:
        settings: Of a run that takes long enough; a finished one is left alone.
        processes: How many.

    Raises:
        RuntimeError: They failed before.
    """
    process = _launch(settings, processes)
    folder = in_project(settings.runs_dir) / settings.experiment
    while process.poll() is None and not any(folder.glob("*/state.pt")):
        time.sleep(0.02)
    if process.poll() is None:
        started = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for number in [*map(int, started), process.pid]:
            os.kill(number, signal.SIGKILL)
    text, _ = process.communicate()
    if process.returncode > 0:
        raise RuntimeError(f"training in {processes} processes failed:\n{text[-2000:]}")


def train_rows(
    experiment: str | Sequence[str], base: TrainSettings, rows: str = "all", seeds: int = 1
) -> dict[str, list[Run]]:
    """Train rows of the paper's experiments; finished runs are only opened.

    Args:
        experiment: Key of ``satkit.paper.EXPERIMENTS``, or several.
        base: Settings that all rows share, with the first seed.
        rows: ``all``, ``none``, ``first`` (the first two, of the first experiment), or labels
            separated by semicolons.
        seeds: Runs of each row, from the base's seed on.

    Returns:
        The runs of each trained row, by its label.

    Raises:
        ValueError: Unknown experiment or row.
    """
    names = [experiment] if isinstance(experiment, str) else list(experiment)
    for name in names:
        check_choice("experiment", name, EXPERIMENTS)
    changes = {label: row for name in names for label, row in EXPERIMENTS[name].items()}
    some = {"all": list(changes), "none": [], "first": list(changes)[:2]}
    labels = some[rows] if rows in some else [label.strip() for label in rows.split(";")]
    for label in labels:
        check_choice(f"row of {', '.join(names)}", label, changes)
    found: dict[str, list[Run]] = {label: [] for label in labels}
    for seed in range(base.seed, base.seed + seeds):
        for label in labels:
            asked = row_settings(base, changes[label])
            found[label].append(train(asked.model_copy(update={"seed": seed})))
    return found


def show_experiment(
    experiment: str,
    base: TrainSettings,
    rows: pd.DataFrame,
    metrics: Sequence[str] = ("top1_cls", "top1_loc", "gt_known"),
    claims: Sequence[str] = (),
    printed: str = "",
) -> None:
    """Show one of the paper's tables: measured beside printed, its origin, and the verdicts.

    Args:
        experiment: Key of ``satkit.paper.EXPERIMENTS``.
        base: Settings that all rows share.
        rows: From :func:`satkit.paper.measured`.
        metrics: Columns, percent.
        claims: Ids of the claims that the table decides; see :func:`satkit.paper.claims`.
        printed: The paper's table, for instance ``table3``; the experiment's own where empty.

    Raises:
        ValueError: Unknown experiment, table or claim.
    """
    found = rows_of(experiment, base, rows)
    show_table(beside(experiment, base, rows, metrics, printed))
    print(banner(pd.concat(found.values())))
    print("\n".join(commands(experiment, base, [k for k, part in found.items() if part.empty])))
    if base.profile == "smoke":
        print("profile smoke: the runs are tiny, and their numbers mean nothing")
    if claims:
        show_table(verdicts(of_base(base, rows), claims))


def show_table(table: pd.DataFrame) -> None:
    """Show a table with its sentences whole, where pandas would cut them short.

    Args:
        table: To be shown below the cell.
    """
    from IPython.display import display

    with pd.option_context("display.max_colwidth", None):
        display(table)


def of_base(base: TrainSettings, rows: pd.DataFrame) -> pd.DataFrame:
    """Measured rows of the data set and profile of some settings.

    Args:
        base: The settings.
        rows: From :func:`satkit.paper.measured`.

    Returns:
        Some of the rows; a ledger of them says under which other conditions they ran.
    """
    if rows.empty:
        return rows
    return rows[(rows["dataset"] == base.dataset) & (rows["profile"] == base.profile)]


def commands(
    experiment: str, base: TrainSettings, labels: Sequence[str], most: int = 5
) -> list[str]:
    """Commands that train rows of one of the paper's experiments.

    Args:
        experiment: Key of ``satkit.paper.EXPERIMENTS``.
        base: Settings that all rows share.
        labels: Of the rows.
        most: How many are written out; a line says how many more there are.

    Returns:
        One line a row.
    """
    own = Path(base.runs_dir) == in_project("runs")
    base = base.model_copy(update={"runs_dir": "runs"} if own else {})
    words = {
        label: row_settings(base, EXPERIMENTS[experiment][label]).arguments() for label in labels
    }
    lines = [
        f"not run: {label}; run it by\n    {shlex.join(['python', '-m', 'satkit', 'train', *rest])}"
        for label, rest in list(words.items())[:most]
    ]
    return lines + ([f"not run: {len(words) - most} rows more"] if len(words) > most else [])


def _launch(settings: TrainSettings, processes: int) -> subprocess.Popen[str]:
    """Start processes that train on CPUs."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *launcher, "-m", "satkit", "train", *settings.arguments()]
    threads = str(max(1, torch.get_num_threads() // processes))
    return subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": threads, "ACCELERATE_USE_CPU": "1"},
    )  # fmt: skip


def record(
    notebook: str,
    name: str,
    numbers: Mapping[str, Any],
    *,
    runs_dir: str | Path = "runs",
    data: str,
) -> dict[str, Any]:
    """Write what a lesson measured, with where it comes from, and read it back.

    Args:
        notebook: The lesson's name.
        name: Of the measurement; the file is ``runs_dir/lessons/notebook/name.json``.
        numbers: What was measured, and the settings that it hangs on.
        runs_dir: Folder of all runs; relative to the project's folder, not to the current one.
        data: Which data it was measured on, in words.

    Returns:
        What the file holds: ``numbers`` and ``provenance``. One line of the latter is printed.
    """
    path = in_project(runs_dir) / "lessons" / notebook / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"numbers": dict(numbers), "provenance": provenance(device_name(), data)})
    content = read_json(path)
    origin = content["provenance"]
    changed = " with uncommitted changes" if origin["dirty"] else ""
    print(
        f"{notebook}/{name}.json: commit {origin['commit'][:8]}{changed}, {origin['date'][:16]}, "
        f"{origin['device']}, data {origin['data']}"
    )
    return content
