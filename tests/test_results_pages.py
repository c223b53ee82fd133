"""The numbers that README and the site show are those of the result files."""

import importlib.util
import shutil
from pathlib import Path

import pandas as pd
import pytest

from satkit import paper
from satkit.readings import cached_readings

ROOT = Path(__file__).parents[1]


def benchmark(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tables():
    return benchmark("tables")


def test_pages_show_the_result_files(tables):
    for page in tables.PAGES:
        text = (ROOT / page).read_text()
        shown = text.split("<!-- results -->\n")[1].split("<!-- /results -->")[0]
        assert shown == tables.results_block(page), f"{page}: run benchmarks/tables.py --show"


def test_every_result_names_its_commit(tables):
    files = sorted(tables.RESULTS.glob("table_*.csv"))
    assert files
    for path in files:
        table = pd.read_csv(path)
        assert not table[["run", "commit", "date", "device", "data"]].isna().any().any(), path


def test_a_new_row_replaces_that_of_the_same_method_and_seed(tables, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    for seed, score in [(1, 50.0), (0, 60.0), (1, 70.0)]:
        tables.store({"row": "CAM", "seed": seed, "gt_known": score}, "aviary")
    tables.store({"row": "SAT (d) all losses", "seed": 0, "gt_known": 90.0}, "aviary")
    table = pd.read_csv(tmp_path / "table_aviary.csv")
    assert table["row"].tolist() == ["SAT (d) all losses", "CAM", "CAM"]
    assert table["gt_known"].tolist() == [90.0, 60.0, 70.0]
    assert tables.spread(table["gt_known"][1:]) == "65.0 ± 7.1"


def test_the_page_on_discrepancies_shows_what_was_measured():
    script = benchmark("discrepancies")
    text = (ROOT / "docs" / "discrepancies.md").read_text()
    for name, block in script.blocks().items():
        shown = text.split(f"<!-- measured: {name} -->\n")[1].split(f"<!-- /measured: {name} -->")[
            0
        ]
        assert shown == block + "\n", f"{name}: run benchmarks/discrepancies.py --show"


def test_readings_of_one_run_are_no_runs(tmp_path):
    shutil.copy(ROOT / "benchmarks" / "results" / "discrepancies_aviary.csv", tmp_path)
    assert len(cached_readings("aviary", tmp_path)) > 10
    assert paper.measured(tmp_path / "none", files=tmp_path).empty
    assert cached_readings("cub", tmp_path) is None
