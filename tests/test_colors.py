"""Colours of figures are told apart by the colour-blind, too."""

import ast
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from skimage.color import deltaE_ciede2000, rgb2lab

from satkit.figures import COLORS, MAP_COLORS, paper

SATKIT = Path(paper.__file__).parents[1]
#: Colour maps whose lightness rises evenly, so that they survive even in grey
SAFE_MAPS = {"viridis", "cividis", "magma", "inferno", "plasma", "gray", "Greys"}
#: Loss of one kind of cones, on linear RGB: Machado, Oliveira, Fernandes, TVCG 2009, Table 1
SIGHT = {
    "normal": np.eye(3),
    "protanopia": np.array([
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ]),
    "deuteranopia": np.array([
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]),
}  # fmt: skip
APART = 11  # CIEDE2000; about ten times what can just be told apart side by side


def difference(a, b, sight: str) -> float:
    """CIEDE2000 between two sRGB colours as somebody with this sight sees them."""
    rgb = np.array([to_rgb(a), to_rgb(b)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ SIGHT[sight].T, 0, 1)
    shown = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    first, second = rgb2lab(shown[None])[0]
    return float(deltaE_ciede2000(first, second))


def test_the_simulation_knows_that_red_and_green_are_alike_to_a_deuteranope():
    red, green = (0.78, 0.44, 0.30), (0.54, 0.54, 0.30)
    assert difference(red, green, "normal") > 2 * difference(red, green, "deuteranopia")
    assert difference(red, red, "protanopia") == 0


@pytest.mark.parametrize("sight", SIGHT)
def test_any_two_colours_are_told_apart(sight):
    alike = {
        (i, j): round(d, 1)
        for i, j in combinations(range(len(COLORS)), 2)
        if (d := difference(COLORS[i], COLORS[j], sight)) < APART
    }
    assert alike == {}


@pytest.mark.parametrize("sight", SIGHT)
def test_cam_and_tscam_of_figure_5_are_not_alike(sight):
    cam, tscam = (COLORS[paper.LOOKS[name]] for name in ("CAM", "TS-CAM"))
    assert difference(cam, tscam, sight) > 25


def test_colour_maps_are_safe():
    used = {MAP_COLORS}
    for path in SATKIT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "cmap":
                used |= {node.value.value} if isinstance(node.value, ast.Constant) else set()
    assert used <= SAFE_MAPS
    assert "cividis" in used  # the search finds what is there
