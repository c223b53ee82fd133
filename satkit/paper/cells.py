"""The paper's tables as data, one value a row.

``table2.csv`` holds what Table 2 prints, ``figure5.csv`` what the text says of Fig. 5 in numbers,
``setup.csv`` what Sec. 3.2 and 4.1 say of data and training. All of it is from Wu et al.,
*Spatial-Aware Token for Weakly Supervised Object Localization*, ICCV 2023; nothing is measured.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from satkit.choices import check_choice

FOLDER = Path(__file__).parent

#: Column of every table file -> what it holds.
SCHEMA = {
    "table": "file it stands in: table1 … table18, figure1 …, setup",
    "row": "row as printed, without citation numbers; several label columns are joined by commas",
    "column": "column as printed, headings joined by blanks",
    "method": "satkit's name of the method; empty where satkit has none",
    "backbone": "timm's name, or Conformer's; empty where none is meant",
    "dataset": "satkit's name of the data set",
    "setting": "JSON of the settings of satkit that differ from the method's defaults",
    "metric": "satkit's name of the metric; a printed difference of it ends in _gain",
    "value": "number with the digits that are printed",
    "unit": "one of UNITS",
    "location": "section and table or figure",
    "footnote": "what caption, star or text add; empty where nothing does",
}
MAY_BE_EMPTY = {"method", "backbone", "footnote"}
DATASETS = ("cub", "imagenet", "openimages", "stanford_dogs", "fgvc_aircraft", "stanford_cars")
UNITS = ("%", "points", "M", "G", "images", "classes", "epochs", "pixels", "patches", "share")
#: Metrics and their unit; percent lie in 0-100.
METRICS = {
    **dict.fromkeys(
        ("top1_cls", "top5_cls", "top1_loc", "top5_loc", "gt_known", "max_box_acc@0.3",
         "max_box_acc@0.5", "max_box_acc@0.7", "max_box_acc_v2", "pxap", "piou", "frozen_rate"),
        "%",
    ),
    "median_iou_gain": "points",
    "gt_known_range": "points",
    "gmacs": "G",
    **dict.fromkeys(
        ("parameters", "tunable_backbone_parameters", "tunable_head_parameters"), "M"
    ),
    **dict.fromkeys(
        ("errors", "errors_object_occlusion", "errors_localization_more",
         "errors_water_reflection", "errors_localization_part", "errors_multiple_instances",
         "errors_label_error", "train_images", "val_images", "test_images", "batch_size"),
        "images",
    ),
    "classes": "classes",
    "epochs": "epochs",
    "resize_size": "pixels",
    "image_size": "pixels",
    "smoothing_sigma": "patches",
    "smoothing_size": "patches",
    "target_area": "share",
}  # fmt: skip


def list_tables() -> list[str]:
    """Names that :func:`table` takes, in the paper's order, figures and set-up last."""
    names = [path.stem for path in FOLDER.glob("*.csv") if path.stem != "statements"]
    return sorted(names, key=_place)


def _place(name: str) -> tuple[int, int]:
    kind = name.rstrip("0123456789")
    return ("table", "figure", "setup").index(kind), int(name[len(kind) :] or 0)


def table(name: str) -> pd.DataFrame:
    """Read one table of the paper, one value a row.

    Args:
        name: One of :func:`list_tables`, for instance ``table2``.

    Returns:
        The columns of ``SCHEMA``, with ``setting`` as a dictionary, ``value`` as a number and
        ``printed`` as the text that the paper prints.

    Raises:
        ValueError: There is no such table.
    """
    check_choice("table", name, list_tables())
    frame = read(FOLDER / f"{name}.csv")
    frame["setting"] = [json.loads(text) for text in frame["setting"]]
    frame.insert(frame.columns.get_loc("value"), "printed", frame["value"])
    frame["value"] = frame["value"].astype(float)
    return frame


def cells() -> pd.DataFrame:
    """All tables below one another, as :func:`table` gives them."""
    return pd.concat([table(name) for name in list_tables()], ignore_index=True)


def wide(name: str) -> pd.DataFrame:
    """One table in the paper's form: its rows, its columns, its digits.

    Args:
        name: One of :func:`list_tables`.

    Returns:
        Texts, "–" where the paper prints nothing.

    Raises:
        ValueError: There is no such table.
    """
    frame = table(name)
    printed = frame.pivot(index="row", columns="column", values="printed")
    printed = printed.loc[frame["row"].unique(), frame["column"].unique()].fillna("–")
    return printed.rename_axis(index=None, columns=None)


def value(cell: str) -> float:
    """Value of one cell.

    Args:
        cell: ``table/row/column``, for instance ``table2/(d) L_cls, L_ba, L_norm, F./GT-k.``.

    Returns:
        The number.

    Raises:
        ValueError: There is no such cell; the message suggests the nearest.
    """
    check_choice("cell", cell, _values())
    return _values()[cell]


def published(**wanted: Any) -> dict[str, float]:
    """Metrics that the paper prints for one method with one setting.

    Args:
        **wanted: Values of columns, for instance ``table="table1"``, ``method="sat"``,
            ``dataset="cub"``, ``setting={}``.

    Returns:
        Value by metric, in percent where it is an accuracy.

    Raises:
        ValueError: Unknown column, no such row, or one metric with several values.
    """
    frame = table(wanted.pop("table")) if "table" in wanted else cells()
    for column, expected in wanted.items():
        check_choice("column", column, SCHEMA)
        frame = frame[[given == expected for given in frame[column]]]
    several = frame.groupby("metric")["value"].nunique()
    if frame.empty or (several > 1).any():
        found = "no value" if frame.empty else f"several values of {several.idxmax()}"
        raise ValueError(f"{wanted} gives {found} in the paper; give other columns or more of them")
    values = frame.groupby("metric", sort=False)["value"].first()
    return {str(name): float(number) for name, number in values.items()}


@cache
def _values() -> dict[str, float]:
    frame = cells()
    names = frame["table"] + "/" + frame["row"] + "/" + frame["column"]
    return dict(zip(names, frame["value"], strict=True))


def check_schema(frame: pd.DataFrame) -> None:
    """Refuse a table that breaks ``SCHEMA``.

    Args:
        frame: As the file holds it, all texts (:func:`read`).

    Raises:
        ValueError: Wrong columns, an empty field, an unknown data set, metric or unit, a value that
            is no number, a share or percentage out of range, or a cell that stands there twice. The
            message names the row.
    """
    if list(frame) != list(SCHEMA):
        raise ValueError(f"columns are {list(frame)}; expected {list(SCHEMA)}")
    for number, row in enumerate(frame.to_dict("records"), start=2):
        if fault := _fault(row):
            raise ValueError(f"line {number} ({row['table']}, {row['row']}): {fault}")
    twice = frame[frame.duplicated(["table", "row", "column"])]
    if len(twice):
        raise ValueError(f"the cell {'/'.join(twice.iloc[0][['table', 'row', 'column']])} is twice")


def _fault(row: dict[str, str]) -> str:
    """What is wrong with one row; empty where nothing is."""
    for column in SCHEMA:
        if not row[column] and column not in MAY_BE_EMPTY:
            return f"{column} is empty"
    for column, choices in (("dataset", DATASETS), ("unit", UNITS)):
        if row[column] not in choices:
            return f"{column} is {row[column]!r}; expected one of {', '.join(choices)}"
    metric, gain = row["metric"].removesuffix("_gain"), row["metric"].endswith("_gain")
    if metric not in METRICS and row["metric"] not in METRICS:
        return f"metric is {row['metric']!r}; expected one of {', '.join(METRICS)}"
    unit = "points" if gain else METRICS[metric]
    if row["unit"] != unit:
        return f"unit of {row['metric']} is {row['unit']!r}; expected {unit!r}"
    if not re.fullmatch(r"[+-]?\d+(\.\d+)?", row["value"]):
        return f"value is {row['value']!r}; expected a number"
    limit = {"%": 100, "share": 1}.get(unit)
    if limit and not 0 <= float(row["value"]) <= limit:
        return f"value is {row['value']}; expected 0-{limit}"
    return ""


def read(path: Path) -> pd.DataFrame:
    """Read a file of this folder as texts, without turning anything into NaN."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)
