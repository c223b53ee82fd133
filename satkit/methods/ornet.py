"""ORNet: online refinement of low-level attention (Xie et al., ICCV 2021), on a ViT (Table 7)."""

from __future__ import annotations

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from satkit import backbones
from satkit.losses import area_loss, weighted_entropy_loss
from satkit.methods.cam import OnClassifier, check_labels
from satkit.model import Localization


class ORNet(OnClassifier):
    """A generator draws an attention map, and a frozen classifier judges the image under it.

    The generator is the first third of a ViT's blocks and two convolutions.

    Args:
        backbone: Plain ViT; its later blocks are cut off.
        num_classes: C.
        classifier: Trained localizer ``cam``, the evaluator; it is frozen.
        area_weight: Of the area loss: the map's mean and the activation of unlikely classes.
        entropy_weight: Of the weighted entropy loss L_w. The authors' 1.5 follows a first stage
            that they did not release; it saturates an untrained generator.

    Raises:
        ValueError: A weight below 0, or a backbone of fewer than 3 blocks.
    """

    def __init__(
        self,
        backbone: VisionTransformer,
        num_classes: int,
        *,
        classifier: nn.Module,
        area_weight: float = 0.02,
        entropy_weight: float = 0.1,
    ) -> None:
        super().__init__(classifier)
        if area_weight < 0 or entropy_weight < 0:
            raise ValueError(
                f"area_weight is {area_weight} and entropy_weight {entropy_weight}; "
                "expected numbers of at least 0"
            )
        depth, width = len(backbone.blocks), int(backbone.embed_dim)
        if depth < 3:
            raise ValueError(f"the backbone has {depth} blocks; ORNet needs at least 3")
        backbone.blocks = backbone.blocks[: depth // 3]
        self.backbone, self.num_classes = backbone, num_classes
        self.area_weight, self.entropy_weight = area_weight, entropy_weight
        self.generator = nn.Sequential(
            nn.Conv2d(width, width // 4, kernel_size=3, padding=1),
            nn.GELU(),
            nn.Conv2d(width // 4, 1, kernel_size=3, padding=1),
        )

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        """Classify and localize.

        Args:
            images: Normalised float [B, 3, S, S] of the backbone's size.
            labels: int [B], for the loss; the maps are class-agnostic.

        Returns:
            Logits [B, C] of the classifier and maps [B, h, w] in 0–1. In training the logits are
            those of the image under the map, and ORNet's losses come with them.

        Raises:
            ValueError: Images or labels that do not fit the model, or no labels in training.
        """
        backbones.check_images(self.backbone, images)
        check_labels(labels, len(images), self.num_classes)
        x = self.backbone.blocks(backbones.embed(self.backbone, images))  # [B, P + hw, D]
        maps = self.generator(backbones.features(self.backbone, x)).sigmoid()[:, 0]  # [B, h, w]
        if not self.training:
            return Localization(self.classifier(images).logits, maps)
        if labels is None:
            raise ValueError("ORNet needs labels in training: the classifier judges the true class")
        shown = interpolate(
            erase(maps)[:, None], images.shape[2:], mode="bilinear", align_corners=False
        )  # [B, 1, S, S]
        logits = self.classifier(images * shown).logits
        losses = {
            "cls": cross_entropy(logits, labels),
            "fpm_area": self.area_weight * (area_loss(maps) + unlikely_activation(logits)),
            "fpm_entropy": self.entropy_weight * weighted_entropy_loss(maps),
        }
        return Localization(logits, maps, losses=losses)


def erase(maps: Tensor) -> Tensor:
    """Attentive erasing: drop patches at random, those of high attention less often.

    Args:
        maps: Attention [B, h, w], 0–1.

    Returns:
        [B, h, w]: each value M kept with probability 0.6 M + 0.2, else 0.
    """
    return maps * torch.bernoulli(0.6 * maps.detach() + 0.2)


def unlikely_activation(logits: Tensor) -> Tensor:
    """Second part of ORNet's area loss: what the classes ranked 4 to 25 are activated.

    Args:
        logits: [B, C], means of class maps.

    Returns:
        Their sum over these ranks (as many as there are), mean over images: scalar of any sign.
    """
    ranked = logits.topk(min(25, logits.shape[1]), dim=1).values  # [B, <= 25]
    return ranked[:, 3:].sum(dim=1).mean()
