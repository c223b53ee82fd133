"""A bird of one's own: choose what Aviary draws, see where localizers look."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from satkit.boxes import prepare_maps
from satkit.choices import check_choice
from satkit.data.aviary import DIFFICULTIES, SPECIES, Drawing, draw_bird
from satkit.data.aviary_scenes import PERCHES, SCENES
from satkit.figures import Illustration
from satkit.lab.compare import comparison
from satkit.lab.shell import choice, number, panel, slider, tick
from satkit.lessons import simulate_map
from satkit.predict import heat_of
from satkit.results import Run

#: Postures by what the bird sits, stands or swims on; "any" takes what comes
POSTURES = ("any", "branch", "ground", "water", "flight")
SIZE = 160  # pixels
SHARED = "together"  # control: one threshold for all runs


def draw_own_bird(runs: Mapping[str, Run] | None = None, *, seed: int = 0) -> Any:
    """Choose species, posture and difficulties of a bird, see the maps that localizers draw of it.

    Args:
        runs: Finished runs by the name of the method. Without any, no network is asked: the maps
            are simulated, one of the whole bird and one of its head alone, and say so. Each run
            has its own threshold, unless one for all is asked for.
        seed: Of the drawings.

    Returns:
        The widget, which a notebook shows when it is the cell's last value.
    """
    hard = [name for name in DIFFICULTIES if name != "label_error"]  # that one changes no pixel
    models = {name: run.model() for name, run in (runs or {}).items()}
    own = {name: float(run.metrics["threshold"]) for name, run in (runs or {}).items()}

    def draw(species: int, posture: str, pose: int, threshold: float, **ticked: bool) -> Any:
        chosen = tuple(name for name in hard if ticked[name])
        drawing = bird(species - 1, posture, pose, chosen, seed=seed)
        if not runs:
            maps = _simulated(drawing)
            return bird_view(drawing, maps, dict.fromkeys(maps, threshold))
        picture = Image.fromarray(drawing.image)
        maps = {name: heat_of(models[name], run, picture).map for name, run in runs.items()}
        return bird_view(drawing, maps, dict.fromkeys(runs, threshold) if ticked[SHARED] else own)

    controls = {
        "species": number("species", len(SPECIES)),
        "posture": choice("posture", POSTURES),
        "pose": number("pose and scene", 50),
    }
    if runs:
        controls[SHARED] = tick("one threshold for all methods")
    label = "that threshold" if runs else "threshold"
    controls["threshold"] = slider(label, 0.5, 0.01, 0.99, 0.01)
    for name in hard:
        controls[name] = tick(name)
    return panel(draw, controls)


@lru_cache(maxsize=64)
def bird(
    species: int,
    posture: str = "any",
    number: int = 1,
    difficulties: tuple[str, ...] = (),
    *,
    seed: int = 0,
) -> Drawing:
    """Draw a bird as it was ordered.

    Args:
        species: Index into `satkit.data.aviary.SPECIES`.
        posture: One of `POSTURES`.
        number: Each number is another pose, place and scene.
        difficulties: Names of `satkit.data.aviary.DIFFICULTIES` that the drawing has.
        seed: Non-negative int.

    Returns:
        The drawing, 160 pixels a side; do not write to it.

    Raises:
        ValueError: An unknown name, or a posture that the difficulties do not allow.
    """
    check_choice("posture", posture, POSTURES)
    chances = dict.fromkeys(difficulties, 1.0)
    possible = _possible(species, difficulties)
    if posture != "any" and posture not in possible:
        raise ValueError(
            f"posture is {posture!r}, but with {' and '.join(difficulties)} this species is drawn "
            f"on {' or '.join(sorted(possible))}; choose that, 'any', or take a difficulty away"
        )
    attempt = 0
    while True:  # the seeds are tried on small drawings, which hold the same birds
        numbers = [seed, number, attempt]
        small = draw_bird(numbers, 32, label=species, difficulties=chances)
        if posture in ("any", small.attributes["perch"]):
            return draw_bird(numbers, SIZE, label=species, difficulties=chances)
        attempt += 1


def _possible(species: int, difficulties: tuple[str, ...]) -> set[str]:
    """What a bird can sit, stand or swim on."""
    if "reflection" in difficulties:
        return {"water"}
    if "context" in difficulties:
        return set(PERCHES[SCENES[species % len(SCENES)]])
    return set(POSTURES)


def _simulated(drawing: Drawing) -> dict[str, np.ndarray]:
    """Two maps that no network drew."""
    rng = np.random.default_rng(0)  # draws nothing: the maps have no noise
    kinds = {"made up: whole bird": 1.0, "made up: head only": 0.0}
    drawn = {name: simulate_map(drawing, rng, rest=rest, blur=0.6) for name, rest in kinds.items()}
    return {name: prepare_maps(m[None], len(drawing.image))[0] for name, m in drawn.items()}


def bird_view(
    drawing: Drawing, maps: Mapping[str, np.ndarray], thresholds: Mapping[str, float]
) -> Illustration:
    """A drawn bird with the map and the box of each localizer.

    Args:
        drawing: Of Aviary.
        maps: By name, [S, S] in 0–1 at the size of the drawing.
        thresholds: By name, 0–1.

    Returns:
        The image, and a panel a map; its text begins with what is drawn.
    """
    about = drawing.attributes
    there = [name for name in DIFFICULTIES if drawing.difficulties[name]]
    drawn = comparison(drawing.image, maps, drawing.boxes, thresholds)
    seat = {"branch": "on a branch", "ground": "on the ground", "water": "on the water",
            "flight": "in flight"}  # fmt: skip
    alt = (
        f"A {SPECIES[drawing.difficulties['true_label']].name}, "
        f"{seat[about['perch']]}, scene {about['scene']}, facing "
        f"{'left' if about['left'] else 'right'}"
        + (f", with {', '.join(there)}" if there else "")
        + f". {drawn.alt}"
    )
    return Illustration(drawn.figure, alt)
