"""Localization maps -> boxes, at every threshold in one pass.

A map becomes a box in three steps: resize it to the image and scale it to 0–1 (`prepare_maps`),
keep what is above a threshold, and draw a box around the largest connected component
(`component_boxes`). The protocols in use differ in each step; `PROTOCOLS` lists how.

**The algorithm.** Done plainly, components are labelled anew at each of up to 1000 thresholds.
But as the threshold falls, pixels only join: components appear, grow and merge (a *component
tree*). So we visit the pixels once, from the highest level to the lowest, and keep the components
in a union–find forest together with their box and size:

1. *Levels.* A pixel's level is the number of distinct thresholds that it exceeds. Pixels are
   sorted by it (counting sort).
2. *Basins.* Each pixel points to its highest neighbour; following these pointers ends on a
   summit. The part of such a basin above any level is connected, so basins, and not pixels, are
   the elements of the forest, and only pixels on the rim of a basin can join two of them.
3. *Sweep.* Each pixel, in descending order, grows the box and size of its component; a rim
   pixel unites it with neighbours that are at least as high. When a level is done, the largest
   component is known, and each component that changed has a new box.

A box that stays the same over a range of thresholds is one *bar* (box, from, to), so that all
boxes at all thresholds are a short list.

**OpenCV's contours.** Two protocols use ``findContours`` and take as size the *polygon area*
through the centres of the border pixels, and contours of holes count as boxes too. A polygon's
area is a sum over 2x2 cells of pixels: 1 for four set pixels, 1/2 for three. It includes holes, so
the largest contour is found on the map with its holes filled. Holes come from the same sweep run
upwards: what is *below* the threshold, is 4-connected, and does not reach the image
border. The level at which a hole opens to the border is also the level to which it is filled.

Source of the conventions: the authors' SAT evaluator, TS-CAM's ``get_bboxes``, and
Choe et al., «Evaluating Weakly Supervised Object Localization Methods Right», CVPR 2020.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numba import njit

from satkit._cv2 import cv2
from satkit.choices import check_choice

Array = np.ndarray | torch.Tensor
Result = TypeVar("Result")

MAX_THRESHOLDS = 32_000  # levels are the high half of a 32-bit sort key
FAR = 1 << 30  # start of a minimum: larger than any coordinate


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
    values = _checked_maps(maps).astype(rules.dtype)
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise ValueError(f"size is {size}; expected a positive number of pixels")
    out = np.empty((len(values), height, width), rules.dtype)

    def fill(part: slice) -> None:
        for i in range(part.start, part.stop):
            small = _scaled(values[i], rules.epsilon) if rules.scale_first else values[i]
            large = cv2.resize(small, (width, height), interpolation=rules.interpolation)
            out[i] = large if rules.scale_first else _scaled(large, rules.epsilon)

    _in_parallel(fill, len(values))
    return out


def component_boxes(
    maps: Array, thresholds: Sequence[float] | Array, select: str = "largest", protocol: str = "sat"
) -> np.ndarray | list[list[np.ndarray]]:
    """Boxes around the connected components of maps at every threshold.

    Boxes are half-open: [x0, y0, x1, y1] holds the pixels x0 … x1 − 1. (``"wsoleval"`` then cuts
    x1 and y1 to side − 1, as the original does.) The trap: the official programs put such a box
    into an IoU that takes ends as *inclusive*; see `iou`.

    Args:
        maps: [N, H, W] in 0–1, as `prepare_maps` returns them.
        thresholds: T numbers in 0–1, in any order; a component is where map > threshold.
        select: ``"largest"`` component, or ``"all"`` of them (and holes, under contour protocols).
        protocol: ``"sat"``, ``"wsoleval"`` or ``"tscam"``: what «largest» means, and which box
            stands for «nothing above the threshold»; see `Protocol`.

    Returns:
        For ``"largest"``, int64 [N, T, 4]; for ``"all"``, a list (maps) of lists (thresholds) of
        int64 arrays [n, 4] in lexicographic order.

    Raises:
        ValueError: Maps that are not [N, H, W], not finite or not in 0–1; thresholds outside 0–1;
            unknown selection or protocol.
    """
    rules = get_protocol(protocol)
    levels = check_thresholds(thresholds)
    values = _checked_maps(maps, unit_range=True)
    want_all = "all" in _checked_selects((select,))
    everything: list[list[np.ndarray]] = [[] for _ in values]
    largest = np.empty((len(values), len(levels), 4), np.int64)

    def trace(part: slice) -> None:
        for i in range(part.start, part.stop):
            rows, table, bars = _trace_map(values[i], levels, rules, want_all)
            if select == "largest":
                largest[i] = table[rows]
            else:
                everything[i] = [_alive(bars, row, table) for row in rows]

    _in_parallel(trace, len(values))
    return largest if select == "largest" else everything


def best_ious(
    maps: Array,
    thresholds: Sequence[float] | Array,
    boxes: Sequence[Array],
    selects: Sequence[str] = ("largest",),
    protocol: str = "sat",
    convention: str = "official",
) -> np.ndarray:
    """Best IoU with any ground-truth box, for each map at every threshold.

    Args:
        maps: [N, H, W] in 0–1, as `prepare_maps` returns them.
        thresholds: T numbers in 0–1.
        boxes: N arrays [n_i, 4] with n_i >= 1, xyxy in pixels of the map.
        selects: Which predicted boxes compete, one or both of ``"largest"`` (the box of the
            largest component) and ``"all"`` (the best of all, as in MaxBoxAccV2).
        protocol: See `component_boxes`.
        convention: See `iou`.

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
    values = _checked_maps(maps, unit_range=True)
    out = np.empty((len(selects), len(values), len(levels)))

    def score(part: slice) -> None:
        for i in range(part.start, part.stop):
            rows, table, bars = _trace_map(values[i], levels, rules, want_all)
            for s, select in enumerate(selects):
                best = _table_ious(table, truth[i], extra)
                if select == "all":
                    _raise_to_bars(best, bars, truth[i], extra)
                out[s, i] = best[rows]

    _in_parallel(score, len(values))
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
    """Compile the engine, or load it from its cache, by tracing one small map in each mode."""
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 8, 8)
    for protocol in PROTOCOLS:
        best_ious(ramp, [0.5], [np.array([[0, 0, 4, 4]])], SELECTIONS, protocol)


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


def check_thresholds(thresholds: Sequence[float] | Array) -> np.ndarray:
    """Thresholds as a float64 array [T].

    Args:
        thresholds: T >= 1 numbers in 0–1.

    Returns:
        The same numbers.

    Raises:
        ValueError: No thresholds, more than 32,000, or one that is outside 0–1 or NaN.
    """
    values = np.asarray(thresholds, np.float64)
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


def _checked_maps(maps: Array, unit_range: bool = False) -> np.ndarray:
    """Maps as contiguous float32 or float64 [N, h, w], all finite (and within 0–1)."""
    given = to_numpy(maps)
    kind = np.float64 if given.dtype == np.float64 else np.float32
    values = np.ascontiguousarray(given, kind)
    if values.ndim != 3 or 0 in values.shape[1:]:
        raise ValueError(f"maps have shape {values.shape}; expected [N, h, w]")
    for i, one in enumerate(values):
        low, high = one.min(), one.max()  # NaN and infinity show in one of them
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError(f"maps[{i}] holds NaN or infinity; expected finite values")
        if unit_range and (low < 0 or high > 1):
            raise ValueError(
                f"maps[{i}] has values from {low:g} to {high:g}; expected 0–1: "
                "use prepare_maps first"
            )
    return values


def _checked_boxes(boxes: Array, name: str) -> np.ndarray:
    values = np.asarray(to_numpy(boxes), np.float64)
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


def _in_parallel(work: Callable[[slice], None], count: int) -> None:
    """Run ``work`` on slices of ``range(count)`` in threads (OpenCV and numba free the GIL)."""
    workers = min(len(os.sched_getaffinity(0)), count // 4)
    if workers <= 1:
        work(slice(0, count))
        return
    step = max(1, min(32, -(-count // workers)))
    parts = [slice(i, min(i + step, count)) for i in range(0, count, step)]
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, parts))


def _scaled(values: np.ndarray, epsilon: float) -> np.ndarray:
    """Min–max scaling to 0–1; a constant map becomes zeros."""
    raised = values - values.min()
    span = raised.max() + values.dtype.type(epsilon)
    return raised / span if span > 0 else raised


def _trace_map(
    values: np.ndarray, thresholds: np.ndarray, rules: Protocol, want_all: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes of one map [H, W].

    Returns the row [T] of the table that belongs to each threshold; the table [K + 1, 4], whose row
    j is the largest component's box above level j (or what stands for «nothing»); and the
    bars [n, 6] (box, first and last row), empty unless all components are asked for.
    """
    height, width = values.shape
    if rules.grey:
        keys, top = _grey_keys(values)
        count, rows = 255, (thresholds * top).astype(np.int64)
    else:
        distinct, rows = np.unique(thresholds.astype(values.dtype), return_inverse=True)
        keys, count = _threshold_keys(values, distinct), len(distinct)
    table, bars = _trace(keys, height, width, count, rules.contours, want_all)
    if rules.clip:
        table[:, 2:] = np.minimum(table[:, 2:], (width - 1, height - 1))
        bars[:, 2:4] = np.minimum(bars[:, 2:4], (width - 1, height - 1))
    nothing = (0, 0, width, height) if rules.nothing is None else rules.nothing
    table[table[:, 2] < 0] = nothing
    return rows, table, bars


def _alive(bars: np.ndarray, row: int, table: np.ndarray) -> np.ndarray:
    """Boxes [n, 4] of the bars that span a row, sorted; the table's box where there is none."""
    boxes = bars[(bars[:, 4] <= row) & (row <= bars[:, 5]), :4].astype(np.int64)
    if len(boxes) == 0:
        return table[row][None].astype(np.int64)
    return boxes[np.lexsort(boxes.T[::-1])]


# ---------------------------------------------------------------------------------------------
# The engine, compiled. Pixels are numbered row by row in the map with a border of one pixel around
# it, so that every pixel has eight neighbours; `stride` is the width with that border.
#
# A key is a pixel's level in the high half and a finer height in the low half; -1 on the border.
# Finer heights break ties within a level, so that nearly every pixel has a higher neighbour.
# ---------------------------------------------------------------------------------------------

compiled = njit(cache=True, nogil=True)


@compiled
def _grey_keys(values):  # type: ignore[no-untyped-def]
    """Keys [(H + 2) * (W + 2)] whose level is the 8-bit grey value, and the highest grey value."""
    height, width = values.shape
    keys = np.full((height + 2, width + 2), -1, np.int32)
    top = np.int32(0)
    for y in range(height):
        for x in range(width):
            grey = np.int32(values[y, x] * np.float32(255))
            keys[y + 1, x + 1] = (grey << 16) | np.int32(values[y, x] * np.float32(65535))
            top = max(top, grey)
    return keys.reshape(-1), top


@compiled
def _threshold_keys(values, thresholds):  # type: ignore[no-untyped-def]
    """Keys [(H + 2) * (W + 2)] whose level is the number of (sorted) thresholds below the value."""
    height, width = values.shape
    first = np.searchsorted(
        thresholds, np.arange(1025) / np.float32(1024)
    )  # below a value's 1/1024
    keys = np.full((height + 2, width + 2), -1, np.int32)
    for y in range(height):
        for x in range(width):
            value = values[y, x]
            level = first[np.int32(value * np.float32(1024))]
            while level < len(thresholds) and thresholds[level] < value:
                level += 1
            keys[y + 1, x + 1] = (level << 16) | np.int32(value * np.float32(65535))
    return keys.reshape(-1)


@compiled
def _trace(keys, height, width, count, contours, want_all):  # type: ignore[no-untyped-def]
    """Box of the largest component above every level, and the bars of all components.

    Args:
        keys: Int32 [(H + 2) * (W + 2)], levels 0 … count.
        height: H.
        width: W.
        count: K, number of levels that a pixel can exceed.
        contours: See `Protocol`.
        want_all: Whether to record bars.

    Returns:
        Int32 [K + 1, 4], -1 where nothing is above the level; int32 [n, 6].
    """
    stride = width + 2
    table = np.full((count + 1, 4), -1, np.int32)
    bars = np.empty((2 * height * width if want_all else 1, 6), np.int32)
    used = 0
    if contours:
        filled, holes, used = _sweep_up(keys, stride, count, bars, want_all)
        if holes:  # the largest contour is that of the filled map; the bars are the map's own
            _sweep_down(filled, stride, count, True, table, bars, used, False)
            if want_all:
                scrap = np.empty_like(table)
                used = _sweep_down(keys, stride, count, True, scrap, bars, used, True)
            return table, bars[:used].copy()
    used = _sweep_down(keys, stride, count, contours, table, bars, used, want_all)
    return table, bars[:used].copy()


@compiled
def _sweep_down(keys, stride, count, contours, table, bars, used, record):  # type: ignore[no-untyped-def]
    """Grow the 8-connected components from the top level down, filling ``table`` and ``bars``.

    Returns the number of bars in use.
    """
    level, basin, basins = _basins(keys, stride, True)
    gain = _size_by_level(level, basin, basins, count, contours)
    order, start = _by_level(level, _rim_or_tip(level, basin), count)
    level, basin = level.reshape(-1), basin.reshape(-1)
    parent, nodes = _forest(basins)
    touched = np.empty(basins + 1, np.int32)
    lead = np.array([0, -1, FAR])  # the largest component: its number, size and first pixel
    around = np.array([-stride - 1, -stride, -stride + 1, -1, 1, stride - 1, stride, stride + 1])
    for now in range(count, 0, -1):
        changed = 0
        for i in range(start[now], start[now + 1]):
            p = (order[i] >> 16) * stride + (order[i] & 0xFFFF)
            root = _find(parent, basin[p])
            for step in around:
                q = p + step
                if basin[q] != basin[p] and level[q] >= now:
                    root = _unite(parent, nodes, root, _find(parent, basin[q]), bars, 4, now)
            _grow(nodes, root, order[i])
            changed = _touch(nodes, root, now, touched, changed)
        for i in range(1, basins + 1):
            if gain[now, i]:
                root = _find(parent, i)
                nodes[root, SIZE] += gain[now, i]
                changed = _touch(nodes, root, now, touched, changed)
        if changed:
            _update_lead(parent, nodes, touched[:changed], lead, contours)
        if lead[0]:
            table[now - 1] = nodes[lead[0], :4]
        if record:
            used = _record(parent, nodes, touched[:changed], bars, used, (4, now), (0, now - 1), 0)
    return used


@compiled
def _sweep_up(keys, stride, count, bars, record):  # type: ignore[no-untyped-def]
    """Grow what is at or below the level, 4-connected, from level 0 up: holes until they drain.

    Returns the keys with holes filled, whether there are any, and the number of bars in use.
    """
    used = 0
    level, basin, basins = _basins(keys, stride, False)  # basin 0 drains over the map's border
    if basins == 0:
        return keys, False, used
    order, start = _by_level(level, _shore_or_tip(level, basin), count)
    level, basin = level.reshape(-1), basin.reshape(-1)
    parent, nodes = _forest(basins)
    touched = np.empty(basins + 1, np.int32)
    around = np.array([-stride, -1, 1, stride])
    merges = np.empty((basins, 3), np.int32)  # basin, basin that took it up, level
    merged = 0
    for now in range(count):
        changed = 0
        for i in range(start[now], start[now + 1]):
            p = (order[i] >> 16) * stride + (order[i] & 0xFFFF)
            root = _find(parent, basin[p])
            for step in around:
                q = p + step
                if basin[q] != basin[p] and level[q] <= now:
                    other = _find(parent, basin[q])
                    if other != root:
                        merges[merged, 0] = max(root, other)
                        merges[merged, 1] = min(root, other)
                        merges[merged, 2] = now
                        merged += 1
                        root = _unite(parent, nodes, root, other, bars, 5, now - 1)
            if root == 0:
                continue
            _grow(nodes, root, order[i])
            changed = _touch(nodes, root, now, touched, changed)
        if record:
            rows = (now, count - 1)
            used = _record(parent, nodes, touched[:changed], bars, used, (5, now - 1), rows, 1)
    return _fill(keys, basin, basins, merges[:merged], count), True, used


@compiled
def _fill(keys, basin, basins, merges, count):  # type: ignore[no-untyped-def]
    """Raise each basin to the level at which it drains over the border of the map."""
    drain = np.full(basins + 1, count, np.int32)
    drain[0] = -1
    for i in range(len(merges) - 1, -1, -1):
        drain[merges[i, 0]] = max(merges[i, 2], drain[merges[i, 1]])
    filled = keys.copy()
    for p in range(len(keys)):
        if drain[basin[p]] > keys[p] >> 16:
            filled[p] = (drain[basin[p]] << 16) | (keys[p] & 0xFFFF)
    return filled


# Basins


@compiled
def _basins(keys, stride, up):  # type: ignore[no-untyped-def]
    """Levels [H + 2, W + 2], basins [H + 2, W + 2] of the summits or inner minima 1 … n, and n.

    Basin 0 is the border and, on the way down, all that drains over it.
    """
    grid = keys.reshape(-1, stride)
    basin, count = _follow(_way_up(grid) if up else _way_down(grid), stride)
    return (grid >> 16).astype(np.int16), basin.reshape(-1, stride), count


@compiled
def _way_up(keys):  # type: ignore[no-untyped-def]
    """Step to the highest of each pixel and its eight neighbours (of equal ones the first)."""
    height, stride = keys.shape
    to = np.zeros((height, stride), np.int32)
    for y in range(1, height - 1):
        above, own, below = keys[y - 1], keys[y], keys[y + 1]
        for x in range(1, stride - 1):
            high, step = above[x - 1], np.int32(-stride - 1)
            step = np.int32(-stride) if above[x] > high else step
            high = max(high, above[x])
            step = np.int32(-stride + 1) if above[x + 1] > high else step
            high = max(high, above[x + 1])
            step = np.int32(-1) if own[x - 1] > high else step
            high = max(high, own[x - 1])
            step = np.int32(0) if own[x] > high else step
            high = max(high, own[x])
            step = np.int32(1) if own[x + 1] > high else step
            high = max(high, own[x + 1])
            step = np.int32(stride - 1) if below[x - 1] > high else step
            high = max(high, below[x - 1])
            step = np.int32(stride) if below[x] > high else step
            high = max(high, below[x])
            to[y, x] = np.int32(stride + 1) if below[x + 1] > high else step
    return to.reshape(-1)


@compiled
def _way_down(keys):  # type: ignore[no-untyped-def]
    """Step to the lowest of each pixel and its four neighbours (of equal ones the first)."""
    height, stride = keys.shape
    to = np.zeros((height, stride), np.int32)
    for y in range(1, height - 1):
        above, own, below = keys[y - 1], keys[y], keys[y + 1]
        for x in range(1, stride - 1):
            low, step = above[x], np.int32(-stride)
            step = np.int32(-1) if own[x - 1] < low else step
            low = min(low, own[x - 1])
            step = np.int32(0) if own[x] < low else step
            low = min(low, own[x])
            step = np.int32(1) if own[x + 1] < low else step
            low = min(low, own[x + 1])
            to[y, x] = np.int32(stride) if below[x] < low else step
    return to.reshape(-1)


@compiled
def _follow(to, stride):  # type: ignore[no-untyped-def]
    """Number the pixels with step 0, and give each pixel the number of the one it leads to."""
    basin = np.zeros(len(to), np.int32)
    for row in range(stride, len(to) - stride, stride):
        basin[row + 1 : row + stride - 1] = -1
    count = 0
    for start in range(len(to)):
        p = start
        while basin[p] < 0 and to[p] != 0:
            p += to[p]
        if basin[p] < 0:
            count += 1
            basin[p] = count
        number, p = basin[p], start
        while basin[p] < 0:
            basin[p] = number
            p += to[p]
    return basin, count


# Pixels that matter. Only a pixel on the rim of its basin can join two; only a *tip*, one without
# neighbours on one side that are as high (as low, for holes), can extend a component's box.


@compiled
def _rim_or_tip(level, basin):  # type: ignore[no-untyped-def]
    """Whether a pixel can join 8-connected components or extend their boxes, bool [H + 2, W + 2].

    A neighbour further out, or as far out and earlier in the sweep, makes a pixel no tip.
    """
    out = np.zeros(level.shape, np.bool_)
    for y in range(1, level.shape[0] - 1):
        above, own, below = level[y - 1], level[y], level[y + 1]
        b_above, b_own, b_below = basin[y - 1], basin[y], basin[y + 1]
        for x in range(1, level.shape[1] - 1):
            nw, n, ne, w = above[x - 1], above[x], above[x + 1], own[x - 1]
            e, sw, s, se = own[x + 1], below[x - 1], below[x], below[x + 1]
            p, b = own[x], b_own[x]
            tip = max(nw, n, ne, w) < p  # also the first pixel in raster order
            tip |= (max(sw, s, se, w) < p) & (e <= p)
            tip |= (max(nw, w, sw, n) < p) & (s <= p)
            tip |= (max(ne, e, se, n) < p) & (s <= p)
            differ = (b_above[x - 1] ^ b) | (b_above[x] ^ b) | (b_above[x + 1] ^ b)
            differ |= (b_own[x - 1] ^ b) | (b_own[x + 1] ^ b)
            differ |= (b_below[x - 1] ^ b) | (b_below[x] ^ b) | (b_below[x + 1] ^ b)
            out[y, x] = tip | (differ != 0)
    return out


@compiled
def _shore_or_tip(level, basin):  # type: ignore[no-untyped-def]
    """Whether a pixel can join 4-connected holes, drain them or extend their boxes, bool."""
    out = np.zeros(level.shape, np.bool_)
    for y in range(1, level.shape[0] - 1):
        above, own, below = level[y - 1], level[y], level[y + 1]
        b_above, b_own, b_below = basin[y - 1], basin[y], basin[y + 1]
        for x in range(1, level.shape[1] - 1):
            n, w, e, s, p, b = above[x], own[x - 1], own[x + 1], below[x], own[x], b_own[x]
            tip = (min(n, w) > p) & (e >= p)
            tip |= (min(s, w) > p) & (e >= p)
            tip |= (min(w, n) > p) & (s >= p)
            tip |= (min(e, n) > p) & (s >= p)
            differ = (b_above[x] ^ b) | (b_own[x - 1] ^ b) | (b_own[x + 1] ^ b) | (b_below[x] ^ b)
            out[y, x] = (tip & (b != 0)) | (differ != 0)
    return out


@compiled
def _size_by_level(level, basin, basins, count, contours):  # type: ignore[no-untyped-def]
    """What each basin gains in size at each level, int32 [K + 1, n + 1].

    Size is the number of pixels or, for contours, twice the polygon area: each 2x2 cell adds 1 with
    its third and 1 with its fourth pixel.
    """
    gain = np.zeros((count + 1, basins + 1), np.int32)
    adds = np.ones(level.shape[1], np.int16)
    for y in range(1, level.shape[0] - 1):
        above, own, below = level[y - 1], level[y], level[y + 1]
        if contours:
            for x in range(1, level.shape[1] - 1):
                p = own[x]  # which neighbours come before it: higher, or equal and earlier
                nw, n = np.int16(above[x - 1] >= p), np.int16(above[x] >= p)
                ne, w = np.int16(above[x + 1] >= p), np.int16(own[x - 1] >= p)
                e, sw = np.int16(own[x + 1] > p), np.int16(below[x - 1] > p)
                s, se = np.int16(below[x] > p), np.int16(below[x + 1] > p)
                north = ((n & (nw | w)) | (nw & w)) + ((n & (ne | e)) | (ne & e))
                south = ((s & (sw | w)) | (sw & w)) + ((s & (se | e)) | (se & e))
                adds[x] = north + south
        for x in range(1, level.shape[1] - 1):
            gain[own[x], basin[y, x]] += adds[x]
    return gain


@compiled
def _by_level(level, chosen, count):  # type: ignore[no-untyped-def]
    """Counting sort of the chosen pixels as y << 16 | x, and where each level starts [K + 2]."""
    places = np.empty(level.size, np.int32)
    start = np.zeros(count + 2, np.int32)
    total = 0
    for y in range(1, level.shape[0] - 1):
        for x in range(1, level.shape[1] - 1):
            if chosen[y, x]:
                places[total] = (y << 16) | x
                total += 1
                start[level[y, x] + 1] += 1
    for k in range(1, count + 2):
        start[k] += start[k - 1]
    end = start.copy()
    order = np.empty(total, np.int32)
    for place in places[:total]:
        value = level[place >> 16, place & 0xFFFF]
        order[end[value]] = place
        end[value] += 1
    return order, start


# Components: a union–find forest over basins

X0, Y0, X1, Y1, SIZE, FIRST, STAMP, BAR = range(8)  # columns of a node


@compiled
def _forest(basins):  # type: ignore[no-untyped-def]
    """Parents [n + 1] and nodes [n + 1, 8] of components without pixels; 0 is no component."""
    nodes = np.empty((basins + 1, 8), np.int32)
    nodes[:, X0] = nodes[:, Y0] = nodes[:, FIRST] = FAR
    nodes[:, X1] = nodes[:, Y1] = nodes[:, STAMP] = nodes[:, BAR] = -1
    nodes[:, SIZE] = 0
    nodes[0, SIZE] = -1
    return np.arange(basins + 1).astype(np.int32), nodes


@compiled
def _find(parent, i):  # type: ignore[no-untyped-def]
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@compiled
def _unite(parent, nodes, a, b, bars, column, last):  # type: ignore[no-untyped-def]
    """Merge two components into the one of lower number; the other's bar ends at row ``last``."""
    if a == b:
        return a
    keep, lose = min(a, b), max(a, b)
    parent[lose] = keep
    nodes[keep, X0] = min(nodes[keep, X0], nodes[lose, X0])
    nodes[keep, Y0] = min(nodes[keep, Y0], nodes[lose, Y0])
    nodes[keep, X1] = max(nodes[keep, X1], nodes[lose, X1])
    nodes[keep, Y1] = max(nodes[keep, Y1], nodes[lose, Y1])
    nodes[keep, SIZE] += nodes[lose, SIZE]
    nodes[keep, FIRST] = min(nodes[keep, FIRST], nodes[lose, FIRST])
    if nodes[lose, BAR] >= 0:
        bars[nodes[lose, BAR], column] = last
    return keep


@compiled
def _grow(nodes, root, place):  # type: ignore[no-untyped-def]
    """Add a pixel (y << 16 | x, both from 1) to a component's box."""
    x, y = (place & 0xFFFF) - 1, (place >> 16) - 1
    nodes[root, X0] = min(nodes[root, X0], x)
    nodes[root, Y0] = min(nodes[root, Y0], y)
    nodes[root, X1] = max(nodes[root, X1], x + 1)
    nodes[root, Y1] = max(nodes[root, Y1], y + 1)
    nodes[root, FIRST] = min(nodes[root, FIRST], place)


@compiled
def _touch(nodes, root, now, touched, changed):  # type: ignore[no-untyped-def]
    """Note a component as changed at this level, once. Returns the number of noted ones."""
    if nodes[root, STAMP] == now:
        return changed
    nodes[root, STAMP] = now
    touched[changed] = root
    return changed + 1


@compiled
def _beats(nodes, a, b, last_wins):  # type: ignore[no-untyped-def]
    """Whether component a is larger than b; of equal ones, the first or last in raster order."""
    if nodes[a, SIZE] != nodes[b, SIZE]:
        return nodes[a, SIZE] > nodes[b, SIZE]
    if last_wins:
        return nodes[a, FIRST] > nodes[b, FIRST]
    return nodes[a, FIRST] < nodes[b, FIRST]


@compiled
def _update_lead(parent, nodes, touched, lead, last_wins):  # type: ignore[no-untyped-def]
    """Find the largest component after a level.

    It is the one that led before (or what that became) or one that changed, unless the leader's
    first pixel moved up and an equal one that did not change now comes last: then all are asked.
    """
    best = _find(parent, lead[0])
    fell = last_wins and nodes[best, SIZE] == lead[1] and nodes[best, FIRST] < lead[2]
    for i in range(1, len(parent) if fell else len(touched) + 1):
        root = _find(parent, i if fell else touched[i - 1])
        if nodes[root, Y1] >= 0 and _beats(nodes, root, best, last_wins):
            best = root
    lead[0], lead[1], lead[2] = best, nodes[best, SIZE], nodes[best, FIRST]


@compiled
def _record(parent, nodes, touched, bars, used, close, rows, margin):  # type: ignore[no-untyped-def]
    """Close the bars of components whose box changed, and open new ones.

    ``close`` is the column and value that end a bar, ``rows`` the range of an open one. Returns the
    number of bars in use.
    """
    column, last = close
    for i in touched:
        root = _find(parent, i)
        if root == 0:  # drained
            continue
        x0, y0 = nodes[root, X0] - margin, nodes[root, Y0] - margin
        x1, y1 = nodes[root, X1] + margin, nodes[root, Y1] + margin
        bar = nodes[root, BAR]
        if bar >= 0:
            same = bars[bar, 0] == x0 and bars[bar, 1] == y0
            if same and bars[bar, 2] == x1 and bars[bar, 3] == y1:
                continue
            bars[bar, column] = last
        bars[used, 0], bars[used, 1], bars[used, 2], bars[used, 3] = x0, y0, x1, y1
        bars[used, 4], bars[used, 5] = rows
        nodes[root, BAR] = used
        used += 1
    return used


# Scores


@compiled
def _pair_iou(box, truth, extra):  # type: ignore[no-untyped-def]
    """IoU of a box and the best of some ground-truth boxes [m, 4]; see `iou`."""
    best = 0.0
    area = max(box[2] - box[0] + extra, 0.0) * max(box[3] - box[1] + extra, 0.0)
    for i in range(len(truth)):
        width = min(box[2], truth[i, 2]) - max(box[0], truth[i, 0]) + extra
        height = min(box[3], truth[i, 3]) - max(box[1], truth[i, 1]) + extra
        if width <= 0 or height <= 0:
            continue
        own = (truth[i, 2] - truth[i, 0] + extra) * (truth[i, 3] - truth[i, 1] + extra)
        overlap = width * height
        best = max(best, overlap / (area + own - overlap))
    return best


@compiled
def _table_ious(table, truth, extra):  # type: ignore[no-untyped-def]
    """Best IoU [K + 1] of each row of a table of boxes."""
    out = np.empty(len(table))
    for j in range(len(table)):
        if j and (table[j] == table[j - 1]).all():
            out[j] = out[j - 1]
        else:
            out[j] = _pair_iou(table[j], truth, extra)
    return out


@compiled
def _raise_to_bars(best, bars, truth, extra):  # type: ignore[no-untyped-def]
    """Raise the best IoU of each row to that of the bars which span it, in place."""
    for i in range(len(bars)):
        value = _pair_iou(bars[i], truth, extra)
        for j in range(bars[i, 4], bars[i, 5] + 1):
            best[j] = max(best[j], value)
