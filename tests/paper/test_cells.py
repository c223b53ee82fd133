"""The paper's numbers as data: complete, typed, and what the text says of them."""

import ast
import subprocess
import sys
import tomllib

import pandas as pd
import pytest

from satkit import paper
from satkit.paper.cells import DATASETS, FOLDER, METRICS, SCHEMA, read, value
from satkit.settings import TrainSettings

#: Printed numbers a table, counted in the paper: dashes are none, "76.2 (+3.3)" is two.
COUNTS = {
    "table1": 121, "table2": 12, "table3": 48, "table4": 22, "table5": 12, "table6": 29,
    "table7": 12, "table8": 60, "table9": 30, "table10": 12, "table11": 15, "table12": 10,
    "table13": 15, "table14": 64, "table15": 45, "table16": 18, "table17": 7, "table18": 189,
}  # fmt: skip


def test_all_tables_are_there_with_all_their_cells():
    assert {name: len(paper.table(name)) for name in COUNTS} == COUNTS
    figures = ["figure1", "figure4", "figure5", "figure8", "figure9"]
    assert paper.list_tables() == [f"table{n}" for n in range(1, 19)] + figures + ["setup"]


@pytest.mark.parametrize("name", paper.list_tables())
def test_files_follow_the_schema(name):
    frame = read(FOLDER / f"{name}.csv")
    paper.check_schema(frame)
    assert set(frame["table"]) == {name}


def test_a_table_is_typed():
    frame = paper.table("table2")
    row = frame[(frame["row"] == "(b) L_cls, L_ba") & (frame["metric"] == "gt_known")].iloc[0]
    assert row["setting"] == {"pixel_term": "none"}
    assert (row["value"], row["printed"], row["unit"]) == (71.07, "71.07", "%")
    assert list(frame) == [*list(SCHEMA)[:8], "printed", *list(SCHEMA)[8:]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": "101"}, "value is 101; expected 0-100"),
        ({"value": ""}, "value is empty"),
        ({"value": "71,07"}, "value is '71,07'; expected a number"),
        ({"dataset": "cubs"}, "dataset is 'cubs'; expected one of cub, "),
        ({"metric": "gt"}, "metric is 'gt'; expected one of top1_cls, "),
        ({"unit": "M"}, "unit of gt_known is 'M'; expected '%'"),
        ({"metric": "gt_known_gain"}, "unit of gt_known_gain is '%'; expected 'points'"),
        ({"location": ""}, "location is empty"),
    ],
)
def test_the_schema_refuses_a_bad_cell(changes, message):
    frame = read(FOLDER / "table2.csv")
    for column, text in changes.items():
        frame.loc[2, column] = text
    with pytest.raises(ValueError, match=message):
        paper.check_schema(frame)


def test_the_schema_refuses_a_cell_that_is_twice_and_other_columns():
    frame = read(FOLDER / "table2.csv")
    with pytest.raises(ValueError, match=r"the cell table2/\(a\) L_cls/Top-1 is twice"):
        paper.check_schema(pd.concat([frame, frame[:1]]))
    with pytest.raises(ValueError, match="expected"):
        paper.check_schema(frame.drop(columns="unit"))


def test_settings_are_settings_of_satkit_and_no_defaults():
    frame = paper.cells()
    frame = frame[frame["method"] != ""].astype({"setting": str})
    for method, dataset, text in set(
        zip(frame["method"], frame["dataset"], frame["setting"], strict=True)
    ):
        setting, kind = ast.literal_eval(text), {"method": method, "dataset": dataset}
        asked = TrainSettings.for_profile("paper", **kind, **setting)
        default = TrainSettings.for_profile("paper", **kind)
        assert (asked == default) == (setting == {}), text


def test_names_are_satkit_s():
    assert set(DATASETS) < set(TrainSettings.model_fields["dataset"].annotation.__args__)
    metrics = paper.cells()["metric"].str.removesuffix("_gain")
    assert set(metrics) <= set(METRICS) | {"median_iou"}


def test_wide_prints_a_table_as_the_paper_does():
    table = paper.wide("table8")
    assert list(table.index) == ["(a)", "(b)", "(c)", "(d)", "(e)"]
    assert list(table.columns[:3]) == ["CUB-200 Fro. rate", "CUB-200 1", "CUB-200 3"]
    assert table.loc["(c)", "ImageNet Full"] == "72.9"
    assert paper.wide("table4").loc["SCM, ECCV22, Deit-S", "OpenImages PxAP"] == "–"
    assert paper.wide("table1").shape == (22, 6)


def test_published_finds_one_row_and_refuses_several():
    found = paper.published(table="table1", method="tscam", dataset="cub")
    assert found == {"top1_loc": 71.30, "top5_loc": 83.80, "gt_known": 87.70}
    with pytest.raises(ValueError, match="several values of gt_known"):
        paper.published(table="table9", dataset="cub")
    with pytest.raises(ValueError, match="no value"):
        paper.published(method="sat", dataset="cub", row="TS-CAM")
    with pytest.raises(ValueError, match="Did you mean 'method'"):
        paper.published(metod="sat")


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="Did you mean 'table2'"):
        paper.table("tabel2")
    with pytest.raises(ValueError, match=r"cell is 'table2/GT-k\.'"):
        value("table2/GT-k.")


def test_reading_the_paper_needs_no_torch():
    code = (
        "import sys, satkit.paper as p; p.check_statements(); p.claims(); "
        "assert not {'torch', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_files_are_packaged():
    project = tomllib.loads((FOLDER.parents[1] / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["satkit"]
    packaged = {path for pattern in patterns for path in FOLDER.parent.glob(pattern)}
    assert {path for path in FOLDER.iterdir() if path.suffix in (".csv", ".toml")} <= packaged
