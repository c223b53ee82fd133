"""SAT as the official program computes it: for equality and timing only.

Every block materialises its attention logits, their softmax and the gated weights, and draws a
map from the spatial token's row, also the blocks whose map nobody uses. The head makes the class
maps of all classes and averages them. Single precision, images in NCHW, no compilation.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from satkit.model import SAT, Localization


class PlainSAT(nn.Module):
    """The plain form of a SAT of satkit, with a copy of its weights under the same names.

    Args:
        model: SAT on a plain ViT with a spatial token of its own, in the official variant
            (``gate="after_softmax"``, ``similarity="official"``).
    """

    def __init__(self, model: SAT) -> None:
        super().__init__()
        model = copy.deepcopy(model)
        self.spatial = model.spatial
        self.backbone, self.head = model.backbone, model.head
        self.loc_token, self.loc_embed = model.loc_token, model.loc_embed
        for index, block in enumerate(self.backbone.blocks):
            block.attn = PlainAttention(block.attn, gated=index in self.spatial)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        """Logits [B, C], maps [B, h, w] and the spatial blocks' maps of images [B, 3, S, S]."""
        vit = self.backbone
        x = vit.patch_embed(images)  # [B, N, D]
        tokens = [token.expand(len(x), -1, -1) for token in (vit.cls_token, self.loc_token)]
        x = torch.cat([tokens[0], x, tokens[1]], dim=1)  # [B, 1 + N + 1, D]
        x = x + torch.cat([vit.pos_embed, self.loc_embed], dim=1)
        masks = []
        for block in vit.blocks:
            attended, mask = block.attn(block.norm1(x))
            x = x + block.drop_path1(attended)
            x = x + block.drop_path2(block.mlp(block.norm2(x)))
            masks.append(mask)
        height, width = vit.patch_embed.grid_size
        all_maps = torch.stack(masks, dim=1)[..., 1:-1].unflatten(-1, (height, width))
        layer_maps = all_maps[:, list(self.spatial)]  # [B, N, h, w]
        patches = vit.norm(x)[:, 1:-1].unflatten(1, (height, width))  # [B, h, w, D]
        class_maps = self.head(patches.permute(0, 3, 1, 2).contiguous())  # [B, C, h, w]
        logits = class_maps.mean(dim=(2, 3))  # GAP: [B, C]
        return Localization(logits, layer_maps.mean(dim=1), layer_maps)


class PlainAttention(nn.Module):
    """Attention with all its matrices, and the map of the last token's row of logits.

    Args:
        attention: Whose projections are used.
        gated: Multiply the map onto the weights, as the last blocks do.
    """

    def __init__(self, attention: nn.Module, gated: bool) -> None:
        super().__init__()
        self.heads, self.scale, self.gated = attention.num_heads, attention.scale, gated
        self.qkv, self.proj = attention.qkv, attention.proj
        self.attn_drop, self.proj_drop = attention.attn_drop, attention.proj_drop

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [B, T, D] to tokens [B, T, D] and a map [B, T]."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        logits = q @ k.transpose(-2, -1) * self.scale  # [B, heads, T, T]
        mask = logits[:, :, -1].mean(dim=1).sigmoid()  # [B, T]
        weights = logits.softmax(dim=-1)
        if self.gated:
            weights = weights * mask[:, None, None]
        x = (self.attn_drop(weights) @ v).transpose(1, 2).flatten(2)  # [B, T, D]
        return self.proj_drop(self.proj(x)), mask
