"""The attention-map baseline of Table 5: SAT's losses on the class token's own attention."""

from __future__ import annotations

from typing import Literal, get_args

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from satkit import backbones
from satkit.choices import check_choice
from satkit.heads import class_map, pooled_logits
from satkit.methods.cam import check_labels, class_map_head
from satkit.methods.tscam import ClassTokenAttention
from satkit.model import Localization, SpatialQueryAttention

MapBlocks = Literal["all", "last3"]
BoxMap = Literal["attention", "attention_times_class"]


class AttentionMap(nn.Module):
    """Class-token attention as a foreground map, with SAT's losses on it (Table 5).

    M is the mean over blocks of sigmoid(mean over heads of q·k / √d), with the class token's query
    and the patches' keys: SAT's map without a token of its own. What the paper leaves open are the
    options.

    Args:
        backbone: Plain ViT with a class token; changed in place.
        num_classes: C.
        map_blocks: Blocks that draw the map: ``all``, or the ``last3`` as in SAT.
        gated: The map of each of these blocks gates its attention, as in SAT; with ``last3`` this
            is SAT with a shared token (Table 11a).
        box_map: Map of evaluation: M itself (``attention``), or M times the class map as in TS-CAM
            (``attention_times_class``). In training it is M, since the losses are put on it.

    Raises:
        ValueError: An option outside its values, a backbone without class token or, for ``last3``,
            of less than three blocks.
    """

    def __init__(
        self,
        backbone: VisionTransformer,
        num_classes: int,
        *,
        map_blocks: MapBlocks = "all",
        gated: bool = False,
        box_map: BoxMap = "attention",
    ) -> None:
        super().__init__()
        check_choice("map_blocks", map_blocks, get_args(MapBlocks))
        check_choice("box_map", box_map, get_args(BoxMap))
        depth = len(backbone.blocks)
        backbones.check_class_token(backbone, "attention_map")
        if depth < 3:
            raise ValueError(f"attention_map needs at least 3 blocks; the backbone has {depth}")
        self.backbone, self.num_classes, self.box_map = backbone, num_classes, box_map
        first = 0 if map_blocks == "all" else depth - 3
        for block in backbone.blocks[first:]:
            plain = block.attn
            block.attn = SpatialQueryAttention(plain, 0) if gated else ClassTokenSimilarity(plain)
        self.head = class_map_head(backbone, num_classes)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        """Classify and localize.

        Args:
            images: Normalised float [B, 3, S, S] of the backbone's size.
            labels: int [B], the classes whose maps are wanted under ``attention_times_class``; the
                predicted ones where None.

        Returns:
            Logits [B, C], maps [B, h, w] (in 0–1 but under ``attention_times_class``), and the
            blocks' maps [B, L, h, w] in 0–1.

        Raises:
            ValueError: Images or labels that do not fit the model.
        """
        backbones.check_images(self.backbone, images)
        check_labels(labels, len(images), self.num_classes)
        walk = backbones.walk(self.backbone, images)
        layer_maps = backbones.extra_maps(self.backbone, walk)  # [B, L, h, w]
        features = backbones.features(self.backbone, walk.tokens)  # [B, D, h, w]
        logits = pooled_logits(self.head, features)  # GAP(head(features)): [B, C]
        maps = layer_maps.mean(dim=1)  # M
        if self.box_map == "attention_times_class" and not self.training:
            maps = maps * class_map(self.head, features, logits, labels)
        return Localization(logits, maps, layer_maps)


class ClassTokenSimilarity(ClassTokenAttention):
    """Ordinary attention that also returns the sigmoid of the class token's mean logits."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Attend.

        Args:
            x: Tokens [B, T, D], the class token first.

        Returns:
            Tokens [B, T, D], and the class token's similarity to all tokens [B, T] in 0–1.
        """
        q, k, v = self.project(x)  # each [B, heads, T, d]
        row = self.similarity(q, k).mean(dim=1).sigmoid()  # [B, T]
        return self.merge(self.attend(q, k, v)), row
