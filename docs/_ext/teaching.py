"""Tables of the instructor's guide, made from files: objectives, exercises, measured times.

``{teaching} NAME`` stands for the table NAME: objectives, sheets, hardware or lessons.
"""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path

import nbformat
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from satkit.course import load_quiz, quiz_lessons
from satkit.course.registry import exercises_of, sheets
from satkit.notebooks import project_root, stated_seconds


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Write rows as a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def read_objectives(path: Path) -> list[dict]:
    """Read the list of learning objectives."""
    return tomllib.loads(path.read_text(encoding="utf-8"))["objective"]


def question_lessons() -> dict[str, str]:
    """Say for each question's id in which lesson's quiz it is, such as "01"."""
    quizzes = [load_quiz(lesson) for lesson in quiz_lessons()]
    return {one.id: quiz.number for quiz in quizzes for one in quiz.questions}


def objectives_table(docs: Path, root: Path) -> str:
    """Write the objectives with what teaches, practises and asks for them."""
    lesson_of = question_lessons()
    rows = [
        [
            one["id"],
            one["says"],
            one["lecture"],
            ", ".join(one["lessons"]),
            ", ".join(f"`{name}`" for name in one["exercises"]),
            ", ".join(
                f"quiz {lesson_of[name]}: {{ref}}`{name} <quiz-{name}>`"
                for name in one["questions"]
            ),
        ]
        for one in read_objectives(docs / "teaching" / "objectives.toml")
    ]
    head = ["no.", "You can …", "lecture", "lessons", "exercises", "quiz items"]
    return markdown_table(head, rows)


def sheets_table(docs: Path, root: Path) -> str:
    """Write what each exercise sheet holds, from the exercises themselves."""
    rows = []
    for sheet in sheets():
        found = exercises_of(sheet)
        rows.append([
            sheet.split("_")[0],
            ", ".join(f"{one.title} (`{one.name}`, {one.minutes} min)" for one in found),
            sum(one.minutes for one in found),
            sum(one.points for one in found),
        ])  # fmt: skip
    rows.append(["all", "", *(sum(row[i] for row in rows) for i in (2, 3))])
    return markdown_table(["sheet", "exercises", "minutes", "points"], rows)


def hardware_table(docs: Path, root: Path) -> str:
    """Write what was measured of lessons and training: time, memory, images a second."""
    results = root / "benchmarks" / "results"
    with (results / "table_aviary.csv").open(encoding="utf-8") as file:
        runs = [row for row in csv.DictReader(file) if row["row"] == "SAT (d) all losses"]
    seconds = [float(row["train_seconds"]) for row in runs]
    memory = [float(row["training_memory"]) for row in runs if row["training_memory"]]
    dates = sorted({row["date"][:10] for row in runs})
    rows = [[
        "SAT, profile lab (Aviary, shipped backbone)",
        runs[0]["device"],
        f"{min(seconds):.0f}–{max(seconds):.0f} s a run, {len(runs)} runs",
        f"{max(memory) / 1000:.2f} GB" if memory else "not measured",
        ", ".join(dates),
    ]]  # fmt: skip
    if (lessons := results / "notebooks_lab.json").is_file():
        content = json.loads(lessons.read_text(encoding="utf-8"))
        rows.insert(0, [
            "all lessons, profile lab",
            content["provenance"]["device"],
            f"{sum(content['seconds']['first'].values()) / 60:.0f} min",
            f"{memory:.1f} GB" if (memory := content.get("memory_gb")) else "not measured",
            content["provenance"]["date"][:10],
        ])  # fmt: skip
    for path in sorted(results.glob("scale_*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        of = content["provenance"]
        for name, one in content["numbers"]["compute"].items():
            rows.append([
                f"SAT on {name}, {content['numbers']['batch_size']} images a step",
                of["device"],
                f"{one['training_images_per_second']:.1f} images/s",
                f"{one['training_mb'] / 1000:.2f} GB",
                of["date"][:10],
            ])  # fmt: skip
    if all(row[1] == "cpu" for row in rows):
        rows.append(["on a GPU", "cuda", "not measured", "not measured", "–"])
    return markdown_table(["what", "device", "time", "memory", "measured"], rows)


def lessons_table(docs: Path, root: Path) -> str:
    """Write how long each lesson ran: by the benchmark, and when this site was built."""
    file = root / "benchmarks" / "results" / "notebooks_lab.json"
    timed = json.loads(file.read_text(encoding="utf-8"))["seconds"] if file.is_file() else {}
    rows = []
    for path in sorted((root / "notebooks").glob("[0-9]*.ipynb")):
        built = docs / "notebooks" / path.name
        rows.append([
            path.stem[:2],
            _seconds(stated_seconds(nbformat.read(path, as_version=4))),
            *(_seconds(timed.get(which, {}).get(path.stem)) for which in ("first", "second")),
            _built(built),
        ])  # fmt: skip
    head = [
        "lesson",
        "as it says",
        "first execution, lab",
        "second, lab",
        "when this site was built",
    ]
    return markdown_table(head, rows)


def _built(path: Path) -> str:
    if not path.is_file():
        return "not executed"
    about = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("satkit", {})
    if "seconds" not in about:
        return "not measured"
    given = json.loads(about["fingerprint"]["parameters"])
    return f"{_seconds(about['seconds'])}, profile {given.get('profile', 'lab')}"


def _seconds(seconds: float | None) -> str:
    """Say a time: seconds below two minutes, else minutes."""
    if seconds is None:
        return "not measured"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


TABLES = {
    "objectives": objectives_table,
    "sheets": sheets_table,
    "hardware": hardware_table,
    "lessons": lessons_table,
}


class TeachingDirective(SphinxDirective):
    """One of the tables."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Write it in Markdown and parse that."""
        name = self.arguments[0]
        if name not in TABLES:
            raise self.error(f"teaching table {name!r}; expected one of {', '.join(TABLES)}")
        table = TABLES[name](Path(self.env.srcdir), project_root())
        return [nodes.container("", *self.parse_text_to_nodes(table), classes=["wide-table"])]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("teaching", TeachingDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
