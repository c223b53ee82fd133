"""Backgrounds, perches and clutter of the Aviary dataset (see `satkit.data.aviary`).

Everything is painted in place on a uint8 RGB canvas. Lengths are fractions of the canvas side, so
that a drawing looks the same at every size.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt

from satkit._cv2 import cv2

Image = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
Color = tuple[float, float, float]
Rng = np.random.Generator

SCENES = ("foliage", "sky", "water", "meadow", "rocks", "snow", "dusk")
PERCHES = {
    "foliage": ("branch",),
    "sky": ("branch", "flight"),
    "water": ("water", "water", "flight"),
    "meadow": ("ground",),
    "rocks": ("ground",),
    "snow": ("ground", "branch"),
    "dusk": ("branch", "branch", "flight"),
}
HORIZONS = {"water": (0.1, 0.4), "meadow": (0.05, 0.4), "rocks": (0.1, 0.45), "snow": (0.2, 0.55)}

GREENS: tuple[Color, ...] = ((52, 84, 34), (78, 112, 44), (112, 138, 58), (148, 158, 72))
BROWNS: tuple[Color, ...] = ((64, 48, 36), (92, 70, 50), (124, 98, 72), (150, 128, 98))
GREYS: tuple[Color, ...] = ((86, 86, 84), (118, 116, 112), (148, 146, 140), (172, 168, 160))
#: Clutter in the colours of plumage, so that colour alone does not segment the bird.
ACCENTS: tuple[Color, ...] = (
    (170, 44, 44), (206, 122, 44), (214, 180, 66), (70, 96, 160), (116, 76, 140),
    (226, 222, 214), (50, 46, 48), (140, 92, 58), (150, 150, 152), (52, 124, 122),
)  # fmt: skip

_FAR = {  # colour stops from the top of a far background to its bottom
    "foliage": ((150, 170, 110), (96, 124, 62), (58, 84, 42), (34, 52, 30)),
    "sky": ((92, 138, 190), (136, 172, 208), (178, 200, 220), (206, 214, 220)),
    "water": ((126, 150, 118), (96, 120, 86), (78, 98, 70), (66, 84, 62)),
    "meadow": ((174, 190, 158), (142, 164, 104), (108, 134, 70), (84, 110, 54)),
    "rocks": ((176, 190, 200), (154, 160, 160), (124, 126, 120), (98, 98, 90)),
    "snow": ((150, 164, 182), (174, 186, 198), (196, 204, 212), (214, 220, 226)),
    "dusk": ((70, 66, 106), (142, 92, 112), (206, 128, 96), (236, 174, 108)),
}
_NEAR = {  # colour stops of the ground below the horizon
    "water": ((150, 168, 172), (112, 140, 150), (80, 112, 126), (58, 86, 100)),
    "meadow": ((138, 150, 84), (106, 126, 62), (84, 104, 48), (62, 78, 38)),
    "rocks": ((150, 146, 136), (128, 122, 110), (104, 98, 88), (80, 76, 70)),
    "snow": ((206, 212, 222), (218, 224, 230), (230, 234, 238), (238, 240, 242)),
}


def noise(
    rng: Rng, shape: tuple[int, int], cells: tuple[int, int], method: int = cv2.INTER_LINEAR
) -> Image:
    """Smooth noise of 0..255, [*shape], from a grid of `cells` (rows, columns) random values."""
    grid = rng.integers(0, 256, cells, dtype=np.uint8)
    return cv2.resize(grid, shape[::-1], interpolation=method)  # type: ignore[return-value]


def cloudy(rng: Rng, shape: tuple[int, int], stretch: float = 1.0) -> npt.NDArray[np.int32]:
    """Noise of three octaves around 0, about -128..128; `stretch` > 1 draws it out sideways."""
    columns = max(6, round(28 / stretch))
    total = np.zeros((28, columns), np.uint8)
    for rows, weight in ((3, 0.45), (7, 0.33), (17, 0.22)):
        octave = noise(rng, total.shape, (rows, max(2, round(rows / stretch))), cv2.INTER_CUBIC)
        total = cv2.addWeighted(total, 1, octave, weight, 0)  # type: ignore[assignment]
    return cv2.resize(total, shape[::-1]).astype(np.int32) - 128


def ramp(stops: tuple[Color, ...], tint: npt.NDArray[np.float64]) -> Image:
    """A [256, 3] table of colours that passes through `stops`, shifted by `tint`."""
    at = np.linspace(0, 255, len(stops))
    table = np.stack(
        [np.interp(np.arange(256), at, channel) for channel in zip(*stops, strict=True)], axis=1
    )
    return np.clip(table + tint, 0, 255).astype(np.uint8)


def vary(rng: Rng, color: Color, spread: float = 12.0) -> Color:
    """A colour near `color`: another brightness, and a little of another hue."""
    light, *hue = rng.standard_normal(4).tolist()
    r, g, b = (
        min(255.0, max(0.0, c + spread * (light + h / 3))) for c, h in zip(color, hue, strict=True)
    )
    return r, g, b


def tone(color: Color, factor: float) -> Color:
    """A colour made darker (factor < 1) or lighter (> 1)."""
    r, g, b = (min(255.0, c * factor) for c in color)
    return r, g, b


def spline(points: Points, steps: int = 5, closed: bool = True) -> Points:
    """Catmull-Rom curve through `points` [n, 2], with `steps` points to each span."""
    if closed:
        p = np.concatenate([points[-1:], points, points[:2]])
    else:
        p = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    spans = np.stack([p[:-3], p[1:-2], p[2:-1], p[3:]], axis=1)  # [n, 4, 2]
    curve = (_catmull_rom(steps) @ spans).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, p[-2:-1]])


@cache
def _catmull_rom(steps: int) -> npt.NDArray[np.float64]:
    """Weights [steps, 4] of a span's four points."""
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    basis = np.array([(0, 2, 0, 0), (-1, 0, 1, 0), (2, -5, 4, -1), (-1, 3, -3, 1)]) / 2
    return t ** np.arange(4) @ basis


def tube(axis: Points, widths: npt.ArrayLike) -> Points:
    """Outline [2n, 2] of a band along `axis` [n, 2] with half-widths `widths` [n]."""
    padded = np.concatenate([2 * axis[:1] - axis[1:2], axis, 2 * axis[-1:] - axis[-2:-1]])
    along = padded[2:] - padded[:-2]
    length = np.sqrt((along * along).sum(1)) + 1e-9
    offset = along[:, ::-1] * [-1, 1] * (np.asarray(widths) / length)[:, None]
    return np.concatenate([axis + offset, (axis - offset)[::-1]])


def fill(canvas: Image, outline: Points, color: Color | int) -> None:
    """Fill a polygon given in canvas pixels, at a sixteenth of a pixel."""
    cv2.fillPoly(canvas, [np.round(outline * 16).astype(np.int32)], color, cv2.LINE_8, 4)  # type: ignore[arg-type]


_LEAF = np.array(
    [(0, 0), (0.2, 0.8), (0.5, 1), (0.8, 0.6), (1, 0), (0.8, -0.6), (0.5, -1), (0.2, -0.8)]
)
_RIB = (4 * _LEAF[:, 0] * (1 - _LEAF[:, 0]))[:, None]


def leaf(canvas: Image, rng: Rng, at: Points, length: float, angle: float, color: Color) -> Points:
    """Paint a leaf with a lit half; `length` in pixels. Returns its outline."""
    broad, bend = rng.uniform(0.16, 0.3), rng.uniform(-0.15, 0.15)
    c, s = math.cos(angle) * length, math.sin(angle) * length
    turn = np.array([[c, s], [-s, c]])
    rib = bend * _RIB * turn[1]
    outline = _LEAF * [1, broad] @ turn + rib + at
    fill(canvas, outline, color)
    lit = np.concatenate([outline[:5], (_LEAF * [1, 0] @ turn + rib + at)[3:0:-1]])
    fill(canvas, lit, tone(color, 1.22))
    return outline


def leaves(canvas: Image, rng: Rng, count: int, length: tuple[float, float]) -> None:
    """Scatter leaves, most of them green, some in the colours of plumage."""
    side = canvas.shape[0]
    for _ in range(count):
        colors = ACCENTS if rng.random() < 0.15 else GREENS
        color = vary(rng, colors[rng.integers(len(colors))], 14)
        at = rng.uniform(-0.05, 1.05, 2) * side
        leaf(canvas, rng, at, rng.uniform(*length) * side, rng.uniform(0, 2 * np.pi), color)


def berry(canvas: Image, at: Points, radius: float, color: Color) -> None:
    """A lit ball: a berry, a blossom or a bokeh disc; in pixels."""
    x, y = (at * 16).astype(int).tolist()
    cv2.circle(canvas, (x, y), int(radius * 16), color, -1, cv2.LINE_8, 4)
    lit = (x - int(5 * radius), y - int(5 * radius))
    cv2.circle(canvas, lit, int(7 * radius), tone(color, 1.3), -1, cv2.LINE_8, 4)


def spots(
    canvas: Image, rng: Rng, count: int, radius: tuple[float, float], top: float = 0.0
) -> None:
    """Scatter blossoms or bokeh discs in the colours of plumage below `top`."""
    side = canvas.shape[0]
    for _ in range(count):
        at = rng.uniform((0, top), 1) * side
        color = vary(rng, ACCENTS[rng.integers(len(ACCENTS))])
        berry(canvas, at, rng.uniform(*radius) * side, color)


def blades(canvas: Image, rng: Rng, count: int, top: float, colors: tuple[Color, ...]) -> None:
    """Grass blades or reeds that grow from below `top`."""
    side = canvas.shape[0]
    for color in colors:
        x, y = rng.uniform(0, 1, count), rng.uniform(top, 1.15, count)
        height = rng.uniform(0.06, 0.24, count) * (0.4 + y - top)
        lean = rng.normal(0, 0.35, count) * height
        thick = rng.uniform(0.003, 0.008, count)
        base_left, base_right = np.stack([x - thick, y], 1), np.stack([x + thick, y], 1)
        tip = np.stack([x + lean, y - height], 1)
        bend = np.stack([x + lean * 0.3 + thick, y - height * 0.6], 1)
        polygons = np.stack([base_left, tip, bend, base_right], axis=1) * side
        polygons = np.round(polygons * 16).astype(np.int32)
        tone = vary(rng, color)
        for polygon in polygons:
            cv2.fillConvexPoly(canvas, polygon, tone, cv2.LINE_8, 4)


_AROUND = np.linspace(0, 2 * np.pi, 8, endpoint=False)
_OVAL = np.stack([np.cos(_AROUND) * 1.3, np.sin(_AROUND) * 0.75], axis=1)


def stone(
    canvas: Image, rng: Rng, center: Points, radius: float, color: Color, smooth: bool = False
) -> None:
    """Paint a stone lit from above (fractions of the side); `smooth` suits a large one."""
    side = canvas.shape[0]
    shape = spline(_OVAL * (radius * rng.uniform(0.8, 1.15, 8))[:, None], 3)
    lean, steps = rng.uniform(-0.3, 0.3), 18 if smooth else 6
    fill(canvas, (shape * 1.04 + center + [0, 0.1 * radius]) * side, tone(color, 0.4))
    for k in np.linspace(0, 1, steps):
        up = np.array([lean, -0.55]) * (0.55 * k * radius)
        outline = (shape * (1 - 0.68 * k) + center + up) * side
        fill(canvas, outline, tone(color, (0.62 + 0.5 * k) * rng.uniform(0.98, 1.02)))


def stones(canvas: Image, rng: Rng, count: int, top: float, radius: tuple[float, float]) -> None:
    """Scatter stones below `top`; some in the colours of plumage."""
    for y in np.sort(rng.uniform(top, 1.05, count)):
        colors = ACCENTS if rng.random() < 0.22 else GREYS
        color = vary(rng, colors[rng.integers(len(colors))], 14)
        center = np.array([rng.uniform(-0.05, 1.05), y])
        stone(canvas, rng, center, rng.uniform(*radius) * (0.4 + y - top), color)


_LENGTHWISE = np.linspace(0, 1, 7)


def branch(
    canvas: Image, rng: Rng, start: Points, end: Points, width: float, taper: float = 0.75
) -> Points:
    """Paint a branch from `start` to `end` (fractions of the side); returns its outline."""
    side = canvas.shape[0]
    color = vary(rng, BROWNS[rng.integers(len(BROWNS))], 10)
    axis = start + (end - start) * _LENGTHWISE[:, None]
    axis[[1, 2, 4, 5]] += rng.normal(0, width * 0.4, (4, 2))
    widths = width / 2 * (1.1 + (taper - 1.1) * _LENGTHWISE) * rng.uniform(0.85, 1.15, 7)
    outline = tube(spline(axis, 3, closed=False), np.repeat(widths, 3)[1:-1]) * side
    fill(canvas, outline, tone(color, 0.6))
    across = abs(end[0] - start[0]) > abs(end[1] - start[1])
    up = np.array([-0.05, -0.16] if across else [-0.16, 0.0])
    middle = (outline + outline[::-1]) / 2
    for k in range(1, 4):
        shade = middle + (outline - middle) * (1 - 0.26 * k) + up * (width * side * k * 0.7)
        fill(canvas, shade, tone(color, 0.6 + 0.22 * k))
    for k in range(6):  # bark
        shift = rng.uniform(-0.4, 0.4) * width * np.array([0.3, 1] if across else [1, 0.3])
        a = rng.integers(0, 4)
        line = np.round((axis[a : a + 3] + shift) * (side * 16)).astype(np.int32)
        cv2.polylines(canvas, [line], False, tone(color, 0.5 if k % 2 else 0.85), 1, cv2.LINE_8, 4)
    return outline


def twig(canvas: Image, rng: Rng, start: Points, end: Points, width: float) -> None:
    """Paint a thin branch with leaves, berries or nothing on it."""
    branch(canvas, rng, start, end, width, 0.25)
    foliage(canvas, rng, start, end, int(rng.integers(0, 6)), (0.05, 0.13))


def foliage(
    canvas: Image, rng: Rng, start: Points, end: Points, count: int, length: tuple[float, float]
) -> None:
    """Hang `count` leaves or berries on the line from `start` to `end`."""
    side = canvas.shape[0]
    berries = rng.random() < 0.35
    colors = ACCENTS if berries or rng.random() < 0.25 else GREENS
    color = colors[rng.integers(len(colors))]
    for _ in range(count):
        at = (start + (end - start) * rng.random()) * side
        reach = rng.uniform(*length) * side
        if berries:
            at[1] += reach * 0.15
            berry(canvas, at, reach * 0.17, vary(rng, color, 8))
        else:
            leaf(canvas, rng, at, reach, rng.uniform(0, 2 * np.pi), vary(rng, color, 14))


def far(rng: Rng, scene: str, side: int, horizon: float) -> Image:
    """The out-of-focus background of a scene, [side, side, 3]."""
    down = np.linspace(0, 255, side).astype(np.int32)[:, None]
    strength = {"foliage": 0.8, "sky": 0.5, "dusk": 0.35}.get(scene, 0.4)
    stretch = 2.5 if scene in ("sky", "dusk") else 1.0
    field = down + (cloudy(rng, (side, side), stretch) * (strength * rng.uniform(0.7, 1.5))).astype(
        int
    )
    tint = rng.normal(0, 12) + rng.normal(0, 6, 3)
    canvas = ramp(_FAR[scene], tint)[np.clip(field, 0, 255)]
    if scene == "sky" and rng.random() < 0.7:
        cover = np.clip(cloudy(rng, (side, side), 2.0) * 3 - rng.integers(-40, 100), 0, 170)
        canvas = (canvas + (232 - canvas.astype(np.int32)) * cover[..., None] // 255).astype(
            np.uint8
        )
    if scene == "foliage":
        leaves(canvas, rng, int(rng.integers(10, 26)), (0.1, 0.35))
        spots(canvas, rng, int(rng.integers(0, 9)), (0.015, 0.06))
    if horizon < 1:
        spots(canvas, rng, int(rng.integers(0, 6)), (0.01, 0.05))
        if rng.random() < 0.5:
            blades(canvas, rng, 8, 0.0, GREENS[:3] if scene != "snow" else BROWNS[:2])
    width = int(rng.uniform(0.02, 0.05) * side) * 2 + 1
    return cv2.blur(cv2.blur(canvas, (width, width)), (width, width))  # type: ignore[return-value]


def near(canvas: Image, rng: Rng, scene: str, horizon: float) -> None:
    """Paint the ground, water or snow below `horizon`, whose edge is soft and uneven."""
    side = canvas.shape[0]
    top = int(horizon * side)
    shape = (side - top, side)
    field = np.linspace(0, 255, shape[0])[:, None].astype(np.int32)
    if scene == "water":
        ripple = noise(rng, shape, (int(40 * (1 - horizon)) + 4, 5)).astype(np.int32) - 128
        field = field * 2 // 3 + 40 + cloudy(rng, shape, 3.0) // 2
        field = field + ripple * rng.integers(10, 45) // 100
    else:
        field = field + cloudy(rng, shape) * (30 if scene == "snow" else 80) // 100
    tint = rng.normal(0, 10) + rng.normal(0, 6, 3)
    ground = ramp(_NEAR[scene], tint)[np.clip(field, 0, 255)]
    edge = min(shape[0], max(2, int(rng.uniform(0.03, 0.12) * side)))
    wavy = np.linspace(0, 384, edge).astype(np.int32)[:, None]
    if scene != "water":
        wavy = wavy - noise(rng, (edge, side), (3, 12)) // 2
    veil = np.clip(wavy, 0, 255)[..., None]
    behind = canvas[top : top + edge].astype(np.int32)
    ground[:edge] = (behind + (ground[:edge] - behind) * veil // 255).astype(np.uint8)
    canvas[top:] = ground


def clutter(canvas: Image, rng: Rng, scene: str, horizon: float) -> None:
    """Sharp things in the bird's own depth: twigs, leaves, berries, stones, grass."""
    several = rng.integers(0, 5, 4)
    if scene == "meadow":
        blades(canvas, rng, int(rng.integers(14, 34)), horizon, (*GREENS, (168, 152, 88)))
        spots(canvas, rng, int(several[0]) * 2, (0.006, 0.02), horizon + 0.1)
    elif scene == "rocks":
        stones(canvas, rng, int(rng.integers(5, 13)), horizon, (0.06, 0.26))
    elif scene in ("water", "snow"):
        stones(canvas, rng, int(several[0]), horizon + 0.05, (0.04, 0.16))
        blades(canvas, rng, int(several[1]) * 2, horizon, BROWNS[1:3])
    if scene in ("foliage", "snow", "dusk", "sky") or rng.random() < 0.3:
        for _ in range(int(several[1])):
            outside = rng.uniform(-0.1, 0.9, 2)
            outside[rng.integers(2)] = rng.choice([-0.1, 1.1])
            twig(canvas, rng, outside, rng.uniform(0, 1, 2), rng.uniform(0.01, 0.03))
    if scene == "foliage":
        leaves(canvas, rng, int(several[2]) * 3, (0.07, 0.2))


def grain(canvas: Image, rng: Rng, scene: str, horizon: float) -> None:
    """Give the near part of the background a fine texture, strongest on land."""
    top = int(horizon % 1 * canvas.shape[0])
    near = canvas[top:]
    depth = {"meadow": 34, "rocks": 34, "foliage": 16}.get(scene, 8)
    cells = (int(90 * near.shape[0] / near.shape[1]) + 1, 90)
    texture = noise(rng, near.shape[:2], cells) // np.uint8(256 // depth) + np.uint8(
        128 - depth // 2
    )
    cv2.multiply(near, cv2.merge([texture] * 3), dst=near, scale=1 / 128)


def background(rng: Rng, scene: str, side: int, ceiling: float = 1.0) -> Image:
    """A whole background, [side, side, 3], whose horizon is not below `ceiling`."""
    horizon = 1.0
    if scene in HORIZONS:
        horizon = max(0.0, min(float(rng.uniform(*HORIZONS[scene])), ceiling))
    canvas = cv2.resize(far(rng, scene, max(48, side // 4), horizon), (side, side))
    if horizon < 1:
        near(canvas, rng, scene, horizon)  # type: ignore[arg-type]
    clutter(canvas, rng, scene, horizon)  # type: ignore[arg-type]
    canvas = cv2.blur(canvas, (3, 3))
    grain(canvas, rng, scene, horizon)  # type: ignore[arg-type]
    return canvas  # type: ignore[return-value]
