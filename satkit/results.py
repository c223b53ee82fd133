"""Runs as files: what was asked, what came out, and where it came from.

``runs/<experiment>/<id>/`` holds ``settings.json``, ``provenance.json``, ``log.csv`` (one row an
epoch), ``steps.csv`` (one row a batch), ``metrics.json``, ``predictions.csv`` and
``model.safetensors``. ``metrics.json`` is written last: a run without it is not finished.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from satkit.checkpoints import read_weights
from satkit.data.fetch import write_whole
from satkit.methods import create_model, load_weights
from satkit.settings import TrainSettings

SOURCE = Path(__file__).parent
#: What a run's numbers depend on; figures, notebooks and the command line are not among it.
COMPUTING = (
    "model.py",
    "heads.py",
    "losses.py",
    "backbones.py",
    "conformer.py",
    "methods/*.py",
    "boxes.py",
    "_engine.py",
    "metrics.py",
    "data/*.py",
    "training.py",
    "evaluation.py",
    "distributed.py",
)


@dataclass(frozen=True)
class Run:
    """One finished or unfinished run.

    Attributes:
        dir: Its folder.
    """

    dir: Path

    @property
    def finished(self) -> bool:
        """Whether all files are there."""
        return (self.dir / "metrics.json").is_file()

    @property
    def state_file(self) -> Path:
        """Where an unfinished run goes on from."""
        return self.dir / "state.pt"

    @property
    def settings(self) -> TrainSettings:
        """What was asked."""
        return TrainSettings(**read_json(self.dir / "settings.json"))

    @property
    def provenance(self) -> dict[str, Any]:
        """Commit, date, device, versions, data and seconds."""
        return read_json(self.dir / "provenance.json")

    @property
    def metrics(self) -> dict[str, Any]:
        """Final numbers, in percent where they are accuracies."""
        return read_json(self.dir / "metrics.json")

    @property
    def log(self) -> pd.DataFrame:
        """One row an epoch: mean losses, and metrics where the epoch was evaluated."""
        return pd.read_csv(self.dir / "log.csv")

    @property
    def steps(self) -> pd.DataFrame:
        """One row a batch: losses and learning rate."""
        return pd.read_csv(self.dir / "steps.csv")

    @property
    def predictions(self) -> pd.DataFrame:
        """One row a test image: label, prediction, box, IoU."""
        return pd.read_csv(self.dir / "predictions.csv")

    @property
    def curve(self) -> pd.DataFrame:
        """Test accuracy at every threshold: ``threshold`` 0-1, ``gt_known``, ``top1_loc``."""
        return pd.read_csv(self.dir / "curve.csv")

    def curve_points(self, step: int = 5) -> dict[str, float]:
        """Every ``step``-th point of the GT-known curve as ``gt_known@0.05`` …, percent.

        Empty for runs of versions that wrote no curve, or without boxes.
        """
        if not (self.dir / "curve.csv").is_file():
            return {}
        points = self.curve.iloc[step - 1 :: step]
        pairs = zip(points["threshold"], points["gt_known"], strict=True)
        return {f"gt_known@{threshold:.2f}": value for threshold, value in pairs}

    @property
    def stale(self) -> str:
        """Why the numbers may differ from what today's code gives; empty where they do not."""
        if not self.finished:
            return "the run is not finished"
        if self.provenance["code"] != code_fingerprint():
            return f"the code has changed since commit {self.provenance['commit'][:8]}"
        return ""

    def summary(self) -> dict[str, Any]:
        """What a table needs to know: folder, settings, metrics, and provenance."""
        origin = {k: v for k, v in self.provenance.items() if k != "classes"}  # may be thousands
        return {
            "run": str(self.dir),
            "settings": self.settings.model_dump(mode="json"),
            "given": self.settings.given(),
            "metrics": self.metrics,
            "provenance": origin,
        }

    def model(self) -> nn.Module:
        """The trained localizer, in evaluation mode on the CPU."""
        model = build_model(self.settings, len(self.provenance["classes"]), pretrained=False)
        load_weights(model, read_weights(self.dir / "model.safetensors"), f"run {self.dir}")
        return model.eval()

    def banner(self) -> str:
        """One line that says where the numbers come from."""
        origin = self.provenance
        dirty = " with uncommitted changes" if origin["dirty"] else ""
        stale = f" (STALE: {self.stale})" if self.stale else ""
        return (
            f"run {self.dir.name}: commit {origin['commit'][:8]}{dirty}, {origin['date'][:16]}, "
            f"{origin['device']}, data {origin['data']}, seed {self.settings.seed}{stale}"
        )


def build_model(settings: TrainSettings, num_classes: int, pretrained: bool = True) -> nn.Module:
    """Create the localizer that settings describe.

    Args:
        settings: Of the run.
        num_classes: C, from the data set.
        pretrained: Load pretrained weights where the settings ask for them.

    Returns:
        An untrained localizer on a (pretrained) backbone.
    """
    classifier = None
    if settings.classifier and pretrained:  # a finished run holds the classifier's weights itself
        classifier = open_run(settings.classifier).model()
    return create_model(
        settings.method,
        settings.backbone,
        num_classes,
        pretrained=pretrained and settings.pretrained,
        image_size=settings.image_size,
        drop_path=settings.drop_path,
        checkpoint=(settings.checkpoint or None) if pretrained else None,
        classifier=classifier,
        **settings.options,
    )


def open_run(path: str | Path) -> Run:
    """Open a run's folder.

    Args:
        path: The folder, or a file in it.

    Returns:
        The run.

    Raises:
        FileNotFoundError: There is no run.
    """
    folder = Path(path)
    folder = folder.parent if folder.is_file() else folder
    if not (folder / "settings.json").is_file():
        raise FileNotFoundError(
            f"{str(path)!r} is no run: expected a folder with settings.json and "
            "model.safetensors, as `python -m satkit train` prints it"
        )
    return Run(folder)


def load(experiment: str | None = None, runs_dir: str | Path = "runs") -> pd.DataFrame:
    """All finished runs as a table.

    Args:
        experiment: Only this one; all where None.
        runs_dir: Folder of all runs.

    Returns:
        One row a run: its settings, its scalar metrics, ``commit``, ``date``, ``device``,
        ``stale`` and ``dir``. Empty where there is none.
    """
    rows = []
    for path in sorted(Path(runs_dir).glob(f"{experiment or '*'}/*/metrics.json")):
        run = Run(path.parent)
        scalars = {k: v for k, v in run.metrics.items() if isinstance(v, int | float | str)}
        origin = {k: run.provenance[k] for k in ("commit", "date", "device", "data")}
        rows.append(
            {**run.settings.model_dump(mode="json"), **scalars, **origin}
            | {"stale": run.stale, "dir": str(run.dir)}
        )
    return pd.DataFrame(rows)


def listing(runs_dir: str | Path = "runs") -> pd.DataFrame:
    """All runs of a folder, finished or not, for people to read.

    Args:
        runs_dir: Folder of all runs.

    Returns:
        One row a run: ``run`` (its folder), ``state`` (finished; stale, where the code has changed
        since; unfinished; unknown, where another version wrote its settings), ``Top-1 Loc`` and
        ``GT-known Loc`` in percent, ``date``, and ``settings``: what was asked beside its profile's
        defaults. Empty where there is none.
    """
    runs = [Run(path.parent) for path in sorted(Path(runs_dir).glob("*/*/settings.json"))]
    return pd.DataFrame([_line(run) for run in runs])


def _line(run: Run) -> dict[str, Any]:
    try:
        settings = run.settings
    except ValueError:
        return {"run": str(run.dir), "state": "unknown", "settings": ""}
    told = {"experiment", "runs_dir"}  # by the folder
    given = {name: value for name, value in settings.given().items() if name not in told}
    asked = " ".join(f"{name}={value}" for name, value in given.items())
    line = {"run": str(run.dir), "state": "unfinished", "settings": f"{settings.profile}: {asked}"}
    if not run.finished:
        return line
    return {
        **line,
        "state": "stale" if run.stale else "finished",
        "Top-1 Loc": run.metrics.get("top1_loc"),
        "GT-known Loc": run.metrics.get("gt_known"),
        "date": run.provenance["date"][:16],
    }


def device_name(device: torch.device | None = None) -> str:
    """What results say of where they were computed.

    Args:
        device: The device; where None, the machine's GPU, or the CPU where there is none.

    Returns:
        The GPU's name, or "cpu".
    """
    gpu = torch.cuda.is_available() if device is None else device.type == "cuda"
    return torch.cuda.get_device_name(device) if gpu else "cpu"


def device_slug(device: str) -> str:
    """A device's name as a part of a file's name: lower case, words joined by underscores."""
    return re.sub(r"\W+", "_", device).lower().strip("_")


def provenance(device: str, data: str) -> dict[str, Any]:
    """Where a result comes from.

    Args:
        device: ``cpu`` or the GPU's name.
        data: Fingerprint of the data.

    Returns:
        Commit, whether the tree was changed, date (UTC), device, name of the CPU, its number of
        cores, versions, data.
    """
    commit, dirty = commit_of_source()
    return {
        "commit": commit,
        "dirty": dirty,
        "code": code_fingerprint(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device,
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "data": data,
    }


def processor_name() -> str:
    """Name of the CPU, as far as the system tells it."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor()


def commit_of_source() -> tuple[str, bool]:
    """Commit of the checkout that this package lies in, and whether files in it were changed."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(SOURCE), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--", str(SOURCE)))
    except (OSError, subprocess.CalledProcessError):
        return "unknown", False


def code_fingerprint() -> str:
    """Short hash of the source files that numbers depend on."""
    digest = hashlib.sha256()
    for pattern in COMPUTING:
        for path in sorted(SOURCE.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file that is whole or not there."""
    write_atomically(path, json.dumps(content, indent=1, default=str) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Write a text file that is whole or not there."""
    write_whole(path, text.encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        FileNotFoundError: No such file.
    """
    content: dict[str, Any] = json.loads(path.read_text())
    return content
