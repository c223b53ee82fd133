"""Exercises on boxes and metrics."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from satkit.course.checks import Arguments, Exercise, Misconception


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    common = sides.prod()
    return float(common / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - common))


def _iou_union_twice(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    return float(sides.prod() / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()))


def _iou_unclipped(a: np.ndarray, b: np.ndarray) -> float:
    common = (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).prod()
    return float(common / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - common))


def _pairs(rng: np.random.Generator) -> Iterator[Arguments]:
    for _ in range(8):
        corners = rng.uniform(0, 100, (2, 2, 2))
        first, second = np.concatenate([corners.min(1), corners.max(1)], axis=1)
        yield first, second
    yield np.array([0.0, 0.0, 2.0, 2.0]), np.array([0.0, 0.0, 2.0, 2.0])
    yield np.array([0.0, 0.0, 1.0, 1.0]), np.array([2.0, 2.0, 4.0, 4.0])  # apart in x and in y


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
            ),
        ),
        cases=_pairs,
    ),
)
