"""Compositions of the Aviary dataset: birds in scenes, difficulties, and the camera.

See `satkit.data.aviary` for what the drawings are for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from satkit._cv2 import cv2
from satkit.data import aviary_birds as birds
from satkit.data import aviary_scenes as scenes
from satkit.data.aviary_scenes import SCENES, Image, Rng

Room = tuple[float, float, float, float]

#: the independent random streams of a drawing: a difficulty leaves the others' draws alone
STREAMS = ("truth", "coarse", "traits", "pose", "place", "scene", "plumage", "camera")
_TAG = 0xB12D  # keeps these streams apart from all others of the same seed
_SUPERSAMPLING = 2
_WATER = "water"


class Canvas(NamedTuple):
    """A finished drawing, without labels."""

    image: Image
    parts: Image
    boxes: npt.NDArray[np.int64]
    attributes: dict[str, Any]


class Actor(NamedTuple):
    """A bird that has its place but is not painted yet; `world` leads to fractions of the side."""

    pose: birds.Pose
    regions: list[birds.Region]
    world: birds.Frame

    def box(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 in fractions of the side; also beyond the frame."""
        placed = [region._replace(frame=self.world @ region.frame) for region in self.regions]
        x0, y0, x1, y1 = birds.bounds(placed).tolist()
        return x0, y0, x1, y1

    def base(self) -> npt.NDArray[np.float64]:
        """Where the bird stands or touches the water, [2]."""
        legs = [birds.place(r.frame, r.outline) for r in self.regions if r.name == "leg"]
        points = np.concatenate(legs or [birds.place(r.frame, r.outline) for r in self.regions])
        return birds.place(self.world, points[points[:, 1] > points[:, 1].max() - 0.06]).mean(0)


def stream(name: str, seed: Sequence[int]) -> Rng:
    """The generator of one of `STREAMS` for the drawing with this seed."""
    return np.random.default_rng([_TAG, STREAMS.index(name), *seed])


def compose(
    rngs: Mapping[str, Rng],
    size: int,
    traits: birds.Traits,
    context: int,
    truth: Mapping[str, bool],
) -> Canvas:
    """Draw a scene with its birds, through a camera.

    Args:
        rngs: a generator for each of `STREAMS`.
        size: side of the drawing in pixels.
        traits: what the birds look like.
        context: decides on the scene where `truth["context"]`.
        truth: difficulty -> whether this drawing has it.

    Returns:
        The drawing.
    """
    scene, perch = _setting(rngs["place"], context, truth)
    actors = [
        _enter(rngs, traits, perch, room, area) for room, area in _rooms(rngs["place"], truth)
    ]
    if truth["partial"]:
        actors = [_push_out(actor, rngs["place"]) for actor in actors]
    highest = min(float(actor.base()[1]) for actor in actors)
    ceiling = 1.0 if perch in ("branch", "flight") else highest - 0.06
    canvas = scenes.background(rngs["scene"], scene, size * _SUPERSAMPLING, ceiling)
    layers: list[Image] = []
    for actor in actors:
        layer = _paint(canvas, rngs, traits, scene, actor, truth["reflection"])
        layers = [np.where(layer > 0, np.uint8(0), seen) for seen in layers] + [layer]
    if truth["occlusion"]:
        for box in [_box(layer) for layer in layers]:
            _occlude(canvas, layers, rngs["place"], box)
    small = [_shrink(layer, size) for layer in layers]
    image = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    return Canvas(
        image=_camera(image, rngs["camera"]),  # type: ignore[arg-type]
        parts=np.maximum.reduce(small),
        boxes=np.array([_box(layer) for layer in small], np.int64),
        attributes={"scene": scene} | actors[0].pose._asdict(),
    )


def _setting(rng: Rng, context: int, truth: Mapping[str, bool]) -> tuple[str, str]:
    """The scene, and what the birds stand on."""
    scene, roll = SCENES[rng.integers(len(SCENES))], rng.random()
    if truth["context"]:
        scene = SCENES[context % len(SCENES)]
    if truth["reflection"]:
        return _WATER, _WATER
    perches = scenes.PERCHES[scene]
    return scene, perches[int(roll * len(perches))]


def _enter(
    rngs: Mapping[str, Rng], traits: birds.Traits, perch: str, room: Room, area: float
) -> Actor:
    """Draw a pose and find the bird's place."""
    pose = birds.random_pose(rngs["pose"], perch)
    regions = birds.build(traits, pose, rngs["pose"])
    return Actor(pose, regions, _fit(birds.bounds(regions), pose, rngs["place"], area, room))


def _fit(
    box: npt.NDArray[np.float64], pose: birds.Pose, rng: Rng, area: float,
    room: Room,
) -> birds.Frame:  # fmt: skip
    """The frame that puts a bird's `box` into `room` (x0, y0, x1, y1; fractions), about `area`."""
    w, h = box[2] - box[0], box[3] - box[1]
    width, height = room[2] - room[0], room[3] - room[1]
    scale = min(np.sqrt(area / (w * h)), 0.96 * width / w, 0.96 * height / h)
    slack = np.array([width - w * scale, height - h * scale])
    x, y = np.array(room[:2]) + slack * rng.beta(0.9, 0.9, 2)
    left = -box[2] if pose.left else box[0]
    return birds.frame(x - left * scale, y - box[1] * scale, 0.0, scale, pose.left)


def _paint(
    canvas: Image, rngs: Mapping[str, Rng], traits: birds.Traits, scene: str, actor: Actor,
    reflected: bool,
) -> Image:  # fmt: skip
    """Paint one bird with its perch, shadow and reflection; returns its part map."""
    side, scale, rng = canvas.shape[0], float(actor.world[1, 1]), rngs["scene"]
    if actor.pose.perch == "branch":
        _perch_branch(canvas, rng, actor.base(), scale)
    elif actor.pose.perch == "ground":
        _perch(canvas, rng, scene, actor.base(), scale)
    plumage = birds.Plumage(traits, rngs["plumage"])
    lean, ring = rngs["plumage"].uniform(-0.8, 0.8), bool(rngs["plumage"].random() < 0.3)
    pixels = np.diag([side, side, 1.0]) @ actor.world
    parts = birds.rasterize(canvas, actor.regions, pixels, plumage, lean)
    head = next(region for region in actor.regions if region.name == "head")
    birds.eye(canvas, pixels @ head.frame, ring)
    if actor.pose.perch == _WATER:
        waterline = min(side, int((actor.box()[3] - 0.07 * scale) * side))
        _swim(canvas, parts, waterline, rng)
        if reflected:
            _reflect(canvas, parts, waterline, rng)
    return parts


def _perch(
    canvas: Image, rng: Rng, scene: str, feet: npt.NDArray[np.float64], scale: float
) -> None:
    """Paint the stone under a bird's feet, and its contact shadow on any ground."""
    side = canvas.shape[0]
    if scene == "rocks":
        color = scenes.vary(rng, scenes.GREYS[rng.integers(4)], 14)
        radius = rng.uniform(0.5, 0.9) * scale
        center = np.array([feet[0] + rng.uniform(-0.2, 0.2) * scale, feet[1] + 0.6 * radius])
        scenes.stone(canvas, rng, center, radius, color, smooth=True)
    shadow = np.full((side, side), 255, np.uint8)
    x, y = (feet * side).astype(int).tolist()
    reach = scale * side
    axes = (int(0.45 * reach), int(0.07 * reach) + 1)
    cv2.ellipse(shadow, (x, y + int(0.02 * reach)), axes, 0, 0, 360, 135, -1)
    k = int(0.08 * reach) * 2 + 1
    shadow = cv2.blur(shadow, (k, k))  # type: ignore[assignment]
    cv2.multiply(canvas, cv2.merge([shadow] * 3), dst=canvas, scale=1 / 255)


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


def _occlude(canvas: Image, layers: list[Image], rng: Rng, box: Sequence[int]) -> None:
    """Lay a branch with leaves across `box`, and take it out of all part maps."""
    side = canvas.shape[0]
    x0, y0, x1, y1 = (value / side for value in box)
    middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2]) + rng.normal(0, 0.06, 2) * [x1 - x0, y1 - y0]
    upright = (x1 - x0) * rng.uniform(0.7, 1.3) > (y1 - y0)
    direction = np.array([rng.normal(0, 0.3), 1.0] if upright else [1.0, rng.normal(0, 0.3)])
    width = rng.uniform(0.12, 0.22) * min(x1 - x0, y1 - y0)
    covered = [
        scenes.branch(canvas, rng, middle - direction * 1.5, middle + direction * 1.5, width)
    ]
    for _ in range(int(rng.integers(2, 6))):
        at = (middle + direction * rng.uniform(-0.3, 0.3)) * side
        color = scenes.vary(rng, scenes.GREENS[rng.integers(4)], 14)
        length = rng.uniform(0.1, 0.22) * side
        covered.append(scenes.leaf(canvas, rng, at, length, rng.uniform(0, 2 * np.pi), color))
    for parts in layers:
        for outline in covered:
            scenes.fill(parts, outline, 0)


def _reflect(canvas: Image, parts: Image, waterline: int, rng: Rng) -> None:
    """Mirror the bird in the water below `waterline`, rippled, dimmed and faded."""
    rows = min(waterline, canvas.shape[0] - waterline)
    if rows < 2:
        return
    source = slice(waterline - rows, waterline)
    bird = canvas[source][::-1].astype(np.float32)
    fade = np.linspace(1, 0.65, rows, dtype=np.float32)[:, None] * rng.uniform(0.6, 0.85)
    alpha = cv2.blur((parts[source][::-1] > 0).astype(np.float32), (3, 5)) * fade
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


def _rooms(rng: Rng, truth: Mapping[str, bool]) -> list[tuple[Room, float]]:
    """Where each bird goes (x0, y0, x1, y1; fractions of the side) and the area of its box."""
    area = 0.15 * (0.55 / 0.15) ** rng.random()
    bottom = 0.66 if truth["reflection"] else 1.0
    if truth["multiple"]:
        cut = rng.uniform(0.42, 0.58)
        rooms = [(0.01, 0.02, cut, bottom), (cut, 0.02, 0.99, bottom)]
        return [(room, area * rng.uniform(0.5, 0.8)) for room in rooms]
    return [((0.02, 0.02, 0.98, bottom), area)]


def _push_out(actor: Actor, rng: Rng) -> Actor:
    """Move a bird so that 25-45 % of its box lies beyond one side of the frame."""
    x0, y0, x1, y1 = actor.box()
    cut = rng.uniform(0.25, 0.45)
    dx = (-x0 - cut * (x1 - x0), 1 - x1 + cut * (x1 - x0), 0.0, 0.0)
    dy = (0.0, 0.0, -y0 - cut * (y1 - y0), 1 - y1 + cut * (y1 - y0))
    side = rng.integers(4)
    return actor._replace(world=birds.frame(dx[side], dy[side]) @ actor.world)


def _shrink(parts: Image, size: int) -> Image:
    """Part map at the size of the drawing: the commonest part where half the pixel is bird."""
    best = label = np.zeros((size, size), np.uint8)
    total = np.zeros((size, size), np.int32)
    for k in (birds.HEAD, birds.WING, birds.BODY, birds.TAIL):
        plane = (parts == k) * np.uint8(255)
        share = cv2.resize(plane, (size, size), interpolation=cv2.INTER_AREA)
        label = np.where(share > best, np.uint8(k), label)
        best = np.maximum(best, share)  # type: ignore[assignment]
        total = total + share
    return np.where(total >= 128, label, np.uint8(0))


def _box(parts: Image) -> tuple[int, int, int, int]:
    x, y, w, h = cv2.boundingRect(parts)
    return x, y, x + w, y + h
