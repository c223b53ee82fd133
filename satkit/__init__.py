"""Spatial-Aware Token (SAT) for weakly supervised object localization: model, losses, metrics."""

from satkit import boxes, data, losses, metrics, results
from satkit.checkpoints import load_official_checkpoint
from satkit.evaluate import evaluate
from satkit.methods import create_model, list_methods
from satkit.model import Localization
from satkit.notebooks import configure
from satkit.settings import TrainSettings
from satkit.train import train

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
    "results",
    "train",
]
