"""Measured rows find their place beside the paper's, and say where they come from."""

import json

import pandas as pd
import pytest

from satkit import paper
from satkit.paper.measured import CACHED, HERE, key, rows_of, settings_of, spread
from satkit.results import write_json
from satkit.settings import TrainSettings

LAB = TrainSettings.for_profile("lab")


def cached(folder, *rows):
    """A result file of rows (given, seed, GT-known Loc, date)."""
    names = ("given", "seed", "gt_known", "date")
    frame = pd.DataFrame([dict(zip(names, (json.dumps(r[0]), *r[1:]), strict=True)) for r in rows])
    about = {"dataset": "aviary", "commit": "a" * 40, "device": "cpu", "data": "d"}
    frame.assign(**about).to_csv(folder / "table_aviary.csv", index=False)


def finished(folder, settings, gt_known):
    """A finished run, as training leaves it."""
    run = folder / "sweep" / settings.id("d")
    run.mkdir(parents=True)
    write_json(run / "settings.json", settings.model_dump(mode="json"))
    about = {"commit": "b" * 40, "date": "2026-01-02T00:00", "device": "cpu", "data": "d"}
    write_json(run / "provenance.json", about)
    curve = pd.DataFrame({"threshold": [0.05, 0.1], "gt_known": [40.0, 60.0], "top1_loc": 0.0})
    curve.iloc[[0] * 4 + [0, 1]].to_csv(run / "curve.csv", index=False)
    write_json(run / "metrics.json", {"gt_known": gt_known, "threshold": 0.3})


def test_a_run_of_this_project_replaces_the_cached_one(tmp_path):
    gate = {"method": "sat", "gate": "before_softmax"}
    cached(tmp_path, ({}, 0, 80.0, "2026-01-01"), ({}, 1, 82.0, "2026-01-01"),
           (gate, 0, 70.0, "2026-01-01"))  # fmt: skip
    finished(tmp_path, LAB, 90.0)
    rows = paper.measured(tmp_path, files=tmp_path)
    assert sorted(zip(rows["source"], rows["gt_known"], strict=True)) == [
        (CACHED, 70.0), (CACHED, 82.0), (HERE, 90.0),
    ]  # fmt: skip
    here = rows[rows["source"] == HERE].iloc[0]
    assert here["gt_known@0.05"] == 40.0 and settings_of(here) == LAB
    found = rows_of("table10_gate", LAB, rows)
    assert found["before softmax"]["gt_known"].tolist() == [70.0]
    assert sorted(found["after softmax"]["gt_known"]) == [82.0, 90.0]


def test_runs_of_another_version_are_left_out_and_named(tmp_path, capsys):
    finished(tmp_path, LAB, 90.0)
    [file] = tmp_path.glob("*/*/settings.json")
    file.write_text('{"a_setting_of_old": 1}')
    assert paper.measured(tmp_path, files=tmp_path).empty
    assert f"left out: {file.parent}" in capsys.readouterr().out


def test_of_two_cached_rows_the_later_one_counts(tmp_path):
    cached(tmp_path, ({}, 0, 80.0, "2026-01-02"), ({"method": "sat"}, 0, 70.0, "2026-01-01"))
    assert paper.measured(tmp_path / "none", files=tmp_path)["gt_known"].tolist() == [80.0]


def test_of_one_run_in_two_files_the_fuller_row_counts(tmp_path):
    cached(tmp_path, ({}, 0, 80.0, "2026-01-02"))
    row = pd.read_csv(tmp_path / "table_aviary.csv").assign(median_iou=70.0)
    row.to_csv(tmp_path / "ablations_aviary.csv", index=False)
    assert paper.measured(tmp_path / "none", files=tmp_path)["median_iou"].tolist() == [70.0]


def test_measured_stands_beside_the_paper(tmp_path):
    cached(tmp_path, ({}, 0, 80.0, "2026-01-01"), ({}, 1, 82.0, "2026-01-01"))
    rows = paper.measured(tmp_path / "none", files=tmp_path)
    table = paper.beside("table2_losses", LAB, rows, ["gt_known"])
    last = table.loc["(d) cls + ba + norm + filter"]
    assert last["GT-known Loc"] == "81.0 ± 1.4" and (last["seeds"], last["from"]) == ("2", CACHED)
    assert (
        table.loc["(a) cls", "GT-known Loc"] == "–" and table.loc["(a) cls", "seeds"] == "not run"
    )
    printed = table["GT-known Loc, the paper's on ImageNet"]
    assert printed.tolist() == ["69.29", "71.07", "72.78", "73.13"]


def test_one_experiment_stands_beside_any_table_of_the_paper(tmp_path):
    cached(tmp_path, ({"method": "tscam"}, 0, 80.0, "2026-01-01"))
    rows = paper.measured(tmp_path / "none", files=tmp_path)
    table = paper.beside("table1_methods", LAB, rows, ["max_box_acc@0.7", "piou"], "table3")
    assert table.loc["TS-CAM", "δ = 0.7, the paper's on CUB-200"] == "49.93"
    assert not [name for name in table if name.startswith("pIoU, the paper's")]
    with pytest.raises(ValueError, match="table3"):
        paper.beside("table1_methods", LAB, rows, ["gt_known"], "table33")


@pytest.mark.parametrize("experiment", paper.EXPERIMENTS)
def test_every_experiment_has_the_paper_s_rows_or_none(experiment):
    table = paper.beside(experiment, LAB, paper.measured("/none", files="/none"))
    printed = table[[name for name in table if "the paper's" in name]]
    without = {"discrepancies", "fig4", "fig8"}  # no table of the paper
    assert (printed.shape[1] == 0) == (experiment.split("_")[0] in without)
    assert set(table["seeds"]) == {"not run"}


def test_data_sets_on_which_sat_was_measured(tmp_path):
    cached(tmp_path, ({"gate": "before_softmax"}, 0, 80.0, "2026-01-01"))
    rows = paper.measured(tmp_path / "none", files=tmp_path)
    assert paper.bases(rows) == {}
    cached(tmp_path, ({"selection": "test"}, 0, 80.0, "2026-01-01"))
    rows = paper.measured(tmp_path / "none", files=tmp_path)
    (base,) = paper.bases(rows).values()
    assert (base.dataset, base.selection) == ("aviary", "test")
    assert rows_of("table1_methods", base, rows)["SAT"]["gt_known"].tolist() == [80.0]
    assert paper.bases(rows, "smoke") == {}


def test_nothing_is_measured_yet():
    assert paper.banner(paper.measured("/none", files="/none")) == "nothing was measured yet"


def test_banner_says_where_numbers_come_from(tmp_path):
    cached(tmp_path, ({}, 0, 80.0, "2026-01-01"), ({}, 1, 82.0, "2026-01-03"))
    text = paper.banner(paper.measured(tmp_path / "none", files=tmp_path))
    assert text == "cached: 2 runs, commit aaaaaaaa, 2026-01-01 to 2026-01-03, cpu"


def test_keys_differ_by_what_changes_numbers_only():
    assert key(LAB) == key(LAB.model_copy(update={"seed": 3, "experiment": "x", "workers": 2}))
    assert key(LAB) == key(TrainSettings.for_profile("lab", gate="after_softmax"))
    others = [{"epochs": 3}, {"gate": "before_softmax"}, {"dataset": "butterflies"}, {"shots": 1}]
    assert (
        len({key(TrainSettings.for_profile("lab", **given)) for given in others} | {key(LAB)}) == 5
    )


def test_spread_over_seeds():
    assert spread(pd.Series([1.0])) == "1.0" and spread(pd.Series([1.0, 3.0])) == "2.0 ± 1.4"
    assert spread(None) == "" and spread(pd.Series([float("nan")])) == ""


def test_the_second_of_two_stages_is_found_as_what_was_asked(tmp_path):
    first = TrainSettings.for_profile("lab", area_term="none", pixel_term="none")
    finished(tmp_path, first, 60.0)
    weights = tmp_path / "sweep" / first.id("d") / "model.safetensors"
    second = TrainSettings.for_profile(
        "lab", area_term="area", freeze="all_but_token", checkpoint=str(weights)
    )
    finished(tmp_path, second, 70.0)
    rows = paper.measured(tmp_path, files=tmp_path)
    found = rows_of("table13_area_term", LAB, rows)["(b) area, two stages"]
    assert found["gt_known"].tolist() == [70.0]
    assert rows_of("table2_losses", LAB, rows)["(a) cls"]["gt_known"].tolist() == [60.0]
