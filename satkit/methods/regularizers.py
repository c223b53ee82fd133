"""Ways to make a classifier look at more than an object's most telling part, in training only.

Each is a function of tensors; the localizer ``cam`` offers them by name. What is random comes from
torch's global generator, so that a seeded run can be repeated and resumed.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

#: Hide-and-Seek: sides of the patches on an image of 224 pixels, one of them an image; 0: no patch
PATCH_SIDES = (0, 16, 32, 44, 56)
#: Hide-and-Seek: share of the patches that is hidden
HIDE_SHARE = 0.5
#: ADL: share of the steps that drop the telling part, in place of weighing by importance
DROP_RATE = 0.75
#: ADL: a place is telling where the attention exceeds this share of its maximum
DROP_THRESHOLD = 0.9
#: ACoL: a place is erased where the normalized class map exceeds this
ERASE_THRESHOLD = 0.6


def hide_patches(images: Tensor) -> Tensor:
    """Hide random patches of a regular grid (Hide-and-Seek, Singh and Lee, ICCV 2017).

    Each image gets one of five grids at random: patches of 16, 32, 44 or 56 pixels at 224 (other
    image sizes in proportion), each hidden with probability 0.5, or none at all.

    Args:
        images: Normalised, [B, 3, S, S].

    Returns:
        [B, 3, S, S], zero (the mean of the normalisation) where hidden.
    """
    batch, size = len(images), images.shape[-1]
    sides = torch.tensor([round(side * size / 224) for side in PATCH_SIDES], device=images.device)
    chosen = sides[torch.randint(len(sides), (batch,), device=images.device)]  # [B]
    cells = torch.arange(size, device=images.device) // chosen.clamp(min=1)[:, None]  # [B, S]
    hidden = torch.rand(batch, size, size, device=images.device) < HIDE_SHARE  # one value a cell
    index = torch.arange(batch, device=images.device)[:, None, None]
    hidden = hidden[index, cells[:, :, None], cells[:, None, :]]  # [B, S, S]
    hidden &= (chosen > 0)[:, None, None]
    return images.masked_fill(hidden[:, None], 0.0)


def cut_mix(images: Tensor) -> tuple[Tensor, Tensor, float]:
    """Paste a box of another image of the batch (CutMix, Yun et al., ICCV 2019).

    The share of the box is drawn from Beta(1, 1), its centre from the whole image; what lies
    outside is cut off. One box and one pairing a batch, as in the authors' code.

    Args:
        images: [B, 3, H, W].

    Returns:
        Mixed images [B, 3, H, W]; partner of each image, int [B]; share of each image that is still
        its own, 0–1.
    """
    height, width = images.shape[-2:]
    partner = torch.randperm(len(images), device=images.device)
    share, y, x = torch.rand(3).tolist()  # Beta(1, 1) is the uniform distribution
    half = share**0.5 / 2
    top, bottom = (round(height * min(max(y + d, 0.0), 1.0)) for d in (-half, half))
    left, right = (round(width * min(max(x + d, 0.0), 1.0)) for d in (-half, half))
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
    return mixed, partner, 1 - (bottom - top) * (right - left) / (height * width)


def mixed_loss(logits: Tensor, labels: Tensor, partner: Tensor, share: float) -> Tensor:
    """Cross-entropy of the two labels of mixed images, each weighted by its area.

    Args:
        logits: [B, C].
        labels: int [B].
        partner: Of :func:`cut_mix`.
        share: Of :func:`cut_mix`.

    Returns:
        Scalar.
    """
    own, other = cross_entropy(logits, labels), cross_entropy(logits, labels[partner])
    return share * own + (1 - share) * other


def drop_attention(features: Tensor) -> Tensor:
    """Attention-based dropout layer (ADL, Choe and Shim, CVPR 2019).

    The attention is the mean over channels. At random, either its most telling part is dropped
    (three of four steps), or the features are weighted by its sigmoid. Negative features do not
    count for it: after a ReLU there are none, while behind a LayerNorm the plain mean says nothing.

    Args:
        features: [B, D, h, w].

    Returns:
        [B, D, h, w].
    """
    attention = features.relu().mean(dim=1, keepdim=True)  # [B, 1, h, w]
    if torch.rand(()) < DROP_RATE:
        return features * (attention <= DROP_THRESHOLD * attention.amax(dim=(2, 3), keepdim=True))
    return features * attention.sigmoid()


def erase_salient(features: Tensor, maps: Tensor) -> Tensor:
    """Erase the features where a class map is high (ACoL, Zhang et al., CVPR 2018).

    Args:
        features: [B, D, h, w].
        maps: Class maps [B, h, w]; no gradient goes into them.

    Returns:
        [B, D, h, w], zero where the normalized map exceeds 0.6.
    """
    return features * (normalize(maps.detach()) <= ERASE_THRESHOLD)[:, None]


def normalize(maps: Tensor) -> Tensor:
    """Stretch each map [B, h, w] to 0–1; a constant one becomes 0."""
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / (high - low).clamp(min=torch.finfo(maps.dtype).tiny)
