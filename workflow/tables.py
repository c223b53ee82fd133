"""From the result files of a sweep to its tables, its report, and what went wrong.

Nothing here imports satkit, since every job of a cluster reads it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

SHOWN = {
    "top1_cls": "Top-1 Cls",
    "top1_loc": "Top-1 Loc",
    "top5_loc": "Top-5 Loc",
    "gt_known": "GT-known Loc",
    "max_box_acc_v2": "mean of δ",
    "pxap": "PxAP",
    "piou": "pIoU",
    "wsoleval_max_box_acc_v2": "MaxBoxAccV2 (wsoleval)",
}
PROVENANCE = ("commit", "dirty", "code", "date", "device", "torch", "data")
#: What the Snakefile's shell writes into a log before and after an attempt
ATTEMPT, EXIT_CODE = "attempt ", "exit code "
INTERRUPTED = [f"{EXIT_CODE}{128 + signal}" for signal in (2, 15)]  # SIGINT, SIGTERM


def files(row: dict[str, Any], results: Path) -> dict[str, Path]:
    """Name the result files that a row stands on.

    Args:
        row: As ``plan.Row`` has it.
        results: Folder of the sweep's results.

    Returns:
        The run's file as ``""``, and an evaluation's by its protocol.
    """
    found = {"": results / "runs" / f"{row['run']}.json"}
    for protocol in row["protocols"]:
        found[protocol] = results / "evaluations" / f"{row['run']}.{protocol}.json"
    return found


def gather(rows: list[dict[str, Any]], paths: Iterable[str]) -> pd.DataFrame:
    """Make one table of a plan's result files.

    Args:
        rows: Of the plan, as ``plan.Row`` has them.
        paths: The result files, wherever Snakemake put them.

    Returns:
        One line a row: plan, table, row, data set, seed, metrics (those of another protocol with
        its name before them), and where the numbers come from.
    """
    by_name = {Path(path).name: Path(path) for path in paths}
    lines = []
    for row in rows:
        names = {kind: path.name for kind, path in files(row, Path()).items()}
        found = {kind: json.loads(by_name[name].read_text()) for kind, name in names.items()}
        run = found.pop("")
        metrics = dict(run["metrics"])
        for protocol, numbers in found.items():
            metrics |= {f"{protocol}_{name}": value for name, value in numbers.items()}
        head = {name: value for name, value in row.items() if name not in ("run", "protocols")}
        origin = {name: run["provenance"][name] for name in PROVENANCE}
        lines.append({**head, **metrics, **origin, "run": run["run"]})
    return pd.DataFrame(lines)


def write(path: Path, text: str) -> None:
    """Write a file that is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)


def report(scale: str, tables: dict[str, pd.DataFrame]) -> str:
    """Summarize a sweep as Markdown: mean ± standard deviation over seeds.

    Args:
        scale: Its name.
        tables: By plan, from :func:`gather`.

    Returns:
        A page.
    """
    lines = [f"# Sweep {scale}", "", "Percent; mean ± standard deviation over seeds."]
    for plan, rows in tables.items():
        lines += ["", f"## {plan}"]
        for table, group in rows.groupby("table", sort=False):
            lines += ["", f"### {table}", "", *_markdown(group)]
        origin = {name: _every(rows, name) for name in ("date", "device", "commit", "data")}
        dirty = " (some with uncommitted changes)" if rows["dirty"].any() else ""
        lines += [
            "",
            f"Measured: {origin['date']}, {origin['device']}, commits {origin['commit']}{dirty}, "
            f"data {origin['data']}; threshold chosen on: {_every(rows, 'selection')}.",
        ]
    return "\n".join(lines) + "\n"


def _markdown(group: pd.DataFrame) -> list[str]:
    shown = {k: v for k, v in SHOWN.items() if k in group and group[k].notna().any()}
    lines = ["| row | data set | seeds | " + " | ".join(shown.values()) + " |"]
    lines.append("|---" * (len(shown) + 3) + "|")
    for (row, dataset), seeds in group.groupby(["row", "dataset"], sort=False):
        cells = [_spread(seeds[name]) for name in shown]
        lines.append(f"| {row} | {dataset} | {len(seeds)} | " + " | ".join(cells) + " |")
    return lines


def _spread(values: pd.Series) -> str:
    values = values.dropna()
    deviation = f" ± {values.std():.1f}" if len(values) > 1 else ""
    return f"{values.mean():.1f}{deviation}" if len(values) else ""


def _every(rows: pd.DataFrame, name: str) -> str:
    return ", ".join(sorted({str(value)[:10] for value in rows[name]}))


def failures(logs: Path, runs: Collection[str]) -> pd.DataFrame:
    """List the jobs whose last attempt did not end well.

    Args:
        logs: Folder of the sweep's logs.
        runs: Names of its runs.

    Returns:
        A line each: the job's name, how often it was tried, the last thing it said, and its log.
    """
    lines = []
    for log in sorted(logs.glob("*/*.log")):
        said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        if log.stem.partition(".")[0] not in runs or said[-1] == f"{EXIT_CODE}0":
            continue
        attempts = sum(line.startswith(ATTEMPT) for line in said)
        if said[-1] in INTERRUPTED:
            said.append("interrupted")
        elif said[-1].startswith(EXIT_CODE):
            said.pop()
        else:
            said.append("cut off, by the cluster or with the machine")
        lines.append({"job": log.stem, "attempts": attempts, "said": said[-1], "log": str(log)})
    return pd.DataFrame(lines, columns=["job", "attempts", "said", "log"])
