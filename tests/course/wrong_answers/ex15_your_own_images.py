"""Wrong answers to the exercises of lesson 15."""

from tests.course.wrong_answers import Wrong

WRONG = [
    Wrong(
        exercise="upright_box",
        misconception="6 and 8 are exchanged",
        code="""
def upright_box(box, orientation, width, height):
    x0, y0, x1, y1 = box
    if orientation == 3:
        return width - x1, height - y1, width - x0, height - y0
    if orientation == 6:
        return y0, width - x1, y1, width - x0
    if orientation == 8:
        return height - y1, x0, height - y0, x1
    return x0, y0, x1, y1
""",
    ),
    Wrong(
        exercise="upright_box",
        misconception="a box ends before it begins",
        code="""
def upright_box(box, orientation, width, height):
    def turn(x, y):
        if orientation == 3:
            return width - x, height - y
        if orientation == 6:
            return height - y, x
        if orientation == 8:
            return y, width - x
        return x, y

    return (*turn(box[0], box[1]), *turn(box[2], box[3]))
""",
    ),
    Wrong(
        exercise="upright_box",
        misconception="a turn is taken for an exchange of x and y",
        code="""
def upright_box(box, orientation, width, height):
    x0, y0, x1, y1 = box
    if orientation in (6, 8):  # portrait: x becomes y and y becomes x
        return [y0, x0, y1, x1]
    if orientation == 3:
        return [width - x1, height - y1, width - x0, height - y0]
    return [x0, y0, x1, y1]
""",
    ),
    Wrong(
        exercise="upright_box",
        misconception="width and height of the stored picture are exchanged",
        code="""
def upright_box(box, orientation, width, height):
    x0, y0, x1, y1 = box
    if orientation == 1:
        return x0, y0, x1, y1
    elif orientation == 3:
        return width - x1, height - y1, width - x0, height - y0
    elif orientation == 6:
        return width - y1, x0, width - y0, x1
    else:
        return y0, height - x1, y1, height - x0
""",
    ),
    Wrong(
        exercise="box_in_photograph",
        misconception="the crop is stretched over the whole photograph",
        code="""
def box_in_photograph(box, width, height, resize, crop):
    sx, sy = width / crop, height / crop
    x0, y0, x1, y1 = box
    return x0 * sx, y0 * sy, x1 * sx, y1 * sy
""",
    ),
    Wrong(
        exercise="box_in_photograph",
        misconception="one scale serves both axes",
        code="""
def box_in_photograph(box, width, height, resize, crop):
    margin = (resize - crop) / 2
    scale = min(width, height) / resize  # the shorter side was resized
    return tuple(float((v + margin) * scale) for v in box)
""",
    ),
    Wrong(
        exercise="box_in_photograph",
        misconception="the margin is added in pixels of the photograph",
        code="""
def box_in_photograph(box, width, height, resize, crop):
    off = (resize - crop) / 2
    result = []
    for i, v in enumerate(box):
        side = width if i % 2 == 0 else height
        result.append(v * side / resize + off)
    return result
""",
    ),
    Wrong(
        exercise="confident_misses",
        misconception="the share is one of all images",
        code="""
import numpy as np


def confident_misses(logits, ious):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    prob = e / e.sum(axis=1, keepdims=True)
    bad = (prob.max(axis=1) >= 0.9) & (ious < 0.5)
    return float(100 * bad.mean())
""",
    ),
    Wrong(
        exercise="confident_misses",
        misconception="the question is turned round",
        code="""
import numpy as np


def confident_misses(logits, ious):
    confident = []
    for row in logits:
        p = np.exp(row - row.max())
        p = p / p.sum()
        confident.append(p.max() >= 0.9)
    confident = np.array(confident)
    missed = ious < 0.5
    return 100 * float(confident[missed].mean())
""",
    ),
    Wrong(
        exercise="confident_misses",
        misconception="each class is scored by itself",
        code="""
import numpy as np


def confident_misses(logits, ious):
    probs = 1 / (1 + np.exp(-logits))
    sure = probs.max(axis=1) >= 0.9
    return float(np.mean(ious[sure] < 0.5) * 100)
""",
    ),
]
