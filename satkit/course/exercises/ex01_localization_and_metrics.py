"""Exercises on boxes and metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from satkit import boxes
from satkit.course.checks import Arguments, CheckFailed, Exercise, Misconception, Trial, plain

DELTAS = (0.3, 0.5, 0.7)


# --------------------------------------------------------------------------------------------------
# iou
# --------------------------------------------------------------------------------------------------


def _iou(a: np.ndarray, b: np.ndarray, extra: float = 0.0) -> float:
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]) + extra, 0, None)
    common = sides.prod()
    areas = [(box[2:] - box[:2] + extra).prod() for box in (a, b)]
    return float(common / (sum(areas) - common))


def _iou_union_twice(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    return float(sides.prod() / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()))


def _iou_unclipped(a: np.ndarray, b: np.ndarray) -> float:
    common = (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).prod()
    return float(common / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - common))


def _iou_clipped_product(a: np.ndarray, b: np.ndarray) -> float:
    common = max(0.0, (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).prod())
    return float(common / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - common))


def _iou_last_pixel(a: np.ndarray, b: np.ndarray) -> float:
    return _iou(a, b, extra=1.0)


def _iou_enclosing(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    return float(sides.prod() / (np.maximum(a[2:], b[2:]) - np.minimum(a[:2], b[:2])).prod())


def _iou_percent(a: np.ndarray, b: np.ndarray) -> float:
    return 100 * _iou(a, b)


def _pairs(rng: np.random.Generator) -> Iterator[Arguments]:
    for _ in range(8):
        corners = rng.uniform(0, 100, (2, 2, 2)).round(1)
        first, second = np.concatenate([corners.min(1), corners.max(1)], axis=1)
        yield first, second
    yield np.array([0.0, 0.0, 2.0, 2.0]), np.array([0.0, 0.0, 2.0, 2.0])
    yield np.array([0.0, 0.0, 1.0, 1.0]), np.array([2.0, 2.0, 4.0, 4.0])  # apart in x and in y


# --------------------------------------------------------------------------------------------------
# convention_flip
# --------------------------------------------------------------------------------------------------


IOUS = ("IoU half-open", "IoU with the + 1")


def _verdicts(pair: Any) -> dict[str, bool | float]:
    """Whether a pair of boxes counts as right under each convention, and its IoUs."""
    ends = np.asarray(pair, dtype=float)
    if ends.shape != (2, 4) or (ends[:, 2:] <= ends[:, :2]).any() or (ends % 1 != 0).any():
        raise CheckFailed(
            f"convention_flip is {plain(pair)!r}; expected two boxes of four whole numbers each, "
            "((x0, y0, x1, y1), (x0, y0, x1, y1)), with x1 > x0 and y1 > y0"
        )
    half_open, official = (
        float(boxes.iou(ends[:1], ends[1:], convention)[0, 0])
        for convention in ("half_open", "official")
    )
    verdicts = {"half_open": half_open >= 0.5, "official": official >= 0.5}
    return verdicts | dict(zip(IOUS, (half_open, official), strict=True))


def _both_ious(trial: Trial) -> str:
    half_open, official = (trial.given[key] for key in IOUS)
    return f"The IoU is {half_open:.3f} half-open and {official:.3f} with the + 1."


# --------------------------------------------------------------------------------------------------
# gt_known and max_box_acc_v2: tables of IoUs [N images, T thresholds]
# --------------------------------------------------------------------------------------------------


def _gt_known(held_out: np.ndarray, test: np.ndarray) -> float:
    chosen = (held_out >= 0.5).mean(axis=0).argmax()
    return float(100 * (test[:, chosen] >= 0.5).mean())


def _gt_known_each(held_out: np.ndarray, test: np.ndarray) -> float:
    return float(100 * (test.max(axis=1) >= 0.5).mean())


def _gt_known_on_test(held_out: np.ndarray, test: np.ndarray) -> float:
    return float(100 * (test >= 0.5).mean(axis=0).max())


def _gt_known_scored_held_out(held_out: np.ndarray, test: np.ndarray) -> float:
    return float(100 * (held_out >= 0.5).mean(axis=0).max())


def _gt_known_by_mean(held_out: np.ndarray, test: np.ndarray) -> float:
    return float(100 * (test[:, held_out.mean(axis=0).argmax()] >= 0.5).mean())


def _gt_known_above(held_out: np.ndarray, test: np.ndarray) -> float:
    chosen = (held_out > 0.5).mean(axis=0).argmax()
    return float(100 * (test[:, chosen] > 0.5).mean())


def _gt_known_over_thresholds(held_out: np.ndarray, test: np.ndarray) -> float:
    chosen = (held_out >= 0.5).mean(axis=1).argmax()
    return float(100 * (test[:, chosen] >= 0.5).mean())


def _gt_known_of_an_image(held_out: np.ndarray, test: np.ndarray) -> float:
    chosen = (held_out >= 0.5).mean(axis=1).argmax()
    return float(100 * (test[chosen] >= 0.5).mean())


def _mean_iou(held_out: np.ndarray, test: np.ndarray) -> float:
    return float(100 * test[:, (held_out >= 0.5).mean(axis=0).argmax()].mean())


def _ious(rng: np.random.Generator, images: int) -> np.ndarray:
    """IoUs in steps of 0.05, so that some are exactly 0.3, 0.5 or 0.7."""
    return rng.integers(0, 21, (images, 7)) / 20


def _two_tables(rng: np.random.Generator) -> Iterator[Arguments]:
    for _ in range(16):
        yield _ious(rng, 30), _ious(rng, 40)


def _accuracies(ious: np.ndarray) -> np.ndarray:
    """Percent of images right, [3 deltas, T]."""
    return np.array([100 * (ious >= delta).mean(axis=0) for delta in DELTAS])


def _max_box_acc_v2(ious: np.ndarray) -> float:
    return float(_accuracies(ious).max(axis=1).mean())


def _v2_at_half(ious: np.ndarray) -> float:
    curves = _accuracies(ious)
    return float(curves[:, curves[1].argmax()].mean())


def _v2_one_threshold(ious: np.ndarray) -> float:
    return float(_accuracies(ious).mean(axis=0).max())


def _v2_each_image(ious: np.ndarray) -> float:
    best = ious.max(axis=1)
    return float(np.mean([100 * (best >= delta).mean() for delta in DELTAS]))


def _v2_over_thresholds(ious: np.ndarray) -> float:
    return float(np.mean([100 * (ious >= delta).mean(axis=1).max() for delta in DELTAS]))


def _v1(ious: np.ndarray) -> float:
    return float(_accuracies(ious)[1].max())


def _one_table(rng: np.random.Generator) -> Iterator[Arguments]:
    for _ in range(24):
        yield (_ious(rng, 40),)


# --------------------------------------------------------------------------------------------------
# pxap
# --------------------------------------------------------------------------------------------------


def _precision_recall(
    maps: np.ndarray, masks: np.ndarray, levels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    hits = np.array([(masks & (maps >= level)).sum() for level in levels])
    claimed = np.array([(maps >= level).sum() for level in levels])
    return hits / claimed, hits / masks.sum()


def _pxap(maps: np.ndarray, masks: np.ndarray, levels: np.ndarray) -> float:
    precision, recall = _precision_recall(maps, masks, levels)
    return float(100 * (precision * -np.diff(recall, append=0)).sum())


def _pxap_each_image(maps: np.ndarray, masks: np.ndarray, levels: np.ndarray) -> float:
    pairs = zip(maps, masks, strict=True)
    return float(np.mean([_pxap(one[None], mask[None], levels) for one, mask in pairs]))


def _pxap_negative(maps: np.ndarray, masks: np.ndarray, levels: np.ndarray) -> float:
    return -_pxap(maps, masks, levels)


def _pxap_mean_precision(maps: np.ndarray, masks: np.ndarray, levels: np.ndarray) -> float:
    return float(100 * _precision_recall(maps, masks, levels)[0].mean())


def _pxap_without_last(maps: np.ndarray, masks: np.ndarray, levels: np.ndarray) -> float:
    precision, recall = _precision_recall(maps, masks, levels)
    return float(100 * (precision[:-1] * -np.diff(recall)).sum())


def _pxap_trapezoid(
    precision_at_end: float | None,
) -> Callable[[np.ndarray, np.ndarray, np.ndarray], float]:
    """Area under straight lines, down to recall 0 at some precision; None where it stops before."""

    def area(maps: np.ndarray, masks: np.ndarray, levels: np.ndarray) -> float:
        precision, recall = _precision_recall(maps, masks, levels)
        if precision_at_end is not None:
            precision, recall = np.append(precision, precision_at_end), np.append(recall, 0)
        return float(100 * ((precision[:-1] + precision[1:]) / 2 * -np.diff(recall)).sum())

    return area


def _pxap_upper(
    precision_at_end: float | None,
) -> Callable[[np.ndarray, np.ndarray, np.ndarray], float]:
    """Each step of recall at the precision of its upper level; None leaves out the last step."""

    def area(maps: np.ndarray, masks: np.ndarray, levels: np.ndarray) -> float:
        precision, recall = _precision_recall(maps, masks, levels)
        if precision_at_end is not None:
            precision, recall = np.append(precision, precision_at_end), np.append(recall, 0)
        return float(100 * (precision[1:] * -np.diff(recall)).sum())

    return area


def _pxap_above(maps: np.ndarray, masks: np.ndarray, levels: np.ndarray) -> float:
    above = [maps > level for level in levels]
    hits = np.array([(masks & one).sum() for one in above])
    claimed = np.array([one.sum() for one in above])
    recall = hits / masks.sum()
    return float(100 * (hits / claimed.clip(1) * -np.diff(recall, append=0)).sum())


def _pxap_undefined(maps: np.ndarray, masks: np.ndarray, levels: np.ndarray) -> float:
    return float("nan")


def _piou(maps: np.ndarray, masks: np.ndarray, levels: np.ndarray) -> float:
    above = [maps >= level for level in levels]
    return float(100 * max((masks & one).sum() / (masks | one).sum() for one in above))


def _maps_and_masks(rng: np.random.Generator) -> Iterator[Arguments]:
    levels = np.append(np.arange(10) / 10, 1.0)
    for _ in range(3):
        masks = np.zeros((4, 12, 12), bool)
        for mask in masks:
            top, left = rng.integers(0, 4, 2)
            height, width = rng.integers(4, 9, 2)
            mask[top : top + height, left : left + width] = True
        maps = 0.6 * masks + rng.uniform(0, 1, masks.shape)
        low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
        maps = np.rint(20 * (maps - low) / (high - low)) / 20  # some are exactly at a level
        yield maps, masks, levels


EXERCISES = (
    Exercise(
        name="iou",
        title="Intersection over union",
        difficulty=1,
        importance=3,
        minutes=10,
        points=2,
        reference=_iou,
        idea="IoU is the common area over the area that at least one box covers.",
        misconceptions=(
            Misconception(
                "the common area is counted twice",
                "Both areas contain the common part, so their sum counts it twice: the union is "
                "area(a) + area(b) − common.",
                _iou_union_twice,
            ),
            Misconception(
                "boxes that are apart seem to overlap",
                "A negative side means that the boxes do not touch; two negative sides give a "
                "positive product. Clip each side at 0 before you multiply.",
                _iou_unclipped,
                also=(_iou_clipped_product,),
            ),
            Misconception(
                "a last column and row are added",
                "Here boxes are half-open, so a width is x1 − x0. The + 1 belongs to programs that "
                "count the end as part of the box; the next exercise shows what it does.",
                _iou_last_pixel,
            ),
            Misconception(
                "the union is taken for the box around both",
                "The box that encloses both also has corners that neither covers. The union is "
                "area(a) + area(b) − common.",
                _iou_enclosing,
            ),
            Misconception(
                "percent are given",
                "IoU is a share between 0 and 1.",
                _iou_percent,
            ),
        ),
        cases=_pairs,
    ),
    Exercise(
        name="convention_flip",
        title="A pair that two programs judge differently",
        difficulty=2,
        importance=2,
        minutes=15,
        points=2,
        reference=((0, 0, 3, 3), (0, 0, 2, 2)),  # 4 / 9, and 9 / 16 with a pixel more
        idea="Look for an IoU just below 0.5 that one pixel more on each side lifts over it.",
        misconceptions=(
            Misconception(
                "both conventions call this pair right",
                "Both IoUs are at least 0.5, and exactly 0.5 counts as right, too. Make the "
                "half-open IoU a little smaller: it has to be below 0.5.",
                ((0, 0, 4, 4), (0, 0, 4, 2)),
                seen=_both_ious,
            ),
            Misconception(
                "both conventions call this pair wrong",
                "Both IoUs are below 0.5. Small or thin boxes change most with the + 1 (that is "
                "why small objects suffer from a mix of conventions); bring the half-open IoU "
                "closer to 0.5.",
                ((0, 0, 200, 200), (0, 0, 100, 190)),
                seen=_both_ious,
            ),
        ),
        run=_verdicts,
        noted=IOUS,
    ),
    Exercise(
        name="gt_known",
        title="GT-known Loc without looking",
        difficulty=2,
        importance=3,
        minutes=20,
        points=4,
        reference=_gt_known,
        idea="Choose the column with the most hits (IoU ≥ 0.5) on the held-out images, the first "
        "of equals; then count the hits in that column of the test images, in percent.",
        misconceptions=(
            Misconception(
                "each image has a threshold of its own",
                "The best threshold of an image is known only to who knows its true box, so this "
                "score is inflated. One threshold serves the whole data set.",
                _gt_known_each,
            ),
            Misconception(
                "the threshold is chosen on the test images",
                "A maximum over the test images is not a measurement of them. Choose the threshold "
                "on the held-out images, then look at the test images once.",
                _gt_known_on_test,
            ),
            Misconception(
                "the score is that of the held-out images",
                "The held-out images have chosen the threshold, so they cannot be the judges, too. "
                "Score the test images at the threshold chosen.",
                _gt_known_scored_held_out,
            ),
            Misconception(
                "the threshold is that of the best mean IoU",
                "GT-known Loc counts hits. Choose the threshold by the measure that is reported: "
                "the share of held-out images with IoU ≥ 0.5.",
                _gt_known_by_mean,
            ),
            Misconception(
                "the mean runs over thresholds, not images",
                "Rows are images. Average over them (axis=0), and you get one number for each "
                "threshold; axis=1 gives one for each image.",
                _gt_known_over_thresholds,
                also=(_gt_known_of_an_image,),
            ),
            Misconception(
                "an IoU of exactly 0.5 is called wrong",
                "A box is right from 0.5 on: IoU ≥ δ, not IoU > δ.",
                _gt_known_above,
            ),
            Misconception(
                "the mean IoU is returned",
                "GT-known Loc is the share of images whose IoU is at least 0.5, not the mean of "
                "the IoUs.",
                _mean_iou,
            ),
            Misconception(
                "a share is returned, not percent",
                "The answer is asked in percent: 100 times the share of images.",
                lambda held_out, test: _gt_known(held_out, test) / 100,
            ),
        ),
        cases=_two_tables,
    ),
    Exercise(
        name="max_box_acc_v2",
        title="MaxBoxAccV2 from a table of IoUs",
        difficulty=2,
        importance=2,
        minutes=15,
        points=3,
        reference=_max_box_acc_v2,
        idea="For each δ, take the best accuracy over the thresholds; then take the mean of three.",
        misconceptions=(
            Misconception(
                "one threshold serves all three δ",
                "MaxBoxAccV2 is a mean of maxima: each δ takes its own best threshold. At the one "
                "that is best for δ = 0.5, as in the authors' program, the number is another.",
                _v2_at_half,
            ),
            Misconception(
                "the maximum is taken after the mean",
                "The order matters: first the maximum over thresholds for each δ, then the mean "
                "over δ. The maximum of the mean shares one threshold among the three δ.",
                _v2_one_threshold,
            ),
            Misconception(
                "each image has a threshold of its own",
                "The maximum runs over the accuracies of the whole data set, not over the IoUs of "
                "an image: nobody knows an image's best threshold without its true box.",
                _v2_each_image,
            ),
            Misconception(
                "the mean runs over thresholds, not images",
                "Rows are images. Average over them (axis=0), and you get one number for each "
                "threshold; axis=1 gives one for each image.",
                _v2_over_thresholds,
            ),
            Misconception(
                "only δ = 0.5 counts",
                "That is MaxBoxAcc of old. V2 is the mean over δ of 0.3, 0.5 and 0.7.",
                _v1,
            ),
            Misconception(
                "a share is returned, not percent",
                "The answer is asked in percent: 100 times the share of images.",
                lambda ious: _max_box_acc_v2(ious) / 100,
            ),
        ),
        cases=_one_table,
    ),
    Exercise(
        name="pxap",
        title="PxAP in four lines",
        difficulty=2,
        importance=2,
        minutes=10,
        points=4,
        reference=_pxap,
        idea="Count over all pixels of all images together; add up precision times the fall of "
        "recall to the next level, and in the end to 0.",
        misconceptions=(
            Misconception(
                "every image has a curve of its own",
                "PxAP pools the pixels: count hits and claims over all images together, at one "
                "level for all, and only then divide.",
                _pxap_each_image,
            ),
            Misconception(
                "the area is negative",
                "Recall falls as the level rises, so recall[i + 1] − recall[i] is negative. The "
                "step that counts is recall[i] − recall[i + 1].",
                _pxap_negative,
            ),
            Misconception(
                "all levels count alike",
                "PxAP is an area: each precision counts as much as recall falls to the next level, "
                "which is not the same for all levels.",
                _pxap_mean_precision,
            ),
            Misconception(
                "the last step is missing",
                "Beyond the highest level nothing is claimed and recall is 0. The step from the "
                "last level down to 0 is part of the area.",
                _pxap_without_last,
            ),
            Misconception(
                "levels are joined by straight lines",
                "PxAP is a sum of rectangles, not of trapezoids: up to the next level, recall "
                "falls at the precision of the lower level, as the formula says.",
                _pxap_trapezoid(None),
                also=(_pxap_trapezoid(0.0), _pxap_trapezoid(1.0)),
            ),
            Misconception(
                "a step counts at its upper level",
                "Between two levels recall falls at the precision of the *lower* one: "
                "precision[i] goes with recall[i] − recall[i + 1].",
                _pxap_upper(None),
                also=(_pxap_upper(0.0), _pxap_upper(1.0)),
            ),
            Misconception(
                "a pixel exactly at the level is not claimed",
                "A pixel is claimed where the map is *at least* τ: ≥, not >. With >, nothing is "
                "claimed at level 1, and the precision there is 0 / 0.",
                _pxap_above,
                also=(_pxap_undefined,),
            ),
            Misconception(
                "that is pIoU",
                "pIoU is the best pooled IoU over the levels. PxAP is the area under precision "
                "against recall.",
                _piou,
            ),
            Misconception(
                "a share is returned, not percent",
                "The answer is asked in percent: 100 times the area.",
                lambda maps, masks, levels: _pxap(maps, masks, levels) / 100,
            ),
        ),
        cases=_maps_and_masks,
    ),
)
