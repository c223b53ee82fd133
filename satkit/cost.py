"""What a localizer costs: parameters, operations, time and memory."""

from __future__ import annotations

import math
import re
import statistics
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from satkit import data
from satkit.backbones import recompute_activations
from satkit.data.prepare import BYTES_PER_PIXEL
from satkit.results import build_model
from satkit.settings import TrainSettings
from satkit.training import allow_tf32, losses_of, precision_of

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
#: Batches whose memory :func:`estimate` measures; the rest is a straight line
SMALL_BATCHES = (2, 6)
#: Steps of which :func:`estimate` takes the mean time
TIMED_STEPS = 2


def parameter_count(model: nn.Module) -> int:
    """Number of all parameters, frozen ones included."""
    return sum(parameter.numel() for parameter in model.parameters())


def gmacs(model: nn.Module, image_size: int) -> float:
    """Multiply-add operations for one image, in 10^9.

    Counted are matrix products and convolutions, those inside attention (QKᵀ and AV) included. The
    paper's 4.9 G count linear layers and convolutions only.

    Args:
        model: The localizer.
        image_size: Side of the image in pixels.

    Returns:
        GMACs of the forward pass in evaluation mode.
    """
    device = next(model.parameters()).device
    image = torch.zeros(1, 3, image_size, image_size, device=device)
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), counter:
        model.eval()(image)
    return counter.get_total_flops() / 2e9


def inference_speed(model: nn.Module, image_size: int, batch: int = 32, repeats: int = 3) -> float:
    """Images a second of the forward pass, without loading; the best of some repeats.

    Args:
        model: The localizer.
        image_size: Side of the images in pixels.
        batch: Images at a time.
        repeats: How many batches are timed, after one to warm up.

    Returns:
        Images a second.
    """
    device = next(model.parameters()).device
    images = torch.zeros(batch, 3, image_size, image_size, device=device)
    seconds = []
    with torch.inference_mode():
        for _ in range(repeats + 1):
            start = time.perf_counter()
            float(model.eval()(images).logits.sum())  # waits for the device
            seconds.append(time.perf_counter() - start)
    return batch / min(seconds[1:])


def training_speed(settings: TrainSettings, dataset: Any, steps: int = 3) -> float:
    """Images a second of a few training steps, loading included; nothing is learnt.

    Args:
        settings: Of the run whose cost is wanted.
        dataset: Its training images, >= 1.
        steps: How many are timed, after one to warm up.

    Returns:
        Images a second of one process.
    """
    train_step = _Step(settings, dataset.num_classes)
    start = 0.0
    for step in range(steps + 1):
        if step == 1:
            start = time.perf_counter()
        first = step * settings.batch_size
        items = [dataset[(first + i) % len(dataset)] for i in range(settings.batch_size)]
        batch = data.collate(items)
        train_step(batch["image"], batch["label"])
    return steps * settings.batch_size / (time.perf_counter() - start)


def training_memory(settings: TrainSettings, num_classes: int) -> float:
    """Memory that one training step needs beyond the imported program, in MB.

    It is measured in a process of its own: on a CPU by the growth of the peak resident size, on a
    GPU by torch's peak. The state of the optimizer is not part of it.

    Args:
        settings: Of the run.
        num_classes: C.

    Returns:
        Megabytes (10^6 bytes).

    Raises:
        RuntimeError: The step failed.
    """
    return _in_own_process(_measure_memory, settings, num_classes)[0]


def step_seconds(settings: TrainSettings, num_classes: int, steps: int = 3) -> float:
    """Time of a training step on random pixels, without loading and optimizer.

    Args:
        settings: Of the run; its ``batch_size`` is the step's.
        num_classes: C.
        steps: How many are timed, after one to warm up.

    Returns:
        Seconds, the median.
    """
    train_step, seconds = _Step(settings, num_classes), []
    images, labels = train_step.pixels(settings.batch_size)
    for _ in range(steps + 1):
        start = time.perf_counter()
        train_step(images, labels)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def estimate(
    settings: TrainSettings, *, images: int, num_classes: int, processes: int = 1
) -> dict[str, float]:
    """Say what a training run will cost on this machine's device, before it starts.

    Speed and memory are measured on a few small batches of random pixels, in a process of its own,
    so a notebook can start other processes afterwards. Memory at the batch size of the run is
    read off a straight line. Loading and evaluation are not part of it.

    Args:
        settings: Of the run.
        images: Training images.
        num_classes: C.
        processes: That train together, each on such a device.

    Returns:
        ``images_per_second`` of all processes; ``steps``; ``exaflop`` (10^18 operations: two a
        multiply-add, backward twice forward); ``hours`` of training; ``memory_gb`` of one process,
        for its part of a batch, with the two moments of AdamW; ``disk_gb`` of the photographs as
        JPEG at the size before the crop.

    Raises:
        RuntimeError: A step failed.
    """
    few, more, speed, macs, parameters = _in_own_process(_measure, settings, num_classes)
    slope = (more - few) / (SMALL_BATCHES[1] - SMALL_BATCHES[0])  # MB an image
    own = math.ceil(settings.batch_size / processes)
    batches = images / settings.batch_size
    passes = images * settings.epochs
    return {
        "images_per_second": speed * processes,
        "steps": (int(batches) if settings.drop_last else math.ceil(batches)) * settings.epochs,
        "exaflop": 6 * macs * passes / 1e9,
        "hours": passes / (speed * processes) / 3600,
        "memory_gb": (few + slope * (own - SMALL_BATCHES[0]) + 8e-6 * parameters) / 1e3,
        "disk_gb": images * settings.resize_size**2 * BYTES_PER_PIXEL["jpeg"] / 1e9,
    }


def _in_own_process(
    function: Callable[[TrainSettings, int], list[float]], settings: TrainSettings, num_classes: int
) -> list[float]:
    """What a function returns in a new process, whose memory and GPU nobody has used."""
    context = get_context("spawn")
    answer = context.SimpleQueue()
    process = context.Process(target=_answer, args=(function, settings, num_classes, answer))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"a training step for {settings.method} failed, see above")
    return list(answer.get())


def _answer(
    function: Callable[[TrainSettings, int], list[float]],
    settings: TrainSettings,
    num_classes: int,
    answer: Any,
) -> None:
    answer.put(function(settings, num_classes))


def _measure_memory(settings: TrainSettings, num_classes: int) -> list[float]:
    """Peak of a step in MB."""
    before = peak_bytes()
    train_step = _Step(settings, num_classes)
    train_step(*train_step.pixels(settings.batch_size))
    return [(peak_bytes() - before) / 1e6]


def _measure(settings: TrainSettings, num_classes: int) -> list[float]:
    """Peak of a step at both small batches in MB, images/s, GMACs, parameters."""
    before = peak_bytes()
    train_step, peaks = _Step(settings, num_classes), []
    for batch in SMALL_BATCHES:
        train_step(*train_step.pixels(batch))
        peaks.append((peak_bytes() - before) / 1e6)
    batch = min(32 if torch.cuda.is_available() else SMALL_BATCHES[1], settings.batch_size)
    images, labels = train_step.pixels(batch)
    train_step(images, labels)
    start = time.perf_counter()
    for _ in range(TIMED_STEPS):
        train_step(images, labels)
    speed = TIMED_STEPS * batch / (time.perf_counter() - start)
    model = train_step.model.cpu()
    return [*peaks, speed, gmacs(model, settings.image_size), parameter_count(model)]


class _Step:
    """One step of training on this machine's device, without the optimizer."""

    def __init__(self, settings: TrainSettings, num_classes: int) -> None:
        self.settings, self.num_classes = settings, num_classes
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = HALF.get(precision_of(settings.precision))
        allow_tf32(settings.precision)
        self.model = build_model(settings, num_classes, pretrained=False)
        if settings.activation_checkpointing:
            recompute_activations(self.model)
        self.model.to(self.device).train()

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        images, labels = images.to(self.device), labels.to(self.device)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            output = self.model(images, labels)
        losses = losses_of(self.settings, output, labels)
        losses["total"].backward()
        float(losses["total"].detach())  # waits for the device
        self.model.zero_grad()

    def pixels(self, batch: int) -> tuple[Tensor, Tensor]:
        """Random images and labels, on the device."""
        side = self.settings.image_size
        images = torch.randn(batch, 3, side, side, device=self.device)
        return images, torch.arange(batch, device=self.device) % self.num_classes


def peak_bytes() -> int:
    """Peak memory of this process: torch's on a GPU, else the resident size (Linux)."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status").read_text()  # getrusage also counts the parent's peak
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 1024  # type: ignore[index]
