"""A stored training, and what its losses would have been with other settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from satkit.figures import COLORS, LINES, MAP_COLORS, Illustration
from satkit.figures.base import tidy
from satkit.lab.shell import panel, slider
from satkit.results import Run

TERMS = {"cls": "L_cls", "batch_area": "L_ba", "normalization": "L_norm"}


class Replay(NamedTuple):
    """What a training left behind.

    Attributes:
        terms: One row a step, of ``cls``, ``batch_area`` and ``normalization`` those that it had.
        target_area: λ that it was trained with, 0–1.
        source: What it is, for the text.
        maps: The batch's maps at each step, [S, B, h, w] in 0–1, where they were kept.
    """

    terms: pd.DataFrame
    target_area: float
    source: str
    maps: np.ndarray | None = None


def replay_losses(training: Run | Replay) -> Any:
    """Move λ and the weight of each term over a stored training, and see its losses again.

    Nothing is trained anew: the maps stay those that the training drew with *its* settings.

    Args:
        training: A finished run, or what another training left.

    Returns:
        The widget, which a notebook shows when it is the cell's last value.

    Raises:
        ValueError: The run has none of the three terms.
    """
    replay = replay_of(training) if isinstance(training, Run) else training
    known = [name for name in TERMS if name in replay.terms]

    def draw(step: int, target_area: float, **weights: float) -> Illustration:
        return replay_view(replay, step - 1, target_area, weights)

    steps = len(replay.terms)
    controls = {
        "step": slider("step", steps, 1, steps, 1),
        "target_area": slider("λ", replay.target_area, 0, 1, 0.01),
    }
    for name in known:
        controls[name] = slider(f"weight of {TERMS[name]}", 1, 0, 3, 0.1, ".1f")
    return panel(draw, controls)


def replay_of(run: Run) -> Replay:
    """Read what a run left: its losses at every step, and no maps.

    Args:
        run: Finished run.

    Returns:
        Its terms.

    Raises:
        ValueError: The run has none of the three terms.
    """
    steps = run.steps
    known = [name for name in TERMS if name in steps]
    if not known:
        raise ValueError(f"run {run.dir.name} has none of the losses {', '.join(TERMS)}")
    return Replay(steps[known], run.settings.target_area, f"run {run.dir.name}")


def recompute(
    replay: Replay, target_area: float, weights: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Losses of a stored training for another λ and other weights.

    ``cls`` and ``normalization`` do not depend on λ and are taken as stored. ``batch_area`` is
    recomputed, exactly from maps. Without maps only the distance of the area from the *old* λ is
    known, not its side, so the new value lies between two bounds (which meet at the old λ).

    Args:
        replay: The training.
        target_area: The new λ, 0–1.
        weights: By name of a term; 1 where it is missing.

    Returns:
        One row a step: the terms, unweighted; ``low`` and ``high``, the bounds of the weighted sum.

    Raises:
        ValueError: λ outside 0–1.
    """
    if not 0 <= target_area <= 1:
        raise ValueError(f"target_area is {target_area}; expected a share of the image, 0-1")
    low = replay.terms.copy()
    high = low.copy()
    if "batch_area" in low:
        distance = np.abs(_areas(replay) - target_area)  # [2, S], both possible areas
        low["batch_area"], high["batch_area"] = np.nanmin(distance, 0), np.nanmax(distance, 0)
    weight = {name: (weights or {}).get(name, 1.0) for name in low}
    sums = {n: sum(t[name] * weight[name] for name in t) for n, t in (("low", low), ("high", high))}
    return low.assign(**sums)


def _areas(replay: Replay) -> np.ndarray:
    """The batch's mean area at each step, [2, S]: twice the same where it is known."""
    if replay.maps is not None:
        exact = replay.maps.mean(axis=(1, 2, 3), dtype=float)
        return np.stack([exact, exact])
    stored = replay.terms["batch_area"].to_numpy(float)
    both = np.stack([replay.target_area - stored, replay.target_area + stored])
    return np.where((both >= 0) & (both <= 1), both, np.nan)


def replay_view(
    replay: Replay, step: int, target_area: float, weights: Mapping[str, float]
) -> Illustration:
    """Stored losses, recomputed ones, and the maps of one step.

    Args:
        replay: The training.
        step: From 0.
        target_area: The new λ, 0–1.
        weights: By name of a term; 1 where it is missing.

    Returns:
        The terms, the sum, and, where maps were kept, the first map of the step's batch.

    Raises:
        ValueError: A step that there is not, or λ outside 0–1.
    """
    if not 0 <= step < len(replay.terms):
        raise ValueError(f"step is {step}; expected 0 to {len(replay.terms) - 1}")
    new, stored = recompute(replay, target_area, weights), replay.terms.sum(axis=1)
    x = np.arange(1, len(new) + 1)
    with_maps = replay.maps is not None
    figure = Figure(figsize=(9.6, 3.0), layout="constrained")
    axes = figure.subplots(1, 2 + with_maps, width_ratios=(1.4, 1.4, 1)[: 2 + with_maps])
    for i, name in enumerate(replay.terms):
        factor = weights.get(name, 1.0)
        label = TERMS[name] + ("" if factor == 1 else f" × {factor:.1f}")
        axes[0].plot(x, factor * new[name], LINES[i], color=COLORS[i], lw=2, label=label)
    axes[0].set_title("terms", fontsize=10)
    axes[1].plot(x, stored, ":", color="black", label="stored sum")
    axes[1].plot(x, new["high"], color=COLORS[4], lw=2, label="recomputed sum")
    if (new["high"] - new["low"]).max() > 1e-9:
        axes[1].fill_between(x, new["low"], new["high"], color=COLORS[4], alpha=0.4)
    axes[1].set_title(f"sum, λ = {target_area:.2f}", fontsize=10)
    for axis in axes[:2]:
        axis.axvline(x[step], color="black", lw=1)
        axis.set(xlabel="step", ylim=(0, None))
        axis.legend(fontsize=8)
        tidy(axis)
    if replay.maps is not None:
        axes[2].imshow(replay.maps[step, 0], cmap=MAP_COLORS, vmin=0, vmax=1)
        axes[2].set_title(f"stored map, step {x[step]}", fontsize=10)
        axes[2].set_axis_off()
    return Illustration(figure, _said(replay, new, step, target_area, weights))


def _said(
    replay: Replay, new: pd.DataFrame, step: int, target_area: float, weights: Mapping[str, float]
) -> str:
    now = new.iloc[step]
    terms = ", ".join(
        f"{TERMS[name]} {now[name]:.3f} (weight {weights.get(name, 1.0):.1f})"
        for name in replay.terms
    )
    text = f"Losses of {replay.source}, step {step + 1} of {len(new)}, at λ = {target_area:.2f}"
    if "batch_area" in replay.terms:
        text += f" (trained with {replay.target_area:.2f})"
    exact = now["high"] - now["low"] < 1e-9
    total = f"{now['high']:.3f}" if exact else f"{now['low']:.3f} to {now['high']:.3f}"
    text += f": {terms}; weighted sum {total}, stored sum {replay.terms.iloc[step].sum():.3f}."
    if "batch_area" in replay.terms and exact and replay.maps is not None:
        area = float(_areas(replay)[0, step])
        wish = "smaller" if area > target_area else "larger"
        text += f" The maps cover {area:.2f}, so L_ba asks for a {wish} area."
    if not exact:
        text += (
            " Only the area's distance from the old λ was stored, not its side, so L_ba is the "
            "smaller of its two possible values."
        )
    return text
