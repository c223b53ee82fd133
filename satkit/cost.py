"""What a localizer costs: parameters, operations, time and memory."""

from __future__ import annotations

import re
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from satkit.losses import total_loss
from satkit.results import build_model
from satkit.settings import TrainSettings


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


def training_memory(settings: TrainSettings, num_classes: int) -> float:
    """Memory that one training step needs beyond the imported program, in MB.

    It is measured in a process of its own: on a CPU by the growth of the peak resident size, on a
    GPU by torch's peak.

    Args:
        settings: Of the run.
        num_classes: C.

    Returns:
        Megabytes (10^6 bytes).
    """
    context = get_context("spawn")
    answer = context.SimpleQueue()
    process = context.Process(target=_measure_step, args=(settings, num_classes, answer))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"the training step for {settings.method} failed, see above")
    return float(answer.get())


def _measure_step(settings: TrainSettings, num_classes: int, answer: Any) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    before = _peak_bytes(device)
    model = build_model(settings, num_classes, pretrained=False).to(device).train()
    side = settings.image_size
    images = torch.randn(settings.batch_size, 3, side, side, device=device)
    labels = torch.arange(settings.batch_size, device=device) % num_classes
    output = model(images, labels)
    total_loss(
        output.logits, output.maps, labels, target_area=settings.target_area,
        area_term=settings.area_term, pixel_term=settings.pixel_term, own=output.losses,
    )["total"].backward()  # fmt: skip
    answer.put((_peak_bytes(device) - before) / 1e6)


def _peak_bytes(device: str) -> int:
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status").read_text()  # getrusage also counts the parent's peak
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 1024  # type: ignore[index]
