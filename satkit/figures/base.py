"""What all figures share: how they are shown, saved and described, their colours and panels."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from satkit.data.transforms import denormalize
from satkit.results import write_json

Array = np.ndarray | torch.Tensor

#: Okabe and Ito's colours and three more; any two are told apart by the colour-blind, too
COLORS = [
    to_rgb(color)
    for color in (
        "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7",
        "#661100", "#332288", "#bbbbbb", "#f0e442", "#56b4e9",
    )
]  # fmt: skip
TRUE_COLOR, PREDICTED_COLOR = COLORS[2], COLORS[3]  # green, vermilion; also dashed and solid
MAP_COLORS = "viridis"
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
#: Text width of the paper's pages, inches; what is drawn at this width is printed as it is
WIDTH = 6.9
#: Smallest text, points
SMALL = 8
#: File formats without the date and the versions that they would hold
FORMATS: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}


class Illustration(NamedTuple):
    """A figure and what it shows, in words.

    Attributes:
        figure: The figure.
        alt: Text for those who do not see it.
    """

    figure: Figure
    alt: str


def show(figure: Figure | Illustration, alt: str = "") -> None:
    """Display a figure in a notebook as a PNG image with alt text.

    HTML holds the picture and the text. What cannot show HTML, such as an export to LaTeX or PDF,
    takes the bare picture, and a terminal the text.

    Args:
        figure: An illustration, or a bare figure.
        alt: What is to be seen; replaces an illustration's own text.

    Raises:
        ValueError: There is no alt text.
    """
    from IPython.display import display

    if isinstance(figure, Illustration):
        alt = alt or figure.alt
        figure = figure.figure
    if not alt.strip():
        raise ValueError("a figure needs an alt text: say in a sentence what is to be seen")
    data = _png(figure)
    shown = {"text/html": _element(figure, data, alt), "image/png": data, "text/plain": alt}
    display(shown, raw=True)


def to_html(figure: Figure, alt: str) -> str:
    """A figure as an HTML image that holds its own pixels.

    Args:
        figure: The figure.
        alt: What is to be seen.

    Returns:
        The element.
    """
    return _element(figure, _png(figure), alt)


def _png(figure: Figure) -> str:
    """The pixels of a figure as PNG in base64; pyplot lets go of it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, bbox_inches="tight")
    if figure.canvas.manager is not None:  # made by pyplot, which would show it a second time
        from matplotlib import pyplot

        pyplot.close(figure)
    return base64.b64encode(buffer.getvalue()).decode()


def _element(figure: Figure, data: str, alt: str) -> str:
    width = round(figure.get_figwidth() * 90)
    style = f"width: {width}px; max-width: 100%"
    return f'<img alt="{escape(alt)}" style="{style}" src="data:image/png;base64,{data}">'


def save_figure(
    illustration: Illustration, name: str, folder: str | Path, provenance: Mapping[str, Any]
) -> list[Path]:
    """Write a figure as PDF, SVG and PNG (200 dpi), and beside them where it comes from.

    The files hold no dates: equal data give equal files, with equal versions of the libraries.

    Args:
        illustration: The figure.
        name: Of the files, without an ending.
        folder: Where they go; made if it is not there.
        provenance: What the figure was drawn from; see :func:`satkit.figures.sources`.

    Returns:
        The four files, ``.pdf``, ``.svg``, ``.png`` and ``.json``, which also holds the alt text.

    Raises:
        ValueError: Without provenance.
    """
    if not provenance:
        raise ValueError(f"{name} has no provenance: say what it was drawn from")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{ending}" for ending in (*FORMATS, "json")]
    illustration.figure.draw_without_rendering()
    illustration.figure.set_layout_engine("none")  # it is laid out, once for all formats
    with matplotlib.rc_context({"svg.hashsalt": name, "pdf.fonttype": 42}):
        for path, metadata in zip(paths[:-1], FORMATS.values(), strict=True):
            illustration.figure.savefig(path, dpi=200, metadata=metadata)
    write_json(paths[-1], {"figure": name, "alt": illustration.alt, **provenance})
    return paths


def contact_sheet(illustrations: Mapping[str, Illustration], columns: int = 2) -> Illustration:
    """All figures on one page.

    Args:
        illustrations: By name.
        columns: Figures a row.

    Returns:
        The sheet; its text is that of all figures.

    Raises:
        ValueError: There are no figures.
    """
    if not illustrations:
        raise ValueError("there are no figures; expected at least one")
    rows = math.ceil(len(illustrations) / columns)
    figure = Figure(figsize=(WIDTH, 2.4 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes:
        axis.set_axis_off()
    for axis, (name, one) in zip(axes, illustrations.items(), strict=False):
        axis.imshow(_pixels(one.figure), interpolation="antialiased")
        axis.set_title(name, fontsize=SMALL)
    said = " ".join(f"{name}: {one.alt}" for name, one in illustrations.items())
    return Illustration(figure, f"Contact sheet of {len(illustrations)} figures. {said}")


def _pixels(figure: Figure) -> np.ndarray:
    from matplotlib.image import imread

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    buffer.seek(0)
    return imread(buffer)


# --------------------------------------------------------------------------------------------------
# Parts of figures, for the modules of this package
# --------------------------------------------------------------------------------------------------


def as_numpy(values: Any) -> np.ndarray:
    """An array of the CPU."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def picture(image: Array) -> np.ndarray:
    """An image as it is shown.

    Args:
        image: uint8 [H, W, 3], or a normalised float tensor [3, H, W] as data sets give it.

    Returns:
        uint8 [H, W, 3].
    """
    return denormalize(image) if isinstance(image, torch.Tensor) else np.asarray(image)


def chart(x: str, y: str) -> tuple[Figure, Axes]:
    """A figure of one chart, with the names of its axes."""
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axis = figure.subplots()
    axis.set(xlabel=x, ylabel=y)
    tidy(axis)
    return figure, axis


def charts(count: int, height: float = 2.8) -> tuple[Figure, list[Axes]]:
    """A figure of charts side by side, as wide as a page; one chart takes two thirds of it."""
    width = WIDTH if count > 1 else 2 * WIDTH / 3
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = list(figure.subplots(1, count, squeeze=False)[0])
    for axis in axes:
        tidy(axis)
    return figure, axes


def tidy(axis: Axes) -> None:
    """Leave out the frame's upper and right side; thin grid lines."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.3)


def pictures(rows: int, columns: int, width: float = 9.6) -> tuple[Figure, list[Axes]]:
    """A figure of square panels without axes, and the panels row by row."""
    side = min(2.4, width / columns)
    figure = Figure(figsize=(side * columns, (side + 0.3) * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes:
        axis.set_axis_off()
    return figure, axes


def overlay(axis: Axes, values: np.ndarray, size: Sequence[int]) -> None:
    """Draw a map over an image of size [H, W], the same colours for the same values of 0–1."""
    extent = (-0.5, size[1] - 0.5, size[0] - 0.5, -0.5)
    axis.imshow(values, cmap=MAP_COLORS, vmin=0, vmax=1, alpha=0.65, extent=extent)


def draw_boxes(axis: Axes, boxes: Any, color: Any, line: str) -> None:
    """Draw boxes [n, 4], half-open xyxy in pixels, with a white rim."""
    for x0, y0, x1, y1 in as_numpy(boxes):
        corner = (x0 - 0.5, y0 - 0.5)  # pixel x covers x - 0.5 … x + 0.5
        box = Rectangle(corner, x1 - x0, y1 - y0, fill=False, edgecolor=color, linestyle=line, lw=2)
        box.set_path_effects([withStroke(linewidth=3.5, foreground="white")])
        axis.add_patch(box)


def box_legend(figure: Figure) -> None:
    """Say which box is which, below the figure."""
    handles = [
        Rectangle((0, 0), 1, 1, fill=False, edgecolor=TRUE_COLOR, linestyle="--", lw=2),
        Rectangle((0, 0), 1, 1, fill=False, edgecolor=PREDICTED_COLOR, lw=2),
    ]
    figure.legend(handles, ["true box", "predicted box"], loc="outside lower center", ncols=2)
