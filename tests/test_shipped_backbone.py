"""The backbone that ships with satkit: its file, its model card and the script that made it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import typer
from safetensors.torch import load_file
from typer.testing import CliRunner

from satkit.backbones import create_backbone
from satkit.weights import SHIPPED_BACKBONE, SHIPPED_WEIGHTS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The training script, imported from its file."""
    path = ROOT / "data_scripts" / "train_backbone.py"
    spec = importlib.util.spec_from_file_location("train_backbone", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look up their annotations
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    """The result file beside the weights."""
    loaded: dict[str, Any] = json.loads(SHIPPED_WEIGHTS.with_suffix(".json").read_text())
    return loaded


def test_weights_are_small_and_those_of_the_result_file(result: dict[str, Any]) -> None:
    data = SHIPPED_WEIGHTS.read_bytes()
    assert len(data) == result["bytes"] <= 8_000_000
    assert hashlib.sha256(data).hexdigest() == result["sha256"]


def test_pretrained_loads_every_tensor() -> None:
    stored = load_file(SHIPPED_WEIGHTS)
    state = create_backbone(SHIPPED_BACKBONE, pretrained=True, image_size=96).state_dict()
    assert state.keys() == stored.keys()
    for key, value in state.items():
        torch.testing.assert_close(value, stored[key].to(value.dtype), rtol=0, atol=0)


def test_parameters_are_counted_in_the_result_file(result: dict[str, Any]) -> None:
    backbone = create_backbone(SHIPPED_BACKBONE, image_size=96)
    assert sum(p.numel() for p in backbone.parameters()) == result["parameters"] <= 4_000_000


def test_model_card_is_written_from_the_result_file(
    script: ModuleType, result: dict[str, Any]
) -> None:
    card = (SHIPPED_WEIGHTS.parent / "MODEL_CARD.md").read_text()
    assert card == script.model_card(result)
    changed = json.loads(json.dumps(result))
    changed["held_out"]["variance_explained"] = 0.0123
    assert "1.2%" in script.model_card(changed)


def test_held_out_drawings_were_not_trained_on(script: ModuleType, result: dict[str, Any]) -> None:
    assert result["recipe"]["drawings"] <= script.HELD_OUT_FROM
    assert result["held_out"]["student"]["probe_ap"] > 0.5
    assert re.fullmatch(r"[0-9a-f]{40}", result["provenance"]["commit"])


def test_probe_tells_separable_tokens_from_noise(script: ModuleType) -> None:
    rng = torch.Generator().manual_seed(0)
    parts = torch.zeros(20, 144, 5)
    parts[:, :100, 0] = 1.0  # ground
    parts[:, 100:110, 1] = 1.0  # head
    parts[:, 110:, 3] = 1.0  # body
    noise = torch.randn(20, 144, 16, generator=rng)
    signal = noise + 6 * (1 - parts[..., :1]) * torch.linspace(-1, 1, 16)
    separable, random = script.probe(signal, parts), script.probe(noise, parts)
    assert separable["probe_ap"] > 0.99 and separable["grouping_ap"] > 0.99
    assert abs(random["probe_ap"] - 44 / 144) < 0.08  # the share of bird tokens
    assert separable["recall_head"] > 0.9 and separable["recall_body"] > 0.9


def test_view_of_a_drawing_keeps_features_aligned(script: ModuleType) -> None:
    side, grid = script.SIDE, script.GRID
    cell = np.arange(grid * grid, dtype=np.float16).reshape(1, grid, grid, 1)
    pixels = np.kron(cell[0, ..., 0], np.ones((8, 8)))[None, ..., None]
    features = script.Features(
        images=np.repeat(pixels, 3, axis=3).astype(np.uint8),
        parts=np.zeros((1, side, side), np.uint8),
        patches=cell,
        tokens=np.zeros((1, 1), np.float16),
    )
    image, patch = script.cut(features, 0, 2, 1)
    assert image.shape == (96, 96, 3) and patch.shape == (12, 12, 1)
    np.testing.assert_array_equal(image[::8, ::8, 0], patch[..., 0].astype(np.uint8))


@pytest.mark.parametrize("minutes", ["0", "-1"])
def test_impossible_time_is_refused_before_any_work(
    script: ModuleType, minutes: str, tmp_path: Path
) -> None:
    app = typer.Typer()
    app.command()(script.main)
    outcome = CliRunner().invoke(app, ["--minutes", minutes, "--cache", str(tmp_path)])
    assert outcome.exit_code == 2
    assert not list(tmp_path.iterdir())
