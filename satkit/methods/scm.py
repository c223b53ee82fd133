"""SCM: TS-CAM whose maps are diffused over neighbouring, similar patches while it learns."""

from __future__ import annotations

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import tanhshrink

from satkit import backbones
from satkit.heads import class_map, pooled_logits
from satkit.methods.cam import check_labels
from satkit.methods.tscam import TSCAM
from satkit.model import Localization

#: Newton–Schulz iterations of the four layers; too few to converge, as in the authors' code
ITERATIONS = (16, 4, 4, 4)
#: Below this, a range or a norm counts as zero
TINY = 1e-12


class SCM(TSCAM):
    """Spatial calibration module on TS-CAM (Bai et al., ECCV 2022).

    In training, four layers of activation diffusion stand between the class maps and the average
    that gives the logits. In evaluation they are left out, and what remains is TS-CAM.

    Args:
        backbone: Plain ViT with a class token; changed in place.
        num_classes: C.
        scaled_attention: Scale the summed attention to 0–1 before it multiplies the class map, as
            the authors' code does; False multiplies the sum itself, as TS-CAM does.

    Raises:
        ValueError: The backbone has no class token.
    """

    def __init__(
        self, backbone: VisionTransformer, num_classes: int, *, scaled_attention: bool = False
    ) -> None:
        super().__init__(backbone, num_classes)
        self.scaled_attention = scaled_attention
        grid = backbones.grid_size(backbone)
        self.diffusion = nn.ModuleList(
            ActivationDiffusion(grid, count, f"layer {number} of {len(ITERATIONS)}")
            for number, count in enumerate(ITERATIONS, start=1)
        )

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        """Classify and localize.

        Args:
            images: Normalised float [B, 3, S, S] of the backbone's size.
            labels: int [B], the classes whose maps are wanted; the predicted ones where None.

        Returns:
            Logits [B, C] (in training, of the diffused class maps), class-dependent maps [B, h, w]
            of the maps before diffusion, and every block's class-token attention [B, L, h, w].

        Raises:
            ValueError: Images or labels that do not fit the model.
            FloatingPointError: In training, the diffusion left the range of numbers.
        """
        backbones.check_images(self.backbone, images)
        check_labels(labels, len(images), self.num_classes)
        walk = backbones.walk(self.backbone, images)
        layer_maps = backbones.extra_maps(self.backbone, walk)  # [B, L, h, w]
        features = backbones.features(self.backbone, walk.tokens)  # [B, D, h, w]
        attention = layer_maps.sum(dim=1)  # [B, h, w]
        if self.training:
            logits = self._diffuse(self.head(features), attention).mean(dim=(2, 3))  # GAP: [B, C]
        else:
            logits = pooled_logits(self.head, features)  # GAP(head(features)): [B, C]
        if self.scaled_attention:
            attention = min_max(attention.flatten(1)).view_as(attention)
        maps = attention * class_map(self.head, features, logits, labels)
        return Localization(logits, maps, layer_maps)

    def _diffuse(self, class_maps: Tensor, attention: Tensor) -> Tensor:
        """Class maps [B, C, h, w] after all layers, in single precision whatever the model's."""
        with torch.autocast(class_maps.device.type, enabled=False):
            class_maps = class_maps.float()
            activation = min_max(attention.float().flatten(1))  # F0 [B, N]
            for layer in self.diffusion:
                class_maps, activation = layer(class_maps, activation)
        return class_maps


class ActivationDiffusion(nn.Module):
    """One layer: spread the activation F to patches that are near and have similar classes.

    With E the cosine similarity of the class scores S of two patches and L the Laplacian of the
    grid, Q = L ∘ (λE − 1) and F̂ = minmax(tanhshrink(Q⁻¹ᵀ F / (β max F))). Then S ← S + S·F̂ and
    F ← F + F̂. The inverse is Newton–Schulz's after a few steps, far from converged.

    Args:
        grid: Height and width of the patch grid.
        iterations: Newton–Schulz steps.
        name: For the message when numbers overflow.
    """

    laplacian: Tensor

    def __init__(self, grid: tuple[int, int], iterations: int, name: str) -> None:
        super().__init__()
        self.iterations, self.name = iterations, name
        self.semantic_weight = nn.Parameter(torch.ones(1))  # λ
        self.threshold = nn.Parameter(torch.full((1,), 0.5))  # β
        self.register_buffer("laplacian", grid_laplacian(*grid), persistent=False)

    def forward(self, class_maps: Tensor, activation: Tensor) -> tuple[Tensor, Tensor]:
        """Diffuse once.

        Args:
            class_maps: S, float32 [B, C, h, w].
            activation: F, float32 [B, N] with N = h·w.

        Returns:
            The new S and F.

        Raises:
            FloatingPointError: F̂ is not finite.
        """
        weights = self.semantic_weight * cosine_similarity(class_maps) - 1  # [B, N, N]
        inverse = newton_schulz(self.laplacian * weights, self.iterations)  # [B, N, N]
        spread = torch.einsum("bji,bj->bi", inverse, activation)  # transposed inverse: [B, N]
        peak = unless_zero(activation.amax(dim=1, keepdim=True))
        spread = min_max(tanhshrink(spread / (self.threshold * peak)))  # F̂ [B, N], 0–1
        self._check_finite(spread)
        gain = spread.view(len(spread), 1, *class_maps.shape[2:])  # [B, 1, h, w]
        return class_maps + class_maps * gain, activation + spread

    def _check_finite(self, spread: Tensor) -> None:
        if bool(spread.isfinite().all()):
            return
        raise FloatingPointError(
            f"SCM's diffusion {self.name} gave values that are not finite (λ = "
            f"{self.semantic_weight.item():g}, it starts at 1 and Newton–Schulz explodes where it "
            f"is too large; β = {self.threshold.item():g}, it starts at 0.5 and divides). Lower "
            "lr, and start again from weights that are finite"
        )


def grid_laplacian(height: int, width: int) -> Tensor:
    """Laplacian D − A of a grid in which each patch touches up to four others.

    Args:
        height: Rows.
        width: Columns.

    Returns:
        Float [N, N] with N = height·width, patches row by row.
    """

    def path(length: int) -> Tensor:
        steps = torch.ones(length - 1)
        return torch.diag(steps, 1) + torch.diag(steps, -1)  # [length, length]

    adjacency = torch.kron(path(height), torch.eye(width))
    adjacency += torch.kron(torch.eye(height), path(width))
    return torch.diag(adjacency.sum(dim=1)) - adjacency


def cosine_similarity(class_maps: Tensor) -> Tensor:
    """Similarity of the class scores of every two patches; 0 where one has none.

    Args:
        class_maps: [B, C, h, w].

    Returns:
        [B, N, N], from -1 to 1.
    """
    scores = class_maps.flatten(2)  # [B, C, N]
    scores = scores / unless_zero(torch.linalg.vector_norm(scores, dim=1, keepdim=True))
    return scores.transpose(1, 2) @ scores


def newton_schulz(matrix: Tensor, iterations: int, start: float = 0.002) -> Tensor:
    """Approach the inverse of Q by X ← X(2I − QX), from X = ``start``·Qᵀ.

    It converges only if start·‖Q‖² < 2, and slowly in the directions in which Q is small: on
    14 x 14 patches and after SCM's few steps it is no inverse yet.

    Args:
        matrix: Q, [B, N, N].
        iterations: Steps.
        start: Scale of the first guess, which gradients do not pass.

    Returns:
        X, [B, N, N].
    """
    twice = 2 * torch.eye(matrix.shape[-1], device=matrix.device, dtype=matrix.dtype)
    inverse = start * matrix.detach().transpose(1, 2)
    for _ in range(iterations):
        inverse = inverse @ (twice - matrix @ inverse)
    return inverse


def min_max(x: Tensor) -> Tensor:
    """Scale each row [B, N] to 0–1; a constant row, which has nothing to show, to zeros."""
    x = x - x.amin(dim=1, keepdim=True)
    return x / unless_zero(x.amax(dim=1, keepdim=True))


def unless_zero(x: Tensor) -> Tensor:
    """Keep a divisor, or put 1 in place of one that is practically zero."""
    return torch.where(x.abs() < TINY, torch.ones_like(x), x)
