"""Figures hold the data that they were given, and say in words what they show."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from satkit import figures
from satkit.data import aviary
from satkit.data.transforms import normalize


@pytest.fixture(scope="module")
def drawing() -> aviary.Drawing:
    return aviary.draw_bird(3, size=64)


def lines(illustration: figures.Illustration, axis: int = 0) -> dict[str, np.ndarray]:
    """Label -> [n, 2] points of the lines of a chart."""
    drawn = illustration.figure.axes[axis].lines
    return {str(line.get_label()): np.asarray(line.get_xydata()) for line in drawn}


def rectangles(axis) -> list[list[float]]:
    return [
        [p.get_x() + 0.5, p.get_y() + 0.5, p.get_x() + p.get_width() + 0.5,
         p.get_y() + p.get_height() + 0.5]
        for p in axis.patches
    ]  # fmt: skip


def test_sheet_draws_images_boxes_masks_and_parts(drawing):
    sheet = figures.image_sheet(
        [drawing.image, drawing.image],
        boxes=[drawing.boxes, drawing.boxes],
        masks=[drawing.mask, drawing.mask],
        parts=[drawing.parts, drawing.parts],
        titles=["a finch", "a wren"],
    )
    axis = sheet.figure.axes[1]
    assert np.array_equal(axis.images[0].get_array(), drawing.image)
    assert np.array_equal(axis.images[1].get_array(), drawing.parts)
    assert rectangles(axis) == drawing.boxes.tolist()
    assert sheet.alt == (
        "Sheet of 2 images with true boxes, mask outlines, parts in colours: a finch, a wren."
    )


def test_sheet_of_one_image_too_few_for_its_columns(drawing):
    sheet = figures.image_sheet([drawing.image], columns=4, what="drawings")
    assert len(sheet.figure.axes) == 1
    assert sheet.alt == "Sheet of 1 drawings."


def test_picture_undoes_the_normalisation_of_a_data_set(drawing):
    shown = figures.picture(normalize(drawing.image))
    assert shown.dtype == np.uint8
    assert np.abs(shown.astype(int) - drawing.image).max() <= 1


def test_grid_draws_map_true_and_predicted_box_and_says_the_iou(drawing):
    cold = torch.linspace(0, 1, 16).reshape(4, 4)
    true = [np.array([[0, 0, 39, 39]]), np.array([[10, 10, 30, 30]])]
    predicted = np.array([[0, 0, 39, 39], [40, 40, 60, 60]])
    grid = figures.localization_grid(
        [drawing.image] * 2, [cold, 1 - cold], predicted, true, titles=["same", "apart"]
    )
    middle, bottom = grid.figure.axes[3], grid.figure.axes[5]  # of the second column
    assert np.array_equal(middle.images[1].get_array(), (1 - cold).numpy())
    assert middle.images[1].get_clim() == (0, 1)
    assert rectangles(bottom) == [[10, 10, 30, 30], [40, 40, 60, 60]]
    assert grid.alt.endswith("IoU: same 1.00, apart 0.00.")


def test_map_sheet_draws_maps_boxes_and_numbers():
    ramp = np.linspace(0, 1, 4).reshape(2, 2)
    sheet = figures.map_sheet(
        {"ramp": ramp, "half": torch.full((2, 2), 0.5)},
        boxes={"half": [[0, 0, 1, 2]]},
        numbers=True,
    )
    first, second = sheet.figure.axes[:2]
    assert np.array_equal(first.images[0].get_array(), ramp)
    assert [text.get_text() for text in first.texts] == ["0.00", "0.33", "0.67", "1.00"]
    assert rectangles(second) == [[0, 0, 1, 2]] and not rectangles(first)
    assert "ramp (values 0.00 to 1.00), half (values 0.50 to 0.50)" in sheet.alt


def test_map_sheet_draws_the_image_before_its_maps(drawing):
    maps = {name: torch.full((2, 2), 0.5) for name in ("first", "second")}
    sheet = figures.map_sheet(maps, image=drawing.image)
    image, *others = sheet.figure.axes[:3]
    assert np.array_equal(image.images[0].get_array(), drawing.image)
    assert [axis.get_title() for axis in others] == ["first", "second"]
    assert sheet.alt.startswith("An image and its maps side by side: first")


def test_line_chart_draws_what_it_is_given():
    chart = figures.line_chart([1, 2], {"a": [3.0, 4.0]}, xlabel="K", ylabel="points")
    assert np.array_equal(lines(chart)["a"], [[1, 3], [2, 4]])
    assert chart.alt == "points against K, 1 to 2: a from 3 to 4."


def test_line_chart_has_no_ticks_between_counts():
    for x, whole in (([1, 5, 20], True), ([0.1, 0.2, 0.4], False)):
        chart = figures.line_chart(x, {"a": [3.0, 4.0, 5.0]}, xlabel="runs", ylabel="points")
        ticks = chart.figure.axes[0].get_xticks()
        assert np.array_equal(ticks, np.round(ticks)) == whole


def test_bar_chart_breaks_the_names_of_groups_only_where_they_need_it():
    table = pd.DataFrame({"a": [1, 2, 3]}, index=["best of 20 on test", "the longest name", "two"])
    axis = figures.bar_chart(table, ylabel="points").figure.axes[0]
    labels = [label.get_text() for label in axis.get_xticklabels()]
    assert labels == ["best of 20 on test", "the longest name", "two"]
    many = pd.concat([table] * 3)
    axis = figures.bar_chart(many, ylabel="points").figure.axes[0]
    assert axis.get_xticklabels()[0].get_text() == "best of\n20 on\ntest"


def test_bar_chart_writes_shorter_values_above_many_bars():
    table = pd.DataFrame({"a": [-0.01234, 83.61, 100.0, 1.0]})
    for columns, first in ((3, "-0.0123"), (4, "-0.012")):
        wide = pd.concat([table] * columns, axis=1).set_axis([*"abcd"[:columns]], axis=1)
        texts = figures.bar_chart(wide, ylabel="x").figure.axes[0].texts
        assert texts[0].get_text() == first
    assert [text.get_text() for text in texts[:4]] == ["-0.012", "84", "100", "1"]


def test_bar_chart_draws_every_value():
    table = pd.DataFrame({"honest": [80.0, 70.0], "inflated": [90.0, 71.5]}, index=["one", "two"])
    chart = figures.bar_chart(table, ylabel="GT-known Loc")
    bars = chart.figure.axes[0].containers
    assert [[bar.get_height() for bar in group] for group in bars] == [[80, 70], [90, 71.5]]
    assert chart.alt == (
        "Bars of GT-known Loc. one: honest 80, inflated 90; two: honest 70, inflated 71.5."
    )


def test_loss_curves_draw_every_loss_over_the_steps():
    log = pd.DataFrame(
        {"epoch": [0, 0, 1], "step": [0, 1, 0], "lr": [1e-4] * 3, "cls": [3.0, 2.0, 1.0]}
        | {"batch_area": [0.3, 0.2, 0.1], "total": [3.3, 2.2, 1.1]}
    )
    curves = figures.loss_curves(log)
    assert [axis.get_title() for axis in curves.figure.axes] == ["total", "cls", "batch area"]
    points = curves.figure.axes[2].lines[0].get_xydata()
    assert np.array_equal(points, [[1, 0.3], [2, 0.2], [3, 0.1]])
    assert "over 3 steps" in curves.alt and "cls 3.000 to 1.000" in curves.alt


def test_loss_curves_of_nothing_say_what_was_expected():
    with pytest.raises(ValueError, match="expected rows with some of total, cls"):
        figures.loss_curves(pd.DataFrame({"lr": [1e-4]}))


def test_loss_against_value_draws_what_it_is_given():
    values = torch.tensor([0.0, 0.2, 0.5, 1.0])
    chart = figures.loss_against_value(values, {"L_norm": values * (1 - values)})
    expected = torch.stack([values, values * (1 - values)], dim=1).numpy()
    assert np.array_equal(lines(chart)["L_norm"], expected)
    assert "L_norm peaks at 0.250 and is 0.1600 at 0.2" in chart.alt


def test_arrows_point_where_the_push_goes():
    values = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    chart = figures.push_arrows(values, {"apart": 2 * values - 1, "none": 0 * values})
    arrows = chart.figure.axes[0].collections[0]
    np.testing.assert_allclose(arrows.U, 0.2 * (2 * values - 1))
    np.testing.assert_allclose(arrows.X, values)
    assert "apart pushes up at 0.75 to 1.00 and down at 0.00 to 0.25" in chart.alt
    assert "none pushes up nowhere and down nowhere" in chart.alt


def test_kernel_heatmap_writes_every_weight():
    kernel = torch.arange(9.0).reshape(3, 3) / 36
    heat = figures.kernel_heatmap({"ramp": kernel, "flat": torch.full((3, 3), 1 / 9)})
    axis = heat.figure.axes[0]
    assert np.array_equal(axis.collections[0].get_array(), kernel.numpy())
    assert [text.get_text() for text in axis.texts] == [f"{w:.4f}" for w in kernel.flatten()]
    assert heat.figure.axes[1].collections[0].get_clim() == axis.collections[0].get_clim()
    assert "ramp: centre 0.1111, corner 0.0000" in heat.alt


def test_threshold_curves_mark_the_best_and_the_chosen_threshold():
    grid = np.array([0.1, 0.2, 0.3])
    chart = figures.threshold_curves(grid, {0.5: [40.0, 90.0, 20.0]}, chosen=0.3)
    drawn = lines(chart)
    assert np.array_equal(drawn["GT-known Loc at IoU ≥ 0.5"][:, 1], [40, 90, 20])
    assert drawn["chosen: 0.30"][0, 0] == 0.3
    assert "is best at 0.20 with 90.0 %" in chart.alt


def test_histogram_counts_in_percent():
    chart = figures.iou_histogram({"SAT": [0.41, 0.42, 0.91, 1.0]})
    share = chart.figure.axes[0].patches[0].get_data().values
    assert share[8] == 50 and share[18] == 25 and share[19] == 25 and share.sum() == 100
    assert "median 0.67, 50.0 % at 0.5 or more" in chart.alt


def test_results_table_keeps_the_papers_numbers_apart():
    runs = [
        {"method": "sat", "top1_cls": 80.0, "top1_loc": 70.0, "top5_loc": 90.0, "gt_known": 94.0},
        {"method": "sat", "top1_cls": 82.0, "top1_loc": 72.0, "top5_loc": 91.0, "gt_known": 96.0},
        {"method": "cam", "top1_cls": 81.0, "top1_loc": 12.5, "top5_loc": 14.0, "gt_known": None},
    ]
    paper = {"sat": {"top1_loc": 80.96, "gt_known": 98.45}, "ts-cam": {"gt_known": 87.7}}
    table = figures.results_table(runs, paper=paper)
    assert list(table.index) == ["sat", "cam", "ts-cam"]
    assert list(table.loc["sat"]) == [
        "81.0 ± 1.4", "71.0 ± 1.4", "90.5 ± 0.7", "95.0 ± 1.4", 2, "80.96", "98.45",
    ]  # fmt: skip
    assert table.loc["cam", "Top-1 Loc"] == "12.5"
    assert table.loc["cam", "GT-known Loc"] == "–"
    assert table.loc["ts-cam", "GT-known Loc (paper)"] == "87.70"
    assert table.loc["ts-cam", "runs"] == 0


@pytest.mark.parametrize(
    ("rows", "paper", "message"),
    [
        ([{"method": "sat"}], None, "no column 'top1_cls'; they have method"),
        (
            [{"method": "sat", "top1_cls": 1, "top1_loc": 1, "top5_loc": 1, "gt_known": 1}],
            {"sat": {"gt_know": 98.45}},
            "gt_know",
        ),
    ],
)
def test_results_table_names_a_wrong_column(rows, paper, message):
    with pytest.raises(ValueError, match=message):
        figures.results_table(rows, paper=paper)


def test_show_displays_a_picture_with_escaped_alt_text(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    figure = Figure()
    figures.show(figures.Illustration(figure, 'IoU < 0.5 & "late"'))
    figures.show(figure, alt="other words")
    assert shown[0]["text/plain"] == 'IoU < 0.5 & "late"'
    assert 'alt="IoU &lt; 0.5 &amp; &quot;late&quot;"' in shown[0]["text/html"]
    assert "data:image/png;base64,iVBOR" in shown[0]["text/html"]
    assert f'base64,{shown[0]["image/png"]}"' in shown[0]["text/html"]
    assert shown[1]["text/plain"] == "other words"


def test_a_figure_is_in_exports_to_latex_and_told_in_those_to_html(monkeypatch):
    from nbconvert import HTMLExporter, LatexExporter
    from nbformat.v4 import new_code_cell, new_notebook, new_output

    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    figures.show(Figure(), alt="nothing yet")
    outputs = [new_output("display_data", data) for data in shown]
    notebook = new_notebook(cells=[new_code_cell("show(figure)", outputs=outputs)])
    text, resources = LatexExporter().from_notebook_node(notebook)
    ((name, picture),) = resources["outputs"].items()
    assert picture.startswith(b"\x89PNG") and name in text
    html = HTMLExporter().from_notebook_node(notebook)[0]
    assert html.count(shown[0]["image/png"]) == 1 and 'alt="nothing yet"' in html


def test_show_closes_what_pyplot_opened(monkeypatch):
    from matplotlib import pyplot

    monkeypatch.setattr("IPython.display.display", lambda data, raw: None)
    figure = pyplot.figure()
    figures.show(figure, alt="nothing")
    assert not pyplot.fignum_exists(figure.number)


def test_show_refuses_a_figure_without_words():
    with pytest.raises(ValueError, match="needs an alt text"):
        figures.show(Figure(), alt=" ")


# ---- causes of errors, claims, photographs -----------------------------------------------------


def test_confusion_writes_its_counts_and_says_what_is_right():
    table = pd.DataFrame({"more": [3, 1], "part": [1, 0]}, index=["more", "part"])
    drawn = figures.confusion(table)
    axis = drawn.figure.axes[0]
    assert [text.get_text() for text in axis.texts] == ["3", "1", "1", "0"]
    assert axis.collections[0].get_array().tolist() == [[0.75, 0.25], [1.0, 0.0]]
    assert "more: 3 of 4 right; part: 0 of 1 right" in drawn.alt


def test_forest_draws_effects_intervals_bounds_and_the_paper():
    nan = float("nan")
    rows = [("a", "aviary", 4.0, 1.0, 7.0), ("b", "birds", -2.0, nan, nan)]
    ledger = pd.DataFrame(rows, columns=["claim", "dataset", "effect", "low", "high"])
    paper = pd.DataFrame([("a", "cub", 9.0), ("c", "cub", 1.0)],
                         columns=["claim", "dataset", "effect"])  # fmt: skip
    drawn = figures.forest(ledger, paper, {"a": 0.0, "b": -5.0})
    found = lines(drawn)
    assert found["aviary"][:, 0].tolist() == [4.0] and found["birds"][:, 0].tolist() == [-2.0]
    assert found["the paper's, cub"][:, 0].tolist() == [9.0]  # c was not measured
    assert found["bound of the rule"][:, 0].tolist() == [0.0, -5.0]
    axis = drawn.figure.axes[0]
    ends = [segment[:, 0].tolist() for part in axis.collections for segment in part.get_segments()]
    assert ends == [[1.0, 7.0], [-2.0, -2.0]]
    assert "a on aviary: +4.0 [+1.0, +7.0]; b on birds: -2.0." in drawn.alt
    with pytest.raises(ValueError, match="no claim was measured"):
        figures.forest(ledger.head(0), paper)


def test_photo_panels_draw_map_and_box_on_a_photograph_of_any_shape():
    image = np.zeros((40, 60, 3), np.uint8)
    figure = figures.photo_panels(image, np.full((40, 60), 0.5), np.array([5, 6, 20, 30]))
    assert figure.axes[1].images[1].get_array().shape == (40, 60)
    assert rectangles(figure.axes[2]) == [[5, 6, 20, 30]]


def test_titles_of_several_lines_are_one_line_in_the_text(drawing):
    grid = figures.localization_grid(
        [drawing.image], [drawing.mask], drawing.boxes[:1], [drawing.boxes], titles=["two\nlines"]
    )
    assert "IoU: two lines 1.00." in grid.alt
