"""Wrong answers to the exercises of lesson 13."""

from tests.course.wrong_answers import Wrong

WRONG = [
    Wrong(
        exercise="told_apart",
        misconception="the matrix is applied the wrong way round",
        code="""
from itertools import combinations

import numpy as np


def told_apart(colors, sight):
    seen = np.clip(np.asarray(colors) @ np.asarray(sight), 0, 1)
    return float(min(np.linalg.norm(p - q) for p, q in combinations(seen, 2)))
""",
    ),
    Wrong(
        exercise="told_apart",
        misconception="a colour is compared with itself",
        code="""
from itertools import combinations

import numpy as np


def told_apart(colors, sight):
    seen = np.clip(colors @ sight.T, 0, 1)
    dist = np.sqrt(((seen[:, None, :] - seen[None, :, :]) ** 2).sum(-1))
    return float(dist.min())
""",
    ),
    Wrong(
        exercise="told_apart",
        misconception="only neighbours in the list are compared",
        code="""
from itertools import combinations

import numpy as np


def told_apart(colors, sight):
    seen = [np.clip(sight @ c, 0, 1) for c in colors]
    smallest = float("inf")
    for k in range(len(seen) - 1):
        d = float(np.sqrt(((seen[k] - seen[k + 1]) ** 2).sum()))
        if d < smallest:
            smallest = d
    return smallest
""",
    ),
    Wrong(
        exercise="alt_text",
        misconception="nobody hears where the lines are highest",
        code="""
def alt_text(title, xs, lines):
    parts = [f"{name} reaches {max(values):.1f}" for name, values in lines.items()]
    return f"{title}: line chart. " + "; ".join(parts) + "."
""",
    ),
    Wrong(
        exercise="alt_text",
        misconception="every point is read out",
        code="""
def alt_text(title, xs, lines):
    text = title + ". "
    for name, values in lines.items():
        points = ", ".join(f"{v:.1f} at {x:g}" for x, v in zip(xs, values))
        i = int(np.argmax(values))
        text += f"The line {name} has the values {points}; "
        text += f"its highest value is {values[i]:.1f} at {xs[i]:g}. "
    return text
""",
    ),
    Wrong(
        exercise="alt_text",
        misconception="the looks are described, not the data",
        code="""
def alt_text(title, xs, lines):
    colours = ["blue", "orange", "green", "red", "purple", "brown"]
    sentences = [f"A line chart with the title {title}."]
    for k, name in enumerate(lines):
        sentences.append(f"{name} is drawn as a {colours[k % len(colours)]} line.")
    return " ".join(sentences)
""",
    ),
    Wrong(
        exercise="bar_exaggeration",
        misconception="the ratio of the bars is not compared with that of the numbers",
        code="""
def bar_exaggeration(small, large, start):
    return (large - start) / (small - start)
""",
    ),
    Wrong(
        exercise="bar_exaggeration",
        misconception="the ratio is upside down",
        code="""
def bar_exaggeration(small, large, start):
    true_ratio = large / small
    looks = (large - start) / (small - start)
    return true_ratio / looks
""",
    ),
]
