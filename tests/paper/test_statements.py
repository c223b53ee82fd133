"""Every number that the paper states in words or as a difference, recomputed from its cells."""

import pytest

from satkit import paper
from satkit.paper.statements import evaluate

#: What does not add up, and what the cells give.
DISAGREE = {
    "mean_kim_cub": 75.9333,  # printed 75.90
    "kim_cub_same": 90.40,  # 91.60 in Table 1
    "kim_imagenet_same": 71.10,  # 69.89 in Table 1
    "table8_table14_e": 71.14,  # 71.4 in Table 8
    "frozen_printed_d": 63.3466,  # 64 %, from the rounded counts beside it
    "frozen_cub_e_literal": 88.9434,  # 91 %, if "projection" is the patch projection
    "frozen_imagenet_e_literal": 79.1525,  # 81 %
    "tunable_exact_b": 16.3442,  # 16.4 M: rounded numbers were subtracted
    "tunable_exact_c": 11.0323,  # 11.1 M
    "tunable_exact_d": 5.6963,  # 5.8 M
    "tunable_exact_e": 1.3371,  # 1.4 M
    "head_exact": 3.457,  # 3.4 M
    "cars_loc_top1": 6.05,  # 5.95
    "cars_loc_top5": 4.92,  # 4.98
}


def test_exactly_these_statements_do_not_add_up():
    table = paper.check_statements().set_index("id")
    wrong = table.loc[table["agrees"].eq(False).fillna(False), "recomputed"]
    assert wrong.to_dict() == pytest.approx(DISAGREE, abs=5e-5)
    assert table["agrees"].eq(True).sum() == 132


def test_differences_and_means_of_the_paper_are_recomputed():
    found = paper.check_statements().set_index("id")["recomputed"]
    assert found["batch_area_gain"] == pytest.approx(1.78)
    assert found["tscam_cub_top1"] == pytest.approx(9.66)
    assert found["mean_sat_cub"] == pytest.approx(92.62)
    assert found["frozen_imagenet_b"] == pytest.approx(21.18, abs=0.005)
    assert found["errors_rate"] == pytest.approx(98.4467, abs=5e-5)


def test_every_printed_difference_is_among_the_statements():
    cells = paper.cells()
    printed = cells[(cells["unit"] == "points") & cells["table"].str.startswith("table")]
    stated = paper.statements()["stated"]
    stated = set(stated[stated != ""].astype(float))
    assert len(printed) == 8 + 4 + 8 + 15
    assert set(printed["value"]) <= stated


def test_statements_are_whole():
    table = paper.statements()
    assert table["id"].is_unique
    assert set(table["relation"]) == {"", "=", "<", ">"}
    assert (table[["location", "says"]] != "").all(axis=None)
    assert ((table["relation"] == "") == (table["stated"] == "")).all()
    open_ = paper.check_statements().set_index("id")["agrees"].isna()
    assert list(open_[open_].index) == list(table.loc[table["formula"] == "", "id"])


def test_a_formula_is_arithmetic_over_cells():
    assert evaluate("{table2/(b) L_cls, L_ba/GT-k.} - 1 / 2") == pytest.approx(70.57)
    assert evaluate("{table3/improvement/ImageNet δ = 0.3} * 2") == pytest.approx(-4.56)
    with pytest.raises(ValueError, match=r"cell is 'table2/none/GT-k\.'"):
        evaluate("{table2/none/GT-k.}")


def test_a_number_agrees_if_it_rounds_to_the_stated_one():
    from satkit.paper.statements import _agrees

    assert _agrees("=", "1.78", 0.005) and not _agrees("=", "1.78", 0.0051)
    assert _agrees("=", "24", -0.5) and not _agrees("=", "24", -0.51)
    assert _agrees(">", "0", 0.01) and not _agrees(">", "0", 0.0)
    assert _agrees("<", "0.1", -0.01) and not _agrees("<", "0.1", 0.0)
