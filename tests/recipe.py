"""Seeded weights and inputs: the same arrays that the authors' programs were given.

``fixtures/sat_tiny.npz`` and ``fixtures/tscam_tiny.npz`` hold what the authors' SAT and TS-CAM
answered (DeiT-Ti, 200 classes). Weights and images are drawn here again instead of being stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FIXTURES = Path(__file__).parent / "fixtures"


def draw_weights(shapes: Mapping[str, tuple[int, ...]], seed: int) -> tuple[dict[str, Tensor], str]:
    """Draw weights in the sorted order of their names; also return a hash over them."""
    random = np.random.RandomState(seed)
    digest, weights = hashlib.sha256(), {}
    for name in sorted(shapes):
        normal = random.standard_normal(shapes[name])
        values = _scaled(name, normal).astype(np.float32)
        digest.update(name.encode() + values.tobytes())
        weights[name] = torch.from_numpy(values)
    return weights, digest.hexdigest()


def _scaled(name: str, normal: np.ndarray) -> np.ndarray:
    if "norm" in name and name.endswith("weight"):
        return 1 + 0.1 * normal
    if name.endswith("bias"):
        return 0.02 * normal
    if normal.ndim == 3:
        return 0.3 * normal
    if name == "head.weight":
        return 0.02 * normal
    gain = 1.5 if name.endswith("attn.qkv.weight") else 0.7
    return gain * normal / np.sqrt(np.prod(normal.shape[1:]))


def draw_images(seed: int, batch: int = 4) -> Tensor:
    """Draw smooth noisy images [B, 3, 224, 224]."""
    random = np.random.RandomState(seed + 1)
    coarse = torch.from_numpy(random.standard_normal((batch, 3, 16, 16)))
    smooth = torch.nn.functional.interpolate(coarse, size=(224, 224), mode="bilinear")
    return (smooth + 0.3 * torch.from_numpy(random.standard_normal((batch, 3, 224, 224)))).float()


def official_names(model: torch.nn.Module) -> dict[str, str]:
    """Name in the authors' state dict -> name in ours."""
    return {name.removeprefix("backbone."): name for name in model.state_dict()}
