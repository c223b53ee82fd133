"""Wrong answers to the exercises on boxes and metrics."""

from tests.course.wrong_answers import Wrong

WRONG = [
    Wrong(
        exercise="iou",
        misconception="the common area is counted twice",
        code="""
def iou(a, b):
    x0, y0 = max(a[0], b[0]), max(a[1], b[1])
    x1, y1 = min(a[2], b[2]), min(a[3], b[3])
    common = max(x1 - x0, 0) * max(y1 - y0, 0)
    area = lambda box: (box[2] - box[0]) * (box[3] - box[1])
    return common / (area(a) + area(b))
""",
    ),
    Wrong(
        exercise="iou",
        misconception="boxes that are apart seem to overlap",
        code="""
def iou(a, b):
    common = (min(a[2], b[2]) - max(a[0], b[0])) * (min(a[3], b[3]) - max(a[1], b[1]))
    area = lambda box: (box[2] - box[0]) * (box[3] - box[1])
    return common / (area(a) + area(b) - common)
""",
    ),
    Wrong(
        exercise="iou",
        misconception="boxes that are apart seem to overlap",
        code="""
import torch

def iou(a, b):
    a, b = torch.as_tensor(a), torch.as_tensor(b)
    sides = torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])
    common = sides[0] * sides[1]
    union = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - common
    return float(common / union)
""",
    ),
]
