"""The ledger's counts, the runs that it lacks, and its files."""

import json

import pandas as pd
import pytest

from satkit import paper
from satkit.settings import TrainSettings

LAB = TrainSettings.for_profile("lab")
ABOUT = {"dataset": "aviary", "profile": "lab", "commit": "c" * 40, "date": "2026-01-02",
         "device": "cpu", "data": "d", "source": "cached"}  # fmt: skip


def measured(*runs) -> pd.DataFrame:
    """Rows (given, seed, GT-known Loc)."""
    return pd.DataFrame(
        [
            {**ABOUT, "given": json.dumps(given), "seed": seed, "gt_known": value,
             "top1_loc": value, "train_seconds": 360.0}
            for given, seed, value in runs
        ]
    )  # fmt: skip


SAT, TSCAM = {"method": "sat"}, {"method": "tscam"}
ROWS = measured((SAT, 0, 90.0), (SAT, 1, 91.0), (TSCAM, 0, 70.0), (TSCAM, 1, 72.0))


def test_verdicts_are_counted_by_data_set():
    table = paper.ledger(ROWS)
    counts = paper.count_verdicts(table)
    assert list(counts) == ["reproduced", "same direction", "undecided", "contradicts", "not run"]
    assert counts.loc["aviary"].sum() == (table["dataset"] == "aviary").sum()
    assert counts.loc["aviary", "reproduced"] == (table["verdict"] == "reproduced").sum() > 0
    assert "none of its data sets" in counts.index


def test_effects_of_the_paper_are_held_against_the_same_bounds():
    effects = paper.paper_effects().set_index(["claim", "dataset"])
    assert effects.loc[("sat_over_tscam", "cub"), "meets"]
    bounds = paper.claims().set_index("id")["bound"]
    for (claim, _), row in effects.iterrows():
        assert row["bound"] == bounds[claim]
    assert not effects.loc[("six_percent_wins", "cub"), "meets"]  # the paper's own number is lower


def test_runs_that_are_there_are_not_asked_for():
    need = paper.to_run(ROWS, LAB, seeds=2)
    assert not any("sat_over_tscam" in names.split(", ") for names in need["claims"])
    more = paper.to_run(ROWS, LAB, seeds=3)
    row = more[[("sat_over_tscam" in names.split(", ")) for names in more["claims"]]]
    assert sorted(row["missing"].tolist()) == [[2], [2]]
    assert row["hours"].tolist() == [0.1, 0.1]  # 360 s each
    assert any("-p method tscam -p seed 2" in command for command in row["command"])
    assert not more["command"].duplicated().any()


def test_hours_are_unknown_where_nothing_like_it_was_measured():
    need = paper.to_run(ROWS, LAB, seeds=1)
    small = need[["deit_small" in command for command in need["command"]]]
    assert len(small) and small["hours"].isna().all()
    assert paper.to_run(ROWS.head(0), LAB, seeds=1)["hours"].isna().all()


def test_seeds_must_be_positive():
    with pytest.raises(ValueError, match="seeds is 0"):
        paper.to_run(ROWS, LAB, seeds=0)


def test_files_hold_the_whole_ledger_and_its_origin(tmp_path):
    table = paper.ledger(ROWS)
    csv, page = paper.write_ledger(table, ROWS, tmp_path / "out")
    read = pd.read_csv(csv)
    assert len(read) == len(table) and read["verdict"].tolist() == table["verdict"].tolist()
    text = page.read_text()
    assert "cached: 4 runs, commit cccccccc, 2026-01-02, cpu" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == len(table) + 1 and len({line.count(" |") for line in rows}) == 1
    assert "| +19.50 [" in text
