"""What benchmarks/model.py aims at, and how it follows from the rows of its result file."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.goals import goal

Rows = list[dict[str, Any]]
#: Task -> which operations it takes
WORK = {"inference": "forward", "training": "training"}
TASKS = tuple(WORK)


class NotMeasuredError(Exception):
    """A target needs a row that is not there (yet)."""


def at_largest_batch(rows: Rows, task: str) -> Rows:
    """Rows of a task at the largest batch at which nothing ran out of memory; none: empty."""
    own = [row for row in rows if row["task"] == task]
    too_large = {row["batch"] for row in own if row.get("oom")}
    fitting = {row["batch"] for row in own} - too_large
    return [row for row in own if row["batch"] == max(fitting, default=None)]


def pick(rows: Rows, form: str, setting: str, task: str) -> dict[str, Any]:
    """The row of a form at a setting, at that batch.

    Raises:
        NotMeasuredError: There is none.
    """
    for row in at_largest_batch(rows, task):
        if (row["form"], row["setting"]) == (form, setting):
            return row
    raise NotMeasuredError(f"{form}, {setting}, {task}")


def best(rows: Rows, form: str, task: str) -> dict[str, Any]:
    """The fastest row of a form at that batch.

    Raises:
        NotMeasuredError: There is none.
    """
    own = [row for row in at_largest_batch(rows, task) if row["form"] == form]
    if not own:
        raise NotMeasuredError(f"{form}, {task}")
    return min(own, key=lambda row: row["seconds"])


def speed(rows: Rows, form: str, setting: str, task: str) -> float:
    """Images a second of a form at a setting; ``best``: at its fastest one."""
    row = best(rows, form, task) if setting == "best" else pick(rows, form, setting, task)
    return row["images_per_second"]


def own_share(rows: Rows, setting: str, task: str) -> float:
    """SAT's own time, as a share of the bare classifier's: median over the rounds."""
    fused, bare = (pick(rows, form, setting, task)["round_seconds"] for form in ("fused", "bare"))
    return statistics.median(ours / theirs for ours, theirs in zip(fused, bare, strict=True)) - 1


@dataclass(frozen=True)
class Target:
    """A number that is wanted, and how it follows from the rows of one backbone."""

    name: str
    value: Callable[[Rows], float]
    target: float
    more: bool = True
    unit: str = "x"


def faster(task: str, ours: str, theirs: str, target: float) -> Target:
    """How many times faster the fused form is than the plain one."""
    return Target(
        f"{task}: fused, {ours} / plain, {theirs}: images/s",
        lambda rows: speed(rows, "fused", ours, task) / speed(rows, "plain", theirs, task),
        target,
    )


def overhead(task: str, setting: str) -> Target:
    """See :func:`own_share`."""
    return Target(
        f"{task}: SAT's own time over the bare classifier, {setting}",
        lambda rows: own_share(rows, setting, task),
        0.05,
        more=False,
        unit="share",
    )


TARGETS = {
    "cuda": [
        faster("training", "best", "fp32", 4),
        faster("training", "best", "tf32", 4),
        faster("inference", "best", "fp32", 6),
        faster("inference", "best", "tf32", 6),
        faster("training", "bf16 compiled", "bf16 compiled", 1.5),
        Target(
            "training: peak memory, fused, best / plain, tf32",
            lambda rows: (
                best(rows, "fused", "training")["peak_mb"]
                / pick(rows, "plain", "tf32", "training")["peak_mb"]
            ),
            0.4,
            more=False,
        ),
        Target(
            "training: fused, best: images/s (on an H100)",
            lambda rows: speed(rows, "fused", "best", "training"),
            6000,
            unit="images/s",
        ),
        *[overhead(task, setting) for task in TASKS for setting in ("bf16", "bf16 compiled")],
    ],
    "cpu": [
        faster("training", "fp32", "fp32", 1.2),
        faster("inference", "fp32", "fp32", 1.5),
        faster("training", "best", "fp32", 2),
        faster("inference", "best", "fp32", 2),
        *[overhead(task, "fp32") for task in TASKS],
    ],
}


def judge(rows: Rows, targets: list[Target], backbone: str) -> dict[str, dict[str, Any]]:
    """The targets whose rows are there, with what was measured, and whether they are reached.

    Args:
        rows: Of a result file.
        targets: To judge.
        backbone: Whose rows count.

    Returns:
        Goals by name, for the result file.
    """
    own, goals = [row for row in rows if row["backbone"] == backbone], {}
    for target in targets:
        try:
            value = target.value(own)
        except NotMeasuredError:
            continue
        goals[target.name] = goal(value, target.target, more=target.more, unit=target.unit)
    return goals


def limits(rows: Rows, counts: dict[str, dict[str, float]], backbone: str) -> list[str]:
    """How fast fused could be at most: at the machine's ceiling, against plain in fp32.

    Args:
        rows: Of a result file.
        counts: Operations of the backbone's forms.
        backbone: Whose rows count.

    Returns:
        A sentence for each task whose row is there.
    """
    own, lines = [row for row in rows if row["backbone"] == backbone], []
    for task in TASKS:
        try:
            share = pick(own, "plain", "fp32", task)["share_of_ceiling"]
        except NotMeasuredError:
            continue
        plain, fused = (counts[form][f"{WORK[task]}_gflop"] for form in ("plain", "fused"))
        most = plain / fused / share
        lines.append(
            f"In {task}, plain reaches {100 * share:.0f} % of the matmul ceiling in fp32: at the "
            f"whole ceiling, fused would be {most:.2f} x as fast."
        )
    return lines
