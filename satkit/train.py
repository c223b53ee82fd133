"""The training loop: from settings to a run on disk, resumable at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, Dataset

from satkit import data
from satkit.checkpoints import read_weights
from satkit.evaluate import Outputs, collect, predictions, score
from satkit.losses import total_loss
from satkit.methods import METHODS
from satkit.model import freeze
from satkit.progress import Progress
from satkit.results import Run, build_model, provenance, write_atomically, write_json
from satkit.settings import TrainSettings

#: Data sets whose photographs do not fit into memory
_LARGE = ("imagenet", "tiny_imagenet", "openimages")

#: Seconds between two saved states within an epoch
SAVE_SECONDS = 60.0


def train(settings: TrainSettings, *, force: bool = False) -> Run:
    """Train and evaluate one localizer; a finished run of the same settings is only opened.

    Interrupt it at any time: called again, it goes on from the last saved state and, on a CPU,
    comes to the same numbers as if it had never stopped.

    Args:
        settings: What to train, on what, and how.
        force: Do a finished run again.

    Returns:
        The run, with its files under ``runs_dir/experiment/id``.

    Raises:
        FileNotFoundError: The data are not where ``data_root`` says.
        ValueError: Settings that do not fit the data.
        FloatingPointError: A loss became NaN or infinite; the last good state is kept.
    """
    settings = _after_first_stage(settings)
    sets = load_datasets(settings)
    fingerprint = sets["train"].fingerprint()
    run = Run(Path(settings.runs_dir) / settings.experiment / settings.id(fingerprint))
    if run.finished and not force:
        print(f"found {run.banner()}")
        return run
    run.dir.mkdir(parents=True, exist_ok=True)
    if force:
        for path in run.dir.iterdir():
            path.unlink()
    write_json(run.dir / "settings.json", settings.model_dump(mode="json"))
    loop = _Loop(settings, sets, run, fingerprint)
    loop.run_epochs()
    return run


def _after_first_stage(settings: TrainSettings) -> TrainSettings:
    """Train what has to be there before; return the settings of the run that stands on it."""
    alone = {"area_term": "none", "pixel_term": "none"}
    if METHODS[settings.method].classifier and not settings.classifier:
        first = {"method": "cam", "options": {}, **alone}
        run = train(TrainSettings(**{**settings.model_dump(), **first}))
        return settings.model_copy(update={"classifier": str(run.dir)})
    if settings.two_stage:
        run = train(TrainSettings(**{**settings.model_dump(), "two_stage": False, **alone}))
        update = {"checkpoint": str(run.dir / "model.safetensors"), "freeze": "all_but_token"}
        return settings.model_copy(update={"two_stage": False, **update})
    return settings


def load_datasets(settings: TrainSettings) -> dict[str, Any]:
    """Load the splits that a run needs.

    Args:
        settings: Of the run.

    Returns:
        ``train`` and ``test``, and ``val`` where epoch and threshold are chosen on held-out
        images.

    Raises:
        FileNotFoundError: The data are not there.
        ValueError: A number of images or shots that the set does not have.
    """
    splits: dict[str, Any] = {}
    wanted = ["train", "test"] + (["val"] if settings.selection == "held_out" else [])
    for split in wanted:
        transform = data.Transform(
            image_size=settings.image_size,
            resize_size=settings.resize_size,
            train=split == "train",
            protocol=settings.protocol,
            ten_crop=settings.ten_crop and split != "train" and settings.protocol == "sat",
        )
        splits[split] = data.load(
            settings.dataset, split, settings.data_root or None, transform, settings.seed,
            **_data_options(settings),
        )  # fmt: skip
    if settings.shots:
        splits["train"] = data.few_shot(splits["train"], settings.shots, settings.seed)
    splits["train"] = limit(splits["train"], settings.train_images)
    for split in wanted[1:]:
        splits[split] = limit(splits[split], settings.eval_images)
    return splits


def _data_options(settings: TrainSettings) -> dict[str, Any]:
    if settings.dataset == "aviary":
        return {"variant": settings.variant, "size": settings.resize_size}
    options: dict[str, Any] = {"cache": settings.dataset not in _LARGE}
    if settings.selection == "held_out":
        options["holdout"] = settings.holdout
    if settings.dataset == "birds":
        options["labels"] = settings.labels
    return options


def limit(dataset: Any, count: int) -> Any:
    """Keep ``count`` items, spread evenly over the data set; all where ``count`` is 0.

    Raises:
        ValueError: The data set has fewer items.
    """
    if not count:
        return dataset
    if count > len(dataset):
        raise ValueError(f"{count} images were asked for, but the data set has {len(dataset)}")
    spread = np.linspace(0, len(dataset) - 1, count).round().astype(int)
    return data.Selection(dataset, sorted({int(index) for index in spread}))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """AdamW's groups as in the official code: no decay for vectors and biases.

    Tokens and position embeddings are decayed, since the official code's list of exceptions is
    hidden behind its data-parallel wrapper.

    Args:
        model: The localizer; frozen parameters are left out.
        weight_decay: Of matrices, kernels, tokens and position embeddings.

    Returns:
        The decayed group, then the other.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    plain = [name for name, p in named if p.ndim == 1 or name.endswith(".bias")]
    return [
        {"params": [p for n, p in named if n not in plain], "weight_decay": weight_decay},
        {"params": [p for n, p in named if n in plain], "weight_decay": 0.0},
    ]


class _Loop:
    """State of one run: model, optimizer, where it stands, and what it has logged."""

    def __init__(
        self, settings: TrainSettings, sets: dict[str, Any], run: Run, fingerprint: str
    ) -> None:
        self.settings, self.sets, self.run = settings, sets, run
        torch.manual_seed(settings.seed)
        model: Any = build_model(settings, sets["train"].num_classes)
        if settings.freeze != "a":
            freeze(model, settings.freeze)
        self.accelerator = Accelerator(
            mixed_precision=_precision(settings.precision),
            gradient_accumulation_steps=settings.accumulation,
        )
        groups = parameter_groups(model, settings.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=settings.lr)
        self.model, self.optimizer = self.accelerator.prepare(model, self.optimizer)
        self.epoch = self.step = 0  # step: batches done in this epoch
        self.steps: list[dict[str, float]] = []
        self.epochs: list[dict[str, float]] = []
        self.seconds = 0.0
        self.best, self.best_epoch, self.threshold = -math.inf, 0, 0.0
        # taken now, since the source may change while a long run goes on
        self.origin = provenance(_device_name(self.accelerator.device), fingerprint)
        if not self._resume() and hasattr(model, "fit"):
            self._fit(model)

    def _fit(self, model: Any) -> None:
        """Let a method look at the training images once, before the first step."""
        model.to(self.accelerator.device)
        loader = DataLoader(
            self.sets["train"],
            self.settings.eval_batch_size,
            num_workers=self.settings.workers,
            collate_fn=data.collate,
        )
        label = f"{self.settings.method}: look at the training images"
        model.fit(Progress(loader, len(loader), label))

    @property
    def batches(self) -> int:
        """Batches an epoch (the last one may be smaller, as in the official CUB run)."""
        return math.ceil(len(self.sets["train"]) / self.settings.batch_size)

    def run_epochs(self) -> None:
        """Train the epochs that are left, evaluate, and write the run's files."""
        settings = self.settings
        first = settings.evaluate_from or settings.epochs
        while self.epoch < settings.epochs:
            self._run_epoch()
            row = self._epoch_losses()
            if self.epoch + 1 >= first:
                row |= self._judge_epoch()
            self.epochs.append(row)
            self.epoch, self.step = self.epoch + 1, 0
            self._save_state()
        self._finish()

    def _run_epoch(self) -> None:
        total = self.settings.epochs * self.batches
        done = self.epoch * self.batches + self.step
        label = f"train {self.settings.method} epoch {self.epoch + 1}/{self.settings.epochs}"
        progress = Progress(self._loader(), total, label, done)
        self.model.train()
        start = saved = time.monotonic()
        for batch in progress:
            losses = self._optimize(batch)
            progress.note = " ".join(f"{k} {v:.3f}" for k, v in losses.items())
            self.steps.append({"epoch": self.epoch, "step": self.step, "lr": self._lr(), **losses})
            self.step += 1
            now = time.monotonic()
            self.seconds, start = self.seconds + now - start, now
            if now - saved > SAVE_SECONDS:
                saved = now
                self._save_state()

    def _loader(self) -> Any:
        train_set: Dataset = self.sets["train"]
        train_set.set_epoch(self.epoch)  # type: ignore[attr-defined]
        loader = DataLoader(
            train_set,
            batch_sampler=list(self._batch_indices()),
            num_workers=self.settings.workers,
            collate_fn=data.collate,
            generator=torch.Generator(),  # else it draws from the model's, and resuming shifts it
        )
        return self.accelerator.prepare(loader)

    def _batch_indices(self) -> Iterator[list[int]]:
        """Batches of this epoch that are still to do; they depend on seed and epoch alone."""
        size = self.settings.batch_size
        order = np.random.default_rng([self.settings.seed, self.epoch])
        indices = order.permutation(len(self.sets["train"])).tolist()
        for start in range(self.step * size, len(indices), size):
            yield indices[start : start + size]

    def _optimize(self, batch: dict[str, Any]) -> dict[str, float]:
        settings = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = self._lr()
        with self.accelerator.accumulate(self.model):
            with self.accelerator.autocast():
                output = self.model(batch["image"], batch["label"])
            losses = total_loss(
                output.logits.float(),
                output.maps.float(),
                batch["label"],
                target_area=settings.target_area,
                area_term=settings.area_term,
                pixel_term=settings.pixel_term,
                smoothing=None if settings.smoothing == "none" else settings.smoothing,
                padding=settings.padding,
                own=output.losses,
            )
            values = {name: float(loss.detach()) for name, loss in losses.items()}
            self._check_finite(values)
            self.accelerator.backward(losses["total"])
            self.optimizer.step()
            self.optimizer.zero_grad()
        return values

    def _lr(self) -> float:
        settings = self.settings
        if settings.schedule == "constant":
            return settings.lr
        share = (self.epoch * self.batches + self.step) / (settings.epochs * self.batches)
        wave = (1 + math.cos(math.pi * share)) / 2
        return settings.min_lr + (settings.lr - settings.min_lr) * wave

    def _check_finite(self, losses: dict[str, float]) -> None:
        if all(map(math.isfinite, losses.values())):
            return
        raise FloatingPointError(
            f"the loss is not finite in epoch {self.epoch + 1}, batch {self.step + 1} ({losses}); "
            f"the last good state is kept in {self._state_file}. Lower lr "
            f"(now {self.settings.lr:g}) or use precision='fp32', or check the images"
        )

    def _epoch_losses(self) -> dict[str, float]:
        steps = pd.DataFrame(self.steps)
        return steps[steps["epoch"] == self.epoch].drop(columns="step").mean().to_dict()

    def _judge_epoch(self) -> dict[str, float]:
        """Evaluate on the images that choose; keep the model if it is the best so far."""
        split = "val" if self.settings.selection == "held_out" else "test"
        outputs = self._collect(split)
        metrics = score(
            outputs, protocol=self.settings.protocol, thresholds=self.settings.thresholds
        )
        # without boxes (OpenImages), PxAP says how well objects are found
        found = metrics.get("gt_known", metrics.get("pxap", 0.0))
        criterion = found + metrics.get("top1_loc", metrics["top1_cls"])
        if criterion > self.best:
            self.best, self.best_epoch = criterion, self.epoch
            self.threshold = metrics["threshold"]
            self._save_model(self.run.dir / "model.safetensors")
        return {f"{split}_{name}": value for name, value in metrics.items()}

    def _collect(self, split: str) -> Outputs:
        settings = self.settings
        return collect(
            self.accelerator.unwrap_model(self.model),
            self.sets[split],
            ten_crop=settings.ten_crop and settings.protocol == "sat",
            batch_size=settings.eval_batch_size,
            workers=settings.workers,
            device=self.accelerator.device,
            label=f"evaluate {split}",
        )

    def _finish(self) -> None:
        """Evaluate the kept model on the test images and write the result."""
        settings, folder = self.settings, self.run.dir
        model = self.accelerator.unwrap_model(self.model)
        model.load_state_dict(read_weights(folder / "model.safetensors"))
        outputs = self._collect("test")
        metrics = score(outputs, protocol=settings.protocol, threshold=self.threshold)
        at_best = score(outputs, protocol=settings.protocol, thresholds=settings.thresholds)
        write_atomically(folder / "log.csv", pd.DataFrame(self.epochs).to_csv(index=False))
        write_atomically(folder / "steps.csv", pd.DataFrame(self.steps).to_csv(index=False))
        table = predictions(outputs, protocol=settings.protocol, threshold=self.threshold)
        write_atomically(folder / "predictions.csv", table.to_csv(index=False))
        seen = len(self.sets["train"]) * settings.epochs
        write_json(
            folder / "provenance.json",
            {**self.origin, "classes": self.sets["train"].classes, "train_seconds": self.seconds,
             "train_images_per_second": seen / self.seconds},
        )  # fmt: skip
        extra = {
            "selection": settings.selection,
            "epoch": self.best_epoch + 1,
            "gt_known_test_threshold": at_best.get("gt_known"),
            "test_threshold": at_best["threshold"],
            "train_seconds": self.seconds,
            "train_images_per_second": seen / self.seconds,
        }
        write_json(folder / "metrics.json", {**metrics, **extra})
        self._state_file.unlink(missing_ok=True)

    @property
    def _state_file(self) -> Path:
        return self.run.dir / "state.pt"

    def _save_model(self, path: Path) -> None:
        partial = path.with_suffix(".partial")
        state = self.accelerator.unwrap_model(self.model).state_dict()
        save_file({k: v.detach().cpu().contiguous() for k, v in state.items()}, partial)
        partial.replace(path)

    def _save_state(self) -> None:
        """Save all that is needed to go on from here; the file is whole or not there."""
        state = {
            "model": self.accelerator.unwrap_model(self.model).state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all(),
            "at": [self.epoch, self.step, self.seconds],
            "best": [self.best, self.best_epoch, self.threshold],
            "steps": self.steps,
            "epochs": self.epochs,
        }
        partial = self._state_file.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self._state_file)

    def _resume(self) -> bool:
        if not self._state_file.is_file():
            return False
        state = torch.load(self._state_file, map_location="cpu", weights_only=True)
        self.accelerator.unwrap_model(self.model).load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        if state["cuda_rng"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda_rng"])
        self.epoch, self.step, self.seconds = state["at"]
        self.best, self.best_epoch, self.threshold = state["best"]
        self.steps, self.epochs = state["steps"], state["epochs"]
        print(f"resuming at epoch {self.epoch + 1}, batch {self.step + 1}")
        return True


def _precision(wanted: str) -> str:
    if wanted == "auto":
        return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"
    return "no" if wanted == "fp32" else wanted


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
