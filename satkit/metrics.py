"""Localization metrics: boxes against boxes, maps against masks.

Both are torchmetrics Metrics whose states are plain counts, so they add up over batches and
processes, and the result does not depend on how the data were split. All results are percent.

Sources: the paper, Sec. 4.1 (Top-1/Top-5/GT-known localization, MaxBoxAccV2, pIoU, PxAP), the
authors' evaluator (protocol ``"sat"``), Choe et al., «Evaluating Weakly Supervised Object
Localization Methods Right», CVPR 2020 (protocol ``"wsoleval"``, PxAP; MaxBoxAccV2 is in its journal
version, arXiv 2007.04178), and the evaluation of Gao et al., «TS-CAM», ICCV 2021 (protocol
``"tscam"``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from satkit import _engine
from satkit._cv2 import cv2
from satkit.boxes import (
    Array,
    best_ious,
    check_boxes,
    check_maps,
    check_thresholds,
    in_parallel,
    prepare_maps,
    to_numpy,
)
from satkit.choices import check_choice

DELTAS = (0.3, 0.5, 0.7)
FEW = 4  # maps that are made large together
DEFAULT_THRESHOLDS = {
    "sat": (0.3, 0.35, 0.4, 0.45),
    "wsoleval": tuple(float(t) for t in np.arange(0, 1, 0.001)),
    "tscam": (0.1, 0.12),  # TS-CAM's for CUB-200 and ImageNet
}


class BoxLocalization(Metric):
    """Localization accuracy of boxes drawn from maps.

    An image is *hit* at threshold τ and overlap δ if the IoU (official convention, see
    `satkit.boxes.iou`) of the map's box with any of its ground-truth boxes is at least δ. One
    threshold is shared by the whole data set; choosing it per image would inflate the result.

    `compute` returns these scalars, in percent except ``threshold``:

    ``top1_cls``, ``top5_cls``
        Classification accuracy. NaN without logits, like ``top1_loc`` and ``top5_loc``.
    ``gt_known``
        Images hit at δ = 0.5.
    ``top1_loc``, ``top5_loc``
        Images hit at δ = 0.5 whose label is the first, or among the first five, of the logits.
        (The box is that of the given map for both.)
    ``max_box_acc@0.3``, ``@0.5``, ``@0.7``, ``max_box_acc_v2``
        See the protocols.
    ``threshold``
        The τ at which the above are read.

    Protocol ``"sat"``: four thresholds 0.30, 0.35, 0.40, 0.45; everything is read at the one with
    the largest ``gt_known + top1_loc`` (``gt_known`` alone without logits; the first of equal
    ones). ``max_box_acc@δ`` is the accuracy at that one threshold, and ``max_box_acc_v2`` the mean
    of the three, which is what the paper calls MaxBoxAccV2.

    Protocol ``"wsoleval"``: 1000 thresholds 0, 0.001, …; ``max_box_acc@δ`` is the best accuracy
    over the thresholds, each δ with its own; ``max_box_acc_v2`` is the mean of three such maxima
    where the best of *all* contours counts, not only the largest. ``gt_known``, ``top1_loc`` and
    ``top5_loc`` are read at the threshold that is best for δ = 0.5 (so ``gt_known`` equals
    ``max_box_acc@0.5``).

    Protocol ``"tscam"``: the two thresholds that TS-CAM's authors use, 0.10 (CUB-200) and 0.12
    (ImageNet), everything read at the one with the largest ``gt_known``, and ``max_box_acc`` as
    under ``"sat"``; give one of them as ``thresholds`` to do as they do. ``top1_loc`` and
    ``top5_loc`` need an IoU *above* 0.5, ``gt_known`` one of at least 0.5. TS-CAM draws a box for
    each of the five predicted classes from that class's own map; such a box only counts if its
    class is the label, and then its map is the label's. So the maps of the labels' classes, as
    localizers give them to the evaluator, are all that is needed.

    All choose the threshold on the data they score. To choose it on held-out data, compute there
    and pass its ``threshold`` to `at` here.

    Args:
        protocol: ``"sat"``, ``"wsoleval"`` or ``"tscam"``: also how maps are resized and scaled,
            see `satkit.boxes.prepare_maps`.
        thresholds: Numbers in 0–1; None: as the protocol says.
        image_size: Side in pixels of the (square) evaluated crop, to which boxes refer.
        keep_ious: Keep the IoU of each image at each threshold, for `ious`.
        **kwargs: Passed to `torchmetrics.Metric`.

    Raises:
        ValueError: Unknown protocol, thresholds outside 0–1, image size below 1.

    Example:
        >>> metric = BoxLocalization(protocol="sat", image_size=8)
        >>> maps = torch.zeros(1, 8, 8)
        >>> maps[0, 2:5, 1:7] = 1
        >>> metric.update(maps, boxes=[torch.tensor([[1, 2, 6, 4]])])
        >>> float(metric.compute()["gt_known"])
        100.0
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    hits: Tensor
    hits_all: Tensor
    loc: Tensor
    cls: Tensor
    count: Tensor
    classified: Tensor
    kept: list[Tensor]

    def __init__(
        self,
        protocol: str = "sat",
        thresholds: Sequence[float] | Array | None = None,
        image_size: int = 224,
        keep_ious: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice("protocol", protocol, DEFAULT_THRESHOLDS)
        if image_size < 1:
            raise ValueError(f"image_size is {image_size}; expected a number of pixels >= 1")
        chosen = DEFAULT_THRESHOLDS[protocol] if thresholds is None else thresholds
        self.protocol = protocol
        self.thresholds = check_thresholds(chosen)
        self.image_size = image_size
        self.keep_ious = keep_ious
        count = len(self.thresholds)
        self._add_counts("hits", count, len(DELTAS))  # of the largest component
        self._add_counts("hits_all", count, len(DELTAS))  # of the best component (wsoleval)
        self._add_counts("loc", count, 2)  # hit at 0.5 and class among the first 1, 5
        self._add_counts("cls", 2)  # class among the first 1, 5
        self._add_counts("count")
        self._add_counts("classified")
        self.add_state("kept", default=[], dist_reduce_fx="cat")

    def _add_counts(self, name: str, *shape: int) -> None:
        self.add_state(name, torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        maps: Array,
        boxes: Sequence[Array],
        logits: Array | None = None,
        labels: Array | None = None,
    ) -> None:
        """Add a batch.

        Args:
            maps: Float [B, h, w], as the model gives them, of any size and range.
            boxes: B arrays [n_i, 4] with n_i >= 1, xyxy in pixels of the evaluated crop. A box
                outside the crop or with its end before its start cannot be hit.
            logits: Float [B, C], or None in every batch.
            labels: Int [B], with ``logits``.

        Raises:
            ValueError: Maps that are not [B, h, w] or not finite; another number of boxes, logits
                or labels than maps; an image without boxes; logits without labels or labels
                without logits; logits that are not finite; a label outside 0 … C − 1; logits in
                some batches only.
        """
        truth = check_boxes(boxes, len(maps))
        ranked = self._rank(logits, labels, len(maps))
        ious = self._best_ious(maps, truth)  # [S, B, T]
        self._count(self.hits, [(ious[0] >= delta).sum(axis=0) for delta in DELTAS])
        if len(ious) > 1:
            self._count(self.hits_all, [(ious[1] >= delta).sum(axis=0) for delta in DELTAS])
        self.count += len(truth)
        if ranked is not None:
            self.classified += len(truth)
            self.cls += ranked.sum(dim=0).to(self.cls.device)
            found = ious[0] > 0.5 if self.protocol == "tscam" else ious[0] >= 0.5  # [B, T]
            self._count(self.loc, [found[chosen].sum(axis=0) for chosen in ranked.numpy().T])
        if self.keep_ious:
            self.kept.append(torch.from_numpy(ious[0]).to(self.hits.device))

    def _best_ious(self, maps: Array, truth: list[np.ndarray]) -> np.ndarray:
        """IoUs [S, B, T] of the largest component and, under "wsoleval", of the best of all."""
        selects = ("largest", "all") if self.protocol == "wsoleval" else ("largest",)
        size = self.image_size
        return best_ious(maps, self.thresholds, truth, selects, self.protocol, size=size)

    def _count(self, state: Tensor, columns: list[np.ndarray]) -> None:
        """Add columns of counts, each [T], to a state [T, columns]."""
        state += torch.from_numpy(np.stack(columns, axis=1)).to(state.device)

    def _rank(self, logits: Array | None, labels: Array | None, count: int) -> Tensor | None:
        """Whether the label is the first, and among the first five, of the logits: bool [B, 2]."""
        if (logits is None) != (labels is None):
            given, other = ("labels", "logits") if logits is None else ("logits", "labels")
            raise ValueError(f"{given} were given without {other}; pass both or neither")
        if int(self.count) > 0 and (int(self.classified) > 0) != (logits is not None):
            raise ValueError(
                "some batches came with logits and some without; pass them always or never"
            )
        if logits is None or labels is None:
            return None
        scores = torch.from_numpy(to_numpy(logits))
        target = torch.from_numpy(to_numpy(labels)).long()
        if scores.ndim != 2 or len(scores) != count or target.shape != (count,):
            raise ValueError(
                f"logits {list(scores.shape)} and labels {list(target.shape)} do not fit "
                f"{count} maps; expected [{count}, C] and [{count}]"
            )
        if not bool(scores.isfinite().all()):
            raise ValueError("logits hold NaN or infinity; expected finite values")
        outside = target[(target < 0) | (target >= scores.shape[1])]
        if len(outside):
            raise ValueError(f"label {int(outside[0])} is outside 0–{scores.shape[1] - 1}")
        top = scores.topk(min(5, scores.shape[1]), dim=1).indices  # [B, <=5]
        match = top == target[:, None]
        return torch.stack([match[:, 0], match.any(dim=1)], dim=1)

    def compute(self) -> dict[str, Tensor]:
        """Results at the threshold that the protocol chooses on these data.

        Returns:
            Float64 scalars; keys as the class describes.

        Raises:
            ValueError: No images were added.
        """
        curves = self.curves()
        score = curves["gt_known"]
        if self.protocol == "sat" and int(self.classified):
            score = score + curves["top1_loc"]
        return self._read(curves, int(score.argmax()), best=True)

    def at(self, threshold: float) -> dict[str, Tensor]:
        """Results at a given threshold, for instance one that was chosen on held-out data.

        Nothing is chosen here: under ``"wsoleval"`` too, ``max_box_acc@δ`` and ``max_box_acc_v2``
        are accuracies at this one threshold.

        Args:
            threshold: One of the metric's thresholds.

        Returns:
            As `compute`.

        Raises:
            ValueError: A threshold that the metric does not have; no images were added.
        """
        return self._read(self.curves(), self._index(threshold), best=False)

    def curves(self) -> dict[str, Tensor]:
        """Accuracies at every threshold.

        Returns:
            Float64 [T] in percent: ``gt_known``, ``top1_loc``, ``top5_loc`` (NaN without logits),
            ``box_acc@0.3``, ``@0.5``, ``@0.7`` and, under ``"wsoleval"``, ``box_acc_all@…`` for
            the best of all contours; and ``threshold``.

        Raises:
            ValueError: No images were added.
        """
        if int(self.count) == 0:
            raise ValueError("no images were added; call update before compute")
        hits, loc = self._percent(self.hits), self._percent(self.loc)
        if int(self.classified) == 0:
            loc = torch.full_like(loc, float("nan"))
        curves = {"threshold": torch.from_numpy(self.thresholds).to(hits.device)}
        curves |= {"gt_known": hits[:, 1], "top1_loc": loc[:, 0], "top5_loc": loc[:, 1]}
        curves |= {f"box_acc@{d}": hits[:, i] for i, d in enumerate(DELTAS)}
        if self.protocol == "wsoleval":
            every = self._percent(self.hits_all)
            curves |= {f"box_acc_all@{d}": every[:, i] for i, d in enumerate(DELTAS)}
        return curves

    def ious(self, threshold: float | None = None) -> Tensor:
        """IoU of each image (largest component, best ground-truth box) at one threshold.

        Args:
            threshold: One of the metric's thresholds; None: the one that `compute` chooses.

        Returns:
            Float64 [N], in the order in which images were added.

        Raises:
            ValueError: The metric was made without ``keep_ious``, has no such threshold, or no
                images were added.
        """
        if not self.keep_ious:
            raise ValueError("IoUs were not kept; make the metric with keep_ious=True")
        chosen = float(self.compute()["threshold"]) if threshold is None else threshold
        kept = self.kept if isinstance(self.kept, list) else [self.kept]  # a tensor after a sync
        return torch.cat(kept)[:, self._index(chosen)]

    def _index(self, threshold: float) -> int:
        near = int(np.abs(self.thresholds - threshold).argmin())
        if not abs(self.thresholds[near] - threshold) < 1e-6:
            raise ValueError(
                f"threshold {threshold:g} is not among the metric's; "
                f"the nearest is {self.thresholds[near]:g}"
            )
        return near

    def _percent(self, counts: Tensor) -> Tensor:
        return 100 * counts.double() / self.count.double()

    def _read(self, curves: dict[str, Tensor], index: int, best: bool) -> dict[str, Tensor]:
        """Scalars at one threshold; where ``best``, wsoleval's maxima over all thresholds."""

        def accuracies(name: str) -> Tensor:
            rows = [curves[f"{name}@{d}"] for d in DELTAS]
            own = best and self.protocol == "wsoleval"
            return torch.stack([row.max() if own else row[index] for row in rows])

        cls = self._percent(self.cls)
        if int(self.classified) == 0:
            cls = torch.full_like(cls, float("nan"))
        single = accuracies("box_acc")
        v2 = accuracies("box_acc_all") if self.protocol == "wsoleval" else single
        result = {"top1_cls": cls[0], "top5_cls": cls[1]}
        result |= {k: curves[k][index] for k in ("top1_loc", "top5_loc", "gt_known")}
        result |= {"max_box_acc_v2": v2.mean()}
        result |= {f"max_box_acc@{d}": single[i] for i, d in enumerate(DELTAS)}
        return result | {"threshold": curves["threshold"][index]}


class MaskLocalization(Metric):
    """Pixel accuracy of maps against masks: PxAP and pIoU.

    Maps are resized bicubically and then scaled to 0–1 each (as ``"wsoleval"``). At a threshold
    τ, a pixel is predicted as object if its value is at least τ; true and false positives are
    pooled over all images. `compute` returns, in percent except the last:

    ``pxap``
        Area under the pooled precision–recall curve, Σ precision(τ) · Δrecall(τ) (Choe et al.,
        Sec. 4.2).
    ``piou``
        The best pooled IoU over the thresholds, TP / (TP + FP + FN). (Not the mean of each
        image's best, which is higher.)
    ``piou_threshold``
        The τ at which it is reached.

    Args:
        thresholds: Numbers in 0–1 in ascending order, the first 0; None: 0, 0.001, … 0.999.
        image_size: Side in pixels at which maps and masks are compared.
        **kwargs: Passed to `torchmetrics.Metric`.

    Raises:
        ValueError: Thresholds outside 0–1, not ascending or not from 0; image size below 1.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    inside: Tensor
    outside: Tensor

    def __init__(
        self,
        thresholds: Sequence[float] | Array | None = None,
        image_size: int = 224,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        chosen = DEFAULT_THRESHOLDS["wsoleval"] if thresholds is None else thresholds
        self.thresholds = check_thresholds(chosen)
        if self.thresholds[0] != 0 or (np.diff(self.thresholds) <= 0).any():
            raise ValueError("mask thresholds must ascend from 0, so that every pixel is counted")
        if image_size < 1:
            raise ValueError(f"image_size is {image_size}; expected a number of pixels >= 1")
        self.image_size = image_size
        self.edges = np.append(self.thresholds, 1.0) if self.thresholds[-1] < 1 else self.thresholds
        bins = torch.zeros(len(self.edges), dtype=torch.int64)
        self.add_state("inside", bins.clone(), dist_reduce_fx="sum")  # object pixels by value
        self.add_state("outside", bins.clone(), dist_reduce_fx="sum")  # other pixels by value

    def update(self, maps: Array, masks: Array, ignore: Array | None = None) -> None:
        """Add a batch.

        Args:
            maps: Float [B, h, w], of any size and range.
            masks: Bool (or 0/1) [B, H, W]; another size than the metric's is resized (nearest).
            ignore: Bool [B, H, W], pixels that do not count; the mask takes precedence.

        Raises:
            ValueError: Maps that are not [B, h, w] or not finite; masks or ignore regions that
                are not [B, H, W].
        """
        values = check_maps(maps)
        mask = _resized_masks(masks, self.image_size, len(values), "masks")
        counted = np.ones_like(mask)
        if ignore is not None:
            counted = mask | ~_resized_masks(ignore, self.image_size, len(values), "ignore")
        parts: list[np.ndarray] = []  # [2, T] each

        def count(part: slice) -> None:
            for i in range(part.start, part.stop, FEW):  # so large maps stay in the cache
                few = slice(i, min(i + FEW, part.stop))
                prepared = prepare_maps(values[few], self.image_size, "wsoleval")
                parts.append(_engine.histograms(prepared, mask[few], counted[few], self.edges))

        in_parallel(count, len(values))
        outside, inside = torch.from_numpy(np.sum(parts, axis=0))
        self.outside += outside.to(self.outside.device)
        self.inside += inside.to(self.inside.device)

    def compute(self) -> dict[str, Tensor]:
        """Results over all pixels that were added.

        Returns:
            Float64 scalars ``pxap``, ``piou`` (percent) and ``piou_threshold``.

        Raises:
            ValueError: No object pixels were added.
        """
        curves = self.curves()
        best = int(curves["iou"].argmax())
        precision, recall = curves["precision"].flip(0), curves["recall"].flip(0)
        steps = torch.diff(recall, prepend=recall.new_zeros(1))  # from the top threshold down
        return {
            "pxap": (precision * steps).sum() / 100,
            "piou": curves["iou"][best],
            "piou_threshold": curves["threshold"][best],
        }

    def curves(self) -> dict[str, Tensor]:
        """Pooled pixel scores at every threshold.

        Returns:
            Float64 [T], or [T + 1] as 1 is always among the thresholds: ``threshold``, and in
            percent ``precision`` (0 where nothing is predicted), ``recall`` and ``iou``.

        Raises:
            ValueError: No object pixels were added.
        """
        objects = self.inside.sum().double()
        if objects == 0:
            raise ValueError("no object pixels were added; call update with masks before compute")
        true = self.inside.flip(0).cumsum(0).flip(0).double()  # [T], pixels >= threshold
        false = self.outside.flip(0).cumsum(0).flip(0).double()
        return {
            "threshold": torch.from_numpy(self.edges).to(true.device),
            "precision": 100 * true / (true + false).clamp(min=1),
            "recall": 100 * true / objects,
            "iou": 100 * true / (objects + false),
        }


def _resized_masks(masks: Array, size: int, count: int, name: str) -> np.ndarray:
    """Masks as bool [B, size, size], resized by nearest neighbour."""
    values = to_numpy(masks)
    values = values if values.dtype == bool else values > 0.5
    if values.ndim != 3 or len(values) != count or 0 in values.shape[1:]:
        raise ValueError(
            f"{name} have shape {values.shape}; expected [{count}, H, W], one for each map"
        )
    if values.shape[1:] == (size, size):
        return values
    resized = [
        cv2.resize(v.view(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST) for v in values
    ]
    return np.array(resized, np.uint8).reshape(-1, size, size) > 0
