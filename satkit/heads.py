"""What the convolutional head of TS-CAM says, without the maps of all classes.

The head turns features into one map a class, and the mean of a map is the class's logit. The maps
of 1,000 or 21,000 classes are large, but the logits do not need them: a mean over places commutes
with a convolution, which is linear.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, fold, linear


def pooled_logits(head: nn.Conv2d, features: Tensor) -> Tensor:
    """Mean over places of a convolution, ``head(features).mean((2, 3))``, without its maps.

    The kernel's weight at (i, j) meets the part of the features that lies below it while it slides
    over the image; for a 3x3 kernel these are nine windows, each short of a border row or column
    or of none. Their means (zeros in the padding) go through the kernel as one linear layer.

    Args:
        head: Convolution of stride 1 that keeps the size: kernel 2 p + 1, padding p with zeros.
        features: [B, D, h, w], h and w > p.

    Returns:
        Logits [B, C].
    """
    padding = head.kernel_size[0] // 2
    windows = avg_pool2d(features, features.shape[2:], stride=1, padding=padding)
    return linear(windows.flatten(1), head.weight.flatten(1), head.bias)  # [B, D, k, k] -> [B, C]


def class_map(
    head: nn.Conv2d, features: Tensor, logits: Tensor, labels: Tensor | None = None
) -> Tensor:
    """Map of one class an image, ``head(features)[range(B), labels]``, without the other maps.

    Args:
        head: As in :func:`pooled_logits`.
        features: [B, D, h, w].
        logits: [B, C].
        labels: int [B], the classes; the argmax of ``logits`` where None.

    Returns:
        [B, h, w].
    """
    chosen = logits.argmax(dim=1) if labels is None else labels  # [B]
    kernels = head.weight[chosen].flip(2, 3).flatten(2)  # [B, D, k k]
    scattered = kernels.transpose(1, 2) @ features.flatten(2)  # [B, k k, h w]
    size, kernel = features.shape[2:], head.kernel_size
    maps = fold(scattered, size, kernel, padding=kernel[0] // 2)[:, 0]  # adds what meets
    return maps if head.bias is None else maps + head.bias[chosen][:, None, None]
