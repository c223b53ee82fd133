"""The paper's figures plot what the rows of runs say, and nothing where there are none."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from satkit import figures, paper
from satkit.figures import points
from satkit.notebooks import in_project
from satkit.settings import TrainSettings

LAB = TrainSettings.for_profile("lab")


def row(gt_known, seed=0, **given):
    """A measured row, as `satkit.paper.measured` gives it."""
    origin = {"commit": "a" * 40, "date": "2026-01-01", "device": "cpu", "data": "d"}
    about = {"dataset": "aviary", "profile": "lab", "source": "cached", "dir": None}
    run = f"{json.dumps(given)}-{seed}"
    numbers = {"gt_known": gt_known, "gt_known@0.50": gt_known, "gt_known@0.30": gt_known / 2}
    return {**numbers, **about, **origin, "seed": seed, "given": json.dumps(given), "run": run}


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return pd.DataFrame([
        row(90.0), row(94.0, seed=1), row(85.0, target_area=0.15), row(91.0, batch_size=64),
        row(80.0, shots=1), row(88.0, freeze="e"), row(82.0, freeze="e", shots=1),
        row(70.0, method="tscam"), row(30.0, method="tscam", shots=1), row(75.0, method="scm"),
    ])  # fmt: skip


def bars(axis):
    """Label -> (x, y, half length of the bar) of each point with a bar of spread."""
    found = {}
    for container in axis.containers:
        line, _, (segments,) = container.lines
        spread = [float(np.ptp(one[:, 1])) / 2 for one in segments.get_segments()]
        xy = np.asarray(line.get_xydata())
        found[container.get_label()] = (xy[:, 0].tolist(), xy[:, 1].tolist(), spread)
    return found


def hollow(axis):
    """Heights of the paper's own marks."""
    return [line.get_ydata().tolist() for line in axis.lines if line.get_mfc() == "white"]


def test_figure1_plots_parts_that_are_tuned_and_images(rows):
    table = figures.figure1_points(LAB, rows)
    drawn = figures.figure1(table)
    tuned, shots = drawn.figure.axes
    whole, part = points.tuned_millions(LAB, {}), points.tuned_millions(LAB, {"freeze": "e"})
    assert part < 0.2 * whole
    assert bars(tuned)["SAT"][:2] == ([part, whole], [88.0, 92.0])
    assert bars(tuned)["SAT, 1 image a class"][:2] == ([part, whole], [82.0, 80.0])
    assert bars(tuned)["SCM"][:2] == (pytest.approx([whole], abs=1e-3), [75.0])  # no token
    x, y, _ = bars(shots)["SAT"]
    assert np.round(x).tolist() == [0, 4] and y == [80.0, 92.0]
    assert [70.9, 71.9, 72.6, 72.9, 73.1] in hollow(shots)
    assert "SAT over training images: 80.0 % at 1, 92.0 % at all" in drawn.alt
    assert drawn.alt.endswith("Hollow markers: the paper's, ImageNet.")


def test_tuned_parameters_are_those_of_table_14():
    base = TrainSettings.for_profile("paper", dataset="imagenet")
    table = paper.table("table14")
    printed = table[table["metric"] == "tunable_backbone_parameters"].set_index("row")["value"]
    assert points.tuned_millions(base, {}) == pytest.approx(printed["SAT (a)"], abs=0.05)
    tuned = points.tuned_millions(base, {"freeze": "e"})  # theirs are rounded before subtraction
    assert tuned == pytest.approx(printed["SAT (e)"], abs=0.15)


def test_figure4_plots_means_and_spread_over_seeds(rows):
    drawn = figures.figure4(figures.figure4_points(LAB, rows))
    area, batch = drawn.figure.axes
    spread = np.std([90, 94], ddof=1)
    assert bars(area)["SAT"] == ([0.15, 0.25], [85.0, 92.0], pytest.approx([0, spread]))
    assert bars(batch)["SAT"] == ([32, 64], [92.0, 91.0], pytest.approx([spread, 0]))
    assert drawn.figure.get_suptitle() == "mean ± standard deviation, 1 to 2 seeds (no bar: 1)"
    assert "SAT over λ: 85.0 % at 0.15, 92.0 % at 0.25" in drawn.alt
    only_area = figures.figure4_points(LAB, rows[rows["gt_known"] != 91])
    assert [axis.get_xlabel() for axis in figures.figure4(only_area).figure.axes] == ["λ"]


def test_figure5_plots_correct_boxes_of_runs_that_are_at_hand(rows, tmp_path):
    for name, ious in {"0": [0.6, 0.8, 0.4], "1": [0.7, 0.9, 0.9]}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "settings.json").write_text("{}")
        pd.DataFrame({"iou": ious}).to_csv(tmp_path / name / "predictions.csv")
    folders = [str(tmp_path / "0"), str(tmp_path / "1"), *[None] * (len(rows) - 2)]
    boxes = figures.figure5_points(LAB, rows.assign(dir=folders))
    assert sorted(boxes["iou"]) == [0.6, 0.7, 0.8, 0.9, 0.9] and set(boxes["line"]) == {"SAT"}
    drawn = figures.figure5(boxes)
    (axis,) = drawn.figure.axes
    share = axis.patches[0].get_data().values
    assert share.sum() == pytest.approx(100) and max(share) == pytest.approx(40)
    assert axis.lines[0].get_xdata()[0] == pytest.approx(0.8)  # mean of the medians 0.7 and 0.9
    assert "SAT, median 80.0 ± 14.1 %" in drawn.alt
    with pytest.raises(ValueError, match="no correct boxes"):
        figures.figure5(figures.figure5_points(LAB, rows))


def test_figure6_plots_density_and_mean_by_size():
    one = pd.DataFrame({"size": [0.1, 0.1, 0.4], "iou": [0.25, 0.25, 0.85]})
    drawn = figures.figure6({"SAT": one, "TS-CAM": one.assign(iou=0.5)})
    first = drawn.figure.axes[0]
    share = first.collections[0].get_array()
    assert share.max() == pytest.approx(200 / 3) and share.sum() == pytest.approx(100)
    assert np.allclose(first.lines[0].get_xydata(), [[0.1, 0.25], [0.4, 0.85]])
    assert "SAT: mean IoU 0.45, from 0.25 for the smallest to 0.85" in drawn.alt
    with pytest.raises(ValueError, match="no methods"):
        figures.figure6({})


def test_figure7_plots_the_curves_of_the_rows(rows):
    drawn = figures.figure7(figures.figure7_points(LAB, rows))
    (axis,) = drawn.figure.axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axis.lines}
    assert lines["SAT"] == [[0.3, 46.0], [0.5, 92.0]] and lines["SCM"] == [[0.3, 37.5], [0.5, 75.0]]
    band = axis.collections[0].get_paths()[0].get_extents()
    assert band.y1 - 92 == pytest.approx(np.std([90, 94], ddof=1))
    assert "SAT is best at 0.50 with 92.0 %" in drawn.alt


def test_figure8_draws_boxes_from_five_runs_on(rows):
    table = figures.figure8_points(LAB, rows)
    (axis,) = figures.figure8(table).figure.axes
    assert bars(axis)["TS-CAM"][1] == [30.0, 70.0]
    assert hollow(axis) == [[91.3, 95.1, 96.1, 97.3, 98.5], [87.7]]
    many = pd.DataFrame([row(80.0 + seed, seed, shots=1) for seed in range(5)])
    plain = len(axis.lines)
    table = figures.figure8_points(LAB, pd.concat([many, rows[rows["gt_known"] != 80]]))
    (axis,) = figures.figure8(table).figure.axes
    assert len(axis.lines) > plain  # the box, its whiskers, its median
    assert any(set(line.get_ydata()) == {82.0} for line in axis.lines[plain:])


def test_figure9_plots_shares_of_the_errors_beside_the_papers():
    counts = pd.DataFrame({"ours": [3, 1]}, index=["object occlusion", "label error"])
    drawn = figures.figure9(counts)
    (axis,) = drawn.figure.axes
    ours, theirs = [[bar.get_width() for bar in group] for group in axis.containers]
    assert ours == [75, 25] and theirs == pytest.approx([3600 / 37, 100 / 37])
    assert [text.get_text() for text in axis.texts] == ["3", "1", "36", "1"]
    assert "label error: ours 1, the paper's, CUB-200 1" in drawn.alt
    with pytest.raises(ValueError, match="at least one error"):
        figures.figure9(counts * 0)


def test_figure3_draws_maps_and_boxes_of_each_method():
    image, true = np.full((8, 8, 3), 200, np.uint8), [np.array([[0, 0, 4, 4]])] * 2
    maps = {"SAT": np.eye(4)[None].repeat(2, 0), "CAM": np.zeros((2, 4, 4))}
    boxes = {"SAT": np.array([[0, 0, 4, 4]] * 2), "CAM": np.array([[0, 0, 4, 8]] * 2)}
    drawn = figures.figure3([image, image], maps, boxes, true, titles=["wren", "finch"])
    sat, cam = drawn.figure.axes[2], drawn.figure.axes[4]
    assert np.array_equal(sat.images[1].get_array(), np.eye(4))
    assert [patch.get_height() for patch in cam.patches] == [4, 8]
    assert drawn.alt.endswith("IoU: SAT 1.00, 1.00; CAM 0.56, 0.56.")
    with pytest.raises(ValueError, match="give both of each"):
        figures.figure3([image], maps, {"SAT": boxes["SAT"]}, true)


def test_figure10_draws_curves_and_maps_where_there_are_some():
    x, losses = np.linspace(0, 1, 11), {"L": np.linspace(0, 2, 11)}
    alone = figures.figure10(x, losses)
    assert np.array_equal(alone.figure.axes[0].lines[0].get_ydata(), losses["L"])
    image, values = np.zeros((4, 4, 3), np.uint8), np.array([[0.0, 0.5], [0.9, 1.0]])
    drawn = figures.figure10(x, losses, [image], {"L": [values]})
    assert np.array_equal(drawn.figure.axes[1].images[0].get_array(), values)
    assert "undecided patches (0.2 to 0.8) of the maps with L: 25 %" in drawn.alt


def test_figure2_names_its_blocks():
    drawn = figures.figure2(blocks=8, spatial=2)
    texts = [text.get_text() for text in drawn.figure.axes[0].texts]
    assert "6\nblocks" in texts and "block\n8\nwith\nSQA" in texts
    assert "then 2 blocks with spatial-query attention" in drawn.alt


@pytest.mark.parametrize("number", [1, 4, 7, 8])
def test_nothing_is_drawn_from_nothing(number, rows):
    of, draw = (getattr(figures, f"figure{number}{end}") for end in ("_points", ""))
    with pytest.raises(ValueError, match="nothing was measured"):
        draw(of(LAB, rows.head(0)))
    if number != 7:
        with pytest.raises(ValueError, match="at least two values"):
            draw(of(LAB, rows.head(1)))


def test_saved_figures_are_equal_and_say_where_they_come_from(rows, tmp_path):
    table = figures.figure8_points(LAB, rows)
    written = [
        figures.save_figure(figures.figure8(table), "figure8", folder, figures.sources(table))
        for folder in (tmp_path / "one", tmp_path / "two")
    ]
    assert [path.name for path in written[0]] == [
        f"figure8.{e}" for e in ("pdf", "svg", "png", "json")
    ]
    for first, second in zip(*written, strict=True):
        assert first.read_bytes() == second.read_bytes()
    about = json.loads(written[0][-1].read_text())
    assert about["printed"] == ["the paper's, CUB-200"] and "Few-shot" in about["alt"]
    assert len(about["runs"]) == 5 and {run["commit"] for run in about["runs"]} == {"a" * 40}
    with pytest.raises(ValueError, match="no provenance"):
        figures.save_figure(figures.figure2(), "figure2", tmp_path, {})


def test_contact_sheet_shows_every_figure():
    one = figures.figure2()
    sheet = figures.contact_sheet({"a": one, "b": one, "c": one})
    shown = [axis.get_title() for axis in sheet.figure.axes if axis.images]
    assert shown == ["a", "b", "c"] and sheet.alt.count(one.alt) == 3
    with pytest.raises(ValueError, match="no figures"):
        figures.contact_sheet({})


def test_figure4_shows_what_the_committed_result_file_says(tmp_path):
    drawn = figures.figure4(figures.figure4_points(LAB, paper.measured(tmp_path)))
    shares, heights, _ = bars(drawn.figure.axes[0])["SAT"]
    file = pd.read_csv(in_project("benchmarks/results/ablations_aviary.csv"))
    means = file["gt_known"].groupby(file["given"].map(json.loads).map(str)).mean()
    expected = [means[str({"method": "sat", "target_area": x})] for x in shares if x != 0.25]
    assert len(expected) >= 4
    assert [y for x, y in zip(shares, heights, strict=True) if x != 0.25] == pytest.approx(expected)
