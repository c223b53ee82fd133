"""Wrong answers to the exercises of lesson 05."""

from tests.course.wrong_answers import Wrong

WRONG = [
    Wrong(
        exercise="cosine_lr",
        misconception="the angle ends at 1 instead of π",
        code="""
def cosine_lr(step, steps, lr, min_lr):
    return min_lr + 0.5 * (lr - min_lr) * (1 + math.cos(step / steps))
""",
    ),
    Wrong(
        exercise="decayed",
        misconception="the scales of normalization layers are decayed",
        code="""
def decayed(parameters):
    names = set()
    for name, shape, trainable in parameters:
        if not trainable:
            continue
        if name.endswith(".bias"):
            continue
        names.add(name)
    return names
""",
    ),
    Wrong(
        exercise="decayed",
        misconception="frozen parameters are decayed, too",
        code="""
def decayed(parameters):
    return {n for n, s, _ in parameters if len(s) > 1 and not n.endswith(".bias")}
""",
    ),
    Wrong(
        exercise="decayed",
        misconception="the tokens are left out",
        code="""
def decayed(parameters):
    out = set()
    for name, shape, trainable in parameters:
        special = "token" in name or "pos" in name
        if trainable and len(shape) != 1 and not name.endswith(".bias") and not special:
            out.add(name)
    return out
""",
    ),
    Wrong(
        exercise="cosine_lr",
        misconception="the floor is added on top",
        code="""
import math


def cosine_lr(step, steps, lr, min_lr):
    wave = 0.5 * (1 + math.cos(math.pi * step / steps))
    return min_lr + lr * wave
""",
    ),
    Wrong(
        exercise="cosine_lr",
        misconception="the floor cuts the wave off",
        code="""
import math


def cosine_lr(step, steps, lr, min_lr):
    rate = lr * (1 + math.cos(math.pi * step / steps)) / 2
    if rate < min_lr:
        return min_lr
    return rate
""",
    ),
    Wrong(
        exercise="cosine_lr",
        misconception="only a quarter of the wave is used",
        code="""
import math


def cosine_lr(step, steps, lr, min_lr):
    t = step / steps
    return min_lr + (lr - min_lr) * math.cos(t * math.pi / 2)
""",
    ),
    Wrong(
        exercise="read_logs",
        misconception="log 1: empty and full maps are mixed up",
        code="""
read_logs = {"log 1": "E", "log 2": "A", "log 3": "D", "log 4": "B", "log 5": "C"}
""",
    ),
    Wrong(
        exercise="read_logs",
        misconception="log 4: maps that stand still are taken for good ones",
        code="""
read_logs = {"log 1": "D", "log 2": "A", "log 3": "E", "log 4": "F", "log 5": "C"}
""",
    ),
    Wrong(
        exercise="read_logs",
        misconception="log 2: the classifier is taken for a good one",
        code="""
read_logs = dict(zip([f"log {i}" for i in range(1, 6)], "DFEBC"))
""",
    ),
    Wrong(
        exercise="decayed",
        misconception="whatever has bias in its name is spared",
        code="""
def decayed(parameters):
    return {n for n, shape, train in parameters if train and len(shape) > 1 and "bias" not in n}
""",
    ),
]
