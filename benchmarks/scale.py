"""Measure what a step, a forward pass and a photograph cost on this machine.

    python benchmarks/scale.py                     # DeiT-T/S/B, this machine's device
    python benchmarks/scale.py --backbones deit_small_patch16_224 --batch-size 256

Writes ``results/scale_<device>.json`` (numbers and provenance) and the tables of ``docs/scale.md``,
which also work out from them what ImageNet costs. ``--show`` only writes the tables.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image

from satkit.cost import gmacs, inference_speed, parameter_count, training_memory, training_speed
from satkit.data import Transform, denormalize, load, read_image
from satkit.doctor import device_name
from satkit.results import build_model, provenance, read_json, write_json
from satkit.settings import TrainSettings

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
BACKBONES = "deit_tiny_patch16_224,deit_small_patch16_224,deit_base_patch16_224"
PHOTOGRAPH = (375, 500)  # h, w of a typical photograph of ImageNet
CLASSES = 1000


def main(
    backbones: Annotated[str, typer.Option(help="timm's names, separated by commas.")] = BACKBONES,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 32,
    show: Annotated[bool, typer.Option("--show", help="Only write the page's tables.")] = False,
) -> None:
    if not show:
        device = device_name()
        numbers = {
            "batch_size": batch_size,
            "threads": torch.get_num_threads(),
            "compute": {name: compute(name, batch_size) for name in backbones.split(",")},
            "loading": loading(),
        }
        name = re.sub(r"\W+", "_", device).lower().strip("_")
        origin = provenance(device, "random pixels, and drawings of Aviary as photographs")
        write_json(RESULTS / f"scale_{name}.json", {"numbers": numbers, "provenance": origin})
    write_page()
