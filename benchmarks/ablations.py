"""Collect finished runs of the lab sweep into a result file that the notebooks show as cached.

    python benchmarks/ablations.py runs/sweep

Every run whose settings are a row of an experiment (satkit.paper.EXPERIMENTS) becomes a row of
benchmarks/results/ablations_<dataset>.csv, which replaces an earlier row of the same settings and
seed. Of versions that wrote no threshold curve, the methods of Table 1 are evaluated again for it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from satkit.evaluation import collect, threshold_curve
from satkit.paper import EXPERIMENTS, measured, row_settings
from satkit.paper.measured import key
from satkit.progress import Progress
from satkit.results import Run, read_json, write_atomically, write_json
from satkit.stats import median_iou
from satkit.training import load_datasets

RESULTS = Path(__file__).parent / "results"
LEFT_OUT = ("source", "dir", "profile", "seconds")


def complete(run: Run) -> None:
    """Write the median IoU, and of Table 1's methods the curve, that an older version did not."""
    settings, metrics = run.settings, read_json(run.dir / "metrics.json")
    if "median_iou" not in metrics:
        write_json(run.dir / "metrics.json", {**metrics, "median_iou": median_iou(run.predictions)})
    methods = EXPERIMENTS["table1_methods"].values()
    drawn = key(settings) in [key(row_settings(settings, changes)) for changes in methods]
    if not drawn or settings.shots or (run.dir / "curve.csv").is_file():
        return
    outputs = collect(run.model(), load_datasets(settings)["test"], label=run.dir.name)
    curve = threshold_curve(outputs, protocol=settings.protocol)
    write_atomically(run.dir / "curve.csv", curve.to_csv(index=False))


def main(
    folder: Annotated[str, typer.Argument(help="Folder of the runs: runs/EXPERIMENT.")],
) -> None:
    runs = [Run(path.parent) for path in sorted(Path(folder).glob("*/metrics.json"))]
    if not runs:
        raise SystemExit(f"{folder} holds no finished run")
    for run in Progress(runs, len(runs), "threshold curves"):
        complete(run)
    rows = measured(Path(folder).resolve().parent, files=RESULTS / "none")
    inside = [Path(place).parent == Path(folder).resolve() for place in rows["dir"]]
    rows = rows[inside].drop(columns=list(LEFT_OUT), errors="ignore")
    for dataset, group in rows.groupby("dataset"):
        store(RESULTS / f"ablations_{dataset}.csv", group)


def store(path: Path, rows: pd.DataFrame) -> None:
    """Put rows into a result file."""
    old = pd.read_csv(path) if path.exists() else rows.head(0)
    both = pd.concat([old, rows], ignore_index=True)

    def name(row: Any) -> str:
        return json.dumps([json.loads(row["given"]), row["seed"]], sort_keys=True)

    both = both[~both.apply(name, axis=1).duplicated(keep="last")]
    write_atomically(path, both.sort_values(["given", "seed"]).to_csv(index=False))
    print(f"{path}: {len(both)} runs")


if __name__ == "__main__":
    typer.run(main)
