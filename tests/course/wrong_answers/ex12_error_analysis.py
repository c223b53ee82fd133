"""Wrong answers to the exercises of lesson 12."""

from tests.course.wrong_answers import Wrong

WRONG = [
    Wrong(
        exercise="likely_cause",
        misconception="too large and too small are exchanged",
        code="""
import numpy as np


def area(box):
    return np.prod(np.clip(box[2:] - box[:2], 0, None))


def common(a, b):
    return area(np.concatenate([np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])]))


def likely_cause(predicted, true, other):
    overlap = common(predicted, true)
    covered = overlap / area(predicted)
    inside = overlap / area(true)
    held = 0.0
    if other is not None:
        held = common(predicted, other) / area(other)
    outside = area(predicted) - overlap
    strip = np.array([true[0], true[3], true[2], max(true[3], predicted[3])])
    below = common(predicted, strip) / outside if outside > 0 else 0.0
    large = covered * (1 - inside)
    scores = {
        "multiple instances": large * held,
        "water reflection": large * (1 - held) * below,
        "localization more": large * (1 - held) * (1 - below),
        "localization part": inside * (1 - covered),
        "label error": (1 - inside) * (1 - covered),
    }
    return max(scores, key=scores.get)
""",
    ),
    Wrong(
        exercise="likely_cause",
        misconception="a touch of another object is enough",
        code="""
import numpy as np


def area(box):
    return np.prod(np.clip(box[2:] - box[:2], 0, None))


def inter(a, b):
    x0, y0 = max(a[0], b[0]), max(a[1], b[1])
    x1, y1 = min(a[2], b[2]), min(a[3], b[3])
    return max(0, x1 - x0) * max(0, y1 - y0)


def likely_cause(predicted, true, other):
    both = inter(predicted, true)
    covered = both / area(true)
    inside = both / area(predicted)
    if other is not None and inter(predicted, other) > 0:
        held = 1
    else:
        held = 0
    rest = area(predicted) - both
    below = 0
    if rest > 0:
        below = inter(predicted, [true[0], true[3], true[2], 10**6]) / rest
    names = [
        "multiple instances",
        "water reflection",
        "localization more",
        "localization part",
        "label error",
    ]
    scores = [
        covered * (1 - inside) * held,
        covered * (1 - inside) * (1 - held) * below,
        covered * (1 - inside) * (1 - held) * (1 - below),
        inside * (1 - covered),
        (1 - inside) * (1 - covered),
    ]
    return names[int(np.argmax(scores))]
""",
    ),
    Wrong(
        exercise="likely_cause",
        misconception="whatever lies lower is a reflection",
        code="""
import numpy as np


def area(box):
    return np.prod(np.clip(box[2:] - box[:2], 0, None))


def overlap(a, b):
    corners = [max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])]
    return area(np.array(corners))


def likely_cause(predicted, true, other):
    shared = overlap(predicted, true)
    covered = shared / area(true)
    inside = shared / area(predicted)
    held = 0 if other is None else overlap(predicted, other) / area(other)
    # everything of the prediction that is under the lower edge of the true box
    lower = np.array([predicted[0], max(predicted[1], true[3]), predicted[2], predicted[3]])
    outside = area(predicted) - shared
    below = area(lower) / outside if outside else 0
    more = covered * (1 - inside)
    s = {}
    s["multiple instances"] = more * held
    s["water reflection"] = more * (1 - held) * below
    s["localization more"] = more * (1 - held) * (1 - below)
    s["localization part"] = inside * (1 - covered)
    s["label error"] = (1 - inside) * (1 - covered)
    return sorted(s, key=lambda name: -s[name])[0]
""",
    ),
    Wrong(
        exercise="likely_cause",
        misconception="boxes that touch are never a label error",
        code="""
import numpy as np


def area(box):
    return np.prod(np.clip(box[2:] - box[:2], 0, None))


def shared(a, b):
    return area(np.hstack([np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])]))


def likely_cause(predicted, true, other):
    both = shared(predicted, true)
    if both == 0:
        return "label error"
    cov = both / area(true)
    ins = both / area(predicted)
    held = shared(predicted, other) / area(other) if other is not None else 0
    out = area(predicted) - both
    under = np.array([true[0], true[3], true[2], predicted[3]])
    below = shared(predicted, under) / out if out > 0 else 0
    scores = {
        "multiple instances": cov * (1 - ins) * held,
        "water reflection": cov * (1 - ins) * (1 - held) * below,
        "localization more": cov * (1 - ins) * (1 - held) * (1 - below),
        "localization part": ins * (1 - cov),
    }
    return max(scores, key=scores.get)
""",
    ),
    Wrong(
        exercise="balanced_accuracy",
        misconception="an empty row makes the result NaN",
        code="""
def balanced_accuracy(matrix):
    recall = np.diag(matrix) / matrix.sum(axis=1)
    return float(100 * recall.mean())
""",
    ),
    Wrong(
        exercise="balanced_accuracy",
        misconception="proposals are the whole, not true causes",
        code="""
def balanced_accuracy(matrix):
    shares = []
    for c in range(len(matrix)):
        total = matrix[:, c].sum()
        if total > 0:
            shares.append(matrix[c, c] / total)
    return 100 * float(np.mean(shares))
""",
    ),
    Wrong(
        exercise="balanced_accuracy",
        misconception="a cause without any miss counts as never recognised",
        code="""
def balanced_accuracy(matrix):
    total = matrix.sum(1)
    recognised = np.diag(matrix) / np.maximum(total, 1)  # no division by zero
    return float(np.mean(recognised) * 100)
""",
    ),
    Wrong(
        exercise="flattering_matrix",
        misconception="the accuracy is too low",
        code="""
flattering_matrix = [[8, 0, 0], [1, 0, 0], [1, 0, 0]]
""",
    ),
    Wrong(
        exercise="flattering_matrix",
        misconception="the balanced accuracy is too high",
        code="""
flattering_matrix = [[95, 0, 0], [2, 1, 0], [1, 0, 1]]
""",
    ),
    Wrong(
        exercise="likely_cause",
        misconception="a share of nothing is not 0",
        code="""
import numpy as np


def common(a, b):
    return area(np.concatenate([np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])]))


def likely_cause(predicted, true, other):
    shared = common(predicted, true)
    covered, inside = shared / area(true), shared / area(predicted)
    held = common(predicted, other) / area(other) if other is not None else 0
    straight_below = np.array([true[0], true[3], true[2], predicted[3]])
    with np.errstate(invalid="ignore"):
        below = common(predicted, straight_below) / (area(predicted) - shared)
    names = ["multiple instances", "water reflection", "localization more", "localization part",
             "label error"]
    too_large = covered * (1 - inside)
    scores = [too_large * held, too_large * (1 - held) * below,
              too_large * (1 - held) * (1 - below), inside * (1 - covered),
              (1 - inside) * (1 - covered)]
    return names[np.argmax(scores)]
""",
    ),
]
