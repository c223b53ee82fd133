"""The training loop: from settings to a run on disk, on one process or many, resumable.

Every process walks through the same batches and takes its part of each. What is decided is decided
alike in all of them; the first alone writes files and prints.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from safetensors.torch import save_file
from torch import Tensor, nn

from satkit import backbones, data, distributed
from satkit.checkpoints import read_weights
from satkit.evaluation import Outputs, collect, predictions, score, threshold_curve
from satkit.losses import check_labels, total_loss
from satkit.methods import METHODS
from satkit.model import Localization, freeze
from satkit.progress import Progress, step_by_step
from satkit.results import Run, build_model, device_name, provenance, write_atomically, write_json
from satkit.settings import TrainSettings

#: Data sets whose photographs do not fit into memory
_LARGE = ("imagenet", "tiny_imagenet", "openimages")

#: Seconds between two saved states within an epoch
SAVE_SECONDS = 60.0
#: What torch.compile makes of the model
COMPILE_BACKEND = "inductor"


def train(settings: TrainSettings, *, force: bool = False) -> Run:
    """Train and evaluate one localizer; a finished run of the same settings is only opened.

    Interrupt it at any time: the step is finished and the state saved. Called again, it goes on
    from there (after a kill: from the last minute's state) and, on a CPU, comes to the same numbers
    as if it had never stopped. Where a launcher started several processes, all of them call this,
    and they train one model together.

    Args:
        settings: What to train, on what, and how.
        force: Do a finished run again.

    Returns:
        The run, with its files under ``runs_dir/experiment/id``.

    Raises:
        FileNotFoundError: The data are not where ``data_root`` says.
        ValueError: Settings that do not fit the data, or a saved state that cannot be read.
        FloatingPointError: A loss became NaN or infinite; the last good state is kept.
    """
    distributed.start()
    settings = _after_first_stage(settings)
    sets = load_datasets(settings)
    fingerprint = distributed.from_first(sets["train"].fingerprint)
    run = Run(Path(settings.runs_dir) / settings.experiment / settings.id(fingerprint))
    if distributed.from_first(lambda: _found(run, settings, force)):
        return run
    loop = _Loop(settings, sets, run, fingerprint)
    loop.run_epochs()
    return run


def _found(run: Run, settings: TrainSettings, force: bool) -> bool:
    """Whether there is nothing to do; else make the run's folder ready."""
    if run.finished and not force:
        run.state_file.unlink(missing_ok=True)  # left if a kill came right after the metrics
        print(f"found {run.banner()}")
        return True
    run.dir.mkdir(parents=True, exist_ok=True)
    if force:
        for path in run.dir.iterdir():
            path.unlink()
    write_json(run.dir / "settings.json", settings.model_dump(mode="json"))
    return False


def first_stage(settings: TrainSettings) -> TrainSettings | None:
    """Settings of the run that has to be there before another one.

    Args:
        settings: Of the later run.

    Returns:
        Of the classifier that a method of two steps learns from, or of the first stage of Table 13;
        None where the run stands on no other.
    """
    alone = {"area_term": "none", "pixel_term": "none"}
    classifier = METHODS[settings.method].classifier
    if classifier and not settings.classifier:
        first = {"method": classifier, "options": {}, **alone}
        return TrainSettings(**{**settings.model_dump(), **first})
    if settings.two_stage:
        return TrainSettings(**{**settings.model_dump(), "two_stage": False, **alone})
    return None


def _after_first_stage(settings: TrainSettings) -> TrainSettings:
    """Train what has to be there before; return the settings of the run that stands on it."""
    first = first_stage(settings)
    if first is None:
        return settings
    run = train(first)
    if not settings.two_stage:
        return settings.model_copy(update={"classifier": str(run.dir)})
    update = {"checkpoint": str(run.dir / "model.safetensors"), "freeze": "all_but_token"}
    return settings.model_copy(update={"two_stage": False, **update})


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
            ten_crop=settings.uses_ten_crop and split != "train",
        )
        splits[split] = data.load(
            settings.dataset, split, settings.data_root or None, transform, settings.seed,
            **_data_options(settings),
        )  # fmt: skip
    if settings.shots:
        splits["train"] = data.few_shot(splits["train"], settings.shots, settings.seed)
    splits["train"] = limit(splits["train"], settings.train_images, "train")
    for split in wanted[1:]:
        splits[split] = limit(splits[split], settings.eval_images, split)
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


def limit(dataset: Any, count: int, split: str = "test") -> Any:
    """Keep ``count`` items, spread evenly over the data set; all where ``count`` is 0.

    Args:
        dataset: Of the split.
        count: How many.
        split: Its name, for the message.

    Raises:
        ValueError: The data set has fewer items.
    """
    if not count:
        return dataset
    if count > len(dataset):
        raise ValueError(
            f"{count} {split} images were asked for, but there are {len(dataset)}; lower "
            f"{'train' if split == 'train' else 'eval'}_images, which the profile sets too (0: all)"
        )
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


def losses_of(
    settings: TrainSettings, output: Localization, labels: Tensor, share: float = 1.0
) -> dict[str, Tensor]:
    """The losses that settings ask for; see :func:`satkit.losses.total_loss`.

    Args:
        settings: Of the run.
        output: Of the localizer, for a batch.
        labels: int [B].
        share: Weight of this process's mean.

    Returns:
        Scalars by name, in single precision, with their sum ``total``.
    """
    return total_loss(
        output.logits.float(),
        output.maps.float(),
        labels,
        target_area=settings.target_area,
        area_term=settings.area_term,
        pixel_term=settings.pixel_term,
        smoothing=None if settings.smoothing == "none" else settings.smoothing,
        padding=settings.padding,
        own=output.losses,
        share=share,
    )


def compiled(model: nn.Module) -> Any:
    """Compile a localizer once for all batch sizes, so that an epoch's last batch compiles nothing.

    Args:
        model: The localizer; weights keep their names in it.

    Returns:
        What is called in its place.
    """
    return torch.compile(model, backend=COMPILE_BACKEND, dynamic=True)


class _Loop:
    """State of one run: model, optimizer, where it stands, and what it has logged."""

    def __init__(
        self, settings: TrainSettings, sets: dict[str, Any], run: Run, fingerprint: str
    ) -> None:
        self.settings, self.sets, self.run = settings, sets, run
        if self.batches == 0:
            raise ValueError(
                f"drop_last leaves no batch: batch_size is {settings.batch_size}, but there are "
                f"{len(sets['train'])} training images; lower it"
            )
        self.accelerator = _accelerator(settings)
        self.network, self.norms = self._build()
        groups = parameter_groups(self.network, settings.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=settings.lr, fused=True)
        self.model, self.optimizer = self.accelerator.prepare(self.network, optimizer)
        self.localizer: Any = self.network  # what is evaluated, by each process on its own
        if settings.compile:
            self.model, self.localizer = compiled(self.model), compiled(self.network)
        self.loader = data.Loader(sets["train"], self.accelerator.device, settings.workers)
        self.epoch = self.step = 0  # step: batches done in this epoch
        self.steps: list[dict[str, float]] = []
        self.epochs: list[dict[str, float]] = []
        self.seconds = 0.0
        self.best, self.best_epoch, self.threshold = -math.inf, 0, 0.0
        # taken now, since the source may change while a long run goes on
        device = device_name(self.accelerator.device)
        self.origin = distributed.from_first(lambda: provenance(device, fingerprint))
        if not self._resume() and hasattr(self.network, "fit"):
            self._fit(self.network)
            self.loader.waited = 0.0

    def _build(self) -> tuple[Any, list[distributed.JointBatchNorm]]:
        """Create the model, equal in all processes; what is random from here on is not."""
        settings = self.settings
        torch.manual_seed(settings.seed)
        model: Any = build_model(settings, self.sets["train"].num_classes)
        if settings.freeze != "a":
            freeze(model, settings.freeze)
        if settings.activation_checkpointing:
            backbones.recompute_activations(model)
        if distributed.rank() > 0:
            torch.manual_seed(settings.seed + 1_000_003 * distributed.rank())
        return model, distributed.join_batch_norms(model)

    def _fit(self, model: Any) -> None:
        """Let a method look at all training images once, in each process, before the first step."""
        model.to(self.accelerator.device)
        batches = data.in_order(len(self.sets["train"]), self.settings.eval_batch_size)
        label = f"{self.settings.method}: look at the training images"
        loaded = self.loader(batches)
        model.fit(Progress(loaded, len(batches), label, show=distributed.is_first()))

    @property
    def batches(self) -> int:
        """Batches an epoch (the last one may be smaller, as in the official CUB run)."""
        count, size = len(self.sets["train"]), self.settings.batch_size
        return count // size if self.settings.drop_last else math.ceil(count / size)

    def _batch_length(self, step: int) -> int:
        """Images of a batch, over all processes."""
        size = self.settings.batch_size
        return min(size, len(self.sets["train"]) - step * size)

    def _group(self) -> range:
        """The batches whose gradients are added up for one step of the optimizer."""
        first = self.step - self.step % self.settings.accumulation
        return range(first, min(first + self.settings.accumulation, self.batches))

    def run_epochs(self) -> None:
        """Train the epochs that are left, evaluate, and write the run's files."""
        settings = self.settings
        first = settings.evaluate_from or settings.epochs
        while self.epoch < settings.epochs:
            with step_by_step() as asked_to_stop:
                self._run_epoch(asked_to_stop)
            row = self._epoch_losses()
            if self.epoch + 1 >= first:
                self._save_state()  # evaluating may take longer than the epoch did
                row |= self._judge_epoch()
            self.epochs.append(row)
            self.epoch, self.step = self.epoch + 1, 0
            self._save_state()
        self._finish()

    def _run_epoch(self, asked_to_stop: Callable[[], bool]) -> None:
        total = self.settings.epochs * self.batches
        done = self.epoch * self.batches + self.step
        label = f"train {self.settings.method} epoch {self.epoch + 1}/{self.settings.epochs}"
        progress = Progress(self._loader(), total, label, done, show=distributed.is_first())
        self.model.train()
        start = saved = time.monotonic()
        for share, batch in progress:
            losses = self._optimize(batch, share)
            progress.note = " ".join(f"{k} {v:.3f}" for k, v in losses.items())
            self.steps.append({"epoch": self.epoch, "step": self.step, "lr": self._lr(), **losses})
            group = self._group()
            self.step += 1
            now = time.monotonic()
            self.seconds, start = self.seconds + now - start, now
            due = now - saved > SAVE_SECONDS or asked_to_stop()
            # within a group there are gradients, which are not saved
            if self.step == group.stop and self._in_any(due):
                saved = now
                self._save_state()
                if asked_to_stop():
                    raise KeyboardInterrupt

    def _in_any(self, flag: bool) -> bool:
        """Whether it holds in any process: their clocks differ, but they act alike."""
        if distributed.world_size() == 1:
            return flag
        share = distributed.mean(torch.tensor(float(flag), device=self.accelerator.device))
        return bool(share > 0)

    def _loader(self) -> Iterator[tuple[float, dict[str, Any]]]:
        """The batches that are still to do: this process's part, and its weight."""
        self.sets["train"].set_epoch(self.epoch)
        parts = [distributed.own_part(batch) for batch in self._batch_indices()]
        loaded = self.loader(indices for indices, _ in parts)
        return zip((share for _, share in parts), loaded, strict=True)

    def _batch_indices(self) -> Iterator[list[int]]:
        """Batches of this epoch that are still to do; they depend on seed and epoch alone."""
        size = self.settings.batch_size
        rng = np.random.default_rng([self.settings.seed, self.epoch])
        indices = self.sets["train"].epoch_order(rng)
        for step in range(self.step, self.batches):
            yield indices[step * size : (step + 1) * size]

    def _optimize(self, batch: dict[str, Any], share: float) -> dict[str, float]:
        """Learn from this process's part of a batch; return the losses of the whole batch."""
        settings, group = self.settings, self._group()
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = self._lr()
        for norm in self.norms:
            norm.counted = share > 0
        images, labels = (
            batch[name].to(self.accelerator.device, non_blocking=True)
            for name in ("image", "label")
        )
        steps = self.step + 1 == group.stop
        with nullcontext() if steps else self.accelerator.no_sync(self.model):
            with self.accelerator.autocast():
                output = self.model(images, labels)
            check_labels(batch["label"], output.logits.shape[1])  # where they lie: on the CPU
            losses = losses_of(settings, output, labels, share)
            means = distributed.mean(torch.stack([loss.float() for loss in losses.values()]))
            together = sum(map(self._batch_length, group))  # images of this optimizer step
            self.accelerator.backward(losses["total"] / (together / self._batch_length(self.step)))
        values = dict(zip(losses, means.tolist(), strict=True))  # waits for the GPU
        self._check_finite(values)
        if steps:
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
            f"the last good state is kept in {self.run.state_file}. Lower lr "
            f"(now {self.settings.lr:g}) or use precision='fp32', or check the images"
        )

    def _epoch_losses(self) -> dict[str, float]:
        steps = pd.DataFrame(self.steps)
        return steps[steps["epoch"] == self.epoch].drop(columns="step").mean().to_dict()

    def _judge_epoch(self) -> dict[str, float]:
        """Evaluate on the images that choose; keep the model if it is the best so far."""
        split = "val" if self.settings.selection == "held_out" else "test"
        outputs = self._collect(split)
        metrics = distributed.from_first(
            lambda: score(
                outputs, protocol=self.settings.protocol, thresholds=self.settings.thresholds
            )
        )
        # without boxes (OpenImages), PxAP says how well objects are found
        found = metrics.get("gt_known", metrics.get("pxap", 0.0))
        criterion = found + metrics.get("top1_loc", metrics["top1_cls"])
        if criterion > self.best:
            self.best, self.best_epoch = criterion, self.epoch
            self.threshold = metrics["threshold"]
            if distributed.is_first():
                self._save_model(self.run.dir / "model.safetensors")
        return {f"{split}_{name}": value for name, value in metrics.items()}

    def _collect(self, split: str) -> Outputs:
        settings = self.settings
        return collect(
            self.localizer,
            self.sets[split],
            ten_crop=settings.uses_ten_crop,
            batch_size=settings.eval_batch_size,
            workers=settings.workers,
            device=self.accelerator.device,
            label=f"evaluate {split}",
        )

    def _finish(self) -> None:
        """Evaluate the kept model on the test images and write the result."""
        distributed.wait()  # until it is written
        self.network.load_state_dict(read_weights(self.run.dir / "model.safetensors"))
        outputs = self._collect("test")
        if distributed.is_first():
            self._write_results(outputs)
        distributed.wait()

    def _write_results(self, outputs: Outputs) -> None:
        from satkit.stats import median_iou  # and with it scipy's statistics, a second

        settings, folder = self.settings, self.run.dir
        metrics = score(outputs, protocol=settings.protocol, threshold=self.threshold)
        at_best = score(outputs, protocol=settings.protocol, thresholds=settings.thresholds)
        write_atomically(folder / "log.csv", pd.DataFrame(self.epochs).to_csv(index=False))
        write_atomically(folder / "steps.csv", pd.DataFrame(self.steps).to_csv(index=False))
        table = predictions(outputs, protocol=settings.protocol, threshold=self.threshold)
        write_atomically(folder / "predictions.csv", table.to_csv(index=False))
        if any(len(boxes) for boxes in outputs.boxes):
            curve = threshold_curve(outputs, protocol=settings.protocol)
            write_atomically(folder / "curve.csv", curve.to_csv(index=False))
        seen = sum(map(self._batch_length, range(self.batches))) * settings.epochs
        speed = {
            "train_seconds": self.seconds,
            "train_images_per_second": seen / self.seconds,
            "data_wait_share": self.loader.waited / self.seconds,  # of the first process
        }
        processes = distributed.world_size()
        classes = self.sets["train"].classes
        origin = {**self.origin, "classes": classes, "processes": processes, **speed}
        write_json(folder / "provenance.json", origin)
        extra = {
            "selection": settings.selection,
            "epoch": self.best_epoch + 1,
            "gt_known_test_threshold": at_best.get("gt_known"),
            "test_threshold": at_best["threshold"],
            **speed,
        }
        if (table["iou"] >= 0.5).any():
            extra["median_iou"] = median_iou(table)
        write_json(folder / "metrics.json", {**metrics, **extra})
        self.run.state_file.unlink(missing_ok=True)

    def _save_model(self, path: Path) -> None:
        partial = path.with_suffix(".partial")
        state = self.network.state_dict()
        save_file({k: v.detach().cpu().contiguous() for k, v in state.items()}, partial)
        partial.replace(path)

    def _save_state(self) -> None:
        """Save all that is needed to go on from here; the file is whole or not there."""
        random = distributed.gather(_random_state(self.accelerator.device))
        if not distributed.is_first():
            return
        state = {
            "model": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler else {},
            "random": random,
            "at": [self.epoch, self.step, self.seconds, self.loader.waited],
            "best": [self.best, self.best_epoch, self.threshold],
            "steps": self.steps,
            "epochs": self.epochs,
        }
        partial = self.run.state_file.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.run.state_file)

    def _resume(self) -> bool:
        if not distributed.from_first(self.run.state_file.is_file):
            return False
        state = _read_state(self.run.state_file)
        self.network.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        if len(state["random"]) == distributed.world_size():
            _set_random_state(state["random"][distributed.rank()], self.accelerator.device)
        self.epoch, self.step, self.seconds, self.loader.waited = state["at"]
        self.best, self.best_epoch, self.threshold = state["best"]
        self.steps, self.epochs = state["steps"], state["epochs"]
        if distributed.is_first():
            trained = self.epoch == self.settings.epochs or self.step == self.batches
            where = f"epoch {self.epoch + 1}, batch {self.step + 1}"
            print(f"resuming at {'the evaluation' if trained else where}")
        return True


def _accelerator(settings: TrainSettings) -> Accelerator:
    # a token's gradient has other strides where its length is 1, which costs nothing
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    parallel = DistributedDataParallelKwargs(
        gradient_as_bucket_view=True,
        # CAM leaves Conformer's last convolutions out
        find_unused_parameters=settings.method == "cam"
        and backbones.kind(settings.backbone) == "conformer",
    )
    allow_tf32(settings.precision)
    AcceleratorState._reset_state()  # else a session has the precision of its first run for ever
    return Accelerator(mixed_precision=precision_of(settings.precision), kwargs_handlers=[parallel])


def _read_state(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if "random" not in state or len(state["at"]) != 4:
            raise EOFError("it was written by another version of satkit")
    except (UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise ValueError(
            f"the saved state {path} cannot be read ({error}). Delete this file; the run then "
            "starts again from its first step"
        ) from error
    return state


def _random_state(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def _set_random_state(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda" and len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)


def precision_of(wanted: str) -> str:
    """Accelerate's name of a precision; ``auto`` is bf16 where a GPU has it."""
    if wanted == "auto":
        return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"
    if wanted in ("fp16", "tf32") and not torch.cuda.is_available():
        raise ValueError(
            f"precision is {wanted!r}, which needs a GPU; use 'bf16' or 'fp32' on a CPU"
        )
    return "no" if wanted in ("fp32", "tf32") else wanted


def allow_tf32(precision: str) -> None:
    """Let a GPU round the factors of fp32 products to 10 bits where ``tf32`` asks for it.

    Products are those of matrices and of convolutions, which the patch embedding is.

    Args:
        precision: Of the settings; all but ``tf32`` switch it off for what comes.
    """
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
