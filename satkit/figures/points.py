"""What the paper's figures plot, as tables: one row a run, with where it comes from.

Each function is the companion of the figure of the same number in ``satkit.figures.paper``. What is
not run is not in the table. Rows that hold the paper's own numbers say so in ``source``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import pandas as pd

from satkit import paper
from satkit.paper.experiments import EXPERIMENTS
from satkit.paper.measured import DATASET_TITLES, rows_of

if TYPE_CHECKING:
    from satkit.settings import TrainSettings

#: Begins the ``source`` of numbers that the paper prints
PAPERS = "the paper's"
POINT = ("panel", "line", "x", "gt_known", "seed")
#: Columns that say where a run comes from
ORIGIN = ("run", "given", "commit", "date", "device", "data", "source")
ORDER = ("1", "3", "5", "10", "all")
TUNED, SHOTS = "tuned parameters", "training images"


def figure1_points(base: TrainSettings, rows: pd.DataFrame) -> pd.DataFrame:
    """What Fig. 1 plots: GT-known Loc over tuned parameters, and over training images.

    Args:
        base: Settings that all runs share.
        rows: From :func:`satkit.paper.measured`.

    Returns:
        ``panel``, ``line``, ``x`` (millions of tuned parameters of the backbone; images a class, as
        text), ``gt_known`` (percent), ``seed`` and origin of each run, and the paper's on ImageNet.
    """
    few_shot = rows_of("table8_few_shot", base, rows)
    methods = rows_of("table1_methods", base, rows)
    parts = []
    for label, found in few_shot.items():
        changes = EXPERIMENTS["table8_few_shot"][label]
        millions = tuned_millions(base, changes)
        if changes["shots"] in (0, 1):
            line = "SAT" if changes["shots"] == 0 else "SAT, 1 image a class"
            parts.append(_points(found, TUNED, line, millions))
        if changes["freeze"] == "a":
            parts.append(_points(found, SHOTS, "SAT", str(changes["shots"] or "all")))
    for line in ("TS-CAM", "SCM", "LCTR"):
        millions = tuned_millions(base, EXPERIMENTS["table1_methods"][line])
        parts += [_points(methods[line], panel, line, x)
                  for panel, x in ((TUNED, millions), (SHOTS, "all"))]  # fmt: skip
    return _join([*parts, _papers_figure1()])


def figure4_points(base: TrainSettings, rows: pd.DataFrame) -> pd.DataFrame:
    """What Fig. 4 plots: GT-known Loc over λ and over the batch size.

    Args:
        base: Settings that all runs share.
        rows: From :func:`satkit.paper.measured`.

    Returns:
        As :func:`figure1_points`, with ``x`` a number; the paper prints none.
    """
    parts = []
    for name, setting in (("fig4_area", "target_area"), ("fig4_batch_size", "batch_size")):
        for label, found in rows_of(name, base, rows).items():
            parts.append(_points(found, setting, "SAT", EXPERIMENTS[name][label][setting]))
    return _join(parts)


def figure5_points(base: TrainSettings, rows: pd.DataFrame) -> pd.DataFrame:
    """What Fig. 5 plots: the IoU of each correct box (at least 0.5), of runs whose files are here.

    Args:
        base: Settings that all runs share.
        rows: From :func:`satkit.paper.measured`.

    Returns:
        ``line``, ``iou`` (0.5–1), ``seed`` and origin, one row a correct box.
    """
    from satkit.results import open_run

    parts = []
    for line, found in rows_of("table1_methods", base, rows).items():
        for row in with_files(found).to_dict("records"):
            ious = open_run(row["dir"]).predictions["iou"]
            origin = {name: row[name] for name in ("seed", *ORIGIN)}
            boxes = pd.DataFrame({"line": line, "iou": ious[ious >= 0.5]})
            parts.append(boxes.assign(**origin))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["line", "iou"])


def figure7_points(base: TrainSettings, rows: pd.DataFrame) -> pd.DataFrame:
    """What Fig. 7 plots: GT-known Loc over the threshold, in steps of 0.05, for each method.

    Args:
        base: Settings that all runs share.
        rows: From :func:`satkit.paper.measured`; older runs hold no curve.

    Returns:
        As :func:`figure1_points`, with ``x`` the threshold; the paper prints none.
    """
    parts = []
    for line, found in rows_of("table1_methods", base, rows).items():
        for column in found.columns[found.columns.str.match(r"gt_known@[\d.]+$")]:
            there = found.assign(gt_known=found[column]).dropna(subset="gt_known")
            parts.append(_points(there, "threshold", line, float(column.split("@")[1])))
    return _join(parts)


def figure8_points(base: TrainSettings, rows: pd.DataFrame) -> pd.DataFrame:
    """What Fig. 8 plots: GT-known Loc over the training images a class, SAT and TS-CAM.

    Args:
        base: Settings that all runs share.
        rows: From :func:`satkit.paper.measured`.

    Returns:
        As :func:`figure1_points`; SAT with nothing frozen, and Table 8's numbers for it, on the
        same data set where the paper has it, else on CUB-200.
    """
    parts = []
    for name, line in (("table8_few_shot", "SAT"), ("fig8_tscam", "TS-CAM")):
        for label, found in rows_of(name, base, rows).items():
            changes = EXPERIMENTS[name][label]
            if changes.get("freeze", "a") == "a":
                parts.append(_points(found, SHOTS, line, str(changes["shots"] or "all")))
    dataset = base.dataset if base.dataset in ("cub", "imagenet") else "cub"
    parts.append(_papers_shots(dataset, "SAT"))
    printed = paper.published(table="table1", method="tscam", dataset=dataset)
    parts.append(_papers_point(SHOTS, "TS-CAM", "all", printed["gt_known"], dataset))
    return _join(parts)


def with_files(rows: pd.DataFrame) -> pd.DataFrame:
    """Measured rows whose run folders are at hand.

    Args:
        rows: From :func:`satkit.paper.measured`.

    Returns:
        Some of them.
    """
    return rows[rows["dir"].notna()] if "dir" in rows else rows.head(0)


def aggregate(points: pd.DataFrame) -> pd.DataFrame:
    """Mean and spread over seeds of each point.

    Args:
        points: As the functions of this module give them.

    Returns:
        ``panel``, ``line``, ``x``, ``printed`` (whether it is the paper's), ``mean``, ``deviation``
        (0 for one seed) and ``seeds``; in the order of ``x``.
    """
    printed = points["source"].astype(str).str.startswith(PAPERS)
    groups = points.assign(printed=printed).groupby(["panel", "line", "printed", "x"], sort=False)
    table = groups["gt_known"].agg(mean="mean", deviation="std", seeds="count").reset_index()
    table["deviation"] = table["deviation"].fillna(0.0)
    return table.sort_values("x", key=lambda x: x.map(place), kind="stable")


def sources(points: pd.DataFrame) -> dict[str, Any]:
    """Where the numbers of a figure come from, for :func:`satkit.figures.save_figure`.

    Args:
        points: Rows with ``source``, ``run``, ``commit``, ``date``, ``device`` and ``data``.

    Returns:
        ``runs``: a record for each run, with ``source`` (computed here, or cached), settings
        ``given`` and seed; ``printed``: which of the paper's numbers stand beside.
    """
    printed = points["source"].astype(str).str.startswith(PAPERS)
    measured = points[~printed]
    columns = [c for c in ("seed", *ORIGIN) if c in measured]
    runs = measured[columns].drop_duplicates().astype(object)
    records = runs.where(runs.notna(), None).to_dict("records")
    return {"runs": records, "printed": sorted(set(points.loc[printed, "source"]))}


def tuned_millions(base: TrainSettings, changes: Mapping[str, Any]) -> float:
    """Parameters of the backbone that a run tunes, counted on the model (Table 14).

    Args:
        base: Settings that all runs share.
        changes: Of the run, as ``satkit.paper.EXPERIMENTS`` has them; its method has a backbone.

    Returns:
        Millions, the spatial token among them and the classification head not.
    """
    settings = paper.row_settings(base, changes)
    neutral = {"shots": 0, "seed": 0, "runs_dir": "runs"}  # nothing that the count hangs on
    return _tuned(settings.model_copy(update=neutral).model_dump_json())


@cache
def _tuned(given: str) -> float:
    from satkit.model import SAT, freeze
    from satkit.results import build_model
    from satkit.settings import TrainSettings

    settings = TrainSettings.model_validate_json(given)
    model = build_model(settings, num_classes=2, pretrained=False)
    if isinstance(model, SAT):
        freeze(model, settings.freeze)
    own = [p for name, p in model.named_parameters() if name.startswith(("backbone.", "loc_"))]
    return sum(p.numel() for p in own if p.requires_grad) / 1e6


def _points(found: pd.DataFrame, panel: str, line: str, x: float | str) -> pd.DataFrame:
    if found.empty:
        return found
    return found.assign(panel=panel, line=line, x=x).dropna(subset="gt_known")


def _join(parts: list[pd.DataFrame]) -> pd.DataFrame:
    parts = [part for part in parts if len(part)]
    if not parts:
        return pd.DataFrame(columns=[*POINT, *ORIGIN])
    joined = pd.concat(parts, ignore_index=True)
    return joined[[c for c in (*POINT, *ORIGIN) if c in joined]]


def place(x: float | str) -> float:
    """Order on the axis: numbers by value, shots as ``ORDER`` has them."""
    return float(ORDER.index(x)) if isinstance(x, str) else float(x)


def _papers_point(
    panel: str, line: str, x: float | str, value: float, dataset: str
) -> pd.DataFrame:
    source = f"{PAPERS}, {DATASET_TITLES[dataset]}"
    point = {"panel": panel, "line": line, "x": x, "gt_known": value, "seed": 0, "source": source}
    return pd.DataFrame([point])


def _papers_shots(dataset: str, line: str) -> pd.DataFrame:
    """Table 8, nothing frozen."""
    printed = paper.table("table8")
    printed = printed[(printed["dataset"] == dataset) & (printed["metric"] == "gt_known")]
    rows = printed[~printed["setting"].map(lambda given: "freeze" in given)]
    return pd.concat(
        _papers_point(SHOTS, line, str(row.setting.get("shots", "all")), row.value, dataset)
        for row in rows.itertuples()
    )


def _papers_figure1() -> pd.DataFrame:
    """Tables 8 and 14 on ImageNet: what Fig. 1 draws in numbers."""
    wide = paper.table("table14").pivot(index="row", columns="metric", values="value")
    millions = wide["tunable_backbone_parameters"]
    parts = [_papers_shots("imagenet", "SAT")]
    for row, value in wide["gt_known"].items():
        line = re.sub(r" \(.\)$", "", str(row))
        parts.append(_papers_point(TUNED, line, millions[row], value, "imagenet"))
        if line != "SAT":
            parts.append(_papers_point(SHOTS, line, "all", value, "imagenet"))
    one = paper.table("table8")
    one = one[(one["dataset"] == "imagenet") & (one["metric"] == "gt_known")]
    one = one[one["setting"].map(lambda given: given.get("shots") == 1)]
    for cell in one.itertuples():
        x = millions[f"SAT {cell.row}"]
        parts.append(_papers_point(TUNED, "SAT, 1 image a class", x, cell.value, "imagenet"))
    return pd.concat(parts, ignore_index=True)
