"""Wrong answers to the exercises of lesson 01."""

from tests.course.wrong_answers import Wrong

WRONG = [
    Wrong(
        exercise="iou",
        misconception="percent are given",
        code="""
import numpy as np


def iou(a, b):
    w, h = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    union = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - w * h
    return 100 * w * h / union
""",
    ),
    Wrong(
        exercise="iou",
        misconception="the union is taken for the box around both",
        code="""
def iou(a, b):
    w = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    h = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return w * h / union
""",
    ),
    Wrong(
        exercise="pxap",
        misconception="levels are joined by straight lines",
        code="""
def pxap(maps, masks, levels):
    claimed = np.array([(maps >= level).sum() for level in levels])
    hits = np.array([(maps[masks] >= level).sum() for level in levels])
    return -100 * np.trapezoid(hits / claimed, hits / masks.sum())
""",
    ),
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
    Wrong(
        exercise="iou",
        misconception="the common area is counted twice",
        code="""
import numpy as np


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def iou(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    common = w * h
    return float(common / (area(a) + area(b)))
""",
    ),
    Wrong(
        exercise="iou",
        misconception="boxes that are apart seem to overlap",
        code="""
import numpy as np


def iou(a, b):
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    top_left = np.maximum(a[:2], b[:2])
    bottom_right = np.minimum(a[2:], b[2:])
    inter = np.prod(bottom_right - top_left)
    union = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inter
    return float(inter / union)
""",
    ),
    Wrong(
        exercise="iou",
        misconception="a last column and row are added",
        code="""
import numpy as np


def iou(a, b):
    ax0, ay0, ax1, ay1 = a
    bx0, by0, bx1, by1 = b
    iw = max(0, min(ax1, bx1) - max(ax0, bx0) + 1)
    ih = max(0, min(ay1, by1) - max(ay0, by0) + 1)
    inter = iw * ih
    area_a = (ax1 - ax0 + 1) * (ay1 - ay0 + 1)
    area_b = (bx1 - bx0 + 1) * (by1 - by0 + 1)
    return float(inter / (area_a + area_b - inter))
""",
    ),
    Wrong(
        exercise="convention_flip",
        misconception="both conventions call this pair right",
        code="""
convention_flip = ((0, 0, 10, 10), (0, 0, 5, 10))  # 0.5 and 66/121
""",
    ),
    Wrong(
        exercise="convention_flip",
        misconception="both conventions call this pair wrong",
        code="""
convention_flip = ((0, 0, 100, 100), (0, 0, 70, 70))  # 0.49, and a little more with + 1
""",
    ),
    Wrong(
        exercise="gt_known",
        misconception="each image has a threshold of its own",
        code="""
def gt_known(held_out, test):
    right = 0
    for row in test:
        if max(row) >= 0.5:
            right += 1
    return 100.0 * right / len(test)
""",
    ),
    Wrong(
        exercise="gt_known",
        misconception="the threshold is that of the best mean IoU",
        code="""
def gt_known(held_out, test):
    best = held_out.mean(axis=0).argmax()
    hits = test[:, best] >= 0.5
    return float(hits.mean() * 100)
""",
    ),
    Wrong(
        exercise="gt_known",
        misconception="an IoU of exactly 0.5 is called wrong",
        code="""
def gt_known(held_out, test):
    def acc(table):
        return 100 * (table > 0.5).mean(axis=0)

    tau = int(np.argmax(acc(held_out)))
    return float(acc(test)[tau])
""",
    ),
    Wrong(
        exercise="max_box_acc_v2",
        misconception="one threshold serves all three δ",
        code="""
def max_box_acc_v2(ious):
    # find the best threshold the usual way, at 0.5
    tau = (ious >= 0.5).mean(axis=0).argmax()
    scores = []
    for delta in [0.3, 0.5, 0.7]:
        scores.append((ious[:, tau] >= delta).mean())
    return float(100 * sum(scores) / 3)
""",
    ),
    Wrong(
        exercise="max_box_acc_v2",
        misconception="the maximum is taken after the mean",
        code="""
def max_box_acc_v2(ious):
    deltas = np.array([0.3, 0.5, 0.7])
    acc = (ious[None] >= deltas[:, None, None]).mean(axis=1)  # [3, T]
    return float(acc.mean(axis=0).max() * 100)
""",
    ),
    Wrong(
        exercise="max_box_acc_v2",
        misconception="each image has a threshold of its own",
        code="""
def max_box_acc_v2(ious):
    best = ious.max(axis=1)
    return float(np.mean([(best >= d).mean() * 100 for d in (0.3, 0.5, 0.7)]))
""",
    ),
    Wrong(
        exercise="pxap",
        misconception="every image has a curve of its own",
        code="""
def _one(m, mask, levels):
    total, prec, rec = mask.sum(), [], []
    for t in levels:
        claimed = m >= t
        hits = (claimed & mask).sum()
        prec.append(hits / max(claimed.sum(), 1))
        rec.append(hits / max(total, 1))
    rec.append(0.0)
    return sum(p * (rec[i] - rec[i + 1]) for i, p in enumerate(prec))


def pxap(maps, masks, levels):
    return float(100 * np.mean([_one(m, g, levels) for m, g in zip(maps, masks)]))
""",
    ),
    Wrong(
        exercise="pxap",
        misconception="the area is negative",
        code="""
def pxap(maps, masks, levels):
    hits = np.array([(masks & (maps >= level)).sum() for level in levels])
    claimed = np.array([(maps >= level).sum() for level in levels])
    precision = hits / np.maximum(claimed, 1)
    recall = hits / masks.sum()
    return float(100 * (precision * np.diff(recall, append=0)).sum())
""",
    ),
    Wrong(
        exercise="pxap",
        misconception="the last step is missing",
        code="""
def pxap(maps, masks, levels):
    p, r = [], []
    for level in levels:
        on = maps >= level
        tp = np.logical_and(on, masks).sum()
        p.append(tp / on.sum() if on.any() else 0.0)
        r.append(tp / masks.sum())
    ap = 0.0
    for i in range(len(levels) - 1):
        ap += p[i] * (r[i] - r[i + 1])
    return float(ap * 100)
""",
    ),
    Wrong(
        exercise="pxap",
        misconception="a step counts at its upper level",
        code="""
import numpy as np


def pxap(maps, masks, levels):
    precision, recall = [], []
    for level in levels:
        claimed = maps >= level
        hits = (claimed & masks).sum()
        precision.append(hits / claimed.sum())
        recall.append(hits / masks.sum())
    steps = zip(precision[1:], recall, recall[1:])
    return 100 * sum(p * (before - after) for p, before, after in steps)
""",
    ),
]
