"""Each rule of the assistant on a map made by hand; sheets; and the judgement of the assistant."""

import numpy as np
import pandas as pd
import pytest
import torch

import satkit
from satkit.errors import (
    CAUSES,
    counts,
    judge,
    known_causes,
    look,
    made_by_difficulty,
    propose,
    read_sheet,
    scores,
    write_sheet,
)
from satkit.evaluation import Outputs

SIDE = 40
THRESHOLD = 0.3


def drawn(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """A map that is 1 in the boxes (x0, y0, x1, y1) and 0 elsewhere."""
    values = np.zeros((SIDE, SIDE), np.float32)
    for x0, y0, x1, y1 in boxes:
        values[y0:y1, x0:x1] = 1
    return values


def best(values, predicted, *true) -> str:
    found = scores(look(values, np.array(predicted), np.array(true), THRESHOLD))
    assert np.isclose(sum(found.values()), 1)
    return max(found, key=found.get)


TRUE = (10, 10, 20, 20)


@pytest.mark.parametrize(
    ("cause", "maps", "predicted", "true"),
    [
        ("localization more", [(5, 4, 28, 22)], (5, 4, 28, 22), [TRUE]),
        ("localization part", [(12, 12, 16, 16)], (12, 12, 16, 16), [TRUE]),
        # two pieces with a gap, of which the box holds one
        ("object occlusion", [(10, 10, 14, 20), (16, 10, 20, 20)], (10, 10, 14, 20), [TRUE]),
        # the map goes on as far below the object as it reaches above
        ("water reflection", [(10, 10, 20, 32)], (10, 10, 20, 32), [TRUE]),
        ("multiple instances", [(10, 10, 34, 20)], (10, 10, 34, 20), [TRUE, (24, 10, 34, 20)]),
        ("label error", [(25, 25, 35, 35)], (25, 25, 35, 35), [TRUE]),
    ],
)
def test_each_rule_finds_its_cause(cause, maps, predicted, true):
    assert best(drawn(*maps), predicted, *true) == cause


def test_evidence_is_what_its_names_say():
    seen = look(drawn((10, 10, 20, 30)), np.array([10, 10, 20, 30]), np.array([TRUE]), THRESHOLD)
    assert seen == (1.0, 0.5, 0.0, 1.0, 0.0, 0.0)
    apart = look(drawn((30, 30, 40, 40)), np.array([30, 30, 40, 40]), np.array([TRUE]), THRESHOLD)
    assert apart == (0.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def test_pieces_count_also_above_the_threshold():
    values = drawn((10, 10, 20, 20))
    values[10:20, 14:16] = 0.5  # a bridge that the threshold of 0.3 does not cut
    seen = look(values, np.array([5, 5, 30, 30]), np.array([TRUE]), THRESHOLD)
    assert seen.pieces == 1


def test_nearest_true_box_counts_even_without_overlap():
    far, near = (0, 0, 4, 4), (20, 20, 24, 24)
    seen = look(drawn((26, 26, 36, 36)), np.array([26, 26, 36, 36]), np.array([far, near]), 0.3)
    assert seen.covered == 0 and seen.dim == 1
    with pytest.raises(ValueError, match="no true box"):
        look(drawn(), np.array(TRUE), np.empty((0, 4)), THRESHOLD)


def test_a_perfect_box_has_scores_without_division_by_zero():
    found = scores(look(drawn(TRUE), np.array(TRUE), np.array([TRUE]), THRESHOLD))
    assert set(found.values()) == {0.0}


def outputs(*maps, boxes) -> Outputs:
    return Outputs(
        maps=torch.from_numpy(np.stack(maps)), logits=torch.zeros(len(maps), 2),
        labels=torch.zeros(len(maps), dtype=torch.long), boxes=[np.array(b) for b in boxes],
        paths=[f"image {i}" for i in range(len(maps))], image_size=SIDE, masks={},
        images_per_second=1.0,
    )  # fmt: skip


def test_only_misses_get_a_proposal_and_the_worst_comes_first():
    told = outputs(
        drawn(TRUE), drawn((5, 5, 22, 22)), drawn((30, 30, 38, 38)), drawn(TRUE),
        boxes=[[TRUE], [TRUE], [TRUE], np.empty((0, 4))],
    )  # fmt: skip
    found = propose(told, "sat", THRESHOLD)
    assert found["path"].tolist() == ["image 2", "image 1"]
    assert found["proposal"].tolist() == ["label error", "localization more"]
    assert found["index"].tolist() == [2, 1]
    assert np.allclose(found[list(CAUSES)].sum(axis=1), 1)


def test_no_miss_gives_an_empty_table():
    found = propose(outputs(drawn(TRUE), boxes=[[TRUE]]), "sat", THRESHOLD)
    assert len(found) == 0 and "proposal" in found


def proposals(**by_path: str) -> pd.DataFrame:
    return pd.DataFrame(
        [{"path": p, "iou": 0.1, "proposal": c, "score": 0.9} for p, c in by_path.items()]
    )


def test_verdicts_survive_new_proposals_and_count_before_them(tmp_path):
    file = tmp_path / "folder" / "sheet.csv"
    first = write_sheet(proposals(a="localization more", b="label error"), file)
    assert first["verdict"].tolist() == ["", ""]
    edited = pd.read_csv(file, keep_default_na=False)
    edited.loc[edited["path"] == "a", "verdict"] = " Object Occlusion"
    edited.to_csv(file, index=False)
    again = write_sheet(proposals(a="localization part", c="label error"), file)
    assert again[["path", "proposal", "verdict"]].to_numpy().tolist() == [
        ["a", "localization part", "object occlusion"], ["c", "label error", ""],
    ]  # fmt: skip
    assert read_sheet(file).equals(again)
    assert counts(again).to_dict() == {
        **dict.fromkeys(CAUSES, 0), "object occlusion": 1, "label error": 1,
    }  # fmt: skip


def test_a_verdict_on_an_image_that_is_no_miss_any_more_is_kept(tmp_path):
    file = tmp_path / "sheet.csv"
    write_sheet(proposals(a="label error"), file).assign(verdict="label error").to_csv(
        file, index=False
    )
    again = write_sheet(proposals(b="label error"), file)
    assert again.set_index("path")["verdict"].to_dict() == {"b": "", "a": "label error"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.assign(verdict="occlusion"), "verdict on a.*'occlusion'"),
        (lambda s: s.drop(columns="verdict"), "no column 'verdict'"),
        (lambda s: pd.concat([s, s]), "names 'a' twice"),
    ],
)
def test_a_bad_sheet_is_refused_and_left_alone(tmp_path, change, message):
    file = tmp_path / "sheet.csv"
    change(write_sheet(proposals(a="label error"), file)).to_csv(file, index=False)
    before = file.read_text()
    with pytest.raises(ValueError, match=message):
        write_sheet(proposals(a="label error"), file)
    assert file.read_text() == before


def test_causes_that_do_not_raise_the_misses_are_not_known():
    rates = pd.Series(
        dict.fromkeys(CAUSES, 10.0) | {"none": 5.0, "localization more": 9.0, "label error": 0.0}
    )
    known = made_by_difficulty(rates)
    assert set(CAUSES) - set(known) == {"localization more", "label error"}


def test_the_judgement_counts_what_is_right():
    truth = ["label error"] * 4 + ["object occlusion"] * 2
    said = ["label error"] * 3 + ["localization more"] + ["object occlusion", "label error"]
    misses = pd.DataFrame({"truth": truth, "proposal": said})
    matrix, numbers = judge(misses, ["label error", "object occlusion", "water reflection"])
    assert matrix.loc["label error", "localization more"] == 1
    assert matrix.loc["object occlusion", "label error"] == 1
    assert matrix.to_numpy().sum() == 6 and matrix.shape == (2, 6)
    assert numbers["accuracy"] == pytest.approx(100 * 4 / 6)
    assert numbers["balanced"] == pytest.approx(100 * (3 / 4 + 1 / 2) / 2)
    assert numbers["majority"] == pytest.approx(100 * 4 / 6)
    assert numbers["low"] < numbers["balanced"] < numbers["high"]


def test_nothing_to_judge():
    matrix, numbers = judge(pd.DataFrame({"truth": [], "proposal": []}), ["label error"])
    assert matrix.empty and list(numbers) == ["chance"]


def test_known_causes_of_a_run(tmp_path):
    run = satkit.train(
        satkit.TrainSettings.for_profile("smoke", pretrained=False, runs_dir=str(tmp_path))
    )
    known = known_causes(run, images=3)
    assert list(known.rates.index) == ["none", *CAUSES]
    assert set(known.misses["truth"]) <= set(CAUSES)
    assert known.drawings["multiple instances"].drawing(0).difficulties["multiple"]
    moved = known.outputs["label error"].boxes
    assert [b.tolist() for b in moved] == [
        known.outputs["none"].boxes[i].tolist() for i in (1, 2, 0)
    ]
