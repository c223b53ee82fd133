"""Localizers by name: SAT and the methods that the paper compares it with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from satkit import backbones
from satkit.checkpoints import read_weights
from satkit.choices import check_choice
from satkit.methods.cam import CAM
from satkit.methods.tscam import TSCAM
from satkit.model import SAT

METHODS: dict[str, Callable[..., nn.Module]] = {"sat": SAT, "cam": CAM, "tscam": TSCAM}


def list_methods() -> list[str]:
    """Names that :func:`create_model` takes."""
    return list(METHODS)


def create_model(
    method: str = "sat",
    backbone: str = "deit_small_patch16_224",
    num_classes: int = 1000,
    *,
    pretrained: bool = False,
    image_size: int = 224,
    drop_path: float = 0.0,
    checkpoint: str | Path | None = None,
    **options: Any,
) -> nn.Module:
    """Create a localizer.

    Args:
        method: One of :func:`list_methods`.
        backbone: A plain ViT by its timm name, or the shipped ``vit_pico_convstem8_96``.
        num_classes: C.
        pretrained: Start from the backbone's pretrained weights.
        image_size: Side of the square input in pixels.
        drop_path: Stochastic depth of the last block, 0–1.
        checkpoint: Weights to load: a backbone's (timm's keys), or a whole localizer's as a run
            saves them.
        **options: The method's own, for SAT :class:`satkit.model.SAT`'s.

    Returns:
        A module that maps ``(images, labels=None)`` to :class:`satkit.model.Localization`.

    Raises:
        ValueError: Unknown method, backbone or option, or weights that do not fit.
        FileNotFoundError: ``checkpoint`` does not exist.
    """
    check_choice("method", method, METHODS)
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}; expected at least 1")
    weights = read_weights(checkpoint) if checkpoint is not None else {}
    whole = any(key.startswith("backbone.") for key in weights)
    vit = backbones.create_backbone(
        backbone,
        pretrained=pretrained and not whole,
        image_size=image_size,
        drop_path=drop_path,
        checkpoint=None if whole else checkpoint,
    )
    try:
        model = METHODS[method](vit, num_classes, **options)
    except TypeError as error:
        raise ValueError(f"method {method!r} does not take these options: {error}") from error
    if whole:
        load_weights(model, weights, f"{method} on {backbone} with {num_classes} classes")
    return model


def load_weights(model: nn.Module, weights: dict[str, Any], expected: str) -> None:
    """Load a whole localizer's weights.

    Args:
        model: The localizer.
        weights: Its state dict.
        expected: What the model is, for the message.

    Raises:
        ValueError: The weights belong to another model.
    """
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"the checkpoint does not fit {expected}: {error}; give the method, backbone, image "
            "size and number of classes that it was trained with"
        ) from error
