"""Several methods on one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from satkit.boxes import component_boxes, iou, prepare_maps
from satkit.figures import PREDICTED_COLOR, TRUE_COLOR, Illustration
from satkit.figures.base import Array, box_legend, draw_boxes, overlay, picture
from satkit.lab.shell import number, panel, slider, tick
from satkit.results import Run


def compare_methods(
    runs: Mapping[str, Run],
    images: Tensor,
    labels: Tensor,
    boxes: Sequence[Array],
) -> Any:
    """Choose an image and a threshold, see the maps and boxes of several methods.

    Args:
        runs: Finished runs by the name of the method, all of one image size.
        images: Normalised float [N, 3, S, S].
        labels: int [N]; class maps are those of the true class.
        boxes: For each image its true boxes [n, 4], half-open xyxy in pixels.

    Returns:
        The widget, which a notebook shows when it is the cell's last value.
    """
    maps, size = {}, images.shape[-1]
    with torch.inference_mode():
        for name, run in runs.items():
            drawn = run.model()(images, labels).maps
            maps[name] = prepare_maps(drawn, size, run.settings.protocol)
    own = {name: float(run.metrics["threshold"]) for name, run in runs.items()}

    def draw(image: int, together: bool, threshold: float) -> Illustration:
        levels = dict.fromkeys(runs, threshold) if together else own
        of_one = {name: of_all[image - 1] for name, of_all in maps.items()}
        return comparison(images[image - 1], of_one, boxes[image - 1], levels)

    controls = {
        "image": number("image", len(images)),
        "together": tick("one threshold for all methods"),
        "threshold": slider("that threshold", 0.5, 0.01, 0.99, 0.01),
    }
    return panel(draw, controls)


def comparison(
    image: Array, maps: Mapping[str, np.ndarray], true: Array, thresholds: Mapping[str, float]
) -> Illustration:
    """One image with the map and the box of each method.

    Args:
        image: uint8 [S, S, 3], or a normalised float tensor [3, S, S].
        maps: By method, as :func:`satkit.boxes.prepare_maps` gives them, [S, S].
        true: True boxes [n, 4], half-open xyxy in pixels.
        thresholds: By method, 0–1.

    Returns:
        The image, and a panel a method; its text names threshold, IoU and the share above it.
    """
    count = len(maps)
    figure = Figure(figsize=(min(9.6, 2.4 * (count + 1)), 3.1), layout="constrained")
    axes = figure.subplots(1, count + 1)
    axes[0].set_title("image", fontsize=10)
    said = []
    for axis, (name, heat) in zip(axes[1:], maps.items(), strict=True):
        level = thresholds[name]
        box = np.asarray(component_boxes(heat[None], [level]))[0]  # [1, 4]
        score, share = float(iou(box, true).max(initial=0.0)), 100 * float((heat > level).mean())
        axis.set_title(f"{name}\nthreshold {level:.2f}", fontsize=10)
        axis.set_xlabel(f"IoU {score:.2f}")
        said.append(f"{name} at {level:.2f}: IoU {score:.2f}, {share:.0f} % above the threshold")
        draw_boxes(axis, box, PREDICTED_COLOR, "-")
        overlay(axis, heat, heat.shape)
    for axis in axes:
        axis.imshow(picture(image), zorder=-1)
        axis.set(xticks=[], yticks=[])
        draw_boxes(axis, true, TRUE_COLOR, "--")
    box_legend(figure)
    return Illustration(figure, f"Maps and boxes of {count} localizers. {'; '.join(said)}.")
