"""LCTR: class-token attention carried on by the patches, and a head that looks for more cues."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d

from satkit import backbones
from satkit.choices import check_choice
from satkit.methods.cam import check_labels, select_class_maps
from satkit.methods.tscam import ClassTokenAttention
from satkit.model import Localization

MapClass = Literal["predicted", "label"]
EXPERTS = 4


class LCTR(nn.Module):
    """Local continuity transformer (Chen et al., AAAI 2022).

    The relational patch attention module (RPAM) weights every patch's attention row with the class
    token's attention to that patch. The cue digging module (CDM) looks at the features where the
    class token looks less, and chooses a mixture of four kernels for the class maps.

    Args:
        backbone: Plain ViT with a class token; changed in place.
        num_classes: C.
        map_class: Class of the map: the ``predicted`` one even where labels are given, as in the
            authors' evaluation, or the ``label`` where given.

    Raises:
        ValueError: ``map_class`` outside its values, or a backbone without class token.
    """

    def __init__(
        self,
        backbone: VisionTransformer,
        num_classes: int,
        *,
        map_class: MapClass = "predicted",
    ) -> None:
        super().__init__()
        check_choice("map_class", map_class, get_args(MapClass))
        backbones.check_class_token(backbone, "LCTR")
        self.backbone, self.num_classes, self.map_class = backbone, num_classes, map_class
        for block in backbone.blocks:
            block.attn = RelationalPatchAttention(block.attn)
        width = backbone.embed_dim
        self.cue_conv = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.head = CueDiggingHead(width, num_classes)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        """Classify and localize.

        Args:
            images: Normalised float [B, 3, S, S] of the backbone's size.
            labels: int [B], the classes whose maps are wanted under ``map_class="label"``.

        Returns:
            Logits [B, C], maps [B, h, w] of one class each (>= 0), and every block's relation map
            [B, L, h, w], which carries no gradient.

        Raises:
            ValueError: Images or labels that do not fit the model.
        """
        backbones.check_images(self.backbone, images)
        check_labels(labels, len(images), self.num_classes)
        walk = backbones.walk(self.backbone, images)
        pairs = backbones.extra_maps(self.backbone, walk)  # [B, 2, L, h, w]
        attention, relation = pairs.unbind(dim=1)  # each [B, L, h, w]
        relation = relation.detach()  # not in the loss, and drawn without gradient
        features = backbones.features(self.backbone, walk.tokens)  # [B, D, h, w]
        unseen = 1 - attention.mean(dim=1, keepdim=True)  # [B, 1, h, w]
        class_maps = self.head(features, self.cue_conv(features * unseen))  # [B, C, h, w]
        logits = avg_pool2d(class_maps, 3, stride=1, padding=1).mean(dim=(2, 3))  # [B, C]
        wanted = labels if self.map_class == "label" else None
        chosen = select_class_maps(class_maps.relu(), logits, wanted)  # [B, h, w]
        return Localization(logits, relation.mean(dim=1) * chosen, relation)


class RelationalPatchAttention(ClassTokenAttention):
    """Attention that also returns the class token's row, and the patches' rows weighted by it."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Attend.

        Args:
            x: Tokens [B, T, D], the class token first.

        Returns:
            Tokens [B, T, D], and for every token [B, T, 2] the class token's attention c to it
            (head mean), and its relation (1/T) Σ_i c_i A_ij with A the head mean of the attention.
        """
        q, k, v = self.project(x)  # each [B, heads, T, d]
        row = self.similarity(q, k).softmax(dim=-1).mean(dim=1)  # c [B, T]
        pair = torch.stack([row, self._relation(q, k, row)], dim=-1)  # [B, T, 2]
        return self.merge(self.attend(q, k, v)), pair

    @torch.no_grad()
    def _relation(self, q: Tensor, k: Tensor, row: Tensor) -> Tensor:
        """Relation [B, T]; one head at a time, so that memory holds one [B, T, T]."""
        relation = torch.zeros_like(row)
        for query, key in zip(q.unbind(dim=1), k.unbind(dim=1), strict=True):  # [B, T, d]
            attention = (query @ key.transpose(1, 2) * self.scale).softmax(dim=-1)  # [B, T, T]
            relation += torch.einsum("bi,bij->bj", row, attention)
        return relation / (self.num_heads * row.shape[1])


class CueDiggingHead(nn.Module):
    """A 3x3 convolution to class maps whose kernel is mixed from experts, anew for each image.

    Args:
        width: Channels D of the features.
        num_classes: C.
    """

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(EXPERTS, num_classes, width, 3, 3))
        self.bias = nn.Parameter(torch.empty(num_classes))
        self.mean_gate = nn.Linear(width, EXPERTS)
        self.max_gate = nn.Linear(width, EXPERTS)
        spread = 1 / math.sqrt(num_classes * width * 9)  # PyTorch's rule on five dimensions
        nn.init.uniform_(self.weight, -spread, spread)
        nn.init.uniform_(self.bias, -spread, spread)

    def forward(self, features: Tensor, cues: Tensor) -> Tensor:
        """Convolve every image with its own mixture.

        Args:
            features: [B, D, h, w].
            cues: [B, D, h, w], which choose the mixture.

        Returns:
            Class maps [B, C, h, w].
        """
        gate = self.mean_gate(cues.mean(dim=(2, 3))) + self.max_gate(cues.amax(dim=(2, 3)))
        kernels = torch.einsum("be,ecdij->bcdij", gate.sigmoid(), self.weight)  # [B, C, D, 3, 3]
        batch, width, height, columns = features.shape
        stacked = features.reshape(1, batch * width, height, columns)
        maps = conv2d(stacked, kernels.flatten(0, 1), padding=1, groups=batch)  # [1, B·C, h, w]
        return maps.view(batch, -1, height, columns) + self.bias[:, None, None]
