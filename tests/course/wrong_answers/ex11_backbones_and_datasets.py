"""Wrong answers to the exercises of lesson 11."""

from tests.course.wrong_answers import Wrong

WRONG = [
    Wrong(
        exercise="resize_positions",
        misconception="channels and patches are mixed up",
        code="""
import torch
from torch.nn.functional import interpolate


def resize_positions(positions, prefix, old, new):
    head, grid = positions[:, :prefix], positions[:, prefix:]
    d = positions.shape[-1]
    grid = grid.reshape(1, d, old[0], old[1])
    grid = interpolate(grid, size=new, mode="bilinear", align_corners=False)
    grid = grid.reshape(1, new[0] * new[1], d)
    return torch.cat([head, grid], dim=1)
""",
    ),
    Wrong(
        exercise="resize_positions",
        misconception="the positions are resized as a row",
        code="""
import torch
from torch.nn.functional import interpolate


def resize_positions(positions, prefix, old, new):
    tokens = positions[:, :prefix]
    patches = positions[:, prefix:].permute(0, 2, 1)  # [1, D, h w]
    patches = interpolate(patches, size=new[0] * new[1], mode="linear")
    return torch.cat((tokens, patches.permute(0, 2, 1)), 1)
""",
    ),
    Wrong(
        exercise="resize_positions",
        misconception="height and width are exchanged",
        code="""
import torch
from torch.nn.functional import interpolate


def resize_positions(positions, prefix, old, new):
    x = positions[:, prefix:].transpose(1, 2)
    w, h = old
    new_w, new_h = new
    image = x.unflatten(2, (h, w))
    image = interpolate(image, size=(new_h, new_w), mode="bilinear")
    x = image.flatten(2).transpose(1, 2)
    return torch.cat([positions[:, :prefix], x], dim=1)
""",
    ),
    Wrong(
        exercise="full_image_accuracy",
        misconception="the boxes of an image are added up",
        code="""
import numpy as np


def full_image_accuracy(boxes, size, delta):
    hits = 0
    for b in boxes:
        covered = ((b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])).sum()
        if covered / size**2 >= delta:
            hits += 1
    return 100 * hits / len(boxes)
""",
    ),
    Wrong(
        exercise="full_image_accuracy",
        misconception="boxes are counted, not images",
        code="""
import numpy as np


def full_image_accuracy(boxes, size, delta):
    all_boxes = np.concatenate(boxes, axis=0)
    w = all_boxes[:, 2] - all_boxes[:, 0]
    h = all_boxes[:, 3] - all_boxes[:, 1]
    iou = w * h / (size * size)
    return float((iou >= delta).mean() * 100)
""",
    ),
    Wrong(
        exercise="full_image_accuracy",
        misconception="an IoU of exactly δ is a miss",
        code="""
import numpy as np


def full_image_accuracy(boxes, size, delta):
    def hit(image_boxes):
        for x0, y0, x1, y1 in image_boxes:
            if (x1 - x0) * (y1 - y0) / size**2 > delta:
                return True
        return False

    return 100.0 * float(np.mean([hit(b) for b in boxes]))
""",
    ),
    Wrong(
        exercise="elsewhere",
        misconception="a large gap is credited to one method alone (C)",
        code="""
elsewhere = "BCD"
""",
    ),
    Wrong(
        exercise="elsewhere",
        misconception="the sign of the gaps is not trusted (B)",
        code="""
elsewhere = "D"  # one run each, so B does not follow
""",
    ),
]
