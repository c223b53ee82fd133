"""Grade submissions: run each in isolation, write grades and feedback.

The code of a student runs in a process of its own (:mod:`satkit.course.worker`) and gives data.
All files are written here, from the teacher's cells, the student's code as text, and that data.
"""

from __future__ import annotations

import hashlib
import json
import queue
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from satkit.choices import check_choice
from satkit.course import checks, sandbox
from satkit.course.sheets import Call, calls_of, is_hint
from satkit.course.submissions import (
    BrokenSubmission,
    Rebuilt,
    Submission,
    find_submissions,
    is_marked,
    read_notebook,
    rebuild,
)

COLUMNS = ["student", "sheet", "exercise", "points", "max_points", "status", "message"]
FOR_EXCEL = "utf-8-sig"  # without its mark at the start, Excel takes the file for another encoding
#: Code that a person should read before it earns points: it looks for the answers.
SUSPICIOUS = re.compile(
    r"satkit\s*\.\s*course|from\s+satkit\s+import[^\n]*\bcourse\b|_getframe|currentframe|"
    r"sys\s*\.\s*modules|importlib|__import__|\bgc\s*\.\s*get_|\.\s*reference\b"
)
Row = dict[str, Any]


@dataclass(frozen=True)
class Sheet:
    """A released sheet.

    Attributes:
        name: Full name.
        notebook: The student edition.
        calls: Of each check, hidden ones too, by exercise.
        points: By exercise.
        digest: Of all that a grade depends on beside the submission.
    """

    name: str
    notebook: Any
    calls: dict[str, list[Call]]
    points: dict[str, float]
    digest: str


@dataclass
class Graded:
    """A submission's grades.

    Attributes:
        rows: Of the CSV, one an exercise.
        notebook: The student edition with the student's answers, outputs and verdicts.
        notes: What was mended, or why it was stopped.
        notice: What stands on top of the feedback page; "" for nothing.
    """

    rows: list[Row]
    notebook: Any
    notes: list[str] = field(default_factory=list)
    notice: str = ""


def read_sheets(course: str | Path) -> dict[str, Sheet]:
    """Read what was released in a course folder.

    Args:
        course: The folder.

    Returns:
        Sheets by short name, ``ex01``.

    Raises:
        FileNotFoundError: It is no course folder.
        ValueError: A check cell holds something else than checks.
    """
    found = sorted(Path(course).glob("release/*/*.ipynb"))
    if not found:
        raise FileNotFoundError(
            f"{str(course)!r} holds no released sheets; make them with "
            f"`python -m satkit course release {course}`"
        )
    sheets = [_read_sheet(path) for path in found]
    return {sheet.name[:4]: sheet for sheet in sheets}


def _read_sheet(path: Path) -> Sheet:
    import nbformat

    name = path.stem
    source = path.parents[2] / "source" / name / path.name
    cells = [cell for cell in nbformat.read(source, 4).cells if is_marked(cell, "grade")]
    package = Path(checks.__file__).parent
    parts = [package / "checks.py", package / "exercises" / f"{name}.py", source]
    digest = hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()
    return Sheet(
        name,
        nbformat.read(path, 4),
        {cell.metadata.nbgrader.grade_id: calls_of(cell.source) for cell in cells},
        {cell.metadata.nbgrader.grade_id: cell.metadata.nbgrader.points for cell in cells},
        digest,
    )


# --------------------------------------------------------------------------------------------------
# One submission
# --------------------------------------------------------------------------------------------------


class Worker:
    """A process that runs submissions one after the other.

    Args:
        limits: Of each submission.
    """

    def __init__(self, limits: sandbox.Limits) -> None:
        self.limits = limits
        self.home = tempfile.TemporaryDirectory(prefix="satkit-grading-")
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "satkit.course.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.home.name,
            env=sandbox.environment(self.home.name),
            start_new_session=True,
        )

    def run(self, sheet: str, cells: list[dict[str, Any]]) -> dict[str, Any]:
        """Run cells and judge them; see `satkit.course.worker`.

        Raises:
            RuntimeError: The process died; it is started anew.
        """
        assert self.process.stdin and self.process.stdout
        job = {"sheet": sheet, "cells": cells, "limits": asdict(self.limits)}
        try:
            print(json.dumps(job), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if line:
            return json.loads(line)
        code = self.process.wait()
        self.process = self._start()
        raise RuntimeError(f"the process that grades ended with code {code}")

    def close(self) -> None:
        """End the process; what it runs ends with it."""
        self.process.kill()
        self.process.communicate()
        self.home.cleanup()


def grade_one(submission: Submission, sheet: Sheet, worker: Worker) -> Graded:
    """Grade a submission.

    Args:
        submission: As it was handed in.
        sheet: That it answers.
        worker: That runs it.

    Returns:
        Its grades; a broken submission has 0 points and says why.
    """
    try:
        rebuilt = rebuild(sheet.notebook, read_notebook(submission.data))
    except BrokenSubmission as error:
        graded = _without_points(submission, sheet, "broken", str(error))
        graded.notice = f"This file could not be graded ({error}). Hand it in again."
        return graded
    jobs = [_job(cell, sheet) for cell in rebuilt.cells]
    try:
        result = worker.run(sheet.name, [job for job in jobs if job])
    except RuntimeError as error:
        return _without_points(submission, sheet, "stopped", str(error))
    return _put_together(submission, sheet, rebuilt, jobs, result)


def _job(cell: Any, sheet: Sheet) -> dict[str, Any]:
    """What is to be done with a cell: run it, judge it, or nothing (text)."""
    if cell.cell_type != "code":
        return {}
    if is_marked(cell, "grade"):
        calls = sheet.calls[cell.metadata.nbgrader.grade_id]
        return {"calls": [(call.exercise, call.answer, call.seed) for call in calls]}
    return {"code": cell.source}


def _put_together(
    submission: Submission, sheet: Sheet, rebuilt: Rebuilt, jobs: list[Any], result: dict[str, Any]
) -> Graded:
    from nbformat import from_dict

    done = iter(result["cells"])
    code = "\n".join((*rebuilt.answers.values(), *rebuilt.own))
    looks = sorted({found[0] for found in SUSPICIOUS.finditer(code)})
    rows: list[Row] = []
    causes: dict[str, str] = {}
    for cell, job in zip(rebuilt.cells, jobs, strict=True):
        if not job:
            continue
        outcome = next(done)
        name = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        if "calls" in job:
            verdict = _verdict(name, outcome["verdicts"], rebuilt, looks, causes.get(name, ""))
            rows.append(_row(submission, sheet, name, *verdict))
            cell["outputs"] = [from_dict(_shown(rows[-1]))]
        else:
            causes[name.removesuffix("-answer")] = _cause(outcome["shown"])
            cell["outputs"] = [from_dict(one) for one in outcome["shown"]]
    stopped = [f"stopped: {result['stopped']}"] if result["stopped"] else []
    return Graded(rows, _notebook(sheet, rebuilt.cells), rebuilt.notes + stopped)


def _cause(shown: list[dict[str, Any]]) -> str:
    """The error that the cell of an answer stopped with; "" where there is none or it is a stub."""
    found = [one for one in shown if one.get("output_type") == "error"]
    if not found or found[-1].get("ename") == "NotImplementedError":
        return ""
    return f"{found[-1].get('ename')}: {str(found[-1].get('evalue'))[:200]}"


def _verdict(
    name: str, verdicts: list[dict[str, Any]], rebuilt: Rebuilt, looks: list[str], cause: str
) -> tuple[str, str]:
    """Status and message of an exercise; `cause` is the error that its cell stopped with."""
    first = next((one for one in verdicts if not one["right"]), None)
    if first is None and looks:
        found = ", ".join(looks)
        return (
            "look",
            f"the outputs are right, but the code uses {found}: read it, then give points",
        )
    if first is None:
        return "right", verdicts[0]["message"]
    message = str(first["message"])
    if name not in rebuilt.answers:
        return "missing", "the cell with the answer is not in the notebook"
    if not first["reached"]:
        return "stopped", message
    if cause and message.startswith((f"{name} is not there", f"{name} is not written yet")):
        return "wrong", f"{name} is not there: the cell of its answer stops with {cause}"
    if message.endswith("is not written yet"):
        return "not written", message
    if verdicts[0]["right"]:
        message = f"right for the inputs of the notebook, but not for others. {message}"
    return "wrong", message


def _row(submission: Submission, sheet: Sheet, name: str, status: str, message: str) -> Row:
    most = sheet.points[name]
    return {
        "student": submission.student,
        "sheet": sheet.name,
        "exercise": name,
        "points": most if status == "right" else 0.0,
        "max_points": most,
        "status": status,
        "message": message,
    }


def _shown(row: Row) -> dict[str, Any]:
    """Output of a check cell, from which nbgrader takes the points."""
    if row["status"] == "right":
        return {"output_type": "stream", "name": "stdout", "text": row["message"] + "\n"}
    text = row["message"]
    error = {"ename": "CheckFailed", "evalue": text, "traceback": [f"✗ {text}"]}
    return {"output_type": "error", **error}


def _notebook(sheet: Sheet, cells: list[Any]) -> Any:
    from nbformat import v4

    kept = [cell for cell in cells if not is_hint(cell)]
    for number, cell in enumerate(kept):
        cell["id"] = f"cell-{number}"
    return v4.new_notebook(cells=kept, metadata=sheet.notebook.metadata)


def _without_points(submission: Submission, sheet: Sheet, status: str, message: str) -> Graded:
    """Grades of a submission that cannot be run."""
    from nbformat import from_dict

    cells = deepcopy(sheet.notebook.cells)
    rows = []
    for cell in cells:
        if is_marked(cell, "grade"):
            rows.append(_row(submission, sheet, cell.metadata.nbgrader.grade_id, status, message))
            cell["outputs"] = [from_dict(_shown(rows[-1]))]
    return Graded(rows, _notebook(sheet, cells), [message])


# --------------------------------------------------------------------------------------------------
# All submissions
# --------------------------------------------------------------------------------------------------


def grade(
    submissions: str | Path,
    course: str | Path,
    asked: list[str] | None = None,
    pattern: str | None = None,
    limits: sandbox.Limits | None = None,
    jobs: int = 1,
    force: bool = False,
    say: Callable[[str], None] = print,
) -> pd.DataFrame:
    """Grade submissions into a course folder; what is graded and unchanged is not done again.

    Args:
        submissions: Folder or zip file.
        course: Folder of `satkit.course.release`.
        asked: Short names of the sheets to grade; all where None or empty.
        pattern: Of paths; see `satkit.course.submissions`.
        limits: Of each submission.
        jobs: How many are run at a time.
        force: Grade also what is unchanged.
        say: Takes progress lines.

    Returns:
        What `grades.csv` holds, with earlier grades; `summary.csv` and `feedback/` lie beside it.

    Raises:
        FileNotFoundError: Submissions or course are not there.
        ValueError: No sheet of that name was released, or a value is bad.
    """
    root, limits = Path(course), limits or sandbox.Limits()
    sheets = read_sheets(root)
    for name in asked or []:
        check_choice("sheet", name[:4], sheets)
    wanted = [name[:4] for name in asked or sheets]
    found, left_out = find_submissions(submissions, pattern)
    known = [one for one in found if one.sheet in wanted]
    others = [one for one in found if one.sheet not in wanted]
    left_out += [f"{one.path}: {one.sheet} is not to be graded here" for one in others]
    for line in left_out:
        say(f"left out: {line}")
    for line in sandbox.missing():
        say(f"warning: not isolated fully: {line}")
    todo = [one for one in known if force or not _is_current(root, one, sheets[one.sheet], limits)]
    say(f"{len(known)} submissions, {len(known) - len(todo)} graded before and unchanged")
    for number, (one, graded, seconds) in enumerate(_in_parallel(todo, sheets, limits, jobs), 1):
        graded.notes = [*one.remarks, *_outdated(root, one, sheets[one.sheet]), *graded.notes]
        _keep(root, one, sheets[one.sheet], graded, limits)
        points = sum(row["points"] for row in graded.rows)
        most = sum(row["max_points"] for row in graded.rows)
        notes = "; ".join(graded.notes)
        say(f"[{number}/{len(todo)}] {one.student} {one.sheet}: {points:g} of {most:g} points, "
            f"{seconds:.1f} s" + (f" ({notes})" if notes else ""))  # fmt: skip
    _take_over(root, sheets, say)
    return _write_tables(root, sheets)


def _in_parallel(
    todo: list[Submission], sheets: dict[str, Sheet], limits: sandbox.Limits, jobs: int
) -> Iterator[tuple[Submission, Graded, float]]:
    """Grade submissions, some at a time; in the order in which they were given."""
    with _workers(min(jobs, len(todo)), limits) as free, ThreadPoolExecutor(max(1, jobs)) as pool:

        def one(submission: Submission) -> tuple[Submission, Graded, float]:
            worker, start = free.get(), time.monotonic()
            try:
                graded = grade_one(submission, sheets[submission.sheet], worker)
            finally:
                free.put(worker)
            return submission, graded, time.monotonic() - start

        try:
            yield from pool.map(one, todo)
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _workers(count: int, limits: sandbox.Limits) -> Iterator[queue.Queue[Worker]]:
    started = [Worker(limits) for _ in range(count)]
    free: queue.Queue[Worker] = queue.Queue()
    for one in started:
        free.put(one)
    try:
        yield free
    finally:
        for one in started:
            one.close()


def _state(root: Path, submission: Submission) -> Path:
    return root / "graded" / submission.student / f"{submission.sheet}.json"


def _read_state(path: Path) -> dict[str, Any]:
    return {"notice": "", "by_hand": {}, **json.loads(path.read_text())}


def _digest(submission: Submission, sheet: Sheet, limits: sandbox.Limits) -> str:
    own = hashlib.sha256(submission.data).hexdigest()
    return hashlib.sha256(f"{own} {sheet.digest} {limits}".encode()).hexdigest()


def _is_current(root: Path, submission: Submission, sheet: Sheet, limits: sandbox.Limits) -> bool:
    path, digest = _state(root, submission), _digest(submission, sheet, limits)
    return path.exists() and json.loads(path.read_text())["digest"] == digest


def _keep(
    root: Path, submission: Submission, sheet: Sheet, graded: Graded, limits: sandbox.Limits
) -> None:
    """Write a submission's files, the gradebook and the feedback; last the note that it is done."""
    import nbformat

    from satkit.course import gradebook

    for step in ("submitted", gradebook.EXECUTED):
        path = root / step / submission.student / sheet.name / f"{sheet.name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        if step == "submitted":
            path.write_bytes(submission.data)
        else:
            nbformat.write(graded.notebook, path)
    gradebook.record_grades(root, sheet.name, submission.student, graded.notice)
    state = _state(root, submission)
    state.parent.mkdir(parents=True, exist_ok=True)
    digest = _digest(submission, sheet, limits)
    content = {"digest": digest, "rows": graded.rows, "notes": graded.notes}
    state.write_text(json.dumps({**content, "notice": graded.notice, "by_hand": {}}))


def _outdated(root: Path, submission: Submission, sheet: Sheet) -> list[str]:
    """A note where what was given by hand is for the version that is about to be replaced."""
    path = _state(root, submission)
    given = _read_state(path)["by_hand"] if path.exists() else {}
    earlier = root / "submitted" / submission.student / sheet.name / f"{sheet.name}.ipynb"
    if not given or earlier.read_bytes() == submission.data:
        return []
    return [f"what you gave by hand was for an earlier version: {', '.join(given)}"]


def _take_over(root: Path, sheets: dict[str, Sheet], say: Callable[[str], None]) -> None:
    """Take over points and comments that a person gave since, and write their pages anew."""
    from satkit.course import gradebook

    given = gradebook.by_hand(root)
    for path in sorted((root / "graded").glob("*/*.json")):
        state, student = _read_state(path), path.parent.name
        sheet = sheets[path.stem].name
        now = given.get((student, sheet), {})
        if now != state["by_hand"]:
            gradebook.write_page(root, sheet, student, state["notice"])
            path.write_text(json.dumps({**state, "by_hand": now}))
            what = ", ".join(now) or "nothing any more"
            say(f"{student} {path.stem}: took over what you gave by hand: {what}")


def _write_tables(root: Path, sheets: dict[str, Sheet]) -> pd.DataFrame:
    """Write `grades.csv` and `summary.csv` from all that was graded."""
    rows: list[Row] = []
    notes: dict[str, list[str]] = {}
    for path in sorted((root / "graded").glob("*/*.json")):
        state = _read_state(path)
        rows += [_by_hand(row, state["by_hand"]) for row in state["rows"]]
        notes.setdefault(path.parent.name, []).extend(f"{path.stem}: {n}" for n in state["notes"])
    table = pd.DataFrame(rows, columns=COLUMNS)
    missing = _not_handed_in(table, sheets)
    table = pd.concat([table, missing], ignore_index=True) if len(missing) else table
    table = table.sort_values(["student", "sheet"], kind="stable", ignore_index=True)
    table.assign(message=table["message"].str.replace(r"\s+", " ", regex=True)).to_csv(
        root / "grades.csv", index=False, encoding=FOR_EXCEL
    )
    by_student = table.groupby("student")
    summary = by_student[["points", "max_points"]].sum()
    summary["percent"] = _percent(summary)
    summary["right"] = by_student["status"].agg(lambda found: int((found == "right").sum()))
    summary["to_read"] = by_student["status"].agg(lambda found: int((found == "look").sum()))
    by_sheet = table.groupby(["student", table["sheet"].str[:4]])[["points", "max_points"]].sum()
    summary = summary.join(_percent(by_sheet).unstack())
    summary["notes"] = ["; ".join(notes.get(str(name), [])) for name in summary.index]
    summary.to_csv(root / "summary.csv", encoding=FOR_EXCEL)
    return table


def _by_hand(row: Row, given: dict[str, Any]) -> Row:
    points = given.get(row["exercise"], {}).get("points")
    return row if points is None else {**row, "points": points, "status": "by hand"}


def _percent(sums: pd.DataFrame) -> pd.Series:
    return (100 * sums["points"] / sums["max_points"]).round(1)


def _not_handed_in(table: pd.DataFrame, sheets: dict[str, Sheet]) -> pd.DataFrame:
    """Rows for students who did not hand in a sheet that others did."""
    rows = []
    for sheet in sheets.values():
        having = set(table.loc[table["sheet"] == sheet.name, "student"])
        for student in sorted(set(table["student"]) - having) if having else []:
            absent = Submission(student, sheet.name[:4], "", b"")
            rows += [_row(absent, sheet, n, "not handed in", "") for n in sheet.points]
    return pd.DataFrame(rows, columns=COLUMNS)
