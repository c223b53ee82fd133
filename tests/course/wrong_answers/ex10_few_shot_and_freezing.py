"""Wrong answers to the exercises of lesson 10."""

from tests.course.wrong_answers import Wrong

WRONG = [
    Wrong(
        exercise="draw_shots",
        misconception="more shots are other images",
        code="""
import numpy as np


def draw_shots(labels, shots, seed, held_out):
    rng = np.random.default_rng(seed)
    out = []
    for c in np.unique(labels):
        candidates = [i for i in np.where(labels == c)[0] if i not in held_out]
        out += [int(i) for i in rng.choice(candidates, size=shots, replace=False)]
    return out
""",
    ),
    Wrong(
        exercise="draw_shots",
        misconception="held-out images leak into training",
        code="""
import numpy as np


def draw_shots(labels, shots, seed, held_out):
    order = np.random.default_rng(seed).permutation(len(labels))
    counts = {}
    chosen = []
    for i in order:
        c = int(labels[i])
        if counts.get(c, 0) < shots:
            counts[c] = counts.get(c, 0) + 1
            chosen.append(int(i))
    return chosen
""",
    ),
    Wrong(
        exercise="draw_shots",
        misconception="an image is drawn twice",
        code="""
import numpy as np


def draw_shots(labels, shots, seed, held_out):
    drawn = []
    for c in sorted(set(labels.tolist())):
        pool = [i for i, y in enumerate(labels.tolist()) if y == c and i not in held_out]
        rng = np.random.default_rng([seed, c])
        for _ in range(shots):
            drawn.append(pool[rng.integers(len(pool))])
    return drawn
""",
    ),
    Wrong(
        exercise="draw_shots",
        misconception="the classes are not counted",
        code="""
import numpy as np


def draw_shots(labels, shots, seed, held_out):
    rng = np.random.default_rng(seed)
    allowed = np.array([i for i in range(len(labels)) if i not in held_out])
    rng.shuffle(allowed)
    n_classes = len(np.unique(labels))
    return allowed[: shots * n_classes].tolist()
""",
    ),
    Wrong(
        exercise="tuned_share",
        misconception="the share is taken of the whole model",
        code="""
import math


def tuned_share(parameters):
    total = sum(math.prod(shape) for _, shape, _ in parameters)
    tuned = sum(math.prod(shape) for _, shape, t in parameters if t)
    return 100 * tuned / total
""",
    ),
    Wrong(
        exercise="tuned_share",
        misconception="tuned parameters of the backbone are compared with the whole model",
        code="""
import math


def tuned_share(parameters):
    everything = 0
    tuned = 0
    for name, shape, is_tuned in parameters:
        n = math.prod(shape)
        everything += n
        if is_tuned and name.startswith("backbone."):
            tuned += n
    return tuned / everything * 100
""",
    ),
    Wrong(
        exercise="tuned_share",
        misconception="tensors are counted, not numbers",
        code="""
import math


def tuned_share(parameters):
    flags = [tuned for name, shape, tuned in parameters if name.startswith("backbone.")]
    return 100.0 * sum(flags) / len(flags)
""",
    ),
    Wrong(
        exercise="share_learned",
        misconception="what the backbone knew is credited to training",
        code="""
def share_learned(untrained, few, full):
    return 100 * few / full
""",
    ),
    Wrong(
        exercise="share_learned",
        misconception="the gain is divided by the untrained score",
        code="""
def share_learned(untrained, few, full):
    gain = few - untrained
    return gain / untrained * 100
""",
    ),
]
