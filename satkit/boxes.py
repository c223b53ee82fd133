"""Localization maps -> boxes, at every threshold in one pass.

A map becomes a box in three steps: resize it to the image and scale it to 0–1 (`prepare_maps`),
keep what is above a threshold, and draw a box around the largest connected component
(`component_boxes`). The protocols in use differ in each step; `PROTOCOLS` lists how.

All thresholds are searched in one pass over the map; `satkit._engine` explains how (and
`satkit._runs`, where there are only a few). A box that
stays the same over a range of thresholds is one *bar* (box, from, to), so that all boxes at all
thresholds are a short list.

Source of the conventions: the authors' SAT evaluator, TS-CAM's ``get_bboxes``, and
Choe et al., «Evaluating Weakly Supervised Object Localization Methods Right», CVPR 2020.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from satkit import _engine, _runs
from satkit._cv2 import cv2
from satkit.choices import check_choice

Array = np.ndarray | torch.Tensor

MAX_THRESHOLDS = 32_000  # levels are 16-bit numbers
FEW_THRESHOLDS = 8  # for which the runs of rows are faster than a forest


@dataclass(frozen=True)
class Protocol:
    """How a map becomes a box under one evaluation protocol.

    Attributes:
        interpolation: OpenCV's flag for resizing the map to the image.
        scale_first: Scale to 0–1 before resizing (SAT), or after it (the others).
        epsilon: Added to the range (max − min) when scaling.
        grey: Thresholds apply to 8-bit values, as ``int(threshold * max)`` (contour protocols);
            otherwise to the float values themselves.
        contours: OpenCV's contours: size is the polygon area, the last of equal contours in
            raster order wins, and contours of holes count under ``select="all"``. Otherwise the
            size is the number of pixels, the first of equal components wins, no holes.
        clip: Keep the exclusive end at most at side − 1, as wsolevaluation does.
        dtype: Floating type of the computation, as in the original program.
        nothing: Box where no pixel exceeds the threshold; None means the whole image.
    """

    interpolation: int
    scale_first: bool
    epsilon: float
    grey: bool
    contours: bool
    clip: bool
    dtype: type[np.floating]
    nothing: tuple[int, int, int, int] | None


PROTOCOLS = {
    "sat": Protocol(cv2.INTER_LINEAR, True, 1e-5, False, False, False, np.float32, None),
    "wsoleval": Protocol(cv2.INTER_CUBIC, False, 0.0, True, True, True, np.float64, (0, 0, 0, 0)),
    "tscam": Protocol(cv2.INTER_LINEAR, False, 0.0, True, True, False, np.float32, (0, 0, 1, 1)),
}
SELECTIONS = ("largest", "all")
CONVENTIONS = ("official", "half_open")


# ---------------------------------------------------------------------------------------------
# Public functions
# ---------------------------------------------------------------------------------------------


def prepare_maps(maps: Array, size: int | tuple[int, int], protocol: str = "sat") -> np.ndarray:
    """Resize localization maps to the image and scale each to 0–1, as a protocol does.

    ``"sat"`` scales first, (M − min) / (max − min + 1e-5), and then resizes bilinearly, so the
    maximum is a little below 1. ``"wsoleval"`` resizes bicubically and then scales, ``"tscam"``
    resizes bilinearly and then scales. A constant map becomes all zeros in each.

    Args:
        maps: [N, h, w], any finite values.
        size: Side of the square image in pixels, or (height, width).
        protocol: ``"sat"``, ``"wsoleval"`` or ``"tscam"``.

    Returns:
        Array [N, height, width] in 0–1, float32 (``"wsoleval"``: float64, as the original).

    Raises:
        ValueError: Maps that are not [N, h, w] or hold NaN or infinity; unknown protocol.
    """
    rules = get_protocol(protocol)
    values = check_maps(maps)
    out = np.empty((len(values), *_sides(size)), rules.dtype)

    def fill(part: slice) -> None:
        for i in range(part.start, part.stop):
            _prepare(values[i], out[i], rules)

    in_parallel(fill, len(values))
    return out


def component_boxes(
    maps: Array,
    thresholds: Sequence[float] | Array,
    select: str = "largest",
    protocol: str = "sat",
    size: int | tuple[int, int] | None = None,
) -> np.ndarray | list[list[np.ndarray]]:
    """Boxes around the connected components of maps at every threshold.

    Boxes are half-open: [x0, y0, x1, y1] holds the pixels x0 … x1 − 1. (``"wsoleval"`` then cuts
    x1 and y1 to side − 1, as the original does.) The trap: the official programs put such a box
    into an IoU that takes ends as *inclusive*; see `iou`.

    Args:
        maps: [N, H, W] in 0–1, as `prepare_maps` returns them; of any size and range with ``size``.
        thresholds: T numbers in 0–1, in any order; a component is where map > threshold.
        select: ``"largest"`` component, or ``"all"`` of them (and holes, under contour protocols).
        protocol: ``"sat"``, ``"wsoleval"`` or ``"tscam"``: what «largest» means, and which box
            stands for «nothing above the threshold»; see `Protocol`.
        size: Prepare each map on its way for an image of that size, as `prepare_maps` would: the
            same boxes, sooner, and the large maps are never in memory together.

    Returns:
        For ``"largest"``, int64 [N, T, 4]; for ``"all"``, a list (maps) of lists (thresholds) of
        int64 arrays [n, 4] in lexicographic order.

    Raises:
        ValueError: Maps that are not [N, H, W], not finite or not in 0–1; thresholds outside 0–1;
            unknown selection or protocol.
    """
    rules = get_protocol(protocol)
    levels = check_thresholds(thresholds)
    values = check_maps(maps, unit_range=size is None)
    want_all = "all" in _checked_selects((select,))
    everything: list[list[np.ndarray]] = [[] for _ in values]
    largest = np.empty((len(values), len(levels), 4), np.int64)

    def search(part: slice) -> None:
        trace = _tracer(values, levels, rules, want_all, size)
        for i in range(part.start, part.stop):
            rows, table, bars = trace(values[i])
            if select == "largest":
                largest[i] = table[rows]
            else:
                everything[i] = [_alive(bars, row, table) for row in rows]

    in_parallel(search, len(values))
    return largest if select == "largest" else everything


def best_ious(
    maps: Array,
    thresholds: Sequence[float] | Array,
    boxes: Sequence[Array],
    selects: Sequence[str] = ("largest",),
    protocol: str = "sat",
    convention: str = "official",
    size: int | tuple[int, int] | None = None,
) -> np.ndarray:
    """Best IoU with any ground-truth box, for each map at every threshold.

    Args:
        maps: [N, H, W] in 0–1, as `prepare_maps` returns them; of any size and range with ``size``.
        thresholds: T numbers in 0–1.
        boxes: N arrays [n_i, 4] with n_i >= 1, xyxy in pixels of the image.
        selects: Which predicted boxes compete, one or both of ``"largest"`` (the box of the
            largest component) and ``"all"`` (the best of all, as in MaxBoxAccV2).
        protocol: See `component_boxes`.
        convention: See `iou`.
        size: See `component_boxes`.

    Returns:
        Float64 [len(selects), N, T].

    Raises:
        ValueError: As `component_boxes`; another number of boxes than maps; an image without
            boxes; boxes that are not finite.
    """
    rules = get_protocol(protocol)
    levels = check_thresholds(thresholds)
    extra = _extra_pixel(convention)
    want_all = "all" in _checked_selects(selects)
    truth = check_boxes(boxes, len(maps))
    values = check_maps(maps, unit_range=size is None)
    out = np.empty((len(selects), len(values), len(levels)))

    def score(part: slice) -> None:
        trace = _tracer(values, levels, rules, want_all, size)
        for i in range(part.start, part.stop):
            rows, table, bars = trace(values[i])
            for s, select in enumerate(selects):
                best = _engine.table_ious(table, truth[i], extra)
                if select == "all":
                    _engine.raise_to_bars(best, bars, truth[i], extra)
                out[s, i] = best[rows]

    in_parallel(score, len(values))
    return out


def iou(a: Array, b: Array, convention: str = "official") -> np.ndarray:
    """Intersection over union of each box in ``a`` with each box in ``b``.

    The trap: the official evaluators (SAT's, TS-CAM's, wsolevaluation) take predicted boxes as
    half-open, but compute every side as x1 − x0 + 1, as if the end were inclusive. Predicted
    boxes grow by one pixel; the ground truth ends at side − 1 and is meant to be inclusive. On 300
    synthetic maps this moves GT-known by up to 1.7 points.

    Args:
        a: [n, 4], xyxy in pixels.
        b: [m, 4], xyxy in pixels.
        convention: ``"official"`` (sides x1 − x0 + 1) or ``"half_open"`` (sides x1 − x0).

    Returns:
        Float64 [n, m] in 0–1. A degenerate box (end before start) has no overlap with any.

    Raises:
        ValueError: Arrays that are not [n, 4] or not finite; unknown convention.
    """
    extra = _extra_pixel(convention)
    first, second = _checked_boxes(a, "a"), _checked_boxes(b, "b")
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    overlap = np.clip(high - low + extra, 0, None).prod(axis=-1)  # [n, m]
    area_a = np.clip(first[:, 2:] - first[:, :2] + extra, 0, None).prod(axis=-1)
    area_b = np.clip(second[:, 2:] - second[:, :2] + extra, 0, None).prod(axis=-1)
    union = area_a[:, None] + area_b[None, :] - overlap
    return np.divide(overlap, union, out=np.zeros_like(union), where=overlap > 0)


def warm_up() -> None:
    """Compile the engine, or load it from its cache, by using each of its forms on one small map.

    Compiling takes about half a minute, once for each installation; `make setup` does it.
    """
    ramp = np.linspace(0, 1, 64).reshape(1, 8, 8)
    truth = [np.array([[0, 0, 4, 4]])]
    for maps in (ramp, ramp.astype(np.float32)):
        for protocol in PROTOCOLS:
            best_ious(maps, [0.5], truth, SELECTIONS, protocol)
            component_boxes(maps, [0.5], "largest", protocol)
        _engine.histograms(maps, maps > 0.5, maps >= 0, np.array([0, 0.5, 1]))


# ---------------------------------------------------------------------------------------------
# Checks
# ---------------------------------------------------------------------------------------------


def get_protocol(name: str) -> Protocol:
    """Rules of a protocol by name.

    Args:
        name: A key of `PROTOCOLS`.

    Returns:
        The protocol.

    Raises:
        ValueError: Unknown name.
    """
    check_choice("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


def check_maps(maps: Array, unit_range: bool = False) -> np.ndarray:
    """Localization maps as a contiguous array.

    Args:
        maps: [N, h, w].
        unit_range: Whether they must lie in 0–1.

    Returns:
        The same values, float64 if they were, else float32.

    Raises:
        ValueError: Maps that are not [N, h, w] or not finite, or outside 0–1 where they must be in.
    """
    given = to_numpy(maps)
    kind = np.float64 if given.dtype == np.float64 else np.float32
    values = np.require(given, kind, ["C", "W"])  # one form, so that nothing compiles anew
    if values.ndim != 3 or 0 in values.shape[1:]:
        raise ValueError(f"maps have shape {values.shape}; expected [N, h, w]")
    low, high = (0, 1) if unit_range else (np.finfo(kind).min, np.finfo(kind).max)
    wrong = _engine.first_outside(values, kind(low), kind(high))
    if wrong >= 0:
        one = values[wrong]
        if not np.isfinite(one).all():
            raise ValueError(f"maps[{wrong}] holds NaN or infinity; expected finite values")
        raise ValueError(
            f"maps[{wrong}] has values from {one.min():g} to {one.max():g}; expected 0–1: "
            "use prepare_maps first"
        )
    return values


def check_thresholds(thresholds: Sequence[float] | Array) -> np.ndarray:
    """Thresholds as a float64 array [T].

    Args:
        thresholds: T >= 1 numbers in 0–1.

    Returns:
        The same numbers.

    Raises:
        ValueError: No thresholds, more than 32,000, or one that is outside 0–1 or NaN.
    """
    values = np.array(thresholds, np.float64)
    if values.ndim != 1 or not 1 <= len(values) <= MAX_THRESHOLDS:
        raise ValueError(
            f"thresholds have shape {values.shape}; expected a list of 1–{MAX_THRESHOLDS} numbers"
        )
    outside = values[~((values >= 0) & (values <= 1))]
    if len(outside):
        raise ValueError(f"threshold {outside[0]:g} is outside 0–1")
    return values


def check_boxes(boxes: Sequence[Array], count: int) -> list[np.ndarray]:
    """Ground-truth boxes as float64 arrays [n_i, 4].

    Args:
        boxes: One array [n_i, 4] an image, n_i >= 1.
        count: Number of images.

    Returns:
        The same boxes.

    Raises:
        ValueError: Another number of arrays than images; an array that is empty, not [n, 4] or
            not finite.
    """
    if len(boxes) != count:
        raise ValueError(f"{len(boxes)} lists of boxes for {count} maps; expected one for each map")
    checked = [_checked_boxes(b, f"boxes[{i}]") for i, b in enumerate(boxes)]
    for i, b in enumerate(checked):
        if len(b) == 0:
            raise ValueError(
                f"boxes[{i}] is empty; a localization cannot be scored without a box, "
                "so leave such images out"
            )
    return checked


def to_numpy(values: Array) -> np.ndarray:
    """A tensor (of any device and floating type) or array as NumPy array.

    Args:
        values: Tensor or array-like.

    Returns:
        NumPy array; bfloat16 becomes float32.
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return np.asarray(values)


def _checked_boxes(boxes: Array, name: str) -> np.ndarray:
    values = np.array(to_numpy(boxes), np.float64, order="C")
    if values.size == 0:
        values = values.reshape(0, 4)
    if values.ndim != 2 or values.shape[1] != 4:
        raise ValueError(f"{name} has shape {values.shape}; expected [n, 4] (x0, y0, x1, y1)")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or infinity; expected pixels")
    return values


def _checked_selects(selects: Sequence[str]) -> Sequence[str]:
    for select in selects:
        check_choice("select", select, SELECTIONS)
    return selects


def _extra_pixel(convention: str) -> float:
    check_choice("convention", convention, CONVENTIONS)
    return 1.0 if convention == "official" else 0.0


# ---------------------------------------------------------------------------------------------
# One map, from pixels to boxes
# ---------------------------------------------------------------------------------------------


def in_parallel(work: Callable[[slice], None], count: int) -> None:
    """Run a function on slices of a range in threads (OpenCV and numba free the GIL).

    Args:
        work: Called with slices that together cover ``range(count)``.
        count: Number of items.
    """
    workers = min(len(os.sched_getaffinity(0)), count // 4)
    if workers <= 1:
        work(slice(0, count))
        return
    step = min(64, -(-count // workers))
    parts = [slice(i, min(i + step, count)) for i in range(0, count, step)]
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, parts))


def _sides(size: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width of an image in pixels."""
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise ValueError(f"size is {size}; expected a positive number of pixels")
    return height, width


def _prepare(small: np.ndarray, out: np.ndarray, rules: Protocol) -> None:
    """Resize a map [h, w] into an image [H, W], scaled to 0–1."""
    small = small.astype(rules.dtype)
    if rules.scale_first:
        _scale(small, rules.epsilon)
    cv2.resize(small, out.shape[::-1], dst=out, interpolation=rules.interpolation)
    if not rules.scale_first:
        _scale(out, rules.epsilon)


def _scale(values: np.ndarray, epsilon: float) -> None:
    """Min–max scaling to 0–1 in place; a constant map becomes zeros."""
    values -= values.min()
    span = values.max() + values.dtype.type(epsilon)
    if span > 0:
        values /= span


def _tracer(
    maps: np.ndarray,
    thresholds: np.ndarray,
    rules: Protocol,
    want_all: bool,
    size: int | tuple[int, int] | None,
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Function that finds the boxes of one of the maps; each thread needs its own.

    It returns the row [T] of the table that belongs to each threshold; the table [K, 4], whose row
    j is the largest component's box above level j (or what stands for «nothing»); and the
    bars [n, 6] (box, first and last row), empty unless all components are asked for.
    """
    height, width = maps.shape[1:] if size is None else _sides(size)
    image = np.empty((height, width), maps.dtype if size is None else rules.dtype)
    level = np.empty((height, width), np.int16)
    nothing = (0, 0, width, height) if rules.nothing is None else rules.nothing
    distinct, own_rows = np.unique(thresholds.astype(image.dtype), return_inverse=True)
    by_runs = len(distinct) <= FEW_THRESHOLDS and not rules.contours and not want_all
    room = (_runs if by_runs else _engine).scratch(height, width)

    def trace(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if size is not None:
            _prepare(values, image, rules)
            values = image
        count, rows = len(distinct), own_rows
        if by_runs:
            table, bars = _runs.trace(values, distinct, room)
        else:
            if rules.grey:
                count, rows = _engine.grey_levels(values, thresholds, level)
            else:
                _engine.threshold_levels(values, distinct, level)
            table, bars = _engine.trace(level, room, count, rules.contours, want_all)
        if rules.clip:
            table[:, 2:] = np.minimum(table[:, 2:], (width - 1, height - 1))
            bars[:, 2:4] = np.minimum(bars[:, 2:4], (width - 1, height - 1))
        table[table[:, 2] < 0] = nothing
        return rows, table, bars

    return trace


def _alive(bars: np.ndarray, row: int, table: np.ndarray) -> np.ndarray:
    """Boxes [n, 4] of the bars that span a row, sorted; the table's box where there is none."""
    boxes = bars[(bars[:, 4] <= row) & (row <= bars[:, 5]), :4].astype(np.int64)
    if len(boxes) == 0:
        return table[row][None].astype(np.int64)
    return boxes[np.lexsort(boxes.T[::-1])]
