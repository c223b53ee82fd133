"""Boxes by the plain loop: components or contours anew at every threshold."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from skimage.measure import label, regionprops


def pixel_boxes(score: np.ndarray, thresholds: Sequence[float]) -> list[np.ndarray]:
    """Boxes [1, 4] of the component with most pixels (the first of equal ones), as SAT's evaluator.

    Args:
        score: [H, W] in 0–1.
        thresholds: T numbers.

    Returns:
        T arrays [1, 4], half-open xyxy.
    """
    height, width = score.shape
    out = []
    for threshold in thresholds:
        regions = regionprops(label(score > threshold, connectivity=2))
        box = [0, 0, width, height]
        if regions:
            y0, x0, y1, x1 = max(regions, key=lambda region: region.num_pixels).bbox
            box = [x0, y0, x1, y1]
        out.append(np.array([box]))
    return out


def contour_boxes(
    score: np.ndarray, thresholds: Sequence[float], every: bool, clip: bool = True, nothing: int = 0
) -> list[np.ndarray]:
    """Boxes of OpenCV's contours, as wsolevaluation (clip) and TS-CAM (no clip, nothing = 1).

    Args:
        score: [H, W] in 0–1.
        thresholds: T numbers.
        every: All contours, or only the one of largest area.
        clip: Cut the ends at side − 1.
        nothing: End of the box [0, 0, nothing, nothing] that stands for no contour.

    Returns:
        T arrays [n, 4], half-open xyxy.
    """
    height, width = score.shape
    grey = (score * 255).astype(np.uint8)
    out = []
    for threshold in thresholds:
        level = int(threshold * grey.max())
        binary = cv2.threshold(grey, level, 255, cv2.THRESH_BINARY)[1]
        contours = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[-2]
        if not every and contours:
            contours = [max(contours, key=cv2.contourArea)]
        boxes = []
        for contour in contours:
            x, y, w, h = cv2.boundingRect(contour)
            x1, y1 = x + w, y + h
            boxes.append(
                [x, y, min(x1, width - 1), min(y1, height - 1)] if clip else [x, y, x1, y1]
            )
        out.append(np.array(boxes or [[0, 0, nothing, nothing]]))
    return out


def best_iou(boxes: np.ndarray, truth: np.ndarray) -> float:
    """Best IoU of boxes [n, 4] with boxes [m, 4], each side counted as end − start + 1.

    Args:
        boxes: [n, 4].
        truth: [m, 4].

    Returns:
        The largest of the n · m values.
    """
    low = np.maximum(boxes[:, None, :2], truth[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], truth[None, :, 2:])
    overlap = np.clip(high - low + 1, 0, None).prod(-1)
    area_a = (boxes[:, 2:] - boxes[:, :2] + 1).prod(-1)[:, None]
    area_b = (truth[:, 2:] - truth[:, :2] + 1).prod(-1)[None]
    return float((overlap / (area_a + area_b - overlap)).max())


def histograms(
    score: np.ndarray, mask: np.ndarray, counted: np.ndarray, thresholds: Sequence[float]
) -> np.ndarray:
    """Pixels of a map by value, outside and inside the mask: [2, T + 1].

    Args:
        score: [H, W] in 0–1.
        mask: Bool [H, W].
        counted: Bool [H, W], pixels that count.
        thresholds: T ascending numbers from 0.

    Returns:
        Counts between one threshold (or 1) and the next.
    """
    edges = np.append(thresholds, [1.0, 2.0])
    return np.stack([np.histogram(score[part & counted], edges)[0] for part in (~mask, mask)])
