"""One threshold for all images: the box of one, and the accuracy curve of the whole set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from satkit.boxes import best_ious, component_boxes, prepare_maps
from satkit.figures import COLORS, PREDICTED_COLOR, TRUE_COLOR, Illustration
from satkit.figures.base import Array, box_legend, draw_boxes, overlay, picture, tidy
from satkit.lab.shell import choice, number, panel, slider

#: Thresholds of the curve
LEVELS = np.arange(1, 100) / 100


def explore_threshold(
    maps: Mapping[str, Array],
    images: Sequence[Array],
    boxes: Sequence[Array],
    *,
    threshold: float = 0.3,
    protocol: str = "sat",
) -> Any:
    """Move the threshold: the box of one image, its IoU, and the accuracy of the whole set.

    Args:
        maps: By name, [N, h, w], any finite values.
        images: N square images, uint8 [S, S, 3] or normalised float tensors [3, S, S].
        boxes: For each image its true boxes [n, 4], half-open xyxy in pixels.
        threshold: Where the slider starts, 0.01–0.99.
        protocol: Localization protocol.

    Returns:
        The widget, which a notebook shows when it is the cell's last value.
    """
    size = picture(images[0]).shape[0]
    ready = {name: prepare_maps(given, size, protocol) for name, given in maps.items()}
    ious = {n: best_ious(m, LEVELS, boxes, protocol=protocol)[0] for n, m in ready.items()}

    def draw(maps: str, image: int, delta: float, threshold: float) -> Illustration:
        index, heats, whole = image - 1, ready[maps], ious[maps]
        return threshold_view(
            images[index], heats[index], boxes[index], whole, index, threshold,
            delta=delta, name=f"image {image}, map «{maps}»", protocol=protocol,
        )  # fmt: skip

    controls = {
        "maps": choice("map", list(maps)),
        "image": number("image", len(images)),
        "delta": choice("IoU ≥", {str(delta): delta for delta in (0.5, 0.3, 0.7)}),
        "threshold": slider("threshold", threshold, 0.01, 0.99, 0.01),
    }
    return panel(draw, controls)


def threshold_view(
    image: Array,
    heat: np.ndarray,
    true: Array,
    ious: np.ndarray,
    index: int,
    threshold: float,
    *,
    delta: float = 0.5,
    name: str = "image",
    protocol: str = "sat",
) -> Illustration:
    """One image's map and box at a threshold, beside the accuracy of the set at every threshold.

    Args:
        image: uint8 [S, S, 3], or a normalised float tensor [3, S, S].
        heat: Its map as :func:`satkit.boxes.prepare_maps` gives it, [S, S].
        true: Its true boxes [n, 4].
        ious: IoU of every image at `LEVELS`, [N, 99].
        index: Which row of ``ious`` the image is.
        threshold: 0.01–0.99, in steps of 0.01.
        delta: IoU from which a box is right.
        name: Of the image.
        protocol: Localization protocol.

    Returns:
        Three panels.
    """
    at = int(np.abs(LEVELS - threshold).argmin())
    box = np.asarray(component_boxes(heat[None], [LEVELS[at]], protocol=protocol))[0]  # [1, 4]
    accuracy = 100 * (ious >= delta).mean(axis=0)  # [99]
    own, best = float(ious[index, at]), int(accuracy.argmax())
    figure = Figure(figsize=(9.6, 3.1), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.6))
    for axis, title in ((left, "map, outline at the threshold"), (middle, f"box: IoU {own:.2f}")):
        axis.imshow(picture(image))
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
    overlay(left, heat, heat.shape)
    if heat.min() < LEVELS[at] < heat.max():
        left.contour(heat, [LEVELS[at]], colors="white", linewidths=1.5)
    draw_boxes(middle, true, TRUE_COLOR, "--")
    draw_boxes(middle, box, PREDICTED_COLOR, "-")
    right.plot(LEVELS, accuracy, color=COLORS[0], lw=2, label=f"all {len(ious)}: right, %")
    right.plot(LEVELS, 100 * ious[index], "--", color=COLORS[1], label="this image: 100 × IoU")
    right.axhline(100 * delta, color=COLORS[1], lw=1, ls=":")
    right.axvline(LEVELS[at], color="black", lw=1)
    right.plot(LEVELS[at], accuracy[at], "o", color=COLORS[0])
    right.set(xlabel="threshold, one for all images", xlim=(0, 1), ylim=(0, 103))
    right.legend(fontsize=8)
    tidy(right)
    box_legend(figure)
    verdict = "right" if own >= delta else "wrong"
    alt = (
        f"{name}, threshold {LEVELS[at]:.2f}: the box has IoU {own:.2f} with the true box, so it "
        f"is {verdict} at IoU ≥ {delta}. Of all {len(ious)} images {accuracy[at]:.1f} % are right "
        f"at this threshold; the best one is {LEVELS[best]:.2f} with {accuracy[best]:.1f} %."
    )
    return Illustration(figure, alt)
