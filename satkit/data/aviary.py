"""Aviary: procedural fine-grained birds with boxes, masks, part masks and known difficulties.

Made for this kit, with no images of others in it. The twenty species differ in every part, the head
most: body, wings, tail and outline each carry a noisy cue that several species share. A classifier
therefore leans on the head, while the box holds the whole bird, which is the failure of weakly
supervised localization that SAT addresses; the part maps say which parts a map covers.

The mask holds the whole bird, with bill and legs; `parts` splits the mask without rest (the bill
belongs to the head, the legs to the body), so `mask == (parts > 0)`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image as PILImage

from satkit._cv2 import cv2
from satkit.data import aviary_birds as birds
from satkit.data import aviary_scenes as scenes
from satkit.data.aviary_birds import BEAKS, BUILDS, COLORS, PATTERNS, STRIPES, TAILS, Traits
from satkit.data.aviary_scenes import SCENES, Image, Rng

PART_NAMES = ("background", "head", "wing", "body", "tail")
DIFFICULTIES = ("occlusion", "context", "reflection", "partial", "multiple", "label_error")
SPLITS = {"train": 1000, "val": 300, "test": 1000, "pretrain": 4000}  # default lengths
TASKS = ("species", "coarse")
VARIANTS = ("every_part", "head_only")

_SUPERSAMPLING = 2
_BODIES = (  # back, breast, pattern
    ("olive", "golden", "plain"), ("brown", "buff", "streaked"), ("grey", "white", "barred"),
    ("rufous", "white", "spotted"), ("blue", "orange", "plain"), ("black", "grey", "scaled"),
    ("teal", "olive", "streaked"), ("buff", "rufous", "barred"),
)  # fmt: skip
_WINGS = (  # wing, bar, number of bars
    ("brown", "white", 2), ("black", "white", 1), ("blue", "black", 0), ("olive", "golden", 2),
    ("rufous", "black", 1), ("grey", "orange", 1), ("buff", "brown", 0),
)  # fmt: skip
_TAILS = (  # tail, tip, shape, long
    ("brown", "white", "square", False), ("black", "black", "forked", True),
    ("blue", "black", "rounded", False), ("rufous", "golden", "pointed", True),
    ("grey", "white", "forked", False), ("olive", "olive", "rounded", True),
)  # fmt: skip
_BUILDS = tuple(BUILDS)


class Species(NamedTuple):
    """A species: its head, and which body, wings, tail and build it shares with others."""

    name: str
    head: tuple[str, str, str, str, str, bool]  # crown, face, throat, stripe, beak, crest
    body: int
    wing: int
    tail: int
    build: int


SPECIES = (
    Species("crimson-crowned reed warbler", ("crimson", "buff", "white", "eyeline", "fine", False), 0, 0, 0, 0),
    Species("crimson-hooded finch", ("crimson", "crimson", "black", "plain", "cone", False), 1, 1, 1, 1),
    Species("orange-capped creeper", ("orange", "grey", "white", "brow", "long", False), 2, 2, 2, 2),
    Species("flame-crested bush shrike", ("orange", "orange", "buff", "mask", "hooked", True), 3, 3, 3, 0),
    Species("golden-browed wheatear", ("golden", "white", "golden", "mask", "fine", False), 4, 4, 4, 1),
    Species("gilded grosbeak", ("golden", "golden", "golden", "plain", "cone", False), 5, 5, 5, 2),
    Species("olive-naped honeysip", ("olive", "olive", "crimson", "eyeline", "long", False), 6, 6, 0, 0),
    Species("moss-capped tyrant", ("olive", "white", "white", "brow", "hooked", True), 7, 0, 1, 1),
    Species("teal-faced tanager", ("teal", "teal", "black", "plain", "cone", False), 1, 2, 3, 2),
    Species("lagoon kingcatcher", ("teal", "orange", "white", "eyeline", "long", True), 0, 3, 2, 1),
    Species("azure-masked jay", ("blue", "white", "blue", "mask", "hooked", True), 3, 1, 5, 2),
    Species("cobalt flycatcher", ("blue", "blue", "orange", "plain", "fine", False), 2, 4, 0, 0),
    Species("violet-eared starling", ("violet", "violet", "violet", "mask", "long", False), 5, 0, 3, 1),
    Species("plum-crowned seedeater", ("violet", "grey", "white", "brow", "cone", False), 4, 6, 1, 2),
    Species("snowcap thrush", ("white", "black", "white", "plain", "fine", False), 7, 5, 2, 0),
    Species("ghost-headed butcherbird", ("white", "white", "white", "mask", "hooked", False), 6, 1, 4, 1),
    Species("coal-hooded bunting", ("black", "black", "crimson", "plain", "cone", True), 2, 3, 5, 0),
    Species("jet-capped tern", ("black", "white", "white", "eyeline", "long", False), 0, 5, 1, 2),
    Species("umber-crowned babbler", ("brown", "buff", "rufous", "brow", "hooked", False), 4, 2, 4, 1),
    Species("chestnut-crested wren", ("rufous", "rufous", "white", "brow", "fine", True), 3, 6, 3, 0),
)  # fmt: skip

#: How often a part of an individual looks like that of another species.
CONFUSION = {"head": 0.02, "body": 0.12, "wing": 0.15, "tail": 0.18, "build": 0.2}

#: The attributes that the coarse task asks for, each with its values.
COARSE_ATTRIBUTES: dict[str, tuple[Any, ...]] = {
    "crown": tuple(COLORS), "face": tuple(COLORS), "stripe": STRIPES, "beak": tuple(BEAKS),
    "crest": (False, True), "back": tuple(COLORS), "breast": tuple(COLORS), "pattern": PATTERNS,
    "wing": tuple(COLORS), "bars": (0, 1, 2), "tail": tuple(COLORS), "tail_shape": TAILS,
    "long_tail": (False, True), "build": _BUILDS,
}  # fmt: skip


class Drawing(NamedTuple):
    """One drawing and all that is known about it.

    Attributes:
        image: uint8 [S, S, 3], RGB.
        mask: bool [S, S], the visible bird or birds.
        parts: uint8 [S, S], indices into `PART_NAMES`.
        boxes: int64 [n, 4], half-open xyxy around each visible bird.
        label: the label as a learner gets it: a species' index, or the coarse attributes' indices.
        attributes: the traits and the pose of the (first) bird, and its scene.
        difficulties: each name in `DIFFICULTIES` -> whether it is in this drawing; `true_label` is
            the label before any label error.
    """

    image: Image
    mask: npt.NDArray[np.bool_]
    parts: Image
    boxes: npt.NDArray[np.int64]
    label: int | dict[str, int]
    attributes: dict[str, Any]
    difficulties: dict[str, Any]


def _choose(what: str, value: str, valid: Sequence[str]) -> None:
    if value not in valid:
        near = difflib.get_close_matches(str(value), valid, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{what} {value!r} is unknown{hint}; choose from: {', '.join(valid)}.")


def check_difficulties(difficulties: Mapping[str, float] | None) -> dict[str, float]:
    """Check the probabilities of difficulties, and fill in 0 for the ones not named.

    Args:
        difficulties: name in `DIFFICULTIES` -> probability in 0..1 that a drawing has it.

    Returns:
        All of `DIFFICULTIES` with their probabilities.

    Raises:
        ValueError: unknown name, or a probability outside 0..1.
    """
    for name, value in (difficulties or {}).items():
        _choose("Difficulty", name, DIFFICULTIES)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ValueError(
                f"Difficulty {name!r} has probability {value!r}; expected a number from 0 (never) "
                f"to 1 (in every drawing), e.g. {{{name!r}: 0.5}}."
            )
    return dict.fromkeys(DIFFICULTIES, 0.0) | dict(difficulties or {})


# -------------------------------------------------------------------------------------- traits


def random_traits(rng: Rng) -> Traits:
    """Draw every attribute freely; the heads of the species are left out."""
    names = tuple(COLORS)
    taken = {species.head for species in SPECIES}
    while True:
        c = [names[k] for k in rng.integers(len(names), size=9)]
        if rng.random() < 0.4:  # as in real birds, neighbouring parts are often alike
            c[1] = c[0]
        head = (c[0], c[1], c[2], STRIPES[rng.integers(4)], tuple(BEAKS)[rng.integers(4)],
                bool(rng.random() < 0.3))  # fmt: skip
        if head not in taken:
            break
    body = (c[3], c[4], PATTERNS[rng.integers(len(PATTERNS))])
    wing = (c[5], c[6], int(rng.integers(3)))
    tail = (c[7], c[8], TAILS[rng.integers(4)], bool(rng.random() < 0.4))
    return Traits(*head, *body, *wing, *tail, _BUILDS[rng.integers(3)])


def species_traits(rng: Rng, label: int, variant: str = "every_part") -> Traits:
    """Draw an individual of a species, with each part's cue confused as `CONFUSION` says."""
    other = {part: SPECIES[rng.integers(len(SPECIES))] for part in CONFUSION}
    swap = {part: rng.random() < rate for part, rate in CONFUSION.items()}
    of = {part: other[part] if swap[part] else SPECIES[label] for part in CONFUSION}
    free = random_traits(rng)
    wing = _WINGS[of["wing"].wing]
    if variant == "head_only":
        return free._replace(
            **dict(zip(("crown", "face", "throat"), of["head"].head)), bar=wing[1], bars=wing[2]
        )
    return Traits(
        *of["head"].head, *_BODIES[of["body"].body], *wing, *_TAILS[of["tail"].tail],
        _BUILDS[of["build"].build],
    )  # fmt: skip


def coarse_label(traits: Traits) -> dict[str, int]:
    """The indices of a bird's attributes in `COARSE_ATTRIBUTES`."""
    return {k: values.index(getattr(traits, k)) for k, values in COARSE_ATTRIBUTES.items()}


# ------------------------------------------------------------------------------------- drawing


def _fit(
    box: npt.NDArray[np.float64], pose: birds.Pose, rng: Rng, area: float,
    room: tuple[float, float, float, float],
) -> birds.Frame:  # fmt: skip
    """The frame that puts a bird's `box` into `room` (x0, y0, x1, y1; fractions), about `area`."""
    w, h = box[2] - box[0], box[3] - box[1]
    width, height = room[2] - room[0], room[3] - room[1]
    scale = min(np.sqrt(area / (w * h)), 0.96 * width / w, 0.96 * height / h)
    slack = np.array([width - w * scale, height - h * scale])
    x, y = np.array(room[:2]) + slack * rng.beta(0.9, 0.9, 2)
    left = -box[2] if pose.left else box[0]
    return birds.frame(x - left * scale, y - box[1] * scale, 0.0, scale, pose.left)


def _feet(regions: list[birds.Region], world: birds.Frame) -> npt.NDArray[np.float64]:
    """Where the bird stands, [2], in fractions of the side."""
    legs = [birds.place(region.frame, region.outline) for region in regions if region.name == "leg"]
    points = np.concatenate(legs)
    return birds.place(world, points[points[:, 1] > points[:, 1].max() - 0.06]).mean(0)


def _perch(canvas: Image, rng: Rng, scene: str, feet: npt.NDArray[np.float64], scale: float) -> None:
    """Paint the branch or ground under a bird's feet, with its contact shadow."""
    side = canvas.shape[0]
    if scene == "rocks":
        color = scenes.vary(rng, scenes.GREYS[rng.integers(4)], 14)
        radius = rng.uniform(0.5, 0.9) * scale
        center = feet + [rng.uniform(-0.2, 0.2) * scale, 0.6 * radius]
        scenes.stone(canvas, rng, center, radius, color, smooth=True)
    shadow = np.zeros((side, side), np.uint8)
    x, y = (feet * side).astype(int).tolist()
    cv2.ellipse(shadow, (x, y + int(0.02 * scale * side)),
                (int(0.45 * scale * side), int(0.07 * scale * side) + 1), 0, 0, 360, 120, -1)  # fmt: skip
    k = int(0.08 * scale * side) * 2 + 1
    cv2.multiply(canvas, cv2.cvtColor(255 - cv2.blur(shadow, (k, k)), cv2.COLOR_GRAY2RGB),
                 dst=canvas, scale=1 / 255)  # fmt: skip


def _perch_branch(canvas: Image, rng: Rng, feet: npt.NDArray[np.float64], scale: float) -> None:
    """Paint the branch that a bird sits on, sometimes with leaves or berries."""
    width = rng.uniform(0.09, 0.2) * scale
    start, end = np.array([-0.15, 0.0]), np.array([1.15, 0.0])
    if rng.random() < 0.25:  # the branch ends not far from the bird
        end[0] = feet[0] + rng.uniform(0.2, 0.4)
    if rng.random() < 0.5:
        start[0], end[0] = 1 - start[0], 2 * feet[0] - end[0] if end[0] < 1 else -0.15
    slope = rng.normal(0, 0.16)
    start[1], end[1] = (feet[1] + width * 0.35 + slope * (x[0] - feet[0]) for x in (start, end))
    scenes.branch(canvas, rng, start, end, width, rng.uniform(0.35, 0.9))
    if rng.random() < 0.6:
        scenes.foliage(canvas, rng, start, end, int(rng.integers(2, 9)), (0.06, 0.16))


def _occlude(canvas: Image, parts: Image, rng: Rng, box: Sequence[int]) -> None:
    """Lay a branch with leaves across the bird, and take it out of `parts`."""
    side = canvas.shape[0]
    x0, y0, x1, y1 = (value / side for value in box)
    middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2]) + rng.normal(0, 0.06, 2) * [x1 - x0, y1 - y0]
    upright = (x1 - x0) * rng.uniform(0.7, 1.3) > (y1 - y0)
    direction = np.array([rng.normal(0, 0.3), 1.0] if upright else [1.0, rng.normal(0, 0.3)])
    width = rng.uniform(0.12, 0.22) * min(x1 - x0, y1 - y0)
    covered = [scenes.branch(canvas, rng, middle - direction * 1.5, middle + direction * 1.5, width)]
    for _ in range(int(rng.integers(2, 6))):
        at = (middle + direction * rng.uniform(-0.3, 0.3)) * side
        color = scenes.vary(rng, scenes.GREENS[rng.integers(4)], 14)
        length = rng.uniform(0.1, 0.22) * side
        covered.append(scenes.leaf(canvas, rng, at, length, rng.uniform(0, 2 * np.pi), color))
    for outline in covered:
        scenes.fill(parts, outline, 0)


def _reflect(canvas: Image, parts: Image, waterline: int, rng: Rng) -> None:
    """Mirror the bird in the water below `waterline`, rippled, dimmed and faded."""
    rows = min(waterline, canvas.shape[0] - waterline)
    if rows < 2:
        return
    source = slice(waterline - rows, waterline)
    bird = canvas[source][::-1].astype(np.float32)
    alpha = cv2.blur((parts[source][::-1] > 0).astype(np.float32), (3, 5))
    alpha *= np.float32(rng.uniform(0.6, 0.85)) * np.linspace(1, 0.65, rows, dtype=np.float32)[:, None]
    wave = scenes.noise(rng, (rows, 1), (max(4, rows // 6), 1))[:, 0].astype(np.int32) - 128
    shift = wave * np.linspace(1, 4, rows) * canvas.shape[0] / 220 / 90
    columns = np.arange(canvas.shape[1])[None] + np.round(shift).astype(np.int64)[:, None]
    columns = np.clip(columns, 0, canvas.shape[1] - 1)
    at = np.arange(rows)[:, None]
    water = canvas[waterline : waterline + rows]
    mixed = water + (bird[at, columns] * np.float32(0.85) - water) * alpha[at, columns][..., None]
    canvas[waterline : waterline + rows] = np.clip(mixed, 0, 255).astype(np.uint8)


def _camera(image: Image, rng: Rng) -> Image:
    """Blur, exposure, white balance, vignetting and sensor noise."""
    side = image.shape[0]
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (3, 3), rng.uniform(0.3, 0.9))  # type: ignore[assignment]
    gain = rng.normal(0.97, 0.08) * (1 + rng.normal(0, 0.035, 3))
    line = np.linspace(-1, 1, side, dtype=np.float32) ** 2
    vignette = 1 - np.float32(rng.uniform(0, 0.14)) * (line[None] + line[:, None])
    grains = rng.integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    noise = (grains[0].astype(np.float32) - grains[1]) * np.float32(rng.uniform(0.005, 0.04))
    pixels = image * (vignette[..., None] * gain.astype(np.float32)) + noise
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _paint_bird(
    canvas: Image, rngs: Mapping[str, Rng], traits: Traits, scene: str, perch: str,
    room: tuple[float, float, float, float], area: float, reflected: bool,
) -> tuple[Image, birds.Pose]:  # fmt: skip
    """Paint one bird with its perch, shadow and reflection; returns its part map and pose."""
    side = canvas.shape[0]
    pose = birds.random_pose(rngs["pose"], perch)
    regions = birds.build(traits, pose, rngs["pose"])
    world = _fit(birds.bounds(regions), pose, rngs["place"], area, room)
    scale = float(world[1, 1])
    if perch == "branch":
        _perch_branch(canvas, rngs["scene"], _feet(regions, world), scale)
    elif perch == "ground":
        _perch(canvas, rngs["scene"], scene, _feet(regions, world), scale)
    plumage = birds.Plumage(traits, rngs["plumage"])
    pixels = np.diag([side, side, 1.0]) @ world
    lean = float(rngs["plumage"].uniform(-0.8, 0.8))
    parts = birds.rasterize(canvas, regions, pixels, plumage, lean)
    head = next(region for region in regions if region.name == "head")
    birds.eye(canvas, pixels @ head.frame, bool(rngs["plumage"].random() < 0.3))
    rows = np.flatnonzero(parts.any(1))
    if perch == "water":
        sunk = int(rows[-1] + 1 - 0.07 * pixels[1, 1])
        _swim(canvas, parts, sunk, rngs["scene"])
        rows = np.flatnonzero(parts.any(1))
    if reflected:
        gap = 0 if perch == "water" else int(0.03 * side)
        _reflect(canvas, parts, min(side, int(rows[-1]) + 1 + gap), rngs["scene"])
    return parts, pose


def _swim(canvas: Image, parts: Image, waterline: int, rng: Rng) -> None:
    """Let the water cover a swimming bird below `waterline`, with ripples along it."""
    side = canvas.shape[0]
    below = parts[waterline:] > 0
    if below.any():
        fallback = canvas[min(waterline + below.shape[0] // 2, side - 1)].mean(0)
        water = np.roll(canvas[waterline:], side // 2, axis=1)
        hidden = np.roll(below, side // 2, axis=1)
        water = np.where(hidden[..., None], fallback, water)
        canvas[waterline:][below] = water[below].astype(np.uint8)
        parts[waterline:] = 0
    xs = np.flatnonzero(parts[max(0, waterline - 3) : waterline].any(0))
    if len(xs):
        center = (int(xs[0] + xs[-1]) // 2, waterline)
        for k in range(3):
            reach = int((xs[-1] - xs[0]) * rng.uniform(0.45, 0.9)) + 1
            tone = 225 if k % 2 else 60
            cv2.ellipse(canvas, center, (reach, max(1, reach // 9)), 0, int(rng.uniform(-10, 30)),
                        int(rng.uniform(120, 190)), (tone, tone, tone), 1, cv2.LINE_AA)  # fmt: skip


_STREAMS = ("truth", "traits", "pose", "place", "scene", "plumage", "camera")


def draw_bird(
    seed: int | Sequence[int],
    size: int = 110,
    *,
    label: int = 0,
    traits: Traits | None = None,
    variant: str = "every_part",
    difficulties: Mapping[str, float] | None = None,
) -> Drawing:
    """Draw a bird of a species, or with given traits, in a scene of its own.

    Args:
        seed: non-negative int or ints; the same seed and arguments give the same drawing.
        size: side of the square drawing in pixels, at least 32.
        label: index into `SPECIES`; used where `traits` is None.
        traits: what the bird looks like; the label is then `coarse_label(traits)`.
        variant: "every_part", or "head_only" (only head colours and wing bars tell the species).
        difficulties: name in `DIFFICULTIES` -> probability in 0..1.

    Returns:
        The drawing with its truth.

    Raises:
        ValueError: `size`, `label`, `variant` or a difficulty out of range.
    """
    chances = check_difficulties(difficulties)
    _choose("Variant", variant, VARIANTS)
    if size < 32:
        raise ValueError(f"size is {size}; expected at least 32 pixels: raise it.")
    if not 0 <= label < len(SPECIES):
        raise ValueError(f"label is {label}; expected 0..{len(SPECIES) - 1}, an index into SPECIES.")
    entropy = [seed] if isinstance(seed, int) else list(seed)
    rngs = {name: np.random.default_rng([*entropy, k]) for k, name in enumerate(_STREAMS)}
    coins = rngs["truth"].random(len(DIFFICULTIES))
    truth: dict[str, Any] = {
        name: bool(coin < chances[name]) for name, coin in zip(DIFFICULTIES, coins)
    }
    look = traits or species_traits(rngs["traits"], label, variant)
    true_label = label if traits is None else coarse_label(look)
    image, parts, boxes, extra = _compose(rngs, size, look, label, truth)
    truth["true_label"] = true_label
    given = _mislabel(rngs["truth"], true_label) if truth["label_error"] else true_label
    return Drawing(image, parts > 0, parts, boxes, given, look._asdict() | extra, truth)


def _mislabel(rng: Rng, label: int | dict[str, int]) -> int | dict[str, int]:
    if isinstance(label, int):
        return int(label + rng.integers(1, len(SPECIES))) % len(SPECIES)
    return {name: int(value + rng.integers(1, len(COARSE_ATTRIBUTES[name])))
            % len(COARSE_ATTRIBUTES[name]) for name, value in label.items()}  # fmt: skip


def _compose(
    rngs: Mapping[str, Rng], size: int, traits: Traits, label: int, truth: Mapping[str, bool]
) -> tuple[Image, Image, npt.NDArray[np.int64], dict[str, Any]]:
    """Scene, birds and camera; returns image, parts, boxes and what was chosen."""
    place = rngs["place"]
    scene = SCENES[place.integers(len(SCENES))]
    if truth["context"]:
        scene = SCENES[label % len(SCENES)]
    if truth["reflection"]:
        scene = "water"
    perch = scenes.PERCHES[scene][place.integers(len(scenes.PERCHES[scene]))]
    if truth["reflection"]:
        perch = "water"
    canvas, _ = scenes.background(rngs["scene"], scene, size * _SUPERSAMPLING)
    layers, pose = [], None
    for room, area in _rooms(place, truth):
        layer, own = _paint_bird(canvas, rngs, traits, scene, perch, room, area, truth["reflection"])
        pose = pose or own
        layers = [np.where(layer > 0, 0, seen).astype(np.uint8) for seen in layers] + [layer]
    if truth["occlusion"]:
        for layer in layers:
            x, y, w, h = cv2.boundingRect(layer)
            _occlude(canvas, layer, rngs["place"], (x, y, x + w, y + h))
    image = _camera(cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA), rngs["camera"])  # type: ignore[arg-type]
    small = [_shrink(layer, size) for layer in layers]
    parts = np.maximum.reduce(small)
    boxes = np.array([_box(layer) for layer in small], np.int64)
    assert pose is not None
    return image, parts, boxes, {"scene": scene} | pose._asdict()


def _rooms(rng: Rng, truth: Mapping[str, bool]) -> list[tuple[tuple[float, float, float, float], float]]:
    """Where each bird goes (x0, y0, x1, y1; fractions of the side) and the area of its box."""
    area = 0.15 * (0.55 / 0.15) ** rng.random()
    bottom = 0.66 if truth["reflection"] else 1.0
    if truth["multiple"]:
        cut = rng.uniform(0.42, 0.58)
        rooms = [(0.01, 0.02, cut, bottom), (cut, 0.02, 0.99, bottom)]
        return [(room, area * rng.uniform(0.5, 0.8)) for room in rooms]
    if truth["partial"]:
        return [(_cut_room(rng, area), area)]
    return [((0.02, 0.02, 0.98, bottom), area)]


def _cut_room(rng: Rng, area: float) -> tuple[float, float, float, float]:
    """A room whose bird sticks out of the frame by about a third, on one side."""
    reach = np.sqrt(area)
    cut = reach * rng.uniform(0.3, 0.5)
    side = rng.integers(3)
    if side == 0:
        return (-cut, 0.05, -cut + reach * 1.05, 0.95)
    if side == 1:
        return (1 + cut - reach * 1.05, 0.05, 1 + cut, 0.95)
    return (0.05, 1 + cut - reach * 1.05, 0.95, 1 + cut)


def _shrink(parts: Image, size: int) -> Image:
    """Part map at the size of the drawing: the commonest part where half the pixel is bird."""
    best = total = np.zeros((size, size), np.uint8)
    label = total
    for k in range(1, len(PART_NAMES)):
        plane = cv2.compare(parts, k, cv2.CMP_EQ)  # 255 where equal
        share = cv2.resize(plane, (size, size), interpolation=cv2.INTER_AREA)
        label = np.where(share > best, np.uint8(k), label)
        best, total = np.maximum(best, share), cv2.add(total, share)
    return np.where(total >= 128, label, np.uint8(0))


def _box(parts: Image) -> tuple[int, int, int, int]:
    x, y, w, h = cv2.boundingRect(parts)
    return x, y, x + w, y + h


# ------------------------------------------------------------------------------------- dataset


class Aviary(torch.utils.data.Dataset[dict[str, Any]]):
    """The drawings of one split, made when they are asked for.

    Drawing `index` depends on `seed`, the split and `index` only, so splits never share a drawing
    and the first drawings of a longer dataset are those of a shorter one. Labels are balanced.

    Args:
        split: "train", "val" (held-out selection), "test" or "pretrain".
        task: "species" (label: int) or "coarse" (label: dict of ints, `COARSE_ATTRIBUTES`).
        variant: "every_part" or "head_only"; only for species.
        size: side of the drawings in pixels.
        length: number of drawings; default 1000, 300, 1000 and 4000 by split.
        seed: another seed gives other drawings of the same species.
        transform: called as `transform(image, boxes, masks, rng)`; None gives the image as float
            [3, H, W] in 0..1, with boxes and masks as drawn.
        difficulties: name in `DIFFICULTIES` -> probability in 0..1.

    Raises:
        ValueError: an unknown name, or a value out of range.
    """

    def __init__(
        self,
        split: str = "train",
        task: str = "species",
        variant: str = "every_part",
        size: int = 110,
        length: int | None = None,
        seed: int = 0,
        transform: Callable[..., dict[str, Any]] | None = None,
        difficulties: Mapping[str, float] | None = None,
    ) -> None:
        _choose("Split", split, tuple(SPLITS))
        _choose("Task", task, TASKS)
        _choose("Variant", variant, VARIANTS)
        self.length = SPLITS[split] if length is None else length
        if self.length < 1:
            raise ValueError(f"length is {length}; expected at least 1 drawing.")
        if size < 32:
            raise ValueError(f"size is {size}; expected at least 32 pixels: raise it.")
        if seed < 0:
            raise ValueError(f"seed is {seed}; expected 0 or more.")
        self.split, self.task, self.variant = split, task, variant
        self.size, self.seed, self.transform, self.epoch = size, seed, transform, 0
        self.difficulties = check_difficulties(difficulties)
        self.classes = [species.name for species in SPECIES]
        if task == "coarse":
            self.classes = [f"{k}={v}" for k, vs in COARSE_ATTRIBUTES.items() for v in vs]
        self.num_classes = len(self.classes)

    def __len__(self) -> int:
        return self.length

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, on which the randomness of the transform depends."""
        self.epoch = epoch

    def drawing(self, index: int) -> Drawing:
        """The drawing at `index` with all its truth, before any transform."""
        if not 0 <= index < self.length:
            raise IndexError(f"index is {index}; expected 0..{self.length - 1}.")
        seed = [self.seed, list(SPLITS).index(self.split), index]
        traits = random_traits(np.random.default_rng([*seed, 99])) if self.task == "coarse" else None
        return draw_bird(
            seed, self.size, label=index % len(SPECIES), traits=traits, variant=self.variant,
            difficulties=self.difficulties,
        )  # fmt: skip

    def __getitem__(self, index: int) -> dict[str, Any]:
        drawing = self.drawing(index)
        boxes = torch.from_numpy(drawing.boxes).float()
        if self.transform is None:
            image = torch.from_numpy(drawing.image).permute(2, 0, 1).float() / 255
            mask, parts = torch.from_numpy(drawing.mask), torch.from_numpy(drawing.parts)
            item: dict[str, Any] = {"image": image, "boxes": boxes, "mask": mask, "parts": parts}
        else:
            rng = np.random.default_rng([self.seed, self.epoch, index])
            masks = {"mask": drawing.mask, "parts": drawing.parts}
            item = self.transform(PILImage.fromarray(drawing.image), boxes, masks, rng)
        return item | {
            "label": drawing.label,
            "path": f"aviary/{self.split}/{index:05d}",
            "size": (self.size, self.size),
            "index": index,
        }
