"""Attention of one patch, the spatial token's map, and what the gate does to both."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from torch import Tensor

from satkit import backbones
from satkit.choices import check_choice
from satkit.figures import MAP_COLORS, Illustration, picture
from satkit.figures.base import Array
from satkit.lab.shell import choice, number, panel, slider
from satkit.model import SAT

GATES = ("off", "after softmax", "before softmax")


class Attended(NamedTuple):
    """What one spatial-aware block does with one image, with each position of the gate.

    Attributes:
        rows: By name of `GATES`, how much each token (row) takes from each token (column): mean
            over heads, [T, T]. With the gate off each row sums to 1.
        outputs: By name of `GATES`, what the attention adds to each token, [T, D].
        gate: M of each token, 0–1, [T].
        grid: Rows and columns of patches.
        prefix: Tokens before the patches.
    """

    rows: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    gate: np.ndarray
    grid: tuple[int, int]
    prefix: int

    def patches(self, values: np.ndarray) -> np.ndarray:
        """Lay the values of the patches [T] out as the image [h, w]."""
        count = self.grid[0] * self.grid[1]
        return values[self.prefix : self.prefix + count].reshape(self.grid)


def explore_attention(
    model: SAT,
    images: Tensor,
    *,
    maps: Tensor | None = None,
) -> Any:
    """Click a patch: see its attention, the spatial token's map, and what the gate does.

    A patch is chosen by the sliders of its row and column, or by a button of the grid, whose
    buttons have the colours of the image.

    Args:
        model: SAT on a plain ViT.
        images: Normalised float [N, 3, S, S], a few.
        maps: [N, h, w] in 0–1 that gate the patches instead of the spatial token's own maps; class
            and spatial token are then left open.

    Returns:
        The widget, which a notebook shows when it is the cell's last value.
    """
    seen = [attend(model, image, None if maps is None else maps[i])
            for i, image in enumerate(images)]  # fmt: skip
    height, width = seen[0][0].grid
    blocks = {f"{index + 1}": i for i, index in enumerate(model.spatial)}
    source = "the spatial token's map" if maps is None else "the given map"

    def draw(image: int, block: int, gate: str, row: int, column: int) -> Illustration:
        place = (row - 1, column - 1)
        return attention_view(seen[image - 1][block], images[image - 1], place, gate, source=source)

    controls = {
        "image": number("image", len(images)),
        "block": choice("block", blocks, len(blocks) - 1),
        "gate": choice("gate", GATES, GATES[1]),
        "row": slider("row of the patch", height // 2, 1, height, 1),
        "column": slider("column of the patch", width // 2, 1, width, 1),
    }
    return panel(draw, controls, beside=_patch_buttons(controls, images, (height, width)))


def _patch_buttons(controls: dict[str, Any], images: Tensor, grid: tuple[int, int]) -> Any:
    """A grid of buttons in the colours of the chosen image; each chooses its patch."""
    import ipywidgets as widgets

    height, width = grid
    side = widgets.Layout(width="24px", height="24px", margin="1px", padding="0")
    buttons = [
        widgets.Button(layout=side, tooltip=f"patch in row {row + 1}, column {column + 1}")
        for row in range(height) for column in range(width)
    ]  # fmt: skip

    def press(button: Any) -> None:
        row, column = divmod(buttons.index(button), width)
        with (
            controls["row"].hold_trait_notifications(),
            controls["column"].hold_trait_notifications(),
        ):
            controls["row"].value, controls["column"].value = row + 1, column + 1

    def paint(*_: Any) -> None:
        for button, color in zip(buttons, _colors(images[controls["image"].value - 1], grid),
                                 strict=True):  # fmt: skip
            button.style.button_color = color

    for button in buttons:
        button.on_click(press)
    controls["image"].observe(paint, names="value")
    paint()
    layout = widgets.Layout(grid_template_columns=f"repeat({width}, 26px)")
    return widgets.GridBox(buttons, layout=layout)


def _colors(image: Tensor, grid: tuple[int, int]) -> list[str]:
    """Mean colour of each patch, row by row, as #rrggbb."""
    pixels = torch.from_numpy(picture(image)).permute(2, 0, 1).float()  # [3, S, S]
    means = torch.nn.functional.adaptive_avg_pool2d(pixels, grid).flatten(1).T  # [h w, 3]
    return ["#{:02x}{:02x}{:02x}".format(*map(round, mean)) for mean in means.tolist()]


@torch.inference_mode()
def attend(model: SAT, image: Tensor, gate_map: Tensor | None = None) -> list[Attended]:
    """Ask each spatial-aware block what its attention does with an image.

    The gate is taken off or moved for the block that is looked at; what comes into the block is
    what the model, as it is, hands to it.

    Args:
        model: SAT on a plain ViT, in evaluation mode.
        image: Normalised float [3, S, S].
        gate_map: [h, w] in 0–1 that stands in for the spatial token's map; class and spatial token
            are then left open.

    Returns:
        One for each spatial-aware block, in their order.

    Raises:
        ValueError: A map of another size than the patches, or outside 0–1.
    """
    grid, prefix = backbones.grid_size(model.backbone), int(model.backbone.num_prefix_tokens)
    if gate_map is not None and (tuple(gate_map.shape) != grid or gate_map.min() < 0
                                 or gate_map.max() > 1):  # fmt: skip
        raise ValueError(
            f"the map has shape {tuple(gate_map.shape)} and values from {gate_map.min():g} to "
            f"{gate_map.max():g}; expected {grid} and values in 0-1"
        )
    attentions: list[Any] = [model.backbone.blocks[index].attn for index in model.spatial]
    tokens: list[Tensor] = []
    hooks = [a.register_forward_pre_hook(lambda _, given: tokens.append(given[0]))
             for a in attentions]  # fmt: skip
    model(image[None])
    for hook in hooks:
        hook.remove()
    return [_attend(a, x, grid, prefix, gate_map) for a, x in zip(attentions, tokens, strict=True)]


def _attend(
    attention: Any, x: Tensor, grid: tuple[int, int], prefix: int, gate_map: Tensor | None
) -> Attended:
    q, k, v = attention.project(x)  # each [1, heads, T, d]
    gate = attention(x)[1]  # [1, T]
    if gate_map is not None:
        gate = torch.ones_like(gate)
        gate[:, prefix : prefix + gate_map.numel()] = gate_map.flatten()
    logits = q @ k.transpose(-2, -1) * attention.scale  # [1, heads, T, T]
    open_rows = logits.softmax(dim=-1)
    rows = {
        "off": open_rows,
        "after softmax": open_rows * gate[:, None, None],
        "before softmax": (logits * gate[:, None, None]).softmax(dim=-1),
    }
    return Attended(
        rows={name: given[0].mean(dim=0).numpy() for name, given in rows.items()},
        outputs={name: attention.merge(given @ v)[0].numpy() for name, given in rows.items()},
        gate=gate[0].numpy(),
        grid=grid,
        prefix=prefix,
    )


def attention_view(
    seen: Attended,
    image: Array,
    patch: tuple[int, int],
    gate: str,
    *,
    source: str = "the spatial token's map",
) -> Illustration:
    """Attention of one patch without and with the gate, beside the map that gates it.

    Args:
        seen: Of :func:`attend`.
        image: uint8 [S, S, 3], or a normalised float tensor [3, S, S].
        patch: Row and column of the patch that asks, from 0.
        gate: One of `GATES`.
        source: Where the gate comes from.

    Returns:
        Four panels; its text says what the gate does to the row of attention and to the output.

    Raises:
        ValueError: Unknown gate, or a patch outside the grid.
    """
    check_choice("gate", gate, GATES)
    (height, width), (row, column) = seen.grid, patch
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(f"patch is {patch}; expected a row below {height}, a column below {width}")
    token = seen.prefix + row * width + column
    plain, gated = seen.rows["off"][token], seen.rows[gate][token]  # each [T]
    before, after = seen.outputs["off"][token], seen.outputs[gate][token]  # each [D]
    change = 100 * float(np.linalg.norm(after - before) / np.linalg.norm(before))
    closed = seen.gate < 0.5
    share = [100 * float(given[closed].sum()) for given in (plain, gated)]
    top = max(float(seen.patches(given).max()) for given in (plain, gated))
    figure = Figure(figsize=(9.6, 2.9), layout="constrained")
    axes = figure.subplots(1, 4)
    pixels = picture(image)
    axes[0].imshow(pixels)
    axes[0].set_title("the patch that asks", fontsize=10)
    for axis, title, values, highest in (
        (axes[1], "its attention, gate off", plain, top),
        (axes[2], f"its attention, gate {gate}", gated, top),
        (axes[3], source, seen.gate, 1.0),
    ):
        axis.imshow(seen.patches(values), cmap=MAP_COLORS, vmin=0, vmax=highest)
        axis.set_title(title, fontsize=10)
    axes[1].set_xlabel(f"row sums to {plain.sum():.2f}")
    axes[2].set_xlabel(f"row sums to {gated.sum():.2f}")
    axes[3].set_xlabel(f"mean {seen.patches(seen.gate).mean():.2f}")
    scale = pixels.shape[0] / height, pixels.shape[1] / width
    for axis, (y, x) in zip(axes, [scale, (1, 1), (1, 1), (1, 1)], strict=True):
        axis.set(xticks=[], yticks=[])
        corner = (column * x - 0.5, row * y - 0.5)
        frame = Rectangle(corner, x, y, fill=False, edgecolor="black", lw=1.5)
        frame.set_path_effects([withStroke(linewidth=3.5, foreground="white")])
        axis.add_patch(frame)
    alt = (
        f"Patch in row {row + 1}, column {column + 1}, whose own gate is {seen.gate[token]:.2f}. "
        f"Without a gate its attention sums to 1, {share[0]:.0f} % of it on tokens that the map "
        f"closes (below 0.5). Gate {gate}: the row sums to {gated.sum():.2f}, {share[1]:.0f} % "
        f"lie on closed tokens, and what the attention gives the patch changes by {change:.0f} %. "
        f"The gate is {source}, mean {seen.patches(seen.gate).mean():.2f}."
    )
    return Illustration(figure, alt)
