"""A released course and, once for all tests, what grading makes of many kinds of submissions."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from satkit.course import sandbox
from tests.course.hand_in import RIGHT, SHEET, answer, grade_id, hand_in, read, stripped

LIMITS = sandbox.Limits(cell_seconds=1.0, memory=512 << 20)
DOUBLE = """\
import numpy as np
def iou(a, b):
    x0, y0, x1, y1 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    area = lambda box: (box[2] - box[0]) * (box[3] - box[1])
    return max(x1 - x0, 0) * max(y1 - y0, 0) / (area(a) + area(b))
"""
PATCHES = """\
import builtins
import numpy as np
import satkit.course.checks as checks
np.allclose = np.array_equal = lambda *a, **k: True
checks.judge = checks.same = checks.check_answer = lambda *a, **k: "right"
def check(*a, **k): print("✓ iou is right on 10 inputs")
def iou(a, b): return 0.5
"""
SHOWS = f"""\
%matplotlib inline
{RIGHT}
import matplotlib.pyplot as plt
from IPython.display import HTML, display
print("x" * 5_000_000)
display(HTML("<script>alert(1)</script>"))
from matplotlib.figure import Figure
from satkit.figures import show
show(Figure(), alt="a page & nothing")
plt.plot([1, 2])
"""
COPIES = f"""\
import numpy as np
from satkit.course import find_exercise
iou = find_exercise("iou", "{SHEET}").reference
"""
HOARD = "hoard = [np.zeros(1 << 26) for _ in range(99)]"
#: Answers by student and exercise; all others are the teacher's.
ANSWERS = {
    "faulty": {
        "iou": DOUBLE,
        "convention_flip": "import sys\nsys.exit(0)\nconvention_flip = (0, 0, 3, 3), (0, 0, 2, 2)",
        "gt_known": "def gt_known(held_out, test):\n    while True: pass",
        "max_box_acc_v2": "while True: pass",
    },
    "typo": {"convention_flip": "convention_flip = None\nconvention_flip = nump.array(3)"},
    "shows": {"iou": SHOWS},
    "hoards": {"iou": f"{RIGHT}\n{HOARD}"},
    "patches": {"iou": PATCHES},
    "copies": {"iou": COPIES},
    "hard_exit": {"gt_known": "import os\nos._exit(0)"},
}
VANDAL = """\
import os
import numpy as np
for path in {paths}:
    for attempt in (open, os.remove):
        try:
            attempt(path)
        except OSError as error:
            print(attempt.__name__, path, type(error).__name__)
while True:
    os.fork()
"""


@dataclass
class Trial:
    """A graded class.

    Attributes:
        course: Its folder.
        submissions: What was handed in.
        table: What `grade` returned.
        said: Progress lines.
        others: Files that a submission tried to read and to remove.
    """

    course: Path
    submissions: Path
    table: pd.DataFrame
    said: list[str]
    others: list[Path]

    def of(self, student: str) -> pd.DataFrame:
        """Rows of a student by exercise."""
        return self.table[self.table["student"] == student].set_index("exercise")


@pytest.fixture(scope="session")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A released course of one sheet."""
    pytest.importorskip("nbgrader")
    from satkit.course.release import release

    folder = tmp_path_factory.mktemp("course") / "wsol"
    release(folder, ["ex01"], say=lambda line: None)
    return folder


@pytest.fixture(scope="session")
def trial(course: Path, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """The course with many kinds of submissions, graded."""
    from satkit.course.grading import grade

    folder = tmp_path_factory.mktemp("in")
    secret = tmp_path_factory.mktemp("teacher") / "exam.txt"
    secret.write_text("questions")
    teacher = read(course, "source")
    hand_in(folder, "right", teacher)
    hand_in(folder, "stub", read(course))
    others = [folder / "right" / f"{SHEET}.ipynb", secret, course / "gradebook.db"]
    vandal = {"iou": VANDAL.format(paths=[str(path) for path in others])}
    for student, answers in {**ANSWERS, "vandal": vandal}.items():
        hand_in(folder, student, answer(teacher, answers))
    colab = stripped(teacher)
    colab.metadata = {}
    hand_in(folder, "colab", colab)
    less = deepcopy(teacher)
    less.cells = [cell for cell in less.cells if not grade_id(cell).startswith("pxap")]
    hand_in(folder, "less", less)
    hand_in(folder, "torn", b'{"cells": [')
    other = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")])
    hand_in(folder, "elsewhere", other)
    said: list[str] = []
    table = grade(folder, course, limits=LIMITS, say=said.append)
    return Trial(course, folder, table, said, others)
