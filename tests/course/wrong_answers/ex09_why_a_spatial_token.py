"""Wrong answers to the exercises of lesson 09."""

from tests.course.wrong_answers import Wrong

WRONG = [
    Wrong(
        exercise="gradient_cosine",
        misconception="every parameter counts alike",
        code="""
import torch


def gradient_cosine(first, second):
    cosines = []
    for g1, g2 in zip(first, second):
        if g1 is None or g2 is None:
            continue
        cos = torch.nn.functional.cosine_similarity(g1.flatten(), g2.flatten(), dim=0)
        cosines.append(cos.item())
    return sum(cosines) / len(cosines)
""",
    ),
    Wrong(
        exercise="gradient_cosine",
        misconception="parameters that one loss does not touch are counted",
        code="""
import torch


def gradient_cosine(first, second):
    us, vs = [], []
    for u, v in zip(first, second):
        if u is None and v is None:
            continue
        # None means that the gradient is zero
        if u is None:
            u = torch.zeros_like(v)
        if v is None:
            v = torch.zeros_like(u)
        us.append(u.reshape(-1))
        vs.append(v.reshape(-1))
    u = torch.cat(us)
    v = torch.cat(vs)
    return float(u @ v / (u.norm() * v.norm()))
""",
    ),
    Wrong(
        exercise="gradient_cosine",
        misconception="signs are counted",
        code="""
import torch


def gradient_cosine(first, second):
    both = [(a, b) for a, b in zip(first, second) if a is not None and b is not None]
    a = torch.cat([p[0].flatten() for p in both])
    b = torch.cat([p[1].flatten() for p in both])
    # +1 where they pull the same way, -1 where they fight
    return (torch.sign(a) * torch.sign(b)).mean().item()
""",
    ),
    Wrong(
        exercise="price_of_sharing",
        misconception="the compromise lies in the middle",
        code="""
import numpy as np


def price_of_sharing(c, l, a, b):  # noqa: E741
    middle = (c + l) / 2
    return float(a * np.sum((middle - c) ** 2) + b * np.sum((middle - l) ** 2))
""",
    ),
    Wrong(
        exercise="price_of_sharing",
        misconception="one task gets all, the other pays",
        code="""
import numpy as np


def price_of_sharing(c, l, a, b):  # noqa: E741
    distance = np.linalg.norm(c - l) ** 2
    if a > b:
        return float(b * distance)  # token at c, localization pays
    return float(a * distance)
""",
    ),
    Wrong(
        exercise="price_of_sharing",
        misconception="the weights are not scaled",
        code="""
import numpy as np


def price_of_sharing(c, l, a, b):  # noqa: E741
    t = a * c + b * l  # weighted mean of the two wishes
    price_c = a * ((t - c) ** 2).sum()
    price_l = b * ((t - l) ** 2).sum()
    return float(price_c + price_l)
""",
    ),
    Wrong(
        exercise="without_conflict",
        misconception="gradients that agree are changed, too",
        code="""
def without_conflict(g, h):
    s = torch.dot(g, h) / torch.dot(h, h)
    return g - s * h
""",
    ),
    Wrong(
        exercise="without_conflict",
        misconception="the part along h has the wrong length",
        code="""
def without_conflict(g, h):
    dot = (g * h).sum()
    if dot >= 0:
        return g
    return g - dot / h.norm() * h
""",
    ),
]
