"""Spatial-Aware Token (SAT) for weakly supervised object localization: model, losses, metrics.

Names are imported when they are first used: choosing the settings of a notebook needs no torch.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from satkit import boxes, data, losses, metrics, paper, results, stats
    from satkit.checkpoints import load_official_checkpoint
    from satkit.evaluation import evaluate
    from satkit.methods import create_model, list_methods
    from satkit.model import Localization
    from satkit.notebooks import configure
    from satkit.settings import TrainSettings
    from satkit.training import train

__version__ = "0.1.0"

__all__ = [
    "Localization",
    "TrainSettings",
    "boxes",
    "configure",
    "create_model",
    "data",
    "evaluate",
    "list_methods",
    "load_official_checkpoint",
    "losses",
    "metrics",
    "paper",
    "results",
    "stats",
    "train",
]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    ["boxes", "data", "losses", "metrics", "paper", "results", "stats"],
    {
        "checkpoints": ["load_official_checkpoint"],
        "evaluation": ["evaluate"],
        "methods": ["create_model", "list_methods"],
        "model": ["Localization"],
        "notebooks": ["configure"],
        "settings": ["TrainSettings"],
        "training": ["train"],
    },
)
