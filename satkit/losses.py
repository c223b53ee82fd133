"""The losses of SAT (Sec. 3.2–3.3), and the two that the paper compares them with.

All take localization maps [B, h, w] with values in 0–1.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import conv2d, cross_entropy

from satkit import distributed
from satkit.choices import check_choice

KERNELS = ("official", "gaussian")
AREA_TERMS = ("batch_area", "area", "none")
PIXEL_TERMS = ("normalization", "weighted_entropy", "none")


def smoothing_kernel(kind: str, size: int = 3, sigma: float = 6.0) -> Tensor:
    """Kernel that smooths a map before the normalization loss («Gaussian filter», Sec. 3.2).

    Args:
        kind: ``"official"``: the authors' kernel, the square root of the outer product of the
            standard normal distribution's mass over ``size`` equal intervals that reach half an
            interval of (2 sigma + 1) / size beyond ±``sigma``.
            Its centre holds 0.805, so it acts like a Gaussian of σ ≈ 0.42 patches although its
            parameter is called σ = 6. ``"gaussian"``: a Gaussian of standard deviation ``sigma``
            patches, as the paper's text reads.
        size: Odd side of the kernel in patches.
        sigma: Half range in deviations (official) or standard deviation in patches (gaussian).

    Returns:
        Float tensor [size, size] that sums to 1.

    Raises:
        ValueError: Unknown kind, an even size, or a sigma that is not positive.
    """
    check_choice("smoothing kernel", kind, KERNELS)
    if size < 1 or size % 2 == 0:
        raise ValueError(f"kernel size is {size}; expected an odd number >= 1")
    if not sigma > 0:
        raise ValueError(f"sigma is {sigma}; expected a number > 0")
    if kind == "official":
        reach = sigma + (2 * sigma + 1) / (2 * size)  # half an interval beyond ± sigma
        edges = torch.linspace(-reach, reach, size + 1, dtype=torch.float64)
        mass = torch.special.ndtr(edges).diff()  # [size], of the standard normal distribution
        kernel = torch.outer(mass, mass).sqrt()
    else:
        offset = torch.arange(size, dtype=torch.float64) - size // 2
        weight = torch.exp(-0.5 * (offset / sigma) ** 2)
        kernel = torch.outer(weight, weight)
    return (kernel / kernel.sum()).float()


def smooth(maps: Tensor, smoothing: str | None = "official", padding: str = "zeros") -> Tensor:
    """Filter maps with a 3x3 kernel (M* in Eq. 8).

    Args:
        maps: [B, h, w].
        smoothing: ``"official"``, ``"gaussian"`` or None (no filter).
        padding: ``"zeros"`` as in the official code (a border patch then weighs 0.949, a corner
            0.900 of itself and its neighbours) or ``"replicate"``.

    Returns:
        [B, h, w].

    Raises:
        ValueError: Unknown smoothing or padding.
    """
    if padding not in ("zeros", "replicate"):
        raise ValueError(f"padding is {padding!r}; expected 'zeros' or 'replicate'")
    if smoothing is None:
        return maps
    kernel = _kernel(smoothing, maps.device, maps.dtype)  # [1, 1, 3, 3]
    mode = "constant" if padding == "zeros" else "replicate"
    padded = torch.nn.functional.pad(maps[:, None], (1, 1, 1, 1), mode=mode)
    return conv2d(padded, kernel)[:, 0]


@cache
def _kernel(kind: str, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The smoothing kernel where it is used, made once: a step would wait for its upload."""
    with torch.inference_mode(False):  # so that training may use it, whoever asks first
        return smoothing_kernel(kind).to(device, dtype)[None, None]


def batch_area_loss(maps: Tensor, target_area: float, counted: bool = True) -> Tensor:
    """Batch area loss (Eq. 7): distance of the *batch's* mean area from the expected one.

    The mean runs over all maps of the batch, on all processes, so one image may be large and
    another small. (Eq. 7 as printed puts λ inside the sum; the official code reads as here.) With
    several processes, the mean of their gradients is the gradient of the loss.

    Args:
        maps: [B, h, w], values 0–1.
        target_area: λ, expected share of foreground in 0–1; 0.25 for CUB-200, 0.35 for ImageNet.
        counted: False in a process whose maps are not part of the batch; it only takes part.

    Returns:
        Scalar, 0–1.

    Raises:
        ValueError: ``target_area`` lies outside 0–1.
    """
    if not 0.0 <= target_area <= 1.0:
        raise ValueError(f"target_area is {target_area}; expected a share of the image, 0–1")
    total = torch.stack([maps.sum(), maps.new_full((), maps.numel())])
    total = distributed.sum_with_gradient(total if counted else total * 0)
    return (total[0] / total[1] - target_area).abs()


def normalization_loss(
    maps: Tensor, smoothing: str | None = "official", padding: str = "zeros"
) -> Tensor:
    """Normalization loss (Eq. 8): mean of M*(1 - M*), smallest where every patch is 0 or 1.

    Args:
        maps: [B, h, w], values 0–1.
        smoothing: Kernel that turns M into M*; see :func:`smooth`.
        padding: Border rule of the kernel; see :func:`smooth`.

    Returns:
        Scalar, 0–0.25.
    """
    smoothed = smooth(maps, smoothing, padding)
    return (smoothed * (1 - smoothed)).mean()


def weighted_entropy_loss(maps: Tensor, sigma: float = 0.1) -> Tensor:
    """Weighted entropy loss L_w of ORNet, the alternative of Table 12 and Fig. 10.

    Entropy of every patch, weighted by exp(-(M - 0.5)² / 2σ²): nearly zero already at 0.2 and 0.8.

    Args:
        maps: [B, h, w], values 0–1.
        sigma: Width of the weight around 0.5.

    Returns:
        Scalar, 0–0.693.
    """
    eps = torch.finfo(torch.float32).eps
    entropy = -(maps * torch.log(maps + eps) + (1 - maps) * torch.log(1 - maps + eps))
    return (entropy * torch.exp(-((maps - 0.5) ** 2) / (2 * sigma**2))).mean()


def area_loss(maps: Tensor) -> Tensor:
    """Area loss L_area of the FPM-based methods (Table 13): the mean of the maps.

    Args:
        maps: [B, h, w], values 0–1.

    Returns:
        Scalar, 0–1.
    """
    return maps.mean()


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy L_cls (Sec. 3.3).

    Args:
        logits: [B, C].
        labels: int [B], 0 … C-1. On a GPU they are not checked here, since a step would wait for
            it: who loads them does, see :func:`check_labels`.

    Returns:
        Scalar >= 0.

    Raises:
        ValueError: Labels outside the classes of the logits.
    """
    if labels.device.type == "cpu":
        check_labels(labels, logits.shape[1])
    return cross_entropy(logits, labels)


def check_labels(labels: Tensor, classes: int) -> None:
    """Refuse labels that the model has no class for.

    Args:
        labels: int [B], best on the CPU.
        classes: C.

    Raises:
        ValueError: A label outside 0 … C-1.
    """
    if labels.numel() and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(
            f"labels run from {int(labels.min())} to {int(labels.max())}, but the model has "
            f"{classes} classes; create it with the data set's num_classes"
        )


def total_loss(
    logits: Tensor,
    maps: Tensor,
    labels: Tensor,
    *,
    target_area: float,
    area_term: str = "batch_area",
    pixel_term: str = "normalization",
    smoothing: str | None = "official",
    padding: str = "zeros",
    own: dict[str, Tensor] | None = None,
    share: float = 1.0,
) -> dict[str, Tensor]:
    """All terms of the total loss (Eq. 9); no weights balance them.

    Args:
        logits: [B, C].
        maps: [B, h, w], values 0–1.
        labels: int [B].
        target_area: λ of Eq. 7.
        area_term: ``"batch_area"``, ``"area"`` (Table 13) or ``"none"`` (Table 2).
        pixel_term: ``"normalization"``, ``"weighted_entropy"`` (Table 12) or ``"none"``.
        smoothing: Kernel of the normalization loss; see :func:`smooth`.
        padding: Border rule of that kernel.
        own: Terms that the method itself adds; ``cls`` among them replaces the cross-entropy.
        share: Of :func:`satkit.distributed.own_part`: weight of this process's images in the
            terms that are means over images. The batch area knows all processes by itself.

    Returns:
        Scalars by name: ``cls``, the terms chosen, and their sum ``total``. Their means over
        processes are the losses of the whole batch.

    Raises:
        ValueError: Unknown term.
    """
    check_choice("area_term", area_term, AREA_TERMS)
    check_choice("pixel_term", pixel_term, PIXEL_TERMS)
    losses = {} if own and "cls" in own else {"cls": classification_loss(logits, labels)}
    if area_term == "batch_area":
        losses["batch_area"] = batch_area_loss(maps, target_area, counted=share > 0)
    elif area_term == "area":
        losses["area"] = area_loss(maps)
    if pixel_term == "normalization":
        losses["normalization"] = normalization_loss(maps, smoothing, padding)
    elif pixel_term == "weighted_entropy":
        losses["weighted_entropy"] = weighted_entropy_loss(maps)
    losses |= own or {}
    if share != 1:
        losses = {k: v if k == "batch_area" else v * share for k, v in losses.items()}
    losses["total"] = torch.stack(list(losses.values())).sum()
    return losses
