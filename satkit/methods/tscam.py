"""TS-CAM: class-token attention of all blocks times the class map, Table 1's baseline."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from satkit import backbones
from satkit.heads import class_map, pooled_logits
from satkit.methods.cam import check_labels, class_map_head
from satkit.model import Localization


class TSCAM(nn.Module):
    """Token semantic coupled attention map.

    The head turns the patch tokens into class maps; their average gives the logits. The
    localization map of a class is its class map times the class token's attention to the patches,
    averaged over heads and summed over all blocks (no rollout).

    Args:
        backbone: Plain ViT with a class token, or Conformer; changed in place.
        num_classes: C.

    Raises:
        ValueError: The backbone has no class token.
    """

    def __init__(self, backbone: backbones.Backbone, num_classes: int) -> None:
        super().__init__()
        backbones.check_class_token(backbone, "TS-CAM")
        self.backbone, self.num_classes = backbone, num_classes
        for block in backbone.blocks:
            block.attn = ClassTokenAttention(block.attn)
        self.head = class_map_head(backbone, num_classes)
        self.conv_head = backbones.conv_head(backbone, num_classes)  # of Conformer only

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        """Classify and localize.

        Args:
            images: Normalised float [B, 3, S, S] of the backbone's size.
            labels: int [B], the classes whose maps are wanted; the predicted ones where None.

        Returns:
            Logits [B, C], class-dependent maps [B, h, w], and every block's class-token attention
            [B, L, h, w].

        Raises:
            ValueError: Images or labels that do not fit the model.
        """
        backbones.check_images(self.backbone, images)
        check_labels(labels, len(images), self.num_classes)
        walk = backbones.walk(self.backbone, images)
        attention = backbones.extra_maps(self.backbone, walk)  # [B, L, h, w]
        features = backbones.features(self.backbone, walk.tokens)  # [B, D, h, w]
        logits = pooled_logits(self.head, features)  # GAP(head(features)): [B, C]
        if self.conv_head is not None:
            logits = logits + self.conv_head(walk.conv)
        maps = attention.sum(dim=1) * class_map(self.head, features, logits, labels)
        return Localization(logits, maps, attention)


class ClassTokenAttention(backbones.Projections):
    """Attention that also returns the class token's row of weights, and only that row."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Attend.

        Args:
            x: Tokens [B, T, D], the class token first.

        Returns:
            Tokens [B, T, D], and the class token's attention to all tokens [B, T] (head mean).
        """
        q, k, v = self.project(x)  # each [B, heads, T, d]
        row = self.similarity(q, k).softmax(dim=-1).mean(dim=1)  # [B, T]
        return self.merge(self.attend(q, k, v)), row

    def similarity(self, q: Tensor, k: Tensor) -> Tensor:
        """Logits of the class token's attention: [B, heads, T, d] each, to [B, heads, T]."""
        return torch.einsum("bhd,bhtd->bht", q[:, :, 0], k) * self.scale
