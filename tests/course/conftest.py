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

LIMITS = sandbox.Limits(cell_seconds=1.0, total_seconds=6.0, memory=512 << 20)
PATCHES = """\
import builtins
import numpy as np
import satkit.course.checks as checks
np.allclose = np.array_equal = lambda *a, **k: True
checks.judge = checks.same = checks.check_answer = lambda *a, **k: "right"
def check(*a, **k): print("✓ iou is right on 10 inputs")
def iou(a, b): return 0.5
"""
ANSWERS = {
    "double": """\
def iou(a, b):
    x0, y0, x1, y1 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    area = lambda box: (box[2] - box[0]) * (box[3] - box[1])
    return max(x1 - x0, 0) * max(y1 - y0, 0) / (area(a) + area(b))
""",
    "endless": "def iou(a, b):\n    while True: pass",
    "endless_cell": "while True: pass",
    "stubborn": "import signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\nwhile True: pass",
    "memory": RIGHT + "\nhoard = [np.zeros(1 << 26) for _ in range(99)]",
    "bomb": "import os\nwhile True: os.fork()",
    "patches": PATCHES,
    "exit": "import sys\nsys.exit(0)\n" + RIGHT,
    "hard_exit": "import os\nos._exit(0)",
    "copies": "from satkit.course import find_exercise\n"
    f'iou = find_exercise("iou", "{SHEET}").reference',
    "loud": RIGHT + '\nprint("x" * 5_000_000)',
    "html": RIGHT + '\nfrom IPython.display import HTML\nHTML("<script>alert(1)</script>")',
}


@dataclass
class Trial:
    """A graded class.

    Attributes:
        course: Its folder.
        submissions: What was handed in.
        table: What `grade` returned.
        said: Progress lines.
        secret: A file that submissions tried to read and to remove.
    """

    course: Path
    submissions: Path
    table: pd.DataFrame
    said: list[str]
    secret: Path

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
    hand_in(folder, "colab", stripped(teacher))
    for student, code in ANSWERS.items():
        hand_in(folder, student, answer(teacher, code))
    others = [folder / "right" / f"{SHEET}.ipynb", secret, course / "gradebook.db"]
    for number, path in enumerate(others):
        hand_in(folder, f"thief{number}", answer(teacher, f"text = open({str(path)!r}).read()"))
        vandal = f"import os\nos.remove({str(path)!r})"
        hand_in(folder, f"vandal{number}", answer(teacher, vandal))
    hand_in(folder, "empty", b"")
    hand_in(folder, "torn", b'{"cells": [')
    other = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")])
    hand_in(folder, "elsewhere", other)
    no_kernel = deepcopy(teacher)
    no_kernel.metadata = {}
    hand_in(folder, "no_kernel", no_kernel)
    less = deepcopy(teacher)
    less.cells = [cell for cell in less.cells if not grade_id(cell).startswith("iou")]
    hand_in(folder, "less", less)
    said: list[str] = []
    table = grade(folder, course, limits=LIMITS, say=said.append)
    return Trial(course, folder, table, said, secret)
