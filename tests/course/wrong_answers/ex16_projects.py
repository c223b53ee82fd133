"""Wrong answers to the exercises of lesson 16."""

from tests.course.wrong_answers import Wrong

WRONG = [
    Wrong(
        exercise="pixel_loss",
        misconception="no gradient comes back",
        code="""
import torch


def pixel_loss(maps):
    # share of patches that are not decided yet
    undecided = (maps > 0.05) & (maps < 0.95)
    return undecided.float().mean()
""",
    ),
    Wrong(
        exercise="pixel_loss",
        misconception="a larger batch costs more",
        code="""
import torch


def pixel_loss(maps):
    loss = 0
    for m in maps:
        loss = loss + torch.minimum(m, 1 - m).mean()
    return loss
""",
    ),
    Wrong(
        exercise="pixel_loss",
        misconception="a patch at 0.1 is left alone",
        code="""
import torch


def pixel_loss(maps):
    distance = torch.minimum(maps, 1 - maps)
    return torch.relu(distance - 0.2).mean()  # below 0.2 or above 0.8 is good enough
""",
    ),
    Wrong(
        exercise="pixel_loss",
        misconception="a number for each image",
        code="""
import torch


def pixel_loss(maps):
    return (4 * maps * (1 - maps)).flatten(1).mean(dim=1)
""",
    ),
    Wrong(
        exercise="annotator_agreement",
        misconception="only images with agreement are averaged",
        code="""
import numpy as np


def annotator_agreement(first, second):
    ious = []
    for a, b in zip(first, second):
        w = min(a[2], b[2]) - max(a[0], b[0])
        h = min(a[3], b[3]) - max(a[1], b[1])
        inter = max(w, 0) * max(h, 0)
        union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
        ious.append(inter / union)
    ious = np.array(ious)
    agree = ious >= 0.5
    return float(ious[agree].mean()), float(100 * agree.mean())
""",
    ),
    Wrong(
        exercise="annotator_agreement",
        misconception="boxes of different images are compared",
        code="""
import numpy as np


def annotator_agreement(first, second):
    a, b = first[:, None], second[None, :]
    wh = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None)
    inter = wh[..., 0] * wh[..., 1]
    area_a = (a[..., 2] - a[..., 0]) * (a[..., 3] - a[..., 1])
    area_b = (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])
    iou = inter / (area_a + area_b - inter)
    return float(iou.mean()), float((iou >= 0.5).mean() * 100)
""",
    ),
    Wrong(
        exercise="annotator_agreement",
        misconception="agreement is taken for identity",
        code="""
import numpy as np


def annotator_agreement(first, second):
    top = np.maximum(first[:, :2], second[:, :2])
    bottom = np.minimum(first[:, 2:], second[:, 2:])
    inter = np.clip(bottom - top, 0, None).prod(axis=1)
    union = (first[:, 2:] - first[:, :2]).prod(1) + (second[:, 2:] - second[:, :2]).prod(1) - inter
    same = (first == second).all(axis=1)
    return float((inter / union).mean()), 100 * float(same.mean())
""",
    ),
    Wrong(
        exercise="claim_plan",
        misconception="the ledger has no such claim",
        code="""
claim_plan = {"claim": "SAT is better than TS-CAM", "seeds": 5, "minutes": 3, "hours": 8}
""",
    ),
    Wrong(
        exercise="claim_plan",
        misconception="there are too few seeds",
        code="""
from satkit.paper import claims

claim_plan = {"claim": claims()["id"].iloc[0], "seeds": 1, "minutes": 5, "hours": 8}
""",
    ),
    Wrong(
        exercise="claim_plan",
        misconception="the time is not enough for all runs",
        code="""
from satkit.paper import claims

# 6 seeds of 20 minutes are 2 hours
claim_plan = {"claim": claims()["id"].iloc[0], "seeds": 6, "minutes": 20, "hours": 2}
""",
    ),
    Wrong(
        exercise="kappa",
        misconception="chance is the same for every cause",
        code="""
def kappa(first, second):
    n = len(first)
    p = sum(a == b for a, b in zip(first, second)) / n
    causes = set(first) | set(second)
    c = 1 / len(causes)
    return (p - c) / (1 - c)
""",
    ),
    Wrong(
        exercise="kappa",
        misconception="only one judge's habits are used",
        code="""
from collections import Counter


def kappa(first, second):
    n = len(first)
    p = sum(1 for i in range(n) if first[i] == second[i]) / n
    counts = Counter(first)
    c = sum((k / n) ** 2 for k in counts.values())
    return (p - c) / (1 - c)
""",
    ),
    Wrong(
        exercise="kappa",
        misconception="the rest is not scaled",
        code="""
def kappa(first, second):
    first, second = np.array(first), np.array(second)
    p = np.mean(first == second)
    c = 0
    for name in np.unique(np.concatenate([first, second])):
        c += np.mean(first == name) * np.mean(second == name)
    return float(p - c)
""",
    ),
    Wrong(
        exercise="extra_harm",
        misconception="the sign is reversed",
        code="""
def extra_harm(sat_hard, sat_twin, other_hard, other_twin):
    sat = 100 * (sat_hard.mean() - sat_twin.mean())
    other = 100 * (other_hard.mean() - other_twin.mean())
    return float(sat - other)
""",
    ),
    Wrong(
        exercise="extra_harm",
        misconception="harm is measured in percent of the twins",
        code="""
def loss_in_percent(hard, twin):
    return 100 * (np.mean(twin) - np.mean(hard)) / np.mean(twin)


def extra_harm(sat_hard, sat_twin, other_hard, other_twin):
    return float(loss_in_percent(sat_hard, sat_twin) - loss_in_percent(other_hard, other_twin))
""",
    ),
    Wrong(
        exercise="extra_harm",
        misconception="only the hard drawings are compared",
        code="""
def extra_harm(sat_hard, sat_twin, other_hard, other_twin):
    n = len(sat_hard)
    return 100 * (int(sum(other_hard)) - int(sum(sat_hard))) / n
""",
    ),
]
