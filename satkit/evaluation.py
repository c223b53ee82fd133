"""A localizer and a data set in, metrics out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from satkit import data, distributed
from satkit.boxes import component_boxes, iou
from satkit.metrics import DELTAS, BoxLocalization, MaskLocalization
from satkit.progress import Progress

#: Where nothing can choose one, since no image has a box: the official code's for CUB-200
DEFAULT_THRESHOLD = 0.4


@dataclass
class Outputs:
    """What a localizer said about a data set.

    Attributes:
        maps: Localization maps [N, h, w]; of the true class where a method has class maps.
        logits: [N, C].
        labels: int [N].
        boxes: N arrays [n, 4], xyxy pixels of the evaluated crop.
        paths: Names of the images.
        image_size: Side of the evaluated crop, pixels.
        masks: PxAP and pIoU, where the data set has masks.
        images_per_second: Speed of it all, loading included.
    """

    maps: Tensor
    logits: Tensor
    labels: Tensor
    boxes: list[np.ndarray]
    paths: list[str]
    image_size: int
    masks: dict[str, float]
    images_per_second: float


def evaluate(
    model: nn.Module,
    dataset: Dataset,
    *,
    protocol: str = "sat",
    thresholds: Sequence[float] | None = None,
    threshold: float | None = None,
    ten_crop: bool = False,
    batch_size: int = 64,
    workers: int = -1,
    device: str | torch.device | None = None,
) -> dict[str, Any]:
    """Evaluate a localizer.

    Several processes (see :mod:`satkit.distributed`) share the work when all of them call this;
    the metrics are those of one process.

    Args:
        model: Maps ``(images, labels)`` to :class:`satkit.model.Localization`.
        dataset: Of :func:`satkit.data.load`, with the transform of the same protocol.
        protocol: ``"sat"``, ``"wsoleval"`` or ``"tscam"``; see
            :class:`satkit.metrics.BoxLocalization`.
        thresholds: Candidates, 0–1; the protocol's where None. The best of them *on this data
            set* is taken, as the official code does.
        threshold: Chosen before (on held-out images); then ``thresholds`` are not compared.
        ten_crop: Classify by the mean softmax of the items' ``crops`` (Sec. 4.1).
        batch_size: Images at a time.
        workers: Processes that load images; -1 is as many as the cores allow.
        device: Where to compute; a GPU if there is one.

    Returns:
        Percentages ``top1_cls top5_cls top1_loc top5_loc gt_known max_box_acc_v2
        max_box_acc@{0.3,0.5,0.7}``, the ``threshold`` used, ``pxap piou`` where there are masks,
        the same three accuracies of the full-image box, ``images``, of which
        ``images_with_boxes`` count for localization, and ``images_per_second``. Where no image
        has a box, the numbers that need one are absent.

    Raises:
        ValueError: An empty data set, or maps and images that make no sense.
    """
    outputs = collect(
        model, dataset, ten_crop=ten_crop, batch_size=batch_size, workers=workers, device=device
    )
    return distributed.from_first(
        lambda: score(outputs, protocol=protocol, thresholds=thresholds, threshold=threshold)
    )


def collect(
    model: nn.Module,
    dataset: Dataset,
    *,
    ten_crop: bool = False,
    batch_size: int = 64,
    workers: int = -1,
    device: str | torch.device | None = None,
    label: str = "evaluate",
) -> Outputs:
    """Run a localizer over a data set; see :func:`evaluate` for the arguments.

    Each of several processes takes every n-th batch, so that no batch is another than in one
    process; all of them get the outputs of all images.

    Args:
        model: The localizer; left in evaluation mode on ``device``.
        dataset: What to localize.
        ten_crop: Classify by ten crops.
        batch_size: Images at a time.
        workers: Processes that load images; -1 is as many as the cores allow.
        device: Where to compute.
        label: Of the progress.

    Returns:
        Maps, logits and what the data set knows.

    Raises:
        ValueError: The data set is empty.
    """
    if len(dataset) == 0:  # type: ignore[arg-type]
        raise ValueError("the data set is empty: there is nothing to evaluate")
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model.to(device).eval()
    count = len(dataset)  # type: ignore[arg-type]
    batches = data.in_order(count, batch_size)
    own = batches[distributed.rank() :: distributed.world_size()]
    loader = data.Loader(dataset, device, workers)
    image_size = int(dataset[0]["image"].shape[-1])
    masks, masked = MaskLocalization(image_size=image_size, sync_on_compute=False), 0
    parts: list[dict[str, Any]] = []
    start = time.perf_counter()
    for batch in Progress(loader(own), len(own), label, show=distributed.is_first()):
        parts.append(_localize(model, batch, ten_crop, device))
        if "mask" in batch:
            masks.update(parts[-1]["maps"], batch["mask"], batch.get("ignore"))
            masked += len(batch["mask"])
    parts, masks, masked = _join(parts, masks, masked, len(batches))
    seconds = time.perf_counter() - start
    return Outputs(
        maps=torch.cat([part["maps"] for part in parts]),
        logits=torch.cat([part["logits"] for part in parts]),
        labels=torch.cat([part["label"] for part in parts]),
        boxes=[box.numpy() for part in parts for box in part["boxes"]],
        paths=[path for part in parts for path in part["path"]],
        image_size=image_size,
        masks={k: float(v) for k, v in masks.compute().items()} if masked == count else {},
        images_per_second=count / seconds,
    )


def _join(
    parts: list[dict[str, Any]], masks: MaskLocalization, masked: int, batches: int
) -> tuple[list[dict[str, Any]], MaskLocalization, int]:
    """Put the batches of all processes in order, and add up what they know of masks."""
    world = distributed.world_size()
    if world == 1:
        return parts, masks, masked
    gathered = distributed.gather((parts, masks, masked))
    joined = [gathered[index % world][0][index // world] for index in range(batches)]
    total = gathered[0][1]
    for _, other, _ in gathered[1:]:
        total.inside, total.outside = total.inside + other.inside, total.outside + other.outside
    return joined, total, sum(count for *_, count in gathered)


@torch.inference_mode()
def _localize(
    model: nn.Module, batch: dict[str, Any], ten_crop: bool, device: torch.device
) -> dict[str, Any]:
    images, labels = batch["image"].to(device), batch["label"].to(device)  # [B, 3, S, S], [B]
    output = model(images, labels)
    logits = output.logits
    if ten_crop:  # with the labels, which change no logit, so that one graph is compiled
        scores = [model(view, labels).logits.softmax(dim=1) for view in _views(batch, images)]
        logits = torch.stack(scores).mean(dim=0).log()  # [B, C]
    kept = {k: batch[k] for k in ("label", "boxes", "path")}
    return {"maps": output.maps.float().cpu(), "logits": logits.float().cpu(), **kept}


def _views(batch: dict[str, Any], images: Tensor) -> Iterable[Tensor]:
    """The ten crops of a batch, one view [B, 3, S, S] after the other, on the device of images."""
    if "pixels" in batch:
        return data.ten_views(batch["pixels"], images.shape[-1])
    return batch["crops"].to(images.device).unbind(dim=1)


def score(
    outputs: Outputs,
    *,
    protocol: str = "sat",
    thresholds: Sequence[float] | None = None,
    threshold: float | None = None,
) -> dict[str, Any]:
    """Turn outputs into metrics; see :func:`evaluate` for the arguments and what comes back.

    Args:
        outputs: Of :func:`collect`.
        protocol: Localization protocol.
        thresholds: Candidates.
        threshold: Chosen before.

    Returns:
        Metrics by name.
    """
    numbers = classification(outputs.logits, outputs.labels)
    boxed = [index for index, boxes in enumerate(outputs.boxes) if len(boxes)]
    if boxed:
        numbers |= _localization(outputs, protocol, thresholds, threshold)
    else:
        numbers["threshold"] = DEFAULT_THRESHOLD if threshold is None else threshold
    counts = {"images": len(outputs.paths), "images_with_boxes": len(boxed)}
    speed = {"images_per_second": outputs.images_per_second}
    return {**numbers, **outputs.masks, **counts, **speed}


def classification(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Top-1 and Top-5 accuracy.

    Args:
        logits: [N, C].
        labels: int [N].

    Returns:
        ``top1_cls`` and ``top5_cls``, percent.
    """
    ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]  # [N, 5]
    first, any_of_five = ranked[:, 0].double().mean(), ranked.any(dim=1).double().mean()
    return {"top1_cls": 100 * float(first), "top5_cls": 100 * float(any_of_five)}


def _localization(
    outputs: Outputs,
    protocol: str,
    thresholds: Sequence[float] | None,
    threshold: float | None,
) -> dict[str, float]:
    """What needs boxes, over the images that have some."""
    grid = (thresholds or None) if threshold is None else [threshold]
    metric = _box_metric(outputs, protocol, grid)
    values = metric.compute() if threshold is None else metric.at(threshold)
    numbers = {k: float(v) for k, v in values.items() if not k.endswith("_cls")}
    boxes = [found for found in outputs.boxes if len(found)]
    return {**numbers, **full_image_box(boxes, outputs.image_size)}


def _box_metric(
    outputs: Outputs, protocol: str, thresholds: Sequence[float] | None
) -> BoxLocalization:
    """The box metric of all images that have boxes."""
    boxed = [index for index, boxes in enumerate(outputs.boxes) if len(boxes)]
    metric = BoxLocalization(
        protocol=protocol,
        thresholds=thresholds,
        image_size=outputs.image_size,
        sync_on_compute=False,  # the outputs are those of all processes already
    )
    boxes = [outputs.boxes[index] for index in boxed]
    metric.update(outputs.maps[boxed], boxes, outputs.logits[boxed], outputs.labels[boxed])
    return metric


def threshold_curve(outputs: Outputs, *, protocol: str = "sat") -> pd.DataFrame:
    """Localization accuracy over the threshold (Fig. 7).

    Args:
        outputs: Of :func:`collect`, some with boxes.
        protocol: Localization protocol.

    Returns:
        ``threshold`` 0.01 … 0.99, ``gt_known`` and ``top1_loc`` in percent.
    """
    grid = np.arange(1, 100) / 100
    metric = _box_metric(outputs, protocol, grid.tolist())
    curves = metric.curves()
    return pd.DataFrame({name: curves[name] for name in ("threshold", "gt_known", "top1_loc")})


def full_image_box(boxes: Sequence[np.ndarray], image_size: int) -> dict[str, float]:
    """Accuracy of the trivial prediction, the box of the whole image.

    Args:
        boxes: N arrays [n, 4] of true boxes, pixels.
        image_size: Side of the image, pixels.

    Returns:
        ``full_image@0.3``, ``@0.5`` and ``@0.7``: percent of images with an IoU of at least that.
    """
    frame = np.array([[0, 0, image_size, image_size]])
    best = np.array([iou(frame, true).max(initial=0.0) for true in boxes])
    return {f"full_image@{delta}": float((best >= delta).mean() * 100) for delta in DELTAS}


def predictions(outputs: Outputs, *, protocol: str, threshold: float) -> pd.DataFrame:
    """One row an image: what was predicted, and how good it is.

    Args:
        outputs: Of :func:`collect`.
        protocol: Localization protocol.
        threshold: On the maps, 0–1.

    Returns:
        ``path label predicted top5 iou x0 y0 x1 y1``; boxes half-open in pixels of the crop.
    """
    found = component_boxes(outputs.maps, [threshold], protocol=protocol, size=outputs.image_size)
    found = np.asarray(found)[:, 0]  # [N, 4]
    ranked = outputs.logits.topk(min(5, outputs.logits.shape[1]), dim=1).indices  # [N, 5]
    best = [
        float(iou(box[None], true).max(initial=0.0))
        for box, true in zip(found, outputs.boxes, strict=True)
    ]
    return pd.DataFrame(
        {
            "path": outputs.paths,
            "label": outputs.labels.numpy(),
            "predicted": ranked[:, 0].numpy(),
            "top5": (ranked == outputs.labels[:, None]).any(dim=1).numpy(),
            "iou": np.round(best, 6),
            **{name: found[:, i] for i, name in enumerate(("x0", "y0", "x1", "y1"))},
        }
    )
