"""TS-CAM: class-token attention of all blocks times the class map, Table 1's baseline."""

from __future__ import annotations

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from satkit import backbones
from satkit.methods.cam import check_labels, class_map_head, select_class_maps
from satkit.model import Localization


class TSCAM(nn.Module):
    """Token semantic coupled attention map.

    The head turns the patch tokens into class maps; their average gives the logits. The
    localization map of a class is its class map times the class token's attention to the patches,
    averaged over heads and summed over all blocks (no rollout).

    Args:
        backbone: Plain ViT with a class token; changed in place.
        num_classes: C.

    Raises:
        ValueError: The backbone has no class token.
    """

    def __init__(self, backbone: VisionTransformer, num_classes: int) -> None:
        super().__init__()
        if backbone.cls_token is None:
            raise ValueError("TS-CAM needs a backbone with a class token")
        self.backbone, self.num_classes = backbone, num_classes
        for block in backbone.blocks:
            block.attn = ClassTokenAttention(block.attn)
        self.head = class_map_head(backbone, num_classes)

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
        class_maps, attention = self.draw_maps(images)  # [B, C, h, w], [B, L, h, w]
        logits = class_maps.mean(dim=(2, 3))  # GAP: [B, C]
        maps = attention.sum(dim=1) * select_class_maps(class_maps, logits, labels)
        return Localization(logits, maps, attention)

    def draw_maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the two kinds of maps that are coupled.

        Args:
            images: Normalised float [B, 3, S, S].

        Returns:
            Class maps [B, C, h, w], and every block's class-token attention [B, L, h, w].
        """
        x = backbones.embed(self.backbone, images)  # [B, P + hw, D]
        rows = []
        for block in self.backbone.blocks:
            x, row = backbones.run_block(block, x)
            rows.append(backbones.patch_grid(self.backbone, row))  # [B, h, w]
        return self.head(backbones.features(self.backbone, x)), torch.stack(rows, dim=1)


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
