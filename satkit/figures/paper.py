"""The figures of the paper, drawn from results in the paper's form.

Those with a companion in ``satkit.figures.points`` take its table. Means stand with their standard
deviation over seeds, and the number of seeds stands in the figure. Hollow markers are the paper's
own numbers: another data set, so they show the form of a curve and not a level to be reached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from satkit import paper
from satkit.boxes import iou
from satkit.figures.base import (
    COLORS,
    LINES,
    MAP_COLORS,
    MARKERS,
    PREDICTED_COLOR,
    SMALL,
    TRUE_COLOR,
    WIDTH,
    Array,
    Illustration,
    as_numpy,
    box_legend,
    charts,
    draw_boxes,
    overlay,
    picture,
    pictures,
    tidy,
)
from satkit.figures.points import ORDER, PAPERS, SHOTS, TUNED, aggregate, place
from satkit.paper.measured import spread

GT_KNOWN = "GT-known Loc, %"
#: Each method looks the same in all figures; others take what is left
LOOKS = {"SAT": 0, "TS-CAM": 1, "SCM": 2, "LCTR": 4, "CAM": 5, "SAT, 1 image a class": 3}
STYLES = (*LINES, (0, (6, 1, 1, 1, 1, 1)), (0, (8, 3)))
#: A group of so many runs is drawn as a box, as in the paper
ENOUGH_FOR_A_BOX = 5


def figure1(points: pd.DataFrame) -> Illustration:
    """Fig. 1: GT-known Loc against the parameters that are tuned, and against training images.

    Args:
        points: From :func:`satkit.figures.figure1_points`.

    Returns:
        Two panels, or the one that was run with at least two values.

    Raises:
        ValueError: Nothing was measured, or one value only.
    """
    names = {TUNED: "tuned parameters of the backbone, million", SHOTS: "training images a class"}
    table = _varied(_measured(points), list(names))
    there = [name for name in names if name in set(table["panel"])]
    figure, axes = charts(len(there), height=3.4)
    for axis, name in zip(axes, there, strict=True):
        _panel(axis, table, name, names[name])
        if name == TUNED:
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter("{x:g}")
    _legend(figure, axes, points, table)
    return Illustration(figure, f"Efficiency. {_said(table, points)}")


def figure2(blocks: int = 12, spatial: int = 3) -> Illustration:
    """Fig. 2: the framework of SAT, as a diagram of our own.

    Args:
        blocks: Of the backbone.
        spatial: The last of them that are spatial-aware.

    Returns:
        Tokens, blocks, maps and losses, from left to right.
    """
    figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
    axis = figure.subplots()
    axis.set(xlim=(-0.5, 100.5), ylim=(-0.5, 46))
    axis.set_axis_off()
    _node(axis, "image", 0, 18, 8, 11, "white")
    _arrow(axis, (8, 23.5), (12, 23.5))
    tokens = {"class token": (34, 7), "patch tokens": (20, 9), "spatial token": (6, 1)}
    for name, (y, color) in tokens.items():
        _node(axis, name.replace(" ", "\n"), 12, y, 12, 7, COLORS[color])
        _arrow(axis, (24, y + 3.5), (28, y + 3.5))
    _node(axis, f"{blocks - spatial}\nblocks", 28, 4, 9, 39, COLORS[7])
    _arrow(axis, (37, 23.5), (41, 23.5))
    width = 30 / spatial
    for number in range(spatial):
        x = 41 + number * width
        name = f"block\n{blocks - spatial + number + 1}\nwith\nSQA"
        _node(axis, name, x, 15, width - 1, 28, COLORS[0])
        _arrow(axis, (x + width / 2 - 0.5, 15), (x + width / 2 - 0.5, 10))
    _node(axis, "M: mean of the blocks' maps", 41, 2, 29, 8, COLORS[1])
    _node(axis, "conv head,\nGAP", 75, 24.5, 12, 9, COLORS[9])
    _arrow(axis, (70, 29), (75, 29))
    for loss, end, start in (
        ("cls", 25.5, (87, 29)),
        ("norm", 9.0, (70, 7.5)),
        ("ba", 0.0, (70, 4.5)),
    ):
        _node(axis, rf"$\mathcal{{L}}_{{{loss}}}$", 91, end, 9, 7, "white")
        _arrow(axis, start, (91, end + 3.5))
    return Illustration(
        figure,
        "Framework of SAT, from left to right. An image becomes patch tokens; a class token and a "
        f"spatial token join them. All pass {blocks - spatial} ordinary blocks, then {spatial} "
        "blocks with spatial-query attention (SQA), each of which draws a map. The mean of these "
        "maps is the localization map M, which the losses L_ba and L_norm supervise. A convolution "
        "and global average pooling of the patch tokens give the classes and L_cls.",
    )


def figure3(
    images: Sequence[Array],
    maps: Mapping[str, Sequence[Array]],
    predicted: Mapping[str, Array],
    true: Sequence[Array],
    *,
    titles: Sequence[str] | None = None,
) -> Illustration:
    """Fig. 3 (and 11–14): photographs, and each method's maps and boxes on them.

    Args:
        images: N images, uint8 [H, W, 3] or normalised tensors [3, H, W].
        maps: By method, N maps [h, w] in 0–1.
        predicted: By method, [N, 4], half-open xyxy in pixels of the image.
        true: N arrays [n, 4].
        titles: A line above each photograph.

    Returns:
        A column an image, a row a method; the IoU with the nearest true box below each.

    Raises:
        ValueError: Maps and boxes are not of the same methods.
    """
    if list(maps) != list(predicted):
        raise ValueError(f"maps are of {list(maps)}, boxes of {list(predicted)}; give both of each")
    count = len(images)
    figure, axes = pictures(1 + len(maps), count, width=WIDTH)
    for column, image in enumerate(images):
        pixels = picture(image)
        axes[column].imshow(pixels)
        draw_boxes(axes[column], true[column], TRUE_COLOR, "--")
        if titles is not None:
            axes[column].set_title(fill(titles[column], 16), fontsize=SMALL)
    said = []
    for row, (method, drawn) in enumerate(maps.items(), start=1):
        own = axes[row * count : (row + 1) * count]
        found = [_map_and_box(*one) for one in zip(own, images, drawn, as_numpy(predicted[method]),
                                                   true, strict=True)]  # fmt: skip
        _row_name(own[0], method)
        said.append(f"{method} {', '.join(f'{value:.2f}' for value in found)}")
    _row_name(axes[0], "image")
    box_legend(figure)
    names = f" ({', '.join(titles)})" if titles else ""
    alt = f"{count} images{names} with maps, true and predicted boxes of each method. IoU: "
    return Illustration(figure, f"{alt}{'; '.join(said)}.")


def figure4(points: pd.DataFrame) -> Illustration:
    """Fig. 4: GT-known Loc against λ and against the batch size of the batch area loss.

    Args:
        points: From :func:`satkit.figures.figure4_points`.

    Returns:
        Two panels, or the one that was run with at least two values.

    Raises:
        ValueError: Nothing was measured, or one value only.
    """
    names = {"target_area": "λ", "batch_size": "batch size"}
    table = _varied(_measured(points), list(names))
    there = [name for name in names if name in set(table["panel"])]
    figure, axes = charts(len(there))
    for axis, name in zip(axes, there, strict=True):
        _panel(axis, table, name, names[name])
        if name == "batch_size":
            axis.set_xscale("log", base=2)
        axis.set_xticks(sorted(_of(table, name)["x"]))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_locator(_no_ticks())
    _legend(figure, axes, points, table)
    return Illustration(figure, f"Sensitivity to λ and batch size. {_said(table, points, names)}")


def figure5(boxes: pd.DataFrame) -> Illustration:
    """Fig. 5: how good the correct boxes are, and their median IoU.

    Args:
        boxes: From :func:`satkit.figures.figure5_points`.

    Returns:
        A histogram for each method, in bins of 0.025, with its median (the mean over seeds) as a
        vertical line.

    Raises:
        ValueError: There are no boxes.
    """
    if boxes.empty:
        raise ValueError("there are no correct boxes to draw; expected rows with line, iou, seed")
    figure, (axis,) = charts(1, height=3.2)
    edges, said = np.linspace(0.5, 1, 21), []
    for position, (line, own) in enumerate(boxes.groupby("line", sort=False)):
        color, _, style = _look(str(line), position)
        medians = own.groupby("seed")["iou"].median() * 100
        share = 100 * np.histogram(own["iou"], edges)[0] / len(own)
        label = f"{line}, median {spread(medians)} %"
        axis.stairs(share, edges, color=color, linestyle=style, lw=2, label=label)
        axis.axvline(medians.mean() / 100, color=color, linestyle=style, lw=1)
        said.append(f"{label} ({_seeds(len(medians))})")
    axis.set(xlim=(0.5, 1), ylim=(0, None), xlabel="IoU of correct boxes", ylabel="% of them")
    figure.legend(loc="outside lower center", ncols=2, fontsize=SMALL)
    _note(figure, f"{_seeds(*boxes.groupby('line')['seed'].nunique())}; vertical lines: medians")
    return Illustration(figure, f"Histograms of the IoU of correct boxes. {'; '.join(said)}.")


def figure6(masks: Mapping[str, pd.DataFrame]) -> Illustration:
    """Fig. 6: density of images over object size and IoU, both by masks.

    Args:
        masks: By method, a row an image with ``size`` (share of the image) and ``iou``, both 0–1.

    Returns:
        A panel a method, on one scale of colours; the line is the mean IoU in bins of size.

    Raises:
        ValueError: There are no methods.
    """
    if not masks:
        raise ValueError("there are no methods to draw; expected at least one")
    figure, axes = charts(len(masks), height=3.0)
    largest = max(float(own["size"].max()) for own in masks.values())
    x, y, said = np.linspace(0, largest, 21), np.linspace(0, 1, 21), []
    shares = {
        name: 100 * np.histogram2d(own["size"], own["iou"], (x, y))[0] / len(own)
        for name, own in masks.items()
    }
    top = max(share.max() for share in shares.values())
    for axis, (name, share) in zip(axes, shares.items(), strict=True):
        own = masks[name]
        drawn = np.ma.masked_equal(share.T, 0)
        mesh = axis.pcolormesh(x, y, drawn, cmap=MAP_COLORS, vmin=0, vmax=top)
        binned = own.groupby(pd.cut(own["size"], x[::4]), observed=True)
        means = binned[["size", "iou"]].mean()
        axis.plot(means["size"], means["iou"], "o-", color=COLORS[3], mec="white", label=name)
        axis.set(title=name, xlabel="object size, share of the image", ylim=(0, 1))
        said.append(
            f"{name}: mean IoU {own['iou'].mean():.2f}, from {means['iou'].iloc[0]:.2f} for the "
            f"smallest to {means['iou'].iloc[-1]:.2f} for the largest objects"
        )
    axes[0].set_ylabel("IoU with the mask")
    figure.colorbar(mesh, ax=axes, label="% of the images", pad=0.02)
    _note(figure, "line: mean IoU of objects of like size")
    return Illustration(figure, f"IoU against object size. {'; '.join(said)}.")


def figure7(points: pd.DataFrame) -> Illustration:
    """Fig. 7: GT-known Loc against the threshold on the maps, for each method.

    Args:
        points: From :func:`satkit.figures.figure7_points`.

    Returns:
        A line a method; the band is the standard deviation over seeds.

    Raises:
        ValueError: Nothing was measured.
    """
    table = _measured(points)
    figure, axes = charts(1, height=3.4)
    _panel(axes[0], table, "threshold", "threshold on the map", band=True)
    axes[0].set(xlim=(0, 1), ylim=(0, 103))
    _legend(figure, axes, points, table)
    best = table.loc[table.groupby("line", sort=False)["mean"].idxmax()]
    said = [f"{row.line} is best at {row.x:.2f} with {row.mean:.1f} %"
            for row in best.itertuples(name="Best")]  # fmt: skip
    return Illustration(figure, f"GT-known Loc against the threshold. {'; '.join(said)}.")


def figure8(points: pd.DataFrame) -> Illustration:
    """Fig. 8: GT-known Loc after training on few images a class, SAT and TS-CAM.

    Args:
        points: From :func:`satkit.figures.figure8_points`.

    Returns:
        Means over seeds; a box plot, as in the paper, where a point has at least five runs.

    Raises:
        ValueError: Nothing was measured, or one value only.
    """
    table = _varied(_measured(points), [SHOTS])
    figure, axes = charts(1, height=3.4)
    _panel(axes[0], table, SHOTS, "training images a class")
    measured = points[~points["source"].str.startswith(PAPERS)]
    for (_, x), runs in measured.groupby(["line", "x"]):
        if len(runs) >= ENOUGH_FOR_A_BOX:
            axes[0].boxplot(runs["gt_known"], positions=[ORDER.index(str(x))], widths=0.3)
            _shot_ticks(axes[0])
    _legend(figure, axes, points, table)
    return Illustration(figure, f"Few-shot learning. {_said(table, points)}")


def figure9(counts: pd.DataFrame, printed: bool = True) -> Illustration:
    """Fig. 9: causes of localization errors.

    Args:
        counts: A row a cause as the paper names it (in any case), a column a set of errors; images.
        printed: Draw the paper's counts on CUB-200 beside, hollow.

    Returns:
        Bars in percent of the set's errors, with the number of images at their ends.

    Raises:
        ValueError: No errors, or a column without any.
    """
    if counts.empty or (counts.sum() == 0).any():
        raise ValueError(
            f"each column needs at least one error; their sums are {dict(counts.sum())}"
        )
    table = counts.copy()
    if printed:
        cells = paper.table("figure9").iloc[1:]  # the first is the total
        of_paper = pd.Series(cells["value"].to_numpy(), cells["column"].str.lower())
        table[f"{PAPERS}, CUB-200"] = of_paper.reindex(table.index.str.lower()).to_numpy()
    figure, (axis,) = charts(1, height=0.8 + 0.22 * table.size)
    height = 0.8 / len(table.columns)
    for number, name in enumerate(table):
        share = 100 * table[name] / table[name].sum()
        at = np.arange(len(table)) + (number - (len(table.columns) - 1) / 2) * height
        own = name in counts
        color = COLORS[number]
        bars = axis.barh(at, share, 0.9 * height, color=color if own else "none", edgecolor="black",
                         lw=0.8, linestyle="-" if own else "--", label=name)  # fmt: skip
        labels = ["–" if np.isnan(count) else f"{count:.0f}" for count in table[name]]
        axis.bar_label(bars, labels, padding=2, fontsize=SMALL)
    axis.set_yticks(range(len(table)), list(table.index))
    axis.invert_yaxis()
    axis.set_xlabel("% of the errors")
    figure.legend(loc="outside lower center", ncols=len(table.columns), fontsize=SMALL)
    said = "; ".join(f"{cause}: " + ", ".join(f"{n} {v:.0f}" for n, v in row.items())
                     for cause, row in table.iterrows())  # fmt: skip
    return Illustration(figure, f"Causes of localization errors, in images. {said}.")


def figure10(
    values: Array,
    losses: Mapping[str, Array],
    images: Sequence[Array] = (),
    maps: Mapping[str, Sequence[Array]] | None = None,
) -> Illustration:
    """Fig. 10: normalization loss beside weighted entropy, as maps and as curves.

    Args:
        values: [n] values of a patch, 0–1.
        losses: For each loss, by name, its [n] values (Fig. 10 c).
        images: N images; without them, only the curves are drawn.
        maps: For each loss, by name, N maps [h, w] of SAT trained with it (Fig. 10 a, b); the share
            of undecided patches, 0.2 to 0.8, stands below each.

    Returns:
        Pictures on the left, curves on the right.
    """
    maps = maps or {}
    figure = Figure(figsize=(WIDTH if maps else 2 * WIDTH / 3, 3.2), layout="constrained")
    right: Any = figure
    said: list[str] = []
    if maps:
        halves = figure.subfigures(1, 2, squeeze=False, width_ratios=(len(images) + 0.4, 3))
        left, right = halves[0]
        said = _maps_of_losses(left, images, maps)
        _note(left, "below each map: patches between 0.2 and 0.8")
    axis = right.subplots()
    x = as_numpy(values)
    for number, (name, given) in enumerate(losses.items()):
        y = as_numpy(given)
        axis.plot(x, y, LINES[number % 4], label=name, color=COLORS[number], lw=2)
        said.append(f"{name} peaks at {y.max():.3f} and is {np.interp(0.2, x, y):.4f} at 0.2")
    axis.set(xlim=(0, 1), ylim=(0, None), xlabel="value of the patch", ylabel="loss")
    tidy(axis)
    right.legend(loc="outside lower center", fontsize=SMALL)
    return Illustration(figure, f"Losses on single patches. {'; '.join(said)}.")


# --------------------------------------------------------------------------------------------------
# Parts
# --------------------------------------------------------------------------------------------------


def _measured(points: pd.DataFrame) -> pd.DataFrame:
    """Means and spreads; refuses a table in which only the paper's numbers stand."""
    if points.empty or points["source"].str.startswith(PAPERS).all():
        raise ValueError("nothing was measured: expected rows of runs")
    return aggregate(points)


def _varied(table: pd.DataFrame, panels: Sequence[str]) -> pd.DataFrame:
    """Only the panels in which some line has at least two measured points."""
    counts = table[~table["printed"]].groupby(["panel", "line"])["x"].nunique()
    kept = {panel for panel, _ in counts[counts > 1].index} & set(panels)
    if not kept:
        raise ValueError(f"expected runs with at least two values of {' or '.join(panels)}")
    return table[table["panel"].isin(kept)]


def _of(table: pd.DataFrame, panel: str) -> pd.DataFrame:
    return table[table["panel"] == panel]


def _look(line: str, position: int) -> tuple[Any, str, Any]:
    """Colour, marker and line style."""
    number = LOOKS.get(line, 6 + position) % len(COLORS)
    return COLORS[number], MARKERS[number % len(MARKERS)], STYLES[number % len(STYLES)]


def _panel(axis: Axes, table: pd.DataFrame, panel: str, xlabel: str, band: bool = False) -> None:
    """Lines of means with their spread; hollow where they are the paper's."""
    own = _of(table, panel)
    texts = own["x"].map(lambda x: isinstance(x, str)).any()
    lines = list(dict.fromkeys(own["line"]))
    for (line, printed), part in own.groupby(["line", "printed"], sort=False):
        position = lines.index(line)
        color, marker, style = _look(str(line), position)
        y, spread = part["mean"].to_numpy(), part["deviation"].to_numpy()
        x = part["x"].map(place).to_numpy()
        if texts:  # side by side, so that all of them are seen
            x = x + 0.08 * (position - (len(lines) - 1) / 2)
        if printed:
            label = f"_{line}, {PAPERS}"  # in the legend once for all
            axis.plot(x, y, marker=marker, mfc="white", color=color, ls=":", lw=0.8, label=label)
        elif band:
            axis.plot(x, y, color=color, ls=style, lw=2, label=line)
            axis.fill_between(x, y - spread, y + spread, color=color, alpha=0.2, lw=0)
        else:
            axis.errorbar(x, y, spread, color=color, marker=marker, ls=style, capsize=3, label=line)
    if texts:
        _shot_ticks(axis)
    axis.set(xlabel=xlabel, ylabel=GT_KNOWN)


def _shot_ticks(axis: Axes) -> None:
    axis.set_xticks(range(len(ORDER)), ORDER)
    axis.set_xlim(-0.4, len(ORDER) - 0.6)


def _legend(figure: Figure, axes: list[Axes], points: pd.DataFrame, table: pd.DataFrame) -> None:
    """One legend for all panels below them, with the paper's numbers and the seeds."""
    entries: dict[str, Any] = {}
    for axis in axes:
        entries |= {
            label: handle for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
    for source in sorted(set(points["source"])):
        if source.startswith(PAPERS):
            entries[source] = Line2D([], [], color="black", marker="o", mfc="white", ls=":", lw=0.8)
    columns = min(len(entries), 3)
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns,
                  fontsize=SMALL)  # fmt: skip
    _note(figure, _seeds(*table.loc[~table["printed"], "seeds"]))


def _note(figure: Figure | SubFigure, text: str) -> None:
    """A line above the figure, small."""
    figure.suptitle(text, fontsize=SMALL, x=0.99, ha="right")


def _seeds(*counts: int) -> str:
    low, high = min(counts), max(counts)
    if high == 1:
        return "1 seed each"
    many = f"{low} to {high}" if low < high else f"{high}"
    return f"mean ± standard deviation, {many} seeds{' (no bar: 1)' if low == 1 else ''}"


def _said(table: pd.DataFrame, points: pd.DataFrame, names: Mapping[str, str] | None = None) -> str:
    """Every measured point in words, and whose hollow markers there are."""
    said = []
    for (panel, line), part in table[~table["printed"]].groupby(["panel", "line"], sort=False):
        each = ", ".join(
            f"{row.mean:.1f} % at {_number(row.x)}" for row in part.itertuples(name="P")
        )
        said.append(f"{line} over {(names or {}).get(str(panel), panel)}: {each}")
    printed = sorted({s for s in points["source"] if s.startswith(PAPERS)})
    hollow = f" Hollow markers: {', '.join(printed)}." if printed else ""
    seeds = _seeds(*table.loc[~table["printed"], "seeds"])
    return f"GT-known Loc, {seeds}. {'; '.join(said)}.{hollow}"


def _number(x: float | str) -> str:
    return x if isinstance(x, str) else f"{x:.3g}"


def _no_ticks() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _map_and_box(axis: Axes, image: Array, drawn: Array, box: np.ndarray, true: Array) -> float:
    """A map and its box over an image; gives the IoU with the nearest true box."""
    pixels = picture(image)
    axis.imshow(pixels)
    overlay(axis, as_numpy(drawn), pixels.shape)
    draw_boxes(axis, true, TRUE_COLOR, "--")
    draw_boxes(axis, box[None], PREDICTED_COLOR, "-")
    score = float(iou(box[None], as_numpy(true)).max(initial=0.0))
    axis.text(0.5, -0.03, f"IoU {score:.2f}", ha="center", va="top", fontsize=SMALL,
              transform=axis.transAxes)  # fmt: skip
    return score


def _row_name(axis: Axes, name: str) -> None:
    axis.text(-0.05, 0.5, name, rotation=90, ha="right", va="center", fontsize=SMALL + 1,
              transform=axis.transAxes)  # fmt: skip


def _maps_of_losses(
    figure: SubFigure, images: Sequence[Array], maps: Mapping[str, Sequence[Array]]
) -> list[str]:
    """A column an image, a row a loss; gives what is to be seen in words."""
    axes = figure.subplots(1 + len(maps), len(images), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image in zip(axes[0], images, strict=True):
        axis.imshow(picture(image))
    said = []
    for row, (name, drawn) in zip(axes[1:], maps.items(), strict=True):
        shares = []
        for axis, one in zip(row, drawn, strict=True):
            values = as_numpy(one)
            axis.imshow(values, cmap=MAP_COLORS, vmin=0, vmax=1)
            shares.append(100 * np.mean((values > 0.2) & (values < 0.8)))
            axis.text(0.5, -0.03, f"{shares[-1]:.0f} %", ha="center", va="top", fontsize=SMALL,
                      transform=axis.transAxes)  # fmt: skip
        _row_name(row[0], name)
        each = ", ".join(f"{share:.0f} %" for share in shares)
        said.append(f"undecided patches (0.2 to 0.8) of the maps with {name}: {each}")
    return said


def _node(
    axis: Axes, text: str, x: float, y: float, width: float, height: float, color: Any
) -> None:
    box = FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=1.2", lw=1,
                         facecolor=color, edgecolor="black", alpha=0.45)  # fmt: skip
    axis.add_patch(box)
    axis.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=SMALL)


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color="black"))
