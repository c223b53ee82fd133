"""The ledger: claims find their runs, and the verdict follows the rule."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from satkit import paper
from satkit.paper.claims import VERDICTS, _verdict, ledger_text, read_runs
from satkit.settings import TrainSettings
from satkit.stats import Interval

TSCAM, SAT = {"method": "tscam"}, {"method": "sat"}


def results(*rows, dataset="aviary", metric="gt_known"):
    """Rows (settings, values by seed) as a table of results."""
    return pd.DataFrame(
        {"dataset": dataset, "seed": seed, "given": json.dumps(given), metric: number}
        for given, numbers in rows
        for seed, number in enumerate(numbers)
    )


def judged(table, claim, **where):
    found = paper.ledger(table)
    found = found[found["claim"] == claim]
    for column, value in where.items():
        found = found[found[column] == value]
    assert len(found) == 1
    return found.iloc[0]


def test_claims_are_whole():
    table = paper.claims()
    assert table["id"].is_unique and len(table) == 40
    assert set(table["statistic"]) == {"difference", "range", "everywhere"}
    for claim in table.to_dict("records"):
        for side in [claim["ours"], *claim["others"]]:
            TrainSettings.for_profile("lab", **side)
        for value in claim["values"]:
            TrainSettings.for_profile("lab", **claim["ours"], **{claim["vary"]: value})
        assert bool(claim["others"]) != bool(claim["vary"])
        assert f"{claim['bound']:g}" in claim["rule"]


def test_the_paper_s_effects_come_from_its_cells():
    effects = paper.claims().set_index("id")["paper"]
    assert effects["sat_over_tscam"] == pytest.approx({"cub": 10.75, "imagenet": 5.53})
    assert effects["filter_helps"] == pytest.approx({"imagenet": 0.35})
    assert effects["sat_over_fpm"] == pytest.approx({"cub": 5.58})
    weakest = {"area_insensitive": {}, "three_blocks_best": {"cub": 0.09, "imagenet": 0.21}}
    for name, effect in weakest.items():
        assert effects[name] == pytest.approx(effect)


def test_equal_means_are_no_direction_whatever_their_rounding():
    ours, other = [94.9, 94.8, 93.5], [95.1, 92.3, 95.8]
    assert (np.array(ours) - np.array(other)).mean() != 0
    row = judged(results((SAT, ours), (TSCAM, other)), "sat_over_tscam")
    assert row["verdict"] == "undecided" and abs(row["effect"]) < 1e-9


def test_a_paired_difference_over_seeds():
    ours, other = [92.0, 94.0, 95.0], [80.0, 81.0, 84.0]
    row = judged(results((SAT, ours), (TSCAM, other)), "sat_over_tscam")
    expected = stats.ttest_rel(ours, other).confidence_interval()
    assert (row["low"], row["high"]) == pytest.approx(tuple(expected))
    assert row["effect"] == pytest.approx(12.0)
    assert (row["interval"], row["seeds"], row["verdict"]) == ("paired", 3, "reproduced")
    assert row["conditions"] == "{}" and row["against"] == "tscam"
    assert np.isnan(row["paper_effect"]) and row["paper"] == "cub +10.75; imagenet +5.53"


def test_the_paper_s_effect_stands_beside_the_same_data_set():
    table = results((SAT, [90.0]), (TSCAM, [91.0]), dataset="cub")
    row = judged(table, "sat_over_tscam")
    assert row["paper_effect"] == pytest.approx(10.75)
    assert (row["verdict"], row["seeds"], row["interval"]) == ("undecided", 1, "")


def test_seeds_that_are_not_shared_are_compared_by_welch():
    table = results((SAT, [90.0, 92.0, 95.0]), (TSCAM, [70.0, 79.0]))
    table.loc[table["given"] == json.dumps(TSCAM), "seed"] += 10
    row = judged(table, "sat_over_tscam")
    test = stats.ttest_ind([90.0, 92.0, 95.0], [70.0, 79.0], equal_var=False)
    assert (row["low"], row["high"]) == pytest.approx(tuple(test.confidence_interval()))
    assert (row["interval"], row["seeds"]) == ("Welch", 2)


def test_a_claim_is_as_true_as_where_it_holds_least():
    others = [({"method": "sat", "spatial_blocks": n}, [80.0, 81.0]) for n in (1, 2, 5)]
    worst = ({"method": "sat", "spatial_blocks": 4}, [95.0, 95.5])
    table = results((SAT, [90.0, 91.0]), *others, worst)
    row = judged(table, "three_blocks_best")
    assert (row["against"], row["verdict"]) == ("sat, spatial_blocks=4", "contradicts")
    assert row["effect"] == pytest.approx(-4.75)
    row = judged(table[table["given"] != json.dumps(worst[0])], "three_blocks_best")
    assert (row["verdict"], row["missing"]) == ("not run", "sat, spatial_blocks=4")


def test_defaults_may_be_named_or_not():
    table = results(({"spatial_blocks": 3, "gate": "after_softmax"}, [90.0]), (TSCAM, [80.0]))
    assert judged(table, "sat_over_tscam")["effect"] == pytest.approx(10.0)


def test_what_a_claim_does_not_name_must_be_the_default():
    table = results(({"pixel_term": "none"}, [90.0]), (TSCAM, [80.0]))
    assert judged(table, "sat_over_tscam")["verdict"] == "not run"
    for given in ({"shots": 1}, {"gate": "before_softmax"}, {"target_area": 0.4}):
        table = results((given, [90.0]), (TSCAM, [80.0]))
        assert judged(table, "sat_over_tscam")["missing"] == "sat"


def test_conditions_must_be_equal_and_are_judged_apart():
    long = {"epochs": 9}
    table = results((SAT | long, [90.0]), (TSCAM, [80.0]))
    row = judged(table, "sat_over_tscam")
    assert row["missing"] == "runs of all sides under equal conditions"
    table = pd.concat([table, results((TSCAM | long, [70.0]), (SAT, [85.0]))])
    for conditions, effect in (('{"epochs": 9}', 20.0), ("{}", 5.0)):
        row = judged(table, "sat_over_tscam", conditions=conditions)
        assert row["effect"] == pytest.approx(effect)


def test_a_backbone_s_claim_knows_the_default_of_the_data_set():
    table = results((SAT, [90.0]), (TSCAM, [80.0]), dataset="birds")  # whose default is DeiT-Ti
    assert judged(table, "holds_on_deit_tiny")["effect"] == pytest.approx(10.0)
    assert judged(table, "holds_on_deit_small")["verdict"] == "not run"


def test_a_range_must_stay_below_its_bound():
    sizes = {64: [90.0, 91.0], 128: [90.2, 91.2], 256: [90.1, 91.1]}
    table = results(*(({"batch_size": size}, numbers) for size, numbers in sizes.items()))
    row = judged(table, "batch_insensitive")
    assert row["effect"] == pytest.approx(0.2) and row["verdict"] == "reproduced"
    assert row["against"] == "sat, batch_size=128 - sat, batch_size=64"
    table.loc[table["given"] == json.dumps({"batch_size": 128}), "gt_known"] += 3
    assert judged(table, "batch_insensitive")["verdict"] == "contradicts"


def test_curves_must_dominate_in_every_column():
    rows = [(SAT, 90.0, 80.0), (TSCAM, 85.0, 81.0), ({"method": "scm"}, 50.0, 50.0)]
    table = pd.DataFrame(
        {"dataset": "aviary", "seed": 0, "given": json.dumps(given), "gt_known@0.2": low,
         "gt_known@0.4": high}
        for given, low, high in rows
    )  # fmt: skip
    row = judged(table, "curves_dominate")
    assert (row["effect"], row["verdict"]) == (-1.0, "undecided")
    assert row["against"] == "tscam (gt_known@0.4)"


def test_runs_of_the_run_store_are_results_too():
    rows = []
    for method, number in (("sat", 90.0), ("tscam", 80.0)):
        settings = TrainSettings.for_profile("lab", method=method, dataset="aviary")
        rows.append({**settings.model_dump(mode="json"), "gt_known": number, "commit": "abcdef123"})
    row = judged(pd.DataFrame(rows), "sat_over_tscam")
    assert (row["effect"], row["commits"]) == (10.0, "abcdef12")


def test_nothing_measured_is_not_run():
    table = paper.ledger(pd.DataFrame())
    assert list(table["verdict"]) == ["not run"] * len(paper.claims())
    assert "sat_over_tscam" in ledger_text(table)


@pytest.mark.parametrize(
    ("ends", "above", "below"),
    [
        ((1.0, 0.5, 1.5), "reproduced", "contradicts"),
        ((1.0, -0.5, 2.5), "same direction", "undecided"),
        ((1.0, np.nan, np.nan), "same direction", "undecided"),
        ((-1.0, -2.5, 0.5), "undecided", "same direction"),
        ((-1.0, -1.5, -0.5), "contradicts", "reproduced"),
    ],
)
def test_the_rule(ends, above, below):
    interval = Interval(*ends, 1.0, 3, "paired")
    assert _verdict(interval, 0.0, below=False) == above
    assert _verdict(interval, 0.0, below=True) == below
    assert {above, below} <= set(VERDICTS)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pd.DataFrame([{"row": "SAT"}]), "results have no column 'dataset'"),
        (pd.DataFrame([{"dataset": "cub", "seed": 0}]), "results name no settings"),
        (results(({"gaet": 1}, [1.0])), "given is .*there is no setting 'gaet'"),
        (results((SAT, [1.0]), dataset="cubs"), "dataset is 'cubs'.*Did you mean 'cub'"),
    ],
)
def test_bad_results_are_refused(table, message):
    with pytest.raises(ValueError, match=message):
        read_runs(table)
