"""Train SAT, its ablations (Table 2) and its peers over seeds, and write the tables as files.

    python benchmarks/tables.py aviary
    python benchmarks/tables.py butterflies --data-root FOLDER --checkpoint WEIGHTS

Every run is a run of satkit (settings, provenance, predictions under ``runs/tables``); a finished
one is not done again. ``results/table_<dataset>.csv`` gets a row for each run, which replaces an
earlier row of the same method and seed; its column ``given`` holds the settings that differ from
the lab profile, for ``python -m satkit ledger``. README.md, docs/results.md and
docs/methods/comparison.md show what these files hold; ``python benchmarks/tables.py --show`` writes
them anew.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
import typer

sys.path.insert(0, str(Path(__file__).parents[1]))

import satkit
from benchmarks.goals import replace_part
from satkit.boxes import prepare_maps
from satkit.choices import check_choice
from satkit.cost import gmacs, inference_speed, parameter_count, training_memory
from satkit.evaluation import collect, score
from satkit.lessons import part_coverage
from satkit.paper.measured import at_the_edge, spread
from satkit.results import build_model
from satkit.training import limit, load_datasets

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
    "attention map": {"method": "attention_map"},
    "SCM": {"method": "scm"},
    "LCTR": {"method": "lctr"},
    "BAS": {"method": "bas"},
    "BAS*": {
        "method": "bas", "losses": "guidance", "area_term": "batch_area",
        "pixel_term": "normalization",
    },
    "ORNet": {"method": "ornet"},
    "ORNet (authors' w_e = 1.5)": {"method": "ornet", "entropy_weight": 1.5},
    "PSOL": {"method": "psol"},
    "SPOL": {"method": "spol"},
    "CAM + Hide-and-Seek": {"method": "cam", "regularizer": "hide_and_seek"},
    "CAM + CutMix": {"method": "cam", "regularizer": "cutmix"},
    "CAM + ADL": {"method": "cam", "regularizer": "adl"},
    "CAM + ACoL": {"method": "cam", "regularizer": "acol"},
    "CAM, EfficientNet-Lite0": {"method": "cam", "backbone": "tf_efficientnet_lite0"},
}  # fmt: skip
#: What is compared by default: on one backbone
SAME_BACKBONE = [name for name, given in ROWS.items() if "backbone" not in given]
METRICS = [
    "top1_cls", "top5_cls", "top1_loc", "top5_loc", "gt_known", "max_box_acc@0.3",
    "max_box_acc@0.5", "max_box_acc@0.7", "max_box_acc_v2", "pxap", "piou",
    "full_image@0.3", "full_image@0.5", "full_image@0.7", "threshold", "median_iou",
    "gt_known_test_threshold", "train_seconds", "train_images_per_second",
]  # fmt: skip
#: Measured for seed 0 only, since they hang on the method
COSTS = ["parameters", "gmacs", "images_per_second", "training_memory"]
PROVENANCE = ["run", "commit", "dirty", "date", "device", "data"]


SHOWN = {
    "top1_cls": "Top-1 Cls",
    "top1_loc": "Top-1 Loc",
    "gt_known": "GT-known Loc",
    "max_box_acc@0.3": "δ = 0.3",
    "max_box_acc@0.7": "δ = 0.7",
    "max_box_acc_v2": "mean of δ",
    "pxap": "PxAP",
    "piou": "pIoU",
    "train_seconds": "training, s",
    "train_images_per_second": "images/s",
}
SCORES = {k: v for k, v in SHOWN.items() if not k.startswith("train_")}
SCORES["top5_loc"] = "Top-5 Loc"
COVERAGE_AND_COSTS = {
    "untrained_gt_known": "GT-known untrained",
    "covered_head": "head, %",
    "covered_wing": "wing, %",
    "covered_body": "body, %",
    "covered_tail": "tail, %",
    "covered_background": "background, %",
    "parameters": "parameters, M",
    "gmacs": "GMACs",
    "images_per_second": "images/s",
    "training_memory": "a step, MB",
}
FULL_IMAGE = {
    "gt_known": "full_image@0.5",
    "max_box_acc@0.3": "full_image@0.3",
    "max_box_acc@0.7": "full_image@0.7",
}
TITLES = {
    "aviary": "Aviary, 1,000 training and 1,000 test drawings, the shipped backbone",
    "butterflies": "Leeds Butterfly photographs, 551 training and 281 test, DeiT-Ti",
    "birds": "CUB-200-2011, 418 of its training and 414 of its test photographs, DeiT-Ti",
    "tiny_imagenet": "Tiny-ImageNet, 100 classes, a part of its photographs, DeiT-Ti",
}
#: What a page shows of each data set: columns, and how many rows (None: all)
PAGES: dict[str, list[tuple[dict[str, str], int | None]]] = {
    "README.md": [(SHOWN, 7)],
    "docs/results.md": [(SHOWN, 7)],
    "docs/methods/comparison.md": [(SCORES, None), (COVERAGE_AND_COSTS, None)],
}


def main(
    dataset: Annotated[str, typer.Argument(help="As satkit.data.load knows it.")] = "aviary",
    data_root: Annotated[str, typer.Option(help="Folder of the data set.")] = "",
    checkpoint: Annotated[str, typer.Option(help="Weights of the backbone.")] = "",
    seeds: Annotated[str, typer.Option(help="Separated by commas.")] = "0,1,2",
    rows: Annotated[str, typer.Option(help="Only these rows, separated by semicolons.")] = "",
    parameter: Annotated[
        list[str] | None, typer.Option("-p", help="Another setting, as NAME=VALUE.")
    ] = None,
    runs_dir: Annotated[str, typer.Option(help="Folder of all runs.")] = "runs",
    show: Annotated[bool, typer.Option("--show", help="Only write the pages.")] = False,
) -> None:
    if not show:
        given: dict[str, Any] = dict(text.split("=", 1) for text in parameter or [])
        given |= {"dataset": dataset, "data_root": data_root, "checkpoint": checkpoint}
        chosen = [name.strip() for name in rows.split(";")] if rows else SAME_BACKBONE
        for name in chosen:
            check_choice("row", name, ROWS)
        for seed in map(int, seeds.split(",")):
            for name in chosen:
                store(train_row(name, seed, {**given, **ROWS[name]}, runs_dir), dataset)
    write_pages()


def train_row(name: str, seed: int, given: dict[str, Any], runs_dir: str) -> dict[str, Any]:
    """Train one row with one seed, or open the finished run."""
    settings = satkit.TrainSettings.for_profile(
        "lab", **given, seed=seed, experiment="tables", runs_dir=runs_dir
    )
    run = satkit.train(settings)
    numbers = {k: run.metrics[k] for k in METRICS if k in run.metrics}
    numbers |= run.curve_points()  # for the claim on all thresholds
    numbers |= {f"covered_{part}": share for part, share in coverage(run).items()}
    if seed == 0:
        numbers |= {**costs(run), "untrained_gt_known": untrained(run)}
    origin = {**run.provenance, "run": run.dir.name}
    head = {"row": name, "dataset": settings.dataset, "seed": seed}
    head |= {"given": json.dumps(portable(given))}
    head |= {"selection": settings.selection, "epochs": settings.epochs}
    print(f"{name}, seed {seed}: GT-known {numbers['gt_known']:.1f}", flush=True)
    return {**head, **numbers, **{k: origin[k] for k in PROVENANCE}}


def portable(given: dict[str, Any]) -> dict[str, Any]:
    """Settings that a row differs by, without the folders of this machine."""
    values = {k: v for k, v in given.items() if v != "" and k not in ("dataset", "data_root")}
    return {k: Path(v).name if k == "checkpoint" else v for k, v in values.items()}


def coverage(run: satkit.results.Run, count: int = 300) -> dict[str, float]:
    """Share of each part of the birds above the run's threshold, percent; Aviary only."""
    test = load_datasets(run.settings)["test"]
    if "parts" not in test[0]:
        return {}
    some = limit(test, min(count, len(test)))
    outputs = collect(run.model(), some, label="parts")
    maps = prepare_maps(outputs.maps, outputs.image_size, run.settings.protocol)
    parts = [some[index]["parts"].numpy() for index in range(len(some))]
    return part_coverage(maps, parts, run.metrics["threshold"])


def costs(run: satkit.results.Run) -> dict[str, float]:
    """Parameters (10^6), GMACs, images a second, and megabytes of a training step."""
    model, side = run.model(), run.settings.image_size
    values = (
        parameter_count(model) / 1e6,
        gmacs(model, side),
        inference_speed(model, side),
        training_memory(run.settings, len(run.provenance["classes"])),
    )
    return dict(zip(COSTS, values, strict=True))


def untrained(run: satkit.results.Run) -> float:
    """GT-known Loc before the first step, at the best threshold of the test images, percent."""
    torch.manual_seed(run.settings.seed)
    model = build_model(run.settings, len(run.provenance["classes"]))
    outputs = collect(model, load_datasets(run.settings)["test"], label="untrained")
    settings = run.settings
    numbers = score(outputs, protocol=settings.protocol, thresholds=settings.thresholds)
    return float(numbers["gt_known"])


def store(row: dict[str, Any], dataset: str) -> None:
    """Put a row into the data set's table."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"table_{dataset}.csv"
    table = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["row", "seed"])
    table = table[(table["row"] != row["row"]) | (table["seed"] != row["seed"])]
    table = pd.concat([table, pd.DataFrame([row])])
    order = {name: place for place, name in enumerate(ROWS)}
    table = table.sort_values(["row", "seed"], key=lambda c: c.map(order) if c.name == "row" else c)
    table.to_csv(path, index=False)


def markdown(dataset: str, shown: dict[str, str], count: int | None) -> str:
    """The data set's table: mean, and ± standard deviation where there are several seeds."""
    table = pd.read_csv(RESULTS / f"table_{dataset}.csv")
    table = table[table["row"].isin(list(ROWS)[:count])]
    columns = {k: v for k, v in shown.items() if k in table}
    if not columns:
        return ""
    lines = ["| method | seeds | " + " | ".join(columns.values()) + " | measured |"]
    lines.append("|---" * (len(columns) + 3) + "|")
    for name, group in table.groupby("row", sort=False):
        cells = [spread(group[column]) for column in columns]
        if any(cells):
            lines.append(f"| {name} | {len(group)} | " + " | ".join([*cells, days(group)]) + " |")
    trivial = [spread(table[FULL_IMAGE[c]][:1]) if c in FULL_IMAGE else "" for c in columns]
    if any(trivial):
        lines.append("| full-image box | | " + " | ".join(trivial) + " | |")
    said = [origin(table), *edges(table)] if "gt_known" in columns else [origin(table)]
    return "\n".join([f"**{TITLES.get(dataset, dataset)}**", "", *lines, "", " ".join(said)])


def edges(table: pd.DataFrame) -> list[str]:
    """A sentence on rows whose threshold is the smallest or largest candidate, if there are any."""
    ends = at_the_edge(table.assign(profile="lab")).groupby(table["row"], sort=False)
    found = [f"{name} ({part.sum()} of {len(part)} runs)" for name, part in ends if part.any()]
    if not found:
        return []
    return [
        "The threshold chosen is the smallest or largest candidate, so a better one may lie "
        f"outside: {', '.join(found)}."
    ]


def days(table: pd.DataFrame) -> str:
    """When its runs were finished."""
    return ", ".join(sorted({date[:10] for date in table["date"]}))


def origin(table: pd.DataFrame) -> str:
    """One sentence on where the numbers come from."""

    def every(column: str) -> str:
        return ", ".join(sorted({str(value)[:10] for value in table[column]}))

    return (
        f"Measured: {days(table)}, {every('device')}, commits {every('commit')}, data "
        f"{every('data')}; threshold chosen on: {every('selection')}; percent."
    )


def results_block(page: str) -> str:
    """All tables of a page, in the order of `TITLES`."""
    there = [name for name in TITLES if (RESULTS / f"table_{name}.csv").exists()]
    blocks = [markdown(name, *part) for name in there for part in PAGES[page]]
    return "\n\n".join(filter(None, blocks)) + "\n"


def write_pages() -> None:
    """Put the tables between the marks of the pages that show them."""
    for page in PAGES:
        path = RESULTS.parents[1] / page
        path.write_text(replace_part(path.read_text(), "results", results_block(page)))


if __name__ == "__main__":
    typer.run(main)
