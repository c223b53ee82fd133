"""Weights from files: safetensors, or the authors' files with ``weights_only=True``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from satkit import backbones
from satkit.model import SAT


def read_weights(path: str | Path) -> dict[str, Any]:
    """Read a file of weights without running any code in it.

    Args:
        path: ``.safetensors``, or a file of ``torch.save`` that holds tensors only.

    Returns:
        What the file holds: a state dict, perhaps inside ``{"model": …}``.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file cannot be read as weights.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {str(path)!r} does not exist; give a file of weights")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:  # whose text advises to open the file unsafely
        raise ValueError(
            f"checkpoint {str(path)!r} cannot be read as weights; expected .safetensors, or a file "
            "of torch.save that holds tensors only"
        ) from error
    except (SafetensorError, RuntimeError, EOFError) as error:
        raise ValueError(f"checkpoint {str(path)!r} cannot be read as weights: {error}") from error
    return content


def load_official_checkpoint(
    path_or_state_dict: str | Path | Mapping[str, Any], backbone: str
) -> SAT:
    """Build SAT with the weights of the authors' code.

    Args:
        path_or_state_dict: File that ``torch.save`` wrote (opened with ``weights_only=True``) or
            its content; names may start with ``module.`` and may lie inside ``{"model": …}``.
        backbone: The timm name of its backbone, for instance ``deit_small_patch16_224``.

    Returns:
        SAT with three spatial-aware blocks; classes and image size are read from the weights.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The weights are not SAT's, or belong to another backbone.
    """
    if isinstance(path_or_state_dict, str | Path):
        path_or_state_dict = read_weights(path_or_state_dict)
    content = dict(path_or_state_dict)
    state = {k.removeprefix("module."): v for k, v in content.get("model", content).items()}
    state.pop("weight", None)  # the fixed smoothing kernel; it belongs to the loss
    missing = {"loc_token", "loc_embed", "head.weight", "pos_embed"} - set(state)
    if missing:
        raise ValueError(f"these are not SAT's weights: {', '.join(sorted(missing))} missing")
    own = ("loc_token", "loc_embed", "head.")
    state = {k if k.startswith(own) else f"backbone.{k}": v for k, v in state.items()}
    vit = backbones.create_backbone(backbone)
    patch = vit.patch_embed.img_size[0] // backbones.grid_size(vit)[0]  # stem included
    side = round((state["backbone.pos_embed"].shape[1] - vit.num_prefix_tokens) ** 0.5)
    if side * patch != 224:
        vit = backbones.create_backbone(backbone, image_size=side * patch)
    model = SAT(vit, num_classes=state["head.weight"].shape[0])
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"the weights do not fit backbone {backbone!r}: {error}") from error
    return model
