"""Figures of the lessons: images with boxes and maps, curves, bars, tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from satkit.boxes import iou
from satkit.data.aviary import PART_NAMES
from satkit.figures.base import (
    COLORS,
    LINES,
    MAP_COLORS,
    PREDICTED_COLOR,
    TRUE_COLOR,
    Array,
    Illustration,
    as_numpy,
    box_legend,
    chart,
    draw_boxes,
    overlay,
    picture,
    pictures,
    tidy,
)

PART_COLORS = dict(zip(PART_NAMES[1:], (COLORS[3], COLORS[0], COLORS[8], COLORS[4]), strict=True))
RESULT_COLUMNS = {
    "top1_cls": "Top-1 Cls",
    "top1_loc": "Top-1 Loc",
    "top5_loc": "Top-5 Loc",
    "gt_known": "GT-known Loc",
}


# --------------------------------------------------------------------------------------------------
# Pictures
# --------------------------------------------------------------------------------------------------


def image_sheet(
    images: Sequence[Array],
    *,
    boxes: Sequence[Array] | None = None,
    masks: Sequence[Array] | None = None,
    parts: Sequence[Array] | None = None,
    titles: Sequence[str] | None = None,
    columns: int = 4,
    what: str = "images",
) -> Illustration:
    """Sheet of images, with their true boxes, masks or parts drawn on them.

    Args:
        images: uint8 [H, W, 3], or normalised float tensors [3, H, W] as data sets give them.
        boxes: For each image [n, 4], half-open xyxy in pixels.
        masks: For each image bool [H, W]; outlined.
        parts: For each image uint8 [H, W], indices into Aviary's `PART_NAMES`; tinted.
        titles: A line above each image.
        columns: Images a row.
        what: What the images are, for the alt text.

    Returns:
        The sheet.
    """
    rows = math.ceil(len(images) / columns)
    figure, axes = pictures(rows, min(columns, len(images)))
    for i, image in enumerate(images):
        axis = axes[i]
        axis.imshow(picture(image))
        if parts is not None:
            _tint_parts(axis, as_numpy(parts[i]))
        if masks is not None:
            axis.contour(
                as_numpy(masks[i]).astype(float), [0.5], colors=[TRUE_COLOR], linewidths=1.5
            )
        if boxes is not None:
            draw_boxes(axis, boxes[i], TRUE_COLOR, "--")
        if titles is not None:
            axis.set_title(titles[i])
    if parts is not None:
        _part_legend(figure)
    drawn = {"true boxes": boxes, "mask outlines": masks, "parts in colours": parts}
    added = ", ".join(name for name, given in drawn.items() if given is not None)
    alt = f"Sheet of {len(images)} {what}" + (f" with {added}" if added else "")
    return Illustration(figure, f"{alt}: {', '.join(titles)}." if titles else f"{alt}.")


def localization_grid(
    images: Sequence[Array],
    maps: Sequence[Array],
    predicted: Array,
    true: Sequence[Array],
    *,
    titles: Sequence[str] | None = None,
) -> Illustration:
    """For each image a column: the image, its map over it, predicted and true box.

    Args:
        images: N images as in `image_sheet`.
        maps: N maps [h, w] of any size, 0–1; drawn with the same colours for the same values.
        predicted: [N, 4], half-open xyxy in pixels of the image.
        true: N arrays [n, 4].
        titles: A line above each column.

    Returns:
        The grid; the IoU with the nearest true box stands under each column.
    """
    count, boxes = len(images), as_numpy(predicted)
    scores = [float(iou(boxes[i][None], true[i]).max(initial=0.0)) for i in range(count)]
    figure, axes = pictures(3, count)
    for i, image in enumerate(images):
        pixels = picture(image)
        top, middle, bottom = axes[i], axes[count + i], axes[2 * count + i]
        for axis in (top, middle, bottom):
            axis.imshow(pixels)
        overlay(middle, as_numpy(maps[i]), pixels.shape[:2])
        draw_boxes(bottom, true[i], TRUE_COLOR, "--")
        draw_boxes(bottom, boxes[i][None], PREDICTED_COLOR, "-")
        bottom.set_title(f"IoU {scores[i]:.2f}", y=0, pad=-14)  # below
        if titles is not None:
            top.set_title(titles[i])
    box_legend(figure)
    names = [" ".join(title.split()) for title in titles or ()]
    names = names or [f"image {i + 1}" for i in range(count)]
    listed = ", ".join(f"{name} {score:.2f}" for name, score in zip(names, scores, strict=True))
    alt = f"{count} images, their localization maps, predicted and true boxes. IoU: {listed}."
    return Illustration(figure, alt)


def map_sheet(
    maps: Mapping[str, Array],
    *,
    image: Array | None = None,
    boxes: Mapping[str, Array] | None = None,
    numbers: bool = False,
    columns: int = 6,
) -> Illustration:
    """Maps side by side, in the same colours for the same values.

    Args:
        maps: By name, [h, w] with values 0–1.
        image: What they are maps of, drawn before them: uint8 [H, W, 3], or a normalised float
            tensor [3, H, W] as data sets give it.
        boxes: For some of the names, [n, 4] half-open xyxy in pixels of the map.
        numbers: Write every value into its cell (small maps).
        columns: Panels a row.

    Returns:
        One panel a map, after that of the image.
    """
    panels = len(maps) + (image is not None)
    figure, axes = pictures(math.ceil(panels / columns), min(columns, panels))
    if image is not None:
        axes[0].imshow(picture(image))
        axes[0].set_title("image")
    said = []
    for axis, (name, given) in zip(axes[panels - len(maps) :], maps.items(), strict=False):
        values = as_numpy(given)
        drawn = axis.imshow(values, cmap=MAP_COLORS, vmin=0, vmax=1)
        axis.set_title(name)
        if boxes and name in boxes:
            draw_boxes(axis, boxes[name], PREDICTED_COLOR, "-")
        if numbers:
            for (row, column), value in np.ndenumerate(values):
                color = "white" if value < 0.5 else "black"
                axis.text(column, row, f"{value:.2f}", ha="center", va="center", color=color)
        one_line = name.replace("\n", " ")
        said.append(f"{one_line} (values {values.min():.2f} to {values.max():.2f})")
    figure.colorbar(drawn, ax=axes, shrink=0.7, aspect=12)
    what = "Maps" if image is None else "An image and its maps"
    return Illustration(figure, f"{what} side by side: {', '.join(said)}.")


def photo_panels(image: np.ndarray, heat: np.ndarray, box: np.ndarray) -> Figure:
    """A photograph of any shape, its map over it, and its box.

    Args:
        image: uint8 [H, W, 3].
        heat: [H, W], 0–1.
        box: Half-open xyxy in pixels.

    Returns:
        Three panels; give it an alt text.
    """
    size = (9.6, 0.4 + 3.2 * image.shape[0] / image.shape[1])
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, 3)
    for axis, title in zip(axes, ("photograph", "map", "box"), strict=True):
        axis.imshow(image)
        axis.set_title(title)
        axis.set_axis_off()
    overlay(axes[1], heat, heat.shape)
    draw_boxes(axes[2], box[None], PREDICTED_COLOR, "-")
    return figure


def _tint_parts(axis: Axes, parts: np.ndarray) -> None:
    colors = ListedColormap([(0, 0, 0, 0), *PART_COLORS.values()])
    axis.imshow(parts, cmap=colors, vmin=0, vmax=4, alpha=0.65, interpolation="nearest")


def _part_legend(figure: Figure) -> None:
    handles = [Rectangle((0, 0), 1, 1, color=color) for color in PART_COLORS.values()]
    figure.legend(handles, list(PART_COLORS), loc="outside lower center", ncols=4)


# --------------------------------------------------------------------------------------------------
# Charts
# --------------------------------------------------------------------------------------------------


def line_chart(x: Array, lines: Mapping[str, Array], *, xlabel: str, ylabel: str) -> Illustration:
    """Lines over a common axis.

    Args:
        x: [n].
        lines: By name, [n].
        xlabel: What x is.
        ylabel: What the lines are.

    Returns:
        The chart; its text names where each line begins and ends.
    """
    figure, axis = chart(xlabel, ylabel)
    at, said = as_numpy(x), []
    for i, (name, given) in enumerate(lines.items()):
        y = as_numpy(given)
        axis.plot(at, y, LINES[i % 4], label=name, color=COLORS[i], lw=2)
        said.append(f"{name} from {y[0]:.3g} to {y[-1]:.3g}")
    axis.legend()
    if np.array_equal(at, np.round(at)):  # counts: no ticks between them
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    span = f"{at[0]:g} to {at[-1]:g}"
    return Illustration(figure, f"{ylabel} against {xlabel}, {span}: {'; '.join(said)}.")


def bar_chart(table: pd.DataFrame, *, ylabel: str) -> Illustration:
    """Groups of bars, with the value above each, shorter where there are more than twelve bars.

    Args:
        table: One group a row, one colour a column.
        ylabel: What the values are.

    Returns:
        The chart.
    """
    figure, axis = chart("", ylabel)
    axis.grid(axis="x", visible=False)
    figure.set_figwidth(max(figure.get_figwidth(), 0.5 * table.size))  # room for the values
    width = 0.8 / len(table.columns)
    for i, name in enumerate(table):
        at = np.arange(len(table)) + (i - (len(table.columns) - 1) / 2) * width
        bars = axis.bar(at, table[name], width * 0.95, label=name, color=COLORS[i])
        axis.bar_label(bars, fmt=_short if table.size > 12 else "%.3g", fontsize=8)
    letters = int(10 * figure.get_figwidth() / len(table))  # that a line below a group has room for
    names = [fill(str(name), letters, break_long_words=False) for name in table.index]
    axis.set_xticks(range(len(table)), names)
    axis.legend(ncols=len(table.columns), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    said = [f"{row}: " + ", ".join(f"{n} {v:.3g}" for n, v in values.items())
            for row, values in table.iterrows()]  # fmt: skip
    return Illustration(figure, f"Bars of {ylabel}. {'; '.join(said)}.")


def _short(value: float) -> str:
    """Two significant digits, and all of those before the point."""
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"


# --------------------------------------------------------------------------------------------------
# Losses
# --------------------------------------------------------------------------------------------------


def loss_curves(log: pd.DataFrame) -> Illustration:
    """Each loss of a run over its steps (`Run.steps`) or epochs (`Run.log`).

    Args:
        log: One row a step or an epoch; losses are the columns ``total``, ``cls``, ``batch_area``,
            ``area``, ``normalization`` and ``weighted_entropy`` that it has.

    Returns:
        One panel a loss.

    Raises:
        ValueError: There is no loss among the columns, or no row.
    """
    known = ("total", "cls", "batch_area", "area", "normalization", "weighted_entropy")
    names = [name for name in known if name in log]
    if not names or log.empty:
        raise ValueError(f"no losses to draw: expected rows with some of {', '.join(known)}")
    unit = "step" if "step" in log else "epoch"
    count = np.arange(1, len(log) + 1)
    figure = Figure(figsize=(2.4 * len(names) + 0.6, 2.6), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        axis.plot(count, log[name], color=COLORS[0], marker="" if len(log) > 1 else "o")
        axis.set(title=name.replace("_", " "), xlabel=unit, ylim=(0, None))
        tidy(axis)
    ends = [f"{n.replace('_', ' ')} {log[n].iloc[0]:.3f} to {log[n].iloc[-1]:.3f}" for n in names]
    return Illustration(figure, f"Losses over {len(log)} {unit}s: {', '.join(ends)}.")


def loss_against_value(values: Array, losses: Mapping[str, Array]) -> Illustration:
    """Loss of a single patch against its value, as Fig. 10c of the paper.

    Args:
        values: [n] values of the map, 0–1.
        losses: For each loss, by name, its [n] values.

    Returns:
        One line a loss.
    """
    x = as_numpy(values)
    figure, axis = chart("value of the patch", "loss")
    said = []
    for i, (name, given) in enumerate(losses.items()):
        y = as_numpy(given)
        axis.plot(x, y, LINES[i % 4], label=name, color=COLORS[i], lw=2)
        said.append(f"{name} peaks at {y.max():.3f} and is {np.interp(0.2, x, y):.4f} at 0.2")
    axis.set(xlim=(0, 1), ylim=(0, None))
    axis.legend()
    return Illustration(figure, f"Loss against the value of a patch: {'; '.join(said)}.")


def push_arrows(values: Array, pushes: Mapping[str, Array]) -> Illustration:
    """Where a step of gradient descent moves a patch: one row of arrows a loss.

    Args:
        values: [n] values of the map, 0–1.
        pushes: For each loss, by name, [n] negative gradients; scaled to the longest of the row.

    Returns:
        Arrows that start at the values; a dot where there is no push.
    """
    x = as_numpy(values)
    figure, axis = chart("value of the patch", "")
    figure.set_figheight(0.5 * len(pushes) + 0.9)
    said = []
    for row, (name, given) in enumerate(pushes.items()):
        push = as_numpy(given)
        longest = max(np.abs(push).max(), 1e-12)
        length = 0.8 * np.diff(x).min() * push / longest
        axis.quiver(x, np.full(len(x), row), length, 0 * x, color=COLORS[row], angles="xy",
                    scale_units="xy", scale=1, width=0.005, minlength=0.5)  # fmt: skip
        up, down = x[push > 0.02 * longest], x[push < -0.02 * longest]  # what can be seen
        said.append(f"{name} pushes {_span('up', up)} and {_span('down', down)}")
    axis.set(xlim=(-0.12, 1.12), ylim=(len(pushes) - 0.5, -0.5))
    axis.set_yticks(range(len(pushes)), list(pushes))
    return Illustration(figure, f"Arrows of descent. {'; '.join(said)}.")


def _span(word: str, values: np.ndarray) -> str:
    return (
        f"{word} at {values.min():.2f} to {values.max():.2f}" if len(values) else f"{word} nowhere"
    )


def kernel_heatmap(kernels: Mapping[str, Array]) -> Illustration:
    """Smoothing kernels side by side, each with its numbers.

    Args:
        kernels: By name, [k, k] weights.

    Returns:
        One panel a kernel, coloured on one scale.
    """
    from seaborn import heatmap

    arrays = {name: as_numpy(kernel) for name, kernel in kernels.items()}
    top = max(kernel.max() for kernel in arrays.values())
    figure, axes = pictures(1, len(arrays))
    for axis, (name, kernel) in zip(axes, arrays.items(), strict=True):
        heatmap(kernel, vmin=0, vmax=top, cmap="cividis", annot=True, fmt=".4f", square=True,
                cbar=False, xticklabels=False, yticklabels=False, ax=axis)  # fmt: skip
        axis.set_title(name)
    said = [f"{n}: centre {k[len(k) // 2, len(k) // 2]:.4f}, corner {k[0, 0]:.4f}"
            for n, k in arrays.items()]  # fmt: skip
    return Illustration(figure, f"Weights of smoothing kernels. {'; '.join(said)}.")


# --------------------------------------------------------------------------------------------------
# Metrics
# --------------------------------------------------------------------------------------------------


def threshold_curves(
    thresholds: Array,
    accuracy: Mapping[Any, Array],
    chosen: float | None = None,
    *,
    label: str = "GT-known Loc at IoU ≥",
) -> Illustration:
    """Accuracy against the threshold on the maps, one line each (Fig. 7 of the paper).

    Args:
        thresholds: [T], 0–1.
        accuracy: For each line (say, each δ), [T] percent.
        chosen: The threshold that was chosen, drawn as a vertical line.
        label: What stands before each line's name in the legend.

    Returns:
        The curves, their best thresholds marked.
    """
    x = as_numpy(thresholds)
    figure, axis = chart("threshold on the map", "percent of images")
    said = []
    for i, (name, given) in enumerate(accuracy.items()):
        y = as_numpy(given)
        best = int(y.argmax())
        axis.plot(x, y, LINES[i % 4], label=f"{label} {name}".strip(), color=COLORS[i], lw=2)
        axis.plot(x[best], y[best], "o", color=COLORS[i])
        said.append(f"{label} {name} is best at {x[best]:.2f} with {y[best]:.1f} %".strip())
    if chosen is not None:
        axis.axvline(chosen, color="black", lw=1, label=f"chosen: {chosen:.2f}")
        said.append(f"the threshold chosen is {chosen:.2f}")
    axis.set(xlim=(0, 1), ylim=(0, 103))
    axis.legend()
    return Illustration(figure, f"Accuracy against the threshold: {'; '.join(said)}.")


def iou_histogram(ious: Mapping[str, Array], delta: float = 0.5) -> Illustration:
    """How good the boxes are: share of images by IoU.

    Args:
        ious: By name, [N] IoUs of predicted with true boxes.
        delta: The IoU from which a box counts, drawn as a vertical line.

    Returns:
        One stepped histogram each, in bins of 0.05.
    """
    figure, axis = chart("IoU of predicted and true box", "percent of images")
    edges = np.linspace(0, 1, 21)
    said = []
    for i, (name, given) in enumerate(ious.items()):
        values = as_numpy(given)
        share = 100 * np.histogram(values, edges)[0] / len(values)
        axis.stairs(share, edges, label=name, color=COLORS[i], linestyle=LINES[i % 4], lw=2)
        right = 100 * np.mean(values >= delta)
        said.append(f"{name}: median {np.median(values):.2f}, {right:.1f} % at {delta} or more")
    axis.axvline(delta, color="black", lw=1, label=f"δ = {delta}")
    axis.set(xlim=(0, 1))
    axis.legend()
    return Illustration(figure, f"Histogram of IoU over images. {'; '.join(said)}.")


def results_table(
    results: pd.DataFrame | Sequence[Mapping[str, Any]],
    *,
    by: str = "method",
    paper: Mapping[str, Mapping[str, float]] | None = None,
) -> pd.DataFrame:
    """Table with the columns of the paper's Table 1: classification, then localization.

    Args:
        results: One row a run with the columns ``top1_cls top1_loc top5_loc gt_known`` (percent),
            as `satkit.results.load` gives them.
        by: The column that names the lines; several runs of a name become mean ± deviation.
        paper: Published numbers by line and column name; a line that only the paper has is added.

    Returns:
        Strings of percent with one decimal, "–" where there is none; the number of runs; and, if
        given, the published numbers in columns of their own whose names end in "(paper)".

    Raises:
        ValueError: A column is missing, or the paper is given other columns.
    """
    frame = pd.DataFrame(results)
    for name in (by, *RESULT_COLUMNS):
        if name not in frame:
            raise ValueError(f"results have no column {name!r}; they have {', '.join(frame)}")
    published = pd.DataFrame(dict(paper or {})).T
    if other := set(published) - set(RESULT_COLUMNS):
        raise ValueError(f"paper has columns {sorted(other)}; expected {list(RESULT_COLUMNS)}")
    lines = list(dict.fromkeys([*frame[by], *published.index]))
    table = pd.DataFrame(index=pd.Index(lines, name=by))
    for name, title in RESULT_COLUMNS.items():
        table[title] = [_mean_and_deviation(frame.loc[frame[by] == line, name]) for line in lines]
    table["runs"] = [int((frame[by] == line).sum()) for line in lines]
    for name, title in RESULT_COLUMNS.items():
        if name in published:
            column = published[name].reindex(lines)
            table[f"{title} (paper)"] = ["–" if pd.isna(v) else f"{v:.2f}" for v in column]
    return table


def _mean_and_deviation(values: pd.Series) -> str:
    if values.empty or values.isna().any():
        return "–"
    spread = f" ± {values.std():.1f}" if len(values) > 1 else ""
    return f"{values.mean():.1f}{spread}"


# --------------------------------------------------------------------------------------------------
# Causes of errors, and claims
# --------------------------------------------------------------------------------------------------


def confusion(table: pd.DataFrame) -> Illustration:
    """Counts of proposals by truth, coloured by the share of each row.

    Args:
        table: One row a true class, one column a proposed one; counts. Names may repeat between
            rows and columns, which then is the right proposal.

    Returns:
        The matrix with its counts; its text names the share of each row that is right.
    """
    from seaborn import heatmap

    share = table.div(table.sum(axis=1).clip(lower=1), axis=0)
    figure = Figure(figsize=(7.4, 1.6 + 0.5 * len(table)), layout="constrained")
    axis = figure.subplots()
    heatmap(share, vmin=0, vmax=1, cmap="cividis", annot=table, fmt=".0f",
            xticklabels=[name.replace(" ", "\n") for name in table],
            cbar_kws={"label": "share of the row"}, ax=axis)  # fmt: skip
    axis.set(xlabel="proposed", ylabel="true")
    axis.tick_params(rotation=0)
    said = [
        f"{name}: {table.loc[name, name]:.0f} of {table.loc[name].sum():.0f} right"
        for name in table.index
        if name in table
    ]
    return Illustration(figure, f"Confusion matrix, true by proposed. {'; '.join(said)}.")


def forest(
    ledger: pd.DataFrame, paper: pd.DataFrame, bounds: Mapping[str, float] | None = None
) -> Illustration:
    """Forest plot: for each claim the measured effect with its interval, and the paper's.

    Args:
        ledger: Measured rows of :func:`satkit.paper.ledger`: ``claim dataset conditions effect low
            high verdict``; without ends (one seed) only the point is drawn.
        paper: The paper's effects on its own data sets: ``claim dataset effect``; hollow.
        bounds: By claim, what the rule holds the effect against, drawn as a tick.

    Returns:
        One line a claim; colours are data sets, the paper's have their own.

    Raises:
        ValueError: Nothing was measured.
    """
    if ledger.empty:
        raise ValueError("no claim was measured: expected rows with an effect")
    names = list(dict.fromkeys(ledger["claim"]))
    sets = list(dict.fromkeys(ledger["dataset"]))
    shown = paper[paper["claim"].isin(names)]
    theirs = list(dict.fromkeys(shown["dataset"]))
    figure = Figure(figsize=(9, 1.4 + 0.45 * len(names)), layout="constrained")
    axis = figure.subplots()
    axis.axvline(0, color="grey", lw=1)
    if bounds:
        ticks = [bounds[name] for name in names]
        axis.plot(ticks, range(len(names)), "|", ms=16, mew=1.5, color="black",
                  label="bound of the rule")  # fmt: skip
    for i, name in enumerate(sets):
        rows = ledger[ledger["dataset"] == name]
        at = np.array([names.index(claim) for claim in rows["claim"]]) + 0.16 * (i - 1)
        x, low, high = (rows[column].to_numpy(float) for column in ("effect", "low", "high"))
        axis.hlines(at, np.where(np.isnan(low), x, low), np.where(np.isnan(high), x, high),
                    color=COLORS[i], lw=2)  # fmt: skip
        axis.plot(x, at, "osD^v"[i % 5], color=COLORS[i], label=name)
    for i, name in enumerate(theirs):
        rows = shown[shown["dataset"] == name]
        at = np.array([names.index(claim) + 0.3 for claim in rows["claim"]])
        axis.plot(rows["effect"], at, "osD^v<>"[i % 7], mfc="none", mec="black",
                  label=f"the paper's, {name}", ls="none")  # fmt: skip
    axis.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axis.set(xlabel="effect, points (line: 95 % interval over seeds)", ylim=(len(names), -1))
    tidy(axis)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    said = [
        f"{row.claim.replace('_', ' ')} on {row.dataset}: {row.effect:+.1f}"
        + ("" if math.isnan(row.low) else f" [{row.low:+.1f}, {row.high:+.1f}]")
        for row in ledger.itertuples()
    ]
    hollow = f" The paper's own {len(shown)} effects are hollow." if len(shown) else ""
    return Illustration(figure, f"Forest plot of effects. {'; '.join(said)}.{hollow}")
