"""Exercises on other image sizes, other data sets, and the baseline that both need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from satkit.course.answers import chooses, leaves_out, letters
from satkit.course.checks import Arguments, Exercise, Misconception

# --------------------------------------------------------------------------------------------------
# resize_positions
# --------------------------------------------------------------------------------------------------

Grid = tuple[int, int]


def _resized(grid: Tensor, new: Grid) -> Tensor:
    """[1, D, h, w] -> [1, H W, D]."""
    return interpolate(grid, size=new, mode="bilinear").flatten(2).transpose(1, 2)


def _resize_positions(positions: Tensor, prefix: int, old: Grid, new: Grid) -> Tensor:
    grid = positions[:, prefix:].transpose(1, 2).unflatten(2, old)  # [1, D, h, w]
    return torch.cat([positions[:, :prefix], _resized(grid, new)], dim=1)


def _positions_mixed_up(positions: Tensor, prefix: int, old: Grid, new: Grid) -> Tensor:
    grid = positions[:, prefix:].reshape(1, -1, *old)  # channels and patches are confused
    return torch.cat([positions[:, :prefix], _resized(grid, new)], dim=1)


def _positions_mixed_up_twice(positions: Tensor, prefix: int, old: Grid, new: Grid) -> Tensor:
    grid = positions[:, prefix:].reshape(1, -1, *old)
    resized = interpolate(grid, size=new, mode="bilinear").reshape(1, new[0] * new[1], -1)
    return torch.cat([positions[:, :prefix], resized], dim=1)


def _positions_mixed_up_behind(positions: Tensor, prefix: int, old: Grid, new: Grid) -> Tensor:
    grid = positions[:, prefix:].transpose(1, 2).unflatten(2, old)
    resized = interpolate(grid, size=new, mode="bilinear").reshape(1, new[0] * new[1], -1)
    return torch.cat([positions[:, :prefix], resized], dim=1)


def _positions_in_a_row(positions: Tensor, prefix: int, old: Grid, new: Grid) -> Tensor:
    row = positions[:, prefix:].transpose(1, 2)  # [1, D, h w]
    longer = interpolate(row, size=new[0] * new[1], mode="linear").transpose(1, 2)
    return torch.cat([positions[:, :prefix], longer], dim=1)


def _positions_of_patches(positions: Tensor, prefix: int, old: Grid, new: Grid) -> Tensor:
    return _resize_positions(positions, prefix, old, new)[:, prefix:]


def _positions_sides_exchanged(positions: Tensor, prefix: int, old: Grid, new: Grid) -> Tensor:
    grid = positions[:, prefix:].transpose(1, 2).unflatten(2, (old[1], old[0]))
    return torch.cat([positions[:, :prefix], _resized(grid, new)], dim=1)


def _positions_sides_exchanged_twice(
    positions: Tensor, prefix: int, old: Grid, new: Grid
) -> Tensor:
    return _positions_sides_exchanged(positions, prefix, old, (new[1], new[0]))


def _positions_new_sides_exchanged(positions: Tensor, prefix: int, old: Grid, new: Grid) -> Tensor:
    return _resize_positions(positions, prefix, old, (new[1], new[0]))


def _positions_in_columns(positions: Tensor, prefix: int, old: Grid, new: Grid) -> Tensor:
    grid = positions[:, prefix:].transpose(1, 2).unflatten(2, (old[1], old[0])).mT  # [1, D, h, w]
    resized = interpolate(grid, size=new, mode="bilinear").mT.flatten(2).transpose(1, 2)
    return torch.cat([positions[:, :prefix], resized], dim=1)


def _positions_behind(positions: Tensor, prefix: int, old: Grid, new: Grid) -> Tensor:
    right = _resize_positions(positions, prefix, old, new)
    return torch.cat([right[:, prefix:], right[:, :prefix]], dim=1)


def _embeddings(rng: np.random.Generator) -> Iterator[Arguments]:
    for prefix, old, new in ((1, (3, 5), (4, 7)), (5, (4, 2), (3, 6)), (2, (2, 3), (4, 4))):
        shape = (1, prefix + old[0] * old[1], 6)
        yield torch.tensor(rng.normal(size=shape)), prefix, old, new


# --------------------------------------------------------------------------------------------------
# full_image_accuracy
# --------------------------------------------------------------------------------------------------

Boxes = Sequence[np.ndarray]


def _full_image_ious(boxes: Boxes, size: int) -> list[np.ndarray]:
    return [(own[:, 2:] - own[:, :2]).prod(axis=1) / size**2 for own in boxes]


def _full_image_accuracy(boxes: Boxes, size: int, delta: float) -> float:
    return 100 * float(np.mean([own.max() >= delta for own in _full_image_ious(boxes, size)]))


def _full_image_summed(boxes: Boxes, size: int, delta: float) -> float:
    return 100 * float(np.mean([own.sum() >= delta for own in _full_image_ious(boxes, size)]))


def _full_image_first(boxes: Boxes, size: int, delta: float) -> float:
    return 100 * float(np.mean([own[0] >= delta for own in _full_image_ious(boxes, size)]))


def _full_image_mean_iou(boxes: Boxes, size: int, delta: float) -> float:
    return 100 * float(np.mean([own.max() for own in _full_image_ious(boxes, size)]))


def _full_image_above(boxes: Boxes, size: int, delta: float) -> float:
    return 100 * float(np.mean([own.max() > delta for own in _full_image_ious(boxes, size)]))


def _full_image_per_box(boxes: Boxes, size: int, delta: float) -> float:
    return 100 * float(np.mean(np.concatenate(_full_image_ious(boxes, size)) >= delta))


def _full_image_sides(boxes: Boxes, size: int, delta: float) -> float:
    longest = [(own[:, 2:] - own[:, :2]).max() / size for own in boxes]
    return 100 * float(np.mean([side >= delta for side in longest]))


def _boxes_of_images(rng: np.random.Generator) -> Iterator[Arguments]:
    size = 100
    always = [
        np.array([[0, 0, 50, 100]]),  # exactly half of the image
        np.array([[0, 50, 100, 100]]),  # so is this
        np.array([[0, 0, 45, 90], [50, 10, 95, 100]]),  # two birds, together more than half
        np.array([[80, 80, 90, 90], [0, 5, 75, 100]]),  # the second one is large
        np.array([[0, 40, 100, 60]]),  # long and thin
    ]
    for _ in range(3):
        corners = np.sort(rng.integers(0, 101, (9, 2, 2)), axis=1)  # [9, low and high, x and y]
        random = [np.maximum(one.reshape(1, 4), [[0, 0, 1, 1]]) for one in corners]
        large = np.array([[2, 3, int(rng.integers(80, 100)), int(rng.integers(80, 100))]])
        yield [*always, large, *random], size, 0.5


EXERCISES = (
    Exercise(
        name="resize_positions",
        title="Positions for another image size",
        difficulty=3,
        importance=2,
        minutes=25,
        points=3,
        reference=_resize_positions,
        idea="Prefix tokens keep their vectors. The rest is an image of the grid's size, with D "
        "channels.",
        misconceptions=(
            Misconception(
                "the class token is lost",
                "Prefix tokens have no place on the grid. They are not resized, but they stay in "
                "front of the sequence.",
                _positions_of_patches,
            ),
            Misconception(
                "the prefix stands behind the patches",
                "Prefix tokens come first in the sequence, before and after.",
                _positions_behind,
            ),
            Misconception(
                "channels and patches are mixed up",
                "A reshape does not move numbers. The channels stand last in the sequence and "
                "first in an image, so the axes have to be exchanged first.",
                _positions_mixed_up,
                also=(_positions_mixed_up_twice, _positions_mixed_up_behind),
            ),
            Misconception(
                "the positions are resized as a row",
                "A patch has neighbours to its left and right, but above and below, too. In a row "
                "the end of one line would blend into the beginning of the next.",
                _positions_in_a_row,
            ),
            Misconception(
                "height and width are exchanged",
                "The sequence runs along each row of the grid: the width is the axis that changes "
                "fastest, so it comes last.",
                _positions_sides_exchanged,
                also=(
                    _positions_sides_exchanged_twice,
                    _positions_new_sides_exchanged,
                    _positions_in_columns,
                ),
            ),
        ),
        cases=_embeddings,
    ),
    Exercise(
        name="full_image_accuracy",
        title="The box that needs no model",
        difficulty=1,
        importance=3,
        minutes=15,
        points=2,
        reference=_full_image_accuracy,
        idea="The box of the whole image holds every true box, so their IoU is the share of the "
        "image that the true box covers.",
        misconceptions=(
            Misconception(
                "the boxes of an image are added up",
                "A hit needs *one* true box that fits; two birds do not make a large one.",
                _full_image_summed,
            ),
            Misconception(
                "only the first box of an image counts",
                "An image is hit if any of its boxes fits; the list has no order.",
                _full_image_first,
            ),
            Misconception(
                "the mean IoU is given",
                "GT-known Loc counts images that are hit; how far above or below δ they lie does "
                "not matter.",
                _full_image_mean_iou,
            ),
            Misconception(
                "an IoU of exactly δ is a miss",
                "From δ on a box is right: at least, not above.",
                _full_image_above,
            ),
            Misconception(
                "boxes are counted, not images",
                "The share is one of images: an image with many boxes counts once.",
                _full_image_per_box,
            ),
            Misconception(
                "a long side is taken for a large area",
                "IoU compares areas. A box as wide as the image may be thin.",
                _full_image_sides,
            ),
        ),
        cases=_boxes_of_images,
    ),
    Exercise(
        name="elsewhere",
        title="What follows from numbers of different data sets?",
        difficulty=2,
        importance=2,
        minutes=10,
        points=2,
        reference="BD",
        idea="Within one data set methods can be compared; between data sets the images differ, "
        "too.",
        misconceptions=(
            chooses(
                "A",
                "BD",
                "scores of different data sets are compared (A)",
                "The images differ: large objects on plain ground are easier for every method. "
                "Nothing says which maps would be better on the same images.",
            ),
            chooses(
                "C",
                "BD",
                "a large gap is credited to one method alone (C)",
                "A gap has two ends. TS-CAM lies far lower on dogs than elsewhere, so its weakness "
                "may explain the gap as well as a strength of SAT.",
            ),
            leaves_out(
                "B",
                "BD",
                "the sign of the gaps is not trusted (B)",
                "Within each data set both methods saw the same images, so the order of the two "
                "can be read there, and it is the same in all three.",
            ),
            leaves_out(
                "D",
                "BD",
                "the baseline of each data set is thought superfluous (D)",
                "Where objects fill the images, the box of the whole image is often right. Without "
                "that number nobody knows how much a high score is worth.",
            ),
        ),
        run=letters,
    ),
)
