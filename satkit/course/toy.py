"""A toy like that of lesson 04: maps without a network, which losses act on directly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

SIDE = 12  # patches a side of the maps


def draw_evidence(seed: int = 0, images: int = 6) -> Tensor:
    """Evidence for the class, of round objects: 1 on the object, 0 elsewhere.

    Args:
        seed: Of places and sizes.
        images: B.

    Returns:
        Float [B, 12, 12].
    """
    rng = np.random.default_rng(seed)
    radius = rng.uniform(2.5, 4, (images, 1, 1))
    center = rng.uniform(4, SIDE - 5, (2, images, 1, 1))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    inside = (rows - center[0]) ** 2 + (columns - center[1]) ** 2 < radius**2
    return torch.tensor(inside, dtype=torch.float32)


def cls_loss(maps: Tensor, evidence: Tensor, skip: float = 1.0) -> Tensor:
    """Cross-entropy of a toy classifier of two classes, which sees what the map lets through.

    The score of an image is s = 20 · mean((maps + skip) · evidence), with the mean over its
    patches; the loss is the mean of log(1 + exp(−s)) over the images.

    Args:
        maps: [B, h, w], 0–1.
        evidence: [B, h, w], for the right class.
        skip: How much of the evidence a skip connection carries around the map, 0–1.

    Returns:
        Scalar > 0.
    """
    scores = 20 * ((maps + skip) * evidence).mean(dim=(1, 2))  # [B]
    return softplus(-scores).mean()


def descend(
    loss: Callable[[Tensor, Tensor, float], Tensor], evidence: Tensor, target: float
) -> Tensor:
    """Let a loss act on maps that start at about 0.5, for 100 steps of gradient descent.

    Args:
        loss: Takes maps [B, h, w], evidence [B, h, w] and λ, and returns a scalar.
        evidence: [B, h, w].
        target: λ, the share of the images that the objects cover.

    Returns:
        Maps [B, h, w], 0–1.
    """
    logits = 0.5 * torch.randn(evidence.shape, generator=torch.Generator().manual_seed(0))
    logits.requires_grad_()
    optimizer = torch.optim.SGD([logits], lr=0.5 * logits.numel())
    for _ in range(100):
        optimizer.zero_grad()
        loss(logits.sigmoid(), evidence, target).backward()
        optimizer.step()
    return logits.detach().sigmoid()
