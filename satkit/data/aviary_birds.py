"""The birds of the Aviary dataset (see `satkit.data.aviary`): traits, poses, plumage, shading.

A bird is a list of outlines, each in the local frame of its part (a 3x3 matrix), so that plumage is
painted in coordinates that turn with the part. Local units: the trunk is about 1 long, +u points
to the bill, +v to the belly; wings and tail run backwards from their roots.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from satkit._cv2 import cv2
from satkit.data.aviary_scenes import Image, Points, Rng, noise, spline, tube, vary

Field = npt.NDArray[np.float32]
Frame = npt.NDArray[np.float64]

HEAD, WING, BODY, TAIL = 1, 2, 3, 4

COLORS: dict[str, tuple[float, float, float]] = {
    "crimson": (176, 36, 44), "orange": (222, 122, 38), "golden": (230, 188, 56),
    "olive": (116, 122, 62), "teal": (42, 128, 128), "blue": (52, 94, 172),
    "violet": (112, 72, 148), "white": (234, 232, 224), "black": (42, 40, 44),
    "brown": (116, 80, 52), "grey": (134, 138, 144), "buff": (204, 174, 128),
    "rufous": (164, 84, 46),
}  # fmt: skip
STRIPES = ("plain", "brow", "eyeline", "mask")
BEAKS = {  # length, depth, droop of the tip; in head radii
    "fine": (0.75, 0.2, 0.05), "cone": (0.7, 0.5, 0.1), "long": (1.6, 0.22, 0.2),
    "hooked": (0.85, 0.38, 0.32),
}  # fmt: skip
PATTERNS = ("plain", "streaked", "barred", "spotted", "scaled")
TAILS = ("square", "forked", "rounded", "pointed")
BUILDS = {"slim": 0.8, "medium": 1.0, "round": 1.22}


class Traits(NamedTuple):
    """What tells one kind of bird from another; colours are names in `COLORS`."""

    crown: str
    face: str
    throat: str
    stripe: str
    beak: str
    crest: bool
    back: str
    breast: str
    pattern: str
    wing: str
    bar: str
    bars: int
    tail: str
    tip: str
    tail_shape: str
    long_tail: bool
    build: str


class Pose(NamedTuple):
    """How a bird holds itself: angles in degrees, up and forward positive."""

    perch: str
    left: bool
    pitch: float
    gaze: float
    turned: bool
    neck: float
    tail_angle: float
    wing_angle: float
    spread: float
    legs: float


class Region(NamedTuple):
    """One outline of a bird, in the local frame of its part."""

    name: str
    part: int
    frame: Frame
    outline: Points


def frame(
    x: float, y: float, degrees: float = 0.0, scale: float = 1.0, mirror: bool = False
) -> Frame:
    """Local to outer coordinates; `mirror` makes +u point the other way, +v stays."""
    c, s = np.cos(np.radians(degrees)) * scale, np.sin(np.radians(degrees)) * scale
    u = -1.0 if mirror else 1.0
    return np.array([[c * u, -s, x], [s * u, c, y], [0, 0, 1]])


def place(matrix: Frame, points: Points) -> Points:
    """Points [n, 2] of a frame in the outer coordinates."""
    return np.asarray(points) @ matrix[:2, :2].T + matrix[:2, 2]


def random_pose(rng: Rng, perch: str) -> Pose:
    """Draw a pose that fits what the bird stands on."""
    low, high = {"branch": (15, 62), "ground": (0, 40), "water": (-4, 16), "flight": (-12, 35)}[
        perch
    ]
    flying = perch == "flight"
    open_wing = flying or rng.random() < 0.15
    raised = rng.random() < 0.65
    return Pose(
        perch=perch,
        left=bool(rng.random() < 0.5),
        pitch=float(rng.uniform(low, high)),
        gaze=float(rng.normal(6, 14) + (18 if rng.random() < 0.12 else 0)),
        turned=bool(not flying and rng.random() < 0.12),
        neck=float(rng.uniform(0.0, 0.16)),
        tail_angle=float(rng.normal(0, 12)),
        wing_angle=float(
            (rng.uniform(45, 105) if raised else rng.uniform(-75, -35)) if flying
            else rng.uniform(18, 60) if open_wing else rng.normal(2, 3)
        ),
        spread=float(rng.uniform(0.75, 1.0) if flying else rng.uniform(0.3, 0.6) * open_wing),
        legs=float(rng.uniform(0.02, 0.22) + (0.12 if perch == "ground" else 0.0)),
    )  # fmt: skip


def _trunk(r: float) -> Points:
    return spline(np.array([
        (-0.58, -0.04), (-0.3, -0.15 * r), (0.05, -0.25 * r), (0.36, -0.27 * r), (0.54, -0.12),
        (0.58, 0.08), (0.42, 0.27 * r), (0.1, 0.37 * r), (-0.22, 0.26 * r), (-0.5, 0.08),
    ]))  # fmt: skip


def _skull(crest: bool, rng: Rng) -> Points:
    points = np.array([
        (1.0, 0.05), (0.85, -0.5), (0.4, -0.88), (-0.2, -0.98), (-0.75, -0.72), (-1.05, -0.1),
        (-1.02, 0.6), (-0.55, 1.05), (0.2, 0.95), (0.8, 0.55),
    ])  # fmt: skip
    points[1:8] += rng.normal(0, 0.035, (7, 2))
    if crest:
        lift = rng.uniform(0.3, 0.75)
        points[4] += (-0.55 * lift - 0.1, -0.8 * lift)
        points[3] += (0, -0.1)
    return spline(points)


def _beak(kind: str, rng: Rng) -> tuple[Points, Points]:
    length, depth, droop = BEAKS[kind]
    length *= rng.uniform(0.72, 1.08)
    gape = rng.uniform(0.0, 0.18) * (rng.random() < 0.2)
    tip = (0.85 + length, 0.08 + droop)
    upper = np.array([
        (0.7, -0.3 - depth * 0.6), (0.95, -0.1 - depth * 0.7), (0.85 + length * 0.6, -depth * 0.42),
        tip, (0.85 + length * 0.5, 0.1), (0.7, 0.12),
    ])  # fmt: skip
    lower = np.array([
        (0.7, 0.08), (0.85 + length * 0.55, 0.1 + gape),
        (0.85 + length * 0.9, 0.1 + droop * 0.6 + gape),
        (0.85 + length * 0.4, 0.14 + depth * 0.45 + gape), (0.7, 0.14 + depth * 0.65),
    ])  # fmt: skip
    return upper, lower


def _tail(shape: str, length: float, fan: float) -> Points:
    w = 0.085 + fan
    ends = {
        "square": [(1.0, -w), (1.01, 0), (1.0, w)],
        "forked": [(1.05, -w * 1.25), (0.74, 0.0), (1.05, w * 1.25)],
        "rounded": [
            (0.84, -w * 1.2),
            (0.97, -w * 0.75),
            (1.02, 0),
            (0.97, w * 0.75),
            (0.84, w * 1.2),
        ],
        "pointed": [(0.55, -w), (0.8, -w * 0.5), (1.08, 0), (0.8, w * 0.5), (0.55, w)],
    }[shape]
    points = [(-0.16, -0.1), (0.0, -0.1), *ends, (0.0, 0.1), (-0.16, 0.1)]
    return np.array(points) * [length, 1.0]


def _wing(spread: float, r: float, rng: Rng) -> Points:
    """Outline of a wing from folded (spread 0) to open (1)."""
    length = rng.uniform(0.86, 1.02) * (1 + 0.28 * spread)
    lead = np.array([(-0.1, 0.0), (0.02, -0.14), (0.32, -0.17), (0.62, -0.12), (1.0, -0.01)])
    trail = np.array([(0.78, 0.08), (0.5, 0.155), (0.22, 0.165), (0.02, 0.12)])
    trail[:, 1] += spread * np.array([0.22, 0.3, 0.32, 0.26])
    if spread < 0.25:
        return spline(np.concatenate([lead, trail])) * [length, r]
    edge = spline(np.concatenate([lead[-1:], trail]), 4, closed=False)[:-1]
    fingers = edge + np.where(np.arange(len(edge)) % 2, 0.03, -0.03)[:, None] * [0.6, 1.0] * spread
    return np.concatenate([spline(lead, 4, closed=False), fingers[1:]]) * [length, 1.0]


def build(traits: Traits, pose: Pose, rng: Rng) -> list[Region]:
    """All outlines of a bird in painting order; frames lead to the bird's own coordinates."""
    r = BUILDS[traits.build] * rng.uniform(0.9, 1.1)
    trunk = frame(0, 0, -pose.pitch)
    size = rng.uniform(0.205, 0.24) * (0.9 + 0.1 * r)
    neck = np.array([0.5 + 0.6 * pose.neck, -0.2 * r - 0.12 - pose.neck])
    if pose.perch == "flight":
        neck = np.array([0.66 + pose.neck, -0.1])
    x, y = place(trunk, neck[None])[0]
    head = frame(x, y, -pose.gaze * (-1 if pose.turned else 1), size, pose.turned)
    tail = trunk @ frame(-0.46, -0.01, pose.tail_angle, 1.0, True)
    wing = trunk @ frame(0.33, -0.1 * r, pose.wing_angle, 1.0, True)
    length = (0.86 if traits.long_tail else 0.52) * rng.uniform(0.85, 1.15)
    fan = rng.uniform(0.0, 0.05) + (0.1 if pose.perch == "flight" else 0.0)
    regions = [Region("tail", TAIL, tail, _tail(traits.tail_shape, length, fan))]
    if pose.spread > 0.25:
        far = trunk @ frame(0.36, -0.12 * r, pose.wing_angle + rng.uniform(-28, 28), 1.0, True)
        regions.insert(0, Region("far wing", WING, far, _wing(pose.spread, r, rng)))
    if pose.perch in ("branch", "ground"):
        regions += _legs(trunk, r, pose, rng)
    collar = tube(np.array([(0.22, -0.02), (0.42, -0.12), neck]), [0.24 * r, 0.23 * r, size * 0.8])
    upper, lower = _beak(traits.beak, rng)
    return [
        *regions,
        Region("body", BODY, trunk, spline(collar, 3)),
        Region("body", BODY, trunk, _trunk(r)),
        Region("lower beak", HEAD, head, lower),
        Region("beak", HEAD, head, upper),
        Region("head", HEAD, head, _skull(traits.crest, rng)),
        Region("wing", WING, wing, _wing(pose.spread, r, rng)),
    ]


def _legs(trunk: Frame, r: float, pose: Pose, rng: Rng) -> list[Region]:
    hips = place(trunk, np.array([(-0.06, 0.26 * r), (0.08, 0.3 * r)]))
    ground = hips[:, 1].max() + pose.legs
    regions = []
    for hip in hips:
        foot = np.array([hip[0] + rng.uniform(0.0, 0.1), ground])
        ankle = (hip + foot) / 2 - [rng.uniform(0.03, 0.08), 0]
        leg = tube(np.array([hip - [0, 0.1], ankle, foot]), [0.04, 0.017, 0.017])
        toes = np.array([(-0.07, 0.0), (0.0, -0.022), (0.1, -0.005), (0.13, 0.02), (0.0, 0.012)])
        regions += [
            Region("leg", BODY, np.eye(3), leg),
            Region("leg", BODY, np.eye(3), foot + toes),
        ]
    return regions


def bounds(regions: list[Region]) -> npt.NDArray[np.float64]:
    """Box (x0, y0, x1, y1) of a bird in its own coordinates."""
    points = np.concatenate([place(region.frame, region.outline) for region in regions])
    return np.concatenate([points.min(0), points.max(0)])


# ------------------------------------------------------------------------------------- plumage


def _step(x: Field, width: float) -> Field:
    """A soft step from 0 to 1 around x = 0."""
    return np.clip(x / np.float32(width) + np.float32(0.5), 0, 1)


def _mix(a: Field, b: Field, amount: Field) -> Field:
    return a + (b - a) * amount


def _wave(x: Field) -> Field:
    """Triangle wave of period 1 between -0.5 and 0.5."""
    return 2 * np.abs(x - np.floor(x) - np.float32(0.5)) - np.float32(0.5)


def _column(color: tuple[float, float, float]) -> Field:
    return np.array(color, np.float32)[:, None]


class Plumage:
    """The colours of one individual, and the painters of its parts.

    Args:
        traits: what the kind of bird looks like.
        rng: gives the individual's own tones and the grain of its feathers.
    """

    def __init__(self, traits: Traits, rng: Rng) -> None:
        self.traits = traits
        self.tone = {  # each [3, 1]
            name: _column(vary(rng, COLORS[value], 11))
            for name, value in traits._asdict().items()
            if isinstance(value, str) and value in COLORS
        }
        dark = rng.random() < 0.6
        self.tone["beak"] = _column(vary(rng, (58, 52, 50) if dark else (196, 140, 62)))
        self.tone["leg"] = _column(vary(rng, (82, 66, 58) if dark else (176, 116, 74)))
        self.strength = np.float32(rng.uniform(0.6, 0.95))
        self.grain = noise(rng, (256, 256), (64, 64)).ravel()
        self.shift = rng.integers(0, 256, 2)

    def noise(self, u: Field, v: Field, fu: float, fv: float) -> Field:
        """Feather noise of -0.5..0.5 with `fu`, `fv` grains to a unit of length."""
        x = (u * np.float32(4 * fu) + np.float32(self.shift[0] + 512)).astype(np.int32) & 255
        y = (v * np.float32(4 * fv) + np.float32(self.shift[1] + 512)).astype(np.int32) & 255
        return self.grain[(y << 8) + x].astype(np.float32) / np.float32(255) - np.float32(0.5)

    def paint(self, name: str, u: Field, v: Field) -> Field:
        """Colours [3, n] of the pixels of one region at local coordinates `u`, `v` [n]."""
        if name in ("beak", "lower beak", "leg"):
            color = self.tone["leg" if name == "leg" else "beak"]
            dim = np.float32(0.75 if name == "lower beak" else 1.0)
            return np.broadcast_to(color * dim, (3, len(u)))
        scale = 0.22 if name == "head" else 1.0
        barbs = self.noise(u, v, 9 * scale, 34 * scale)
        fluff = self.noise(u, v, 16 * scale, 16 * scale)
        color = getattr(self, "_" + name.replace("far ", ""))(u, v, fluff)
        shade = 1 + np.float32(0.22) * barbs + np.float32(0.12) * fluff
        if name == "far wing":
            shade = shade * np.float32(0.72)
        return color * shade

    def _body(self, u: Field, v: Field, fluff: Field) -> Field:
        tone, back = self.tone, self.tone["back"]
        under = _step(v + np.float32(0.16) * fluff, 0.2)
        vent = _step(v - u * np.float32(0.9) - np.float32(0.35) + np.float32(0.15) * fluff, 0.35)
        belly = tone["breast"] * np.float32(0.6) + np.float32(0.4) * np.float32(225)
        color = _mix(_mix(back, tone["breast"], under), belly, vent * under)
        spots = self._pattern(u, v, fluff)
        ink = np.float32(40) if tone["breast"].mean() > 105 else np.float32(205)
        dark = tone["back"] * np.float32(0.3) + ink * np.float32(0.7)
        return _mix(
            color, dark, spots * (np.float32(0.25) + np.float32(0.75) * under) * self.strength
        )

    def _pattern(self, u: Field, v: Field, fluff: Field) -> Field:
        kind = self.traits.pattern
        if kind == "plain":
            return np.zeros_like(u)
        if kind == "streaked":
            return _step(self.noise(u, v, 7, 22) - np.float32(0.06), 0.15)
        if kind == "barred":
            return _step(
                _wave(u * 11 + v * v * 6 + fluff * np.float32(0.6)) - np.float32(0.12), 0.3
            )
        row = np.floor(v * 10)
        a = u * 9 + row * np.float32(0.5)
        a = a - np.floor(a) - np.float32(0.5)
        b = v * 10 - row - np.float32(0.5)
        if kind == "spotted":
            return _step(np.float32(0.1) - a * a - b * b + fluff * np.float32(0.16), 0.1)
        arc = a * a * 2 + (b + np.float32(0.3)) ** 2  # scaled: pale feathers with dark edges
        return _step(arc - np.float32(0.5) + fluff * np.float32(0.3), 0.25)

    def _head(self, u: Field, v: Field, fluff: Field) -> Field:
        tone, stripe = self.tone, self.traits.stripe
        top = _step(np.float32(-0.32) - v + u * np.float32(0.08) + fluff * np.float32(0.35), 0.2)
        nape = _step(np.float32(-0.62) - u + fluff * np.float32(0.4), 0.3)
        chin = _step(v - np.float32(0.42) - np.float32(0.25) * (u - np.float32(0.3)) ** 2
                     + fluff * np.float32(0.3), 0.2)  # fmt: skip
        color = _mix(_mix(tone["face"], tone["throat"], chin), tone["crown"], np.maximum(top, nape))
        if stripe == "plain":
            return color
        middle, half, ink = {
            "brow": (-0.4, 0.1, 232.0), "eyeline": (-0.1, 0.1, 28.0), "mask": (-0.02, 0.3, 24.0)
        }[stripe]  # fmt: skip
        off = np.abs(v - np.float32(middle) + u * np.float32(0.06) + fluff * np.float32(0.1))
        band = _step(np.float32(half) - off, 0.1) * _step(u + np.float32(0.8), 0.2)
        return _mix(color, np.full((3, 1), ink, np.float32), band * np.float32(0.92))

    def _wing(self, u: Field, v: Field, fluff: Field) -> Field:
        tone = self.tone
        quills = _wave(v * 16 + u * np.float32(1.5))  # flight feathers run along the wing
        flight = _step(u + v * np.float32(0.9) - np.float32(0.42), 0.12)
        color = _mix(tone["wing"], tone["wing"] * np.float32(0.62) + 6, flight)
        edge = _step(np.float32(-0.3) - quills, 0.2) * flight
        color = _mix(color, tone["wing"] * np.float32(0.6) + 92, edge * np.float32(0.7))
        row = np.floor(u * 11)
        a = v * 12 + row * np.float32(0.5)
        a = a - np.floor(a) - np.float32(0.5)
        arc = (
            a * a * np.float32(2) + (u * np.float32(11) - row) - np.float32(0.85)
        )  # coverts lie like roof tiles
        edges = _step(arc, 0.3) * (np.float32(0.6) - np.float32(0.6) * flight)
        color = _mix(color, tone["wing"] * np.float32(0.55), edges)
        for k in range(self.traits.bars):
            along = u + v * np.float32(0.7) - np.float32(0.22 + 0.16 * k) + fluff * np.float32(0.05)
            color = _mix(color, tone["bar"], _step(np.float32(0.032) - np.abs(along), 0.03))
        return color

    def _tail(self, u: Field, v: Field, fluff: Field) -> Field:
        tone = self.tone
        quills = _step(np.float32(-0.28) - _wave(v * 18), 0.25)
        color = _mix(tone["tail"], tone["tail"] * np.float32(0.5), quills * np.float32(0.8))
        reach = np.float32(0.68 if self.traits.long_tail else 0.4)
        return _mix(color, tone["tip"], _step(u - reach + fluff * np.float32(0.06), 0.06))


def rasterize(canvas: Image, regions: list[Region], world: Frame, plumage: Plumage,
              lean: float) -> Image:  # fmt: skip
    """Paint a bird onto `canvas`, in place, and light it from above.

    Args:
        canvas: uint8 [S, S, 3].
        regions: the outlines, in painting order.
        world: frame of the bird on the canvas.
        plumage: its colours.
        lean: where the light comes from, -1 (left) .. 1 (right).

    Returns:
        The bird's parts, uint8 [S, S].
    """
    side = canvas.shape[0]
    drawn = np.zeros((side, side), np.uint8)  # 1 + index of the topmost region
    frames = [world @ region.frame for region in regions]
    for k, (region, matrix) in enumerate(zip(regions, frames, strict=True)):
        points = np.round(place(matrix, region.outline) * 16).astype(np.int32)
        cv2.fillPoly(drawn, [points], k + 1, cv2.LINE_8, 4)  # type: ignore[call-overload]
    parts = np.array([0, *(region.part for region in regions)], np.uint8)[drawn]
    shade = light(parts, float(world[1, 1]), lean).ravel()
    pixels, bird = canvas.reshape(-1, 3), np.flatnonzero(drawn)
    top = drawn.ravel()[bird]
    order = np.argsort(top, kind="stable")  # pixels of one region after another
    bird, ends = bird[order], np.cumsum(np.bincount(top, minlength=len(regions) + 1))
    ys, xs = (axis.astype(np.float32) for axis in np.divmod(bird.astype(np.int32), np.int32(side)))
    for region, matrix, start, end in zip(regions, frames, ends[:-1], ends[1:], strict=True):
        if end > start:
            at = slice(start, end)
            u, v = _local(matrix, xs[at], ys[at])
            color = plumage.paint(region.name, u, v) * shade[bird[at]]
            pixels[bird[at]] = np.clip(color, 0, 255).astype(np.uint8).T
    return parts


def _local(matrix: Frame, xs: Field, ys: Field) -> tuple[Field, Field]:
    """Local coordinates of the canvas pixels `xs`, `ys`."""
    (a, b, x), (c, d, y) = matrix[:2].tolist()
    det = a * d - b * c
    u = xs * np.float32(d / det) - ys * np.float32(b / det) - np.float32((x * d - y * b) / det)
    v = ys * np.float32(a / det) - xs * np.float32(c / det) - np.float32((y * a - x * c) / det)
    return u, v


_HEIGHT = np.array([0, 225, 215, 165, 130], np.uint8)


def light(parts: Image, scale: float, lean: float) -> Field:
    """Shade of a bird lit from above: the slope of a soft relief of its parts.

    Args:
        parts: uint8 [S, S], the parts of this bird only.
        scale: length of the trunk in pixels.
        lean: where the light comes from, -1 (left) .. 1 (right).

    Returns:
        Factors on the colours, about 0.4..1.45, float [S, S].
    """
    relief: npt.NDArray[Any] = cv2.resize(
        _HEIGHT[parts], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA
    )
    half = scale / 2
    fine = cv2.blur(relief, (max(1, int(half * 0.05)) * 2 + 1,) * 2)
    soft = cv2.blur(
        cv2.blur(relief, (int(half * 0.13) * 2 + 1,) * 2), (int(half * 0.09) * 2 + 1,) * 2
    )
    slope = _slope(soft, half * 0.07, lean) + _slope(fine, half * 0.025, lean) * np.float32(0.35)
    shade = np.clip(slope / np.float32(255) + np.float32(0.96), 0.42, 1.45)
    return cv2.resize(shade, parts.shape[::-1])  # type: ignore[return-value]


def _slope(field: npt.NDArray[Any], reach: float, lean: float) -> Field:
    """How much lower `field` is towards the light than away from it."""
    h, w = field.shape
    d = max(1, round(reach))
    s = round(d * lean)
    wide = cv2.copyMakeBorder(field, d, d, d, d, cv2.BORDER_REPLICATE).astype(np.float32)
    return wide[2 * d :, d - s : d - s + w] - wide[:h, d + s : d + s + w]


def eye(canvas: Image, head: Frame, ring: bool) -> None:
    """Paint the eye with its highlight; `head` is the head's frame on the canvas."""
    radius = float(np.sqrt(abs(np.linalg.det(head[:2, :2]))))
    x, y = place(head, np.array([(0.36, -0.14)]))[0]
    dots = [(0, 0, 0.2, (24, 18, 16)), (-0.06, -0.07, 0.07, (240, 240, 236))]
    if ring:
        dots.insert(0, (0, 0, 0.27, (222, 214, 196)))
    for dx, dy, r, color in dots:
        at = (int((x + dx * radius) * 16), int((y + dy * radius) * 16))
        cv2.circle(canvas, at, max(8, int(r * radius * 16)), color, -1, cv2.LINE_8, 4)
