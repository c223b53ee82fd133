"""Exercises on one's own photographs: frames of boxes, and what confidence is worth."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from satkit.course.answers import partly
from satkit.course.checks import Arguments, Exercise, Misconception, Trial, same

Box = tuple[float, float, float, float]

# --------------------------------------------------------------------------------------------------
# upright_box
# --------------------------------------------------------------------------------------------------


def _upright_box(box: Box, orientation: int, width: int, height: int) -> Box:
    x0, y0, x1, y1 = box
    turned = {
        1: (x0, y0, x1, y1),
        3: (width - x1, height - y1, width - x0, height - y0),
        6: (height - y1, x0, height - y0, x1),
        8: (y0, width - x1, y1, width - x0),
    }
    return turned[orientation]


def _box_as_stored(box: Box, orientation: int, width: int, height: int) -> Box:
    return box


def _box_turned_back(box: Box, orientation: int, width: int, height: int) -> Box:
    return _upright_box(box, {6: 8, 8: 6}.get(orientation, orientation), width, height)


def _corners_unsorted(box: Box, orientation: int, width: int, height: int) -> Box:
    x0, y0, x1, y1 = _upright_box(box, orientation, width, height)
    return {
        1: (x0, y0, x1, y1), 3: (x1, y1, x0, y0), 6: (x1, y0, x0, y1), 8: (x0, y1, x1, y0),
    }[orientation]  # fmt: skip


def _box_inclusive(box: Box, orientation: int, width: int, height: int) -> Box:
    return _upright_box(box, orientation, width - 1, height - 1)


def _sides_exchanged(box: Box, orientation: int, width: int, height: int) -> Box:
    return _upright_box(box, orientation, height, width)


def _axes_exchanged(box: Box, orientation: int, width: int, height: int) -> Box:
    x0, y0, x1, y1 = box
    return (
        (y0, x0, y1, x1) if orientation in (6, 8) else _upright_box(box, orientation, width, height)
    )


def _has_negative_side(trials: list[Trial]) -> bool:
    boxes = [trial.given for trial in trials]
    return any(len(box) == 4 and (box[2] < box[0] or box[3] < box[1]) for box in boxes)


def _stored_boxes(rng: np.random.Generator) -> Iterator[Arguments]:
    for orientation in (1, 3, 6, 8):
        width, height = int(rng.integers(400, 500)), int(rng.integers(250, 350))
        x0, y0 = int(rng.integers(10, 60)), int(rng.integers(80, 110))
        box = (x0, y0, x0 + int(rng.integers(50, 90)), y0 + int(rng.integers(20, 45)))
        yield box, orientation, width, height


# --------------------------------------------------------------------------------------------------
# box_in_photograph
# --------------------------------------------------------------------------------------------------


def _box_in_photograph(box: Box, width: int, height: int, resize: int, crop: int) -> Box:
    margin = (resize - crop) / 2
    x0, y0, x1, y1 = (corner + margin for corner in box)
    return x0 * width / resize, y0 * height / resize, x1 * width / resize, y1 * height / resize


def _crop_forgotten(box: Box, width: int, height: int, resize: int, crop: int) -> Box:
    return _box_in_photograph(box, width, height, resize, resize)


def _crop_is_all(box: Box, width: int, height: int, resize: int, crop: int) -> Box:
    return _box_in_photograph(box, width, height, crop, crop)


def _margin_twice(box: Box, width: int, height: int, resize: int, crop: int) -> Box:
    margin = (resize - crop) / 2
    x0, y0, x1, y1 = (corner + margin for corner in box)
    return _box_in_photograph((x0, y0, x1, y1), width, height, resize, crop)


def _one_scale(box: Box, width: int, height: int, resize: int, crop: int) -> Box:
    return _box_in_photograph(box, width, width, resize, crop)


def _has_one_scale(trials: list[Trial]) -> bool:
    """Symptom: the crop is undone, and then one scale serves all corners, whichever it is."""
    for trial in trials:
        box, *_, resize, crop = trial.arguments
        corners = [corner + (resize - crop) / 2 for corner in box]
        scale = float(trial.given[2]) / corners[2]
        if scale == 1 or not same(trial.given, [scale * one for one in corners], 1e-5):
            return False
    return True


def _margin_unscaled(box: Box, width: int, height: int, resize: int, crop: int) -> Box:
    margin = (resize - crop) / 2
    x0, y0, x1, y1 = _crop_forgotten(box, width, height, resize, crop)
    return x0 + margin, y0 + margin, x1 + margin, y1 + margin


def _cropped_boxes(rng: np.random.Generator) -> Iterator[Arguments]:
    for resize, crop in ((256, 224), (110, 96), (96, 96)):
        corners = np.sort(rng.integers(0, crop, (2, 2)), axis=0)
        box = (*corners[0].tolist(), *(corners[1] + 1).tolist())
        yield box, int(rng.integers(500, 4000)), int(rng.integers(400, 3000)), resize, crop


# --------------------------------------------------------------------------------------------------
# confident_misses
# --------------------------------------------------------------------------------------------------


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _share_missed(confident: np.ndarray, ious: np.ndarray) -> float:
    return float(100 * (ious[confident] < 0.5).mean())


def _confident_misses(logits: np.ndarray, ious: np.ndarray) -> float:
    return _share_missed(_softmax(logits).max(axis=1) >= 0.9, ious)


def _misses_by_sigmoid(logits: np.ndarray, ious: np.ndarray) -> float:
    return _share_missed((1 / (1 + np.exp(-logits))).max(axis=1) >= 0.9, ious)


def _misses_by_logit(logits: np.ndarray, ious: np.ndarray) -> float:
    return _share_missed(logits.max(axis=1) >= 0.9, ious)


def _misses_of_all(logits: np.ndarray, ious: np.ndarray) -> float:
    confident = _softmax(logits).max(axis=1) >= 0.9
    return float(100 * (confident & (ious < 0.5)).mean())


def _confident_of_misses(logits: np.ndarray, ious: np.ndarray) -> float:
    confident = _softmax(logits).max(axis=1) >= 0.9
    return float(100 * confident[ious < 0.5].mean())


def _trust_in_confidence(logits: np.ndarray, ious: np.ndarray) -> float:
    return 0.0


def _softmax_over_images(logits: np.ndarray, ious: np.ndarray) -> float:
    return _share_missed(_softmax(logits.T).T.max(axis=1) >= 0.9, ious)


def _scores_and_ious(rng: np.random.Generator) -> Iterator[Arguments]:
    for images in (40, 60, 80):
        logits = rng.normal(0, 1.5, (images, 6))
        logits[np.arange(images), rng.integers(0, 6, images)] += rng.choice([0, 3, 7], images)
        dominant = np.arange(6)  # a few images whose logits exceed all others, so that columns peak
        logits[dominant, dominant] += 14
        ious = rng.uniform(0, 1, images)
        ious[:8] = np.linspace(0.1, 0.6, 8)
        yield logits, ious


EXERCISES = (
    Exercise(
        name="upright_box",
        title="Turn a box as the photograph is turned",
        difficulty=2,
        importance=2,
        minutes=25,
        points=3,
        reference=_upright_box,
        idea="Draw a sheet of paper with a box near one corner, turn it, and read off where each "
        "edge of the box has gone.",
        misconceptions=(
            Misconception(
                "the box stays in the stored frame",
                "People see the turned picture, so a box in the stored frame lies beside the "
                "object.",
                _box_as_stored,
            ),
            Misconception(
                "a box ends before it begins",
                "A turn moves the corners: what was the left upper one may now be on the right. "
                "Take the smaller number as x0 and as y0.",
                _corners_unsorted,
                _has_negative_side,
            ),
            Misconception(
                "6 and 8 are exchanged",
                "6 says: turn the stored picture a quarter clockwise to see it upright; 8 says "
                "counter-clockwise.",
                _box_turned_back,
                partly(_box_turned_back),
            ),
            Misconception(
                "a turn is taken for an exchange of x and y",
                "Exchanging x and y also mirrors the picture. In a turn one of the two is counted "
                "from the other side.",
                _axes_exchanged,
                partly(_axes_exchanged),
            ),
            Misconception(
                "width and height of the stored picture are exchanged",
                "The size belongs to the stored frame: x is counted from the other side of its "
                "width, y of its height.",
                _sides_exchanged,
                partly(_sides_exchanged),
            ),
            Misconception(
                "the edges are taken for pixels",
                "Half-open corners are edges between pixels, from 0 to the width: the edge at 0 "
                "becomes the edge at the width. Subtracting 1 belongs to numbers of pixels.",
                _box_inclusive,
                partly(_box_inclusive),
            ),
        ),
        cases=_stored_boxes,
    ),
    Exercise(
        name="box_in_photograph",
        title="From the crop back to the photograph",
        difficulty=2,
        importance=3,
        minutes=15,
        points=3,
        reference=_box_in_photograph,
        idea="Undo the steps in reverse order: first the crop, then the resize.",
        misconceptions=(
            Misconception(
                "the crop is not undone",
                "The crop's corner is not the resized picture's corner: a margin was cut off on "
                "each side.",
                _crop_forgotten,
            ),
            Misconception(
                "the crop is stretched over the whole photograph",
                "The crop shows the middle of the photograph only. The scale is that of the "
                "resize, before the crop.",
                _crop_is_all,
            ),
            Misconception(
                "both margins are added",
                "What was cut off on the right does not move a box; only the left and the upper "
                "margin do.",
                _margin_twice,
            ),
            Misconception(
                "one scale serves both axes",
                "The resize made a square of the photograph, so width and height were scaled "
                "differently.",
                _one_scale,
                _has_one_scale,
            ),
            Misconception(
                "the margin is added in pixels of the photograph",
                "The margin was cut off the *resized* picture. Add it before you scale.",
                _margin_unscaled,
            ),
        ),
        cases=_cropped_boxes,
    ),
    Exercise(
        name="confident_misses",
        title="Sure of the class, wrong about the box",
        difficulty=2,
        importance=2,
        minutes=15,
        points=2,
        reference=_confident_misses,
        idea="Select the images with a confident class first; then ask how many of these are "
        "missed.",
        misconceptions=(
            Misconception(
                "a confident class is thought to have a right box",
                "Softmax compares classes; where the object is does not enter it. Count.",
                _trust_in_confidence,
                lambda trials: all(float(trial.given) == 0 for trial in trials),
            ),
            Misconception(
                "each class is scored by itself",
                "A sigmoid lets several classes be sure at once. The probabilities of a softmax "
                "share out one whole.",
                _misses_by_sigmoid,
            ),
            Misconception(
                "a logit is taken for a probability",
                "Logits have no scale of their own: 0.9 means nothing before the softmax.",
                _misses_by_logit,
            ),
            Misconception(
                "the softmax runs over the images",
                "The classes of *one* image share out one whole: sum over the last axis.",
                _softmax_over_images,
            ),
            Misconception(
                "the share is one of all images",
                "Asked is how far a confident class can be trusted, so the confident images are "
                "the whole.",
                _misses_of_all,
            ),
            Misconception(
                "the question is turned round",
                "That says how many misses were confident. Asked is how many confident images are "
                "missed.",
                _confident_of_misses,
            ),
        ),
        cases=_scores_and_ious,
    ),
)
