"""Train SAT, its ablations (Table 2), TS-CAM and CAM over seeds, and write the table as files.

    python benchmarks/tables.py aviary
    python benchmarks/tables.py butterflies --data-root FOLDER --checkpoint WEIGHTS

Every run is a run of satkit (settings, provenance, predictions under ``runs/tables``); a finished
one is not done again. ``results/table_<dataset>.csv`` gets a row for each run, and
``results/table_<dataset>_summary.csv`` the mean and standard deviation over seeds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

import satkit

RESULTS = Path(__file__).parent / "results"
ALONE = {"area_term": "none", "pixel_term": "none"}
#: Rows (a)-(d) of Table 2, and the baselines
ROWS: dict[str, dict[str, Any]] = {
    "SAT (a) cls": {"method": "sat", **ALONE},
    "SAT (b) cls + ba": {"method": "sat", "pixel_term": "none"},
    "SAT (c) cls + ba + norm, no filter": {"method": "sat", "smoothing": "none"},
    "SAT (d) all losses": {"method": "sat"},
    "TS-CAM": {"method": "tscam"},
    "CAM": {"method": "cam"},
}
METRICS = [
    "top1_cls", "top1_loc", "top5_loc", "gt_known", "max_box_acc@0.3", "max_box_acc@0.5",
    "max_box_acc@0.7", "max_box_acc_v2", "pxap", "piou", "full_image@0.5", "threshold",
    "gt_known_test_threshold", "train_seconds", "train_images_per_second",
]  # fmt: skip
PROVENANCE = ["run", "commit", "dirty", "date", "device", "data"]


def main(
    dataset: Annotated[str, typer.Argument(help="As satkit.data.load knows it.")] = "aviary",
    data_root: Annotated[str, typer.Option(help="Folder of the data set.")] = "",
    checkpoint: Annotated[str, typer.Option(help="Weights of the backbone.")] = "",
    seeds: Annotated[str, typer.Option(help="Separated by commas.")] = "0,1,2",
    rows: Annotated[str, typer.Option(help="Only rows whose name holds this.")] = "",
    parameter: Annotated[
        list[str] | None, typer.Option("-p", help="Another setting, as NAME=VALUE.")
    ] = None,
    runs_dir: Annotated[str, typer.Option(help="Folder of all runs.")] = "runs",
) -> None:
    given: dict[str, Any] = dict(text.split("=", 1) for text in parameter or [])
    given |= {"dataset": dataset, "data_root": data_root, "checkpoint": checkpoint}
    table = []
    for seed in map(int, seeds.split(",")):
        for name, options in ROWS.items():
            if rows not in name:
                continue
            settings = satkit.TrainSettings.for_profile(
                "lab", **{**given, **options}, seed=seed, experiment="tables", runs_dir=runs_dir
            )
            run = satkit.train(settings)
            origin = {**run.provenance, "run": run.dir.name}
            numbers = {k: run.metrics[k] for k in METRICS if k in run.metrics}
            head = {"row": name, "seed": seed, "selection": settings.selection}
            table.append({**head, **numbers, **{k: origin[k] for k in PROVENANCE}})
            print(f"{name}, seed {seed}: GT-known {numbers['gt_known']:.1f}", flush=True)
    write(pd.DataFrame(table), dataset)


def write(table: pd.DataFrame, dataset: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    table.to_csv(RESULTS / f"table_{dataset}.csv", index=False)
    numbers = [name for name in METRICS if name in table]
    groups = table.groupby("row", sort=False)[numbers]
    spread = groups.std().add_suffix(" std")
    summary = pd.concat([groups.mean(), spread], axis=1).round(2)
    summary.insert(0, "seeds", groups.size())
    summary.to_csv(RESULTS / f"table_{dataset}_summary.csv")
    print(summary[["seeds", *numbers]].to_string())


if __name__ == "__main__":
    typer.run(main)
