"""What students hand in, made from a released course."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import nbformat
from nbformat import NotebookNode

SHEET = "ex01_localization_and_metrics"
RIGHT = """\
import numpy as np

def iou(a, b):
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    common = sides.prod()
    return common / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - common)
"""


def read(course: Path, step: str = "release") -> NotebookNode:
    """The notebook that students get (`release`) or that with solutions (`source`)."""
    return nbformat.read(course / step / SHEET / f"{SHEET}.ipynb", 4)


def grade_id(cell: NotebookNode) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def answer(notebook: NotebookNode, answers: dict[str, str]) -> NotebookNode:
    """The notebook with some code as the answers to exercises, by their names."""
    notebook = deepcopy(notebook)
    places = {grade_id(cell): cell for cell in notebook.cells}
    for name, code in answers.items():
        places[f"{name}-answer"].source = code
    return notebook


def stripped(notebook: NotebookNode) -> NotebookNode:
    """As Colab leaves it: no metadata, other ids."""
    notebook = deepcopy(notebook)
    for number, cell in enumerate(notebook.cells):
        cell.metadata, cell["id"] = {}, f"colab{number}"
    return notebook


def hand_in(folder: Path, student: str, notebook: NotebookNode | bytes, name: str = SHEET) -> None:
    """Put a notebook, or any bytes, where a student's submission is looked for."""
    path = folder / student / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    data = notebook if isinstance(notebook, bytes) else json.dumps(notebook).encode()
    path.write_bytes(data)
